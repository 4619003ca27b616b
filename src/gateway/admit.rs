//! The checks that a query passes before anything is spent on it: access, source limit, cookie, filter, and, where
//! no answer is remembered, the debt of its network. Only what comes out of
//! here, an [`Admitted`], can be answered from the cache or forwarded.

use super::foresight::{Foreknown, Known};
use super::obey::Order;
use super::outbox::Outbox;
use super::{Case, Client, Desk, View};
use crate::clock::Moment;
use crate::dns::edns::ExtendedError;
use crate::dns::query::{Malformed, Query};
use crate::dns::reply::Body;
use crate::dns::{opcode, rcode, rtype};
use crate::policy::Mode;
use crate::policy::access::{AccessVerdict, Asked};
use crate::policy::clients::GroupSet;
use crate::policy::filter::Subject;
use crate::policy::overload::Pressure;
use crate::policy::rrl::RrlVerdict;
use crate::policy::source::SourceVerdict;
use crate::verdict::{Outcome, Reason};

/// How an admitted query goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A question whose answer may be cached, filtered and rebuilt.
    Plain,
    /// Signed, NOTIFY, UPDATE, or a transfer over UDP: passes byte for byte apart from its id.
    Opaque,
    /// AXFR or IXFR over TCP: many messages over a connection of its own.
    Transfer,
}

/// A query that every policy lets pass.
#[derive(Debug)]
pub(super) struct Admitted<'q> {
    case: &'q Case<'q>,
    kind: Kind,
    groups: GroupSet,
    /// A rule decides on the question, unless one of an earlier zone decides on the answer.
    waits: bool,
}

impl<'q> Admitted<'q> {
    /// A plain query that was admitted when it came, and has waited since for another one's answer.
    pub(super) fn again(view: &View<'_>, case: &'q Case<'q>) -> Self {
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        let waits = view.waits(case, &groups);
        Self { case, kind: Kind::Plain, groups, waits }
    }

    pub(super) fn case(&self) -> &'q Case<'q> {
        self.case
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn groups(&self) -> &GroupSet {
        &self.groups
    }

    pub(super) fn waits(&self) -> bool {
        self.waits
    }
}

impl<'v> View<'v> {
    /// What the filter is asked about a question.
    pub(super) fn subject<'s>(&self, case: &Case<'s>, groups: &'s GroupSet) -> Subject<'s>
    where
        'v: 's,
    {
        let (client, tcp) = (case.client.peer.ip(), case.client.is_tcp());
        Subject { groups, client, name: &case.query.name, qtype: case.query.qtype, tcp, active: self.active }
    }

    /// Whether what was admitted at a moment, under the policy of a generation, was admitted by what is in force now.
    fn is_as_at(&self, received: Moment, policy: u64) -> bool {
        if received == self.now.at {
            return policy == self.running.generation;
        }
        // Rounded up: within the millisecond of a change it is asked again.
        let waited_ms = u64::try_from(self.now.at.since(received).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let unix_ms = self.now.unix_ms.saturating_sub(waited_ms);
        policy == self.running.generation
            && !self.active.may_have_changed_since(unix_ms)
            && !self.running.policy.filter.expires_within(unix_ms, self.now.unix_ms)
    }

    /// Whether a rule decides on a question, unless one of an earlier zone decides on its answer.
    pub(super) fn waits(&self, case: &Case<'_>, groups: &GroupSet) -> bool {
        case.led.is_none()
            && self.running.policy.filter.may_wait()
            && self.running.decide(&self.subject(case, groups)).waits
    }
}

impl Kind {
    pub(super) fn of(query: &Query<'_>, tcp: bool) -> Self {
        let is_transfer = matches!(query.qtype, rtype::AXFR | rtype::IXFR) && query.opcode == opcode::QUERY;
        match (is_transfer, tcp) {
            (true, true) => Self::Transfer,
            (true, false) => Self::Opaque,
            _ if query.signed || query.opcode != opcode::QUERY => Self::Opaque,
            _ => Self::Plain,
        }
    }
}

impl Desk {
    /// Judges a query; what is not admitted has been answered and counted.
    pub(super) fn admit<'q>(&mut self, view: &View<'_>, case: &'q Case<'q>, out: &mut Outbox) -> Option<Admitted<'q>> {
        if !self.pass_access(view, case, out) {
            return None;
        }
        let known = self.foresee(view, case);
        self.count_cookie(view, case);
        let kind = Kind::of(case.query, case.client.is_tcp());
        if !self.pass_overload(view, case, out)
            || !self.pass_source(view, case, out)
            || !self.pass_cookie(view, case, kind, out)
        {
            return None;
        }
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        // Signed questions too, or any client could add a signature of nobody's to get around a rule.
        let mut waits = false;
        if case.query.asks_for_records() {
            waits = self.pass_filter(view, case, &groups, Some(known), out)?;
        }
        Some(Admitted { case, kind, groups, waits })
    }

