//! One shard: a ring of bytes in which entries are appended at the tail and leave at the head, and an index over it.
//!
//! A ring needs no allocator, has no holes to search for and frees in the order of age. What was used since it was
//! written gets a second chance at the tail, a bounded number per insert, so that a flood of names that nobody asks for
//! again passes through without washing out those that are asked for.

use super::entry::{self, ALIGN, Header, cap_ttl, nanos};
use super::hit::Place;
use super::index::{BUCKET, Index, PLACES, RING_PER_PLACE};
use super::{Answer, BODY_MAX, Found, Freshness, Hit, Key, OPTIONS_MAX, STALE_TTL, Vetted};
use crate::clock::Moment;
use std::time::Duration;

/// The most entries that one insert moves from the head to the tail.
const CHANCES_MAX: usize = 16;

/// The most bytes that one insert moves so; bounds how long the lock is held.
const MOVED_MAX: usize = BODY_MAX;

/// No entry takes more than this part of the ring.
const SHARE: usize = 8;

/// Entries and their index.
#[derive(Debug, Default)]
pub(super) struct Shard {
    ring: Vec<u8>,
    index: Index,
    /// The oldest entry.
    head: usize,
    /// Where the next one goes.
    tail: usize,
    /// The tail has started over at 0 while the head has not: entries lie in `head..end` and `0..tail`.
    wrapped: bool,
    /// Where entries end before the ring starts over; valid when wrapped.
    end: usize,
    pub(super) counts: Counts,
}

/// What a shard holds and did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) inserts: u64,
    pub(super) evictions: u64,
    pub(super) refused: u64,
}

impl Shard {
    /// A shard whose ring and index take at most `bytes`; off when that is too little for anything.
    pub(super) fn new(bytes: usize) -> Self {
        let buckets = bytes.saturating_sub(Index::bytes(0)) / (PLACES * RING_PER_PLACE + BUCKET);
        if buckets == 0 {
            return Self::default();
        }
        let ring = (bytes - Index::bytes(buckets)) / ALIGN * ALIGN;
        Self { ring: vec![0; ring], index: Index::new(buckets), ..Self::default() }
    }

    /// Bytes allocated.
    pub(super) fn size(&self) -> usize {
        self.ring.capacity() + self.index.size()
    }

    /// Goes on counting where an earlier shard stopped.
    pub(super) fn inherit(&mut self, earlier: &Self) {
        self.counts = Counts { entries: 0, bytes: 0, ..earlier.counts };
    }

    /// See [`super::Cache::get`].
    pub(super) fn get(&mut self, now: Moment, hash: u64, key: &Key<'_>, out: &mut [u8]) -> Found {
        let Some(at) = self.find(hash, key) else { return Found::Miss };
        let header = Header::read(&self.ring, at);
        if !header.is_servable(now) {
            self.drop_entry(at, &header);
            return Found::Miss;
        }
        let body = &self.ring[header.body_at(at)];
        let Some(copy) = out.get_mut(..body.len()) else { return Found::Miss };
        copy.copy_from_slice(body);
        let age = header.age(now);
        let age_secs = u32::try_from(age / nanos(1)).unwrap_or(u32::MAX);
        let past = age.checked_sub(nanos(u64::from(header.ttl)));
        let (most, counted) = match past {
            // What they are counts for each client in another way.
            _ if header.is_raised() => (u32::MAX, 0),
            Some(_) => (STALE_TTL, 0),
            None => (u32::MAX, age_secs),
        };
        for offset in self.ring[header.ttls_at(at)].chunks_exact(2) {
            cap_ttl(copy, usize::from(u16::from_le_bytes([offset[0], offset[1]])), most, counted);
        }
        // Where the caller wants it from the start: it is large to move.
        let mut found = Found::Hit(Hit {
            len: usize::from(header.body_len),
            freshness: past.map_or(Freshness::Fresh, |past| Freshness::Stale { since: Duration::from_nanos(past) }),
            age_secs,
            ttl: header.ttl,
            own_ttl: header.own_ttl,
            stale: header.stale,
            rcode: header.rcode,
            class: header.class,
            vetted: header.vetted,
            place: Place { at, stored: header.stored },
            options: [0; OPTIONS_MAX],
            options_len: header.options_len,
        });
        if header.options_len > 0
            && let Found::Hit(hit) = &mut found
        {
            hit.options[..usize::from(header.options_len)].copy_from_slice(&self.ring[header.options_at(at)]);
        }
        entry::mark_used(&mut self.ring, at);
        found
    }

    /// See [`super::Cache::fetch_foreseen`].
    #[inline]
    pub(super) fn fetch(&self, hash: u64) {
        if let Some(at) = self.index.find(hash, |_| true) {
            entry::fetch_all(&self.ring, at);
        }
    }

    /// Where its buckets lie.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// See [`super::Cache::look`].
    pub(super) fn look(&self, hash: u64, key: &Key<'_>) -> Option<&[u8]> {
        let at = self.find(hash, key)?;
        Some(&self.ring[Header::read(&self.ring, at).body_at(at)])
    }

    /// See [`super::Cache::insert`].
    pub(super) fn insert(&mut self, now: Moment, hash: u64, key: &Key<'_>, answer: &Answer<'_>) {
        if self.index.is_off() {
            return;
        }
        self.remove(hash, key);
        let header = Header::of(now, key, answer).filter(|header| header.size() <= self.ring.len() / SHARE);
        let Some(mut header) = header else {
            self.counts.refused += 1;
            return;
        };
        header.bucket = self.index.bucket_of(hash);
        let at = self.make_room(now, header.size());
        entry::write(&mut self.ring, at, &header, key, answer);
        self.append(now, hash, at, header.size());
        self.counts.inserts += 1;
    }

