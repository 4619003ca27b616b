//! `weir check`: the whole policy directory, offline; every fault of it in one run.

use super::{CheckArguments, Exit, Format, OFFLINE_SEED, output};
use crate::control::feeds::store::Store;
use crate::control::origin::{self, Origin};

/// `weir check`
pub(super) fn check(arguments: &CheckArguments) -> Exit {
    if arguments.format == Format::Sarif {
        output::error(
            "--format sarif is not there yet (E-NOT-YET)\n  take `--format json`: one JSON object for each fault",
        );
        return Exit::Faults;
    }
    if let Err(missing) = origin::require_directory(&arguments.directory) {
        output::error(missing);
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
    let name = arguments.directory.display().to_string();
    match arguments.format {
        Format::Json => output::result(report.json()),
        Format::Human | Format::Sarif => {
            output::result(report.human(&name, output::result_takes_colour()));
            if let Some(policy) = &policy {
                for zone in policy.filter.policy_zones() {
                    output::result(zone);
                }
                output::result(format_args!("{name}: policy {}", policy.id));
            }
        }
    }
    match (policy.is_some(), report.warnings()) {
        (false, _) => Exit::Faults,
        (true, warnings) if arguments.strict && warnings > 0 => Exit::Failed,
        (true, _) => Exit::Ok,
    }
}
