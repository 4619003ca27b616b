//! The attacks of the drills; all of them stay on loopback, and end when they are told to.

use super::wire;
use crate::sys::{BATCH, Outgoing, Sender};
use socket2::{Domain, Socket, Type};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Connections that are held.
pub(super) const HELD: usize = 2000;

/// Waits until `count` at `rate` a second are due.
fn keep_pace(begin: Instant, rate: u64, count: u64) {
    let due = Duration::from_micros(count * 1_000_000 / rate.max(1));
    std::thread::sleep(due.saturating_sub(begin.elapsed()));
}

/// Addresses of 127/8 that forge: all but those of servers and honest clients.
const FORGED: std::ops::Range<u32> = 0x0002_0000..0x00ff_0000;

/// Each of these addresses comes once before any comes again: prime, so no divisor of their number, and far apart.
const FORGED_STEP: u64 = 10_368_889;

/// One question from sources that are each another address of 127/8.
pub(super) fn forged_flood(server: SocketAddr, rate: u64, done: &AtomicBool) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let (query, mut sender) = (wire::query(666, &["h1"]), Sender::new());
    let count = u64::from(FORGED.end - FORGED.start);
    let (begin, mut sent) = (Instant::now(), 0);
    while !done.load(Relaxed) {
        let item = &mut |i| {
            let number = ((sent + i as u64) % count * FORGED_STEP % count) as u32;
            let from = Ipv4Addr::from_bits(0x7f00_0000 | (FORGED.start + number));
            Outgoing { bytes: &query, to: Some(server), from: Some(from.into()) }
        };
        // What is not sent for want of room is part of the flood all the same.
        sent += sender.send(socket.as_fd(), BATCH, item).unwrap_or(BATCH) as u64;
        keep_pace(begin, rate, sent);
    }
    Ok(())
}

/// Names of a zone that takes seconds, each another one, from a thousand clients.
pub(super) fn slow_names(server: SocketAddr, rate: u64, done: &AtomicBool) -> io::Result<()> {
    let sockets = (0..100u8)
        .map(|last| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 66, last), 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            Ok(socket)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let (begin, mut sent) = (Instant::now(), 0);
    while !done.load(Relaxed) {
        let query = wire::query(sent as u16, &[&format!("r{sent}"), "slow"]);
        let socket = &sockets[sent as usize % sockets.len()];
        // An attacker does not care.
        let _ = socket.send(&query);
        let _ = socket.recv(&mut [0; 1500]);
        sent += 1;
        keep_pace(begin, rate, sent);
    }
    Ok(())
}

/// Connections from many addresses that are held with half a query, and dripped on.
pub(super) fn hold_connections(server: SocketAddr, rate: u64, done: &AtomicBool) -> io::Result<()> {
    let (begin, mut held, mut tried) = (Instant::now(), Vec::new(), 0);
    while !done.load(Relaxed) {
        if held.len() < HELD {
            let source = Ipv4Addr::from_bits(0x7f02_0000 + (tried as u32 / 10) * 64 % 0x00f0_0000);
            held.extend(connect(source, server));
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
    Ok(())
}

fn connect(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&server.into(), Duration::from_millis(200))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
