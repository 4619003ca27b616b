//! Attacks as a command, `weir drill NAME`: how an operator convinces himself before an incident.
//!
//! Each drill starts an upstream, lets ordinary clients ask and an attack run beside them, once direct and once through a
//! gateway started here under the policy, and prints what became of both. Everything stays on loopback and takes seconds.

mod attack;
mod clients;
mod stub;
mod wire;

use crate::control::status::resident_bytes;
use crate::daemon::RunError;
use crate::daemon::in_process::InProcess;
use crate::daemon::lab_thread::LabThread;
use crate::ledger::UpstreamEvent;
use crate::listen::Event;
use crate::policy::{Policy, load_files};
use crate::verdict::{Outcome, Reason};
use clients::Served;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use stub::{Manner, Stub};

/// How long the clients ask before the attack, and during it.
const QUIET: Duration = Duration::from_secs(3);
const ATTACK: Duration = Duration::from_secs(4);

/// An attack to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Drill {
    /// One question from ever other forged sources
    ForgedFlood,
    /// Connections that are held with half a query
    TcpExhaustion,
    /// Ever other names of a zone that takes 2 s to resolve
    SlowUpstream,
    /// False answers that come before the true ones
    LyingUpstream,
}

/// What a drill is started with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which.
    pub drill: Drill,
    /// Attacks a second; the drill's own number when absent.
    pub rate: Option<u64>,
    /// A server on loopback to be asked instead of an upstream of ours.
    pub upstream: Option<SocketAddr>,
}

/// What kept a drill from being held.
#[derive(Debug)]
pub enum DrillError {
    /// The upstream is not on loopback: drills attack it.
    NotLoopback(SocketAddr),
    /// The policy of the drill has faults.
    Policy(String),
    /// The gateway did not start.
    Gateway(RunError),
    /// A socket or thread could not be had.
    System(io::Error),
}

impl std::fmt::Display for DrillError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(f, "a drill stays on loopback: {address} is not"),
            Self::Policy(report) => write!(f, "the policy of the drill has faults: {report}"),
            Self::Gateway(error) => write!(f, "the gateway did not start: {error}"),
            Self::System(error) => write!(f, "the drill could not be held: {error}"),
        }
    }
}

impl From<io::Error> for DrillError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Drill {
    fn rate(self) -> u64 {
        match self {
            // As fast as the machine gives.
            Self::ForgedFlood => 10_000_000,
            Self::TcpExhaustion => 4_000,
            Self::SlowUpstream => 1_500,
            Self::LyingUpstream => 0,
        }
    }

    fn is_over_tcp(self) -> bool {
        self == Self::TcpExhaustion
    }
}

/// One half of a drill.
#[derive(Debug, Default)]
struct Half {
    quiet: Served,
    attacked: Served,
    upstream_saw: Option<u64>,
    noticed: Option<Duration>,
    grown_bytes: Option<u64>,
}

/// The upstream of one half.
enum Upstream {
    Ours(Stub),
    Lab(LabThread),
    Given(SocketAddr),
}

impl Upstream {
    fn start(settings: Settings) -> io::Result<Self> {
        Ok(match (settings.upstream, settings.drill) {
            (Some(address), _) => Self::Given(address),
            (None, Drill::TcpExhaustion) => Self::Lab(LabThread::start()?),
            (None, Drill::LyingUpstream) => Self::Ours(Stub::start(Manner::Lied)?),
            (None, Drill::ForgedFlood | Drill::SlowUpstream) => Self::Ours(Stub::start(Manner::Honest)?),
        })
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Ours(stub) => stub.address,
            Self::Lab(lab) => lab.address,
            Self::Given(address) => *address,
        }
    }

    fn seen(&self) -> Option<u64> {
        if let Self::Ours(stub) = self { Some(stub.seen()) } else { None }
    }
}

/// Holds a drill, direct and then through a gateway; the table of what became of it.
///
/// # Errors
/// [`DrillError`]
pub fn hold(settings: Settings) -> Result<String, DrillError> {
    if let Some(address) = settings.upstream.filter(|address| !address.ip().is_loopback()) {
        return Err(DrillError::NotLoopback(address));
    }
    let _enough = crate::sys::raise_open_files(3 * attack::HELD as u64)?;
    let direct = {
        let upstream = Upstream::start(settings)?;
        half(settings, &upstream, upstream.address(), None)?
    };
    let upstream = Upstream::start(settings)?;
    let gateway = InProcess::start(policy_before(upstream.address())?).map_err(DrillError::Gateway)?;
    let through = half(settings, &upstream, gateway.address, Some(&gateway))?;
    gateway.end();
    Ok(table(settings, &direct, &through))
}

