//! The decision about an answer: its stages from the name asked for through every CNAME target, and at each what it shows.
//!
//! An answer shows addresses (A, AAAA, and the hints of HTTPS and SVCB records, RFC 9460) at its last stage: a name with a
//! CNAME has no addresses of its own (RFC 1034 section 3.6.2). It shows name servers of those stages whose names are within
//! the zone of an NS record, as far as the upstream gives any: a gateway asks for none.

use super::action::Expectation;
use super::decide::Stage;
use super::index::wanted;
use super::{Action, Decision, Filter, LeastTtls, Matched, Rule, Subject};
use crate::dns::name::Name;
use crate::dns::response::Response;
use crate::policy::Mode;
use std::cmp::Ordering;
use std::net::IpAddr;

/// What one answer shows, for the look-ups of a stage.
#[derive(Debug)]
pub(super) struct Shown<'s, 'm> {
    pub(super) response: &'s Response<'m>,
    /// Addresses belong to the last stage.
    pub(super) last: bool,
}

impl Shown<'_, '_> {
    /// Calls `visit` with each address of this stage.
    pub(super) fn addresses(&self, visit: &mut dyn FnMut(IpAddr)) {
        if self.last {
            self.response.addresses(visit);
        }
    }

    /// Calls `visit` with the name of each name server of the zones around `name`, and where in the answer it stands.
    pub(super) fn name_servers(&self, name: &Name, visit: &mut dyn FnMut(&Name, usize)) {
        self.response.name_servers(name, visit);
    }

    /// The canonical order of two such names, by where they stand.
    pub(super) fn order_of_servers(&self, one: usize, other: usize) -> Ordering {
        match (self.response.name_at(one), self.response.name_at(other)) {
            (Some(one), Some(other)) => one.canonical_cmp(&other),
            // They have been read there before.
            _ => Ordering::Equal,
        }
    }

    /// Calls `visit` with each address of a name server of the zones around `name`.
    pub(super) fn name_server_addresses(&self, name: &Name, visit: &mut dyn FnMut(IpAddr)) {
        self.response.name_server_addresses(name, visit);
    }
}

impl Filter {
    /// Whether any rule is of the answer, by its trigger or by what it does.
    #[inline]
    pub fn has_rules_of_the_answer(&self) -> bool {
        self.besides.of_the_answer
    }

    /// Whether a decision about a question may have to wait for the answer.
    #[inline]
    pub fn may_wait(&self) -> bool {
        !self.besides.waited_for.is_empty()
    }

    /// Whether no rule of the answer could ever speak about this one, for any client, apart from rules that name the name
    /// asked for. Costs a look-up for each CNAME target and, where there are rules for them, each address and name server.
    pub fn is_answer_untouched(&self, name: &Name, response: &Response<'_>) -> bool {
        let mut untouched = true;
        response.chain(&mut |target| untouched = untouched && self.is_untouched(target));
        if !self.besides.of_the_answer || !untouched {
            return untouched;
        }
        let besides = &*self.besides;
        let is_on = |rule: usize| self.rules[rule].mode != Mode::Off;
        if besides.bounds_by_client || self.names_for_the_answer(name) {
            return false;
        }
        if !besides.responses.is_empty() {
            let mut look = |address| {
                untouched = untouched && !besides.responses.of(address).iter().any(|held| is_on(held.rule as usize));
            };
            response.addresses(&mut look);
            response.additional_addresses(&mut look);
        }
        // Name servers are few and rarely shown: where there are rules for them, what shows any is looked at each time.
        if (besides.ns_names.is_some() || !besides.ns_addresses.is_empty()) && response.shows_name_servers() {
            return false;
        }
        untouched
    }

    /// Whether a rule that names `name` is about its answers.
    fn names_for_the_answer(&self, name: &Name) -> bool {
        let mut found = false;
        self.index.table.suffixes_of(name.as_wire(), |hit| {
            let mut members = self.index.sets.members(hit.value).iter();
            found = members.any(|member| {
                let rule = &self.rules[member.rule()];
                member.reach() & wanted(hit.at) != 0 && rule.mode != Mode::Off && rule.action.is_about_the_answer()
            });
            !found
        });
        found
    }

