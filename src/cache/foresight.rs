//! What look-ups will need of the cache, asked for before they come: of a large one both the bucket and the answer lie in
//! memory, and whoever looks a key up waits for one after the other. The queries of a batch wait together, and eight that wait
//! together wait no longer than one. Hints alone: nothing here waits for a lock or is counted, and a lock that is taken here is
//! held for less long than others try to take it.

use super::index::Index;
use super::{Answers, Cache, Key, shard_of};
use crate::sys::{prefetch, prefetch_address};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// From this size on, in bytes of answers, they and their index do not stay in a core's cache beside all else.
const LARGE: u64 = 512 << 10;

/// The hash of a key, made before it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub(super) u64);

impl KeyHash {
    /// None was made. One key in 2^64 has it, and is hashed anew.
    pub const UNKNOWN: Self = Self(0);

    /// `None` when it was not made.
    #[inline]
    pub fn known(self) -> Option<Self> {
        (self != Self::UNKNOWN).then_some(self)
    }
}

/// Where the buckets of a shard lie, or lay: for those who do not hold the shard, and only ask for memory.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// The address of the first.
    first: AtomicUsize,
    buckets: AtomicU32,
}

impl Whereabouts {
    pub(super) fn note(&self, index: &Index) {
        let (first, buckets) = index.whereabouts();
        self.first.store(first, Ordering::Relaxed);
        self.buckets.store(buckets, Ordering::Relaxed);
    }

    /// Asks for a bucket. Who comes while the index changes may ask for something else.
    #[inline]
    fn fetch(&self, hash: u64) {
        let (first, buckets) = (self.first.load(Ordering::Relaxed), self.buckets.load(Ordering::Relaxed));
        Index::lines_of(hash, first, buckets).into_iter().for_each(prefetch_address);
    }
}

impl Cache {
    /// Whether it holds so much that look-ups wait for memory, and are worth foreseeing.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.is_large.load(Ordering::Relaxed)
    }

    /// The hash of a key.
    #[inline]
    pub fn hash_of(&self, key: &Key<'_>) -> KeyHash {
        KeyHash(self.hash(key))
    }

    /// Hashes a key that will be looked up soon, and asks for the memory of its bucket. To be followed, after the others of a
    /// batch, by [`Self::fetch_foreseen`], and by [`Self::get_foreseen`].
    #[inline]
    pub fn foresee(&self, key: &Key<'_>) -> KeyHash {
        let hash = self.hash(key);
        if let Some(cell) = self.cell(hash) {
            prefetch(&cell.answers);
            cell.whereabouts.fetch(hash);
        }
        KeyHash(hash)
    }

    /// Asks for the answer itself, as far as the bucket says that it may be there; not while another worker holds the shard.
    #[inline]
    pub fn fetch_foreseen(&self, hash: KeyHash) {
        let active = self.active.load(Ordering::Relaxed);
        if let Some(cell) = self.cells.get(shard_of(hash.0, active)).filter(|_| active > 0)
            && let Ok(answers) = cell.answers.try_lock()
            && answers.active == active
        {
            answers.shard.fetch(hash.0);
        }
    }

    /// One that holds nothing and is foreseen all the same.
    #[cfg(test)]
    pub fn said_to_be_large(self) -> Self {
        self.is_large.store(true, Ordering::Relaxed);
        self
    }

    /// Notes how much there is, by one shard: keys are spread evenly over all. Under its lock.
    #[inline]
    pub(super) fn note_size(&self, answers: &Answers) {
        let is_large = answers.shard.counts.bytes * answers.active as u64 > LARGE;
        if is_large != self.is_large() {
            self.is_large.store(is_large, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Made, at, key, name};
    use super::super::{BODY_MAX, Found};
    use super::*;

    fn fill(cache: &Cache, entries: usize) {
        for number in 0..entries {
            let name = name(&format!("host{number}.example"));
            cache.insert(at(1), &key(&name), &Made::new(&key(&name), &[300], 148, number as u64).answer());
        }
    }

    #[test]
    fn it_is_large_by_what_it_holds() {
        let cache = Cache::new(64 << 20, 7, 4);
        let entries = 2 * (LARGE / 216) as usize;
        fill(&cache, entries / 8);
        assert!(!cache.is_large(), "however much it may hold");
        fill(&cache, entries);
        assert!(cache.is_large());
        cache.clear();
        assert!(!cache.is_large());
        fill(&cache, entries);
        cache.resize(at(1), LARGE / 2);
        assert!(!cache.is_large());
        cache.resize(at(1), 64 << 20);
        fill(&cache, entries);
        assert!(cache.is_large());
        cache.resize(at(1), 0);
        assert!(!cache.is_large());
    }

    #[test]
    fn what_is_asked_for_is_where_the_answer_is() {
        let cache = Cache::new(4 << 20, 7, 4);
        fill(&cache, 1000);
        for size in [4 << 20, 1 << 20, 3 << 20] {
            cache.resize(at(1), size);
            for number in 0..1000 {
                let name = name(&format!("host{number}.example"));
                let KeyHash(hash) = cache.hash_of(&key(&name));
                let cell = cache.cell(hash).unwrap();
                let (first, buckets) = (&cell.whereabouts.first, &cell.whereabouts.buckets);
                let lines = Index::lines_of(hash, first.load(Ordering::Relaxed), buckets.load(Ordering::Relaxed));
                let shard = &cell.answers.lock().unwrap().shard;
                assert_eq!(lines, shard.index().addresses(hash));
                let fetched = shard.index().find(hash, |_| true);
                assert!(fetched.is_some());
                assert_eq!(fetched, shard.find(hash, &key(&name)));
            }
        }
    }

    #[test]
    fn nobody_waits_and_nothing_is_counted() {
        let cache = Cache::new(1 << 20, 7, 1);
        let name = name("host0.example");
        let mut out = vec![0; BODY_MAX];
        fill(&cache, 1);
        let held = cache.cells[0].answers.lock().unwrap();
        let hash = cache.foresee(&key(&name));
        cache.fetch_foreseen(hash);
        drop(held);
        assert_eq!(cache.counters().contention, 0);
        assert!(matches!(cache.get_foreseen(at(2), &key(&name), hash, &mut out), Found::Hit(_)));
        let off = Cache::new(0, 7, 1);
        let hash = off.foresee(&key(&name));
        off.fetch_foreseen(hash);
        assert!(matches!(off.get_foreseen(at(2), &key(&name), hash, &mut out), Found::Miss));
    }
}
