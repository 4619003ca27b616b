//! Who floods a worker that is behind: a count of sources in fixed memory, and who of them is to be thinned, how much, and
//! when no longer.
//!
//! The count is Space-Saving's (Metwally et al. 2005): a stranger takes the place of the smallest and inherits its count as
//! its error, so that count minus error is what a source has sent at least, however many forged ones there are beside it.
//! It runs only while the worker is behind or a source is caught: quiet times pay nothing.

use super::sieve::{CAUGHT_MAX, Caught, ONE_IN, source_of};
use crate::clock::Moment;
use std::net::IpAddr;
use std::time::Duration;

/// Sources that are counted: whoever sends over a 64th of what comes is among them.
const COUNTED: usize = 64;

/// The shortest time, and the fewest datagrams, after which anybody is caught.
const WINDOW: Duration = Duration::from_millis(20);
const WINDOW_SEEN: u32 = 256;

/// How often the caught are looked at again; a window is never longer.
const UPKEEP: Duration = Duration::from_millis(250);

/// Caught is who sends so many times its rate, and at least a 32nd of all.
const TIMES: u64 = 10;
const PART: u32 = 32;

/// Let go is who sends under so many times its rate for so many upkeeps.
const QUIET_TIMES: u64 = 4;
const QUIETS: u8 = 4;

#[derive(Clone, Copy, Debug)]
struct Count {
    source: IpAddr,
    count: u32,
    error: u32,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    caught: Caught,
    passed: u32,
    quiets: u8,
    since: Moment,
    /// Datagrams that were queued before.
    queued: u32,
}

/// One worker's flooders.
#[derive(Debug)]
pub(super) struct Heavy {
    counts: Vec<Count>,
    seen: u32,
    window_since: Moment,
    held: Vec<Held>,
    upkeep_at: Moment,
}

/// What a review changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Sources newly caught.
    pub(super) caught: usize,
    /// Sources let go, or thinned more or less than before.
    pub(super) others: usize,
}

impl Heavy {
    pub(super) fn new() -> Self {
        Self {
            counts: Vec::with_capacity(COUNTED),
            seen: 0,
            window_since: Moment::ZERO,
            held: Vec::with_capacity(CAUGHT_MAX),
            upkeep_at: Moment::ZERO,
        }
    }

    /// Whether there is anything to do although the worker keeps up.
    pub(super) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Those to be thinned.
    pub(super) fn caught(&self) -> Vec<Caught> {
        self.held.iter().map(|held| held.caught).collect()
    }

    /// Counts a datagram. Whether it is to be read: of what a source had queued before it was caught, as much as passes
    /// since, else everybody would wait behind it.
    pub(super) fn see(&mut self, client: IpAddr, arrived: Moment) -> bool {
        let source = source_of(client);
        self.seen += 1;
        if let Some(held) = self.held.iter_mut().find(|held| held.caught.source == source) {
            if arrived < held.since {
                held.queued += 1;
                return held.queued.is_multiple_of(held.caught.one_in);
            }
            held.passed += 1;
        } else if let Some(known) = self.counts.iter_mut().find(|known| known.source == source) {
            known.count += 1;
        } else if self.counts.len() < COUNTED {
            self.counts.push(Count { source, count: 1, error: 0 });
        } else if let Some(least) = self.counts.iter_mut().min_by_key(|known| known.count) {
            *least = Count { source, count: least.count + 1, error: least.count };
        }
        true
    }

    /// After each batch: catches and lets go, when it is time to. `rate` is what a source may have each second.
    pub(super) fn review(
        &mut self,
        now: Moment,
        rate: u32,
        behind: bool,
        is_spared: impl Fn(IpAddr) -> bool,
    ) -> Changes {
        let mut changes = Changes::default();
        let elapsed = now.since(self.window_since);
        if elapsed > 2 * UPKEEP {
            // The first batch after a quiet time: what was counted then belongs to no window.
            self.begin_window(now);
        } else if behind && elapsed >= WINDOW && self.seen >= WINDOW_SEEN {
            changes.caught = self.catch(now, elapsed, rate, is_spared);
            self.begin_window(now);
        } else if elapsed >= UPKEEP {
            self.begin_window(now);
        }
        let since_upkeep = now.since(self.upkeep_at);
        if since_upkeep >= UPKEEP {
            changes.others = self.keep_up(since_upkeep, rate);
            self.upkeep_at = now;
        }
        changes
    }

    /// Lets everybody go: the policy has changed its mind.
    pub(super) fn let_all_go(&mut self) -> Changes {
        Changes { caught: 0, others: self.held.drain(..).count() }
    }

    fn begin_window(&mut self, now: Moment) {
        self.counts.clear();
        self.seen = 0;
        self.window_since = now;
    }

    fn catch(&mut self, now: Moment, elapsed: Duration, rate: u32, is_spared: impl Fn(IpAddr) -> bool) -> usize {
        let before = self.held.len();
        for known in &self.counts {
            let least = known.count - known.error;
            let a_second = per_second(least.into(), elapsed);
            let is_heavy = a_second > TIMES * u64::from(rate) && least > self.seen / PART;
            if is_heavy && self.held.len() < CAUGHT_MAX && !is_spared(known.source) {
                let caught = Caught { source: known.source, one_in: one_in(a_second, rate) };
                self.held.push(Held { caught, passed: 0, quiets: 0, since: now, queued: 0 });
            }
        }
        self.held.len() - before
    }

