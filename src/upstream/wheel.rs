//! Timers in fixed memory: a wheel of intrusive lists, because every query in flight has one and few ever fire.

use crate::clock::Moment;
use std::time::Duration;

const NONE: u32 = u32::MAX;

/// Width of a bucket; a timer fires at most this much late.
const STEP: Duration = Duration::from_millis(8);

/// Buckets; timers further away than STEP * BUCKETS (4 s) are looked at once a turn and put back.
const BUCKETS: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Node {
    due: Moment,
    prev: u32,
    next: u32,
    /// Bucket that it hangs in, or NONE.
    bucket: u32,
}

/// Timers for the numbers below a fixed bound.
#[derive(Debug)]
pub struct Wheel {
    nodes: Box<[Node]>,
    heads: Box<[u32]>,
    /// The next step to look at.
    step: u64,
    /// Timers that are set.
    armed: usize,
}

impl Wheel {
    /// A wheel for timers `0..timers_max`.
    pub fn new(timers_max: usize) -> Self {
        let node = Node { due: Moment::ZERO, prev: NONE, next: NONE, bucket: NONE };
        Self {
            nodes: vec![node; timers_max].into_boxed_slice(),
            heads: vec![NONE; BUCKETS].into_boxed_slice(),
            step: 0,
            armed: 0,
        }
    }

    /// Bytes that each timer takes.
    pub const fn bytes_per_timer() -> usize {
        size_of::<Node>()
    }

    /// Sets timer `timer` to fire at `due`, whatever it was set to before. O(1).
    pub fn set(&mut self, timer: u32, due: Moment) {
        self.cancel(timer);
        let step = (due.as_nanos() / STEP.as_nanos() as u64 + 1).max(self.step);
        let bucket = (step % BUCKETS as u64) as u32;
        let head = self.heads[bucket as usize];
        self.nodes[timer as usize] = Node { due, prev: NONE, next: head, bucket };
        if head != NONE {
            self.nodes[head as usize].prev = timer;
        }
        self.heads[bucket as usize] = timer;
        self.armed += 1;
    }

    /// Takes timer `timer` out; nothing happens when it is not set. O(1).
    pub fn cancel(&mut self, timer: u32) {
        let Node { prev, next, bucket, .. } = self.nodes[timer as usize];
        if bucket == NONE {
            return;
        }
        match prev {
            NONE => self.heads[bucket as usize] = next,
            _ => self.nodes[prev as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        self.nodes[timer as usize].bucket = NONE;
        self.armed -= 1;
    }

    /// The next timer that is due at `at`, taken out; `None` when none is. Call until `None`.
    pub fn pop_due(&mut self, at: Moment) -> Option<u32> {
        let last = at.as_nanos() / STEP.as_nanos() as u64;
        // After a long sleep one turn over all buckets sees every timer.
        self.step = self.step.max((last + 1).saturating_sub(BUCKETS as u64));
        while self.step <= last {
            let mut timer = self.heads[(self.step % BUCKETS as u64) as usize];
            while timer != NONE {
                let node = self.nodes[timer as usize];
                if node.due <= at {
                    self.cancel(timer);
                    return Some(timer);
                }
                timer = node.next;
            }
            self.step += 1;
        }
        None
    }

    /// Timers that are set.
    pub fn armed(&self) -> usize {
        self.armed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_nanos(n * 1_000_000)
    }

    fn due(wheel: &mut Wheel, at: Moment) -> Vec<u32> {
        let mut fired: Vec<_> = std::iter::from_fn(|| wheel.pop_due(at)).collect();
        fired.sort_unstable();
        fired
    }

    #[test]
    fn timers_fire_once_never_early_and_at_most_two_steps_late() {
        let mut wheel = Wheel::new(8);
        wheel.set(1, ms(100));
        wheel.set(2, ms(101));
        wheel.set(3, ms(9_000));
        assert!(due(&mut wheel, ms(99)).is_empty());
        assert_eq!(due(&mut wheel, ms(117)), [1, 2]);
        assert!(due(&mut wheel, ms(8_999)).is_empty());
        assert_eq!(due(&mut wheel, ms(9_016)), [3], "further away than one turn");
        assert_eq!(wheel.armed(), 0);
    }

    #[test]
    fn a_timer_set_again_or_cancelled_does_not_fire_at_its_old_time() {
        let mut wheel = Wheel::new(8);
        wheel.set(1, ms(50));
        wheel.set(1, ms(200));
        wheel.set(2, ms(50));
        wheel.cancel(2);
        wheel.cancel(2);
        assert!(due(&mut wheel, ms(100)).is_empty());
        assert_eq!(due(&mut wheel, ms(216)), [1]);
    }

    #[test]
    fn a_timer_in_the_past_fires_at_the_next_look_and_a_long_sleep_loses_none() {
        let mut wheel = Wheel::new(100);
        assert!(due(&mut wheel, ms(60_000)).is_empty());
        wheel.set(7, ms(10));
        assert_eq!(due(&mut wheel, ms(60_016)), [7]);
        (0..100).for_each(|n| wheel.set(n, ms(60_000 + u64::from(n) * 100)));
        assert_eq!(due(&mut wheel, ms(3_600_000)).len(), 100);
    }

    #[test]
    fn random_use_agrees_with_a_sorted_list() {
        use rand::rngs::StdRng;
        use rand::{RngExt, SeedableRng};
        let seed = 7;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut wheel = Wheel::new(64);
        let mut model = [None; 64];
        let mut at = 0;
        for round in 0..20_000 {
            let timer = rng.random_range(0..64u32);
            match rng.random_range(0..4) {
                0 | 1 => {
                    let due = at + rng.random_range(0..10_000);
                    wheel.set(timer, ms(due));
                    model[timer as usize] = Some(due);
                }
                2 => {
                    wheel.cancel(timer);
                    model[timer as usize] = None;
                }
                _ => {
                    at += rng.random_range(0..300);
                    for fired in due(&mut wheel, ms(at)) {
                        let due = model[fired as usize].take().expect("only a set timer fires");
                        assert!(due <= at, "seed {seed} round {round}: early");
                    }
                    let late = model.iter().flatten().find(|due| **due + 16 <= at);
                    assert_eq!(late, None, "seed {seed} round {round}: forgotten at {at}");
                }
            }
        }
    }
}
