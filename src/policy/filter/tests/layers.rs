//! A policy that shares the table of the one before it says what it would say by itself.

use super::*;
use crate::policy::document::{Files, Report};
use crate::policy::server::Surroundings;
use crate::policy::{Options, Policy, load_files};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const LISTED: usize = 40_000;

fn compiled(files: &Files, running: Option<&Filter>) -> (Policy, Report) {
    let nameservers = vec!["192.0.2.1:53".parse().unwrap()];
    let surroundings = Surroundings { nameservers, ..Surroundings::default() };
    load_files(files.clone(), &Options { surroundings, seed: 5, running: running.cloned(), ..Options::default() })
        .unwrap()
}

fn shares(a: &Filter, b: &Filter) -> bool {
    Arc::ptr_eq(a.index.base().unwrap(), b.index.base().unwrap())
}

/// A list of names of which some are below others.
fn list(count: usize, start: usize) -> Vec<String> {
    (start..start + count)
        .map(|n| if n % 7 == 0 { format!("www.name-{}.example", n + 1) } else { format!("name-{n}.example") })
        .collect()
}

fn zone(title: &str, rules: &str) -> String {
    format!("[zone]\ntitle = \"{title}\"\n{rules}")
}

fn rule_of_list(id: &str, action: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\nlist = \"lists/{id}.txt\"\naction = \"{action}\"\n")
}

fn base_files(folds: bool) -> Files {
    let mut large = list(LISTED, 0);
    if !folds {
        large.retain(|name| !name.starts_with("www."));
    }
    let mut files = Files::default();
    files.insert("gateway.toml", "schema = 1\n");
    files.insert("filters/20-large.toml", zone("large", &rule_of_list("large", "nxdomain")));
    files.insert("lists/large.txt", large.join("\n"));
    files
}

/// Rules about names beside, above and below those of the large list.
fn small_rules(rng: &mut StdRng, prefix: &str) -> String {
    let mut rules = String::new();
    for number in 0..rng.random_range(0..4) {
        let names: Vec<_> = (0..rng.random_range(1..40))
            .map(|_| {
                let n = rng.random_range(0..LISTED + 100);
                let before = ["", "=", "*.", "a.", "www.", "b.www.", "=www."][rng.random_range(0..7_usize)];
                format!("\"{before}name-{n}.example\"")
            })
            .collect();
        let action = ["allow", "nodata", "monitor", "refused"][rng.random_range(0..4_usize)];
        let names = names.join(", ");
        rules += &format!("[[rule]]\nid = \"{prefix}{number}\"\nnames = [{names}]\naction = \"{action}\"\n");
    }
    rules
}

