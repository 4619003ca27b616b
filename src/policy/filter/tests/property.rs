//! The filter against a naive one that goes through all rules and names one by one, over random policies.

use super::*;
use crate::policy::schedules::ScheduleSet;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Few labels, so that names meet above, below and beside each other.
fn random_name(rng: &mut StdRng) -> String {
    let labels = rng.random_range(1..=5);
    let label = |rng: &mut StdRng| ["a", "b", "c", "long-label-9"][rng.random_range(0..4_usize)];
    (0..labels).map(|_| label(rng)).collect::<Vec<_>>().join(".")
}

fn random_groups(rng: &mut StdRng) -> Option<GroupSet> {
    let mut set = GroupSet::default();
    let count = rng.random_range(0..3);
    (0..count).for_each(|_| set.insert(rng.random_range(0..4) * 64));
    (rng.random_bool(0.3) && count > 0).then_some(set)
}

fn random_schedules(rng: &mut StdRng) -> Option<ScheduleSet> {
    let mut set = ScheduleSet::default();
    (0..2).for_each(|_| set.insert(rng.random_range(0..4) * 64));
    rng.random_bool(0.2).then_some(set)
}

fn random_rule(rng: &mut StdRng, number: usize, zone_number: usize) -> (Rule, Vec<String>) {
    let actions = [Action::Allow, Action::Nxdomain, Action::Nodata, Action::Monitor];
    let mut rule = rule(zone_number, &format!("r{number}"), actions[rng.random_range(0..4_usize)].clone());
    rule.mode = [Mode::Enforce, Mode::Enforce, Mode::Monitor, Mode::Off][rng.random_range(0..4_usize)];
    rule.scope = Scope {
        zone_groups: random_groups(rng),
        groups: random_groups(rng),
        qtypes: rng.random_bool(0.2).then(|| vec![1, 16]),
        transport: rng.random_bool(0.2).then_some(RuleTransport::Tcp),
        zone_schedules: random_schedules(rng),
        schedules: random_schedules(rng),
        expires_ms: rng.random_bool(0.1).then(|| rng.random_range(0..10)),
    };
    let names = (0..rng.random_range(0..8)).map(|_| match rng.random_range(0..12) {
        0..=2 => format!("={}", random_name(rng)),
        3..=5 => format!("*.{}", random_name(rng)),
        6 => ".".to_owned(),
        _ => random_name(rng),
    });
    let names = names.collect();
    (rule, names)
}

/// POLICY in plain words: every rule that names the subject and may speak, sorted, the first that does not only watch.
fn naive<'r>(rules: &'r [(Rule, Vec<String>)], subject: &Subject<'_>) -> (Option<&'r str>, Option<&'r str>) {
    let mut heard = Vec::new();
    for (number, (rule, names)) in rules.iter().enumerate() {
        let scope = &rule.scope;
        let for_groups = |groups: &Option<GroupSet>| groups.is_none_or(|groups| groups.intersects(subject.groups));
        let applies = rule.mode != Mode::Off
            && for_groups(&scope.zone_groups)
            && for_groups(&scope.groups)
            && scope.qtypes.as_ref().is_none_or(|types| types.contains(&subject.qtype))
            && scope.transport.is_none_or(|transport| (transport == RuleTransport::Tcp) == subject.tcp)
            && scope.zone_schedules.is_none_or(|schedules| subject.active.has(&schedules))
            && scope.schedules.is_none_or(|schedules| subject.active.has(&schedules))
            && scope.expires_ms.is_none_or(|expires_ms| subject.active.unix_ms() < expires_ms);
        let longest = names.iter().filter_map(|text| {
            let (reach, name) = reach_of(text);
            let speaks = match reach {
                SELF => *subject.name == name,
                BELOW => *subject.name != name && subject.name.is_within(&name),
                _ => subject.name.is_within(&name),
            };
            speaks.then(|| name.labels())
        });
        if let (true, Some(labels)) = (applies, longest.max()) {
            let order = (rule.zone_number, usize::MAX - labels, rule.action != Action::Allow, number);
            heard.push((order, rule));
        }
    }
    heard.sort_by_key(|(order, _)| *order);
    let watches = |rule: &Rule| rule.mode == Mode::Monitor || rule.action == Action::Monitor;
    let deciding = heard.iter().position(|(_, rule)| !watches(rule));
    let before = &heard[..deciding.unwrap_or(heard.len())];
    (deciding.map(|at| heard[at].1.id.as_str()), before.first().map(|(_, rule)| rule.id.as_str()))
}

#[test]
fn every_decision_is_that_of_the_naive_filter() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut decisions, mut shadowed) = (0, 0);
    for _ in 0..450 {
        let count = rng.random_range(1..12);
        let mut zone = 0;
        let rules: Vec<_> = (0..count)
            .map(|number| {
                zone += usize::from(rng.random_bool(0.4));
                random_rule(&mut rng, number, zone)
            })
            .collect();
        let names: Vec<_> =
            rules.iter().map(|(_, names)| list_of(&names.iter().map(String::as_str).collect::<Vec<_>>())).collect();
        let compiled = rules.iter().map(|(rule, _)| rule.clone()).collect();
        let triggers: Vec<_> = names.iter().map(|names| Trigger::Names(Arc::clone(names))).collect();
        let mut overlaps = [Overlaps::default(), Overlaps::default()];
        let (filter, _) = Filter::noting(compiled, triggers, rng.random(), &mut overlaps).unwrap();
        let [overlaps, _] = overlaps;
        let shadows = shadow::of_names(&filter.rules, &filter.index.sets, overlaps);
        shadowed += shadows.values().filter(|shadow| shadow.is_whole()).count();
        for _ in 0..100 {
            let (text, groups) = (random_name(&mut rng), random_groups(&mut rng).unwrap_or_default());
            let active = ActiveSet::of(rng.random_range(0..10), random_schedules(&mut rng).unwrap_or_default());
            let name = if rng.random_bool(0.02) { Name::root() } else { name(&text) };
            let subject = Subject {
                groups: &groups,
                client: [192, 0, 2, 1].into(),
                name: &name,
                qtype: if rng.random() { 1 } else { 28 },
                tcp: rng.random(),
                active: &active,
            };
            let decision = filter.decide(&subject);
            let found = (decision.rule.map(|r| r.id.as_str()), decision.monitored.map(|r| r.id.as_str()));
            assert_eq!(found, naive(&rules, &subject), "{name} seed {seed}: {rules:#?}");
            if let Some(id) = found.0 {
                let number = filter.rules.iter().position(|rule| rule.id == id).unwrap();
                let is_shadowed = shadows.get(&number).is_some_and(|shadow| shadow.is_whole());
                assert!(!is_shadowed, "{id} decides about {name} and is said never to, seed {seed}: {rules:#?}");
            }
            let considered = filter.considered(&subject);
            let decides = considered.iter().find(|c| c.why == Why::Decides).map(|c| c.rule.id.as_str());
            assert_eq!(decides, found.0, "{name} seed {seed}");
            if filter.is_untouched(&name) {
                assert_eq!(found, (None, None), "{name} seed {seed}");
            }
            decisions += usize::from(found.0.is_some());
        }
    }
    assert!(decisions > 1_000, "the policies are too thin to show anything: {decisions}");
    assert!(shadowed > 10, "too few rules are never reached to show anything: {shadowed}");
}
