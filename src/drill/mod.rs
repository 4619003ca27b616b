//! Attacks as a command, `weir drill NAME`: how an operator convinces himself before an incident.
//!
//! Each drill starts an upstream, lets ordinary clients ask and an attack run beside them, once direct and once through a
//! gateway started here under the policy, and prints what became of both. Everything stays on loopback and takes seconds.

mod attack;
mod clients;
mod crowd;
mod half;
mod stub;
mod table;
mod wire;

use crate::daemon::RunError;
use crate::daemon::in_process::InProcess;
use crate::daemon::lab_thread::LabThread;
use crate::dns::name::Name;
use crate::language::{Text, Told, text};
use crate::policy::{Policy, load_files};
use attack::Names;
use clients::{Questions, Served};
use half::{Half, NORMAL_MAX, Upstream};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use stub::{Fault, FaultyZone, Manner, Stub};
use table::Figure;
pub use table::Table;

/// How long the clients ask before the attack: half as long as it lasts, within these. In the shortest time they ask for all
/// names of a zone of ours, so that none of them is unknown.
const QUIET_MIN: Duration = Duration::from_secs(1);
const QUIET_MAX: Duration = Duration::from_secs(3);

/// How long an attack lasts unless told otherwise.
pub const SECONDS: u64 = 5;

/// The zone whose names take 2 s in every upstream of ours.
const SLOW_ZONE: &str = "slow.drill.example";

/// The zone that storms and random names are about in an upstream of ours.
const ZONE: &str = "player.example";

/// A large answer of the lab.
const LARGE: &str = "long1200.lab.example";

/// Names that the ordinary clients ask for in each zone of ours.
const NAMES: usize = 200;

/// What the players of a storm ask for that have a fixed list.
const FIXED: u64 = 30;

/// An attack to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Drill {
    /// Names of a dead zone, asked for again and again by 200 clients, whose other questions must be answered
    Storm,
    /// Names that do not exist, of a zone that does
    WaterTorture,
    /// A question with a large answer, as if from all addresses of one network
    Reflection,
    /// One question from ever other forged sources
    ForgedFlood,
    /// Connections that are held with half a query
    TcpExhaustion,
    /// Ever other names of a zone that takes 2 s to resolve
    SlowUpstream,
    /// False answers that come before the true ones
    LyingUpstream,
}

/// Which names a storm asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StormNames {
    /// As many as are asked for in two seconds, then the same again
    #[default]
    Many,
    /// 30
    Fixed,
}

/// What is the matter with the zone of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StormFault {
    /// Nothing is known of its names
    #[default]
    Dead,
    /// Its names take 2 s
    Slow,
}

/// What a drill is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which.
    pub drill: Drill,
    /// Attacks a second; the drill's own number when absent.
    pub rate: Option<u64>,
    /// How long the attack lasts.
    pub time: Duration,
    /// A server on loopback to be asked instead of an upstream of ours.
    pub upstream: Option<SocketAddr>,
    /// The zone that is attacked, or the name whose texts are the large answer.
    pub zone: Option<Name>,
    /// Where we are to serve that zone for the given upstream, so that it can be dead and come back.
    pub authority: Option<SocketAddr>,
    /// What the ordinary clients ask the given upstream for.
    pub honest: Vec<Name>,
    /// Of a storm.
    pub names: StormNames,
    /// Of a storm.
    pub fault: StormFault,
}

/// What kept a drill from being held.
#[derive(Debug)]
pub enum DrillError {
    /// An address is not on loopback: drills attack it.
    NotLoopback(SocketAddr),
    /// What it was started with does not go together.
    Settings(Text),
    /// The policy of the drill has faults.
    Policy(Text),
    /// The gateway did not start.
    Gateway(RunError),
    /// A socket or thread could not be had.
    System(io::Error),
}

impl Told for DrillError {
    fn text(&self) -> Text {
        match self {
            Self::NotLoopback(address) => {
                text!("a drill stays on loopback, 127.0.0.0/8: {address} is not there", address)
            }
            Self::Settings(fault) => fault.clone(),
            Self::Policy(report) => text!("the policy of the drill has faults: {report}", report),
            Self::Gateway(error) => text!("the gateway did not start: {error}", error = error.text()),
            Self::System(error) => text!("the drill could not be held: {error}", error = Text::of_io(error)),
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
            Self::Storm => 10_000,
            Self::WaterTorture | Self::Reflection => 5_000,
            // As fast as the machine gives.
            Self::ForgedFlood => 10_000_000,
            Self::TcpExhaustion => 4_000,
            Self::SlowUpstream => 1_500,
            Self::LyingUpstream => 0,
        }
    }

