//! Whether what was fetched may take the place of what is in force: by its size, and by how much of it came or went at
//! once. A publisher whose build broke serves an empty list, or half of one; one who was broken into serves the world.

use super::change::Change;
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

/// Judges a copy of `entries` that takes the place of one, if there is one, from which it differs by `change`.
///
/// # Errors
/// The message for the user: it is not to be taken, whoever looks.
pub fn judge(settings: &FeedSettings, change: Option<Change>, entries: u64) -> Result<Judgement, Text> {
    let least = settings.entries_min;
    if entries < least {
        return Err(text!("it holds {entries} entries, and entries_min is {least}", entries, least));
    }
    let Some(change) = change else { return Ok(Judgement::Take) };
    if change.entries() <= CHANGE_FREE || change.share() <= settings.change_max {
        return Ok(Judgement::Take);
    }
    let Change { came, went, .. } = change;
    Ok(Judgement::Hold(text!(
        "it holds {entries} entries: {came} came and {went} went, {part} % of all, and change_max is {most} %",
        entries,
        came,
        went,
        part = format_args!("{:.0}", change.share() * 100.0),
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

    const FEED: &str = "url = \"https://a.example/\"\nchange_max = 0.3\nentries_min = 5\n";

    #[test]
    fn a_large_change_waits_in_either_direction() {
        let feed = test_feed("u", FEED);
        let judged = |before: Option<u64>, entries| {
            judge(&feed, before.map(|before| Change::of_lengths(before, entries)), entries)
        };
        assert_eq!(judged(None, 1_000_000), Ok(Judgement::Take), "there is nothing to hold it against");
        assert_eq!(judged(Some(1000), 700), Ok(Judgement::Take));
        assert!(matches!(judged(Some(1000), 699), Ok(Judgement::Hold(why)) if why.english().contains("30 %")));
        assert!(matches!(judged(Some(1000), 2000), Ok(Judgement::Hold(_))));
        assert_eq!(judged(Some(25), 5), Ok(Judgement::Take), "20 entries more or less are nothing");
        assert!(judged(Some(25), 4).unwrap_err().english().contains("entries_min"));
        assert!(judged(None, 0).is_err());
    }

    #[test]
    fn what_came_counts_and_what_went_however_many_there_are() {
        let feed = test_feed("u", FEED);
        let judged = |came, went, stayed| judge(&feed, Some(Change { came, went, stayed }), came + stayed);
        assert!(matches!(judged(1000, 1000, 0), Ok(Judgement::Hold(why)) if why.english().contains("100 % of all")));
        assert!(matches!(judged(200, 200, 800), Ok(Judgement::Hold(_))), "400 of 1200");
        assert_eq!(judged(150, 150, 850), Ok(Judgement::Take), "300 of 1150");
        assert_eq!(judged(10, 10, 0), Ok(Judgement::Take), "20 entries more or less are nothing");
        assert!(matches!(judged(11, 10, 0), Ok(Judgement::Hold(_))));
        let open = test_feed("u", "url = \"https://a.example/\"\nchange_max = 1.0\n");
        assert_eq!(judge(&open, Some(Change { came: 900, went: 900, stayed: 0 }), 900), Ok(Judgement::Take));
    }

    #[test]
    fn comments_and_blanks_are_no_entries() {
        assert_eq!(entries_of(b"# x\n\n a.example\r\n  \t\n!c\n;z\n||b.example^\nc.example"), 3);
        assert_eq!(entries_of(b""), 0);
    }
}
