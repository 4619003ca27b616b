//! What a query costs the whole core, without a socket: answered from the cache, and forwarded and answered by an upstream;
//! with the storm guard, the cookies and the sampler on and off by turns (A B A B).

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use weir::cache::Cache;
use weir::clock::{Moment, Now};
use weir::gateway::outbox::{Outbox, To};
use weir::gateway::{Client, From, Gateway, LinkPort, Path};
use weir::ledger::Ledger;
use weir::ledger::alerts::Alerts;
use weir::ledger::journal::Journal;
use weir::ledger::samples::Samples;
use weir::live_policy::{LivePolicy, Shared};
use weir::policy::cookies::{CookieJar, Secret};
use weir::policy::document::Files;
use weir::policy::filter::Budgets;
use weir::policy::regulars::Regulars;
use weir::policy::rrl::RrlTable;
use weir::policy::source::SourceTables;
use weir::policy::{Options, load_files};

const GATEWAY: &str = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n[cache]\nsize = \"4MiB\"\n";

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

/// Between two queries: a worker that is busy without a pause.
const GAP_NS: u64 = 3_000;

struct Scene {
    gateway: Gateway,
    shared: Arc<Shared>,
    out: Outbox,
    nanos: u64,
    asked: u64,
    query: Vec<u8>,
}

impl Scene {
    fn new([more, limits]: Settings) -> Self {
        let gateway = format!("{GATEWAY}{more}");
        let files: Files = [("gateway.toml", &*gateway), ("limits.toml", limits)].into_iter().collect();
        let (policy, _) = load_files(files, &Options::default()).expect("a policy without faults");
        let shared = Arc::new(Shared {
            source: Arc::new(SourceTables::new(policy.source.memory, 7)),
            regulars: Regulars::new(Regulars::BYTES, 7),
            budgets: Budgets::new(7),
            rrl: RrlTable::new(policy.rrl.memory, 7),
            cookies: CookieJar::new(Secret::new([7; 16])),
            cache: Cache::new(policy.server.cache.size_bytes, 7, 4),
            storm: weir::storm::Common::new(7, weir::storm::KNOWN_NAMES),
            journal: Journal::new(64),
            alerts: Alerts::new(64),
            samples: Samples::new(8_192),
            notices: Default::default(),
            live: LivePolicy::new(policy, 1, 0).expect("few upstreams"),
        });
        let gateway = Gateway::new(&shared, &Arc::new(Ledger::default()), 1, 64, [7; 32]);
        let out = Outbox::new(64, 1 << 20);
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x0800000000\x0dvideo-clients\x07example\0\0\x01\0\x01".to_vec();
        Self { gateway, shared, out, nanos: 1_000_000_000, asked: 0, query }
    }

    fn now(&self) -> Now {
        Now { at: Moment::from_nanos(self.nanos), unix_ms: 0 }
    }

    /// Asks for name number `name`.
    fn ask(&mut self, name: u64) {
        self.nanos += GAP_NS;
        self.asked += 1;
        for (at, digit) in self.query[13..21].iter_mut().rev().enumerate() {
            *digit = b'0' + (name / 10u64.pow(at as u32) % 10) as u8;
        }
        // Many clients, each within its limit.
        let [.., b, c, d] = (self.asked % (1 << 20)).to_be_bytes();
        let peer = SocketAddr::from(([127, b, c, d], 5353));
        let client = Client { peer, path: Path::Udp { listener: 0, local: None } };
        self.out.clear();
        self.gateway.on_query(self.now(), client, black_box(&self.query), &mut self.out);
    }

    /// Answers what was just asked of the upstream.
    fn answer(&mut self) {
        let mut answer = [0; 512];
        let (link, len): (LinkPort, usize) = self
            .out
            .messages()
            .iter()
            .find_map(|message| match message.to {
                To::Upstream(link) => {
                    let asked = self.out.bytes(message);
                    answer[..asked.len()].copy_from_slice(asked);
                    Some((link, asked.len()))
                }
                _ => None,
            })
            .expect("an upstream is asked");
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        let record = b"\xc0\x0c\0\x01\0\x01\0\x01\x51\x80\0\x04\xc0\0\x02\x01";
        answer[len..len + record.len()].copy_from_slice(record);
        self.out.clear();
        self.gateway.on_response(self.now(), From::Udp(link), &answer[..len + record.len()], &mut self.out);
    }

    fn forward(&mut self) {
        self.ask((1_000 + self.asked) % 100_000_000);
        self.answer();
    }
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
fn compare(what: &str, without: Settings, query: fn(&mut Scene)) {
    let (mut off, mut on) = (Scene::new(without), Scene::new(ON));
    for scene in [&mut off, &mut on] {
        scene.ask(1);
        scene.answer();
    }
    let blocks = std::env::var("BLOCKS").ok().and_then(|blocks| blocks.parse().ok()).unwrap_or(BLOCKS);
    let mut times: Vec<[f64; 2]> = (0..blocks).map(|_| [block(&mut off, query), block(&mut on, query)]).collect();
    let mut fastest = |which: usize| {
        times.sort_by(|a, b| a[which].total_cmp(&b[which]));
        times[blocks / 10][which]
    };
    let (off, on) = (fastest(0), fastest(1));
    println!("gateway/{what}: off {off:.1} ns, on {on:.1} ns, {:+.1} ns, ratio {:.4}", on - off, on / off);
}

/// BLOCKS=3 and a filter, under a profiler: `BLOCKS=3 valgrind --tool=callgrind .../gateway-HASH --bench forwarded/all`.
fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let cached: fn(&mut Scene) = |scene| scene.ask(1);
    for (name, query) in [("cached", cached), ("forwarded", Scene::forward)] {
        for (part, without) in [("all", OFF)].into_iter().chain(PARTS) {
            let what = format!("{name}/{part}");
            if what.contains(&filter) {
                compare(&what, without, query);
            }
        }
    }
}
