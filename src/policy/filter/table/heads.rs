//! Which name of a block is the one looked for, told from eight at a time without a branch for each: the processor cannot
//! guess which of them it is, and to guess wrong costs it as much as comparing all.

use super::{HEAD, LANES, TAIL};

/// The heads of names that follow each other in a block, at most [`LANES`]: for each its tag, and the length of its wire form.
pub(super) struct Heads<'t> {
    heads: &'t [u8; TAIL],
    /// How many there are.
    len: usize,
}

impl<'t> Heads<'t> {
    #[inline]
    pub(super) fn of(heads: &'t [u8; TAIL], left: usize) -> Self {
        Self { heads, len: left.min(LANES) }
    }

    /// A bit for each that has this tag and this length.
    #[inline]
    pub(super) fn equal_to(&self, tag: u8, len: u8) -> u32 {
        let wanted = [tag, len];
        let heads = self.heads.as_chunks::<HEAD>().0.iter().enumerate();
        let equal = heads.fold(0, |equal, (lane, head)| equal | u32::from(*head == wanted) << lane);
        equal & ((1 << self.len) - 1)
    }

    /// The lengths of those before a lane, in all.
    #[inline]
    pub(super) fn lens_before(&self, lane: u32) -> usize {
        self.lens((1 << (u16::BITS * lane)) - 1)
    }

    /// The lengths of all [`LANES`].
    pub(super) fn lens_of_all(&self) -> usize {
        self.lens(u128::MAX)
    }

    /// The lengths of the heads that a mask leaves: the odd bytes, added up in the uppermost of four.
    #[inline]
    fn lens(&self, mask: u128) -> usize {
        let heads = u128::from_le_bytes(*self.heads) & mask;
        let sum = |half: u64| (half >> 8 & 0x00ff_00ff_00ff_00ff).wrapping_mul(0x0001_0001_0001_0001) >> 48;
        (sum(heads as u64) + sum((heads >> 64) as u64)) as usize
    }
}

/// Whether two wire forms of the same length are the same. Nearly all are of 8 to 32 bytes: four words, which overlap as
/// they must.
#[inline]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let len = a.len();
    if !(8..=32).contains(&len) || len != b.len() {
        return a == b;
    }
    let word = |name: &[u8], at: usize| name[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let differ = |at: usize| word(a, at) ^ word(b, at);
    differ(0) | differ(8.min(len - 8)) | differ(len.saturating_sub(16)) | differ(len - 8) == 0
}
