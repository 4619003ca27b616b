//! Lists of v2fly's domain-list-community: `domain:x` (x and all below; a bare name is the same unless `match` says
//! otherwise), `full:x` (x alone), `include:list` with the attributes that lines must (`@ads`) or must not (`@-ads`) have.
//! <https://github.com/v2fly/domain-list-community>

use super::line::{Reader, Saying, is_blank};
use super::problem::Problem;
use super::{BELOW, Format, Reading, SELF, Unreadable};
use crate::policy::document::contents::Source;
use crate::policy::document::files::LIST_MAX;
use std::collections::HashSet;

/// Lists that one list may take in, those taken in by them included; also how many may wait to be taken in.
const INCLUDES_MAX: usize = 1_000;

/// Attributes of one line, and of what lists within lists select together: a line has one to three. A line of nothing else
/// would take many times its size of memory.
const ATTRIBUTES_MAX: usize = 50;

/// The longest attribute, in bytes: each list that is taken in keeps those that lead to it.
const ATTRIBUTE_MAX: usize = 64;

/// The longest name of a list, in bytes, as of a file.
const NAME_MAX: usize = 255;

/// A list that is taken in, and which of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Include {
    pub(super) name: String,
    /// A line must have all of them.
    with: Vec<String>,
    /// And none of them.
    without: Vec<String>,
}

impl Include {
    fn takes(&self, attributes: &[&str]) -> bool {
        let has = |wanted: &String| attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case(wanted));
        self.with.iter().all(has) && !self.without.iter().any(has)
    }

    /// The selection of a list that is taken in by one that was itself taken in. In order and each attribute once, so that
    /// a list that takes in itself is known again; `None` when they are too many.
    fn within(mut self, outer: &Self) -> Option<Self> {
        for (own, outer) in [(&mut self.with, &outer.with), (&mut self.without, &outer.without)] {
            own.extend(outer.iter().cloned());
            own.sort_unstable();
            own.dedup();
        }
        (self.with.len() + self.without.len() <= ATTRIBUTES_MAX).then_some(self)
    }
}

