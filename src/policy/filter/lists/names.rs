//! Names as parsed, packed one behind the other: a `Vec` of boxes would take three times the memory and the time.

use super::super::Pattern;

/// Names in wire form, each with what it means; in the order they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// For each name: its reach, the length of its wire form, the wire form.
    packed: Vec<u8>,
    count: usize,
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
    pub(in super::super) fn push(&mut self, reach: u8, wire: &[u8]) {
        self.packed.extend_from_slice(&[reach, wire.len() as u8]);
        self.packed.extend_from_slice(wire);
        self.count += 1;
    }

    /// Each with its reach (1: the name itself, 2: what is below it, 3: both) in its wire form.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.packed.as_slice();
        std::iter::from_fn(move || {
            let (&[reach, len], tail) = rest.split_first_chunk::<2>()?;
            let (wire, tail) = tail.split_at_checked(usize::from(len))?;
            rest = tail;
            Some((reach, wire))
        })
    }
}
