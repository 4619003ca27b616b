//! The fault report: everything that is wrong with a directory, sorted by file and place, for people (in their language,
//! what is alike grouped) and for programs.

use super::excerpt::{self, line_around};
use super::passage::{Passage, Passages};
use super::{Code, Fault, Faults, Files, Place, Severity, sarif};
use crate::language::{Lang, Text, text};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Faults of one kind in one file that are shown to a person one by one; of the others the lines are named.
const ALIKE_SHOWN: usize = 3;

/// Lines, or runs of lines, that are named of the others.
const RUNS_SHOWN: usize = 24;

/// A fault whose place has been looked up.
#[derive(Clone, Debug, Serialize)]
pub struct Located {
    /// `E-UNKNOWN-KEY`
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// Path within the directory; empty for the directory itself.
    pub file: String,
    /// From 1, which is also that of the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Where what is underlined ends, which may be lines below.
    pub end_line: usize,
    /// The character behind the last one.
    pub end_column: usize,
    /// What is wrong, in the language of the report.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line, or the piece of it around the fault.
    pub excerpt: String,
    /// The bytes of `excerpt` to underline.
    #[serde(skip)]
    pub underline: Range<usize>,
    /// `column` and `end_column` in UTF-16 code units; `None` for a file as a whole.
    #[serde(skip)]
    pub(super) utf16: Option<(usize, usize)>,
    #[serde(skip)]
    said: (Text, Option<Text>),
}

/// All faults of one load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Sorted by file and place.
    pub faults: Vec<Located>,
    /// Faults beyond [`super::fault::FAULTS_MAX`].
    pub more: usize,
    lang: Lang,
}

impl Report {
    /// Looks up all places.
    pub fn new(faults: Faults, files: &Files) -> Self {
        let (mut faults, more) = faults.into_parts();
        faults.sort_by(|a, b| order(&a.place).cmp(&order(&b.place)));
        let faults = without_echoes(faults, files);
        let passages = Passages::of(&faults, files);
        let faults = faults.iter().map(|fault| locate(fault, &passages.of_place(&fault.place, files))).collect();
        Self { faults, more, lang: Lang::En }
    }

    /// The same in another language; a new report is in English.
    #[must_use]
    pub fn in_language(mut self, lang: Lang) -> Self {
        self.lang = lang;
        for fault in &mut self.faults {
            fault.message = fault.said.0.to(lang);
            fault.hint = fault.said.1.as_ref().map(|hint| hint.to(lang));
        }
        self
    }

    /// Faults that refuse the policy.
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == "error").count() + self.more
    }

    /// Faults that do not.
    pub fn warnings(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == "warning").count()
    }

    /// For people: the offending line underlined, and a hint. `dir` is put before each path; `color` for terminals. Of
    /// more than a few faults of one kind in a file the rest is named by line.
    pub fn human(&self, dir: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let labels = Labels::of(self.lang);
        let mut alike: HashMap<_, Vec<&Located>> = HashMap::new();
        self.faults.iter().for_each(|fault| alike.entry(fault.kind()).or_default().push(fault));
        let mut human = String::new();
        for fault in &self.faults {
            let all = &alike[&fault.kind()];
            let number = all.iter().position(|other| std::ptr::eq(*other, fault)).unwrap_or(0) + 1;
            // To say that there is one more takes as much room as to show it.
            let rest = all.get(ALIKE_SHOWN..).filter(|rest| rest.len() > 1);
            if rest.is_some() && number > ALIKE_SHOWN {
                continue;
            }
            let note = rest.filter(|_| number == ALIKE_SHOWN).map(|rest| {
                let (count, lines) = (rest.len(), runs(rest.iter().map(|other| other.line)));
                text!("and {count} more of this kind, in lines {lines}", count, lines).to(self.lang)
            });
            human.push_str(&renderer.render(&fault.groups(dir, &labels, note.as_deref())));
            human.push_str("\n\n");
        }
        human.push_str(&self.to_string());
        human.push('\n');
        human
    }

    /// For programs: one JSON object for each fault, one a line.
    pub fn json(&self) -> String {
        let lines = self.faults.iter().map(|fault| serde_json::to_string(fault).unwrap_or_default() + "\n");
        lines.collect()
    }

    /// For code scanning: SARIF 2.1.0. `dir` is put before each path.
    pub fn sarif(&self, dir: &str) -> String {
        format!("{:#}\n", sarif::log(self, dir, self.lang))
    }

    /// As [`Self::short`], in any language, a text for each.
    pub fn texts(&self) -> Vec<Text> {
        let place = |fault: &Located| format!("{}:{}:{} {}", fault.file, fault.line, fault.column, fault.code);
        let told = |fault: &Located| Text::joined(" ", [Text::verbatim(place(fault)), fault.text().clone()]);
        self.faults.iter().map(told).collect()
    }

    /// `file:line:column code message`, one a line.
    pub fn short(&self) -> String {
        self.faults.iter().map(|fault| format!("{fault}\n")).collect()
    }
}

