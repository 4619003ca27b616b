//! `weir drill`: an attack on a gateway that is started for it, and a table of what became of everybody.

use super::{Exit, output};
use crate::dns::name::Name;
use crate::drill::{self, Settings};
use crate::language::{Text, Told as _, text};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct DrillArguments {
    /// The attack
    #[arg(value_enum)]
    name: crate::drill::Drill,
    /// Attacks a second [default: each drill has its own]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// How long the attack lasts, each time
    #[arg(long, value_name = "N", default_value_t = crate::drill::SECONDS, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// A server on loopback to ask instead of an upstream of the drill
    #[arg(long, value_name = "ADDR")]
    upstream: Option<std::net::SocketAddr>,
    /// The zone behind --upstream that is attacked; for reflection the name whose TXT records are the large answer
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Storm: serve that zone here, so that it can be dead and come back; --upstream must look for it here
    #[arg(long, value_name = "ADDR")]
    authority: Option<std::net::SocketAddr>,
    /// What ordinary clients ask --upstream for: a file with a name on each line
    #[arg(long, value_name = "FILE")]
    honest: Option<PathBuf>,
    /// Storm: how many names are asked for
    #[arg(long, value_enum, default_value_t)]
    names: crate::drill::StormNames,
    /// Storm: what is the matter with the zone
    #[arg(long, value_enum, default_value_t)]
    fault: crate::drill::StormFault,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// `weir drill`
pub(super) fn drill(arguments: &DrillArguments) -> Exit {
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(fault) => {
            output::error(&fault);
            return Exit::Faults;
        }
    };
    match drill::hold(&settings) {
        Ok(table) if arguments.json => {
            output::raw(table.to_json(output::lang()));
            Exit::Ok
        }
        Ok(table) => {
            output::raw(table.shown(output::lang()));
            Exit::Ok
        }
        Err(error) => {
            output::error(&error.text());
            Exit::Failed
        }
    }
}

fn settings(arguments: &DrillArguments) -> Result<Settings, Text> {
    let name =
        |name: &str| Name::from_text(name).map_err(|error| text!("{name:?}: {error}", name, error = error.text()));
    Ok(Settings {
        drill: arguments.name,
        rate: arguments.rate,
        time: Duration::from_secs(arguments.seconds),
        upstream: arguments.upstream,
        zone: arguments.zone.as_deref().map(name).transpose()?,
        authority: arguments.authority,
        honest: arguments.honest.as_deref().map_or(Ok(Vec::new()), read_names)?,
        names: arguments.names,
        fault: arguments.fault,
    })
}

/// A name on each line; what stands behind it, such as a type, is not looked at, so that files of dnsperf serve as well.
fn read_names(path: &Path) -> Result<Vec<Name>, Text> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| text!("{path}: {error}", path = path.display(), error = Text::of_io(&error)))?;
    let lines = text.lines().enumerate().filter_map(|(at, line)| Some((at, line.split_whitespace().next()?)));
    let names = lines.filter(|(_, name)| !name.starts_with(['#', ';'])).map(|(at, name)| {
        Name::from_text(name).map_err(|fault| {
            text!("{path}:{line}: {name:?}: {error}", path = path.display(), line = at + 1, name, error = fault.text())
        })
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() { Err(text!("{path}: there is no name in it", path = path.display())) } else { Ok(names) }
}
