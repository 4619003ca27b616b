//! What response-rate limiting costs a response: classified once, charged each time, over a table of the default size.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use weir::clock::Moment;
use weir::dns::name::Name;
use weir::dns::{rcode, rtype};
use weir::policy::Mode;
use weir::policy::networks::NetworkSet;
use weir::policy::rrl::{Category, Rate, ResponseClass, RrlPolicy, RrlTable};

fn policy(rate: u32) -> RrlPolicy {
    RrlPolicy {
        mode: Mode::Enforce,
        rates: Category::ALL.map(|category| Rate::per_second(if category == Category::All { 0 } else { rate })),
        slip: 2,
        window: 15,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        exempt: NetworkSet::default(),
        memory: 16 << 20,
    }
}

fn rrl(c: &mut Criterion) {
    let mut group = c.benchmark_group("rrl");
    let name = Name::from_text("www.video-clients.example").expect("a name");
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for (title, rate) in [("one_response", 1_000_000), ("one_response_in_debt", 10)] {
        let (policy, table) = (policy(rate), RrlTable::new(16 << 20, 7));
        let class = table.class_of_own(rcode::NOERROR, true, &name, rtype::A);
        let mut nanos = 1_000_000_000;
        group.bench_function(title, |b| {
            b.iter(|| {
                nanos += 1_000;
                black_box(policy.check(&table, Moment::from_nanos(nanos), black_box(client), &class))
            });
        });
    }
    let (policy, table) = (policy(20), RrlTable::new(16 << 20, 7));
    let mut random = 7u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random
    };
    let mut nanos = 1_000_000_000;
    group.bench_function("any_response_to_any_network_with_guard", |b| {
        b.iter(|| {
            nanos += 1_000;
            let (account, address) = (next(), next());
            let class = ResponseClass { account, guard: account | 1, category: Category::Positive };
            let client = Ipv4Addr::from_bits((address >> 32) as u32).into();
            black_box(policy.check(&table, Moment::from_nanos(nanos), client, &class))
        });
    });
    group.bench_function("classify_answer", |b| {
        b.iter(|| black_box(table.class_of_own(rcode::NOERROR, true, black_box(&name), rtype::A)));
    });
    group.bench_function("check_ahead", |b| {
        b.iter(|| black_box(policy.check_ahead(&table, Moment::from_nanos(nanos), client, black_box(&name), rtype::A)));
    });
    group.finish();
}

criterion_group!(benches, rrl);
criterion_main!(benches);
