//! A flood from so many sources that none can be caught: when it is one, and how many strangers a worker has time for.
//!
//! It is one when a worker stays behind with nobody left to catch. Then regulars pass and of strangers a part, which
//! follows the load: less while the worker is still behind, more when it has time left, so that strangers get the capacity
//! that regulars leave and the queue stays short. Behind is a worker whose batches wait, or are all full: where the system
//! grants small buffers they overflow before anything has waited.

use crate::clock::Moment;
use std::time::Duration;

/// The load is looked at so often.
const WINDOW: Duration = Duration::from_millis(50);

/// So long nothing is tried again that did not work.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// Of ten batches so many are full when a worker never gets to the end of its queue.
const FULL_OF_TEN: u32 = 9;

/// The part of strangers that pass: at first at most, and at the least.
const PASS_FIRST: f64 = 0.5;
const PASS_LEAST: f64 = 1.0 / 4096.0;

/// The part of a worker's capacity that is given away at first.
const CAPACITY: f64 = 0.8;

/// What becomes of the part that passes, in a window in which the worker was behind.
const LESS: f64 = 0.7;

/// The same when it read at most so much of what it can: the more is left, the bolder. The last tries whether it can more
/// than it could, and costs little when it cannot.
const MORE: [(f64, f64); 3] = [(0.7, 1.2), (0.9, 1.04), (f64::INFINITY, 1.005)];

/// A queue is becoming shorter when its delay falls by more than this part of the time that passes.
const FALLING: f64 = 0.1;

/// Where of what is read less than this part comes from strangers, thinning them is no way out.
const STRANGERS_LEAST: f64 = 0.25;

/// One batch of datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batch {
    /// How long the oldest has waited.
    pub(super) delay: Duration,
    /// The queue may hold more.
    pub(super) full: bool,
    /// Datagrams that the kernel has dropped on that socket since the batch before.
    pub(super) dropped: u64,
}

/// One worker's crowd.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    window_since: Moment,
    /// When the filters became what they are; what came before says nothing about them.
    changed_at: Moment,
    given_up_until: Moment,
    batches: u32,
    full: u32,
    seen: u64,
    known: u64,
    dropped: u64,
    delay: Duration,
    /// At the end of the window before.
    delay_before: Duration,
    /// What it can read in a second: what it read when it was last behind.
    capacity: f64,
    /// The part of strangers that pass; `None`: all.
    pass: Option<f64>,
    /// Since when, and what passes of those that were queued before, in parts of one.
    begun_at: Moment,
    credit: f64,
}

/// What a review changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// Strangers are thinned from now on.
    Begun,
    /// More or fewer of them pass.
    Other,
    /// All pass again.
    Ended,
}

impl Crowd {
    /// Of strangers so many in 2^32 pass, while they are thinned.
    pub(super) fn pass(&self) -> Option<u32> {
        self.pass.map(|pass| (pass * f64::from(u32::MAX)) as u32)
    }

    /// Takes in a batch.
    pub(super) fn note(&mut self, batch: Batch) {
        self.batches += 1;
        self.full += u32::from(batch.full);
        self.dropped += batch.dropped;
        self.delay = batch.delay;
    }

    /// Counts a datagram.
    pub(super) fn see(&mut self, is_known: bool) {
        self.seen += 1;
        self.known += u64::from(is_known);
    }

    /// Whether a stranger's datagram that came at `arrived` is one of those that pass: of what was queued before the kernel
    /// thinned anything the same part is read, else the regulars would wait behind it.
    pub(super) fn takes(&mut self, arrived: Moment) -> bool {
        let Some(pass) = self.pass.filter(|_| arrived < self.begun_at) else { return true };
        self.credit += pass;
        if self.credit < 1.0 {
            return false;
        }
        self.credit -= 1.0;
        true
    }

