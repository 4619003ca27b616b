//! What a query costs the whole core, without a socket: answered from the cache, and forwarded and answered by an upstream;
//! with the storm guard, the cookies and the sampler on and off by turns (A B A B). And what a list of a million names adds to
//! a query that comes alone and is blocked by it, beside the same names blocked by one rule.

mod scene;

use scene::names::scattered;
use scene::{GATEWAY, Scene};
use std::time::Instant;
use weir::dns::rcode;

/// More of gateway.toml and of limits.toml.
type Settings = [&'static str; 2];
const ON: Settings = ["", ""];
const OFF: Settings = ["[top]\nsamples = 0\n", "[storm]\nmode = \"off\"\n[cookies]\nmode = \"off\"\n"];
const PARTS: [(&str, Settings); 4] = [
    ("nothing", ON),
    ("storm", ["", "[storm]\nmode = \"off\"\n"]),
    ("cookies", ["", "[cookies]\nmode = \"off\"\n"]),
    ("top", ["[top]\nsamples = 0\n", ""]),
];

fn scene([more, limits]: Settings) -> Scene {
    Scene::new(&[("gateway.toml", &format!("{GATEWAY}{more}")), ("limits.toml", limits)], 8_192)
}

/// Queries of a block: short enough that many of a run are not interrupted.
const BLOCK: u32 = 8_192;

/// Blocks of each kind.
const BLOCKS: usize = 200;

/// Nanoseconds a query of one block.
fn block(scene: &mut Scene, query: fn(&mut Scene)) -> f64 {
    let begun = Instant::now();
    (0..BLOCK).for_each(|_| query(scene));
    let took = begun.elapsed();
    // As the control side does, so that the queue never stands full; on its own time.
    while scene.shared.samples.take().is_some() {}
    took.as_secs_f64() * 1e9 / f64::from(BLOCK)
}

/// Blocks of both settings by turns. What else the machine does lengthens a block and never shortens it: the fastest tenth
/// is what a query costs.
fn compare(what: &str, mut off: Scene, mut on: Scene, query: fn(&mut Scene)) {
    let blocks = std::env::var("BLOCKS").ok().and_then(|blocks| blocks.parse().ok()).unwrap_or(BLOCKS);
    let mut times: Vec<[f64; 2]> = (0..blocks).map(|_| [block(&mut off, query), block(&mut on, query)]).collect();
    let mut fastest = |which: usize| {
        times.sort_by(|a, b| a[which].total_cmp(&b[which]));
        times[blocks / 10][which]
    };
    let (off, on) = (fastest(0), fastest(1));
    println!("gateway/{what}: off {off:.1} ns, on {on:.1} ns, {:+.1} ns, ratio {:.4}", on - off, on / off);
}

/// Names of the long list.
const LISTED: u64 = 1_000_000;

/// Cores that block all names that a scene asks for: by one name above them, or by a million.
fn blocking() -> [Scene; 2] {
    let zone = "[zone]\ntitle = \"list\"\n[[rule]]\nid = \"list\"\nlist = \"lists/names.txt\"\naction = \"nxdomain\"\n";
    let above = Scene::name(0).split_off("00000000.".len());
    let each: String = (0..LISTED).map(|number| Scene::name(number) + "\n").collect();
    [&*above, &*each].map(|names| {
        Scene::new(&[("gateway.toml", GATEWAY), ("filters/10-list.toml", zone), ("lists/names.txt", names)], 8_192)
    })
}

/// BLOCKS=3 and a filter, under a profiler: `BLOCKS=3 valgrind --tool=callgrind .../gateway-HASH --bench forwarded/all`.
fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let cached: fn(&mut Scene) = |scene| scene.ask(1);
    for (name, query) in [("cached", cached), ("forwarded", Scene::forward)] {
        for (part, without) in [("all", OFF)].into_iter().chain(PARTS) {
            let what = format!("{name}/{part}");
            if what.contains(&filter) {
                let [off, on] = [without, ON].map(|settings| {
                    let mut scene = scene(settings);
                    scene.ask(1);
                    scene.answer();
                    scene
                });
                compare(&what, off, on, query);
            }
        }
    }
    if "blocked/a million names".contains(&filter) {
        let [above, each] = blocking();
        compare("blocked/a million names", above, each, |scene| {
            scene.ask(scattered(scene.asked(), LISTED));
            assert_eq!(scene.rcode(), Some(rcode::NXDOMAIN), "all are blocked");
        });
    }
}
