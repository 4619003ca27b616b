//! Whole zones: what is kept of them, what is said of the rest, and that nothing is lost on the way through memory.

use super::*;
use crate::policy::document::Contents;
use crate::policy::filter::data::{DataOwner, LocalRecord};
use crate::policy::filter::lists::Problem;
use crate::policy::filter::{self, Action};

mod round_trip;

fn parse(text: &str) -> RpzZone {
    RpzZone::parse(text.as_bytes()).expect("it is text")
}

/// The records of a zone as lines, without its own.
fn lines(zone: &RpzZone) -> Vec<String> {
    zone.to_text().lines().skip(2).filter(|line| !line.starts_with('@')).map(str::to_owned).collect()
}

/// Code, count, first line and what was meant.
fn problems(zone: &RpzZone) -> Vec<(&'static str, usize, usize, Option<&str>)> {
    let groups = zone.problems().groups().iter();
    groups.map(|group| (group.problem.code(), group.count, group.line, group.meant.as_deref())).collect()
}

#[test]
fn a_zone_is_read_as_master_files_are_written() {
    let zone = parse(
        "$TTL 2h\n$ORIGIN example.com.\nrpz IN SOA ns1.rpz host (\n 2024 28800 7200\n 604800 60 )\n\t3600 IN NS ns1.rpz\n\
         $ORIGIN rpz.example.com.\na CNAME . ; comment\n*.A\tIN 60 TXT \"wild; card\" two\n\t A 192.0.2.1\n\
         b.rpz.example.com. 1h30m IN CNAME *.\nc CNAME RPZ-Passthru.\nd CNAME d.\ne CNAME rpz-drop.\nf CNAME rpz-tcp-only.\n\
         g CNAME *.Garden.example.\nh CNAME host\ni MX 10 mail\ni TYPE65280 \\# 3 01 02 ff\nj HTTPS 1 . alpn=h2\n\
         32.1.2.0.192.rpz-ip CNAME .\n32.2.2.0.192.rpz-ip CNAME 32.2.2.0.192.\n",
    );
    assert_eq!(problems(&zone), []);
    assert_eq!(
        (zone.apex().to_string().as_str(), zone.serial(), zone.negative_ttl()),
        ("rpz.example.com", Some(2024), Some(60))
    );
    assert_eq!(
        zone.to_text().lines().collect::<Vec<_>>(),
        [
            "$ORIGIN rpz.example.com.",
            "$TTL 7200",
            "@ SOA ns1.rpz.example.com. host.example.com. 2024 28800 7200 604800 60",
            "@ 3600 NS ns1.rpz.example.com.",
            "a CNAME .",
            "*.a 60 TXT \"wild; card\" \"two\"",
            "*.a A 192.0.2.1",
            "b 5400 CNAME *.",
            "c CNAME rpz-passthru.",
            "d CNAME d.",
            "e CNAME rpz-drop.",
            "f CNAME rpz-tcp-only.",
            "g CNAME *.Garden.example.",
            "h CNAME host.rpz.example.com.",
            "i MX 10 mail.rpz.example.com.",
            "i TYPE65280 \\# 3 0102ff",
            "j HTTPS 1 . alpn=h2",
            "32.1.2.0.192.rpz-ip CNAME .",
            "32.2.2.0.192.rpz-ip CNAME 32.2.2.0.192.",
        ]
    );
}

