//! What a person reads, in the person's language: a [`Text`] is a template and its arguments, and becomes words only when it
//! is shown, so that whoever finds a fault need not know who will read it.
//!
//! English is the template itself; Chinese is looked up by it in `zh.txt`, a plain file of pairs of lines. What is not
//! there is shown in English. Codes, keys, names and numbers are the same in every language: tools and search engines
//! match on them.

mod catalogue;
mod json;
mod system;

#[cfg(test)]
pub(crate) use catalogue::uneven_marks;
pub use catalogue::{Catalogue, placeholders};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fmt::{self, Display, Write as _};
use std::str::FromStr;

/// A language that messages are there in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese, simplified.
    Zh,
}

impl Lang {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// The language tag (RFC 5646) with a region, as SARIF has it.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en-US",
            Self::Zh => "zh-CN",
        }
    }

    /// That of the environment: the first of LC_ALL, LC_MESSAGES and LANG that is set and not empty decides, as POSIX has
    /// it (Base Definitions, section 8.2). `C`, and every language that is not here, is English.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set =
            ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| variable(name).filter(|v| !v.is_empty()));
        let locale = set.unwrap_or_default();
        let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("zh") { Self::Zh } else { Self::En }
    }
}

impl FromStr for Lang {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|lang| lang.name() == text);
        found.ok_or_else(|| format!("{text:?} is no language that weir speaks: en or zh"))
    }
}

