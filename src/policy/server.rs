//! gateway.toml: where the gateway listens, whom it asks, its cache, its control socket, metrics and log; and
//! `[tcp]` of limits.toml.
//!
//! Everything has a default: an empty file is a gateway on loopback port 1053 before the nameservers of resolv.conf.
//! Reading whom it asks has a file of its own, [`pools`].

pub mod pools;
pub mod surroundings;

use super::document::values::address;
use super::document::{Code, Table};
use super::guard::GuardSettings;
use super::{Mode, Profile};
use crate::dns::name::Name;
use crate::language::text;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
pub use surroundings::Surroundings;

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
    /// Further attempts, on another server where there is one, when nothing comes back or one fails the question; at most
    /// [`RETRIES_MAX`].
    pub retries: u32,
    /// Questions that one server of the pool works on at a time, 1 to 1000000; default 1024, which is about what a thread of
    /// Unbound holds (`num-queries-per-thread`). Not a limit: `[storm]` shares it out among zones.
    pub inflight: u32,
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

/// `[top]`: what `weir top` and the alerts about floods and reflection are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopSettings {
    /// Queries that each worker samples a second, about, 100 to 20000; default 4000, which tell a share of 1 % to about a
    /// sixth of itself. 0: none; then `weir top` is empty and only zones raise alerts.
    pub samples: u32,
}

/// `[tcp]` of limits.toml
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Whether the limits per client act; the limit on all connections always does.
    pub mode: Mode,
    /// Open connections, all clients.
    pub connections: usize,
    /// Open connections of one client: an address of IPv4, a /64 of IPv6, which is one subscriber's link.
    pub per_client: usize,
    /// New connections a second of one client; of the /24 or /56 around it eight or three times as many. Two seconds' worth
    /// may come at once.
    pub rate: u32,
    /// A connection without a query for so long is closed.
    pub idle: Duration,
    /// A query that has begun must be whole, and an answer taken, within this.
    pub stall: Duration,
    /// Queries of one connection that may be waiting for an answer; then reading pauses.
    pub pipeline: usize,
}

/// The largest settings that bound memory or work; what is over is a fault.
/// The most retries of a query; a retry is load on servers that may be in trouble already.
pub const RETRIES_MAX: u32 = 5;

const WORKERS_MAX: usize = 256;
const LISTENERS_MAX: usize = 64;

/// The longest path of a Unix socket (`sun_path` without its zero).
const SOCKET_PATH_MAX: usize = 107;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// gateway.toml, compiled.
#[derive(Clone, Debug, PartialEq)]
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
    /// `[top]`
    pub top: TopSettings,
    /// `[guard]`
    pub guard: GuardSettings,
}

impl UpstreamSettings {
    /// Whether it is asked over TCP for a client that came over TCP (`client_tcp`) or not.
    pub fn is_asked_over_tcp(&self, client_tcp: bool) -> bool {
        client_tcp || self.transport == Transport::Tcp
    }
}

impl Server {
    /// Reads gateway.toml.
    pub fn read(t: &Table<'_>, surroundings: &Surroundings) -> Self {
        t.number("schema", 1..=1, 1_u32);
        let profiles = [("recursive", Profile::Recursive), ("authoritative", Profile::Authoritative)];
        let listen = read_listen(t);
        let asked = pools::read(t, &listen, surroundings);
        let metrics = t.table("metrics");
        if metrics.is_present() && !metrics.has("listen") {
            metrics.missing("listen");
        }
        Self {
            profile: t.choice("profile", &profiles, Profile::Recursive),
            listen,
            workers: t.number("workers", 0..=WORKERS_MAX, 0),
            watch: t.flag("watch", true),
            upstreams: asked.upstreams,
            pools: asked.pools,
            routes: asked.routes,
            cache: CacheSettings::read(&t.table("cache")),
            control_socket: read_control(&t.table("control"), surroundings),
            metrics: metrics.address("listen", 9153).map(|address| address.value),
            log: LogSettings::read(&t.table("log")),
            top: TopSettings::read(&t.table("top")),
            guard: GuardSettings::read(&t.table("guard")),
        }
    }
}

