//! What the core wants sent, sorted by socket: the core's order mixes replies and asks, and a batched call wants many
//! datagrams of one socket. A list per socket, threaded through one array, deals them out in O(messages) without allocating. Those
//! of one call are lined up by address and length, so that the kernel can take what looks alike as one.

use super::Core;
use super::links::Send;
use super::tally::Event;
use super::transfer;
use super::worker::{LISTENERS_MAX, Worker};
use crate::gateway::outbox::{Message, Outbox, To};
use crate::gateway::{From, LINKS_MAX, LinkPort, PORTS};
use crate::sys::{BATCH, Outgoing, Sender};
use std::io::ErrorKind::WouldBlock;
use std::net::IpAddr;
use std::rc::Rc;

/// Ends a list.
const END: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

const EMPTY: List = List { head: END, tail: END };

/// The sorter and the arrays for sending.
#[derive(Debug)]
pub(super) struct Post {
    sender: Sender,
    /// For each message, the next one for the same socket.
    next: Box<[u32]>,
    /// First the listeners, then the ports of the links.
    lists: Box<[List]>,
    /// Lists that are not empty.
    touched: Vec<u16>,
}

/// The messages of one call: their numbers in the outbox.
struct Chunk {
    messages: [u32; BATCH],
    len: usize,
}

impl Chunk {
    /// Puts messages to one address side by side, the longest first: what looks alike can be sent as one.
    fn line_up(&mut self, outbox: &Outbox) {
        let mut keyed = [(0, 0); BATCH];
        let messages = &mut self.messages[..self.len];
        // Round from the first, so that no address is always among the last: where there is no more room, those are lost.
        let origin = messages.first().map_or(0, |first| place_of(outbox.messages()[*first as usize].to));
        for (keyed, number) in keyed.iter_mut().zip(&*messages) {
            let message = &outbox.messages()[*number as usize];
            let from_long = usize::from(u16::MAX).saturating_sub(outbox.bytes(message).len()) as u64;
            *keyed = (place_of(message.to).wrapping_sub(origin) << 16 | from_long, *number);
        }
        let keyed = &mut keyed[..messages.len()];
        keyed.sort_unstable();
        messages.iter_mut().zip(keyed).for_each(|(number, (_, sorted))| *number = *sorted);
    }
}

/// Where an address stands, in 48 bits. Two of IPv6 may share a place: then they are in each other's way, and no more.
fn place_of(to: To) -> u64 {
    match to {
        To::Client { peer, .. } => {
            let ip = match peer.ip() {
                IpAddr::V4(ip) => ip.to_bits(),
                IpAddr::V6(ip) => {
                    ip.segments().iter().fold(0, |folded, part| u32::rotate_left(folded, 5) ^ u32::from(*part))
                }
            };
            u64::from(ip) << 16 | u64::from(peer.port())
        }
        _ => 0,
    }
}

fn list_of_link(port: LinkPort) -> Option<usize> {
    let (slot, port) = (usize::from(port.link.slot), usize::from(port.port));
    (slot < LINKS_MAX && port < PORTS).then_some(LISTENERS_MAX + slot * PORTS + port)
}

impl Post {
    /// For an outbox of at most `messages_max` messages.
    pub(super) fn new(messages_max: usize) -> Self {
        let lists = LISTENERS_MAX + LINKS_MAX * PORTS;
        Self {
            sender: Sender::new(),
            next: vec![END; messages_max].into_boxed_slice(),
            lists: vec![EMPTY; lists].into_boxed_slice(),
            touched: Vec::with_capacity(lists),
        }
    }

    /// Sends everything in `outbox`; never waits: what a socket does not take is counted and lost.
    pub(super) fn deliver<C: Core>(&mut self, worker: &Rc<Worker<C>>, core: &C, outbox: &Outbox) {
        for (i, message) in outbox.messages().iter().enumerate() {
            match message.to {
                To::Client { listener, .. } => self.enlist(usize::from(listener), i),
                To::Upstream(port) => match list_of_link(port) {
                    Some(list) => self.enlist(list, i),
                    None => worker.tally.one(Event::UpstreamLost),
                },
                To::Stream(id) => worker.answer(id, outbox.bytes(message)),
                To::Silence(id) => worker.expect_nothing(id),
                To::UpstreamStream(port) => worker.ask_over_stream(core, port, outbox.bytes(message)),
                To::Transfer { client, upstream } => {
                    transfer::start(worker, core, client, upstream, outbox.bytes(message));
                }
            }
        }
        while let Some(list) = self.touched.pop() {
            let list = usize::from(list);
            let mut at = std::mem::replace(&mut self.lists[list], EMPTY).head;
            while at != END {
                let mut chunk = self.cut_chunk(&mut at, outbox.messages());
                if list < LISTENERS_MAX {
                    self.send_replies(worker, list, &mut chunk, outbox);
                } else {
                    self.send_asks(worker, core, &mut chunk, outbox);
                }
            }
        }
    }

    fn enlist(&mut self, list: usize, message: usize) {
        // Both bounds hold by construction: a listener's number is below LISTENERS_MAX, the outbox has room for no more.
        let (Some(entry), Some(next)) = (self.lists.get_mut(list), self.next.get_mut(message)) else { return };
        *next = END;
        let number = message as u32;
        if entry.head == END {
            entry.head = number;
            self.touched.push(list as u16);
        } else {
            self.next[entry.tail as usize] = number;
        }
        entry.tail = number;
    }

