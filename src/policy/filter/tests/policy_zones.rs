//! Response policy zones among other zones: what their records decide, in which order, and what is said of them.

use super::reading::read_files;
use super::*;
use crate::language::Told as _;
use crate::policy::filter::data::DataOwner;
use crate::policy::filter::rpz::Summary;
use crate::policy::schedules::ActiveSet;
use proptest::prelude::*;

/// The id of the rule that decides about a question, or that only watches it.
fn decides(filter: &Filter, question: &str) -> Option<String> {
    decided(filter, question).0.map(str::to_owned)
}

fn read_zone(text: &str) -> (Filter, Vec<String>) {
    read_files(&[("filters/10-x.rpz", text)])
}

const ZONE: &str = "$ORIGIN rpz.test.\n@ SOA . . 1 3600 600 86400 90\n\
    a.example CNAME .\n*.a.example CNAME *.\nb.a.example CNAME rpz-passthru.\n*.c.example CNAME rpz-drop.\nd.example CNAME rpz-tcp-only.\n\
    e.example A 192.0.2.1\n*.e.example CNAME *.garden.test.\nf.e.example TXT \"x\"\nself.example CNAME self.example.\n\
    24.0.2.0.192.rpz-ip CNAME .\n32.1.0.0.10.rpz-client-ip CNAME rpz-drop.\nns.example.rpz-nsdname CNAME .\n48.zz.db8.2001.rpz-nsip CNAME *.\n";

#[test]
fn a_zone_is_a_rule_for_each_kind_of_trigger_and_action() {
    let (filter, faults) = read_zone(ZONE);
    assert_eq!(faults, ["10-x.rpz:1:1 W-PARTIAL"]);
    let rules: Vec<_> = filter.rules().iter().map(|rule| (rule.id.as_str(), rule.trigger, rule.ttl)).collect();
    use TriggerKind::{Client, Name, NsAddress, NsName, ResponseAddress};
    assert_eq!(
        rules,
        [
            ("10-x/nxdomain", Name, 90),
            ("10-x/nodata", Name, 90),
            ("10-x/allow", Name, 90),
            ("10-x/drop", Name, 90),
            ("10-x/truncate", Name, 90),
            ("10-x/response_ip/nxdomain", ResponseAddress, 90),
            ("10-x/clients/drop", Client, 90),
            ("10-x/ns_name/nxdomain", NsName, 90),
            ("10-x/ns_ip/nodata", NsAddress, 90),
            ("10-x/data", Name, 90),
        ]
    );
    for (name, rule) in [
        ("a.example", Some("10-x/nxdomain")),
        ("x.a.example", Some("10-x/nodata")),
        ("b.a.example", Some("10-x/allow")),
        ("x.b.a.example", None),
        ("c.example", None),
        ("x.y.c.example", Some("10-x/drop")),
        ("d.example", Some("10-x/truncate")),
        ("x.d.example", None),
        ("e.example", Some("10-x/data")),
        ("x.e.example", Some("10-x/data")),
        ("f.e.example", Some("10-x/data")),
        ("self.example", Some("10-x/allow")),
    ] {
        assert_eq!(decides(&filter, name).as_deref(), rule, "{name}");
    }
    assert_eq!(
        filter.policy_zones(),
        [Summary { file: "filters/10-x.rpz".into(), zone: "rpz.test".into(), records: 13, instead: None }]
    );
}

