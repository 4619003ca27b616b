//! The exact name table: a name in wire form to a small number, and in one pass the numbers of all names above it.
//!
//! A block list has a million names and every query is held against it, so both a byte and a cache line count. Names
//! stand in one arena, each behind its value; a hash table of 64-byte buckets (12 one-byte tags and 12 offsets, so that
//! a miss costs one cache line) says where. The hash is rolled from the root label toward the first, so that one pass
//! over the bytes hashes every suffix (RFC 1035 section 3.1: a name is a sequence of labels). A tag only says where to
//! look: the bytes are always compared, because a name that is blocked for its fingerprint is an outage.

use std::fmt;

/// Offsets held by one bucket.
const SLOTS: usize = 12;

/// Names per bucket that a table is laid out for: at 10 of 12 about one bucket in ten overflows into its neighbour.
const FILL: usize = 10;

/// Labels that a name can have without the root: 127 of one byte each fill 255 bytes.
const LABELS_MAX: usize = 127;

/// More names than offsets of 32 bits can tell apart: the arena would pass 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNames;

impl fmt::Display for TooManyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names take more than 4 GiB in all")
    }
}

impl std::error::Error for TooManyNames {}

/// One name of the table that is the name looked up, or above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where the name found begins in the wire form looked up; 0: it is the name itself.
    pub at: u8,
    /// What it was entered with.
    pub value: u32,
}

/// One cache line of the table.
#[derive(Clone)]
#[repr(align(64))]
struct Bucket {
    /// Bytes 0 to 11: a tag per slot, 0 when empty. Byte 12: how many are taken. Byte 13: one bit for each eighth of
    /// the hashes that had to go on to the next bucket.
    tags: [u8; 16],
    offsets: [u32; SLOTS],
}

const TAKEN: usize = SLOTS;
const PASSED_ON: usize = SLOTS + 1;

impl Bucket {
    const EMPTY: Self = Self { tags: [0; 16], offsets: [0; SLOTS] };

    /// A high bit in each byte whose tag is `tag`; a wrong one now and then, never one too few.
    fn candidates(&self, tag: u8) -> u128 {
        const LOW: u128 = 0x0101_0101_0101_0101_0101_0101;
        let differs = u128::from_le_bytes(self.tags) ^ (LOW * u128::from(tag));
        differs.wrapping_sub(LOW) & !differs & (LOW << 7)
    }

    fn passed_on(&self, hash: u64) -> bool {
        self.tags[PASSED_ON] & eighth(hash) != 0
    }
}

/// Never 0, which marks an empty slot.
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

fn eighth(hash: u64) -> u8 {
    1 << ((hash >> 8) & 7)
}

/// The secret of the hash: who writes a list cannot choose names that collide.
#[derive(Clone, Copy)]
struct Keys {
    start: u64,
    step: u64,
}

