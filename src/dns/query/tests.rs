//! What a scan of a client's packet takes, and what it answers FORMERR, NOTIMP or BADVERS.

use super::super::sample::Sample;
use super::super::{class, put_u16};
use super::*;

/// The response code that a packet gets, 0 for one that is a query.
fn rcode_of(sample: Sample) -> u16 {
    match Query::scan(&sample.bytes()) {
        Ok(_) => 0,
        Err(Malformed::Answer { rcode, .. }) => rcode,
        Err(other) => panic!("{other:?}"),
    }
}

fn a() -> Sample {
    Sample::query("wWw.Example.COM", rtype::A)
}

#[test]
fn a_query_is_read_in_full() {
    let packet = a().flags(0x0130).opt(b"\0\x0a\0\x08abcdefgh").bytes();
    let query = Query::scan(&packet).unwrap();
    assert_eq!((query.id, query.opcode, query.qtype, query.qclass), (0x1234, 0, rtype::A, class::IN));
    assert!(query.rd && query.ad && query.cd && query.dnssec_ok() && !query.signed);
    assert_eq!(query.name, Name::from_text("www.example.com").unwrap());
    assert_eq!(query.question(), b"\x03wWw\x07Example\x03COM\0\0\x01\0\x01");
    let (start, end) = query.edns.as_ref().unwrap().cookie.unwrap();
    assert_eq!(&packet[start..end], b"abcdefgh");
    assert_eq!(query.udp_limit(), 1232);
}

#[test]
fn a_packet_reads_the_same_again() {
    let cookie = a().opt(b"\0\x0a\0\x08abcdefgh");
    let packets = [a().bytes(), a().opt(b"").bytes(), cookie.clone().bytes(), cookie.tsig().bytes()];
    for packet in &packets {
        let query = Query::scan(packet).unwrap();
        let mut again = Query::unread(packet);
        again.read(Some(&query.records())).unwrap();
        assert_eq!(format!("{again:?}"), format!("{query:?}"));
    }
    let [plain, short, long, _] = &packets;
    let records = Query::scan(long).unwrap().records();
    for other in [plain, short] {
        let mut query = Query::unread(other);
        query.read(Some(&records)).unwrap();
        assert_eq!(query.records(), Query::scan(other).unwrap().records(), "what is not within a packet is not its");
    }
    let mut cut = Query::unread(&long[..20]);
    assert!(cut.read(Some(&records)).is_err());
}

#[test]
fn the_udp_limit_is_what_both_sides_take() {
    for (payload, limit) in [(0, 512), (511, 512), (1000, 1000), (4096, 1232)] {
        let packet = a().record_of(3, b"\0", rtype::OPT, payload, 0, b"").bytes();
        assert_eq!(Query::scan(&packet).unwrap().udp_limit(), limit);
    }
    assert_eq!(Query::scan(&a().bytes()).unwrap().udp_limit(), 512);
}

#[test]
fn what_must_not_be_answered_is_told_apart() {
    let packet = a().bytes();
    for len in 0..HEADER_LEN {
        assert_eq!(Query::scan(&packet[..len]).unwrap_err(), Malformed::Short);
    }
    assert_eq!(Query::scan(&a().flags(0x8180).bytes()).unwrap_err(), Malformed::NotAQuery);
    assert_eq!(Query::scan(&a().flags(0xFFFF).bytes()).unwrap_err(), Malformed::NotAQuery);
}

#[test]
fn a_packet_cut_anywhere_is_formerr() {
    let packet = a().opt(b"\0\x0a\0\x08abcdefgh").bytes();
    let question_end = 12 + 17 + 4;
    for len in HEADER_LEN..packet.len() {
        let readable = (len >= question_end).then_some(question_end);
        let Err(Malformed::Answer { rcode, question_end, .. }) = Query::scan(&packet[..len]) else {
            panic!("cut to {len} bytes");
        };
        assert_eq!((rcode, question_end), (rcode::FORMERR, readable), "cut to {len} bytes");
    }
}

#[test]
fn opcodes_that_nobody_serves_are_notimp() {
    for opcode in 0..16u16 {
        let expected = if matches!(opcode, 0 | 4 | 5) { 0 } else { rcode::NOTIMP };
        assert_eq!(rcode_of(a().flags(opcode << 11)), expected, "opcode {opcode}");
    }
    // DSO (opcode 6) comes without a question.
    let mut packet = a().flags(6 << 11).bytes();
    packet.truncate(HEADER_LEN);
    put_u16(&mut packet, 4, 0);
    let expected = Malformed::Answer { rcode: rcode::NOTIMP, question_end: None, edns: false };
    assert_eq!(Query::scan(&packet).unwrap_err(), expected);
}

#[test]
fn there_is_exactly_one_question() {
    for questions in [0, 2, 65_535] {
        let mut packet = a().bytes();
        put_u16(&mut packet, 4, questions);
        let expected = Malformed::Answer { rcode: rcode::FORMERR, question_end: None, edns: false };
        assert_eq!(Query::scan(&packet).unwrap_err(), expected);
    }
}

