//! The upstream of a drill: it answers everything with one address, holds a bounded number of questions in work as a
//! resolver does, and can be slow for some names or be shouted down by a liar.

use super::wire;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Questions in work; one more is dropped, as a resolver does that is full (BIND: 1000 recursive clients).
const WORK_MAX: usize = 1000;

/// How long a name of the slow zone takes.
const SLOW: Duration = Duration::from_secs(2);

/// How long any other takes when a liar is to be faster.
const BEHIND_LIAR: Duration = Duration::from_millis(2);

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// At once; names of the slow zone late.
    Honest,
    /// False answers come before the true one.
    Lied,
}

/// A running stub; dropping it ends it.
#[derive(Debug)]
pub(super) struct Stub {
    pub(super) address: SocketAddr,
    seen: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    pub(super) fn start(manner: Manner) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, seen, done) = (socket.local_addr()?, Arc::default(), Arc::default());
        let (counts, ends) = (Arc::clone(&seen), Arc::clone(&done));
        let thread = std::thread::Builder::new()
            .name("weir-stub".to_owned())
            .spawn(move || serve(&socket, &other, manner, &counts, &ends))?;
        Ok(Self { address, seen, done, thread: Some(thread) })
    }

    /// Queries that came.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, other: &UdpSocket, manner: Manner, seen: &AtomicU64, done: &AtomicBool) {
    let mut work: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; 1500];
    while !done.load(Relaxed) {
        if let Ok((len, client)) = socket.recv_from(&mut buffer) {
            seen.fetch_add(1, Relaxed);
            let query = &buffer[..len];
            let Some(answer) = wire::answer(query, wire::TRUE_ADDRESS) else { continue };
            if manner == Manner::Lied {
                lie(socket, other, client, query);
            }
            let delay = match manner {
                _ if wire::is_slow(query) => SLOW,
                Manner::Lied => BEHIND_LIAR,
                Manner::Honest => Duration::ZERO,
            };
            if work.len() < WORK_MAX {
                if delay.is_zero() {
                    let _ = socket.send_to(&answer, client);
                } else {
                    work.push_back((Instant::now() + delay, client, answer));
                }
            }
        }
        while work.front().is_some_and(|(at, _, _)| *at <= Instant::now()) {
            let Some((_, client, answer)) = work.pop_front() else { break };
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// What a forger may send before the true answer comes: another id, another port, another question, no answer at all, half
/// of one. Not one that differs in the letters of the name alone: who knows port and id is on the path, and a server
/// that changes letters in every answer is taken for one that cannot keep them.
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
    for spoilt in [spoil(1, 0xff), spoil(2, 0x80), spoil(13, 0x01)] {
        let _ = socket.send_to(&spoilt, client);
    }
    let _ = socket.send_to(&lie[..lie.len() - 6], client);
}
