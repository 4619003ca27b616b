//! When a feed is looked at next. Time and randomness are arguments.
//!
//! After a success it waits for the feed's own interval, a little less or more, so that a thousand gateways do not ask at
//! the same second. After a failure it waits for a shorter time that doubles, up to that interval. Zones follow their SOA
//! (RFC 1035 section 3.3.13, RFC 1912 section 2.2), within bounds.

use crate::clock::Moment;
use std::time::Duration;

/// The first wait after a failure.
pub const RETRY_FIRST: Duration = Duration::from_secs(10);

/// Between two looks that NOTIFY asks for: forged ones must not become a flood at the primary.
pub const NOTIFY_GAP: Duration = Duration::from_millis(200);

/// The bounds of what a SOA may ask for.
const REFRESH: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(86_400));
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3_600));

/// The part of an interval that chance adds or takes away, in either direction: a tenth.
const SPREAD: u32 = 10;

/// How often something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// After a success.
    pub refresh: Duration,
    /// After the first failure; it doubles with each.
    pub retry: Duration,
}

impl Interval {
    /// That of a list.
    pub fn every(refresh: Duration) -> Self {
        Self { refresh, retry: RETRY_FIRST.min(refresh) }
    }

    /// That of a zone, by refresh and retry of its SOA, in seconds.
    pub fn of_soa(refresh: u32, retry: u32) -> Self {
        let within =
            |seconds: u32, (least, most): (Duration, Duration)| Duration::from_secs(seconds.into()).clamp(least, most);
        Self { refresh: within(refresh, REFRESH), retry: within(retry, RETRY) }
    }
}

/// See above.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When it is looked at next.
    pub next: Moment,
    /// Failures since the last success.
    pub failures: u32,
    /// When a look was begun last.
    begun: Option<Moment>,
    /// Somebody has asked since then.
    asked: Option<Moment>,
}

impl Schedule {
    /// To be looked at from `next` on.
    pub fn starting(next: Moment) -> Self {
        Self { next, failures: 0, begun: None, asked: None }
    }

    /// A look begins.
    pub fn begin(&mut self, now: Moment) {
        (self.begun, self.asked) = (Some(now), None);
    }

    /// It went well.
    pub fn succeeded(&mut self, now: Moment, interval: Interval, random: u64) {
        self.failures = 0;
        self.wait(now.plus(spread(interval.refresh, random)));
    }

    /// It did not.
    pub fn failed(&mut self, now: Moment, interval: Interval, random: u64) {
        let doubled = interval.retry.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.wait(now.plus(spread(doubled.min(interval.refresh.max(interval.retry)), random)));
    }

    /// What was asked for while the last look was under way is not forgotten with it.
    fn wait(&mut self, until: Moment) {
        self.next = self.asked.map_or(until, |asked| asked.min(until));
    }

    /// Somebody says that there is something new: it is looked at as soon as the last look is long enough ago.
    pub fn hurry(&mut self, now: Moment) {
        self.ask(self.begun.map_or(now, |begun| begun.plus(NOTIFY_GAP).max(now)));
    }

    /// Somebody wants it looked at from `at` on.
    pub fn ask(&mut self, at: Moment) {
        self.asked = Some(self.asked.map_or(at, |asked| asked.min(at)));
        self.next = self.next.min(at);
    }
}

/// A tenth more or less.
fn spread(interval: Duration, random: u64) -> Duration {
    let part = interval / SPREAD;
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    interval - part + (2 * part).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn failures_wait_longer_and_longer_and_a_success_forgets_them() {
        let (hour, mut schedule) = (Interval::every(3_600 * SECOND), Schedule::starting(at(0)));
        let half = 1 << 63;
        for wait in [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
            schedule.failed(at(0), hour, half);
            assert_eq!(schedule.next.since(at(0)).as_secs(), wait);
        }
        assert_eq!(schedule.failures, 11);
        schedule.succeeded(at(0), hour, half);
        assert_eq!((schedule.failures, schedule.next), (0, at(3_600)));
        schedule.failed(at(0), hour, half);
        assert_eq!(schedule.next, at(10));
    }

    #[test]
    fn chance_moves_it_by_a_tenth() {
        let mut schedule = Schedule::starting(at(0));
        for (random, seconds) in [(0, 90), (u64::MAX, 110), (1 << 63, 100)] {
            schedule.succeeded(at(0), Interval::every(100 * SECOND), random);
            assert!(schedule.next.since(at(0)).as_secs_f64() - f64::from(seconds) < 0.01, "{random}");
        }
    }

    #[test]
    fn a_soa_is_heard_within_bounds() {
        let of = |refresh, retry| (Interval::of_soa(refresh, retry).refresh, Interval::of_soa(refresh, retry).retry);
        assert_eq!(of(3_600, 600), (3_600 * SECOND, 600 * SECOND));
        assert_eq!(of(0, 0), (30 * SECOND, 10 * SECOND));
        assert_eq!(of(u32::MAX, u32::MAX), (86_400 * SECOND, 3_600 * SECOND));
        let mut schedule = Schedule::starting(at(0));
        schedule.failed(at(0), Interval::of_soa(30, 600), 1 << 63);
        assert_eq!(schedule.next, at(600), "a retry that is longer than the refresh is meant");
    }

    #[test]
    fn what_is_asked_for_during_a_look_has_a_look_of_its_own() {
        let mut schedule = Schedule::starting(at(0));
        schedule.begin(at(10));
        schedule.hurry(at(11));
        schedule.succeeded(at(20), Interval::every(3_600 * SECOND), 0);
        assert_eq!(schedule.next, at(11), "at once");
        schedule.begin(at(20));
        schedule.ask(at(21));
        schedule.failed(at(30), Interval::every(3_600 * SECOND), 0);
        assert_eq!(schedule.next, at(21));
        schedule.begin(at(30));
        schedule.succeeded(at(40), Interval::every(3_600 * SECOND), 1 << 63);
        assert_eq!(schedule.next, at(3_640), "it was done");
    }

    #[test]
    fn a_notify_is_heard_at_once_and_a_flood_of_them_is_not() {
        let mut schedule = Schedule::starting(at(0));
        schedule.begin(at(0));
        schedule.succeeded(at(0), Interval::every(3_600 * SECOND), 0);
        schedule.hurry(at(100));
        assert_eq!(schedule.next, at(100));
        schedule.begin(at(100));
        schedule.succeeded(at(100), Interval::every(3_600 * SECOND), 0);
        schedule.hurry(at(100));
        assert_eq!(schedule.next, at(100).plus(NOTIFY_GAP));
        schedule.hurry(at(101));
        assert_eq!(schedule.next, at(100).plus(NOTIFY_GAP), "it is not put off by another");
    }
}
