//! The command line in Chinese: help, and what is wrong with what was typed. clap speaks English alone, so its headings,
//! our own descriptions and its errors are put into words here; codes, names of options and values stay as they are.

use crate::language::{Lang, Text, list, text};
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command};
use std::error::Error as _;

/// The command with all of its descriptions, and those of the commands below it.
pub(super) fn translated(mut command: Command) -> Command {
    command.build();
    with_commands(command)
}

fn with_commands(command: Command) -> Command {
    let about = command.get_about().map(told);
    let command = match about {
        Some(about) => command.about(about.clone()).long_about(about),
        None => command,
    };
    let page = page(&command);
    command.help_template(page).mut_args(described).mut_subcommands(with_commands)
}

/// The order of a help page. Its headings stand here, since clap sets an English colon behind those that it is given.
fn page(command: &Command) -> String {
    let (usage, header) = (command.get_styles().get_usage(), command.get_styles().get_header());
    let mut page = format!("{{before-help}}{{about-with-newline}}\n{usage}用法：{usage:#}{{usage}}");
    let is_shown = |arg: &&Arg| !arg.is_hide_set();
    for (heading, part, is_there) in [
        ("命令", "subcommands", command.has_subcommands()),
        ("参数", "positionals", command.get_positionals().any(|arg| is_shown(&arg))),
        ("选项", "options", command.get_arguments().filter(is_shown).any(|arg| !arg.is_positional())),
    ] {
        if is_there {
            page += &format!("\n\n{header}{heading}：{header:#}\n{{{part}}}");
        }
    }
    page + "{after-help}"
}

/// The Chinese words for a description; a test sees to it that they are there.
fn told(english: &StyledStr) -> String {
    Text::foreign(&english.to_string()).to(Lang::Zh)
}

fn described(arg: Arg) -> Arg {
    let mut help = arg.get_help().map(told).unwrap_or_default();
    let values: Vec<_> = match arg.get_action().takes_values() {
        true => arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect(),
        false => Vec::new(),
    };
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !values.is_empty() && values.iter().all(|value| value.get_help().is_none()) {
        help += &format!("（可用：{}）", list(values.iter().map(|value| value.get_name())));
    }
    if !defaults.is_empty() && arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        help += &format!("（默认：{}）", defaults.join(" "));
    }
    for value in &values {
        if let Some(meaning) = value.get_help() {
            help += &format!("\n- {}：{}", value.get_name(), told(meaning));
        }
    }
    let is_hidden = arg.is_hide_set();
    arg.help(help.clone()).long_help(help).hide_possible_values(true).hide_default_value(true).hide(is_hidden)
}

/// What is wrong with what was typed.
pub(super) fn fault(error: &Error) -> Text {
    let said = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        Some(ContextValue::Strings(values)) => Some(values.join("  ")),
        _ => None,
    };
    let argument = said(ContextKind::InvalidArg);
    let wrong = match (error.kind(), &argument) {
        (ErrorKind::UnknownArgument, Some(argument)) => text!("there is no argument {argument} here", argument),
        (ErrorKind::ArgumentConflict, Some(argument)) => match said(ContextKind::PriorArg) {
            Some(prior) if prior == *argument => text!("{argument} is given more than once", argument),
            Some(prior) => text!("{argument} cannot be had with {prior}", argument, prior),
            None => text!("{argument} cannot be had with the others", argument),
        },
        (ErrorKind::InvalidValue, Some(argument)) => match said(ContextKind::InvalidValue) {
            Some(value) if !value.is_empty() => text!("{argument} cannot be {value:?}", argument, value),
            _ => text!("{argument} needs a value", argument),
        },
        (ErrorKind::ValueValidation, Some(argument)) => {
            let value = said(ContextKind::InvalidValue).unwrap_or_default();
            match error.source() {
                Some(cause) => {
                    text!("{argument} cannot be {value:?}: {cause}", argument, value, cause = validation(cause))
                }
                None => text!("{argument} cannot be {value:?}", argument, value),
            }
        }
        (ErrorKind::MissingRequiredArgument, Some(argument)) => text!("what is missing: {argument}", argument),
        (ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues, Some(argument)) => {
            text!("{argument} has too many values", argument)
        }
        (ErrorKind::InvalidSubcommand, _) => {
            let command = said(ContextKind::InvalidSubcommand).unwrap_or_default();
            text!("there is no command {command:?}", command)
        }
        (ErrorKind::InvalidUtf8, _) => text!("what was typed is not UTF-8"),
        _ => text!("the command line is not understood"),
    };
    let hints = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    // Of several the nearest comes last.
    let nearest = |kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Strings(words) => words.last().cloned(),
        _ => None,
    };
    let near = hints.into_iter().find_map(nearest).map(|word| text!("did you mean {word:?}?", word));
    let values = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => Some(list(values.iter().map(String::as_str))),
        _ => None,
    };
    let values = values.map(|words| text!("it is one of: {words}", words));
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => {
            let usage = usage.to_string();
            Some(text!("usage: {usage}", usage = usage.trim_start_matches("Usage:").trim()))
        }
        _ => None,
    };
    let indented = |hint: Text| Text::joined("", [Text::verbatim("  "), hint]);
    let hints = near.into_iter().chain(values).chain(usage).chain([text!("`--help` says more")]).map(indented);
    Text::lines(std::iter::once(text!("error: {cause}", cause = wrong)).chain(hints).collect())
}

