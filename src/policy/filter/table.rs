//! The exact name table: a name in wire form to a small number, and in one pass the numbers of all names above it.
//!
//! A block list has a million names and every query is held against it, so both a byte and a cache line count. Names lie
//! in the order of their hashes, some four to a block; a small index says where each block begins. The index also has a bit
//! for each name of a block, so that most misses end there. What the processor would have to guess costs as much as what
//! it has to fetch: a name is hashed and compared in whole words (`suffixes`), the names of a block are told apart without
//! a branch for each (`heads`), and the index is asked for while it still looks for the end of the name. All blocks of a
//! query are fetched before the first is read: a miss waits for memory once, a hit mostly no longer (`lay_out`), and
//! queries that came together wait together ([`Table::foresee`]). A tag only says where to look: the bytes are always
//! compared, because a name that is blocked for its fingerprint is an outage.

mod build;
mod heads;
mod lay_out;
mod spread;
mod suffixes;

use crate::language::{Text, text};
use crate::sys::pages::Zeroed;
use crate::sys::prefetch;
use heads::{Heads, is_same};
use std::fmt;
use suffixes::{Hashes, Keys, Labels, SUFFIXES_MAX, Suffixes};

/// Names of a block on average. More would take more memory to look at for each query, fewer need a larger index.
const BLOCK: usize = 4;

/// Bytes of the number of names, at the beginning of a block.
const COUNT: usize = 2;

/// Bytes of the head of a name, which is at the beginning of its block: its tag, and the length of its wire form.
const HEAD: usize = 2;

/// Heads that are compared at once.
const LANES: usize = 8;

/// Their bytes; as many are behind the last block, so that they can always be read.
const TAIL: usize = LANES * HEAD;

/// Lines of the processor's cache.
const LINE: usize = 64;

/// Lines before the expected end of a block that are asked for: nearly all of what belongs there is in them.
const EXPECTED: usize = 4;

/// Lines from the beginning of a block that are asked for; few have more.
const LINES: usize = 3;

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

/// Where a block begins, and what may be in it.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    start: u32,
    /// A bit for each of its names: a name whose bit is not there is not in the block, which then need not be read. None
    /// for a block without names, of which there is nothing to read.
    marks: u32,
}

impl Block {
    #[inline]
    fn of(word: u64) -> Self {
        Self { start: word as u32, marks: (word >> 32) as u32 }
    }

    fn word(self) -> u64 {
        u64::from(self.start) | u64::from(self.marks) << 32
    }
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
#[derive(Clone, Copy, Default)]
struct Probe {
    /// Where its block begins.
    block: u32,
    /// Where the suffix begins in the wire form looked up.
    start: u8,
    tag: u8,
}

/// A suffix before the index has been read.
#[derive(Clone, Copy, Debug)]
struct Home {
    /// The number of its block.
    block: u32,
    /// Where the suffix begins in the wire form looked up.
    start: u8,
    tag: u8,
    /// The number of its bit in the marks of the block.
    mark: u8,
}

/// Where a name that will be looked up soon, and the names above it, would be: they need not be hashed again. Says nothing
/// about what is there.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen {
    homes: [Home; SUFFIXES_MAX],
    len: u8,
    /// The table's address, for which alone it holds; 0 for none.
    table: usize,
}

impl Foreseen {
    /// Nothing is foreseen.
    pub const NOTHING: Self =
        Self { homes: [Home { block: 0, start: 0, tag: 0, mark: 0 }; SUFFIXES_MAX], len: 0, table: 0 };

    #[inline]
    fn homes(&self) -> &[Home] {
        &self.homes[..usize::from(self.len)]
    }
}

