//! Model upstream servers: right, slow, lossy, dead, refusing, or lying about everything but what the gateway can tell.

use crate::stage::message::{A, ANSWER, Message, TXT, id_of, question_end, question_name, question_type, wire};
use crate::truth::{self, FORGED_IP, FORGED_NAME};
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;
use weir::dns::query::Query;

/// How a server is disposed; it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Lossy,
    Servfail,
    Dead,
    Refusing,
    HangingUp,
    Slow,
    Duplicating,
    Truncating,
    Oversized,
    Lying,
    Hijacked,
}

const MOODS: [Mood; 15] = [
    Mood::Good,
    Mood::Good,
    Mood::Good,
    Mood::Lossy,
    Mood::Servfail,
    Mood::Dead,
    Mood::Refusing,
    Mood::HangingUp,
    Mood::Slow,
    Mood::Duplicating,
    Mood::Truncating,
    Mood::Oversized,
    Mood::Lying,
    Mood::Hijacked,
    Mood::Hijacked,
];

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) mood: Mood,
    /// Sends the question back in the letter case in which it came.
    keeps_case: bool,
    latency_ms: u64,
}

/// What comes back, and after how long.
#[derive(Debug)]
pub(crate) enum Back {
    /// On the socket or connection that was used: the truth.
    Truth(Vec<u8>),
    /// Also there: what must not be believed, and what says nothing.
    Lie(Vec<u8>),
    /// On another socket, or from another server's address.
    Elsewhere(Vec<u8>),
    /// Connection refused.
    Unreachable,
    /// The connection ends, and the message on it has no answer.
    Ended,
}

