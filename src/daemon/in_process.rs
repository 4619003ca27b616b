//! A gateway on a free port of loopback inside this process, for drills: the workers and nothing around them.

use super::{RunError, engine, lookout, share};
use crate::clock::Clock;
use crate::dns::name::Name;
use crate::language::text;
use crate::ledger::active::Change;
use crate::ledger::alerts::Alert;
use crate::ledger::watch::Watch;
use crate::ledger::{Ledger, Totals};
use crate::listen::{Event, Workers};
use crate::live_policy::Shared;
use crate::policy::Policy;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A running gateway.
#[derive(Debug)]
pub(crate) struct InProcess {
    workers: Workers,
    shared: Arc<Shared>,
    clock: Clock,
    ledger: Arc<Ledger>,
    runtime: tokio::runtime::Runtime,
    /// Where it answers, over UDP and TCP.
    pub(crate) address: SocketAddr,
}

impl InProcess {
    /// Starts one worker under `policy`, whatever that says about listeners.
    ///
    /// # Errors
    /// What the system refused.
    pub(crate) fn start(mut policy: Policy) -> Result<Self, RunError> {
        Arc::make_mut(&mut policy.server).listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let clock = Clock::start();
        let shared = Arc::new(share(policy, clock)?);
        let ledger = Arc::new(Ledger::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::System)?;
        let workers = runtime.block_on(engine::start_workers(&shared, &[Arc::clone(&ledger)], clock))?;
        let address = workers.listeners().first().copied();
        let address = address.ok_or_else(|| RunError::Workers(text!("it listens nowhere")))?;
        Ok(Self { workers, shared, clock, ledger, runtime, address })
    }

    /// What became of queries.
    pub(crate) fn totals(&self) -> Totals {
        Totals::of([&*self.ledger])
    }

    /// How often something happened on sockets and connections.
    pub(crate) fn count(&self, event: Event) -> u64 {
        self.workers.count(event)
    }

    /// What was noticed of nothing yet.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.clock.now().at)
    }

    /// Looks at what the worker has sampled and noticed, as a running gateway does ten times a second; attacks that have
    /// begun go to `tell`.
    pub(crate) fn look(&self, watch: &mut Watch, tell: &mut impl FnMut(&Alert)) {
        let running = self.shared.live.load();
        lookout::look(watch, &self.shared, &running, self.clock.now(), &mut |change| {
            if let Change::Begun(alert) = change {
                tell(&alert);
            }
        });
    }

    /// Questions for this zone that wait for the upstream now.
    pub(crate) fn zone_in_flight(&self, zone: &Name) -> u32 {
        let storm = &self.shared.storm;
        storm.inflight.of(storm.hash(zone))
    }

    /// Questions for one zone that may wait for the upstream while it fails.
    pub(crate) fn zone_share(&self) -> u32 {
        let running = self.shared.live.load();
        let pool = running.routing.pool_for(&Name::root()).0;
        running.policy.storm.share(running.routing.capacity(pool))
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.runtime.block_on(self.workers.drain(Duration::from_secs(3)));
    }
}