/// Names and their values; made by `Table::build`.
pub struct Table {
    keys: Keys,
    /// Where a block ends, or a little before: at its number, counted from 1, times `stride`, plus `ahead`. A hint.
    stride: usize,
    ahead: usize,
    /// All blocks as words, and one that says where the last one ends.
    blocks: Zeroed<u64>,
    /// For each block the number of its names, their heads, and for each name its value in `width` bytes, little-endian, and
    /// its wire form with the root's zero byte. Between blocks there may be zeros, and `TAIL` bytes are behind the last.
    arena: Zeroed<u8>,
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
        size_of_val(&*self.blocks) + self.arena.len()
    }

    /// Calls `visit` for each name of the table that is `wire` or above it, shortest first, until it returns `false`.
    /// `wire` is a valid, lower-case, uncompressed wire form. One pass over the bytes, one block for each suffix whose
    /// number of labels occurs in the table.
    #[inline]
    pub fn suffixes_of(&self, wire: &[u8], mut visit: impl FnMut(Hit) -> bool) {
        if self.depths == 0 {
            return; // There are no names.
        }
        // The index is asked for as soon as a hash is known: how many labels there are the processor can only guess, and it
        // does nothing else while it goes back to where it guessed wrong.
        let mut suffixes = Suffixes::default();
        if !suffixes.take(self.keys, wire, |hash| prefetch(&self.blocks[self.home_of(hash)])) {
            return self.suffixes_of_deep(wire, &mut visit);
        }
        let mut probes = [Probe::default(); SUFFIXES_MAX];
        let mut count = 0;
        suffixes.of_depths(self.keys, self.depths, |hash, start| {
            if let Some(probe) = self.fetch(hash, start) {
                probes[count] = probe;
                count += 1;
            }
        });
        self.read(&probes[..count], wire, &mut visit);
    }

    /// The same for a name of many labels, as those of ip6.arpa have: some suffixes at a time.
    #[cold]
    fn suffixes_of_deep(&self, wire: &[u8], visit: &mut impl FnMut(Hit) -> bool) {
        let hashes = Hashes::of(self.keys, wire);
        let mut labels = Labels::of(wire);
        let (mut probes, mut count) = ([Probe::default(); SUFFIXES_MAX], 0);
        let (mut start, mut depths) = (Some(hashes.end()), self.depths);
        while let Some(at) = start {
            if let Some(probe) = (depths & 1 != 0).then(|| self.fetch(hashes.from(at), at as u8)).flatten() {
                probes[count] = probe;
                count += 1;
            }
            depths >>= 1;
            start = labels.pop().filter(|_| depths != 0);
            if count == SUFFIXES_MAX || start.is_none() {
                if !self.read(&probes[..count], wire, visit) {
                    return;
                }
                count = 0;
            }
        }
    }

    /// As [`Self::suffixes_of`], for a name of which this has been foreseen, by this table or another.
    #[inline]
    pub fn suffixes_of_foreseen(&self, wire: &[u8], foreseen: &Foreseen, mut visit: impl FnMut(Hit) -> bool) {
        if foreseen.table != self.address() {
            return self.suffixes_of(wire, visit);
        }
        let mut probes = [Probe::default(); SUFFIXES_MAX];
        let mut count = 0;
        for home in foreseen.homes() {
            if let Some(block) = self.block_of(home) {
                self.fetch_lines(block.start);
                probes[count] = Probe { block: block.start, start: home.start, tag: home.tag };
                count += 1;
            }
        }
        self.read(&probes[..count], wire, &mut visit);
    }

    /// Hashes a name that will be looked up soon, and asks for the part of the index that this reads first. The look-ups of a
    /// batch then wait for memory together and not one after the other: foresee all, fetch all, look all up. Of a name of
    /// very many labels nothing is foreseen.
    #[inline]
    pub fn foresee(&self, wire: &[u8]) -> Foreseen {
        self.foresee_with(wire, |_| {})
    }

    /// As [`Self::foresee`], for a name that comes alone: also asks for where the names themselves should be.
    #[inline]
    pub fn foresee_alone(&self, wire: &[u8]) -> Foreseen {
        self.foresee_with(wire, |home| self.fetch_where_expected(home))
    }

    #[inline]
    fn foresee_with(&self, wire: &[u8], mut also: impl FnMut(usize)) -> Foreseen {
        let mut foreseen = Foreseen::NOTHING;
        let mut suffixes = Suffixes::default();
        if self.depths == 0 || !suffixes.take(self.keys, wire, |_| {}) {
            return foreseen;
        }
        foreseen.table = self.address();
        suffixes.of_depths(self.keys, self.depths, |hash, start| {
            let home = self.home_of(hash);
            prefetch(&self.blocks[home]);
            also(home);
            let mark = mark_number(hash) as u8;
            foreseen.homes[usize::from(foreseen.len)] = Home { block: home as u32, start, tag: tag_of(hash), mark };
            foreseen.len += 1;
        });
        foreseen
    }

    /// Asks for the names themselves, as far as the index says that they may be there.
    #[inline]
    pub fn fetch_foreseen(&self, foreseen: &Foreseen) {
        if foreseen.table == self.address() {
            let blocks = foreseen.homes().iter().filter_map(|home| self.block_of(home));
            blocks.for_each(|block| self.fetch_lines(block.start));
        }
    }

    /// What tells this table from others that are there at the same time.
    #[inline]
    fn address(&self) -> usize {
        self.blocks.as_ptr().addr()
    }

    /// The block of a suffix; `None` when it cannot be there.
    #[inline]
    fn block_of(&self, home: &Home) -> Option<Block> {
        let block = Block::of(*self.blocks.get(home.block as usize)?);
        (block.marks >> home.mark & 1 != 0).then_some(block)
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

    /// The number of the block where a hash belongs.
    #[inline]
    fn home_of(&self, hash: u64) -> usize {
        home_of(hash, self.blocks.len() - 1)
    }

    /// The block of a number.
    #[inline]
    fn block(&self, number: usize) -> Block {
        Block::of(self.blocks[number])
    }

    /// Asks for the memory of the block where a hash belongs; `None` when it cannot be there.
    #[inline]
    fn fetch(&self, hash: u64, start: u8) -> Option<Probe> {
        let home = self.home_of(hash);
        let Block { start: block, marks } = self.block(home);
        if marks >> mark_number(hash) & 1 == 0 {
            return None;
        }
        // While the processor still waits for the index, it goes on with what it takes for likely.
        self.fetch_where_expected(home);
        self.fetch_lines(block);
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

    /// Asks for the first lines of a block.
    #[inline]
    fn fetch_lines(&self, start: u32) {
        for line in 0..LINES {
            if let Some(line) = self.arena.get(start as usize + line * LINE) {
                prefetch(line);
            }
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

    /// The value of a name in its block. Which of its names it could be is told without a branch for each, because the
    /// processor cannot guess that, and goes the wrong way otherwise.
    #[inline]
    fn find(&self, probe: &Probe, wire: &[u8]) -> Option<u32> {
        let mut heads = probe.block as usize + COUNT;
        let mut left = usize::from(u16::from_le_bytes([self.arena[heads - 2], self.arena[heads - 1]]));
        let mut names = heads + left * HEAD;
        loop {
            let group = Heads::of(self.arena[heads..].first_chunk()?, left);
            let mut equal = group.equal_to(probe.tag, wire.len() as u8);
            while equal != 0 {
                let lane = equal.trailing_zeros();
                let at = names + lane as usize * self.width + group.lens_before(lane);
                let (value, name) = self.arena.get(at..at + self.width + wire.len())?.split_at(self.width);
                if is_same(name, wire) {
                    return Some(value_of(value));
                }
                equal &= equal - 1;
            }
            if left <= LANES {
                return None;
            }
            names += LANES * self.width + group.lens_of_all();
            heads += TAIL;
            left -= LANES;
        }
    }
}

/// A value from its bytes.
#[inline]
fn value_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
