//! Building a table: all names are spread over parts by their hashes, each part is sorted where it lies in a core's cache,
//! and written behind the one before it. A million names pass through the memory in order, twice, instead of each being
//! looked for in a growing table; and as the table grows, what it is made of goes.

use super::super::lists::NameList;
use super::lay_out::with_gaps;
use super::spread::{self, Parts, Spread, name_at};
use super::{BLOCK, Block, HEAD, Keys, Labels, Probe, Table, TooManyNames, value_of};
use crate::sys::pages::prefer_large_pages;
use std::ops::Range;
use std::sync::Arc;

/// Names that are looked for above in one go, each a few times.
const BATCH: usize = 32;

/// The most lists of a table: the number of a list has 24 bits.
const LISTS_MAX: usize = 1 << 24;

/// The most bytes of a value.
const WIDTH_MAX: usize = 4;

impl Table {
    /// Makes a table of all names of all lists; lists that nobody else holds are freed on the way. `merge` is given what a
    /// name has so far, the number of the list and the name's marks, and returns what it has from now on; the names of one
    /// spelling come in the order of lists. `keep` is given the value of each name and that of the nearest name above it,
    /// kept or not, and says whether it is kept. `seed` is the secret of the hash.
    ///
    /// # Errors
    /// [`TooManyNames`]
    ///
    /// # Panics
    /// With more than 2^24 lists.
    pub(in crate::policy::filter) fn build(
        lists: Vec<Arc<NameList>>,
        seed: u64,
        merge: impl FnMut(Option<u32>, usize, u8) -> u32,
        keep: impl FnMut(u32, Option<u32>) -> bool,
    ) -> Result<Self, TooManyNames> {
        let mut table = Self::unfolded(lists, seed, 1, merge)?;
        table.fold(keep);
        table.lay_out();
        Ok(table)
    }

    /// As [`Self::build`], for a table whose names are all kept, and whose values can become any with [`Self::revalue`].
    pub(in crate::policy::filter) fn build_loose(
        lists: Vec<Arc<NameList>>,
        seed: u64,
        merge: impl FnMut(Option<u32>, usize, u8) -> u32,
    ) -> Result<Self, TooManyNames> {
        let mut table = Self::unfolded(lists, seed, WIDTH_MAX, merge)?;
        table.lay_out();
        Ok(table)
    }

    fn unfolded(
        lists: Vec<Arc<NameList>>,
        seed: u64,
        width: usize,
        merge: impl FnMut(Option<u32>, usize, u8) -> u32,
    ) -> Result<Self, TooManyNames> {
        assert!(lists.len() <= LISTS_MAX, "the number of a list has 24 bits");
        let keys = Keys::new(seed);
        let (names, bytes) = lists.iter().fold((0, 0), |(n, b), list| (n + list.len(), b + list.bytes()));
        let blocks = names / BLOCK + 1;
        let parts = Parts::of(lists, keys, blocks);
        let mut index = Vec::with_capacity(blocks + 1);
        prefer_large_pages(&mut index);
        index.resize(blocks + 1, Block::default());
        let table =
            Self { keys, stride: 0, ahead: 0, blocks: index, arena: Vec::new(), width, names: 0, depths: parts.depths };
        // What is reserved and not written takes no memory.
        let mut writer = Writer { table, merge, bytes_max: with_gaps(bytes + names * WIDTH_MAX) };
        writer.reserve();
        writer.write(parts)?;
        Ok(writer.table)
    }

    /// Gives each name another value, made of its wire form and the one it has, in a table of [`Self::build_loose`].
    pub(in crate::policy::filter) fn revalue(&mut self, mut value: impl FnMut(&[u8], u32) -> u32) {
        let mut next = 0;
        while let Some(at) = self.name_from(next) {
            let (start, after) = (at + HEAD, at + self.size_at(at));
            let (values, wire) = self.arena[start..after].split_at_mut(self.width);
            let new = value(wire, value_of(values)).to_le_bytes();
            values.copy_from_slice(&new[..values.len()]);
            next = after;
        }
    }

