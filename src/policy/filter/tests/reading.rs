//! Zones and rules as written: what they become, and every fault with its place.

use super::*;
use crate::policy::clients::Groups;
use crate::policy::document::instant::parse;
use crate::policy::document::probe;
use crate::policy::document::{Context, Faults, Files, Report};
use crate::policy::feeds::{Copies, Feeds};
use crate::policy::schedules::{ScheduleSet, Schedules};

const GATEWAY: &str = "[[upstream]]\nname = \"u\"\naddress = \"127.0.0.1:5300\"\n\
                       [[route]]\nzone = \"corp.example\"\npool = \"default\"\n";
const CLIENTS: &str = "[[group]]\nname = \"branches\"\nnetworks = [\"10.0.0.0/8\"]\n\
                       [[schedule]]\nname = \"night\"\ntz = \"UTC\"\nwindows = [{ from = \"22:00\", to = \"06:00\" }]\n\
                       [[schedule]]\nname = \"office-hours\"\ntz = \"UTC\"\nwindows = [{ from = \"12:00\", to = \"13:00\" }]\n";

/// When directories are read here: 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600_000;

/// Reads a directory of these files; the filter, and the faults as `file:line:column CODE`.
pub(super) fn read_files(files: &[(&str, &str)]) -> (Filter, Vec<String>) {
    let server = probe::server(GATEWAY);
    let ((groups, schedules), _) = probe::read(CLIENTS, |t| (Groups::read(t), Schedules::read(t)));
    let files: Files = files.iter().map(|(path, text)| (*path, *text)).collect();
    let faults = Faults::default();
    let context = Context {
        server: &server,
        groups: &groups,
        files: &files,
        feeds: &Feeds::default(),
        copies: &Copies::default(),
        schedules: &schedules,
        faults: &faults,
        unix_ms: NOW,
    };
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
        ..Scope::default()
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
    assert_eq!(faults, ["20-late.toml:2:6 W-SHADOWED"]);
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
        ("id = \"r\"\nlist = \"lists/l.txt\"\nformat = \"csv\"\naction = \"drop\"", &["4:10 E-CHOICE"]),
    ] {
        assert_eq!(faults_of(rule), faults, "{rule}");
    }
}

#[test]
fn what_belongs_to_later_versions_is_refused_as_such() {}

