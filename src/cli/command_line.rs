//! Reading the command line: in which language, before anything else, so that what is wrong with the rest is told in it.

use super::output::{self, Language};
use super::{Arguments, Exit, chinese};
use crate::language::Lang;
use clap::error::{Error, ErrorKind};
use clap::{CommandFactory, FromArgMatches, ValueEnum};
use std::ffi::OsString;

/// What was typed, understood; or what to end with, when help was asked for or it was not understood.
pub(super) fn read(words: Vec<OsString>) -> Result<Arguments, Exit> {
    output::speak(Language::chosen(lang_of(&words)));
    parse(words).map_err(|error| match output::lang() {
        Lang::Zh if is_fault(&error) => {
            output::note(&chinese::fault(&error));
            Exit::Faults
        }
        _ => {
            // Help and version are asked for and go to standard output; a closed pipe there is nobody's fault.
            let _ = error.print();
            if error.exit_code() == 0 { Exit::Ok } else { Exit::Faults }
        }
    })
}

/// What `--lang` says.
fn lang_of(words: &[OsString]) -> Option<Language> {
    let words: Vec<_> = words.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str()).collect();
    let mut values = words.iter().enumerate().filter_map(|(at, word)| match word.strip_prefix("--lang")? {
        "" => words.get(at + 1).copied(),
        rest => rest.strip_prefix('='),
    });
    values.next_back().and_then(|value| Language::from_str(value, false).ok())
}

fn parse(words: Vec<OsString>) -> Result<Arguments, Error> {
    let command = match output::lang() {
        Lang::En => Arguments::command(),
        Lang::Zh => chinese::translated(Arguments::command()),
    };
    let mut matches = command.try_get_matches_from(words)?;
    Arguments::from_arg_matches_mut(&mut matches)
}

/// Not where it is answered with help: that was asked for, or nothing was said at all.
fn is_fault(error: &Error) -> bool {
    error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_found_wherever_it_stands() {
        let of = |words: &[&str]| lang_of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["weir", "--lang", "zh", "chekc"]), Some(Language::Zh));
        assert_eq!(of(&["weir", "status", "--lang=en"]), Some(Language::En));
        assert_eq!(of(&["weir", "status", "--lang"]), None);
        assert_eq!(of(&["weir", "status", "--lang", "fr"]), None);
        assert_eq!(of(&["weir", "check", "--", "--lang=zh"]), None);
    }
}
