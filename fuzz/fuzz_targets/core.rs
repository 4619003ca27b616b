//! Any sequence of queries, responses, lost paths, connections that end, ticks and reloads: the core does not panic, every
//! query ends exactly once, nobody gets an answer that he did not ask for, and what goes upstream is well-formed.

#![no_main]

#[path = "../../tests/stage/mod.rs"]
mod stage;

use libfuzzer_sys::fuzz_target;
use stage::message::{ANSWER, Message, id_of, question_end};
use stage::{START, Stage, inside, now, policy, tcp, udp};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use weir::clock::Moment;
use weir::dns::query::Query;
use weir::gateway::outbox::To;
use weir::gateway::{From, LinkId, LinkPort};
use weir::verdict::Outcome;

/// Operations of one run at the most.
const OPERATIONS_MAX: usize = 200;

/// Reloads of one run at the most: each compiles a policy.
const RELOADS_MAX: usize = 3;

/// The longest that a query waits under any of the policies.
const LONGEST: Duration = Duration::from_millis(600);

const NAMES: [&str; 6] = ["a.test", "WwW.Test", "blocked.test", "x.corp.test", "1.", "."];

/// Takes bytes from the input; zeros behind its end.
struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> &'i [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
}

struct Run {
    stage: Stage,
    at: Moment,
    queries: u64,
    replies: u64,
    /// Ids of all queries so far, and how many replies each may still get.
    open: Box<[u16; 65_536]>,
    /// The latest messages to upstreams.
    asked: Vec<(From, Vec<u8>)>,
}

fn policies(number: u8) -> weir::policy::Policy {
    let limits = "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n";
    let strict = "[source]\nrate = 2\nburst = 4\nmemory = \"1MiB\"\n[rrl]\nmode = \"enforce\"\nresponses = 2\nerrors = 1\nmemory = \"1MiB\"\n";
    let first = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n[[upstream]]\nname = \"b\"\naddress = \"192.0.2.2\"\n\
                 [pool.default]\ntimeout = \"200ms\"\nretries = 2\n[cache]\nsize = \"1MiB\"\nstale = \"9s\"\n";
    let second = "schema = 1\nprofile = \"authoritative\"\n[[upstream]]\nname = \"b\"\naddress = \"192.0.2.2\"\ntransport = \"tcp\"\n\
                  [[upstream]]\nname = \"c\"\naddress = \"192.0.2.3\"\npool = \"corp\"\n[[route]]\nzone = \"corp.test\"\npool = \"corp\"\n\
                  [pool.default]\ntimeout = \"500ms\"\nretries = 0\n[pool.corp]\ntimeout = \"400ms\"\n[cache]\nsize = \"1MiB\"\n";
    let access = "allow = [\"10.0.0.0/8\"]\n[transfer]\nallow = [\"10.0.0.0/8\"]\n[notify]\nallow = [\"10.0.0.0/8\"]\n[update]\nallow = [\"10.0.0.0/8\"]\n";
    let filter = "[zone]\ntitle = \"t\"\n[[rule]]\nid = \"b\"\nnames = [\"blocked.test\"]\naction = \"sinkhole\"\n";
    let uncached = first.replace("\"1MiB\"", "0");
    match number % 3 {
        0 => policy([("gateway.toml", first), ("limits.toml", limits), ("access.toml", access)]),
        1 => policy([("gateway.toml", second), ("limits.toml", strict), ("filters/10-t.toml", filter)]),
        _ => policy([("gateway.toml", &*uncached), ("limits.toml", limits), ("filters/10-t.toml", filter)]),
    }
}

