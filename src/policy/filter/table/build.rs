//! Building a table: all names are spread over parts by their hashes, each part is sorted where it lies in a core's cache,
//! and written behind the one before it. A million names pass through the memory in order, twice, instead of each being
//! looked for in a growing table; and as the table grows, what it is made of goes.

use super::super::lists::NameList;
use super::lay_out::room_for;
use super::spread::{self, Parts, Spread, name_at};
use super::suffixes::{Hashes, Keys, Labels};
use super::{BLOCK, Block, COUNT, HEAD, Probe, Table, TooManyNames, is_same, value_of};
use crate::sys::pages::{Pages, Zeroed};
use std::ops::Range;
use std::sync::Arc;

/// Names that are looked for above in one go, each a few times.
const BATCH: usize = 32;

/// The most lists of a table: the number of a list has 24 bits.
const LISTS_MAX: usize = 1 << 24;

/// The most bytes of a value.
const WIDTH_MAX: usize = 4;

/// The most bytes of all blocks: where each begins and ends is told in 32 bits.
const END_MAX: u32 = u32::MAX;

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
        let (mut table, used) = Self::unfolded(lists, seed, 1, merge)?;
        let used = table.fold(used, keep);
        table.lay_out(used);
        Ok(table)
    }

    /// As [`Self::build`], for a table whose names are all kept, and whose values can become any with [`Self::revalue`].
    pub(in crate::policy::filter) fn build_loose(
        lists: Vec<Arc<NameList>>,
        seed: u64,
        merge: impl FnMut(Option<u32>, usize, u8) -> u32,
    ) -> Result<Self, TooManyNames> {
        let (mut table, used) = Self::unfolded(lists, seed, WIDTH_MAX, merge)?;
        table.lay_out(used);
        Ok(table)
    }

    /// A table whose blocks follow each other directly, and how many bytes they take.
    fn unfolded(
        lists: Vec<Arc<NameList>>,
        seed: u64,
        width: usize,
        merge: impl FnMut(Option<u32>, usize, u8) -> u32,
    ) -> Result<(Self, usize), TooManyNames> {
        assert!(lists.len() <= LISTS_MAX, "the number of a list has 24 bits");
        let keys = Keys::new(seed);
        let (names, bytes) = lists.iter().fold((0, 0), |(n, b), list| (n + list.len(), b + list.bytes()));
        let blocks = names / BLOCK + 1;
        let parts = Parts::of(lists, keys, blocks);
        // A list has two bytes before each name, as a block has.
        let bytes_max = room_for(bytes + names * WIDTH_MAX + blocks.min(names) * COUNT, blocks);
        let table = Self {
            keys,
            stride: 0,
            ahead: 0,
            blocks: Zeroed::new(blocks + 1, Pages::Large),
            // What is not written takes no memory.
            arena: Zeroed::new(bytes_max, Pages::Large),
            width,
            names: 0,
            depths: parts.depths,
        };
        let mut writer = Writer { table, merge, end_max: end_max(), used: 0, heads: Vec::new(), names: Vec::new() };
        writer.write(parts)?;
        Ok((writer.table, writer.used))
    }

    /// Gives each name another value, made of its wire form and the one it has, in a table of [`Self::build_loose`].
    pub(in crate::policy::filter) fn revalue(&mut self, mut value: impl FnMut(&[u8], u32) -> u32) {
        for block in 0..self.blocks.len() - 1 {
            let mut next = self.first_of(block);
            while let Some(place) = next {
                let (values, wire) = self.arena[place.range(self.width)].split_at_mut(self.width);
                let new = value(wire, value_of(values)).to_le_bytes();
                values.copy_from_slice(&new[..values.len()]);
                next = self.after(place);
            }
        }
    }

    /// Each name in its wire form, with its value.
    pub(in crate::policy::filter) fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        (0..self.blocks.len() - 1).flat_map(|block| self.places_of(block)).map(|place| {
            let (values, wire) = self.arena[place.range(self.width)].split_at(self.width);
            (wire, value_of(values))
        })
    }

    /// The places of the names of a block.
    pub(super) fn places_of(&self, block: usize) -> impl Iterator<Item = Place> {
        std::iter::successors(self.first_of(block), |place| self.after(*place))
    }

    /// The first name of a block.
    fn first_of(&self, block: usize) -> Option<Place> {
        let Block { start, marks } = self.block(block);
        if marks == 0 {
            return None;
        }
        let head = start as usize + COUNT;
        let count = usize::from(u16::from_le_bytes([self.arena[head - 2], self.arena[head - 1]]));
        Some(Place { head, left: count, at: head + count * HEAD, len: usize::from(self.arena[head + 1]) })
    }

    /// The next name of the same block.
    fn after(&self, place: Place) -> Option<Place> {
        let (head, left) = (place.head + HEAD, place.left - 1);
        let at = place.range(self.width).end;
        (left > 0).then(|| Place { head, left, at, len: usize::from(self.arena[head + 1]) })
    }

    /// Takes out the names that `keep` refuses; how many bytes the blocks take then.
    fn fold(&mut self, used: usize, mut keep: impl FnMut(u32, Option<u32>) -> bool) -> usize {
        let mut refused = Vec::new();
        let mut batch: Vec<(Place, Option<u32>)> = Vec::with_capacity(BATCH);
        let mut probes = Vec::new();
        let blocks = self.blocks.len() - 1;
        for block in 0..blocks {
            let mut next = self.first_of(block);
            while let Some(place) = next {
                self.probe_above(place, batch.len(), &mut probes);
                batch.push((place, None));
                next = self.after(place);
            }
            if batch.len() < BATCH && block + 1 < blocks {
                continue;
            }
            for (of, wire, probe) in probes.drain(..) {
                // Shortest first: the nearest is the last one found.
                if let Some(value) = self.find(&probe, &self.arena[wire]) {
                    batch[of].1 = Some(value);
                }
            }
            for (place, above) in batch.drain(..) {
                if !keep(value_of(&self.arena[place.at..place.at + self.width]), above) {
                    refused.push(place.head);
                }
            }
        }
        if refused.is_empty() { used } else { self.take_out(&refused) }
    }

    /// Fetches the blocks of all suffixes of a name that could be in the table, itself left out.
    fn probe_above(&self, place: Place, of: usize, probes: &mut Vec<(usize, Range<usize>, Probe)>) {
        let Range { start, end: after } = place.range(self.width);
        let start = start + self.width;
        let wire = &self.arena[start..after];
        let hashes = Hashes::of(self.keys, wire);
        let mut labels = Labels::of(wire);
        let (mut from, mut depth) = (hashes.end(), 0);
        while let Some(longer) = labels.pop() {
            // What begins at `from` has `depth` labels.
            if self.depths >> depth & 1 != 0 {
                probes.extend(self.fetch(hashes.from(from), 0).map(|probe| (of, start + from..after, probe)));
            }
            (from, depth) = (longer, depth + 1);
        }
    }

    /// Moves the names whose heads are not in `refused`, which is in their order, together; how many bytes they take.
    fn take_out(&mut self, refused: &[usize]) -> usize {
        let mut refused = refused.iter().copied().peekable();
        let mut to = 0;
        let (mut heads, mut names) = (Vec::new(), Vec::new());
        for block in 0..self.blocks.len() - 1 {
            heads.clear();
            names.clear();
            let mut next = self.first_of(block);
            while let Some(place) = next {
                if refused.next_if_eq(&place.head).is_some() {
                    self.names -= 1;
                } else {
                    heads.extend_from_slice(&self.arena[place.head..place.head + HEAD]);
                    names.extend_from_slice(&self.arena[place.range(self.width)]);
                }
                next = self.after(place);
            }
            let marks = if heads.is_empty() { 0 } else { self.block(block).marks };
            self.blocks[block] = Block { start: to as u32, marks }.word();
            to = put(&mut self.arena, to, &heads, &names);
        }
        self.end_at(to);
        to
    }

    /// Notes where the last block ends.
    pub(super) fn end_at(&mut self, end: usize) {
        *self.blocks.last_mut().expect("the end of the last block is always there") =
            Block { start: end as u32, marks: 0 }.word();
    }
}