    /// The largest `min` in seconds of the rules that may bound the TTLs of an answer to `name`, whoever asks and whenever; 0
    /// when none has one. Of rules that do not go by names, all count. Costs as much as [`Self::is_answer_untouched`].
    pub fn least_ttl(&self, name: &Name, response: &Response<'_>) -> u32 {
        let LeastTtls { by_name, mut besides } = self.besides.least_ttls;
        if by_name > besides {
            self.raise_least_ttl(name, &mut besides);
            response.chain(&mut |target| self.raise_least_ttl(target, &mut besides));
        }
        besides
    }

    fn raise_least_ttl(&self, name: &Name, least: &mut u32) {
        self.index.table.suffixes_of(name.as_wire(), |hit| {
            let members = self.index.sets.members(hit.value).iter();
            for member in members.filter(|member| member.reach() & wanted(hit.at) != 0) {
                *least = (*least).max(self.rules[member.rule()].least_ttl());
            }
            true
        });
    }

    /// The decision about an answer to `subject`: the earliest stage at which a rule decides. No budget is asked: that was
    /// done on the question.
    pub fn judge(&self, subject: &Subject<'_>, response: &Response<'_>) -> Decision<'_> {
        self.judge_stages(subject, response, false)
    }

    /// The decision about an answer to `subject` whose name local data has put in the place of another: rules that say which
    /// answers are right, for how long, or that any is, are heard; those that rewrite are not, see `local`.
    pub fn judge_led(&self, subject: &Subject<'_>, response: &Response<'_>) -> Decision<'_> {
        self.judge_stages(subject, response, true)
    }

    fn judge_stages(&self, subject: &Subject<'_>, response: &Response<'_>, led: bool) -> Decision<'_> {
        let mut decision = Decision::default();
        for stage in 0..=response.chain_len {
            let target = match stage {
                0 => None,
                _ => match response.target(stage - 1) {
                    Some(target) => Some(target),
                    None => break,
                },
            };
            let name = target.as_ref().unwrap_or(subject.name);
            let shown = Shown { response, last: stage == response.chain_len };
            let mut applies = |rule: &Rule, _: Matched| match &rule.action {
                Action::Expect(expectation) => is_unexpected(expectation, response, stage),
                _ => false,
            };
            let of_stage = Stage { first: stage == 0, shown: Some(&shown), led };
            self.hear_stage(&Subject { name, ..*subject }, of_stage, &mut decision, &mut applies);
            if decision.rule.is_some() {
                decision.stage = stage;
                break;
            }
        }
        decision
    }

    /// Whether the additional section of an answer that may be sent holds an address that a rule would not let pass in the
    /// answer itself. Nobody asked for it, so it is cut off rather than the answer withheld.
    pub fn cuts_additionals(&self, subject: &Subject<'_>, response: &Response<'_>, decision: &Decision<'_>) -> bool {
        let besides = &*self.besides;
        let mut cuts = false;
        let allowed = decision.rule.map_or(usize::MAX, |rule| rule.zone_number);
        if !besides.responses.is_empty() {
            response.additional_addresses(&mut |address| {
                let rules = besides.responses.of(address).iter().map(|held| &self.rules[held.rule as usize]);
                let mut deciding = rules.filter(|rule| !rule.watches() && rule.speaks(subject));
                let decides = deciding.find(|rule| !matches!(rule.action, Action::Ttl(_)));
                cuts |= decides.is_some_and(|rule| rule.action.blocks() && rule.zone_number < allowed);
            });
        }
        if let Some(Action::Expect(expectation)) = decision.expected.map(|rule| &rule.action) {
            response.additional_addresses(&mut |address| {
                cuts |= !expectation.admits_address(address, response.chain_len > 0);
            });
        }
        cuts
    }
}

/// Whether an answer holds anything that is not expected at `stage` or behind it.
fn is_unexpected(expectation: &Expectation, response: &Response<'_>, stage: usize) -> bool {
    let mut unexpected = false;
    for target in (stage..response.chain_len).filter_map(|n| response.target(n)) {
        unexpected |= !expectation.admits_target(&target);
    }
    response.service_targets(&mut |target| unexpected |= !expectation.admits_target(target));
    let led = response.chain_len > stage;
    response.addresses(&mut |address| unexpected |= !expectation.admits_address(address, led));
    unexpected
}
