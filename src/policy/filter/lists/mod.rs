//! Bulk lists of names as they are found in the world: parsed in one pass over the bytes, with what could not be read
//! counted and grouped, because every list of a million lines has bad ones and none of them is worth an outage.
//!
//! What is read: plain domains, hosts files and `*.x` lists, in each of them our own prefixes `=x` (x alone) and `*.x`
//! (only below x); adblock lists, pieces of dnsmasq's and unbound's configurations, v2fly's domain lists, and the names of
//! response policy zones. In all of them comments (`#`, `!`, `;`), trailing dots, any letter case, letters beyond ASCII,
//! CRLF and a byte-order mark.
//!
//! How a name is blocked is the rule's `action`, whatever address or zone type the list has for it. An exception frees
//! names from the rule of its own list; see `resolve`.

mod adblock;
pub mod addresses;
mod detect;
mod kept;
mod line;
mod names;
mod problem;
mod problems;
mod report;
mod resolve;
mod rpz;
mod settings;
mod types;
mod v2fly;
mod wire;
mod write;

pub use detect::{Format, Unreadable};
pub(super) use detect::{refuse_what_is_no_list, refuse_what_turned_binary};
pub(super) use kept::{Kept, parse_beside};
pub(super) use line::UNICODE_MAX;
pub(super) use names::Meanings;
pub use names::NameList;
pub(super) use problem::classify;
pub use problem::{Problem, Weight};
pub use problems::Problems;
pub use report::report;
pub(super) use report::{report_budget, report_problems};
pub use rpz::to_rpz;
pub use types::Types;
pub use write::{Unwritable, to_domains, to_toml};
pub(super) use write::{Written, quoted};

use super::rpz::RpzZone;
use super::sets::{BELOW, SELF};
use crate::policy::document::contents::Source;
use line::Reader;

/// Bad lines that any list may have, however short it is; a longer one may have 1 %.
pub const BAD_LINES_FREE: usize = 100;

/// Lines of a list that may ask for what a gateway cannot do, or does not do yet, as a share of all lines: above it the
/// list was made for something else.
const UNSUPPORTED_SHARE: usize = 2;

/// Addresses that block a name in a hosts file and its like: they lead nowhere, or to the machine itself.
const NULL_ADDRESSES: [&[u8]; 5] = [b"0.0.0.0", b"127.0.0.1", b"::", b"::1", b"0"];

/// What some editors put before UTF-8 text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a bare name in a list means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Match {
    /// The name and everything below.
    #[default]
    Subtree,
    /// The name alone.
    Exact,
    /// Everything below the name.
    Children,
}

impl Match {
    pub(super) fn reach(self) -> u8 {
        match self {
            Self::Subtree => SELF | BELOW,
            Self::Exact => SELF,
            Self::Children => BELOW,
        }
    }
}

/// How a list is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reading {
    /// The format; detected when absent.
    pub format: Option<Format>,
    /// What a bare name means.
    pub matches: Match,
    /// Take what speaks about a whole top-level domain, or about all that a registry registers (`co.uk`), instead of
    /// counting it as bad lines. A company's suffix (`github.io`) is always taken: lists have such on purpose.
    pub suffixes: bool,
}

/// What a list held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The names, in the order of the file, repetitions included.
    pub names: NameList,
    /// The format that it was read as.
    pub format: Format,
    /// Lines with anything but comments and blanks.
    pub lines: usize,
    /// Names that were read, repetitions included, before exceptions took theirs away.
    pub read: usize,
    /// Exceptions among them.
    pub exceptions: usize,
    /// Names that exceptions of the list left nothing of.
    pub overruled: usize,
    /// Lines that take back a line which is not there (`$badfilter`).
    pub idle_cancels: usize,
    /// Names of the local host that every hosts file has, left out.
    pub local_names: usize,
    /// What could not be read.
    pub problems: Problems,
}

impl Parsed {
    /// Whether there are more bad lines than a list may have: 1 % or 100, whichever is larger. Lines that are right in
    /// their format, and ask for what is not done here, may be half of the list.
    pub fn is_over_budget(&self) -> bool {
        is_over_budget(&self.problems, self.lines)
    }
}

/// Whether these are more problems than a list of so many lines may have.
pub(super) fn is_over_budget(problems: &Problems, lines: usize) -> bool {
    let (bad, unsupported) = (problems.bad(), problems.unsupported());
    bad > BAD_LINES_FREE.max(lines / 100) || unsupported > BAD_LINES_FREE.max(lines / UNSUPPORTED_SHARE)
}

/// Reads a list by itself; one that takes in others lacks them.
///
/// # Errors
/// As [`parse_with`].
pub fn parse(bytes: &[u8], reading: Reading) -> Result<Parsed, Unreadable> {
    parse_with(bytes, reading, &mut |_| None)
}

/// Reads a list. `other` gives the bytes of another by the name that `include:` has for it.
///
/// # Errors
/// [`Unreadable`] when it is no list at all (a web page, a compressed file). Bad lines are no error here: see
/// [`Parsed::is_over_budget`].
pub fn parse_with<'o>(
    bytes: &[u8],
    reading: Reading,
    other: &mut dyn FnMut(&str) -> Option<&'o [u8]>,
) -> Result<Parsed, Unreadable> {
    parse_source(Source::Memory(bytes), reading, &mut |name| other(name).map(Source::Memory))
}

/// As [`parse_with`], from wherever the list is; the text of one on the disk is never in memory as a whole.
///
/// # Errors
/// As there, and when it cannot be read from the disk.
pub fn parse_source<'o>(
    list: Source<'_>,
    reading: Reading,
    other: &mut dyn FnMut(&str) -> Option<Source<'o>>,
) -> Result<Parsed, Unreadable> {
    let format = detect::look_at(list, reading.format)?;
    let mut reader = Reader::new(format, reading);
    if format == Format::Rpz {
        reader.read_zone(&RpzZone::read(list)?);
    } else {
        reader = reader.read(list)?;
    }
    reader.take_in_all(list.len(), reading, other)?;
    Ok(reader.finish())
}

#[cfg(test)]
mod tests;