impl Server {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self { mood: Mood::Good, keeps_case: rng.random_bool(0.8), latency_ms: rng.random_range(1..60) }
    }

    pub(crate) fn change(&mut self, rng: &mut StdRng) {
        self.mood = MOODS[rng.random_range(0..MOODS.len())];
    }

    /// What the server sends for a message; `opaque`: it is signed, or no QUERY.
    pub(crate) fn receive(&mut self, asked: &[u8], tcp: bool, opaque: bool, rng: &mut StdRng) -> Vec<(Duration, Back)> {
        let millis = self.latency_ms + rng.random_range(0..self.latency_ms + 1);
        let soon = Duration::from_micros(millis * 1000 + rng.random_range(0..1000));
        let later = |rng: &mut StdRng| Duration::from_millis(rng.random_range(200..2500));
        let answer = |server: &mut Self, rng: &mut StdRng| {
            let bytes = server.answer(asked, tcp, opaque, rng);
            let is_too_large = !tcp && !opaque && bytes.len() > takes_at_most(asked);
            if is_too_large { Back::Lie(bytes) } else { Back::Truth(bytes) }
        };
        match self.mood {
            Mood::Dead => vec![],
            Mood::Lossy if !tcp && rng.random_bool(0.4) => vec![],
            Mood::Refusing => vec![(soon, Back::Unreachable)],
            Mood::HangingUp if tcp && rng.random_bool(0.7) => vec![(soon, Back::Ended)],
            Mood::Servfail => vec![(soon, Back::Lie(Message::answer_to(asked).rcode(2).bytes()))],
            Mood::Slow => vec![(later(rng), answer(self, rng))],
            Mood::Duplicating => {
                (0..rng.random_range(2..4)).map(|n| (soon * (1 + n * n * n), answer(self, rng))).collect()
            }
            Mood::Lying => {
                let lies = rng.random_range(1..4);
                let mut sent: Vec<_> = (0..lies).map(|n| (soon / 8 * n, self.lie(asked, tcp, opaque, rng))).collect();
                if rng.random_bool(0.7) {
                    sent.push((soon, answer(self, rng)));
                }
                sent
            }
            Mood::Good | Mood::Hijacked | Mood::Lossy | Mood::HangingUp | Mood::Truncating | Mood::Oversized => {
                vec![(soon, answer(self, rng))]
            }
        }
    }

    fn answer(&mut self, asked: &[u8], tcp: bool, opaque: bool, rng: &mut StdRng) -> Vec<u8> {
        let head = Message::answer_to(asked);
        if opaque {
            return if rng.random_bool(0.5) { head.tsig().bytes() } else { head.bytes() };
        }
        let query = Query::scan(asked).expect("what is sent upstream is well-formed");
        let edns = &query.edns;
        let (name, qtype) = (question_name(asked), question_type(asked));
        let limit = match edns {
            _ if tcp || self.mood == Mood::Oversized => usize::from(u16::MAX),
            _ => takes_at_most(asked),
        };
        let mut message = match self.mood {
            Mood::Hijacked if truth::may_be_hijacked(&name, qtype) => {
                truth::hijacked_answer(head.clone(), &name, qtype)
            }
            _ => truth::answer(head.clone(), &name, qtype),
        };
        if message.0.len() + 11 > limit || (self.mood == Mood::Truncating && !tcp && rng.random_bool(0.7)) {
            message = head.truncated();
        }
        if !self.keeps_case {
            message.0[12..question_end(asked) - 4].make_ascii_lowercase();
        }
        match edns {
            Some(edns) => message.opt(1232, edns.dnssec_ok, &[]).bytes(),
            None => message.bytes(),
        }
    }

    /// Something that must not be believed.
    fn lie(&mut self, asked: &[u8], tcp: bool, opaque: bool, rng: &mut StdRng) -> Back {
        let end = question_end(asked);
        let forged = Message::answer_to(asked).record(ANSWER, &[0xC0, 12], A, 3600, &FORGED_IP);
        let mut bytes = forged.clone().bytes();
        // What is opaque passes byte for byte: only what stands in front of its records can give a lie away.
        let kinds = if opaque { 6 } else { 20 };
        match rng.random_range(0..kinds) {
            0 => bytes[..2].copy_from_slice(&(id_of(asked) ^ rng.random_range(1..=u16::MAX)).to_be_bytes()),
            1 => bytes[13] ^= 0x01,
            2 => bytes[end - 3] ^= 0x40,
            3 => bytes[2] &= 0x7F,
            4 => bytes[2] ^= 0x08,
            5 => return Back::Elsewhere(bytes),
            6 => bytes.truncate(rng.random_range(0..bytes.len())),
            7 => bytes.extend([0; 3]),
            8 => bytes[5] = 2,
            9 => bytes[5] = 0,
            10 => bytes[7] = 9,
            11 => {
                let at = bytes.len() - 16;
                bytes[at..at + 2].copy_from_slice(&[0xC0, at as u8]);
            }
            12 => bytes = forged.record(ANSWER, &wire(FORGED_NAME), A, 60, &[1, 2, 3]).bytes(),
            13 => bytes = forged.opt(1232, false, &[]).opt(1232, false, &[]).bytes(),
            14 => bytes = forged.opt(1232, false, &[0, 8, 0, 9]).bytes(),
            15 => bytes[end + rng.random_range(0..2)] = 0xFF,
            16 => bytes = (0..rng.random_range(0..64)).map(|_| rng.random()).collect(),
            // A server that folds letters itself leaves nothing to tell by.
            17 if !tcp && self.keeps_case => {
                bytes[12..end - 4].iter_mut().filter(|byte| byte.is_ascii_alphabetic()).for_each(|byte| *byte ^= 0x20);
            }
            18 if !tcp && self.keeps_case && has_capitals(asked) => bytes[12..end - 4].make_ascii_lowercase(),
            19 if !tcp => {
                let strings: Vec<u8> = (0..6).flat_map(|_| [&[230][..], &[b'x'; 230]].concat()).collect();
                bytes = forged.record(ANSWER, &[0xC0, 12], TXT, 60, &strings).bytes();
            }
            _ => return Back::Elsewhere(bytes),
        }
        Back::Lie(bytes)
    }
}

/// The most bytes of a datagram that a question allows.
fn takes_at_most(asked: &[u8]) -> usize {
    let query = Query::scan(asked).expect("what is sent upstream is well-formed");
    query.edns.map_or(512, |edns| usize::from(edns.payload))
}

fn has_capitals(asked: &[u8]) -> bool {
    asked[12..question_end(asked) - 4].iter().any(u8::is_ascii_uppercase)
}