    fn profile(self) -> &'static str {
        if self == Self::Reflection { "authoritative" } else { "recursive" }
    }

    fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What a drill does, worked out of what it was started with.
#[derive(Clone, Debug)]
struct Plan {
    drill: Drill,
    rate: u64,
    quiet: Duration,
    attack: Duration,
    zone: Name,
    names: Names,
    /// The name whose texts are the large answer.
    large: Name,
}

impl Plan {
    fn of(settings: &Settings) -> Result<Self, DrillError> {
        let drill = settings.drill;
        let addresses = [settings.upstream, settings.authority];
        let is_outside = |address: &SocketAddr| !(address.is_ipv4() && address.ip().is_loopback());
        if let Some(address) = addresses.into_iter().flatten().find(is_outside) {
            return Err(DrillError::NotLoopback(address));
        }
        let has_zone = matches!(drill, Drill::Storm | Drill::WaterTorture | Drill::Reflection);
        let fault = match (settings.upstream, settings.zone) {
            (Some(_), None) if has_zone => {
                Some(text!("with --upstream say which zone behind it is attacked: --zone NAME"))
            }
            (None, Some(_)) => Some(text!("--zone is a zone of the server that --upstream names")),
            (None, None) if settings.authority.is_some() => Some(text!("--authority serves a zone for --upstream")),
            (_, _) if settings.authority.is_some() && drill != Drill::Storm => {
                Some(text!("--authority is for the storm"))
            }
            (None, _) if !settings.honest.is_empty() => {
                Some(text!("--honest is asked of the server that --upstream names"))
            }
            (Some(_), _) if drill != Drill::Reflection && settings.honest.is_empty() => {
                Some(text!("with --upstream say what its ordinary clients ask for: --honest FILE"))
            }
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(DrillError::Settings(fault));
        }
        let rate = settings.rate.unwrap_or(drill.rate());
        let names = match (drill, settings.names) {
            (Drill::WaterTorture, _) => Names::Random,
            (_, StormNames::Many) => Names::Fixed(rate * 2),
            (_, StormNames::Fixed) => Names::Fixed(FIXED),
        };
        Ok(Self {
            drill,
            rate,
            quiet: (settings.time / 2).clamp(QUIET_MIN, QUIET_MAX),
            attack: settings.time,
            zone: settings.zone.unwrap_or(wire::name(ZONE)),
            names,
            large: settings.zone.unwrap_or(wire::name(LARGE)),
        })
    }

    /// Whether the attack is about one zone.
    fn has_zone(&self) -> bool {
        matches!(self.drill, Drill::Storm | Drill::WaterTorture)
    }

    /// Under what the drill is held.
    fn head(&self, settings: &Settings) -> Text {
        let upstream = settings
            .upstream
            .map_or_else(|| text!("an upstream of the drill"), |address| Text::verbatim(address.to_string()));
        let about = match (self.drill, settings.fault) {
            (Drill::Storm, StormFault::Dead) => Some(text!("{zone} dead", zone = self.zone)),
            (Drill::Storm, StormFault::Slow) => Some(text!("{zone} slow", zone = self.zone)),
            (Drill::WaterTorture, _) => Some(text!("random names of {zone}", zone = self.zone)),
            (Drill::Reflection, _) => Some(Text::verbatim(format!("{} TXT", self.large))),
            _ => None,
        };
        let load = text!("{n} s at {rate}/s", n = self.attack.as_secs_f64(), rate = self.rate);
        let load = Text::joined(", ", std::iter::once(load).chain(about));
        text!("{load}; profile {profile} before {upstream}", load, profile = self.drill.profile(), upstream)
    }
}

/// Holds a drill, direct and then through a gateway; the table of what became of it.
///
/// # Errors
/// [`DrillError`]
pub fn hold(settings: &Settings) -> Result<Table, DrillError> {
    let plan = Plan::of(settings)?;
    let _enough = crate::sys::raise_open_files(3 * attack::HELD as u64)?;
    let direct = {
        let upstream = start_upstream(settings, &plan)?;
        half::hold(&plan, &questions(settings, &plan, 0), &upstream, upstream.address(), None)?
    };
    let upstream = start_upstream(settings, &plan)?;
    let policy = policy_before(upstream.address(), plan.drill.profile(), settings.honest.first())?;
    let gateway = InProcess::start(policy).map_err(DrillError::Gateway)?;
    let through = half::hold(&plan, &questions(settings, &plan, 1), &upstream, gateway.address, Some(&gateway))?;
    gateway.end();
    Ok(tell(settings, &plan, &direct, &through))
}

