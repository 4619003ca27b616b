//! Modes that enter and leave by themselves: a condition that has held for long enough, and that has not held for long
//! enough. Off unless a mode says `auto`. What a person decided is never undone by it.

use super::{ActiveMode, Policy};
use crate::clock::Moment;
use crate::policy::modes::{Condition, IncidentMode};
use std::collections::BTreeMap;

/// What was measured over about the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Queries per second.
    pub queries: u64,
    /// Of a hundred queries, those that a policy dropped or truncated.
    pub dropped_percent: u64,
    /// Queries per second that found a bounded table full.
    pub overload: u64,
    /// Some pool has no healthy server.
    pub upstream_down: bool,
}

impl Sample {
    fn meets(&self, condition: Condition) -> bool {
        match condition {
            Condition::Queries(n) => self.queries > n,
            Condition::Dropped(n) => self.dropped_percent > n,
            Condition::Overload(n) => self.overload > n,
            Condition::UpstreamDown => self.upstream_down,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// This mode begins; why.
    Enter(String, String),
    /// The mode that is on ends; why.
    Leave(String),
}

/// What is remembered about one mode's condition.
#[derive(Clone, Copy, Debug)]
struct Observed {
    holds: bool,
    since: Moment,
    /// It may enter: since the last time, the condition has not held for once.
    armed: bool,
}

/// Watches the conditions of all modes.
#[derive(Debug, Default)]
pub struct AutoWatch {
    observed: BTreeMap<String, Observed>,
}

impl AutoWatch {
    /// Whether any mode of the policy wants it.
    pub fn is_wanted(policy: &Policy) -> bool {
        policy.modes.iter().any(|mode| mode.auto.is_some())
    }

    /// Takes a sample. At most one move at a time; the first mode, in the order of names, enters.
    pub fn observe(
        &mut self,
        at: Moment,
        sample: &Sample,
        policy: &Policy,
        active: Option<&ActiveMode>,
    ) -> Option<Move> {
        self.observed.retain(|name, _| policy.mode(name).is_some_and(|mode| mode.auto.is_some()));
        let mut wanted = None;
        for mode in policy.modes.iter() {
            let made = self.observe_one(at, sample, mode, active);
            wanted = wanted.or(made);
        }
        wanted
    }

    fn observe_one(
        &mut self,
        at: Moment,
        sample: &Sample,
        mode: &IncidentMode,
        active: Option<&ActiveMode>,
    ) -> Option<Move> {
        let auto = mode.auto?;
        let holds = sample.meets(auto.when);
        let fresh = Observed { holds, since: at, armed: true };
        let observed = self.observed.entry(mode.name.clone()).or_insert(fresh);
        if observed.holds != holds {
            (observed.holds, observed.since) = (holds, at);
        }
        observed.armed |= !holds;
        let lasted = at.since(observed.since);
        match active {
            Some(active) if active.name == mode.name => {
                // Whoever or whatever ends it: it does not come back before the condition has once not held.
                observed.armed = false;
                let over = active.is_auto && !holds && lasted >= auto.calm;
                over.then(|| Move::Leave(format!("{} has not held for {} s", auto.when, auto.calm.as_secs())))
            }
            Some(_) => None,
            None if holds && observed.armed && lasted >= auto.after => {
                let why = format!("{} for {} s", auto.when, auto.after.as_secs());
                Some(Move::Enter(mode.name.clone(), why))
            }
            None => None,
        }
    }
}
