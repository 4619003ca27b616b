//! Writing to standard output and standard error. A reader that has seen enough (`weir status | head -1`) closes the
//! pipe: that is no failure, and no panic as `println!` would have it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Writes the result of a command, and a line end when it lacks one.
pub(super) fn result(text: impl Display) {
    write(&mut io::stdout().lock(), &text.to_string());
}

/// Writes what is not the result: faults, notes.
pub(super) fn note(text: impl Display) {
    write(&mut io::stderr().lock(), &text.to_string());
}

/// Writes why a command failed.
pub(super) fn error(text: impl Display) {
    note(format_args!("error: {text}"));
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
