//! Master files (RFC 1035 section 5.1) cut into entries and words. What is wrong with one entry ends with its line: an open
//! quote or parenthesis must not swallow the records behind it.

use super::flaw::Flaw;
use crate::policy::filter::lists::BYTE_ORDER_MARK;
use std::ops::Range;

/// Lines that one entry may be spread over in parentheses: a large key takes 20.
const LINES_MAX: usize = 100;

/// Bytes of one entry up to the end of its last word: a record has at most 65 535 of data, each of them four as `\DDD`,
/// and an owner. With it the words of an entry are bounded too: a word takes 24 bytes of memory for two of its text.
const ENTRY_MAX: usize = 320 << 10;

/// What a byte is between words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Blank,
    End,
    Comment,
    Open,
    Close,
    Quote,
    Escape,
}

const KINDS: [Kind; 256] = {
    let mut table = [Kind::Word; 256];
    table[b' ' as usize] = Kind::Blank;
    table[b'\t' as usize] = Kind::Blank;
    table[b'\r' as usize] = Kind::Blank;
    table[0x0b] = Kind::Blank;
    table[0x0c] = Kind::Blank;
    table[b'\n' as usize] = Kind::End;
    table[b';' as usize] = Kind::Comment;
    table[b'(' as usize] = Kind::Open;
    table[b')' as usize] = Kind::Close;
    table[b'"' as usize] = Kind::Quote;
    table[b'\\' as usize] = Kind::Escape;
    table
};

/// A word of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'b> {
    /// Without quotes, escapes as written.
    pub(super) text: &'b [u8],
    pub(super) quoted: bool,
}

/// Why an entry ends before it is whole.
enum Stop {
    Flaw(Flaw),
    /// The piece ends in its parentheses.
    Open,
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// A place between two lines of a master file: the bytes and the lines before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Between {
    pub(super) bytes: usize,
    pub(super) lines: usize,
}

/// The entries of a piece of a master file, one at a time.
pub(super) struct Entries<'b> {
    /// Whole lines of it, and what is before them.
    bytes: &'b [u8],
    before: usize,
    /// Nothing comes behind the piece.
    is_last: bool,
    at: usize,
    next_line: usize,
    words: Vec<Word<'b>>,
    /// The number of the line where the entry last returned begins, from 1.
    pub(super) line: usize,
    /// Its place in the piece; without the line end.
    span: Range<usize>,
    /// It begins with a blank: its owner is that of the entry before.
    pub(super) inherits: bool,
}

impl<'b> Entries<'b> {
    /// Those of a whole text.
    pub(super) fn of(text: &'b [u8]) -> Self {
        Self::new(text, Between::default(), true)
    }

    /// Those of a piece that begins there. An entry that is not closed at its end is left to the next piece, unless this is
    /// the last.
    pub(super) fn new(bytes: &'b [u8], begin: Between, is_last: bool) -> Self {
        let is_marked = begin == Between::default() && bytes.starts_with(BYTE_ORDER_MARK);
        let at = if is_marked { BYTE_ORDER_MARK.len() } else { 0 };
        let (before, next_line) = (begin.bytes, begin.lines + 1);
        Self { bytes, before, is_last, at, next_line, words: Vec::new(), line: 0, span: 0..0, inherits: false }
    }

    /// Where the first entry begins that was not returned.
    pub(super) fn end(&self) -> Between {
        Between { bytes: self.before + self.at, lines: self.next_line - 1 }
    }

    /// The bytes of the entries that were not returned.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Where in the file the entry last returned begins.
    pub(super) fn start(&self) -> usize {
        self.before + self.span.start
    }

