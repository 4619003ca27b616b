//! The upstream of a drill: it answers everything with one address, holds a bounded number of questions in work as a
//! resolver does, can have a zone that is dead, slow or full of names that do not exist, or be shouted down by a liar.

use super::crowd;
use super::wire;
use crate::dns::name::Name;
use crate::sys::{self, BATCH, Outgoing, Receiver, Sender};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Questions in work; one more is dropped, as a resolver does that is full (BIND: 1000 recursive clients).
const WORK_MAX: usize = 1000;

/// How long a name of a slow zone takes.
const SLOW: Duration = Duration::from_secs(2);

/// How long it works on a name of a dead zone before it says SERVFAIL.
const DEAD: Duration = Duration::from_secs(5);

/// How long it takes to learn that a name does not exist.
const ABSENT: Duration = Duration::from_millis(20);

/// How long any other takes when a liar is to be faster.
const BEHIND_LIAR: Duration = Duration::from_millis(2);

/// So many bytes more than a lie has are more than any question over UDP allows (RFC 1035: 512; ours with EDNS: 1232).
const OVERSIZED: usize = 1400;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// At once; names of [`super::SLOW_ZONE`] late.
    Honest,
    /// False answers come before the true one.
    Lied,
}

/// What is the matter with its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody knows its names, and trying takes time.
    Dead,
    /// Silence: it is the zone's own server.
    Silent,
    /// Its names take 2 s.
    Slow,
    /// Names that begin with an `h` exist, no others.
    Sparse,
}

/// A zone of its own, which can be healed.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultyZone {
    pub(super) name: Name,
    pub(super) fault: Fault,
}

/// What it has seen, and what it is told.
#[derive(Debug, Default)]
struct Counts {
    seen: AtomicU64,
    zone_seen: AtomicU64,
    zone_most: AtomicU64,
    healed: AtomicBool,
    done: AtomicBool,
}

/// A running stub; dropping it ends it.
#[derive(Debug)]
pub(super) struct Stub {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    /// Starts it at `address`, with any port when that is 0.
    pub(super) fn start(address: SocketAddr, manner: Manner, zone: Option<FaultyZone>) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        // In ticks of the kernel, a few milliseconds: how late a delayed answer may be when nothing else comes.
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        sys::set_receive_buffer(socket.as_fd(), crowd::ROOM)?;
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, counts) = (socket.local_addr()?, Arc::<Counts>::default());
        let clerk =
            Clerk { manner, zone, counts: Arc::clone(&counts), work: BinaryHeap::new(), zone_held: 0, number: 0 };
        let thread =
            std::thread::Builder::new().name("weir-stub".to_owned()).spawn(move || clerk.serve(&socket, &other))?;
        Ok(Self { address, counts, thread: Some(thread) })
    }

    /// Begins to count its zone's queries anew; returns how many came in all.
    pub(super) fn begin(&self) -> u64 {
        self.counts.zone_seen.store(0, Relaxed);
        self.counts.zone_most.store(0, Relaxed);
        self.seen()
    }

    /// Queries that came.
    pub(super) fn seen(&self) -> u64 {
        self.counts.seen.load(Relaxed)
    }

    /// Of these, those for its zone.
    pub(super) fn zone_seen(&self) -> u64 {
        self.counts.zone_seen.load(Relaxed)
    }

    /// The most of its zone that it had in work at a time.
    pub(super) fn zone_most(&self) -> u64 {
        self.counts.zone_most.load(Relaxed)
    }

    /// From now on nothing is the matter with its zone.
    pub(super) fn heal(&self) {
        self.counts.healed.store(true, Relaxed);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.counts.done.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

/// A question in work, ordered by when it is done.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    number: u64,
    client: SocketAddr,
    answer: Vec<u8>,
    of_zone: bool,
}

/// What is to become of a question.
struct Plan {
    delay: Duration,
    answer: Option<Vec<u8>>,
    of_zone: bool,
}

struct Clerk {
    manner: Manner,
    zone: Option<FaultyZone>,
    counts: Arc<Counts>,
    work: BinaryHeap<Reverse<Held>>,
    zone_held: u64,
    number: u64,
}

impl Clerk {
    fn serve(mut self, socket: &UdpSocket, other: &UdpSocket) {
        let (mut receiver, mut sender, mut buffer) = (Receiver::named(), Sender::new(), [0; 1500]);
        let mut answers: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        while !self.counts.done.load(Relaxed) {
            if let Ok((len, client)) = socket.recv_from(&mut buffer) {
                self.take(&buffer[..len], client, (socket, other), &mut answers);
                let more = receiver.receive(socket.as_fd()).unwrap_or(0);
                for at in 0..more {
                    let datagram = receiver.datagram(at);
                    if let Some(client) = datagram.peer {
                        self.take(datagram.bytes, client, (socket, other), &mut answers);
                    }
                }
            }
            self.finish(&mut answers);
            for batch in answers.chunks(BATCH) {
                let item = &mut |at: usize| Outgoing { bytes: &batch[at].1, to: Some(batch[at].0), from: None };
                // What cannot be sent is lost, as on a network.
                let _ = sender.send(socket.as_fd(), batch.len(), item);
            }
            answers.clear();
        }
    }

