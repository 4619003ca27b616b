//! Names on their way into a table, spread over parts by their hashes: a part fits into a core's cache, where it is
//! sorted, and neither the names as parsed nor keys to sort by have to exist beside all of the table. Each name is hashed
//! and copied once; what is read is given back, on both sides.

use super::super::lists::NameList;
use super::{Keys, home_of, mark_number, tag_of};
use crate::sys::pages::Scratch;
use std::borrow::Cow;
use std::sync::Arc;

/// How many blocks of the table a part is for, as a power of two: some 8000 names.
const BLOCKS_SHIFT: u32 = 11;

/// Blocks of a part.
pub(super) const BLOCKS: usize = 1 << BLOCKS_SHIFT;

/// Bytes of what is kept of the hash: the block within the part (11 bits), the mark (5 bits), the tag (8 bits).
const KEY: usize = 3;

/// Bytes of its marks. Its length is not kept: a wire form says itself where it ends.
const MARKS: usize = 1;

/// The most bytes of the number of a list.
const LIST_MAX: usize = 3;

/// A name of a part.
#[derive(Clone, Copy)]
pub(super) struct Spread<'p> {
    /// Its block within the part.
    pub(super) block: usize,
    /// The number of its bit in the marks of the block.
    pub(super) mark: u32,
    pub(super) tag: u8,
    /// The number of its list.
    pub(super) list: usize,
    /// Its marks there.
    pub(super) marks: u8,
    pub(super) wire: &'p [u8],
}

/// All parts.
pub(super) struct Parts {
    memory: Scratch,
    /// Bytes that each part has in `memory`.
    room: usize,
    parts: Vec<Part>,
    /// Bytes of the number of a list.
    list_width: usize,
    /// Bit n: some name has n labels.
    pub(super) depths: u128,
}

#[derive(Default)]
struct Part {
    filled: usize,
    /// What found no room: one name a thousand times over is all in one part.
    more: Vec<u8>,
}

impl Parts {
    /// Spreads all names of all lists for a table of so many blocks; a list that nobody else holds is freed piece by piece.
    pub(super) fn of(lists: Vec<Arc<NameList>>, keys: Keys, blocks: usize) -> Self {
        let (names, bytes) = lists.iter().fold((0, 0), |(n, b), list| (n + list.len(), b + list.bytes()));
        let list_width = lists.len().saturating_sub(1).checked_ilog2().map_or(0, |bits| bits as usize / 8 + 1);
        let number = blocks.div_ceil(BLOCKS);
        // A list has two bytes before each name.
        let mean = (bytes - names * 2 + names * (KEY + list_width + MARKS)) / number;
        // A part of 8000 names differs from the mean by one or two in a hundred; no page is taken before it is written.
        let room = if number == 1 { mean } else { mean + mean / 8 + 4096 };
        let mut parts: Vec<_> = (0..number).map(|_| Part::default()).collect();
        let (mut memory, mut depths) = (Scratch::new(room * number), 0_u128);
        let bytes = memory.bytes();
        let head_len = KEY + list_width + MARKS;
        for (list_number, list) in lists.into_iter().enumerate() {
            let mut head = [0; KEY + LIST_MAX + MARKS];
            head[KEY..KEY + list_width].copy_from_slice(&(list_number as u32).to_le_bytes()[..list_width]);
            NameList::take_apart(list, |marks, wire| {
                let (hash, depth) = keys.hash(wire);
                depths |= 1 << depth;
                let home = home_of(hash, blocks);
                let key = (home % BLOCKS) as u32 | mark_number(hash) << BLOCKS_SHIFT | u32::from(tag_of(hash)) << 16;
                head[..KEY].copy_from_slice(&key.to_le_bytes()[..KEY]);
                head[head_len - 1] = marks;
                let part = &mut parts[home / BLOCKS];
                let (start, size) = (home / BLOCKS * room + part.filled, head_len + wire.len());
                // Equal names are equally long, so they stay in their order when some find no room.
                if part.filled + size <= room {
                    let (before, behind) = bytes[start..start + size].split_at_mut(head_len);
                    before.copy_from_slice(&head[..head_len]);
                    behind.copy_from_slice(wire);
                    part.filled += size;
                } else {
                    part.more.extend_from_slice(&head[..head_len]);
                    part.more.extend_from_slice(wire);
                }
            });
        }
        Self { memory, room, parts, list_width, depths }
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The bytes of a part, once; those of the parts before it are given back.
    pub(super) fn take(&mut self, part: usize) -> Cow<'_, [u8]> {
        let Part { filled, more } = std::mem::take(&mut self.parts[part]);
        let start = part * self.room;
        self.memory.give_back(start);
        let bytes = &self.memory.bytes()[start..start + filled];
        if more.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned([bytes, &more].concat()) }
    }

    /// Bytes of the number of a list.
    pub(super) fn list_width(&self) -> usize {
        self.list_width
    }
}

/// The name at `at` of a part, and where the next one is.
#[inline]
pub(super) fn name_at(part: &[u8], at: usize, list_width: usize) -> (Spread<'_>, usize) {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let start = at + KEY + list_width + MARKS;
    let head = &part[at..start];
    let key = number(&head[..KEY]);
    let end = end_of(part, start);
    let spread = Spread {
        block: key as usize % BLOCKS,
        mark: key >> BLOCKS_SHIFT & 31,
        tag: (key >> 16) as u8,
        list: number(&head[KEY..KEY + list_width]) as usize,
        marks: head[head.len() - 1],
        wire: &part[start..end],
    };
    (spread, end)
}

/// Where the wire form that begins at `start` ends.
#[inline]
fn end_of(part: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        match part[at] {
            0 => return at + 1,
            len => at += 1 + usize::from(len),
        }
    }
}
