//! Malformed lines as they were seen in published lists: each gets the treatment that `tests/lists/malformed-lines.tsv`
//! recommends, or the reason why not stands here; and no good line is lost to a bad neighbour.

use super::*;
use crate::policy::filter::rpz::Flaw;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// What becomes of a line.
enum Becomes {
    /// A record of a response policy zone, told by itself: its problem, and the names that are taken.
    Rpz(Option<Problem>, &'static [&'static str]),
    /// These names, without a word.
    Names(Format, &'static [&'static str]),
    /// Left out, silently: the machine's own names.
    Own(Format),
    /// A problem with a hint, and what is taken all the same.
    Problem(Format, Problem, &'static [&'static str]),
}

/// In the order of the file.
const EXPECTED: [Becomes; 32] = {
    use Becomes::{Names, Own, Problem as Bad, Rpz};
    use Format::{Adblock, Dnsmasq, Domains, Hosts};
    [
        Rpz(Some(Problem::Rpz(Flaw::IpPrefix)), &[]),
        Rpz(Some(Problem::Rpz(Flaw::IpPrefix)), &[]),
        Rpz(Some(Problem::Rpz(Flaw::SuspectOwner)), &[]),
        Rpz(Some(Problem::Rpz(Flaw::SuspectOwner)), &[]),
        Rpz(Some(Problem::Rpz(Flaw::Ip6Form)), &[]),
        // Taken as the network, which a list of names cannot hold.
        Rpz(Some(Problem::Rpz(Flaw::HostBits)), &[]),
        Rpz(None, &["=six1.pr01.sea1.tfbnw.net"]),
        Rpz(None, &["=_collab-edge._tls.snappublisher.snapchat.com"]),
        // Without an origin no owner is outside of the zone: what is, is tested with zones.
        Rpz(None, &["=bdyyy.z5g3l.filos.co.id"]),
        Rpz(Some(Problem::Rpz(Flaw::Duplicate)), &["=soul-kissed.org"]),
        Bad(Hosts, Problem::Address, &[]),
        Own(Hosts),
        Own(Hosts),
        Names(Hosts, &["philadelphia_cbslocal.us.intellitxt.com"]),
        // Beginnings of names are reported, not matched: the recommendation leaves the choice.
        Bad(Adblock, Problem::Prefix, &[]),
        Bad(Adblock, Problem::Prefix, &[]),
        Bad(Adblock, Problem::Prefix, &[]),
        // Globs would be a slow path for every query; they are reported.
        Bad(Adblock, Problem::InnerWildcard, &[]),
        Bad(Adblock, Problem::InnerWildcard, &[]),
        Bad(Adblock, Problem::Modifier, &[]),
        Bad(Adblock, Problem::AdblockUrl, &[]),
        Bad(Adblock, Problem::AdblockUrl, &[]),
        // There is no trigger for addresses in answers in this version, so these two are reported.
        Bad(Adblock, Problem::ResponseAddress, &[]),
        Bad(Adblock, Problem::ResponseAddress, &[]),
        Names(Adblock, &["xn--80abnuns.xn--p1acf"]),
        Bad(Adblock, Problem::InnerWildcard, &[]),
        Bad(Adblock, Problem::Unanchored, &["adonweb.ru"]),
        // Takes back nothing here: a test of its own below.
        Names(Adblock, &[]),
        Names(Adblock, &["0.0.0.0.beeglivesex.com"]),
        Names(Dnsmasq, &["double-click.net", "x.example"]),
        Names(Domains, &["example.com"]),
        Names(Domains, &[]),
    ]
};

/// The lines of the file, as they stood in a list.
fn lines() -> Vec<String> {
    let text = include_str!("../../../../../tests/lists/malformed-lines.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    let lines = rows.map(|row| {
        let line = row.split('\t').nth(1).expect("a row has a line");
        // How the file spells what a table cannot hold.
        match line {
            "soul-kissed.org CNAME .  (twice)" => "soul-kissed.org CNAME .\nsoul-kissed.org CNAME .".to_owned(),
            "address=/double-click.net/#  and  server=/x/" => {
                "address=/double-click.net/#\nserver=/x.example/".to_owned()
            }
            "example.com\\r" => "\u{feff}example.com\r".to_owned(),
            other => other.to_owned(),
        }
    });
    lines.collect()
}