    /// What passed, times what was thinned, is what was sent.
    fn keep_up(&mut self, elapsed: Duration, rate: u32) -> usize {
        let mut changes = 0;
        self.held.retain_mut(|held| {
            let one_of = u64::from(held.caught.one_in);
            let sent = per_second(u64::from(std::mem::take(&mut held.passed)) * one_of, elapsed);
            held.quiets = if sent < QUIET_TIMES * u64::from(rate) { held.quiets + 1 } else { 0 };
            if held.quiets >= QUIETS {
                changes += 1;
                return false;
            }
            let right = u64::from(one_in(sent, rate));
            // Of few datagrams nothing exact can be said: small differences are left alone.
            if held.quiets == 0 && (right > 2 * one_of || right * 4 < one_of) {
                held.caught.one_in = right as u32;
                changes += 1;
            }
            true
        });
        changes
    }
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    count.saturating_mul(1_000_000) / (elapsed.as_micros() as u64).max(1)
}

/// How thin makes about `rate` of what is sent.
fn one_in(a_second: u64, rate: u32) -> u32 {
    let [least, most] = ONE_IN;
    u32::try_from(a_second / u64::from(rate.max(1))).unwrap_or(most).clamp(least, most).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 100;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    fn see(heavy: &mut Heavy, count: usize, source: &str) {
        (0..count).for_each(|_| assert!(heavy.see(source.parse().unwrap(), at(1_000_000))));
    }

    /// A worker that fell behind at 0 and has been flooded by one source and some others for 20 ms.
    fn flooded() -> Heavy {
        let mut heavy = Heavy::new();
        heavy.review(at(0), RATE, true, |_| false);
        see(&mut heavy, 2000, "192.0.2.66");
        for host in 0..200u32 {
            see(&mut heavy, 2, &format!("198.51.100.{host}"));
        }
        heavy
    }

    #[test]
    fn a_flooder_is_caught_and_thinned_to_about_its_rate_and_nobody_else() {
        let mut heavy = flooded();
        assert_eq!(heavy.review(at(19), RATE, true, |_| false), Changes::default(), "too early to say");
        assert_eq!(heavy.review(at(20), RATE, true, |_| false), Changes { caught: 1, others: 0 });
        let source = "192.0.2.66".parse().unwrap();
        assert_eq!(heavy.caught(), [Caught { source, one_in: 1024 }], "100 000 a second");
    }

    #[test]
    fn what_a_flooder_had_queued_is_thinned_too() {
        let mut heavy = flooded();
        heavy.review(at(20), RATE, true, |_| false);
        let (flooder, other) = ("192.0.2.66".parse().unwrap(), "198.51.100.1".parse().unwrap());
        assert_eq!((0..4096).filter(|_| heavy.see(flooder, at(19))).count(), 4, "one in 1024");
        assert!(heavy.see(other, at(19)) && heavy.see(flooder, at(20)));
    }

    #[test]
    fn who_is_spared_or_the_worker_keeping_up_catches_nobody() {
        assert_eq!(flooded().review(at(20), RATE, true, |_| true), Changes::default());
        assert_eq!(flooded().review(at(20), RATE, false, |_| false), Changes::default());
    }

    #[test]
    fn forged_sources_make_nobody_heavy() {
        let mut heavy = Heavy::new();
        heavy.review(at(0), RATE, true, |_| false);
        for number in 0..100_000u32 {
            heavy.see(IpAddr::V4(number.wrapping_mul(2_654_435_761).into()), at(0));
            if number % 100 == 0 {
                see(&mut heavy, 1, "192.0.2.1");
            }
        }
        assert_eq!(heavy.review(at(20), RATE, true, |_| false), Changes::default());
        assert!(heavy.counts.len() <= COUNTED);
    }

    #[test]
    fn a_flood_that_goes_on_stays_thinned_and_one_that_ends_is_let_go() {
        let mut heavy = flooded();
        heavy.review(at(20), RATE, true, |_| false);
        let mut changes = Vec::new();
        for round in 1..=8 {
            // 25 pass in 250 ms while it lasts.
            see(&mut heavy, if round <= 4 { 25 } else { 0 }, "192.0.2.66");
            changes.push(heavy.review(at(20 + 250 * round), RATE, false, |_| false).others);
        }
        assert_eq!(changes, [0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(!heavy.holds_any());
    }

    #[test]
    fn a_flood_that_grows_is_thinned_more() {
        let mut heavy = flooded();
        heavy.review(at(20), RATE, true, |_| false);
        see(&mut heavy, 80, "192.0.2.66");
        heavy.review(at(270), RATE, true, |_| false);
        assert_eq!(heavy.caught()[0].one_in, 4096);
    }

    #[test]
    fn the_least_thinning_is_one_in_two_and_the_most_is_bounded() {
        assert_eq!([1, 100, 1_000, 50_000, u64::MAX].map(|sent| one_in(sent, 100)), [2, 2, 16, 512, 4096]);
    }
}
