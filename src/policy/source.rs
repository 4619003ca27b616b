//! source: how often one client, and the networks around it, may ask.

use super::Mode;
use super::networks::NetworkSet;
use crate::clock::Moment;
use std::net::IpAddr;
use std::sync::Arc;

/// limits.toml `[source]`, compiled.
#[derive(Debug)]
pub struct SourcePolicy {
    /// enforce, monitor or off.
    pub mode: Mode,
    /// Queries per second for one address.
    pub rate: u32,
    /// How many may come at once.
    pub burst: u32,
    /// Of the queries over the limit every Nth gets TC=1, the rest silence; 0: silence for all.
    pub slip: u32,
    /// Never limited.
    pub exempt: NetworkSet,
}

/// The state of all limits in fixed memory, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct SourceTables {}

impl SourceTables {
    /// Allocates tables of at most `bytes` in all; it never grows. `seed` keys the hashes.
    pub fn new(_bytes: usize, _seed: u64) -> Self {
        todo!()
    }
}

/// One worker's limiter over the shared tables.
#[derive(Debug)]
pub struct SourceLimit {}

/// What the source limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceVerdict {
    /// Within every level's limit; charged.
    Within,
    /// Over: answer with TC=1.
    Slip,
    /// Over: silence.
    Drop,
}

impl SourceLimit {
    /// A limiter for `policy` over `tables`; made again when the policy changes, while the tables stay.
    pub fn new(_tables: &Arc<SourceTables>, _policy: &SourcePolicy) -> Self {
        todo!()
    }

    /// Checks all levels around `client`, then charges all, or none when one is over. Exempt sources and mode `off`
    /// are `Within`; mode `monitor` says what it would do, and the caller lets it pass.
    pub fn check(&mut self, _policy: &SourcePolicy, _now: Moment, _client: IpAddr, _verified: bool) -> SourceVerdict {
        todo!()
    }
}
