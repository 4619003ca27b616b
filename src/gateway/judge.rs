//! The filter's word on an answer, fresh, cached or stale: its CNAME targets, its addresses, its name servers, and whether it
//! is the one that was expected.

use super::obey::Order;
use super::outbox::Outbox;
use super::{Case, Desk, View};
use crate::dns::edns::ExtendedError;
use crate::dns::name::Name;
use crate::dns::rcode;
use crate::dns::reply::Body;
use crate::dns::response::Response;
use crate::language::phrase;
use crate::ledger::alerts::{self, Alert, AlertKind};
use crate::policy::clients::GroupSet;
use crate::policy::filter::{Action, Decision, Rule, Subject, TtlBounds};
use crate::policy::{Mode, rebinding};
use crate::verdict::{Outcome, Reason};

/// An answer that may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass<'f> {
    /// No rule speaks about any part of it for anybody.
    pub(super) untouched: bool,
    /// The rule that bounds its TTLs.
    pub(super) ttl: Option<&'f Rule>,
    /// Its additional section may not be sent.
    pub(super) cut: bool,
}

impl Pass<'_> {
    /// The bounds of its TTLs.
    pub(super) fn bounds(&self) -> TtlBounds {
        match self.ttl.map(|rule| &rule.action) {
            Some(Action::Ttl(bounds)) => *bounds,
            _ => TtlBounds::NONE,
        }
    }
}

/// What the filter says about an answer.
#[allow(clippy::large_enum_variant)] // it lives on the stack of one answer; a box would be an allocation
pub(super) enum Word<'f> {
    /// May be sent.
    Pass(Pass<'f>),
    /// A rule decides otherwise, at this name.
    Rule(Decision<'f>, Name),
    /// It leads a name of the outside into a private network.
    Rebinding,
    /// There are more CNAMEs than are read: any rule might speak.
    Unread,
}

impl Word<'_> {
    /// Whether it is withheld for not being the answer that was expected.
    pub(super) fn is_unexpected(&self) -> bool {
        matches!(self, Self::Rule(Decision { rule: Some(Rule { action: Action::Expect(_), .. }), .. }, _))
    }
}

/// Where an answer has addresses of private networks.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    answer: bool,
    additional: bool,
}

