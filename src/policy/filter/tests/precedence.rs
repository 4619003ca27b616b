//! Which rule wins, one table row each.

use super::*;
use Action::{Allow, Monitor, Nodata, Nxdomain, Refused};

#[track_caller]
fn decides(filter: &Filter, rows: &[(&str, Option<&str>)]) {
    for (name, id) in rows {
        assert_eq!(decided(filter, name).0, *id, "{name}");
    }
}

#[test]
fn a_bare_name_an_exact_name_and_a_wildcard_reach_what_they_say() {
    let f = filter(&[(
        rule(0, "r", Nxdomain),
        &["tree.example", "=alone.example", "*.below.example", "=both.example", "*.both.example"],
    )]);
    decides(
        &f,
        &[
            ("tree.example", Some("r")),
            ("a.tree.example", Some("r")),
            ("a.b.c.tree.example", Some("r")),
            ("TREE.example.", Some("r")),
            ("atree.example", None),
            ("example", None),
            (".", None),
            ("alone.example", Some("r")),
            ("a.alone.example", None),
            ("below.example", None),
            ("a.below.example", Some("r")),
            ("both.example", Some("r")),
            ("a.both.example", Some("r")),
        ],
    );
}

#[test]
fn the_earlier_zone_wins_over_the_longer_name() {
    let f = filter(&[
        (rule(0, "first", Nxdomain), &["example.com"]),
        (rule(1, "second", Nodata), &["=www.example.com", "other.example"]),
    ]);
    decides(&f, &[("www.example.com", Some("first")), ("other.example", Some("second"))]);
}

#[test]
fn within_a_zone_exact_wins_over_longer_over_shorter() {
    let f = filter(&[
        (rule(0, "short", Nxdomain), &["example.com"]),
        (rule(0, "long", Nodata), &["b.example.com"]),
        (rule(0, "exact", Refused), &["=a.b.example.com"]),
        (rule(0, "wild", Nxdomain), &["*.b.example.com"]),
    ]);
    decides(
        &f,
        &[
            ("a.b.example.com", Some("exact")),
            // `b` and `*.b` name the same length: the earlier line.
            ("x.b.example.com", Some("long")),
            ("b.example.com", Some("long")),
            ("example.com", Some("short")),
            ("c.example.com", Some("short")),
        ],
    );
}

#[test]
fn an_exact_name_wins_over_a_wildcard_above_it_even_against_allow() {
    let f = filter(&[(rule(0, "wild", Allow), &["*.example.com"]), (rule(0, "exact", Nxdomain), &["=a.example.com"])]);
    decides(&f, &[("a.example.com", Some("exact")), ("b.example.com", Some("wild"))]);
}

#[test]
fn inside_a_tie_allow_wins_then_the_earlier_line() {
    let f = filter(&[
        (rule(0, "one", Nxdomain), &["tie.example", "lines.example"]),
        (rule(0, "two", Nodata), &["lines.example"]),
        (rule(0, "pass", Allow), &["tie.example"]),
    ]);
    decides(&f, &[("tie.example", Some("pass")), ("a.tie.example", Some("pass")), ("lines.example", Some("one"))]);
}

#[test]
fn allow_stops_all_later_zones_but_not_the_longer_name_of_its_own() {
    let f = filter(&[
        (rule(0, "pass", Allow), &["example.com"]),
        (rule(0, "but", Nxdomain), &["bad.example.com"]),
        (rule(1, "block", Nxdomain), &["www.example.com", "else.example"]),
    ]);
    decides(
        &f,
        &[("www.example.com", Some("pass")), ("bad.example.com", Some("but")), ("else.example", Some("block"))],
    );
}

#[test]
fn rules_that_watch_are_remembered_and_the_next_is_heard() {
    let mut zone_watches = rule(0, "watch", Nxdomain);
    zone_watches.mode = Mode::Monitor;
    let f = filter(&[
        (zone_watches, &["example.com"]),
        (rule(0, "count", Monitor), &["example.com"]),
        (rule(1, "block", Nxdomain), &["www.example.com"]),
        (rule(2, "late", Monitor), &["example.com"]),
    ]);
    assert_eq!(decided(&f, "www.example.com"), (Some("block"), Some("watch")));
    assert_eq!(decided(&f, "example.com"), (None, Some("watch")));
    assert!(!f.is_untouched(&name("example.com")));
}

#[test]
fn a_rule_in_monitor_mode_with_allow_stops_nothing() {
    let mut pass = rule(0, "pass", Allow);
    pass.mode = Mode::Monitor;
    let f = filter(&[(pass, &["example.com"]), (rule(1, "block", Nxdomain), &["example.com"])]);
    assert_eq!(decided(&f, "example.com"), (Some("block"), Some("pass")));
}