    /// After each batch. `behind`: the worker is; `caught`: a flooder was, just now.
    pub(super) fn review(&mut self, now: Moment, behind: bool, caught: bool) -> Change {
        if caught {
            self.changed_at = now;
        }
        let elapsed = now.since(self.window_since);
        // What is read now was queued before the last change; or there was a pause, and what was counted before is old.
        if now.since(self.changed_at) < self.delay || elapsed > 4 * WINDOW {
            self.begin_window(now);
            return Change::None;
        }
        if elapsed < WINDOW {
            return Change::None;
        }
        let change = self.judge(now, elapsed.as_secs_f64(), behind);
        if change != Change::None {
            self.changed_at = now;
        }
        if change == Change::Begun {
            (self.begun_at, self.credit) = (now, 0.0);
        }
        self.begin_window(now);
        change
    }

    /// Lets all pass for a good while: they cannot be thinned.
    pub(super) fn give_up(&mut self, now: Moment) {
        self.pass = None;
        self.given_up_until = now.plus(GIVEN_UP);
    }

    /// Lets all pass: the policy has changed its mind. Whether that changes anything.
    pub(super) fn let_all_pass(&mut self) -> bool {
        self.pass.take().is_some()
    }

    fn begin_window(&mut self, now: Moment) {
        self.window_since = now;
        (self.batches, self.full, self.seen, self.known, self.dropped) = (0, 0, 0, 0, 0);
        self.delay_before = self.delay;
    }

    fn judge(&mut self, now: Moment, seconds: f64, behind: bool) -> Change {
        let is_full = self.batches > 0 && self.full * 10 >= self.batches * FULL_OF_TEN;
        let grows = (self.delay.as_secs_f64() - self.delay_before.as_secs_f64()) / seconds;
        let read = self.seen as f64 / seconds;
        let behind = behind && self.batches > 0;
        if is_full {
            self.capacity = read;
        }
        match self.pass {
            None if behind && is_full && now >= self.given_up_until => self.begin(grows),
            None => Change::None,
            // What is queued has to be read, however few come.
            Some(_) if (is_full || behind) && grows < -FALLING => Change::None,
            Some(pass) => {
                let part = read / self.capacity.max(1.0);
                let more = || MORE.iter().find(|(most, _)| part <= *most).map_or(1.0, |(_, times)| *times);
                let pass = pass * if is_full || behind { LESS } else { more() };
                self.pass = (pass < 1.0).then_some(pass.max(PASS_LEAST));
                if self.pass.is_some() { Change::Other } else { Change::Ended }
            }
        }
    }

