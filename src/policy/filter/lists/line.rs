//! The lines of a list, byte by byte into wire form: this is the part that a million lines pass through, so a good line
//! is read once and copied once, and only a bad one is looked at again to say what is wrong with it.

use super::names::TYPES_MAX;
use super::problem::{Problem, classify};
use super::problems::Problems;
use super::resolve::{SPECIALS_MAX, Says, Special, resolve};
use super::v2fly::Include;
use super::wire::{Wire, is_numeric, is_within, read_name};
use super::{BELOW, Format, NameList, Parsed, Reading, SELF, Types, Unreadable, detect};
use crate::policy::document::contents::Source;
use crate::policy::filter::registry;

/// Names of the machine itself in every hosts file; a list of them is no wish to block them.
const LOCAL: [&[u8]; 12] = [
    b"localhost",
    b"localhost.localdomain",
    b"localhost4",
    b"localhost6",
    b"local",
    b"broadcasthost",
    b"ip6-localhost",
    b"ip6-loopback",
    b"ip6-localnet",
    b"ip6-mcastprefix",
    b"ip6-allnodes",
    b"ip6-allrouters",
];

/// The most bytes of a name with letters beyond ASCII: each of its 253 letters can have four. A longer one is none, and is not
/// to be taken apart: that takes some times its size of memory.
pub(in crate::policy::filter) const UNICODE_MAX: usize = 4 * 253;

/// A list being read.
pub(super) struct Reader<'b> {
    /// The piece of it that is read now, of whole lines.
    bytes: &'b [u8],
    /// What came before that piece.
    before: usize,
    pub(super) format: Format,
    pub(super) reading: Reading,
    pub(super) bare: u8,
    wire: Wire,
    names: NameList,
    /// Lines that say more than that the rule names a name.
    pub(super) specials: Vec<Special>,
    /// The different sets of types of them.
    types: Vec<Types>,
    /// Names in `$denyallow` so far.
    pub(super) holes: usize,
    /// Other lists that this one takes in, and where it says so.
    pub(super) includes: Vec<(Include, usize, usize)>,
    /// What the lines taken must have, when this list was taken in by another.
    pub(super) selection: Include,
    pub(super) problems: Problems,
    pub(super) lines: usize,
    local_names: usize,
    /// Number of the line being read, and its place in the piece.
    pub(super) line: usize,
    start: usize,
}

/// What a line says of a name.
pub(super) struct Saying {
    pub(super) says: Says,
    pub(super) types: Types,
    pub(super) cancels: bool,
    pub(super) holes: Vec<Box<[u8]>>,
}

impl Saying {
    /// That the rule names it, as most lines do.
    pub(super) const NAMED: Self = Self::that(Says::Named);

    pub(super) const fn that(says: Says) -> Self {
        Self { says, types: Types::ALL, cancels: false, holes: Vec::new() }
    }

    fn is_plain(&self) -> bool {
        self.says == Says::Named && !self.cancels && self.holes.is_empty() && self.types == Types::ALL
    }
}

impl<'b> Reader<'b> {
    pub(super) fn new(format: Format, reading: Reading) -> Self {
        Self {
            bytes: &[],
            before: 0,
            format,
            reading,
            bare: reading.matches.reach(),
            wire: Wire::root(),
            names: NameList::default(),
            specials: Vec::new(),
            types: Vec::new(),
            holes: 0,
            includes: Vec::new(),
            selection: Include::default(),
            problems: Problems::default(),
            lines: 0,
            local_names: 0,
            line: 0,
            start: 0,
        }
    }

    /// Reads all of a list, each piece of it gone before the next is read.
    ///
    /// # Errors
    /// [`Unreadable`] when it turns out to be no text, or cannot be read from the disk.
    pub(super) fn read(mut self, list: Source<'_>) -> Result<Self, Unreadable> {
        let mut pieces = list.pieces();
        while let Some(piece) = pieces.next()? {
            detect::refuse_what_turned_binary(piece, self.line)?;
            let mut reader = self.at(piece);
            reader.read_piece();
            self = reader.at(&[]);
        }
        Ok(self)
    }

