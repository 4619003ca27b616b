//! Whether what was fetched may take the place of what is in force: by its size, and by how much of it came or went at
//! once. A publisher whose build broke serves an empty list, or half of one; one who was broken into serves the world.

use crate::language::{Text, text};
use crate::policy::feeds::FeedSettings;

/// Entries that may always come or go: a short list changes by large parts.
pub const CHANGE_FREE: u64 = 20;

/// What is to become of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may act.
    Take,
    /// Somebody has to look first; why.
    Hold(Text),
}

/// Judges a copy of `entries` that takes the place of one of `before`.
///
/// # Errors
/// The message for the user: it is not to be taken, whoever looks.
pub fn judge(settings: &FeedSettings, before: Option<u64>, entries: u64) -> Result<Judgement, Text> {
    let least = settings.entries_min;
    if entries < least {
        return Err(text!("it holds {entries} entries, and entries_min is {least}", entries, least));
    }
    let Some(before) = before else { return Ok(Judgement::Take) };
    let (change, whole) = (before.abs_diff(entries), before.max(entries));
    if change <= CHANGE_FREE || change as f64 <= settings.change_max * whole as f64 {
        return Ok(Judgement::Take);
    }
    let part = 100.0 * change as f64 / whole as f64;
    Ok(Judgement::Hold(text!(
        "it holds {entries} entries where {before} were: {part} % came or went, and change_max is {most} %",
        entries,
        before,
        part = format_args!("{part:.0}"),
        most = format_args!("{:.0}", settings.change_max * 100.0)
    )))
}

/// Lines of a list that are neither blank nor a comment, in whatever format it is.
pub fn entries_of(list: &[u8]) -> u64 {
    let says = |line: &&[u8]| !matches!(line.trim_ascii_start().first(), None | Some(b'#' | b'!' | b';'));
    list.split(|byte| *byte == b'\n').filter(says).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::feeds::test_feed;

    #[test]
    fn a_large_change_waits_in_either_direction() {
        let feed = test_feed("u", "url = \"https://a.example/\"\nchange_max = 0.3\nentries_min = 5\n");
        let judged = |before, entries| judge(&feed, before, entries);
        assert_eq!(judged(None, 1_000_000), Ok(Judgement::Take), "there is nothing to hold it against");
        assert_eq!(judged(Some(1000), 700), Ok(Judgement::Take));
        assert!(matches!(judged(Some(1000), 699), Ok(Judgement::Hold(why)) if why.english().contains("30 %")));
        assert!(matches!(judged(Some(1000), 2000), Ok(Judgement::Hold(_))));
        assert_eq!(judged(Some(25), 5), Ok(Judgement::Take), "20 entries more or less are nothing");
        assert!(judged(Some(25), 4).unwrap_err().english().contains("entries_min"));
        assert!(judged(None, 0).is_err());
    }

    #[test]
    fn comments_and_blanks_are_no_entries() {
        assert_eq!(entries_of(b"# x\n\n a.example\r\n  \t\n!c\n;z\n||b.example^\nc.example"), 3);
        assert_eq!(entries_of(b""), 0);
    }
}
