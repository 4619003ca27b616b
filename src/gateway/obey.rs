//! What a rule that decides does to a query.

use super::outbox::Outbox;
use super::reply::Extended;
use super::{Case, Desk, View};
use crate::dns::edns::ExtendedError;
use crate::dns::name::Name;
use crate::dns::rcode;
use crate::dns::reply::{Body, OwnRecord};
use crate::policy::filter::data::{DataOwner, DataSet, RECORDS_MAX};
use crate::policy::filter::{Action, Decision, Matched, Otherwise, Rule};
use crate::verdict::{Outcome, Reason};

/// A rule that decides, and what set it off.
pub(super) struct Order<'a> {
    pub(super) rule: &'a Rule,
    /// The name asked for, or the CNAME target at which it decided.
    pub(super) name: &'a Name,
    pub(super) matched: Matched,
}

impl<'a> Order<'a> {
    /// What a decision about `name` says, if a rule decides.
    pub(super) fn of(decision: &Decision<'a>, name: &'a Name) -> Option<Self> {
        let matched = decision.matched;
        decision.rule.map(|rule| Self { rule, name, matched })
    }

    /// The owner of local data, as its trigger is written.
    pub(super) fn owner(&self) -> DataOwner<'a> {
        match self.matched {
            Matched::Name { at, .. } => DataOwner::Name(
                if at == 0 { 1 } else { 2 },
                self.name.as_wire().get(usize::from(at)..).unwrap_or_default(),
            ),
            Matched::Network(net) => DataOwner::Network(net),
        }
    }
}

impl Desk {
    /// Does what a rule says; true when the query goes on.
    pub(super) fn obey(&mut self, view: &View<'_>, case: &Case<'_>, order: &Order<'_>, out: &mut Outbox) -> bool {
        let rule = order.rule;
        rule.hits.decided(self.worker, view.now.unix_ms);
        let blocked = Some((ExtendedError::Blocked, rule.id.as_str()));
        let forged = Some((ExtendedError::ForgedAnswer, rule.id.as_str()));
        let ttl = rule.ttl;
        let (body, error) = match &rule.action {
            Action::Allow | Action::Monitor | Action::Ttl(_) => return true,
            Action::Truncate if case.client.is_tcp() => return true,
            Action::Truncate => (Body::Truncated, None),
            Action::Nxdomain => (Body::Nxdomain { ttl }, blocked),
            Action::Nodata => (Body::Nodata { ttl }, blocked),
            Action::Refused => (Body::Rcode(rcode::REFUSED), blocked),
            Action::Sinkhole(addresses) => (Body::Addresses { addresses, ttl }, forged),
            Action::Data(data) => return self.answer_with_data(view, case, order, data, out),
            Action::Shed(_) => return self.shed(view, case, rule, out),
            Action::Limit(_) => (Body::Rcode(rcode::REFUSED), Some((ExtendedError::Prohibited, rule.id.as_str()))),
            Action::Expect(expectation) => match expectation.otherwise {
                Otherwise::Servfail => (Body::Rcode(rcode::SERVFAIL), blocked),
                Otherwise::Nxdomain => (Body::Nxdomain { ttl }, blocked),
                Otherwise::Nodata => (Body::Nodata { ttl }, blocked),
                Otherwise::Refused => (Body::Rcode(rcode::REFUSED), blocked),
                Otherwise::Drop => {
                    self.drop_query(view, case, Reason::Filter, Some(rule.speaker()), out);
                    return false;
                }
            },
            Action::Drop => {
                self.drop_query(view, case, Reason::Filter, Some(rule.speaker()), out);
                return false;
            }
        };
        self.answer_for_rule(view, case, rule, (body, error), out);
        false
    }

    /// Writes what a rule answers, and counts it under the rule.
    pub(super) fn answer_for_rule(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        rule: &Rule,
        (body, error): (Body<'_>, Extended<'_>),
        out: &mut Outbox,
    ) {
        let outcome = if matches!(rule.action, Action::Truncate) { Outcome::Truncated } else { Outcome::Denied };
        let (outcome, reason) = self.write_own(view, case, body, error, (outcome, Reason::Filter), out);
        self.finish(view, case, outcome, reason, Some(rule.speaker()));
    }

    /// Local data: the records of the type asked for, or where a CNAME leads; true when that is nowhere else.
    fn answer_with_data(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        order: &Order<'_>,
        data: &DataSet,
        out: &mut Outbox,
    ) -> bool {
        let (rule, ttl) = (order.rule, order.rule.ttl);
        let data = data.of(order.owner());
        if let Some(alias) = &data.alias {
            return self.lead(view, case, order, alias, out);
        }
        let error = Some((ExtendedError::ForgedAnswer, rule.id.as_str()));
        let mut records = [OwnRecord::default(); RECORDS_MAX];
        let len = data.write_of_type(case.query.qtype, ttl, &mut records);
        self.answer_for_rule(view, case, rule, (Body::Records { records: &records[..len], ttl }, error), out);
        false
    }

    /// Over the budget of a rule that sheds: an old answer, else NXDOMAIN, and the upstreams are left in peace.
    fn shed(&mut self, view: &View<'_>, case: &Case<'_>, rule: &Rule, out: &mut Outbox) -> bool {
        if !self.answer_stale(view, case, Reason::Filter, out) {
            let error = Some((ExtendedError::Blocked, rule.id.as_str()));
            self.answer_for_rule(view, case, rule, (Body::Nxdomain { ttl: rule.ttl }, error), out);
        }
        false
    }
}