/// How many names of the rules lie below another one of the same rule.
fn below_one_another(rules: &str) -> usize {
    let of_rule = |line: &str| {
        let names: Vec<_> =
            line.split('"').skip(1).step_by(2).map(|name| name.trim_start_matches(['=', '*', '.'])).collect();
        let is_below =
            |name: &&str| names.iter().any(|above| name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.')));
        names.iter().filter(|name| is_below(name)).count()
    };
    rules.lines().filter(|line| line.starts_with("names")).map(of_rule).sum()
}

/// Holds a filter that shares against one that does not.
fn assert_same(shared: &Policy, own: &Policy, rng: &mut StdRng, seed: u64) {
    let groups = GroupSet::default();
    for _ in 0..2_000 {
        let n = rng.random_range(0..LISTED + 100);
        let before = ["", "www.", "a.", "b.www.", "c.b.www.", "x.a."][rng.random_range(0..6_usize)];
        let name = name(&format!("{before}name-{n}.example"));
        let client = [192, 0, 2, 1].into();
        let active = &ActiveSet::EVERYTHING;
        let subject = Subject { groups: &groups, client, name: &name, qtype: 1, tcp: false, active };
        let said = |filter: &Filter| {
            let decision = filter.decide(&subject);
            let id = |rule: Option<&Rule>| rule.map(|rule| rule.id.clone());
            (id(decision.rule), id(decision.monitored), filter.is_untouched(&name))
        };
        assert_eq!(said(&shared.filter), said(&own.filter), "{name} seed {seed}");
    }
}

#[test]
fn a_shared_table_says_what_a_table_of_its_own_says() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    for folds in [false, true] {
        let mut files = base_files(folds);
        files.insert("filters/10-first.toml", zone("first", &rule_of_list("second", "allow")));
        files.insert("lists/second.txt", list(3_000, LISTED / 2).join("\n"));
        let (first, _) = compiled(&files, None);
        let mut sharing = 0;
        for round in 0..8 {
            let (early, late) = (small_rules(&mut rng, "early"), small_rules(&mut rng, "late"));
            files.insert("filters/05-early.toml", zone("early", &early));
            files.insert("filters/30-late.toml", zone("late", &late));
            // In the zone of the large list, where the longer name decides.
            let same = if round % 2 == 0 { small_rules(&mut rng, "same") } else { String::new() };
            let few = [early, late, same.clone()].iter().map(|rules| below_one_another(rules)).sum::<usize>();
            files.insert("filters/20-large.toml", zone("large", &(same + &rule_of_list("large", "nxdomain"))));
            files.insert("lists/second.txt", list(3_000, LISTED / 2 + round).join("\n"));
            let (shared, shared_report) = compiled(&files, Some(&first.filter));
            let (own, own_report) = compiled(&files, None);
            sharing += usize::from(shares(&shared.filter, &first.filter));
            assert_same(&shared, &own, &mut rng, seed);
            assert_eq!(shared.id, own.id);
            // What was folded in the shared table is not there to be counted beside what is new.
            if !folds {
                assert_eq!(shared_report.short(), own_report.short(), "seed {seed}");
                // What adds nothing to a name above it stays in the small table.
                let (shared, own) = (shared.filter.names(), own.filter.names());
                assert!((own..=own + few).contains(&shared), "{shared} and {own}, {few}, seed {seed}");
            }
        }
        assert!(sharing >= if folds { 4 } else { 8 }, "{sharing} policies shared the table, seed {seed}");
    }
}

#[test]
fn what_is_gone_says_nothing_any_more_and_what_changes_most_is_made_anew() {
    let mut files = base_files(true);
    files.insert("filters/30-other.toml", zone("other", &rule_of_list("other", "nodata")));
    let mut other: Vec<String> = (0..9_000).map(|n| format!("a-name-as-long-as-many-are-{n}.test")).collect();
    files.insert("lists/other.txt", other.join("\n"));
    let (first, first_report) = compiled(&files, None);
    let (again, report) = compiled(&files, Some(&first.filter));
    assert!(shares(&first.filter, &again.filter), "nothing has changed");
    assert_eq!(report.short(), first_report.short(), "a list that is not read again reports the same");
    assert_eq!(again.filter.names(), first.filter.names());
    other.pop();
    files.insert("lists/other.txt", other[..100].join("\n"));
    let (shorter, _) = compiled(&files, Some(&again.filter));
    assert!(shares(&first.filter, &shorter.filter));
    assert_eq!(shorter.filter.names(), first.filter.names() - 8_900);
    assert_eq!(decided(&shorter.filter, "a-name-as-long-as-many-are-99.test").0, Some("other"));
    assert_eq!(decided(&shorter.filter, "a-name-as-long-as-many-are-100.test"), (None, None));
    assert!(shorter.filter.is_untouched(&name("a-name-as-long-as-many-are-100.test")));
    // The large list itself changes: all of it is read.
    files.insert("lists/large.txt", list(LISTED + 1, 0).join("\n"));
    let (changed, _) = compiled(&files, Some(&shorter.filter));
    assert!(!shares(&first.filter, &changed.filter));
    assert_eq!(decided(&changed.filter, &format!("name-{LISTED}.example")).0, Some("large"));
}