#[test]
fn a_time_of_a_rule_is_read_or_refused_at_its_place() {
    for (key, faults) in [
        ("schedule = \"night\"", &[][..]),
        ("schedule = [\"night\", \"office-hours\"]", &[]),
        ("schedule = \"nigth\"", &["5:12 E-UNKNOWN-SCHEDULE"]),
        ("schedule = [\"night\", \"noo\"]", &["5:22 E-UNKNOWN-SCHEDULE"]),
        ("schedule = []", &["5:12 E-EMPTY"]),
        ("schedule = 5", &["5:12 E-TYPE"]),
        ("expires = 2027-01-31T00:00:00+08:00", &[]),
        ("expires = 2026-01-01T08:00:00.001+08:00", &[]),
        ("expires = 2026-01-01T08:00:00+08:00", &["5:11 W-EXPIRED"]),
        ("expires = 2027-01-31T00:00:00", &["5:11 E-VALUE"]),
        ("expires = 2027-01-31", &["5:11 E-VALUE"]),
        ("expires = \"2027-01-31T00:00:00Z\"", &["5:11 E-TYPE"]),
    ] {
        let rule = format!("id = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"\n{key}");
        assert_eq!(faults_of(&rule), faults, "{key}");
    }
}

#[test]
fn a_list_of_addresses_that_holds_half_the_internet_is_refused_unless_forced() {
    let read = |more: &str| {
        let rule = format!("[[rule]]\nid = \"r\"\nresponse_ip = [\"lists/l.txt\"]\n{more}\n");
        read_files(&[("filters/10-t.toml", &rule), ("lists/l.txt", "192.0.2.1\n128.0.0.0/1\n")]).1
    };
    assert_eq!(read("action = \"nxdomain\""), ["10-t.toml:3:16 E-DANGEROUS"]);
    assert_eq!(read("action = \"nxdomain\"\nforce = true"), [""; 0]);
    assert_eq!(read("action = \"monitor\""), [""; 0]);
}

#[test]
fn a_zone_gives_its_rules_its_schedule_and_the_earlier_end() {
    let zone = "[zone]\nschedule = [\"night\"]\nexpires = 2026-06-01T00:00:00Z\n\
        [[rule]]\nid = \"a\"\nnames = [\"a.example\"]\naction = \"drop\"\nschedule = \"office-hours\"\n\
        [[rule]]\nid = \"b\"\nnames = [\"b.example\"]\naction = \"drop\"\nexpires = 2026-03-01T00:00:00Z\n\
        [[rule]]\nid = \"c\"\nnames = [\"c.example\"]\naction = \"drop\"\nexpires = 2027-01-01T00:00:00Z\n";
    let (filter, faults) = read_files(&[("filters/10-t.toml", zone)]);
    assert_eq!(faults, [""; 0]);
    let scopes: Vec<_> = filter.rules().iter().map(|rule| &rule.scope).collect();
    let [night, noon] = [0, 1].map(|n| {
        let mut set = ScheduleSet::default();
        set.insert(n);
        Some(set)
    });
    assert!(scopes.iter().all(|scope| scope.zone_schedules == night));
    assert_eq!(scopes.iter().map(|scope| scope.schedules).collect::<Vec<_>>(), [noon, None, None]);
    let june = parse("2026-06-01T00:00:00Z").ok();
    let ends: Vec<_> = scopes.iter().map(|scope| scope.expires_ms).collect();
    assert_eq!(ends, [june, parse("2026-03-01T00:00:00Z").ok(), june]);
}

#[test]
fn triggers_and_actions_that_do_not_go_together_are_refused() {
    for (rule, fault) in [
        ("names = [\"a.example\"]\nclients = [\"10.0.0.0/8\"]\naction = \"drop\"", "4:11 E-CONFLICT"),
        ("response_ip = [\"::1\"]\nns_ip = [\"::1\"]\naction = \"drop\"", "4:9 E-CONFLICT"),
        ("response_ip = []\naction = \"drop\"", "3:15 E-EMPTY"),
        ("response_ip = [\"lists/none.conf\"]\naction = \"drop\"", "3:16 E-MISSING-FILE"),
        ("response_ip = [\"@branches\"]\naction = \"drop\"", "3:16 E-VALUE"),
        ("response_ip = [\"0.0.0.0/0\"]\naction = \"drop\"", "3:16 E-DANGEROUS"),
        ("response_ip = [\"10.0.0.1/8\"]\naction = \"drop\"", "3:16 E-NETWORK"),
        ("response_ip = [\"192.0.2.1\"]\nmatch = \"exact\"\naction = \"drop\"", "4:9 E-CONFLICT"),
        ("clients = [\"@nobody\"]\naction = \"drop\"", "3:12 E-UNKNOWN-GROUP"),
        ("ns_name = [\"a..b\"]\naction = \"drop\"", "3:12 E-NAME"),
        ("names = [\"a.example\"]\naction = \"drop\"\nbudget = { qps = 200 }", "5:10 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"drop\"\nelse = \"drop\"", "5:8 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"shed\"", "1:1 E-MISSING-KEY"),
        ("names = [\"a.example\"]\naction = \"shed\"\nbudget = { qps = 0 }", "5:18 E-RANGE"),
        ("names = [\"a.example\"]\naction = \"shed\"\nbudget = { }", "5:10 E-MISSING-KEY"),
        ("response_ip = [\"::1\"]\naction = \"shed\"\nbudget = { qps = 1 }", "3:15 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"limit\"", "1:1 E-MISSING-KEY"),
        ("names = [\"a.example\"]\naction = \"limit\"\nqps = 1\nper = \"name\"", "6:7 E-CHOICE"),
        ("clients = [\"::1\"]\naction = \"limit\"\nqps = 1\nper = \"subtree\"", "3:11 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"ttl\"", "1:1 E-MISSING-KEY"),
        ("names = [\"a.example\"]\naction = \"ttl\"\nrto = \"30m\"\nmax = \"1m\"", "5:7 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"ttl\"\nmin = \"10m\"\nrto = \"10m\"", "5:7 E-RANGE"),
        ("names = [\"a.example\"]\naction = \"ttl\"\nmin = 60", "5:7 E-TYPE"),
        ("names = [\"a.example\"]\naction = \"expect\"", "1:1 E-MISSING-KEY"),
        ("names = [\"a.example\"]\naction = \"expect\"\nanswers = []", "5:11 E-EMPTY"),
        ("names = [\"a.example\"]\naction = \"expect\"\nanswers = [\"a..b\"]", "5:12 E-NAME"),
        ("names = [\"a.example\"]\naction = \"expect\"\nanswers = [\"::1\"]\nelse = \"allow\"", "6:8 E-CHOICE"),
        ("clients = [\"::1\"]\naction = \"expect\"\nanswers = [\"::1\"]", "3:11 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"data\"", "1:1 E-MISSING-KEY"),
        ("names = [\"a.example\"]\naction = \"data\"\nrecords = []", "5:11 E-EMPTY"),
        ("names = [\"a.example\"]\naction = \"data\"\nrecords = [\"A 1.2\"]", "5:12 E-VALUE"),
        ("names = [\"a.example\"]\naction = \"data\"\nrecords = [\"CNAME b.example.\"]", "5:12 E-CONFLICT"),
        ("names = [\"a.example\"]\naction = \"data\"\ncname = \"a..b\"", "5:9 E-NAME"),
        (
            "names = [\"a.example\"]\naction = \"data\"\ncname = \"b.example\"\nrecords = [\"A 1.2.3.4\"]",
            "5:9 E-CONFLICT",
        ),
    ] {
        let mut faults = faults_of(&format!("id = \"r\"\n{rule}"));
        faults.retain(|fault| !fault.ends_with("W-PARTIAL"));
        assert_eq!(faults, [fault], "{rule}");
    }
}

#[test]
fn every_trigger_and_action_is_read() {
    let zone = r#"
        [[rule]]
        id = "who"
        clients = ["10.0.0.0/8", "!10.9.0.0/16", "@branches"]
        action = "limit"
        qps = 5
        [[rule]]
        id = "where"
        response_ip = ["198.51.100.7", "2001:db8::/32", "lists/bogus.conf"]
        action = "nxdomain"
        [[rule]]
        id = "by-whom"
        ns_name = ["parking.example", "=ns1.bad.example"]
        action = "data"
        records = ["A 10.0.0.1", "TXT \"parked here\""]
        [[rule]]
        id = "from-where"
        ns_ip = ["203.0.113.0/24"]
        action = "data"
        cname = "*.garden.example"
        [[rule]]
        id = "less"
        names = ["busy.example"]
        action = "shed"
        budget = { qps = 200, burst = 50 }
        [[rule]]
        id = "fresh"
        names = ["a.corp.test"]
        action = "ttl"
        min = "10s"
        rto = "30m"
        groups = ["@branches"]
        transport = "udp"
        [[rule]]
        id = "brief"
        clients = ["10.7.0.0/16"]
        action = "ttl"
        max = "1m"
        [[rule]]
        id = "guard"
        names = ["portal.corp.test"]
        action = "expect"
        answers = ["203.0.113.0/24", "@branches", "cdn.example", "=lb.example"]
        else = "nodata"
    "#;
    let bogus = "bogus-nxdomain=60.191.124.236\nignore-address=60.191.124.252\n";
    let (filter, faults) = read_files(&[("filters/10-t.toml", zone), ("lists/bogus.conf", bogus)]);
    assert_eq!(faults, ["10-t.toml:13:19 W-PARTIAL"], "once for each file");
    let kinds: Vec<_> =
        filter.rules().iter().map(|rule| (rule.id.as_str(), rule.trigger, rule.action.name())).collect();
    assert_eq!(
        kinds,
        [
            ("who", TriggerKind::Client, "limit"),
            ("where", TriggerKind::ResponseAddress, "nxdomain"),
            ("by-whom", TriggerKind::NsName, "data"),
            ("from-where", TriggerKind::NsAddress, "data"),
            ("less", TriggerKind::Name, "shed"),
            ("fresh", TriggerKind::Name, "ttl"),
            ("brief", TriggerKind::Client, "ttl"),
            ("guard", TriggerKind::Name, "expect"),
        ]
    );
    let budget = |qps, burst| Budget { qps, burst };
    assert_eq!(filter.rules()[0].action, Action::Limit(Limit { budget: budget(5, 5), per: Per::Client }));
    assert_eq!(filter.rules()[4].action, Action::Shed(budget(200, 50)));
    assert_eq!(filter.rules()[5].action, Action::Ttl(TtlBounds { min: 10, max: 900 }));
    let Action::Expect(expectation) = &filter.rules()[7].action else { panic!("expect") };
    assert!(expectation.networks.contains("203.0.113.9".parse().unwrap()));
    assert!(expectation.networks.contains("10.1.1.1".parse().unwrap()), "a group of clients");
    assert!(expectation.admits_target(&name("x.cdn.example")) && !expectation.admits_target(&name("x.lb.example")));
    assert_eq!(expectation.otherwise, Otherwise::Nodata);
    for (address, found) in [("60.191.124.236", true), ("198.51.100.7", true), ("198.51.100.8", false)] {
        assert_eq!(!filter.besides.responses.of(address.parse().unwrap()).is_empty(), found, "{address}");
    }
    let held = |client: &str| {
        filter.besides.clients.of(client.parse().unwrap()).iter().map(|held| held.bits).collect::<Vec<_>>()
    };
    assert_eq!((held("10.1.1.1"), held("10.9.1.1"), held("11.0.0.1")), (vec![104], vec![], vec![]));
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
        let guard = rule("expect") + "\nanswers = [\"192.0.2.1\"]";
        let own = ["corp.example", "=corp.example", "*.corp.example"].contains(&name);
        assert_eq!(faults_of(&guard).is_empty(), !dangerous || own, "{name}: one's own zone may be guarded");
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
        [
            "2:9 E-TYPE",
            "3:8 E-CHOICE",
            "4:11 E-VALUE",
            "5:12 E-UNKNOWN-SCHEDULE",
            "6:1 E-UNKNOWN-KEY",
            "7:2 E-UNKNOWN-KEY"
        ]
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
            "10-t.toml:6:6 W-SHADOWED",
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