#[test]
fn names_below_one_with_data_keep_their_own() {
    let (filter, faults) = read_zone(
        "*.a.example A 192.0.2.1\nb.a.example A 192.0.2.2\n*.c.a.example A 192.0.2.3\n*.d.example A 192.0.2.1\n",
    );
    assert_eq!(faults, [""; 0]);
    for (name, last) in [("x.a.example", 1), ("b.a.example", 2), ("x.c.a.example", 3), ("x.d.example", 1)] {
        let (name, groups) = (super::name(name), GroupSet::default());
        let client = [192, 0, 2, 1].into();
        let active = &ActiveSet::EVERYTHING;
        let decision = filter.decide(&Subject { groups: &groups, client, name: &name, qtype: 1, tcp: false, active });
        let Some(Action::Data(data)) = decision.rule.map(|rule| &rule.action) else { panic!("{name}") };
        let Matched::Name { at, .. } = decision.matched else { panic!("{name}") };
        let owner = DataOwner::Name(if at == 0 { 1 } else { 2 }, &name.as_wire()[usize::from(at)..]);
        assert_eq!(data.of(owner).of_type(1).map(|record| record.rdata[3]).collect::<Vec<_>>(), [last], "{name}");
    }
}

#[test]
fn wildcards_end_where_a_name_of_the_zone_begins() {
    let text = "*.a.example CNAME .\nb.a.example CNAME *.\nx.y.c.a.example CNAME *.\n*.d.a.example CNAME rpz-drop.\n\
                e.a.example CNAME *.\n*.e.a.example CNAME *.\n*.f.d.a.example CNAME .\n";
    let (filter, faults) = read_zone(text);
    assert_eq!(faults, [""; 0]);
    for (name, rule) in [
        ("a.example", None),
        ("z.a.example", Some("nxdomain")),
        ("y.z.a.example", Some("nxdomain")),
        ("b.a.example", Some("nodata")),
        ("z.b.a.example", None),
        // In the zone for what is below it alone.
        ("c.a.example", None),
        ("z.c.a.example", None),
        ("y.c.a.example", None),
        ("x.y.c.a.example", Some("nodata")),
        ("z.x.y.c.a.example", None),
        ("d.a.example", None),
        ("z.d.a.example", Some("drop")),
        ("e.a.example", Some("nodata")),
        ("z.e.a.example", Some("nodata")),
        ("f.d.a.example", None),
        ("z.f.d.a.example", Some("nxdomain")),
    ] {
        assert_eq!(decides(&filter, name), rule.map(|rule| format!("10-x/{rule}")), "{name}");
    }
}

#[test]
fn zones_of_both_kinds_stand_in_one_order() {
    let rules =
        |id: &str, name: &str| format!("[[rule]]\nid = \"{id}\"\nnames = [\"={name}\"]\naction = \"refused\"\n");
    let (filter, faults) = read_files(&[
        ("filters/00-own.toml", &rules("first", "a.example")),
        ("filters/10-x.rpz", "a.example CNAME .\nb.example CNAME rpz-passthru.\nc.example CNAME *.\n"),
        ("filters/20-own.toml", &(rules("b", "b.example") + &rules("c", "c.example") + &rules("d", "d.example"))),
        ("filters/20-x.rpz", "d.example CNAME .\ne.example CNAME .\n"),
    ]);
    let shadowed = ["10-x.rpz:1:1 W-SHADOWED", "20-own.toml:2:6 W-SHADOWED", "20-own.toml:6:6 W-SHADOWED"];
    assert_eq!(faults, shadowed);
    for (name, rule) in [
        ("a.example", "first"),
        ("b.example", "10-x/allow"),
        ("c.example", "10-x/nodata"),
        ("d.example", "d"),
        ("e.example", "20-x/nxdomain"),
    ] {
        assert_eq!(decides(&filter, name).as_deref(), Some(rule), "{name}");
    }
}

/// Reads a zone that a file of rules names with these lines of `[zone]`.
fn overridden(lines: &str, text: &str) -> (Filter, Vec<String>) {
    read_files(&[("filters/10-x.toml", &format!("[zone]\nrpz = \"lists/x.rpz\"\n{lines}\n")), ("lists/x.rpz", text)])
}

