//! `weir run`: the gateway, in the foreground; supervisors such as systemd want it there.

use super::{Exit, RunArguments, output};
use crate::control::incidents::state;
use crate::control::origin::{self, Origin};
use crate::daemon::{self, Options, RunError, StatePlace};
use crate::language::text;

/// `weir run`
pub(super) fn run(arguments: RunArguments) -> Exit {
    let origin = Origin::find(arguments.directory.as_deref(), arguments.lab);
    if let Some(directory) = origin.directory()
        && let Err(missing) = origin::require_directory(directory)
    {
        output::error(missing);
        return Exit::Faults;
    }
    let state = state_place(&arguments);
    let RunArguments { lab, last_good, socket, system, .. } = arguments;
    let options = Options { origin, resolv_conf: system.resolv_conf, socket, state, lab, last_good };
    match daemon::run(options, &mut |line| output::result(line)) {
        Ok(()) => Exit::Ok,
        Err(RunError::Policy { origin, report }) => {
            output::note(report.in_language(output::lang()).human(&origin.to_string(), output::note_takes_colour()));
            output::error(text!("the policy of {origin} has faults: nothing was started", origin));
            Exit::Faults
        }
        Err(RunError::NoLastGood { origin, report, cause }) => {
            output::note(report.in_language(output::lang()).human(&origin.to_string(), output::note_takes_colour()));
            output::error(text!(
                "the policy of {origin} has faults, and there is no last good one: {cause}\n  nothing was started",
                origin,
                cause
            ));
            Exit::Faults
        }
        Err(error) => {
            output::error(error);
            Exit::Failed
        }
    }
}

/// Where the state is kept. A lab keeps none unless told to: whoever tries things beside a gateway that serves must not
/// take over its mode, nor leave one behind for it.
fn state_place(arguments: &RunArguments) -> StatePlace {
    match &arguments.state {
        Some(directory) => StatePlace::OneOf(vec![directory.clone()]),
        None if arguments.lab => StatePlace::Nowhere("a lab keeps none; `--state DIR` does"),
        None => StatePlace::OneOf(state::candidates(state::environment)),
    }
}
