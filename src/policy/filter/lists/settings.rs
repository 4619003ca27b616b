//! Lists that are pieces of another server's configuration: dnsmasq's `address=/x/`, `server=/x/` and `local=/x/`, and
//! unbound's `local-zone` and `local-data`. What they do to a name besides blocking it is no matter of a list: such lines
//! are left out and counted.

use super::line::{Reader, Saying, is_blank};
use super::problem::Problem;
use super::resolve::Says;
use super::{BELOW, NULL_ADDRESSES, SELF, Types};

/// Types of unbound's zones that keep the answer of the world from clients.
const BLOCKING: [&str; 13] = [
    "always_nxdomain",
    "always_nodata",
    "always_refuse",
    "always_null",
    "always_deny",
    "static",
    "refuse",
    "deny",
    "redirect",
    "inform_deny",
    "inform_redirect",
    "block_a",
    "block_aaaa",
];

/// Types of unbound's zones that let the answer of the world pass.
const PASSING: [&str; 5] = ["transparent", "always_transparent", "typetransparent", "inform", "nodefault"];

impl Reader<'_> {
    /// Reads one line of a dnsmasq configuration.
    pub(super) fn dnsmasq_line(&mut self, line: &[u8]) -> Result<(), Problem> {
        if matches!(line.first(), Some(b'#' | b';' | b'!')) {
            return self.no_line();
        }
        let comment = line.windows(2).position(|pair| is_blank(pair[0]) && pair[1] == b'#');
        let line = line[..comment.unwrap_or(line.len())].trim_ascii_end();
        let at = line.iter().position(|byte| *byte == b'=').ok_or(Problem::Setting)?;
        let (key, value) = (line[..at].trim_ascii_end(), line[at + 1..].trim_ascii_start());
        if key == b"bogus-nxdomain" || key == b"ignore-address" {
            return Err(Problem::ResponseAddress);
        }
        if !matches!(key, b"address" | b"server" | b"local") {
            return Err(Problem::Setting);
        }
        let value = value.strip_prefix(b"/").ok_or(Problem::Setting)?;
        let at = value.iter().rposition(|byte| *byte == b'/').ok_or(Problem::Setting)?;
        let (names, target) = (&value[..at], &value[at + 1..]);
        let says = match (key, target) {
            (b"address", b"" | b"#") => Says::Named,
            (b"address", address) if NULL_ADDRESSES.contains(&address) => Says::Named,
            (b"address", _) => return Err(Problem::Redirect),
            (_, b"") => Says::Named,
            // As the rest of the world: it frees the name from a shorter one.
            (_, b"#") => Says::Freed,
            _ => return Err(Problem::Forward),
        };
        // All names of the line are tried; it is one bad line at most.
        let mut outcome = Ok(());
        for name in names.split(|byte| *byte == b'/') {
            let read = match name {
                b"" => Err(Problem::Setting),
                b"#" => {
                    self.root();
                    Ok(SELF | BELOW)
                }
                name => self.word(name, SELF | BELOW),
            };
            let said = read.and_then(|reach| self.say(reach, Saying::that(says)));
            outcome = outcome.and(said);
        }
        outcome
    }

    /// Reads one line of an unbound configuration.
    pub(super) fn unbound_line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line = without_comment(line);
        if matches!(line, b"" | b"server:") || matches!(line.first(), Some(b';' | b'!')) {
            return self.no_line();
        }
        let at = line.iter().position(|byte| *byte == b':').ok_or(Problem::Setting)?;
        let (key, value) = (&line[..at], line[at + 1..].trim_ascii_start());
        if key.eq_ignore_ascii_case(b"local-zone") {
            self.local_zone(value)
        } else if key.eq_ignore_ascii_case(b"local-data") {
            self.local_data(unquoted(value))
        } else {
            Err(Problem::Setting)
        }
    }

    /// `"x." always_nxdomain`
    fn local_zone(&mut self, value: &[u8]) -> Result<(), Problem> {
        let at = value.iter().rposition(|byte| is_blank(*byte)).ok_or(Problem::Setting)?;
        let (name, kind) = (unquoted(value[..at].trim_ascii_end()), unquoted(&value[at + 1..]));
        let kind = str::from_utf8(kind).map_err(|_| Problem::Setting)?.to_ascii_lowercase();
        let mut saying = Saying::NAMED;
        if PASSING.contains(&kind.as_str()) {
            saying.says = Says::Freed;
        } else if !BLOCKING.contains(&kind.as_str()) {
            return Err(Problem::Setting);
        }
        match kind.as_str() {
            "block_a" => saying.types = Types::new(vec![1], false),
            "block_aaaa" => saying.types = Types::new(vec![28], false),
            _ => {}
        }
        if name == b"." {
            self.root();
        } else {
            self.word(name, SELF | BELOW)?;
        }
        self.say(SELF | BELOW, saying)
    }

    /// `x. 60 IN A 0.0.0.0`
    fn local_data(&mut self, record: &[u8]) -> Result<(), Problem> {
        let mut words = record.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
        let name = words.next().ok_or(Problem::Setting)?;
        let mut words = words.filter(|word| !word.iter().all(u8::is_ascii_digit) && !word.eq_ignore_ascii_case(b"IN"));
        let (kind, data) = (words.next().ok_or(Problem::Setting)?, words.next().ok_or(Problem::Setting)?);
        self.word(name, SELF)?;
        let is_address = kind.eq_ignore_ascii_case(b"A") || kind.eq_ignore_ascii_case(b"AAAA");
        if is_address && NULL_ADDRESSES.contains(&data) {
            return self.say(SELF, Saying::NAMED);
        }
        if !is_address && !kind.eq_ignore_ascii_case(b"CNAME") {
            return Err(Problem::Setting);
        }
        // A zone of that name is there for the record's sake, not to block: it must not become a block.
        for reach in [SELF, SELF | BELOW] {
            self.say(reach, Saying { cancels: true, ..Saying::NAMED })?;
        }
        Err(Problem::Redirect)
    }
}

fn unquoted(text: &[u8]) -> &[u8] {
    let inner = |quote: &[u8]| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner(b"\"").or_else(|| inner(b"'")).unwrap_or(text)
}

/// Up to a `#` that is not in quotes.
fn without_comment(line: &[u8]) -> &[u8] {
    let mut quote = None;
    for (at, &byte) in line.iter().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            (None, b'#') => return line[..at].trim_ascii_end(),
            _ => {}
        }
    }
    line
}
