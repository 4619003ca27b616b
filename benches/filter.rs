//! The filter with a million names: parsing a list, compiling it, and decisions about names that are in it and names that
//! are not. Also prints the memory that a name takes. `cargo bench --bench filter`

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::hint::black_box;
use std::sync::Arc;
use weir::dns::name::Name;
use weir::policy::Mode;
use weir::policy::clients::GroupSet;
use weir::policy::filter::lists::{NameList, Reading, parse};
use weir::policy::filter::{Action, Filter, Rule, Scope, Subject};

const NAMES: usize = 1_000_000;

/// Enough names that table and queries do not fit into a core's cache, as in service.
const ASKED: usize = 1 << 18;

/// Names as long as those of published lists, 20 bytes with the line end.
fn made_name(rng: &mut StdRng) -> String {
    let label = |rng: &mut StdRng, len: usize| (0..len).map(|_| rng.random_range('a'..='z')).collect::<String>();
    let len = rng.random_range(6..16);
    let registrable =
        format!("{}.{}", label(rng, len), ["com", "net", "org", "info", "co.uk"][rng.random_range(0..5_usize)]);
    if rng.random_bool(0.4) { format!("{}.{registrable}", label(rng, 5)) } else { registrable }
}

fn rule() -> Rule {
    Rule {
        id: "list".to_owned(),
        zone: "zone".to_owned(),
        zone_number: 0,
        action: Action::Nxdomain,
        ttl: 60,
        mode: Mode::Enforce,
        scope: Scope::default(),
        owner: None,
        ticket: None,
        note: None,
    }
}

fn compile(names: &Arc<NameList>) -> Filter {
    Filter::new(vec![rule()], std::slice::from_ref(names), 42).expect("a million names fit").0
}

fn parsed(text: &str) -> Arc<NameList> {
    Arc::new(parse(text.as_bytes(), Reading::default()).expect("it is a list").names)
}

/// Cache lines that lead from one to the next in random order, through all of them.
fn circle(len: usize, rng: &mut StdRng) -> Vec<[u32; 16]> {
    let mut next: Vec<u32> = (0..len as u32).collect();
    // Sattolo's shuffle: one single circle.
    (1..len).rev().for_each(|at| next.swap(at, rng.random_range(0..at)));
    next.into_iter().map(|next| [next; 16]).collect()
}

fn filter(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    let names: Vec<String> = (0..NAMES).map(|_| made_name(&mut rng)).collect();
    let text = names.join("\n");
    let list = parsed(&text);
    let filter = compile(&list);
    let bytes = filter.bytes() as f64 / filter.names() as f64;
    println!("{} names, {bytes:.1} bytes a name, {:.1} of them text", filter.names(), text.len() as f64 / NAMES as f64);

    let mut group = c.benchmark_group("filter");
    group.sample_size(10);
    group.bench_function("parse a million", |b| b.iter(|| parsed(black_box(&text))));
    group.bench_function("compile a million", |b| {
        b.iter_batched(|| (), |()| compile(black_box(&list)), BatchSize::PerIteration);
    });

    // What memory costs here and now, to hold the decisions against: each read needs the one before it.
    let lines = circle(filter.bytes() / 64, &mut rng);
    let mut at = 0;
    group.bench_function("floor: one read of as much memory", |b| {
        b.iter(|| {
            at = lines[at][0] as usize;
            at
        });
    });

    let groups = GroupSet::default();
    let name = |text: &str| Name::from_text(text).expect("a name");
    let listed: Vec<Name> = (0..ASKED).map(|_| name(&names[rng.random_range(0..NAMES)])).collect();
    let below: Vec<Name> = (0..ASKED).map(|_| name(&format!("www.{}", names[rng.random_range(0..NAMES)]))).collect();
    let other: Vec<Name> = (0..ASKED).map(|_| name(&format!("www.{}", made_name(&mut rng)))).collect();
    for (case, asked) in [("listed", &listed), ("below a listed name", &below), ("not listed", &other)] {
        let mut next = 0;
        group.bench_function(format!("decide: {case}"), |b| {
            b.iter(|| {
                next = (next + 1) % ASKED;
                filter.decide(&Subject { groups: &groups, name: &asked[next], qtype: 1, tcp: false }).rule.is_some()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, filter);
criterion_main!(benches);
