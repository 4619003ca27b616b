//! What a decision about access costs, as lists grow: clients that may ask, clients that may not, and question rules.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use weir::dns::query::Query;
use weir::policy::access::AccessVerdict;
use weir::policy::document::Files;
use weir::policy::schedules::ActiveSet;
use weir::policy::{Options, load_files};

const GATEWAY: &str = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x0dvideo-clients\x07example\0\0\x01\0\x01";

/// Clients that ask by turns.
const CLIENTS: usize = 4_096;

/// So many networks that may ask, each with a hole, and so many question rules, none of which fits.
fn access_file(networks: u32, questions: u32) -> String {
    let list = |prefix: u32, shift: u32| {
        let nets = (0..networks).map(|n| format!("\"{}/{prefix}\"", Ipv4Addr::from(0x0a00_0000 + n * 256 + shift)));
        nets.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("allow = [{}]\ndeny = [{}]\n", list(24, 0), list(28, 240));
    for n in 0..questions {
        writeln!(text, "[[question]]\nqtypes = [\"TYPE{}\"]\naction = \"drop\"", 65_300 + n)
            .expect("a string takes it");
    }
    text
}

fn access(c: &mut Criterion) {
    let mut group = c.benchmark_group("access");
    let query = Query::scan(QUERY).expect("a sound query");
    for (networks, questions) in [(10, 0), (1_000, 0), (4_000, 0), (10, 64)] {
        let text = access_file(networks, questions);
        let files: Files = [("gateway.toml", GATEWAY), ("access.toml", &text)].into_iter().collect();
        let access = load_files(files, &Options::default()).expect("a policy without faults").0.access;
        let size = format!("{networks} networks, {questions} rules");
        for (who, last, verdict) in [
            ("admitted", 1, AccessVerdict::Admit),
            ("denied", 241, AccessVerdict::Refuse(weir::verdict::Reason::Access)),
        ] {
            let scattered = |n: usize| (n as u32).wrapping_mul(0x9e37_79b9) % networks * 256 + last;
            let clients: Vec<IpAddr> =
                (0..CLIENTS).map(|n| Ipv4Addr::from(0x0a00_0000 + scattered(n)).into()).collect();
            let mut next = 0;
            group.bench_function(BenchmarkId::new(who, &size), |b| {
                b.iter(|| {
                    next = (next + 1) % CLIENTS;
                    let judged = access.check(black_box(clients[next]), false, &query, &ActiveSet::EVERYTHING);
                    assert_eq!(judged, verdict);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, access);
criterion_main!(benches);
