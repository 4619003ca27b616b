//! The wire on the path: a query scanned, a response scanned, a block answer built, a cached answer made the client's.
//! hickory-proto's decoding of the same query stands beside them as the measure.

#[path = "scene/packets.rs"]
mod packets;

use criterion::{Criterion, criterion_group, criterion_main};
use hickory_proto::op::Message;
use packets::{QUERY, RESPONSE};
use std::hint::black_box;
use weir::dns::edns::ExtendedError;
use weir::dns::patch;
use weir::dns::query::Query;
use weir::dns::reply::{self, Body, ReplyTo};
use weir::dns::response::Response;

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    group.bench_function("scan-query", |b| {
        b.iter(|| Query::scan(black_box(QUERY)).is_ok_and(|query| black_box(&query).signed));
    });
    group.bench_function("scan-query-hickory", |b| b.iter(|| Message::from_vec(black_box(QUERY)).is_ok()));
    group.bench_function("scan-response", |b| {
        b.iter(|| Response::scan(black_box(RESPONSE)).is_ok_and(|response| black_box(&response).signed));
    });

    let query = Query::scan(QUERY).expect("a sound query");
    let mut out = [0; 512];
    group.bench_function("block-answer", |b| {
        let error = Some((ExtendedError::Blocked, "video-clients"));
        let to = ReplyTo { query: &query, ra: true };
        b.iter(|| reply::write(black_box(to), Body::Nxdomain { ttl: 30 }, error, black_box(&mut out)));
    });

    let response = Response::scan(RESPONSE).expect("a sound response");
    group.bench_function("serve-cached", |b| {
        b.iter(|| {
            let copy = &mut out[..RESPONSE.len()];
            copy.copy_from_slice(black_box(RESPONSE));
            patch::address_to(copy, &query);
            patch::patch_ttls(copy, response.ttls(), 7, 0, 86_400);
            black_box(copy).len()
        });
    });
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
