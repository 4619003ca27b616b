//! Queries as text, one a line: `NAME [TYPE] [CLIENT]`, or an object of weir's query log. `#` and `;` begin comments, so
//! that the query files of dnsperf can be used as they are.

use super::{CLIENT_DEFAULT, Recorded, Tally, Unreadable};
use crate::dns::class;
use crate::dns::name::Name;
use crate::language::text;
use crate::policy::document::words;
use serde::Deserialize;
use std::borrow::Cow;
use std::io::BufRead;
use std::net::IpAddr;

/// The longest line that is read, in bytes: a name in octal escapes takes a thousand, and a line of the log twice that.
const LINE_MAX: usize = 8 * 1024;

/// The share of bad lines from which on it is no file of queries.
const BAD_SHARE: u64 = 2;

/// A line of the query log, as far as it matters.
#[derive(Deserialize)]
struct Logged<'a> {
    client: IpAddr,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    qtype: Cow<'a, str>,
    #[serde(default = "Logged::default_class")]
    class: u16,
    #[serde(borrow, default)]
    transport: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

impl Logged<'_> {
    fn default_class() -> u16 {
        class::IN
    }
}

/// Reads all lines; what was asked goes to `take`.
///
/// # Errors
/// The system's, and [`Unreadable::NotOne`] when half of the lines are no queries.
pub fn read(input: &mut dyn BufRead, take: &mut dyn FnMut(&Recorded<'_>)) -> Result<Tally, Unreadable> {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let (len, is_whole) = read_line(input, &mut line)?;
        if len == 0 {
            break;
        }
        match std::str::from_utf8(&line) {
            Ok(text) if is_whole => one(text.trim(), &mut tally, take),
            _ => tally.bad += 1,
        }
    }
    let read = tally.queries + tally.no_questions;
    if tally.bad > 0 && tally.bad * BAD_SHARE > read + tally.bad {
        let message = text!(
            "{bad} of {n} lines are no queries: write NAME TYPE CLIENT, such as \"www.example A 192.0.2.1\", or name a query log",
            bad = tally.bad,
            n = read + tally.bad
        );
        return Err(Unreadable::NotOne(message));
    }
    Ok(tally)
}

/// Reads to the end of a line; its length, and whether all of it is in `line`.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<(usize, bool)> {
    let mut len = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok((len, len <= LINE_MAX));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(buffer.len());
        let room = LINE_MAX.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..taken.min(room)]);
        len += taken;
        input.consume(taken);
        if end.is_some() {
            return Ok((len, len <= LINE_MAX));
        }
    }
}

fn one(line: &str, tally: &mut Tally, take: &mut dyn FnMut(&Recorded<'_>)) {
    if line.is_empty() || line.starts_with(['#', ';']) {
        tally.others += u64::from(!line.is_empty());
        return;
    }
    let read = if line.starts_with('{') { logged(line) } else { written(line) };
    match read {
        // What could not be read when it was asked cannot be tried.
        Some((_, _, _, _, "malformed")) => tally.others += 1,
        Some((name, qtype, qclass, (client, tcp), _)) => {
            if let Some((name, qtype)) = tally.question((name, qtype, qclass)) {
                take(&Recorded { client: client.to_canonical(), name, qtype, tcp, answer: None });
            }
        }
        None => tally.bad += 1,
    }
}

/// Name, type, class, client and transport, reason.
type Read = (Name, u16, u16, (IpAddr, bool), &'static str);

fn logged(line: &str) -> Option<Read> {
    let Logged { client, name, qtype, class, transport, reason } = serde_json::from_str(line).ok()?;
    let reason = if reason == "malformed" { "malformed" } else { "" };
    let (name, qtype) =
        if reason.is_empty() { (Name::from_text(&name).ok()?, words::qtype(&qtype)?) } else { (Name::root(), 0) };
    Some((name, qtype, class, (client, transport == "tcp"), reason))
}

fn written(line: &str) -> Option<Read> {
    let mut words = line.split_whitespace();
    let name = Name::from_text(words.next()?).ok()?;
    let mut qtype = None;
    let mut client = None;
    for word in words {
        // What stands behind the name may be a type, a client, or both.
        match (word.parse::<IpAddr>(), words::qtype(word)) {
            (Ok(address), _) if client.is_none() => client = Some(address),
            (Err(_), Some(number)) if qtype.is_none() && client.is_none() => qtype = Some(number),
            _ => return None,
        }
    }
    Some((name, qtype.unwrap_or(1), class::IN, (client.unwrap_or(CLIENT_DEFAULT), false), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &[u8]) -> (Result<Tally, Unreadable>, Vec<String>) {
        let mut found = Vec::new();
        let tally = read(&mut &text[..], &mut |Recorded { client, name, qtype, tcp, .. }| {
            found.push(format!("{name} {qtype} {client}{}", if *tcp { " tcp" } else { "" }));
        });
        (tally, found)
    }

    #[test]
    fn text_and_query_log_are_read_line_by_line() {
        let text = b"# asked\nwww.example A 192.0.2.1\r\n\n; dnsperf\nb.example AAAA\nc.example\nd.example 2001:db8::1\n\
            {\"time\":\"x\",\"client\":\"10.1.2.3\",\"port\":5,\"transport\":\"tcp\",\"name\":\"e.example.\",\"type\":\"TYPE65\",\"class\":1,\"outcome\":\"denied\",\"reason\":\"filter\"}\n\
            {\"client\":\"10.1.2.3\",\"name\":\".\",\"type\":\"TYPE0\",\"reason\":\"malformed\"}\n\
            {\"client\":\"10.1.2.3\",\"name\":\"version.bind\",\"type\":\"TXT\",\"class\":3}\n\
            f.example AXFR\nbad..name A\ng.example A nowhere";
        let (tally, found) = read_all(text);
        let expected = [
            "www.example 1 192.0.2.1",
            "b.example 28 127.0.0.1",
            "c.example 1 127.0.0.1",
            "d.example 1 2001:db8::1",
            "e.example 65 10.1.2.3 tcp",
        ];
        assert_eq!(found, expected);
        let tally = tally.expect("a file of queries");
        assert_eq!((tally.queries, tally.others, tally.no_questions, tally.bad), (5, 3, 2, 2));
        assert!(tally.told().is_some_and(|told| told.english().contains("2 that cannot be read")), "{tally:?}");
    }

    #[test]
    fn what_is_no_file_of_queries_is_said_to_be_none() {
        let page = "<!doctype html>\n<body class=\"x\">\n<p>some words\n".repeat(10);
        let (tally, _) = read_all(page.as_bytes());
        assert!(tally.is_err_and(|error| error.to_string().contains("30 of 30 lines")));
        let long = [&b"a.example\n"[..], &vec![b'x'; 3 * LINE_MAX], b"\nb.example\nc.example\n"].concat();
        let (tally, found) = read_all(&long);
        assert_eq!((tally.expect("most are queries").bad, found.len()), (1, 3), "a long line is one bad line");
    }
}