    /// Whether a query that was admitted under the policy of a generation still is: a change of policy, of the hours of its
    /// schedules, or the end of a rule acts on those that wait for an upstream as on all others. One that is not has been
    /// answered and counted, or begins anew. Limits are not asked again, they have counted it.
    pub(super) fn stays_admitted(&mut self, view: &View<'_>, case: &Case<'_>, policy: u64, out: &mut Outbox) -> bool {
        if view.is_as_at(case.received, policy) {
            return true;
        }
        if let Some(led) = case.led {
            // What comes for the target may not be what the client is to get.
            self.ask_afresh(view, case, led, out);
            return false;
        }
        self.passes_again(view, case, out)
    }

    /// Asks access and filter again about a query that they have let pass; one that they do not has been answered.
    pub(super) fn passes_again(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) -> bool {
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        self.pass_access(view, case, out)
            && (!case.query.asks_for_records() || self.pass_filter(view, case, &groups, None, out).is_some())
    }

    /// Of a flood most is refused before its name is looked up.
    #[inline]
    fn foresee(&mut self, view: &View<'_>, case: &Case<'_>) -> Known {
        let places = (&view.running.policy.filter, &view.shared.cache);
        let Foreknown { name, key_hash } = self.foresight.of(places, case.query, self.pressure == Pressure::None);
        if let Some(hash) = key_hash {
            let _ = case.key_hash.set(hash);
        }
        name
    }

    fn pass_access(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) -> bool {
        let Client { peer, .. } = case.client;
        let tcp = case.client.is_tcp();
        let prohibited = Some((ExtendedError::Prohibited, ""));
        let Query { opcode, qtype, qclass, .. } = *case.query;
        let access = &view.running.policy.access;
        let judged = access.judge(peer.ip(), tcp, Asked { opcode, qtype, qclass }, view.active);
        let Some(judgement) = judged else { return true };
        if let Some((reason, number)) = judgement.monitored {
            self.would(view, case, (Outcome::Denied, reason), access.speaker(number));
        }
        let rule = access.speaker(judgement.number);
        if let Some(rule) = rule {
            rule.hits.decided(self.worker, view.now.unix_ms);
        }
        let (body, error, outcome, reason) = match judgement.verdict {
            AccessVerdict::Admit => return true,
            AccessVerdict::Truncate(_) if tcp => return true,
            AccessVerdict::Refuse(reason) => (Body::Rcode(rcode::REFUSED), prohibited, Outcome::Denied, reason),
            AccessVerdict::NotImplemented(reason) => (Body::Rcode(rcode::NOTIMP), prohibited, Outcome::Denied, reason),
            AccessVerdict::Truncate(reason) => (Body::Truncated, None, Outcome::Truncated, reason),
            AccessVerdict::Drop(reason) => {
                self.drop_query(view, case, reason, rule, out);
                return false;
            }
        };
        let (outcome, reason) = self.write_own(view, case, body, error, (outcome, reason), out);
        self.finish(view, case, outcome, reason, rule);
        false
    }

    pub(super) fn pass_source(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) -> bool {
        let policy = &view.running.policy.source;
        let verified = view.is_verified(case);
        match self.limit.check(policy, view.now.at, case.client.peer.ip(), verified) {
            SourceVerdict::Within => return true,
            _ if policy.mode == Mode::Monitor => {
                self.would(view, case, (Outcome::Dropped, Reason::Source), None);
                return true;
            }
            // TC=1 invites to TCP, BADCOOKIE to a cookie; who has come with either already gets silence.
            SourceVerdict::Slip if !verified => {
                let (body, outcome) = view.slip(case);
                self.say(view, case, body, None, (outcome, Reason::Source), out);
            }
            SourceVerdict::Slip | SourceVerdict::Drop => {
                self.drop_query(view, case, Reason::Source, None, out);
            }
        }
        false
    }

