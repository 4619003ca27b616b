//! Writing to standard output and standard error. A reader that has seen enough (`weir status | head -1`) closes the
//! pipe: that is no failure, and no panic as `println!` would have it.

use crate::language::{Lang, Text, text};
use crate::policy::document::Report;
use clap::ValueEnum;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::OnceLock;

/// A language, as it is chosen on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    En,
    Zh,
}

impl Language {
    /// What was said, else the language of the environment.
    pub(super) fn chosen(said: Option<Self>) -> Lang {
        match said {
            Some(Self::En) => Lang::En,
            Some(Self::Zh) => Lang::Zh,
            None => Lang::of_environment(|name| std::env::var(name).ok()),
        }
    }
}

/// The language of this run, chosen once.
static LANG: OnceLock<Lang> = OnceLock::new();

/// Chooses the language; the first choice counts.
pub(super) fn speak(lang: Lang) {
    let _ = LANG.set(lang);
}

/// The language that was chosen.
pub(super) fn lang() -> Lang {
    LANG.get().copied().unwrap_or_default()
}

/// Writes the result of a command, and a line end when it lacks one.
pub(super) fn result(text: &Text) {
    write(&mut io::stdout().lock(), &text.to(lang()));
}

/// Writes what programs read, or an answer that is in the language of the request.
pub(super) fn raw(text: impl Display) {
    write(&mut io::stdout().lock(), &text.to_string());
}

/// Writes what programs read, and what may be large: as it is made. Its last line has an end.
pub(super) fn lines(text: impl Display) {
    let mut to = BufWriter::new(io::stdout().lock());
    // As below.
    let _ = write!(to, "{text}").and_then(|()| to.flush());
}

/// Writes what is not the result: faults, notes.
pub(super) fn note(text: &Text) {
    write(&mut io::stderr().lock(), &text.to(lang()));
}

/// Writes the faults of a policy, which is called so.
pub(super) fn faults(report: Report, name: &Text) {
    let shown = report.in_language(lang()).human(&name.to(lang()), note_takes_colour());
    write(&mut io::stderr().lock(), &shown);
}

/// Writes why a command failed.
pub(super) fn error(text: &Text) {
    note(&text!("error: {cause}", cause = text));
}

/// Whether standard output takes colour: a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
pub(super) fn result_takes_colour() -> bool {
    io::stdout().is_terminal() && wants_colour()
}

/// As above, for standard error.
pub(super) fn note_takes_colour() -> bool {
    io::stderr().is_terminal() && wants_colour()
}

fn wants_colour() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn write(to: &mut impl Write, text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    // Where the output cannot be written there is no place left to say so.
    let _ = write!(to, "{text}{end}").and_then(|()| to.flush());
}
