//! Queries from files, so that a policy can be tried on what was asked elsewhere or earlier: text, weir's own query log,
//! dnstap, packet captures. The bytes are from anywhere: every reader streams in fixed memory, takes what it understands,
//! and counts what it leaves out.

mod capture;
pub mod dnstap;
pub mod lines;
mod packet;
mod pairs;
pub mod pcap;
#[cfg(test)]
mod tests;

use crate::dns::name::Name;
use crate::dns::query::Query;
use crate::dns::{class, rtype};
use crate::language::{Text, Told, text};
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};

/// Who asks where a file does not say.
pub const CLIENT_DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A query that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded<'m> {
    /// Who asked.
    pub client: IpAddr,
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// Over TCP, or what is carried over it.
    pub tcp: bool,
    /// What was answered, where that was recorded.
    pub answer: Option<&'m [u8]>,
}

/// Which messages of a recording are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Queries, with their responses where these are there.
    Queries,
    /// Responses, and the questions that they repeat: of a recording that holds nothing else.
    Responses,
}

/// Who asked, and from which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asker {
    client: IpAddr,
    /// 0 where that is not told.
    port: u16,
    tcp: bool,
}

/// What was in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Queries that were taken.
    pub queries: u64,
    /// Of these, those with their responses.
    pub answers: u64,
    /// Responses without their queries.
    pub responses: u64,
    /// What is of no concern: other protocols, ports, kinds of message, comments.
    pub others: u64,
    /// Transfers, NOTIFY, UPDATE, classes other than IN: no rule by name speaks about them.
    pub no_questions: u64,
    /// What could not be read.
    pub bad: u64,
    /// Pieces of something larger: fragments, segments in the middle, packets that were cut off when they were captured.
    pub pieces: u64,
    /// The file ends in the middle.
    pub is_cut: bool,
}

/// Why a file cannot be read at all, or not further.
#[derive(Debug)]
pub enum Unreadable {
    /// The system said no.
    Io(io::Error),
    /// It is no such file; what was expected.
    NotOne(Text),
    /// Something in it is larger than anything that belongs there.
    TooLarge(Text),
}

impl Told for Unreadable {
    fn text(&self) -> Text {
        match self {
            Self::Io(error) => Text::of_io(error),
            Self::NotOne(why) | Self::TooLarge(why) => why.clone(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Fills as much of a buffer as there is to read.
fn fill(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match input.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

impl Tally {
    /// What was left out, and why: `left out: 12 responses, 3 that cannot be read`; `None` when nothing was.
    pub fn told(&self) -> Option<Text> {
        let Self { responses, others, no_questions, bad, pieces, is_cut, .. } = *self;
        let kinds = [
            (responses, text!("{n} responses to other queries", n = responses)),
            (others, text!("{n} of other kinds", n = others)),
            (no_questions, text!("{n} transfers, notifications, updates or of other classes", n = no_questions)),
            (pieces, text!("{n} pieces of larger ones", n = pieces)),
            (bad, text!("{n} that cannot be read", n = bad)),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(n, _)| *n > 0).map(|(_, told)| told).collect();
        let left_out = (!kinds.is_empty()).then(|| text!("left out: {what}", what = Text::joined(", ", kinds)));
        let cut = is_cut.then(|| text!("the file ends in the middle"));
        let told: Vec<_> = left_out.into_iter().chain(cut).collect();
        (!told.is_empty()).then(|| Text::joined("; ", told))
    }

    /// Counts a message that was sent to a server; what it asks for, when it is an ordinary question.
    fn asked(&mut self, message: &[u8]) -> Option<(Name, u16)> {
        match Query::scan(message) {
            Ok(query) if query.asks_for_records() => self.question((query.name, query.qtype, query.qclass)),
            Ok(_) => {
                self.no_questions += 1;
                None
            }
            Err(crate::dns::query::Malformed::NotAQuery) => {
                self.responses += 1;
                None
            }
            Err(_) => {
                self.bad += 1;
                None
            }
        }
    }

    /// Counts a question; name and type of an ordinary one.
    fn question(&mut self, (name, qtype, qclass): (Name, u16, u16)) -> Option<(Name, u16)> {
        if qclass != class::IN || matches!(qtype, rtype::AXFR | rtype::IXFR) {
            self.no_questions += 1;
            return None;
        }
        self.queries += 1;
        Some((name, qtype))
    }
}
