//! The exact name table: a name in wire form to a small number, and in one pass the numbers of all names above it.
//!
//! A block list has a million names and every query is held against it, so both a byte and a cache line count. Names lie
//! in the order of their hashes, some four to a block; a small index says where each block begins. The index also has a bit
//! for each name of a block, so that most misses end there, and all blocks of a query are fetched before the first is read:
//! a miss waits for memory once, a hit mostly no longer (`lay_out`), and queries that came together wait together
//! ([`Table::foresee`]). The hash is rolled from the root label toward the first, so that one pass over the bytes hashes
//! every suffix (RFC 1035 section 3.1: a name is a sequence of labels). A tag only says where to look: the bytes are always
//! compared, because a name that is blocked for its fingerprint is an outage.

mod build;
mod lay_out;
mod spread;

use crate::language::{Text, text};
use crate::sys::prefetch;
use std::fmt;

/// Names of a block on average. More would be read through for each query, fewer need a larger index.
const BLOCK: usize = 4;

/// Bytes before the value of a name: the length of its wire form, and its tag.
const HEAD: usize = 2;

/// Blocks that one look-up fetches before it reads the first.
const FETCHED: usize = 8;

/// Lines of the processor's cache.
const LINE: usize = 64;

/// Lines before the expected end of a block that are asked for: nearly all of what belongs there is in them.
const EXPECTED: usize = 4;

/// Labels that a name can have without the root: 127 of one byte each fill 255 bytes.
const LABELS_MAX: usize = 127;

/// More names than offsets of 32 bits can tell apart: the table would pass 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNames;

impl TooManyNames {
    /// What is too much.
    pub fn text(self) -> Text {
        text!("names take more than 4 GiB in all")
    }
}

impl fmt::Display for TooManyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
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

/// What of a hash stands before a name.
fn tag_of(hash: u64) -> u8 {
    hash as u8
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

    /// The hash of a whole name, and its number of labels.
    fn hash(self, wire: &[u8]) -> (u64, usize) {
        let labels = Labels::of(wire);
        let mut hash = self.start;
        let mut end = wire.len().saturating_sub(1);
        for &start in labels.starts[..labels.len].iter().rev() {
            hash = self.roll(hash, &wire[usize::from(start)..end]);
            end = usize::from(start);
        }
        (hash, labels.len)
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

/// Where a block begins, and what may be in it. The end is where the next begins.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    start: u32,
    /// A bit for each of its names: a name whose bit is not there is not in the block, which then need not be read.
    marks: u32,
}

/// The number of a hash's bit in the marks of its block; from other bits than its tag and its place.
fn mark_number(hash: u64) -> u32 {
    (hash >> 8) as u32 & 31
}

/// The block where a hash belongs: its upper half scaled to the number of blocks, without a division. It grows with the
/// hash.
#[inline]
fn home_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// Where a suffix would be.
#[derive(Clone, Copy)]
struct Probe {
    /// Where its block begins and ends.
    block: (u32, u32),
    /// Where the suffix begins in the wire form looked up.
    start: u8,
    tag: u8,
}

/// Where a name that will be looked up soon, and the names above it, would be. Only ever a hint: it says nothing about what
/// is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Foreseen {
    /// The block of each, and the number of its bit in the marks.
    homes: [(u32, u8); FETCHED],
    len: u8,
}

