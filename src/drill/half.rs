//! One half of a drill: the clients alone, then beside the attack, against one server; and for a storm until the zone that
//! it asks for is back.

use super::attack::{self, Attacked, Storm};
use super::clients::{self, Honest, Judge, Questions, Served};
use super::stub::Stub;
use super::{Drill, Plan, wire};
use crate::control::status::resident_bytes;
use crate::daemon::in_process::InProcess;
use crate::daemon::lab_thread::LabThread;
use crate::language::text;
use crate::ledger::UpstreamEvent;
use crate::ledger::alerts::Alert;
use crate::ledger::watch::LOOK;
use crate::listen::Event;
use crate::verdict::{Outcome, Reason};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a zone has to become normal once it is healed.
pub(super) const NORMAL_MAX: Duration = Duration::from_secs(10);

/// Between two looks at what the gateway has in flight.
const GLANCE: Duration = Duration::from_millis(2);

/// The last address of the victim's network whose client is there and shows cookies, and of the one that asks over TCP.
const WITH_COOKIE: u8 = 250;
const OVER_TCP: u8 = 251;

/// What became of everybody.
#[derive(Debug, Default)]
pub(super) struct Half {
    pub(super) quiet: Honest,
    pub(super) attacked: Honest,
    /// Of a reflection's victims: those with a cookie and those over TCP are the two kinds of [`Honest`].
    pub(super) attack: Attacked,
    pub(super) upstream_saw: Option<u64>,
    pub(super) zone_saw: Option<u64>,
    pub(super) zone_most: Option<u64>,
    pub(super) share: Option<u64>,
    pub(super) noticed: Noticed,
    pub(super) normal: Option<Option<Duration>>,
    pub(super) grown_bytes: Option<u64>,
}

/// What the gateway noticed, and when.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// It acted against something.
    pub(super) acted: Option<Duration>,
    /// It said what it is.
    pub(super) alert: Option<(Duration, Alert)>,
    /// The most of the zone that waited for the upstream.
    pub(super) zone_most: u32,
}

/// The upstream of one half.
pub(super) enum Upstream {
    Ours(Stub),
    Lab(LabThread),
    /// Somebody's, and the zone's own server behind it, if that is ours.
    Given(SocketAddr, Option<Stub>),
}

impl Upstream {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Ours(stub) => stub.address,
            Self::Lab(lab) => lab.address,
            Self::Given(address, _) => *address,
        }
    }

    fn stub(&self) -> Option<&Stub> {
        match self {
            Self::Ours(stub) => Some(stub),
            Self::Given(_, authority) => authority.as_ref(),
            Self::Lab(_) => None,
        }
    }
}

/// One half, against `server`: the upstream itself, or the gateway before it.
pub(super) fn hold(
    plan: &Plan,
    questions: &Questions,
    upstream: &Upstream,
    server: SocketAddr,
    gateway: Option<&InProcess>,
) -> io::Result<Half> {
    let quiet = ask(plan, questions, server, plan.quiet)?;
    let (seen, sent) = (upstream.stub().map(Stub::begin), gateway.map_or(0, sent_upstream));
    let (resident, acted) = (resident_bytes(), gateway.map_or(0, signs));
    let (recovered, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| run_attack(plan, server, &recovered, &done));
        let watcher = gateway.map(|gateway| {
            let done = &done;
            let recovered = &recovered;
            scope.spawn(move || watch(plan, gateway, acted, (recovered, done)))
        });
        let others = Questions { asked: quiet.all().asked as usize, ..questions.clone() };
        let attacked = ask(plan, &others, server, plan.attack);
        recovered.store(true, Relaxed);
        let seen_now = upstream.stub().map(Stub::seen).zip(seen).map(|(now, before)| now - before);
        let sent_now = gateway.map(|gateway| sent_upstream(gateway) - sent);
        let (zone_saw, zone_held) = (upstream.stub().map(Stub::zone_seen), upstream.stub().map(Stub::zone_most));
        let grown = gateway.map(|_| resident_bytes().saturating_sub(resident));
        let healer = upstream.stub().filter(|_| plan.drill == Drill::Storm);
        let normal = healer.map(|stub| recover(plan, server, stub));
        done.store(true, Relaxed);
        let noticed = watcher.and_then(|watcher| watcher.join().ok()).unwrap_or_default();
        let attack = attack.join().unwrap_or_else(|_| Err(text!("the attack broke").into_io(io::ErrorKind::Other)))?;
        let is_ours = matches!(upstream, Upstream::Ours(_));
        Ok(Half {
            quiet,
            attacked: attacked?,
            attack,
            upstream_saw: if is_ours { seen_now } else { sent_now },
            zone_saw: zone_saw.filter(|_| plan.has_zone()),
            // Somebody else's server is not looked into; what it was asked at a time is what the gateway waited for.
            zone_most: if is_ours { zone_held } else { gateway.map(|_| u64::from(noticed.zone_most)) }
                .filter(|_| plan.has_zone()),
            share: gateway.filter(|_| plan.has_zone()).map(|gateway| u64::from(gateway.zone_share())),
            normal: normal.transpose()?,
            noticed,
            grown_bytes: grown,
        })
    })
}