fn start_upstream(settings: &Settings, plan: &Plan) -> io::Result<Upstream> {
    let fault = match (plan.drill, settings.fault) {
        (Drill::Storm, StormFault::Dead) if settings.upstream.is_some() => Some(Fault::Silent),
        (Drill::Storm, StormFault::Dead) => Some(Fault::Dead),
        (Drill::Storm, StormFault::Slow) => Some(Fault::Slow),
        (Drill::WaterTorture, _) => Some(Fault::Sparse),
        _ => None,
    };
    let zone = fault.map(|fault| FaultyZone { name: plan.zone, fault });
    if let Some(address) = settings.upstream {
        let authority = settings.authority.map(|at| Stub::start(at, Manner::Honest, zone)).transpose()?;
        return Ok(Upstream::Given(address, authority));
    }
    let manner = if plan.drill == Drill::LyingUpstream { Manner::Lied } else { Manner::Honest };
    Ok(match plan.drill {
        Drill::TcpExhaustion | Drill::Reflection => Upstream::Lab(LabThread::start()?),
        _ => Upstream::Ours(Stub::start((Ipv4Addr::LOCALHOST, 0).into(), manner, zone)?),
    })
}

/// What the ordinary clients ask for. The given upstream remembers what it was asked in the first half, so the second half
/// has names of its own.
fn questions(settings: &Settings, plan: &Plan, half: usize) -> Questions {
    let of = |zone: &Name| (0..NAMES).map(|n| wire::below(&format!("h{n}"), zone)).collect::<Vec<_>>();
    let judge = half::judge(settings.upstream.is_some());
    if settings.honest.is_empty() {
        let of_zone = if plan.drill == Drill::WaterTorture { of(&plan.zone) } else { Vec::new() };
        let of_lab = plan.drill == Drill::TcpExhaustion && settings.upstream.is_none();
        let others = if of_lab { vec![wire::name("www.lab.example")] } else { of(&wire::name("drill.example")) };
        return Questions { others, of_zone, asked: 0, judge };
    }
    let (of_zone, others): (Vec<Name>, Vec<Name>) = settings.honest.iter().partition(|name| name.is_within(&plan.zone));
    let part = |names: Vec<Name>| match names.len() {
        0 | 1 => names,
        len => names[half * len / 2..(half + 1) * len / 2].to_vec(),
    };
    let of_zone = part(of_zone).into_iter().take(NAMES).collect();
    Questions { others: part(others), of_zone, asked: 0, judge }
}

/// The default policy of a profile before one upstream. Health checks ask for what the upstream can answer: one in a
/// laboratory cannot ask the root.
fn policy_before(upstream: SocketAddr, profile: &str, known: Option<&Name>) -> Result<Policy, DrillError> {
    let health = known.map_or(String::new(), |name| format!("[pool.default]\nhealth = {{ query = '''{name} A''' }}\n"));
    let text = format!(
        "profile = \"{profile}\"\n[[upstream]]\nname = \"drill\"\naddress = \"{upstream}\"\n{health}[cache]\nsize = \"4MiB\"\n"
    );
    let options = crate::policy::Options { seed: 1, ..crate::policy::Options::default() };
    match load_files([("gateway.toml", text.as_str())].into_iter().collect(), &options) {
        Ok((policy, _)) => Ok(policy),
        Err(report) => Err(DrillError::Policy(report.sum())),
    }
}