impl fmt::Display for Report {
    /// The sum: `3 errors, 1 warning`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sum().to(self.lang))
    }
}

impl Report {
    /// The sum: `3 errors, 1 warning`.
    pub fn sum(&self) -> Text {
        let errors = match self.errors() {
            1 => text!("1 error"),
            n => text!("{n} errors", n),
        };
        let warnings = match self.warnings() {
            1 => text!("1 warning"),
            n => text!("{n} warnings", n),
        };
        match self.more {
            0 => text!("{errors}, {warnings}", errors, warnings),
            more => text!("{errors}, {warnings} ({more} more are not shown)", errors, warnings, more),
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} {} {}", self.file, self.line, self.column, self.code, self.message)
    }
}

/// What a person reads before a message.
struct Labels {
    error: String,
    warning: String,
    note: String,
    help: String,
}

impl Labels {
    fn of(lang: Lang) -> Self {
        let [error, warning, note, help] =
            [text!("error"), text!("warning"), text!("note"), text!("help")].map(|label| label.to(lang));
        Self { error, warning, note, help }
    }
}

/// Lines in few words: `3, 7-12, 40`.
fn runs(lines: impl Iterator<Item = usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((_, last)) if line <= *last + 1 => *last = line,
            _ => runs.push((line, line)),
        }
    }
    let show = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let mut shown: Vec<_> = runs.iter().take(RUNS_SHOWN).map(show).collect();
    if runs.len() > RUNS_SHOWN {
        shown.push("...".to_owned());
    }
    shown.join(", ")
}

impl Located {
    /// What is wrong, in any language.
    pub fn text(&self) -> &Text {
        &self.said.0
    }

    /// What to do about it, in any language.
    pub fn advice(&self) -> Option<&Text> {
        self.said.1.as_ref()
    }

    /// Faults of one file that say the same of different things.
    fn kind(&self) -> (&str, &str, &str) {
        (&self.file, self.code, self.said.0.kind())
    }

    fn groups<'a>(&'a self, dir: &str, labels: &'a Labels, note: Option<&'a str>) -> Vec<Group<'a>> {
        let path = match (dir, self.file.as_str()) {
            ("", file) => file.to_owned(),
            (dir, "") => dir.to_owned(),
            (dir, file) => format!("{}/{file}", dir.trim_end_matches('/')),
        };
        let level = match self.severity {
            "error" => Level::ERROR.with_name(labels.error.as_str()),
            _ => Level::WARNING.with_name(labels.warning.as_str()),
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.code));
        let annotation = AnnotationKind::Primary.span(self.underline.clone());
        let snippet = Snippet::source(self.excerpt.as_str()).line_start(self.line).annotation(annotation);
        // The renderer counts columns in what it is shown, so the place of a piece of a line is given apart.
        let is_from_start =
            self.excerpt.get(..self.underline.start).is_some_and(|t| t.chars().count() + 1 == self.column);
        if !self.excerpt.is_empty() && is_from_start {
            group = group.element(snippet.path(path));
        } else {
            group = group.element(Origin::path(path).line(self.line).char_column(self.column));
            if !self.excerpt.is_empty() {
                group = group.element(snippet);
            }
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.with_name(labels.help.as_str()).message(hint.as_str()));
        }
        if let Some(note) = note {
            group = group.element(Level::NOTE.with_name(labels.note.as_str()).message(note));
        }
        vec![group]
    }
}