/// Where a name of a block stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    head: usize,
    /// Names of the block from this one on.
    left: usize,
    at: usize,
    len: usize,
}

impl Place {
    /// Its value and its wire form.
    fn range(&self, width: usize) -> Range<usize> {
        self.at..self.at + width + self.len
    }
}

/// Writes a block, if it has names; where it ends.
fn put(arena: &mut [u8], at: usize, heads: &[u8], names: &[u8]) -> usize {
    if heads.is_empty() {
        return at;
    }
    let (head, name) = (at + COUNT, at + COUNT + heads.len());
    arena[at..head].copy_from_slice(&((heads.len() / HEAD) as u16).to_le_bytes());
    arena[head..name].copy_from_slice(heads);
    arena[name..name + names.len()].copy_from_slice(names);
    name + names.len()
}

#[cfg(not(test))]
fn end_max() -> u32 {
    END_MAX
}

#[cfg(test)]
use tests::end_max;

/// A table being written, block by block.
struct Writer<M> {
    table: Table,
    merge: M,
    /// The most bytes that may be written.
    end_max: u32,
    /// Bytes of the arena that are written.
    used: usize,
    /// Of the block being written: heads, and values with names.
    heads: Vec<u8>,
    names: Vec<u8>,
}

/// A name of the block being written.
struct Entry<'p> {
    tag: u8,
    value: u32,
    wire: &'p [u8],
}

