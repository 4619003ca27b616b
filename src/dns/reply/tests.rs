//! Replies, read back as whoever gets them reads them.

use super::super::name::Name;
use super::super::query::Malformed;
use super::super::response::Response;
use super::super::sample::Sample;
use super::*;

const ERROR: Option<(ExtendedError, &str)> = Some((ExtendedError::Blocked, "on the list"));

fn reply(packet: &[u8], body: Body<'_>, error: Option<(ExtendedError, &str)>) -> Vec<u8> {
    let query = Query::scan(packet).unwrap();
    let mut out = [0; 1500];
    let len = write(ReplyTo { query: &query, ra: true }, body, error, &mut out);
    out[..len].to_vec()
}

fn extended_error(response: &Response<'_>) -> Option<(u16, String)> {
    let (code, text) = edns::extended_error(response.message, response.edns.as_ref()?)?;
    Some((code, String::from_utf8(text.to_vec()).unwrap()))
}

#[test]
fn the_header_says_what_is_the_clients_and_what_is_ours() {
    let packet = Sample::query("Www.Example", rtype::A).flags(0x0130).bytes();
    let message = reply(&packet, Body::Rcode(rcode::REFUSED), ERROR);
    assert_eq!(message[..12], *b"\x12\x34\x81\x95\0\x01\0\0\0\0\0\0", "QR RD RA CD, no AD; no OPT was asked for");
    assert_eq!(message[12..], packet[12..]);
    let notify = Sample::query("example", rtype::SOA).flags(0x2400).bytes();
    assert_eq!(u16_at(&reply(&notify, Body::Rcode(rcode::NOTIMP), None), 2), Some(0xA084));
}

#[test]
fn a_negative_answer_carries_an_soa_and_says_why() {
    let packet = Sample::query("Blocked.Example", rtype::HTTPS).opt(b"").bytes();
    for (body, rcode) in [(Body::Nxdomain { ttl: 30 }, rcode::NXDOMAIN), (Body::Nodata { ttl: 30 }, rcode::NOERROR)] {
        let message = reply(&packet, body, ERROR);
        let response = Response::scan(&message).unwrap();
        assert_eq!((response.rcode, response.aa), (rcode, false));
        assert_eq!(response.soa(), Some((Name::from_text("blocked.example").unwrap(), 30)));
        assert_eq!(response.question(), &packet[12..response.question_end]);
        assert_eq!(extended_error(&response), Some((15, "on the list".to_owned())));
        assert!(response.edns.as_ref().unwrap().dnssec_ok && response.opt_is_last());
        assert_eq!(response.edns.as_ref().unwrap().payload, OUR_UDP_PAYLOAD);
    }
    let root = Sample::query(".", rtype::A).bytes();
    let message = reply(&root, Body::Nxdomain { ttl: 1 }, None);
    assert_eq!(Response::scan(&message).unwrap().soa(), Some((Name::root(), 1)));
}

#[test]
fn the_longest_name_with_everything_fits_into_512_bytes() {
    let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let packet = Sample::query(&name, rtype::A).opt(b"").bytes();
    let query = Query::scan(&packet).unwrap();
    let mut out = [0; 512];
    let text = "x".repeat(100);
    let error = Some((ExtendedError::Filtered, text.as_str()));
    let len = write(ReplyTo { query: &query, ra: false }, Body::Nxdomain { ttl: 5 }, error, &mut out);
    let response = Response::scan(&out[..len]).unwrap();
    assert_eq!(extended_error(&response), Some((17, "x".repeat(64))));
}

#[test]
fn addresses_are_of_the_family_that_was_asked_for() {
    let addresses = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let body = Body::Addresses { addresses: &addresses, ttl: 7 };
    for (qtype, expected) in [(rtype::A, 2), (rtype::AAAA, 1), (rtype::ANY, 3), (rtype::MX, 0)] {
        let message = reply(&Sample::query("x.example", qtype).opt(b"").bytes(), body, None);
        let response = Response::scan(&message).unwrap();
        assert_eq!(response.answers, expected);
        assert_eq!(response.soa().is_some(), expected == 0, "NODATA for any other type");
        let mut seen = Vec::new();
        response.addresses(&mut |ip| seen.push(ip));
        assert_eq!(seen.len(), usize::from(expected));
        assert!(seen.iter().all(|ip| addresses.contains(ip)));
    }
}

#[test]
fn addresses_that_do_not_fit_become_tc_and_not_half_an_answer() {
    let addresses = vec!["2001:db8::1".parse().unwrap(); 60];
    let packet = Sample::query("x.example", rtype::AAAA).opt(b"").bytes();
    let message = reply(&packet, Body::Addresses { addresses: &addresses, ttl: 7 }, ERROR);
    let response = Response::scan(&message).unwrap();
    assert!(response.tc && response.answers == 0 && message.len() <= packet.len());
}

#[test]
fn an_explanation_never_makes_an_answer_too_long_for_udp() {
    let addresses = vec!["192.0.2.1".parse().unwrap(); 29]; // 12 + 15 + 29 * 16 + 11 = 502 bytes
    let packet = Sample::query("x.example", rtype::A).record_of(3, b"\0", rtype::OPT, 512, 0, b"").bytes();
    let message = reply(&packet, Body::Addresses { addresses: &addresses, ttl: 7 }, ERROR);
    let response = Response::scan(&message).unwrap();
    assert!(message.len() <= 512 && response.answers == 29 && extended_error(&response).is_none());
}