impl Desk {
    /// Judges an answer, and counts what only watches.
    pub(super) fn judge_answer<'v>(
        &mut self,
        view: &View<'v>,
        case: Case<'_>,
        groups: &GroupSet,
        response: &Response<'_>,
    ) -> Word<'v> {
        let (running, name, tcp) = (view.running, &case.query.name, case.client.is_tcp());
        let (client, qtype, active) = (case.client.peer.ip(), case.query.qtype, view.active);
        let subject = Subject { groups, client, name, qtype, tcp, active };
        if let Some((rule, target)) = emergency_in_chain(view, &subject, response) {
            return Word::Rule(Decision { rule: Some(rule), ..Decision::default() }, target);
        }
        let inside = leads_inside(view, name, response);
        let untouched = !inside.answer && !inside.additional && running.is_answer_untouched(name, response);
        let waited = running.policy.filter.may_wait() && running.decide(&subject).waits;
        if untouched && !waited && !response.chain_cut {
            return Word::Pass(Pass { untouched, ttl: None, cut: false });
        }
        let decision = running.policy.filter.judge(&subject, response);
        if let Some(rule) = decision.monitored {
            // One that watches the question would have decided before there was an answer, and has been counted.
            if running.decide(&subject).monitored.is_none() {
                self.would(view, case, (Outcome::Denied, Reason::Filter), Some(rule));
            }
            self.tell_hijack(view, name, rule);
        }
        let passes = |rule: &Rule| rule.action == Action::Allow || tcp && rule.action == Action::Truncate;
        if let Some(rule) = decision.rule.filter(|rule| !passes(rule)) {
            self.tell_hijack(view, name, rule);
            let target = decision.stage.checked_sub(1).and_then(|n| response.target(n));
            return Word::Rule(decision, target.unwrap_or(*name));
        }
        let allowed = decision.rule.is_some_and(|rule| rule.action == Action::Allow);
        // Behind a rule that allows, nothing but an emergency rule could say more.
        if response.chain_cut && running.has_rules() && (!allowed || !running.emergency.is_empty()) {
            return Word::Unread;
        }
        let enforced = running.policy.rebinding.mode == Mode::Enforce;
        if inside.answer && enforced {
            return Word::Rebinding;
        }
        if inside.answer && !enforced {
            self.would(view, case, (Outcome::Denied, Reason::Rebinding), None);
        }
        let cut =
            inside.additional && enforced || running.policy.filter.cuts_additionals(&subject, response, &decision);
        Word::Pass(Pass { untouched, ttl: decision.ttl, cut })
    }

    /// Raises the alarm when a rule has found an answer that it does not expect; not more often than anybody reads.
    fn tell_hijack(&mut self, view: &View<'_>, name: &Name, rule: &Rule) {
        if !matches!(rule.action, Action::Expect(_)) || !self.hijacks.may_tell(view.now.at.as_secs()) {
            return;
        }
        let done = if rule.watches() {
            phrase!("nothing: the rule is in monitor mode")
        } else {
            phrase!("the answer is withheld")
        };
        let (unix_ms, subject, numbers) = (view.now.unix_ms, alerts::Subject::Zone(*name), alerts::Numbers::default());
        view.shared.alerts.raise(Alert { unix_ms, kind: AlertKind::Hijack, subject, numbers, done });
    }

    /// Does what the filter says; `None` when that has answered the query in the answer's place.
    pub(super) fn follow<'v>(
        &mut self,
        view: &View<'v>,
        case: Case<'_>,
        word: &Word<'v>,
        out: &mut Outbox,
    ) -> Option<Pass<'v>> {
        match word {
            Word::Pass(pass) => {
                if let Some(rule) = pass.ttl {
                    rule.hits.decided(self.worker, view.now.unix_ms);
                }
                return Some(*pass);
            }
            Word::Rule(decision, name) => {
                let order = Order::of(decision, name)?;
                self.obey(view, case, &order, out);
            }
            Word::Rebinding => {
                let error = Some((ExtendedError::Blocked, Reason::Rebinding.name()));
                let body = Body::Nodata { ttl: rebinding::TTL };
                self.say(view, case, body, error, (Outcome::Denied, Reason::Rebinding), out);
            }
            Word::Unread => self.withhold(view, case, out),
        }
        None
    }

    /// Withholds an answer whose names were not all read.
    fn withhold(&mut self, view: &View<'_>, case: Case<'_>, out: &mut Outbox) {
        let error = Some((ExtendedError::Other, "more CNAMEs than the filter reads"));
        self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, (Outcome::Denied, Reason::Filter), out);
    }
}

/// Whether the answer to a question for a name of the outside holds addresses of private networks.
fn leads_inside(view: &View<'_>, name: &Name, response: &Response<'_>) -> Inside {
    let policy = &view.running.policy.rebinding;
    let mut inside = Inside::default();
    if policy.mode == Mode::Off {
        return inside;
    }
    response.addresses(&mut |address| inside.answer |= policy.is_private(address));
    response.additional_addresses(&mut |address| inside.additional |= policy.is_private(address));
    if (inside.answer || inside.additional) && policy.allows(name) { Inside::default() } else { inside }
}

/// How many hijacks a worker has told of in this second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hijacks {
    second: u64,
    told: u32,
}

impl Hijacks {
    /// Most of one second: a forged zone must not fill the queue of alerts.
    const MOST: u32 = 8;

    fn may_tell(&mut self, second: u64) -> bool {
        if self.second != second {
            *self = Self { second, told: 0 };
        }
        self.told += 1;
        self.told <= Self::MOST
    }
}

/// The first CNAME target that an emergency rule is about: not even a rule that allows the question comes before it.
fn emergency_in_chain<'v>(view: &View<'v>, subject: &Subject<'_>, response: &Response<'_>) -> Option<(&'v Rule, Name)> {
    if view.running.emergency.is_empty() {
        return None;
    }
    (0..response.chain_len).find_map(|n| {
        let target = response.target(n)?;
        let rule = view.running.emergency_rule(&Subject { name: &target, ..*subject })?;
        Some((rule, target))
    })
}
