//! Accounts in fixed memory, shared by all workers: what the limits of [`super::source`] and [`super::rrl`] stand on.
//!
//! A table that grows with its keys is a gift to who forges addresses; one that forgets when it is full lets the flood
//! through. This one does neither: a key's hash names a set of four accounts, one cache line; the key is there, or it
//! takes the place of the account that owes least, and inherits what that one owed. So a full table limits strangers
//! rather than nobody, nobody's debt becomes smaller by others' (the guarantee of the Space-Saving algorithm, Metwally
//! et al. 2005), and small debts cannot push out a large one. An account that owes nothing is free.

use std::sync::atomic::{AtomicU64, Ordering};

/// Accounts of a set.
const WAYS: usize = 4;

/// All accounts.
///
/// A state is a number that grows with the debt; it begins with the time until which the account is spoken for, so that
/// one that recovered long ago is smaller than one that recovered just now, and both smaller than one in debt.
#[derive(Debug)]
pub struct Accounts {
    sets: Box<[Set]>,
}

/// Tags and states of four accounts fill one cache line. A tag is the hash of the key, 0 for a place never used.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    tags: [AtomicU64; WAYS],
    states: [AtomicU64; WAYS],
}

/// A key's account, or the place that it would take.
#[derive(Clone, Copy, Debug)]
pub struct Account<'t> {
    /// The hash of the key, by which it is found again.
    pub tag: u64,
    set: &'t Set,
    way: usize,
    /// Its state, or the state that it would inherit.
    pub state: u64,
    /// The key has this account already.
    pub is_own: bool,
}

impl Accounts {
    /// Allocates accounts of 16 bytes each in at most `bytes` (at least 64); it never grows.
    pub fn new(bytes: usize) -> Self {
        Self { sets: (0..(bytes / size_of::<Set>()).max(1)).map(|_| Set::default()).collect() }
    }

    /// The memory of all accounts; constant.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// The account of the key whose keyed 64-bit hash is `hash`. One cache line.
    #[inline]
    pub fn find(&self, hash: u64) -> Account<'_> {
        let tag = hash.max(1);
        let index = (u128::from(tag) * self.sets.len() as u128) >> 64;
        let set = &self.sets[index as usize];
        let own = set.tags.iter().position(|held| held.load(Ordering::Relaxed) == tag);
        let way = own.unwrap_or_else(|| set.owes_least());
        Account { tag, set, way, state: set.states[way].load(Ordering::Relaxed), is_own: own.is_some() }
    }
}

impl Set {
    /// Apart from the look-up, which mostly has no need of it.
    #[inline(never)]
    fn owes_least(&self) -> usize {
        (0..WAYS).min_by_key(|way| self.states[*way].load(Ordering::Relaxed)).unwrap_or(0)
    }
}

impl Account<'_> {
    /// Writes a new state; a key that had no account has one now. False when another worker wrote first: its charge stands
    /// and this one is lost, unless the caller looks again. In the instants between the two words of an account, a charge
    /// may land on the account that was there before. Neither is worth a lock.
    #[inline]
    pub fn write(self, state: u64) -> bool {
        let place = &self.set.states[self.way];
        let written = place.compare_exchange(self.state, state, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if written && !self.is_own {
            self.set.tags[self.way].store(self.tag, Ordering::Relaxed);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that fall into one set.
    fn rivals(n: u64) -> impl Iterator<Item = u64> {
        1..=n
    }

    #[test]
    fn a_key_keeps_its_account_and_a_stranger_takes_the_smallest_debt() {
        let accounts = Accounts::new(64);
        for (key, debt) in rivals(4).zip([40, 10, 30, 20]) {
            let account = accounts.find(key);
            assert!(!account.is_own && account.state == 0, "free places go first");
            account.write(debt);
        }
        let stranger = accounts.find(5);
        assert_eq!((stranger.is_own, stranger.state), (false, 10), "inherits the smallest debt");
        stranger.write(11);
        assert_eq!((accounts.find(5).is_own, accounts.find(5).state), (true, 11));
        assert_eq!((accounts.find(1).is_own, accounts.find(1).state), (true, 40), "the largest stays");
        let displaced = accounts.find(2);
        assert!(!displaced.is_own && displaced.state >= 10, "who lost its place owes no less than before");
    }

    #[test]
    fn looking_changes_nothing_and_a_lost_race_neither() {
        let accounts = Accounts::new(64);
        let (first, second) = (accounts.find(7), accounts.find(8));
        assert!(!accounts.find(7).is_own);
        first.write(3);
        second.write(9);
        assert_eq!((accounts.find(7).is_own, accounts.find(7).state), (true, 3));
        assert!(!accounts.find(8).is_own, "both wanted the same place; the first has it");
    }

    #[test]
    fn memory_is_what_was_asked_for_and_every_hash_has_a_set() {
        let accounts = Accounts::new(1 << 20);
        assert_eq!(accounts.bytes(), 1 << 20);
        for hash in [0, 1, u64::MAX, u64::MAX / 2, 1 << 63] {
            accounts.find(hash).write(5);
            assert_eq!((accounts.find(hash).is_own, accounts.find(hash).state), (true, 5));
        }
        assert_eq!(Accounts::new(0).bytes(), 64);
    }

    #[test]
    fn workers_that_meet_lose_charges_at_most() {
        const CHARGES: u64 = 20_000;
        let accounts = Accounts::new(64);
        std::thread::scope(|scope| {
            for worker in 0..4u64 {
                let accounts = &accounts;
                // Three keys that all share and one of its own: seven in all, more than a set holds.
                scope.spawn(move || {
                    for turn in 0..CHARGES {
                        let key = if turn % 4 == 3 { 10 + worker } else { 1 + turn % 4 };
                        let account = accounts.find(key);
                        let state = account.state + 1;
                        account.write(state);
                    }
                });
            }
        });
        let states = accounts.sets.iter().flat_map(|set| &set.states).map(|state| state.load(Ordering::Relaxed));
        let charged: u64 = states.sum();
        assert!((CHARGES..=4 * CHARGES).contains(&charged), "{charged} of {} charges stand", 4 * CHARGES);
        assert_eq!(accounts.bytes(), 64);
    }
}
