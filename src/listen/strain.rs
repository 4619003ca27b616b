//! Whether a worker keeps up: it is behind when what it reads has been waiting, and under pressure when that lasts.
//!
//! Delay is the sign, not the length of a queue: a long queue that is short again in a moment is a burst, and bursts are
//! what queues are for (RFC 8289 section 3). The delay of a batch is that of its first datagram, the oldest.

use crate::clock::Moment;
use crate::policy::overload::Pressure;
use std::time::Duration;

/// A delay that no worker has that keeps up.
const TARGET: Duration = Duration::from_millis(10);

/// How long it has to last.
const HOLD: Duration = Duration::from_millis(30);

/// How long there has to be no delay until it is over.
const RELIEF: Duration = Duration::from_millis(500);

/// One worker's delays.
#[derive(Debug, Default)]
pub(super) struct Strain {
    behind_since: Option<Moment>,
    /// While under pressure, since when there is no delay.
    keeps_up_since: Option<Moment>,
    pressure: Pressure,
}

impl Strain {
    /// Takes in the delay of a batch, and whether what came behind it was lost: a small queue overflows before anything
    /// has waited in it. Says what holds now.
    pub(super) fn note(&mut self, now: Moment, delay: Duration, overflows: bool) -> Pressure {
        if delay >= TARGET || overflows {
            self.keeps_up_since = None;
            if now.since(*self.behind_since.get_or_insert(now)) >= HOLD {
                self.pressure = Pressure::Sustained;
            }
            return self.pressure;
        }
        self.behind_since = None;
        if now.since(*self.keeps_up_since.get_or_insert(now)) >= RELIEF {
            self.pressure = Pressure::None;
        }
        self.pressure
    }

    /// Whether the last batch came late.
    pub(super) fn is_behind(&self) -> bool {
        self.behind_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_that_lasts_is_pressure_and_only_a_while_without_ends_it() {
        let mut strain = Strain::default();
        let mut note = |at_ms: u64, delay_ms| {
            strain.note(Moment::from_nanos(at_ms * 1_000_000), Duration::from_millis(delay_ms), false)
                == Pressure::Sustained
        };
        assert!(!note(0, 200), "a burst, or a pause of ours");
        assert!(!note(29, 9), "and it is read");
        assert!(!note(30, 10) && !note(59, 10));
        assert!(note(60, 10));
        assert!(note(70, 0) && note(500, 3));
        assert!(note(510, 15) && note(520, 0), "behind once more");
        assert!(note(1_019, 0));
        assert!(!note(1_020, 0));
    }

    #[test]
    fn a_small_queue_that_overflows_is_pressure_too() {
        let mut strain = Strain::default();
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        assert_eq!(strain.note(at(0), Duration::from_millis(2), true), Pressure::None, "a burst");
        assert!(strain.is_behind());
        assert_eq!(strain.note(at(30), Duration::from_millis(2), true), Pressure::Sustained);
        strain.note(at(31), Duration::from_millis(2), false);
        assert!(!strain.is_behind());
    }
}