fn ask(plan: &Plan, questions: &Questions, server: SocketAddr, time: Duration) -> io::Result<Honest> {
    let large = plan.large;
    match plan.drill {
        Drill::TcpExhaustion => {
            let name = questions.others.iter().chain(&questions.of_zone).next().copied();
            let query = wire::query(1, &name.unwrap_or(wire::name("www.lab.example")));
            let served = clients::ask_over_tcp(server, None, &query, time, Duration::from_millis(10));
            Ok(Honest { others: served, of_zone: Served::default() })
        }
        Drill::Reflection => std::thread::scope(|scope| {
            let tcp = scope.spawn(|| clients::ask_large_over_tcp(server, attack::victim(OVER_TCP), &large, time));
            let udp = clients::ask_with_cookie(server, attack::victim(WITH_COOKIE), &large, time)?;
            let tcp = tcp.join().map_err(|_| text!("the TCP client broke").into_io(io::ErrorKind::Other))?;
            Ok(Honest { others: udp, of_zone: tcp })
        }),
        _ => clients::ask(server, time, questions),
    }
}

fn run_attack(plan: &Plan, server: SocketAddr, recovered: &AtomicBool, done: &AtomicBool) -> io::Result<Attacked> {
    match plan.drill {
        Drill::ForgedFlood => attack::forged_flood(server, plan.rate, done),
        Drill::TcpExhaustion => attack::hold_connections(server, plan.rate, done),
        Drill::SlowUpstream => attack::slow_names(server, plan.rate, done),
        Drill::LyingUpstream => Ok(Attacked::default()),
        Drill::Reflection => attack::reflection(server, plan.rate, &plan.large, done),
        Drill::Storm | Drill::WaterTorture => {
            Storm { server, rate: plan.rate, zone: &plan.zone, names: plan.names }.rage(recovered, done)
        }
    }
}

/// Heals the zone and waits until its names are answered; they are asked for by one client more.
fn recover(plan: &Plan, server: SocketAddr, stub: &Stub) -> io::Result<Option<Duration>> {
    stub.heal();
    let names = (0..).map(|number| wire::below(&plan.names.label(number), &plan.zone));
    clients::time_to_normal(server, names, Instant::now(), NORMAL_MAX)
}

/// Looks at the gateway until it is over. What a zone holds once it has recovered is none of its share.
fn watch(
    plan: &Plan,
    gateway: &InProcess,
    acted_before: u64,
    (recovered, done): (&AtomicBool, &AtomicBool),
) -> Noticed {
    let (mut noticed, begin, mut watch, mut looked) = (Noticed::default(), Instant::now(), gateway.watch(), 0);
    while !done.load(Relaxed) {
        let held = gateway.zone_in_flight(&plan.zone);
        if !recovered.load(Relaxed) {
            noticed.zone_most = noticed.zone_most.max(held);
        }
        if noticed.acted.is_none() && signs(gateway) > acted_before {
            noticed.acted = Some(begin.elapsed());
        }
        let looks = (begin.elapsed().as_millis() / LOOK.as_millis()) as u64;
        if looks > looked {
            looked = looks;
            gateway.look(&mut watch, &mut |alert| {
                noticed.alert.get_or_insert((begin.elapsed(), *alert));
            });
        }
        std::thread::sleep(GLANCE);
    }
    noticed
}

fn sent_upstream(gateway: &InProcess) -> u64 {
    gateway.totals().upstream(0, UpstreamEvent::Sent)
}

/// What a gateway counts when it acts against something.
fn signs(gateway: &InProcess) -> u64 {
    let totals = gateway.totals();
    let acted = [Outcome::Dropped, Outcome::Truncated, Outcome::CacheFailure];
    let queries: u64 =
        acted.iter().flat_map(|outcome| Reason::ALL.map(|reason| totals.queries(*outcome, reason, false))).sum();
    let held = totals.queries(Outcome::Failed, Reason::Storm, false);
    let events = [Event::FloodSources, Event::Overloads, Event::TcpEvicted, Event::TcpRate, Event::TcpClientFull];
    let events: u64 = events.iter().map(|event| gateway.count(*event)).sum();
    let lies =
        [UpstreamEvent::Mismatched, UpstreamEvent::Unmatched, UpstreamEvent::Malformed, UpstreamEvent::Oversized];
    let lies: u64 = lies.iter().map(|event| totals.upstream(0, *event)).sum();
    queries + held + events + lies
}

/// Which answers a half's clients believe.
pub(super) fn judge(is_given: bool) -> Judge {
    if is_given { Judge::Whole } else { Judge::Truth }
}
