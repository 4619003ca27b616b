//! The pure part of the lab, asked message by message.

use super::*;
use hickory_proto::op::MessageType;
use std::sync::LazyLock;

static ZONES: LazyLock<Zones> = LazyLock::new(|| Zones::load().expect("the zones that are compiled in parse"));

fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

fn with_edns(mut message: Message, payload: u16, dnssec_ok: bool) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_version(0).set_dnssec_ok(dnssec_ok);
    message.set_edns(edns);
    message
}

fn ask(transport: Transport, request: &Message) -> (Kind, Message, usize) {
    let response = answer(&ZONES, transport, &request.to_vec().unwrap());
    assert_eq!(response.messages.len(), 1);
    (response.kind, Message::from_vec(&response.messages[0]).unwrap(), response.messages[0].len())
}

fn udp(name: &str, rtype: RecordType) -> Message {
    ask(Transport::Udp, &query(name, rtype)).1
}

#[test]
fn the_header_and_the_question_come_back() {
    let reply = udp("wWw.lAb.example.", RecordType::A);
    assert_eq!((reply.metadata.id, reply.metadata.recursion_desired, reply.metadata.authoritative), (4711, true, true));
    assert_eq!(reply.queries[0].name.to_ascii(), "wWw.lAb.example.");
    assert_eq!(reply.answers[0].name.to_ascii(), "wWw.lAb.example.");
    assert!(reply.edns.is_none());
}

#[test]
fn negative_answers_carry_the_soa_with_its_last_figure() {
    for (name, code) in
        [("missing.lab.example.", ResponseCode::NXDomain), ("v4only.lab.example.", ResponseCode::NoError)]
    {
        let reply = udp(name, RecordType::AAAA);
        assert_eq!(reply.metadata.response_code, code, "{name}");
        assert_eq!((reply.answers.len(), reply.authorities.len(), reply.authorities[0].ttl), (0, 1, 60), "{name}");
    }
}

#[test]
fn alias_chains_are_followed_through_zones_and_out_of_circles() {
    let chain = udp("alias3.lab.example.", RecordType::A);
    assert_eq!(chain.answers.len(), 3 + 2);
    let away = udp("elsewhere.lab.example.", RecordType::A);
    assert_eq!(away.answers[1].name.to_ascii(), "www.other.example.");
    let dangling = udp("dangling.lab.example.", RecordType::A);
    assert_eq!((dangling.metadata.response_code, dangling.answers.len()), (ResponseCode::NXDomain, 1));
    let circle = udp("circle.lab.example.", RecordType::A);
    assert_eq!((circle.metadata.response_code, circle.answers.len()), (ResponseCode::NoError, 2));
}

#[test]
fn a_referral_is_not_authoritative() {
    let reply = udp("www.deleg.lab.example.", RecordType::A);
    assert!(!reply.metadata.authoritative);
    assert_eq!((reply.answers.len(), reply.authorities.len(), reply.additionals.len()), (0, 2, 1));
}

#[test]
fn large_answers_are_truncated_to_what_the_client_takes_and_whole_over_tcp() {
    for (name, payload, fits) in [
        ("long512.lab.example.", 512, false),
        ("long512.lab.example.", 1232, true),
        ("long1232.lab.example.", 1232, false),
        ("long1232.lab.example.", 4096, true),
        ("long4096.lab.example.", 4096, false),
        ("long4096.lab.example.", 65535, false),
    ] {
        let request = with_edns(query(name, RecordType::TXT), payload, false);
        let (_, reply, length) = ask(Transport::Udp, &request);
        assert_eq!(reply.metadata.truncation, !fits, "{name} {payload}");
        assert!(length <= usize::from(payload), "{name} {payload}");
        let (_, whole, length) = ask(Transport::Tcp, &request);
        assert!(!whole.metadata.truncation && whole.answers.len() >= 4 && length > 512, "{name}");
    }
    let (_, plain, _) = ask(Transport::Udp, &query("long512.lab.example.", RecordType::TXT));
    assert!(plain.metadata.truncation, "512 bytes without EDNS");
}

#[test]
fn one_name_is_always_truncated_over_udp() {
    let (kind, reply, _) = ask(Transport::Udp, &query("truncated.lab.example.", RecordType::A));
    assert_eq!((kind, reply.metadata.truncation, reply.answers.len()), (Kind::Truncated, true, 0));
    let (_, reply, _) = ask(Transport::Tcp, &query("truncated.lab.example.", RecordType::A));
    assert_eq!((reply.metadata.truncation, reply.answers.len()), (false, 1));
}

