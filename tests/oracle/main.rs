//! The scanner against hickory-proto: over packets as real software sends them and over hundreds of thousands of broken
//! ones, they agree on what is well-formed and what it says, or the difference is one of those listed here.
//!
//! `WEIR_ORACLE_SEED` sets the first seed (default 1) and `WEIR_ORACLE_COUNT` the number of mutants (default 150000). A
//! failure prints the seed of the one mutant and its bytes.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

mod agreement;
mod corpus;
mod facts;

use facts::Facts;
use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use std::collections::BTreeMap;
use weir::dns::query::{Malformed, Query};
use weir::dns::rcode;
use weir::dns::response::{MalformedResponse, Response};

/// A difference: its name, why it is right, and how to tell from a plain reading that a packet falls under it.
type Difference = (&'static str, &'static str, fn(&Facts) -> bool);

/// What the scanner refuses in any message although hickory reads it. Refused always, so the test holds both ways.
const STRICTER: &[Difference] = &[
    ("trailing-bytes", "bytes behind the last record are seen by nobody here and by somebody else", |f| f.trailing),
    ("compressed-question", "a question has nothing to point to", |f| f.compressed_question),
    ("opt-owner", "RFC 6891 6.1.2: the owner is the root itself, not a pointer to one", |f| {
        f.opts().any(|opt| opt.owner_len != 1)
    }),
    ("opt-options", "RFC 7873, RFC 7871: options fill OPT, cookies and subnets have their form and come once", |f| {
        f.opts().any(|opt| !opt.options_are_sound() && (f.is_response() || opt.ttl >> 16 & 0xFF == 0))
    }),
    ("tsig-fixed-fields", "RFC 8945 4.2: class ANY and TTL 0", |f| {
        f.frames.iter().any(|frame| frame.rtype == 250 && (frame.class != 255 || frame.ttl != 0))
    }),
    ("sig0-not-last", "RFC 2931 3.1: a signature of the message ends it", Facts::record_behind_sig0),
];

/// What the scanner refuses in a request although hickory reads it.
const STRICTER_QUERY: &[Difference] = &[
    ("a-response", "QR=1 on a listener is never answered", Facts::is_response),
    ("opcode", "NOTIMP for all but QUERY, NOTIFY and UPDATE", |f| !matches!(f.opcode(), 0 | 4 | 5)),
    ("one-question", "RFC 9619", |f| f.counts[0] != 1),
    ("answer-in-query", "nothing defines it", |f| f.opcode() == 0 && f.counts[1] > 0),
    ("authority-in-query", "RFC 1995: only IXFR has one, an SOA", |f| {
        let ixfr = f.qtype == 251 && f.counts[2] == 1 && f.frames.iter().all(|r| r.section != 2 || r.rtype == 6);
        f.opcode() == 0 && f.counts[2] > 0 && !ixfr
    }),
    ("edns-version", "RFC 6891 6.1.3: BADVERS", |f| f.opts().any(|opt| opt.ttl >> 16 & 0xFF != 0)),
];

/// What the scanner refuses in a response although hickory reads it.
const STRICTER_RESPONSE: &[Difference] = &[
    ("a-query", "QR=0 from an upstream", |f| !f.is_response()),
    ("one-question", "an answer belongs to one question", |f| f.counts[0] > 1),
    ("no-question", "without one only an error, or UPDATE (RFC 2136 3.8), makes sense", |f| {
        let error = f.flags & 15 != 0 || f.opts().any(|opt| opt.ttl >> 24 != 0);
        f.counts[0] == 0 && (f.counts[1] > 0 || f.counts[2] > 0 || (!error && f.opcode() != 5))
    }),
];

/// What the scanner may refuse although hickory reads it; here the plain reading can only say that it may be so.
const MAYBE_STRICTER: &[Difference] =
    &[("pointer-into-header", "a name that leads through the header changes with the message id", |f| {
        f.points_into_header
    })];

