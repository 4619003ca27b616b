//! What is told of a flood from very many sources while its strangers are thinned, once a second: how many came, how many
//! of them are not known, from how many sources.

use crate::clock::Moment;
use crate::ledger::alerts::Numbers;
use crate::policy::regulars::Source;
use crate::sys::keys::unguessable;
use ahash::RandomState;
use std::net::IpAddr;
use std::time::Duration;

/// Between two reports; the first comes after half of it.
const PERIOD: Duration = Duration::from_secs(1);
const FIRST: Duration = Duration::from_millis(300);

/// Bits for counting distinct sources (linear counting, Whang et al. 1990): up to about half a million.
const BITS: usize = 1 << 16;

/// What came since the last report.
#[derive(Debug)]
pub(super) struct Rush {
    since: Moment,
    due: Moment,
    seen: u64,
    known: u64,
    dropped: u64,
    bits: Box<[u64]>,
    hasher: RandomState,
}

impl Rush {
    pub(super) fn new() -> Self {
        let bits = vec![0; BITS / 64].into_boxed_slice();
        Self { since: Moment::ZERO, due: Moment::ZERO, seen: 0, known: 0, dropped: 0, bits, hasher: unguessable() }
    }

    pub(super) fn begin(&mut self, now: Moment) {
        self.restart(now, FIRST);
    }

    pub(super) fn note_dropped(&mut self, dropped: u64) {
        self.dropped += dropped;
    }

    pub(super) fn see(&mut self, client: IpAddr, is_known: bool) {
        self.seen += 1;
        if is_known {
            self.known += 1;
            return;
        }
        let bit = self.hasher.hash_one(Source::of(client)) as usize % BITS;
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    /// The report, when it is due.
    pub(super) fn review(&mut self, now: Moment) -> Option<Numbers> {
        if now < self.due {
            return None;
        }
        let micros = (now.since(self.since).as_micros() as u64).max(1);
        let came = self.seen + self.dropped;
        let empty: u32 = self.bits.iter().map(|word| word.count_zeros()).sum();
        let distinct = -(BITS as f64) * (f64::from(empty.max(1)) / BITS as f64).ln();
        let report = Numbers {
            queries: u32::try_from(came.saturating_mul(1_000_000) / micros).unwrap_or(u32::MAX),
            // The kernel drops no regulars, or hardly any.
            bad_permille: (1000 * (came - self.known) / came.max(1)) as u16,
            sources: (distinct.round() as u32).min(u32::try_from(self.seen).unwrap_or(u32::MAX)),
            ..Numbers::default()
        };
        self.restart(now, PERIOD);
        Some(report)
    }

    fn restart(&mut self, now: Moment, period: Duration) {
        (self.since, self.due) = (now, now.plus(period));
        (self.seen, self.known, self.dropped) = (0, 0, 0);
        self.bits.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_report_says_how_many_came_from_how_many() {
        let at = |millis: u64| Moment::from_nanos(1_000_000_000 + millis * 1_000_000);
        let mut rush = Rush::new();
        rush.begin(at(0));
        for n in 0..20_000u32 {
            rush.see(Ipv4Addr::from_bits(n % 10_000).into(), false);
        }
        (0..1_000).for_each(|_| rush.see([192, 0, 2, 1].into(), true));
        rush.note_dropped(79_000);
        assert_eq!(rush.review(at(299)), None);
        let report = rush.review(at(500)).expect("due");
        assert_eq!((report.queries, report.bad_permille), (200_000, 990));
        assert!((9_700..10_300).contains(&report.sources), "{report:?}");
        assert_eq!(rush.review(at(1_499)), None);
        assert_eq!(rush.review(at(1_500)), Some(Numbers::default()), "each counts anew");
    }
}
