//! Lines as they are found in real lists, and what becomes of them.

mod formats;
mod malformed;

use super::super::sets::FREED;
use super::*;
use crate::dns::name::Name;
use crate::policy::document::Contents;

fn read(text: &str, reading: Reading) -> Parsed {
    parse(text.as_bytes(), reading).unwrap()
}

/// Names with their reach, spelled as in a policy; `@@` before what is freed, `$` and types behind what is not for all.
fn names(parsed: &Parsed) -> Vec<String> {
    let spelled = parsed.names.entries().map(|entry| {
        let name = Name::from_wire(entry.wire).unwrap();
        let (mark, reach) = if entry.reach & FREED == 0 { ("", entry.reach) } else { ("@@", entry.reach >> 2) };
        let name = match reach {
            SELF => format!("={name}"),
            BELOW => format!("*.{name}"),
            _ => name.to_string(),
        };
        let types = entry.types.map(|types| {
            let listed: Vec<_> = [1, 5, 28, 65].into_iter().filter(|qtype| types.admit(*qtype)).collect();
            format!("${listed:?}")
        });
        format!("{mark}{name}{}", types.unwrap_or_default())
    });
    spelled.collect()
}

fn problems(parsed: &Parsed) -> Vec<(Problem, usize, usize)> {
    parsed.problems.groups().iter().map(|group| (group.problem, group.count, group.line)).collect()
}

fn named(format: Format) -> Reading {
    Reading { format: Some(format), ..Reading::default() }
}

#[test]
fn a_form_feed_is_a_blank_everywhere() {
    let hosts = read("\n\n0\x0c\x0c\t", named(Format::Hosts));
    assert_eq!(names(&hosts), [""; 0]);
    let hosts = read("0.0.0.0\x0ca.example\x0c\x0cb.example\x0c# note\n", named(Format::Hosts));
    assert_eq!(names(&hosts), ["a.example", "b.example"]);
    let domains = read("\x0ca.example\x0c\nb.example \x0c# note\n", named(Format::Domains));
    assert_eq!(names(&domains), ["a.example", "b.example"]);
}

#[test]
fn plain_domains_with_everything_that_may_stand_around_them() {
    let text = "\u{feff}# a list\r\n! another\r\n; one more\r\n\r\nExample.COM\r\n  b.example.com.  # why\r\nc.example#x\n\
                philadelphia_cbslocal.us.example\n=exact.example ; note\n*.below.example ! note\n_dns.resolver.arpa\n\
                0.0.0.0.beeglivesex.com\n\tlast.example";
    let parsed = read(text, Reading::default());
    assert_eq!(parsed.format, Format::Domains);
    assert_eq!(problems(&parsed), []);
    assert_eq!(
        names(&parsed),
        [
            "example.com",
            "b.example.com",
            "c.example",
            "philadelphia_cbslocal.us.example",
            "=exact.example",
            "*.below.example",
            "_dns.resolver.arpa",
            "0.0.0.0.beeglivesex.com",
            "last.example",
        ]
    );
    assert_eq!((parsed.lines, parsed.names.len()), (9, 9));
}

#[test]
fn match_says_what_a_bare_name_means_and_prefixes_say_it_themselves() {
    let text = "a.example\n=b.example\n*.c.example\n";
    for (matches, first) in
        [(Match::Subtree, "a.example"), (Match::Exact, "=a.example"), (Match::Children, "*.a.example")]
    {
        let parsed = read(text, Reading { matches, ..Reading::default() });
        assert_eq!(names(&parsed), [first, "=b.example", "*.c.example"]);
    }
}

#[test]
fn hosts_files_name_many_on_a_line_and_the_machine_itself() {
    let text = "127.0.0.1 localhost\n127.0.0.1 localhost.localdomain local\n255.255.255.255 broadcasthost\n\
                ::1 localhost ip6-localhost ip6-loopback\nfe80::1%lo0 localhost\nff02::1 ip6-allnodes\n\
                0.0.0.0 0.0.0.0\n0.0.0.0 a.example b.example\t*.c.example # three\n127.0.0.1\td.example\n:: e.example\n\
                ::1 f.example\n192.0.2.7 g.example\n0.0.0.0 H.Example.\n";
    let parsed = read(text, Reading::default());
    assert_eq!(parsed.format, Format::Hosts);
    assert_eq!(
        names(&parsed),
        ["a.example", "b.example", "*.c.example", "d.example", "e.example", "f.example", "h.example"]
    );
    assert_eq!(problems(&parsed), [(Problem::Address, 1, 7), (Problem::Redirect, 1, 12)]);
    assert_eq!(parsed.local_names, 9);
}