#[test]
fn each_malformed_line_gets_its_treatment() {
    let lines = lines();
    assert_eq!(lines.len(), EXPECTED.len());
    for (line, becomes) in lines.iter().zip(&EXPECTED) {
        if line.starts_with("<!DOCTYPE") {
            assert_eq!(parse(line.as_bytes(), Reading::default()).err(), Some(Unreadable::WebPage));
            continue;
        }
        match becomes {
            Becomes::Rpz(problem, expected) => {
                let parsed = read(line, Reading::default());
                assert_eq!((parsed.format, names(&parsed)), (Format::Rpz, owned(expected)), "{line}");
                let found = parsed.problems.groups().first().map(|group| group.problem);
                assert_eq!(found, *problem, "{line}");
                assert!(problem.is_none_or(|problem| problem.hint().is_some()), "{line}");
            }
            Becomes::Names(format, expected) => {
                let parsed = read(line, named(*format));
                assert_eq!((names(&parsed), problems(&parsed)), (owned(expected), vec![]), "{line}");
            }
            Becomes::Own(format) => {
                let parsed = read(line, named(*format));
                assert_eq!((parsed.local_names, parsed.names.len(), problems(&parsed)), (1, 0, vec![]), "{line}");
            }
            Becomes::Problem(format, problem, expected) => {
                let parsed = read(line, named(*format));
                assert_eq!((names(&parsed), problems(&parsed)), (owned(expected), vec![(*problem, 1, 1)]), "{line}");
                assert!(problem.hint().is_some_and(|hint| !hint.english().is_empty()), "{line}");
                assert_eq!(problem.weight() == Weight::Taken, !expected.is_empty(), "{line}");
            }
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_badfilter_takes_back_its_line_and_says_when_there_is_none() {
    let with = read("||tn.porngo.xxx^\n||tn.porngo.xxx^$badfilter\n||a.example^\n", Reading::default());
    assert_eq!((names(&with), with.idle_cancels), (owned(&["a.example"]), 0));
    let without = read("||tn.porngo.xxx^$badfilter\n||a.example^\n", Reading::default());
    assert_eq!((names(&without), without.idle_cancels), (owned(&["a.example"]), 1));
}

#[test]
fn codes_tell_problems_apart() {
    let text = include_str!("../problem.rs");
    let rows = text.split("            Self::").skip(1).filter(|row| row.contains("=> ("));
    let codes: Vec<_> = rows.filter_map(|row| row.split('"').nth(1)).collect();
    assert!(codes.len() > 30, "{codes:?}");
    let mut once = codes.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), codes.len());
}

#[test]
fn good_lines_stay_wherever_bad_ones_stand() {
    let mut rng = StdRng::seed_from_u64(super::super::super::tests::seed());
    let malformed = lines();
    for (format, spell) in [
        (Format::Domains, (|n| format!("n{n}.example")) as fn(usize) -> String),
        (Format::Hosts, |n| format!("0.0.0.0 n{n}.example")),
        (Format::Wildcards, |n| format!("*.n{n}.example")),
        (Format::Adblock, |n| format!("||n{n}.example^")),
        (Format::Dnsmasq, |n| format!("address=/n{n}.example/")),
        (Format::Unbound, |n| format!("local-zone: \"n{n}.example\" refuse")),
        (Format::V2fly, |n| format!("domain:n{n}.example")),
    ] {
        let good: Vec<_> = (0..40).map(spell).collect();
        let expected = names(&read(&good.join("\n"), named(format)));
        assert_eq!(expected.len(), 40);
        for _ in 0..50 {
            let mut lines = good.clone();
            for _ in 0..rng.random_range(1..30) {
                let at = rng.random_range(0..=lines.len());
                let bad = malformed.choose(&mut rng).expect("there are some").replace('\u{feff}', "");
                let mut bytes = bad.into_bytes();
                // Cut anywhere, and with a byte that is no text.
                bytes.truncate(rng.random_range(0..=bytes.len()));
                if rng.random_bool(0.3) {
                    bytes.push(rng.random_range(0x80..=0xff));
                }
                lines.insert(at, bytes.iter().map(|byte| char::from(*byte)).collect());
            }
            let bytes: Vec<u8> = lines.join("\n").chars().map(|c| c as u32 as u8).collect();
            let Ok(parsed) = parse(&bytes, named(format)) else {
                assert!(bytes.trim_ascii_start().starts_with(b"<!"), "{}", bytes.escape_ascii());
                continue;
            };
            let mut left = names(&parsed).into_iter();
            for name in &expected {
                assert!(left.any(|found| found == *name), "{name} of {}", bytes.escape_ascii());
            }
        }
    }
}
