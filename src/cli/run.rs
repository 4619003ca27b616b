//! `weir run`: the gateway, in the foreground; supervisors such as systemd want it there.

use super::{Exit, SystemArguments, output};
use crate::control::incidents::state;
use crate::control::origin::{self, Origin};
use crate::daemon::{self, Options, RunError, StatePlace};
use crate::language::{Told as _, text};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The policy directory [default: policies if it is there, else built-in defaults]
    directory: Option<PathBuf>,
    /// Start a small upstream on loopback and ask it instead of every upstream, to try things without a network
    #[arg(long)]
    lab: bool,
    /// Start with the policy that ran last when that of the directory has faults, instead of not at all
    #[arg(long)]
    last_good: bool,
    /// The control socket, instead of the one of the policy
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Keep modes, emergency rules, the history and the audit log here [default: $STATE_DIRECTORY, else /var/lib/weir, else
    /// $XDG_STATE_HOME/weir; with --lab nowhere]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    system: SystemArguments,
}

/// `weir run`
pub(super) fn run(arguments: RunArguments) -> Exit {
    let origin = Origin::find(arguments.directory.as_deref(), arguments.lab);
    if let Some(directory) = origin.directory()
        && let Err(missing) = origin::require_directory(directory)
    {
        output::error(&missing);
        return Exit::Faults;
    }
    let state = state_place(&arguments);
    let RunArguments { lab, last_good, socket, system, .. } = arguments;
    let options = Options { origin, resolv_conf: system.resolv_conf, socket, state, lab, last_good };
    let Err(error) = daemon::run(options, &mut |line| output::result(&line)) else { return Exit::Ok };
    let exit = match &error {
        RunError::Policy { origin, report } | RunError::NoLastGood { origin, report, .. } => {
            output::faults(report.clone(), &origin.text());
            Exit::Faults
        }
        _ => Exit::Failed,
    };
    output::error(&error.text());
    exit
}

/// Where the state is kept. A lab keeps none unless told to: whoever tries things beside a gateway that serves must not
/// take over its mode, nor leave one behind for it.
fn state_place(arguments: &RunArguments) -> StatePlace {
    match &arguments.state {
        Some(directory) => StatePlace::OneOf(vec![directory.clone()]),
        None if arguments.lab => StatePlace::Nowhere(text!("a lab keeps none; `--state DIR` does")),
        None => StatePlace::OneOf(state::candidates(state::environment)),
    }
}
