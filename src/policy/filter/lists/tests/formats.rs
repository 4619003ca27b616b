//! The formats that are made of rules and settings, line by line.

use super::*;

/// What each line becomes, alone in a list of the format; `Err` is its problem, with what is taken all the same.
fn each(format: Format, lines: &[(&str, &[&str], Option<Problem>)]) {
    for (line, expected, problem) in lines {
        let parsed = read(&format!("{line}\n"), named(format));
        assert_eq!(names(&parsed), *expected, "{line}");
        assert_eq!(problems(&parsed).first().map(|(problem, ..)| *problem), *problem, "{line}");
        assert!(parsed.problems.groups().len() <= 1, "{line}");
    }
}

#[test]
fn adblock_rules_are_taken_for_the_name_they_are_about() {
    each(
        Format::Adblock,
        &[
            ("||A.example^", &["a.example"], None),
            ("||a.example^|", &["a.example"], None),
            ("||a.example|", &["a.example"], None),
            ("|a.example^", &["=a.example"], None),
            ("||*.a.example^", &["*.a.example"], None),
            ("a.example", &["a.example"], None),
            ("a.example # why", &["a.example"], None),
            ("0.0.0.0 a.example b.example", &["a.example", "b.example"], None),
            ("||a.example^$important", &["a.example"], None),
            ("||a.example^$dnstype=AAAA|A", &["a.example$[1, 28]"], None),
            ("||a.example^$dnstype=~A", &["a.example$[5, 28, 65]"], None),
            ("||a.example^$dnsrewrite=NXDOMAIN;;", &["a.example"], None),
            ("||a.example^$dnsrewrite=REFUSED", &["a.example"], None),
            ("||a.example^$dnsrewrite=NOERROR;A;0.0.0.0", &["a.example"], None),
            ("||a.example^$dnsrewrite=::", &["a.example"], None),
            (
                "||a.example^$denyallow=x.a.example|y.a.example",
                &["a.example", "@@=x.a.example", "@@*.x.a.example", "@@=y.a.example", "@@*.y.a.example"],
                None,
            ),
            ("@@||a.example^", &["@@a.example"], None),
            ("@@|a.example^$important", &["@@=a.example"], None),
            ("! note", &[], None),
            ("# note", &[], None),
            ("## note ## more", &[], None),
            ("#####", &[], None),
            ("[Adblock Plus 2.0]", &[], None),
            ("||a.example", &["a.example"], Some(Problem::OpenEnd)),
            ("a.example^", &["a.example"], Some(Problem::Unanchored)),
            (".a.example^", &["a.example"], Some(Problem::Unanchored)),
            ("##.banner", &[], Some(Problem::Cosmetic)),
            ("a.example##.banner", &[], Some(Problem::Cosmetic)),
            ("a.example#@#.banner", &[], Some(Problem::Cosmetic)),
            ("/ads[0-9]+/", &[], Some(Problem::Pattern)),
            ("||a.example^$third-party", &[], Some(Problem::Modifier)),
            ("||a.example^$important,script", &[], Some(Problem::Modifier)),
            ("||a.example^$dnstype=NONE", &[], Some(Problem::Modifier)),
            ("||a.example^$client=10.0.0.1", &[], Some(Problem::Clients)),
            ("||a.example^$ctag=device_tv", &[], Some(Problem::Clients)),
            ("||a.example^$dnsrewrite=192.0.2.1", &[], Some(Problem::Rewrite)),
            ("||a.example^$dnsrewrite=other.example", &[], Some(Problem::Rewrite)),
            ("@@||a.example^$dnsrewrite", &[], Some(Problem::Rewrite)),
            ("||com^", &[], Some(Problem::PublicSuffix)),
            ("||com^$important", &[], Some(Problem::PublicSuffix)),
            ("*$denyallow=com", &[], Some(Problem::PublicSuffix)),
            ("@@||com^", &["@@com"], None),
            ("||[2001:db8::1]^", &[], Some(Problem::ResponseAddress)),
            ("||a_b.example^", &["a_b.example"], None),
            ("||a..example^", &[], Some(Problem::EmptyLabel)),
            ("||", &[], Some(Problem::Prefix)),
            ("@@", &[], Some(Problem::Character)),
            ("address=/a.example/", &[], Some(Problem::DnsmasqLine)),
        ],
    );
}

