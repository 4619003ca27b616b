//! What a client of a scenario expects, from the words of a `reply` line, held against the reply.

use crate::script::{Words, Wrong, rcode};
use crate::stage::message::{cookies_of, extended_error, question_end, read};
use hickory_proto::rr::RData;
use std::fmt::Write;
use weir::dns::query::Query;

/// The words of an expectation. What is not named is expected to be absent: answers, TC, an extended error.
const KNOWN: [&str; 24] = [
    "noerror",
    "formerr",
    "servfail",
    "nxdomain",
    "notimp",
    "refused",
    "badvers",
    "A=",
    "AAAA=",
    "cname=",
    "txt",
    "ttl=",
    "tc",
    "ede=",
    "soa",
    "size<=",
    "opt",
    "option=",
    "any",
    "tsig",
    "cookie",
    "badcookie",
    "https",
    "more=",
];

/// Holds a reply against what is expected.
pub(crate) fn hold(words: Words<'_>, from: usize, query: &[u8], reply: &[u8]) -> Result<(), Wrong> {
    words.only(from, &KNOWN)?;
    let expected = Shape::expected(words, from)?;
    let got = Shape::of(reply);
    if reply[..2] != query[..2] || reply[2] & 0x80 == 0 {
        return Err("the reply's id is another, or QR is not set".into());
    }
    let scanned = Query::scan(query);
    if let Ok(scanned) = &scanned {
        if reply.get(12..question_end(query)) != Some(scanned.question()) {
            return Err("the question is not repeated byte for byte".into());
        }
        let has_opt = read(reply).edns.is_some();
        if scanned.edns.is_some() != has_opt && !words.has("any") {
            return Err(format!("OPT: asked with {}, answered with {has_opt}", scanned.edns.is_some()));
        }
    }
    hold_cookie(words.has("cookie"), query, reply)?;
    if let Some(limit) = words.number("size<")? {
        let len = reply.len();
        if len > limit as usize {
            return Err(format!("expected at most {limit} bytes, got {len}"));
        }
    }
    if let Some(more) = words.number("more")? {
        let is_address = |data: &RData| matches!(data, RData::A(_) | RData::AAAA(_));
        let found = read(reply).additionals.iter().filter(|record| is_address(&record.data)).count();
        if found != more as usize {
            return Err(format!("expected {more} addresses in the additional section, got {found}"));
        }
    }
    if words.has("any") || expected == got {
        return Ok(());
    }
    Err(format!("expected {expected}\n         got {got}"))
}

/// A reply to a query with a cookie carries exactly one, a whole one whose first half is the client's own; any other
/// carries none.
fn hold_cookie(expected: bool, query: &[u8], reply: &[u8]) -> Result<(), Wrong> {
    let (asked, got) = (cookies_of(query), cookies_of(reply));
    match (&asked[..], &got[..]) {
        ([asked], [got]) if expected && got.len() == 24 && got[..8] == asked[..8] => {}
        (_, []) if !expected => {}
        _ => return Err(format!("expected cookie: {expected}; asked with {asked:02x?}, got {got:02x?}")),
    }
    if reply[2] & 2 != 0 && reply.len() > query.len() + 16 {
        return Err(format!("TC=1 in {} bytes to a query of {}", reply.len(), query.len()));
    }
    Ok(())
}

/// What a reply says, as far as scenarios speak about it.
#[derive(PartialEq, Eq)]
struct Shape {
    rcode: u16,
    truncated: bool,
    answers: Vec<String>,
    ttl: Option<u32>,
    soa: bool,
    error: Option<u16>,
    tsig: bool,
}

impl Shape {
    fn expected(words: Words<'_>, from: usize) -> Result<Self, Wrong> {
        let answers = words.all().skip(from).filter(|word| {
            ["A=", "AAAA=", "cname="].iter().any(|key| word.starts_with(key)) || ["txt", "https"].contains(word)
        });
        Ok(Self {
            rcode: words.all().skip(from).find_map(rcode).unwrap_or(0),
            truncated: words.has("tc"),
            answers: answers.map(str::to_owned).collect(),
            ttl: words.number("ttl")?,
            soa: words.has("soa"),
            error: words.number("ede")?.map(|code| code as u16),
            tsig: words.has("tsig"),
        })
    }

    fn of(reply: &[u8]) -> Self {
        let message = read(reply);
        let text = |data: &RData| match data {
            RData::A(a) => format!("A={}", a.0),
            RData::AAAA(aaaa) => format!("AAAA={}", aaaa.0),
            RData::CNAME(name) => format!("cname={}", name.0.to_string().trim_end_matches('.')),
            RData::TXT(_) => "txt".to_owned(),
            RData::HTTPS(_) => "https".to_owned(),
            other => format!("{other}"),
        };
        let soa = message.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
        Self {
            rcode: message.metadata.response_code.into(),
            truncated: message.metadata.truncation,
            answers: message.answers.iter().map(|record| text(&record.data)).collect(),
            ttl: message.answers.iter().chain(&message.authorities).map(|record| record.ttl).min(),
            soa,
            error: extended_error(reply),
            tsig: message.signature.is_some(),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused"];
        let mut text =
            names.get(usize::from(self.rcode)).map_or(format!("rcode {}", self.rcode), |name| (*name).into());
        if self.truncated {
            text.push_str(" tc");
        }
        for answer in &self.answers {
            write!(text, " {answer}")?;
        }
        if self.soa {
            text.push_str(" soa");
        }
        if let Some(ttl) = self.ttl {
            write!(text, " ttl={ttl}")?;
        }
        if let Some(error) = self.error {
            write!(text, " ede={error}")?;
        }
        if self.tsig {
            text.push_str(" tsig");
        }
        f.write_str(&text)
    }
}
