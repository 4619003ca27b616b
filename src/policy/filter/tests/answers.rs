//! Decisions about answers against a naive judge that goes through all stages, rules and triggers one by one, over random
//! policies of all kinds and random answers; and what the kinds mean, one by one.

use super::*;
use crate::dns::response::Response;
use crate::dns::rtype;
use crate::dns::sample::Sample;
use crate::policy::clients::Groups;
use crate::policy::document::network::{Entry, Member, depths};
use crate::policy::schedules::ActiveSet;
use ipnet::IpNet;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::net::IpAddr;

/// A rule with its trigger as written.
#[derive(Clone, Debug)]
struct Written {
    rule: Rule,
    names: Vec<String>,
    networks: Vec<(IpNet, bool)>,
}

impl Written {
    fn trigger(&self) -> Trigger {
        if matches!(self.rule.trigger, TriggerKind::Name | TriggerKind::NsName) {
            return Trigger::Names(list_of(&self.names.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        let entry = |(net, except): &(IpNet, bool)| Entry { except: *except, member: Member::Network(*net) };
        Trigger::Networks(Arc::new(depths(self.networks.iter().map(entry), &Groups::default())))
    }

    /// The labels of the longest of its names that is about `name`.
    fn names_it(&self, name: &Name) -> Option<usize> {
        let fits = self.names.iter().filter_map(|text| {
            let (reach, own) = reach_of(text);
            let wanted = if *name == own { SELF } else { BELOW };
            (reach & wanted != 0 && name.is_within(&own)).then(|| own.labels())
        });
        fits.max()
    }

    /// The bits of the longest of its prefixes that holds an address, unless that is an exception.
    fn holds(&self, address: IpAddr) -> Option<usize> {
        let holding = self.networks.iter().filter(|(net, _)| net.contains(&address));
        // At the same length the exception wins; of two equal ones the tests make only one.
        let (net, except) = holding.max_by_key(|(net, _)| net.prefix_len())?;
        (!except).then(|| usize::from(net.prefix_len()) + if net.addr().is_ipv4() { 96 } else { 0 })
    }
}

/// What a random answer says, beside its bytes.
#[derive(Debug)]
struct Said {
    stages: Vec<Name>,
    addresses: Vec<IpAddr>,
    /// Zone, server, address.
    servers: Vec<(Name, Name, IpAddr)>,
}

const LABELS: [&str; 3] = ["a", "b", "c"];

fn random_text(rng: &mut StdRng) -> String {
    (0..rng.random_range(1..=3)).map(|_| LABELS[rng.random_range(0..3_usize)]).collect::<Vec<_>>().join(".")
}

fn random_address(rng: &mut StdRng) -> IpAddr {
    match rng.random_bool(0.7) {
        true => IpAddr::from([10, rng.random_range(0..3), rng.random_range(0..3), rng.random_range(0..3)]),
        false => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, rng.random_range(0..2_u16), rng.random_range(0..3_u16)]),
    }
}

fn random_networks(rng: &mut StdRng) -> Vec<(IpNet, bool)> {
    let mut networks: Vec<(IpNet, bool)> = Vec::new();
    for _ in 0..rng.random_range(1..5) {
        let address = random_address(rng);
        let lens: &[u8] = if address.is_ipv4() { &[8, 16, 24, 32] } else { &[32, 96, 112, 128] };
        let net = IpNet::new(address, lens[rng.random_range(0..4_usize)]).unwrap().trunc();
        if networks.iter().all(|(known, _)| *known != net) {
            networks.push((net, rng.random_bool(0.2)));
        }
    }
    networks
}

fn random_expectation(rng: &mut StdRng) -> Expectation {
    let networks: Vec<_> = random_networks(rng).into_iter().map(|(net, _)| (net, true)).collect();
    let names = (0..rng.random_range(0..2)).map(|_| Pattern::parse(&random_text(rng)).unwrap());
    Expectation {
        names: names.collect(),
        networks: crate::policy::networks::NetworkSet::new(networks),
        otherwise: Otherwise::Servfail,
    }
}

fn random_written(rng: &mut StdRng, number: usize, zone: usize) -> Written {
    let kind = TriggerKind::ALL[rng.random_range(0..5_usize)];
    let action = match rng.random_range(0..10) {
        0 | 1 => Action::Allow,
        2 => Action::Monitor,
        3 => Action::Ttl(TtlBounds { min: 20 * rng.random_range(0..4), max: 60 }),
        4 if kind == TriggerKind::Name => Action::Expect(Arc::new(random_expectation(rng))),
        _ => Action::Nxdomain,
    };
    let mut rule = rule(zone, &format!("r{number}"), action);
    rule.trigger = kind;
    rule.mode = [Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Monitor, Mode::Off][rng.random_range(0..5_usize)];
    rule.scope.qtypes = rng.random_bool(0.1).then(|| vec![28]);
    let names = (0..rng.random_range(1..4)).map(|_| match rng.random_range(0..4) {
        0 => format!("={}", random_text(rng)),
        1 => format!("*.{}", random_text(rng)),
        _ => random_text(rng),
    });
    let names = names.collect();
    Written { rule, names, networks: random_networks(rng) }
}

/// A random answer to a question for the first of its stages.
fn random_answer(rng: &mut StdRng) -> (Said, Vec<u8>) {
    let mut stages = vec![name(&random_text(rng))];
    for _ in 0..rng.random_range(0..3) {
        let next = name(&random_text(rng));
        if stages.contains(&next) {
            break;
        }
        stages.push(next);
    }
    let addresses: Vec<_> = (0..rng.random_range(0..4)).map(|_| random_address(rng)).collect();
    let servers = (0..rng.random_range(0..4))
        .map(|_| (name(LABELS[rng.random_range(0..3_usize)]), name(&random_text(rng)), random_address(rng)));
    let servers: Vec<_> = servers.collect();
    let mut sample = Sample::response(stages[0].to_string().trim_end_matches('.'), rtype::A);
    for pair in stages.windows(2) {
        sample = sample.record(1, pair[0].as_wire(), rtype::CNAME, 60, pair[1].as_wire());
    }
    let end = stages.last().expect("at least one").as_wire().to_vec();
    for (n, address) in addresses.iter().enumerate() {
        sample = match address {
            // Every other address comes as a hint.
            IpAddr::V4(v4) if n % 2 == 1 => {
                let data = [&[0, 1, 0, 0, 4, 0, 4][..], &v4.octets()].concat();
                sample.record(1, &end, rtype::HTTPS, 60, &data)
            }
            IpAddr::V4(v4) => sample.record(1, &end, rtype::A, 60, &v4.octets()),
            IpAddr::V6(v6) => sample.record(1, &end, rtype::AAAA, 60, &v6.octets()),
        };
    }
    for (zone, server, _) in &servers {
        sample = sample.record(2, zone.as_wire(), rtype::NS, 60, server.as_wire());
    }
    for (_, server, address) in &servers {
        sample = match address {
            IpAddr::V4(v4) => sample.record(3, server.as_wire(), rtype::A, 60, &v4.octets()),
            IpAddr::V6(v6) => sample.record(3, server.as_wire(), rtype::AAAA, 60, &v6.octets()),
        };
    }
    (Said { stages, addresses, servers }, sample.bytes())
}

/// The place of a rule among those of its zone and kind, the least first: how far from the longest prefix or name, the
/// address, the labels of the name server from the last to the first, how far from the longest name for that server.
type Place = (usize, u128, Vec<Vec<u8>>, usize);

/// As of draft-vixie-dnsop-dns-rpz sections 5.6 and 5.7: longest prefix, then smallest address.
fn address_place(written: &Written, address: IpAddr) -> Option<Place> {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    written.holds(address).map(|held| (128 - held, bits, Vec::new(), 0))
}

/// As of sections 5.5 and 5.3: smallest server, then longest name that is about it.
fn server_place(written: &Written, server: &Name) -> Option<Place> {
    let text = server.to_string();
    let labels = text.split('.').rev().map(|label| label.as_bytes().to_vec()).collect();
    written.names_it(server).map(|named| (0, 0, labels, 127 - named))
}

/// The first place of a rule at a stage, if it is set off there. `answer`: what it shows may be looked at.
fn place(written: &Written, said: &Said, stage: usize, client: IpAddr, answer: bool) -> Option<Place> {
    let here = &said.stages[stage];
    let around = || said.servers.iter().filter(|(zone, ..)| here.is_within(zone));
    match written.rule.trigger {
        TriggerKind::Client => (stage == 0).then(|| address_place(written, client)).flatten(),
        TriggerKind::Name => written.names_it(here).map(|named| (127 - named, 0, Vec::new(), 0)),
        _ if !answer => None,
        TriggerKind::ResponseAddress if stage + 1 == said.stages.len() => {
            said.addresses.iter().filter_map(|address| address_place(written, *address)).min()
        }
        TriggerKind::ResponseAddress => None,
        TriggerKind::NsName => around().filter_map(|(_, server, _)| server_place(written, server)).min(),
        // Addresses belong to every server of that name.
        TriggerKind::NsAddress => {
            let all =
                around().flat_map(|(_, server, _)| said.servers.iter().filter(move |(_, other, _)| other == server));
            all.filter_map(|(_, _, address)| address_place(written, *address)).min()
        }
    }
}

fn is_unexpected_naive(expectation: &Expectation, said: &Said, stage: usize) -> bool {
    let targets = &said.stages[stage + 1..];
    let admits = |name: &Name| expectation.names.is_empty() || expectation.names.iter().any(|own| own.names(name));
    let led = !targets.is_empty() && !expectation.names.is_empty();
    !targets.iter().all(admits) || !said.addresses.iter().all(|address| led || expectation.networks.contains(*address))
}

type Ids<'w> = (Option<&'w str>, usize, Option<&'w str>, Option<&'w str>);

