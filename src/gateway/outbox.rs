//! What the core wants sent: datagrams and stream messages in one preallocated arena, emptied by the driver after each
//! batch. Bounded: when it is full a message is counted and lost, as on any full queue of a network.

use super::{ConnectionId, LinkPort};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A UDP client, from the listener that it asked and the address that it asked there.
    Client {
        /// Index of the listener in the worker.
        listener: u16,
        /// Who asked.
        peer: SocketAddr,
        /// The address that was asked; needed where the listener is bound to a wildcard.
        local: Option<IpAddr>,
    },
    /// A TCP client.
    Stream(ConnectionId),
    /// No bytes: one query of this TCP client gets no answer, so it need not be waited for.
    Silence(ConnectionId),
    /// An upstream, from one of the worker's UDP sockets toward it.
    Upstream(LinkPort),
    /// An upstream, over a pipelined TCP connection that the driver keeps or opens.
    UpstreamStream(LinkPort),
    /// An upstream, over a TCP connection of its own whose messages all go to this client connection: a zone transfer.
    Transfer {
        /// Who gets the messages.
        client: ConnectionId,
        /// Who is asked.
        upstream: LinkPort,
    },
}

/// One message to send.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub to: To,
    /// Its bytes in the arena.
    range: Range<usize>,
}

/// The queue of messages of one batch.
#[derive(Debug)]
pub struct Outbox {
    arena: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    lost: u64,
}

impl Outbox {
    /// An empty outbox for at most `messages_max` messages of together `bytes_max` bytes.
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            arena: vec![0; bytes_max].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(messages_max),
            lost: 0,
        }
    }

    /// Whether a message of `len` bytes still fits.
    pub fn has_room(&self, len: usize) -> bool {
        self.messages.len() < self.messages.capacity() && self.arena.len() - self.used >= len
    }

    /// A buffer of exactly `len` bytes to write a message into, for [`commit`](Self::commit) to queue; what is not
    /// committed is overwritten by the next. `None`, and counted as lost, when there is no room.
    pub fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if !self.has_room(len) {
            self.lost += 1;
            return None;
        }
        Some(&mut self.arena[self.used..self.used + len])
    }

    /// Queues the first `len` bytes of the buffer that [`room`](Self::room) gave last.
    pub fn commit(&mut self, to: To, len: usize) {
        debug_assert!(self.has_room(len), "room was asked for first");
        self.messages.push(Message { to, range: self.used..self.used + len });
        self.used += len;
    }

    /// Queues a copy of `bytes`; false, and counted, when there is no room.
    pub fn push(&mut self, to: To, bytes: &[u8]) -> bool {
        let Some(room) = self.room(bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.commit(to, bytes.len());
        true
    }

    /// The queued messages, oldest first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The bytes of a queued message.
    pub fn bytes(&self, message: &Message) -> &[u8] {
        &self.arena[message.range.clone()]
    }

    /// Empties the queue; the memory stays.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.used = 0;
    }

    /// Messages lost for want of room since the start.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_counts_what_it_loses_and_never_grows() {
        let mut outbox = Outbox::new(2, 8);
        let to = To::Stream(ConnectionId { slot: 1, generation: 1 });
        assert!(outbox.push(to, b"abcd"));
        assert!(!outbox.push(to, b"abcde"), "five bytes do not fit into four");
        assert!(outbox.push(to, b"efgh"));
        assert!(!outbox.push(to, b""), "two messages are the limit");
        assert_eq!(outbox.lost(), 2);
        let sent: Vec<_> = outbox.messages().iter().map(|m| outbox.bytes(m)).collect();
        assert_eq!(sent, [b"abcd", b"efgh"]);
        outbox.clear();
        assert!(outbox.messages().is_empty() && outbox.has_room(8));
    }
}
