//! `weir apply`, `confirm`, `rollback`, `history` and `diff`: changing the policy so that it can be undone. What they say is
//! checked by the gateway, which holds the history; two directories are compared without one.

use super::{Exit, OFFLINE_SEED, SystemArguments, ask, output};
use crate::control::history::diff::{Diff, diff};
use crate::control::history::objects::Kept;
use crate::control::history::offline::Offline;
use crate::control::history::report::{Confirmed, HistoryList};
use crate::control::history::request::{ApplyRequest, ConfirmRequest, DiffRequest, RollbackRequest};
use crate::control::origin;
use crate::control::protocol::Command;
use crate::control::reload::Reloaded;
use crate::language::{Text, Told as _, json_in, text};
use crate::policy::document::Faults;
use crate::policy::load::{compile, read_directory};
use clap::Args;
use std::path::{Path, PathBuf, absolute};

#[derive(Debug, Args)]
pub(super) struct ApplyArguments {
    /// The directory; its files take the place of those of the gateway's policy directory, secrets apart
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Go back by itself after this time, such as 5m, unless `weir confirm` is given before
    #[arg(long, value_name = "TIME")]
    confirm_within: Option<String>,
    /// Why; kept in the history and the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Even what the guard objects to: `[guard]` in gateway.toml
    #[arg(long)]
    force: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: ask::AskArguments,
}

#[derive(Debug, Args)]
pub(super) struct ConfirmArguments {
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: ask::AskArguments,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArguments {
    /// The policy, by the beginning of its id [default: the one before, and further back with each time]
    id: Option<String>,
    /// Why; kept in the history and the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Even what the guard objects to: `[guard]` in gateway.toml
    #[arg(long)]
    force: bool,
    /// JSON instead of text
    #[arg(long, conflicts_with = "state")]
    json: bool,
    /// While no gateway runs: take the policy from the history in this state directory; without an id what ran last, or, when
    /// that lies there, what ran before it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["socket", "force"])]
    state: Option<PathBuf>,
    /// With --state: the policy directory that is written
    #[arg(long, value_name = "DIR", requires = "state", default_value = crate::control::origin::DIRECTORY)]
    dir: PathBuf,
    #[command(flatten)]
    ask: ask::AskArguments,
    #[command(flatten)]
    system: SystemArguments,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    /// While no gateway runs: the history in this state directory
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    state: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: ask::AskArguments,
}

#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// From: the beginning of an id, as `weir history` shows it, or a directory
    a: String,
    /// To: the same
    b: String,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: ask::AskArguments,
}

/// `weir apply`
pub(super) fn apply(arguments: ApplyArguments) -> Exit {
    let ApplyArguments { directory, confirm_within, reason, force, json, ask } = arguments;
    if let Err(missing) = origin::require_directory(&directory) {
        output::error(&missing);
        return Exit::Faults;
    }
    // The gateway has another working directory.
    let directory = absolute(&directory).unwrap_or(directory);
    let request = ApplyRequest { directory, reason, confirm_within, force };
    ask::carry_out::<Reloaded>(&ask, &Command::Apply(request), json)
}

/// `weir confirm`
pub(super) fn confirm(arguments: ConfirmArguments) -> Exit {
    let ConfirmArguments { reason, ask } = arguments;
    ask::carry_out::<Confirmed>(&ask, &Command::Confirm(ConfirmRequest { reason }), false)
}

/// `weir rollback`
pub(super) fn rollback(arguments: RollbackArguments) -> Exit {
    let RollbackArguments { id, reason, force, json, state, dir, ask, system } = arguments;
    if let Some(state) = state {
        return restore(&state, &dir, id.as_deref(), reason.as_deref(), &system.resolv_conf);
    }
    ask::carry_out::<Reloaded>(&ask, &Command::Rollback(RollbackRequest { id, reason, force }), json)
}

/// `weir rollback --state`: while no gateway runs.
fn restore(state: &Path, dir: &Path, id: Option<&str>, reason: Option<&str>, resolv_conf: &Path) -> Exit {
    if let Err(missing) = origin::require_directory(dir) {
        output::error(&missing);
        return Exit::Faults;
    }
    let found = Offline::open(state).and_then(|offline| offline.way_back(dir, id).map(|way| (offline, way)));
    let (offline, way) = match found {
        Ok(found) => found,
        Err(message) => return failed(&message),
    };
    // What would not start either is no way back.
    let options = origin::load_options(resolv_conf, OFFLINE_SEED);
    if let Err(report) = compile(&way.files, &options, Faults::default()) {
        let id = way.id;
        output::faults(report, &text!("policy {id}", id));
        output::error(&text!("policy {id} has faults on this machine: nothing has changed; name another id", id));
        return Exit::Faults;
    }
    match offline.restore(dir, way, reason.unwrap_or_default().trim()) {
        Ok(restored) => {
            output::result(&restored.text());
            Exit::Ok
        }
        Err(message) => failed(&message),
    }
}

fn failed(message: &Text) -> Exit {
    output::error(message);
    Exit::Failed
}

/// `weir history`
pub(super) fn history(arguments: &HistoryArguments) -> Exit {
    if let Some(state) = &arguments.state {
        let list = match Offline::open(state).and_then(|offline| offline.list()) {
            Ok(list) => list,
            Err(message) => return failed(&message),
        };
        match json_in(output::lang(), &list) {
            Ok(value) if arguments.json => output::raw(format_args!("{value:#}")),
            _ => output::result(&list.text()),
        }
        return Exit::Ok;
    }
    ask::carry_out::<HistoryList>(&arguments.ask, &Command::History {}, arguments.json)
}

/// `weir diff`
pub(super) fn compare(arguments: &DiffArguments) -> Exit {
    let DiffArguments { a, b, json, ask } = arguments;
    let (a_directory, b_directory) = (directory(a), directory(b));
    if let (Some(a_directory), Some(b_directory)) = (&a_directory, &b_directory) {
        return compare_directories((a, a_directory), (b, b_directory), *json);
    }
    let side = |text: &str, directory: Option<PathBuf>| match directory {
        Some(directory) => absolute(&directory).unwrap_or(directory).display().to_string(),
        None => text.to_owned(),
    };
    let request = DiffRequest { a: side(a, a_directory), b: side(b, b_directory) };
    ask::carry_out::<Diff>(ask, &Command::Diff(request), *json)
}

/// The directory that is meant, where it is not the beginning of an id.
pub(super) fn directory(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let is_id = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (!is_id || path.is_dir()).then(|| path.to_path_buf())
}

fn compare_directories(a: (&str, &Path), b: (&str, &Path), json: bool) -> Exit {
    let read = |(name, directory): (&str, &Path)| -> Result<Kept, Exit> {
        if let Err(missing) = origin::require_directory(directory) {
            output::error(&missing);
            return Err(Exit::Faults);
        }
        match read_directory(directory) {
            Ok((files, _)) => Ok(files.into()),
            Err(report) => {
                output::faults(report, &Text::verbatim(name));
                Err(Exit::Faults)
            }
        }
    };
    let (old, new) = match (read(a), read(b)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let diff = diff((a.0, &old), (b.0, &new));
    match json_in(output::lang(), &diff) {
        Ok(value) if json => output::raw(format_args!("{value:#}")),
        _ => output::result(&diff.text()),
    }
    Exit::Ok
}
