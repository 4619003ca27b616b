//! The Chinese words by the English ones: `zh.txt`, read when the first Chinese message is shown and never on the path of a
//! query.
//!
//! A line of English, the line of Chinese below it, an empty line. `#` begins a comment. A line end within a text is `\\n`;
//! there are no other escapes, so that a text is found by searching for it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The catalogue as it is written.
const ZH: &str = include_str!("zh.txt");

/// The heading of the pairs for the command line.
const COMMAND_LINE: &str = "the command line";

/// Pairs of texts.
#[derive(Debug)]
pub struct Catalogue {
    pairs: HashMap<Cow<'static, str>, Cow<'static, str>>,
}

impl Catalogue {
    /// The Chinese one.
    pub fn zh() -> &'static Self {
        static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue { pairs: Catalogue::pairs().collect() });
        &CATALOGUE
    }

    /// All pairs as they are written, one that is there twice twice.
    pub fn pairs() -> impl Iterator<Item = (Cow<'static, str>, Cow<'static, str>)> {
        let mut lines = ZH.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        std::iter::from_fn(move || Some((unescaped(lines.next()?), unescaped(lines.next()?))))
    }

    /// The pairs for the descriptions of commands and options, which are under a heading of their own.
    pub fn of_the_command_line() -> impl Iterator<Item = (Cow<'static, str>, Cow<'static, str>)> {
        let section = ZH.split("\n# ---- ").find(|section| section.starts_with(COMMAND_LINE)).unwrap_or_default();
        let lines: Vec<_> = section.lines().skip(1).filter(|line| !line.is_empty()).collect();
        let pairs: Vec<_> = lines.chunks_exact(2).map(|pair| (unescaped(pair[0]), unescaped(pair[1]))).collect();
        pairs.into_iter()
    }

    /// The words for a template.
    pub fn of(&'static self, template: &str) -> Option<&'static str> {
        self.pairs.get(template).map(|words| &**words)
    }

    /// A template that reads like this.
    pub(super) fn known(&'static self, words: &str) -> Option<&'static str> {
        self.pairs.get_key_value(words).map(|(template, _)| &**template)
    }
}

fn unescaped(line: &'static str) -> Cow<'static, str> {
    if line.contains("\\n") { line.replace("\\n", "\n").into() } else { line.into() }
}

/// The placeholders of a template, sorted, quoted ones with their `:?`.
pub fn placeholders(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        if rest[at..].starts_with("{{") {
            rest = &rest[at + 2..];
            continue;
        }
        let end = rest[at..].find('}').map_or(rest.len(), |end| at + end);
        found.push(&rest[at + 1..end]);
        rest = &rest[end..];
    }
    found.sort_unstable();
    found
}

/// Where Chinese is not set as the rest of it is: marks of half width beside an ideograph, no blank between an ideograph and
/// a Latin word or number, or one where none belongs. What is quoted, and a placeholder, is set as whoever wrote it did.
#[cfg(test)]
pub(crate) fn uneven_marks(text: &str) -> Vec<String> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Ideograph,
        FullMark,
        HalfMark,
        Word,
        Blank,
        Other,
    }
    let kind = |c: char| match c {
        '\u{4e00}'..='\u{9fff}' => Kind::Ideograph,
        // Quotation marks are of both worlds.
        '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}' => Kind::FullMark,
        ',' | ';' | ':' | '?' | '!' | '(' | ')' => Kind::HalfMark,
        c if c.is_ascii_alphanumeric() => Kind::Word,
        ' ' => Kind::Blank,
        _ => Kind::Other,
    };
    let mut is_quoted = None;
    let shown: Vec<char> = text
        .chars()
        .map(|c| match (is_quoted, c) {
            (None, '"' | '`') => {
                is_quoted = Some(c);
                c
            }
            (Some(mark), _) if c == mark || c == '\n' => {
                is_quoted = None;
                c
            }
            (Some(_), _) => '_',
            (None, _) => c,
        })
        .collect();
    let mut uneven = Vec::new();
    for (at, pair) in shown.windows(2).enumerate() {
        let is_uneven = match (kind(pair[0]), kind(pair[1])) {
            (Kind::Ideograph, Kind::HalfMark | Kind::Word) | (Kind::HalfMark | Kind::Word, Kind::Ideograph) => true,
            // Columns are set apart by two blanks.
            (Kind::FullMark, Kind::Blank) => shown.get(at + 2).is_some_and(|next| *next != ' '),
            (Kind::Blank, Kind::FullMark) => at > 0 && !matches!(shown[at - 1], ' ' | '\n'),
            _ => false,
        };
        if is_uneven {
            let around = at.saturating_sub(8)..(at + 10).min(shown.len());
            uneven.push(shown[around].iter().collect());
        }
    }
    uneven
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_pair_is_whole_and_there_once() {
        let mut seen = HashSet::new();
        for (en, zh) in Catalogue::pairs() {
            // Ideographs, and the marks that are set with them.
            let is_chinese =
                |c: char| matches!(c, '\u{3000}'..='\u{303f}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}');
            assert!(en.is_ascii() && !en.contains(is_chinese), "{en:?} is English");
            assert!(zh.contains(is_chinese), "{zh:?} is Chinese: the lines of a pair have slipped");
            assert_eq!(placeholders(&en), placeholders(&zh), "{en:?} and {zh:?} show the same");
            assert!(!zh.ends_with('。'), "{zh:?} ends with a full stop");
            assert_eq!(uneven_marks(&zh), [""; 0], "{zh:?} is set as the rest is");
            assert!(seen.insert(en.clone()), "{en:?} is there twice");
        }
        assert!(seen.len() > 100);
    }

    #[test]
    fn marks_and_blanks_that_do_not_fit_are_found() {
        for even in [
            "命令：a、b，\"x:密\"、`y 目录`（3 个）。",
            "{key} 应为{wanted}",
            "状态  （按 q 退出）",
            "a (b), c: d",
            "2 个\n  （x）",
        ] {
            assert_eq!(uneven_marks(even), [""; 0], "{even}");
        }
        for uneven in ["命令:", "命令, 参数", "(命令)", "用a", "3个", "命令， 参数", "命令 （x）", "真?"]
        {
            assert!(!uneven_marks(uneven).is_empty(), "{uneven}");
        }
    }

    #[test]
    fn placeholders_are_found_and_braces_are_none() {
        assert_eq!(placeholders("{b:?} is {{x}} in {a}"), ["a", "b:?"]);
        assert_eq!(placeholders("nothing"), [""; 0]);
    }
}
