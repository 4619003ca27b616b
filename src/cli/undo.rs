//! `weir apply`, `confirm`, `rollback`, `history` and `diff`: changing the policy so that it can be undone. What they say is
//! checked by the gateway, which holds the history; two directories are compared without one.

use super::{
    ApplyArguments, ConfirmArguments, DiffArguments, Exit, HistoryArguments, OFFLINE_SEED, RollbackArguments, ask,
    output,
};
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
use std::path::{Path, PathBuf, absolute};

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