#[test]
fn filters_of_a_rule_make_it_silent_and_the_next_is_heard() {
    let (mut one, mut two) = (GroupSet::default(), GroupSet::default());
    one.insert(1);
    two.insert(200);
    let mut both = one;
    both.insert(200);
    let mut scoped = rule(0, "scoped", Nxdomain);
    scoped.scope = Scope {
        zone_groups: Some(one),
        groups: Some(two),
        qtypes: Some(vec![1, 28]),
        transport: Some(RuleTransport::Tcp),
        ..Scope::default()
    };
    let mut off = rule(0, "off", Nxdomain);
    off.mode = Mode::Off;
    let f = filter(&[(off, &["example.com"]), (scoped, &["example.com"]), (rule(1, "rest", Nodata), &["com"])]);
    let name = name("example.com");
    let ask = |groups, qtype, tcp| {
        f.decide(&Subject { qtype, tcp, ..Subject::plain(&groups, &name) }).rule.unwrap().id.clone()
    };
    assert_eq!(ask(both, 28, true), "scoped");
    assert_eq!(ask(both, 16, true), "rest");
    assert_eq!(ask(both, 28, false), "rest");
    assert_eq!(ask(one, 28, true), "rest");
    assert_eq!(ask(two, 28, true), "rest");
    assert_eq!(ask(GroupSet::default(), 28, true), "rest");

    let why = |groups: GroupSet, qtype, tcp| {
        let considered = f.considered(&Subject { qtype, tcp, ..Subject::plain(&groups, &name) });
        considered.iter().map(|c| (c.rule.id.clone(), c.matched.clone(), c.why)).collect::<Vec<_>>()
    };
    let expected = |scoped, rest| {
        let row = |id: &str, matched: &str, why| (id.to_owned(), matched.to_owned(), why);
        vec![row("off", "example.com", Why::Off), row("scoped", "example.com", scoped), row("rest", "com", rest)]
    };
    assert_eq!(why(both, 1, true), expected(Why::Decides, Why::Outranked));
    assert_eq!(why(both, 16, true), expected(Why::OtherType, Why::Decides));
    assert_eq!(why(both, 1, false), expected(Why::OtherTransport, Why::Decides));
    assert_eq!(why(two, 1, true), expected(Why::OtherGroup, Why::Decides));
}

#[test]
fn only_names_that_no_rule_names_are_untouched() {
    let mut off = rule(0, "off", Nxdomain);
    off.mode = Mode::Off;
    let f = filter(&[(rule(0, "r", Nxdomain), &["=a.example", "*.b.example"]), (off, &["c.example"])]);
    for (text, untouched) in
        [("a.example", false), ("x.a.example", true), ("b.example", true), ("x.b.example", false), ("c.example", true)]
    {
        assert_eq!(f.is_untouched(&name(text)), untouched, "{text}");
    }
}

#[test]
fn rules_at_the_root_reach_every_name() {
    let f = filter(&[(rule(0, "pass", Allow), &["example.com"]), (rule(1, "all", Refused), &["."])]);
    decides(&f, &[(".", Some("all")), ("com", Some("all")), ("a.b.c", Some("all")), ("a.example.com", Some("pass"))]);
    assert!(!f.is_untouched(&name("x.y")));
}

#[test]
fn names_that_say_nothing_new_are_folded_and_counted() {
    let list =
        list_of(&["example.com", "a.example.com", "=b.example.com", "*.c.example.com", "Example.com.", "other.org"]);
    let (f, folded) = Filter::new(vec![rule(0, "r", Nxdomain)], &[list], 1).unwrap();
    assert_eq!(folded, [Folded { repeated: 1, covered: 3 }]);
    assert_eq!(f.names(), 2);
    decides(&f, &[("x.a.example.com", Some("r")), ("b.example.com", Some("r")), ("y.c.example.com", Some("r"))]);
}

#[test]
fn a_name_is_not_folded_where_another_rule_would_win_without_it() {
    let f = filter(&[
        (rule(0, "one", Nxdomain), &["example.com", "a.example.com"]),
        (rule(0, "two", Nodata), &["a.example.com"]),
    ]);
    decides(&f, &[("a.example.com", Some("one")), ("x.a.example.com", Some("one"))]);
}

#[test]
fn a_filter_without_rules_touches_nothing() {
    let f = Filter::none();
    assert!(f.is_untouched(&name("example.com")) && f.is_untouched(&Name::root()));
    assert_eq!(decided(&f, "example.com"), (None, None));
}
