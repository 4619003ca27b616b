//! The request path: a query's whole life, top to bottom, without I/O. A worker's [`Gateway`] takes bytes and time and
//! fills an [`Outbox`]; it owns no socket, reads no clock and never waits.

pub mod outbox;

use crate::clock::Now;
use crate::live_policy::Shared;
pub use crate::upstream::{LINKS_MAX, LinkId};
use outbox::Outbox;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A TCP connection of a worker; the generation tells a reused slot from the connection that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Slot in the worker's table of connections.
    pub slot: u32,
    /// Which use of the slot.
    pub generation: u32,
}

/// An upstream as seen from a worker, with the local port (UDP socket) that is or was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkPort {
    /// The upstream: its slot in the registry, and which use of the slot.
    pub link: LinkId,
    /// Which of the worker's sockets toward it, below [`PORTS`]; 0 for TCP.
    pub port: u8,
}

/// UDP sockets that a worker may hold toward one upstream: half of them in use, half waiting for late answers.
pub const PORTS: usize = 8;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A datagram.
    Udp {
        /// Index of the listener in the worker.
        listener: u16,
        /// The address that was asked, on a wildcard listener.
        local: Option<IpAddr>,
    },
    /// A message on a stream.
    Tcp(ConnectionId),
}

/// Who asked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Address and port.
    pub peer: SocketAddr,
    /// Transport.
    pub path: Path,
}

/// Over what a response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A UDP socket toward an upstream.
    Udp(LinkPort),
    /// A pipelined TCP connection toward an upstream.
    Tcp(LinkPort),
}

/// One worker's core.
#[derive(Debug)]
pub struct Gateway {}

impl Gateway {
    /// A core over what all workers share. `seed` feeds its random ids and letter cases; `worker` 0 also probes the
    /// upstreams' health.
    pub fn new(_shared: &Arc<Shared>, _worker: usize, _seed: [u8; 32]) -> Self {
        todo!()
    }

    /// Takes notice of a new policy, once per batch; everything until the next call sees one policy.
    pub fn begin_batch(&mut self) {
        todo!()
    }

    /// A message from a client.
    pub fn on_query(&mut self, _now: Now, _client: Client, _packet: &[u8], _out: &mut Outbox) {
        todo!()
    }

    /// A message from an upstream.
    pub fn on_response(&mut self, _now: Now, _from: From, _packet: &[u8], _out: &mut Outbox) {
        todo!()
    }

    /// An upstream could not be reached over this path (connection refused, reset, no route): what waits there is
    /// tried elsewhere at once.
    pub fn on_unreachable(&mut self, _now: Now, _from: From, _out: &mut Outbox) {
        todo!()
    }

    /// A datagram larger than the receive buffer came: the upstream's answer counts as truncated.
    /// Timers: deadlines, retries, health probes, rotation of ports. To be called about every 10 ms.
    pub fn on_tick(&mut self, _now: Now, _out: &mut Outbox) {
        todo!()
    }

    /// Ports whose sockets the driver has to close and open anew on its next use (random source ports, rotated); the
    /// driver takes them after each tick.
    pub fn take_rotated(&mut self) -> Option<LinkPort> {
        todo!()
    }

    /// Where the upstream of a link is; `None` once it has left the policy and nothing waits for it any more, then the
    /// driver closes its sockets.
    pub fn link_address(&self, _link: LinkId) -> Option<SocketAddr> {
        todo!()
    }

    /// Queries that wait for an upstream; a drain ends when it is 0.
    pub fn in_flight(&self) -> usize {
        todo!()
    }
}
