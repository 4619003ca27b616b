//! The stage that the core's tests play on: a policy from text, what workers share, cores with their ledgers, virtual time.
//! No socket, no clock, no thread.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod message;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use weir::cache::Cache;
use weir::clock::{Moment, Now};
use weir::gateway::outbox::Outbox;
use weir::gateway::{Client, ConnectionId, Gateway, Path};
use weir::ledger::alerts::Alerts;
use weir::ledger::journal::Journal;
use weir::ledger::samples::Samples;
use weir::ledger::{Ledger, Totals};
use weir::live_policy::{LivePolicy, PublishError, Running, Shared};
use weir::policy::cookies::{CookieJar, Secret};
use weir::policy::document::Files;
use weir::policy::emergency::{Emergency, EmergencyRule};
use weir::policy::filter::Budgets;
use weir::policy::regulars::Regulars;
use weir::policy::rrl::RrlTable;
use weir::policy::source::SourceTables;
use weir::policy::{Options, Policy, load_files};
use weir::storm;

/// Unix time at the start of virtual time: 2026-01-01T00:00:00Z.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

/// Workers whose hits of rules are counted.
const WORKERS_MAX: usize = 8;

/// The second past zero at which virtual time starts, as the process' clock does.
pub(crate) const START: Moment = Moment::from_nanos(1_000_000_000);

/// What a core is told at `at`.
pub(crate) fn now(at: Moment) -> Now {
    Now { at, unix_ms: EPOCH_MS + at.as_nanos() / 1_000_000 }
}

/// The moment `millis` after the start.
pub(crate) fn after(millis: u64) -> Moment {
    START.plus(Duration::from_millis(millis))
}

/// Compiles a policy directory from its files.
///
/// # Panics
/// With the report when it has a fault: the test is wrong then.
pub(crate) fn policy<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Policy {
    let files: Files = files.into_iter().map(|(path, text)| (path, text.as_bytes().to_vec())).collect();
    let options = Options { seed: 7, ..Options::default() };
    match load_files(files, &options) {
        Ok((policy, _)) => policy,
        Err(report) => panic!("the policy of the test has faults: {report:#?}"),
    }
}

/// What workers share, under `policy`.
pub(crate) fn share(policy: Policy, seed: u64) -> Arc<Shared> {
    Arc::new(Shared {
        source: Arc::new(SourceTables::new(policy.source.memory, seed)),
        rrl: RrlTable::new(policy.rrl.memory, seed),
        regulars: Regulars::new(Regulars::BYTES, seed),
        budgets: Budgets::new(seed),
        cookies: CookieJar::new(Secret::new([7; 16])),
        cache: Cache::new(policy.server.cache.size_bytes, seed, 4),
        storm: storm::Common::new(seed, 4096),
        journal: Journal::new(64),
        alerts: Alerts::new(1024),
        samples: Samples::new(4096),
        notices: Default::default(),
        live: LivePolicy::new(policy, WORKERS_MAX, EPOCH_MS).expect("few upstreams"),
    })
}

/// Workers over what they share.
pub(crate) struct Stage {
    /// Shared by all workers.
    pub(crate) shared: Arc<Shared>,
    /// One for each worker.
    pub(crate) ledgers: Vec<Arc<Ledger>>,
    /// The workers; number 0 probes.
    pub(crate) workers: Vec<Gateway>,
    /// What the last calls want sent.
    pub(crate) out: Outbox,
    /// Unix time at the start of virtual time.
    pub(crate) epoch_ms: u64,
    /// Held as the control side holds it until no worker does.
    previous: Vec<Arc<Running>>,
}

impl Stage {
    /// `workers` cores under `policy`; `seed` feeds all their randomness.
    pub(crate) fn new(policy: Policy, workers: usize, flights_max: usize, seed: u64) -> Self {
        let shared = share(policy, seed);
        let ledgers: Vec<_> = (0..workers).map(|_| Arc::new(Ledger::default())).collect();
        let core = |(number, ledger)| {
            let mut bytes = [number as u8; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            Gateway::new(&shared, ledger, number, flights_max, bytes)
        };
        let workers = ledgers.iter().enumerate().map(core).collect();
        Self { shared, ledgers, workers, out: Outbox::new(1024, 4 << 20), epoch_ms: EPOCH_MS, previous: Vec::new() }
    }

    /// What a core is told at `at`.
    pub(crate) fn now(&self, at: Moment) -> Now {
        Now { unix_ms: self.epoch_ms + at.as_nanos() / 1_000_000, at }
    }

    /// Publishes another policy, as the control side does.
    pub(crate) fn reload(&mut self, at: Moment, policy: Policy) {
        self.offer(at, policy).expect("few upstreams, and the mode that is on");
    }

    /// Publishes another policy unless it cannot be: then the running one stays.
    pub(crate) fn offer(&mut self, at: Moment, policy: Policy) -> Result<(), PublishError> {
        let size_bytes = policy.server.cache.size_bytes;
        let (_, previous) = self.shared.live.publish(policy, self.now(at).unix_ms)?;
        self.shared.cache.resize(at, size_bytes);
        self.previous.push(previous);
        Ok(())
    }

    /// Turns an incident mode on, or with `None` off, as the control side does.
    pub(crate) fn switch(&mut self, at: Moment, mode: Option<&str>) {
        let (_, previous) = self.shared.live.set_mode(mode, self.now(at).unix_ms).expect("the policy has the mode");
        self.previous.push(previous);
    }

    /// Puts these emergency rules in force, as the control side does.
    pub(crate) fn block(&mut self, at: Moment, rules: &[EmergencyRule]) {
        let (_, previous) = self.shared.live.set_emergency(Emergency::new(rules, 7), self.now(at).unix_ms);
        self.previous.push(previous);
    }

    /// The sum of all ledgers.
    pub(crate) fn totals(&self) -> Totals {
        Totals::of(self.ledgers.iter().map(|ledger| &**ledger))
    }

    /// Queries of clients and probes that wait for an upstream.
    pub(crate) fn in_flight(&self) -> usize {
        self.workers.iter().map(Gateway::in_flight).sum()
    }
}

/// A client over UDP.
pub(crate) fn udp(peer: SocketAddr) -> Client {
    Client { peer, path: Path::Udp { listener: 0, local: None } }
}

/// A client over TCP, on the connection with this number.
pub(crate) fn tcp(peer: SocketAddr, connection: u32) -> Client {
    Client { peer, path: Path::Tcp(ConnectionId { slot: connection, generation: 1 }) }
}

/// An address in 10.0.0.0/8.
pub(crate) fn inside(host: u32) -> IpAddr {
    IpAddr::from((0x0A00_0000 | host & 0x00FF_FFFF).to_be_bytes())
}
