//! The filter with a million names: parsing a list, compiling it, and decisions about names that are in it and names that
//! are not. Also prints the memory that a name takes, and the most that the process takes while one list replaces another
//! of the same size. `cargo bench --bench filter`; WEIR_NAMES=10000000 before it for ten million.

mod scene;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use scene::asked::{Asked, GROUP, subject, time_groups};
use std::fs::File;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir::dns::name::Name;
use weir::policy::clients::GroupSet;
use weir::policy::document::Contents;
use weir::policy::filter::lists::{NameList, Reading, parse, parse_source};
use weir::policy::filter::{Action, Filter, Foreseen, Rule};
use weir::sys::pages::{Pages, Zeroed, give_back_large_memory};

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
    Rule::new("list", "zone", 0, Action::Nxdomain)
}

fn compile(names: &Arc<NameList>) -> Filter {
    Filter::new(vec![rule()], std::slice::from_ref(names), 42).expect("a million names fit").0
}

/// As a reload does it: nobody needs the list afterwards.
fn compile_given(names: Arc<NameList>) -> Filter {
    Filter::of_lists(vec![rule()], vec![names], 42).expect("a million names fit").0
}

fn parsed(text: &str) -> Arc<NameList> {
    Arc::new(parse(text.as_bytes(), Reading::default()).expect("it is a list").names)
}

/// Words of a cache line.
const LINE: usize = 16;

/// Cache lines that lead from one to the next in random order, through all of them.
fn circle(len: usize, rng: &mut StdRng, pages: Pages) -> Zeroed<u32> {
    let mut next: Vec<u32> = (0..len as u32).collect();
    // Sattolo's shuffle: one single circle.
    (1..len).rev().for_each(|at| next.swap(at, rng.random_range(0..at)));
    let mut lines = Zeroed::new(len * LINE, pages);
    next.into_iter().zip(lines.chunks_exact_mut(LINE)).for_each(|(next, line)| line[0] = next);
    lines
}

/// What the system says of this process, in MiB: `VmRSS`, or `VmHWM`, the most since the last [`forget_the_most`].
fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// What of this process is in large pages, in MiB.
fn memory_in_large_pages() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

fn forget_the_most() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Loads the list from a file again while the filter made of it serves, as a reload does, and prints what that took: all in
/// all, and from when the list is parsed on.
fn swap(text: &str) {
    let path = std::env::temp_dir().join(format!("weir-bench-{}.txt", std::process::id()));
    std::fs::write(&path, text).expect("the temporary directory is writable");
    let load = |is_whole: bool| {
        let begin = Instant::now();
        let file = File::open(&path).expect("the file is there");
        let list = Contents::on_disk(file, u64::MAX - 1).expect("it can be read").expect("it is no larger than may be");
        let parsed = parse_source(list.source(), Reading::default(), &mut |_| None).expect("it is a list");
        if !is_whole {
            forget_the_most();
        }
        let filter = compile_given(Arc::new(parsed.names));
        (filter, begin.elapsed())
    };
    let before = memory("VmRSS");
    let (mut serving, first) = load(true);
    let rest = memory("VmRSS") - before;
    let a_name = f64::from(1 << 20) * rest / serving.names() as f64;
    println!(
        "load: {first:?} to read, parse and compile; at rest {rest:.1} MiB, {a_name:.1} bytes a name by the system's count"
    );
    for is_whole in [true, false] {
        if !forget_the_most() {
            println!("swap: this system does not tell the most memory that was taken");
            break;
        }
        let (next, took) = load(is_whole);
        let most = memory("VmHWM") - before;
        serving = next;
        let after = memory("VmRSS") - before;
        let what = if is_whole { "from the file on" } else { "once the list is parsed" };
        let ratio = most / rest;
        println!("swap: {most:.1} MiB at most {what}, {ratio:.2} times; {after:.1} MiB after; loaded in {took:?}");
    }
    drop(serving);
    std::fs::remove_file(&path).expect("the file is ours");
}

fn filter(c: &mut Criterion) {
    give_back_large_memory();
    let mut rng = StdRng::seed_from_u64(1);
    let count = std::env::var("WEIR_NAMES").map_or(NAMES, |text| text.parse().expect("WEIR_NAMES is a number"));
    let names: Vec<String> = (0..count).map(|_| made_name(&mut rng)).collect();
    let text = names.join("\n");
    swap(&text);
    let list = parsed(&text);
    let filter = compile(&list);
    let bytes = filter.bytes() as f64 / filter.names() as f64;
    println!("{} names, {bytes:.1} bytes a name, {:.1} of them text", filter.names(), text.len() as f64 / count as f64);
    println!("{:.1} MiB of this process are in large pages", memory_in_large_pages());

    let mut group = c.benchmark_group("filter");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    group.bench_function("parse", |b| b.iter(|| parsed(black_box(&text))));
    group.bench_function("compile", |b| {
        b.iter_batched(|| (), |()| compile(black_box(&list)), BatchSize::PerIteration);
    });

    // What memory costs here and now, to hold the decisions against: each read needs the one before it. The table is in large
    // pages where the system has them.
    for (what, pages) in [("small", Pages::Small), ("large", Pages::Large)] {
        let lines = circle(filter.bytes() / 64, &mut rng, pages);
        let mut at = 0;
        group.bench_function(format!("floor: one read of as much memory, in {what} pages"), |b| {
            b.iter(|| {
                at = lines[at * LINE] as usize;
                at
            });
        });
    }

    let groups = GroupSet::default();
    let name = |text: &str| Name::from_text(text).expect("a name");
    let listed: Vec<Name> = (0..ASKED).map(|_| name(&names[rng.random_range(0..count)])).collect();
    let below: Vec<Name> = (0..ASKED).map(|_| name(&format!("www.{}", names[rng.random_range(0..count)]))).collect();
    let other: Vec<Name> = (0..ASKED).map(|_| name(&format!("www.{}", made_name(&mut rng)))).collect();
    for (case, asked) in [("listed", listed), ("below a listed name", below), ("not listed", other)] {
        let mut asked = Asked::new(asked);
        group.bench_function(format!("decide, each after the one before: {case}"), |b| {
            b.iter(|| asked.alone(|name| filter.decide(&subject(&groups, name)).rule.is_some()));
        });
        // Queries that came together, as listen hands them to the core: foreseen in groups, all of which is counted.
        group.bench_function(format!("decide, in groups of {GROUP}: {case}"), |b| {
            let mut decide = || {
                let group = asked.group();
                let foreseen: [Foreseen; GROUP] = std::array::from_fn(|n| filter.foresee(group[n].as_wire()));
                foreseen.iter().for_each(|foreseen| filter.fetch_foreseen(foreseen));
                for (name, foreseen) in group.iter().zip(&foreseen) {
                    black_box(
                        filter.decide_foreseen(&subject(&groups, name), foreseen, &mut |_, _| false).rule.is_some(),
                    );
                }
            };
            b.iter_custom(|iters| time_groups(iters, &mut decide));
        });
    }
    group.finish();
}

criterion_group!(benches, filter);
criterion_main!(benches);
