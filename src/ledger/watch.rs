//! Who is it: sums up the samples of all workers by who asks, what for and what is refused, and notices reflection and
//! floods. Kept by the control side alone, so that it costs no query anything; all of it in fixed memory.

use super::active::{ActiveAlerts, Change};
use super::alerts::{Alert, AlertKind, Numbers, Subject};
use super::hitters::Hitters;
use super::multitude::Multitude;
use super::samples::Sample;
use super::traffic::{HALF_LIFE, RATE, Signature, Traffic};
use crate::clock::{Moment, Now};
use crate::dns::name::Name;
use crate::dns::registrable::registrable;
use crate::language::Phrase;
use crate::sys::keys::unguessable;
use crate::verdict::{Outcome, Reason};
use ahash::RandomState;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// Keys of each summary: what has more than 1/512 of the recent queries is always in it.
const KEYS: usize = 512;

/// What has faded to less than this weight is forgotten.
const FLOOR: f64 = 0.1;

/// Between two looks at the summaries.
pub const LOOK: Duration = Duration::from_millis(100);

/// The networks that are told apart beside single addresses.
const IPV4_PREFIX: u8 = 24;
const IPV6_PREFIX: u8 = 56;

/// A worker that is flooded says so about once a second.
const CROWDED: Duration = Duration::from_secs(3);

/// A host has a network's attack to itself when so much of it comes from there.
const ALONE: f64 = 0.8;

/// What refuses, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// What decided.
    pub reason: Reason,
    /// It only would have: monitor mode.
    pub monitored: bool,
    /// Who asked.
    pub network: IpNet,
}

/// What the gateway does about attacks that are noticed here, under the policy that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// About reflection.
    pub reflection: Phrase,
    /// About floods.
    pub flood: Phrase,
    /// About floods from very many sources, while the workers keep up.
    pub crowd: Phrase,
}

/// The summaries, and the alerts that go on.
#[derive(Debug)]
pub struct Watch {
    /// Single addresses.
    pub hosts: Hitters<IpNet, Traffic>,
    /// Their networks: /24 and /56.
    pub networks: Hitters<IpNet, Traffic>,
    /// Zones, about: registrable domains.
    pub zones: Hitters<Name>,
    /// Names.
    pub names: Hitters<Name>,
    /// Types; 0 for what could not be read.
    pub types: Hitters<u16>,
    /// Who is refused for which reason, by network.
    pub denied: Hitters<Refused>,
    /// The weight of what was refused, not only monitored.
    refused: f64,
    /// What was noticed here and by the workers.
    pub alerts: ActiveAlerts,
    multitude: Multitude,
    /// When a worker said last that it is flooded from very many; it knows better than samples of what it still reads.
    crowded_at: Option<Moment>,
    hasher: RandomState,
    looked: Moment,
}

impl Watch {
    /// Empty summaries, with all their memory; `at` is now.
    pub fn new(at: Moment) -> Self {
        Self {
            hosts: Hitters::new(KEYS),
            networks: Hitters::new(KEYS),
            zones: Hitters::new(KEYS),
            names: Hitters::new(KEYS),
            types: Hitters::new(KEYS),
            denied: Hitters::new(KEYS),
            refused: 0.0,
            alerts: ActiveAlerts::default(),
            multitude: Multitude::default(),
            crowded_at: None,
            hasher: unguessable(),
            looked: at,
        }
    }

    /// Bytes that the summaries take, about.
    pub const fn size_bytes() -> usize {
        2 * Hitters::<IpNet, Traffic>::size_bytes(KEYS)
            + 2 * Hitters::<Name>::size_bytes(KEYS)
            + Hitters::<u16>::size_bytes(KEYS)
            + Hitters::<Refused>::size_bytes(KEYS)
            + Multitude::BYTES
    }

