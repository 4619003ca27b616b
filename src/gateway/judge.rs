//! What becomes of an answer, fresh, cached or stale, by the word of the policy on it; and what only watches is counted.

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
use crate::policy::filter::{Action, Decision, Rule};
use crate::policy::rebinding;
use crate::policy::word::{Heard, Pass, Word};
use crate::verdict::{Outcome, Reason};

impl<'v> View<'v> {
    /// What is said about an answer; nothing is counted.
    pub(super) fn hear(&self, case: &Case<'_>, groups: &GroupSet, response: &Response<'_>) -> Heard<'v> {
        let subject = self.subject(case, groups);
        match case.led {
            Some(_) => self.running.filters().judge_led(&subject, response),
            None => self.running.filters().judge(&subject, response),
        }
    }
}

impl Desk {
    /// Judges an answer, and counts what only watches. All that was heard is given back, which spares moving it.
    pub(super) fn judge_answer<'v>(
        &mut self,
        view: &View<'v>,
        case: &Case<'_>,
        groups: &GroupSet,
        response: &Response<'_>,
    ) -> Heard<'v> {
        let heard = view.hear(case, groups, response);
        self.count_heard(view, case, &heard);
        heard
    }

    /// Counts what only watches, and tells of a hijack.
    pub(super) fn count_heard(&mut self, view: &View<'_>, case: &Case<'_>, heard: &Heard<'_>) {
        let name = &case.query.name;
        if let Some(rule) = heard.monitored {
            // One that watches the question would have decided before there was an answer, and has been counted.
            if !heard.was_heard {
                self.would(view, case, (Outcome::Denied, Reason::Filter), Some(rule.speaker()));
            }
            self.tell_hijack(view, name, rule);
        }
        if let Word::Rule(Decision { rule: Some(rule), .. }, _) = &heard.word {
            self.tell_hijack(view, name, rule);
        }
        if heard.rebinding {
            self.would(view, case, (Outcome::Denied, Reason::Rebinding), None);
        }
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
        case: &Case<'_>,
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
                if self.obey(view, case, &order, out) {
                    // It would lead the name to itself.
                    return Some(Pass { untouched: false, ttl: decision.ttl, cut: false, rule: None });
                }
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
    fn withhold(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) {
        let error = Some((ExtendedError::Other, "more CNAMEs than the filter reads"));
        self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, (Outcome::Denied, Reason::Filter), out);
    }
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
