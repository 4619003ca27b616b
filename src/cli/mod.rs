//! The commands, as a person types them. A result goes to standard output, everything else to standard error; the exit
//! code is 0 when it went well, 1 when it failed, 2 when the command line or the policy is at fault.

mod ask;
mod check;
mod chinese;
mod command_line;
mod cookie_secret;
mod drill;
mod explain;
mod feed;
mod import;
mod incident;
mod output;
mod plan;
mod run;
mod schema;
mod top;
mod undo;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Keys the hash of a name table that nobody sends queries to.
const OFFLINE_SEED: u64 = 0;

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It went well.
    Ok,
    /// It failed, or with `check --strict` there are warnings.
    Failed,
    /// The command line or the policy is at fault.
    Faults,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Faults => Self::from(2),
        }
    }
}

#[derive(Debug, Parser)]
#[command(name = "weir", version, about, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    /// The language of messages and of this help [default: that of LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, global = true, value_enum, value_name = "LANG")]
    lang: Option<output::Language>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::RunArguments),
    /// Check a policy directory without running it; exit 0: clean, 1: warnings with --strict, 2: faults
    Check(check::CheckArguments),
    /// Print the JSON Schema of a file of the policy directory, for editors
    Schema(schema::SchemaArguments),
    /// Say what the policy would do with a question, and why
    Explain(explain::ExplainArguments),
    /// Attack a gateway started for it on loopback, beside ordinary clients, and print what became of them
    Drill(drill::DrillArguments),
    /// Make the running gateway load its policy directory again
    Reload(ask::ReloadArguments),
    /// Show what another policy would change: rules, and verdicts on queries; exit 1: the guard would refuse it, 2: faults
    Plan(plan::PlanArguments),
    /// Make another directory the policy: checked whole, taken whole, kept in the history
    Apply(undo::ApplyArguments),
    /// Keep what was applied with --confirm-within
    Confirm(undo::ConfirmArguments),
    /// Make a policy of the history the policy again, and its files those of the policy directory
    Rollback(undo::RollbackArguments),
    /// List the policies that came to run, newest first
    History(undo::HistoryArguments),
    /// Show what differs between two policies
    Diff(undo::DiffArguments),
    /// Show how the running gateway is
    Status(ask::StatusArguments),
    /// Show the feeds: lists and zones that come from elsewhere; refresh looks now, accept takes what waits
    Feed(feed::FeedArguments),
    /// Switch to an incident mode for a time, or back to normal; alone it lists the modes
    Mode(incident::ModeArguments),
    /// Block a name at once, for a time, before everything that the policy says
    Block(incident::BlockArguments),
    /// Let a name go that was blocked by command
    Unblock(incident::UnblockArguments),
    /// Print a new secret for DNS cookies, a line for the file cookie.secrets of the policy directory
    CookieSecret,
    /// Convert a list of names of any format that is read; the report goes to standard error; exit codes as of check
    Import(import::ImportArguments),
    /// Show who asks most and for what, and the attacks that go on; refreshes every second, q ends it
    Top(top::TopArguments),
}

#[derive(Debug, Args)]
struct SystemArguments {
    /// Read the system's nameservers here
    #[arg(long, value_name = "PATH", hide = true, default_value = crate::control::origin::RESOLV_CONF)]
    resolv_conf: PathBuf,
}

/// Carries out what the command line says.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let arguments = match command_line::read(arguments.into_iter().collect()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    let exit = match arguments.command {
        // What it announces at its start is no result: whether it could be read says nothing about how it ran.
        Command::Run(arguments) => return run::run(arguments).into(),
        Command::Check(arguments) => check::check(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Explain(arguments) => explain::explain(arguments),
        Command::Drill(arguments) => drill::drill(&arguments),
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::Reload(arguments) => ask::reload(&arguments),
        Command::Apply(arguments) => undo::apply(arguments),
        Command::Confirm(arguments) => undo::confirm(arguments),
        Command::Rollback(arguments) => undo::rollback(arguments),
        Command::History(arguments) => undo::history(&arguments),
        Command::Diff(arguments) => undo::compare(&arguments),
        Command::Status(arguments) => ask::status(&arguments),
        Command::Feed(arguments) => feed::feed(arguments),
        Command::Mode(arguments) => incident::mode(arguments),
        Command::Block(arguments) => incident::block(arguments),
        Command::Unblock(arguments) => incident::unblock(arguments),
        Command::CookieSecret => cookie_secret::cookie_secret(),
        Command::Import(arguments) => import::import(&arguments),
        Command::Top(arguments) => top::top(&arguments),
    };
    if exit == Exit::Ok && output::is_lost() { Exit::Failed.into() } else { exit.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
