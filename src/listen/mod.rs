//! The drivers: they read sockets and clocks, hand bytes and time to a [`Core`], and send what it puts into its outbox.
//!
//! A worker is one thread with one runtime: its UDP sockets, its TCP connections and its sockets toward the upstreams live
//! on it and share its core without a lock, so that a response comes back to the worker that asked. [`Workers`] is how the
//! control side starts, changes and ends them.
//!
//! | file | what it drives |
//! |---|---|
//! | `workers`, `bind` | the control side: start, listeners, drain; sockets and why they could not be had |
//! | `worker` | one thread: what it holds, its tasks, and one batch through the core |
//! | `post` | what the core wants sent, sorted by socket |
//! | `datagrams`, `gather`, `links` | UDP listeners, and when they read; UDP sockets toward upstreams |
//! | `socket` | how both read and send: a batch a call, no call for nothing, what looks alike as one |
//! | `strain`, `heavy`, `sieve`, `overload` | whether a worker keeps up, who floods it, and thinning that in the kernel |
//! | `crowd`, `strangers`, `rush` | a flood from everywhere: how many strangers pass, how the kernel tells them, what is told |
//! | `accept`, `connection`, `connections` | TCP listeners and connections (RFC 7766); which goes when there is no room |
//! | `census`, `gate` | how many connections each client has and how fast it opens them; TCP's share of a worker |
//! | `streams`, `unanswered` | TCP toward upstreams: shared connections, and what is due on them |
//! | `transfer`, `transfer_end` | zone transfers, each over a connection of its own, and where they end |
//! | `transfer_pace` | how slowly a client may take a transfer |
//! | `frames` | messages on a stream, in and out |
//! | `tally` | what the drivers count |

mod accept;
mod bind;
mod census;
mod connection;
mod connections;
mod crowd;
mod datagrams;
mod frames;
mod gate;
mod gather;
mod heavy;
mod links;
mod overload;
mod post;
mod rush;
mod sieve;
mod socket;
mod strain;
mod strangers;
mod streams;
mod tally;
mod transfer;
mod transfer_end;
mod transfer_pace;
mod unanswered;
mod worker;
mod workers;

pub use bind::{ListenError, Protocol};
pub use tally::{Event, Tally};
pub use workers::{Settings, StartError, Workers};

use crate::clock::{Moment, Now};
use crate::gateway::outbox::Outbox;
use crate::gateway::{Client, From, Gateway, LinkId, LinkPort};
use crate::ledger::alerts::Numbers;
use crate::policy::networks::NetworkSet;
use crate::policy::overload::Pressure;
use crate::policy::regulars::Regulars;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a worker drives: the gateway, or in tests something simpler. The methods are those of [`Gateway`].
pub trait Core: 'static {
    /// Called before each batch: take notice of a new policy.
    fn begin_batch(&mut self);
    /// Whether the worker keeps up, from the next query on.
    fn set_pressure(&mut self, _pressure: Pressure) {}
    /// Whether a datagram comes too late to be looked at, having waited for so long; it has been counted then.
    fn is_late(&mut self, _client: Client, _waited: Duration) -> bool {
        false
    }
    /// How long the next query has lain in its socket; zero for one of which nothing is said.
    fn set_waited(&mut self, _waited: Duration) {}
    /// Whether the core has given answers of its own since it was last told that they are sent.
    fn has_unsent(&self) -> bool {
        false
    }
    /// They are sent.
    fn on_sent(&mut self, _at: Moment) {}
    /// What one source may have each second while the worker is behind; `None`: nobody is shed.
    fn shed_rate(&self) -> Option<u32> {
        None
    }
    /// Whether a source is never shed.
    fn is_spared(&self, _client: IpAddr) -> bool {
        false
    }
    /// All such sources.
    fn spared(&self) -> Option<&NetworkSet> {
        None
    }
    /// Who is known from before a flood; `None`: nobody is told from anybody.
    fn regulars(&self) -> Option<&Regulars> {
        None
    }
    /// The worker is flooded from very many sources, and strangers are thinned; about once a second while it lasts.
    fn flooded_by_many(&mut self, _now: Now, _numbers: Numbers) {}
    /// A message from a client that will be handed over soon, one of several: the memory that they need can be asked for
    /// before the first is looked at.
    fn foresee(&mut self, _packet: &[u8]) {}
    /// All of the group have been foreseen.
    fn fetch_foreseen(&mut self) {}
    /// A message from a client.
    fn on_query(&mut self, now: Now, client: Client, packet: &[u8], out: &mut Outbox);
    /// A message from an upstream.
    fn on_response(&mut self, now: Now, from: From, packet: &[u8], out: &mut Outbox);
    /// An upstream could not be reached over this path.
    fn on_unreachable(&mut self, now: Now, from: From, out: &mut Outbox);
    /// A connection to an upstream has ended with the message of this id unanswered; the core sends it again, or answers, at
    /// the next tick.
    fn on_ended(&mut self, now: Now, from: From, message: u16);
    /// Timers.
    fn on_tick(&mut self, now: Now, out: &mut Outbox);
    /// A port whose socket is to be closed; asked until there is none, after each tick.
    fn take_rotated(&mut self) -> Option<LinkPort>;
    /// Where an upstream is; `None` when its sockets are to be closed.
    fn link_address(&self, link: LinkId) -> Option<SocketAddr>;
    /// Queries that wait for an upstream.
    fn in_flight(&self) -> usize;
}

