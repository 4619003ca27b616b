//! Samples of what is asked, on their way from the workers to the control side, which makes out who and what is behind
//! the load. A worker pays a subtraction for a query that is not taken; what is taken carries the number of queries that it
//! stands for. Summaries kept by the workers themselves would cost several hash-table updates for each query and have to be
//! merged over cores; a sample costs about 100 ns a few thousand times a second, whatever the load.

use crate::clock::Moment;
use crate::dns::name::Name;
use crate::verdict::{Outcome, Reason};
use crossbeam_queue::ArrayQueue;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the gap between samples is fitted to the load.
const WINDOW: Duration = Duration::from_millis(100);

/// [`WINDOW`]s in a second.
const WINDOWS: u32 = 10;

/// The widest mean gap: more than a worker can do in a window at one sample in it.
const GAP_MAX: u32 = 1 << 16;

/// One query, standing for `weight`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many queries it stands for.
    pub weight: u32,
    /// Who asked.
    pub client: IpAddr,
    /// Whether that address is known to be the asker's own: over TCP, or by a valid cookie.
    pub verified: bool,
    /// Whether it was known before that query: it has asked often enough, or has proved its address.
    pub known: bool,
    /// It came over TCP.
    pub tcp: bool,
    /// An ordinary question of class IN: no transfer, NOTIFY or UPDATE, and nothing unreadable.
    pub asks: bool,
    /// The name asked for; the root for what could not be read.
    pub name: Name,
    /// The type asked for; 0 for what could not be read.
    pub qtype: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// What decided.
    pub reason: Reason,
    /// Bytes of the query.
    pub received: u16,
    /// What was noted on the way.
    pub trace: Trace,
}

/// What is noted on a query's way, to go with its sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Bytes of the answer sent; 0 for none.
    pub sent: u16,
    /// Bytes of the answer before anything shortened or withheld it; 0 when it was not known.
    pub whole: u16,
    /// A limit that monitor mode did not hold.
    pub monitored: Option<Reason>,
}

/// The queue of samples: of fixed size, lock-free, shared by all workers.
#[derive(Debug)]
pub struct Samples {
    queue: ArrayQueue<Sample>,
    capacity: usize,
    lost: AtomicU64,
}

