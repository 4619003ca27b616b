//! What the drivers count, beside the ledger, which counts queries: datagrams, connections and everything that is lost.
//!
//! One [`Tally`] per worker, written by that worker alone, so that an addition is a plain load and store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that a driver counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            /// All events, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        const EVENTS: usize = Event::ALL.len();
    };
}

events! {
    /// Datagrams read from listeners and handed to the core.
    UdpQueries = "udp-queries",
    /// Datagrams from port 0, which is always forged and where nobody could be answered: dropped.
    UdpUnanswerable = "udp-unanswerable",
    /// Datagrams that the kernel took for clients.
    UdpReplies = "udp-replies",
    /// Replies that the kernel did not take (no room, no route): lost, as on any full queue of a network.
    UdpRepliesLost = "udp-replies-lost",
    /// Datagrams that the kernel dropped because a listener's receive buffer was full.
    UdpOverflow = "udp-overflow",
    /// Datagrams dropped unread, nearly all by the kernel, for a source that floods a worker which is behind, or for a
    /// stranger in a flood from very many; while a flood is thinned, drops for want of room are counted here too.
    UdpThinned = "udp-thinned",
    /// Sources that were caught flooding a worker which was behind.
    FloodSources = "flood-sources",
    /// Times that a worker was flooded from so many sources that none could be caught, and thinned those not known.
    Crowds = "crowds",
    /// Times that a worker could not keep up for longer than a burst lasts.
    Overloads = "overloads",
    /// A listener or upstream socket reported an error of its own on reading.
    UdpErrors = "udp-errors",
    /// Datagrams that the kernel took for upstreams.
    UpstreamSent = "upstream-sent",
    /// Datagrams that the kernel did not take for upstreams.
    UpstreamLost = "upstream-lost",
    /// Datagrams read from upstreams.
    UpstreamReceived = "upstream-received",
    /// Responses larger than the receive buffer, handed on as truncated.
    UpstreamOversized = "upstream-oversized",
    /// An upstream could not be reached (UDP or TCP).
    UpstreamUnreachable = "upstream-unreachable",
    /// UDP sockets opened toward upstreams.
    UpstreamSockets = "upstream-sockets",
    /// TCP connections opened toward upstreams, transfers included.
    StreamsOpened = "streams-opened",
    /// TCP connections toward upstreams that failed with queries waiting.
    StreamsFailed = "streams-failed",
    /// Messages for upstreams that found no room on a TCP connection.
    StreamsLost = "streams-lost",
    /// Client connections accepted.
    TcpAccepted = "tcp-accepted",
    /// Accepting had to wait: connections were at their bound, and none was idle.
    TcpFull = "tcp-full",
    /// Client connections closed at once: too many of that client; in monitor mode, those that would have been.
    TcpClientFull = "tcp-client-full",
    /// Client connections closed at once: opened too fast by that client or the network around it; in monitor mode, those
    /// that would have been.
    TcpRate = "tcp-rate",
    /// Idle client connections closed for new ones, the bound being reached.
    TcpEvicted = "tcp-evicted",
    /// accept(2) failed, of descriptors or memory.
    TcpAcceptErrors = "tcp-accept-errors",
    /// Messages read from client connections.
    TcpQueries = "tcp-queries",
    /// Messages wholly written to client connections.
    TcpAnswers = "tcp-answers",
    /// Answers for connections that were gone or cut off.
    TcpAnswersLost = "tcp-answers-lost",
    /// Client connections closed for want of queries.
    TcpIdle = "tcp-idle",
    /// Client connections cut off with half a query, or that did not take their answers.
    TcpStalled = "tcp-stalled",
    /// Client connections closed for a message that cannot be one (under 12 bytes).
    TcpGarbage = "tcp-garbage",
    /// Zone transfers begun.
    Transfers = "transfers",
    /// Messages of zone transfers passed on.
    TransferMessages = "transfer-messages",
    /// Zone transfers refused because too many run, or too many of that client.
    TransfersFull = "transfers-full",
    /// Zone transfers that broke off or never began.
    TransfersFailed = "transfers-failed",
    /// Messages lost because the outbox was full.
    OutboxLost = "outbox-lost",
}

/// The counters of one worker, on cache lines of their own: what lies beside them is another's.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally([AtomicU64; EVENTS]);

impl Default for Tally {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; EVENTS])
    }
}

impl Tally {
    /// How often `event` happened.
    pub fn of(&self, event: Event) -> u64 {
        self.0[event as usize].load(Relaxed)
    }

    /// Adds `count`; only ever called by the worker that owns the tally.
    pub(super) fn add(&self, event: Event, count: u64) {
        let cell = &self.0[event as usize];
        cell.store(cell.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Adds one.
    pub(super) fn one(&self, event: Event) {
        self.add(event, 1);
    }

    /// Sets a counter that is kept elsewhere.
    pub(super) fn set(&self, event: Event, count: u64) {
        self.0[event as usize].store(count, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_event_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Event::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(names.len(), EVENTS);
        let tally = Tally::default();
        for (i, event) in (1..).zip(Event::ALL) {
            tally.add(*event, i);
        }
        assert!((1..).zip(Event::ALL).all(|(i, event)| tally.of(*event) == i));
    }
}
