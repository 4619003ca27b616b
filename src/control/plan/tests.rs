//! Plans on answers, held against a judge that goes through rules and names one by one.

use super::verdicts::{Comparison, Tried, Verdicts};
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::dns::sample::{Sample, wire};
use crate::language::Text;
use crate::policy::document::Files;
use crate::policy::explain::Besides;
use crate::policy::{Options, Policy, load_files};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

const NAMES: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];
const ADDRESSES: [[u8; 4]; 3] = [[192, 0, 2, 1], [192, 0, 2, 2], [10, 9, 9, 9]];
const CLIENTS: [[u8; 4]; 2] = [[10, 1, 0, 1], [10, 1, 0, 2]];

/// What sets a rule off, by number in the lists above.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    Name(usize),
    Address(usize),
    Client(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Nxdomain,
    Refused,
    Allow,
    Ttl(u32),
    Watch,
}

/// Rules, each in a zone of its own, and whether rebinding is enforced.
type Written = (Vec<(Trigger, Does)>, bool);

/// Client, the name asked for, and of an answer the CNAMEs and the addresses.
type Asked = (usize, usize, Option<(Vec<usize>, Vec<usize>)>);

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        (0..NAMES.len()).prop_map(Trigger::Name),
        (0..ADDRESSES.len()).prop_map(Trigger::Address),
        (0..CLIENTS.len()).prop_map(Trigger::Client),
    ]
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        Just(Does::Nxdomain),
        Just(Does::Refused),
        Just(Does::Allow),
        (10_u32..12).prop_map(Does::Ttl),
        Just(Does::Watch),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    // A TTL is for all clients.
    let rule = (trigger(), does()).prop_map(|rule| match rule {
        (Trigger::Client(n), Does::Ttl(_)) => (Trigger::Client(n), Does::Refused),
        rule => rule,
    });
    (prop::collection::vec(rule, 0..6), any::<bool>())
}

fn asked() -> impl Strategy<Value = Asked> {
    // Targets in rising order, so that no chain is a circle.
    let chain = prop::sample::subsequence(vec![1, 2, 3], 0..3);
    let addresses = prop::sample::subsequence(vec![0, 1, 2], 0..3);
    (0..CLIENTS.len(), Just(0_usize), prop::option::of((chain, addresses)))
}

fn policy((rules, rebinding): &Written) -> Policy {
    let mut files = vec![
        ("gateway.toml".to_owned(), "schema = 1\n[[upstream]]\naddress = \"192.0.2.53\"\n".to_owned()),
        ("limits.toml".to_owned(), format!("[rebinding]\nmode = {:?}\n", if *rebinding { "enforce" } else { "off" })),
    ];
    for (number, (trigger, does)) in rules.iter().enumerate() {
        let mut text = format!("[zone]\ntitle = \"z{number}\"\n[[rule]]\nid = \"r{number}\"\n");
        let _ = match trigger {
            Trigger::Name(n) => writeln!(text, "names = [\"={}\"]", NAMES[*n]),
            Trigger::Address(n) => writeln!(text, "response_ip = [\"{}\"]", Ipv4Addr::from(ADDRESSES[*n])),
            Trigger::Client(n) => writeln!(text, "clients = [\"{}\"]", Ipv4Addr::from(CLIENTS[*n])),
        };
        let _ = match does {
            Does::Nxdomain => writeln!(text, "action = \"nxdomain\""),
            Does::Refused => writeln!(text, "action = \"refused\""),
            Does::Allow => writeln!(text, "action = \"allow\""),
            Does::Ttl(max) => writeln!(text, "action = \"ttl\"\nmax = \"{max}s\""),
            Does::Watch => writeln!(text, "action = \"monitor\""),
        };
        files.push((format!("filters/1{number}-z.toml"), text));
    }
    let files: Files = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    load_files(files, &Options::default()).unwrap_or_else(|report| panic!("{report:?}")).0
}

fn message((_, name, answer): &Asked) -> Option<Vec<u8>> {
    let (chain, addresses) = answer.as_ref()?;
    let mut sample = Sample::response(NAMES[*name], rtype::A);
    let mut owner = NAMES[*name];
    for target in chain {
        sample = sample.record(1, &wire(owner), rtype::CNAME, 60, &wire(NAMES[*target]));
        owner = NAMES[*target];
    }
    for address in addresses {
        sample = sample.record(1, &wire(owner), rtype::A, 60, &ADDRESSES[*address]);
    }
    Some(sample.bytes())
}

/// What the client gets (`None`: what was answered), and the bound of TTLs.
fn naive((rules, rebinding): &Written, (client, name, answer): &Asked) -> (Option<&'static str>, Option<u32>) {
    let (chain, addresses) = answer.clone().unwrap_or_default();
    let stages: Vec<usize> = std::iter::once(*name).chain(chain.iter().copied()).collect();
    let mut ttl = None;
    'stages: for (stage, name) in stages.iter().enumerate() {
        for (trigger, does) in rules {
            let fits = match *trigger {
                Trigger::Name(of) => of == *name,
                Trigger::Address(of) => stage == chain.len() && addresses.contains(&of),
                Trigger::Client(of) => stage == 0 && of == *client,
            };
            match does {
                _ if !fits => {}
                Does::Watch => {}
                Does::Ttl(max) => ttl = ttl.or(Some(*max).filter(|_| answer.is_some())),
                // No rule of a zone lets an answer lead inside.
                Does::Allow => break 'stages,
                Does::Nxdomain => return (Some("nxdomain"), None),
                Does::Refused => return (Some("refused"), None),
            }
        }
    }
    if *rebinding && addresses.contains(&2) { (Some("nodata"), None) } else { (None, ttl) }
}