#[test]
fn edns_is_answered_with_edns_and_the_do_bit_is_copied() {
    for dnssec_ok in [false, true] {
        let (_, reply, _) = ask(Transport::Udp, &with_edns(query("lab.example.", RecordType::A), 1232, dnssec_ok));
        let edns = reply.edns.expect("EDNS in the question, EDNS in the answer");
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (PAYLOAD_MAX, dnssec_ok));
    }
    let mut later = with_edns(query("lab.example.", RecordType::A), 1232, false);
    later.edns.as_mut().unwrap().set_version(1);
    let (_, reply, _) = ask(Transport::Udp, &later);
    // BADVERS and BADSIG share the number; hickory-proto reads the latter.
    assert_eq!(u16::from(reply.metadata.response_code), 16);
}

#[test]
fn zones_that_fail_do_so_each_in_its_way() {
    let dead = answer(&ZONES, Transport::Udp, &query("www.dead.example.", RecordType::A).to_vec().unwrap());
    assert_eq!((dead.kind, dead.messages.len()), (Kind::Dead, 0));
    assert_eq!(udp("www.fail.example.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(udp("www.refused.example.", RecordType::A).metadata.response_code, ResponseCode::Refused);
    assert_eq!(udp("www.nowhere.test.", RecordType::A).metadata.response_code, ResponseCode::Refused);
    assert_eq!(udp(".", RecordType::NS).answers.len(), 1);
}

#[test]
fn delays_are_told_and_bounded() {
    let after = |name: &str| {
        let response = answer(&ZONES, Transport::Udp, &query(name, RecordType::A).to_vec().unwrap());
        (response.after.as_millis(), Message::from_vec(&response.messages[0]).unwrap().answers.len())
    };
    assert_eq!(after("www.slow.example."), (2000, 1));
    assert_eq!(after("slow-250.lab.example."), (250, 1));
    assert_eq!(after("SLOW-99999999.lab.example."), (10_000, 1));
    assert_eq!(after("slow-x.lab.example."), (0, 0));
}

#[test]
fn class_chaos_names_the_lab() {
    let mut request = query("version.bind.", RecordType::TXT);
    request.queries[0].query_class = DNSClass::CH;
    let (kind, reply, _) = ask(Transport::Udp, &request);
    assert_eq!((kind, reply.answers.len(), reply.answers[0].dns_class), (Kind::Chaos, 1, DNSClass::CH));
    request.queries[0].query_class = DNSClass::HS;
    assert_eq!(ask(Transport::Udp, &request).1.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn notify_is_acknowledged_and_update_refused() {
    let mut request = query("lab.example.", RecordType::SOA);
    for (op_code, code, kind) in
        [(OpCode::Notify, ResponseCode::NoError, Kind::Notify), (OpCode::Update, ResponseCode::Refused, Kind::Update)]
    {
        request.metadata.op_code = op_code;
        let (found, reply, _) = ask(Transport::Udp, &request);
        assert_eq!((found, reply.metadata.op_code, reply.metadata.response_code), (kind, op_code, code));
    }
}

#[test]
fn transfers_start_and_end_with_the_soa() {
    let request = query("lab.example.", RecordType::AXFR).to_vec().unwrap();
    let whole = answer(&ZONES, Transport::Tcp, &request);
    let records: Vec<Record> =
        whole.messages.iter().flat_map(|message| Message::from_vec(message).unwrap().answers).collect();
    assert_eq!(records[0], records[records.len() - 1]);
    assert_eq!(records.iter().filter(|record| record.record_type() == RecordType::SOA).count(), 2);
    assert_eq!(udp("lab.example.", RecordType::AXFR).metadata.response_code, ResponseCode::NotImp);
    assert_eq!(udp("lab.example.", RecordType::IXFR).answers.len(), 1);
    let below = ask(Transport::Tcp, &query("www.lab.example.", RecordType::AXFR)).1;
    assert_eq!(below.metadata.response_code, ResponseCode::NotAuth);
}

#[test]
fn bytes_that_are_no_query_get_formerr_or_silence() {
    assert_eq!(answer(&ZONES, Transport::Udp, b"").messages.len(), 0);
    assert_eq!(answer(&ZONES, Transport::Udp, &[0; 11]).messages.len(), 0);
    let mut response = query("lab.example.", RecordType::A).to_vec().unwrap();
    response[2] |= 0x80;
    assert_eq!(answer(&ZONES, Transport::Udp, &response).messages.len(), 0, "a response is never answered");
    let claims = [0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0];
    let reply = Message::from_vec(&answer(&ZONES, Transport::Udp, &claims).messages[0]).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
    let whole = with_edns(query("www.lab.example.", RecordType::A), 1232, true).to_vec().unwrap();
    for length in 0..whole.len() {
        for message in answer(&ZONES, Transport::Udp, &whole[..length]).messages {
            let reply = Message::from_vec(&message).unwrap();
            assert_eq!(reply.metadata.response_code, ResponseCode::FormErr, "cut to {length}");
        }
    }
}