    /// Its text, without the end of its last line.
    pub(super) fn text(&self) -> &'b [u8] {
        &self.bytes[self.span.clone()]
    }

    /// Its first line.
    pub(super) fn first_line(&self) -> &'b [u8] {
        let text = self.text();
        text.split(|byte| *byte == b'\n').next().unwrap_or(text)
    }

    /// The words of the entry last returned; at least one.
    pub(super) fn words(&self) -> &[Word<'b>] {
        &self.words
    }

    /// Goes to the next entry; `None` at the end of the piece.
    pub(super) fn step(&mut self) -> Option<Result<(), Flaw>> {
        while let Some(&first) = self.bytes.get(self.at) {
            // No master file has comments of these kinds, but half of the lists do.
            let foreign = matches!(first, b'#' | b'!') || self.bytes[self.at..].starts_with(b"//");
            (self.line, self.inherits) = (self.next_line, KINDS[usize::from(first)] == Kind::Blank);
            let start = self.at;
            if foreign {
                self.skip_line(start);
                continue;
            }
            match self.entry(start) {
                Ok(()) if self.words.is_empty() => {}
                Ok(()) => return Some(Ok(())),
                Err(Stop::Open) => {
                    self.next_line = self.line;
                    return None;
                }
                Err(Stop::Flaw(flaw)) => {
                    self.next_line = self.line;
                    self.skip_line(start);
                    self.span = start..self.at;
                    return Some(Err(flaw));
                }
            }
        }
        None
    }

    /// The entry last returned was bad: goes back to the first line in its parentheses that begins like a record of its
    /// own, if there is one.
    pub(super) fn recover(&mut self) {
        let text = self.text();
        let mut line = self.line;
        for (at, pair) in text.windows(2).enumerate() {
            if pair[0] == b'\n' {
                line += 1;
                if matches!(KINDS[usize::from(pair[1])], Kind::Word | Kind::Escape) {
                    self.span.end = self.span.start + at;
                    (self.at, self.next_line) = (self.span.end + 1, line);
                    return;
                }
            }
        }
    }

    fn skip_line(&mut self, start: usize) {
        let rest = &self.bytes[start..];
        self.at = start + rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        self.next_line += 1;
    }

    /// Reads the words of one entry.
    fn entry(&mut self, start: usize) -> Result<(), Stop> {
        self.words.clear();
        let (bytes, mut at, mut depth) = (self.bytes, start, 0_usize);
        loop {
            let Some(&byte) = bytes.get(at) else {
                match depth {
                    0 => break,
                    _ if self.is_last => return Err(Flaw::Parenthesis.into()),
                    _ => return Err(Stop::Open),
                }
            };
            match KINDS[usize::from(byte)] {
                Kind::Blank => at += 1,
                Kind::Word | Kind::Escape => {
                    let end = word_end(bytes, at);
                    self.push(Word { text: &bytes[at..end], quoted: false }, end - start)?;
                    at = end;
                }
                Kind::End if depth == 0 => break,
                Kind::End => {
                    self.next_line += 1;
                    at += 1;
                    if self.next_line - self.line > LINES_MAX || at - start > ENTRY_MAX {
                        return Err(Flaw::Parenthesis.into());
                    }
                }
                Kind::Comment => {
                    at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                }
                Kind::Open => (depth, at) = (depth + 1, at + 1),
                Kind::Close => {
                    depth = depth.checked_sub(1).ok_or(Flaw::Parenthesis)?;
                    at += 1;
                }
                Kind::Quote => {
                    let end = quote_end(bytes, at + 1).ok_or(Flaw::Quote)?;
                    self.push(Word { text: &bytes[at + 1..end], quoted: true }, end - start)?;
                    at = end + 1;
                }
            }
        }
        self.span = start..at;
        self.at = (at + 1).min(bytes.len());
        self.next_line += 1;
        Ok(())
    }

    /// Adds a word of an entry that has so many bytes with it.
    #[inline]
    fn push(&mut self, word: Word<'b>, bytes: usize) -> Result<(), Stop> {
        if bytes > ENTRY_MAX {
            return Err(Flaw::TooLong.into());
        }
        self.words.push(word);
        Ok(())
    }
}

