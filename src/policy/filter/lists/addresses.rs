//! Lists of addresses as they are found in the world: one address or network on each line, dnsmasq's `bogus-nxdomain=` and
//! `ignore-address=` lines, hosts files' comments. Read in one pass over bytes that may be anything.

use super::{Unreadable, refuse_what_turned_binary};
use crate::language::text;
use crate::policy::document::contents::Source;
use crate::policy::document::{At, Code, Faults, Place};
use crate::policy::networks::canonical;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// The most addresses and networks of one file.
pub const ADDRESSES_MAX: usize = 2_000_000;

/// Bad lines that any file may have, however short it is; a longer one may have 1 %.
const BAD_LINES_FREE: usize = 100;

/// Options of dnsmasq whose value is an address, with a prefix length or without.
const OPTIONS: [&str; 2] = ["bogus-nxdomain=", "ignore-address="];

/// What a file held.
#[derive(Debug, Default)]
pub struct ParsedAddresses {
    /// In the order of the file, without host bits.
    pub networks: Vec<IpNet>,
    /// Lines with anything but comments and blanks.
    pub lines: usize,
    /// Lines that could not be read, and the number of the first, from 1.
    pub bad: usize,
    /// See `bad`.
    pub first_bad: usize,
    /// More than [`ADDRESSES_MAX`]: the rest was left out.
    pub too_many: bool,
}

/// Reads what is in memory.
pub fn parse(bytes: &[u8]) -> ParsedAddresses {
    let mut parsed = ParsedAddresses::default();
    parsed.read(bytes, 1);
    parsed
}

/// Reads a file, wherever it is.
///
/// # Errors
/// [`Unreadable`] when it turns out to be no text, or cannot be read from the disk.
pub fn parse_source(file: Source<'_>) -> Result<ParsedAddresses, Unreadable> {
    let (mut parsed, mut pieces, mut line) = (ParsedAddresses::default(), file.pieces(), 1);
    while let Some(piece) = pieces.next()? {
        refuse_what_turned_binary(piece, line - 1)?;
        line = parsed.read(piece, line);
    }
    Ok(parsed)
}

impl ParsedAddresses {
    /// Reads a piece whose first line has number `first`; returns the number of the line that follows.
    fn read(&mut self, piece: &[u8], first: usize) -> usize {
        let mut next = first;
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            let number = next;
            next += 1;
            let entry = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
            // Bytes that are no text are no address either, and are not copied to find that out.
            let line = str::from_utf8(entry).map(|line| line.trim().trim_start_matches('\u{feff}'));
            if line == Ok("") {
                continue;
            }
            self.lines += 1;
            match line.ok().and_then(network_of) {
                Some(_) if self.networks.len() == ADDRESSES_MAX => self.too_many = true,
                Some(net) => self.networks.push(net),
                None => {
                    self.bad += 1;
                    if self.bad == 1 {
                        self.first_bad = number;
                    }
                }
            }
        }
        next
    }
}

fn network_of(line: &str) -> Option<IpNet> {
    let text = OPTIONS.iter().find_map(|option| line.strip_prefix(option)).unwrap_or(line).trim();
    let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>()).ok()?;
    Some(canonical(net))
}

/// Says what was wrong with a file: as in lists of names, bad lines are faults only above a budget.
pub fn report(file: &Arc<str>, parsed: &ParsedAddresses, path: &At<&str>, faults: &Faults) {
    let ParsedAddresses { networks, lines, bad, first_bad, too_many } = parsed;
    if *too_many {
        let message = text!("{file} has more than {most} addresses", file, most = ADDRESSES_MAX);
        faults.add(Code::TooMany, &path.place, message, text!("networks take the place of many addresses"));
    }
    let whole = Place::whole(file);
    if *bad > BAD_LINES_FREE.max(lines / 100) || networks.is_empty() && *bad > 0 {
        let message =
            text!("{bad} of {lines} lines are no addresses, the first of them line {first_bad}", bad, lines, first_bad);
        faults.add(Code::List, &whole, message, text!("one address or network on each line; # begins a comment"));
    } else if *bad > 0 {
        let message =
            text!("{bad} of {lines} lines are no addresses, the first of them line {first_bad}", bad, lines, first_bad);
        faults.add(
            Code::ListLine,
            &whole,
            message,
            text!("{networks} addresses and networks were read", networks = networks.len()),
        );
    } else if networks.is_empty() {
        faults.add(
            Code::Empty,
            &path.place,
            text!("{file} holds no addresses", file),
            text!("a rule without addresses can never act"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_lines_of_dnsmasq_are_read() {
        let text = b"\xef\xbb\xbf# comment\n\nbogus-nxdomain=60.191.124.236\r\n198.51.100.0/24 # net\nignore-address=2001:db8::1\n10.1.2.3/8\nno address\n";
        let parsed = parse(text);
        let networks: Vec<_> = parsed.networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["60.191.124.236/32", "198.51.100.0/24", "2001:db8::1/128", "10.0.0.0/8"]);
        assert_eq!((parsed.lines, parsed.bad, parsed.first_bad), (5, 1, 7));
    }

    #[test]
    fn addresses_behind_which_zeros_lie_are_refused() {
        let text = [&b"192.0.2.1\n192.0.2.2\n"[..], &[0; 4096]].concat();
        assert_eq!(parse_source(Source::Memory(&text)).unwrap_err(), Unreadable::Broken(3));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let parsed = parse(&bytes);
            assert!(parsed.networks.len() + parsed.bad == parsed.lines);
        }
    }
}
