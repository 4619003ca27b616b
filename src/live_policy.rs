//! The one place where a running policy is replaced: publishing another value is the only change there is.

use crate::cache::Cache;
use crate::ledger::alerts::Alerts;
use crate::ledger::journal::Journal;
use crate::ledger::samples::Samples;
use crate::policy::Policy;
use crate::policy::cookies::CookieJar;
use crate::policy::rrl::RrlTable;
use crate::policy::source::SourceTables;
use crate::storm;
use crate::upstream::{Registry, RegistryFull, Routing};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError};

/// A policy as the workers see it, with the routing that belongs to it.
#[derive(Debug)]
pub struct Running {
    /// What was compiled.
    pub policy: Policy,
    /// Whom to ask.
    pub routing: Routing,
    /// 1 for the first policy of the process, one more for each that followed.
    pub generation: u64,
    /// Unix time, in milliseconds, when it was published.
    pub since_unix_ms: u64,
}

/// The running policy: read by the workers once per batch, replaced whole by the control side.
#[derive(Debug)]
pub struct LivePolicy {
    running: ArcSwap<Running>,
    registry: Mutex<Registry>,
}

impl LivePolicy {
    /// The first policy of the process.
    ///
    /// # Errors
    /// [`RegistryFull`]: more upstreams than there are slots.
    pub fn new(policy: Policy, unix_ms: u64) -> Result<Self, RegistryFull> {
        let mut registry = Registry::default();
        let routing = Routing::new(&policy.server, &mut registry)?;
        let running = Running { policy, routing, generation: 1, since_unix_ms: unix_ms };
        Ok(Self { running: ArcSwap::from_pointee(running), registry: Mutex::new(registry) })
    }

    /// The policy that runs now.
    pub fn load(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// Whether `running` is still the policy that runs; cheap enough for every batch.
    pub fn is_current(&self, running: &Arc<Running>) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.running.load()), Arc::as_ptr(running))
    }

    /// Publishes another policy and returns it with the one that it replaces; the caller drops that one on its own
    /// thread once no worker holds it. Publishers take turns.
    ///
    /// # Errors
    /// [`RegistryFull`]; the running policy stays.
    pub fn publish(&self, policy: Policy, unix_ms: u64) -> Result<(Arc<Running>, Arc<Running>), RegistryFull> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let routing = Routing::new(&policy.server, &mut registry)?;
        let generation = self.running.load().generation + 1;
        let next = Arc::new(Running { policy, routing, generation, since_unix_ms: unix_ms });
        let previous = self.running.swap(Arc::clone(&next));
        Ok((next, previous))
    }
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The policy that runs.
    pub live: LivePolicy,
    /// Limit tables: they outlive a change of policy, because flushing them is an attack window.
    pub source: Arc<SourceTables>,
    /// As above.
    pub rrl: RrlTable,
    /// The secret of the process and the count of BADCOOKIE: as above.
    pub cookies: CookieJar,
    /// Vetted answers; outlive a change of policy, entries know which policy vetted them.
    pub cache: Cache,
    /// What zones hold of the upstreams, and the names that are known to exist.
    pub storm: storm::Common,
    /// Queries on their way to the query log.
    pub journal: Journal,
    /// Attacks that workers have noticed, on their way to whoever tells people.
    pub alerts: Alerts,
    /// Samples of what is asked, on their way to whoever makes out who it is.
    pub samples: Samples,
}
