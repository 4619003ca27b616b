//! Names as parsed, packed one behind the other: a `Vec` of boxes would take three times the memory and the time. They
//! lie in pieces, so that a table can be made of them while what it has taken in already is given back.

use super::super::Pattern;
use super::super::sets::FREED;
use super::Types;
use super::kept::Kept;
use std::sync::Arc;

/// Different sets of record types that one list may have: a name keeps the number of its own in four bits.
pub(super) const TYPES_MAX: usize = 15;

/// Bits of the number of types in what is kept before a name; the bits below are its reach.
const REACH_BITS: u32 = 4;

/// The most bytes of a piece.
const PIECE: usize = 256 << 10;

/// Bytes before the wire form of a name: its marks and its length.
const HEAD: usize = 2;

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
    pieces: Vec<Vec<u8>>,
    count: usize,
    meanings: Meanings,
    /// Of a list that a later policy may have again.
    kept: Option<Arc<Kept>>,
    /// Its names are in a table already, and not here.
    is_absent: bool,
}

/// What the marks before the names of a list say; outlives the names while a table is made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Meanings {
    /// Number n is at n - 1; number 0 is all types.
    types: Vec<Types>,
    frees: bool,
}

impl Meanings {
    /// Whether names are freed, that is, whether the list has exceptions.
    pub(in super::super) fn frees(&self) -> bool {
        self.frees
    }

    /// What marks before a name say: its reach, and the types it is for; `None`: all.
    pub(in super::super) fn of(&self, marks: u8) -> (u8, Option<&Types>) {
        let types = usize::from(marks >> REACH_BITS).checked_sub(1).and_then(|number| self.types.get(number));
        (marks & ((1 << REACH_BITS) - 1), types)
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

    /// Adds a name: `wire` is valid, lower-case and ends with the root's zero byte.
    #[inline]
    pub(in super::super) fn push(&mut self, reach: u8, wire: &[u8]) {
        let piece = match self.pieces.last_mut() {
            Some(piece) if piece.len() + HEAD + wire.len() <= PIECE => piece,
            _ => self.begin(),
        };
        piece.extend_from_slice(&[reach, wire.len() as u8]);
        piece.extend_from_slice(wire);
        self.count += 1;
    }

    /// Begins a piece. The first grows, as most lists are short.
    #[cold]
    fn begin(&mut self) -> &mut Vec<u8> {
        let room = if self.pieces.is_empty() { 0 } else { PIECE };
        self.pieces.push(Vec::with_capacity(room));
        self.pieces.last_mut().expect("it was just pushed")
    }

    /// Adds a name for some types only; `false` when the list has [`TYPES_MAX`] other sets of types already.
    #[must_use]
    pub(in super::super) fn push_for(&mut self, reach: u8, types: &Types, wire: &[u8]) -> bool {
        let Some(number) = self.number_of(types) else { return false };
        self.meanings.frees |= reach & FREED != 0;
        self.push(reach | number << REACH_BITS, wire);
        true
    }

    fn number_of(&mut self, types: &Types) -> Option<u8> {
        if *types == Types::ALL {
            return Some(0);
        }
        let all = &mut self.meanings.types;
        let known = all.iter().position(|known| known == types);
        if known.is_none() {
            if all.len() == TYPES_MAX {
                return None;
            }
            all.push(types.clone());
        }
        Some(known.unwrap_or(all.len() - 1) as u8 + 1)
    }

    /// What a later policy with the same list goes by.
    pub(in super::super) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// Whether its names are in a table already, and not here; their number and meanings are.
    pub(in super::super) fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// The same list without its names.
    pub(super) fn without_names(&self) -> Self {
        let (meanings, kept) = (self.meanings.clone(), self.kept.clone());
        Self { pieces: Vec::new(), count: self.count, meanings, kept, is_absent: true }
    }

    pub(super) fn keep(&mut self, kept: Arc<Kept>) {
        self.kept = Some(kept);
    }

    /// Gives back the memory that was taken and not used.
    pub(in super::super) fn shrink(&mut self) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.shrink_to_fit();
        }
    }

    /// What the marks of its names say.
    pub(in super::super) fn meanings(&self) -> &Meanings {
        &self.meanings
    }

    /// All bytes of its names: the wire form of each, its length, and its marks.
    pub(in super::super) fn bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// For each name its marks and its wire form; each piece is freed once it is read, if nobody else holds the list.
    pub(in super::super) fn take_apart(list: Arc<Self>, mut visit: impl FnMut(u8, &[u8])) {
        match Arc::try_unwrap(list) {
            Ok(list) => list.pieces.into_iter().for_each(|piece| each_of(&piece, &mut visit)),
            Err(shared) => shared.pieces.iter().for_each(|piece| each_of(piece, &mut visit)),
        }
    }

    /// Each with its reach (1: the name itself, 2: what is below it, 4 and 8: the same, freed by an exception) in its wire
    /// form.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.entries().map(|entry| (entry.reach, entry.wire))
    }

    /// Each with all that is known of it.
    pub(in super::super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.pieces.iter().flat_map(|piece| names_of(piece)).map(|(marks, wire)| {
            let (reach, types) = self.meanings.of(marks);
            Entry { reach, types, wire }
        })
    }
}

/// The names of a piece with their marks.
fn names_of(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[marks, len], tail) = rest.split_first_chunk::<HEAD>()?;
        let (wire, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some((marks, wire))
    })
}

fn each_of(piece: &[u8], visit: &mut impl FnMut(u8, &[u8])) {
    names_of(piece).for_each(|(marks, wire)| visit(marks, wire));
}