impl Run {
    fn operation(&mut self, input: &mut Input<'_>, reloads: &mut usize) {
        match input.byte() % 10 {
            0 => {
                let (who, packet) = (input.byte(), input.bytes());
                self.query(who, packet);
            }
            1 | 2 => {
                let (who, shape) = (input.byte(), input.byte());
                let packet = shaped(input, shape);
                self.query(who, &packet);
            }
            3 => {
                let bytes = input.bytes().to_vec();
                let Some((from, asked)) = self.recent(input.byte()) else { return };
                let mut response = bytes;
                response.resize(response.len().max(2), 0);
                response[..2].copy_from_slice(&asked[..2]);
                self.respond(from, &response);
            }
            4 | 5 => {
                let Some((from, asked)) = self.recent(input.byte()) else { return };
                let response = answered(input, &asked);
                self.respond(from, &response);
            }
            6 => {
                let link = LinkId { slot: u16::from(input.byte() % 4), generation: 0 };
                let at = LinkPort { link, port: input.byte() % 8 };
                let from = if input.byte().is_multiple_of(2) { From::Udp(at) } else { From::Tcp(at) };
                if input.byte().is_multiple_of(4) {
                    self.unreachable(from);
                } else {
                    self.respond(from, input.bytes());
                }
            }
            7 => {
                if let Some((from, _)) = self.recent(input.byte()) {
                    self.unreachable(from);
                }
            }
            8 => {
                let Some((From::Udp(at) | From::Tcp(at), asked)) = self.recent(input.byte()) else { return };
                // At times of a message that was never on it.
                let message = if input.byte().is_multiple_of(8) { u16::from(input.byte()) } else { id_of(&asked) };
                self.ended(From::Tcp(LinkPort { port: 0, ..at }), message);
            }
            _ if *reloads < RELOADS_MAX && input.byte().is_multiple_of(8) => {
                *reloads += 1;
                self.stage.reload(self.at, policies(input.byte()));
                self.stage.workers[0].begin_batch();
            }
            _ => self.tick(Duration::from_millis(1 << (input.byte() % 14))),
        }
        let open = self.queries - self.stage.totals().all();
        assert_eq!(open, self.stage.in_flight() as u64, "every query is counted or in flight");
    }

    fn query(&mut self, who: u8, packet: &[u8]) {
        let ip = if who & 8 == 0 { inside(u32::from(who & 7)) } else { IpAddr::from([198, 51, 100, who]) };
        let peer = SocketAddr::new(ip, 53);
        let client = if who & 16 == 0 { udp(peer) } else { tcp(peer, 1) };
        self.queries += 1;
        if packet.len() >= 2 {
            self.open[usize::from(id_of(packet))] += 1;
        }
        self.stage.workers[0].on_query(now(self.at), client, packet, &mut self.stage.out);
        self.collect();
    }

    fn respond(&mut self, from: From, packet: &[u8]) {
        self.stage.workers[0].on_response(now(self.at), from, packet, &mut self.stage.out);
        self.collect();
    }

    fn unreachable(&mut self, from: From) {
        self.stage.workers[0].on_unreachable(now(self.at), from, &mut self.stage.out);
        self.collect();
    }

    fn ended(&mut self, from: From, message: u16) {
        self.stage.workers[0].on_ended(now(self.at), from, message);
        assert!(self.stage.out.messages().is_empty(), "what is due is for the next tick");
    }

    fn tick(&mut self, step: Duration) {
        self.at = self.at.plus(step);
        self.stage.workers[0].begin_batch();
        self.stage.workers[0].on_tick(now(self.at), &mut self.stage.out);
        while self.stage.workers[0].take_rotated().is_some() {}
        self.collect();
    }

    fn recent(&self, back: u8) -> Option<(From, Vec<u8>)> {
        self.asked.iter().rev().nth(usize::from(back % 4)).cloned()
    }

