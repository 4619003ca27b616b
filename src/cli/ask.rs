//! `weir status` and `weir reload`: ask the running gateway.

use super::{Exit, output};
use crate::control::client::{self, AskError, Connection};
use crate::control::protocol::Command;
use crate::control::reload::Reloaded;
use crate::control::socket;
use crate::control::status::Status;
use crate::language::{Text, Told, text};
use clap::Args;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct AskArguments {
    /// The control socket of the gateway [default: /run/weir/control.sock, or under $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ReloadArguments {
    /// Even what the guard objects to: `[guard]` in gateway.toml
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

/// `weir status`
pub(super) fn status(arguments: &StatusArguments) -> Exit {
    let value = match ask(arguments.ask.socket.as_ref(), &Command::Status {}) {
        Ok(value) => value,
        Err(error) => return failed(&error),
    };
    if arguments.json {
        output::raw(format_args!("{value:#}"));
        return Exit::Ok;
    }
    show::<Status>(value)
}

/// `weir reload`
pub(super) fn reload(arguments: &ReloadArguments) -> Exit {
    match ask(arguments.ask.socket.as_ref(), &Command::Reload { force: arguments.force }) {
        Ok(value) => show::<Reloaded>(value),
        Err(error) => failed(&error),
    }
}

/// Has the gateway do something and shows what became of it.
pub(super) fn carry_out<T: DeserializeOwned + Told>(arguments: &AskArguments, command: &Command, json: bool) -> Exit {
    match ask(arguments.socket.as_ref(), command) {
        Ok(value) if json => {
            output::raw(format_args!("{value:#}"));
            Exit::Ok
        }
        Ok(value) => show::<T>(value),
        Err(error) => failed(&error),
    }
}

/// The sockets at which a gateway is looked for.
fn sockets(named: Option<&PathBuf>) -> Vec<PathBuf> {
    named.map_or_else(socket::default_paths, |path| vec![path.clone()])
}

pub(super) fn ask(named: Option<&PathBuf>, command: &Command) -> Result<serde_json::Value, AskError> {
    connect(named)?.ask(command)
}

/// Connects to a gateway, to be answered in the language of this run.
pub(super) fn connect(named: Option<&PathBuf>) -> Result<Connection, AskError> {
    Ok(client::connect(&sockets(named))?.in_language(output::lang()))
}

fn show<T: DeserializeOwned + Told>(value: serde_json::Value) -> Exit {
    match serde_json::from_value::<T>(value) {
        Ok(value) => {
            output::result(&value.text());
            Exit::Ok
        }
        Err(error) => {
            output::error(&text!(
                "the gateway is of another version: its answer is not understood: {error}",
                error = Text::of_json(&error)
            ));
            Exit::Failed
        }
    }
}

/// Says why nothing came of a request. Faults of the policy come as a report of their own and end with code 2.
pub(super) fn failed(error: &AskError) -> Exit {
    use crate::control::protocol::FailureCode;
    let AskError::Refused(failure) = error else {
        output::error(&error.text());
        return Exit::Failed;
    };
    if let Some(report) = &failure.report {
        output::note(&Text::verbatim(report));
    }
    output::error(&failure.text());
    match failure.code {
        FailureCode::PolicyFaults | FailureCode::BadRequest => Exit::Faults,
        _ => Exit::Failed,
    }
}
