//! The world's names: what is true about each is a function of the name, so that every answer can be checked.

use crate::stage::message::{A, AAAA, ANSWER, CNAME, Message, TXT, wire};
use rand::RngExt;
use rand::rngs::StdRng;

/// The address that only forged answers hold, and the name.
pub(crate) const FORGED_IP: [u8; 4] = [203, 0, 113, 66];
pub(crate) const FORGED_NAME: &str = "forged.test";

/// The TTL of negative answers.
pub(crate) const NEGATIVE_TTL: u32 = 4;

/// What is true about a question.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// NXDOMAIN.
    pub(crate) absent: bool,
    /// CNAMEs: owner and target.
    pub(crate) chain: Vec<(String, String)>,
    /// Data of the records at the end of the chain, of the type asked for.
    pub(crate) data: Vec<Vec<u8>>,
    /// TTL of all records.
    pub(crate) ttl: u32,
}

impl Truth {
    /// The name at the end of the chain.
    pub(crate) fn end<'t>(&'t self, name: &'t str) -> &'t str {
        self.chain.last().map_or(name, |(_, target)| target)
    }
}

/// FNV-1a: the same in every run.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn zone(name: &str) -> &str {
    name.rsplit_once(".test").map_or("", |(front, _)| front.rsplit('.').next().unwrap_or(front))
}

/// The truth about a lower-case name.
pub(crate) fn truth(name: &str, qtype: u16) -> Truth {
    let mut truth = Truth { ttl: (hash(name) % 6) as u32, ..Truth::default() };
    let mut at = name.to_owned();
    while let Some(target) = alias_of(&at) {
        truth.chain.push((std::mem::replace(&mut at, target.clone()), target));
        if qtype == CNAME {
            return truth;
        }
    }
    let digest = hash(&at);
    match (zone(&at), qtype) {
        ("none", _) => truth.absent = true,
        ("large", TXT) => truth.data = vec![large(digest)],
        ("plain" | "blocked" | "routed" | "wild" | "dead", A) => {
            truth.data = vec![vec![198, 18, digest as u8, (digest >> 8) as u8]];
        }
        ("plain" | "blocked" | "routed", AAAA) => {
            truth.data = vec![[&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0][..], &digest.to_be_bytes()].concat()];
        }
        ("plain", TXT) => truth.data = vec![b"\x04true".to_vec()],
        _ => {}
    }
    truth
}

/// `c3.chain.test` leads to `c2.chain.test` and so on, `x.alias.test` to `x.blocked.test`.
fn alias_of(name: &str) -> Option<String> {
    let (first, rest) = name.split_once('.')?;
    match zone(name) {
        "alias" => Some(format!("{first}.blocked.test")),
        "chain" => match first.strip_prefix('c')?.parse::<u32>().ok()? {
            0 => Some("end.plain.test".to_owned()),
            n => Some(format!("c{}.{rest}", n - 1)),
        },
        _ => None,
    }
}

/// 700 to 3000 bytes of text.
fn large(digest: u64) -> Vec<u8> {
    let strings = 3 + digest % 10;
    (0..strings).flat_map(|n| std::iter::once(230).chain(vec![b'a' + n as u8; 230])).collect()
}

/// Adds the true answer to the head of a response.
pub(crate) fn answer(mut message: Message, name: &str, qtype: u16) -> Message {
    let truth = truth(name, qtype);
    for (owner, target) in &truth.chain {
        message = message.record(ANSWER, &wire(owner), CNAME, truth.ttl, &wire(target));
    }
    if truth.absent {
        message = message.rcode(3);
    }
    if truth.data.is_empty() && (qtype != CNAME || truth.chain.is_empty()) {
        return message.soa("test", NEGATIVE_TTL);
    }
    let owner = if truth.chain.is_empty() { vec![0xC0, 12] } else { wire(truth.end(name)) };
    for data in &truth.data {
        message = message.record(ANSWER, &owner, qtype, truth.ttl, data);
    }
    message
}

/// A name that somebody may ask for: few enough to meet again, of every kind.
pub(crate) fn some_name(rng: &mut StdRng) -> String {
    let zone = ["plain", "plain", "plain", "blocked", "routed", "alias", "chain", "none", "empty", "large", "wild"]
        [rng.random_range(0..11)];
    let number = rng.random_range(0..12);
    match zone {
        "chain" => format!("c{}.chain.test", number % 7),
        "none" => format!("x{}.none.test", rng.random_range(0..1000)),
        "plain" if number == 0 => "a-rather-long-label-so-that-letters-abound.and-another-one.plain.test".to_owned(),
        _ => format!("n{number}.{zone}.test"),
    }
}

/// The same name in random letter case.
pub(crate) fn shuffle_case(name: &str, rng: &mut StdRng) -> String {
    name.chars().map(|c| if rng.random_bool(0.5) { c.to_ascii_uppercase() } else { c }).collect()
}