    /// As many strangers as there is room for beside the regulars, if they are what the load is made of.
    fn begin(&mut self, grows: f64) -> Change {
        let (seen, known) = (self.seen as f64, self.known as f64);
        if seen - known < STRANGERS_LEAST * seen || grows < -FALLING {
            return Change::None;
        }
        // In a queue that is filling the oldest have waited longer the more come: the delay grows by 1 - read / came.
        let came = (seen / (1.0 - grows.clamp(0.0, 0.95))).max(seen + self.dropped as f64);
        let pass = (CAPACITY * seen - known) / (came - known).max(1.0);
        self.pass = Some(pass.clamp(PASS_LEAST, PASS_FIRST));
        Change::Begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Queries that a worker can read in a millisecond, as many as half a batch.
    const CAPACITY: usize = 32;

    /// A worker with a queue, in steps of a millisecond; the kernel lets pass what it is told to.
    struct Model {
        crowd: Crowd,
        millis: u64,
        /// Whether each that waits is a regular, and since when.
        queue: VecDeque<(bool, u64)>,
        room: usize,
        /// Strangers passed, in parts of one.
        passed: f64,
        /// Strangers and regulars that were read, and regulars lost.
        read: [usize; 2],
        lost: usize,
        changes: Vec<(u64, Change)>,
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    impl Model {
        fn new(room: usize) -> Self {
            let (crowd, queue, changes) = (Crowd::default(), VecDeque::new(), Vec::new());
            Self { crowd, millis: 0, queue, room, passed: 0.0, read: [0; 2], lost: 0, changes }
        }

        /// So many regulars and strangers come each millisecond for so long; counts anew.
        fn run(&mut self, millis: u64, regulars: usize, strangers: usize) -> &mut Self {
            (self.read, self.lost) = ([0; 2], 0);
            for _ in 0..millis {
                self.step(regulars, strangers, false);
            }
            self
        }

        fn step(&mut self, regulars: usize, strangers: usize, caught: bool) {
            self.millis += 1;
            self.passed += strangers as f64 * self.crowd.pass.unwrap_or(1.0);
            let passed = self.passed as usize;
            self.passed -= passed as f64;
            let mut dropped = strangers - passed.min(strangers);
            // In turns, as they would come.
            for i in 0..regulars + passed {
                let is_regular = i * regulars / (regulars + passed) != (i + 1) * regulars / (regulars + passed);
                if self.queue.len() < self.room {
                    self.queue.push_back((is_regular, self.millis));
                } else {
                    dropped += 1;
                    self.lost += usize::from(is_regular);
                }
            }
            let delay = Duration::from_millis(self.queue.front().map_or(0, |(_, since)| self.millis - since));
            let mut left = CAPACITY;
            while left > 0
                && let Some((is_regular, since)) = self.queue.pop_front()
            {
                self.crowd.see(is_regular);
                // What is not taken costs next to nothing.
                if is_regular || self.crowd.takes(at(since)) {
                    self.read[usize::from(is_regular)] += 1;
                    left -= 1;
                }
            }
            let full = !self.queue.is_empty();
            self.crowd.note(Batch { delay, full, dropped: dropped as u64 });
            let now = at(self.millis);
            let overflows = self.crowd.pass.is_none() && dropped > 0;
            match self.crowd.review(now, delay >= Duration::from_millis(10) || overflows, caught) {
                Change::None => {}
                change => self.changes.push((self.millis, change)),
            }
        }

        fn begun(&self) -> Option<u64> {
            self.changes.iter().find(|(_, change)| *change == Change::Begun).map(|(at, _)| *at)
        }
    }

    #[test]
    fn regulars_are_served_and_strangers_get_what_is_left() {
        // A large queue, and one that overflows before anything has waited for long.
        for room in [4_000, 64] {
            let mut model = Model::new(room);
            model.run(1_000, 4, 10);
            assert_eq!(model.changes, [], "it keeps up");
            let begun = model.run(400, 4, 500).begun().expect("it is a flood");
            assert!(begun < 1_150, "room {room}: at {begun} ms");
            let Model { read: [strangers, regulars], lost, .. } = *model.run(4_000, 4, 500);
            assert!(lost * 100 < 16_000, "room {room}: {lost} regulars of 16000 lost, {regulars} read");
            let spare = 4_000 * (CAPACITY - 4);
            assert!(strangers * 10 > spare * 6, "room {room}: {strangers} strangers, where there was room for {spare}");
            model.run(1_000, 4, 10);
            assert!(matches!(model.changes.last(), Some((_, Change::Ended))), "it is over");
            assert_eq!(model.run(1_000, 4, 10).read, [10_000, 4_000], "all pass again");
        }
    }

    #[test]
    fn a_rush_of_regulars_thins_nobody() {
        let mut model = Model::new(4_000);
        model.run(3_000, 60, 4);
        assert_eq!(model.changes, [], "there is nobody to thin who makes the load");
    }

    #[test]
    fn what_a_caught_flooder_has_queued_is_no_crowd() {
        let mut model = Model::new(4_000);
        model.run(1_000, 4, 4);
        for _ in 0..40 {
            model.step(4, 500, false);
        }
        model.step(4, 4, true);
        model.run(1_000, 4, 4);
        assert_eq!(model.changes, []);
    }

    #[test]
    fn what_cannot_be_done_is_not_tried_again_at_once() {
        let mut model = Model::new(4_000);
        model.run(500, 4, 500);
        assert!(model.begun().is_some());
        model.crowd.give_up(at(model.millis));
        model.changes.clear();
        assert_eq!(model.run(50_000, 4, 500).begun(), None);
        assert!(model.run(15_000, 4, 500).begun().is_some());
        assert!(model.crowd.let_all_pass() && !model.crowd.let_all_pass());
    }
}