    /// Sums up one sample.
    pub fn note(&mut self, sample: &Sample) {
        let weight = f64::from(sample.weight);
        let [host, network] = networks_of(sample.client);
        let question = self.hasher.hash_one((&sample.name, sample.qtype));
        self.hosts.add(&host, weight).note(sample, question);
        self.networks.add(&network, weight).note(sample, question);
        self.types.add(&sample.qtype, weight);
        self.multitude.note(sample, &self.hasher);
        if let Some((reason, monitored)) = refused_for(sample) {
            self.denied.add(&Refused { reason, monitored, network }, weight);
            if !monitored {
                self.refused += weight;
            }
        }
        if sample.reason != Reason::Malformed {
            self.zones.add(&zone_of(&sample.name), weight);
            self.names.add(&sample.name, weight);
        }
    }

    /// Lets everything fade by the time that has passed and looks for attacks; to be called every [`LOOK`], with all
    /// samples noted. What has changed goes to `tell`.
    pub fn look(&mut self, now: Now, doing: &Doing, tell: &mut impl FnMut(Change)) {
        let passed = now.at.since(self.looked);
        self.looked = now.at;
        // Before fading: what came since the last look counts in full.
        self.suspect(now, doing, tell);
        self.suspect_multitude(now, passed, doing, tell);
        let factor = 0.5f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
        self.hosts.fade(factor, FLOOR);
        self.networks.fade(factor, FLOOR);
        self.zones.fade(factor, FLOOR);
        self.names.fade(factor, FLOOR);
        self.types.fade(factor, FLOOR);
        self.denied.fade(factor, FLOOR);
        self.refused *= factor;
        while let Some(ended) = self.alerts.expire(now) {
            tell(ended);
        }
    }

    /// The weight of what was refused, faded like that of the summaries.
    pub fn refused(&self) -> f64 {
        self.refused
    }

    /// Takes an alert that a worker has raised.
    pub fn heed(&mut self, now: Now, alert: Alert, tell: &mut impl FnMut(Change)) {
        if alert.subject == Subject::ManySources {
            self.crowded_at = Some(now.at);
        }
        if let Some(begun) = self.alerts.heed(now, alert) {
            tell(begun);
        }
    }

    fn suspect_multitude(&mut self, now: Now, passed: Duration, doing: &Doing, tell: &mut impl FnMut(Change)) {
        let largest = self.networks.top(1).first().map_or(0.0, |network| network.weight - network.error);
        let largest = largest / self.networks.total().max(f64::MIN_POSITIVE);
        let Some(flood) = self.multitude.look(passed, largest) else { return };
        if self.crowded_at.is_some_and(|at| now.at.since(at) < CROWDED) {
            return;
        }
        let numbers = Numbers {
            queries: flood.queries as u32,
            bad_permille: (1000.0 * flood.strangers) as u16,
            sources: flood.sources,
            ..Numbers::default()
        };
        let (kind, subject) = (AlertKind::Flood, Subject::ManySources);
        let alert = Alert { unix_ms: now.unix_ms, kind, subject, numbers, done: doing.crowd };
        if let Some(begun) = self.alerts.heed(now, alert) {
            tell(begun);
        }
    }

    fn suspect(&mut self, now: Now, doing: &Doing, tell: &mut impl FnMut(Change)) {
        let (networks, hosts, alerts) = (&self.networks, &self.hosts, &mut self.alerts);
        let suspects = networks.top(KEYS).into_iter();
        for suspect in suspects {
            let Some(signature) = suspect.account.signature() else { continue };
            let within = |host: &IpNet| suspect.key.contains(host);
            let alone = hosts
                .iter()
                .find(|host| within(host.key) && host.account.queries >= ALONE * suspect.account.queries)
                .map(|host| (*host.key, host.account));
            let (network, traffic) = alone.unwrap_or((*suspect.key, suspect.account));
            let (kind, done) = match signature {
                Signature::Reflection => (AlertKind::Reflection, doing.reflection),
                Signature::Flood => (AlertKind::Flood, doing.flood),
            };
            let sources = hosts.iter().filter(|host| network.contains(host.key)).count();
            let numbers = numbers_of(traffic, kind, sources);
            let alert = Alert { unix_ms: now.unix_ms, kind, subject: Subject::Network(network), numbers, done };
            if let Some(begun) = alerts.heed(now, alert) {
                tell(begun);
            }
        }
    }
}

