//! Every rule that names a name, and why it speaks or not: for a person who asks why. Not on the path of a query.

use super::sets::{BELOW, SELF};
use super::{Decision, Filter, Named, Rule, Subject};
use crate::dns::name::Name;
use std::fmt;

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
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decides => "decides",
            Self::Watches => "only watches (monitor)",
            Self::Outranked => "comes after the rule that decides",
            Self::Off => "is off",
            Self::OtherGroup => "is for other clients",
            Self::Excepted => "has an exception for the name in its list",
            Self::OtherType => "is for other types",
            Self::OtherTransport => "is for the other transport",
        })
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
    /// Every rule that names the subject's name, in order of precedence, and why it speaks or not. Names that said
    /// nothing new beside a shorter one of the same rule were folded, so the shorter is shown.
    pub fn considered(&self, subject: &Subject<'_>) -> Vec<Considered<'_>> {
        let mut considered = Vec::new();
        let mut decision = Decision::default();
        self.in_order(subject, |Named { at, member, silent }| {
            let rule = &self.rules[member.rule()];
            let why = match silent.or_else(|| rule.silent_because(subject)) {
                Some(silent) => silent,
                None if decision.rule.is_some() => Why::Outranked,
                None if decision.hear(rule) => Why::Decides,
                None => Why::Watches,
            };
            let suffix = &subject.name.as_wire()[usize::from(at)..];
            let name = Name::from_wire(suffix).unwrap_or_else(|_| Name::root());
            considered.push(Considered { rule, matched: spelled(member.reach() & (BELOW | SELF), &name), why });
            false
        });
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