    /// Asks the filter about a question: `None` when that has been answered, else whether a decision waits for the answer.
    /// `known`: what is of its name when it comes; budgets are asked then, and pay for it.
    fn pass_filter(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        groups: &GroupSet,
        known: Option<Known>,
        out: &mut Outbox,
    ) -> Option<bool> {
        if !view.running.filters().has_rules() {
            return Some(false);
        }
        let subject = view.subject(case, groups);
        let budgets = &view.shared.budgets;
        let foreseen = self.foresight.of_name(known.unwrap_or(Known::Nobodys));
        let decision = view.running.decide_foreseen(&subject, foreseen, &mut |rule, matched| {
            known.is_some() && budgets.is_spent(view.now.at, rule, matched, subject.name, subject.client)
        });
        if let Some(rule) = decision.monitored {
            self.would(view, case, (Outcome::Denied, Reason::Filter), Some(rule.speaker()));
        }
        // The question is asked first; what decides is decided on the answer.
        if decision.waits {
            return Some(true);
        }
        match Order::of(&decision, subject.name) {
            Some(order) => self.obey(view, case, &order, out).then_some(false),
            None => Some(false),
        }
    }

    /// Does what a rule says that waited for an answer, when none can be had; false when there is no such rule.
    pub(super) fn obey_without_answer(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) -> bool {
        if case.led.is_some() || !view.running.policy.filter.may_wait() || !case.query.asks_for_records() {
            return false;
        }
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        let decision = view.running.decide(&view.subject(case, &groups));
        match Order::of(&decision, &case.query.name).filter(|_| decision.waits) {
            Some(order) => !self.obey(view, case, &order, out),
            None => false,
        }
    }

    /// Whether a question that no memory answers may cost the upstream anything: one whose answer is in debt already is
    /// decided here. In monitor mode the answer itself is counted, when it comes.
    pub(super) fn pass_debt(&mut self, view: &View<'_>, admitted: &Admitted<'_>, out: &mut Outbox) -> bool {
        let (case, policy) = (admitted.case, &view.running.policy.rrl);
        if policy.mode != Mode::Enforce || view.is_verified(case) {
            return true;
        }
        let Query { name, qtype, .. } = case.asked();
        match policy.check_ahead(&view.shared.rrl, view.now.at, case.client.peer.ip(), name, *qtype) {
            None | Some(RrlVerdict::Answer) => return true,
            Some(RrlVerdict::Slip) => {
                let (body, outcome) = view.slip(case);
                self.say(view, case, body, None, (outcome, Reason::Rrl), out);
            }
            Some(RrlVerdict::Drop) => self.drop_query(view, case, Reason::Rrl, None, out),
        }
        false
    }

    /// A packet that is no query: counted, and answered only where that is right and the client may ask at all.
    pub(super) fn reject(&mut self, view: &View<'_>, client: Client, packet: &[u8], why: Malformed, out: &mut Outbox) {
        let tcp = client.is_tcp();
        let Malformed::Answer { rcode, question_end, edns } = why else {
            client.expect_nothing(out);
            return self.count_malformed(view, client, packet, (Outcome::Malformed, Reason::Malformed));
        };
        let policy = &view.running.policy;
        let admitted = policy.access.admits(client.peer.ip());
        let within = self.limit.check(&policy.source, view.now.at, client.peer.ip(), tcp) == SourceVerdict::Within;
        if !within && policy.source.mode == Mode::Monitor {
            self.ledger.would(Reason::Source);
            self.sampler.monitored(Reason::Source);
        }
        let over = !within && policy.source.mode != Mode::Monitor;
        if !admitted || over {
            let reason = if admitted { Reason::Source } else { Reason::Access };
            client.expect_nothing(out);
            return self.count_malformed(view, client, packet, (Outcome::Dropped, reason));
        }
        self.say_malformed(view, client, packet, (rcode, question_end, edns), out);
    }
}
