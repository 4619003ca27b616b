//! On which queries the verdict of two policies differs, with the answer where there is one to judge: counted by rule, with
//! the names that are asked for most, in memory that does not grow with the number of queries.

use crate::dns::name::Name;
use crate::dns::response::Response;
use crate::dns::{HEADER_LEN, class, u16_at};
use crate::language::Text;
use crate::ledger::hitters::Hitters;
use crate::policy::Policy;
use crate::policy::explain::{Answer, Besides, Subject};
use crate::policy::foresee::{Foreseen, foresee, foresee_answer};
use crate::policy::schedules::ActiveSet;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;

/// Groups that are told apart; queries of further ones count as "others".
const GROUPS_MAX: usize = 4_096;

/// Pairs of a group and a name that are counted apart: every name with more than 1/8192 of what changed is among them, and
/// with fewer pairs every count is exact.
const NAMES_MAX: usize = 8_192;

/// Groups that are told of each kind.
pub const GROUPS_SHOWN: usize = 50;

/// Names that are told of each group.
pub const NAMES_SHOWN: usize = 10;

/// The group of what found no room.
const OTHERS: &str = "others";

/// A query to try.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'m> {
    /// Who asks.
    pub client: IpAddr,
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// Over TCP.
    pub tcp: bool,
    /// How many queries it stands for.
    pub weight: f64,
    /// What it was answered, where that is known.
    pub answer: Option<&'m [u8]>,
}

impl<'m> Tried<'m> {
    /// The answer, if it is one to this question and not only a word that it does not fit a datagram.
    fn response(&self) -> Option<Response<'m>> {
        let message = self.answer?;
        let response = Response::scan(message).ok().filter(|response| !response.tc)?;
        let (name, end) = Name::read_uncompressed(message, HEADER_LEN).ok()?;
        let asked = [u16_at(message, end)?, u16_at(message, end + 2)?];
        (!response.question().is_empty() && name == self.name && asked == [self.qtype, class::IN]).then_some(response)
    }
}

/// What a change does to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    NewlyBlocked,
    NewlyAllowed,
    OtherAction,
    OtherTtl,
    Monitored,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key<'p> {
    kind: Kind,
    /// The rule or policy that makes the difference.
    by: &'p str,
    before: &'static str,
    after: &'static str,
}

/// Tries queries on two policies.
#[derive(Debug)]
pub struct Comparison<'p> {
    old: &'p Policy,
    new: &'p Policy,
    besides: Besides<'p>,
    /// What is in force of either.
    active: [ActiveSet; 2],
    queries: u64,
    answered: u64,
    weight: f64,
    groups: HashMap<Key<'p>, (usize, f64)>,
    names: Hitters<(usize, Name)>,
}

/// The queries whose verdict changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Queries that were tried.
    pub queries: u64,
    /// Of these, those whose answer was tried as well; of the others only the question was.
    pub answered: u64,
    /// How many they stand for: more, when they are a sample.
    pub stand_for: f64,
    /// Which: `of the last 10 min`, or `of FILE`.
    pub which: Text,
    /// They pass now and would not any more.
    pub newly_blocked: Changed,
    /// They would pass and do not now.
    pub newly_allowed: Changed,
    /// They do not pass, now and then, and get another answer.
    pub other_action: Changed,
    /// They pass, now and then, and the TTLs of their answers are bounded otherwise.
    pub other_ttl: Changed,
    /// What rules in monitor mode would do to them if they were enforced.
    pub monitored: Changed,
}

/// Queries of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// So many of those that are stood for.
    pub queries: f64,
    /// Of all, 0 to 1.
    pub share: f64,
    /// By what makes the difference, the most first.
    pub groups: Vec<Group>,
    /// Groups beyond [`GROUPS_SHOWN`].
    pub unlisted: usize,
}

/// Queries that one rule makes the difference to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its id, or the name of a policy such as `access`.
    pub rule: String,
    /// What they get now.
    pub before: String,
    /// What they would get.
    pub after: String,
    /// How many.
    pub queries: f64,
    /// The names that are asked for most.
    pub names: Vec<NameRow>,
}

/// A name in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NameRow {
    /// As master-file text.
    pub name: String,
    /// How many queries, at least.
    pub queries: f64,
}

impl<'p> Comparison<'p> {
    /// Tries nothing yet. `besides` runs with both policies; their schedules are taken as at `unix_ms`.
    pub fn new(old: &'p Policy, new: &'p Policy, besides: Besides<'p>, unix_ms: u64) -> Self {
        let names = Hitters::new(NAMES_MAX);
        let active = [old, new].map(|policy| policy.schedules.at(unix_ms));
        Self { old, new, besides, active, queries: 0, answered: 0, weight: 0.0, groups: HashMap::new(), names }
    }

