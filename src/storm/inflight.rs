//! How many questions for each zone wait for an upstream, over all workers: counted exactly or too high, never too low, in
//! fixed memory, so that no zone is ever over its share however the zones are spread over workers.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// Counters in each row.
const COLUMNS: usize = 8192;

/// Two rows of counters; a zone has one in each, found by different bits of its hash, and holds at most the lesser of both.
#[derive(Debug)]
pub struct InFlight {
    rows: [Box<[AtomicU32; COLUMNS]>; 2],
}

impl Default for InFlight {
    fn default() -> Self {
        // Through a slice, so that they are not made on the stack first.
        let row = || -> Box<[AtomicU32]> { (0..COLUMNS).map(|_| AtomicU32::new(0)).collect() };
        Self { rows: std::array::from_fn(|_| row().try_into().expect("as many as were counted")) }
    }
}

impl InFlight {
    /// Bytes of it.
    pub const SIZE_BYTES: usize = 2 * COLUMNS * size_of::<AtomicU32>();

    /// Takes a place for the zone with this hash; false, and nothing is taken, when it holds `share` already. Two workers
    /// that come at the same time may both be refused the last place.
    pub fn enter(&self, zone: u64, share: u32) -> bool {
        let [first, second] = self.counters(zone);
        // Everyone is in the second row before the first, and who finds the first full looks into the second only then: of
        // share + 1 that are in, the last in the first row sees all others in both. Each row's count as it was at one's own
        // turn would not do: workers may come in another order to either, and one more be let in.
        second.fetch_add(1, Relaxed);
        let within = first.fetch_add(1, AcqRel) < share || second.load(Relaxed) <= share;
        if !within {
            self.leave(zone, 1);
        }
        within
    }

    /// Gives places back.
    pub fn leave(&self, zone: u64, places: u32) {
        for counter in self.counters(zone) {
            counter.fetch_sub(places, Relaxed);
        }
    }

    /// Places that a zone holds, at the most.
    pub fn of(&self, zone: u64) -> u32 {
        let [a, b] = self.counters(zone).map(|counter| counter.load(Relaxed));
        a.min(b)
    }

    /// Places that all zones hold together.
    pub fn total(&self) -> u64 {
        self.rows[0].iter().map(|counter| u64::from(counter.load(Relaxed))).sum()
    }

    fn counters(&self, zone: u64) -> [&AtomicU32; 2] {
        let column = |shift: u32| (zone >> shift) as usize % COLUMNS;
        [&self.rows[0][column(0)], &self.rows[1][column(32)]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_zone_holds_its_share_and_no_more() {
        let inflight = InFlight::default();
        assert_eq!((0..10).filter(|_| inflight.enter(7 << 32 | 5, 3)).count(), 3);
        assert!(inflight.enter(8 << 32 | 5, 3), "a zone with which it has one counter in common is not in its way");
        inflight.leave(7 << 32 | 5, 1);
        assert!(inflight.enter(7 << 32 | 5, 3));
        assert_eq!(inflight.of(7 << 32 | 5), 3);
    }

    #[test]
    fn workers_together_do_not_exceed_a_share() {
        let inflight = Arc::new(InFlight::default());
        let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let worker = || {
            let (inflight, now, most) = (Arc::clone(&inflight), Arc::clone(&now), Arc::clone(&most));
            std::thread::spawn(move || {
                for _ in 0..200_000 {
                    if inflight.enter(42, 2) {
                        most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                        now.fetch_sub(1, Relaxed);
                        inflight.leave(42, 1);
                    }
                }
            })
        };
        let workers: Vec<_> = (0..8).map(|_| worker()).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!((1..=2).contains(&most.load(Relaxed)), "{most:?}");
        assert_eq!((inflight.of(42), inflight.total()), (0, 0));
    }
}