fn compared(old: &Written, new: &Written, asked: &[Asked]) -> Verdicts {
    let (old, new) = (policy(old), policy(new));
    let mut comparison = Comparison::new(&old, &new, Besides::default(), 0);
    for one in asked {
        let answer = message(one);
        comparison.try_on(&Tried {
            client: IpAddr::from(CLIENTS[one.0]),
            name: Name::from_text(NAMES[one.1]).unwrap(),
            qtype: rtype::A,
            tcp: false,
            weight: 1.0,
            answer: answer.as_deref(),
        });
    }
    comparison.end(Text::verbatim("of a test"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn plans_agree_with_a_judge_that_goes_one_by_one(
        old in written(),
        new in written(),
        asked in prop::collection::vec(asked(), 1..12),
    ) {
        let verdicts = compared(&old, &new, &asked);
        let (mut blocked, mut allowed, mut other, mut ttls) = (0.0, 0.0, 0.0, 0.0);
        for one in &asked {
            let (before, after) = (naive(&old, one), naive(&new, one));
            match (before.0, after.0) {
                (None, Some(_)) => blocked += 1.0,
                (Some(_), None) => allowed += 1.0,
                (Some(a), Some(b)) if a != b => other += 1.0,
                (None, None) if before.1 != after.1 => ttls += 1.0,
                _ => {}
            }
        }
        let answered = asked.iter().filter(|one| one.2.is_some()).count() as u64;
        prop_assert_eq!(verdicts.answered, answered);
        prop_assert_eq!(
            (verdicts.newly_blocked.queries, verdicts.newly_allowed.queries),
            (blocked, allowed)
        );
        prop_assert_eq!((verdicts.other_action.queries, verdicts.other_ttl.queries), (other, ttls));
    }
}

#[test]
fn each_kind_of_rule_about_answers_is_tried_and_named() {
    let nothing: Written = (Vec::new(), false);
    let to_inside: Asked = (0, 0, Some((vec![1], vec![2])));
    let group = |new: &Written, one: &Asked| {
        let verdicts = compared(&nothing, new, std::slice::from_ref(one));
        let kinds = [&verdicts.newly_blocked, &verdicts.other_ttl];
        let group = kinds.iter().find_map(|kind| kind.groups.first());
        group.map(|group| format!("{} {} {}", group.rule, group.before, group.after))
    };
    let of = |trigger, does| (vec![(trigger, does)], false);
    assert_eq!(group(&of(Trigger::Address(2), Does::Nxdomain), &to_inside).unwrap(), "r0 forward nxdomain");
    assert_eq!(group(&of(Trigger::Name(1), Does::Refused), &to_inside).unwrap(), "r0 forward refused");
    assert_eq!(group(&of(Trigger::Name(0), Does::Ttl(10)), &to_inside).unwrap(), "r0 forward ttl");
    assert_eq!(group(&(Vec::new(), true), &to_inside).unwrap(), "rebinding forward nodata");
    assert_eq!(group(&of(Trigger::Address(0), Does::Nxdomain), &to_inside), None);
    let alone: Asked = (0, 0, None);
    assert_eq!(group(&of(Trigger::Address(2), Does::Nxdomain), &alone), None, "there is no answer to judge");
}

#[test]
fn an_answer_to_another_question_or_one_that_was_cut_is_not_judged() {
    let new = policy(&(vec![(Trigger::Address(0), Does::Nxdomain)], false));
    let old = policy(&(Vec::new(), false));
    let answer = message(&(0, 0, Some((vec![], vec![0])))).unwrap();
    let mut cut = answer.clone();
    cut[2] |= 0x02;
    let tried = |name: &str, qtype, answer: &[u8]| {
        let mut comparison = Comparison::new(&old, &new, Besides::default(), 0);
        let (client, name) = (CLIENTS[0].into(), Name::from_text(name).unwrap());
        comparison.try_on(&Tried { client, name, qtype, tcp: false, weight: 1.0, answer: Some(answer) });
        let verdicts = comparison.end(Text::default());
        (verdicts.answered, verdicts.newly_blocked.queries)
    };
    assert_eq!(tried("a.example", rtype::A, &answer), (1, 1.0));
    assert_eq!(tried("b.example", rtype::A, &answer), (0, 0.0));
    assert_eq!(tried("a.example", rtype::AAAA, &answer), (0, 0.0));
    assert_eq!(tried("a.example", rtype::A, &cut), (0, 0.0));
    assert_eq!(tried("a.example", rtype::A, &answer[..answer.len() - 1]), (0, 0.0));
    assert_eq!(tried("a.example", rtype::A, &[]), (0, 0.0));
}
