//! `weir import`: a list of names in any format that is read, written as a filter zone, as plain domains or as a response
//! policy zone. A response policy zone keeps all that it says but as plain domains.

use super::{Exit, output};
use crate::language::{Text, list, text};
use crate::policy::document::contents::{LARGE, Source};
use crate::policy::document::files::LIST_MAX;
use crate::policy::document::{Code, Contents, Faults, Files, Place, Report, nearest};
use crate::policy::filter::lists::{self, Format, Match, Parsed, Reading, Unreadable, Unwritable};
use crate::policy::filter::rpz::RpzZone;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The list
    file: PathBuf,
    /// What to make of it: a filter zone, plain domains, or a response policy zone
    #[arg(long, value_enum, default_value_t = ImportTo::Toml)]
    to: ImportTo,
    /// The list's format, as in a rule [default: detected]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// What a bare name in the list means
    #[arg(long = "match", value_enum, default_value_t = ImportMatch::Subtree)]
    matches: ImportMatch,
    /// Take whole public suffixes, such as com or co.uk
    #[arg(long)]
    force: bool,
    /// Warnings end with exit code 1
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImportTo {
    Toml,
    Domains,
    Rpz,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImportMatch {
    Subtree,
    Exact,
    Children,
}

/// `weir import`
pub(super) fn import(arguments: &ImportArguments) -> Exit {
    let Ok(reading) = reading(arguments).inspect_err(output::error) else { return Exit::Faults };
    let shown = arguments.file.display();
    let mut files = Files::default();
    let name = match (arguments.file.file_name().map(|name| name.to_string_lossy()), read(&arguments.file)) {
        (Some(name), Ok(contents)) => {
            files.insert(&name, contents);
            name.into_owned()
        }
        (_, read) => {
            let why = read.err().map_or_else(|| text!("it is no file"), |error| Text::of_io(&error));
            output::error(&text!("cannot read {path}: {error}", path = shown, error = why));
            return Exit::Faults;
        }
    };
    let directory = arguments.file.parent().unwrap_or(Path::new(""));
    let read = parse(&mut files, &name, directory, reading).and_then(|parsed| {
        let is_zone = parsed.format == Format::Rpz && arguments.to != ImportTo::Domains;
        let zone = files.contents(&name).filter(|_| is_zone).map(|zone| RpzZone::read(zone.source()));
        Ok((parsed, zone.transpose()?))
    });
    let (parsed, zone) = match read {
        Ok(read) => read,
        Err(error) => {
            output::error(&text!(
                "{path} cannot be read: {error}\n  {hint}",
                path = shown,
                error = error.text(),
                hint = error.hint()
            ));
            return Exit::Faults;
        }
    };
    let faults = Faults::default();
    let (text, read): (Result<Box<dyn Display>, Unwritable>, _) = match (files.path(&name), &zone) {
        (Some(file), Some(zone)) => {
            zone.report(file, &faults);
            let text = match arguments.to {
                ImportTo::Rpz => Ok(boxed(zone.text())),
                _ => zone.to_toml(&name).map(boxed),
            };
            (text, text!("{n} records", n = zone.len()))
        }
        (file, _) => {
            file.into_iter().for_each(|file| lists::report(file, &parsed, &faults));
            let text = match arguments.to {
                ImportTo::Domains => lists::to_domains(&parsed.names).map(boxed),
                ImportTo::Toml => lists::to_toml(&parsed.names, &name).map(boxed),
                ImportTo::Rpz => lists::to_rpz(&parsed.names).map(boxed),
            };
            (text, text!("{n} names", n = parsed.names.len()))
        }
    };
    if let Err(error) = &text {
        faults.add(Code::List, &Place::whole(&name), error.text(), error.hint());
    }
    let report = Report::new(faults, &files);
    output::faults(report.clone(), &Text::verbatim(directory.display().to_string()));
    match text {
        Ok(text) if report.errors() == 0 => {
            output::note(&text!("{path}: {read}, read as {format}", path = shown, read, format = parsed.format));
            output::lines(text);
            if arguments.strict && report.warnings() > 0 { Exit::Failed } else { Exit::Ok }
        }
        _ => Exit::Faults,
    }
}

fn reading(arguments: &ImportArguments) -> Result<Reading, Text> {
    let format = match &arguments.format {
        None => None,
        Some(word) => match Format::ALL.into_iter().find(|format| format.name() == word) {
            Some(format) => Some(format),
            None => {
                let known = Format::ALL.map(Format::name);
                let words = list(known);
                let hint = match nearest(word, known) {
                    Some(word) => text!("did you mean {word:?}? It is one of: {words}", word, words),
                    None => text!("it is one of: {words}", words),
                };
                return Err(text!("{key} cannot be {text:?}\n  {hint}", key = "--format", text = word, hint));
            }
        },
    };
    let matches = match arguments.matches {
        ImportMatch::Subtree => Match::Subtree,
        ImportMatch::Exact => Match::Exact,
        ImportMatch::Children => Match::Children,
    };
    Ok(Reading { format, matches, suffixes: arguments.force })
}

fn boxed<'t>(text: impl Display + 't) -> Box<dyn Display + 't> {
    Box::new(text)
}

/// A file, unless it is larger than a list may be: in memory when it is small, or a pipe that can be read only once; else
/// read in pieces where it is, as often as that is needed.
fn read(path: &Path) -> io::Result<Contents> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let contents = if metadata.is_file() && metadata.len() >= LARGE {
        Contents::on_disk(file, LIST_MAX)?
    } else {
        let mut bytes = Vec::new();
        file.take(LIST_MAX + 1).read_to_end(&mut bytes)?;
        (bytes.len() as u64 <= LIST_MAX).then(|| bytes.into())
    };
    contents.ok_or_else(|| {
        text!("it is larger than {most} MiB", most = LIST_MAX >> 20).into_io(io::ErrorKind::FileTooLarge)
    })
}

/// Reads the list, and the lists beside it that it takes in: again until no more of them are named.
fn parse(files: &mut Files, name: &str, directory: &Path, reading: Reading) -> Result<Parsed, Unreadable> {
    let mut tried = BTreeSet::new();
    loop {
        let mut lacking = BTreeSet::new();
        let list = files.contents(name).map_or(Source::Memory(&[]), Contents::source);
        let parsed = lists::parse_source(list, reading, &mut |include| {
            let found = files.contents(include).map(Contents::source);
            if found.is_none() && !tried.contains(include) {
                lacking.insert(include.to_owned());
            }
            found
        })?;
        if lacking.is_empty() {
            return Ok(parsed);
        }
        for include in lacking {
            let found = read(&directory.join(&include)).or_else(|_| read(&directory.join(format!("{include}.txt"))));
            if let Ok(contents) = found {
                files.insert(&include, contents);
            }
            tried.insert(include);
        }
    }
}