#[test]
fn dnsmasq_settings_block_forward_or_free() {
    each(
        Format::Dnsmasq,
        &[
            ("address=/a.example/", &["a.example"], None),
            ("address=/a.example/#", &["a.example"], None),
            ("address = /a.example/b.example/0.0.0.0 # why", &["a.example", "b.example"], None),
            ("address=/a.example/::", &["a.example"], None),
            ("server=/a.example/", &["a.example"], None),
            ("local=/*.a.example/", &["*.a.example"], None),
            ("server=/a.example/#", &["@@a.example"], None),
            ("# note", &[], None),
            ("address=/a.example/192.0.2.1", &[], Some(Problem::Redirect)),
            ("server=/a.example/192.0.2.1", &[], Some(Problem::Forward)),
            ("server=192.0.2.1", &[], Some(Problem::Setting)),
            ("cache-size=1000", &[], Some(Problem::Setting)),
            ("bogus-nxdomain=192.0.2.1", &[], Some(Problem::ResponseAddress)),
            ("address=/#/", &[], Some(Problem::PublicSuffix)),
            ("address=/a.example/b..c/d.example/", &["a.example", "d.example"], Some(Problem::EmptyLabel)),
            ("a.example", &[], Some(Problem::Setting)),
        ],
    );
}

#[test]
fn unbound_zones_and_data_block_or_free() {
    each(
        Format::Unbound,
        &[
            ("local-zone: \"a.example.\" always_nxdomain", &["a.example"], None),
            ("  local-zone: a.example static # why", &["a.example"], None),
            ("local-zone: 'a.example' block_aaaa", &["a.example$[28]"], None),
            ("local-zone: \"a.example\" transparent", &["@@a.example"], None),
            ("local-data: \"a.example. 60 IN A 0.0.0.0\"", &["=a.example"], None),
            ("local-data: 'a.example AAAA ::'", &["=a.example"], None),
            ("server:", &[], None),
            ("# note", &[], None),
            ("local-data: \"a.example A 192.0.2.1\"", &[], Some(Problem::Redirect)),
            ("local-data: \"a.example TXT x\"", &[], Some(Problem::Setting)),
            ("local-zone: \"a.example\" ipset", &[], Some(Problem::Setting)),
            ("local-zone: \"a.example\"", &[], Some(Problem::Setting)),
            ("verbosity: 1", &[], Some(Problem::Setting)),
            ("local-zone: \".\" refuse", &[], Some(Problem::PublicSuffix)),
        ],
    );
    let redirect = "local-zone: \"a.example\" redirect\nlocal-data: \"a.example A 192.0.2.1\"\n\
                    local-zone: \"b.example\" redirect\nlocal-data: \"b.example A 0.0.0.0\"\n";
    let parsed = read(redirect, Reading::default());
    assert_eq!(names(&parsed), ["b.example", "=b.example"], "a name that is sent somewhere is not blocked");
    assert_eq!(problems(&parsed), [(Problem::Redirect, 1, 2)]);
}

#[test]
fn v2fly_entries_say_what_they_mean() {
    each(
        Format::V2fly,
        &[
            ("a.example", &["a.example"], None),
            ("domain:a.example @ads @!cn &other # why", &["a.example"], None),
            ("full:a.example", &["=a.example"], None),
            ("# note", &[], None),
            ("regexp:^ads[0-9]+\\.a\\.example$", &[], Some(Problem::Pattern)),
            ("keyword:ads", &[], Some(Problem::Keyword)),
            ("include:other", &[], Some(Problem::Include)),
            ("a.example b.example", &[], Some(Problem::Trailing)),
            ("domain:a..example", &[], Some(Problem::EmptyLabel)),
        ],
    );
    let reading = Reading { matches: Match::Exact, format: Some(Format::V2fly), suffixes: false };
    assert_eq!(names(&read("a.example\ndomain:b.example\n", reading)), ["=a.example", "b.example"]);
}

#[test]
fn v2fly_lists_take_in_others_by_attribute_and_come_to_an_end() {
    let files: [(&str, &str); 4] = [
        ("ads", "include:all @ads\n"),
        ("all", "one.example @ads\ntwo.example @cn\nthree.example @ads @cn\nbad..example\ninclude:deep\n"),
        ("deep", "four.example @ads\nfive.example\ninclude:all\n"),
        ("page", "<!doctype html>\n"),
    ];
    let mut other = |name: &str| files.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_bytes());
    let mut taken = |text: &str| {
        let parsed = parse_with(text.as_bytes(), named(Format::V2fly), &mut other).unwrap();
        (names(&parsed), problems(&parsed))
    };
    let (mut all, bad) = taken("x.example\ninclude:all\n");
    all.sort_unstable();
    let five = ["five.example", "four.example", "one.example", "three.example", "two.example", "x.example"];
    assert_eq!(all, five);
    assert_eq!(bad, [(Problem::EmptyLabel, 1, 2)]);
    let (mut ads, _) = taken("include:ads @-cn\n");
    ads.sort_unstable();
    ads.dedup();
    assert_eq!(ads, ["four.example", "one.example"]);
    assert_eq!(taken("include:page\ninclude:../gateway\ninclude:none\n").1, [(Problem::Include, 3, 1)]);
}