/// What the readers of numbers and addresses say, as far as it is known.
fn validation(cause: &(dyn std::error::Error + 'static)) -> Text {
    let said = cause.to_string();
    match said.split_once(" is not in ") {
        Some((_, range)) => text!("it must be in {range}", range),
        None => Text::foreign(&said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use crate::language::{Catalogue, uneven_marks};
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    fn descriptions(command: &Command, found: &mut BTreeSet<String>) {
        found.extend(command.get_about().map(ToString::to_string));
        for arg in command.get_arguments() {
            found.extend(arg.get_help().map(ToString::to_string));
            if arg.get_action().takes_values() {
                found.extend(arg.get_possible_values().iter().filter_map(|value| Some(value.get_help()?.to_string())));
            }
        }
        command.get_subcommands().for_each(|below| descriptions(below, found));
    }

    #[test]
    fn every_description_has_chinese_words_and_none_is_left_over() {
        let mut command = Arguments::command();
        command.build();
        let mut found = BTreeSet::new();
        descriptions(&command, &mut found);
        let lacking: Vec<_> = found.iter().filter(|english| Catalogue::zh().of(english).is_none()).collect();
        assert!(lacking.is_empty(), "descriptions without Chinese words in src/language/zh.txt: {lacking:#?}");
        let known: BTreeSet<_> = Catalogue::of_the_command_line().map(|(english, _)| english.into_owned()).collect();
        let stale: Vec<_> = known.difference(&found).collect();
        assert!(stale.is_empty(), "Chinese words that no command or option needs: {stale:#?}");
    }

    #[test]
    fn the_translated_command_line_is_consistent_and_reads_the_same() {
        translated(Arguments::command()).debug_assert();
        let words = ["weir", "top", "--by", "zone", "--once"];
        let matches = translated(Arguments::command()).try_get_matches_from(words).unwrap();
        let (name, below) = matches.subcommand().unwrap();
        assert_eq!((name, below.get_flag("once")), ("top", true));
    }

    fn pages(mut command: Command, found: &mut Vec<String>) {
        found.push(command.render_long_help().to_string());
        command.get_subcommands().for_each(|below| pages(below.clone(), found));
    }

    #[test]
    fn help_pages_have_their_headings_with_chinese_marks() {
        let mut found = Vec::new();
        pages(translated(Arguments::command()), &mut found);
        assert!(found.len() > 20);
        for page in &found {
            let headings: Vec<_> = page.lines().filter(|line| line.ends_with([':', '：'])).collect();
            let known = ["命令：", "参数：", "选项："];
            assert!(headings.iter().all(|heading| known.contains(heading)), "{page}");
            assert_eq!(page.matches("\n\n用法：weir").count(), 1, "{page}");
            assert_eq!(uneven_marks(page), [""; 0], "{page}");
        }
        let first = &found[0];
        let places = ["用法：", "\n\n命令：\n  run ", "\n\n选项：\n"].map(|part| first.find(part));
        assert!(places.is_sorted() && places[0].is_some(), "{first}");
        assert!(!first.contains("参数：") && !first.contains("{"), "{first}");
        assert!(found.iter().any(|page| page.contains("\n\n参数：\n  [DIR]\n")), "that of plan");
    }

    #[test]
    fn faults_of_the_command_line_are_told_in_chinese() {
        let cases: [(&[&str], &str); 9] = [
            (&["weir", "chekc"], "check"),
            (&["weir", "status", "--jso"], "--json"),
            (&["weir", "explain"], "<NAME>"),
            (&["weir", "top", "--by", "x"], "source, network"),
            (&["weir", "top", "--by"], "--by"),
            (&["weir", "drill", "storm", "--seconds", "99"], "1..=60"),
            (&["weir", "explain", "x", "--client", "y"], "\"y\""),
            (&["weir", "explain", "x", "--dir", "y", "--socket", "z"], "--socket"),
            (&["weir", "status", "--json", "--json"], "--json"),
        ];
        for (words, part) in cases {
            let error = translated(Arguments::command()).try_get_matches_from(words).expect_err("a fault");
            let told = fault(&error).to(Lang::Zh);
            assert!(told.contains(part) && told.starts_with("错误："), "{words:?}: {told}");
        }
    }
}
