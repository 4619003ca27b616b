//! The scan of a response over messages put together byte by byte, sound and broken.

use super::super::sample::{Sample, wire};
use super::super::{put_u16, u32_at};
use super::*;

const QNAME: &[u8] = b"\xc0\x0c";

fn www() -> Sample {
    Sample::response("Www.Example.com", rtype::A)
}

fn fault(sample: Sample) -> MalformedResponse {
    Response::scan(&sample.bytes()).unwrap_err()
}

fn soa(minimum: u32) -> Vec<u8> {
    [&b"\0\0"[..], &[0; 16], &minimum.to_be_bytes()].concat()
}

fn chain(response: &Response<'_>) -> Vec<String> {
    let mut names = Vec::new();
    response.chain(&mut |name| names.push(name.to_string()));
    names
}

#[test]
fn a_positive_answer_is_read_in_full() {
    let message = www()
        .flags(0x8580)
        .record(1, QNAME, rtype::A, 300, &[192, 0, 2, 1])
        .record(1, QNAME, rtype::A, 60, &[192, 0, 2, 2])
        .record(2, b"\x07example\0", rtype::NS, 900, b"\x02ns\xc0\x10")
        .record(3, b"\x02ns\xc0\x10", rtype::AAAA, 800, &[0x20; 16])
        .opt(b"\0\x0f\0\x02\0\x0f")
        .bytes();
    let response = Response::scan(&message).unwrap();
    assert_eq!((response.id, response.opcode, response.rcode), (0x1234, 0, rcode::NOERROR));
    assert!(response.aa && !response.tc && !response.signed && !response.too_many && response.opt_is_last());
    assert_eq!((response.answers, response.authorities, response.additionals), (2, 1, 2));
    assert_eq!(response.answer_ttl_min, Some(60));
    assert_eq!(response.ns_owner(), Some(Name::from_text("example").unwrap()));
    assert_eq!(response.soa(), None);
    assert_eq!(response.question(), &message[12..response.question_end]);
    let ttls: Vec<_> = response.ttls().iter().map(|&at| u32_at(&message, at.into()).unwrap()).collect();
    assert_eq!(ttls, [300, 60, 900, 800]);
    assert_eq!(edns::extended_error(&message, response.edns.as_ref().unwrap()), Some((15, &b""[..])));
    let mut addresses = Vec::new();
    response.addresses(&mut |ip| addresses.push(ip.to_string()));
    assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"], "glue is no answer");
    let types: Vec<_> = response.records().map(|(section, record)| (section, record.rtype)).collect();
    assert_eq!(types[2..], [(Section::Authority, 2), (Section::Additional, 28), (Section::Additional, 41)]);
}

#[test]
fn a_negative_answer_gives_the_zone_and_its_ttl() {
    for (ttl, minimum, expected) in [(900, 300, 300), (60, 300, 60), (0x8000_0001, 300, 0), (5, u32::MAX, 0)] {
        let message = www().flags(0x8183).record(2, b"\xc0\x10", rtype::SOA, ttl, &soa(minimum)).bytes();
        let response = Response::scan(&message).unwrap();
        assert_eq!(response.rcode, rcode::NXDOMAIN);
        assert_eq!(response.soa(), Some((Name::from_text("example.com").unwrap(), expected)));
        assert_eq!(response.answer_ttl_min, None);
    }
}

#[test]
fn a_chain_of_cnames_is_followed_in_any_order() {
    let [b, c] = [wire("b.example"), wire("C.example")];
    let ordered = www()
        .record(1, QNAME, rtype::CNAME, 9, &b)
        .record(1, &b, rtype::CNAME, 9, &c)
        .record(1, &c, rtype::A, 9, &[0; 4])
        .bytes();
    let shuffled = www()
        .record(1, &c, rtype::A, 9, &[0; 4])
        .record(1, &wire("B.EXAMPLE"), rtype::CNAME, 9, &c)
        .record(1, QNAME, rtype::CNAME, 9, &b)
        .bytes();
    for message in [ordered, shuffled] {
        let response = Response::scan(&message).unwrap();
        assert_eq!(response.chain_len, 2);
        assert_eq!(chain(&response), ["b.example", "c.example"]);
        assert_eq!(response.chain_end().to_string(), "c.example");
    }
}

#[test]
fn a_target_where_no_pointer_leads_is_not_mistaken_for_another() {
    // The first target stands at 0x400c; of that offset a pointer can hold but 0x000c, where the question is.
    let before = www().bytes().len() + 2 + 10 + 2 + 10;
    let far = www().record(1, QNAME, rtype::TXT, 9, &vec![0; 0x400c - before]).record(
        1,
        QNAME,
        rtype::CNAME,
        9,
        &wire("b.example"),
    );
    let message = far.clone().record(1, QNAME, rtype::CNAME, 9, &wire("c.example")).bytes();
    assert_eq!(chain(&Response::scan(&message).unwrap()), ["b.example"]);
    let message = far.record(1, &wire("b.example"), rtype::CNAME, 9, &wire("c.example")).bytes();
    assert_eq!(chain(&Response::scan(&message).unwrap()), ["b.example", "c.example"]);
}

#[test]
fn a_loop_of_cnames_ends() {
    let b = wire("b.example");
    let message = www().record(1, QNAME, rtype::CNAME, 9, &b).record(1, &b, rtype::CNAME, 9, QNAME).bytes();
    let response = Response::scan(&message).unwrap();
    assert_eq!(chain(&response), ["b.example", "www.example.com"]);
    let alien = www().record(1, &b, rtype::CNAME, 9, &b).bytes();
    assert_eq!(Response::scan(&alien).unwrap().chain_len, 0, "a CNAME that nothing leads to");
}