    /// The same reader at the piece that follows.
    fn at<'p>(self, piece: &'p [u8]) -> Reader<'p> {
        let Self { bytes, before, format, reading, bare, wire, names, specials, types, holes, .. } = self;
        let Self { includes, selection, problems, lines, local_names, line, start, .. } = self;
        let before = before + bytes.len();
        Reader {
            bytes: piece,
            before,
            format,
            reading,
            bare,
            wire,
            names,
            specials,
            types,
            holes,
            includes,
            selection,
            problems,
            lines,
            local_names,
            line,
            start,
        }
    }

    fn read_piece(&mut self) {
        // A byte-order mark is no part of the first line; places count it.
        let is_marked = self.before == 0 && self.bytes.starts_with(super::BYTE_ORDER_MARK);
        let mut at = if is_marked { super::BYTE_ORDER_MARK.len() } else { 0 };
        while at < self.bytes.len() {
            self.line += 1;
            self.start = at;
            at = match self.format {
                Format::Hosts => self.hosts_line(at),
                Format::Domains | Format::Wildcards | Format::Rpz => self.names_line(at),
                Format::Adblock => self.setting(at, Self::adblock_line),
                Format::Dnsmasq => self.setting(at, Self::dnsmasq_line),
                Format::Unbound => self.setting(at, Self::unbound_line),
                Format::V2fly => self.setting(at, Self::v2fly_line),
            };
        }
    }

    pub(super) fn finish(self) -> Parsed {
        let read = self.names.len() + self.specials.len();
        let mut parsed = Parsed {
            names: self.names,
            format: self.format,
            lines: self.lines,
            read,
            local_names: self.local_names,
            overruled: 0,
            idle_cancels: 0,
            exceptions: self.specials.iter().filter(|special| special.frees()).count(),
            problems: self.problems,
        };
        if self.specials.is_empty() {
            parsed.names.shrink();
        } else {
            let (names, resolved) = resolve(&parsed.names, &self.specials);
            parsed.names = names;
            parsed.overruled = resolved.overruled;
            if parsed.format == Format::Adblock {
                parsed.idle_cancels = resolved.idle_cancels;
            }
            parsed.problems.add_unplaced(Problem::TooManyTypes, resolved.lost);
        }
        parsed
    }

    /// A line that is looked at as a whole; returns where the next line begins.
    fn setting(&mut self, start: usize, read: fn(&mut Self, &'b [u8]) -> Result<(), Problem>) -> usize {
        let line = self.line_at(start);
        let next = self.next_line(start);
        if !line.is_empty() {
            self.lines += 1;
            if let Err(problem) = read(self, line) {
                self.bad(start, problem);
            }
        }
        next
    }

    /// The line being read says nothing that a list could say: a comment, a heading.
    pub(super) fn no_line(&mut self) -> Result<(), Problem> {
        self.lines -= 1;
        Ok(())
    }

    /// Reads the whole of `word` as a name, with `=` or `*.` before it; returns what the name means.
    pub(super) fn word(&mut self, word: &[u8], bare: u8) -> Result<u8, Problem> {
        let found = match self.name(word) {
            Ok((taken, _)) if taken < word.len() => Problem::Trailing,
            Ok(_) => match word {
                [b'=', ..] => return Ok(SELF),
                [b'*', b'.', ..] => return Ok(BELOW),
                _ => return Ok(bare),
            },
            Err(found) => found,
        };
        Err(better(found, word, word, self.format))
    }

    /// Keeps the name just read with what its line says, or says why not.
    pub(super) fn say(&mut self, reach: u8, saying: Saying) -> Result<(), Problem> {
        if saying.is_plain() {
            return self.admit(reach).map_or(Ok(()), Err);
        }
        if is_numeric(&self.wire) {
            return Err(Problem::Address);
        }
        let frees = !matches!(saying.says, Says::Named | Says::Important);
        if !self.reading.suffixes && !frees && !saying.cancels && self.is_registry(reach) {
            return Err(Problem::PublicSuffix);
        }
        let Saying { says, types, cancels, mut holes } = saying;
        let wire = self.wire.as_slice();
        if holes.iter().any(|hole| is_within(wire, hole)) {
            return Err(Problem::DeniesNothing);
        }
        holes.retain(|hole| is_within(hole, wire));
        if types != Types::ALL && !self.types.contains(&types) {
            if self.types.len() == TYPES_MAX {
                return Err(Problem::TooManyTypes);
            }
            self.types.push(types.clone());
        }
        if self.specials.len() == SPECIALS_MAX {
            return Err(Problem::TooManyExceptions);
        }
        self.specials.push(Special { says, reach, types, wire: wire.into(), cancels, holes });
        Ok(())
    }

    /// The name just read, to be kept beside another.
    pub(super) fn wire(&self) -> Box<[u8]> {
        self.wire.as_slice().into()
    }

    /// Makes the root the name just read.
    pub(super) fn root(&mut self) {
        self.wire = Wire::root();
    }

    /// Where in the list the line being read begins.
    pub(super) fn place(&self) -> usize {
        self.before + self.start
    }

    /// A line in the middle of another format that names addresses and names.
    pub(super) fn inner_hosts_line(&mut self) {
        self.lines -= 1;
        self.hosts_line(self.start);
    }

    /// Takes over what another list, taken in by this one, holds; its bad lines count at the line that names it.
    pub(super) fn take_in(&mut self, other: &Reader<'_>, line: usize, start: usize, name: &str) {
        other.names.iter().for_each(|(reach, wire)| self.names.push(reach, wire));
        for group in other.problems.groups() {
            let sample = format!("include:{name}: line {}: {}", group.line, group.sample);
            self.problems.add_many(group.problem, group.count, (line, start), sample.as_bytes());
        }
    }

    /// A line with one name; returns where the next line begins.
    fn names_line(&mut self, start: usize) -> usize {
        let text = skip_blanks(&self.bytes[start..]);
        if is_empty(text) {
            return self.next_line(start);
        }
        self.lines += 1;
        let before = self.bytes.len() - text.len();
        match self.name(text) {
            Ok((taken, reach)) => {
                let next = before + taken;
                if !is_empty(skip_blanks(&self.bytes[next..])) {
                    let problem = better(Problem::Trailing, self.line_at(start), word_of(text), self.format);
                    self.bad(start, problem);
                } else {
                    self.take(start, reach);
                }
                // Most lines end right behind the name.
                if self.bytes.get(next) == Some(&b'\n') { next + 1 } else { self.next_line(next) }
            }
            Err(problem) => {
                let word = word_of(text);
                self.bad(start, better(problem, self.line_at(start), word, self.format));
                self.next_line(start)
            }
        }
    }

    /// A line with an address and names; returns where the next line begins.
    fn hosts_line(&mut self, start: usize) -> usize {
        let text = skip_blanks(&self.bytes[start..]);
        if is_empty(text) {
            return self.next_line(start);
        }
        self.lines += 1;
        let address = word_of(text);
        let blocks = super::NULL_ADDRESSES.contains(&address);
        if !blocks && !detect::is_address(address) {
            self.bad(start, better(Problem::NoAddress, self.line_at(start), address, self.format));
            return self.next_line(start);
        }
        let mut at = self.bytes.len() - text.len() + address.len();
        // A line counts as one bad line at most, whatever its names are.
        let mut problem = None;
        loop {
            let text = skip_blanks(&self.bytes[at..]);
            at = self.bytes.len() - text.len();
            if is_empty(text) {
                break;
            }
            let word = word_of(text);
            if LOCAL.iter().any(|local| word.eq_ignore_ascii_case(local)) || word == b"ip6-allhosts" {
                self.local_names += 1;
            } else if !blocks {
                problem = problem.or(Some(Problem::Redirect));
            } else {
                match self.name(text) {
                    Ok((_, reach)) => problem = problem.or(self.admit(reach)),
                    Err(found) => {
                        problem = problem.or_else(|| Some(better(found, self.line_at(start), word, self.format)));
                    }
                }
            }
            at += word.len();
        }
        if let Some(problem) = problem {
            self.bad(start, problem);
        }
        self.next_line(at)
    }

    /// Reads a name with letters beyond ASCII in its ASCII form (RFC 5890); the word ends at a blank or a comment.
    #[cold]
    fn unicode_name(&mut self, text: &[u8], prefix: usize, reach: u8) -> Result<(usize, u8), Problem> {
        let word = word_of(text);
        if word.len() > UNICODE_MAX {
            return Err(Problem::Unicode);
        }
        let text = str::from_utf8(&word[prefix..]).map_err(|_| Problem::Character)?;
        let is_name =
            |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '\u{200c}' | '\u{200d}') || !c.is_ascii();
        if !text.chars().all(is_name) {
            return Err(Problem::Unicode);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| Problem::Unicode)?;
        match read_name(ascii.as_bytes(), &mut self.wire) {
            Ok(taken) if taken == ascii.len() => Ok((word.len(), reach)),
            _ => Err(Problem::Unicode),
        }
    }

    /// Reads a name with its prefix into `self.wire`; returns how much it took and what the name means. What follows it
    /// directly may only be a blank, a line end, or a `#`.
    #[inline]
    fn name(&mut self, text: &[u8]) -> Result<(usize, u8), Problem> {
        let (prefix, reach) = match text {
            [b'=', ..] => (1, SELF),
            [b'*', b'.', ..] => (2, BELOW),
            _ => (0, self.bare),
        };
        let taken = match read_name(&text[prefix..], &mut self.wire) {
            Ok(taken) => prefix + taken,
            Err(_) if has_unicode(&text[prefix..]) => return self.unicode_name(text, prefix, reach),
            Err(problem) => return Err(problem),
        };
        match text[taken..] {
            [] | [b'\n', ..] => Ok((taken, reach)),
            [next, ..] if is_blank(next) => Ok((taken, reach)),
            [b'#', ..] if !text.get(taken..taken + 2).is_some_and(detect::hides) => Ok((taken, reach)),
            [next, ..] if !next.is_ascii() => self.unicode_name(text, prefix, reach),
            _ => Err(Problem::Character),
        }
    }

    /// Keeps the name just read, or counts its line as bad.
    #[inline]
    fn take(&mut self, start: usize, reach: u8) {
        if let Some(problem) = self.admit(reach) {
            self.bad(start, problem);
        }
    }

    /// Keeps the name just read, or says why not.
    #[inline]
    fn admit(&mut self, reach: u8) -> Option<Problem> {
        if is_numeric(&self.wire) {
            return Some(Problem::Address);
        }
        if !self.reading.suffixes && self.is_registry(reach) {
            return Some(Problem::PublicSuffix);
        }
        self.names.push(reach, self.wire.as_slice());
        None
    }

    /// Whether the name just read is all of a registry's.
    #[inline]
    fn is_registry(&self, reach: u8) -> bool {
        registry::is_meant(self.wire.as_slice(), self.wire.labels, reach)
    }

    fn bad(&mut self, start: usize, problem: Problem) {
        let line = self.line_at(start);
        let blanks = self.bytes[start..].len() - skip_blanks(&self.bytes[start..]).len();
        self.problems.add(problem, self.line, self.before + start + blanks, line);
    }

    /// The line that begins at `start`, without its end and the blanks around it.
    fn line_at(&self, start: usize) -> &'b [u8] {
        let rest = skip_blanks(&self.bytes[start..]);
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        rest[..end].trim_ascii_end()
    }

    fn next_line(&self, at: usize) -> usize {
        let rest = &self.bytes[at..];
        at + rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)
    }
}

/// Whether the first word has letters beyond ASCII.
#[cold]
fn has_unicode(text: &[u8]) -> bool {
    !word_of(text).is_ascii()
}

/// What the look at the whole line says, unless the reader knew exactly.
fn better(found: Problem, line: &[u8], word: &[u8], format: Format) -> Problem {
    match (found, classify(line, word, format)) {
        (Problem::EmptyLabel, Problem::InnerWildcard | Problem::Character) => found,
        (Problem::LabelTooLong | Problem::NameTooLong | Problem::NoAddress | Problem::Trailing, Problem::Character) => {
            found
        }
        (_, seen) => seen,
    }
}

/// What may stand between words. One definition for all: where two disagree, a reader stands still.
#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

#[inline]
pub(super) fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    text
}

/// Whether nothing but a comment stands on the rest of the line.
#[inline]
fn is_empty(text: &[u8]) -> bool {
    matches!(text.first(), None | Some(b'\n' | b'#' | b'!' | b';'))
}

/// Up to the next blank, comment or line end.
fn word_of(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| is_blank(*byte) || matches!(byte, b'\n' | b'#')).unwrap_or(text.len());
    &text[..end]
}
