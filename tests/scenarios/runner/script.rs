//! The words of a scenario's line: a verb, positional words, and `key=value` settings.

use std::net::IpAddr;
use std::time::Duration;

/// What is wrong with a line or with what came of it.
pub(crate) type Wrong = String;

/// One line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'s>(pub(crate) &'s str);

impl<'s> Words<'s> {
    /// All words.
    pub(crate) fn all(self) -> impl Iterator<Item = &'s str> {
        self.0.split_whitespace().take_while(|word| !word.starts_with('#'))
    }

    /// The word at a place.
    pub(crate) fn at(self, place: usize) -> Result<&'s str, Wrong> {
        self.all().nth(place).ok_or_else(|| format!("{:?} lacks word number {}", self.0, place + 1))
    }

    /// Whether a bare word is there.
    pub(crate) fn has(self, word: &str) -> bool {
        self.all().any(|found| found == word)
    }

    /// The values of a key, in order.
    pub(crate) fn values(self, key: &str) -> impl Iterator<Item = &'s str> {
        self.all().filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The number of a key.
    pub(crate) fn number(self, key: &str) -> Result<Option<u32>, Wrong> {
        self.values(key).next().map(|text| parse(text, key)).transpose()
    }

    /// All words from a place on must be among these (a trailing `=` for keys): a misspelt expectation expects nothing.
    pub(crate) fn only(self, from: usize, known: &[&str]) -> Result<(), Wrong> {
        let is_known = |word: &str| {
            known.iter().any(|known| match known.strip_suffix('=') {
                Some(key) => word.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')),
                None => word == *known,
            })
        };
        match self.all().skip(from).find(|word| !is_known(word)) {
            Some(word) => Err(format!("{word:?} is not understood here; known are {}", known.join(" "))),
            None => Ok(()),
        }
    }
}

/// Parses anything that a word can be.
pub(crate) fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Wrong> {
    text.parse().map_err(|_| format!("{text:?} is no {what}"))
}

/// `250ms`, `2s`, `3m`.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = parse(digits, "duration")?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        _ => Err(format!("{text:?} is no duration")),
    }
}

/// The number of a type.
pub(crate) fn qtype(text: &str) -> Result<u16, Wrong> {
    let known = [
        ("A", 1),
        ("NS", 2),
        ("CNAME", 5),
        ("SOA", 6),
        ("MX", 15),
        ("TXT", 16),
        ("AAAA", 28),
        ("HTTPS", 65),
        ("IXFR", 251),
        ("AXFR", 252),
        ("ANY", 255),
    ];
    known.iter().find(|(name, _)| *name == text).map(|(_, number)| *number).ok_or(format!("{text:?} is no type"))
}

/// The number of a response code.
pub(crate) fn rcode(text: &str) -> Option<u16> {
    let names = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused"];
    names.iter().position(|name| *name == text).map(|number| number as u16).or(match text {
        "badvers" => Some(16),
        "badcookie" => Some(23),
        _ => None,
    })
}

/// The data of a client-subnet option, from `10.1.2.0/24`.
pub(crate) fn client_subnet(text: &str) -> Result<Vec<u8>, Wrong> {
    let (address, prefix) = text.split_once('/').ok_or(format!("{text:?} is no network"))?;
    let (address, prefix): (IpAddr, u8) = (parse(address, "address")?, parse(prefix, "prefix")?);
    let (family, bytes) = match address {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let used = &bytes[..usize::from(prefix.div_ceil(8))];
    Ok([&[0, family, prefix, 0], used].concat())
}

/// One EDNS option.
pub(crate) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}
