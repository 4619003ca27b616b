//! emergency: names that are blocked by command, in force in milliseconds and for a limited time, before everything that
//! the policy's files say.
//!
//! They are a small filter of their own, asked first: so a block does not wait for a million listed names to be compiled,
//! and no `allow` of any zone comes before it. Protects from a name that does harm now; what should stay belongs into
//! `filters/`.

use super::filter::lists::NameList;
use super::filter::{Action, Considered, Decision, Filter, Pattern, Rule, Subject};
use super::server::Server;
use crate::dns::name::Name;
use crate::language::{Text, text};
use std::sync::Arc;

/// The most emergency rules at a time.
pub const RULES_MAX: usize = 1000;

/// TTL of the answers, in seconds: what was blocked by mistake should be forgotten soon.
const TTL: u32 = 30;

/// The title of the zone, in explanations and the log.
pub const ZONE: &str = "emergency";

/// What an emergency rule may do, by its words.
pub const ACTIONS: [(&str, Action); 5] = [
    ("nxdomain", Action::Nxdomain),
    ("nodata", Action::Nodata),
    ("refused", Action::Refused),
    ("drop", Action::Drop),
    ("truncate", Action::Truncate),
];

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyRule {
    /// Shown as `emergency-7` in answers and the log.
    pub number: u64,
    /// The names.
    pub pattern: Pattern,
    /// One of [`ACTIONS`].
    pub action: Action,
}

impl EmergencyRule {
    /// The id under which it is shown and logged.
    pub fn id(&self) -> String {
        format!("emergency-{}", self.number)
    }
}

/// All emergency rules, compiled.
#[derive(Clone, Debug)]
pub struct Emergency {
    filter: Filter,
}

impl Emergency {
    /// No rules.
    pub fn none() -> Self {
        Self { filter: Filter::none() }
    }

    /// Compiles `rules`, at most [`RULES_MAX`] of them: milliseconds. `seed` is the secret of the hash.
    pub fn new(rules: &[EmergencyRule], seed: u64) -> Self {
        let mut rules: Vec<_> = rules.iter().take(RULES_MAX).collect();
        // Within one name the earlier rule decides: what is about that name alone comes first.
        rules.sort_by_key(|rule| (!rule.pattern.is_exact(), rule.number));
        let names: Vec<_> = rules.iter().map(|rule| Arc::new(NameList::of(&rule.pattern))).collect();
        let compiled = rules.into_iter().map(compile).collect();
        let (filter, _) = Filter::new(compiled, &names, seed).expect("a thousand names take no 4 GiB");
        Self { filter }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.filter.rules().len()
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        self.filter.rules()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.filter.rules().is_empty()
    }

    /// The decision about a name; as cheap as a comparison while there are no rules.
    #[inline]
    pub fn decide(&self, subject: &Subject<'_>) -> Decision<'_> {
        if self.is_empty() { Decision::default() } else { self.filter.decide(subject) }
    }

    /// Whether no rule could ever speak about `name`.
    #[inline]
    pub fn is_untouched(&self, name: &Name) -> bool {
        self.is_empty() || self.filter.is_untouched(name)
    }

    /// Every rule that names the subject's name: for explanations.
    pub fn considered(&self, subject: &Subject<'_>) -> Vec<Considered<'_>> {
        self.filter.considered(subject)
    }
}

fn compile(rule: &EmergencyRule) -> Rule {
    Rule { ttl: TTL, ..Rule::new(&rule.id(), ZONE, 0, rule.action.clone()) }
}

/// Why a block of `pattern` would be a mistake, unless it is forced: the root, a public suffix, a zone that this gateway
/// routes.
pub fn danger(pattern: &Pattern, server: &Server) -> Option<Text> {
    if pattern.name == Name::root() && pattern.is_exact() {
        return Some(text!("this would block the root zone"));
    }
    if let Some(what) = pattern.too_wide() {
        return Some(text!("this would block {what}", what));
    }
    let route = server.routes.iter().find(|route| pattern.covers(&route.zone))?;
    Some(text!("this would block {zone}, which has a route of its own in gateway.toml", zone = route.zone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::clients::GroupSet;
    use crate::policy::document::probe;

    fn rule(number: u64, text: &str, action: Action) -> EmergencyRule {
        EmergencyRule { number, pattern: Pattern::parse(text).unwrap(), action }
    }

    fn decided(emergency: &Emergency, name: &str) -> Option<String> {
        let (groups, name) = (GroupSet::default(), Name::from_text(name).unwrap());
        let subject = Subject::plain(&groups, &name);
        emergency.decide(&subject).rule.map(|rule| rule.id.clone())
    }

    #[test]
    fn the_narrower_rule_decides_whichever_came_first() {
        let rules = [
            rule(1, "bad.example", Action::Nxdomain),
            rule(2, "=bad.example", Action::Refused),
            rule(3, "*.cdn.bad.example", Action::Drop),
        ];
        let emergency = Emergency::new(&rules, 7);
        for (name, id) in [
            ("bad.example", Some("emergency-2")),
            ("www.bad.example", Some("emergency-1")),
            ("cdn.bad.example", Some("emergency-1")),
            ("x.cdn.bad.example", Some("emergency-3")),
            ("good.example", None),
        ] {
            assert_eq!(decided(&emergency, name).as_deref(), id, "{name}");
        }
        assert!(!emergency.is_untouched(&Name::from_text("a.bad.example").unwrap()));
        assert!(emergency.is_untouched(&Name::from_text("example").unwrap()));
    }

    #[test]
    fn no_rules_say_nothing_and_more_than_the_bound_are_not_taken() {
        assert_eq!(decided(&Emergency::none(), "bad.example"), None);
        let many: Vec<_> =
            (0..=RULES_MAX as u64).map(|n| rule(n, &format!("n{n}.example"), Action::Nxdomain)).collect();
        let emergency = Emergency::new(&many, 7);
        assert_eq!(emergency.len(), RULES_MAX);
        assert_eq!(decided(&emergency, "a.n999.example").as_deref(), Some("emergency-999"));
    }

    #[test]
    fn what_would_block_too_much_is_named() {
        let text = "schema = 1\n[[upstream]]\naddress = \"192.0.2.1\"\n[[route]]\nzone = \"corp.example\"\npool = \"default\"\n";
        let server = probe::server(text);
        for (text, part) in [
            (".", "every name"),
            ("*", "every name"),
            ("=.", "the root zone"),
            ("com", "top-level domain com"),
            ("*.com", "top-level domain com"),
            ("=com", "top-level domain com"),
            ("co.uk", "public suffix co.uk"),
            ("*.github.io", "public suffix github.io"),
            ("corp.example", "route of its own"),
            ("*.corp.example", "route of its own"),
        ] {
            let danger = danger(&Pattern::parse(text).unwrap(), &server);
            assert!(danger.as_ref().is_some_and(|danger| danger.english().contains(part)), "{text}: {danger:?}");
        }
        for text in ["bad.example", "=mail.corp.example", "www.corp.example", "x.co.uk", "=github.io"] {
            assert_eq!(danger(&Pattern::parse(text).unwrap(), &server), None, "{text}");
        }
    }
}