/// Something to be said, in any language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    words: Words,
    arguments: Vec<(&'static str, Argument)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Words {
    /// English with `{name}` or, to be quoted, `{name:?}` for arguments.
    Template(&'static str),
    /// Of somebody else, as it is.
    Foreign(String),
    /// The arguments, each on a line of its own.
    Lines,
    /// The arguments, with a mark between them.
    Joined(&'static str),
    /// Of the only argument the first line.
    FirstLine,
}

/// What stands for a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The same in every language.
    Plain(String),
    /// Words of their own.
    Text(Text),
}

impl Argument {
    /// In a language.
    pub fn to(&self, lang: Lang) -> String {
        match self {
            Self::Plain(words) => words.clone(),
            Self::Text(text) => text.to(lang),
        }
    }
}

impl Text {
    /// A template with its arguments; `text!` is how to write one.
    pub fn new(template: &'static str, arguments: Vec<(&'static str, Argument)>) -> Self {
        Self { words: Words::Template(template), arguments }
    }

    /// With these arguments.
    #[must_use]
    pub fn with(self, arguments: Vec<(&'static str, Argument)>) -> Self {
        Self { arguments, ..self }
    }

    /// A template without arguments.
    pub fn phrase(template: &'static str) -> Self {
        Self::new(template, Vec::new())
    }

    /// What a library or the system says: in Chinese where the catalogue happens to know the very words.
    pub fn foreign(words: &str) -> Self {
        match Catalogue::zh().known(words) {
            Some(template) => Self::phrase(template),
            None => Self { words: Words::Foreign(words.to_owned()), arguments: Vec::new() },
        }
    }

    /// As [`Self::foreign`] for the error of a library: what the catalogue does not know is quoted in Chinese.
    pub fn of_library(error: &impl Display) -> Self {
        let words = error.to_string();
        Catalogue::zh().known(&words).map_or_else(|| text!("{words}", words), Self::phrase)
    }

    /// What has no language, or cannot be said in another one: names, numbers, code words, what came over the wire.
    pub fn verbatim(words: impl Into<String>) -> Self {
        Self { words: Words::Foreign(words.into()), arguments: Vec::new() }
    }

    /// Texts with a mark between them, such as `, `, `; ` or ` or `, which has its Chinese form.
    pub fn joined(mark: &'static str, parts: impl IntoIterator<Item = Self>) -> Self {
        Self::of_parts(Words::Joined(mark), parts)
    }

    /// The first line of a text; what is below are hints.
    #[must_use]
    pub fn first_line(self) -> Self {
        Self::of_parts(Words::FirstLine, [self])
    }

    fn of_parts(words: Words, parts: impl IntoIterator<Item = Self>) -> Self {
        Self { words, arguments: parts.into_iter().map(|part| ("", Argument::Text(part))).collect() }
    }

    /// Texts, each on a line of its own.
    pub fn lines(lines: Vec<Self>) -> Self {
        Self::of_parts(Words::Lines, lines)
    }

    /// What tells messages of one kind from others: the template, whatever the arguments.
    pub fn kind(&self) -> &str {
        match &self.words {
            Words::Template(template) => template,
            Words::Foreign(words) => words,
            Words::Lines | Words::Joined(_) | Words::FirstLine => "",
        }
    }

    /// Whether it is nobody's template, and so the same in every language.
    pub fn is_foreign(&self) -> bool {
        matches!(self.words, Words::Foreign(_))
    }

    /// In English.
    pub fn english(&self) -> String {
        self.to(Lang::En)
    }

    /// In a language.
    pub fn to(&self, lang: Lang) -> String {
        let template = match (&self.words, lang) {
            (Words::Foreign(words), _) => return words.clone(),
            (Words::Lines, _) => return self.parts(lang).map(|line| line + "\n").collect(),
            (Words::Joined(mark), _) => return self.parts(lang).collect::<Vec<_>>().join(mark_in(mark, lang)),
            (Words::FirstLine, _) => {
                return self.parts(lang).collect::<String>().lines().next().unwrap_or_default().to_owned();
            }
            (Words::Template(template), Lang::En) => template,
            (Words::Template(template), Lang::Zh) => Catalogue::zh().of(template).unwrap_or(template),
        };
        let mut said = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            said.push_str(&rest[..at]);
            let brace = &rest[at..];
            // A brace that is meant as one is written twice.
            if brace.starts_with("{{") || brace.starts_with("}}") {
                said.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let Some(end) = brace.find('}').filter(|_| brace.starts_with('{')) else {
                said.push_str(brace);
                return said;
            };
            self.argument(&brace[1..end], lang, &mut said);
            rest = &brace[end + 1..];
        }
        said.push_str(rest);
        said
    }

    fn parts(&self, lang: Lang) -> impl Iterator<Item = String> {
        self.arguments.iter().map(move |(_, part)| part.to(lang))
    }

    fn argument(&self, placeholder: &str, lang: Lang, said: &mut String) {
        let (name, is_quoted) = placeholder.strip_suffix(":?").map_or((placeholder, false), |name| (name, true));
        let Some((_, argument)) = self.arguments.iter().find(|(known, _)| *known == name) else {
            return said.push_str(placeholder);
        };
        let value = argument.to(lang);
        // Writing to a text cannot fail.
        let _ = if is_quoted { write!(said, "{value:?}") } else { said.write_str(&value) };
    }
}

/// A template without arguments, to be copied where nothing may be allocated; `phrase!` is how to write one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phrase(&'static str);

impl Phrase {
    /// Of a template.
    pub const fn new(template: &'static str) -> Self {
        Self(template)
    }
}

impl Told for Phrase {
    fn text(&self) -> Text {
        Text::phrase(self.0)
    }
}

/// A [`Phrase`]: `phrase!("held to its share of the upstream")`; its template has to be in `zh.txt` as well.
macro_rules! phrase {
    ($template:literal) => {
        $crate::language::Phrase::new($template)
    };
}
pub(crate) use phrase;

/// A mark between parts of a sentence, as it is set in a language.
fn mark_in(mark: &'static str, lang: Lang) -> &'static str {
    match (lang, mark) {
        (Lang::Zh, ", ") => "，",
        (Lang::Zh, "; ") => "；",
        (Lang::Zh, ": ") => "：",
        (Lang::Zh, " or ") => " 或 ",
        _ => mark,
    }
}

thread_local! {
    /// What texts are written in; English outside of [`json_in`].
    static WRITTEN: Cell<Lang> = const { Cell::new(Lang::En) };
}

/// A value as JSON, with the texts in it in a language. Keys and code words are the same in every language.
///
/// # Errors
/// As [`serde_json::to_value`].
pub fn json_in(lang: Lang, value: &impl Serialize) -> serde_json::Result<serde_json::Value> {
    let before = WRITTEN.replace(lang);
    let written = serde_json::to_value(value);
    WRITTEN.set(before);
    written
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to(WRITTEN.get()))
    }
}

// Whoever wrote it chose the language.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::verbatim)
    }
}

/// What is shown to people whole, such as the answer to a command.
pub trait Told {
    /// As a text.
    fn text(&self) -> Text;
}

impl Default for Text {
    /// Nothing.
    fn default() -> Self {
        Self::verbatim("")
    }
}

/// Whether a character takes two columns of a terminal, as far as our own texts go: ideographs and the marks set with them.
pub const fn is_wide(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{303f}' | '\u{4e00}'..='\u{9fff}' | '\u{ff01}'..='\u{ff60}')
}

/// The columns of a character.
pub const fn width(c: char) -> usize {
    if is_wide(c) { 2 } else { 1 }
}

