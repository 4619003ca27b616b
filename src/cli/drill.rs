//! `weir drill`: an attack on a gateway that is started for it, and a table of what became of everybody.

use super::{DrillArguments, Exit, output};
use crate::dns::name::Name;
use crate::drill::{self, Settings};
use crate::language::{Text, Told as _, text};
use std::path::Path;
use std::time::Duration;

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