impl<M: FnMut(Option<u32>, usize, u8) -> u32> Writer<M> {
    fn write(&mut self, mut parts: Parts) -> Result<(), TooManyNames> {
        let list_width = parts.list_width();
        let mut order = Vec::new();
        for number in 0..parts.len() {
            let part = parts.take(number);
            let ends = sort(&part, list_width, &mut order);
            let first = number * spread::BLOCKS;
            let mut names = order.iter();
            let mut entries = Vec::new();
            let mut begin = 0;
            for (block, end) in (first..self.table.blocks.len() - 1).zip(ends) {
                entries.clear();
                let mut marks = 0;
                for &at in names.by_ref().take((end - begin) as usize) {
                    let name = name_at(&part, at as usize, list_width).0;
                    marks |= 1 << name.mark;
                    self.enter(&mut entries, &name);
                }
                self.put(block, marks, &entries)?;
                begin = end;
            }
        }
        self.end()?;
        self.table.end_at(self.used);
        Ok(())
    }

    /// Where what is written ends and the next block begins.
    fn end(&self) -> Result<u32, TooManyNames> {
        u32::try_from(self.used).ok().filter(|end| *end <= self.end_max).ok_or(TooManyNames)
    }

    /// Enters a name into the block that is being written.
    fn enter<'p>(&mut self, entries: &mut Vec<Entry<'p>>, name: &Spread<'p>) {
        let is_it = |entry: &&mut Entry<'_>| {
            entry.tag == name.tag && entry.wire.len() == name.wire.len() && is_same(entry.wire, name.wire)
        };
        if let Some(known) = entries.iter_mut().find(is_it) {
            known.value = (self.merge)(Some(known.value), name.list, name.marks);
            return;
        }
        let value = (self.merge)(None, name.list, name.marks);
        entries.push(Entry { tag: name.tag, value, wire: name.wire });
    }

    /// Writes a block.
    fn put(&mut self, block: usize, marks: u32, entries: &[Entry<'_>]) -> Result<(), TooManyNames> {
        // Names are spread by a hash that nobody knows: some twenty would be many.
        u16::try_from(entries.len()).map_err(|_| TooManyNames)?;
        let value_len = |entry: &Entry<'_>| WIDTH_MAX - entry.value.leading_zeros() as usize / 8;
        let width = entries.iter().map(value_len).max().unwrap_or(0);
        if width > self.table.width {
            self.widen(block, width)?;
        }
        let width = self.table.width;
        let start = self.end()?;
        self.heads.clear();
        self.names.clear();
        for entry in entries {
            self.heads.extend_from_slice(&[entry.tag, entry.wire.len() as u8]);
            self.names.extend_from_slice(&entry.value.to_le_bytes()[..width]);
            self.names.extend_from_slice(entry.wire);
        }
        self.table.blocks[block] = Block { start, marks }.word();
        self.used = put(&mut self.table.arena, self.used, &self.heads, &self.names);
        self.table.names += entries.len();
        Ok(())
    }

    /// Gives all values more bytes, `blocks` having been written. Three times at most, and mostly early: it takes many lists
    /// that overlap to have more than 255 different sets of rules.
    fn widen(&mut self, blocks: usize, width: usize) -> Result<(), TooManyNames> {
        let mut wider = Zeroed::new(self.table.arena.len(), Pages::Large);
        self.used = 0;
        for block in 0..blocks {
            self.heads.clear();
            self.names.clear();
            for place in self.table.places_of(block) {
                let (value, wire) = self.table.arena[place.range(self.table.width)].split_at(self.table.width);
                self.heads.extend_from_slice(&self.table.arena[place.head..place.head + HEAD]);
                self.names.extend_from_slice(value);
                self.names.resize(self.names.len() + width - value.len(), 0);
                self.names.extend_from_slice(wire);
            }
            let marks = self.table.block(block).marks;
            let start = self.end()?;
            self.table.blocks[block] = Block { start, marks }.word();
            self.used = put(&mut wider, self.used, &self.heads, &self.names);
        }
        (self.table.arena, self.table.width) = (wider, width);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;
    use std::cell::Cell;

    thread_local! {
        static LOWERED: Cell<u32> = const { Cell::new(END_MAX) };
    }

    pub(super) fn end_max() -> u32 {
        LOWERED.get()
    }

    impl Table {
        /// What `make` makes where no table may have more bytes than these: 4 GiB of names are too many for a test.
        pub(in crate::policy) fn with_at_most<T>(bytes: u32, make: impl FnOnce() -> T) -> T {
            LOWERED.set(bytes);
            let made = make();
            LOWERED.set(END_MAX);
            made
        }
    }

    /// Wherever the limit is passed, in the middle of the names or in making room for wider values, and not a byte before.
    #[test]
    fn names_that_pass_the_limit_are_refused_and_those_up_to_it_are_not() {
        let mut list = NameList::default();
        (0..300).for_each(|n| list.push(0, Name::from_text(&format!("name-{n}.example")).unwrap().as_wire()));
        let list = Arc::new(list);
        // One value for all, or from the 256th name on values of two bytes, for which all names are written anew.
        for (values, width) in [(1, 1), (300, 2)] {
            let build = |bytes_max| {
                let mut value = 0;
                let merge = |_: Option<u32>, _: usize, _: u8| {
                    value = (value + 1).min(values);
                    value
                };
                Table::with_at_most(bytes_max, || Table::unfolded(vec![list.clone()], 7, 1, merge))
            };
            let (table, used) = build(END_MAX).unwrap();
            assert_eq!((table.len(), table.width), (300, width));
            let used = u32::try_from(used).unwrap();
            for bytes in (0..used + 3).step_by(7).chain([used - 1, used, used + 1]) {
                assert_eq!(
                    build(bytes).map(|_| ()),
                    if bytes < used { Err(TooManyNames) } else { Ok(()) },
                    "{bytes} of {used}"
                );
            }
        }
    }
}