/// `listen`: UDP and TCP on each; port 53 unless given.
fn read_listen(t: &Table<'_>) -> Vec<SocketAddr> {
    if !t.has("listen") {
        return vec![SocketAddr::from(([127, 0, 0, 1], 1053)), SocketAddr::from((Ipv6Addr::LOCALHOST, 1053))];
    }
    let texts = t.list("listen");
    if texts.is_empty() {
        t.fault("listen", Code::Empty, text!("the gateway must listen somewhere"), text!("such as \"127.0.0.1:1053\""));
    }
    if texts.len() > LISTENERS_MAX {
        t.fault(
            "listen",
            Code::TooMany,
            text!("more than {most} addresses to listen on", most = LISTENERS_MAX),
            text!("remove some"),
        );
        return Vec::new();
    }
    let mut listen = Vec::new();
    for text in &texts {
        let Some(address) = address(text, 53, t.faults()) else { continue };
        if listen.contains(&address) {
            let message = text!("{address} is listened on twice", address);
            t.faults().add(Code::Duplicate, &text.place, message, text!("remove one of the two"));
        }
        listen.push(address);
    }
    listen
}

/// `[control] socket`: a path, or "off".
fn read_control(t: &Table<'_>, surroundings: &Surroundings) -> Option<PathBuf> {
    let Some(socket) = t.text("socket") else { return surroundings.control_socket.clone() };
    if socket.value.is_empty() || socket.value.len() > SOCKET_PATH_MAX || socket.value.contains('\0') {
        let message = text!("control.socket must be a path of 1 to {most} bytes, or \"off\"", most = SOCKET_PATH_MAX);
        t.faults().add(Code::Value, &socket.place, message, text!("such as \"/run/weir/control.sock\""));
        return None;
    }
    (socket.value != "off").then(|| PathBuf::from(socket.value))
}

impl CacheSettings {
    /// The smallest cache that is one.
    const SIZE_MIN: u64 = 1 << 20;

    fn read(t: &Table<'_>) -> Self {
        let size_bytes = t.size("size", 0..=1 << 40, 64 << 20);
        if (1..Self::SIZE_MIN).contains(&size_bytes) {
            t.fault(
                "size",
                Code::Range,
                text!("cache.size must be 0 or at least 1MiB"),
                text!("0 turns the cache off"),
            );
        }
        Self {
            size_bytes,
            // RFC 8767 section 4: a cap on TTLs of at most seven days is recommended.
            max_ttl: t.duration("max_ttl", SECOND..=7 * DAY, DAY),
            negative_max_ttl: t.duration("negative_max_ttl", Duration::ZERO..=7 * DAY, HOUR),
            stale: t.duration("stale", Duration::ZERO..=7 * DAY, HOUR),
            // RFC 9520 section 3.2: "Resolvers MUST cache resolution failures for at least 1 second" and "MUST NOT
            // cache resolution failures for longer than 5 minutes".
            failure_ttl: t.duration("failure_ttl", SECOND..=5 * MINUTE, 30 * SECOND),
        }
    }
}

impl LogSettings {
    fn read(t: &Table<'_>) -> Self {
        let queries = [("none", LogQueries::None), ("denied", LogQueries::Denied), ("all", LogQueries::All)];
        let file = if t.has("file") { t.required_text("file") } else { None };
        Self {
            queries: t.choice("queries", &queries, LogQueries::Denied),
            sample: t.number("sample", 1..=1_000_000, 1),
            rate: t.number("rate", 1..=1_000_000, 1_000),
            file: file.map(|file| PathBuf::from(file.value)),
        }
    }
}

impl TopSettings {
    fn read(t: &Table<'_>) -> Self {
        let samples = t.number("samples", 0..=20_000, 4_000);
        if (1..100).contains(&samples) {
            t.fault(
                "samples",
                Code::Range,
                text!("top.samples must be 0 or at least 100"),
                text!("0: nothing is sampled"),
            );
        }
        Self { samples }
    }
}

impl TcpLimits {
    /// Reads `[tcp]` of limits.toml.
    pub fn read(t: &Table<'_>) -> Self {
        let limits = Self {
            mode: t.mode(Mode::Enforce),
            connections: t.number("connections", 1..=1_000_000, 10_000),
            per_client: t.number("per_client", 1..=1_000_000, 20),
            rate: t.number("rate", 1..=1_000_000, 100),
            idle: t.duration("idle", SECOND..=HOUR, 10 * SECOND),
            stall: t.duration("stall", SECOND / 10..=MINUTE, 5 * SECOND),
            pipeline: t.number("pipeline", 1..=1_000, 100),
        };
        if limits.per_client > limits.connections && t.has("per_client") {
            let message = text!(
                "tcp.per_client is larger than tcp.connections ({connections})",
                connections = limits.connections
            );
            t.fault(
                "per_client",
                Code::Conflict,
                message,
                text!("one client could then hold all connections and more"),
            );
        }
        limits
    }
}

#[cfg(test)]
mod tests;