/// POLICY in plain words. `answer`: the answer is there; else there is only the question.
fn naive<'w>(rules: &'w [Written], said: &Said, client: IpAddr, qtype: u16, answer: bool) -> Ids<'w> {
    let (mut ttl, mut monitored) = (None, None);
    let stages = if answer { said.stages.len() } else { 1 };
    for stage in 0..stages {
        let mut heard: Vec<_> = rules
            .iter()
            .enumerate()
            .filter(|(_, w)| {
                w.rule.mode != Mode::Off && w.rule.scope.qtypes.as_ref().is_none_or(|q| q.contains(&qtype))
            })
            .filter_map(|(number, w)| place(w, said, stage, client, answer).map(|place| (w, place, number)))
            .collect();
        heard.sort_by_key(|(w, place, number)| {
            (w.rule.zone_number, w.rule.trigger, place.clone(), w.rule.action != Action::Allow, *number)
        });
        for (written, ..) in heard {
            let rule = &written.rule;
            if let Action::Expect(expectation) = &rule.action
                && !(answer && is_unexpected_naive(expectation, said, stage))
            {
                continue;
            }
            let of_question = matches!(rule.trigger, TriggerKind::Client | TriggerKind::Name);
            if rule.watches() {
                // What watches the question has been counted with it.
                let counted = answer && stage == 0 && of_question && !matches!(rule.action, Action::Expect(_));
                if !counted {
                    monitored = monitored.or(Some(rule.id.as_str()));
                }
            } else if matches!(rule.action, Action::Ttl(_)) {
                ttl = ttl.or(Some(rule.id.as_str()));
            } else {
                return (Some(&rule.id), stage, ttl, monitored);
            }
        }
    }
    (None, 0, ttl, monitored)
}

