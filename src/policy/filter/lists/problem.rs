//! What can be wrong with a line of a list, and the count of it: a list has a million lines, its report has ten.

use super::detect::{self, Format};
use std::fmt;

/// The longest piece of a bad line that is kept as an example, in bytes.
const SAMPLE_MAX: usize = 60;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Problem {
    /// An address where a name should be.
    Address,
    /// A hosts line that sends a name to a real address.
    Redirect,
    /// A line of a hosts file that does not begin with an address.
    NoAddress,
    /// A hosts line in a list of another format.
    HostsLine,
    /// `||name^` and alike.
    AdblockLine,
    /// `address=/name/` and alike.
    DnsmasqLine,
    /// `local-zone: ...` and alike.
    UnboundLine,
    /// A record of a zone.
    RpzLine,
    /// A URL, a path or a port.
    Url,
    /// `*` anywhere but as the first label.
    InnerWildcard,
    /// A name with letters beyond ASCII.
    Unicode,
    /// A whole top-level domain, or all that a registry registers below another name.
    PublicSuffix,
    /// `a..b` or `.a`.
    EmptyLabel,
    /// A label over 63 bytes.
    LabelTooLong,
    /// A name over 255 bytes in wire form.
    NameTooLong,
    /// Something behind the name that is not a comment.
    Trailing,
    /// Bytes that no name in a list has.
    Character,
}

impl Problem {
    /// What to do about it, when there is something.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unicode => Some("write the name in its ASCII form, which begins with xn--"),
            Self::PublicSuffix => Some("force = true takes whole public suffixes, if that is what you want"),
            Self::HostsLine => Some("format = \"hosts\" reads such lines"),
            Self::NoAddress => Some("format = \"domains\" reads plain names"),
            Self::Redirect => Some("only 0.0.0.0, 127.0.0.1, :: and ::1 block a name; a sinkhole rule gives addresses"),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "an address where a name should be",
            Self::Redirect => "a hosts line with a real address",
            Self::NoAddress => "a line without an address in a hosts file",
            Self::HostsLine => "a hosts line in a list of names",
            Self::AdblockLine => "an adblock rule",
            Self::DnsmasqLine => "a dnsmasq setting",
            Self::UnboundLine => "an unbound setting",
            Self::RpzLine => "a zone file record",
            Self::Url => "a url, path or port, which dns does not see",
            Self::InnerWildcard => "a wildcard that is not the whole first label",
            Self::Unicode => "a name with letters beyond ascii",
            Self::PublicSuffix => "a whole public suffix",
            Self::EmptyLabel => "a name with an empty label",
            Self::LabelTooLong => "a label over 63 bytes",
            Self::NameTooLong => "a name over 255 bytes",
            Self::Trailing => "text behind the name that is no comment",
            Self::Character => "a character that no name has",
        })
    }
}

/// One kind of problem in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What is wrong.
    pub problem: Problem,
    /// In how many lines.
    pub count: usize,
    /// The first of them, counted from 1.
    pub line: usize,
    /// Where the first of them is, in bytes of the file.
    pub span: std::ops::Range<usize>,
    /// The first of them, cut to 60 bytes, unprintable bytes escaped.
    pub sample: String,
}

/// All problems of a list, grouped; as many groups as there are kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    groups: Vec<Group>,
    count: usize,
}

impl Problems {
    /// Bad lines in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The groups, in the order of their first lines.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn add(&mut self, problem: Problem, line: usize, start: usize, text: &[u8]) {
        self.count += 1;
        if let Some(group) = self.groups.iter_mut().find(|group| group.problem == problem) {
            group.count += 1;
            return;
        }
        let sample = text[..text.len().min(SAMPLE_MAX)].escape_ascii().to_string();
        let span = start..start + text.len();
        self.groups.push(Group { problem, count: 1, line, span, sample });
    }
}

/// What is wrong with a line that could not be read, or with the `word` of it that could not.
pub(super) fn classify(line: &[u8], word: &[u8], format: Format) -> Problem {
    match detect::format_of_line(line) {
        Some(Format::Adblock) => return Problem::AdblockLine,
        Some(Format::Dnsmasq) => return Problem::DnsmasqLine,
        Some(Format::Unbound) => return Problem::UnboundLine,
        Some(Format::Rpz) => return Problem::RpzLine,
        Some(Format::Hosts) if format != Format::Hosts => return Problem::HostsLine,
        _ => {}
    }
    if detect::is_address(word) {
        return Problem::Address;
    }
    if word.iter().any(|byte| matches!(byte, b'/' | b'?' | b':')) {
        return Problem::Url;
    }
    if !word.is_ascii() && str::from_utf8(word).is_ok() {
        return Problem::Unicode;
    }
    if word.contains(&b'*') {
        return Problem::InnerWildcard;
    }
    Problem::Character
}
