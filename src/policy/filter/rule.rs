//! A rule as it runs, and what it is asked about.

use super::action::Action;
use super::consider::Why;
use super::trigger::{Matched, TriggerKind};
use crate::dns::name::Name;
use crate::policy::Mode;
use crate::policy::clients::GroupSet;
use crate::policy::hits::{Counted, RuleHits, Speaker};
use crate::policy::schedules::{ActiveSet, ScheduleSet};
use crate::verdict::Reason;
use std::net::IpAddr;

/// TTL of self-made answers unless given, in seconds.
pub const TTL_DEFAULT: u32 = 30;

/// Which transport a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleTransport {
    /// Queries over UDP.
    Udp,
    /// Queries over TCP.
    Tcp,
}

/// For whom and what a rule speaks; what is absent does not restrict it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `groups` of the zone.
    pub zone_groups: Option<GroupSet>,
    /// `groups` of the rule.
    pub groups: Option<GroupSet>,
    /// Types asked for.
    pub qtypes: Option<Vec<u16>>,
    /// How it was asked.
    pub transport: Option<RuleTransport>,
    /// `schedule` of the zone: one of them has to be active.
    pub zone_schedules: Option<ScheduleSet>,
    /// `schedule` of the rule, alike.
    pub schedules: Option<ScheduleSet>,
    /// When it expires, or its zone if that is earlier: milliseconds since 1970-01-01 UTC.
    pub expires_ms: Option<u64>,
}

/// A rule as it runs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As written; unique in the policy.
    pub id: String,
    /// The title of its zone.
    pub zone: String,
    /// The place of its zone in the order of zones, from 0.
    pub zone_number: usize,
    /// What makes it speak.
    pub trigger: TriggerKind,
    /// What it does.
    pub action: Action,
    /// TTL of self-made answers, in seconds.
    pub ttl: u32,
    /// The stricter of what rule and zone say: off before monitor before enforce.
    pub mode: Mode,
    /// For whom and what.
    pub scope: Scope,
    /// Who answers for it; a note, as are `ticket` and `note`.
    pub owner: Option<String>,
    /// Where it was asked for.
    pub ticket: Option<String>,
    /// Why it is there.
    pub note: Option<String>,
    /// How often it has spoken.
    pub hits: RuleHits,
}

impl Rule {
    /// A rule by name, in force for everyone, in the zone of this title and place.
    pub fn new(id: &str, zone: &str, zone_number: usize, action: Action) -> Self {
        Self {
            id: id.to_owned(),
            zone: zone.to_owned(),
            zone_number,
            trigger: TriggerKind::Name,
            action,
            ttl: TTL_DEFAULT,
            mode: Mode::Enforce,
            scope: Scope::default(),
            owner: None,
            ticket: None,
            note: None,
            hits: RuleHits::default(),
        }
    }

