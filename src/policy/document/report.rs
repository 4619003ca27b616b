//! The fault report: everything that is wrong with a directory, sorted by file and place, for people and for programs.

use super::{Code, Fault, Faults, Files, Place, Severity};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The longest piece of a line that is shown, in bytes: some files are one line.
const EXCERPT_MAX: usize = 160;

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
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line, or the piece of it around the fault.
    pub excerpt: String,
    /// The bytes of `excerpt` to underline.
    #[serde(skip)]
    pub underline: Range<usize>,
}

/// All faults of one load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Sorted by file and place.
    pub faults: Vec<Located>,
    /// Faults beyond [`super::fault::FAULTS_MAX`].
    pub more: usize,
}

impl Report {
    /// Looks up all places.
    pub fn new(faults: Faults, files: &Files) -> Self {
        let (mut faults, more) = faults.into_parts();
        faults.sort_by(|a, b| order(&a.place).cmp(&order(&b.place)));
        let faults = without_echoes(faults, files).iter().map(|fault| locate(fault, files)).collect();
        Self { faults, more }
    }

    /// Faults that refuse the policy.
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == "error").count() + self.more
    }

    /// Faults that do not.
    pub fn warnings(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == "warning").count()
    }

    /// For people: the offending line underlined, and a hint. `dir` is put before each path; `color` for terminals.
    pub fn human(&self, dir: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for fault in &self.faults {
            text.push_str(&renderer.render(&fault.groups(dir)));
            text.push_str("\n\n");
        }
        text.push_str(&self.to_string());
        text.push('\n');
        text
    }

    /// For programs: one JSON object for each fault, one a line.
    pub fn json(&self) -> String {
        let lines = self.faults.iter().map(|fault| serde_json::to_string(fault).unwrap_or_default() + "\n");
        lines.collect()
    }

    /// `file:line:column code message`, one a line.
    pub fn short(&self) -> String {
        self.faults.iter().map(|fault| format!("{fault}\n")).collect()
    }
}

impl fmt::Display for Report {
    /// The sum: `3 errors, 1 warning`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let (errors, warnings) = (self.errors(), self.warnings());
        write!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))?;
        if self.more > 0 {
            write!(f, " ({} more are not shown)", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} {} {}", self.file, self.line, self.column, self.code, self.message)
    }
}

impl Located {
    fn groups<'a>(&'a self, dir: &str) -> Vec<Group<'a>> {
        let path = match (dir, self.file.as_str()) {
            ("", file) => file.to_owned(),
            (dir, "") => dir.to_owned(),
            (dir, file) => format!("{}/{file}", dir.trim_end_matches('/')),
        };
        let level = if self.severity == "error" { Level::ERROR } else { Level::WARNING };
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
        match &self.hint {
            Some(hint) => vec![group.element(Level::HELP.message(hint.as_str()))],
            None => vec![group],
        }
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

/// The line that byte `at` is in, without its end.
fn line_around(text: &[u8], at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |newline| at + newline);
    start..end
}

fn locate(fault: &Fault, files: &Files) -> Located {
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
        message: fault.message.clone(),
        hint: fault.hint.clone(),
        excerpt: String::new(),
        underline: 0..0,
    };
    let text = text_of(files, &fault.place);
    if fault.place.span == (0..0) && fault.code != Code::Syntax || text.is_empty() {
        return located;
    }
    let at = fault.place.span.start.min(text.len());
    let line = line_around(text, at);
    located.line = text[..line.start].iter().filter(|byte| **byte == b'\n').count() + 1;
    located.column = String::from_utf8_lossy(&text[line.start..at]).chars().count() + 1;
    let (excerpt, underline) = excerpt(text, &line, at..fault.place.span.end.max(at));
    located.excerpt = excerpt;
    located.underline = underline;
    located
}

/// The piece of a line around a fault, control characters made visible, and which bytes of it to underline.
fn excerpt(text: &[u8], line: &Range<usize>, span: Range<usize>) -> (String, Range<usize>) {
    let from = line.start.max(span.start.saturating_sub(EXCERPT_MAX / 2));
    let to = line.end.min(span.start + EXCERPT_MAX);
    let clean = |bytes: &[u8]| -> String {
        let show = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        String::from_utf8_lossy(bytes).trim_end_matches('\r').chars().map(show).collect()
    };
    let end = span.end.clamp(span.start, to.max(span.start));
    let before = clean(&text[from..span.start.max(from)]);
    let inside = clean(&text[span.start..end]);
    let after = clean(&text[end..to.max(end)]);
    let underline = before.len()..before.len() + inside.len();
    (before + &inside + &after, underline)
}
