//! Tells of rules that others decide before: one warning for a rule, at the name or network itself where it stands in the
//! rule, and with their number where they are of a list.
//!
//! Names of a list that an earlier rule allows, or names itself, are not reported, unless they are all: exceptions are what
//! such rules are for. Two lists that share names are.

use super::super::zone::Origin;
use super::super::{Action, Filter, Rule, TriggerKind};
use super::{Overlaps, Shadow, name_before, network_before, of_names, of_networks};
use crate::dns::name::Name;
use crate::language::{Text, text};
use crate::policy::document::{Code, Faults, Place};
use std::collections::HashMap;
use std::fmt::Display;

/// The most rules that are reported; behind them it is told how many more there are.
const REPORTED_MAX: usize = 200;

/// The most names and networks of rules that are looked up one by one.
const LOOKED_UP_MAX: usize = 20_000;

/// Reports all rules of `filter` that others decide before; `origins[n]` is where `filter.rules()[n]` was written.
pub(in super::super) fn report(filter: &Filter, origins: &[Origin], [names, ns_names]: [Overlaps; 2], faults: &Faults) {
    let (rules, besides) = (filter.rules(), &filter.besides);
    let mut shadows = of_names(rules, &filter.index.sets, names);
    if let Some(index) = &besides.ns_names {
        shadows.extend(of_names(rules, &index.sets, ns_names));
    }
    for holders in [&besides.clients, &besides.responses, &besides.ns_addresses] {
        shadows.extend(of_networks(rules, holders));
    }
    let mut reporter = Reporter { filter, origins, faults, looked_up: 0 };
    let mut reported = 0;
    for rule in 0..rules.len() {
        let Some(shadow) = shadows.get(&rule) else { continue };
        if reported == REPORTED_MAX {
            break;
        }
        reported += usize::from(reporter.report(rule, shadow));
    }
    let left: HashMap<_, _> = shadows.iter().filter(|(_, shadow)| shadow.is_whole()).collect();
    if reported == REPORTED_MAX && left.len() > REPORTED_MAX {
        let message = text!(
            "{left} rules in all never decide: the first {most} are named",
            left = left.len(),
            most = REPORTED_MAX
        );
        faults.add(Code::Shadowed, &Place::whole("filters"), message, text!("mend those, and check again"));
    }
}

struct Reporter<'f> {
    filter: &'f Filter,
    origins: &'f [Origin],
    faults: &'f Faults,
    looked_up: usize,
}

