//! Text to memory to text: the second text is the first of its kind, and makes the same memory.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

/// Reads what is written, and expects the same records and the same text again.
fn comes_back(zone: &RpzZone) -> String {
    let text = zone.to_text();
    let again = parse(&text);
    assert_eq!(again.problems().groups(), [], "{text}");
    assert!(again.store == zone.store && again.apex() == zone.apex(), "{text}");
    assert_eq!(again.to_text(), text);
    text
}

#[test]
fn the_zones_of_unbound_come_back_as_they_were() {
    let embedded = include_str!("../../../../../tests/rpz/unbound/rpl-embedded-zones.txt");
    let (mut zones, mut records) = (0, 0);
    for piece in embedded.split("; ==== ").skip(1) {
        let (title, text) = piece.split_once('\n').unwrap();
        let zone = parse(text);
        let expected = if title.contains("rpz_qname.rpl :: rpz.") || title.contains("rpz_rootwc.rpl :: rpz.") {
            vec![("rpz-second-action", 1)]
        } else {
            vec![]
        };
        let found: Vec<_> = zone.problems().groups().iter().map(|g| (g.problem.code(), g.count)).collect();
        assert_eq!(found, expected, "{title}");
        // Of every record that a line has, one line comes back.
        let written =
            text.lines().filter(|line| !line.trim_start().starts_with([';', '$', '1']) || line.contains("rpz-"));
        let written = written.filter(|line| !line.trim().is_empty()).count();
        assert_eq!(zone.len() + expected.len(), written, "{title}");
        comes_back(&zone);
        zones += 1;
        records += zone.len();
    }
    assert_eq!((zones, records), (60, 331));
}

#[test]
fn a_hundred_thousand_records_come_back_as_they_were() {
    let mut text = String::from(
        "$ORIGIN rpz.test.\n$TTL 60\n@ SOA localhost. root.localhost. 1 3600 600 86400 60\n@ NS localhost.\n",
    );
    let actions =
        ["CNAME .", "CNAME *.", "CNAME rpz-passthru.", "CNAME rpz-drop.", "CNAME rpz-tcp-only.", "A 192.0.2.1"];
    for n in 0..100_000_u32 {
        let action = actions[n as usize % actions.len()];
        let [_, a, b, c] = n.to_be_bytes();
        let _ = match n % 8 {
            0 => writeln!(text, "host{n}.example {action}"),
            1 => writeln!(text, "*.host{n}.example {action}"),
            2 => writeln!(text, "32.{c}.{b}.{a}.10.rpz-ip {action}"),
            3 => writeln!(text, "128.{c:x}.zz.{b:x}.{a:x}.db8.2001.rpz-client-ip {action}"),
            4 => writeln!(text, "ns{n}.example.rpz-nsdname {action}"),
            5 => writeln!(text, "32.{c}.{b}.{a}.10.rpz-nsip 300 {action}"),
            6 => writeln!(text, "host{n}.example TXT \"number {n}\" \"\\\"\""),
            _ => writeln!(text, "host{n}.example CNAME *.garden.example."),
        };
    }
    let zone = parse(&text);
    assert_eq!((zone.len(), zone.problems().groups()), (100_002, &[][..]));
    // The text was written as this program writes it, but for zeros in the middle of an IPv6 address.
    let back = comes_back(&zone);
    let differ = text.lines().zip(back.lines()).filter(|(line, back)| line != back && !line.contains(".zz.")).count();
    assert_eq!((differ, text.lines().count()), (0, back.lines().count()));
}

fn owner() -> impl Strategy<Value = String> {
    prop_oneof![
        "([*][.])?([a-z_-]{1,9}|\\\\[.$@;()\"]|\\\\[01]0[0-9]){1,3}([.][a-z0-9-]{1,12}){0,3}[.][a-z]{2,5}",
        "[1-9][.]0[.]0[.]0[.]0[.]rpz-(ip|nsip|client-ip)",
        "([*][.])?[a-z]{1,5}[.]test[.]rpz-nsdname",
        Just("*".to_owned()),
        Just("@".to_owned()),
    ]
}

fn data() -> impl Strategy<Value = String> {
    prop_oneof![
        "CNAME ([.]|[*][.]|rpz-(passthru|drop|tcp-only)[.]|([*][.])?[a-z]{1,9}[.]test[.]?)",
        "A [1-9]{1,2}[.]0[.]0[.][1-9]{1,2}",
        "AAAA 2001:db8::[0-9a-f]{1,4}",
        "TXT( \"([a-z ;()]|\\\\[\"\\\\]|\\\\0[0-9]{2}){0,20}\"){1,3}",
        "MX [0-9]{1,4} [a-z]{1,9}[.]?",
        "SRV [0-9] [0-9] [0-9]{1,4} [a-z]{1,9}[.]",
        "PTR [a-z]{1,9}",
        "(HTTPS|SVCB) [1-9] ([.]|[a-z]{1,5}[.]) (alpn=h2,h3 )?(port=[0-9]{1,4} )?(ipv4hint=192[.]0[.]2[.][0-9])?",
        "CAA 0 issue \"[a-z;]{1,9}\"",
        "NAPTR 1 2 \"s\" \"sip\" \"\" [a-z]{1,5}[.]",
        "TYPE6528[0-9] [\\\\]# 2 [0-9a-f]{4}",
        "TLSA 3 1 1 [0-9a-f]{64}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_read_comes_back(
        records in prop::collection::vec((owner(), prop::option::of(0_u32..100_000), data()), 0..40),
        origin in "(rpz[.])?test[.]",
    ) {
        let mut text = format!("$ORIGIN {origin}\n$TTL 60\n");
        for (owner, ttl, data) in &records {
            let ttl = ttl.map(|ttl| ttl.to_string()).unwrap_or_default();
            let _ = writeln!(text, "{owner} {ttl} IN {data}");
        }
        let zone = parse(&text);
        // Nothing but what is there twice, or stands beside an action, may be missing.
        for group in zone.problems().groups() {
            prop_assert!(matches!(group.problem.code(), "rpz-duplicate" | "rpz-second-action"), "{:?}\n{}", group, text);
        }
        comes_back(&zone);
    }

    #[test]
    fn no_text_is_too_strange(text in "([$@;()\"\\\\ \t\n.*#!/0-9a-c:-]|CNAME|IN|TXT|SOA|rpz|\\PC|\n ){0,200}") {
        let zone = parse(&text);
        prop_assert!(zone.bytes() <= 4096 + text.len() * 400);
        comes_back(&zone);
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(zone) = RpzZone::parse(&bytes) {
            comes_back(&zone);
        }
    }
}