impl Core for Gateway {
    fn begin_batch(&mut self) {
        Self::begin_batch(self);
    }

    fn set_pressure(&mut self, pressure: Pressure) {
        Self::set_pressure(self, pressure);
    }

    fn is_late(&mut self, client: Client, waited: Duration) -> bool {
        Self::is_late(self, client, waited)
    }

    fn set_waited(&mut self, waited: Duration) {
        Self::set_waited(self, waited);
    }

    fn has_unsent(&self) -> bool {
        Self::has_unsent(self)
    }

    fn on_sent(&mut self, at: Moment) {
        Self::on_sent(self, at);
    }

    fn shed_rate(&self) -> Option<u32> {
        Self::shed_rate(self)
    }

    fn is_spared(&self, client: IpAddr) -> bool {
        Self::is_spared(self, client)
    }

    fn spared(&self) -> Option<&NetworkSet> {
        Some(Self::spared(self))
    }

    fn regulars(&self) -> Option<&Regulars> {
        Some(Self::regulars(self))
    }

    fn flooded_by_many(&mut self, now: Now, numbers: Numbers) {
        Self::flooded_by_many(self, now, numbers);
    }

    fn foresee(&mut self, packet: &[u8]) {
        Self::foresee(self, packet);
    }

    fn fetch_foreseen(&mut self) {
        Self::fetch_foreseen(self);
    }

    fn on_query(&mut self, now: Now, client: Client, packet: &[u8], out: &mut Outbox) {
        Self::on_query(self, now, client, packet, out);
    }

    fn on_response(&mut self, now: Now, from: From, packet: &[u8], out: &mut Outbox) {
        Self::on_response(self, now, from, packet, out);
    }

    fn on_unreachable(&mut self, now: Now, from: From, out: &mut Outbox) {
        Self::on_unreachable(self, now, from, out);
    }

    fn on_ended(&mut self, now: Now, from: From, message: u16) {
        Self::on_ended(self, now, from, message);
    }

    fn on_tick(&mut self, now: Now, out: &mut Outbox) {
        Self::on_tick(self, now, out);
    }

    fn take_rotated(&mut self) -> Option<LinkPort> {
        Self::take_rotated(self)
    }

    fn link_address(&self, link: LinkId) -> Option<SocketAddr> {
        Self::link_address(self, link)
    }

    fn in_flight(&self) -> usize {
        Self::in_flight(self)
    }
}
