//! Any message from an upstream: scanned without panic, its offsets in bounds, its names read as hickory-proto reads
//! them, and still a response after everything that the cache and the reply do to it.

#![no_main]

use hickory_proto::rr::Name as Oracle;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use libfuzzer_sys::fuzz_target;
use weir::dns::edns::{self, ExtendedError};
use weir::dns::name::Name;
use weir::dns::response::{CHAIN_MAX, Response, Section, TTLS_MAX};
use weir::dns::{patch, reply, rtype, u32_at};

fuzz_target!(|message: &[u8]| {
    let Ok(response) = Response::scan(message) else { return };
    offsets_are_in_bounds(&response);
    owners_are_hickorys(&response);
    patches_leave_a_response(&response);
});

fn offsets_are_in_bounds(response: &Response<'_>) {
    let message = response.message;
    assert!(response.question().len() <= message.len());
    assert!(response.ttls().len() <= TTLS_MAX && response.chain_len <= CHAIN_MAX);
    assert!(response.ttls().is_sorted() && response.ttls().iter().all(|&at| usize::from(at) + 4 <= message.len()));
    let total = usize::from(response.answers) + usize::from(response.authorities) + usize::from(response.additionals);
    assert_eq!(response.records().count(), total);
    assert!(
        response.too_many
            || response.ttls().len() + usize::from(response.edns.is_some()) + usize::from(response.signed) == total
    );
    let mut links = 0;
    response.chain(&mut |_| links += 1);
    assert_eq!(links, response.chain_len);
    let mut addresses = 0_usize;
    response.addresses(&mut |_| addresses += 1);
    assert!(addresses <= message.len() / 4, "each takes its bytes");
    let mut beside = 0;
    response.additional_addresses(&mut |_| beside += 1);
    response.service_targets(&mut |_| beside += 1);
    let name = Name::root();
    response.name_servers(&name, &mut |server, at| {
        assert!(response.name_at(at).is_some_and(|again| again.canonical_cmp(server).is_eq() && again == *server));
        beside += 1;
    });
    response.name_server_addresses(&name, &mut |_| beside += 1);
    assert!(response.additionals_at <= message.len() && (0..response.chain_len).all(|n| response.target(n).is_some()));
    if let Some(edns) = &response.edns {
        let options: usize = edns::options(message, edns).map(|(_, data)| 4 + data.len()).sum();
        assert!(edns.start + edns::OPT_LEN + options == edns.end && edns.end <= message.len());
        assert_eq!(response.opt_is_last(), edns.end == message.len());
    }
}

fn owners_are_hickorys(response: &Response<'_>) {
    for (section, record) in response.records() {
        let (ours, end) = Name::read(response.message, record.owner).expect("the scan has read this owner");
        let mut decoder = BinDecoder::new(response.message).clone(record.owner as u16);
        let theirs = Oracle::read(&mut decoder).expect("hickory reads this owner");
        assert_eq!(decoder.index(), end);
        let labels =
            theirs.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.to_ascii_lowercase()));
        assert!(labels.chain([0]).eq(ours.as_wire().iter().copied()));
        assert!(record.rtype != rtype::OPT || section == Section::Additional);
    }
}

fn patches_leave_a_response(response: &Response<'_>) {
    let mut copy = response.message.to_vec();
    if let Some(edns) = &response.edns {
        if let Some(len) = patch::cut_opt(&mut copy, edns) {
            copy.truncate(len);
            copy.resize(len + 200, 0);
            let error = Some((ExtendedError::StaleAnswer, "fuzz"));
            let longer = reply::append_opt(&mut copy, len, 0, edns.dnssec_ok, &[], error).expect("there is room");
            copy.truncate(longer);
        }
    }
    // Names may lead through a TTL in a message that nobody sane has made; then changing it may break them, and the
    // offsets are all that can be relied on.
    let before = copy.len();
    patch::set_ttls(&mut copy, response.ttls(), 30);
    assert!(response.ttls().iter().all(|&at| u32_at(&copy, usize::from(at)) == Some(30)));
    patch::patch_ttls(&mut copy, response.ttls(), 10, 0, 15);
    assert!(response.ttls().iter().all(|&at| u32_at(&copy, usize::from(at)) == Some(15)));
    patch::restore_question(&mut copy, response.question());
    assert_eq!(copy.len(), before);
    let _ = Response::scan(&copy);
}
