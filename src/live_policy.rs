//! The one place where a running policy is replaced: publishing another value is the only change there is.

use crate::cache::Cache;
use crate::policy::Policy;
use crate::policy::rrl::RrlTable;
use crate::policy::source::SourceTables;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// A policy and the upstream state that belongs to it.
#[derive(Debug)]
pub struct Running {
    /// What was compiled.
    pub policy: Policy,
    /// 1 for the first policy of the process, one more for each that followed.
    pub generation: u64,
    /// Unix time, in milliseconds, when it was published.
    pub since_unix_ms: u64,
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The policy that runs.
    pub live: ArcSwap<Running>,
    /// Limit tables: they outlive a change of policy, because flushing them is an attack window.
    pub source: Arc<SourceTables>,
    /// As above.
    pub rrl: RrlTable,
    /// Vetted answers; outlives a change of policy, entries know which policy vetted them.
    pub cache: Cache,
}