#[test]
fn every_judgement_is_that_of_the_naive_judge() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut decided, mut waited, mut raised, mut by_kind) = (0, 0, 0, [0; 5]);
    for _ in 0..400 {
        let mut zone = 0;
        let rules: Vec<_> = (0..rng.random_range(1..14))
            .map(|number| {
                zone += usize::from(rng.random_bool(0.4));
                random_written(&mut rng, number, zone)
            })
            .collect();
        let compiled = rules.iter().map(|written| written.rule.clone()).collect();
        let triggers = rules.iter().map(Written::trigger).collect();
        let (filter, _) = Filter::with_triggers(compiled, triggers, rng.random()).unwrap();
        for _ in 0..60 {
            let (said, bytes) = random_answer(&mut rng);
            let response = Response::scan(&bytes).unwrap();
            let client = random_address(&mut rng);
            let groups = GroupSet::default();
            let qtype = if rng.random() { 1 } else { 28 };
            let active = &ActiveSet::EVERYTHING;
            let subject = Subject { groups: &groups, client, name: &said.stages[0], qtype, tcp: false, active };
            let ids = |decision: &Decision<'_>| {
                let id = |rule: Option<&Rule>| rule.map(|rule| rule.id.clone());
                (id(decision.rule), decision.stage, id(decision.ttl), id(decision.monitored))
            };
            let owned = |(rule, stage, ttl, monitored): Ids<'_>| {
                (rule.map(str::to_owned), stage, ttl.map(str::to_owned), monitored.map(str::to_owned))
            };
            let question = filter.decide(&subject);
            let expected = naive(&rules, &said, client, qtype, false);
            assert_eq!(ids(&question), owned(expected), "question {said:?} from {client} seed {seed}: {rules:#?}");
            let answer = filter.judge(&subject, &response);
            let expected = naive(&rules, &said, client, qtype, true);
            assert_eq!(ids(&answer), owned(expected), "answer {said:?} from {client} seed {seed}: {rules:#?}");
            // What does not wait is decided alike with the answer, and what is untouched has no rule of its own.
            if question.rule.is_some() && !question.waits {
                let (one, other) = (question.rule.map(|rule| &rule.id), answer.rule.map(|rule| &rule.id));
                let guarded = matches!(answer.rule.map(|rule| &rule.action), Some(Action::Expect(_)));
                assert!(one == other || guarded, "{one:?} {other:?} {said:?} seed {seed}: {rules:#?}");
            }
            let (of_rule, least) =
                (answer.ttl.map_or(0, Rule::least_ttl), filter.least_ttl(&said.stages[0], &response));
            let most = rules.iter().map(|written| written.rule.least_ttl()).max().unwrap_or(0);
            assert!((of_rule..=most).contains(&least), "{of_rule} {least} {most} {said:?} seed {seed}: {rules:#?}");
            raised += usize::from(of_rule > 0);
            if filter.is_answer_untouched(&said.stages[0], &response) && !question.waits {
                let (one, other) = (question.rule.map(|rule| &rule.id), answer.rule.map(|rule| &rule.id));
                assert_eq!(
                    (one, answer.ttl.is_some(), answer.monitored.is_some()),
                    (other, false, false),
                    "seed {seed}"
                );
            }
            decided += usize::from(answer.rule.is_some());
            waited += usize::from(question.waits);
            answer.rule.into_iter().for_each(|rule| by_kind[rule.trigger as usize] += 1);
        }
    }
    assert!(raised > 300, "{raised}");
    assert!(decided > 3_000 && waited > 100 && by_kind.iter().all(|n| *n > 50), "{decided} {waited} {by_kind:?}");
}