/// The same for a response.
const MAYBE_STRICTER_RESPONSE: &[Difference] = &[
    ("names-in-old-types", "RFC 3597 section 4: types with names that hickory takes as opaque", |f| {
        let types = [3, 4, 7, 8, 9, 14, 17, 18, 21, 26, 30, 36, 39];
        f.frames.iter().any(|frame| types.contains(&frame.rtype))
    }),
    ("empty-rdata-in-update", "RFC 2136: only class ANY and NONE go without RDATA", |f| {
        f.opcode() == 5 && f.frames.iter().any(|frame| frame.data.is_empty() && !matches!(frame.class, 254 | 255))
    }),
];

/// Types whose RDATA the scanner reads in a response just as strictly as hickory does.
const SAME_RDATA: [u16; 8] = [1, 2, 5, 6, 12, 15, 28, 33];

/// Why hickory refuses what the scanner reads; `None` when that is not explained.
fn leniency(packet: &[u8], facts: &Facts, scanned_as_query: bool) -> Option<&'static str> {
    if !facts.whole {
        return None;
    }
    if facts.frames.iter().any(|frame| frame.rtype == 24 && frame.section < 3 && !frame.is_sig0()) {
        return Some("sig-in-answer: a SIG that covers a type is data (RFC 2535), hickory takes any for SIG(0)");
    }
    let update = facts.opcode() == 5;
    if !update && facts.frames.iter().any(|frame| frame.data.is_empty() && frame.rtype != 41) {
        return Some(
            "empty-rdata: RDATA that the scanner does not read may be empty (NULL, APL, ANY in a class of its own)",
        );
    }
    for frame in &facts.frames {
        let decoder = BinDecoder::new(packet).clone(u16::try_from(frame.start).ok()?);
        let unreadable = Record::read(&mut { decoder }).is_err();
        let opaque =
            scanned_as_query || !SAME_RDATA.contains(&frame.rtype) || (frame.class != 1 && frame.rtype & !29 == 0);
        if unreadable && opaque {
            return Some("rdata: the scanner takes it as opaque (RFC 3597) where it needs nothing from it");
        }
    }
    None
}

/// hickory's reading. It is not asked about packets that claim more than can be there: it would allocate for the claim.
fn theirs(packet: &[u8], facts: &Facts) -> Option<Message> {
    let questions = usize::from(facts.counts[0]);
    let records: usize = facts.counts[1..].iter().map(|&count| usize::from(count)).sum();
    if questions > packet.len() / 5 || records > packet.len() / 11 {
        return None;
    }
    Message::from_vec(packet).ok()
}

#[derive(Default)]
struct Tally {
    accepted: usize,
    rejected: usize,
    differences: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Settles one packet in one role, or says what cannot be explained.
    fn settle(
        &mut self,
        ours: Result<(), String>,
        theirs: Option<&Message>,
        certain: &[&[Difference]],
        possible: &[&[Difference]],
        facts: &Facts,
        leniency: impl FnOnce() -> Option<&'static str>,
    ) -> Result<(), String> {
        let find = |tables: &[&[Difference]]| {
            tables
                .iter()
                .flat_map(|table| table.iter())
                .find(|(_, _, applies)| applies(facts))
                .map(|(name, _, _)| *name)
        };
        let certain = find(certain).filter(|_| facts.whole);
        match (ours, theirs) {
            (Ok(()), _) if certain.is_some() => Err(format!("accepted in spite of {certain:?}")),
            (Ok(()), Some(_)) => {
                self.accepted += 1;
                Ok(())
            }
            (Err(_), None) => {
                self.rejected += 1;
                Ok(())
            }
            (Err(error), Some(_)) => match certain.or_else(|| find(possible)) {
                Some(name) => {
                    *self.differences.entry(name).or_default() += 1;
                    Ok(())
                }
                None => Err(format!("refused ({error}), and hickory reads it")),
            },
            (Ok(()), None) => match leniency() {
                Some(name) => {
                    *self.differences.entry(name).or_default() += 1;
                    Ok(())
                }
                None => Err("accepted, and hickory refuses it".to_owned()),
            },
        }
    }
}

