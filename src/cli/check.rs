//! `weir check`: the whole policy directory, offline; every fault of it in one run.

use super::{Exit, OFFLINE_SEED, SystemArguments, output};
use crate::control::feeds::store::Store;
use crate::control::origin::{self, Origin};
use crate::language::{Told as _, text};
use crate::policy::document::{Code, meaning, nearest};
use crate::policy::filter::lists::Problem;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The policy directory
    #[arg(default_value = crate::control::origin::DIRECTORY)]
    directory: PathBuf,
    /// Take the last copies of feeds from this state directory; without it their rules are empty, with a warning
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Warnings end with exit code 1
    #[arg(long)]
    strict: bool,
    /// Say what a code of a message means, such as E-RANGE, instead of checking; alone it lists all codes
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    system: SystemArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Sarif,
}

/// `weir check`
pub(super) fn check(arguments: &CheckArguments) -> Exit {
    if let Some(code) = &arguments.explain {
        return explain(code);
    }
    if let Err(missing) = origin::require_directory(&arguments.directory) {
        output::error(&missing);
        return Exit::Faults;
    }
    let directory = Origin::Directory(arguments.directory.clone());
    let mut options = origin::load_options(&arguments.system.resolv_conf, OFFLINE_SEED);
    if let Some(state) = &arguments.state {
        options.copies = Store::open(Some(state)).copies();
    }
    let (policy, report) = match directory.load(&options) {
        Ok((policy, report)) => (Some(policy), report),
        Err(report) => (None, report),
    };
    let (name, report) = (arguments.directory.display().to_string(), report.in_language(output::lang()));
    match arguments.format {
        Format::Json => output::raw(report.json()),
        Format::Sarif => output::raw(report.sarif(&name)),
        Format::Human => {
            output::raw(report.human(&name, output::result_takes_colour()));
            if let Some(policy) = &policy {
                for zone in policy.filter.policy_zones() {
                    output::result(&zone.text());
                }
                output::result(&text!("{directory}: policy {id}", directory = name, id = policy.id));
            }
        }
    }
    match (policy.is_some(), report.warnings()) {
        (false, _) => Exit::Faults,
        (true, warnings) if arguments.strict && warnings > 0 => Exit::Failed,
        (true, _) => Exit::Ok,
    }
}

/// What a code means: one of a fault, or the word in brackets of a warning about a list.
fn explain(code: &str) -> Exit {
    if code.is_empty() {
        for code in Code::ALL {
            output::result(&text!("{code}: {meaning}", code, meaning = meaning::of(*code).meaning));
        }
        for problem in Problem::ALL {
            output::result(&text!("{code}: {meaning}", code = problem.code(), meaning = problem.text()));
        }
        return Exit::Ok;
    }
    let faults = Code::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(code)).map(|known| {
        let meaning = meaning::of(*known);
        (known.as_str(), meaning.meaning, Some(meaning.way_out))
    });
    let lists = Problem::ALL.iter().find(|known| known.code().eq_ignore_ascii_case(code));
    let found = faults.or_else(|| lists.map(|known| (known.code(), known.text(), known.hint())));
    let Some((code, meaning, way_out)) = found else {
        let known = Code::ALL.iter().map(|code| code.as_str()).chain(Problem::ALL.iter().map(|problem| problem.code()));
        let hint = match nearest(&code.to_uppercase(), known) {
            Some(word) => text!("did you mean {word:?}?", word),
            None => text!("it is the word in brackets of a message, such as E-RANGE"),
        };
        output::error(&text!("there is no code {code:?}\n  {hint}", code, hint));
        return Exit::Faults;
    };
    output::result(&match way_out {
        Some(way_out) => text!("{code}: {meaning}\n  {way_out}", code, meaning, way_out),
        None => text!("{code}: {meaning}", code, meaning),
    });
    Exit::Ok
}
