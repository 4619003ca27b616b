//! `weir plan`: what another policy would change. The running gateway is asked, which remembers the queries of the last
//! minutes; or two directories are compared without one. Queries of a file are tried here and not in the gateway: its bytes
//! are from anywhere.

use super::{Exit, OFFLINE_SEED, SystemArguments, ask, output, undo};
use crate::clock::Clock;
use crate::control::client::AskError;
use crate::control::origin::{self, Origin};
use crate::control::plan::verdicts::{Comparison, Tried, Verdicts};
use crate::control::plan::{Plan, PlanRequest};
use crate::control::protocol::Command;
use crate::control::status::Status;
use crate::language::{Text, Told as _, json_in, text};
use crate::policy::Policy;
use crate::policy::document::Report;
use crate::policy::explain::Besides;
use crate::recordings::{Recorded, Taken, Tally, Unreadable, dnstap, lines, pcap};
use clap::Args;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf, absolute};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("recording").args(["queries", "dnstap", "pcap"]))]
pub(super) struct PlanArguments {
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
    ask: ask::AskArguments,
    #[command(flatten)]
    system: SystemArguments,
}

/// `weir plan`
pub(super) fn plan(arguments: &PlanArguments) -> Exit {
    let made = match (&arguments.against, Recording::of(arguments)) {
        (None, None) => online(arguments),
        (Some(old), recording) => offline(arguments, old, recording.as_ref()),
        (None, Some(recording)) => {
            running_directory(arguments).and_then(|old| offline(arguments, &old, Some(&recording)))
        }
    };
    let plan = match made {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    match json_in(output::lang(), &plan) {
        Ok(value) if arguments.json => output::raw(format_args!("{value:#}")),
        _ => output::result(&plan.text()),
    }
    if plan.is_refused() { Exit::Failed } else { Exit::Ok }
}

/// Asks the running gateway.
fn online(arguments: &PlanArguments) -> Result<Plan, Exit> {
    let policy = match undo::directory(&arguments.policy) {
        Some(directory) => {
            require(&directory)?;
            absolute(&directory).unwrap_or(directory).display().to_string()
        }
        None => arguments.policy.clone(),
    };
    let value = match ask::ask(arguments.ask.socket.as_ref(), &Command::Plan(PlanRequest { policy })) {
        Ok(value) => value,
        Err(error) => return Err(refused(&error)),
    };
    serde_json::from_value(value).map_err(|error| {
        output::error(&text!(
            "the gateway is of another version: its answer is not understood: {error}",
            error = Text::of_json(&error)
        ));
        Exit::Failed
    })
}

fn refused(error: &AskError) -> Exit {
    let exit = ask::failed(error);
    if matches!(error, AskError::NoGateway { .. }) {
        output::note(&text!(
            "  without a gateway: `weir plan NEW --against OLD`, with --queries, --dnstap or --pcap to try queries"
        ));
    }
    exit
}

/// The directory of the running gateway, when what runs is what lies there.
fn running_directory(arguments: &PlanArguments) -> Result<PathBuf, Exit> {
    let value = ask::ask(arguments.ask.socket.as_ref(), &Command::Status {}).map_err(|error| refused(&error))?;
    let Ok(status) = serde_json::from_value::<Status>(value) else {
        output::error(&text!("the gateway is of another version: its status is not understood"));
        return Err(Exit::Failed);
    };
    // The gateway may have another working directory: what is not found there is not guessed at.
    let directory = PathBuf::from(status.policy.origin.english());
    let files = crate::policy::load::read_directory(&directory).map(|(files, _)| files);
    let lies = files.ok().map(|files| crate::policy::PolicyId::of(&files).to_string());
    if lies.as_ref() == Some(&status.policy.id) {
        return Ok(directory);
    }
    output::error(&text!(
        "policy {id} runs, and it is not what lies in {dir}: the queries of a file are tried on directories\n  name what to \
         compare with: `--against DIR`",
        id = status.policy.id,
        dir = directory.display()
    ));
    Err(Exit::Failed)
}

/// Compares two directories.
fn offline(arguments: &PlanArguments, old: &Path, recording: Option<&Recording<'_>>) -> Result<Plan, Exit> {
    let new = Path::new(&arguments.policy);
    let (old_policy, _) = load(old, arguments)?;
    let (new_policy, report) = load(new, arguments)?;
    let tried = recording.map(|recording| recording.try_on(&old_policy, &new_policy)).transpose()?;
    let (verdicts, tally) = tried.map_or((None, None), |(verdicts, tally)| (Some(verdicts), Some(tally)));
    let side = |directory: &Path| Text::verbatim(directory.display().to_string());
    let mut plan = Plan::new((side(old), &old_policy), (side(new), &new_policy), &report, verdicts);
    plan.queries_note = match tally {
        Some(tally) => tally.told(),
        None => Some(text!("none: try some with --queries, --dnstap or --pcap")),
    };
    Ok(plan)
}

fn require(directory: &Path) -> Result<(), Exit> {
    origin::require_directory(directory).map_err(|missing| {
        output::error(&missing);
        Exit::Faults
    })
}

fn load(directory: &Path, arguments: &PlanArguments) -> Result<(Policy, Report), Exit> {
    require(directory)?;
    let options = origin::load_options(&arguments.system.resolv_conf, OFFLINE_SEED);
    Origin::Directory(directory.to_path_buf()).load(&options).map_err(|report| {
        let name = Text::verbatim(directory.display().to_string());
        output::faults(report, &name);
        output::error(&text!("the policy of {name} has faults: it would be refused", name));
        Exit::Faults
    })
}

/// A file of queries.
#[derive(Clone, Copy, Debug)]
enum Recording<'a> {
    Lines(&'a Path),
    Dnstap(&'a Path),
    Pcap(&'a Path, u16),
}

impl<'a> Recording<'a> {
    fn of(arguments: &'a PlanArguments) -> Option<Self> {
        let PlanArguments { queries, dnstap, pcap, port, .. } = arguments;
        let lines = queries.as_deref().map(Self::Lines);
        lines.or(dnstap.as_deref().map(Self::Dnstap)).or(pcap.as_deref().map(|path| Self::Pcap(path, *port)))
    }

    fn path(&self) -> &'a Path {
        match *self {
            Self::Lines(path) | Self::Dnstap(path) | Self::Pcap(path, _) => path,
        }
    }

    /// Tries all of its queries on both policies.
    fn try_on(&self, old: &Policy, new: &Policy) -> Result<(Verdicts, Tally), Exit> {
        let mut comparison = Comparison::new(old, new, Besides::default(), Clock::start().now().unix_ms);
        let mut take = |recorded: &Recorded<'_>| {
            let Recorded { client, name, qtype, tcp, answer } = *recorded;
            comparison.try_on(&Tried { client, name, qtype, tcp, weight: 1.0, answer });
        };
        let tally = self.read(&mut take).map_err(|error| {
            output::error(&text!("{path}: {error}", path = self.path().display(), error = error.text()));
            Exit::Faults
        })?;
        if tally.queries == 0 {
            let none = text!("{path}: no queries are in it", path = self.path().display());
            output::error(&Text::joined("; ", std::iter::once(none).chain(tally.told())));
            return Err(Exit::Faults);
        }
        Ok((comparison.end(text!("of {path}", path = self.path().display())), tally))
    }

    fn read(&self, take: &mut dyn FnMut(&Recorded<'_>)) -> Result<Tally, Unreadable> {
        let tally = self.read_messages(Taken::Queries, take)?;
        // Many servers log the responses alone.
        let only_responses = tally.queries == 0 && tally.responses > 0;
        if only_responses { self.read_messages(Taken::Responses, take) } else { Ok(tally) }
    }

    fn read_messages(&self, taken: Taken, take: &mut dyn FnMut(&Recorded<'_>)) -> Result<Tally, Unreadable> {
        let open = || File::open(self.path()).map(|file| BufReader::with_capacity(1 << 18, file));
        match *self {
            Self::Lines(_) => lines::read(&mut open()?, take),
            Self::Pcap(_, port) => pcap::read(open()?, port, taken, take),
            Self::Dnstap(_) => dnstap::read(&mut open()?, taken, take),
        }
    }
}
