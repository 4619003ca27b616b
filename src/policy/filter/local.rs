//! Where local data leads, and what stands there.
//!
//! A query is rewritten once: behind a `data` rule with a `cname` no rule blocks or rewrites the name that it leads to, nor
//! anything in the answer about that name. A response policy zone means it so: what its records lead to is resolved "outside
//! the policy zones" (BIND's manual), and BIND does not look into any of them again (`DNS_RPZ_REWRITTEN`). Else `"*"` could
//! not lead clients in quarantine to a portal, because the portal is a name as well; and whoever writes a redirect has
//! decided already what its clients get. Three things stay:
//!
//! - local data of a rule that is written in a `.toml` file answers for the target like a zone of ours, unless it has led
//!   here itself, or a rule before it allows the name; records of a policy zone do not, as in BIND;
//! - rules that vouch for answers are heard (`expect`, `ttl`, and `allow`, which frees from them): a forged portal is no
//!   better for having been redirected to;
//! - what is blocked in an emergency stays blocked, and so does what leads into a private network (`[rebinding]`).

use super::data::DataSet;
use super::{Action, Filter, Matched, Rule, Subject};

/// Local data about a name, with what set it off.
#[derive(Clone, Copy, Debug)]
pub struct Local<'f> {
    /// The rule.
    pub rule: &'f Rule,
    /// What it answers with.
    pub data: &'f DataSet,
    /// Which of its names.
    pub matched: Matched,
}

impl Filter {
    /// The first local data about the name of `subject`, a name to which other local data has led: none of the rules in
    /// `led`, and none behind a rule that allows the name. No allocation; linear in the rules that name it.
    pub fn local_data(&self, subject: &Subject<'_>, led: &[&Rule]) -> Option<Local<'_>> {
        let mut found = None;
        self.in_order(&self.index, subject, |named| {
            let rule = &self.rules[named.member.rule()];
            if named.silent.is_some() || rule.watches() || !rule.speaks(subject) {
                return false;
            }
            let matched = Matched::Name { at: named.at, reach: named.member.named() };
            match &rule.action {
                Action::Data(data) if data.is_the_same_for_all() && !led.iter().any(|led| std::ptr::eq(*led, rule)) => {
                    found = Some(Local { rule, data, matched });
                    true
                }
                action => matches!(action, Action::Allow),
            }
        });
        found
    }

    /// The place of a rule of this filter among its rules.
    pub fn number_of(&self, rule: &Rule) -> Option<usize> {
        let from_first = std::ptr::from_ref(rule).addr().checked_sub(self.rules.as_ptr().addr())?;
        let number = from_first / size_of::<Rule>();
        self.rules.get(number).is_some_and(|own| std::ptr::eq(own, rule)).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::{Alias, DataOwner, LocalData, LocalRecord};
    use super::super::tests::{filter, name, rule};
    use super::*;
    use crate::dns::response::Response;
    use crate::dns::rtype;
    use crate::dns::sample::Sample;
    use crate::policy::Mode;
    use crate::policy::clients::GroupSet;
    use crate::policy::filter::{Expectation, Otherwise, TtlBounds};
    use crate::policy::networks::NetworkSet;
    use crate::policy::schedules::ActiveSet;
    use std::sync::Arc;

    fn lead(target: &str) -> Action {
        let alias = Some(Box::new(Alias::parse(target).unwrap()));
        Action::Data(Arc::new(DataSet::of_all(LocalData { alias, records: Vec::new() })))
    }

    fn subject<'s>(name: &'s crate::dns::name::Name, groups: &'s GroupSet) -> Subject<'s> {
        let (client, active) = ([192, 0, 2, 1].into(), &ActiveSet::EVERYTHING);
        Subject { groups, client, name, qtype: rtype::A, tcp: false, active }
    }

    fn found<'f>(filter: &'f Filter, text: &str, led: &[&Rule]) -> Option<&'f str> {
        let (name, groups) = (name(text), GroupSet::default());
        filter.local_data(&subject(&name, &groups), led).map(|local| local.rule.id.as_str())
    }

