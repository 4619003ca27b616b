//! Counters: every query exactly once. Each worker has a ledger of its own and adds with a plain load and store, which
//! costs under a nanosecond where an addition that other cores share costs 5 to 18; who reads sums over the ledgers.

pub mod active;
pub mod alerts;
pub mod hitters;
pub mod journal;
pub mod multitude;
pub mod notices;
pub mod recent;
pub mod samples;
pub mod traffic;
pub mod watch;

use crate::verdict::{Outcome, Reason};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const OUTCOMES: usize = Outcome::ALL.len();
const REASONS: usize = Reason::ALL.len();
const EVENTS: usize = UpstreamEvent::ALL.len();
const COOKIES: usize = CookieEvent::ALL.len();

/// Upstreams that are counted apart; events of slots from here on are not counted. As many as the registry has slots.
pub const SLOTS: usize = 256;

/// Upper bounds of the latency buckets, in microseconds; one more bucket takes what is longer.
pub const LATENCY_BOUNDS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000,
];

const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// The first bucket for what takes so many bits in nanoseconds. From there it is one step at most: no bound is less than
/// twice the one before.
const BUCKET_OF_BITS: [u8; u64::BITS as usize + 1] = {
    let mut buckets = [0; u64::BITS as usize + 1];
    let mut bits = 1;
    while bits < buckets.len() {
        let least = 1 << (bits - 1);
        let mut bucket = 0;
        while bucket < LATENCY_BOUNDS_US.len() && LATENCY_BOUNDS_US[bucket] * 1_000 < least {
            bucket += 1;
        }
        buckets[bits] = bucket as u8;
        bits += 1;
    }
    buckets
};

/// The bucket of so many nanoseconds. "le": it holds what is at most its bound.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    let bucket = usize::from(BUCKET_OF_BITS[(u64::BITS - nanos.leading_zeros()) as usize]);
    bucket + usize::from(LATENCY_BOUNDS_US.get(bucket).is_some_and(|bound| bound * 1_000 < nanos))
}

/// What happened on the way to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UpstreamEvent {
    /// A message was sent.
    Sent,
    /// A response was accepted.
    Answered,
    /// A response with no query waiting for it: late or forged.
    Unmatched,
    /// The question is not the one asked, or in another letter case.
    Mismatched,
    /// Not a well-formed response.
    Malformed,
    /// A datagram larger than the question allowed.
    Oversized,
    /// An attempt ended without an answer.
    Timeout,
    /// Refused or unreachable.
    Unreachable,
}

impl UpstreamEvent {
    /// All events, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Sent,
        Self::Answered,
        Self::Unmatched,
        Self::Mismatched,
        Self::Malformed,
        Self::Oversized,
        Self::Timeout,
        Self::Unreachable,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Answered => "answered",
            Self::Unmatched => "unmatched",
            Self::Mismatched => "mismatched",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What the cookie of a query said, where cookies are ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CookieEvent {
    /// A client cookie alone.
    ClientOnly,
    /// A server cookie that is not ours, or not any more.
    Wrong,
    /// One of ours.
    Valid,
}

impl CookieEvent {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::ClientOnly, Self::Wrong, Self::Valid];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientOnly => "client-only",
            Self::Wrong => "wrong",
            Self::Valid => "valid",
        }
    }
}

/// Who made the answer whose latency is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AnsweredBy {
    /// The gateway itself: cache, policy, errors.
    Gateway,
    /// An upstream, or none in time: queries that waited for one.
    Upstream,
}

impl AnsweredBy {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Gateway, Self::Upstream];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }

    /// Whether a query with this end waited for an upstream. A stale answer does: it is given when nothing came.
    pub fn of(outcome: Outcome, reason: Reason) -> Self {
        match (outcome, reason) {
            (Outcome::CacheStale, Reason::Storm | Reason::Subdomains) => Self::Gateway,
            (Outcome::Forwarded | Outcome::Transferred | Outcome::CacheStale, _)
            | (Outcome::Failed, Reason::Timeout | Reason::Unreachable)
            | (_, Reason::Oversized) => Self::Upstream,
            _ => Self::Gateway,
        }
    }
}

/// A number that one thread adds to and others may read.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// Not an atomic addition: only the thread that owns the ledger adds.
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's counters, on cache lines of its own (two: processors fetch them in pairs). Only its worker adds; an
/// addition by another thread could be lost.
#[derive(Debug)]
#[repr(align(128))]
pub struct Ledger {
    queries: [[[Counter; 2]; REASONS]; OUTCOMES],
    would: [Counter; REASONS],
    cookies: [Counter; COOKIES],
    latency: [[Counter; BUCKETS]; 2],
    latency_ns: [Counter; 2],
    journal_turn: Counter,
    journal_lost: Counter,
    upstream: [[Counter; EVENTS]; SLOTS],
}

