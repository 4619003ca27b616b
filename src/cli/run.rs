//! `weir run`: the gateway, in the foreground; supervisors such as systemd want it there.

use super::{Exit, RunArguments, output};
use crate::control::origin::{self, Origin};
use crate::daemon::{self, Options, RunError};

/// `weir run`
pub(super) fn run(arguments: RunArguments) -> Exit {
    let origin = Origin::find(arguments.directory.as_deref(), arguments.lab);
    if let Some(directory) = origin.directory()
        && let Err(missing) = origin::require_directory(directory)
    {
        output::error(missing);
        return Exit::Faults;
    }
    let options =
        Options { origin, resolv_conf: arguments.system.resolv_conf, socket: arguments.socket, lab: arguments.lab };
    match daemon::run(options, &mut |line| output::result(line)) {
        Ok(()) => Exit::Ok,
        Err(RunError::Policy { origin, report }) => {
            output::note(report.human(&origin.to_string(), output::note_takes_colour()));
            output::error(format_args!("the policy of {origin} has faults: nothing was started"));
            Exit::Faults
        }
        Err(error) => {
            output::error(error);
            Exit::Failed
        }
    }
}
