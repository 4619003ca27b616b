//! What a listener's task does after a batch: wait for more, read on, or, in a flood that is dropped in silence, let more
//! of it gather first.
//!
//! A flood that a worker keeps up with comes in small batches, and what a batch costs beside its datagrams (two system
//! calls, going to sleep, being woken) is most of its cost. Where nothing of a batch is answered nobody waits for it, so
//! a short sleep makes one batch of several. A query that comes into such a flood waits for the sleep and the larger batch:
//! measured, a tenth of a millisecond. After a batch of which any is answered or asked on, nothing is gathered.

use crate::sys::BATCH;
use std::time::Duration;

/// A batch of so many, all of them dropped, is part of a flood.
const SILENT_LEAST: usize = 8;

/// How long is gathered.
pub(super) const GATHER: Duration = Duration::from_micros(50);

/// So often in a row, until upstreams, connections and the clock get their turns.
const GATHERS_MAX: u32 = 8;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Until something comes: the queue is empty.
    Wait,
    /// What is queued, as soon as all else has had its turn.
    GiveWay,
    /// After [`GATHER`].
    Gather,
    /// The same, with all else before.
    GatherAndGiveWay,
}

/// One listener's flood.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    in_a_row: u32,
}

impl Gatherer {
    /// After a batch of `count`. `silent`: nothing is sent for any of it; `owing`: queries wait for an upstream.
    pub(super) fn judge(&mut self, count: usize, silent: bool, owing: bool) -> Next {
        if count >= BATCH {
            self.in_a_row = 0;
            return Next::GiveWay;
        }
        if !silent || count < SILENT_LEAST {
            self.in_a_row = 0;
            return Next::Wait;
        }
        self.in_a_row += 1;
        if self.in_a_row < GATHERS_MAX && !owing {
            return Next::Gather;
        }
        self.in_a_row = 0;
        Next::GatherAndGiveWay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flood_that_is_dropped_in_silence_is_gathered() {
        let mut gatherer = Gatherer::default();
        assert_eq!(gatherer.judge(SILENT_LEAST - 1, true, false), Next::Wait, "a few");
        assert_eq!(gatherer.judge(BATCH - 1, false, false), Next::Wait, "somebody is answered");
        assert_eq!(gatherer.judge(BATCH, true, false), Next::GiveWay, "there is more already");
        assert_eq!(gatherer.judge(BATCH, false, true), Next::GiveWay);
        assert_eq!(gatherer.judge(SILENT_LEAST, true, false), Next::Gather);
    }

    #[test]
    fn all_else_gets_its_turns() {
        let mut gatherer = Gatherer::default();
        for _ in 0..3 {
            for _ in 1..GATHERS_MAX {
                assert_eq!(gatherer.judge(20, true, false), Next::Gather);
            }
            assert_eq!(gatherer.judge(20, true, false), Next::GatherAndGiveWay);
        }
        assert_eq!(gatherer.judge(20, true, true), Next::GatherAndGiveWay, "an answer may be there");
    }
}
