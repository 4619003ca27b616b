//! gateway.toml: where the gateway listens, whom it asks, its cache, its control socket, metrics and log; and
//! `[tcp]` of limits.toml.

use super::{Mode, Profile};
use crate::dns::name::Name;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP for UDP clients, TCP for TCP clients.
    #[default]
    Auto,
    /// Always TCP.
    Tcp,
}

/// `[[upstream]]`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamSettings {
    /// Unique.
    pub name: String,
    /// Port 53 unless given.
    pub address: SocketAddr,
    /// Index in [`Server::pools`].
    pub pool: usize,
    /// A higher tier serves only while no lower one is healthy.
    pub tier: u8,
    /// Share among its tier, 1 to 1000.
    pub weight: u32,
    /// How it is asked.
    pub transport: Transport,
}

/// How a server is chosen within a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The fastest lately, with a few queries to the others to keep knowing.
    #[default]
    Latency,
    /// In turn, by weight.
    RoundRobin,
    /// By the name asked for, so that each server's cache sees its own names.
    Hash,
}

/// `health` of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Between probes.
    pub interval: Duration,
    /// What is asked.
    pub query: (Name, u16),
    /// Failed probes in a row until it is down.
    pub fall: u32,
    /// Good probes in a row until it is up.
    pub rise: u32,
}

/// `[pool.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// Unique; `default` always exists and is number 0.
    pub name: String,
    /// How a server is chosen.
    pub balance: Balance,
    /// For the whole query, retries included.
    pub timeout: Duration,
    /// Further attempts, on another server where there is one.
    pub retries: u32,
    /// Health checks.
    pub health: Health,
}

/// `[[route]]`
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    /// This name and all below.
    pub zone: Name,
    /// Index in [`Server::pools`].
    pub pool: usize,
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// All memory of the cache; 0 turns it off.
    pub size_bytes: u64,
    /// The longest that an answer is kept.
    pub max_ttl: Duration,
    /// The longest that a negative answer is kept (RFC 2308 section 5).
    pub negative_max_ttl: Duration,
    /// How long past its TTL an answer may serve while no fresh one can be had (RFC 8767); 0: never.
    pub stale: Duration,
    /// The longest that a resolution failure is remembered (RFC 9520).
    pub failure_ttl: Duration,
}

/// `[log]` queries
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogQueries {
    /// Nothing.
    None,
    /// Denied ones.
    #[default]
    Denied,
    /// All.
    All,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// Which queries.
    pub queries: LogQueries,
    /// Of those, every Nth.
    pub sample: u32,
    /// At most so many lines a second; what is over is counted.
    pub rate: u32,
    /// Appended to this file; standard output when absent.
    pub file: Option<PathBuf>,
}

/// `[tcp]` of limits.toml
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Whether the per-client limit acts; the limit on all connections always does.
    pub mode: Mode,
    /// Open connections, all clients.
    pub connections: usize,
    /// Open connections of one client address.
    pub per_client: usize,
    /// A connection without a query for so long is closed.
    pub idle: Duration,
    /// A query that has begun must be whole, and an answer taken, within this.
    pub stall: Duration,
    /// Queries of one connection that may be waiting for an answer; then reading pauses.
    pub pipeline: usize,
}

/// gateway.toml, compiled.
#[derive(Clone, Debug)]
pub struct Server {
    /// Which defaults fit.
    pub profile: Profile,
    /// UDP and TCP on each.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// Reload by itself when the files change.
    pub watch: bool,
    /// Servers to ask.
    pub upstreams: Vec<UpstreamSettings>,
    /// Pools; number 0 is `default`.
    pub pools: Vec<PoolSettings>,
    /// Which names go to which pool; the longest suffix wins.
    pub routes: Vec<RouteSettings>,
    /// `[cache]`
    pub cache: CacheSettings,
    /// `[control] socket`
    pub control_socket: Option<PathBuf>,
    /// `[metrics] listen`
    pub metrics: Option<SocketAddr>,
    /// `[log]`
    pub log: LogSettings,
}
