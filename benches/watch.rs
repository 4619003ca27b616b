//! What it costs a query to be watched: cached answers through the whole core with the sampler on and off by turns (A B A B),
//! at the load at which it counts, and what the control side pays for a sample.

mod scene;

use criterion::{Criterion, criterion_group, criterion_main};
use scene::{GATEWAY, Scene};
use std::hint::black_box;
use std::time::Instant;
use weir::clock::Moment;
use weir::dns::name::Name;
use weir::ledger::watch::Watch;

/// A core with an answer cached; `samples` as in [`Samples::new`](weir::ledger::samples::Samples::new).
fn scene(samples: usize) -> Scene {
    let mut scene = Scene::new(&[("gateway.toml", GATEWAY)], samples);
    scene.ask(1);
    scene.answer();
    scene
}

/// Queries of a block: short enough that many of a run are not interrupted.
const BLOCK: u32 = 8_192;

/// Blocks of each kind.
const BLOCKS: usize = 400;

/// Nanoseconds a query of one block.
fn block(scene: &mut Scene) -> f64 {
    let begun = Instant::now();
    (0..BLOCK).for_each(|_| scene.ask(1));
    let took = begun.elapsed();
    // As the control side does, so that the queue never stands full; on its own time.
    while scene.shared.samples.take().is_some() {}
    took.as_secs_f64() * 1e9 / f64::from(BLOCK)
}

/// Blocks with the sampler off and on by turns. What else the machine does lengthens a block and never shortens it: the
/// fastest tenth is what a query costs.
fn compare() {
    let (mut off, mut on) = (scene(0), scene(8_192));
    let mut times: Vec<[f64; 2]> = (0..BLOCKS).map(|_| [block(&mut off), block(&mut on)]).collect();
    let mut fastest = |which: usize| {
        times.sort_by(|a, b| a[which].total_cmp(&b[which]));
        times[BLOCKS / 10][which]
    };
    let (off, on) = (fastest(0), fastest(1));
    println!("watch/cached_answer: sampler off {off:.1} ns, on {on:.1} ns, {:+.1} ns, ratio {:.4}", on - off, on / off);
}

fn watch(c: &mut Criterion) {
    (0..3).for_each(|_| compare());
    let mut group = c.benchmark_group("watch");
    let mut scene = scene(8_192);
    let (mut watch, mut samples) = (Watch::new(Moment::ZERO), Vec::new());
    for _ in 0..10_000 {
        scene.ask(1);
        samples.extend(scene.shared.samples.take());
    }
    let mut turn = 0;
    group.bench_function("sum_up_a_sample", |b| {
        b.iter(|| {
            turn = (turn + 1) % samples.len();
            watch.note(black_box(&samples[turn]));
        });
    });
    // More names than the summary has room for, each as often as the next: most of them are new to it.
    for (n, sample) in samples.iter_mut().enumerate() {
        sample.name = Name::from_text(&format!("host{}.example.com", n % 1_000)).expect("a name");
    }
    group.bench_function("sum_up_a_sample_of_many_names", |b| {
        b.iter(|| {
            turn = (turn + 1) % samples.len();
            watch.note(black_box(&samples[turn]));
        });
    });
    group.finish();
}

criterion_group!(benches, watch);
criterion_main!(benches);
