//! The attacks of the drills; all of them stay on loopback, and end when they are told to.

use super::crowd::{self, CLIENTS, CLIENTS_MAX, Crowd};
use super::wire;
use crate::dns::name::Name;
use crate::sys::{BATCH, Outgoing, Receiver, Sender};
use socket2::{Domain, Socket, Type};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Connections that are held.
pub(super) const HELD: usize = 2000;

/// How often an attack of many clients sends what is due.
const BEAT: Duration = Duration::from_millis(1);

/// What one client of a storm asks in a second; a faster storm has more clients.
const CLIENT_RATE: u64 = 50;

/// Queries a second from one port: each id is free again before it is needed once more.
const PORT_RATE: u64 = 15_000;

/// How long an attacker waits for answers to what it has asked last.
const LINGER: Duration = Duration::from_millis(2500);

/// What was sent, and what came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attacked {
    pub(super) sent: u64,
    pub(super) time: Duration,
    /// Queries that were waited on for an answer, and those that got one, of whatever kind.
    pub(super) awaited: u64,
    pub(super) answered: u64,
    /// Bytes of queries and of answers to them, by the second.
    pub(super) bytes: Vec<(u64, u64)>,
}

impl Attacked {
    /// In a second.
    pub(super) fn rate(&self) -> u64 {
        (self.sent as f64 / self.time.as_secs_f64().max(0.001)) as u64
    }

    fn of(sent: u64, begin: Instant) -> Self {
        Self { sent, time: begin.elapsed(), ..Self::default() }
    }
}

/// Waits until `count` at `rate` a second are due.
fn keep_pace(begin: Instant, rate: u64, count: u64) {
    let due = Duration::from_micros(count * 1_000_000 / rate.max(1));
    std::thread::sleep(due.saturating_sub(begin.elapsed()));
}

/// Addresses of 127/8 that forge: all but those of servers and honest clients.
const FORGED: std::ops::Range<u32> = 0x0002_0000..0x00ff_0000;

/// Each of these addresses comes once before any comes again: prime, so no divisor of their number, and far apart.
const FORGED_STEP: u64 = 10_368_889;

/// How many are due by now at `rate` a second, of which `sent` are; not more than a beat can make up for.
fn due(begin: Instant, rate: u64, sent: u64) -> u64 {
    let due = (begin.elapsed().as_micros() as u64).saturating_mul(rate) / 1_000_000;
    due.saturating_sub(sent).min(rate / 50 + 1)
}

/// One question from sources that are each another address of 127/8.
pub(super) fn forged_flood(server: SocketAddr, rate: u64, done: &AtomicBool) -> io::Result<Attacked> {
    let (socket, query) = (crowd::socket()?, wire::query(666, &wire::name("h1.drill.example")));
    let (mut sender, count) = (Sender::new(), u64::from(FORGED.end - FORGED.start));
    let (begin, mut tried, mut sent) = (Instant::now(), 0, 0);
    while !done.load(Relaxed) {
        let item = &mut |i| {
            let number = ((sent + i as u64) % count * FORGED_STEP % count) as u32;
            let from = Ipv4Addr::from_bits(0x7f00_0000 | (FORGED.start + number));
            Outgoing { bytes: &query, to: Some(server), from: Some(from.into()) }
        };
        // What is not sent for want of room is not sent later.
        sent += sender.send(socket.as_fd(), BATCH, item).unwrap_or(0) as u64;
        tried += BATCH as u64;
        keep_pace(begin, rate, tried);
    }
    Ok(Attacked::of(sent, begin))
}

/// The network whose addresses are forged by [`reflection`].
pub(super) fn victim(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 66, 6, last)
}

/// One question with a large answer, as if from each address of one network in turn; what comes back comes to the victim.
pub(super) fn reflection(server: SocketAddr, rate: u64, name: &Name, done: &AtomicBool) -> io::Result<Attacked> {
    let (socket, query) = (crowd::socket()?, wire::large_query(666, name, None));
    let (mut sender, mut receiver) = (Sender::new(), Receiver::unnamed());
    let (begin, mut tried, mut attacked) = (Instant::now(), 0, Attacked::default());
    while !done.load(Relaxed) {
        let second = begin.elapsed().as_secs() as usize;
        attacked.bytes.resize(second + 1, (0, 0));
        let count = due(begin, rate, tried).min(BATCH as u64) as usize;
        let item = &mut |at: usize| {
            let from = victim(((tried + at as u64) % 254) as u8 + 1);
            Outgoing { bytes: &query, to: Some(server), from: Some(from.into()) }
        };
        let sent = if count > 0 { sender.send(socket.as_fd(), count, item).unwrap_or(0) } else { 0 };
        tried += count as u64;
        attacked.sent += sent as u64;
        attacked.bytes[second].0 += (sent * query.len()) as u64;
        while let Ok(count) = receiver.receive(socket.as_fd()) {
            attacked.bytes[second].1 += (0..count).map(|at| receiver.datagram(at).bytes.len() as u64).sum::<u64>();
        }
        if count < BATCH {
            std::thread::sleep(BEAT);
        }
    }
    attacked.time = begin.elapsed();
    Ok(attacked)
}

/// Which names of a zone are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// So many, one after another and again.
    Fixed(u64),
    /// Another one each time.
    Random,
}

