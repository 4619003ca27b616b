//! Model clients: ordinary ones, strangers, floods, forged sources, and whoever sends rubbish.

use crate::signatures::Signing;
use crate::stage::message::{A, AAAA, ANY, AXFR, CNAME, HTTPS, Message, NS, SOA, TXT};
use crate::stage::{inside, tcp, udp};
use crate::truth::{shuffle_case, some_judged_name, some_led_name, some_name};
use rand::RngExt;
use rand::rngs::StdRng;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use weir::gateway::{Client, Path};

/// What kind of message was sent, as far as that bounds the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A question of class IN that may be answered from anywhere.
    Plain,
    /// Signed, NOTIFY, UPDATE.
    Opaque,
    /// For a feed; it is signed when it is sent.
    Notify(Signing),
    /// AXFR over TCP.
    Transfer,
    /// Certainly no query.
    Broken,
    /// Perhaps no query.
    Mutated,
}

/// A message that a client sends.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) client: Client,
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
}

/// The next message of somebody.
pub(crate) fn message(rng: &mut StdRng, number: u64) -> Sent {
    let client = client(rng, number);
    let id = rng.random();
    let name = some_name(rng);
    let name = if rng.random_bool(0.5) { shuffle_case(&name, rng) } else { name };
    let qtype = [A, A, A, A, AAAA, HTTPS, TXT, TXT, CNAME, ANY][rng.random_range(0..10)];
    let mut query = Message::query(id, &name, qtype);
    for (bit, chance) in [(0x0100, 0.05), (0x0010, 0.1), (0x0020, 0.1)] {
        if rng.random_bool(chance) {
            let flags = u16::from_be_bytes([query.0[2], query.0[3]]) ^ bit;
            query = query.flags(flags);
        }
    }
    let (bytes, kind) = match rng.random_range(0..100) {
        0..6 => (broken(query, rng), Kind::Broken),
        6..9 => (mutated(query, rng), Kind::Mutated),
        9..12 => (opaque(id, rng), Kind::Opaque),
        14 | 15 => return notify(client, id, rng),
        12 | 13 if matches!(client.path, Path::Tcp(_)) => {
            (Message::query(id, "plain.test", AXFR).bytes(), Kind::Transfer)
        }
        _ if rng.random_bool(0.6) => (with_edns(query, rng).bytes(), Kind::Plain),
        _ => (query.bytes(), Kind::Plain),
    };
    Sent { client, bytes, kind }
}

/// What stands where a client has a server cookie from before; whoever has none shows this one, which nobody gave.
pub(crate) const COOKIE: &[u8; 24] = b"ijklmnop\x01\0\0\0wrong cookie";

/// The player's clients in a storm: many sources, few names of the dead zone or many.
pub(crate) fn player(rng: &mut StdRng, number: u64, names: u32) -> Sent {
    let peer = SocketAddr::new(inside(0x02_00_00 + rng.random_range(0..200)), port(number));
    let query = Message::query(number as u16, &format!("d{}.dead.test", rng.random_range(0..names)), A);
    let query = if rng.random_bool(0.3) { with_edns(query, rng) } else { query };
    Sent { client: udp(peer), bytes: query.bytes(), kind: Kind::Plain }
}

/// Random names below a zone that lives.
pub(crate) fn random_name(rng: &mut StdRng, number: u64) -> Sent {
    let peer = SocketAddr::new(inside(0x03_00_00 + rng.random_range(0..50)), port(number));
    let query = Message::query(number as u16, &format!("r{}.none.test", rng.random::<u32>()), A);
    Sent { client: udp(peer), bytes: query.bytes(), kind: Kind::Plain }
}

/// Small questions with large answers in the name of a victim's network.
pub(crate) fn reflected(rng: &mut StdRng, number: u64, victim: u32) -> Sent {
    let ip = match victim {
        0 => IpAddr::from([198, 51, 100, rng.random()]),
        1 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x66, rng.random_range(0..256), 0, 0, 0, rng.random())),
        _ => inside(0x04_05_00 + rng.random_range(0..256)),
    };
    let (name, qtype) = [("n1.large.test", TXT), ("n2.large.test", TXT), ("n1.plain.test", A), ("n2.empty.test", A)]
        [rng.random_range(0..4)];
    let query = Message::query(number as u16, name, qtype).opt(4096, false, b"");
    Sent { client: udp(SocketAddr::new(ip, port(number))), bytes: query.bytes(), kind: Kind::Plain }
}

/// One question from sources that are each another.
pub(crate) fn forged(rng: &mut StdRng, number: u64) -> Sent {
    let peer = SocketAddr::new(IpAddr::from(rng.random::<[u8; 4]>()), port(number));
    let query = Message::query(number as u16, "n5.plain.test", A);
    Sent { client: udp(peer), bytes: query.bytes(), kind: Kind::Plain }
}

/// Connections of one client that are held with many questions on each.
pub(crate) fn holder(rng: &mut StdRng, number: u64, connection: u32) -> Sent {
    let name = if rng.random_bool(0.7) { format!("h{number}.dead.test") } else { some_name(rng) };
    let client = tcp(SocketAddr::new(inside(0x05_00_00), 2000), 1_000_000 + connection);
    Sent { client, bytes: Message::query(number as u16, &name, A).bytes(), kind: Kind::Plain }
}