/// Names and their values; made by `Table::build`.
pub struct Table {
    keys: Keys,
    /// Where a block ends, or a little before: at its number, counted from 1, times `stride`, plus `ahead`. A hint.
    stride: usize,
    ahead: usize,
    /// All blocks, and an empty one that says where the last one ends.
    blocks: Vec<Block>,
    /// For each name the length of its wire form, its tag, its value in `width` bytes, little-endian, and the wire form
    /// with the root's zero byte. Between blocks there may be zeros.
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
        self.blocks.capacity() * size_of::<Block>() + self.arena.capacity()
    }

    /// Calls `visit` for each name of the table that is `wire` or above it, shortest first, until it returns `false`.
    /// `wire` is a valid, lower-case, uncompressed wire form. One pass over the bytes, one block for each suffix whose
    /// number of labels occurs in the table.
    #[inline]
    pub fn suffixes_of(&self, wire: &[u8], mut visit: impl FnMut(Hit) -> bool) {
        if self.depths == 0 {
            return; // There are no names.
        }
        let labels = Labels::of(wire);
        let mut hash = self.keys.start;
        let mut probes = [Probe { block: (0, 0), start: 0, tag: 0 }; FETCHED];
        let mut count = 0;
        let mut end = wire.len().saturating_sub(1);
        let mut depths = self.depths;
        let mut next = labels.starts[..labels.len].iter().rev();
        loop {
            // `hash` is that of the suffix that begins at `end`.
            if depths & 1 != 0 {
                if let Some(probe) = self.fetch(hash, end as u8) {
                    probes[count] = probe;
                    count += 1;
                }
                if count == FETCHED {
                    if !self.read(&probes, wire, &mut visit) {
                        return;
                    }
                    count = 0;
                }
            }
            depths >>= 1;
            let Some(&start) = next.next().filter(|_| depths != 0) else { break };
            hash = self.keys.roll(hash, &wire[usize::from(start)..end]);
            end = usize::from(start);
        }
        self.read(&probes[..count], wire, &mut visit);
    }

    /// Asks for the part of the index that a look-up of `wire` will read first. The look-ups of a batch then wait for memory
    /// together and not one after the other: foresee all, fetch all, look all up.
    #[inline]
    pub fn foresee(&self, wire: &[u8]) -> Foreseen {
        let mut foreseen = Foreseen::default();
        let labels = Labels::of(wire);
        let mut hash = self.keys.start;
        let mut end = wire.len().saturating_sub(1);
        let mut depths = self.depths;
        let mut next = labels.starts[..labels.len].iter().rev();
        while usize::from(foreseen.len) < FETCHED {
            if depths & 1 != 0 {
                let home = home_of(hash, self.blocks.len() - 1);
                prefetch(&self.blocks[home]);
                // The end of a block is where the next begins, which one in eight times is in another line.
                prefetch(&self.blocks[home + 1]);
                foreseen.homes[usize::from(foreseen.len)] = (home as u32, mark_number(hash) as u8);
                foreseen.len += 1;
            }
            depths >>= 1;
            let Some(&start) = next.next().filter(|_| depths != 0) else { break };
            hash = self.keys.roll(hash, &wire[usize::from(start)..end]);
            end = usize::from(start);
        }
        foreseen
    }

    /// Asks for the names themselves, as far as the index says that they may be there.
    #[inline]
    pub fn fetch_foreseen(&self, foreseen: &Foreseen) {
        for &(home, mark) in &foreseen.homes[..usize::from(foreseen.len)] {
            let home = home as usize;
            let (Some(block), Some(next)) = (self.blocks.get(home), self.blocks.get(home + 1)) else { continue };
            if block.marks >> mark & 1 != 0 {
                self.fetch_lines(block.start, next.start);
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

    /// Asks for the memory of the block where a hash belongs; `None` when it cannot be there.
    #[inline]
    fn fetch(&self, hash: u64, start: u8) -> Option<Probe> {
        let home = home_of(hash, self.blocks.len() - 1);
        let Block { start: begin, marks } = self.blocks[home];
        if marks >> mark_number(hash) & 1 == 0 {
            return None;
        }
        // While the processor still waits for the index, it goes on with what it takes for likely.
        self.fetch_where_expected(home);
        let block = (begin, self.blocks[home + 1].start);
        self.fetch_lines(block.0, block.1);
        Some(Probe { block, start, tag: tag_of(hash) })
    }

    /// Asks for the lines where a block should be, whatever the index says.
    #[inline]
    fn fetch_where_expected(&self, home: usize) {
        let end = (home + 1) * self.stride + self.ahead;
        for back in 1..=EXPECTED {
            if let Some(line) = self.arena.get(end.wrapping_sub(back * LINE)) {
                prefetch(line);
            }
        }
    }

    /// Asks for the first lines of a block; few have more than these.
    #[inline]
    fn fetch_lines(&self, start: u32, end: u32) {
        for line in (start as usize..end as usize).step_by(LINE).take(4) {
            prefetch(&self.arena[line]);
        }
    }

    /// Visits what the probes find; `false` when the visitor has enough.
    #[inline]
    fn read(&self, probes: &[Probe], wire: &[u8], visit: &mut impl FnMut(Hit) -> bool) -> bool {
        for probe in probes {
            if let Some(value) = self.find(probe, &wire[usize::from(probe.start)..])
                && !visit(Hit { at: probe.start, value })
            {
                return false;
            }
        }
        true
    }

    /// The value of a name in its block.
    #[inline]
    fn find(&self, probe: &Probe, wire: &[u8]) -> Option<u32> {
        let mut block = &self.arena[probe.block.0 as usize..probe.block.1 as usize];
        while let [len, tag, rest @ ..] = block
            && *len > 0
        {
            let size = self.width + usize::from(*len);
            if *tag == probe.tag && rest.get(self.width..size) == Some(wire) {
                return Some(value_of(&rest[..self.width]));
            }
            block = rest.get(size..)?;
        }
        None
    }
}

/// A value from its bytes.
#[inline]
fn value_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
