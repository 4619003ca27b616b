//! The alerts that go on: each told once when it begins and once when it has ended, whoever raised it and however often.
//! Of each kind so many at a time; an attack from everywhere must not fill memory or the log with alerts.

use super::alerts::{Alert, AlertKind, Subject};
use crate::clock::Moment;
use crate::clock::Now;
use std::time::Duration;

/// Alerts of one kind at a time; further subjects are counted only.
pub const ACTIVE_MAX: usize = 8;

/// After so long without being raised again an alert has ended.
pub const QUIET: Duration = Duration::from_secs(5);

/// An alert that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Active {
    /// As it was raised last.
    pub alert: Alert,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub since_unix_ms: u64,
    begun: Moment,
    seen: Moment,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// To be told.
    Begun(Alert),
    /// It is over, having lasted so long.
    Ended(Alert, Duration),
}

/// The alerts that go on.
#[derive(Debug, Default)]
pub struct ActiveAlerts {
    active: Vec<Active>,
    begun: [u64; AlertKind::ALL.len()],
    unlisted: u64,
}

impl ActiveAlerts {
    /// Takes an alert: [`Change::Begun`] when it is new.
    pub fn heed(&mut self, now: Now, alert: Alert) -> Option<Change> {
        let same =
            |active: &&mut Active| active.alert.kind == alert.kind && is_same(&active.alert.subject, &alert.subject);
        if let Some(active) = self.active.iter_mut().find(same) {
            let subject = active.alert.subject;
            (active.alert, active.seen) = (Alert { subject, ..alert }, now.at);
            return None;
        }
        if self.active.iter().filter(|active| active.alert.kind == alert.kind).count() >= ACTIVE_MAX {
            self.unlisted += 1;
            return None;
        }
        self.begun[alert.kind as usize] += 1;
        self.active.push(Active { alert, since_unix_ms: alert.unix_ms, begun: now.at, seen: now.at });
        Some(Change::Begun(alert))
    }

    /// Ends an alert that has been quiet for [`QUIET`]; to be called until there is none.
    pub fn expire(&mut self, now: Now) -> Option<Change> {
        let at = self.active.iter().position(|active| now.at.since(active.seen) >= QUIET)?;
        let Active { alert, begun, seen, .. } = self.active.remove(at);
        Some(Change::Ended(alert, seen.since(begun)))
    }

    /// Those that go on, the oldest first, each with its age.
    pub fn list(&self, now: Now) -> impl Iterator<Item = (&Active, Duration)> {
        self.active.iter().map(move |active| (active, now.at.since(active.begun)))
    }

    /// Alerts of this kind that have begun since the start.
    pub fn begun(&self, kind: AlertKind) -> u64 {
        self.begun[kind as usize]
    }

    /// How often one was raised that found [`ACTIVE_MAX`] others of its kind.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }
}

/// Whether it is one attack: a network and a host in it take turns at being where most of it comes from.
fn is_same(one: &Subject, other: &Subject) -> bool {
    match (one, other) {
        (Subject::Network(one), Subject::Network(other)) => one.contains(other) || other.contains(one),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::alerts::Numbers;
    use super::*;
    use crate::language::Phrase;

    fn now(ms: u64) -> Now {
        Now { at: Moment::from_nanos(ms * 1_000_000), unix_ms: ms }
    }

    fn flood(at: u64, last_byte: u8) -> Alert {
        let network = ipnet::IpNet::new([192, 0, 2, last_byte].into(), 32).unwrap();
        let subject = Subject::Network(network);
        Alert { unix_ms: at, kind: AlertKind::Flood, subject, numbers: Numbers::default(), done: Phrase::default() }
    }

    #[test]
    fn an_alert_is_told_when_it_begins_and_when_it_has_ended() {
        let mut alerts = ActiveAlerts::default();
        assert_eq!(alerts.heed(now(1_000), flood(1_000, 1)), Some(Change::Begun(flood(1_000, 1))));
        assert_eq!(alerts.heed(now(4_000), flood(4_000, 1)), None, "it goes on");
        assert_eq!(alerts.expire(now(8_999)), None);
        let (active, age) = alerts.list(now(8_999)).next().expect("it is active");
        assert_eq!((active.since_unix_ms, age), (1_000, Duration::from_millis(7_999)));
        let ended = alerts.expire(now(9_000));
        assert_eq!(ended, Some(Change::Ended(flood(4_000, 1), Duration::from_secs(3))));
        assert_eq!(alerts.expire(now(9_000)), None);
        assert!(alerts.heed(now(9_100), flood(9_100, 1)).is_some(), "another one");
        assert_eq!((alerts.begun(AlertKind::Flood), alerts.begun(AlertKind::Reflection)), (2, 0));
    }

    #[test]
    fn a_host_and_its_network_are_one_attack() {
        let mut alerts = ActiveAlerts::default();
        alerts.heed(now(1), flood(1, 7));
        let subject = Subject::Network("192.0.2.0/24".parse().unwrap());
        assert_eq!(alerts.heed(now(2), Alert { subject, ..flood(2, 7) }), None);
        let (active, _) = alerts.list(now(2)).next().expect("it goes on");
        assert_eq!((active.alert.subject, active.alert.unix_ms), (flood(1, 7).subject, 2), "as it was told");
    }

    #[test]
    fn an_attack_from_everywhere_is_told_of_some_networks_only() {
        let mut alerts = ActiveAlerts::default();
        let told = (0..200).filter(|n| alerts.heed(now(1), flood(1, *n)).is_some()).count();
        assert_eq!((told, alerts.unlisted(), alerts.list(now(1)).count()), (ACTIVE_MAX, 192, ACTIVE_MAX));
        let other = Alert { kind: AlertKind::Reflection, ..flood(1, 1) };
        assert!(alerts.heed(now(1), other).is_some(), "other kinds have room of their own");
    }
}
