//! All accounts of response-rate limiting in fixed memory, shared by all workers.
//!
//! A set-associative table: a key's hash names a set of four accounts, one cache line; the key is there or takes the
//! place of the account with the smallest debt, and inherits that debt. So a full table limits strangers rather than
//! let everybody pass, and an attacker cannot push out a large debt by creating small ones.

use super::Rate;
use super::class::{Category, ResponseClass};
use crate::clock::Moment;
use ahash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};

/// Accounts of a set: tags and states fill one cache line.
const WAYS: usize = 4;

/// All accounts in fixed memory, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct RrlTable {
    sets: Box<[Set]>,
    pub(super) hasher: RandomState,
}

/// Four accounts. A tag is the key's hash, 0 while the account was never used; the state is an [`Account`]. Two workers
/// may meet here: then a charge may be lost, or land on the account that has just taken the place.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    tags: [AtomicU64; WAYS],
    states: [AtomicU64; WAYS],
}

/// What a charge found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) outcome: Outcome,
    /// The account was not in the table, or idle for longer than the window.
    pub(super) created: bool,
}

/// What one account says about a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Within the rate.
    Within,
    /// Over the rate, and this one's turn to slip.
    Slip,
    /// Over the rate.
    Over,
}

impl RrlTable {
    /// Allocates a table of at most `bytes` (at least one set of 64 bytes); it never grows. `seed` keys the hashes.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let sets = (0..(bytes / size_of::<Set>()).max(1)).map(|_| Set::default()).collect();
        let hasher =
            RandomState::with_seeds(seed, !seed, seed.rotate_left(17), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { sets, hasher }
    }

    /// The memory of all accounts; constant.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// The tag of the account of a client's `network` in a category.
    pub(super) fn tag(&self, network: u128, category: Category, account: u64) -> u64 {
        self.hasher.hash_one((network, account, category as u8)).max(1)
    }

    /// Charges one response to an account, making it when it is not there.
    pub(super) fn charge(&self, tag: u64, now: Moment, rate: &Rate, window: u64, slip: u8) -> Charge {
        let set = self.set(tag);
        let (way, found) = match set.find(tag) {
            Some(way) => (way, true),
            None => (set.least_debt(), false),
        };
        let seen = set.states[way].load(Ordering::Relaxed);
        let now = Account::units(now);
        let before = Account::unpack(seen);
        let (after, outcome) = if found { before } else { before.inherited() }.hit(now, rate, window, slip);
        // When another worker was faster its charge stands and ours is lost.
        let stored = set.states[way].compare_exchange(seen, after.pack(), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !found && stored {
            set.tags[way].store(tag, Ordering::Relaxed);
        }
        Charge { outcome, created: !found || before.tat.saturating_add(window) < now }
    }

    /// Whether the next response of an account would be over its rate; an account that is not there is not.
    pub(super) fn is_over(&self, tag: u64, now: Moment, rate: &Rate) -> bool {
        let set = self.set(tag);
        set.find(tag).is_some_and(|way| {
            Account::unpack(set.states[way].load(Ordering::Relaxed)).tat > Account::units(now) + rate.tolerance()
        })
    }

    fn set(&self, tag: u64) -> &Set {
        let index = (u128::from(tag) * self.sets.len() as u128) >> 64;
        &self.sets[index as usize]
    }
}

impl Set {
    fn find(&self, tag: u64) -> Option<usize> {
        self.tags.iter().position(|held| held.load(Ordering::Relaxed) == tag)
    }

    /// The account to give up: never used, else longest recovered, else of the smallest debt. One rule says all three.
    fn least_debt(&self) -> usize {
        let tat = |way: &usize| Account::unpack(self.states[*way].load(Ordering::Relaxed)).tat;
        (0..WAYS).min_by_key(tat).unwrap_or(0)
    }
}

/// One account: until when its responses are spoken for, and which limited response comes next.
///
/// In one word: 60 bits of time in units of 16 ns, which lasts as long as the clock (584 years), and 4 bits of slip
/// counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    /// The theoretical arrival time, in units; debt is what lies beyond now.
    tat: u64,
    slips: u8,
}

/// The unit of an account's time is 2^4 ns.
const UNIT_BITS: u32 = 4;

/// The units of a second.
pub(super) const SECOND: u64 = 1_000_000_000 >> UNIT_BITS;

impl Account {
    fn units(now: Moment) -> u64 {
        now.as_nanos() >> UNIT_BITS
    }

    fn unpack(state: u64) -> Self {
        Self { tat: state >> UNIT_BITS, slips: (state & 0xf) as u8 }
    }

    fn pack(self) -> u64 {
        self.tat.min(u64::MAX >> UNIT_BITS) << UNIT_BITS | u64::from(self.slips & 0xf)
    }

    /// The debt goes to the newcomer, the place in the row of slips does not.
    fn inherited(self) -> Self {
        Self { slips: 0, ..self }
    }

    /// Charges one response. Unlike GCRA it charges what it refuses too: a steady flood stays limited until it pauses,
    /// where GCRA would let `rate` of it pass for ever. The debt ends at `window`, so that a pause of that length is
    /// always enough.
    fn hit(self, now: u64, rate: &Rate, window: u64, slip: u8) -> (Self, Outcome) {
        let Self { tat, slips } = if self.tat <= now { Self { tat: now, slips: 0 } } else { self };
        let within = tat <= now + rate.tolerance();
        let tat = (tat + rate.interval()).min(now + rate.capacity() + window);
        if within {
            return (Self { tat, slips }, Outcome::Within);
        }
        let outcome = if slips == 0 && slip > 0 { Outcome::Slip } else { Outcome::Over };
        (Self { tat, slips: (slips + 1).checked_rem(slip).unwrap_or(0) }, outcome)
    }
}

impl RrlTable {
    /// The class of a response: what it is counted as, and the account that guards its name's parent.
    pub(super) fn class(&self, category: Category, name: &[u8], qtype: u16, guard: Option<&[u8]>) -> ResponseClass {
        ResponseClass {
            account: self.hasher.hash_one((name, qtype)),
            guard: guard.map_or(0, |parent| self.hasher.hash_one(parent).max(1)),
            category,
        }
    }
}