impl Samples {
    /// A queue for `capacity` samples, allocated now; with 0 nothing is sampled.
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity.max(1)), capacity, lost: AtomicU64::new(0) }
    }

    /// Bytes that a queue of `capacity` takes, about.
    pub const fn size_bytes(capacity: usize) -> usize {
        capacity * (size_of::<Sample>() + size_of::<usize>())
    }

    /// Whether anybody wants samples.
    pub fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// Queues a sample, or counts it as lost.
    pub fn push(&self, sample: Sample) {
        if self.queue.push(sample).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<Sample> {
        self.queue.pop()
    }

    /// Samples that found no room: the control side did not keep up.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Chooses which of a worker's queries are sampled: at random, so that nobody who knows the rule can stay between two
/// samples, and with a mean gap that follows the load. Every query's chance is one in the gap, so that weights add up to
/// the number of queries in the mean.
#[derive(Debug)]
pub struct Sampler {
    /// Queries until the next is taken, that one included.
    left: u32,
    /// The mean gap with which `left` was drawn.
    gap: u32,
    /// Samples and the queries they stand for in the window that ends at `window_end`.
    taken: u32,
    stood_for: u64,
    window_end: Moment,
    random: u64,
    trace: Trace,
    /// Samples that are taken in a [`WINDOW`], about; 0: none.
    per_window: u32,
}

impl Sampler {
    /// A sampler whose choices follow from `seed`, and that takes about `per_second`; 0: nothing.
    pub fn new(seed: u64, per_second: u32) -> Self {
        let random = seed | 1;
        let (trace, window_end) = (Trace::default(), Moment::ZERO);
        let mut sampler = Self { left: 1, gap: 1, taken: 0, stood_for: 0, window_end, random, trace, per_window: 0 };
        sampler.set_rate(per_second);
        sampler
    }

    /// Takes about `per_second` from here on; 0: nothing.
    pub fn set_rate(&mut self, per_second: u32) {
        self.per_window = per_second.div_ceil(WINDOWS);
        self.left = if per_second == 0 { u32::MAX } else { self.left.min(2 * self.gap) };
    }

    /// Notes the bytes of the answer of the query at hand, before limits.
    #[inline]
    pub fn will_answer(&mut self, len: usize) {
        self.trace.whole = u16::try_from(len).unwrap_or(u16::MAX);
    }

    /// Notes the bytes that were sent for the query at hand.
    #[inline]
    pub fn answered(&mut self, len: usize) {
        self.trace.sent = u16::try_from(len).unwrap_or(u16::MAX);
    }

    /// Notes a limit that monitor mode did not hold.
    #[inline]
    pub fn monitored(&mut self, reason: Reason) {
        self.trace.monitored = Some(reason);
    }

    /// The end of a query: its weight and trace when it is to be sampled.
    #[inline]
    pub fn turn(&mut self, at: Moment) -> Option<(u32, Trace)> {
        let trace = std::mem::take(&mut self.trace);
        self.left -= 1;
        if self.left > 0 { None } else { self.take(at).map(|weight| (weight, trace)) }
    }

    #[cold]
    fn take(&mut self, at: Moment) -> Option<u32> {
        if self.per_window == 0 {
            self.left = u32::MAX;
            return None;
        }
        let weight = self.gap;
        if at >= self.window_end {
            // What the last window saw, were it to take its share only; a pause ends with every query taken.
            let paused = at.since(self.window_end) >= WINDOW;
            let seen = if paused { 0 } else { self.stood_for };
            self.gap = u32::try_from(seen / u64::from(self.per_window)).unwrap_or(GAP_MAX).clamp(1, GAP_MAX);
            (self.taken, self.stood_for) = (0, 0);
            self.window_end = at.plus(WINDOW);
        } else if self.taken >= self.per_window {
            // Far more than in the window before: half as many from here on, and again.
            self.gap = (self.gap * 2).min(GAP_MAX);
            self.taken = self.per_window / 2;
        }
        self.taken += 1;
        self.stood_for += u64::from(weight);
        // Uniform over 1..2*gap, whose mean is the gap.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let range = 2 * u64::from(self.gap) - 1;
        self.left = 1 + ((u128::from(self.random) * u128::from(range)) >> 64) as u32;
        Some(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + micros * 1_000)
    }

    /// The samples of `count` queries that come every `every_us` from `from_us` on, and the sum of their weights.
    fn run(sampler: &mut Sampler, from_us: u64, every_us: u64, count: u64) -> (u64, u64) {
        let weights: Vec<_> =
            (0..count).filter_map(|n| sampler.turn(at(from_us + n * every_us))).map(|(weight, _)| weight).collect();
        (weights.len() as u64, weights.iter().map(|weight| u64::from(*weight)).sum())
    }

    #[test]
    fn weights_add_up_to_the_queries_and_samples_stay_few() {
        for seed in [1, 7, 0xdead_beef] {
            let mut sampler = Sampler::new(seed, 4_000);
            // 1000, then 200 000, then 1000 queries a second for two seconds each.
            let (taken, stood_for) = run(&mut sampler, 0, 1_000, 2_000);
            assert!((1_990..=2_010).contains(&stood_for), "seed {seed}: {stood_for} of 2000");
            assert!(taken > 1_900, "seed {seed}: a quiet gateway takes nearly every query, not {taken} of 2000");
            let (taken, stood_for) = run(&mut sampler, 2_000_000, 5, 400_000);
            assert!((380_000..=420_000).contains(&stood_for), "seed {seed}: {stood_for} of 400000");
            assert!((6_000..=12_000).contains(&taken), "seed {seed}: {taken} samples in two seconds");
            let (taken, stood_for) = run(&mut sampler, 4_000_000, 1_000, 2_000);
            assert!((1_800..=2_200).contains(&stood_for), "seed {seed}: {stood_for} of 2000");
            assert!(taken > 1_500, "seed {seed}: {taken} after the load has gone");
        }
    }

    #[test]
    fn a_trace_goes_with_its_query_only() {
        let mut sampler = Sampler::new(1, 4_000);
        sampler.will_answer(100_000);
        sampler.answered(40);
        sampler.monitored(Reason::Rrl);
        let (weight, trace) = sampler.turn(at(0)).expect("the first is taken");
        assert_eq!((weight, trace), (1, Trace { sent: 40, whole: u16::MAX, monitored: Some(Reason::Rrl) }));
        let (_, trace) = (1..10).find_map(|n| sampler.turn(at(n))).expect("a quiet gateway takes every query");
        assert_eq!(trace, Trace::default());
    }

    #[test]
    fn without_a_reader_nothing_is_taken() {
        let mut sampler = Sampler::new(1, 0);
        assert_eq!(run(&mut sampler, 0, 1, 10_000), (0, 0));
        sampler.set_rate(1_000);
        let (taken, stood_for) = run(&mut sampler, 1_000_000, 1_000, 2_000);
        assert!(stood_for.abs_diff(2_000) < 100 && taken > 1_500, "turned on: {taken} samples for {stood_for}");
        sampler.set_rate(0);
        assert_eq!(run(&mut sampler, 4_000_000, 1_000, 2_000).0, 0, "turned off again");
    }
}
