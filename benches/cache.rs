//! What the cache costs at 100 000 answers of 148 bytes: a hit, a miss, an insert that has to evict, a look-up of a
//! failure; and how many bytes an answer takes in all, index and slack included. Then hits among ten thousand answers and
//! among a million, each after the one before, and in groups as queries come, foreseen or not.

mod scene;

use criterion::{Criterion, criterion_group, criterion_main};
use scene::answers::{cache_with, key, name};
use scene::asked::{Asked, GROUP, time_groups};
use std::hint::black_box;
use std::time::Duration;
use weir::cache::{Answer, BODY_MAX, Cache, FailureKind, Found, KeyHash, Lifetime};
use weir::clock::Moment;
use weir::dns::name::Name;

const ENTRIES: usize = 100_000;
const PAYLOAD: usize = 148;

/// Enough questions that they and what they need do not stay in a core's cache.
const ASKED: usize = 1 << 18;

fn body(name: &Name) -> Vec<u8> {
    let mut body = vec![0; 12];
    body.extend_from_slice(name.as_wire());
    body.extend_from_slice(&[0, 1, 0, 1]);
    body.resize(PAYLOAD, 60);
    body
}

fn answer(body: &[u8]) -> Answer<'_> {
    Answer {
        body,
        options: &[],
        ttls: &[60, 76, 92, 108],
        lifetime: Lifetime { ttl: 3600, own_ttl: 3600, stale: 3600, ttl_max: 86_400 },
        rcode: 0,
        class: weir::policy::rrl::ResponseClass::default(),
        vetted: weir::cache::Vetted::default(),
    }
}

/// Visits 0..n in an order that caches of the processor cannot guess.
fn next(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 33) as usize) % n
}

fn cache(c: &mut Criterion) {
    let names: Vec<Name> = (0..ENTRIES as u64 * 4).map(name).collect();
    let bodies: Vec<_> = names.iter().map(body).collect();
    let now = Moment::from_nanos(1_000_000_000);
    // large enough that nothing is evicted
    let roomy = Cache::new(64 << 20, 1, 8);
    for i in 0..ENTRIES {
        roomy.insert(now, &key(&names[i]), &answer(&bodies[i]));
    }
    let counters = roomy.counters();
    println!("kept {} of {ENTRIES}, {} bytes of ring each", counters.entries, counters.bytes / counters.entries);
    // as large as 100 000 answers need
    let full = Cache::new(24 << 20, 1, 8);
    for i in 0..ENTRIES * 4 {
        full.insert(now, &key(&names[i]), &answer(&bodies[i]));
    }
    let counters = full.counters();
    println!("full: {} entries, {} bytes each in all", counters.entries, counters.size_bytes / counters.entries);
    let mut out = vec![0; BODY_MAX];
    let mut state = 7;
    c.bench_function("hit", |b| {
        b.iter(|| match roomy.get(now, &key(&names[next(&mut state, ENTRIES)]), &mut out) {
            Found::Hit(hit) => hit.len,
            Found::Miss => panic!("a miss"),
        });
    });
    c.bench_function("hit, same name", |b| {
        b.iter(|| matches!(roomy.get(now, black_box(&key(&names[5])), &mut out), Found::Hit(_)));
    });
    c.bench_function("miss", |b| {
        b.iter(|| {
            let name = &names[ENTRIES + next(&mut state, ENTRIES)];
            assert!(matches!(roomy.get(now, &key(name), &mut out), Found::Miss));
        });
    });
    c.bench_function("insert with eviction", |b| {
        b.iter(|| {
            let i = next(&mut state, ENTRIES * 4);
            full.insert(now, &key(&names[i]), &answer(&bodies[i]));
        });
    });
    // the worst case: everything was asked for since it was written, so that each insert spares as much as it may
    c.bench_function("hit, then insert with eviction", |b| {
        b.iter(|| {
            let i = next(&mut state, ENTRIES * 4);
            if matches!(full.get(now, &key(&names[i]), &mut out), Found::Miss) {
                full.insert(now, &key(&names[i]), &answer(&bodies[i]));
            }
        });
    });
    for name in &names[..1000] {
        roomy.fail(now, &key(name).failing(), FailureKind::Timeout, Duration::from_secs(30));
    }
    c.bench_function("failed", |b| {
        b.iter(|| roomy.failed(now, &key(&names[next(&mut state, 4000)]).failing()));
    });
}

fn foreseen(c: &mut Criterion) {
    let now = Moment::from_nanos(1_000_000_000);
    let mut out = vec![0; BODY_MAX];
    for entries in [10_000, 1_000_000] {
        let cache = cache_with(now, entries);
        let mut state = 7;
        let mut asked = Asked::new((0..ASKED).map(|_| name(next(&mut state, entries as usize) as u64)).collect());
        c.bench_function(&format!("hit among {entries}, each after the one before"), |b| {
            b.iter(|| asked.alone(|name| matches!(cache.get(now, &key(name), &mut out), Found::Hit(_))));
        });
        for is_foreseen in [false, true] {
            let what = if is_foreseen { "foreseen" } else { "not foreseen" };
            c.bench_function(&format!("hit among {entries}, in groups of {GROUP}, {what}"), |b| {
                let mut hit = || {
                    let group = asked.group();
                    if is_foreseen {
                        let hashes: [KeyHash; GROUP] = std::array::from_fn(|n| cache.foresee(&key(&group[n])));
                        hashes.iter().for_each(|hash| cache.fetch_foreseen(*hash));
                        for (name, hash) in group.iter().zip(hashes) {
                            let found = cache.get_foreseen(now, &key(name), hash, &mut out);
                            assert!(matches!(found, Found::Hit(_)));
                        }
                    } else {
                        for name in group {
                            assert!(matches!(cache.get(now, &key(name), &mut out), Found::Hit(_)));
                        }
                    }
                };
                b.iter_custom(|iters| time_groups(iters, &mut hit));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = cache, foreseen
}
criterion_main!(benches);
