//! Bulk lists of names as they are found in the world: parsed in one pass over the bytes, with what could not be read
//! counted and grouped, because every list of a million lines has bad ones and none of them is worth an outage.
//!
//! What is read: plain domains, hosts files and `*.x` lists; in each of them our own prefixes `=x` (x alone) and `*.x`
//! (only below x), comments (`#`, `!`, `;`), trailing dots, any letter case, CRLF and a byte-order mark.

mod detect;
mod line;
mod names;
mod problem;

pub use detect::{Format, Unreadable};
pub use names::NameList;
pub use problem::{Problem, Problems};

use super::sets::{BELOW, SELF};
use line::Reader;

/// Bad lines that any list may have, however short it is; a longer one may have 1 %.
pub const BAD_LINES_FREE: usize = 100;

/// What some editors put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
#[derive(Debug)]
pub struct Parsed {
    /// The names, in the order of the file, repetitions included.
    pub names: NameList,
    /// The format that it was read as.
    pub format: Format,
    /// Lines with anything but comments and blanks.
    pub lines: usize,
    /// Names of the local host that every hosts file has, left out.
    pub local_names: usize,
    /// What could not be read.
    pub problems: Problems,
}

impl Parsed {
    /// Whether there are more bad lines than a list may have: 1 % or 100, whichever is larger.
    pub fn is_over_budget(&self) -> bool {
        self.problems.count() > BAD_LINES_FREE.max(self.lines / 100)
    }
}

/// Reads a list.
///
/// # Errors
/// [`Unreadable`] when it is no list at all (a web page, a compressed file) or in a format that is not read. Bad lines
/// are no error here: see [`Parsed::is_over_budget`].
pub fn parse(bytes: &[u8], reading: Reading) -> Result<Parsed, Unreadable> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    detect::refuse_what_is_no_list(text)?;
    let format = reading.format.unwrap_or_else(|| detect::format_of(text));
    if !format.is_read() {
        return Err(Unreadable::NotYet(format));
    }
    let mut reader = Reader::new(bytes, format, reading);
    reader.read();
    Ok(reader.finish())
}

#[cfg(test)]
mod tests;
