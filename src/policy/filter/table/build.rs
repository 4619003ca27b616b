//! Building a table: all names are hashed, sorted by their hashes and written one behind the other, so that a million
//! names pass through the cache in order instead of each being looked for in a growing table.

use super::super::lists::NameList;
use super::{BLOCK, Block, HEAD, Keys, Labels, Probe, Table, TooManyNames, mark_of, tag_of, value_of};
use crate::sys::pages::prefer_large_pages;
use crate::sys::prefetch;

/// Names whose places are fetched ahead of their use.
const AHEAD: usize = 16;

/// Names that are looked for above in one go, each a few times.
const BATCH: usize = 32;

/// A name to be sorted: its hash, the number of its list (24 bits), its place there (32 bits), its marks (8 bits). Equal
/// names stand together, in the order they were entered.
type Key = u128;

fn key_of(hash: u64, list: usize, at: usize, marks: u8) -> Key {
    u128::from(hash) << 64 | (list as u128) << 40 | (at as u128) << 8 | u128::from(marks)
}

fn hash_of(key: Key) -> u64 {
    (key >> 64) as u64
}

/// The lists of which a table is made.
struct Lists<'l, L>(&'l [L]);

impl<'l, L: AsRef<NameList>> Lists<'l, L> {
    /// The wire form of a name, its length before it.
    fn wire(&self, key: Key) -> &'l [u8] {
        let packed = self.0[(key >> 40) as usize & 0xff_ffff].as_ref().packed();
        let at = (key >> 8) as u32 as usize;
        &packed[at + 2..at + 2 + usize::from(packed[at + 1])]
    }

    fn prefetch(&self, key: Key) {
        prefetch(&self.0[(key >> 40) as usize & 0xff_ffff].as_ref().packed()[(key >> 8) as u32 as usize]);
    }
}

impl Table {
    /// Makes a table of all names of all lists. `merge` is given what a name has so far, the number of the list and the
    /// name's marks, and returns what it has from now on; the names of one spelling come in the order of lists. `keep` is
    /// given the value of each name and that of the nearest name above it, kept or not, and says whether it is kept.
    /// `seed` is the secret of the hash.
    ///
    /// # Errors
    /// [`TooManyNames`]
    ///
    /// # Panics
    /// With more than 2^24 lists.
    pub(in crate::policy::filter) fn build<L: AsRef<NameList>>(
        lists: &[L],
        seed: u64,
        mut merge: impl FnMut(Option<u32>, usize, u8) -> u32,
        keep: impl FnMut(u32, Option<u32>) -> bool,
    ) -> Result<Self, TooManyNames> {
        assert!(lists.len() < 1 << 24, "the number of a list has 24 bits");
        let keys = Keys::new(seed);
        let mut names = sorted(lists, keys)?;
        let lists = Lists(lists);
        let values = merged(&lists, &mut names, &mut merge);
        let mut table = Self::of_sorted(&lists, keys, &names, &values)?;
        drop((names, values));
        table.fold(keep);
        Ok(table)
    }

    /// Writes names with their values; both in the order of hashes.
    fn of_sorted<L: AsRef<NameList>>(
        lists: &Lists<'_, L>,
        keys: Keys,
        names: &[Key],
        values: &[u32],
    ) -> Result<Self, TooManyNames> {
        let greatest = values.iter().copied().max().unwrap_or(0);
        let width = (4 - greatest.leading_zeros() as usize / 8).max(1);
        let mut bytes = 0;
        for (n, &name) in names.iter().enumerate() {
            names.get(n + AHEAD).into_iter().for_each(|ahead| lists.prefetch(*ahead));
            bytes += HEAD + width + lists.wire(name).len();
        }
        u32::try_from(bytes).map_err(|_| TooManyNames)?;
        let blocks = names.len() / BLOCK + 1;
        let mut table = Self {
            keys,
            blocks: vec![Block::default(); blocks + 1],
            arena: Vec::new(),
            width,
            names: names.len(),
            depths: 0,
        };
        table.arena.reserve_exact(bytes);
        prefer_large_pages(&mut table.arena);
        let mut begun = 0;
        for (n, (&name, value)) in names.iter().zip(values).enumerate() {
            names.get(n + AHEAD).into_iter().for_each(|ahead| lists.prefetch(*ahead));
            let (hash, wire) = (hash_of(name), lists.wire(name));
            let home = table.home(hash);
            // This block and those before it that have no names begin here, unless it has begun already.
            if begun <= home {
                table.begin(begun..home + 1);
                begun = home + 1;
            }
            table.blocks[home].marks |= mark_of(hash);
            table.arena.extend_from_slice(&[wire.len() as u8, tag_of(hash)]);
            table.arena.extend_from_slice(&value.to_le_bytes()[..width]);
            table.arena.extend_from_slice(wire);
            table.depths |= 1 << Labels::of(wire).len;
        }
        table.begin(begun..blocks + 1);
        Ok(table)
    }

    /// Lets blocks begin at the end of what is written.
    fn begin(&mut self, blocks: std::ops::Range<usize>) {
        let start = self.arena.len() as u32;
        self.blocks[blocks].iter_mut().for_each(|block| block.start = start);
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
    fn probe_above(&self, at: usize, of: usize, probes: &mut Vec<(usize, std::ops::Range<usize>, Probe)>) {
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
        self.arena.shrink_to_fit();
    }
}

/// All names in the order of their hashes.
fn sorted<L: AsRef<NameList>>(lists: &[L], keys: Keys) -> Result<Vec<Key>, TooManyNames> {
    let count = lists.iter().map(|list| list.as_ref().len()).sum();
    let mut names = Vec::with_capacity(count);
    for (number, list) in lists.iter().enumerate() {
        let packed = list.as_ref().packed();
        u32::try_from(packed.len()).map_err(|_| TooManyNames)?;
        let mut at = 0;
        while let Some(&[marks, len]) = packed.get(at..at + 2) {
            let next = at + 2 + usize::from(len);
            names.push(key_of(keys.hash(&packed[at + 2..next]), number, at, marks));
            at = next;
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Leaves of each name the first key, and gives the values of what is left.
fn merged<L: AsRef<NameList>>(
    lists: &Lists<'_, L>,
    names: &mut Vec<Key>,
    merge: &mut impl FnMut(Option<u32>, usize, u8) -> u32,
) -> Vec<u32> {
    let mut values = Vec::with_capacity(names.len());
    let mut kept = 0;
    // Where those with the hash of the name before begin.
    let mut run = 0;
    for n in 0..names.len() {
        let name = names[n];
        if kept > run && hash_of(names[run]) != hash_of(name) {
            run = kept;
        }
        let same = (run..kept).find(|known| lists.wire(names[*known]) == lists.wire(name));
        let (list, marks) = ((name >> 40) as usize & 0xff_ffff, name as u8);
        match same {
            Some(known) => values[known] = merge(Some(values[known]), list, marks),
            None => {
                values.push(merge(None, list, marks));
                names[kept] = name;
                kept += 1;
            }
        }
    }
    names.truncate(kept);
    values
}