#[test]
fn an_override_replaces_what_every_record_says() {
    let text =
        "a.example CNAME .\nb.example CNAME rpz-passthru.\nc.example A 192.0.2.1\n32.1.2.0.192.rpz-ip CNAME *.\n";
    for (word, name, faults) in [
        ("nxdomain", "nxdomain", &["x.toml:2:7 W-OVERRIDE"][..]),
        ("nodata", "nodata", &["x.toml:2:7 W-OVERRIDE"]),
        ("allow", "allow", &["x.toml:2:7 W-OVERRIDE"]),
        ("drop", "drop", &["x.toml:2:7 W-OVERRIDE"]),
        ("truncate", "truncate", &["x.toml:2:7 W-OVERRIDE"]),
    ] {
        let (filter, found) = overridden(&format!("override = \"{word}\""), text);
        assert_eq!(found.iter().map(|fault| &fault[3..]).collect::<Vec<_>>(), faults, "{word}");
        let ids: Vec<_> = filter.rules().iter().map(|rule| rule.id.as_str()).collect();
        assert_eq!(ids, [format!("10-x/{name}"), format!("10-x/response_ip/{name}")], "{word}");
        assert_eq!(filter.policy_zones()[0].instead.as_deref(), Some(word));
    }
    let (filter, faults) = overridden("override = \"cname\"\ncname = \"*.garden.test\"", "a.example CNAME .\n");
    assert_eq!((faults.as_slice(), decides(&filter, "a.example").as_deref()), (&[][..], Some("10-x/data")));
    assert_eq!(
        filter.policy_zones()[0].text().english(),
        "filters/10-x.toml: 1 records of the response policy zone ., with cname *.garden.test in place of what they say"
    );
    let (filter, faults) = overridden("override = \"monitor\"", text);
    assert!(faults.is_empty() && filter.rules().iter().all(|rule| rule.mode == Mode::Monitor), "{faults:?}");
    let (filter, faults) = overridden("title = \"T\"\nmode = \"off\"\noverride = \"given\"", text);
    assert!(faults.is_empty() && filter.rules().iter().all(|rule| rule.mode == Mode::Off && rule.zone == "T"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (lines, fault) in [
        ("override = \"disabled\"", "10-x.toml:3:12 E-CHOICE"),
        ("override = \"cname\"", "10-x.toml:1:1 E-MISSING-KEY"),
        ("cname = \"a.example\"", "10-x.toml:3:9 E-CONFLICT"),
        ("override = \"cname\"\ncname = \"a..example\"", "10-x.toml:4:9 E-NAME"),
        ("[[rule]]\nid = \"r\"\nnames = [\"a.example\"]\naction = \"drop\"", "10-x.toml:3:1 E-CONFLICT"),
    ] {
        let (_, faults) = overridden(lines, "a.example CNAME .\n");
        assert!(faults.iter().any(|found| found == fault), "{lines}: {faults:?}");
    }
    for (files, fault) in [
        (&[("filters/10-x.toml", "[zone]\nrpz = \"lists/y.rpz\"\n")][..], "10-x.toml:2:7 E-MISSING-FILE"),
        (&[("filters/10-x.toml", "[zone]\noverride = \"drop\"\n")], "10-x.toml:2:12 E-CONFLICT"),
        (&[("filters/x.rpz", "a.example CNAME .\n")], "x.rpz:1:1 E-PATH"),
        (&[("filters/10-a b.rpz", "a.example CNAME .\n")], "10-a b.rpz:1:1 E-PATH"),
        (&[("filters/10-x.rpz", "<!DOCTYPE html>\n")], "10-x.rpz:1:1 E-LIST"),
        (&[("filters/10-x.rpz", "@ SOA . . 1 2 3 4 5\n")], "10-x.rpz:1:1 W-UNUSED"),
        (
            &[
                ("filters/10-x.rpz", "a.example CNAME .\n"),
                ("filters/10-x.toml", "[zone]\nrpz = \"filters/10-x.rpz\"\n"),
            ],
            "10-x.toml:2:7 E-DUPLICATE",
        ),
    ] {
        let (_, faults) = read_files(files);
        assert!(faults.iter().any(|found| found == fault), "{files:?}: {faults:?}");
    }
}

#[test]
fn public_suffixes_are_left_out_until_forced() {
    let text = "*.com CNAME .\ncom CNAME .\n* CNAME *.\n*.co.uk A 192.0.2.1\nco.uk CNAME .\nnet CNAME rpz-passthru.\n*.github.io CNAME .\n";
    let (filter, faults) = read_zone(text);
    assert_eq!(faults, ["10-x.rpz:1:1 W-LIST-LINE"]);
    let heard = |filter: &Filter| {
        ["x.com", "com", "x.example", "x.co.uk", "co.uk", "net", "x.github.io"].map(|name| decides(filter, name))
    };
    let id = |id: &str| Some(format!("10-x/{id}"));
    assert_eq!(heard(&filter), [None, None, None, None, id("nxdomain"), id("allow"), id("nxdomain")]);
    let (filter, faults) = overridden("force = true", text);
    assert_eq!(faults, [""; 0]);
    let nx = || id("nxdomain");
    assert_eq!(heard(&filter), [nx(), nx(), id("nodata"), id("data"), nx(), id("allow"), nx()]);
}

/// The ids of all rules.
fn ids(filter: &Filter) -> Vec<&str> {
    filter.rules().iter().map(|rule| rule.id.as_str()).collect()
}

#[test]
fn triggers_on_half_of_the_internet_are_left_out_until_forced() {
    for wide in [
        "1.0.0.0.0.rpz-client-ip CNAME rpz-drop.",
        "1.0.0.0.128.rpz-client-ip CNAME rpz-drop.",
        "7.0.0.0.8.rpz-ip CNAME .",
        "7.0.0.0.8.rpz-ip A 192.0.2.1",
        "1.0.0.0.128.rpz-nsip CNAME *.",
        "2.0.0.0.192.rpz-nsip CNAME *.",
        "96.zz.ffff.0.0.0.0.0.rpz-ip CNAME .",
        "97.0.8000.ffff.zz.rpz-client-ip CNAME rpz-tcp-only.",
        "3.zz.2000.rpz-ip CNAME .",
        "15.zz.2000.rpz-client-ip CNAME rpz-drop.",
        "*.rpz-nsdname CNAME rpz-drop.",
        "*.com.rpz-nsdname CNAME .",
    ] {
        let text = format!("a.example CNAME .\n{wide}\nb.example CNAME .\n");
        let (filter, faults) = read_zone(&text);
        let told: Vec<_> = faults.iter().filter(|fault| !fault.ends_with("W-PARTIAL")).collect();
        assert_eq!(told, ["10-x.rpz:2:1 W-LIST-LINE"], "{wide}");
        assert_eq!(ids(&filter), ["10-x/nxdomain"], "{wide}");
        let (filter, faults) = overridden("force = true", &text);
        assert!(faults.iter().all(|fault| fault.ends_with("W-PARTIAL")), "{wide}: {faults:?}");
        assert_eq!(ids(&filter).len(), 2, "{wide}");
    }
    // Nobody is kept from the world by these.
    for taken in [
        "1.0.0.0.0.rpz-client-ip CNAME rpz-passthru.",
        "8.0.0.0.10.rpz-client-ip CNAME rpz-drop.",
        "4.0.0.0.224.rpz-ip CNAME .",
        "4.0.0.0.240.rpz-ip CNAME .",
        "7.zz.fc00.rpz-ip CNAME *.",
        "10.zz.fe80.rpz-ip CNAME *.",
        "16.zz.2001.rpz-ip CNAME .",
        "ns.com.rpz-nsdname CNAME .",
    ] {
        let (filter, faults) = read_zone(&format!("a.example CNAME .\n{taken}\n"));
        assert!(faults.iter().all(|fault| fault.ends_with("W-PARTIAL")), "{taken}: {faults:?}");
        assert_eq!(ids(&filter).len(), 2, "{taken}");
    }
}

#[test]
fn what_lets_all_pass_is_left_out_where_an_override_would_block_it() {
    for wide in [
        "*.com CNAME rpz-passthru.",
        "com CNAME com.",
        "1.0.0.0.0.rpz-client-ip CNAME rpz-passthru.",
        "1.0.0.0.128.rpz-ip CNAME rpz-passthru.",
        "*.com.rpz-nsdname CNAME rpz-passthru.",
    ] {
        // Behind it one that blocks as given, which is left out in any case.
        let text =
            format!("a.example CNAME .\n{wide}\n*.net CNAME .\n8.0.0.0.10.rpz-ip CNAME .\n1.0.0.0.0.rpz-ip CNAME .\n");
        let left_out = |lines: &str| {
            let (_, faults) = overridden(lines, &text);
            let mut lines: Vec<_> = faults.into_iter().filter(|fault| fault.ends_with("W-LIST-LINE")).collect();
            lines.sort_unstable();
            lines
        };
        let blocked = ["lists/x.rpz:3:1 W-LIST-LINE", "lists/x.rpz:5:1 W-LIST-LINE"];
        for word in ["nxdomain", "nodata", "drop", "truncate", "cname\"\ncname = \"garden.example"] {
            let told = left_out(&format!("override = \"{word}\""));
            assert_eq!(told[0], "lists/x.rpz:2:1 W-LIST-LINE", "{wide}, {word}");
            assert_eq!((told.len(), blocked.contains(&told[1].as_str())), (2, true), "{wide}, {word}: {told:?}");
        }
        assert_eq!(left_out("override = \"given\""), blocked, "{wide}");
        assert_eq!(left_out("override = \"allow\""), [""; 0], "{wide}");
        assert_eq!(left_out("override = \"drop\"\nforce = true"), [""; 0], "{wide}");
    }
}

#[test]
fn a_feed_that_adds_two_records_cannot_silence_all_clients() {
    use crate::policy::filter::rpz::{Override, RpzZone};
    let text = "$ORIGIN rpz.test.\na.example CNAME .\n1.0.0.0.0.rpz-client-ip CNAME rpz-drop.\n1.0.0.0.128.rpz-client-ip CNAME rpz-drop.\n";
    let (filter, _) = read_zone(text);
    assert!(filter.rules().iter().all(|rule| rule.trigger != TriggerKind::Client));
    // What the zone says is kept, whatever of it runs: it is written as it was read.
    let zone = RpzZone::parse(text.as_bytes()).unwrap();
    assert_eq!((zone.len(), zone.problems().count(), zone.compile(&Override::Given, false).1.wide), (3, 0, 2));
    let again = RpzZone::parse(zone.to_text().as_bytes()).unwrap();
    assert!(again.records().eq(zone.records()));
    assert_eq!(again.compile(&Override::Given, true).0.len(), 2);
}

#[test]
fn bad_records_are_warnings_until_they_are_too_many() {
    let bad = |count: usize| format!("a.example CNAME .\n{}", "1.0.218.230.rpz-ip CNAME .\n".repeat(count));
    let (filter, faults) = read_zone(&bad(100));
    assert_eq!(faults, ["10-x.rpz:2:1 W-LIST-LINE"]);
    assert_eq!(decides(&filter, "a.example").as_deref(), Some("10-x/nxdomain"));
    let (_, faults) = read_zone(&bad(101));
    assert_eq!(faults, ["10-x.rpz:1:1 E-LIST", "10-x.rpz:2:1 W-LIST-LINE"]);
}

#[test]
fn a_list_may_be_a_zone_whose_names_are_taken() {
    let rule = "[[rule]]\nid = \"r\"\nlist = \"lists/x.rpz\"\naction = \"refused\"\n";
    let text = "a.example CNAME .\n*.a.example CNAME *.\nb.a.example CNAME rpz-passthru.\n*.c.example A 192.0.2.1\n32.1.2.0.192.rpz-ip CNAME .\n";
    let (filter, faults) = read_files(&[("filters/10-x.toml", rule), ("lists/x.rpz", text)]);
    assert_eq!(faults, ["lists/x.rpz:1:1 W-LIST-LINE"]);
    for (name, heard) in [
        ("a.example", true),
        ("x.a.example", true),
        ("b.a.example", false),
        ("x.b.a.example", true),
        ("c.example", false),
        ("x.c.example", true),
    ] {
        assert_eq!(decides(&filter, name).is_some(), heard, "{name}");
    }
}

/// What a DNS server finds for a name in a zone of these owners: the name itself, or the wildcard at its closest encloser
/// (RFC 4592 section 3.3.1), which is the longest name above it that is in the zone, be it only for what is below.
fn found_in_zone(owners: &[(String, &'static str)], question: &str) -> Option<&'static str> {
    let find = |owner: &str| owners.iter().find(|(known, _)| known == owner).map(|(_, action)| *action);
    let exists = |name: &str| owners.iter().any(|(known, _)| known == name || known.ends_with(&format!(".{name}")));
    if exists(question) {
        return find(question);
    }
    let mut above = question;
    while let Some((_, parent)) = above.split_once('.') {
        if exists(parent) {
            return find(&format!("*.{parent}"));
        }
        above = parent;
    }
    find("*")
}

proptest! {
    #[test]
    fn a_zone_is_searched_as_a_dns_server_would(
        owners in prop::collection::vec(("([*][.])?([ab][.]){0,4}[xy]", 0_usize..5), 1..12),
        questions in prop::collection::vec("([abc][.]){0,5}[xyz]", 1..40),
    ) {
        const ACTIONS: [(&str, &str); 5] = [
            ("nxdomain", "CNAME ."),
            ("nodata", "CNAME *."),
            ("allow", "CNAME rpz-passthru."),
            ("drop", "CNAME rpz-drop."),
            ("data", "A 192.0.2.1"),
        ];
        let mut zone: Vec<(String, &'static str)> = Vec::new();
        let mut text = String::new();
        for (owner, action) in owners {
            if zone.iter().all(|(known, _)| *known != owner) {
                let (word, data) = ACTIONS[action];
                // Data of its own for each owner, some of it shared.
                let data = if word == "data" { format!("A 192.0.2.{}", zone.len() % 3) } else { data.to_owned() };
                text.push_str(&format!("{owner} {data}\n"));
                zone.push((owner, word));
            }
        }
        let (filter, faults) = overridden("force = true", &text);
        prop_assert!(faults.iter().all(|fault| fault.ends_with("W-DUPLICATE")), "{:?}", faults);
        for question in &questions {
            let expected = found_in_zone(&zone, question).map(|word| format!("10-x/{word}"));
            prop_assert_eq!(decides(&filter, question), expected, "{} in\n{}", question, text);
        }
    }
}

#[test]
fn a_name_of_a_zone_takes_no_more_memory_than_one_of_a_list() {
    use std::fmt::Write as _;
    let (mut zone, mut garden, mut list) = (String::new(), String::new(), String::new());
    for n in 0..20_000 {
        let name = format!("host{n}.label{}.example", n % 977);
        let _ = writeln!(zone, "{name} CNAME .");
        let _ = writeln!(garden, "{name} CNAME *.garden.test.");
        let _ = writeln!(list, "{name}");
    }
    let rule = "[[rule]]\nid = \"r\"\nlist = \"lists/x.txt\"\nmatch = \"exact\"\naction = \"nxdomain\"\n";
    let (of_list, _) = read_files(&[("filters/10-x.toml", rule), ("lists/x.txt", &list)]);
    for text in [&zone, &garden] {
        let (of_zone, faults) = read_zone(text);
        assert_eq!(faults, [""; 0]);
        assert_eq!((of_zone.names(), of_list.names()), (20_000, 20_000));
        assert!(of_zone.bytes() <= of_list.bytes() + 1024, "{} and {}", of_zone.bytes(), of_list.bytes());
    }
}