fn order(place: &Place) -> (&str, usize, usize) {
    (&place.file, place.span.start, place.span.end)
}

/// Without what a syntax error brings about on its own line: further errors of the parser, and a value that could not be
/// read and is then also missing or of the wrong type. Saying so twice hides the cause.
fn without_echoes(faults: Vec<Fault>, files: &Files) -> Vec<Fault> {
    let mut broken: Vec<(Arc<str>, Range<usize>)> = Vec::new();
    for fault in faults.iter().filter(|fault| fault.code == Code::Syntax) {
        let line = line_around(text_of(files, &fault.place), fault.place.span.start);
        if broken.last() != Some(&(Arc::clone(&fault.place.file), line.clone())) {
            broken.push((Arc::clone(&fault.place.file), line));
        }
    }
    let mut told = vec![false; broken.len()];
    let mut is_echo = |fault: &Fault| {
        let at = fault.place.span.start;
        let is_here =
            |(file, line): &(Arc<str>, Range<usize>)| *file == fault.place.file && line.start <= at && at <= line.end;
        match fault.code {
            Code::Syntax => {
                broken.iter().position(is_here).is_some_and(|line| std::mem::replace(&mut told[line], true))
            }
            // Below a heading that could not be read, keys stand in the wrong table.
            Code::UnknownKey => broken.iter().any(|broken| {
                let is_heading = text_of(files, &fault.place).get(broken.1.start) == Some(&b'[');
                is_here(broken) || (is_heading && broken.0 == fault.place.file && broken.1.start <= at)
            }),
            Code::MissingKey | Code::Empty => broken.iter().any(|(file, _)| *file == fault.place.file),
            _ => broken.iter().any(is_here),
        }
    };
    faults.into_iter().filter(|fault| !is_echo(fault)).collect()
}

fn text_of<'f>(files: &'f Files, place: &Place) -> &'f [u8] {
    files.bytes(&place.file).unwrap_or_default()
}

fn locate(fault: &Fault, passage: &Passage<'_>) -> Located {
    let severity = match fault.code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut located = Located {
        code: fault.code.as_str(),
        severity,
        file: fault.place.file.to_string(),
        line: 1,
        column: 1,
        end_line: 1,
        end_column: 1,
        message: fault.message.english(),
        hint: fault.hint.as_ref().map(Text::english),
        excerpt: String::new(),
        underline: 0..0,
        utf16: None,
        said: (fault.message.clone(), fault.hint.clone()),
    };
    let text = &*passage.text;
    if fault.place.span == (0..0) && fault.code != Code::Syntax || text.is_empty() {
        return located;
    }
    let within = |place: usize| place.saturating_sub(passage.start);
    let at = within(fault.place.span.start).min(text.len());
    let end = within(fault.place.span.end).clamp(at, text.len());
    let line = line_around(text, at);
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    located.line = passage.lines_before + lines(&text[..line.start]) + 1;
    located.end_line = located.line + lines(&text[at..end]);
    let before = |at: usize| String::from_utf8_lossy(&text[line_around(text, at).start..at]).into_owned();
    let (start, end) = (before(at), before(end));
    let (characters, units) = (|t: &str| t.chars().count() + 1, |t: &str| t.encode_utf16().count() + 1);
    (located.column, located.end_column) = (characters(&start), characters(&end));
    located.utf16 = Some((units(&start), units(&end)));
    (located.excerpt, located.underline) = excerpt::excerpt(text, &line, at..within(fault.place.span.end).max(at));
    located
}