#[test]
fn every_kind_of_blank_separates_words_and_none_stops_the_reader() {
    for blank in [" ", "\t", "\r", "\x0b", "\x0c", " \x0c "] {
        let hosts =
            read(&format!("{blank}0.0.0.0{blank}a.example{blank}b.example{blank}#{blank}x\n"), named(Format::Hosts));
        assert_eq!((names(&hosts), problems(&hosts)), (vec!["a.example".to_owned(), "b.example".to_owned()], vec![]));
        let domains = read(&format!("{blank}a.example{blank}\n{blank}\n"), named(Format::Domains));
        assert_eq!((names(&domains), problems(&domains)), (vec!["a.example".to_owned()], vec![]));
    }
}

#[test]
fn wildcard_lists_mean_what_is_below() {
    let parsed = read("# x\n*.007angels.com\n*.0.0.0.0.beeglivesex.com\nbare.example\n", Reading::default());
    assert_eq!(parsed.format, Format::Wildcards);
    assert_eq!(names(&parsed), ["*.007angels.com", "*.0.0.0.0.beeglivesex.com", "bare.example"]);
}

#[test]
fn each_bad_line_is_named_for_what_it_is() {
    for (line, problem) in [
        ("||t.delfi.", Problem::AdblockLine),
        ("||fxhpaoxqyajvmdg.", Problem::AdblockLine),
        ("||re-captha-version-", Problem::AdblockLine),
        ("||mobileanalytics.*.amazonaws.com^", Problem::AdblockLine),
        ("||click.aliexpress.com^$image,script", Problem::AdblockLine),
        ("||log.player.cntv.cn/stat.html?", Problem::AdblockLine),
        ("||37.220.26.135^", Problem::AdblockLine),
        ("||tn.porngo.xxx^$badfilter", Problem::AdblockLine),
        ("example.com##.banner", Problem::AdblockLine),
        ("xxuhter.ru:8040", Problem::Url),
        ("http://example.com/", Problem::Url),
        ("log.player.cntv.cn/stat.html?", Problem::Url),
        ("37.220.26.135", Problem::Address),
        ("1.2.3", Problem::Address),
        ("2001:db8::1", Problem::Address),
        ("xn--\u{fffd}.example", Problem::Unicode),
        ("iphone-caviar.ru*entranceId", Problem::InnerWildcard),
        ("mobile.*.example.com", Problem::InnerWildcard),
        ("*example.com", Problem::InnerWildcard),
        ("logger-*.dailymotion.com", Problem::InnerWildcard),
        (".adonweb.ru", Problem::EmptyLabel),
        ("a..example.com", Problem::EmptyLabel),
        ("*..example.com", Problem::EmptyLabel),
        ("address=/double-click.net/#", Problem::DnsmasqLine),
        ("server=/x.example/", Problem::DnsmasqLine),
        ("bogus-nxdomain=123.125.81.12", Problem::DnsmasqLine),
        ("local-zone: \"x.example\" always_nxdomain", Problem::UnboundLine),
        ("SIX1.PR01.SEA1.tfbnw.net IN CNAME .", Problem::RpzLine),
        ("32.1.2.0.192.rpz-ip CNAME .", Problem::RpzLine),
        ("0.0.0.0 a.example", Problem::HostsLine),
        ("com", Problem::PublicSuffix),
        ("*.sohu", Problem::PublicSuffix),
        ("localhost", Problem::PublicSuffix),
        ("com.cn", Problem::PublicSuffix),
        ("*.co.uk", Problem::PublicSuffix),
        ("a.example b.example", Problem::Trailing),
        ("a.example,b.example", Problem::Character),
        ("a b.example", Problem::Trailing),
        ("exa$mple.com", Problem::Character),
        ("\"quoted.example\"", Problem::Character),
        ("=", Problem::Character),
        (".", Problem::EmptyLabel),
    ] {
        let parsed = read(&format!("good.example\n{line}\nalso.example\n"), named(Format::Domains));
        assert_eq!(problems(&parsed), [(problem, 1, 2)], "{line}");
        assert_eq!(names(&parsed), ["good.example", "also.example"], "{line}");
    }
}