impl Names {
    /// The first label of the name number so and so.
    pub(super) fn label(self, number: u64) -> String {
        match self {
            Self::Fixed(count) => format!("p{}", number % count),
            // Spread, so that no two runs of the sequence look alike.
            Self::Random => format!("r{:012x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16),
        }
    }
}

/// Names of one zone, asked for by the crowd of clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storm<'a> {
    pub(super) server: SocketAddr,
    pub(super) rate: u64,
    pub(super) zone: &'a Name,
    pub(super) names: Names,
}

impl Storm<'_> {
    /// Asks until `done`; answers are counted of what was asked before `recovered`.
    pub(super) fn rage(&self, recovered: &AtomicBool, done: &AtomicBool) -> io::Result<Attacked> {
        let clients = ((self.rate / CLIENT_RATE) as usize).clamp(CLIENTS, CLIENTS_MAX);
        let ports = (self.rate / PORT_RATE + 1).min(64) as usize;
        let crowds = (0..ports).map(|_| Crowd::open(self.server)).collect::<io::Result<Vec<_>>>()?;
        let mut ports: Vec<_> = crowds
            .into_iter()
            .map(|crowd| Port { crowd, waits: vec![false; 1 << 16], next: 0, due: Vec::new() })
            .collect();
        let (begin, mut asked, mut attacked) = (Instant::now(), 0, Attacked::default());
        while !done.load(Relaxed) {
            let count = due(begin, self.rate, asked);
            let is_awaited = !recovered.load(Relaxed);
            for number in asked..asked + count {
                let port = number as usize % ports.len();
                let name = wire::below(&self.names.label(number), self.zone);
                ports[port].ask(crowd::client(number as usize % clients), &name, is_awaited);
            }
            asked += count;
            attacked.awaited += if is_awaited { count } else { 0 };
            ports.iter_mut().for_each(|port| port.exchange(&mut attacked));
            std::thread::sleep(BEAT);
        }
        attacked.time = begin.elapsed();
        let end = Instant::now();
        while end.elapsed() < LINGER && attacked.answered < attacked.awaited {
            ports.iter_mut().for_each(|port| port.exchange(&mut attacked));
            std::thread::sleep(BEAT);
        }
        Ok(attacked)
    }
}

/// The clients of a storm on one of its ports.
struct Port {
    crowd: Crowd,
    /// Which ids wait for an answer that counts.
    waits: Vec<bool>,
    next: u16,
    due: Vec<(Ipv4Addr, Vec<u8>)>,
}

impl Port {
    fn ask(&mut self, client: Ipv4Addr, name: &Name, is_awaited: bool) {
        self.waits[usize::from(self.next)] = is_awaited;
        self.due.push((client, wire::query(self.next, name)));
        self.next = self.next.wrapping_add(1);
    }

    fn exchange(&mut self, attacked: &mut Attacked) {
        attacked.sent += self.crowd.send(&self.due) as u64;
        self.due.clear();
        let waits = &mut self.waits;
        self.crowd.take(&mut |answer| {
            let id = answer.get(..2).map(|id| usize::from(u16::from_be_bytes([id[0], id[1]])));
            if id.is_some_and(|id| std::mem::take(&mut waits[id])) {
                attacked.answered += 1;
            }
        });
    }
}

/// Names of a zone that takes seconds, each another one, from a hundred clients.
pub(super) fn slow_names(server: SocketAddr, rate: u64, done: &AtomicBool) -> io::Result<Attacked> {
    let sockets = (0..100u8)
        .map(|last| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 66, last), 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            Ok(socket)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let (slow, begin, mut tried, mut sent) = (wire::name(super::SLOW_ZONE), Instant::now(), 0, 0);
    while !done.load(Relaxed) {
        let query = wire::query(tried as u16, &wire::below(&format!("r{tried}"), &slow));
        let socket = &sockets[tried as usize % sockets.len()];
        // An attacker does not care.
        sent += u64::from(socket.send(&query).is_ok());
        let _ = socket.recv(&mut [0; 1500]);
        tried += 1;
        keep_pace(begin, rate, tried);
    }
    Ok(Attacked::of(sent, begin))
}

/// Connections from many addresses that are held with half a query, and dripped on.
pub(super) fn hold_connections(server: SocketAddr, rate: u64, done: &AtomicBool) -> io::Result<Attacked> {
    let (begin, mut held, mut tried) = (Instant::now(), Vec::new(), 0);
    while !done.load(Relaxed) {
        if held.len() < HELD {
            let source = Ipv4Addr::from_bits(0x7f02_0000 + (tried as u32 / 10) * 64 % 0x00f0_0000);
            held.extend(connect(source, server, Duration::from_millis(200)).and_then(|stream| {
                stream.set_nonblocking(true)?;
                Ok(stream)
            }));
        } else {
            let number = tried as usize % HELD;
            let dripped = held.get_mut(number).is_some_and(|stream: &mut TcpStream| stream.write(&[1]).is_ok());
            if !dripped {
                held.swap_remove(number);
            }
        }
        tried += 1;
        keep_pace(begin, rate, tried);
    }
    Ok(Attacked::of(tried, begin))
}

/// A connection from a chosen address.
pub(super) fn connect(source: Ipv4Addr, server: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&server.into(), patience)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_names_come_again_and_random_ones_do_not() {
        let labels = |names: Names| (0..1000).map(move |n| names.label(n)).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(labels(Names::Fixed(30)).len(), 30);
        assert_eq!(labels(Names::Random).len(), 1000);
    }
}
