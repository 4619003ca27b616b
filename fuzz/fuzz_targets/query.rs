//! Any packet from a client: scanned without panic, read as hickory-proto reads it, and answered with a response that
//! scans, whatever the answer.

#![no_main]

use hickory_proto::rr::Name as Oracle;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use weir::dns::edns::{self, ExtendedError};
use weir::dns::name::Name;
use weir::dns::query::{Malformed, Query};
use weir::dns::reply::{self, Body, ReplyTo};
use weir::dns::response::Response;
use weir::dns::{HEADER_LEN, patch, rcode};

fuzz_target!(|packet: &[u8]| {
    let mut out = [0; 1232];
    match Query::scan(packet) {
        Ok(query) => {
            offsets_are_in_bounds(&query);
            name_is_hickorys(&query);
            replies_scan_back(&query, &mut out);
        }
        Err(Malformed::Answer { rcode, question_end, edns }) => {
            let len = reply::write_malformed(packet, rcode, question_end, edns, true, &mut out);
            let response = Response::scan(&out[..len]).expect("a malformed packet's answer is a response");
            assert_eq!((response.rcode, response.edns.is_some()), (rcode, edns));
            assert_eq!(response.question_end, question_end.unwrap_or(HEADER_LEN));
        }
        Err(Malformed::Short) => assert!(packet.len() < HEADER_LEN),
        Err(Malformed::NotAQuery) => assert!(packet[2] & 0x80 != 0),
    }
});

fn offsets_are_in_bounds(query: &Query<'_>) {
    assert!(query.question_end <= query.packet.len() && !query.question().is_empty());
    assert_eq!(Name::from_wire(query.name.as_wire()), Ok(query.name));
    assert_eq!(Name::from_text(&query.name.to_string()), Ok(query.name));
    assert_eq!(query.question().len(), query.name.as_wire().len() + 4);
    assert!((512..=1232).contains(&query.udp_limit()));
    let Some(edns) = &query.edns else { return };
    assert!(
        query.question_end <= edns.start && edns.start + edns::OPT_LEN <= edns.end && edns.end <= query.packet.len()
    );
    for (start, end) in edns.cookie.into_iter().chain(edns.client_subnet) {
        assert!(edns.start < start && start <= end && end <= edns.end);
    }
    let options: usize = edns::options(query.packet, edns).map(|(_, data)| 4 + data.len()).sum();
    assert_eq!(edns.start + edns::OPT_LEN + options, edns.end, "options fill the record");
}

fn name_is_hickorys(query: &Query<'_>) {
    let mut decoder = BinDecoder::new(query.packet).clone(HEADER_LEN as u16);
    let theirs = Oracle::read(&mut decoder).expect("hickory reads the question's name");
    let labels = theirs.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.to_ascii_lowercase()));
    assert!(labels.chain([0]).eq(query.name.as_wire().iter().copied()));
    assert_eq!(decoder.index() + 4, query.question_end);
}

fn replies_scan_back(query: &Query<'_>, out: &mut [u8; 1232]) {
    let addresses: [IpAddr; 3] =
        [[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), [192, 0, 2, 2].into()];
    let bodies = [
        (Body::Rcode(rcode::REFUSED), rcode::REFUSED),
        (Body::Nxdomain { ttl: 30 }, rcode::NXDOMAIN),
        (Body::Nodata { ttl: 30 }, rcode::NOERROR),
        (Body::Addresses { addresses: &addresses, ttl: 30 }, rcode::NOERROR),
        (Body::Truncated, rcode::NOERROR),
    ];
    for (body, rcode) in bodies {
        let to = ReplyTo { query, ra: true };
        let len = reply::write(to, body, Some((ExtendedError::Blocked, "fuzz")), out);
        let response = Response::scan(&out[..len]).expect("a self-made answer is a response");
        assert_eq!((response.id, response.opcode, response.rcode), (query.id, query.opcode, rcode));
        assert_eq!(response.question(), query.question());
        assert_eq!(response.edns.is_some(), query.edns.is_some());
        assert!(response.edns.as_ref().is_none_or(|edns| edns.dnssec_ok == query.dnssec_ok()));
        assert!(len <= query.udp_limit());
        if matches!(body, Body::Truncated) {
            assert!(response.tc && len <= query.packet.len());
        }
        patch::address_to(&mut out[..len], query);
        assert!(Response::scan(&out[..len]).is_ok());
    }
}