impl Default for Ledger {
    fn default() -> Self {
        use std::array::from_fn;
        Self {
            queries: from_fn(|_| from_fn(|_| Default::default())),
            would: Default::default(),
            cookies: Default::default(),
            latency: from_fn(|_| Default::default()),
            latency_ns: Default::default(),
            journal_turn: Counter::default(),
            journal_lost: Counter::default(),
            upstream: from_fn(|_| Default::default()),
        }
    }
}

impl Ledger {
    /// Counts one query; once for each. `took`: from its arrival to its end, when it was known to be a query, and its end
    /// is not still to come.
    pub fn count(&self, outcome: Outcome, reason: Reason, tcp: bool, took: Option<Duration>) {
        self.queries[outcome as usize][reason as usize][usize::from(tcp)].add(1);
        if let Some(took) = took {
            self.took(AnsweredBy::of(outcome, reason), took);
        }
    }

    /// Counts how long a query took that was counted without.
    pub fn took(&self, by: AnsweredBy, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let by = by as usize;
        self.latency[by][bucket_of(nanos)].add(1);
        self.latency_ns[by].add(nanos);
    }

    /// Counts a decision that monitor mode did not take.
    pub fn would(&self, reason: Reason) {
        self.would[reason as usize].add(1);
    }

    /// Counts the cookie of a query.
    pub fn cookie(&self, event: CookieEvent) {
        self.cookies[event as usize].add(1);
    }

    /// Counts an event toward the upstream in a slot. A slot that another upstream takes over goes on counting.
    pub fn upstream(&self, slot: u16, event: UpstreamEvent) {
        if let Some(events) = self.upstream.get(usize::from(slot)) {
            events[event as usize].add(1);
        }
    }

    /// Whether it is the turn of this one among every `sample`; 0 counts as 1.
    fn journal_turn(&self, sample: u32) -> bool {
        let turn = self.journal_turn.read();
        self.journal_turn.add(1);
        // Nearly everybody logs all of them, and a division takes as long as the rest of this.
        sample <= 1 || turn.is_multiple_of(sample.into())
    }
}

/// The sum of several ledgers at one time. Each number is exact; together they may be a query apart, because the workers
/// go on counting.
#[derive(Clone, Debug)]
pub struct Totals {
    queries: [[[u64; 2]; REASONS]; OUTCOMES],
    would: [u64; REASONS],
    cookies: [u64; COOKIES],
    latency: [[u64; BUCKETS]; 2],
    latency_ns: [u64; 2],
    journal_lost: u64,
    upstream: Box<[[u64; EVENTS]]>,
}

impl Totals {
    /// Sums over `ledgers`.
    pub fn of<'l>(ledgers: impl IntoIterator<Item = &'l Ledger>) -> Self {
        let mut totals = Self {
            queries: [[[0; 2]; REASONS]; OUTCOMES],
            would: [0; REASONS],
            cookies: [0; COOKIES],
            latency: [[0; BUCKETS]; 2],
            latency_ns: [0; 2],
            journal_lost: 0,
            upstream: vec![[0; EVENTS]; SLOTS].into_boxed_slice(),
        };
        for ledger in ledgers {
            totals.add(ledger);
        }
        totals
    }

    fn add(&mut self, ledger: &Ledger) {
        let queries = self.queries.as_flattened_mut().as_flattened_mut();
        add_all(queries, ledger.queries.as_flattened().as_flattened());
        add_all(&mut self.would, &ledger.would);
        add_all(&mut self.cookies, &ledger.cookies);
        add_all(self.latency.as_flattened_mut(), ledger.latency.as_flattened());
        add_all(&mut self.latency_ns, &ledger.latency_ns);
        add_all(self.upstream.as_flattened_mut(), ledger.upstream.as_flattened());
        self.journal_lost += ledger.journal_lost.read();
    }

    /// Queries with this end.
    pub fn queries(&self, outcome: Outcome, reason: Reason, tcp: bool) -> u64 {
        self.queries[outcome as usize][reason as usize][usize::from(tcp)]
    }

    /// Queries with this outcome, whatever the reason and the transport.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.queries[outcome as usize].as_flattened().iter().sum()
    }

    /// All queries.
    pub fn all(&self) -> u64 {
        self.queries.as_flattened().as_flattened().iter().sum()
    }

    /// Decisions that monitor mode did not take.
    pub fn would(&self, reason: Reason) -> u64 {
        self.would[reason as usize]
    }

    /// Queries whose cookie said so.
    pub fn cookies(&self, event: CookieEvent) -> u64 {
        self.cookies[event as usize]
    }

    /// Queries in each latency bucket of [`LATENCY_BOUNDS_US`] and, last, over all of them; not cumulated.
    pub fn latency(&self, by: AnsweredBy) -> &[u64] {
        &self.latency[by as usize]
    }

    /// The sum of all latencies.
    pub fn latency_sum(&self, by: AnsweredBy) -> Duration {
        Duration::from_nanos(self.latency_ns[by as usize])
    }

    /// Events toward the upstream in a slot; 0 for a slot that does not exist.
    pub fn upstream(&self, slot: u16, event: UpstreamEvent) -> u64 {
        self.upstream.get(usize::from(slot)).map_or(0, |events| events[event as usize])
    }

    /// Queries that should have been logged, but over the rate or into a full queue.
    pub fn journal_lost(&self) -> u64 {
        self.journal_lost
    }
}