    /// Tries a query.
    pub fn try_on(&mut self, tried: &Tried<'_>) {
        let Tried { client, name, qtype, tcp, weight, .. } = *tried;
        let response = tried.response();
        let foreseen = |policy, active| {
            let subject = Subject { client, name, qtype, qclass: class::IN, tcp, active };
            match &response {
                Some(response) => foresee_answer(policy, self.besides, &subject, response),
                None => foresee(policy, self.besides, &subject),
            }
        };
        let (old, new) = (foreseen(self.old, self.active[0]), foreseen(self.new, self.active[1]));
        self.queries += 1;
        self.answered += u64::from(response.is_some());
        self.weight += weight;
        if let Some(rule) = new.monitored {
            let action = rule.action.name();
            let key = Key { kind: Kind::Monitored, by: &rule.id, before: new.answer.name(), after: action };
            self.count(key, name, weight);
        }
        if let Some((kind, by)) = difference(&old, &new) {
            self.count(Key { kind, by, before: old.answer.name(), after: new.answer.name() }, name, weight);
        } else if old.answer.passes() && new.answer.passes() && old.bounds() != new.bounds() {
            // What bounds them, else the rule that does not any more.
            let by = new.ttl.or(old.ttl).map_or("", |rule| &rule.id);
            let bounded = |foreseen: &Foreseen<'_>| if foreseen.ttl.is_some() { "ttl" } else { foreseen.answer.name() };
            let (before, after) = (bounded(&old), bounded(&new));
            self.count(Key { kind: Kind::OtherTtl, by, before, after }, name, weight);
        }
    }

    fn count(&mut self, key: Key<'p>, name: Name, weight: f64) {
        let key = match self.groups.len() < GROUPS_MAX || self.groups.contains_key(&key) {
            true => key,
            false => Key { by: OTHERS, before: "", after: "", ..key },
        };
        let number = self.groups.len();
        let (number, queries) = self.groups.entry(key).or_insert((number, 0.0));
        *queries += weight;
        self.names.add(&(*number, name), weight);
    }

    /// Queries that were tried.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// What came of it; the queries were those `which` says.
    pub fn end(self, which: Text) -> Verdicts {
        let mut names: HashMap<usize, Vec<NameRow>> = HashMap::new();
        for hitter in self.names.top(NAMES_MAX) {
            let (group, name) = hitter.key;
            let rows = names.entry(*group).or_default();
            let queries = hitter.weight - hitter.error;
            if rows.len() < NAMES_SHOWN && queries > 0.0 {
                rows.push(NameRow { name: name.to_string(), queries });
            }
        }
        let of = |kind: Kind| {
            let mut found: Vec<_> = self.groups.iter().filter(|(key, _)| key.kind == kind).collect();
            found.sort_by(|(a, (_, x)), (b, (_, y))| y.total_cmp(x).then(a.by.cmp(b.by)));
            let queries = found.iter().map(|(_, (_, queries))| queries).sum();
            let group = |(key, (number, queries)): &(&Key<'p>, &(usize, f64))| Group {
                rule: key.by.to_owned(),
                before: key.before.to_owned(),
                after: key.after.to_owned(),
                queries: *queries,
                names: names.get(number).cloned().unwrap_or_default(),
            };
            Changed {
                queries,
                share: queries / self.weight.max(f64::MIN_POSITIVE),
                groups: found.iter().take(GROUPS_SHOWN).map(group).collect(),
                unlisted: found.len().saturating_sub(GROUPS_SHOWN),
            }
        };
        Verdicts {
            queries: self.queries,
            answered: self.answered,
            stand_for: self.weight,
            which,
            newly_blocked: of(Kind::NewlyBlocked),
            newly_allowed: of(Kind::NewlyAllowed),
            other_action: of(Kind::OtherAction),
            other_ttl: of(Kind::OtherTtl),
            monitored: of(Kind::Monitored),
        }
    }
}