    /// Each name in its wire form, with its value.
    pub(in crate::policy::filter) fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let at = self.name_from(next)?;
            next = at + self.size_at(at);
            let (values, wire) = self.arena[at + HEAD..next].split_at(self.width);
            Some((wire, value_of(values)))
        })
    }

    /// Where the first name from `at` on stands: what is between blocks are zeros, which no length is.
    fn name_from(&self, at: usize) -> Option<usize> {
        self.arena[at..].iter().position(|byte| *byte != 0).map(|gap| at + gap)
    }

    /// The length of the name at `at` with all that is before it.
    fn size_at(&self, at: usize) -> usize {
        HEAD + self.width + usize::from(self.arena[at])
    }

    /// Takes out the names that `keep` refuses.
    fn fold(&mut self, mut keep: impl FnMut(u32, Option<u32>) -> bool) {
        let mut refused = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut probes = Vec::new();
        let mut at = 0;
        while at < self.arena.len() {
            self.probe_above(at, batch.len(), &mut probes);
            batch.push((at, None));
            at += self.size_at(at);
            if batch.len() < BATCH && at < self.arena.len() {
                continue;
            }
            for (of, wire, probe) in probes.drain(..) {
                // Shortest first: the nearest is the last one found.
                if let Some(value) = self.find(&probe, &self.arena[wire]) {
                    batch[of].1 = Some(value);
                }
            }
            for (at, above) in batch.drain(..) {
                if !keep(value_of(&self.arena[at + HEAD..at + HEAD + self.width]), above) {
                    refused.push(at);
                }
            }
        }
        if !refused.is_empty() {
            self.take_out(&refused);
        }
    }

    /// Fetches the blocks of all suffixes of the name at `at` that could be in the table, itself left out.
    fn probe_above(&self, at: usize, of: usize, probes: &mut Vec<(usize, Range<usize>, Probe)>) {
        let (start, after) = (at + HEAD + self.width, at + self.size_at(at));
        let wire = &self.arena[start..after];
        let labels = Labels::of(wire);
        let mut hash = self.keys.start;
        let mut end = wire.len() - 1;
        for (depth, &label) in labels.starts[..labels.len].iter().rev().enumerate() {
            // `hash` is that of the suffix that begins at `end`, of `depth` labels.
            if self.depths >> depth & 1 != 0 {
                probes.extend(self.fetch(hash, 0).map(|probe| (of, start + end..after, probe)));
            }
            hash = self.keys.roll(hash, &wire[usize::from(label)..end]);
            end = usize::from(label);
        }
    }

    /// Moves the names that are not in `refused`, which is in their order, together.
    fn take_out(&mut self, refused: &[usize]) {
        let mut refused = refused.iter().copied().peekable();
        let mut to = 0;
        let mut from = 0;
        for block in 0..self.blocks.len() - 1 {
            let end = self.blocks[block + 1].start as usize;
            self.blocks[block].start = to as u32;
            while from < end {
                let size = self.size_at(from);
                if refused.next_if_eq(&from).is_some() {
                    self.names -= 1;
                } else {
                    self.arena.copy_within(from..from + size, to);
                    to += size;
                }
                from += size;
            }
        }
        self.blocks.last_mut().expect("the end of the last block is always there").start = to as u32;
        self.arena.truncate(to);
    }
}

/// A table being written, block by block.
struct Writer<M> {
    table: Table,
    merge: M,
    /// More than all names can take, with the room between them.
    bytes_max: usize,
}

impl<M: FnMut(Option<u32>, usize, u8) -> u32> Writer<M> {
    /// Memory for all names; before the first is written.
    fn reserve(&mut self) {
        self.table.arena.reserve_exact(self.bytes_max);
        prefer_large_pages(&mut self.table.arena);
    }