    fn collect(&mut self) {
        let out = &mut self.stage.out;
        assert_eq!(out.lost(), 0);
        for message in out.messages() {
            let bytes = out.bytes(message);
            let from = match message.to {
                To::Client { .. } | To::Stream(_) => {
                    let open = &mut self.open[usize::from(id_of(bytes))];
                    assert!(*open > 0 && bytes.len() >= 12 && bytes[2] & 0x80 != 0, "a reply to nobody: {bytes:02x?}");
                    *open -= 1;
                    self.replies += 1;
                    continue;
                }
                To::Upstream(link) => From::Udp(link),
                To::UpstreamStream(link) => From::Tcp(link),
                To::Transfer { .. } | To::Silence(_) => continue,
            };
            assert!(Query::scan(bytes).is_ok(), "what goes upstream is well-formed: {bytes:02x?}");
            self.asked.push((from, bytes.to_vec()));
        }
        out.clear();
    }

    fn end(&mut self) {
        for _ in 0..LONGEST.as_millis() / 20 + 3 {
            self.tick(Duration::from_millis(20));
        }
        let totals = self.stage.totals();
        assert_eq!(self.stage.in_flight(), 0, "somebody waits for ever");
        assert_eq!(totals.all(), self.queries, "every query ends once");
        let silent =
            [Outcome::Dropped, Outcome::Malformed, Outcome::Transferred].map(|outcome| totals.outcome(outcome));
        assert_eq!(self.replies + silent.iter().sum::<u64>(), self.queries, "every query gets one reply");
    }
}

/// A query that is nearly always well-formed.
fn shaped(input: &mut Input<'_>, shape: u8) -> Vec<u8> {
    let (name, id) = (NAMES[usize::from(shape & 7) % NAMES.len()], u16::from(input.byte()));
    let qtype = [1, 28, 16, 5, 255, 252, 6, 251][usize::from(shape >> 3 & 7)];
    let mut query = Message::query(id, name, qtype);
    query.0[2] ^= input.byte() & 0x29;
    query.0[3] ^= input.byte() & 0x30;
    if shape & 0x40 != 0 {
        let options = input.bytes();
        query = query.opt(u16::from(input.byte()) << 4, shape & 0x80 != 0, options);
    }
    if input.byte() == 1 {
        query = query.tsig();
    }
    query.bytes()
}

/// A response to what was asked, with a few records and perhaps a byte that is wrong.
fn answered(input: &mut Input<'_>, asked: &[u8]) -> Vec<u8> {
    if asked.len() <= 12 {
        return asked.to_vec();
    }
    let shape = input.byte();
    let mut message = Message::answer_to(asked);
    if shape & 1 != 0 {
        message = message.record(ANSWER, &[0xC0, 12], 5, u32::from(input.byte()), b"\x07blocked\x04test\0");
    }
    if shape & 2 != 0 {
        message = message.record(ANSWER, &[0xC0, 12], 1, u32::from(input.byte()), &[192, 0, 2, 1]);
    }
    if shape & 4 != 0 {
        message = message.record(ANSWER, &[0xC0, 12], u16::from(input.byte()), 60, input.bytes());
    }
    if shape & 8 != 0 {
        message = message.soa("test", u32::from(input.byte()));
    }
    if shape & 16 != 0 {
        message = message.opt(1232, true, input.bytes());
    }
    message = message.rcode(input.byte() & 0x03);
    if shape & 32 != 0 {
        message = message.truncated();
    }
    let mut bytes = message.bytes();
    if shape & 64 != 0 {
        let at = usize::from(input.byte()) % bytes.len();
        bytes[at] ^= input.byte();
    }
    if shape & 128 != 0 {
        let end = question_end(asked) - 4;
        bytes[12..end].make_ascii_lowercase();
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let stage = Stage::new(policies(input.byte()), 1, 32, 1);
    let open = vec![0; 65_536].into_boxed_slice().try_into().expect("the length is the same");
    let mut run = Run { stage, at: START, queries: 0, replies: 0, open, asked: Vec::new() };
    run.stage.workers[0].begin_batch();
    let mut reloads = 0;
    for _ in 0..OPERATIONS_MAX {
        if input.0.is_empty() {
            break;
        }
        run.operation(&mut input, &mut reloads);
    }
    run.end();
});
