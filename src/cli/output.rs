//! Writing to standard output and standard error. A reader that has seen enough (`weir status | head -1`) closes the
//! pipe: that is no failure, and no panic as `println!` would have it. A disk that is full is one: half a result must not
//! look like a whole one.

use crate::language::{Lang, Text, text};
use crate::policy::document::Report;
use clap::ValueEnum;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Whether a part of the result could not be written.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Chooses the language; the first choice counts.
pub(super) fn speak(lang: Lang) {
    let _ = LANG.set(lang);
}

/// The language that was chosen.
pub(super) fn lang() -> Lang {
    LANG.get().copied().unwrap_or_default()
}

/// Whether a part of the result could not be written, which was told.
pub(super) fn is_lost() -> bool {
    IS_LOST.load(Ordering::Relaxed)
}

/// Writes the result of a command, and a line end when it lacks one.
pub(super) fn result(text: &Text) {
    settle(write(&mut io::stdout().lock(), &text.to(lang())));
}

/// Writes what programs read, or an answer that is in the language of the request.
pub(super) fn raw(text: impl Display) {
    settle(write(&mut io::stdout().lock(), &text.to_string()));
}

/// Writes what programs read, and what may be large: as it is made. Its last line has an end.
pub(super) fn lines(text: impl Display) {
    let mut to = BufWriter::new(io::stdout().lock());
    settle(write!(to, "{text}").and_then(|()| to.flush()));
}

/// Tells once that a part of the result could not be written, unless nobody reads on.
fn settle(written: io::Result<()>) {
    if let Err(why) = written
        && why.kind() != io::ErrorKind::BrokenPipe
        && !IS_LOST.swap(true, Ordering::Relaxed)
    {
        error(&text!("cannot write the result: {error}", error = Text::of_io(&why)));
    }
}

/// Writes what is not the result: faults, notes.
pub(super) fn note(text: &Text) {
    // Where this cannot be written there is no place left to say so.
    let _ = write(&mut io::stderr().lock(), &text.to(lang()));
}

/// Writes the faults of a policy, which is called so.
pub(super) fn faults(report: Report, name: &Text) {
    let shown = report.in_language(lang()).human(&name.to(lang()), note_takes_colour());
    // As above.
    let _ = write(&mut io::stderr().lock(), &shown);
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

fn write(to: &mut impl Write, text: &str) -> io::Result<()> {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    write!(to, "{text}{end}").and_then(|()| to.flush())
}