    fn write(&mut self, mut parts: Parts) -> Result<(), TooManyNames> {
        let list_width = parts.list_width();
        let mut order = Vec::new();
        for number in 0..parts.len() {
            let part = parts.take(number);
            let ends = sort(&part, list_width, &mut order);
            let first = number * spread::BLOCKS;
            let mut names = order.iter();
            let mut begin = 0;
            for (block, end) in (first..self.table.blocks.len() - 1).zip(ends) {
                self.table.blocks[block].start = self.table.arena.len() as u32;
                for &at in names.by_ref().take((end - begin) as usize) {
                    self.enter(block, &name_at(&part, at as usize, list_width).0);
                }
                begin = end;
            }
            u32::try_from(self.table.arena.len()).map_err(|_| TooManyNames)?;
        }
        self.table.blocks.last_mut().expect("the end of the last block").start = self.table.arena.len() as u32;
        Ok(())
    }

    /// Enters a name into the block that is being written.
    fn enter(&mut self, block: usize, name: &Spread<'_>) {
        let start = self.table.blocks[block].start as usize;
        let mut known = self.table.place_in(start, name.tag, name.wire);
        let value = known.map(|at| value_of(&self.table.arena[at..at + self.table.width]));
        let value = (self.merge)(value, name.list, name.marks);
        let value_len = WIDTH_MAX - value.leading_zeros() as usize / 8;
        if value_len > self.table.width {
            self.widen(block, value_len);
            known = self.table.place_in(self.table.blocks[block].start as usize, name.tag, name.wire);
        }
        let (width, bytes) = (self.table.width, value.to_le_bytes());
        if let Some(at) = known {
            return self.table.arena[at..at + width].copy_from_slice(&bytes[..width]);
        }
        self.table.blocks[block].marks |= 1 << name.mark;
        self.table.arena.extend_from_slice(&[name.wire.len() as u8, name.tag]);
        self.table.arena.extend_from_slice(&bytes[..width]);
        self.table.arena.extend_from_slice(name.wire);
        self.table.names += 1;
    }

    /// Gives all values more bytes, `block` being the last that has begun. Three times at most, and mostly early: it takes
    /// many lists that overlap to have more than 255 different sets of rules.
    fn widen(&mut self, block: usize, width: usize) {
        let old = std::mem::take(&mut self.table.arena);
        self.reserve();
        let table = &mut self.table;
        let mut at = 0;
        for number in 0..=block {
            let end = if number < block { table.blocks[number + 1].start as usize } else { old.len() };
            table.blocks[number].start = table.arena.len() as u32;
            while at < end {
                let value = at + HEAD..at + HEAD + table.width;
                let after = value.end + usize::from(old[at]);
                table.arena.extend_from_slice(&old[at..value.end]);
                table.arena.resize(table.arena.len() + width - table.width, 0);
                table.arena.extend_from_slice(&old[value.end..after]);
                at = after;
            }
        }
        table.width = width;
    }
}

impl Table {
    /// Where the value of a name stands, if it is in what is written from `start` on.
    #[inline]
    fn place_in(&self, start: usize, tag: u8, wire: &[u8]) -> Option<usize> {
        let mut at = start;
        while at < self.arena.len() {
            let end = at + self.size_at(at);
            let value = at + HEAD;
            if self.arena[at + 1] == tag && self.arena[value + self.width..end] == *wire {
                return Some(value);
            }
            at = end;
        }
        None
    }
}

/// Fills `order` with the places of the names of a part in the order of their blocks, and within a block in the order they
/// came; returns how many names there are up to the end of each block.
fn sort(part: &[u8], list_width: usize, order: &mut Vec<u32>) -> [u32; spread::BLOCKS] {
    let mut next = [0_u32; spread::BLOCKS];
    let mut at = 0;
    let mut names = 0;
    while at < part.len() {
        let (name, after) = name_at(part, at, list_width);
        next[name.block] += 1;
        names += 1;
        at = after;
    }
    let mut begin = 0;
    for next in &mut next {
        begin += std::mem::replace(next, begin);
    }
    order.clear();
    order.resize(names, 0);
    at = 0;
    while at < part.len() {
        let (name, after) = name_at(part, at, list_width);
        order[next[name.block] as usize] = at as u32;
        next[name.block] += 1;
        at = after;
    }
    next
}
