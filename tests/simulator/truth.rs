//! The world's names: what is true about each is a function of the name, so that every answer can be checked.

use crate::stage::message::{A, AAAA, ADDITIONAL, ANSWER, AUTHORITY, CNAME, HTTPS, Message, NS, TXT, wire};
use rand::RngExt;
use rand::rngs::StdRng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// The addresses in these data, hints among them.
    pub(crate) addresses: Vec<IpAddr>,
    /// The name server that comes with the answer, and its address.
    pub(crate) server: Option<(String, IpAddr)>,
    /// TTL of all records.
    pub(crate) ttl: u32,
}

impl Truth {
    /// The name at the end of the chain.
    pub(crate) fn end<'t>(&'t self, name: &'t str) -> &'t str {
        self.chain.last().map_or(name, |(_, target)| target)
    }
}

/// Where a hijacker leads.
pub(crate) const HIJACK_IP: [u8; 4] = [203, 0, 113, 77];

/// Whether a server may lie about a question in a way that nobody can tell who does not know what to expect.
pub(crate) fn may_be_hijacked(name: &str, qtype: u16) -> bool {
    let end = truth(name, qtype);
    zone(end.end(name)) == "guarded" && qtype == A
}

/// All that a server may have said about a question, so that it is to be believed.
pub(crate) fn believable(name: &str, qtype: u16) -> Vec<Truth> {
    let mut all = vec![truth(name, qtype)];
    if may_be_hijacked(name, qtype) {
        all.push(hijacked(name, qtype));
    }
    all
}

fn hijacked(name: &str, qtype: u16) -> Truth {
    Truth { data: vec![HIJACK_IP.to_vec()], addresses: vec![HIJACK_IP.into()], ..truth(name, qtype) }
}

/// Whether an address is of the networks inside, as far as the worlds have any.
pub(crate) fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
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
        ("inner" | "own", A | AAAA | HTTPS) => lead(&mut truth, [10, 66, 0], [0xfd00, 0x66, 0], digest, qtype),
        ("parked", A | AAAA | HTTPS) => {
            lead(&mut truth, [198, 51, 100], [0x2001, 0x0db8, 0x0bad], digest, qtype);
        }
        ("guarded", A | HTTPS) => lead(&mut truth, [198, 19, 0], [0; 3], digest, qtype),
        ("long", A | AAAA) => {
            truth.ttl = 30 + (digest % 30) as u32;
            lead(&mut truth, [198, 18, 7], [0x2001, 0x0db8, 7], digest, qtype);
        }
        ("served", A) => {
            lead(&mut truth, [198, 18, 8], [0; 3], digest, qtype);
            let glue = if digest & 2 == 0 { [203, 0, 113, 53] } else { [198, 51, 100, 53] };
            truth.server = Some((format!("ns{}.bad.test", digest & 1), glue.into()));
        }
        ("budget" | "shed" | "tree" | "home" | "brief", A) => lead(&mut truth, [198, 18, 9], [0; 3], digest, qtype),
        // What local data leads elsewhere, where there is any.
        (
            "led" | "away" | "across" | "watched" | "over" | "park" | "toinner" | "toend" | "circle" | "here" | "steps",
            A,
        ) => {
            lead(&mut truth, [198, 18, 10], [0; 3], digest, qtype);
        }
        ("recovers", A | AAAA) => {
            truth.ttl = (digest % 30) as u32;
            lead(&mut truth, [198, 18, 11], [0x2001, 0x0db8, 11], digest, qtype);
        }
        ("plain", TXT) => truth.data = vec![b"\x04true".to_vec()],
        _ => {}
    }
    truth
}

/// An address of one of two networks, or an HTTPS record (RFC 9460) with it as its hint.
fn lead(truth: &mut Truth, v4: [u8; 3], v6: [u16; 3], digest: u64, qtype: u16) {
    let v4 = [v4[0], v4[1], v4[2], digest as u8];
    let v6 = Ipv6Addr::new(v6[0], v6[1], v6[2], 0, 0, 0, 0, digest as u16);
    let (data, address) = match qtype {
        AAAA => (v6.octets().to_vec(), IpAddr::V6(v6)),
        HTTPS if digest & 4 == 0 && v6.segments()[0] != 0 => {
            ([&[0, 1, 0, 0, 6, 0, 16][..], &v6.octets()].concat(), IpAddr::V6(v6))
        }
        HTTPS => ([&[0, 1, 0, 0, 4, 0, 4][..], &v4].concat(), IpAddr::V4(Ipv4Addr::from(v4))),
        _ => (v4.to_vec(), IpAddr::V4(Ipv4Addr::from(v4))),
    };
    (truth.data, truth.addresses) = (vec![data], vec![address]);
}

/// `c3.chain.test` leads to `c2.chain.test` and so on, `x.alias.test` to `x.blocked.test`.
fn alias_of(name: &str) -> Option<String> {
    let (first, rest) = name.split_once('.')?;
    match zone(name) {
        "alias" => Some(format!("{first}.blocked.test")),
        "lead" => {
            let zones = ["inner", "parked", "guarded", "long", "own"];
            Some(format!("{first}.{}.test", zones[(hash(first) % 5) as usize]))
        }
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
pub(crate) fn answer(message: Message, name: &str, qtype: u16) -> Message {
    says(message, name, qtype, &truth(name, qtype))
}

/// As [`answer`], from a server that has been taken over.
pub(crate) fn hijacked_answer(message: Message, name: &str, qtype: u16) -> Message {
    says(message, name, qtype, &hijacked(name, qtype))
}

fn says(mut message: Message, name: &str, qtype: u16, truth: &Truth) -> Message {
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
    let Some((server, IpAddr::V4(glue))) = &truth.server else { return message };
    let zone = wire("served.test");
    let message = message.record(AUTHORITY, &zone, NS, truth.ttl, &wire(server));
    message.record(ADDITIONAL, &wire(server), A, truth.ttl, &glue.octets())
}

/// A name whose answers are judged by what is in them.
pub(crate) fn some_judged_name(rng: &mut StdRng) -> String {
    let zones = [
        "inner", "own", "parked", "guarded", "guarded", "served", "long", "budget", "budget", "budget", "budget",
        "lead", "lead", "budget", "budget", "shed", "shed", "a.tree", "a.tree", "b.tree", "c.tree", "brief", "brief",
        "recovers",
    ];
    format!("n{}.{}.test", rng.random_range(0..4), zones[rng.random_range(0..zones.len())])
}

/// A name that local data may lead elsewhere.
pub(crate) fn some_led_name(rng: &mut StdRng) -> String {
    let zones = [
        "led", "led", "away", "across", "watched", "over", "park", "toinner", "home", "toend", "circle", "here",
        "steps", "steps", "steps",
    ];
    match zones[rng.random_range(0..zones.len())] {
        "steps" => format!("s{}.steps.test", rng.random_range(0..11)),
        zone => format!("n{}.{zone}.test", rng.random_range(0..3)),
    }
}

/// A name that somebody may ask for: few enough to meet again, of every kind.
pub(crate) fn some_name(rng: &mut StdRng) -> String {
    match rng.random_range(0..20) {
        0..6 => return some_judged_name(rng),
        6 | 7 => return some_led_name(rng),
        _ => {}
    }
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
