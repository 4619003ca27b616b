//! Which format a list has, from its first lines: a list is passed on under any file name, and its header says little.

use crate::language::{Text, text};
use crate::policy::document::contents::Source;
use std::{fmt, io};

/// Lines that are looked at: enough to outvote a strange beginning.
const LINES_SEEN: usize = 200;

/// The formats of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A name on each line.
    Domains,
    /// `0.0.0.0 name name ...`
    Hosts,
    /// `*.name`
    Wildcards,
    /// `||name^`
    Adblock,
    /// `address=/name/`
    Dnsmasq,
    /// `local-zone: "name" always_nxdomain`
    Unbound,
    /// `domain:name`, `full:name`, `include:list`, with attributes (`@ads`)
    V2fly,
    /// A response policy zone in master-file text.
    Rpz,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] = [
        Self::Domains,
        Self::Hosts,
        Self::Wildcards,
        Self::Adblock,
        Self::Dnsmasq,
        Self::Unbound,
        Self::V2fly,
        Self::Rpz,
    ];

    /// The word for it in `format = "..."`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Domains => "domains",
            Self::Hosts => "hosts",
            Self::Wildcards => "wildcards",
            Self::Adblock => "adblock",
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
            Self::V2fly => "v2fly",
            Self::Rpz => "rpz",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a file is not read as a list at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A web page: what a captive portal or an error page delivers in place of a list.
    WebPage,
    /// Compressed or otherwise binary.
    Binary,
    /// UTF-16 text.
    Utf16,
    /// It begins as text, and this line of it holds a zero byte.
    Broken(usize),
    /// It was written into while it was read.
    Changed,
    /// What the system said.
    Disk(io::ErrorKind),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Changed,
            kind => Self::Disk(kind),
        }
    }
}

impl Unreadable {
    /// What to do about it.
    pub fn hint(self) -> Text {
        match self {
            Self::WebPage | Self::Broken(_) => {
                text!("fetch the list again and look at it; the last good one can stay meanwhile")
            }
            Self::Binary => text!("unpack it first"),
            Self::Utf16 => text!("convert it to UTF-8"),
            Self::Changed => {
                text!("load it again; a file that is written beside it and moved over it is never half there")
            }
            Self::Disk(_) => text!("the gateway must be able to read every file of the directory"),
        }
    }
}

impl Unreadable {
    /// Why it is not read.
    pub fn text(self) -> Text {
        match self {
            Self::WebPage => text!("the file is a web page, not a list"),
            Self::Binary => text!("the file is compressed or binary, not a list"),
            Self::Utf16 => text!("the file is UTF-16 text; lists are UTF-8"),
            Self::Broken(line) => text!("line {line} holds a zero byte: what follows is binary or was lost", line),
            Self::Changed => text!("the file changed while it was read"),
            Self::Disk(kind) => Text::of_io(&kind.into()),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for Unreadable {}

/// Refuses what was never a list. `bytes` is without a UTF-8 byte-order mark.
pub(in crate::policy::filter) fn refuse_what_is_no_list(bytes: &[u8]) -> Result<(), Unreadable> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Unreadable::Utf16);
    }
    let head = &bytes[..bytes.len().min(4096)];
    if head.contains(&0)
        || [&b"\x1f\x8b"[..], b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"]
            .iter()
            .any(|m| head.starts_with(m))
    {
        return Err(Unreadable::Binary);
    }
    let page = head.trim_ascii_start();
    let is_page = [&b"<!doctype"[..], b"<html", b"<head", b"<body", b"<?xml", b"<!--"]
        .iter()
        .any(|tag| page.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)));
    if is_page { Err(Unreadable::WebPage) } else { Ok(()) }
}

/// Refuses a piece of a list, `lines` lines having come before it, that holds a zero byte: something binary was written
/// behind the list, or the system went down before all of it was on the disk, where zeros then are. Read as lines, any amount
/// of that could be a single bad one. Text that is no list, such as a page behind one, is bad lines with their numbers.
pub(in crate::policy::filter) fn refuse_what_turned_binary(piece: &[u8], lines: usize) -> Result<(), Unreadable> {
    if !piece.contains(&0) {
        return Ok(());
    }
    let at = piece.iter().position(|byte| *byte == 0).unwrap_or(piece.len());
    Err(Unreadable::Broken(lines + 1 + piece[..at].iter().filter(|byte| **byte == b'\n').count()))
}