#[test]
fn a_chain_over_the_limit_is_said_to_be() {
    for (links, reversed, too_many) in
        [(CHAIN_MAX, false, false), (CHAIN_MAX, true, false), (CHAIN_MAX + 1, false, true), (CHAIN_MAX + 1, true, true)]
    {
        let mut order: Vec<_> = (0..links).collect();
        if reversed {
            order.reverse();
        }
        let mut sample = www();
        for link in order {
            let owner = if link == 0 { QNAME.to_vec() } else { wire(&format!("n{link}")) };
            sample = sample.record(1, &owner, rtype::CNAME, 9, &wire(&format!("n{}", link + 1)));
        }
        let message = sample.bytes();
        let response = Response::scan(&message).unwrap();
        assert_eq!((response.too_many, response.chain_cut), (too_many, too_many), "{links} {reversed}");
        assert!(response.chain_len <= CHAIN_MAX);
        assert!(too_many || response.chain_len == links);
    }
}

#[test]
fn more_records_than_are_tracked_are_said_to_be() {
    for (records, too_many) in [(TTLS_MAX, false), (TTLS_MAX + 1, true)] {
        let message = (0..records).fold(www(), |sample, _| sample.record(1, QNAME, rtype::A, 5, &[9; 4])).bytes();
        let response = Response::scan(&message).unwrap();
        assert_eq!((response.too_many, response.ttls().len()), (too_many, TTLS_MAX));
        assert!(!response.chain_cut, "that is about CNAMEs");
    }
}

#[test]
fn a_wildcard_shows_in_the_labels_of_its_signature() {
    let rrsig = |labels: u8| [&[0, 1, 8, labels][..], &[0; 14], b"\0sig"].concat();
    let scan = |qname: &str, owner: &[u8], labels| {
        let sample = Sample::response(qname, rtype::A).record(1, owner, rtype::RRSIG, 9, &rrsig(labels));
        Response::scan(&sample.bytes()).unwrap().wildcard_labels
    };
    assert_eq!(scan("www.example.com", QNAME, 2), Some(2));
    assert_eq!(scan("www.example.com", QNAME, 3), None);
    assert_eq!(scan("*.example.com", QNAME, 2), None, "the wildcard itself was asked for");
    assert_eq!(scan("www.example.com", &wire("a.b.c.d"), 2), None, "another name's signature");
}

#[test]
fn the_question_is_there_or_there_is_a_reason() {
    let bare = |flags: u16| {
        let mut message = b"\0\x01\0\0\0\0\0\0\0\0\0\0".to_vec();
        put_u16(&mut message, 2, flags);
        Sample(message)
    };
    assert!(Response::scan(&bare(0x8001).bytes()).is_ok_and(|response| response.question().is_empty()));
    assert!(Response::scan(&bare(0xA800).bytes()).is_ok(), "UPDATE");
    assert_eq!(fault(bare(0x8000)), MalformedResponse::BadQuestion);
    let badvers = bare(0x8000).record_of(3, b"\0", rtype::OPT, 1232, 0x0100_0000, b"");
    assert_eq!(Response::scan(&badvers.bytes()).unwrap().rcode, rcode::BADVERS);
    assert_eq!(fault(bare(0x8001).record(1, b"\0", rtype::A, 0, &[0; 4])), MalformedResponse::BadQuestion);
    assert_eq!(fault(www().count(2)), MalformedResponse::BadQuestion);
    let compressed = Sample(b"\0\x01\x80\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01".to_vec());
    assert_eq!(fault(compressed), MalformedResponse::BadQuestion);
}

#[test]
fn broken_responses_say_what_is_wrong() {
    assert_eq!(Response::scan(&[0; 11]).unwrap_err(), MalformedResponse::Short);
    assert_eq!(fault(Sample::query("a", rtype::A)), MalformedResponse::NotAResponse);
    for word in 3..6 {
        assert_eq!(fault(www().count(word)), MalformedResponse::BadRecord);
    }
    assert_eq!(fault(www().record(1, QNAME, rtype::A, 0, &[0; 3])), MalformedResponse::BadRecord);
    assert_eq!(fault(www().record(1, QNAME, rtype::CNAME, 0, b"\xc0\xff")), MalformedResponse::BadRecord);
    assert_eq!(fault(www().record(2, QNAME, rtype::SOA, 0, b"\0\0")), MalformedResponse::BadRecord);
    assert_eq!(fault(www().record(1, b"\0", rtype::OPT, 0, b"")), MalformedResponse::BadOpt);
    assert_eq!(fault(www().opt(b"").opt(b"")), MalformedResponse::BadOpt);
    assert_eq!(fault(www().opt(b"\0")), MalformedResponse::BadOpt);
    assert_eq!(fault(www().tsig().opt(b"")), MalformedResponse::BadRecord);
    let mut trailing = www();
    trailing.0.push(0);
    assert_eq!(fault(trailing), MalformedResponse::TrailingBytes);
}

#[test]
fn a_signature_is_noticed_and_its_ttl_left_alone() {
    let message = www().record(1, QNAME, rtype::A, 5, &[9; 4]).opt(b"").tsig().bytes();
    let response = Response::scan(&message).unwrap();
    assert!(response.signed && !response.opt_is_last());
    assert_eq!(response.ttls().len(), 1);
}

#[test]
fn a_response_cut_anywhere_is_malformed() {
    let message = www().record(1, QNAME, rtype::CNAME, 5, &wire("a.b")).opt(b"\0\x0c\0\x02xy").bytes();
    for len in 0..message.len() {
        assert!(Response::scan(&message[..len]).is_err(), "cut to {len} bytes");
    }
}
