//! Lists as they are published, when they lie beside the project.

use super::lists::{Match, Reading, parse};
use super::*;

/// The file in a folder `shared` beside the project, or beside a directory above it.
pub(super) fn shared(file: &str) -> Option<Vec<u8>> {
    let above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
    let bytes = above.map(|dir| dir.join("shared/data/lists").join(file)).find_map(|path| std::fs::read(path).ok());
    if bytes.is_none() {
        eprintln!("SKIPPED: ../shared/data/lists/{file} is not there, so this list was not tried");
    }
    bytes
}

fn load(bytes: &[u8], matches: Match) -> (lists::Parsed, Filter) {
    let parsed = parse(bytes, Reading { matches, ..Reading::default() }).unwrap();
    let names = Arc::new(parsed.names.clone());
    let (filter, _) = Filter::new(vec![rule(0, "list", Action::Nxdomain)], &[names], 3).unwrap();
    (parsed, filter)
}

#[test]
fn the_same_list_as_domains_and_as_hosts_gives_the_same_table() {
    let (Some(domains), Some(hosts)) = (shared("basic.domains.txt"), shared("basic.hosts.txt")) else { return };
    let (domains, one) = load(&domains, Match::Exact);
    let (hosts, two) = load(&hosts, Match::Exact);
    assert_eq!((domains.format, hosts.format), (lists::Format::Domains, lists::Format::Hosts));
    assert_eq!((domains.problems.count(), hosts.problems.count()), (0, 0));
    assert_eq!((domains.names.len(), one.names()), (76_036, 76_036));
    assert_eq!(domains.names, hosts.names);
    assert_eq!(one.names(), two.names());
    for (_, wire) in domains.names.iter() {
        assert_eq!(one.index.table.value_of(wire), two.index.table.value_of(wire));
        assert!(one.index.table.value_of(wire).is_some());
    }
}

#[test]
fn a_published_wildcard_list_loads_whole() {
    let Some(bytes) = shared("stevenblack.wildcard.txt") else { return };
    let (parsed, filter) = load(&bytes, Match::Subtree);
    assert_eq!(parsed.format, lists::Format::Wildcards);
    assert_eq!((parsed.names.len(), parsed.problems.count()), (85_291, 0));
    assert!(!filter.is_untouched(&name("x.007angels.com")));
    assert!(filter.is_untouched(&name("007angels.com")));
}

#[test]
fn names_below_listed_names_are_folded_and_still_blocked() {
    let Some(bytes) = shared("phishing.domains.txt") else { return };
    let (parsed, filter) = load(&bytes, Match::Subtree);
    assert_eq!(parsed.names.len() + parsed.problems.count(), parsed.lines);
    assert!(!parsed.is_over_budget());
    assert!(filter.names() < parsed.names.len() - 70_000, "{} of {}", filter.names(), parsed.names.len());
    for (_, wire) in parsed.names.iter() {
        assert!(!filter.is_untouched(&Name::from_wire(wire).unwrap()));
    }
}

#[test]
fn published_rule_lists_load_whole() {
    for (file, format, names, problems) in [
        ("basic.adblock.txt", lists::Format::Adblock, 76_036, 0),
        ("tracking.adblock.txt", lists::Format::Adblock, 143_876, 0),
        ("basic.dnsmasq.txt", lists::Format::Dnsmasq, 76_036, 0),
    ] {
        let Some(bytes) = shared(file) else { return };
        let parsed = parse(&bytes, Reading::default()).unwrap();
        assert_eq!((parsed.format, parsed.names.len(), parsed.problems.count()), (format, names, problems), "{file}");
    }
    let Some(addresses) = shared("bogus-nxdomain.china.conf") else { return };
    let parsed = parse(&addresses, Reading::default()).unwrap();
    assert_eq!((parsed.format, parsed.names.len()), (lists::Format::Dnsmasq, 0));
    assert_eq!(parsed.problems.count(), parsed.lines, "{:?}", parsed.problems);
}