    /// What is to become of a question; `None` when it is none.
    fn plan(&self, query: &[u8]) -> Option<Plan> {
        let (name, truth) = (wire::asked(query)?, wire::answer(query, wire::TRUE_ADDRESS));
        let zone = self.zone.filter(|zone| name.is_within(&zone.name));
        let fault = zone.map(|zone| zone.fault).filter(|_| !self.counts.healed.load(Relaxed));
        let exists = name.as_wire().get(1) == Some(&b'h');
        let (delay, answer) = match fault {
            Some(Fault::Silent) => (DEAD, None),
            Some(Fault::Dead) => (DEAD, wire::failure(query)),
            Some(Fault::Slow) => (SLOW, truth),
            Some(Fault::Sparse) if !exists => (ABSENT, wire::absence(query, &zone?.name)),
            Some(Fault::Sparse) => (Duration::ZERO, truth),
            None if zone.is_some() => (Duration::ZERO, truth),
            None if name.is_within(&wire::name(super::SLOW_ZONE)) => (SLOW, truth),
            None if self.manner == Manner::Lied => (BEHIND_LIAR, truth),
            None => (Duration::ZERO, truth),
        };
        Some(Plan { delay, answer, of_zone: zone.is_some() })
    }

    fn take(
        &mut self,
        query: &[u8],
        client: SocketAddr,
        (socket, other): (&UdpSocket, &UdpSocket),
        answers: &mut Vec<(SocketAddr, Vec<u8>)>,
    ) {
        self.counts.seen.fetch_add(1, Relaxed);
        let Some(Plan { delay, answer, of_zone }) = self.plan(query) else { return };
        self.counts.zone_seen.fetch_add(u64::from(of_zone), Relaxed);
        if self.manner == Manner::Lied {
            lie(socket, other, client, query);
        }
        let Some(answer) = answer.filter(|_| self.work.len() < WORK_MAX) else { return };
        if delay.is_zero() {
            return answers.push((client, answer));
        }
        self.number += 1;
        self.work.push(Reverse(Held { due: Instant::now() + delay, number: self.number, client, answer, of_zone }));
        self.zone_held += u64::from(of_zone);
        self.counts.zone_most.fetch_max(self.zone_held, Relaxed);
    }

    /// The answers whose time has come. When its zone is healed all that wait for it are told at once.
    fn finish(&mut self, answers: &mut Vec<(SocketAddr, Vec<u8>)>) {
        if self.zone_held > 0 && self.counts.healed.load(Relaxed) {
            let held = std::mem::take(&mut self.work);
            for Reverse(mut held) in held {
                if held.of_zone {
                    held.due = Instant::now();
                    held.answer = wire::answer(&held.answer, wire::TRUE_ADDRESS).unwrap_or(held.answer);
                }
                self.work.push(Reverse(held));
            }
            self.zone_held = 0;
        }
        let now = Instant::now();
        while self.work.peek().is_some_and(|Reverse(held)| held.due <= now) {
            let Some(Reverse(held)) = self.work.pop() else { break };
            self.zone_held = self.zone_held.saturating_sub(u64::from(held.of_zone));
            answers.push((held.client, held.answer));
        }
    }
}

/// What a forger may send before the true answer comes: another id, another port, another question, the question in other
/// letters, no answer at all, half of one, more than was asked for.
fn lie(socket: &UdpSocket, other: &UdpSocket, client: SocketAddr, query: &[u8]) {
    let Some(lie) = wire::answer(query, wire::FALSE_ADDRESS) else { return };
    let spoil = |at: usize, bits: u8| {
        let mut spoilt = lie.clone();
        if let Some(byte) = spoilt.get_mut(at) {
            *byte ^= bits;
        }
        spoilt
    };
    let _ = other.send_to(&lie, client);
    let large = [&lie[..], &[0; OVERSIZED]].concat();
    // Byte 13 is the first of the name: another letter, and the same in the other case.
    for spoilt in [spoil(1, 0xff), spoil(2, 0x80), spoil(13, 0x01), spoil(13, 0x20), large] {
        let _ = socket.send_to(&spoilt, client);
    }
    let _ = socket.send_to(&lie[..lie.len() - 6], client);
}