#[test]
fn lengths_are_held_to_the_byte() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    for (text, problem) in [
        (format!("{label}.example"), None),
        (format!("{label}a.example"), Some(Problem::LabelTooLong)),
        (longest.clone(), None),
        (format!("{longest}."), None),
        (format!("{longest}b"), Some(Problem::NameTooLong)),
        (format!("{}a", "a.".repeat(126)), None),
        (format!("{}aa", "a.".repeat(126)), Some(Problem::NameTooLong)),
        (format!("{}a", "a.".repeat(127)), Some(Problem::NameTooLong)),
        (format!("x.{}", "1".repeat(63)), Some(Problem::Address)),
        (format!("x.-{}", "1".repeat(45)), None),
    ] {
        let parsed = read(&text, named(Format::Domains));
        assert_eq!(problems(&parsed).first().map(|(problem, ..)| *problem), problem, "{text}");
        let expected = Name::from_text(&text).ok().filter(|_| problem.is_none());
        let read = parsed.names.iter().next().map(|(_, wire)| Name::from_wire(wire).unwrap());
        assert_eq!(read, expected, "{text}");
    }
}

#[test]
fn whole_public_suffixes_are_taken_when_told() {
    let parsed = read("sohu\n=com\nco.uk\n", Reading { suffixes: true, ..Reading::default() });
    assert_eq!(names(&parsed), ["sohu", "=com", "co.uk"]);
    let parsed = read("github.io\n=co.uk\n", Reading::default());
    assert_eq!(names(&parsed), ["github.io", "=co.uk"], "a company's, and one name alone");
}

#[test]
fn formats_are_detected_by_what_most_lines_are() {
    for (text, format) in [
        ("[Adblock Plus]\n! x\n||a.example^\n", Format::Adblock),
        ("# Title\nserver=/a.example/\naddress=/b.example/#\n", Format::Dnsmasq),
        ("server:\nlocal-zone: \"a.example\" refuse\n", Format::Unbound),
        ("$TTL 60\n@ SOA . . 1 1 1 1 1\na.example CNAME .\n", Format::Rpz),
        ("1.2.3.4 a.example\n0.0.0.0 b.example\n", Format::Hosts),
        ("a.example\n*.b.example\nc.example\n", Format::Domains),
        ("", Format::Domains),
        ("## heading\n## another\na.example # x##y\n", Format::Domains),
        ("a.example\nb.example @ads\nc.example\n", Format::V2fly),
        ("include:other\n", Format::V2fly),
    ] {
        assert_eq!(detect::look_at(Source::Memory(text.as_bytes()), None), Ok(format), "{text}");
        assert_eq!(parse(text.as_bytes(), Reading::default()).map(|parsed| parsed.format), Ok(format), "{text}");
    }
}

#[test]
fn what_is_no_list_is_refused() {
    for (bytes, refusal) in [
        (&b"<!DOCTYPE html>\n<html>"[..], Unreadable::WebPage),
        (b"\xef\xbb\xbf \r\n <HTML lang=en>", Unreadable::WebPage),
        (b"\x1f\x8b\x08\x00rest", Unreadable::Binary),
        (b"a.example\n\0\0\0", Unreadable::Binary),
        (b"\xff\xfea\0.\0b\0", Unreadable::Utf16),
    ] {
        for format in [None, Some(Format::Domains)] {
            assert_eq!(parse(bytes, Reading { format, ..Reading::default() }).err(), Some(refusal));
        }
    }
}

