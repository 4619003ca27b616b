//! Tests of the filter as a whole, and what they share.

mod answers;
mod exceptions;
mod four_formats;
mod layers;
mod policy_zones;
mod precedence;
mod property;
mod reading;
mod real_lists;

use super::*;
use lists::NameList;
use sets::{BELOW, SELF};

/// The seed of a random test: a new one each time, or the one in WEIR_SEED; printed, so that a failure can be repeated.
pub(super) fn seed() -> u64 {
    let seed = match std::env::var("WEIR_SEED") {
        Ok(text) => text.parse().expect("WEIR_SEED is a whole number"),
        Err(_) => getrandom::u64().expect("the system gives random numbers"),
    };
    println!("WEIR_SEED={seed}");
    seed
}

pub(super) fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

/// Reach and name of `x`, `=x` or `*.x`.
pub(super) fn reach_of(text: &str) -> (u8, Name) {
    match (text.strip_prefix('='), text.strip_prefix("*.")) {
        (Some(bare), _) => (SELF, name(bare)),
        (_, Some(bare)) => (BELOW, name(bare)),
        _ => (SELF | BELOW, name(text)),
    }
}

pub(super) fn list_of(names: &[&str]) -> Arc<NameList> {
    let mut list = NameList::default();
    for text in names {
        let (reach, name) = reach_of(text);
        list.push(reach, name.as_wire());
    }
    Arc::new(list)
}

pub(super) fn rule(zone_number: usize, id: &str, action: Action) -> Rule {
    Rule::new(id, &format!("zone {zone_number}"), zone_number, action)
}

/// A filter of rules with their names.
pub(super) fn filter(rules: &[(Rule, &[&str])]) -> Filter {
    let names: Vec<_> = rules.iter().map(|(_, names)| list_of(names)).collect();
    Filter::new(rules.iter().map(|(rule, _)| rule.clone()).collect(), &names, 7).unwrap().0
}

/// The ids of the rule that decides and of the one that watched, about type A over UDP for a client without groups.
pub(super) fn decided<'f>(filter: &'f Filter, text: &str) -> (Option<&'f str>, Option<&'f str>) {
    let (name, groups) = (name(text), GroupSet::default());
    let decision = filter.decide(&Subject::plain(&groups, &name));
    (decision.rule.map(|rule| rule.id.as_str()), decision.monitored.map(|rule| rule.id.as_str()))
}