/// The default policy before one upstream.
fn policy_before(upstream: SocketAddr) -> Result<Policy, DrillError> {
    let text = format!("[[upstream]]\nname = \"drill\"\naddress = \"{upstream}\"\n[cache]\nsize = \"4MiB\"\n");
    let options = crate::policy::Options { seed: 1, ..crate::policy::Options::default() };
    match load_files([("gateway.toml", text.as_str())].into_iter().collect(), &options) {
        Ok((policy, _)) => Ok(policy),
        Err(report) => Err(DrillError::Policy(report.to_string())),
    }
}

fn half(
    settings: Settings,
    upstream: &Upstream,
    server: SocketAddr,
    gateway: Option<&InProcess>,
) -> Result<Half, DrillError> {
    let drill = settings.drill;
    let ask = |time| -> io::Result<Served> {
        if drill.is_over_tcp() {
            Ok(clients::ask_over_tcp(server, &wire::query(1, &["h1"]), time))
        } else {
            clients::ask(server, time, settings.upstream.is_none())
        }
    };
    let quiet = ask(QUIET)?;
    let (seen, resident, noticed_before) = (upstream.seen(), resident_bytes(), gateway.map_or(0, signs));
    let done = AtomicBool::new(false);
    let rate = settings.rate.unwrap_or(drill.rate());
    let begin = Instant::now();
    let (attacked, noticed) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| match drill {
            Drill::ForgedFlood => attack::forged_flood(server, rate, &done),
            Drill::TcpExhaustion => attack::hold_connections(server, rate, &done),
            Drill::SlowUpstream => attack::slow_names(server, rate, &done),
            Drill::LyingUpstream => Ok(()),
        });
        let watch = gateway.map(|gateway| {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    if signs(gateway) > noticed_before {
                        return Some(begin.elapsed());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                None
            })
        });
        let attacked = ask(ATTACK);
        done.store(true, Relaxed);
        let noticed = watch.and_then(|watch| watch.join().ok().flatten());
        let attack = attack.join().unwrap_or(Ok(()));
        attack.and(attacked).map(|attacked| (attacked, noticed))
    })?;
    let upstream_saw = upstream.seen().zip(seen).map(|(now, before)| now - before);
    let grown_bytes = gateway.map(|_| resident_bytes().saturating_sub(resident));
    Ok(Half { quiet, attacked, upstream_saw, noticed, grown_bytes })
}

/// What a gateway counts when it acts against something.
fn signs(gateway: &InProcess) -> u64 {
    let totals = gateway.totals();
    let acted = [Outcome::Dropped, Outcome::Truncated, Outcome::CacheFailure];
    let queries: u64 =
        acted.iter().flat_map(|outcome| Reason::ALL.map(|reason| totals.queries(*outcome, reason, false))).sum();
    let events = [Event::FloodSources, Event::Overloads, Event::TcpEvicted, Event::TcpRate, Event::TcpClientFull];
    let events: u64 = events.iter().map(|event| gateway.count(*event)).sum();
    let lies = [UpstreamEvent::Mismatched, UpstreamEvent::Unmatched, UpstreamEvent::Malformed];
    let lies: u64 = lies.iter().map(|event| totals.upstream(0, *event)).sum();
    queries + events + lies
}

fn table(settings: Settings, direct: &Half, through: &Half) -> String {
    let name = clap::ValueEnum::to_possible_value(&settings.drill).map(|value| value.get_name().to_owned());
    let mut out = format!("{}\n", name.unwrap_or_default());
    let mut row = |title: &str, of: &dyn Fn(&Half) -> String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{title:<34}{:>14}{:>14}", of(direct), of(through));
    };
    let number = |of: Option<u64>| of.map_or("-".to_owned(), |number| number.to_string());
    let time = |of: Option<Duration>| of.map_or("-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3));
    let share = |served: &Served| format!("{:.1} %", served.answered as f64 * 100.0 / served.asked.max(1) as f64);
    let mut titles = ["direct", "through weir"].into_iter();
    let mut head = String::new();
    let _ = writeln!(head, "{:<34}{:>14}{:>14}", "", titles.next().unwrap_or(""), titles.next().unwrap_or(""));
    row("honest queries answered, quiet", &|half| share(&half.quiet));
    row("honest queries answered, attacked", &|half| share(&half.attacked));
    row("honest clients deceived", &|half| half.attacked.deceived.to_string());
    row("p50, attacked", &|half| time(half.attacked.percentile(50)));
    row("p99, quiet", &|half| time(half.quiet.percentile(99)));
    row("p99, attacked", &|half| time(half.attacked.percentile(99)));
    row("queries that the upstream saw", &|half| number(half.upstream_saw));
    row("noticed after", &|half| time(half.noticed));
    row("memory grown by, KiB", &|half| number(half.grown_bytes.map(|bytes| bytes / 1024)));
    let title_end = out.find('\n').map_or(0, |end| end + 1);
    out.insert_str(title_end, &head);
    out
}