/// Where the word that begins at `at` ends.
#[inline]
fn word_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match KINDS[usize::from(byte)] {
            Kind::Word => at += 1,
            // The character behind a backslash is part of the word, unless the line ends there.
            Kind::Escape if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => at += 2,
            Kind::Escape => at += 1,
            _ => return at,
        }
    }
    bytes.len()
}

/// Where the quote that was opened before `at` is closed; `None` when it is not on this line.
fn quote_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\n' => return None,
            b'\\' if bytes.get(at + 1) != Some(&b'\n') => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(usize, Result<Vec<String>, Flaw>)> {
        let mut entries = Entries::of(text.as_bytes());
        let mut found = Vec::new();
        while let Some(step) = entries.step() {
            let words = entries.words().iter().map(|word| {
                let text = String::from_utf8_lossy(word.text);
                if word.quoted { format!("\"{text}\"") } else { text.into_owned() }
            });
            found.push((entries.line, step.map(|()| words.collect())));
        }
        found
    }

    fn words(line: usize, words: &[&str]) -> (usize, Result<Vec<String>, Flaw>) {
        (line, Ok(words.iter().map(|word| (*word).to_owned()).collect()))
    }

    #[test]
    fn entries_are_lines_unless_in_parentheses() {
        let text = "\u{feff}; a comment\n# another\n\n@ SOA ns. host. ( 1 ; serial\n  2\t3\n 4 5 )\r\n a TXT \"x; (y\" z\\;q;c\n$TTL 2h;\n";
        assert_eq!(
            cut(text),
            [
                words(4, &["@", "SOA", "ns.", "host.", "1", "2", "3", "4", "5"]),
                words(7, &["a", "TXT", "\"x; (y\"", "z\\;q"]),
                words(8, &["$TTL", "2h"]),
            ]
        );
    }

    /// The entries of two pieces, of which the second begins behind so many lines: what they are, and where.
    fn cut_behind(text: &str, lines: usize) -> Vec<(usize, usize, Vec<u8>, Option<Flaw>)> {
        let behind = text.split_inclusive('\n').take(lines).map(str::len).sum();
        let (mut begin, mut end, mut is_last) = (Between::default(), behind, false);
        let mut found = Vec::new();
        loop {
            let mut entries = Entries::new(&text.as_bytes()[begin.bytes..end], begin, is_last);
            while let Some(step) = entries.step() {
                if step.is_err() {
                    entries.recover();
                }
                found.push((entries.line, entries.start(), entries.text().to_vec(), step.err()));
            }
            begin = entries.end();
            assert_eq!(begin.bytes + entries.left(), end);
            match (end == text.len(), entries.left()) {
                (true, 0) => return found,
                (true, _) => is_last = true,
                (false, _) => end = text.len(),
            }
        }
    }

    #[test]
    fn an_entry_that_is_open_at_the_end_of_a_piece_is_cut_with_the_next() {
        let text =
            "\u{feff}a SOA ( x ; (\n 1\n\n 2 )\nb TXT \"x (\ny\" )\n ( 1\n 2 ( ) )\nc A (1\nd A 2\n# (\n// x\n e ( A\n";
        let whole = cut_behind(text, text.lines().count());
        assert_eq!(whole.iter().map(|found| found.0).collect::<Vec<_>>(), [1, 5, 6, 7, 9, 10, 13]);
        assert_eq!(&text.as_bytes()[whole[3].1..][..whole[3].2.len()], b" ( 1\n 2 ( ) )");
        for lines in 0..text.lines().count() {
            assert_eq!(cut_behind(text, lines), whole, "behind {lines}");
        }
    }

    #[test]
    fn an_entry_that_took_in_others_gives_them_back() {
        let mut entries = Entries::of(b"a SOA ( x\n 1\nb A 1\nc A 2 )\nd A 3\n");
        assert_eq!(entries.step(), Some(Ok(())));
        entries.recover();
        assert_eq!(entries.span, 0..12);
        let mut next = || entries.step().map(|step| (step.map(|()| entries.words()[0].text.to_vec()), entries.line));
        assert_eq!(next(), Some((Ok(b"b".to_vec()), 3)));
        assert_eq!(next(), Some((Err(Flaw::Parenthesis), 4)));
        assert_eq!(next(), Some((Ok(b"d".to_vec()), 5)));
        assert_eq!(next(), None);
    }

    /// Of each kind the first word or the first quote is already too much, or one of very many words is.
    #[test]
    fn a_line_longer_than_any_record_costs_itself_and_little_memory() {
        let (many, one) = ("a ".repeat(4 << 20), "a".repeat(4 << 20));
        for long in [&many, &one, &format!("b TXT \"{one}\""), &format!("b TXT {many}"), &format!(" CNAME {one}")] {
            let text = format!("a CNAME .\n{long}\nz CNAME . ; {one}\n");
            let mut entries = Entries::of(text.as_bytes());
            let mut seen = Vec::new();
            while let Some(step) = entries.step() {
                seen.push((entries.line, step, entries.start(), entries.first_line().len()));
            }
            let begin = [0, 10, 10 + long.len() + 1];
            assert_eq!(seen[0], (1, Ok(()), begin[0], 9));
            assert_eq!(seen[1], (2, Err(Flaw::TooLong), begin[1], long.len()));
            assert_eq!((seen[2].0, seen[2].1, seen[2].2, seen.len()), (3, Ok(()), begin[2], 3), "{}", &long[..9]);
            assert!(entries.words.capacity() <= ENTRY_MAX, "{} words", entries.words.capacity());
        }
        // In parentheses: what stood before it in them, and what follows, begins anew.
        let found = cut(&format!("b TXT ( x\nc CNAME .\n{many}\nd CNAME . )\ne CNAME .\n"));
        let lines: Vec<_> = found.iter().map(|(line, entry)| (*line, entry.as_ref().err().copied())).collect();
        let (long, open) = (Some(Flaw::TooLong), Some(Flaw::Parenthesis));
        assert_eq!(lines, [(1, long), (2, None), (3, long), (4, open), (5, None)]);
    }

    #[test]
    fn the_longest_record_there_can_be_is_read() {
        let escaped = "\\001".repeat(255);
        let strings = format!("\"{escaped}\" ").repeat(65_535 / 256);
        let text = format!("{} 4294967295 IN TXT {strings}\n", "\\001".repeat(253));
        assert!(matches!(cut(&text)[..], [(1, Ok(ref words))] if words.len() == 4 + 255));
        let empty = format!("@ TXT {}\n", "\"\" ".repeat(65_535));
        assert!(matches!(cut(&empty)[..], [(1, Ok(ref words))] if words.len() == 2 + 65_535));
    }

    #[test]
    fn what_is_left_open_costs_one_line() {
        let open = "a TXT \"x\nb A 192.0.2.1\nc SOA ( 1 2\nd A 192.0.2.2\ne A 1)\nf CNAME .";
        assert_eq!(
            cut(open),
            [
                (1, Err(Flaw::Quote)),
                words(2, &["b", "A", "192.0.2.1"]),
                words(3, &["c", "SOA", "1", "2", "d", "A", "192.0.2.2", "e", "A", "1"]),
                words(6, &["f", "CNAME", "."]),
            ]
        );
        let never = format!("c SOA ( 1 2\n{}", "d A 192.0.2.2\n".repeat(3));
        let found = cut(&never);
        assert_eq!(found[0], (1, Err(Flaw::Parenthesis)));
        assert_eq!(found[1..], [2, 3, 4].map(|line| words(line, &["d", "A", "192.0.2.2"])));
        assert_eq!(cut("a )\nb CNAME ."), [(1, Err(Flaw::Parenthesis)), words(2, &["b", "CNAME", "."])]);
        let long = format!("c SOA ( 1 2\n{})\n", "d A 192.0.2.2\n".repeat(200));
        assert_eq!(cut(&long).len(), 202, "parentheses over more lines than there may be");
    }
}
