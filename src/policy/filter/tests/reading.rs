//! Zones and rules as written: what they become, and every fault with its place.

use super::*;
use crate::policy::clients::Groups;
use crate::policy::document::probe;
use crate::policy::document::{Context, Faults, Files, Report};

const GATEWAY: &str = "[[upstream]]\nname = \"u\"\naddress = \"127.0.0.1:5300\"\n\
                       [[route]]\nzone = \"corp.example\"\npool = \"default\"\n";
const CLIENTS: &str = "[[group]]\nname = \"branches\"\nnetworks = [\"10.0.0.0/8\"]\n";

/// Reads a directory of these files; the filter, and the faults as `file:line:column CODE`.
fn read_files(files: &[(&str, &str)]) -> (Filter, Vec<String>) {
    let server = probe::server(GATEWAY);
    let (groups, _) = probe::read(CLIENTS, Groups::read);
    let files: Files = files.iter().map(|(path, text)| (*path, *text)).collect();
    let faults = Faults::default();
    let context = Context { server: &server, groups: &groups, files: &files, faults: &faults };
    let filter = read(&context, 11, None);
    let report = Report::new(faults, &files);
    let lines = report.faults.iter().map(|fault| {
        let place = format!("{}:{}:{}", fault.file, fault.line, fault.column);
        format!("{} {}", place.trim_start_matches("filters/"), fault.code)
    });
    (filter, lines.collect())
}

/// The faults of one rule under `[[rule]]`, whose text begins in line 2; places without the file.
fn faults_of(rule: &str) -> Vec<String> {
    let text = format!("[[rule]]\n{rule}\n");
    let (_, faults) = read_files(&[("filters/10-t.toml", &text), ("lists/l.txt", "a.example\nb.example\n")]);
    faults.iter().map(|fault| fault.trim_start_matches("10-t.toml:").to_owned()).collect()
}

#[test]
fn a_zone_becomes_rules_with_all_they_say() {
    let zone = r#"
        [zone]
        title = "noisy"
        mode = "monitor"
        groups = ["@branches"]
        [[rule]]
        id = "player"
        names = ["a.example", "=b.example", "*.c.example"]
        action = "nxdomain"
        ttl = 60
        qtypes = ["AAAA", "a", "TYPE65"]
        transport = "udp"
        owner = "noc"
        ticket = "SEC-1"
        note = "why"
        [[rule]]
        id = "listed"
        list = "lists/l.txt"
        match = "exact"
        format = "hosts"
        action = "sinkhole"
        addresses = ["192.0.2.1", "2001:db8::1"]
        mode = "off"
        [[rule]]
        id = "bare"
        names = ["d.example"]
        action = "sinkhole"
        groups = ["@branches"]
    "#;
    let (filter, faults) =
        read_files(&[("filters/10-noisy.toml", zone), ("lists/l.txt", "0.0.0.0 l.example\n127.0.0.1 localhost\n")]);
    assert_eq!(faults, [""; 0]);
    let [player, listed, bare] = filter.rules() else { panic!("three rules") };
    let mut branches = GroupSet::default();
    branches.insert(0);
    assert_eq!((player.id.as_str(), player.zone.as_str(), player.zone_number), ("player", "noisy", 0));
    assert_eq!((player.action.clone(), player.ttl, player.mode), (Action::Nxdomain, 60, Mode::Monitor));
    let scope = Scope {
        zone_groups: Some(branches),
        groups: None,
        qtypes: Some(vec![1, 28, 65]),
        transport: Some(RuleTransport::Udp),
    };
    assert_eq!(player.scope, scope);
    let notes = [&player.owner, &player.ticket, &player.note].map(|note| note.as_deref());
    assert_eq!(notes, [Some("noc"), Some("SEC-1"), Some("why")]);
    let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!((listed.action.clone(), listed.ttl, listed.mode), (Action::Sinkhole(addresses), 30, Mode::Off));
    let unspecified = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
    assert_eq!((bare.action.clone(), bare.mode), (Action::Sinkhole(unspecified), Mode::Monitor));
    assert_eq!(bare.scope.groups, Some(branches));
    assert_eq!(filter.names(), 5);
}

#[test]
fn zones_are_heard_in_the_order_of_their_numbers() {
    let zone =
        |id: &str, action: &str| format!("[[rule]]\nid = \"{id}\"\nnames = [\"a.example\"]\naction = \"{action}\"\n");
    let (filter, faults) = read_files(&[
        ("filters/20-late.toml", &zone("late", "nxdomain")),
        ("filters/00-first.toml", &zone("first", "allow")),
    ]);
    assert_eq!(faults, [""; 0]);
    assert_eq!(decided(&filter, "a.example").0, Some("first"));
    assert_eq!(filter.rules()[1].zone, "20-late");
}