/// Names whose answers are judged, over and over, from clients to whom different rules speak.
pub(crate) fn judged(rng: &mut StdRng, number: u64) -> Sent {
    let peer = SocketAddr::new(inside([0, 1, 2, 3, 7][rng.random_range(0..5)]), port(number));
    let qtype = [A, A, A, AAAA, HTTPS][rng.random_range(0..5)];
    let name = if rng.random_bool(0.25) { some_led_name(rng) } else { some_judged_name(rng) };
    let query = Message::query(number as u16, &name, qtype);
    let query = if rng.random_bool(0.3) { query.opt(1232, false, b"") } else { query };
    let client = if rng.random_bool(0.2) { tcp(peer, 2_000_000 + number as u32) } else { udp(peer) };
    Sent { client, bytes: query.bytes(), kind: Kind::Plain }
}

/// Who may tell of the feed's zone, and what it is called.
pub(crate) const PRIMARY: [u8; 4] = [10, 0, 0, 2];
pub(crate) const FEED: &str = "feed.test";

/// A NOTIFY (RFC 1996) from the primary of the feed or from others, for its zone or another, signed in any way; half of them
/// by clocks at the limits of what they may be wrong, since a server's own is not right to the second either.
fn notify(mut client: Client, id: u16, rng: &mut StdRng) -> Sent {
    if rng.random_bool(0.75) {
        client.peer.set_ip(PRIMARY.into());
    }
    let name = if rng.random_bool(0.9) { FEED } else { "plain.test" };
    let qtype = if rng.random_bool(0.9) { SOA } else { A };
    let message = Message::query(id, name, qtype).flags(0x2400);
    let kinds = if rng.random_bool(0.5) { &Signing::AT_THE_LIMITS[..] } else { &Signing::ALL };
    let signing = kinds[rng.random_range(0..kinds.len())];
    Sent { client, bytes: message.bytes(), kind: Kind::Notify(signing) }
}

fn port(number: u64) -> u16 {
    1024 + (number % 60_000) as u16
}

/// One client of a flood: always the same source, one of few names.
pub(crate) fn flood(rng: &mut StdRng, number: u64) -> Sent {
    let peer = SocketAddr::new(inside(0x66_66_66), port(number));
    let query = Message::query(number as u16, &format!("n{}.plain.test", rng.random_range(0..3)), A);
    Sent { client: udp(peer), bytes: query.bytes(), kind: Kind::Plain }
}

/// `number` makes the port or the connection one that nobody else has.
fn client(rng: &mut StdRng, number: u64) -> Client {
    let ip = match rng.random_range(0..20) {
        0 => IpAddr::from(rng.random::<[u8; 4]>()),
        1 => inside(rng.random()),
        2..5 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, rng.random_range(0..3), 0, 0, 0, 1)),
        5 => IpAddr::V6(Ipv6Addr::from(rng.random::<u128>())),
        6..9 => inside(0x01_00_00 + rng.random_range(0..4)),
        _ => inside(rng.random_range(0..8)),
    };
    let peer = SocketAddr::new(ip, port(number));
    if rng.random_bool(0.25) { tcp(peer, number as u32) } else { udp(peer) }
}

fn with_edns(query: Message, rng: &mut StdRng) -> Message {
    let options: &[u8] = match rng.random_range(0..10) {
        0 => b"\0\x0a\0\x08abcdefgh",
        1 => b"\0\x08\0\x07\0\x01\x18\0\x0a\x01\x02",
        2 => b"\0\x03\0\0",
        3 => b"\0\x0c\0\x10................",
        4 | 5 => b"\0\x0a\0\x18ijklmnop\x01\0\0\0wrong cookie",
        _ => b"",
    };
    let payload = [0, 512, 1232, 1232, 1400, 4096, 65535][rng.random_range(0..7)];
    query.opt(payload, rng.random_bool(0.4), options)
}

fn opaque(id: u16, rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..4) {
        0 => Message::query(id, "plain.test", SOA).flags(0x2400).bytes(),
        1 => Message::query(id, "plain.test", SOA).flags(0x2800).bytes(),
        2 => Message::query(id, "plain.test", SOA).flags(0x2800).tsig().bytes(),
        _ => Message::query(id, "n1.plain.test", NS).tsig().bytes(),
    }
}

/// Each of these is wrong whatever the query is.
fn broken(query: Message, rng: &mut StdRng) -> Vec<u8> {
    let whole = query.clone().bytes();
    match rng.random_range(0..12) {
        0 => whole[..rng.random_range(0..whole.len())].to_vec(),
        1 => query.flags(0x8180).bytes(),
        2 => [&whole[..5], &[2][..], &whole[6..]].concat(),
        3 => [&whole[..5], &[0][..], &whole[6..]].concat(),
        4 => [&whole[..4], &[0xFF; 8], &whole[12..]].concat(),
        5 => [&whole[..], b"x"].concat(),
        6 => query.opt(1232, false, b"").opt(1232, false, b"").bytes(),
        7 => query.opt(1232, false, b"\0\x08\0\x09").bytes(),
        8 => query.record_of(3, &[0], 41, 1232, 0x0001_0000, b"").bytes(),
        9 => [&whole[..12], &[0xC0, 0x0C, 0, 1, 0, 1][..]].concat(),
        10 => query.flags(0x1900).bytes(),
        _ => query.record(1, &[0xC0, 12], A, 1, &[1, 2, 3, 4]).bytes(),
    }
}

fn mutated(query: Message, rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = with_edns(query, rng).bytes();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(2..bytes.len());
        bytes[at] = rng.random();
    }
    bytes
}