fn tell(settings: &Settings, plan: &Plan, direct: &Half, through: &Half) -> Table {
    let mut table = Table::new(plan.drill.name(), plan.head(settings));
    let halves = [direct, through];
    let mut row = |key, title, of: &dyn Fn(&Half) -> Figure| table.row(key, title, halves.map(of));
    let share = |served: &Served| match served.asked {
        0 => Figure::None,
        asked => Figure::Share(served.answered, asked),
    };
    row("attack_rate", text!("attack sent, a second"), &|half| match half.attack.sent {
        0 => Figure::None,
        _ => Figure::Count(half.attack.rate()),
    });
    if plan.drill == Drill::Reflection {
        row("cookie", text!("client with a cookie answered"), &|half| share(&half.attacked.others));
        row("tcp", text!("client over TCP answered"), &|half| share(&half.attacked.of_zone));
    } else {
        row("quiet", text!("honest queries answered, quiet"), &|half| share(&half.quiet.all()));
        row("answered", text!("honest queries answered, attacked"), &|half| share(&half.attacked.all()));
    }
    if plan.drill == Drill::WaterTorture {
        row("zone_answered", text!("of these, existing names of the zone"), &|half| share(&half.attacked.of_zone));
        row("others_answered", text!("of these, names of other zones"), &|half| share(&half.attacked.others));
    }
    if plan.drill == Drill::LyingUpstream {
        row("deceived", text!("honest clients deceived"), &|half| Figure::Count(half.attacked.all().deceived));
    }
    row("p50_quiet", text!("p50, quiet"), &|half| Figure::time(half.quiet.all().percentile(50)));
    row("p50", text!("p50, attacked"), &|half| Figure::time(half.attacked.all().percentile(50)));
    row("p99_quiet", text!("p99, quiet"), &|half| Figure::time(half.quiet.all().percentile(99)));
    row("p99", text!("p99, attacked"), &|half| Figure::time(half.attacked.all().percentile(99)));
    if plan.has_zone() {
        row("own_answered", text!("the attack's own queries answered"), &|half| {
            Figure::Share(half.attack.answered, half.attack.awaited)
        });
    }
    tell_victim(&mut row);
    row("upstream_saw", text!("queries that the upstream saw"), &|half| Figure::count(half.upstream_saw));
    row("zone_saw", zone_title(settings), &|half| Figure::count(half.zone_saw));
    row("zone_most", text!("the most of these in flight at once"), &|half| Figure::count(half.zone_most));
    row("zone_share", text!("the zone's share"), &|half| Figure::count(half.share));
    row("acted", text!("acted after"), &|half| Figure::time(half.noticed.acted));
    row("alert_after", text!("alert after"), &|half| Figure::time(half.noticed.alert.map(|(after, _)| after)));
    row("alert", text!("alert"), &|half| {
        half.noticed.alert.map_or(Figure::None, |(_, alert)| {
            Figure::Text(Text::joined(" ", [Text::verbatim(alert.kind.name()), alert.subject.text()]))
        })
    });
    row("normal_after", text!("normal again after the zone's recovery"), &|half| match half.normal {
        None => Figure::None,
        Some(None) => Figure::NotWithin(NORMAL_MAX),
        Some(Some(time)) => Figure::Time(time),
    });
    row("grown_kib", text!("memory grown by, KiB"), &|half| Figure::count(half.grown_bytes.map(|bytes| bytes / 1024)));
    table
}

fn zone_title(settings: &Settings) -> Text {
    match settings.authority {
        Some(_) => text!("queries that the zone's server saw"),
        None => text!("of these, for the zone"),
    }
}

/// Adds a row by its key, its title and what it takes from each half.
type Row<'r> = dyn FnMut(&'static str, Text, &dyn Fn(&Half) -> Figure) + 'r;

/// What the victim of a reflection gets, for what seems to come from it.
fn tell_victim(row: &mut Row<'_>) {
    // The last second is one begun only.
    let seconds = |half: &Half| half.attack.bytes.len().saturating_sub(1);
    let first = |half: &Half| half.attack.bytes.first().copied();
    let later = |half: &Half| half.attack.bytes.get(1..seconds(half)).map(<[_]>::to_vec).unwrap_or_default();
    row("from_victim_first", text!("bytes in the victim's name, 1st second"), &|half| {
        Figure::count(first(half).map(|(from, _)| from))
    });
    row("to_victim_first", text!("bytes toward the victim, 1st second"), &|half| {
        Figure::count(first(half).map(|(_, to)| to))
    });
    let mean = |half: &Half, of: fn(&(u64, u64)) -> u64| {
        let later = later(half);
        let sum: u64 = later.iter().map(of).sum();
        (!later.is_empty()).then(|| sum / later.len() as u64)
    };
    row("from_victim", text!("bytes in the victim's name, each later second"), &|half| {
        Figure::count(mean(half, |b| b.0))
    });
    row("to_victim", text!("bytes toward the victim, each later second"), &|half| Figure::count(mean(half, |b| b.1)));
    row("worst_ratio", text!("the most toward for one from, any later second"), &|half| {
        let ratio = |(from, to): &(u64, u64)| *to as f64 / (*from).max(1) as f64;
        later(half).iter().map(ratio).reduce(f64::max).map_or(Figure::None, Figure::Ratio)
    });
}