/// The first piece of what is read from the disk ends everywhere in what follows it: between lines, in parentheses that
/// are closed and that never are, in an entry that gives back what it took in.
#[test]
fn a_zone_on_the_disk_reads_as_one_in_memory() {
    let behind = "m TXT (\n \"a (\"\n \"b\" ) ; (\n TXT \"open\nk TXT ( b..\n \"x\nl CNAME .\n)\ni.. TXT ( a\n b\n c )\n A 192.0.2.1\n\
                  o TXT ( never\n closed\np CNAME rpz-drop.\n*.com CNAME .\n$ORIGIN below.\nq TXT (\n";
    for shift in 0..behind.len() + 4 {
        let mut text = String::from("\u{feff}$TTL 60\n$ORIGIN rpz.test.\nn CNAME .\n");
        let comment = ";".repeat((1 << 18) - shift - text.len() - 1);
        text.extend([&comment, "\n", behind, &";;\n".repeat(200), "r CNAME .\nr.. CNAME .\ns ( CNAME\n", " ."]);
        let path = std::env::temp_dir().join(format!("weir-zone-on-disk-{}", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let contents = Contents::on_disk(std::fs::File::open(&path).unwrap(), 1 << 30).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        let (there, here) = (RpzZone::read(contents.source()).unwrap(), parse(&text));
        assert!(there.records().eq(here.records()), "{shift}");
        assert_eq!(
            (there.problems(), &there.wide, there.lines()),
            (here.problems(), &here.wide, here.lines()),
            "{shift}"
        );
        let codes: Vec<_> = problems(&here).iter().map(|problem| problem.0).collect();
        assert_eq!(
            codes,
            ["rpz-quote", "rpz-parenthesis", "empty-label", "rpz-no-owner", "rpz-no-type", "rpz-out-of-zone"]
        );
        assert_eq!(there.apex(), here.apex());
    }
}

#[test]
fn the_first_record_tells_the_name_of_the_zone() {
    for (text, apex) in [
        ("a CNAME .\n", "."),
        ("a. CNAME .\n", "."),
        ("@ SOA . . 1 2 3 4 5\na CNAME .\n", "."),
        ("$ORIGIN rpz.test.\na CNAME .\n", "rpz.test"),
        ("rpz.test. SOA . . 1 2 3 4 5\n NS .\na CNAME .\n", "rpz.test"),
        ("$ORIGIN test.\nrpz SOA . . 1 2 3 4 5\n$ORIGIN rpz.test.\na CNAME .\n", "rpz.test"),
        ("$ORIGIN test.\nrpz SOA . . 1 2 3 4 5\na.rpz CNAME .\n", "rpz.test"),
    ] {
        let zone = parse(text);
        assert_eq!((zone.apex().to_string().as_str(), problems(&zone)), (apex, vec![]), "{text}");
        assert_eq!(lines(&zone), ["a CNAME ."], "{text}");
    }
}

#[test]
fn a_bad_record_is_counted_and_costs_no_other() {
    for (bad, code, meant) in [
        ("b", "rpz-no-type", None),
        ("b BLURB x", "rpz-no-type", None),
        ("  b CNAME .", "rpz-no-type", None),
        ("0.0.0.0 b.example", "hosts-line", None),
        ("||b.example^", "adblock-line", None),
        ("b CH TXT x", "rpz-class", None),
        ("b A 192.0.2", "rpz-data", None),
        ("b A", "rpz-data", None),
        ("b CNAME a b", "rpz-data", None),
        ("b TXT \"x", "rpz-quote", None),
        ("b TXT ( x", "rpz-parenthesis", None),
        ("b TXT x )", "rpz-parenthesis", None),
        ("b TYPE65280 \\# 2 00", "rpz-data", None),
        ("b A \\# 2 0000", "rpz-data", None),
        ("b LOC 1 2 3", "rpz-type", None),
        ("b NS ns", "rpz-type", None),
        ("b DNAME x.", "rpz-type", None),
        ("b ANY x.", "rpz-type", None),
        ("b CNAME rpz-block.", "rpz-unknown-action", None),
        ("b CNAME x.rpz-drop.", "rpz-unknown-action", None),
        ("b..c CNAME .", "empty-label", None),
        ("$INCLUDE other.zone", "rpz-include", None),
        ("$GENERATE 1-9 h$ CNAME .", "rpz-generate", None),
        ("$TTL x", "rpz-directive", None),
        ("$FOO", "rpz-directive", None),
        ("b.other. A 192.0.2.1", "rpz-out-of-zone-data", None),
        ("192.0.2.1 CNAME .", "rpz-address-owner", Some("32.1.2.0.192.rpz-ip")),
        ("1.0.218.230.rpz-ip CNAME .", "rpz-ip-prefix", Some("32.230.218.0.1.rpz-ip")),
        ("a A 192.0.2.1", "rpz-second-action", None),
        ("a CNAME *.", "rpz-second-action", None),
    ] {
        let zone = parse(&format!("$ORIGIN rpz.test.\na CNAME .\n{bad}\nz CNAME .\n"));
        assert_eq!(problems(&zone), [(code, 1, 3, meant)], "{bad}");
        assert_eq!(lines(&zone), ["a CNAME .", "z CNAME ."], "{bad}");
    }
    // An owner that cannot be read is none for the lines below it.
    let zone = parse("a CNAME .\nb..c A 192.0.2.1\n TXT x\nd TXT y\n A 192.0.2.2\n");
    assert_eq!(problems(&zone), [("empty-label", 1, 2, None), ("rpz-no-owner", 1, 3, None)]);
    assert_eq!(lines(&zone).len(), 3);
}

#[test]
fn a_line_longer_than_any_record_is_one_flaw_with_its_place() {
    let long = "a ".repeat(4 << 20);
    let text = format!("$ORIGIN rpz.test.\na CNAME .\n{long}\nz CNAME .\ny TXT \"x\" {long}\n CNAME *.\nx CNAME .\n");
    let path = std::env::temp_dir().join(format!("weir-long-line-on-disk-{}", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    let contents = Contents::on_disk(std::fs::File::open(&path).unwrap(), 1 << 30).unwrap().unwrap();
    std::fs::remove_file(&path).unwrap();
    for zone in [parse(&text), RpzZone::read(contents.source()).unwrap()] {
        assert_eq!(problems(&zone), [("rpz-too-long", 2, 3, None), ("rpz-no-owner", 1, 6, None)]);
        assert_eq!(zone.problems().groups()[0].span.start, text.find("a a").unwrap());
        assert_eq!(lines(&zone), ["a CNAME .", "z CNAME .", "x CNAME ."]);
    }
}

#[test]
fn what_is_doubtful_is_taken_and_said() {
    for (line, code, taken) in [
        ("b.example.co. CNAME .", "rpz-out-of-zone", "b.example.co CNAME ."),
        ("8.2.0.0.10.rpz-client-ip CNAME rpz-drop.", "rpz-hostbits", "8.0.0.0.10.rpz-client-ip CNAME rpz-drop."),
        ("b CNAME rpz-passthru", "rpz-relative-action", "b CNAME rpz-passthru."),
    ] {
        let zone = parse(&format!("$ORIGIN rpz.test.\na CNAME .\n{line}\nz CNAME .\n"));
        assert_eq!(problems(&zone), [(code, 1, 3, None)], "{line}");
        assert_eq!(lines(&zone), ["a CNAME .", taken, "z CNAME ."], "{line}");
        assert_eq!((zone.problems().bad(), zone.problems().unsupported()), (0, 0), "{line}");
    }
    let zone = parse("a CNAME .\na CNAME .\nA. CNAME .\nb A 192.0.2.1\nb A 192.0.2.2\nb A 192.0.2.1\n");
    assert_eq!(problems(&zone), [("rpz-duplicate", 3, 2, None)]);
    assert_eq!(lines(&zone), ["a CNAME .", "b A 192.0.2.1", "b A 192.0.2.2"]);
}

#[test]
fn the_records_of_a_signed_zone_are_left_out_in_silence() {
    let zone = parse(
        "$ORIGIN rpz.test.\n@ SOA . . 1 2 3 4 5\n@ DNSKEY 257 3 13 AAAA\na CNAME .\na RRSIG CNAME 13 3 60 1 2 3 . AAAA\na NSEC b CNAME RRSIG NSEC\n",
    );
    assert_eq!((problems(&zone), zone.len()), (vec![], 2));
}

#[test]
fn one_trigger_has_as_much_as_an_answer_holds() {
    use std::fmt::Write as _;
    let mut text = String::new();
    (0..70).for_each(|n| _ = writeln!(text, "a A 192.0.2.{n}"));
    (0..12).for_each(|n| _ = writeln!(text, "b TXT \"{n} {}\"", "x".repeat(230)));
    let zone = parse(&text);
    assert_eq!(problems(&zone), [("rpz-too-many-records", 10, 65, None)]);
    assert_eq!(zone.len(), 64 + 8);
}

#[test]
fn records_of_a_transfer_make_the_same_zone_as_their_text() {
    use hickory_proto::rr::{LowerName, Name as TextName, RrKey};
    use hickory_proto::serialize::txt::Parser;
    let text = "$ORIGIN rpz.test.\n$TTL 60\n@ SOA . . 7 2 3 4 5\n@ NS .\na CNAME .\n*.a A 192.0.2.1\n*.a A 192.0.2.2\n\
                b CNAME rpz-passthru.\n24.0.2.0.192.rpz-ip CNAME *.\n1.2.3.4.rpz-ip CNAME .\nc TXT \"x y\"\n";
    let parsed = Parser::new(text, None, Some(TextName::root())).parse().expect("hickory-proto reads it");
    let records: Vec<_> =
        parsed.1.values().flat_map(|set| set.records_without_rrsigs().cloned().collect::<Vec<_>>()).collect();
    let _ = RrKey::new(LowerName::new(&TextName::root()), hickory_proto::rr::RecordType::A);
    let apex = Name::from_text("rpz.test").unwrap();
    let moved = RpzZone::from_records(&apex, &records);
    let read = parse(text);
    let sorted = |zone: &RpzZone| {
        let mut lines: Vec<_> = zone.to_text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&moved), sorted(&read));
    assert_eq!(moved.serial(), Some(7));
    assert_eq!(problems(&moved)[0].0, "rpz-ip-prefix");
    assert_eq!(problems(&read)[0].0, "rpz-ip-prefix");
    assert_eq!((moved.lines(), read.lines()), (9, 9 + 2));
    assert!(moved.problems().groups()[0].sample.starts_with("1.2.3.4.rpz-ip.rpz.test. CNAME ."), "{moved:?}");
}

#[test]
fn every_line_of_the_collection_gets_its_treatment() {
    let table = include_str!("../../../../tests/lists/malformed-lines.tsv");
    let mut seen = Vec::new();
    for row in table.lines() {
        let [_, line, problem, _] = row.split('\t').collect::<Vec<_>>()[..] else { continue };
        let zone = match line {
            _ if problem.contains("refused a 650k-record zone") => parse(&format!("$ORIGIN rpz.test.\n{line}\n")),
            _ if problem.contains("out of zone") => parse(&format!("$ORIGIN rpz.test.\n{line}\n")),
            "soul-kissed.org CNAME .  (twice)" => parse("soul-kissed.org CNAME .\nsoul-kissed.org CNAME .\n"),
            line if line.contains(" CNAME ") => parse(&format!("{line}\n")),
            _ => continue,
        };
        let problem = problems(&zone).first().map(|found| (found.0, found.3.map(str::to_owned)));
        let (code, meant) = problem.unzip();
        seen.push((line.split(' ').next().unwrap(), code, meant.flatten(), lines(&zone)));
    }
    let kept = |line: &str| vec![line.to_owned()];
    let meant = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            ("1.0.218.230.rpz-ip", Some("rpz-ip-prefix"), meant("32.230.218.0.1.rpz-ip"), vec![]),
            (
                "222.186.190.92.rpz-client-ip.rpz.mypdns.cloud",
                Some("rpz-ip-prefix"),
                meant("32.92.190.186.222.rpz-client-ip"),
                vec![]
            ),
            ("24.0.247.18.71.rpz.ip", Some("rpz-suspect-owner"), meant("24.0.247.18.71.rpz-ip"), vec![]),
            ("48.2404:9dc0:c002::.rpz.ip", Some("rpz-suspect-owner"), meant("48.zz.c002.9dc0.2404.rpz-ip"), vec![]),
            ("128.3.zz.101:db8.2001.rpz-ip", Some("rpz-ip6-form"), meant("128.3.zz.101.db8.2001.rpz-ip"), vec![]),
            ("8.2.0.0.10.rpz-client-ip", Some("rpz-hostbits"), None, kept("8.0.0.0.10.rpz-client-ip CNAME rpz-drop.")),
            ("SIX1.PR01.SEA1.tfbnw.net", None, None, kept("six1.pr01.sea1.tfbnw.net CNAME .")),
            (
                "_collab-edge._tls.snappublisher.snapchat.com",
                None,
                None,
                kept("_collab-edge._tls.snappublisher.snapchat.com CNAME .")
            ),
            ("bdyyy.z5g3l.filos.co.id.", Some("rpz-out-of-zone"), None, kept("bdyyy.z5g3l.filos.co.id CNAME .")),
            ("soul-kissed.org", Some("rpz-duplicate"), None, kept("soul-kissed.org CNAME .")),
        ]
    );
}

#[test]
fn every_problem_has_a_code_of_its_own() {
    use std::collections::HashSet;
    let flaws = [
        Flaw::IpPrefix,
        Flaw::Ip6Form,
        Flaw::IpForm,
        Flaw::HostBits,
        Flaw::WideNetwork,
        Flaw::SuspectOwner,
        Flaw::AddressOwner,
        Flaw::OutOfZone,
        Flaw::OutOfZoneData,
        Flaw::Duplicate,
        Flaw::SecondAction,
        Flaw::TooManyRecords,
        Flaw::UnknownAction,
        Flaw::RelativeAction,
        Flaw::NoType,
        Flaw::Data,
        Flaw::Type,
        Flaw::Class,
        Flaw::NoOwner,
        Flaw::Quote,
        Flaw::Parenthesis,
        Flaw::TooLong,
        Flaw::Include,
        Flaw::Generate,
        Flaw::Directive,
        Flaw::TooLarge,
        Flaw::NoName,
    ];
    let codes: HashSet<_> = flaws.iter().map(|flaw| Problem::Rpz(*flaw).code()).collect();
    assert_eq!(codes.len(), flaws.len());
    assert!(codes.iter().all(|code| code.starts_with("rpz-")));
}

#[test]
fn local_data_beyond_what_a_zone_may_have_of_its_own_is_left_out() {
    let text = "a.x A 192.0.2.1\nb.x A 192.0.2.1\nc.x A 192.0.2.2\nd.x A 192.0.2.3\nd.x A 192.0.2.4\ne.x A 192.0.2.5\n\
                f.x A 192.0.2.6\nf.x A 192.0.2.7\ng.x A 192.0.2.1\n";
    let zone = RpzZone::parse(text.as_bytes()).unwrap();
    for (most, left_out, own) in [(4, 0, "cdef"), (3, 1, "cdf"), (2, 2, "df"), (1, 4, "d")] {
        let (mut parts, told) = zone.compile_up_to(&Override::Given, true, most);
        assert_eq!((told.owners, told.name_servers, parts.len()), (left_out, 0, 1), "{most}");
        let part = &mut parts[0];
        assert_eq!(part.records, 9 - left_out, "{most}");
        let filter::Trigger::Names(names) = part.trigger() else { panic!("they are names") };
        let Action::Data(data) = &part.action else { panic!("they have data") };
        // What is the same for most stays, wherever it stands; what is left out is not answered with that.
        let taken: String = names.iter().map(|(_, wire)| char::from(wire[1])).collect();
        let mut expected: Vec<char> = "abg".chars().chain(own.chars()).collect();
        expected.sort_unstable();
        assert_eq!(taken, String::from_iter(expected), "{most}");
        for (reach, wire) in names.iter() {
            let last = |record: &LocalRecord| record.rdata[3];
            let answered: Vec<_> = data.of(DataOwner::Name(reach, wire)).records.iter().map(last).collect();
            let given: &[u8] = match wire[1] {
                b'c' => &[2],
                b'd' => &[3, 4],
                b'e' => &[5],
                b'f' => &[6, 7],
                _ => &[1],
            };
            assert_eq!(answered, given, "{most}");
        }
    }
}
