//! What a query costs as that grows which it is looked up in: names of the filter, answers of the cache, networks of groups,
//! upstreams. benches/scale.py runs it, adds TCP connections and draws the figures.
//!
//! One line a size: subject, size, and the median, the least and the greatest of the rounds in nanoseconds. Each step of a
//! size asks for things in an order that no cache of the processor can guess. Names are looked up in groups, foreseen, as a
//! worker with much to do looks them up, and alone, each after the one before.

mod scene;

use scene::answers::{cache_with, key, name};
use scene::asked::{Asked, GROUP, subject};
use scene::names::{listed, named, scattered};
use scene::{GATEWAY, Scene};
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;
use weir::cache::{BODY_MAX, Found, KeyHash};
use weir::clock::Moment;
use weir::policy::clients::GroupSet;
use weir::policy::document::Files;
use weir::policy::filter::lists::{Reading, parse};
use weir::policy::filter::{Action, Filter, Foreseen, Rule};
use weir::policy::{Options, load_files};

/// Queries of a round.
const QUERIES: u64 = 1 << 16;

/// Rounds of a size.
const ROUNDS: usize = 9;

/// Nanoseconds a query, by round.
type Times = Vec<f64>;

/// What was measured at a size: in which way, which is behind the subject's name, and how long it took.
type Ways = Vec<(&'static str, Times)>;

/// Its name, its sizes, and what is measured at one of them.
type Subjects = (&'static str, &'static [u64], fn(u64) -> Ways);

const ALONE: &str = ", one after the other";

fn main() {
    // A part of a subject's name, and the greatest size: WEIR_SCALE_MAX=100000 cargo bench --bench scale
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let most = std::env::var("WEIR_SCALE_MAX").ok().and_then(|most| most.parse().ok()).unwrap_or(u64::MAX);
    let subjects: [Subjects; 5] = [
        ("names of the filter", &[1_000, 10_000, 100_000, 1_000_000, 10_000_000], names),
        ("answers in the cache", &[1_000, 10_000, 100_000, 1_000_000], answers),
        ("floor: one read of as many 512 bytes", &[1_000, 10_000, 100_000, 1_000_000], reads),
        ("networks of groups", &[100, 1_000, 10_000, 100_000], networks),
        ("upstreams", &[1, 10, 100], upstreams),
    ];
    for (subject, sizes, measure) in subjects.iter().filter(|(subject, ..)| subject.contains(&wanted)) {
        for size in sizes.iter().filter(|size| **size <= most) {
            for (way, mut times) in measure(*size) {
                times.sort_by(f64::total_cmp);
                println!("{subject}{way}\t{size}\t{:.1}\t{:.1}\t{:.1}", times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
            }
        }
    }
}

/// Of `queries` at a time.
fn time(queries: u64, mut ask: impl FnMut(u64)) -> Times {
    let turns = QUERIES / queries;
    (0..turns).for_each(&mut ask);
    let mut round = || {
        let begun = Instant::now();
        (0..turns).for_each(&mut ask);
        begun.elapsed().as_secs_f64() * 1e9 / QUERIES as f64
    };
    (0..ROUNDS).map(|_| round()).collect()
}

/// A decision about a name: every second is listed.
fn names(size: u64) -> Ways {
    let mut text = String::new();
    (0..size).for_each(|number| writeln!(text, "{}", listed(number)).expect("a string takes it"));
    let list = Arc::new(parse(text.as_bytes(), Reading::default()).expect("it is a list").names);
    drop(text);
    let filter = Filter::of_lists(vec![Rule::new("list", "zone", 0, Action::Nxdomain)], vec![list], 42);
    let filter = filter.expect("ten million names fit").0;
    let half_listed = |number| listed(scattered(number, size) + if number % 2 == 0 { 0 } else { size });
    let mut asked = Asked::new(named(QUERIES, half_listed));
    let groups = GroupSet::default();
    let together = time(GROUP as u64, |_| {
        let group = asked.group();
        let foreseen: [Foreseen; GROUP] = std::array::from_fn(|n| filter.foresee(group[n].as_wire()));
        foreseen.iter().for_each(|foreseen| filter.fetch_foreseen(foreseen));
        for (number, (name, foreseen)) in group.iter().zip(&foreseen).enumerate() {
            let decision = filter.decide_foreseen(&subject(&groups, name), foreseen, &mut |_, _| false);
            assert_eq!(decision.rule.is_some(), number % 2 == 0);
        }
    });
    let alone = time(1, |number| {
        asked.alone(|name| {
            let is_listed = filter.decide(&subject(&groups, name)).rule.is_some();
            assert_eq!(is_listed, number % 2 == 0);
            is_listed
        });
    });
    vec![("", together), (ALONE, alone)]
}

/// A hit, with the answer copied out.
fn answers(size: u64) -> Ways {
    let now = Moment::from_nanos(1_000_000_000);
    let cache = cache_with(now, size);
    let mut asked = Asked::new((0..QUERIES).map(|number| name(scattered(number, size))).collect());
    let mut out = vec![0; BODY_MAX];
    let together = time(GROUP as u64, |_| {
        let group = asked.group();
        let hashes: [KeyHash; GROUP] = std::array::from_fn(|n| cache.foresee(&key(&group[n])));
        hashes.iter().for_each(|hash| cache.fetch_foreseen(*hash));
        for (name, hash) in group.iter().zip(hashes) {
            assert!(matches!(cache.get_foreseen(now, &key(name), hash, &mut out), Found::Hit(_)));
        }
    });
    let alone = time(1, |_| {
        asked.alone(|name| {
            let is_hit = matches!(cache.get(now, &key(name), &mut out), Found::Hit(_));
            assert!(is_hit);
            is_hit
        });
    });
    vec![("", together), (ALONE, alone)]
}

/// What memory alone costs: each read needs the one before it, as a look-up needs the index before the answer.
fn reads(size: u64) -> Ways {
    let mut lines: Vec<[u64; 64]> = (0..size).map(|number| [number; 64]).collect();
    // Sattolo's shuffle: one single circle through all of them.
    for at in (1..size as usize).rev() {
        let other = scattered(at as u64, at as u64) as usize;
        let (one, two) = (lines[at][0], lines[other][0]);
        (lines[at][0], lines[other][0]) = (two, one);
    }
    let mut at = 0;
    vec![("", time(1, |_| at = black_box(&lines)[at as usize][0]))]
}

/// The groups of a client, of which there are a hundred.
fn networks(size: u64) -> Ways {
    let network = |number: u64| Ipv4Addr::from(0x0a00_0000 + number as u32 * 64);
    let mut clients = String::new();
    for group in 0..100 {
        let own = (0..size).filter(|number| number % 100 == group);
        let list: Vec<_> = own.map(|number| format!("\"{}/27\"", network(number))).collect();
        writeln!(clients, "[[group]]\nname = \"g{group}\"\nnetworks = [{}]", list.join(", "))
            .expect("a string takes it");
    }
    let files: Files = [("gateway.toml", GATEWAY), ("clients.toml", &clients)].into_iter().collect();
    let policy = load_files(files, &Options { seed: 7, ..Options::default() }).expect("a policy without faults").0;
    let times = time(1, |number| {
        let at = scattered(number, size);
        let groups = policy.groups.of(black_box(IpAddr::V4(network(at))));
        assert!(!groups.is_empty());
    });
    vec![("", times)]
}

/// A query forwarded to one of so many, and its answer.
fn upstreams(size: u64) -> Ways {
    let mut gateway = "schema = 1\n[cache]\nsize = \"4MiB\"\n".to_owned();
    for number in 0..size {
        writeln!(gateway, "[[upstream]]\nname = \"u{number}\"\naddress = \"192.0.2.{}\"", number + 1)
            .expect("a string takes it");
    }
    let mut scene = Scene::new(&[("gateway.toml", &gateway)], 0);
    vec![("", time(1, |_| scene.forward()))]
}
