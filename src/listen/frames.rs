//! Messages on a stream: each is preceded by its length in two bytes (RFC 1035 section 4.2.2), and neither end of a message
//! has anything to do with the ends of segments (RFC 7766 section 8).
//!
//! A connection that waits owns no buffer: bytes are read into the worker's scratch memory, and only what is left over, a
//! message that has begun or messages that must wait, is copied into memory of the connection's own.

use std::io;
use tokio::net::TcpStream;

/// Bytes of the length.
const PREFIX: usize = 2;

/// Memory that an empty queue may keep.
const KEPT_MAX: usize = 8 * 1024;

/// What is read at once at most: a client's unread queries stay in the kernel, where they hold it back.
pub(super) const READ_MAX: usize = 16 * 1024;

/// Whether the next message is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Yes.
    Next,
    /// Not now.
    Pause,
}

/// The length of the message that `bytes` begins with, prefix included, once the prefix is there.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (prefix, _) = bytes.split_first_chunk::<PREFIX>()?;
    Some(PREFIX + usize::from(u16::from_be_bytes(*prefix)))
}

/// The whole message that `bytes` begins with, and its length with prefix.
fn whole(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let len = frame_len(bytes)?;
    Some((bytes.get(PREFIX..len)?, len))
}

/// Hands out whole messages until there is none or `take` pauses; returns how many bytes and messages were used.
fn take_whole(bytes: &[u8], take: &mut dyn FnMut(&[u8]) -> Flow) -> (usize, usize) {
    let (mut used, mut messages) = (0, 0);
    while let Some((message, len)) = whole(&bytes[used..]) {
        used += len;
        messages += 1;
        if take(message) == Flow::Pause {
            break;
        }
    }
    (used, messages)
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes; 0: the other side has said all it will.
    pub(super) bytes: usize,
    /// Messages handed out.
    pub(super) messages: usize,
}

/// The incoming half of a stream.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    held: Vec<u8>,
}

impl FrameReader {
    /// Whether a whole message is held back.
    pub(super) fn has_whole(&self) -> bool {
        whole(&self.held).is_some()
    }

    /// Whether a message has begun and is not whole yet.
    pub(super) fn is_partial(&self) -> bool {
        !self.held.is_empty() && !self.has_whole()
    }

    /// Hands out messages that were held back; returns how many.
    pub(super) fn take_held(&mut self, take: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        let (used, messages) = take_whole(&self.held, take);
        if used == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..used);
        }
        messages
    }

    /// Reads once, without waiting, and hands out the messages that became whole. Not to be called while
    /// [`Self::has_whole`], or messages would change their order.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read, and what the stream says.
    pub(super) fn read(
        &mut self,
        stream: &TcpStream,
        scratch: &mut [u8],
        take: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> io::Result<Read> {
        debug_assert!(!self.has_whole(), "held messages come first");
        if self.held.is_empty() {
            let bytes = stream.try_read(&mut scratch[..READ_MAX])?;
            let (used, messages) = take_whole(&scratch[..bytes], take);
            self.held.extend_from_slice(&scratch[used..bytes]);
            return Ok(Read { bytes, messages });
        }
        // The rest of the message that has begun, and no more, so that it is never copied again.
        let wanted = frame_len(&self.held).unwrap_or(PREFIX) - self.held.len();
        let bytes = stream.try_read(&mut scratch[..wanted.min(READ_MAX)])?;
        self.held.extend_from_slice(&scratch[..bytes]);
        let messages = if self.has_whole() { self.take_held(take) } else { 0 };
        Ok(Read { bytes, messages })
    }
}

/// What one write achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes that the kernel took.
    pub(super) bytes: usize,
    /// Messages that are out wholly.
    pub(super) messages: usize,
}

/// The outgoing half of a stream.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the first message that is not out yet ends.
    front_end: usize,
}

impl SendQueue {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Queues a message of at most 65 535 bytes; returns by how much the queue grew, 0 for a message that is too long to
    /// be one.
    pub(super) fn push(&mut self, message: &[u8]) -> usize {
        let Ok(len) = u16::try_from(message.len()) else { return 0 };
        if self.bytes.is_empty() {
            self.front_end = PREFIX + message.len();
        }
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(message);
        PREFIX + message.len()
    }

    /// Writes as much as the kernel takes, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing, and what the stream says.
    pub(super) fn write(&mut self, stream: &TcpStream) -> io::Result<Written> {
        let bytes = stream.try_write(&self.bytes[self.sent..])?;
        let messages = self.advance(bytes);
        Ok(Written { bytes, messages })
    }

    /// `count` more bytes are out; returns how many messages that completed.
    fn advance(&mut self, count: usize) -> usize {
        self.sent += count;
        let mut messages = 0;
        while self.sent >= self.front_end && self.front_end > 0 {
            messages += 1;
            let Some(len) = frame_len(&self.bytes[self.front_end..]) else { break };
            self.front_end += len;
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_MAX);
            (self.sent, self.front_end) = (0, 0);
        } else if self.sent >= KEPT_MAX && self.sent * 2 > self.bytes.len() {
            // At most as much is moved as was sent since the last time.
            self.bytes.drain(..self.sent);
            self.front_end -= self.sent;
            self.sent = 0;
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut queue = SendQueue::default();
        for message in messages {
            assert_eq!(queue.push(message), message.len() + 2);
        }
        queue.bytes
    }

    #[test]
    fn whole_messages_are_taken_until_one_is_cut_short() {
        let mut bytes = framed(&[b"one", b"", b"three", b"four"]);
        bytes.pop();
        let mut seen = Vec::new();
        let used = take_whole(&bytes, &mut |message| {
            seen.push(message.to_vec());
            Flow::Next
        });
        assert_eq!(used, (5 + 2 + 7, 3));
        assert_eq!(seen, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn a_pause_keeps_the_rest_for_later_and_an_empty_reader_keeps_no_memory() {
        let mut reader = FrameReader { held: framed(&[b"one", b"two", b"three"]) };
        let mut count = 0;
        assert_eq!(
            reader.take_held(&mut |_| if count == 1 {
                Flow::Pause
            } else {
                count += 1;
                Flow::Next
            }),
            2
        );
        assert!(reader.has_whole() && !reader.is_partial());
        assert_eq!(reader.take_held(&mut |_| Flow::Next), 1);
        assert!(!reader.is_partial() && reader.held.capacity() == 0);
        reader.held = vec![0];
        assert!(reader.is_partial(), "half a length is a message that has begun");
    }

    #[test]
    fn messages_are_counted_when_their_last_byte_is_out() {
        let mut queue = SendQueue::default();
        queue.push(&[1; 10]);
        queue.push(b"");
        queue.push(&[2; 3]);
        assert_eq!(queue.advance(11), 0);
        assert_eq!(queue.advance(1), 1);
        assert_eq!(queue.advance(3), 1);
        queue.push(&[3; 1]);
        assert_eq!((queue.len(), queue.advance(7)), (7, 2));
        assert_eq!((queue.len(), queue.front_end), (0, 0));
        assert_eq!(queue.push(&vec![0; 65_536]), 0, "no length field can say 65536");
    }

    #[test]
    fn a_long_queue_moves_up_and_an_empty_one_gives_its_memory_back() {
        let mut queue = SendQueue::default();
        for i in 0..100u8 {
            queue.push(&[i; 1000]);
        }
        let mut messages = 0;
        while queue.len() > 0 {
            messages += queue.advance(queue.len().min(777));
        }
        assert_eq!(messages, 100);
        assert!(queue.bytes.capacity() <= KEPT_MAX);
    }
}
