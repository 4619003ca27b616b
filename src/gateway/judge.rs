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
use crate::policy::clients::GroupSet;
use crate::policy::filter::{Action, Decision, Rule, Subject};
use crate::verdict::{Outcome, Reason};

/// An answer that may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass<'f> {
    /// No rule speaks about any part of it for anybody.
    pub(super) untouched: bool,
    /// The rule that bounds its TTLs.
    pub(super) ttl: Option<&'f Rule>,
}

/// What the filter says about an answer.
pub(super) enum Word<'f> {
    /// May be sent.
    Pass(Pass<'f>),
    /// A rule decides otherwise, at this name.
    Rule(Decision<'f>, Name),
    /// There are more CNAMEs than are read: any rule might speak.
    Unread,
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
        let subject = Subject { groups, client: case.client.peer.ip(), name, qtype: case.query.qtype, tcp };
        if let Some((rule, target)) = emergency_in_chain(view, &subject, response) {
            return Word::Rule(Decision { rule: Some(rule), ..Decision::default() }, target);
        }
        let untouched = running.is_answer_untouched(name, response);
        let waited = running.policy.filter.may_wait() && running.decide(&subject).waits;
        if untouched && !waited && !response.chain_cut {
            return Word::Pass(Pass { untouched, ttl: None });
        }
        let decision = running.policy.filter.judge(&subject, response);
        if let Some(rule) = decision.monitored {
            self.would(view, case, (Outcome::Denied, Reason::Filter), Some(rule));
        }
        let passes = |rule: &Rule| rule.action == Action::Allow || tcp && rule.action == Action::Truncate;
        if decision.rule.is_some_and(|rule| !passes(rule)) {
            let target = decision.stage.checked_sub(1).and_then(|n| response.target(n));
            return Word::Rule(decision, target.unwrap_or(*name));
        }
        let allowed = decision.rule.is_some_and(|rule| rule.action == Action::Allow);
        // Behind a rule that allows, nothing but an emergency rule could say more.
        if response.chain_cut && running.has_rules() && (!allowed || !running.emergency.is_empty()) {
            return Word::Unread;
        }
        Word::Pass(Pass { untouched, ttl: decision.ttl })
    }

    /// Does what the filter says; `None` when that has answered the query in the answer's place.
    pub(super) fn follow<'v>(
        &mut self,
        view: &View<'v>,
        case: Case<'_>,
        word: Word<'v>,
        out: &mut Outbox,
    ) -> Option<Pass<'v>> {
        match word {
            Word::Pass(pass) => return Some(pass),
            Word::Rule(decision, name) => {
                let order = Order::of(&decision, &name)?;
                self.obey(view, case, &order, out);
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
