//! How often each rule has spoken, and when last: a rule that nothing ever hits can go, and one that is hit too much is
//! looked at. The counters live with the compiled rule; a rule of the same id takes over those of the policy before it, so
//! nothing is lost when a policy is loaded again. Each worker adds to a lane of its own with a plain load and store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Rules of one policy that are counted apart: the first so many, in the order of zones and lines.
pub const COUNTED_MAX: usize = 10_000;

/// What one worker has seen of one rule, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Lane {
    decided: AtomicU64,
    monitored: AtomicU64,
    last_unix_ms: AtomicU64,
}

impl Lane {
    /// Not an atomic addition: only the worker of the lane adds.
    fn add(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

/// A rule of whatever policy that has spoken about a query: what the log and its counters need of it.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'r> {
    /// As it is shown.
    pub id: &'r str,
    /// Its counters.
    pub hits: &'r RuleHits,
}

/// A rule of whatever policy, as it is shown with its counters.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'r> {
    /// As it is shown.
    pub id: &'r str,
    /// Of which policy: `access`, `emergency` or `filter`.
    pub policy: &'static str,
    /// What tells the same rule in the next version of that.
    pub identity: &'r str,
    /// The title of its zone, or the name of its policy.
    pub zone: &'r str,
    /// What it does.
    pub action: &'static str,
    /// Who answers for it.
    pub owner: Option<&'r str>,
    /// When it expires: milliseconds since 1970-01-01 UTC.
    pub expires_ms: Option<u64>,
    /// Where it was asked for.
    pub ticket: Option<&'r str>,
    /// Its counters.
    pub hits: &'r RuleHits,
}

/// The counters of one rule. They count nothing before the policy is published.
#[derive(Clone, Debug, Default)]
pub struct RuleHits {
    lanes: OnceLock<Arc<[Lane]>>,
}

/// What a rule has done since it was there first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitCount {
    /// Queries that it decided, those that it allowed included.
    pub decided: u64,
    /// Queries that it would have decided, were it not in monitor mode, and those of the action monitor.
    pub monitored: u64,
    /// When the last of both was, in milliseconds since 1970-01-01 UTC.
    pub last_unix_ms: Option<u64>,
}

impl HitCount {
    /// Both kinds.
    pub fn all(&self) -> u64 {
        self.decided.wrapping_add(self.monitored)
    }
}

impl RuleHits {
    /// Bytes that the counters of `rules` rules take, with so many workers.
    pub const fn size_bytes(rules: usize, workers: usize) -> usize {
        let counted = if rules < COUNTED_MAX { rules } else { COUNTED_MAX };
        counted * workers * size_of::<Lane>()
    }

    /// Counts a query that the rule decided. Only the thread of `worker` may call it with that number.
    #[inline]
    pub fn decided(&self, worker: usize, unix_ms: u64) {
        self.count(worker, unix_ms, |lane| &lane.decided);
    }

    /// Counts a query that the rule only watched; as above.
    #[inline]
    pub fn monitored(&self, worker: usize, unix_ms: u64) {
        self.count(worker, unix_ms, |lane| &lane.monitored);
    }

    #[inline]
    fn count(&self, worker: usize, unix_ms: u64, which: impl FnOnce(&Lane) -> &AtomicU64) {
        if let Some(lane) = self.lanes.get().and_then(|lanes| lanes.get(worker)) {
            Lane::add(which(lane));
            lane.last_unix_ms.store(unix_ms, Ordering::Relaxed);
        }
    }

    /// The sum over all workers; `None` for a rule that is not counted.
    pub fn read(&self) -> Option<HitCount> {
        let mut sum = HitCount::default();
        for lane in self.lanes.get()?.iter() {
            sum.decided = sum.decided.wrapping_add(lane.decided.load(Ordering::Relaxed));
            sum.monitored = sum.monitored.wrapping_add(lane.monitored.load(Ordering::Relaxed));
            let last = lane.last_unix_ms.load(Ordering::Relaxed);
            sum.last_unix_ms = sum.last_unix_ms.max((last > 0).then_some(last));
        }
        Some(sum)
    }

    /// Whether it counts.
    pub fn has_begun(&self) -> bool {
        self.lanes.get().is_some()
    }

    /// Begins to count: goes on with what `before` has, the rule of the same id, or from nothing with a lane for each
    /// worker. Without an effect where it counts already.
    pub fn begin(&self, workers: usize, before: Option<&Self>) {
        self.lanes.get_or_init(|| {
            let known = before.and_then(|before| before.lanes.get()).map(Arc::clone);
            known.unwrap_or_else(|| (0..workers).map(|_| Lane::default()).collect())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_summed_and_a_successor_goes_on() {
        let first = RuleHits::default();
        first.decided(0, 5);
        assert_eq!(first.read(), None, "nothing counts before it is published");
        first.begin(2, None);
        assert_eq!(first.read(), Some(HitCount::default()));
        first.decided(0, 10);
        first.decided(1, 30);
        first.monitored(1, 20);
        first.decided(2, 99);
        let expected = HitCount { decided: 2, monitored: 1, last_unix_ms: Some(20) };
        assert_eq!(first.read(), Some(expected), "the last of a lane is the last that it saw");
        let second = RuleHits::default();
        second.begin(2, Some(&first));
        first.decided(0, 40);
        second.decided(1, 50);
        assert_eq!(
            second.read(),
            Some(HitCount { decided: 4, monitored: 1, last_unix_ms: Some(50) }),
            "nothing is lost"
        );
        assert_eq!(second.read().map(|count| count.all()), Some(5));
        second.begin(2, None);
        assert_eq!(second.read().map(|count| count.decided), Some(4), "it begins once");
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(RuleHits::size_bytes(3, 2), 3 * 2 * 64);
        assert_eq!(RuleHits::size_bytes(usize::MAX, 8), COUNTED_MAX * 8 * 64);
    }
}
