//! Time as an argument: the core never reads a clock, it is told.
//!
//! Drivers read [`Clock`] once per batch; the simulator makes up its own [`Now`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on a monotonic clock, in nanoseconds since an arbitrary start (the process', or the simulation's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the start of the clock.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// This moment less `duration`, not before the start of the clock.
    pub const fn minus(self, duration: Duration) -> Self {
        let secs = duration.as_secs().saturating_mul(1_000_000_000);
        Self(self.0.saturating_sub(secs).saturating_sub(duration.subsec_nanos() as u64))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `duration`, saturating (the clock lasts 584 years).
    pub const fn plus(self, duration: Duration) -> Self {
        let secs = duration.as_secs().saturating_mul(1_000_000_000);
        Self(self.0.saturating_add(secs).saturating_add(duration.subsec_nanos() as u64))
    }
}

/// What a batch is told about time: the monotonic moment for every limit and deadline, the wall clock for logs,
/// schedules and cookies only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// For limits, deadlines and time to live.
    pub at: Moment,
    /// Milliseconds since 1970-01-01 UTC; may jump, so nothing is measured with it.
    pub unix_ms: u64,
}

/// The process' clock; all threads share one start, so that their moments compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now, one second past [`Moment::ZERO`] so that "never" can be zero.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { start: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        self.read().0
    }

    /// Reads both clocks, and tells the wall clock's time since 1970-01-01 UTC in full: the kernel's stamps are of that
    /// clock.
    pub fn read(&self) -> (Now, Duration) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Now { at: self.moment(), unix_ms: unix.as_millis() as u64 }, unix)
    }

    /// Reads the monotonic clock alone.
    pub fn moment(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_add_and_subtract_without_wrapping() {
        let a = Moment::from_nanos(5);
        assert_eq!(a.plus(Duration::from_secs(1)).as_nanos(), 1_000_000_005);
        assert_eq!(a.since(a.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(Moment::from_nanos(u64::MAX).plus(Duration::MAX).as_nanos(), u64::MAX);
        assert_eq!(a.minus(Duration::from_nanos(2)).as_nanos(), 3);
        assert_eq!(a.minus(Duration::MAX), Moment::ZERO);
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let clock = Clock::start();
        assert!(clock.now().at <= clock.now().at);
    }
}
