//! The same list in four formats gives the same verdicts, on names of it and beside it.

use super::lists::{Format, Reading, parse};
use super::real_lists::shared;
use super::*;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Names that are asked for.
const ASKED: usize = 200_000;

fn compile(bytes: &[u8], format: Format, seed: u64) -> (Arc<NameList>, Filter) {
    let parsed = parse(bytes, Reading::default()).unwrap();
    assert_eq!((parsed.format, parsed.problems.count()), (format, 0));
    let names = Arc::new(parsed.names);
    let (filter, _) = Filter::new(vec![rule(0, "list", Action::Nxdomain)], &[Arc::clone(&names)], seed).unwrap();
    (names, filter)
}

/// A name of the list, or one near it: a child, the parent, or one that differs in a byte.
fn near(rng: &mut StdRng, listed: &Name) -> Name {
    let text = listed.to_string();
    match rng.random_range(0..5_u8) {
        0 => *listed,
        1 => Name::from_text(&format!("www.{text}")).unwrap_or(*listed),
        2 => listed.parent().unwrap_or(*listed),
        3 => Name::from_text(&format!("x{text}")).unwrap_or(*listed),
        _ => {
            let mut bytes = text.into_bytes();
            let at = rng.random_range(0..bytes.len());
            if bytes[at] != b'.' {
                bytes[at] = rng.random_range(b'a'..=b'z');
            }
            str::from_utf8(&bytes).ok().and_then(|text| Name::from_text(text).ok()).unwrap_or(*listed)
        }
    }
}

fn the_same_verdicts(files: [(&[u8], Format); 4]) {
    let filters = files.map(|(bytes, format)| compile(bytes, format, 11 + format as u64));
    let listed: Vec<Name> = filters[0].0.iter().map(|(_, wire)| Name::from_wire(wire).unwrap()).collect();
    let exact: std::collections::HashSet<&[u8]> = listed.iter().map(Name::as_wire).collect();
    let mut rng = StdRng::seed_from_u64(seed());
    let groups = GroupSet::default();
    let mut blocked = 0;
    for _ in 0..ASKED {
        let from = rng.random_range(0..listed.len());
        let asked = near(&mut rng, &listed[from]);
        let expected = asked.suffixes().any(|suffix| exact.contains(suffix));
        blocked += usize::from(expected);
        for (_, filter) in &filters {
            let decision = filter.decide(&Subject::plain(&groups, &asked));
            assert_eq!(decision.rule.is_some(), expected, "{asked}");
        }
    }
    // Both verdicts were tried in earnest.
    assert!((ASKED / 4..ASKED * 3 / 4).contains(&blocked), "{blocked} of {ASKED} are blocked");
}

#[test]
fn a_list_in_four_formats_gives_the_same_verdicts_on_200_000_names() {
    the_same_verdicts([
        (include_bytes!("../../../../tests/lists/basic.domains.txt"), Format::Domains),
        (include_bytes!("../../../../tests/lists/basic.hosts.txt"), Format::Hosts),
        (include_bytes!("../../../../tests/lists/basic.adblock.txt"), Format::Adblock),
        (include_bytes!("../../../../tests/lists/basic.dnsmasq.txt"), Format::Dnsmasq),
    ]);
}

#[test]
fn the_whole_published_list_in_four_formats_gives_the_same_verdicts() {
    let files = ["domains", "hosts", "adblock", "dnsmasq"].map(|format| shared(&format!("basic.{format}.txt")));
    let [Some(domains), Some(hosts), Some(adblock), Some(dnsmasq)] = files else { return };
    the_same_verdicts([
        (&domains, Format::Domains),
        (&hosts, Format::Hosts),
        (&adblock, Format::Adblock),
        (&dnsmasq, Format::Dnsmasq),
    ]);
}