/// Looks at the beginning of a list: the format that most of the first lines have, or the one `given`; plain domains when
/// none speaks.
///
/// # Errors
/// [`Unreadable`]
pub(super) fn look_at(list: Source<'_>, given: Option<Format>) -> Result<Format, Unreadable> {
    let mut pieces = list.pieces();
    let first = pieces.next()?.unwrap_or_default();
    let text = first.strip_prefix(super::BYTE_ORDER_MARK).unwrap_or(first);
    refuse_what_is_no_list(text)?;
    if let Some(format) = given {
        return Ok(format);
    }
    let (mut votes, mut left) = ([0; Format::ALL.len()], LINES_SEEN);
    vote(text, &mut votes, &mut left);
    // What begins with a book of comments.
    while left > 0
        && let Some(piece) = pieces.next()?
    {
        vote(piece, &mut votes, &mut left);
    }
    Ok(elected(votes))
}

/// Counts the formats that the lines of a piece look like, until as many as are `left` have spoken.
fn vote(piece: &[u8], votes: &mut [usize; Format::ALL.len()], left: &mut usize) {
    let lines = piece.split(|byte| matches!(byte, b'\n' | b'\r'));
    for format in lines.filter_map(|line| format_of_line(line.trim_ascii())).take(*left) {
        votes[format as usize] += 1;
        *left -= 1;
    }
}

/// The format that has the most votes.
fn elected(mut votes: [usize; Format::ALL.len()]) -> Format {
    // Bare names are right in v2fly's lists too, and adblock lists have them beside their rules.
    if votes[Format::Domains as usize] > 0 && votes[Format::V2fly as usize] > 0 {
        votes[Format::V2fly as usize] += std::mem::take(&mut votes[Format::Domains as usize]);
    }
    // The first of the largest: plain domains win a tie.
    let most = votes.iter().copied().max().unwrap_or(0);
    Format::ALL.into_iter().find(|format| votes[*format as usize] == most).unwrap_or(Format::Domains)
}

/// The format that a line, without blanks around it, looks like; `None` for blanks and comments.
pub(super) fn format_of_line(line: &[u8]) -> Option<Format> {
    let starts = |start: &str| line.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
    if starts("[adblock") || starts("||") || starts("@@") {
        return Some(Format::Adblock);
    }
    if matches!(line.first(), None | Some(b'#' | b'!' | b';')) {
        return None;
    }
    if ["address=/", "server=/", "local=/", "ipset=/", "bogus-nxdomain=", "nftset=/"].into_iter().any(starts) {
        return Some(Format::Dnsmasq);
    }
    if ["domain:", "full:", "include:", "regexp:", "keyword:"].into_iter().any(starts) {
        return Some(Format::V2fly);
    }
    if ["local-zone:", "local-data:", "server:"].into_iter().any(starts) {
        return Some(Format::Unbound);
    }
    if starts("$TTL") || starts("$ORIGIN") {
        return Some(Format::Rpz);
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next()?;
    let mut rest = words.take_while(|word| !matches!(word.first(), Some(b'#' | b';' | b'!'))).peekable();
    if is_address(first) && rest.peek().is_some() {
        return Some(Format::Hosts);
    }
    let is_type = |word: &[u8]| ["CNAME", "SOA", "NS"].iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    if matches!(rest.peek(), Some([b'@' | b'&', b'!' | b'-' | b'a'..=b'z' | b'A'..=b'Z', ..])) {
        return Some(Format::V2fly);
    }
    if rest.any(is_type) {
        return Some(Format::Rpz);
    }
    if first.windows(2).any(hides) || first.contains(&b'^') || starts("|") {
        return Some(Format::Adblock);
    }
    if first.starts_with(b"*.") { Some(Format::Wildcards) } else { Some(Format::Domains) }
}

/// Whether two bytes begin the part of an adblock rule that hides pieces of a page (`##`, `#@#`, `#?#` and alike). The name
/// before it is no name to block.
pub(super) fn hides(pair: &[u8]) -> bool {
    matches!(pair, [b'#', b'#' | b'@' | b'?' | b'$' | b'%'])
}

/// Whether a word is an address as hosts files write it, with or without a zone (`fe80::1%lo0`); `0` is 0.0.0.0.
pub(super) fn is_address(word: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(word) else { return false };
    let text = text.split('%').next().unwrap_or(text);
    text == "0" || text.parse::<std::net::IpAddr>().is_ok()
}