#[test]
fn the_question_is_not_compressed() {
    let packet = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\xc0\x0c\0\x01\0\x01";
    let expected = Malformed::Answer { rcode: rcode::FORMERR, question_end: None, edns: false };
    assert_eq!(Query::scan(packet).unwrap_err(), expected);
}

#[test]
fn a_query_has_no_answer_and_no_authority_but_ixfr() {
    let soa = [0; 22];
    assert_eq!(rcode_of(a().record(1, b"\xc0\x0c", rtype::A, 0, &[1; 4])), rcode::FORMERR);
    assert_eq!(rcode_of(a().record(2, b"\xc0\x0c", rtype::SOA, 0, &soa)), rcode::FORMERR);
    let ixfr = Sample::query("example.com", rtype::IXFR);
    assert_eq!(rcode_of(ixfr.clone().record(2, b"\xc0\x0c", rtype::SOA, 0, &soa).tsig()), 0);
    assert_eq!(rcode_of(ixfr.clone().record(2, b"\xc0\x0c", rtype::NS, 0, b"\0")), rcode::FORMERR);
    let two = ixfr.record(2, b"\xc0\x0c", rtype::SOA, 0, &soa).record(2, b"\xc0\x0c", rtype::SOA, 0, &soa);
    assert_eq!(rcode_of(two), rcode::FORMERR);
}

#[test]
fn notify_and_update_carry_records() {
    let notify = Sample::query("example.com", rtype::SOA).flags(0x2400);
    let packet = notify.record(1, b"\xc0\x0c", rtype::SOA, 0, &[0; 22]).bytes();
    assert_eq!(Query::scan(&packet).unwrap().opcode, opcode::NOTIFY);
    let update = Sample::query("example.com", rtype::SOA).flags(0x2800);
    let update = update.record_of(1, b"\x01a\xc0\x0c", rtype::ANY, class::ANY, 0, b"");
    let packet = update.record(2, b"\x01a\xc0\x0c", rtype::A, 60, &[192, 0, 2, 1]).tsig().bytes();
    let query = Query::scan(&packet).unwrap();
    assert!(query.signed && query.opcode == opcode::UPDATE);
}

#[test]
fn opt_stands_once_and_in_its_place() {
    assert_eq!(rcode_of(a().opt(b"").opt(b"")), rcode::FORMERR);
    assert_eq!(rcode_of(a().opt(b"\0\x0a\0\x07abcdefg")), rcode::FORMERR, "a cookie of seven bytes");
    assert_eq!(rcode_of(a().record_of(3, b"\x01a\0", rtype::OPT, 1232, 0, b"")), rcode::FORMERR);
    let update = Sample::query("example.com", rtype::SOA).flags(0x2800);
    assert_eq!(rcode_of(update.record_of(2, b"\0", rtype::OPT, 1232, 0, b"")), rcode::FORMERR);
    let broken = a().opt(b"\0").bytes();
    assert!(matches!(Query::scan(&broken), Err(Malformed::Answer { edns: true, .. })), "the reply has an OPT");
}

#[test]
fn a_later_version_of_edns_is_badvers() {
    let packet = a().record_of(3, b"\0", rtype::OPT, 1232, 0x0001_0000, b"?").bytes();
    let expected = Malformed::Answer { rcode: rcode::BADVERS, question_end: Some(33), edns: true };
    assert_eq!(Query::scan(&packet).unwrap_err(), expected);
}

#[test]
fn signatures_are_last() {
    let packet = a().opt(b"").tsig().bytes();
    assert!(Query::scan(&packet).is_ok_and(|query| query.signed && query.edns.is_some()));
    assert_eq!(rcode_of(a().tsig().opt(b"")), rcode::FORMERR);
    assert_eq!(rcode_of(a().tsig().tsig()), rcode::FORMERR);
    assert_eq!(rcode_of(a().record(3, b"\0", rtype::TSIG, 0, b"")), rcode::FORMERR, "class IN");
    let sig0 = a().record_of(3, b"\0", rtype::SIG, class::ANY, 0, &[0; 19]).bytes();
    assert!(Query::scan(&sig0).is_ok_and(|query| query.signed));
    let covers_a = [&[0, 1], &[0; 17][..]].concat();
    let sig = a().record(3, b"\0", rtype::SIG, 0, &covers_a).bytes();
    assert!(Query::scan(&sig).is_ok_and(|query| !query.signed));
}

#[test]
fn unknown_additional_records_are_tolerated_and_trailing_bytes_are_not() {
    assert_eq!(rcode_of(a().record(3, b"\xc0\x0c", 65_280, 0, b"whatever")), 0);
    let mut packet = a();
    packet.0.push(0);
    assert_eq!(rcode_of(packet), rcode::FORMERR);
    let mut packet = a().opt(b"");
    packet.0.push(0);
    assert_eq!(rcode_of(packet), rcode::FORMERR);
}

#[test]
fn counts_that_lie_are_formerr() {
    for word in 3..6 {
        let mut packet = Sample::query("example.com", rtype::SOA).flags(0x2800).bytes();
        put_u16(&mut packet, word * 2, 65_535);
        assert!(matches!(Query::scan(&packet), Err(Malformed::Answer { rcode: rcode::FORMERR, .. })));
    }
}