    /// Takes the next messages of a list, as long as they are for the same use of a link.
    fn cut_chunk(&self, at: &mut u32, messages: &[Message]) -> Chunk {
        let mut chunk = Chunk { messages: [0; BATCH], len: 0 };
        let link = |number: u32| match messages[number as usize].to {
            To::Upstream(port) => Some(port),
            _ => None,
        };
        let first = link(*at);
        while *at != END && chunk.len < BATCH && link(*at) == first {
            chunk.messages[chunk.len] = *at;
            chunk.len += 1;
            *at = self.next[*at as usize];
        }
        chunk
    }

    fn send_replies<C: Core>(&mut self, worker: &Worker<C>, index: usize, chunk: &mut Chunk, outbox: &Outbox) {
        let listeners = worker.listeners.borrow();
        let Some(listener) = &listeners[index] else {
            return worker.tally.add(Event::UdpRepliesLost, chunk.len as u64);
        };
        let item = |number: u32| {
            let message = &outbox.messages()[number as usize];
            let To::Client { peer, local, .. } = message.to else { unreachable!("listed as a reply") };
            let from = if listener.wildcard { local } else { None };
            Outgoing { bytes: outbox.bytes(message), to: Some(peer), from }
        };
        if listener.socket.sends_groups() {
            chunk.line_up(outbox);
        }
        let (mut at, mut lost) = (0, 0);
        while at < chunk.len {
            match listener.socket.send(&mut self.sender, chunk.len - at, &mut |i| item(chunk.messages[at + i])) {
                Ok(sent) => at += sent.max(1),
                Err(error) if error.kind() == WouldBlock => {
                    lost += chunk.len - at;
                    break;
                }
                // This one cannot be sent (no route, too long, forbidden); the others may.
                Err(_) => {
                    lost += 1;
                    at += 1;
                }
            }
        }
        worker.tally.add(Event::UdpReplies, (chunk.len - lost) as u64);
        worker.tally.add(Event::UdpRepliesLost, lost as u64);
    }

    fn send_asks<C: Core>(&mut self, worker: &Rc<Worker<C>>, core: &C, chunk: &mut Chunk, outbox: &Outbox) {
        let To::Upstream(port) = outbox.messages()[chunk.messages[0] as usize].to else {
            unreachable!("listed as an ask")
        };
        let mut links = worker.links.borrow_mut();
        let Some(link) = links.open(worker, core, port) else {
            worker.tally.add(Event::UpstreamLost, chunk.len as u64);
            return worker.note_unreachable(From::Udp(port));
        };
        if link.sends_groups() {
            chunk.line_up(outbox);
        }
        let item = |number: u32| {
            let message = &outbox.messages()[number as usize];
            Outgoing { bytes: outbox.bytes(message), to: None, from: None }
        };
        let (mut at, mut sent) = (0, 0);
        while at < chunk.len {
            let result = link.send(&mut self.sender, chunk.len - at, &mut |i| item(chunk.messages[at + i]));
            match Send::of(result) {
                Send::Taken(count) => {
                    at += count;
                    sent += count;
                }
                Send::TooLong => at += 1,
                Send::Full => break,
                // What ICMP said about an earlier one: the core asks elsewhere, these included.
                Send::Unreachable => {
                    worker.note_unreachable(From::Udp(port));
                    break;
                }
            }
        }
        worker.tally.add(Event::UpstreamSent, sent as u64);
        worker.tally.add(Event::UpstreamLost, (chunk.len - sent) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_one_way_stands_side_by_side_the_longest_first() {
        let peers = ["192.0.2.1:53", "192.0.2.1:54", "192.0.2.2:53", "[2001:db8::1]:53", "[2001:db8::2]:53"];
        let peers = peers.map(|peer| peer.parse().unwrap());
        let mut outbox = Outbox::new(BATCH, 1 << 16);
        let mut chunk = Chunk { messages: [0; BATCH], len: BATCH };
        for i in 0..BATCH {
            let to = To::Client { listener: 0, peer: peers[i * 7 % peers.len()], local: None };
            assert!(outbox.push(to, &vec![0; 20 + i * 31 % 12]));
            chunk.messages[i] = i as u32;
        }
        chunk.line_up(&outbox);
        let lined: Vec<_> = chunk.messages.iter().map(|number| &outbox.messages()[*number as usize]).collect();
        let (mut turns, mut numbers) = (0, chunk.messages);
        for (number, pair) in lined.windows(2).enumerate() {
            let [before, after] = [pair[0], pair[1]].map(|message| outbox.bytes(message).len());
            assert!(pair[0].to != pair[1].to || before >= after, "{number}: {before} before {after}");
            turns += usize::from(pair[0].to != pair[1].to);
        }
        assert_eq!(turns, peers.len() - 1, "each address has one place");
        assert_eq!(lined[0].to, outbox.messages()[0].to, "and who was first still is");
        numbers.sort_unstable();
        assert!(numbers.iter().enumerate().all(|(i, number)| i as u32 == *number), "each message is there once");
    }
}
