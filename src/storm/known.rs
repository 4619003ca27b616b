//! Names that are known to exist: those lately answered NOERROR, in a filter of fixed size that all workers share (Bloom,
//! CACM 13 (1970)). It may take a name for known that is not, one in some hundreds; the other way round only when it has
//! forgotten. Two generations take turns: a full one becomes the old one, and the old one is emptied.
//!
//! All bits of a name stand in one cache line (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom
//! Filters", 2007), and are written with plain stores: four atomic additions to four lines cost a forwarded query 210 ns,
//! these 15. Two workers that write to the same word in the same nanoseconds may lose a bit; its name is then known from its
//! next answer on.

use crate::sys;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Bits for each name of a full generation, so that with [`PROBES`] about one stranger in 300 passes for known.
const BITS_PER_NAME: usize = 16;

/// Bits for a name.
const PROBES: usize = 4;

/// Bits of a block, and how many bits number them.
const BLOCK_BITS: usize = 512;
const BLOCK_SHIFT: u32 = BLOCK_BITS.ilog2();

/// One cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Block([AtomicU64; BLOCK_BITS / 64]);

#[derive(Debug)]
struct Generation {
    /// A power of two of them.
    blocks: Box<[Block]>,
    names: AtomicUsize,
}

impl Generation {
    fn new(names_max: usize) -> Self {
        let blocks = (names_max * BITS_PER_NAME).next_power_of_two().div_ceil(BLOCK_BITS);
        Self { blocks: (0..blocks).map(|_| Block::default()).collect(), names: AtomicUsize::new(0) }
    }

    fn is_full(&self) -> bool {
        self.names.load(Relaxed) >= self.blocks.len() * BLOCK_BITS / BITS_PER_NAME
    }

    /// The block of a name, from the low end of its hash.
    fn block(&self, name: u64) -> &Block {
        &self.blocks[name as usize & (self.blocks.len() - 1)]
    }

    /// The words and bits of a name, within its block from the high end of its hash.
    #[inline]
    fn bits(&self, name: u64) -> [(&AtomicU64, u64); PROBES] {
        let block = &self.block(name).0;
        std::array::from_fn(|n| {
            let bit = (name >> (u64::BITS - (n as u32 + 1) * BLOCK_SHIFT)) as usize % BLOCK_BITS;
            (&block[bit / 64], 1 << (bit % 64))
        })
    }

    fn has(&self, name: u64) -> bool {
        self.bits(name).iter().all(|(word, bit)| word.load(Relaxed) & bit != 0)
    }
}

/// The filter.
#[derive(Debug)]
pub struct KnownNames {
    generations: [Generation; 2],
    current: AtomicUsize,
    /// Somebody empties the other generation.
    turning: AtomicBool,
}

impl KnownNames {
    /// A filter for the last `names_max` names at least, and up to twice as many.
    pub fn new(names_max: usize) -> Self {
        Self {
            generations: [Generation::new(names_max), Generation::new(names_max)],
            current: AtomicUsize::new(0),
            turning: AtomicBool::new(false),
        }
    }

    /// Bytes of it.
    pub fn size_bytes(&self) -> usize {
        self.generations.iter().map(|generation| size_of_val(&*generation.blocks)).sum()
    }

    /// Whether the name with this keyed hash is known.
    pub fn has(&self, name: u64) -> bool {
        let current = self.current.load(Relaxed);
        self.generations[current].has(name) || self.generations[1 - current].has(name)
    }

    /// Says that the name with this keyed hash may be learnt soon.
    pub fn prefetch(&self, name: u64) {
        sys::prefetch(self.generations[self.current.load(Relaxed)].block(name));
    }

    /// Notes that the name with this keyed hash exists.
    pub fn learn(&self, name: u64) {
        let generation = &self.generations[self.current.load(Relaxed)];
        let mut is_new = false;
        for (word, bit) in generation.bits(name) {
            let known = word.load(Relaxed);
            if known & bit == 0 {
                word.store(known | bit, Relaxed);
                is_new = true;
            }
        }
        if is_new {
            generation.names.store(generation.names.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Empties the old generation once the current one is full. For a tick, not for a query: it writes half of all its bytes.
    pub fn turn(&self) {
        let current = self.current.load(Relaxed);
        if !self.generations[current].is_full() || self.turning.swap(true, Relaxed) {
            return;
        }
        let other = &self.generations[1 - current];
        other.blocks.iter().flat_map(|block| &block.0).for_each(|word| word.store(0, Relaxed));
        other.names.store(0, Relaxed);
        self.current.store(1 - current, Relaxed);
        self.turning.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES_MAX: usize = 1 << 16;

    fn hash(n: u64) -> u64 {
        // splitmix64
        let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[test]
    fn what_was_seen_is_known_and_few_strangers_are_taken_for_it() {
        let known = KnownNames::new(NAMES_MAX);
        (0..NAMES_MAX as u64 * 9 / 8).for_each(|n| known.learn(hash(n)));
        assert!((0..NAMES_MAX as u64).all(|n| known.has(hash(n))));
        let strangers = (0..100_000).filter(|n| known.has(hash(1 << 40 | n))).count();
        assert!(strangers < 700, "{strangers} of 100000");
        known.turn();
        assert!((0..100).all(|n| known.has(hash(n))), "the full one is still asked");
        (0..NAMES_MAX as u64 * 9 / 8).for_each(|n| known.learn(hash(1 << 50 | n)));
        known.turn();
        let remembered = (0..1000).filter(|n| known.has(hash(*n))).count();
        assert!(remembered < 20, "{remembered} of 1000 after two turns");
    }
}
