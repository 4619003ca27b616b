//! How many different things were seen, about, in 32 bytes: linear counting (Whang, Vander-Zanden and Taylor, 1990).

/// Bits. With all of them set the count is "at least 1400".
const BITS: u32 = 256;

/// The set of what was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sketch([u64; BITS as usize / 64]);

impl Sketch {
    /// Adds what has this hash.
    pub(super) fn add(&mut self, hash: u64) {
        let bit = (hash >> 16) as u32 % BITS;
        self.0[bit as usize / 64] |= 1 << (bit % 64);
    }

    /// How many different ones were added, about; 1419 at the most.
    pub(super) fn estimate(&self) -> u32 {
        let empty: u32 = self.0.iter().map(|word| word.count_zeros()).sum();
        let (bits, empty) = (f64::from(BITS), f64::from(empty.max(1)));
        (bits * (bits / empty).ln()).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_from_many() {
        let estimate = |distinct: u64| {
            let mut sketch = Sketch::default();
            (0..10_000).for_each(|n: u64| sketch.add((n % distinct).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            sketch.estimate()
        };
        assert_eq!(Sketch::default().estimate(), 0);
        assert_eq!(estimate(1), 1);
        assert!((25..36).contains(&estimate(30)), "{}", estimate(30));
        assert!((150..260).contains(&estimate(200)), "{}", estimate(200));
        assert!(estimate(10_000) > 1000);
    }
}