fn add_all(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert!(Outcome::ALL.iter().enumerate().all(|(number, &outcome)| outcome as usize == number));
        assert!(Reason::ALL.iter().enumerate().all(|(number, &reason)| reason as usize == number));
        assert!(UpstreamEvent::ALL.iter().enumerate().all(|(number, &event)| event as usize == number));
        assert!(CookieEvent::ALL.iter().enumerate().all(|(number, &event)| event as usize == number));
        assert_eq!(SLOTS, crate::upstream::LINKS_MAX, "each slot of the registry is counted");
    }

    #[test]
    fn each_query_is_counted_once_under_its_own_end() {
        let ledgers = [Ledger::default(), Ledger::default()];
        for (number, ledger) in ledgers.iter().enumerate() {
            for outcome in Outcome::ALL {
                for reason in Reason::ALL {
                    for _ in 0..=number {
                        ledger.count(outcome, reason, reason == Reason::Access, None);
                    }
                }
            }
        }
        let totals = Totals::of(&ledgers);
        assert_eq!(totals.all(), 3 * (OUTCOMES * REASONS) as u64);
        assert_eq!(totals.outcome(Outcome::Denied), 3 * REASONS as u64);
        assert_eq!(totals.queries(Outcome::Denied, Reason::Filter, false), 3);
        assert_eq!(totals.queries(Outcome::Denied, Reason::Filter, true), 0);
        assert_eq!(totals.queries(Outcome::Dropped, Reason::Access, true), 3);
    }

    #[test]
    fn a_latency_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let ledger = Ledger::default();
        let micros = |us: u64| Some(Duration::from_micros(us));
        for us in [0, 50, 51, 5_000_000, 5_000_001] {
            ledger.count(Outcome::Forwarded, Reason::None, false, micros(us));
        }
        ledger.count(Outcome::Failed, Reason::Timeout, false, micros(1));
        ledger.count(Outcome::CacheHit, Reason::None, false, micros(150));
        ledger.count(Outcome::Failed, Reason::Overload, true, Some(Duration::MAX));
        let totals = Totals::of([&ledger]);
        let upstream = totals.latency(AnsweredBy::Upstream);
        assert_eq!((upstream[0], upstream[1], upstream[15], upstream[16]), (3, 1, 1, 1));
        assert_eq!(totals.latency_sum(AnsweredBy::Upstream), Duration::from_micros(10_000_103));
        let local = totals.latency(AnsweredBy::Gateway);
        assert_eq!((local[2], local[16], local.iter().sum::<u64>()), (1, 1, 2));
    }

    #[test]
    fn a_bucket_is_found_as_if_each_bound_was_looked_at() {
        let around = |nanos: u64| [nanos.saturating_sub(1), nanos, nanos.saturating_add(1)];
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| us * 1_000);
        for nanos in bounds.chain((0..64).map(|bit| 1 << bit)).chain([0, u64::MAX]).flat_map(around) {
            let expected = LATENCY_BOUNDS_US.iter().filter(|us| **us * 1_000 < nanos).count();
            assert_eq!(bucket_of(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn monitor_and_upstream_events_are_apart_from_queries() {
        let ledger = Ledger::default();
        ledger.would(Reason::Rrl);
        ledger.cookie(CookieEvent::Valid);
        ledger.upstream(255, UpstreamEvent::Timeout);
        ledger.upstream(256, UpstreamEvent::Timeout);
        let totals = Totals::of([&ledger]);
        assert_eq!((totals.would(Reason::Rrl), totals.would(Reason::Filter), totals.all()), (1, 0, 0));
        assert_eq!(CookieEvent::ALL.map(|event| totals.cookies(event)), [0, 0, 1]);
        assert_eq!(
            (totals.upstream(255, UpstreamEvent::Timeout), totals.upstream(256, UpstreamEvent::Timeout)),
            (1, 0)
        );
    }
}
