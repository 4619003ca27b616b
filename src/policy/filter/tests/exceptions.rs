//! Exceptions inside a list: they free names from the rule of that list, and from no other.

use super::*;
use crate::policy::filter::lists::{Format, Match, Reading, parse};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

fn adblock(text: &str) -> Arc<NameList> {
    let reading = Reading { format: Some(Format::Adblock), matches: Match::Subtree, suffixes: true };
    let parsed = parse(text.as_bytes(), reading).unwrap();
    assert_eq!(parsed.problems.groups(), [], "{text}");
    Arc::new(parsed.names)
}

fn of_lists(lists: &[(Rule, &str)]) -> Filter {
    let names: Vec<_> = lists.iter().map(|(_, text)| adblock(text)).collect();
    Filter::new(lists.iter().map(|(rule, _)| rule.clone()).collect(), &names, 7).unwrap().0
}

fn whys(filter: &Filter, text: &str) -> Vec<(String, String, Why)> {
    let (name, groups) = (name(text), GroupSet::default());
    let considered = filter.considered(&Subject::plain(&groups, &name));
    considered.into_iter().map(|c| (c.rule.id.clone(), c.matched.trim_end_matches('.').to_owned(), c.why)).collect()
}

#[test]
fn an_exception_lets_the_next_rule_be_heard() {
    let list = "||a.example^\n@@||x.a.example^\n";
    let filter = of_lists(&[
        (rule(0, "list", Action::Nxdomain), list),
        (rule(0, "beside", Action::Nodata), "||y.x.a.example^\n"),
        (rule(1, "later", Action::Refused), "||x.a.example^\n"),
    ]);
    for (asked, decides) in [
        ("a.example", Some("list")),
        ("w.a.example", Some("list")),
        ("x.a.example", Some("later")),
        ("z.x.a.example", Some("later")),
        ("y.x.a.example", Some("beside")),
        ("example", None),
    ] {
        assert_eq!(decided(&filter, asked).0, decides, "{asked}");
    }
    assert_eq!(
        whys(&filter, "z.x.a.example"),
        [
            ("list".to_owned(), "a.example".to_owned(), Why::Excepted),
            ("later".to_owned(), "x.a.example".to_owned(), Why::Decides)
        ]
    );
}

#[test]
fn an_exception_alone_stops_nothing() {
    let filter = of_lists(&[
        (rule(0, "exceptions", Action::Nxdomain), "@@||a.example^\n"),
        (rule(1, "later", Action::Refused), "||a.example^\n"),
    ]);
    assert_eq!(decided(&filter, "a.example").0, Some("later"));
    let allow = of_lists(&[
        (rule(0, "allow", Action::Allow), "||a.example^\n@@||x.a.example^\n"),
        (rule(1, "later", Action::Refused), "||a.example^\n"),
    ]);
    assert_eq!(decided(&allow, "a.example").0, Some("allow"));
    assert_eq!(decided(&allow, "x.a.example").0, Some("later"), "freed from the rule that allows");
}

#[test]
fn what_is_listed_for_some_types_is_asked_about_them() {
    let filter = of_lists(&[(rule(0, "list", Action::Nodata), "||a.example^$dnstype=AAAA\n||x.a.example^\n")]);
    let decide = |text: &str, qtype: u16| {
        let (name, groups) = (name(text), GroupSet::default());
        filter.decide(&Subject { qtype, ..Subject::plain(&groups, &name) }).rule.is_some()
    };
    for (asked, qtype, blocked) in [
        ("a.example", 28, true),
        ("a.example", 1, false),
        ("w.a.example", 28, true),
        ("w.a.example", 1, false),
        ("x.a.example", 1, true),
        ("w.x.a.example", 28, true),
    ] {
        assert_eq!(decide(asked, qtype), blocked, "{asked} {qtype}");
    }
    assert_eq!(whys(&filter, "a.example"), [("list".to_owned(), "a.example".to_owned(), Why::OtherType)]);
}

/// A line of a random list, and what it means by itself.
struct Line {
    text: String,
    reach: u8,
    name: Name,
    excepts: bool,
    important: bool,
    only: Option<u16>,
    holes: Vec<Name>,
}

impl Line {
    fn random(rng: &mut StdRng) -> Self {
        let name = random_name(rng);
        let reach = [SELF, BELOW, SELF | BELOW, SELF | BELOW][rng.random_range(0..4_usize)];
        let (excepts, important) = (rng.random_bool(0.3), rng.random_bool(0.2));
        let only = rng.random_bool(0.3).then(|| [1, 28][rng.random_range(0..2_usize)]);
        let holes: Vec<_> =
            if !excepts && rng.random_bool(0.2) { (0..2).map(|_| random_name(rng)).collect() } else { vec![] };
        // A hole at or above the name would be all of it.
        let holes: Vec<_> = holes.into_iter().filter(|hole: &Name| !name.is_within(hole)).collect();
        let prefix = ["", "|", "||*.", "||"][usize::from(reach)];
        let mut modifiers = Vec::new();
        modifiers.extend(important.then(|| "important".to_owned()));
        modifiers.extend(only.map(|qtype| format!("dnstype={}", if qtype == 1 { "A" } else { "AAAA" })));
        if !holes.is_empty() {
            let names: Vec<_> = holes.iter().map(|name| name.to_string().trim_end_matches('.').to_owned()).collect();
            modifiers.push(format!("denyallow={}", names.join("|")));
        }
        let bare = name.to_string();
        let mut text = format!("{}{prefix}{}^", if excepts { "@@" } else { "" }, bare.trim_end_matches('.'));
        if !modifiers.is_empty() {
            text = format!("{text}${}", modifiers.join(","));
        }
        Self { text, reach, name, excepts, important, only, holes }
    }

    fn is_about(&self, asked: &Name, qtype: u16) -> bool {
        let reached = if *asked == self.name {
            self.reach & SELF != 0
        } else {
            self.reach & BELOW != 0 && asked.is_within(&self.name)
        };
        reached && self.only.is_none_or(|only| only == qtype) && !self.holes.iter().any(|hole| asked.is_within(hole))
    }
}

fn random_name(rng: &mut StdRng) -> Name {
    let labels: Vec<_> = (0..rng.random_range(1..5)).map(|_| ["a", "b"][rng.random_range(0..2_usize)]).collect();
    name(&labels.join("."))
}

#[test]
fn a_list_decides_as_its_lines_read_one_by_one() {
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..2_000 {
        let lines: Vec<_> = (0..rng.random_range(1..12)).map(|_| Line::random(&mut rng)).collect();
        let text: String = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        let filter = of_lists(&[(rule(0, "list", Action::Nxdomain), &text)]);
        for _ in 0..20 {
            let (asked, qtype) = (random_name(&mut rng), [1, 28, 65][rng.random_range(0..3_usize)]);
            let heard = lines.iter().filter(|line| line.is_about(&asked, qtype));
            // Important before exception before the rest.
            let rank = heard.map(|line| (line.important, line.excepts)).max();
            let expected = rank.is_some_and(|(_, excepts)| !excepts);
            let groups = GroupSet::default();
            let found = filter.decide(&Subject { qtype, ..Subject::plain(&groups, &asked) }).rule.is_some();
            assert_eq!(found, expected, "{asked} {qtype} of\n{text}");
        }
    }
}