#[test]
fn exceptions_win_over_longer_names_unless_those_are_important() {
    for (text, expected, overruled) in [
        ("||a.example^\n@@||x.a.example^\n", &["a.example", "@@x.a.example"][..], 0),
        ("@@||x.a.example^\n||y.x.a.example^\n", &["@@x.a.example"], 1),
        ("@@||a.example^\n||a.example^\n", &["@@a.example"], 1),
        ("@@|a.example^\n||a.example^\n", &["*.a.example", "@@=a.example"], 0),
        ("@@||a.example^\n||x.a.example^$important\n", &["@@a.example", "x.a.example"], 0),
        ("||a.example^$important\n@@||x.a.example^\n", &["a.example"], 1),
        ("||a.example^$important\n@@||x.a.example^$important\n", &["a.example", "@@x.a.example"], 0),
        ("||a.example^\n@@||a.example^$dnstype=A\n", &["a.example$[5, 28, 65]", "@@a.example$[1]"], 0),
        ("||com^$denyallow=a.com\n||x.a.com^\n", &["x.a.com", "com", "@@=a.com", "@@*.a.com"], 0),
        ("||com^$denyallow=a.com\n||a.com^\n", &["a.com", "com"], 0),
        (
            "||com^$denyallow=a.com\n||com^$denyallow=a.com|b.com\n",
            &["com", "com", "@@=a.com", "@@*.a.com", "@@=a.com", "@@*.a.com"],
            0,
        ),
        (
            "||com^$denyallow=a.com,dnstype=A\n||a.com^$dnstype=AAAA\n",
            &["com$[1]", "a.com$[28]", "@@=a.com$[1]", "@@*.a.com$[1]"],
            0,
        ),
        ("||a.example^\n||a.example^$badfilter\n||b.example^\n", &["b.example"], 0),
        ("@@||a.example^\n@@||a.example^$badfilter\n||a.example^\n", &["a.example"], 0),
    ] {
        let parsed = read(text, Reading { suffixes: true, ..named(Format::Adblock) });
        assert_eq!(
            (names(&parsed), parsed.overruled),
            (expected.iter().map(|s| (*s).to_owned()).collect(), overruled),
            "{text}"
        );
        assert_eq!((parsed.idle_cancels, problems(&parsed)), (0, vec![]), "{text}");
    }
    let dnsmasq = read("server=/a.example/\nserver=/x.a.example/#\nserver=/y.x.a.example/\n", Reading::default());
    assert_eq!(names(&dnsmasq), ["a.example", "y.x.a.example", "@@x.a.example"], "the longest decides");
}

#[test]
fn a_line_with_more_types_than_there_may_be_is_one_bad_line() {
    let line = |count: usize| format!("||a.example^$dnstype={}\n", vec!["~A"; count].join("|"));
    let parsed = read(&[line(20), line(21), line(100_000)].concat(), named(Format::Adblock));
    let told: Vec<_> = parsed.problems.groups().iter().map(|g| (g.problem.code(), g.count, g.line)).collect();
    assert_eq!((names(&parsed), told), (vec!["a.example$[5, 28, 65]".to_owned()], vec![("too-long-dnstype", 2, 2)]));
}

#[test]
fn more_sets_of_types_than_a_list_may_have_are_counted() {
    let text: String = (1..=17).map(|n| format!("||a.example^$dnstype=TYPE{n}\n")).collect();
    let parsed = read(&text, Reading::default());
    assert_eq!((parsed.names.len(), problems(&parsed)), (15, vec![(Problem::TooManyTypes, 2, 16)]));
    let holes: Vec<_> = (0..501).map(|n| format!("n{n}.com")).collect();
    let parsed = read(
        &format!("||com^$denyallow={}\n||a.example^\n", holes.join("|")),
        Reading { suffixes: true, ..Reading::default() },
    );
    assert_eq!(
        (names(&parsed), problems(&parsed)),
        (vec!["a.example".to_owned()], vec![(Problem::TooManyHoles, 1, 1)])
    );
}
