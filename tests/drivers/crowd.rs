//! A flood from more sources than anybody can count, each of which asks once: who was there before is served beside it,
//! who comes new gets what is left, and who proves its address is served like who was there before.

use crate::bench::{framed, receive, send, tcp_client, until};
use crate::overload::{
    End, FILTER, FLOOD_MAX, GATEWAY, Served, at_least, capacity, client, honest, in_one_of_three, overloaded, question,
};
use crate::stage::policy;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use weir::control::status::resident_bytes;
use weir::ledger::alerts::{Alert, AlertKind, Subject};
use weir::listen::Event;
use weir::sys::{BATCH, Outgoing, Sender};

/// As many as this machine sends, each from another address of 127/8 but those of the clients, until `done`; returns how
/// many a second.
fn forged(server: SocketAddr, done: &AtomicBool) -> u64 {
    const ADDRESSES: u64 = 0x00fd_0000;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (query, mut sender) = (question(666), Sender::new());
    let (begin, mut sent) = (Instant::now(), 0);
    while !done.load(Relaxed) && begin.elapsed() < FLOOD_MAX {
        let item = &mut |i| {
            let number = (sent + i as u64) * 10_368_889 % ADDRESSES;
            let from = Ipv4Addr::from_bits(0x7f02_0000 + number as u32);
            Outgoing { bytes: &query, to: Some(server), from: Some(from.into()) }
        };
        sent += sender.send(socket.as_fd(), BATCH, item).unwrap_or(0) as u64;
    }
    sent * 1000 / begin.elapsed().as_millis() as u64
}

/// Of 100 queries from 127.0.`last`, 50 a second, so many were answered.
fn answered(server: SocketAddr, last: [u8; 2]) -> usize {
    let (client, mut buffer, mut answered) = (client(last, server), [0; 512], 0);
    for id in 0..100 {
        client.send(&question(id)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        while client.recv(&mut buffer).is_ok() {
            answered += 1;
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    while client.recv(&mut buffer).is_ok() {
        answered += 1;
    }
    answered
}

/// The first alert, and how long after `begin` it came.
fn alert(served: &Served, begin: Instant) -> (Alert, Duration) {
    let mut alert = None;
    until("an alert is raised", || {
        alert = served.shared.alerts.take();
        alert.is_some()
    });
    (alert.unwrap(), begin.elapsed())
}

#[test]
fn who_was_there_before_is_served_beside_millions_that_ask_once() {
    in_one_of_three(beside_millions);
}

fn beside_millions() -> Result<(), String> {
    let served = Served::start(overloaded(""));
    let capacity = capacity(&served);
    let (quiet_asked, quiet_answered) = honest(served.address, Duration::from_secs(3));
    at_least(99, quiet_answered, quiet_asked).map_err(|why| format!("{why} before the flood"))?;
    let (done, flooded) = (AtomicBool::new(false), AtomicU64::new(0));
    let ((asked, answered), (alert, noticed), grown) = std::thread::scope(|scope| {
        let _end = End(&done);
        scope.spawn(|| flooded.store(forged(served.address, &done), Relaxed));
        let begin = Instant::now();
        let noticed = scope.spawn(|| alert(&served, Instant::now()));
        let warm = scope.spawn(move || {
            std::thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
            resident_bytes()
        });
        let counts = honest(served.address, Duration::from_secs(4));
        let grown = resident_bytes().saturating_sub(warm.join().unwrap());
        (counts, noticed.join().unwrap(), grown)
    });
    let rate = flooded.load(Relaxed);
    let counts = [Event::Crowds, Event::Overloads, Event::UdpThinned, Event::UdpOverflow, Event::FloodSources];
    let counts = counts.map(|event| (event.name(), served.workers.count(event)));
    served.end();
    println!(
        "capacity {capacity}/s, forged {rate}/s, answered {answered} of {asked}, grown {grown} bytes, {counts:?}, \
         {noticed:?} {alert:?}"
    );
    if rate <= 2 * capacity || noticed >= Duration::from_secs(1) {
        return Err(format!("{rate} a second against {capacity}, noticed after {noticed:?}"));
    }
    assert_eq!((alert.kind, alert.subject), (AlertKind::Flood, Subject::ManySources));
    assert!(u64::from(alert.numbers.queries) > capacity && alert.numbers.bad_permille > 500, "{alert:?}");
    // What this process itself keeps of its clients is in it too; a source that was remembered would cost more.
    assert!(grown < 2 << 20, "{grown} bytes more after the first second");
    at_least(99, answered, asked)
}

#[test]
fn who_comes_new_in_a_flood_gets_a_share_and_by_proof_all() {
    in_one_of_three(new_and_proved);
}

fn new_and_proved() -> Result<(), String> {
    let served = Served::start(overloaded(""));
    let done = AtomicBool::new(false);
    let (new, proved) = std::thread::scope(|scope| {
        let _end = End(&done);
        scope.spawn(|| forged(served.address, &done));
        until("strangers are thinned", || served.workers.count(Event::Crowds) > 0);
        let new = answered(served.address, [1, 77]);
        let mut stream = tcp_client(served.address);
        send(&mut stream, &question(7));
        assert!(receive(&mut stream).is_some(), "TCP is open to everybody");
        stream.write_all(&framed(&question(8))).unwrap();
        // The filters learn it within a second.
        std::thread::sleep(Duration::from_millis(1_500));
        let proved = answered(served.address, [0, 1]);
        (new, proved)
    });
    served.end();
    assert!(new > 0, "a stranger gets a share");
    at_least(95, proved as u64, 100).map_err(|why| format!("{why} of who has come over TCP"))
}

#[test]
fn who_is_exempt_is_served_and_monitor_thins_nobody() {
    in_one_of_three(exempt_and_monitored);
}

fn exempt_and_monitored() -> Result<(), String> {
    let limits = "[source]\nexempt = [\"127.0.1.0/24\"]\n[rrl]\nmode = \"off\"\n";
    let exempt = policy([("gateway.toml", GATEWAY), ("limits.toml", limits), ("filters/10-t.toml", FILTER)]);
    for (policy, thins) in [(exempt, true), (overloaded("mode = \"monitor\"\n"), false)] {
        let served = Served::start(policy);
        let done = AtomicBool::new(false);
        let answered = std::thread::scope(|scope| {
            let _end = End(&done);
            scope.spawn(|| forged(served.address, &done));
            until("the worker is behind", || served.workers.count(Event::Overloads) > 0);
            std::thread::sleep(Duration::from_millis(500));
            if thins { answered(served.address, [1, 77]) } else { 100 }
        });
        assert_eq!(served.workers.count(Event::Crowds) > 0, thins);
        served.end();
        at_least(98, answered as u64, 100).map_err(|why| format!("{why} of who is exempt"))?;
    }
    Ok(())
}
