//! `weir explain`: the policy that runs, or a directory; which of the two it was is always said.

use super::{Exit, OFFLINE_SEED, SystemArguments, ask, output};
use crate::clock::Clock;
use crate::control::client::{self, AskError};
use crate::control::explain::{self, Explained};
use crate::control::origin::{self, Origin};
use crate::control::protocol::{Command, Question};
use crate::language::{Text, Told as _, text};
use clap::Args;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// The name that is asked for
    name: String,
    /// The type that is asked for, such as AAAA or TYPE65
    #[arg(value_name = "TYPE", default_value = "A")]
    qtype: String,
    /// The address of the client
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// Asked over TCP
    #[arg(long)]
    tcp: bool,
    /// When it is asked, such as 2027-01-31T09:00:00+08:00 or 2027-01-31T09:00[Asia/Shanghai] [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The policy directory [default: the running policy if a gateway runs, else policies]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// The control socket of the gateway
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    system: SystemArguments,
}

/// `weir explain`
pub(super) fn explain(arguments: ExplainArguments) -> Exit {
    let ExplainArguments { name, qtype, client, tcp, at, dir, json, socket, system } = arguments;
    let question = Question { name, qtype, client, tcp, at };
    if let Some(directory) = dir {
        return offline(&Origin::Directory(directory), &question, &system.resolv_conf, json);
    }
    match ask::connect(socket.as_ref()) {
        Ok(connection) => online(connection, question, json),
        // No gateway was named and none runs: then it is the files that are asked about.
        Err(AskError::NoGateway { .. }) if socket.is_none() => {
            offline(&Origin::find(None, false), &question, &system.resolv_conf, json)
        }
        Err(error) => ask::failed(&error),
    }
}

fn online(mut connection: client::Connection, question: Question, json: bool) -> Exit {
    let explained = match connection.ask(&Command::Explain(question)) {
        Ok(value) => serde_json::from_value::<Explained>(value),
        Err(error) => return ask::failed(&error),
    };
    let socket = connection.socket().display();
    match explained {
        Ok(explained) => {
            output::note(&text!("the running policy {policy} at {socket} says:", policy = explained.policy, socket));
            show(&explained, json)
        }
        Err(error) => {
            output::error(&text!(
                "the gateway at {socket} is of another version: {error}",
                socket,
                error = Text::of_json(&error)
            ));
            Exit::Failed
        }
    }
}

fn offline(origin: &Origin, question: &Question, resolv_conf: &Path, json: bool) -> Exit {
    if let Some(directory) = origin.directory()
        && let Err(missing) = origin::require_directory(directory)
    {
        output::error(&missing);
        return Exit::Faults;
    }
    let policy = match origin.load(&origin::load_options(resolv_conf, OFFLINE_SEED)) {
        Ok((policy, _)) => policy,
        Err(report) => {
            output::faults(report, &origin.text());
            output::error(&text!("the policy of {origin} has faults: it cannot be asked", origin = origin.text()));
            return Exit::Faults;
        }
    };
    match explain::explain(&policy, question, Clock::start().now().unix_ms, output::lang()) {
        Ok(explained) => {
            output::note(&text!(
                "the policy {policy} of {origin}, as it is on disk, says:",
                policy = explained.policy,
                origin = origin.text()
            ));
            show(&explained, json)
        }
        Err(message) => {
            output::error(&message);
            Exit::Faults
        }
    }
}

fn show(explained: &Explained, json: bool) -> Exit {
    if json {
        output::raw(format_args!("{:#}", explained.explanation));
    } else {
        output::raw(&explained.text);
    }
    Exit::Ok
}
