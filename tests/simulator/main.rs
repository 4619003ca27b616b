//! The simulator: cores, upstream servers and clients in virtual time, with all randomness from one seed. In each world
//! there are storms, random names, forged and plain floods, held connections, loss, reloads, modes, emergency rules, rules
//! about clients and answers, hours that pass, and failing, lying and hijacked servers; [`invariants`] names what must hold
//! in all of them, and how it is judged.
//!
//! `WEIR_SIM_SEEDS=10000` runs as many worlds (default 200), `WEIR_SIM_SEED=17` only that one. A failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

mod answers;
mod calm;
mod check;
mod clients;
mod foresight;
mod grown;
mod invariants;
mod leads;
mod lifetimes;
#[path = "../stage/memory.rs"]
mod memory;
mod notices;
mod policies;
mod redirects;
mod servers;
mod signatures;
#[path = "../stage/mod.rs"]
mod stage;
mod storm;
mod truth;
mod world;

use check::SIGHTS;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use weir::ledger::{Totals, UpstreamEvent};
use weir::upstream::LINKS_MAX;
use weir::verdict::{Outcome, Reason};
use world::World;

const SEEDS: u64 = 200;

/// In so many worlds each rule of every policy has to speak.
const RULES_FROM: u64 = 1_000;

/// So many may be silent where there are fewer worlds: some speak in one of a hundred. In the 200 of a usual run three are.
const SILENT_MAX: usize = 5;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn the_invariants_hold_in_every_world() {
    let seeds = match number("WEIR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("WEIR_SIM_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let many = seeds.end - seeds.start >= SEEDS;
    let mut met = Met::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
            Ok(end) => {
                met.add(&end.totals);
                met.add_rules(end.rules);
                met.sights.extend(end.sights);
                met.ended += end.ended;
                met.worlds += 1;
            }
            Err(panic) => {
                eprintln!(
                    "seed {seed} failed; to see it again: WEIR_SIM_SEED={seed} cargo test --test simulator every"
                );
                resume_unwind(panic);
            }
        }
    }
    if many {
        met.add(&storm::run(1));
    }
    assert!(!many || met.lacks().is_empty(), "no world came to {:?}", met.lacks());
}

/// What happened in any world, so that nobody believes in a world where nothing does.
#[derive(Default)]
struct Met {
    outcomes: BTreeSet<&'static str>,
    reasons: BTreeSet<&'static str>,
    events: BTreeSet<&'static str>,
    /// Rules by policy, and those of them that have spoken.
    rules: BTreeSet<String>,
    spoke: BTreeSet<String>,
    /// What replies have shown.
    sights: BTreeSet<&'static str>,
    /// Messages to upstreams whose connection ended.
    ended: u64,
    worlds: u64,
}

impl Met {
    fn add(&mut self, totals: &Totals) {
        self.outcomes.extend(Outcome::ALL.iter().filter(|outcome| totals.outcome(**outcome) > 0).map(|o| o.name()));
        let reason = |reason: &&Reason| {
            Outcome::ALL
                .iter()
                .any(|outcome| [false, true].into_iter().any(|tcp| totals.queries(*outcome, **reason, tcp) > 0))
        };
        self.reasons.extend(Reason::ALL.iter().filter(reason).map(|reason| reason.name()));
        let event = |event: &&UpstreamEvent| (0..LINKS_MAX as u16).any(|slot| totals.upstream(slot, **event) > 0);
        self.events.extend(UpstreamEvent::ALL.iter().filter(event).map(|event| event.name()));
    }

    fn add_rules(&mut self, rules: Vec<(String, bool)>) {
        self.spoke.extend(rules.iter().filter(|(_, spoke)| *spoke).map(|(rule, _)| rule.clone()));
        self.rules.extend(rules.into_iter().map(|(rule, _)| rule));
    }

    fn lacks(&self) -> Vec<&str> {
        let outcomes = Outcome::ALL.map(Outcome::name).into_iter().filter(|name| !self.outcomes.contains(name));
        let reasons = Reason::ALL.map(Reason::name).into_iter().filter(|name| !self.reasons.contains(name));
        let events = UpstreamEvent::ALL.map(UpstreamEvent::name).into_iter().filter(|name| !self.events.contains(name));
        let silent = self.rules.difference(&self.spoke).count();
        let is_too_silent = self.worlds >= RULES_FROM || silent > SILENT_MAX;
        let rules = self.rules.difference(&self.spoke).filter(|_| is_too_silent).map(|rule| &**rule);
        let sights = SIGHTS.into_iter().filter(|sight| !self.sights.contains(sight));
        let ended = (self.ended == 0).then_some("a connection that ends");
        outcomes.chain(reasons).chain(events).chain(rules).chain(sights).chain(ended).collect()
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 1..6 {
        assert_eq!(World::new(seed).run().transcript, World::new(seed).run().transcript, "seed {seed}");
    }
    assert_ne!(World::new(1).run().transcript, World::new(2).run().transcript);
}
