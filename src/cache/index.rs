//! Where entries lie in the ring: buckets of 16 places, allocated once, never rehashed or grown, so that an insert has a
//! bound and a flood of keys in one bucket costs only that bucket.
//!
//! A bucket is two cache lines, 16 tags (32 bits of the hash) and 16 positions, so that most misses touch one line. With
//! one place for every [`RING_PER_PLACE`] bytes of ring a bucket is rarely full before the ring is.

use super::entry::ALIGN;
use crate::sys::prefetch;

/// Places of a bucket.
pub(super) const PLACES: usize = 16;

/// Bytes of ring for each place: entries are seldom shorter than twice this.
pub(super) const RING_PER_PLACE: usize = 96;

const LINE: usize = 64;
const WORDS: usize = 2 * PLACES;

/// Bytes of a bucket.
pub(super) const BUCKET: usize = WORDS * size_of::<u32>();

/// The buckets of one shard.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Buckets, one behind the other: tags, then positions. Plain words because `vec![0; n]` of them takes untouched
    /// pages from the system.
    words: Vec<u32>,
    /// Words before the first bucket, so that buckets begin at cache lines.
    skip: usize,
    buckets: u32,
}

impl Index {
    /// Bytes that an index of `buckets` takes.
    pub(super) const fn bytes(buckets: usize) -> usize {
        buckets * BUCKET + LINE
    }

    /// An empty index.
    pub(super) fn new(buckets: usize) -> Self {
        let Ok(count @ 1..) = u32::try_from(buckets) else { return Self::default() };
        let words = vec![0u32; Self::bytes(buckets) / size_of::<u32>()];
        let past_line = words.as_ptr().addr() % LINE;
        let skip = (LINE - past_line) % LINE / size_of::<u32>();
        Self { words, skip, buckets: count }
    }

    /// Bytes allocated.
    pub(super) fn size(&self) -> usize {
        self.words.capacity() * size_of::<u32>()
    }

    /// Whether it has no place at all.
    pub(super) fn is_off(&self) -> bool {
        self.buckets == 0
    }

    /// The address of the first bucket, and how many there are.
    pub(super) fn whereabouts(&self) -> (usize, u32) {
        (self.words.as_ptr().wrapping_add(self.skip).addr(), self.buckets)
    }

    /// The addresses of the lines of a hash's bucket, among so many of which the first is at `first`.
    #[inline]
    pub(super) fn lines_of(hash: u64, first: usize, buckets: u32) -> [usize; 2] {
        let tags = first.wrapping_add(bucket_among(hash, buckets) as usize * BUCKET);
        [tags, tags.wrapping_add(LINE)]
    }

    /// Where the tags and the positions of a hash's bucket are.
    #[cfg(test)]
    pub(super) fn addresses(&self, hash: u64) -> [usize; 2] {
        let first = self.first(self.bucket_of(hash));
        [first, first + PLACES].map(|word| std::ptr::from_ref(&self.words[word]).addr())
    }

    /// The bucket of a hash.
    pub(super) fn bucket_of(&self, hash: u64) -> u32 {
        bucket_among(hash, self.buckets)
    }

    /// The position whose tag is that of `hash` and which `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let first = self.first(self.bucket_of(hash));
        let (tags, positions) = self.words.get(first..first + WORDS)?.split_at(PLACES);
        // Both lines come at once then, and not the second when the first is there.
        prefetch(&positions[0]);
        let mut left = places_of(tags.first_chunk()?, tag_of(hash));
        while left != 0 {
            let position = *positions.get(left.trailing_zeros() as usize)?;
            if position != 0 && is_it(unpack(position)) {
                return Some(unpack(position));
            }
            left &= left - 1;
        }
        None
    }

    /// Adds an entry. When its bucket is full, the one that `age` calls the oldest (smallest) leaves and is returned.
    pub(super) fn add(&mut self, hash: u64, at: usize, age: impl Fn(usize) -> usize) -> Option<usize> {
        let first = self.first(self.bucket_of(hash));
        let (tags, positions) = self.words[first..first + WORDS].split_at_mut(PLACES);
        let free = places_of(positions.first_chunk()?, 0);
        let place = match free {
            0 => (0..PLACES).min_by_key(|&place| age(unpack(positions[place])))?,
            _ => free.trailing_zeros() as usize,
        };
        let left = positions[place];
        tags[place] = tag_of(hash);
        positions[place] = pack(at);
        (left != 0).then(|| unpack(left))
    }

    /// Removes the entry that lies at `at` from its bucket.
    pub(super) fn remove(&mut self, bucket: u32, at: usize) {
        self.replace(bucket, at, 0);
    }

    /// The entry of `bucket` that lay at `from` lies at `to` now.
    pub(super) fn moved(&mut self, bucket: u32, from: usize, to: usize) {
        self.replace(bucket, from, pack(to));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }

    fn replace(&mut self, bucket: u32, at: usize, position: u32) {
        let first = self.first(bucket) + PLACES;
        let positions = &mut self.words[first..first + PLACES];
        if let Some(place) = positions.iter_mut().find(|p| **p == pack(at)) {
            *place = position;
        }
    }

    fn first(&self, bucket: u32) -> usize {
        self.skip + bucket as usize * WORDS
    }
}

/// The lower half of the hash chooses.
#[inline]
fn bucket_among(hash: u64, buckets: u32) -> u32 {
    (((hash & 0xffff_ffff) * u64::from(buckets)) >> 32) as u32
}

/// A bit for each word of a line that is `wanted`: all are compared, without a branch for each. Shifted in from the last to
/// the first, as the compiler then compares four at a time.
#[inline]
fn places_of(words: &[u32; PLACES], wanted: u32) -> u32 {
    words.iter().rev().fold(0, |places, word| places << 1 | u32::from(*word == wanted))
}

/// The upper half of the hash; the lower chooses the bucket.
fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// A position in a place; 0 means none.
fn pack(at: usize) -> u32 {
    (at / ALIGN + 1) as u32
}

fn unpack(position: u32) -> usize {
    (position as usize - 1) * ALIGN
}
