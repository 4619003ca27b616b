//! What a source limit costs a query: all levels checked and charged, over the tables of the default size.
//!
//! The yardstick in the same run is governor's own keyed store: one level, unbounded memory.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use weir::clock::Moment;
use weir::policy::Mode;
use weir::policy::networks::NetworkSet;
use weir::policy::source::{SourceLimit, SourcePolicy, SourceTables};

fn policy(rate: u32) -> SourcePolicy {
    SourcePolicy { mode: Mode::Enforce, rate, burst: rate, slip: 2, exempt: NetworkSet::default(), memory: 16 << 20 }
}

/// A worker whose clock moves on by a microsecond a query.
struct Worker {
    policy: SourcePolicy,
    limit: SourceLimit,
    nanos: u64,
    random: u64,
}

impl Worker {
    fn new(rate: u32) -> Self {
        let policy = policy(rate);
        let limit = SourceLimit::new(&Arc::new(SourceTables::new(policy.memory, 7)), &policy);
        Self { policy, limit, nanos: 1_000_000_000, random: 7 }
    }

    fn check(&mut self, client: IpAddr) {
        self.nanos += 1_000;
        black_box(self.limit.check(&self.policy, Moment::from_nanos(self.nanos), black_box(client), false));
    }

    /// Any address at all.
    fn forged(&mut self) -> IpAddr {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Ipv4Addr::from_bits((self.random >> 32) as u32).into()
    }
}

fn source(c: &mut Criterion) {
    let mut group = c.benchmark_group("source");
    let (ipv4, ipv6) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96)));
    for (name, rate, client) in
        [("one_client", 1_000_000, ipv4), ("one_client_ipv6", 1_000_000, ipv6), ("one_client_over_its_limit", 1, ipv4)]
    {
        let mut worker = Worker::new(rate);
        group.bench_function(name, |b| b.iter(|| worker.check(client)));
    }
    let mut worker = Worker::new(200);
    let mut next = 0u32;
    group.bench_function("ten_thousand_clients", |b| {
        b.iter(|| {
            next = (next + 1) % 10_000;
            worker.check(Ipv4Addr::from_bits(0x0a00_0000 + next * 1000).into());
        });
    });
    let mut worker = Worker::new(200);
    group.bench_function("forged_clients", |b| {
        b.iter(|| {
            let client = worker.forged();
            worker.check(client);
        });
    });
    let yardstick = RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
    group.bench_function("yardstick_governor_keyed_one_client_one_level", |b| {
        b.iter_batched(|| ipv4, |client| black_box(yardstick.check_key(&client).is_ok()), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, source);
criterion_main!(benches);
