//! `[guard]` of gateway.toml: when a change of the policy is so large that somebody has to say that it is meant.
//!
//! ```toml
//! [guard]
//! mode = "enforce"        # enforce: refused unless forced | monitor: only warned about | off
//! newly_blocked = 0.1     # a change, or another copy of a feed, that blocks more than this share of the recent queries
//! list_shrink = 0.3       # a list that loses more than this share of its names
//! queries_min = 100       # with fewer recent queries nothing is said about queries
//! list_min = 10           # nor about lists that had fewer names
//! queries = 20000         # recent queries that are remembered, at the most
//! age = "10m"             # and for how long
//! ```
//!
//! The guard of the policy that runs judges the next one: a change cannot lift its own. Thirty per cent and ten per cent are
//! what a bad download or a missing dot exceeds at once, and a day's work on a policy does not.

use super::Mode;
use super::document::Table;
use std::time::Duration;

/// The most recent queries that may be remembered: 100 MiB of them.
pub const QUERIES_MAX: usize = 400_000;

/// `[guard]`
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// Whether a change that exceeds a threshold is refused, only warned about, or not looked at.
    pub mode: Mode,
    /// The share of the recent queries that a change may newly block, 0 to 1.
    pub newly_blocked: f64,
    /// The share of its names that a list may lose, 0 to 1.
    pub list_shrink: f64,
    /// Queries that must be remembered for their share to mean anything, 1 to [`QUERIES_MAX`].
    pub queries_min: usize,
    /// Names that a list must have had for its shrinking to mean anything.
    pub list_min: usize,
    /// Recent queries that are remembered, 0 (none) to [`QUERIES_MAX`].
    pub queries: usize,
    /// How long they are remembered, 10 seconds to 1 day.
    pub age: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            newly_blocked: 0.1,
            list_shrink: 0.3,
            queries_min: 100,
            list_min: 10,
            queries: 20_000,
            age: Duration::from_secs(600),
        }
    }
}

impl GuardSettings {
    /// Reads the section.
    pub fn read(t: &Table<'_>) -> Self {
        let default = Self::default();
        Self {
            mode: t.mode(default.mode),
            newly_blocked: t.fraction("newly_blocked", 0.0..=1.0, default.newly_blocked),
            list_shrink: t.fraction("list_shrink", 0.0..=1.0, default.list_shrink),
            queries_min: t.number("queries_min", 1..=QUERIES_MAX, default.queries_min),
            list_min: t.number("list_min", 1..=1_000_000_000, default.list_min),
            queries: t.number("queries", 0..=QUERIES_MAX, default.queries),
            age: t.duration("age", Duration::from_secs(10)..=Duration::from_secs(86_400), default.age),
        }
    }

    /// Whether a list that had `before` names and has `after` has lost too many.
    pub fn is_shrunk(&self, before: usize, after: usize) -> bool {
        before >= self.list_min && lost(before, after) > self.list_shrink
    }

    /// Whether too many of `queries` queries, each of which counts for `weight` in all, are newly blocked.
    pub fn is_blocking(&self, queries: usize, blocked: f64, weight: f64) -> bool {
        queries >= self.queries_min && blocked / weight.max(f64::MIN_POSITIVE) > self.newly_blocked
    }
}

/// The share of its names that a list has lost; 0 for one that has grown.
pub fn lost(before: usize, after: usize) -> f64 {
    before.saturating_sub(after) as f64 / (before.max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    #[test]
    fn thresholds_are_exceeded_and_not_only_reached() {
        let guard = GuardSettings::default();
        assert!(!guard.is_shrunk(1_000, 700) && guard.is_shrunk(1_000, 699) && !guard.is_shrunk(1_000, 2_000));
        assert!(guard.is_shrunk(10, 0) && !guard.is_shrunk(9, 0), "a handful of names is edited by hand");
        assert!(!guard.is_blocking(1_000, 100.0, 1_000.0) && guard.is_blocking(1_000, 101.0, 1_000.0));
        assert!(!guard.is_blocking(99, 99.0, 99.0), "an idle lab does not trip");
        assert!(!guard.is_blocking(1_000, 0.0, 0.0));
    }

    #[test]
    fn settings_are_read_and_bounded() {
        let (read, faults) = probe::read("", |t| GuardSettings::read(&t.table("guard")));
        assert_eq!((read, faults.len()), (GuardSettings::default(), 0));
        let text = "[guard]\nmode = \"monitor\"\nnewly_blocked = 0.5\nqueries = 0\nage = \"1h\"\n";
        let (read, faults) = probe::read(text, |t| GuardSettings::read(&t.table("guard")));
        assert_eq!(faults, [""; 0]);
        assert_eq!((read.mode, read.newly_blocked, read.queries), (Mode::Monitor, 0.5, 0));
        let text =
            "[guard]\nnewly_blocked = 1.5\nlist_shrink = \"a third\"\nqueries = 9000000\nage = \"1s\"\nforce = true\n";
        let (_, faults) = probe::read(text, |t| GuardSettings::read(&t.table("guard")));
        assert_eq!(faults.len(), 5, "{faults:?}");
    }
}
