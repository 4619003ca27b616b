//! A worker's core without sockets, as the benchmarks of the whole core drive it: many clients ask, an upstream answers.

#[allow(dead_code, reason = "not each benchmark needs it")]
pub(crate) mod answers;
#[allow(dead_code, reason = "not each benchmark needs it")]
pub(crate) mod asked;
#[allow(dead_code, reason = "not each benchmark needs it")]
pub(crate) mod names;
#[allow(dead_code, reason = "not each benchmark needs it")]
pub(crate) mod packets;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
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

/// What gateway.toml holds at least.
#[allow(dead_code, reason = "not each benchmark needs it")]
pub(crate) const GATEWAY: &str =
    "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n[cache]\nsize = \"4MiB\"\n";

/// Between two queries: a worker that is busy without a pause.
const GAP_NS: u64 = 3_000;

/// Digits of the first label of the names that are asked for.
const DIGITS: usize = 8;

/// One core and all that it shares with others.
pub(crate) struct Scene {
    gateway: Gateway,
    /// For the control side's part: to take the samples away.
    #[allow(dead_code, reason = "not each benchmark needs it")]
    pub(crate) shared: Arc<Shared>,
    out: Outbox,
    nanos: u64,
    asked: u64,
    query: Vec<u8>,
}

#[allow(dead_code, reason = "not each benchmark needs it")]
impl Scene {
    /// A core under the policy of these files; `samples` as in [`Samples::new`].
    pub(crate) fn new(files: &[(&'static str, &str)], samples: usize) -> Self {
        let files: Files = files.iter().copied().collect();
        let (policy, _) =
            load_files(files, &Options { seed: 7, ..Options::default() }).expect("a policy without faults");
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
            samples: Samples::new(samples),
            notices: Default::default(),
            live: LivePolicy::new(policy, 1, 0).expect("few upstreams"),
        });
        let gateway = Gateway::new(&shared, &Arc::new(Ledger::default()), 1, 64, [7; 32]);
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x0800000000\x0dvideo-clients\x07example\0\0\x01\0\x01".to_vec();
        Self { gateway, shared, out: Outbox::new(64, 1 << 20), nanos: 1_000_000_000, asked: 0, query }
    }

    fn now(&self) -> Now {
        Now { at: Moment::from_nanos(self.nanos), unix_ms: 0 }
    }

    /// Asks for name number `name`, from one of a million loopback addresses.
    pub(crate) fn ask(&mut self, name: u64) {
        let [.., b, c, d] = ((self.asked + 1) % (1 << 20)).to_be_bytes();
        self.ask_from([127, b, c, d], name);
    }

    /// Asks for name number `name` from this address.
    pub(crate) fn ask_from(&mut self, client: [u8; 4], name: u64) {
        self.nanos += GAP_NS;
        self.asked += 1;
        for (at, digit) in self.query[13..13 + DIGITS].iter_mut().rev().enumerate() {
            *digit = b'0' + (name / 10u64.pow(at as u32) % 10) as u8;
        }
        let client = Client { peer: SocketAddr::from((client, 5353)), path: Path::Udp { listener: 0, local: None } };
        self.out.clear();
        self.gateway.on_query(self.now(), client, black_box(&self.query), &mut self.out);
    }

    /// Answers what was just asked of the upstream.
    pub(crate) fn answer(&mut self) {
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

    /// A name that nobody asked for yet, and its answer.
    pub(crate) fn forward(&mut self) {
        self.ask((1_000 + self.asked) % 100_000_000);
        self.answer();
    }

    /// How many queries it was asked.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// What [`Self::ask`] asks for with this number.
    pub(crate) fn name(number: u64) -> String {
        format!("{number:0DIGITS$}.video-clients.example")
    }

    /// The code of the answer that a client got to what was asked last; `None`: silence.
    pub(crate) fn rcode(&self) -> Option<u16> {
        let message = self.out.messages().first()?;
        matches!(message.to, To::Client { .. }).then(|| u16::from(self.out.bytes(message)[3] & 15))
    }
}
