//! `weir drill`: an attack on a gateway that is started for it, and a table of what became of everybody.

use super::{DrillArguments, Exit, output};
use crate::dns::name::Name;
use crate::drill::{self, Settings};
use std::path::Path;
use std::time::Duration;

/// `weir drill`
pub(super) fn drill(arguments: &DrillArguments) -> Exit {
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(fault) => {
            output::error(fault);
            return Exit::Faults;
        }
    };
    match drill::hold(&settings) {
        Ok(table) if arguments.json => {
            output::result(table.to_json());
            Exit::Ok
        }
        Ok(table) => {
            output::result(table.to_string().trim_end());
            Exit::Ok
        }
        Err(error) => {
            output::error(error);
            Exit::Failed
        }
    }
}

fn settings(arguments: &DrillArguments) -> Result<Settings, String> {
    let name = |text: &str| Name::from_text(text).map_err(|fault| format!("{text:?}: {fault}"));
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
fn read_names(path: &Path) -> Result<Vec<Name>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().enumerate().filter_map(|(at, line)| Some((at, line.split_whitespace().next()?)));
    let names = lines.filter(|(_, name)| !name.starts_with(['#', ';'])).map(|(at, name)| {
        Name::from_text(name).map_err(|fault| format!("{}:{}: {name:?}: {fault}", path.display(), at + 1))
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() { Err(format!("{}: there is no name in it", path.display())) } else { Ok(names) }
}