    /// Takes over an entry of another shard, byte for byte; skipped when it is too long for this one.
    pub(super) fn adopt(&mut self, now: Moment, hash: u64, bytes: &[u8]) {
        if self.index.is_off() || bytes.len() > self.ring.len() / SHARE {
            return;
        }
        let at = self.make_room(now, bytes.len());
        self.ring[at..at + bytes.len()].copy_from_slice(bytes);
        entry::rebucket(&mut self.ring, at, self.index.bucket_of(hash));
        self.append(now, hash, at, bytes.len());
    }

    /// Calls `visit` with the bytes and the header of each live entry, oldest first.
    pub(super) fn each(&self, mut visit: impl FnMut(&[u8], &Header)) {
        let (older, newer) =
            if self.wrapped { (self.head..self.end, 0..self.tail) } else { (self.head..self.tail, 0..0) };
        for range in [older, newer] {
            let mut at = range.start;
            while at < range.end {
                let header = Header::read(&self.ring, at);
                if header.is_live() {
                    visit(&self.ring[at..at + header.size()], &header);
                }
                at += header.size();
            }
        }
    }

    /// See [`super::Cache::revet`].
    pub(super) fn revet(&mut self, hash: u64, key: &Key<'_>, hit: &Hit, vetted: Vetted) {
        let Some(at) = self.find(hash, key) else { return };
        let header = Header::read(&self.ring, at);
        let Header { stored, vetted: before, body_len, own_ttl, .. } = header;
        let is_it = hit.place == Place { at, stored } && hit.vetted == before && hit.len == usize::from(body_len);
        if is_it && vetted.untouched && own_ttl == 0 {
            self.drop_entry(at, &header);
        } else if is_it {
            entry::revet(&mut self.ring, at, vetted);
        }
    }

    /// See [`super::Cache::remove`].
    pub(super) fn remove(&mut self, hash: u64, key: &Key<'_>) {
        if let Some(at) = self.find(hash, key) {
            let header = Header::read(&self.ring, at);
            self.drop_entry(at, &header);
        }
    }

    /// Forgets everything; the memory stays, and so do the counts of what was done.
    pub(super) fn clear(&mut self) {
        self.index.clear();
        (self.head, self.tail, self.end, self.wrapped) = (0, 0, 0, false);
        (self.counts.entries, self.counts.bytes) = (0, 0);
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &Key<'_>) -> Option<usize> {
        if self.index.is_off() {
            return None;
        }
        self.index.find(hash, |at| {
            entry::fetch(&self.ring, at);
            entry::answers(&self.ring, at, key)
        })
    }

    /// Puts an entry that was written at the tail into the index; a full bucket loses its oldest.
    fn append(&mut self, now: Moment, hash: u64, at: usize, size: usize) {
        self.tail = at + size;
        self.counts.entries += 1;
        self.counts.bytes += size as u64;
        let (head, len) = (self.head, self.ring.len());
        let age = |at: usize| if at >= head { at - head } else { at + len - head };
        if let Some(oldest) = self.index.add(hash, at, age) {
            let header = Header::read(&self.ring, oldest);
            self.bury(oldest, &header);
            self.counts.evictions += u64::from(header.is_servable(now));
        }
    }

    /// Frees `size` bytes in one piece at the tail and returns where. At most [`CHANCES_MAX`] entries are moved, and
    /// each other step passes an entry at the head for good.
    fn make_room(&mut self, now: Moment, size: usize) -> usize {
        let (mut chances, mut bytes) = (CHANCES_MAX, MOVED_MAX);
        loop {
            if !self.wrapped {
                if self.ring.len() - self.tail >= size {
                    return self.tail;
                }
                (self.end, self.tail, self.wrapped) = (self.tail, 0, true);
            }
            if self.head == self.end {
                (self.head, self.wrapped) = (0, false);
                continue;
            }
            if self.head - self.tail >= size {
                return self.tail;
            }
            let header = Header::read(&self.ring, self.head);
            let passed = header.size();
            let spared =
                header.is_live() && header.is_used() && header.is_servable(now) && chances > 0 && bytes >= passed;
            if spared {
                (chances, bytes) = (chances - 1, bytes - passed);
                self.spare(&header);
            } else if header.is_live() {
                let head = self.head;
                self.drop_entry(head, &header);
                self.counts.evictions += u64::from(header.is_servable(now));
            }
            self.head += passed;
        }
    }

    /// Moves the entry at the head to the tail. There is room: the tail is behind the head, and the entry's own bytes
    /// become free.
    fn spare(&mut self, header: &Header) {
        let (from, to, size) = (self.head, self.tail, header.size());
        self.ring.copy_within(from..from + size, to);
        entry::mark_unused(&mut self.ring, to);
        self.index.moved(header.bucket, from, to);
        self.tail += size;
    }

    fn drop_entry(&mut self, at: usize, header: &Header) {
        self.index.remove(header.bucket, at);
        self.bury(at, header);
    }

    fn bury(&mut self, at: usize, header: &Header) {
        entry::bury(&mut self.ring, at);
        self.counts.entries -= 1;
        self.counts.bytes -= header.size() as u64;
    }
}
