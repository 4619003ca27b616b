//! Who comes most often, in fixed memory: the Space-Saving summary of Metwally, Agrawal and El Abbadi ("Efficient
//! Computation of Frequent and Top-k Elements in Data Streams", 2005), over weighted counts that fade.
//!
//! With room for `k` keys and a total weight of `n` a key's estimate exceeds its true weight by at most its `error`, which is
//! at most `n / k`, and every key with more than `n / k` is in it. Fading all counts by one factor keeps both true of the
//! faded weights.
//!
//! Keys may be long, and where most are new each one goes all the way down the heap: so that only weights are moved there,
//! and what belongs to a key stays where it is.

use crate::sys::keys::unguessable;
use ahash::RandomState;
use std::collections::HashMap;
use std::hash::Hash;

/// A key in the summary.
#[derive(Clone, Debug)]
struct Slot<K, V> {
    key: K,
    /// Where its weight is in the heap.
    place: usize,
    error: f64,
    account: V,
}

/// The weight of a key, and in which slot that is.
#[derive(Clone, Copy, Debug)]
struct Weight {
    weight: f64,
    slot: usize,
}

/// A key as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Hitter<'h, K, V> {
    /// Who or what.
    pub key: &'h K,
    /// Its weight, or more.
    pub weight: f64,
    /// How much more at most.
    pub error: f64,
    /// What was noted of it since it came in; not of the key whose place it took.
    pub account: &'h V,
}

/// What is noted of a key beside its weight.
pub trait Account: Default {
    /// Fades everything that was noted to `factor` of it.
    fn fade(&mut self, factor: f64);
}

impl Account for () {
    fn fade(&mut self, _: f64) {}
}

/// The summary: room for so many keys, all of it taken from the start.
#[derive(Debug)]
pub struct Hitters<K, V = ()> {
    /// In no order.
    slots: Vec<Slot<K, V>>,
    /// A heap with the least weight at its top.
    heap: Vec<Weight>,
    /// In which slot each key is.
    known: HashMap<K, usize, RandomState>,
    capacity: usize,
    total: f64,
}