#[test]
fn every_fault_of_a_rule_has_its_place() {
    let good = "id = \"r\"\nnames = [\"a.example\"]\naction = \"nxdomain\"";
    assert_eq!(faults_of(good), [""; 0]);
    for (rule, faults) in [
        ("names = [\"a.example\"]\naction = \"drop\"", &["1:1 E-MISSING-KEY"][..]),
        ("id = \"a b\"\nnames = [\"a.example\"]\naction = \"drop\"", &["2:6 E-VALUE"]),
        ("id = \"r\"\naction = \"drop\"", &["1:1 E-MISSING-KEY"]),
        ("id = \"r\"\nnames = [\"a.example\"]", &["1:1 E-MISSING-KEY"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"nxdomian\"", &["4:10 E-CHOICE"]),
        ("id = \"r\"\nnames = [\"a.example\"]\nlist = \"lists/l.txt\"\naction = \"drop\"", &["4:8 E-CONFLICT"]),
        ("id = \"r\"\nnames = []\naction = \"drop\"", &["3:9 E-EMPTY"]),
        (
            "id = \"r\"\nnames = [\"a..b\", \"x.*.y\", \"a b.c\", 5, \"ok.example\"]\naction = \"drop\"",
            &["3:10 E-NAME", "3:18 E-NAME", "3:27 E-NAME", "3:36 E-TYPE"],
        ),
        ("id = \"r\"\nnames = [\"b\u{e4}r.example\"]\naction = \"drop\"", &["3:10 E-NAME"]),
        ("id = \"r\"\nnames = [\"a.example\"]\nmatch = \"exact\"\naction = \"drop\"", &["4:9 E-CONFLICT"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\naddresses = [\"1.2.3.4\"]", &["5:13 E-CONFLICT"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"sinkhole\"\naddresses = [\"1.2.3\"]", &["5:14 E-ADDRESS"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"sinkhole\"\naddresses = []", &["5:13 E-EMPTY"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\nttl = 86401", &["5:7 E-RANGE"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\ngroups = [\"@branch\"]", &["5:11 E-UNKNOWN-GROUP"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\ngroups = []", &["5:10 E-EMPTY"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\nqtypes = [\"AAA\"]", &["5:11 E-QTYPE"]),
        ("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\ntransport = \"doh\"", &["5:13 E-CHOICE"]),
        (
            "id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\nnote = 5\nnoise = 1",
            &["5:8 E-TYPE", "6:1 E-UNKNOWN-KEY"],
        ),
        ("id = \"r\"\nlist = \"lists/m.txt\"\naction = \"drop\"", &["3:8 E-MISSING-FILE"]),
        ("id = \"r\"\nlist = \"../m.txt\"\naction = \"drop\"", &["3:8 E-PATH"]),
        ("id = \"r\"\nlist = \"lists/l.txt\"\nformat = \"rpz\"\naction = \"drop\"", &["4:10 E-NOT-YET"]),
        ("id = \"r\"\nlist = \"lists/l.txt\"\nformat = \"csv\"\naction = \"drop\"", &["4:10 E-CHOICE"]),
    ] {
        assert_eq!(faults_of(rule), faults, "{rule}");
    }
}

#[test]
fn what_belongs_to_later_versions_is_refused_as_such() {
    for key in [
        "schedule = \"x\"",
        "expires = 2027-01-31T00:00:00+08:00",
        "budget = { qps = 200 }",
        "rto = \"30m\"",
        "answers = [\"203.0.113.0/24\"]",
        "else = \"servfail\"",
        "records = [\"A 10.0.0.1\"]",
        "cname = \"x.example\"",
    ] {
        let rule = format!("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\n{key}");
        let faults = faults_of(&rule);
        assert!(faults.len() == 1 && faults[0].ends_with("E-NOT-YET"), "{key}: {faults:?}");
    }
    for key in
        ["response_ip = [\"198.51.100.7\"]", "clients = [\"10.0.0.0/8\"]", "ns_name = [\"a\"]", "ns_ip = [\"::1\"]"]
    {
        let faults = faults_of(&format!("id = \"r\"\naction = \"drop\"\n{key}"));
        assert!(faults.len() == 1 && faults[0].ends_with("E-NOT-YET"), "{key}: {faults:?}");
    }
    for action in ["shed", "limit", "ttl", "expect", "data"] {
        let faults = faults_of(&format!("id = \"r\"\nnames = [\"a.example\"]\naction = \"{action}\""));
        assert_eq!(faults, ["4:10 E-NOT-YET"], "{action}");
    }
    let (_, faults) = read_files(&[("filters/10-x.rpz", "$TTL 1\n")]);
    assert_eq!(faults, ["10-x.rpz:1:1 E-NOT-YET"]);
}

#[test]
fn rules_that_block_too_much_are_refused_until_forced() {
    for (name, dangerous) in [
        (".", true),
        ("*", true),
        ("=.", false),
        ("com", true),
        ("*.com", true),
        ("=com", true),
        ("co.uk", true),
        ("*.com.cn", true),
        ("github.io", true),
        ("=github.io", false),
        ("someone.github.io", false),
        ("example.co.uk", false),
        ("corp.example", true),
        ("=corp.example", true),
        ("*.corp.example", true),
        ("www.corp.example", false),
        ("orp.example", false),
    ] {
        let rule = |action: &str| format!("id = \"r\"\nnames = [\"{name}\"]\naction = \"{action}\"");
        let faults: &[&str] = if dangerous { &["3:10 E-DANGEROUS"] } else { &[] };
        let found = faults_of(&rule("nxdomain"));
        // A name that is dangerous in two ways is told once for each.
        assert_eq!(found.first().map(String::as_str), faults.first().copied(), "{name}");
        assert!(found.iter().all(|fault| fault == "3:10 E-DANGEROUS"), "{name}: {found:?}");
        for harmless in [rule("allow"), rule("monitor"), rule("nxdomain") + "\nforce = true"] {
            assert_eq!(faults_of(&harmless), [""; 0], "{harmless}");
        }
    }
    let list = [
        ("filters/10-t.toml", "[[rule]]\nid = \"r\"\nlist = \"l\"\naction = \"drop\"\n"),
        ("l", "a.b\n*.example\ncorp.example\nco.uk\nduckdns.org\n"),
    ];
    let (filter, faults) = read_files(&list);
    assert_eq!(faults, ["10-t.toml:3:8 E-DANGEROUS", "l:2:1 W-LIST-LINE"]);
    // A list of all of a company's customers means what it says; one of half a country does not.
    assert_eq!((decided(&filter, "x.duckdns.org").0, decided(&filter, "x.co.uk").0), (Some("r"), None));
}

#[test]
fn ids_are_unique_over_all_zones_and_zones_have_numbers() {
    let zone = "[[rule]]\nid = \"same\"\nnames = [\"a.example\"]\naction = \"drop\"\n";
    let (_, faults) = read_files(&[("filters/00-a.toml", zone), ("filters/b.toml", zone)]);
    assert_eq!(faults, ["b.toml:1:1 E-PATH", "b.toml:2:6 E-DUPLICATE"]);
}

#[test]
fn faults_of_a_zone_have_their_places() {
    let zone = "[zone]\ntitle = 1\nmode = \"on\"\ngroups = [\"branches\"]\nschedule = \"x\"\ntitel = \"x\"\n[zones]\n";
    let (_, faults) = read_files(&[("filters/10-t.toml", zone)]);
    let codes: Vec<_> = faults.iter().map(|fault| fault.trim_start_matches("10-t.toml:")).collect();
    assert_eq!(
        codes,
        ["2:9 E-TYPE", "3:8 E-CHOICE", "4:11 E-VALUE", "5:12 E-NOT-YET", "6:1 E-UNKNOWN-KEY", "7:2 E-UNKNOWN-KEY"]
    );
}

#[test]
fn a_list_reports_what_is_wrong_in_groups_and_still_loads() {
    let zone = "[[rule]]\nid = \"r\"\nlist = \"lists/l.txt\"\naction = \"drop\"\n[[rule]]\nid = \"again\"\nlist = \"lists/l.txt\"\naction = \"drop\"\n";
    let list = "a.example\nhttp://x.example/\nb.example\nb.example\nc.b.example\nhttp://y.example/\nbad..example\n";
    let (filter, faults) = read_files(&[("filters/10-t.toml", zone), ("lists/l.txt", list)]);
    assert_eq!(
        faults,
        [
            "10-t.toml:3:8 W-DUPLICATE",
            "10-t.toml:7:8 W-DUPLICATE",
            "lists/l.txt:2:1 W-LIST-LINE",
            "lists/l.txt:7:1 W-LIST-LINE"
        ]
    );
    assert_eq!(filter.names(), 2);
    assert_eq!(decided(&filter, "x.c.b.example").0, Some("r"));

    let over: String = (0..101).map(|n| format!("http://n{n}/\n")).collect();
    let (_, faults) = read_files(&[("filters/10-t.toml", zone), ("lists/l.txt", &over)]);
    assert_eq!(faults, ["lists/l.txt:1:1 E-LIST", "lists/l.txt:1:1 W-LIST-LINE"]);
    let (_, faults) = read_files(&[("filters/10-t.toml", zone), ("lists/l.txt", "<!DOCTYPE html>\n")]);
    assert_eq!(faults, ["10-t.toml:3:8 E-LIST"]);
    let (_, faults) = read_files(&[("filters/10-t.toml", zone), ("lists/l.txt", "# none\n")]);
    assert_eq!(faults, ["lists/l.txt:1:1 W-UNUSED"]);
}

#[test]
fn the_example_policy_is_clean_and_stops_the_storm_player() {
    let files = [
        ("filters/00-allow.toml", include_str!("../../../../policies/filters/00-allow.toml")),
        ("filters/10-video.toml", include_str!("../../../../policies/filters/10-video.toml")),
        ("lists/video-clients.txt", include_str!("../../../../policies/lists/video-clients.txt")),
    ];
    let (filter, faults) = read_files(&files);
    assert_eq!(faults, [""; 0]);
    assert_eq!(decided(&filter, "update.baofeng.com"), (Some("storm-player"), None));
    assert_eq!(decided(&filter, "v.youku.com"), (None, Some("video-noise")));
    assert_eq!(decided(&filter, "wlog.kuaishou.com"), (None, Some("video-noise")));
    assert!(filter.is_untouched(&name("example.com")));
    assert!(filter.rules().iter().all(|rule| rule.ttl == 60));
}
