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

use crate::control::top::By;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
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
    Run(RunArguments),
    /// Check a policy directory without running it; exit 0: clean, 1: warnings with --strict, 2: faults
    Check(check::CheckArguments),
    /// Print the JSON Schema of a file of the policy directory, for editors
    Schema(schema::SchemaArguments),
    /// Say what the policy would do with a question, and why
    Explain(ExplainArguments),
    /// Attack a gateway started for it on loopback, beside ordinary clients, and print what became of them
    Drill(DrillArguments),
    /// Make the running gateway load its policy directory again
    Reload(ReloadArguments),
    /// Show what another policy would change: rules, and verdicts on queries; exit 1: the guard would refuse it, 2: faults
    Plan(PlanArguments),
    /// Make another directory the policy: checked whole, taken whole, kept in the history
    Apply(ApplyArguments),
    /// Keep what was applied with --confirm-within
    Confirm(ConfirmArguments),
    /// Make a policy of the history the policy again, and its files those of the policy directory
    Rollback(RollbackArguments),
    /// List the policies that came to run, newest first
    History(HistoryArguments),
    /// Show what differs between two policies
    Diff(DiffArguments),
    /// Show how the running gateway is
    Status(StatusArguments),
    /// Show the feeds: lists and zones that come from elsewhere; refresh looks now, accept takes what waits
    Feed(FeedArguments),
    /// Switch to an incident mode for a time, or back to normal; alone it lists the modes
    Mode(ModeArguments),
    /// Block a name at once, for a time, before everything that the policy says
    Block(BlockArguments),
    /// Let a name go that was blocked by command
    Unblock(UnblockArguments),
    /// Print a new secret for DNS cookies, a line for the file cookie.secrets of the policy directory
    CookieSecret,
    /// Convert a list of names of any format that is read; the report goes to standard error; exit codes as of check
    Import(ImportArguments),
    /// Show who asks most and for what, and the attacks that go on; refreshes every second, q ends it
    Top(TopArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
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

#[derive(Debug, Args)]
struct DrillArguments {
    /// The attack
    #[arg(value_enum)]
    name: crate::drill::Drill,
    /// Attacks a second [default: each drill has its own]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// How long the attack lasts, each time
    #[arg(long, value_name = "N", default_value_t = crate::drill::SECONDS, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// A server on loopback to ask instead of an upstream of the drill
    #[arg(long, value_name = "ADDR")]
    upstream: Option<std::net::SocketAddr>,
    /// The zone behind --upstream that is attacked; for reflection the name whose TXT records are the large answer
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Storm: serve that zone here, so that it can be dead and come back; --upstream must look for it here
    #[arg(long, value_name = "ADDR")]
    authority: Option<std::net::SocketAddr>,
    /// What ordinary clients ask --upstream for: a file with a name on each line
    #[arg(long, value_name = "FILE")]
    honest: Option<PathBuf>,
    /// Storm: how many names are asked for
    #[arg(long, value_enum, default_value_t)]
    names: crate::drill::StormNames,
    /// Storm: what is the matter with the zone
    #[arg(long, value_enum, default_value_t)]
    fault: crate::drill::StormFault,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SystemArguments {
    /// Read the system's nameservers here
    #[arg(long, value_name = "PATH", hide = true, default_value = crate::control::origin::RESOLV_CONF)]
    resolv_conf: PathBuf,
}

#[derive(Debug, Args)]
struct ImportArguments {
    /// The list
    file: PathBuf,
    /// What to make of it: a filter zone, plain domains, or a response policy zone
    #[arg(long, value_enum, default_value_t = ImportTo::Toml)]
    to: ImportTo,
    /// The list's format, as in a rule [default: detected]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// What a bare name in the list means
    #[arg(long = "match", value_enum, default_value_t = ImportMatch::Subtree)]
    matches: ImportMatch,
    /// Take whole public suffixes, such as com or co.uk
    #[arg(long)]
    force: bool,
    /// Warnings end with exit code 1
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImportTo {
    Toml,
    Domains,
    Rpz,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImportMatch {
    Subtree,
    Exact,
    Children,
}

#[derive(Debug, Args)]
struct ExplainArguments {
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

#[derive(Debug, Args)]
struct AskArguments {
    /// The control socket of the gateway [default: /run/weir/control.sock, or under $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ReloadArguments {
    /// Even what the guard objects to: `[guard]` in gateway.toml
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("recording").args(["queries", "dnstap", "pcap"]))]
struct PlanArguments {
    /// What would run: a directory, or the beginning of an id of the history
    #[arg(value_name = "DIR", default_value = crate::control::origin::DIRECTORY)]
    policy: String,
    /// Compare with this directory, not with what runs; no gateway is asked
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Try the queries of this file: NAME TYPE CLIENT on each line, or a query log of weir
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Try the queries of this dnstap file (Frame Streams)
    #[arg(long, value_name = "FILE")]
    dnstap: Option<PathBuf>,
    /// Try the queries of this packet capture, pcap or pcapng
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// The port that queries of the capture were sent to
    #[arg(long, default_value_t = 53, requires = "pcap")]
    port: u16,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
    #[command(flatten)]
    system: SystemArguments,
}

#[derive(Debug, Args)]
struct StatusArguments {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct FeedArguments {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
    #[command(subcommand)]
    command: Option<FeedCommand>,
}

#[derive(Debug, Subcommand)]
enum FeedCommand {
    /// Look at the source of a feed now, or of all, and wait until that is done
    Refresh(FeedRefreshArguments),
    /// Put a copy in force that waits because too much of it came or went
    Accept(FeedAcceptArguments),
}

#[derive(Debug, Args)]
struct FeedRefreshArguments {
    /// The feed [default: all]
    name: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct FeedAcceptArguments {
    /// The feed
    name: String,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct ApplyArguments {
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
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct ConfirmArguments {
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct RollbackArguments {
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
    ask: AskArguments,
    #[command(flatten)]
    system: SystemArguments,
}

#[derive(Debug, Args)]
struct HistoryArguments {
    /// While no gateway runs: the history in this state directory
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    state: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct DiffArguments {
    /// From: the beginning of an id, as `weir history` shows it, or a directory
    a: String,
    /// To: the same
    b: String,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct ModeArguments {
    /// The mode to switch to, a file of modes/, or normal
    name: Option<String>,
    /// How long, such as 30m; it ends by itself
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct BlockArguments {
    /// As in a rule: x is x and all below, =x is x alone, *.x is only what is below
    name: String,
    /// How long, such as 1h; it ends by itself
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What the client gets: nxdomain, nodata, refused, drop, truncate
    #[arg(long, value_name = "ACTION", default_value = "nxdomain")]
    action: String,
    /// Even a top-level domain, or a zone that has a route of its own
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct UnblockArguments {
    /// As it was blocked
    name: String,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct TopArguments {
    /// One list alone, longer
    #[arg(long, value_enum)]
    by: Option<ListName>,
    /// Once, not every second
    #[arg(long)]
    once: bool,
    /// JSON instead of text: one object a line, or with --once one that is indented
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListName {
    Source,
    Network,
    Zone,
    Name,
    Type,
    Reason,
}

impl TopArguments {
    fn by(&self) -> Option<By> {
        self.by.map(|by| match by {
            ListName::Source => By::Source,
            ListName::Network => By::Network,
            ListName::Zone => By::Zone,
            ListName::Name => By::Name,
            ListName::Type => By::Type,
            ListName::Reason => By::Reason,
        })
    }
}

/// Carries out what the command line says.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let arguments = match command_line::read(arguments.into_iter().collect()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    let exit = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
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
    exit.into()
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