    #[test]
    fn local_data_answers_for_a_target_whatever_blocks_it() {
        let mut records = DataSet::default();
        assert!(
            records.add(DataOwner::Name(1, name("zone.test").as_wire()), LocalRecord::parse("A 10.0.0.1").unwrap())
        );
        let watching = Rule { mode: Mode::Monitor, ..rule(0, "watching", lead("x.test")) };
        let filter = filter(&[
            (watching, &["garden.test"]),
            (rule(0, "all", lead("garden.test")), &["test"]),
            (rule(1, "block", Action::Nxdomain), &["garden.test"]),
            (rule(2, "garden", lead("other.test")), &["garden.test"]),
            (rule(3, "later", lead("third.test")), &["garden.test"]),
            (rule(3, "policy-zone", Action::Data(Arc::new(records))), &["=zone.test"]),
            (rule(1, "free", Action::Allow), &["free.test"]),
            (rule(2, "not-heard", lead("x.test")), &["free.test"]),
        ]);
        let all = &filter.rules()[1];
        assert_eq!(found(&filter, "garden.test", &[]), Some("all"));
        assert_eq!(found(&filter, "garden.test", &[all]), Some("garden"));
        assert_eq!(found(&filter, "garden.test", &[all, &filter.rules()[3]]), Some("later"));
        assert_eq!(found(&filter, "zone.test", &[all]), None, "a policy zone rewrites once");
        assert_eq!(found(&filter, "free.test", &[all]), None, "allowed before");
        let numbers: Vec<_> = filter.rules().iter().map(|rule| filter.number_of(rule)).collect();
        assert_eq!(numbers, (0..8).map(Some).collect::<Vec<_>>());
        assert_eq!(filter.number_of(&rule(0, "another", Action::Allow)), None);
    }

    #[test]
    fn an_answer_that_was_led_to_meets_only_rules_that_vouch_for_answers() {
        let expectation = |network: &str| {
            let networks = NetworkSet::new([(network.parse().unwrap(), true)]);
            Action::Expect(Arc::new(Expectation { networks, names: Vec::new(), otherwise: Otherwise::Servfail }))
        };
        let bounds = TtlBounds { min: 0, max: 60 };
        let message =
            Sample::response("garden.test", rtype::A).record(1, b"\xc0\x0c", rtype::A, 300, &[192, 0, 2, 1]).bytes();
        let response = Response::scan(&message).unwrap();
        let (garden, groups) = (name("garden.test"), GroupSet::default());
        for (network, decides) in [("192.0.2.0/24", None), ("198.51.100.0/24", Some("guard"))] {
            let rules = [
                (rule(0, "block", Action::Nxdomain), &["garden.test"][..]),
                (rule(0, "ttl", Action::Ttl(bounds)), &["garden.test"]),
                (rule(1, "guard", expectation(network)), &["garden.test"]),
            ];
            let filter = filter(&rules);
            let decision = filter.judge_led(&subject(&garden, &groups), &response);
            assert_eq!(decision.rule.map(|rule| rule.id.as_str()), decides, "{network}");
            assert_eq!(decision.ttl.map(|rule| rule.id.as_str()), Some("ttl"));
            let decision = filter.judge(&subject(&garden, &groups), &response);
            assert_eq!(decision.rule.map(|rule| rule.id.as_str()), Some("block"), "asked for by itself");
        }
        let allowed = [
            (rule(0, "free", Action::Allow), &["garden.test"][..]),
            (rule(1, "guard", expectation("198.51.100.0/24")), &["garden.test"]),
        ];
        let decision_of = filter(&allowed);
        let decision = decision_of.judge_led(&subject(&garden, &groups), &response);
        assert_eq!(decision.rule.map(|rule| rule.id.as_str()), Some("free"));
    }
}