#[test]
fn a_truncated_reply_is_never_longer_than_its_query() {
    for (sample, additionals) in
        [(Sample::query("Www.Example", rtype::TXT), 0), (Sample::query("Www.Example", rtype::TXT).opt(b""), 1)]
    {
        let packet = sample.bytes();
        let message = reply(&packet, Body::Truncated, ERROR);
        let response = Response::scan(&message).unwrap();
        assert!(response.tc && message.len() <= packet.len());
        assert_eq!((response.rcode, response.additionals), (rcode::NOERROR, additionals));
        assert_eq!(response.question(), &packet[12..response.question_end]);
    }
}

#[test]
fn codes_above_15_need_edns() {
    let plain = Sample::query("a", rtype::A);
    let message = reply(&plain.clone().opt(b"").bytes(), Body::Rcode(rcode::BADCOOKIE), None);
    assert_eq!(Response::scan(&message).unwrap().rcode, rcode::BADCOOKIE);
    let message = reply(&plain.bytes(), Body::Rcode(rcode::BADCOOKIE), None);
    assert_eq!(Response::scan(&message).unwrap().rcode, rcode::SERVFAIL);
}

#[test]
fn options_stand_before_the_explanation() {
    let packet = Sample::query("a", rtype::A).opt(b"").bytes();
    let query = Query::scan(&packet).unwrap();
    let mut out = [0; 512];
    let to = ReplyTo { query: &query, ra: true };
    let len = write_with_options(to, Body::Rcode(rcode::REFUSED), b"\0\x0a\0\x08abcdefgh", ERROR, &mut out);
    let response = Response::scan(&out[..len]).unwrap();
    let codes: Vec<_> = edns::options(&out, response.edns.as_ref().unwrap()).map(|(code, _)| code).collect();
    assert_eq!(codes, [option::COOKIE, option::EXTENDED_ERROR]);
}

#[test]
fn malformed_packets_are_answered_with_what_could_be_read() {
    let mut out = [0; 600];
    let mut broken = Sample::query("Www.Example", rtype::A).flags(0x0110).opt(b"\0").bytes();
    let Err(Malformed::Answer { rcode, question_end, edns }) = Query::scan(&broken) else { panic!() };
    let len = write_malformed(&broken, rcode, question_end, edns, false, &mut out);
    let response = Response::scan(&out[..len]).unwrap();
    assert_eq!((response.rcode, response.additionals), (rcode::FORMERR, 1));
    assert_eq!(u16_at(&out, 2), Some(0x8111));
    assert_eq!(response.question(), &broken[12..response.question_end]);

    broken.truncate(14);
    let Err(Malformed::Answer { rcode, question_end, edns }) = Query::scan(&broken) else { panic!() };
    let len = write_malformed(&broken, rcode, question_end, edns, true, &mut out);
    assert_eq!(&out[..len], b"\x12\x34\x81\x91\0\0\0\0\0\0\0\0");
    assert_eq!(write_malformed(&broken[..11], rcode, None, false, true, &mut out), 0);
    assert_eq!(write_malformed(&broken, rcode, Some(99), false, true, &mut out), 0);
    assert_eq!(write_malformed(&broken, rcode::BADVERS, None, true, true, &mut out[..22]), 0);
}

#[test]
fn a_buffer_that_is_too_short_gets_nothing() {
    let packet = Sample::query("www.example", rtype::A).opt(b"").bytes();
    let query = Query::scan(&packet).unwrap();
    let whole = reply(&packet, Body::Nxdomain { ttl: 1 }, None).len();
    for room in 0..whole {
        let mut out = vec![0; room];
        let len = write(ReplyTo { query: &query, ra: true }, Body::Nxdomain { ttl: 1 }, None, &mut out);
        let expected = if room < packet.len() { 0 } else { packet.len() };
        assert_eq!(len, expected, "{room}: TC where that fits");
    }
}

#[test]
fn opt_is_appended_whole_or_not_at_all() {
    let bare = Sample::response("a", rtype::A).bytes();
    let mut out = [0; 100];
    out[..bare.len()].copy_from_slice(&bare);
    let before = out;
    assert_eq!(append_opt(&mut out[..bare.len() + 10], bare.len(), 0, false, &[], None), None);
    assert_eq!(append_opt(&mut out, 101, 0, false, &[], None), None);
    assert_eq!(append_opt(&mut out, 11, 0, false, &[], None), None, "no header");
    assert_eq!(out, before);
    put_u16(&mut out, 10, u16::MAX);
    assert_eq!(append_opt(&mut out, bare.len(), 0, false, &[], None), None, "ARCOUNT is full");
}

#[test]
fn options_are_added_to_an_opt_that_stands_last() {
    let bare = Sample::response("a", rtype::A).bytes();
    let mut out = [0; 100];
    out[..bare.len()].copy_from_slice(&bare);
    let end = append_opt(&mut out, bare.len(), 0, false, b"\0\x03\0\x01x", None).unwrap();
    let before = out;
    assert_eq!(extend_opt(&mut out[..end + 11], bare.len(), end, b"\0\x0a\0\x08abcdefgh"), None);
    assert_eq!(out, before);
    assert_eq!(extend_opt(&mut out, bare.len(), end, b""), Some(end));
    let longer = extend_opt(&mut out, bare.len(), end, b"\0\x0a\0\x08abcdefgh").unwrap();
    let response = Response::scan(&out[..longer]).unwrap();
    let read: Vec<_> = edns::options(&out, response.edns.as_ref().unwrap()).collect();
    assert_eq!(read, [(3, &b"x"[..]), (option::COOKIE, b"abcdefgh")]);
}

#[test]
fn a_text_is_cut_between_characters() {
    let text = format!("x{}", "\u{e9}".repeat(40));
    assert_eq!(cut_text(&text).len(), 63);
    assert_eq!(cut_text("short"), "short");
}