/// The columns of a text.
pub fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// What may stand for a placeholder: whatever can be shown, and other texts.
pub trait Said {
    /// As an argument.
    fn argument(self) -> Argument;
}

impl<T: Display> Said for T {
    fn argument(self) -> Argument {
        Argument::Plain(self.to_string())
    }
}

// A text has no `Display`, so that none is shown in English by accident.
impl Said for Text {
    fn argument(self) -> Argument {
        Argument::Text(self)
    }
}

impl Said for &Text {
    fn argument(self) -> Argument {
        Argument::Text(self.clone())
    }
}

impl Said for &&Text {
    fn argument(self) -> Argument {
        Argument::Text((*self).clone())
    }
}

/// A [`Text`]: `text!("there is no group {name:?}", name)`, `text!("more than {most} groups", most = GROUPS_MAX)`. The
/// template has to be in `zh.txt`, with the same placeholders; a test of the house sees to it.
macro_rules! text {
    (@argument $name:ident) => { $crate::language::Said::argument(&$name) };
    (@argument $name:ident $value:expr) => { $crate::language::Said::argument(&$value) };
    ($template:literal $(, $name:ident $(= $value:expr)?)* $(,)?) => {
        $crate::language::Text::new(
            $template,
            vec![$((stringify!($name), $crate::language::text!(@argument $name $($value)?))),*],
        )
    };
}
pub(crate) use text;

/// `, ` between words of the same kind, such as the choices of a key: the same in every language.
pub fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

impl Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_the_language() {
        let of = |all: &str, messages: &str, lang: &str| {
            Lang::of_environment(|name| {
                let value = match name {
                    "LC_ALL" => all,
                    "LC_MESSAGES" => messages,
                    "LANG" => lang,
                    _ => unreachable!("no other variable counts"),
                };
                Some(value.to_owned())
            })
        };
        assert_eq!(of("", "", "zh_CN.UTF-8"), Lang::Zh);
        assert_eq!(of("", "zh", ""), Lang::Zh);
        assert_eq!(of("", "", "zh-Hans-CN"), Lang::Zh);
        assert_eq!(of("C", "zh_CN.UTF-8", "zh_CN.UTF-8"), Lang::En);
        assert_eq!(of("", "en_US.UTF-8", "zh_CN.UTF-8"), Lang::En);
        assert_eq!(of("zh_TW", "C", "C"), Lang::Zh);
        assert_eq!(of("", "", ""), Lang::En);
        assert_eq!(of("", "", "zhx_XX"), Lang::En);
        assert_eq!(Lang::of_environment(|_| None), Lang::En);
    }

    #[test]
    fn arguments_are_put_in_by_name_quoted_where_the_template_says_so() {
        let name = "a\"b";
        let said = Text::new(
            "{{{n}}} {name:?} is {what}, not {name}",
            vec![
                ("n", Said::argument(7)),
                ("name", Said::argument(name)),
                ("what", Said::argument(Text::foreign("a {thing}"))),
            ],
        );
        assert_eq!(said.english(), "{7} \"a\\\"b\" is a {thing}, not a\"b");
        assert_eq!(said.to(Lang::Zh), said.english(), "what the catalogue does not know is said in English");
    }

    #[test]
    fn parts_are_joined_cut_and_written_in_the_language_asked_for() {
        let parts = || vec![text!("names"), Text::verbatim("a\nb")];
        assert_eq!(Text::joined("; ", parts()).to(Lang::Zh), "域名；a\nb");
        assert_eq!(Text::lines(parts()).english(), "names\na\nb\n");
        let first = Text::lines(parts()).first_line();
        assert_eq!((first.english().as_str(), first.to(Lang::Zh).as_str()), ("names", "域名"));
        let written = |lang| json_in(lang, &text!("names")).unwrap();
        assert_eq!([written(Lang::Zh), written(Lang::En)], ["域名", "names"]);
        assert_eq!(serde_json::to_value(text!("names")).unwrap(), "names", "a language is for one value");
        let read: Text = serde_json::from_value(written(Lang::Zh)).unwrap();
        assert_eq!(read.english(), "域名");
    }

    #[test]
    fn a_text_within_a_text_is_in_the_same_language() {
        let said =
            text!("{key} must be {wanted}, not {found}", key = "rate", wanted = text!("text"), found = text!("a list"));
        assert_eq!(said.english(), "rate must be text, not a list");
        assert_eq!(said.to(Lang::Zh), "rate 应为文本，而不是列表");
    }
}
