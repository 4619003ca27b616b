//! What it costs a query to be watched: cached answers through the whole core with the sampler on and off by turns (A B A B),
//! at the load at which it counts, and what the control side pays for a sample.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use weir::cache::Cache;
use weir::clock::{Moment, Now};
use weir::gateway::outbox::{Outbox, To};
use weir::gateway::{Client, From, Gateway, Path};
use weir::ledger::Ledger;
use weir::ledger::alerts::Alerts;
use weir::ledger::journal::Journal;
use weir::ledger::samples::Samples;
use weir::ledger::watch::Watch;
use weir::live_policy::{LivePolicy, Shared};
use weir::policy::cookies::{CookieJar, Secret};
use weir::policy::document::Files;
use weir::policy::filter::Budgets;
use weir::policy::regulars::Regulars;
use weir::policy::rrl::RrlTable;
use weir::policy::source::SourceTables;
use weir::policy::{Options, load_files};

const GATEWAY: &[u8] = b"schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n[cache]\nsize = \"4MiB\"\n";
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x0dvideo-clients\x07example\0\0\x01\0\x01";

/// Between two queries: a worker that is busy without a pause.
const GAP_NS: u64 = 3_000;

struct Scene {
    gateway: Gateway,
    shared: Arc<Shared>,
    out: Outbox,
    nanos: u64,
    asked: u64,
}

impl Scene {
    /// A core with the answer cached; `samples` as in [`Samples::new`].
    fn new(samples: usize) -> Self {
        let files: Files = [("gateway.toml", GATEWAY.to_vec())].into_iter().collect();
        let (policy, _) = load_files(files, &Options::default()).expect("a policy without faults");
        let shared = Arc::new(Shared {
            source: Arc::new(SourceTables::new(policy.source.memory, 7)),
            rrl: RrlTable::new(policy.rrl.memory, 7),
            regulars: Regulars::new(Regulars::BYTES, 7),
            budgets: Budgets::new(7),
            cookies: CookieJar::new(Secret::new([7; 16])),
            cache: Cache::new(policy.server.cache.size_bytes, 7, 4),
            storm: weir::storm::Common::new(7, 4096),
            journal: Journal::new(64),
            alerts: Alerts::new(64),
            samples: Samples::new(samples),
            notices: Default::default(),
            live: LivePolicy::new(policy, 1, 0).expect("few upstreams"),
        });
        let gateway = Gateway::new(&shared, &Arc::new(Ledger::default()), 1, 64, [7; 32]);
        let out = Outbox::new(64, 1 << 20);
        let mut scene = Self { gateway, shared, out, nanos: 1_000_000_000, asked: 0 };
        scene.cache_the_answer();
        scene
    }

    fn now(&self) -> Now {
        Now { at: Moment::from_nanos(self.nanos), unix_ms: 0 }
    }

    fn ask(&mut self) {
        self.nanos += GAP_NS;
        self.asked += 1;
        // Many clients, each within its limit.
        let [.., b, c, d] = (self.asked % (1 << 20)).to_be_bytes();
        let peer = SocketAddr::from(([127, b, c, d], 5353));
        let client = Client { peer, path: Path::Udp { listener: 0, local: None } };
        self.out.clear();
        self.gateway.on_query(self.now(), client, black_box(QUERY), &mut self.out);
    }

    fn cache_the_answer(&mut self) {
        self.ask();
        let asked = self.out.messages().iter().find_map(|message| match message.to {
            To::Upstream(link) => Some((link, self.out.bytes(message).to_vec())),
            _ => None,
        });
        let (link, mut answer) = asked.expect("an upstream is asked");
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        answer.extend(b"\xc0\x0c\0\x01\0\x01\0\x01\x51\x80\0\x04\xc0\0\x02\x01");
        self.out.clear();
        self.gateway.on_response(self.now(), From::Udp(link), &answer, &mut self.out);
    }
}

/// Queries of a block: short enough that many of a run are not interrupted.
const BLOCK: u32 = 8_192;

/// Blocks of each kind.
const BLOCKS: usize = 400;

/// Nanoseconds a query of one block.
fn block(scene: &mut Scene) -> f64 {
    let begun = Instant::now();
    (0..BLOCK).for_each(|_| scene.ask());
    let took = begun.elapsed();
    // As the control side does, so that the queue never stands full; on its own time.
    while scene.shared.samples.take().is_some() {}
    took.as_secs_f64() * 1e9 / f64::from(BLOCK)
}

/// Blocks with the sampler off and on by turns. What else the machine does lengthens a block and never shortens it: the
/// fastest tenth is what a query costs.
fn compare() {
    let (mut off, mut on) = (Scene::new(0), Scene::new(8_192));
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
    let mut scene = Scene::new(8_192);
    let (mut watch, mut samples) = (Watch::new(Moment::ZERO), Vec::new());
    for _ in 0..10_000 {
        scene.ask();
        samples.extend(scene.shared.samples.take());
    }
    let mut turn = 0;
    group.bench_function("sum_up_a_sample", |b| {
        b.iter(|| {
            turn = (turn + 1) % samples.len();
            watch.note(black_box(&samples[turn]));
        });
    });
    group.finish();
}

criterion_group!(benches, watch);
criterion_main!(benches);