impl Reader<'_> {
    /// Reads one line.
    pub(super) fn v2fly_line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let comment = line.iter().position(|byte| *byte == b'#').unwrap_or(line.len());
        let mut words = line[..comment].split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
        let Some(first) = words.next().filter(|word| !matches!(word[0], b'!' | b';')) else { return self.no_line() };
        let mut attributes = Vec::new();
        for word in words {
            match (word, str::from_utf8(&word[1..])) {
                ([b'@', _, ..], Ok(_)) if attributes.len() == ATTRIBUTES_MAX => return Err(Problem::TooManyAttributes),
                ([b'@', _, ..], Ok(attribute)) if attribute.len() > ATTRIBUTE_MAX => {
                    return Err(Problem::TooManyAttributes);
                }
                ([b'@', _, ..], Ok(attribute)) => attributes.push(attribute),
                // The list that a line also belongs to.
                ([b'&', _, ..], Ok(_)) => {}
                _ => return Err(Problem::Trailing),
            }
        }
        let (kind, value) = match first.iter().position(|byte| *byte == b':') {
            Some(at) => (&first[..at], &first[at + 1..]),
            None => (&b""[..], first),
        };
        if kind == b"include" {
            let name = str::from_utf8(value).ok().filter(|name| name.len() <= NAME_MAX).ok_or(Problem::Include)?;
            let mut include = Include { name: name.to_ascii_lowercase(), ..Include::default() };
            for attribute in attributes {
                match attribute.strip_prefix('-') {
                    Some(without) => include.without.push(without.to_owned()),
                    None => include.with.push(attribute.to_owned()),
                }
            }
            let include = include.within(&self.selection).ok_or(Problem::TooManyAttributes)?;
            if self.includes.len() == INCLUDES_MAX {
                return Err(Problem::TooManyIncludes);
            }
            self.includes.push((include, self.line, self.place()));
            return Ok(());
        }
        let bare = match kind {
            b"" => self.bare,
            b"domain" => SELF | BELOW,
            b"full" => SELF,
            b"regexp" => return Err(Problem::Pattern),
            b"keyword" => return Err(Problem::Keyword),
            _ => return Err(super::problem::classify(line, first, Format::V2fly)),
        };
        let reach = self.word(value, bare)?;
        if self.selection.takes(&attributes) { self.say(reach, Saying::NAMED) } else { self.no_line() }
    }

    /// Takes in all lists that this one, of so many `bytes`, names, and those that they name. `other` gives a list by its
    /// name.
    ///
    /// # Errors
    /// [`Unreadable`] when one of them cannot be read from the disk. One that is no list is a problem of the line.
    pub(super) fn take_in_all<'o>(
        &mut self,
        bytes: u64,
        reading: Reading,
        other: &mut dyn FnMut(&str) -> Option<Source<'o>>,
    ) -> Result<(), Unreadable> {
        let mut pending: Vec<_> = std::mem::take(&mut self.includes);
        pending.reverse();
        let mut known = HashSet::new();
        // A list can take in others as large as itself, and one of them many times: together they are one list.
        let mut left = LIST_MAX.saturating_sub(bytes);
        while let Some((include, line, start)) = pending.pop() {
            let sample = format!("include:{}", include.name);
            // Each once: a list that includes itself must come to an end.
            if !known.insert(include.clone()) {
                continue;
            }
            let is_name =
                include.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'!'));
            if known.len() > INCLUDES_MAX {
                self.problems.add_many(Problem::TooManyIncludes, 1, (line, start), sample.as_bytes());
                continue;
            }
            let list = if is_name { other(&include.name) } else { None };
            let Some(list) = list.filter(|list| super::detect::look_at(*list, Some(Format::V2fly)).is_ok()) else {
                self.problems.add_many(Problem::Include, 1, (line, start), sample.as_bytes());
                continue;
            };
            let Some(rest) = left.checked_sub(list.len()) else {
                self.problems.add_many(Problem::TooManyIncludes, 1, (line, start), sample.as_bytes());
                continue;
            };
            left = rest;
            let mut reader = Reader::new(Format::V2fly, reading);
            reader.selection = include.clone();
            let mut reader = match reader.read(list) {
                Ok(reader) => reader,
                // Its line is none of the list that takes it in. As where the beginning shows it, nothing of it is taken.
                Err(Unreadable::Broken(broken)) => {
                    let sample = format!("{sample}: line {broken}: \0");
                    self.problems.add_many(Problem::Include, 1, (line, start), sample.as_bytes());
                    continue;
                }
                Err(unreadable) => return Err(unreadable),
            };
            let mut inner = std::mem::take(&mut reader.includes);
            inner.retain(|(include, ..)| !known.contains(include));
            let room = INCLUDES_MAX.saturating_sub(pending.len());
            if inner.len() > room {
                self.problems.add_many(Problem::TooManyIncludes, inner.len() - room, (line, start), sample.as_bytes());
                inner.truncate(room);
            }
            pending.extend(inner.into_iter().rev().map(|(include, ..)| (include, line, start)));
            self.take_in(&reader, line, start, &include.name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Match, Problem, Reading, parse_with};
    use crate::policy::document::files::LIST_MAX;
    use std::fmt::Write as _;

    #[test]
    fn a_list_that_takes_in_itself_in_many_ways_comes_to_an_end() {
        let mut list = String::from("domain:a.example @x0\n");
        for number in 0..2_000 {
            let _ = writeln!(list, "include:x @x{number} @x{} @-y{number}", number / 2);
        }
        let reading = Reading { format: Some(Format::V2fly), matches: Match::Subtree, suffixes: false };
        let mut times = 0;
        let mut other = |name: &str| {
            times += 1;
            (name == "x").then_some(list.as_bytes())
        };
        let parsed = parse_with(list.as_bytes(), reading, &mut other).expect("it is a list");
        assert!((1..=1_000).contains(&times), "read {times} times");
        assert!(parsed.names.iter().count() >= 1);
        assert!(parsed.problems.groups().iter().any(|group| group.count > 0), "what is left out is told");
    }

    #[test]
    fn a_line_with_more_attributes_than_there_may_be_is_one_bad_line() {
        let many = |count: usize| " @a".repeat(count);
        for (kind, taken) in [("x.example", 1), ("include:other", 0)] {
            let list = format!("a.example @ads\n{kind}{}\n{kind}{}\nz.example\n", many(50), many(1 << 20));
            let reading = Reading { format: Some(Format::V2fly), ..Reading::default() };
            let parsed = parse_with(list.as_bytes(), reading, &mut |_| Some(b"# nothing\n")).expect("it is a list");
            let told: Vec<_> = parsed.problems.groups().iter().map(|g| (g.problem, g.count, g.line)).collect();
            assert_eq!((told, parsed.names.len()), (vec![(Problem::TooManyAttributes, 1, 3)], 2 + taken), "{kind}");
        }
    }

    /// What a list is told, and how many names it has, with other lists beside it.
    fn told(
        list: &str,
        mut other: impl FnMut(&str) -> Option<&'static [u8]>,
    ) -> (Vec<(&'static str, usize, usize)>, usize) {
        let reading = Reading { format: Some(Format::V2fly), ..Reading::default() };
        let parsed = parse_with(list.as_bytes(), reading, &mut other).expect("it is a list");
        let told = parsed.problems.groups().iter().map(|g| (g.problem.code(), g.count, g.line)).collect();
        (told, parsed.names.len())
    }

    #[test]
    fn lists_beyond_those_that_one_may_take_in_are_counted() {
        let list: String = (0..1_010).map(|number| format!("include:l{number}\n")).collect();
        let mut times = 0;
        let found = told(&list, |_| {
            times += 1;
            Some(b"x.example\n")
        });
        assert_eq!((found, times), ((vec![("too-many-includes", 10, 1_001)], 1_000), 1_000));
        // One of them names more than there may be.
        let list: &'static str = list.leak();
        let found = told("include:all\n", |name| Some(if name == "all" { list.as_bytes() } else { b"x.example\n" }));
        assert_eq!(found, (vec![("too-many-includes", 11, 1)], 999));
    }

    /// Each of them may be as large as any list: a thousand of that size are more than a gateway has memory for.
    #[test]
    fn lists_are_no_larger_with_those_that_they_take_in_than_without() {
        let all: &'static [u8] = vec![b'\n'; usize::try_from(LIST_MAX).unwrap()].leak();
        let found =
            told("include:large\ninclude:small\n", |name| Some(if name == "large" { all } else { b"x.example\n" }));
        assert_eq!(found, (vec![("too-many-includes", 1, 1)], 1));
    }

    #[test]
    fn attributes_of_lists_within_lists_are_no_more_than_those_of_a_line() {
        let attributes = |mark: &str, count| (0..count).map(|number| format!(" @{mark}{number}")).collect::<String>();
        let last: &'static str = format!("x.example{}{}\n", attributes("x", 30), attributes("y", 20)).leak();
        for (inner, expected) in [(20, (vec![], 1)), (21, (vec![("too-many-attributes", 1, 1)], 0))] {
            let middle: &'static str = format!("include:last{}\n", attributes("y", inner)).leak();
            let list = format!("include:middle{}\n", attributes("x", 30));
            let found = told(&list, |name| Some(if name == "middle" { middle.as_bytes() } else { last.as_bytes() }));
            assert_eq!(found, expected, "{inner}");
        }
        let long = |len: usize| format!("x.example @{}\n", "a".repeat(len));
        assert_eq!(told(&[long(64), long(65)].concat(), |_| None), (vec![("too-many-attributes", 1, 2)], 1));
        let name = "a".repeat(1 << 20);
        assert_eq!(
            told(&format!("include:{name}\n"), |_| panic!("no list has such a name")),
            (vec![("include", 1, 1)], 0)
        );
    }

    /// At the beginning, where a list is looked at, and far behind it, where it is read.
    #[test]
    fn a_list_that_is_taken_in_and_turns_binary_is_one_bad_line() {
        let reading = Reading { format: Some(Format::V2fly), matches: Match::Subtree, suffixes: false };
        for (good, sample) in [(1, "include:half"), (2_000, "include:half: line 2001: \\x00")] {
            let half = format!("{}\0\0", "domain:far.example\n".repeat(good));
            let mut other = |name: &str| (name == "half").then_some(half.as_bytes());
            let parsed = parse_with(b"own.example\ninclude:half\nlast.example\n", reading, &mut other);
            let parsed = parsed.expect("the list itself is whole");
            let told: Vec<_> = parsed.problems.groups().iter().map(|g| (g.problem, g.count, g.line)).collect();
            assert_eq!(told, [(Problem::Include, 1, 2)], "{good}");
            assert_eq!((parsed.problems.groups()[0].sample.as_str(), parsed.names.len()), (sample, 2), "{good}");
        }
    }
}
