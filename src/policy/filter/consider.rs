//! Every rule that names a name, and why it speaks or not: for a person who asks why. Not on the path of a query.

use super::decide::{Named, labels_from};
use super::order::{By, Key};
use super::sets::{BELOW, SELF};
use super::{Action, Decision, Filter, Matched, Rule, Subject};
use crate::dns::name::Name;
use crate::language::{Text, Told, text};

/// Why a rule that names a name decides, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It decides.
    Decides,
    /// It only watches; the first such before the rule that decides is the one that is reported.
    Watches,
    /// A rule before it has decided.
    Outranked,
    /// Its mode, or that of its zone, is off.
    Off,
    /// The client is in none of its groups.
    OtherGroup,
    /// An exception of its own list frees the name.
    Excepted,
    /// It is for other types.
    OtherType,
    /// It is for the other transport.
    OtherTransport,
    /// None of its schedules, or of its zone's, is active.
    OtherTime,
    /// Its time is over, or that of its zone.
    Expired,
    /// Whether it speaks shows only in the answer.
    Answer,
    /// It acts only over its budget.
    Budget,
    /// It bounds the TTLs of the answer, and the next is heard.
    Bounds,
}

impl Told for Why {
    fn text(&self) -> Text {
        match self {
            Self::Decides => text!("decides"),
            Self::Watches => text!("only watches (monitor)"),
            Self::Outranked => text!("comes after the rule that decides"),
            Self::Off => text!("is off"),
            Self::OtherGroup => text!("is for other clients"),
            Self::Excepted => text!("has an exception for the name in its list"),
            Self::OtherType => text!("is for other types"),
            Self::OtherTransport => text!("is for the other transport"),
            Self::OtherTime => text!("is for other times"),
            Self::Expired => text!("has expired"),
            Self::Answer => text!("depends on the answer"),
            Self::Budget => text!("acts only over its budget"),
            Self::Bounds => text!("goes on"),
        }
    }
}

/// A rule that names the name asked about.
#[derive(Clone, Debug)]
pub struct Considered<'f> {
    /// The rule.
    pub rule: &'f Rule,
    /// The name in its trigger, spelled as in a policy: `x`, `=x` or `*.x`.
    pub matched: String,
    /// Why it decides, or not.
    pub why: Why,
}

impl Filter {
    /// Every rule that speaks about a question, or may speak about its answer, in order of precedence, and why it speaks or
    /// not. Names that said nothing new beside a shorter one of the same rule were folded, so the shorter is shown.
    pub fn considered(&self, subject: &Subject<'_>) -> Vec<Considered<'_>> {
        let mut found: Vec<(Key, &Rule, String, Option<Why>, Matched)> = Vec::new();
        for held in self.besides.clients.of(subject.client) {
            let (number, network) = (held.rule as usize, held.network(subject.client));
            let rule = &self.rules[number];
            found.push((
                Key::of(rule, number, 128 - held.bits, By::Stage),
                rule,
                network.to_string(),
                None,
                Matched::Network(network),
            ));
        }
        self.in_order(&self.index, subject, |Named { at, member, silent }| {
            let rule = &self.rules[member.rule()];
            let suffix = &subject.name.as_wire()[usize::from(at)..];
            let name = Name::from_wire(suffix).unwrap_or_else(|_| Name::root());
            let key = Key::of(rule, member.rule(), 127 - labels_from(subject.name, at), By::Stage);
            let matched = Matched::Name { at, reach: member.named() };
            found.push((key, rule, spelled(member.reach() & (BELOW | SELF), &name), silent, matched));
            false
        });
        for (number, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.trigger.is_of_the_answer()) {
            found.push((
                Key::of(rule, number, 0, By::Stage),
                rule,
                rule.trigger.key().to_owned(),
                Some(Why::Answer),
                Matched::default(),
            ));
        }
        found.sort_by(|(one, ..), (other, ..)| one.cmp(other, None));
        let mut decision = Decision::default();
        let mut considered = Vec::new();
        for (_, rule, matched, silent, by) in found {
            let why = match (rule.silent_because(subject), silent) {
                (Some(silent), _) => silent,
                (None, Some(Why::Answer)) if decision.rule.is_some_and(|rule| rule.action != Action::Allow) => {
                    Why::Outranked
                }
                (None, Some(silent)) => silent,
                (None, None) if decision.rule.is_some() && !rule.action.is_about_the_answer() => Why::Outranked,
                (None, None) if rule.watches() => {
                    decision.hear(rule, by, &mut |_, _| true);
                    Why::Watches
                }
                (None, None) => match rule.action {
                    Action::Shed(_) | Action::Limit(_) => Why::Budget,
                    Action::Expect(_) => Why::Answer,
                    Action::Ttl(_) => Why::Bounds,
                    _ => {
                        decision.hear(rule, by, &mut |_, _| true);
                        Why::Decides
                    }
                },
            };
            considered.push(Considered { rule, matched, why });
        }
        considered
    }
}

/// A name as a policy spells it.
fn spelled(reach: u8, name: &Name) -> String {
    match reach {
        SELF => format!("={name}"),
        BELOW if *name == Name::root() => "*".to_owned(),
        BELOW => format!("*.{name}"),
        _ => name.to_string(),
    }
}