/// What the change does, and the rule or policy that makes the difference.
fn difference<'p>(old: &Foreseen<'p>, new: &Foreseen<'p>) -> Option<(Kind, &'p str)> {
    match (old.answer.passes(), new.answer.passes()) {
        (true, true) => None,
        (true, false) => Some((Kind::NewlyBlocked, new.by())),
        // What lets them pass: a rule that allows, else the one that does not act any more.
        (false, true) if new.answer == Answer::Allow => Some((Kind::NewlyAllowed, new.by())),
        (false, true) => Some((Kind::NewlyAllowed, old.by())),
        (false, false) => (old.answer != new.answer).then(|| (Kind::OtherAction, new.by())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::Files;
    use crate::policy::{Options, load_files};

    fn policy(filter: &str) -> Policy {
        let files: Files = [
            ("gateway.toml", "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n"),
            ("clients.toml", "[[group]]\nname = \"lab\"\nnetworks = [\"10.9.0.0/16\"]\n"),
            ("filters/10-t.toml", filter),
        ]
        .into_iter()
        .collect();
        load_files(files, &Options::default()).expect("no faults").0
    }

    fn tried(client: [u8; 4], name: &str, weight: f64) -> Tried<'static> {
        let name = Name::from_text(name).unwrap();
        Tried { client: client.into(), name, qtype: 1, tcp: false, weight, answer: None }
    }

    const OLD: &str = "[[rule]]\nid = \"ads\"\nnames = [\"ads.example\"]\naction = \"nxdomain\"\n\
        [[rule]]\nid = \"old\"\nnames = [\"old.example\"]\naction = \"nxdomain\"\n";
    const NEW: &str = "[[rule]]\nid = \"ads\"\nnames = [\"ads.example\"]\naction = \"nodata\"\n\
        [[rule]]\nid = \"wide\"\nnames = [\"wide.example\"]\ngroups = [\"@lab\"]\naction = \"drop\"\n\
        [[rule]]\nid = \"watch\"\nnames = [\"watch.example\"]\naction = \"nxdomain\"\nmode = \"monitor\"\n";

    #[test]
    fn changes_are_grouped_by_the_rule_that_makes_the_difference() {
        let (old, new) = (policy(OLD), policy(NEW));
        let mut comparison = Comparison::new(&old, &new, Besides::default(), 0);
        for n in 0..6 {
            comparison.try_on(&tried([10, 9, 0, 1], &format!("n{}.wide.example", n % 2), 2.0));
        }
        comparison.try_on(&tried([10, 8, 0, 1], "wide.example", 1.0));
        comparison.try_on(&tried([10, 8, 0, 1], "www.ads.example", 3.0));
        comparison.try_on(&tried([10, 8, 0, 1], "old.example", 4.0));
        comparison.try_on(&tried([10, 8, 0, 1], "watch.example", 5.0));
        comparison.try_on(&tried([192, 0, 2, 1], "old.example", 5.0));
        let verdicts = comparison.end(Text::verbatim("of a test"));
        assert_eq!((verdicts.queries, verdicts.stand_for), (11, 30.0));
        let blocked = &verdicts.newly_blocked;
        assert_eq!((blocked.queries, blocked.groups.len()), (12.0, 1), "the client's group counts: {verdicts:#?}");
        assert!((blocked.share - 0.4).abs() < 1e-9);
        let group = &blocked.groups[0];
        assert_eq!((group.rule.as_str(), group.before.as_str(), group.after.as_str()), ("wide", "forward", "drop"));
        assert_eq!(group.names.iter().map(|row| row.queries).sum::<f64>(), 12.0);
        assert_eq!((verdicts.newly_allowed.queries, verdicts.newly_allowed.groups[0].rule.as_str()), (4.0, "old"));
        assert_eq!((verdicts.other_action.queries, verdicts.other_action.groups[0].after.as_str()), (3.0, "nodata"));
        let monitored = &verdicts.monitored.groups[0];
        assert_eq!((monitored.rule.as_str(), monitored.queries, monitored.after.as_str()), ("watch", 5.0, "nxdomain"));
        let json = serde_json::to_string(&verdicts).unwrap();
        assert_eq!(serde_json::from_str::<Verdicts>(&json).unwrap(), verdicts);
    }

    #[test]
    fn memory_does_not_grow_with_the_names() {
        let (old, new) = (policy(OLD), policy(NEW));
        let mut comparison = Comparison::new(&old, &new, Besides::default(), 0);
        for n in 0..40_000 {
            let name = if n % 2 == 0 { "often.wide.example".to_owned() } else { format!("n{n}.wide.example") };
            comparison.try_on(&tried([10, 9, 0, 1], &name, 1.0));
        }
        assert!(comparison.names.iter().count() <= NAMES_MAX);
        let verdicts = comparison.end(Text::verbatim(""));
        assert_eq!(verdicts.newly_blocked.queries, 40_000.0);
        let first = &verdicts.newly_blocked.groups[0].names[0];
        assert_eq!((first.name.as_str(), first.queries), ("often.wide.example", 20_000.0));
    }
}