    /// What the log and its counters need of it.
    #[inline]
    pub fn speaker(&self) -> Speaker<'_> {
        Speaker { id: &self.id, hits: &self.hits }
    }

    /// As it is shown with its counters.
    pub fn counted(&self) -> Counted<'_> {
        let Self { id, zone, action, owner, ticket, hits, .. } = self;
        let expires_ms = self.scope.expires_ms;
        let (action, owner, ticket) = (action.name(), owner.as_deref(), ticket.as_deref());
        Counted { id, policy: Reason::Filter.name(), identity: id, zone, action, owner, expires_ms, ticket, hits }
    }

    /// Whether it only watches.
    pub fn watches(&self) -> bool {
        self.mode == Mode::Monitor || matches!(self.action, Action::Monitor)
    }

    /// The least TTL that it gives to whom it speaks about, in seconds; 0: none.
    pub(super) fn least_ttl(&self) -> u32 {
        match self.action {
            Action::Ttl(bounds) if self.mode == Mode::Enforce => bounds.min,
            _ => 0,
        }
    }

    /// Whether it speaks about a subject that sets it off.
    pub(super) fn speaks(&self, subject: &Subject<'_>) -> bool {
        self.silent_because(subject).is_none()
    }

    /// Why it does not speak about a subject that sets it off.
    pub(super) fn silent_because(&self, subject: &Subject<'_>) -> Option<Why> {
        let scope = &self.scope;
        if self.mode == Mode::Off {
            return Some(Why::Off);
        }
        if [&scope.zone_groups, &scope.groups].into_iter().flatten().any(|groups| !groups.intersects(subject.groups)) {
            return Some(Why::OtherGroup);
        }
        if scope.qtypes.as_ref().is_some_and(|qtypes| !qtypes.contains(&subject.qtype)) {
            return Some(Why::OtherType);
        }
        let transport = if subject.tcp { RuleTransport::Tcp } else { RuleTransport::Udp };
        if scope.transport.is_some_and(|wanted| wanted != transport) {
            return Some(Why::OtherTransport);
        }
        if scope.expires_ms.is_some_and(|expires_ms| subject.active.has_expired(expires_ms)) {
            return Some(Why::Expired);
        }
        if [&scope.zone_schedules, &scope.schedules]
            .into_iter()
            .flatten()
            .any(|schedules| !subject.active.has(schedules))
        {
            return Some(Why::OtherTime);
        }
        None
    }
}

/// What a filter is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The groups of the client.
    pub groups: &'a GroupSet,
    /// The client.
    pub client: IpAddr,
    /// The name asked for, or a CNAME target.
    pub name: &'a Name,
    /// The type asked for.
    pub qtype: u16,
    /// It came over TCP.
    pub tcp: bool,
    /// What is in force now.
    pub active: &'a ActiveSet,
}

#[cfg(test)]
impl<'a> Subject<'a> {
    /// What most tests ask about: type A, over UDP, whenever.
    pub(in crate::policy) fn plain(groups: &'a GroupSet, name: &'a Name) -> Self {
        Self { groups, client: [192, 0, 2, 1].into(), name, qtype: 1, tcp: false, active: &ActiveSet::EVERYTHING }
    }
}

/// The rules that spoke: the one that decides, and those that only watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'f> {
    /// The rule that decides, if any; never one in monitor mode.
    pub rule: Option<&'f Rule>,
    /// By what the rule that decides was set off.
    pub matched: Matched,
    /// At which stage of an answer: 0 for the question, n for the CNAME target number n.
    pub stage: usize,
    /// The first rule in monitor mode (or with the action monitor) that would have decided.
    pub monitored: Option<&'f Rule>,
    /// The first rule that bounds the TTLs of the answer.
    pub ttl: Option<&'f Rule>,
    /// The first rule that expects certain answers, and got one.
    pub expected: Option<&'f Rule>,
    /// A rule of an earlier zone than that of `rule` may speak once the answer is there, and comes before it: the question
    /// has to be asked first.
    pub waits: bool,
}

/// What a rule that depends on more than names and addresses is asked: for `shed` and `limit`, whether the budget is used
/// up, which also takes from it; for `expect`, whether the answer is another one.
pub(super) type Applies<'a> = &'a mut dyn FnMut(&Rule, Matched) -> bool;

impl<'f> Decision<'f> {
    /// Hears a rule that speaks; says whether it decides.
    #[inline]
    pub(super) fn hear(&mut self, rule: &'f Rule, matched: Matched, applies: Applies<'_>) -> bool {
        let depends = matches!(rule.action, Action::Shed(_) | Action::Limit(_) | Action::Expect(_));
        if depends && !applies(rule, matched) {
            if matches!(rule.action, Action::Expect(_)) && !rule.watches() {
                self.expected = self.expected.or(Some(rule));
            }
            return false;
        }
        if rule.watches() {
            self.monitored = self.monitored.or(Some(rule));
            return false;
        }
        if matches!(rule.action, Action::Ttl(_)) {
            self.ttl = self.ttl.or(Some(rule));
            return false;
        }
        (self.rule, self.matched) = (Some(rule), matched);
        true
    }
}
