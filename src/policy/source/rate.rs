//! A rate with a burst, for which one number is state enough: the time until which what was taken is spoken for. This is
//! the virtual scheduling algorithm of ITU-T I.371 annex A, also known as GCRA.

use crate::clock::Moment;

/// Parts of a nanosecond that times are counted in: at the highest rate, 7680 million a second for a verified /18, two
/// queries are two of them apart. 64 bits of them last for 36 years since the start of the process.
const PARTS: u64 = 16;

/// A moment in parts of a nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(u64);

impl Instant {
    pub(super) fn of(moment: Moment) -> Self {
        Self(moment.as_nanos().saturating_mul(PARTS))
    }
}

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Between two of a steady source.
    interval: u64,
    /// How far ahead of time one may come that is within the burst.
    ahead_max: u64,
}

impl Rate {
    /// `rate` a second and `burst` at once, at least 1 each. As times are whole parts of a nanosecond, the rate is up to
    /// 4 % too generous at its highest, and less than one in ten thousand up to 1.6 million a second.
    pub(super) fn new(rate: u64, burst: u64) -> Self {
        let interval = (1_000_000_000 * PARTS / rate.max(1)).max(1);
        Self { interval, ahead_max: interval.saturating_mul(burst.max(1) - 1) }
    }

    /// The state when one more is taken; `None` when that is over the limit. A state of 0 owes nothing.
    pub(super) fn take(self, Instant(now): Instant, state: u64) -> Option<u64> {
        (state.saturating_sub(now) <= self.ahead_max).then(|| state.max(now).saturating_add(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(rate: Rate, times_ns: impl IntoIterator<Item = u64>) -> usize {
        let mut state = 0;
        let take = |ns: &u64| {
            let next = rate.take(Instant::of(Moment::from_nanos(*ns)), state);
            state = next.unwrap_or(state);
            next.is_some()
        };
        times_ns.into_iter().filter(take).count()
    }

    #[test]
    fn the_burst_goes_at_once_and_the_rate_for_ever() {
        let rate = Rate::new(10, 5);
        assert_eq!(taken(rate, [0; 100]), 5, "also at the start of the process");
        assert_eq!(taken(rate, [SECOND; 100]), 5);
        assert_eq!(taken(rate, (0..1000).map(|n| n * SECOND / 10)), 1000);
        assert_eq!(taken(rate, (0..1000).map(|n| n * SECOND / 100)), 5 + 99, "ten seconds of ten times the rate");
        assert_eq!(taken(Rate::new(0, 0), [SECOND; 10]), 1, "less than one is one");
    }

    #[test]
    fn the_highest_rate_is_within_four_percent() {
        let millionth = |n: u64| n * SECOND / 1_000_000;
        let rate = Rate::new(7_680_000_000, 1);
        let spoken_for = (0..7680).fold(0, |state, _| rate.take(Instant(state), state).unwrap());
        let wanted = millionth(1) * PARTS;
        assert!(spoken_for <= wanted && spoken_for * 100 >= wanted * 96, "{spoken_for} of {wanted}");
    }

    proptest! {
        /// However the queries come: in no stretch of time more than the burst and what the rate gives in it.
        #[test]
        fn no_stretch_has_more_than_it_may(
            per_second in 1u64..2000,
            burst in 1u64..50,
            gaps in prop::collection::vec(0u64..20_000_000, 1..300),
        ) {
            let rate = Rate::new(per_second, burst);
            let (mut state, mut now, mut times) = (0, SECOND, vec![]);
            for gap in gaps {
                now += gap;
                if let Some(next) = rate.take(Instant::of(Moment::from_nanos(now)), state) {
                    state = next;
                    times.push(now);
                }
            }
            for (first, begin) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    // One part of a nanosecond for each, for what the interval is rounded down by.
                    let most = burst as f64 + (end - begin) as f64 * per_second as f64 / SECOND as f64 * 1.0001;
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6, "{first} to {last}");
                }
            }
        }
    }
}
