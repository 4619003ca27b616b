//! Which lines of a list came and which went, wherever they stand. Neither version is in memory for that: lines are told
//! apart by their hashes, and of those there are as many at a time as there is room for.

use crate::policy::document::contents::Source;
use crate::sys::keys::unguessable;
use std::io;

/// The most hashes of one version at a time, 16 MiB: a list of a million lines is one part, the largest there may be (256 MiB)
/// some ten, and each part reads both versions two to four times.
const HASHES_MAX: usize = 2 << 20;

/// Lines that one version has and the other has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// How many different ones there are.
    pub(super) count: usize,
    /// Those that there was room for, without blanks around them, sorted.
    pub(super) shown: Vec<String>,
    /// Bytes of them, each with its end, and of the first that there was no room for.
    bytes: usize,
}

/// How many of the entries of two versions are in one alone, and how many in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Tally {
    pub(in crate::control) went: u64,
    pub(in crate::control) came: u64,
    pub(in crate::control) stayed: u64,
}

/// Counts the entries that went and that came, each once; `entries` gives a number for each that is in a piece of whole lines.
///
/// # Errors
/// As [`between`].
pub(in crate::control) fn tally(
    old: Source<'_>,
    new: Source<'_>,
    entries: impl Fn(&[u8], &mut dyn FnMut(u64)),
) -> io::Result<Tally> {
    tally_in_parts(old, new, &entries, HASHES_MAX)
}

fn tally_in_parts(
    old: Source<'_>,
    new: Source<'_>,
    entries: &impl Fn(&[u8], &mut dyn FnMut(u64)),
    hashes_max: usize,
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    each_part(old, new, entries, hashes_max, |before, after| {
        let stayed = before.hashes.iter().filter(|hash| after.hashes.binary_search(hash).is_ok()).count();
        tally.stayed += stayed as u64;
        tally.went += (before.hashes.len() - stayed) as u64;
        tally.came += (after.hashes.len() - stayed) as u64;
        Ok(())
    })?;
    Ok(tally)
}

/// Lines that went and lines that came, but for comments and blanks; of each as many as `bytes_max` bytes hold.
///
/// A hash has 64 bits and a key that nobody knows: that one of ten million changed lines is passed over for its like is a
/// matter of one in a hundred thousand.
///
/// # Errors
/// What cannot be read, or is not any more what was read the first time.
pub(super) fn between(old: Source<'_>, new: Source<'_>, bytes_max: usize) -> io::Result<[Lines; 2]> {
    in_parts(old, new, bytes_max, HASHES_MAX)
}

fn in_parts(old: Source<'_>, new: Source<'_>, bytes_max: usize, hashes_max: usize) -> io::Result<[Lines; 2]> {
    let hasher = unguessable();
    let (mut went, mut came) = (Lines::default(), Lines::default());
    let hashes = |piece: &[u8], visit: &mut dyn FnMut(u64)| lines(piece).for_each(|line| visit(hasher.hash_one(line)));
    each_part(old, new, &hashes, hashes_max, |before, after| {
        went.add(&before.without(after), old, &hasher, bytes_max)?;
        came.add(&after.without(before), new, &hasher, bytes_max)
    })?;
    went.shown.sort_unstable();
    came.shown.sort_unstable();
    Ok([went, came])
}

/// Gives the same range of the hashes of both versions to `compare`, range after range.
fn each_part(
    old: Source<'_>,
    new: Source<'_>,
    hashes: &impl Fn(&[u8], &mut dyn FnMut(u64)),
    hashes_max: usize,
    mut compare: impl FnMut(&Part, &Part) -> io::Result<()>,
) -> io::Result<()> {
    let mut first = 0;
    loop {
        let mut before = Part::read(old, hashes, (first, u64::MAX), hashes_max)?;
        let after = Part::read(new, hashes, (first, before.last), hashes_max)?;
        before.end_at(after.last);
        compare(&before, &after)?;
        let Some(next) = after.last.checked_add(1) else { return Ok(()) };
        first = next;
    }
}

/// The hashes of one version in a range of them, sorted.
struct Part {
    hashes: Vec<u64>,
    /// The end of the range, which is in it.
    last: u64,
}