fn check(packet: &[u8], tallies: &mut [Tally; 2]) -> Result<(), String> {
    let Some(facts) = Facts::of(packet) else {
        return match (Query::scan(packet), Response::scan(packet)) {
            (Err(Malformed::Short), Err(MalformedResponse::Short)) => Ok(()),
            other => Err(format!("no header, but {other:?}")),
        };
    };
    let message = theirs(packet, &facts);
    let query = Query::scan(packet);
    match &query {
        Ok(query) => {
            if let Some(message) = &message {
                agreement::of_query(query, message)?;
            }
        }
        Err(malformed) => expect_answer(malformed, &facts)?,
    }
    let ours = query.map(drop).map_err(|error| format!("{error:?}"));
    let certain = [STRICTER, STRICTER_QUERY];
    tallies[0]
        .settle(ours, message.as_ref(), &certain, &[MAYBE_STRICTER], &facts, || leniency(packet, &facts, true))?;

    let response = Response::scan(packet);
    if let (Ok(response), Some(message)) = (&response, &message) {
        agreement::of_response(response, message)?;
    }
    let ours = response.map(drop).map_err(|error| format!("{error:?}"));
    let certain = [STRICTER, STRICTER_RESPONSE];
    let possible = [MAYBE_STRICTER, MAYBE_STRICTER_RESPONSE];
    tallies[1].settle(ours, message.as_ref(), &certain, &possible, &facts, || leniency(packet, &facts, false))
}

/// Which answer a malformed request gets.
fn expect_answer(malformed: &Malformed, facts: &Facts) -> Result<(), String> {
    let expected = match malformed {
        Malformed::Short => return Err("a header was there".to_owned()),
        Malformed::NotAQuery => return if facts.is_response() { Ok(()) } else { Err("QR=0".to_owned()) },
        Malformed::Answer { rcode, .. } => *rcode,
    };
    let served = matches!(facts.opcode(), 0 | 4 | 5);
    let badvers = facts.opts().any(|opt| opt.ttl >> 16 & 0xFF != 0);
    match expected {
        rcode::NOTIMP if !served => Ok(()),
        rcode::FORMERR if served => Ok(()),
        rcode::BADVERS if served && badvers => Ok(()),
        _ => Err(format!("{malformed:?} for opcode {}", facts.opcode())),
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_corpus_is_read_alike_and_without_differences() {
    let mut tallies = <[Tally; 2]>::default();
    let corpus = corpus::packets();
    for packet in &corpus {
        check(packet, &mut tallies).unwrap_or_else(|error| panic!("{error}\npacket {}", hex(packet)));
        let is_response = packet[2] & 0x80 != 0;
        assert_eq!(Query::scan(packet).is_ok(), !is_response, "{}", hex(packet));
        assert_eq!(Response::scan(packet).is_ok(), is_response, "{}", hex(packet));
        let message = Message::from_vec(packet).unwrap();
        assert!(matches!(message.op_code, OpCode::Query | OpCode::Notify | OpCode::Update));
    }
    assert_eq!(tallies[0].accepted + tallies[1].accepted, corpus.len());
}

#[test]
fn mutants_are_read_alike_or_the_difference_has_a_reason() {
    let mut corpus = corpus::packets();
    corpus.extend(corpus::oddities());
    let (first, count) = (from_environment("WEIR_ORACLE_SEED", 1), from_environment("WEIR_ORACLE_COUNT", 150_000));
    let mut tallies = <[Tally; 2]>::default();
    for seed in first..first + count {
        let packet = corpus::mutant(&corpus, seed);
        if let Err(error) = check(&packet, &mut tallies) {
            panic!("{error}\nWEIR_ORACLE_SEED={seed} WEIR_ORACLE_COUNT=1\npacket {}", hex(&packet));
        }
    }
    for (role, tally) in ["query", "response"].into_iter().zip(&tallies) {
        println!("as a {role}: {} read alike, {} refused alike", tally.accepted, tally.rejected);
        for (name, times) in &tally.differences {
            println!("  {times:>7} {name}");
        }
        // The mutants would prove nothing if hardly any of them were still well-formed.
        assert!(count < 10_000 || tally.accepted > count as usize / 50, "{role}: {}", tally.accepted);
    }
}

#[test]
#[ignore = "writes the corpus to fuzz/seeds/packets, when it has changed"]
fn write_the_seeds_of_the_fuzz_targets() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/packets");
    std::fs::create_dir_all(folder).unwrap();
    for (index, packet) in corpus::packets().into_iter().chain(corpus::oddities()).enumerate() {
        std::fs::write(format!("{folder}/{index:02}"), packet).unwrap();
    }
}