fn numbers_of(traffic: &Traffic, kind: AlertKind, sources: usize) -> Numbers {
    let limited = || ((traffic.over + traffic.limited) / traffic.queries.max(f64::MIN_POSITIVE)).min(1.0);
    let bad = if kind == AlertKind::Flood { traffic.over_now() } else { limited() };
    Numbers {
        queries: traffic.rate_now() as u32,
        bad_permille: (1000.0 * bad) as u16,
        names: traffic.questions(),
        sources: u32::try_from(sources).unwrap_or(u32::MAX),
        received: (traffic.received * RATE) as u64,
        sent: (traffic.sent * RATE) as u64,
        wanted: (traffic.received * RATE * traffic.amplification().unwrap_or(0.0)) as u64,
        age_s: (0, 0),
    }
}

/// The reason for which a sample was refused; with true, would have been without monitor mode.
fn refused_for(sample: &Sample) -> Option<(Reason, bool)> {
    let is_refused = matches!(
        sample.outcome,
        Outcome::Denied | Outcome::Truncated | Outcome::Dropped | Outcome::Rejected | Outcome::Malformed
    );
    match sample.trace.monitored {
        _ if is_refused && sample.reason != Reason::None => Some((sample.reason, false)),
        Some(reason) => Some((reason, true)),
        None => None,
    }
}

/// The address and the network of a client.
fn networks_of(client: IpAddr) -> [IpNet; 2] {
    let client = client.to_canonical();
    let (whole, prefix) = if client.is_ipv4() { (32, IPV4_PREFIX) } else { (128, IPV6_PREFIX) };
    [network(client, whole), network(client, prefix)]
}

fn network(address: IpAddr, prefix: u8) -> IpNet {
    IpNet::new(address, prefix).map_or_else(|_| address.into(), |network| network.trunc())
}

/// The zone of a name, about: what somebody has registered. For a display; nothing is decided by it.
fn zone_of(name: &Name) -> Name {
    Name::from_wire(registrable(name)).unwrap_or(*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_raises_again_and_again_is_told_once() {
        let mut watch = Watch::new(Moment::ZERO);
        let zone = Subject::Zone(Name::from_text("dead.example").unwrap());
        let (kind, numbers) = (AlertKind::RetryStorm, Numbers::default());
        let mut changes = Vec::new();
        for second in 1..=3 {
            let now = Now { at: Moment::from_nanos(second * 1_000_000_000), unix_ms: second * 1_000 };
            let alert = Alert { unix_ms: now.unix_ms, kind, subject: zone, numbers, done: Phrase::new("probes only") };
            watch.heed(now, alert, &mut |change| changes.push(change));
            watch.look(now, &Doing::default(), &mut |change| changes.push(change));
        }
        assert!(matches!(changes[..], [Change::Begun(alert)] if alert.subject == zone), "{changes:#?}");
        let later = Now { at: Moment::from_nanos(8_000_000_000), unix_ms: 8_000 };
        watch.look(later, &Doing::default(), &mut |change| changes.push(change));
        assert!(matches!(changes[..], [_, Change::Ended(_, lasted)] if lasted.as_secs() == 2), "{changes:#?}");
        assert_eq!(watch.alerts.begun(AlertKind::RetryStorm), 1);
    }

    #[test]
    fn networks_are_of_the_real_family() {
        let [host, network] = networks_of("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!((host.to_string(), network.to_string()), ("192.0.2.7/32".into(), "192.0.2.0/24".into()));
        let [_, network] = networks_of("2001:db8:1:2ff::1".parse().unwrap());
        assert_eq!(network.to_string(), "2001:db8:1:200::/56");
    }
}