impl Part {
    /// Those in the range, or in as much of its beginning as there is room for.
    fn read(
        text: Source<'_>,
        hashes: &impl Fn(&[u8], &mut dyn FnMut(u64)),
        (first, last): (u64, u64),
        hashes_max: usize,
    ) -> io::Result<Self> {
        let mut part = Self { hashes: Vec::new(), last };
        let mut pieces = text.pieces();
        while let Some(piece) = pieces.next()? {
            hashes(piece, &mut |hash| {
                if (first..=part.last).contains(&hash) {
                    part.hashes.push(hash);
                }
                if part.hashes.len() >= hashes_max {
                    part.sort();
                    let half = hashes_max / 2;
                    if let Some(&end) = part.hashes.get(half) {
                        part.end_at(end);
                    }
                }
            });
        }
        part.sort();
        Ok(part)
    }

    fn sort(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
    }

    /// Leaves the hashes behind `last` to another part.
    fn end_at(&mut self, last: u64) {
        self.hashes.truncate(self.hashes.partition_point(|hash| *hash <= last));
        self.last = last;
    }

    /// The hashes that `other` has not, sorted.
    fn without(&self, other: &Self) -> Vec<u64> {
        self.hashes.iter().filter(|hash| other.hashes.binary_search(hash).is_err()).copied().collect()
    }
}

impl Lines {
    /// Adds the lines of a text that have these hashes, each once.
    fn add(
        &mut self,
        hashes: &[u64],
        text: Source<'_>,
        hasher: &ahash::RandomState,
        bytes_max: usize,
    ) -> io::Result<()> {
        self.count += hashes.len();
        let (mut is_shown, mut left) = (vec![false; hashes.len()], hashes.len());
        let mut pieces = text.pieces();
        while left > 0
            && self.bytes < bytes_max
            && let Some(piece) = pieces.next()?
        {
            for line in lines(piece) {
                let Ok(at) = hashes.binary_search(&hasher.hash_one(line)) else { continue };
                if std::mem::replace(&mut is_shown[at], true) {
                    continue;
                }
                let line = String::from_utf8_lossy(line).into_owned();
                self.bytes += line.len() + 1;
                if self.bytes > bytes_max {
                    // Nothing shorter is looked for: it is cut off there.
                    break;
                }
                self.shown.push(line);
                left -= 1;
            }
        }
        Ok(())
    }
}

/// The lines of a piece that say something.
fn lines(piece: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = piece.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'!' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn texts(lines: &Lines) -> Vec<&str> {
        lines.shown.iter().map(String::as_str).collect()
    }

    #[test]
    fn lines_are_compared_wherever_they_stand() {
        let old = "# a comment\nb\n  a \nc\r\na\n\n! x\n";
        let new = b"c\nd\n; y\nb\n#z\nd\ne\xff";
        let [went, came] = between(Source::Memory(old.as_bytes()), Source::Memory(new), 100).unwrap();
        assert_eq!((went.count, texts(&went)), (1, vec!["a"]));
        assert_eq!((came.count, came.shown.len(), texts(&came)[0]), (2, 2, "d"));
    }

    #[test]
    fn what_is_shown_has_a_limit_and_what_is_counted_has_none() {
        let text: String = (0..1_000).map(|n| format!("host{n:03}.example\n")).collect();
        let [went, came] = between(Source::Memory(text.as_bytes()), Source::Memory(b"x"), 100).unwrap();
        assert_eq!((went.count, went.shown.len(), came.count), (1_000, 6, 1));
    }

    proptest! {
        /// However little room for hashes there is.
        #[test]
        fn in_parts_it_is_the_same(
            old in prop::collection::vec("[a-d]{1,3}", 0..60),
            new in prop::collection::vec("[a-d]{1,3}", 0..60),
            hashes_max in 2..40_usize,
        ) {
            let [a, b] = [&old, &new].map(|lines| lines.iter().cloned().collect::<BTreeSet<_>>());
            let [old, new] = [old.join("\n"), new.join("\n")];
            let [went, came] =
                in_parts(Source::Memory(old.as_bytes()), Source::Memory(new.as_bytes()), 1 << 20, hashes_max).unwrap();
            prop_assert_eq!(&went.shown, &a.difference(&b).cloned().collect::<Vec<_>>());
            prop_assert_eq!(&came.shown, &b.difference(&a).cloned().collect::<Vec<_>>());
            prop_assert_eq!((went.count, came.count), (went.shown.len(), came.shown.len()));
            let hasher = unguessable();
            let entries =
                |piece: &[u8], visit: &mut dyn FnMut(u64)| lines(piece).for_each(|line| visit(hasher.hash_one(line)));
            let tally = tally_in_parts(Source::Memory(old.as_bytes()), Source::Memory(new.as_bytes()), &entries, hashes_max);
            let stayed = a.intersection(&b).count() as u64;
            let wanted = Tally { went: went.count as u64, came: came.count as u64, stayed };
            prop_assert_eq!(tally.unwrap(), wanted);
        }
    }
}
