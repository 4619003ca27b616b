//! Names as parsed, packed one behind the other: a `Vec` of boxes would take three times the memory and the time.

use super::super::Pattern;
use super::super::sets::FREED;
use super::Types;

/// Different sets of record types that one list may have: a name keeps the number of its own in four bits.
pub(super) const TYPES_MAX: usize = 15;

/// Bits of the number of types in what is kept before a name; the bits below are its reach.
const REACH_BITS: u32 = 4;

/// A name of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Entry<'l> {
    /// What of it is named or freed.
    pub(in super::super) reach: u8,
    /// For which types; `None`: all.
    pub(in super::super) types: Option<&'l Types>,
    /// Valid, lower-case, with the root's zero byte.
    pub(in super::super) wire: &'l [u8],
}

/// Names in wire form, each with what it means; in the order they were written, those that exceptions bear on last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// For each name: its reach and the number of its types, the length of its wire form, the wire form.
    packed: Vec<u8>,
    count: usize,
    /// Number n is at n - 1; number 0 is all types.
    types: Vec<Types>,
    frees: bool,
}

impl AsRef<Self> for NameList {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl NameList {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The names of one pattern.
    pub fn of(pattern: &Pattern) -> Self {
        let mut list = Self::default();
        list.push(pattern.reach, pattern.name.as_wire());
        list
    }

    pub(in super::super) fn reserve(&mut self, bytes: usize) {
        self.packed.reserve(bytes);
    }

    /// Adds a name: `wire` is valid, lower-case and ends with the root's zero byte.
    #[inline]
    pub(in super::super) fn push(&mut self, reach: u8, wire: &[u8]) {
        self.packed.extend_from_slice(&[reach, wire.len() as u8]);
        self.packed.extend_from_slice(wire);
        self.count += 1;
    }

    /// Adds a name for some types only; `false` when the list has [`TYPES_MAX`] other sets of types already.
    #[must_use]
    pub(in super::super) fn push_for(&mut self, reach: u8, types: &Types, wire: &[u8]) -> bool {
        let Some(number) = self.number_of(types) else { return false };
        self.frees |= reach & FREED != 0;
        self.push(reach | number << REACH_BITS, wire);
        true
    }

    fn number_of(&mut self, types: &Types) -> Option<u8> {
        if *types == Types::ALL {
            return Some(0);
        }
        let known = self.types.iter().position(|known| known == types);
        if known.is_none() {
            if self.types.len() == TYPES_MAX {
                return None;
            }
            self.types.push(types.clone());
        }
        Some(known.unwrap_or(self.types.len() - 1) as u8 + 1)
    }

    /// Gives back the memory that was reserved and not used.
    pub(in super::super) fn shrink(&mut self) {
        self.packed.shrink_to_fit();
    }

    /// Whether it frees names, that is, has exceptions.
    pub(in super::super) fn frees(&self) -> bool {
        self.frees
    }

    /// For each name its marks, the length of its wire form, and the wire form.
    pub(in super::super) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// What marks before a name say: its reach, and the types it is for; `None`: all.
    pub(in super::super) fn meaning(&self, marks: u8) -> (u8, Option<&Types>) {
        let types = usize::from(marks >> REACH_BITS).checked_sub(1).and_then(|number| self.types.get(number));
        (marks & ((1 << REACH_BITS) - 1), types)
    }

    /// Each with its reach (1: the name itself, 2: what is below it, 4 and 8: the same, freed by an exception) in its wire
    /// form.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.entries().map(|entry| (entry.reach, entry.wire))
    }

    /// Each with all that is known of it.
    pub(in super::super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.packed.as_slice();
        std::iter::from_fn(move || {
            let (&[marks, len], tail) = rest.split_first_chunk::<2>()?;
            let (wire, tail) = tail.split_at_checked(usize::from(len))?;
            rest = tail;
            let (reach, types) = self.meaning(marks);
            Some(Entry { reach, types, wire })
        })
    }
}
