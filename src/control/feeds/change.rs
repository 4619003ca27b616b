//! How much of a feed came and how much went, entry by entry: a list that is as long as before may hold nothing of what it
//! held. Neither version is in memory as names for that; see `list_lines`.

use crate::control::history::list_lines::{self, Tally};
use crate::policy::document::contents::Source;
use crate::policy::feeds::FeedSource;
use crate::sys::keys::unguessable;
use std::io;
use std::net::IpAddr;

/// Entries of two copies of a feed, each counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of the new one alone.
    pub came: u64,
    /// Of the old one alone.
    pub went: u64,
    /// Of both.
    pub stayed: u64,
}

impl Change {
    /// What differs in `new`, a copy of a feed from this source as the old one is.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn between(source: &FeedSource, old: Source<'_>, new: Source<'_>) -> io::Result<Self> {
        let of_line = |line: &[u8], visit: &mut dyn FnMut(Entry<'_>)| match source {
            FeedSource::Url(_) => of_list(line, visit),
            FeedSource::Zone(_) => of_zone(line, visit),
        };
        let hasher = unguessable();
        let Tally { came, went, stayed } = list_lines::tally(old, new, |piece, visit| {
            for line in piece.split(|byte| *byte == b'\n') {
                of_line(line, &mut |entry| visit(hasher.hash_one(entry)));
            }
        })?;
        Ok(Self { came, went, stayed })
    }

    /// The least that differs between two copies of so many entries.
    pub fn of_lengths(old: u64, new: u64) -> Self {
        Self { came: new.saturating_sub(old), went: old.saturating_sub(new), stayed: old.min(new) }
    }

    /// Entries that came or went.
    pub fn entries(&self) -> u64 {
        self.came + self.went
    }

    /// Their part of all entries of either copy, 0 to 1.
    pub fn share(&self) -> f64 {
        self.entries() as f64 / (self.entries() + self.stayed).max(1) as f64
    }
}

/// What an entry is told apart by.
type Entry<'l> = [&'l [u8]; 3];

/// The entries of a line of a list in whatever format: the line, or each name of one that may have many, with what is said of
/// it. Else a few lines could take in what does not pass in many.
fn of_list(line: &[u8], visit: &mut dyn FnMut(Entry<'_>)) {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if matches!(line.first(), None | Some(b'#' | b'!' | b';')) {
        return;
    }
    // What is told of an entry behind it, such as when it was seen, is not of it. No format takes that for anything else.
    let comment = line.windows(2).position(|pair| is_blank(&pair[0]) && pair[1] == b'#');
    let line = line[..comment.unwrap_or(line.len())].trim_ascii_end();
    let (first, rest) = line.split_at(line.iter().position(is_blank).unwrap_or(line.len()));
    if !rest.is_empty() && str::from_utf8(first).is_ok_and(|word| word == "0" || word.parse::<IpAddr>().is_ok()) {
        let names = rest.split(is_blank).filter(|name| !name.is_empty());
        return names.for_each(|name| visit([first, name, b""]));
    }
    if let Some((key, names, target)) = setting(line) {
        return names.split(|byte| *byte == b'/').for_each(|name| visit([key, name, target]));
    }
    visit([line, b"", b""]);
}

/// The parts of `address=/a.example/b.example/#`.
fn setting(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (line[..at].trim_ascii_end(), line[at + 1..].trim_ascii_start().strip_prefix(b"/")?);
    let end = value.iter().rposition(|byte| *byte == b'/')?;
    matches!(key, b"address" | b"server" | b"local").then_some((key, &value[..end], &value[end + 1..]))
}

fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == b'\x0b'
}

/// The record of a line of a zone as it is kept, without its TTL; the SOA is none that anything is blocked by.
fn of_zone(line: &[u8], visit: &mut dyn FnMut(Entry<'_>)) {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    if let (Some(owner), Some(_ttl), Some(rest)) = (parts.next(), parts.next(), parts.next())
        && !rest.starts_with(b"IN SOA ")
    {
        visit([owner, rest, b""]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::feeds::test_feed;

    fn change(feed: &str, old: &str, new: &str) -> (u64, u64, u64) {
        let [old, new] = [old, new].map(|text| Source::Memory(text.as_bytes()));
        let Change { came, went, stayed } = Change::between(&test_feed("u", feed).source, old, new).unwrap();
        (came, went, stayed)
    }

    fn list(old: &str, new: &str) -> (u64, u64, u64) {
        change("url = \"https://a.example/\"\n", old, new)
    }

    fn zone(old: &str, new: &str) -> (u64, u64, u64) {
        change("primary = \"192.0.2.1\"\nzone = \"z.\"\n", old, new)
    }

    #[test]
    fn entries_of_a_list_are_counted_once_wherever_they_stand_and_whatever_is_told_of_them() {
        assert_eq!(list("a\nb\nc\n", "# new\n c\r\nb # seen today\n\na\na"), (0, 0, 3));
        assert_eq!(list("a\nb\nc", "d\nb\ne\n"), (2, 2, 1));
        assert_eq!(list("", "a\nb\n"), (2, 0, 0));
        let many: String = (0..3_000).map(|n| format!("n{n}.example\n")).collect();
        assert_eq!(list(&many, &many.replace(".example", ".test")), (3_000, 3_000, 0));
    }

    #[test]
    fn each_name_of_a_line_with_many_is_an_entry() {
        assert_eq!(list("0.0.0.0 a b\n", "0.0.0.0 b  c\td # x\n0.0.0.0 a"), (2, 0, 2));
        assert_eq!(list("::1 a\n", "::1 a b c d\n"), (3, 0, 1));
        assert_eq!(list("address=/a/#\naddress=/b/\n", "address=/a/c/d/#\naddress=/b/"), (2, 0, 2));
        assert_eq!(list("address=/a/\n", "address=/a/ ;/b/\n"), (2, 0, 1), "a semicolon hides nothing there");
        assert_eq!(list("server=/a/\n", "server=/a/#\n"), (1, 1, 0), "it frees the name now");
        assert_eq!(list("address=/a/#\n", "server=/a/#\n"), (1, 1, 0), "as this does");
        assert_eq!(list("address = /a/\n", "address = /a/b/\n"), (1, 0, 1));
        assert_eq!(list("\u{feff}0 a\n", "\u{feff}0 a\u{b}b\n"), (1, 0, 1));
        assert_eq!(list("a CNAME .\n", "a CNAME rpz-passthru.\n"), (1, 1, 0));
        assert_eq!(list("=/\n0\n=\naddress=/\n", "=/\n0\n=\n0 \naddress=/"), (0, 0, 4), "whatever stands there");
    }

    #[test]
    fn records_of_a_zone_are_told_apart_without_their_ttl() {
        let soa = |serial: u32| format!("z. 60 IN SOA ns.z. h.z. {serial} 3600 60 86400 60\n");
        let old = soa(1) + "a.z. 60 IN CNAME .\n#b.z. 60 IN CNAME .\nz. 60 IN NS ns.z.\n";
        assert_eq!(zone(&old, &(soa(2) + &old[soa(1).len()..].replace(" 60 ", " 90 "))), (0, 0, 3));
        assert_eq!(zone(&old, &old.replace("#b.z.", "#c.z.")), (1, 1, 2));
        assert_eq!(zone(&old, &old.replace("a.z. 60 IN CNAME .", "a.z. 60 IN CNAME rpz-drop.")), (1, 1, 2));
    }
}