impl Reporter<'_> {
    /// Reports one rule; whether there was something to say.
    fn report(&mut self, rule: usize, shadow: &Shadow) -> bool {
        let Some(&(by, _)) = shadow.by.first() else { return false };
        if shadow.is_whole() {
            self.report_whole(rule, by, shadow.by.len() - 1);
            return true;
        }
        let origin = &self.origins[rule];
        if !origin.names.is_empty() {
            return self.report_own_names(rule);
        }
        if !origin.networks.is_empty() {
            return self.report_own_networks(rule);
        }
        let rules = self.filter.rules();
        // What a list of networks shares with another is counted in ranges, which say nothing to anybody.
        if !matches!(rules[rule].trigger, TriggerKind::Name | TriggerKind::NsName) {
            return false;
        }
        // Names that somebody wrote into a rule before a list are meant to be another case.
        let of_lists = |by: &&(usize, u64)| self.origins[by.0].names.is_empty() && rules[by.0].action != Action::Allow;
        let mut by_lists = shadow.by.iter().filter(of_lists);
        let Some(&(by, names)) = by_lists.next() else { return false };
        let more: u64 = by_lists.map(|(_, names)| names).sum();
        let (first, other) = (&rules[rule].id, &rules[by].id);
        let of = shadow.of;
        let message = match more {
            0 => text!(
                "{names} of the {of} names of rule {first:?} are decided before by rule {other:?}",
                names,
                of,
                first,
                other
            ),
            _ => text!(
                "{names} of the {of} names of rule {first:?} are decided before by rule {other:?}, {more} more by others",
                names,
                of,
                first,
                other,
                more
            ),
        };
        self.faults.add(code(&rules[rule], &rules[by]), &origin.trigger, message, difference(&rules[rule], &rules[by]));
        true
    }

    fn report_whole(&self, rule: usize, by: usize, others: usize) {
        let rules = self.filter.rules();
        let (this, other) = (&rules[rule], &rules[by]);
        let (id, by, zone) = (&this.id, &other.id, &other.zone);
        let what = match this.trigger {
            TriggerKind::Name | TriggerKind::NsName => text!("names"),
            _ => text!("addresses"),
        };
        let message = match others {
            0 => text!(
                "rule {id:?} is never reached: rule {by:?} of zone {zone:?} decides about all of its {what} before",
                id,
                by,
                zone,
                what
            ),
            1 => text!(
                "rule {id:?} is never reached: rule {by:?} of zone {zone:?} and one more decide about all of its {what} before",
                id,
                by,
                zone,
                what
            ),
            n => text!(
                "rule {id:?} is never reached: rule {by:?} of zone {zone:?} and {n} more decide about all of its {what} before",
                id,
                by,
                zone,
                what,
                n
            ),
        };
        let hint = match other.action {
            Action::Allow => text!("allow stops all later zones: remove this rule, or what is allowed"),
            _ => text!(
                "remove it, or move it before: zones are heard by their numbers, rules for one name by their lines"
            ),
        };
        self.faults.add(Code::Shadowed, &self.origins[rule].id, message, hint);
    }

    /// Names that stand in the rule: the first is named where it stands.
    fn report_own_names(&mut self, rule: usize) -> bool {
        let (rules, origin) = (self.filter.rules(), &self.origins[rule]);
        let index = match rules[rule].trigger {
            TriggerKind::NsName => self.filter.besides.ns_names.as_ref(),
            _ => Some(&*self.filter.index),
        };
        let Some(index) = index else { return false };
        let room = LOOKED_UP_MAX.saturating_sub(self.looked_up);
        self.looked_up += origin.names.len();
        let own = origin.names.iter().take(room);
        let mut found = own.filter_map(|(wire, place)| Some((name_before(rules, index, rule, wire)?, wire, place)));
        let Some((by, wire, place)) = found.next() else { return false };
        let (count, by_id) = (found.count(), &rules[by].id);
        let name = Name::from_wire(wire).unwrap_or_else(|_| Name::root());
        let message = before(by_id, &name, count, &text!("names"), &rules[rule].id);
        self.faults.add(code(&rules[rule], &rules[by]), place, message, difference(&rules[rule], &rules[by]));
        true
    }

    /// Networks that stand in the rule, alike.
    fn report_own_networks(&mut self, rule: usize) -> bool {
        let (rules, origin, besides) = (self.filter.rules(), &self.origins[rule], &self.filter.besides);
        let holders = match rules[rule].trigger {
            TriggerKind::Client => &besides.clients,
            TriggerKind::ResponseAddress => &besides.responses,
            _ => &besides.ns_addresses,
        };
        let room = LOOKED_UP_MAX.saturating_sub(self.looked_up);
        self.looked_up += origin.networks.len();
        let own = origin.networks.iter().take(room);
        let mut found = own.filter_map(|(net, place)| Some((network_before(rules, holders, rule, *net)?, net, place)));
        let Some(((by, is_same), net, place)) = found.next() else { return false };
        let (count, by_id) = (found.count(), &rules[by].id);
        let message = before(by_id, net, count, &text!("networks"), &rules[rule].id);
        let differs = rules[by].action != rules[rule].action;
        let code = if is_same && differs { Code::Overlap } else { code(&rules[rule], &rules[by]) };
        self.faults.add(code, place, message, difference(&rules[rule], &rules[by]));
        true
    }
}

/// One that is decided about before, and how many `others` of the rule beside it.
fn before(by: &str, subject: &dyn Display, others: usize, what: &Text, id: &str) -> Text {
    match others {
        0 => text!("rule {by:?} decides about {subject} before", by, subject),
        n => text!(
            "rule {by:?} decides about {subject} before, and about {n} other {what} of rule {id:?}",
            by,
            subject,
            n,
            what = *what,
            id
        ),
    }
}

/// Twice the same is a matter of tidiness, something else is not.
fn code(rule: &Rule, by: &Rule) -> Code {
    if rule.action == by.action { Code::Repeated } else { Code::Shadowed }
}

fn difference(rule: &Rule, by: &Rule) -> Text {
    match (rule.action.name(), by.action.name()) {
        (own, _) if rule.action == by.action => {
            text!("both say {own}: it changes nothing but which of them counts it", own)
        }
        (own, other) if own == other => text!("both say {own}, each with something else: name it once", own),
        (own, other) => {
            text!("that rule says {other}, this one {own}: name it once, or change their order", other, own)
        }
    }
}
