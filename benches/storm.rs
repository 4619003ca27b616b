//! What the account of zones costs a query: asked and answered within few zones, and among more zones than are kept; and
//! whether a name is known to exist.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use weir::clock::Moment;
use weir::dns::name::Name;
use weir::policy::document::Files;
use weir::policy::{Options, load_files};
use weir::storm::{Common, KNOWN_NAMES, Storms};

const GATEWAY: &str = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
const NAMES: usize = 1 << 16;

fn names(zones: usize) -> Vec<Name> {
    (0..NAMES).map(|n| Name::from_text(&format!("host{n}.zone{}.example", n % zones)).expect("a name")).collect()
}

fn storm(c: &mut Criterion) {
    let mut group = c.benchmark_group("storm");
    let files: Files = [("gateway.toml", GATEWAY)].into_iter().collect();
    let policy = load_files(files, &Options::default()).expect("a policy without faults").0.storm;
    for zones in [1, 100, 10_000] {
        let (common, names) = (Common::new(7, KNOWN_NAMES), names(zones));
        let mut storms = Storms::new(&common, policy.zones);
        let mut asked = 0usize;
        group.bench_function(BenchmarkId::new("asked_and_answered", zones), |b| {
            b.iter(|| {
                asked += 1;
                let (name, at) = (&names[asked % NAMES], Moment::from_nanos(1_000_000_000 + asked as u64 * 1_000));
                let client: IpAddr = Ipv4Addr::from(0x0a00_0000 + (asked % 4_096) as u32).into();
                let key = storms.zone_of(name, None);
                let zone = storms.question(at, key, common.hash(name), client);
                black_box((zone.breaker(at), zone.places(at, &policy, 1_024)));
                zone.asked(at, false);
                let zone = storms.account(at, key.hash).expect("it was just opened");
                zone.answered(at, Duration::from_millis(1), false, false, policy.fail_ratio);
            });
        });
    }
    let (common, names) = (Common::new(7, KNOWN_NAMES), names(100));
    names.iter().for_each(|name| common.known.learn(common.hash(name)));
    let mut next = 0;
    group.bench_function("is_known", |b| {
        b.iter(|| {
            next = (next + 1) % NAMES;
            common.known.has(common.hash(black_box(&names[next])))
        });
    });
    group.finish();
}

criterion_group!(benches, storm);
criterion_main!(benches);