/// Behind more than one piece of good lines: a file that a crash left half written, and two downloads in one file.
#[test]
fn a_list_that_turns_binary_is_refused_and_one_that_turns_into_a_page_has_bad_lines() {
    for line in ["name{n}.example\n", "z{n}.example CNAME .\n"] {
        let good: String = (0..50_000).map(|n| line.replace("{n}", &n.to_string())).collect();
        let read = |behind: &[u8]| {
            let text = [good.as_bytes(), behind].concat();
            let path = std::env::temp_dir().join(format!("weir-list-turns-{}", std::process::id()));
            std::fs::write(&path, &text).unwrap();
            let contents = Contents::on_disk(std::fs::File::open(&path).unwrap(), 1 << 30).unwrap().unwrap();
            std::fs::remove_file(&path).unwrap();
            let [there, here] = [contents.source(), Source::Memory(&text)]
                .map(|source| parse_source(source, Reading::default(), &mut |_| None));
            assert_eq!(there, here);
            here
        };
        for (behind, at) in [
            (&[0; 1 << 20][..], 50_001),
            (b"last.example CNAME .\n\0\n\0", 50_002),
            (b"# two downloads\n\x1f\x8b\x08\x00\n", 50_002),
        ] {
            assert_eq!(read(behind).err(), Some(Unreadable::Broken(at)), "{line:?}");
        }
        let page = b"<!DOCTYPE html>\n<html><body>\n<h1>504 Gateway Time-out</h1>\n</body></html>\n";
        let parsed = read(page).unwrap();
        assert_eq!((parsed.names.len(), parsed.problems.count()), (50_000, 4), "{line:?}: {parsed:?}");
        assert!(!parsed.is_over_budget() && parsed.problems.groups()[0].line == 50_001, "{:?}", parsed.problems);
        let pages = [&page[..]; 200].concat();
        assert!(read(&pages).unwrap().is_over_budget(), "{line:?}");
    }
}

#[test]
fn a_list_may_have_a_hundred_bad_lines_or_one_in_a_hundred() {
    let list = |good: usize, bad: usize| {
        let good = (0..good).map(|n| format!("n{n}.example\n"));
        let bad = (0..bad).map(|n| format!("http://n{n}.example/\n"));
        read(&good.chain(bad).collect::<String>(), named(Format::Domains))
    };
    assert!(!list(0, 100).is_over_budget());
    assert!(list(5_000, 101).is_over_budget());
    assert!(!list(19_800, 200).is_over_budget());
    assert!(list(19_700, 201).is_over_budget());
    let parsed = list(3, 150);
    assert_eq!(problems(&parsed), [(Problem::Url, 150, 4)]);
    assert_eq!(parsed.problems.groups()[0].sample, "http://n0.example/");
}

#[test]
fn places_of_problems_count_the_byte_order_mark() {
    let text = "\u{feff}a.example\n  bad/url  # x\n";
    let parsed = read(text, Reading::default());
    let span = parsed.problems.groups()[0].span.clone();
    assert_eq!(&text[span], "bad/url  # x");
}

/// A list of each format, longer than a piece of what is read from the disk, with bad lines in the first and the last piece.
#[test]
fn a_list_on_the_disk_reads_as_one_in_memory() {
    for (good, bad) in [
        ("name{n}.example", "b ad.example"),
        ("0.0.0.0 a{n}.example b{n}.example # x", "0.0.0.0 b..ad"),
        ("*.w{n}.example", "*.b*d.example"),
        ("||a{n}.example^$dnstype=~TXT", "||a.example^$client=x"),
        ("@@||free{n}.example^", "/b.d/"),
        ("address=/d{n}.example/", "address=/d.example/10.0.0.1"),
        ("local-zone: \"u{n}.example\" always_nxdomain", "local-zone: \"u.example\" nonsense"),
        ("full:v{n}.example @ads", "regexp:x"),
        ("z{n}.example CNAME .", "z.example CNAME other.example. x"),
    ] {
        let mut text = format!("{bad}\n");
        for n in 0..(2_500_000 / good.len()) {
            text.push_str(&good.replace("{n}", &n.to_string()));
            text.push_str(if n % 5 == 0 { "\r\n" } else { "\n" });
        }
        text.push_str(bad);
        let path = std::env::temp_dir().join(format!("weir-list-on-disk-{}", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let contents = Contents::on_disk(std::fs::File::open(&path).unwrap(), 1 << 30).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        let read = |source| parse_source(source, Reading::default(), &mut |_| None).unwrap();
        let (there, here) = (read(contents.source()), read(Source::Memory(text.as_bytes())));
        assert_eq!(there, here, "{good}");
        assert!(here.names.len() > 1_000 && here.problems.count() > 0, "{good}: {here:?}");
    }
}