impl<K: Clone + Eq + Hash, V: Account> Hitters<K, V> {
    /// Room for `capacity` keys, at least one. The hash is keyed at random: keys are the attacker's to choose.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        // Twice the room, so that removals never make it grow.
        let known = HashMap::with_capacity_and_hasher(2 * capacity, unguessable());
        let (slots, heap) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { slots, heap, known, capacity, total: 0.0 }
    }

    /// Bytes that a summary of `capacity` keys takes, about.
    pub const fn size_bytes(capacity: usize) -> usize {
        // The table has at most 8 places for 7 keys, and is a power of two.
        let places = (2 * capacity * 8 / 7).next_power_of_two();
        capacity * (size_of::<Slot<K, V>>() + size_of::<Weight>()) + places * (size_of::<(K, usize)>() + 1)
    }

    /// Adds `weight` to `key`, and returns its account. A key that is not there takes the place of the lightest, and its
    /// weight as its error. O(log capacity).
    pub fn add(&mut self, key: &K, weight: f64) -> &mut V {
        self.total += weight;
        let at = match self.known.get(key) {
            Some(&slot) => self.slots[slot].place,
            None if self.slots.len() < self.capacity => {
                let slot = self.slots.len();
                self.slots.push(Slot { key: key.clone(), place: slot, error: 0.0, account: V::default() });
                self.heap.push(Weight { weight: 0.0, slot });
                self.known.insert(key.clone(), slot);
                self.rise(slot)
            }
            None => {
                let Weight { weight: least, slot } = self.heap[0];
                self.known.remove(&self.slots[slot].key);
                self.slots[slot] = Slot { key: key.clone(), place: 0, error: least, account: V::default() };
                self.known.insert(key.clone(), slot);
                0
            }
        };
        let slot = self.heap[at].slot;
        self.heap[at].weight += weight;
        self.sink(at);
        &mut self.slots[slot].account
    }

    /// Fades all weights to `factor` of them, and forgets what has faded below `floor`. O(capacity).
    pub fn fade(&mut self, factor: f64, floor: f64) {
        self.total *= factor;
        for slot in &mut self.slots {
            slot.error *= factor;
            slot.account.fade(factor);
        }
        self.heap.iter_mut().for_each(|weight| weight.weight *= factor);
        let faded = self.heap.iter().filter(|weight| weight.weight < floor).count();
        for _ in 0..faded {
            self.forget_least();
        }
    }

    /// The sum of all weights that were added, faded.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The keys in it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Hitter<'_, K, V>> {
        self.slots.iter().map(|Slot { key, place, error, account }| Hitter {
            key,
            weight: self.heap[*place].weight,
            error: *error,
            account,
        })
    }

    /// The heaviest `count`, heaviest first. Ordered by what is certain, weight less error: a key that has just taken the
    /// place of a heavier one is not a hitter for that.
    pub fn top(&self, count: usize) -> Vec<Hitter<'_, K, V>> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by(|a, b| (b.weight - b.error).total_cmp(&(a.weight - a.error)));
        all.truncate(count);
        all
    }

    fn forget_least(&mut self) {
        let (slot, last) = (self.heap[0].slot, self.heap.len() - 1);
        self.swap(0, last);
        self.heap.pop();
        self.sink(0);
        let forgotten = self.slots.swap_remove(slot);
        self.known.remove(&forgotten.key);
        // The last one has taken its place.
        if let Some(moved) = self.slots.get(slot) {
            self.heap[moved.place].slot = slot;
            if let Some(known) = self.known.get_mut(&moved.key) {
                *known = slot;
            }
        }
    }

    fn rise(&mut self, mut at: usize) -> usize {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent].weight <= self.heap[at].weight {
                break;
            }
            self.swap(at, parent);
            at = parent;
        }
        at
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(child) = self.heap.get(left) else { return };
            let lighter = match self.heap.get(right) {
                Some(other) if other.weight < child.weight => right,
                _ => left,
            };
            if self.heap[at].weight <= self.heap[lighter].weight {
                return;
            }
            self.swap(at, lighter);
            at = lighter;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for at in [a, b] {
            self.slots[self.heap[at].slot].place = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(stream: &[(u8, u16)]) -> HashMap<u8, f64> {
        let mut sums = HashMap::new();
        stream.iter().for_each(|(key, weight)| *sums.entry(*key).or_default() += f64::from(*weight));
        sums
    }

    /// The slots, the heap and the table tell of each other.
    fn assert_in_order(hitters: &Hitters<u8>) {
        assert_eq!([hitters.slots.len(), hitters.known.len()], [hitters.heap.len(); 2]);
        for (at, Weight { weight, slot }) in hitters.heap.iter().enumerate() {
            assert!(at == 0 || hitters.heap[(at - 1) / 2].weight <= *weight, "{at} is lighter than what is above it");
            assert_eq!(hitters.slots[*slot].place, at);
            assert_eq!(hitters.known[&hitters.slots[*slot].key], *slot);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_goes_and_fades_it_stays_in_order(
            stream in prop::collection::vec((0u8..60, 1u16..100, 0u8..8), 1..400),
            capacity in 1usize..40,
        ) {
            let mut hitters: Hitters<u8> = Hitters::new(capacity);
            for (key, weight, what) in stream {
                if what == 0 {
                    hitters.fade(0.3, 20.0);
                } else {
                    hitters.add(&key, f64::from(weight));
                }
                assert_in_order(&hitters);
            }
        }

        #[test]
        fn estimates_keep_the_bounds_of_the_paper(
            stream in prop::collection::vec((0u8..60, 1u16..100), 1..600),
            capacity in 1usize..40,
        ) {
            let mut hitters: Hitters<u8> = Hitters::new(capacity);
            for (key, weight) in &stream {
                hitters.add(key, f64::from(*weight));
            }
            let sums = exact(&stream);
            let total: f64 = sums.values().sum();
            prop_assert!((hitters.total() - total).abs() < 1e-6);
            let bound = total / capacity as f64;
            let mut found = 0;
            for Hitter { key, weight, error, .. } in hitters.iter() {
                found += 1;
                let truth = sums[key];
                prop_assert!(weight >= truth - 1e-6, "{weight} is less than {truth}");
                prop_assert!(weight - error <= truth + 1e-6, "{weight} - {error} is more than {truth}");
                prop_assert!(error <= bound + 1e-6, "an error of {error} with a bound of {bound}");
            }
            prop_assert!(found <= capacity);
            for (key, truth) in &sums {
                let there = hitters.iter().any(|hitter| hitter.key == key);
                prop_assert!(there || *truth <= bound + 1e-6, "{key} with {truth} of {total} is missing");
            }
            let sum: f64 = hitters.iter().map(|hitter| hitter.weight).sum();
            prop_assert!((sum - total).abs() < 1e-6, "weights add up to the total");
        }

        #[test]
        fn fading_keeps_the_order_and_forgets_what_is_gone(
            stream in prop::collection::vec((0u8..60, 1u16..100), 1..300),
            fades in 0usize..20,
        ) {
            let (mut faded, mut plain): (Hitters<u8>, Hitters<u8>) = (Hitters::new(100), Hitters::new(100));
            for (key, weight) in &stream {
                faded.add(key, f64::from(*weight));
                plain.add(key, f64::from(*weight));
            }
            (0..fades).for_each(|_| faded.fade(0.5, 0.25));
            let factor = 0.5f64.powi(fades as i32);
            let kept: HashMap<_, _> = faded.iter().map(|hitter| (*hitter.key, hitter.weight)).collect();
            for hitter in plain.iter() {
                match kept.get(hitter.key) {
                    Some(weight) => prop_assert!((weight - hitter.weight * factor).abs() < 1e-9),
                    None => prop_assert!(hitter.weight * factor < 0.25),
                }
            }
            assert_in_order(&faded);
            for key in 0..60u8 {
                let before = kept.get(&key).copied().unwrap_or(0.0);
                faded.add(&key, 1.0);
                let after = faded.iter().find(|hitter| *hitter.key == key).map(|hitter| hitter.weight);
                prop_assert_eq!(after, Some(before + 1.0));
            }
        }
    }

    #[test]
    fn memory_does_not_grow_with_keys() {
        let mut hitters: Hitters<u64> = Hitters::new(64);
        let room = (hitters.slots.capacity(), hitters.known.capacity());
        for key in 0..200_000 {
            hitters.add(&key, 1.0);
            if key % 1_000 == 0 {
                hitters.fade(0.9, 0.5);
            }
        }
        // A hash table tells less room while it remembers where keys were, and clears that in place.
        assert!(hitters.slots.capacity() == room.0 && hitters.known.capacity() <= room.1);
        assert!(hitters.slots.len() <= 64 && hitters.known.len() == hitters.slots.len());
    }

    #[test]
    fn a_newcomer_does_not_lead_by_the_weight_it_inherits() {
        let mut hitters: Hitters<u8> = Hitters::new(2);
        hitters.add(&1, 100.0);
        hitters.add(&2, 90.0);
        hitters.add(&3, 1.0);
        assert_eq!(hitters.top(2).iter().map(|hitter| *hitter.key).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(hitters.top(2)[1].weight - hitters.top(2)[1].error, 1.0);
    }
}