impl Keys {
    fn new(seed: u64) -> Self {
        let spread = |n: u64| {
            // splitmix64: neighbouring seeds give unrelated keys.
            let z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self { start: spread(1), step: spread(2) | 1 }
    }

    /// The hash of a name from that of its parent and its first label, length byte included.
    #[inline]
    fn roll(self, parent: u64, label: &[u8]) -> u64 {
        let mut hash = parent;
        if let Some(last) = label.last_chunk::<8>() {
            let (chunks, rest) = label.as_chunks::<8>();
            for chunk in chunks {
                hash = folded(hash ^ u64::from_le_bytes(*chunk), self.step);
            }
            // The last eight bytes overlap what was read; the length byte in front keeps it unambiguous.
            return if rest.is_empty() { hash } else { folded(hash ^ u64::from_le_bytes(*last), self.step) };
        }
        let word = match (label.first_chunk::<4>(), label.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => label.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        hash = folded(hash ^ word, self.step);
        hash
    }
}

/// The two halves of the 128-bit product, folded into each other.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Where the labels of a name begin, root left out.
struct Labels {
    starts: [u8; LABELS_MAX + 1],
    len: usize,
}

impl Labels {
    #[inline]
    fn of(wire: &[u8]) -> Self {
        let mut labels = Self { starts: [0; LABELS_MAX + 1], len: 0 };
        let mut at = 0;
        while let Some(&len) = wire.get(at) {
            if len == 0 || labels.len == LABELS_MAX {
                break;
            }
            labels.starts[labels.len] = at as u8;
            labels.len += 1;
            at += 1 + usize::from(len);
        }
        labels
    }
}

/// A table while it is filled.
#[derive(Debug)]
pub struct TableBuilder {
    table: Table,
}

impl TableBuilder {
    /// An empty table for about `names` names; it grows when there are more. `seed` is the secret of the hash.
    pub fn new(names: usize, seed: u64) -> Self {
        let keys = Keys::new(seed);
        let buckets = vec![Bucket::EMPTY; names / FILL + 1];
        Self { table: Table { keys, buckets, arena: Vec::new(), width: 1, names: 0, depths: 0 } }
    }

    /// Enters a name: `value` gets what it has so far and returns what it has from now on. `wire` is as in
    /// [`Table::suffixes_of`].
    ///
    /// # Errors
    /// [`TooManyNames`]; the table is as before.
    pub fn enter(&mut self, wire: &[u8], value: impl FnOnce(Option<u32>) -> u32) -> Result<(), TooManyNames> {
        let table = &mut self.table;
        let (hash, depth) = table.hash_of(wire);
        let known = table.find(hash, wire).map(|at| table.value_at(at));
        let value = value(known);
        table.widen_for(value);
        if known.is_none() {
            if table.names >= table.buckets.len() * FILL {
                table.spread_over(table.names / FILL * 2 + 2);
            }
            return table.append(hash, depth, wire, value);
        }
        // Looked for again, because widening moves names.
        if let Some(at) = table.find(hash, wire) {
            let width = table.width;
            table.arena[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        Ok(())
    }

    /// The table without the names that `keep` refuses, in as little memory as it takes: `keep` is given the value of
    /// each name and that of the nearest name above it, kept or not.
    #[must_use]
    pub fn finish(self, mut keep: impl FnMut(u32, Option<u32>) -> bool) -> Table {
        let mut table = self.table;
        let mut refused = Vec::new();
        table.each(|at, wire| {
            let (hash, above) = table.hash_and_above(wire);
            if !keep(table.value_at(at), above) {
                refused.push((hash, at));
            }
        });
        let needed = (table.names - refused.len()) / FILL + 1;
        if refused.len() > table.names / 16 || needed < table.buckets.len() - table.buckets.len() / 16 {
            table.keep_all_but(&refused);
        } else {
            // The bytes of a few names are not worth the time to move all others.
            refused.iter().for_each(|&(hash, at)| table.displace(hash, at as u32));
        }
        table.arena.shrink_to_fit();
        table
    }
}

/// Names and their values; made by a [`TableBuilder`].
pub struct Table {
    keys: Keys,
    buckets: Vec<Bucket>,
    /// For each name: its value in `width` bytes, little-endian, then the wire form with the root's zero byte. Wire
    /// forms are prefix-free, so comparing as many bytes as the name looked up has is comparing the names.
    arena: Vec<u8>,
    width: usize,
    names: usize,
    /// Bit n: some name has n labels. A suffix of another length need not be probed; as whole top-level domains are
    /// hardly ever listed, this saves a probe on almost every query.
    depths: u128,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("names", &self.names).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Table {
    /// How many names it holds.
    pub fn len(&self) -> usize {
        self.names
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.names == 0
    }

    /// All memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>() + self.arena.capacity()
    }

    /// Calls `visit` for each name of the table that is `wire` or above it, shortest first, until it returns `false`.
    /// `wire` is a valid, lower-case, uncompressed wire form. One pass over the bytes, one cache line for each suffix
    /// whose number of labels occurs in the table.
    #[inline]
    pub fn suffixes_of(&self, wire: &[u8], mut visit: impl FnMut(Hit) -> bool) {
        let labels = Labels::of(wire);
        let mut hash = self.keys.start;
        if self.depths & 1 != 0
            && let Some(at) = self.find(hash, &[0])
            && !visit(Hit { at: (wire.len() - 1) as u8, value: self.value_at(at) })
        {
            return;
        }
        let mut end = wire.len().saturating_sub(1);
        let mut depths = self.depths;
        for &start in labels.starts[..labels.len].iter().rev() {
            depths >>= 1;
            if depths == 0 {
                return;
            }
            let start_at = usize::from(start);
            hash = self.keys.roll(hash, &wire[start_at..end]);
            end = start_at;
            if depths & 1 != 0
                && let Some(at) = self.find(hash, &wire[start_at..])
                && !visit(Hit { at: start, value: self.value_at(at) })
            {
                return;
            }
        }
    }

    /// The value of exactly this name.
    pub fn value_of(&self, wire: &[u8]) -> Option<u32> {
        let mut value = None;
        self.suffixes_of(wire, |hit| {
            value = (hit.at == 0).then_some(hit.value);
            true
        });
        value
    }

    /// Moves the names that are not in `refused`, which is in their order, together.
    fn keep_all_but(&mut self, refused: &[(u64, usize)]) {
        let mut refused = refused.iter().map(|&(_, at)| at).peekable();
        let mut kept = Vec::with_capacity(self.arena.len());
        let mut names = 0;
        self.each(|at, wire| {
            if refused.next_if_eq(&at).is_none() {
                kept.extend_from_slice(&self.arena[at..at + self.width + wire.len()]);
                names += 1;
            }
        });
        self.arena = kept;
        self.names = names;
        self.spread_over(names / FILL + 1);
    }

    /// Makes room for a value that takes more bytes than those before it.
    fn widen_for(&mut self, value: u32) {
        let needed = 4 - value.leading_zeros() as usize / 8;
        if needed <= self.width {
            return;
        }
        let mut wider = Vec::with_capacity(self.arena.len() + self.names * (needed - self.width));
        self.each(|at, wire| {
            wider.extend_from_slice(&self.value_at(at).to_le_bytes()[..needed]);
            wider.extend_from_slice(wire);
        });
        self.arena = wider;
        self.width = needed;
        self.spread_over(self.buckets.len());
    }

    /// The hash of a name, and how many labels it has.
    fn hash_of(&self, wire: &[u8]) -> (u64, usize) {
        let labels = Labels::of(wire);
        let mut hash = self.keys.start;
        let mut end = wire.len().saturating_sub(1);
        for &start in labels.starts[..labels.len].iter().rev() {
            hash = self.keys.roll(hash, &wire[usize::from(start)..end]);
            end = usize::from(start);
        }
        (hash, labels.len)
    }

    /// The hash of a name, and the value of the nearest name above.
    fn hash_and_above(&self, wire: &[u8]) -> (u64, Option<u32>) {
        let labels = Labels::of(wire);
        let mut hash = self.keys.start;
        let mut above = None;
        let mut end = wire.len().saturating_sub(1);
        for (depth, &start) in labels.starts[..labels.len].iter().rev().enumerate() {
            // `hash` is that of the suffix that begins at `end`, of `depth` labels.
            if self.depths >> depth & 1 != 0
                && let Some(at) = self.find(hash, &wire[end..])
            {
                above = Some(self.value_at(at));
            }
            hash = self.keys.roll(hash, &wire[usize::from(start)..end]);
            end = usize::from(start);
        }
        (hash, above)
    }

    /// Calls `visit` with the place in the arena and the wire form of every name, in the order they were entered.
    fn each(&self, mut visit: impl FnMut(usize, &[u8])) {
        let mut at = 0;
        while at < self.arena.len() {
            let wire = self.wire_at(at);
            visit(at, wire);
            at += self.width + wire.len();
        }
    }

    fn wire_at(&self, at: usize) -> &[u8] {
        let rest = &self.arena[at + self.width..];
        let mut len = 0;
        while rest[len] != 0 {
            len += 1 + usize::from(rest[len]);
        }
        &rest[..=len]
    }

    #[inline]
    fn value_at(&self, at: usize) -> u32 {
        self.arena[at..at + self.width].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    /// The bucket where a hash belongs: its upper half scaled to the number of buckets, without a division.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn find(&self, hash: u64, wire: &[u8]) -> Option<usize> {
        let tag = tag_of(hash);
        let mut at = self.home(hash);
        // Ends: there are more slots than names, so some bucket passed nothing on; the bound is for the reader.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut candidates = bucket.candidates(tag);
            while candidates != 0 {
                let offset = bucket.offsets[candidates.trailing_zeros() as usize / 8] as usize;
                let name = offset + self.width;
                if self.arena.get(name..name + wire.len()) == Some(wire) {
                    return Some(offset);
                }
                candidates &= candidates - 1;
            }
            if !bucket.passed_on(hash) {
                return None;
            }
            at = if at + 1 == self.buckets.len() { 0 } else { at + 1 };
        }
        None
    }

    /// Adds a name that is not in the table, to the arena and to a bucket with room.
    fn append(&mut self, hash: u64, depth: usize, wire: &[u8], value: u32) -> Result<(), TooManyNames> {
        let at = u32::try_from(self.arena.len()).map_err(|_| TooManyNames)?;
        self.arena.extend_from_slice(&value.to_le_bytes()[..self.width]);
        self.arena.extend_from_slice(wire);
        self.names += 1;
        self.depths |= 1 << depth;
        self.place(hash, at);
        Ok(())
    }

    fn place(&mut self, hash: u64, offset: u32) {
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            let taken = usize::from(bucket.tags[TAKEN]);
            if taken < SLOTS {
                bucket.tags[taken] = tag_of(hash);
                bucket.offsets[taken] = offset;
                bucket.tags[TAKEN] += 1;
                return;
            }
            bucket.tags[PASSED_ON] |= eighth(hash);
            at = if at + 1 == self.buckets.len() { 0 } else { at + 1 };
        }
    }

    /// Takes the name at `offset` out of its bucket; its bytes stay in the arena, so the names are not spread again.
    fn displace(&mut self, hash: u64, offset: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            let taken = usize::from(bucket.tags[TAKEN]);
            if let Some(slot) = bucket.offsets[..taken].iter().position(|known| *known == offset) {
                bucket.tags[slot] = bucket.tags[taken - 1];
                bucket.offsets[slot] = bucket.offsets[taken - 1];
                bucket.tags[taken - 1] = 0;
                bucket.tags[TAKEN] -= 1;
                self.names -= 1;
                return;
            }
            at = if at + 1 == self.buckets.len() { 0 } else { at + 1 };
        }
    }

    /// Lays the names out over `buckets` buckets anew.
    fn spread_over(&mut self, buckets: usize) {
        let arena = std::mem::take(&mut self.arena);
        self.buckets = vec![Bucket::EMPTY; buckets];
        let whole = Self { arena, buckets: Vec::new(), ..*self };
        whole.each(|at, wire| self.place(whole.hash_of(wire).0, at as u32));
        self.arena = whole.arena;
    }
}

#[cfg(test)]
mod tests;
