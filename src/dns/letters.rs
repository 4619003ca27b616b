//! The case of letters: lower for names that are compared (RFC 4343), random in questions (draft-vixie-dnsext-dns0x20), where
//! it is what a response must bring back to be believed. Done for every message, so eight bytes at a time.

use super::name::NAME_MAX;

/// Which letters of a name have their case changed, a bit for each byte of its wire form. In words of 64 bytes, byte
/// `8 * n + m` has bit `8 * m + n`, so that the bits of eight bytes lie as far apart as the bytes do: one shift puts them
/// where they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flips([u64; NAME_MAX.div_ceil(WORD)]);

/// Bytes of a name that one word is for.
const WORD: usize = u64::BITS as usize;

/// The bit of byte 255, which no name has: flips were drawn, whether or not they change a letter.
const DRAWN: u64 = 1 << 63;

/// Of the last word.
const LAST: usize = NAME_MAX / WORD;

/// What lifts a byte to 128 from `A` (0x41) on, and from behind `Z` (0x5a) on.
const FROM_CAPITAL_A: u64 = (0x80 - 0x41) * EACH;
const PAST_CAPITAL_Z: u64 = (0x80 - 0x5b) * EACH;

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// What lifts a byte to 128 from `a` (0x61) on, and from behind `z` (0x7a) on.
const FROM_A: u64 = (0x80 - 0x61) * EACH;
const PAST_Z: u64 = (0x80 - 0x7b) * EACH;

/// How far the case bit of a letter (0x20) lies above the lowest.
const CASE_BIT: u32 = 5;

impl Flips {
    /// All letters stay as they are.
    pub const NONE: Self = Self([0; NAME_MAX.div_ceil(WORD)]);

    /// For a name of `len` bytes, out of as many words as it takes.
    #[inline]
    pub fn draw(len: usize, mut random: impl FnMut() -> u64) -> Self {
        let mut words = Self::NONE.0;
        words.iter_mut().take(len.div_ceil(WORD)).for_each(|word| *word = random());
        words[LAST] |= DRAWN;
        Self(words)
    }

    /// Whether they were never drawn.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.0[LAST] & DRAWN == 0
    }

    /// Changes the case of the letters of a wire name whose bit is set, and forgets the bits of what is no letter. Length
    /// bytes are below 64, so no letters.
    #[inline]
    pub fn flip(&mut self, name: &mut [u8]) {
        debug_assert!(name.len() <= NAME_MAX);
        if self.is_none() {
            return;
        }
        let drawn = std::mem::replace(&mut self.0, Self::NONE.0);
        self.0[LAST] = DRAWN;
        let mut changes = |n: usize, eight: u64| {
            let flipped = letters(eight) & drawn[n / 8 % drawn.len()] >> (n % 8);
            self.0[n / 8 % drawn.len()] |= flipped << (n % 8);
            flipped << CASE_BIT
        };
        for (n, eight) in name.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let value = u64::from_le_bytes(*eight);
            *eight = (value ^ changes(n, value)).to_le_bytes();
        }
        let (whole, rest) = (name.len() / 8, name.len() % 8);
        match name.last_chunk_mut::<8>() {
            _ if rest == 0 => {}
            // The last eight hold the rest behind what is done already.
            Some(last) => {
                let (value, done) = (u64::from_le_bytes(*last), 64 - 8 * rest);
                *last = (value ^ changes(whole, value >> done) << done).to_le_bytes();
            }
            None => {
                let changed = (word_of(name) ^ changes(whole, word_of(name))).to_le_bytes();
                name.iter_mut().zip(changed).for_each(|(byte, changed)| *byte = changed);
            }
        }
    }

    /// Whether `answered` is what [`Self::flip`] made of `asked`.
    #[inline]
    pub fn made(&self, asked: &[u8], answered: &[u8]) -> bool {
        if asked.len() != answered.len() {
            return false;
        }
        let changed = |n: usize| (self.0[n / 8 % self.0.len()] >> (n % 8) & EACH) << CASE_BIT;
        let mut differ = 0;
        let eights = asked.as_chunks::<8>().0.iter().zip(answered.as_chunks::<8>().0);
        for (n, (asked, answered)) in eights.enumerate() {
            differ |= u64::from_le_bytes(*asked) ^ u64::from_le_bytes(*answered) ^ changed(n);
        }
        let (whole, rest) = (asked.len() / 8, asked.len() % 8);
        if rest > 0 {
            let differing = match (asked.last_chunk::<8>(), answered.last_chunk::<8>()) {
                (Some(asked), Some(answered)) => {
                    (u64::from_le_bytes(*asked) ^ u64::from_le_bytes(*answered)) >> (64 - 8 * rest)
                }
                _ => word_of(asked) ^ word_of(answered),
            };
            // Without what is behind the name, where `DRAWN` may be.
            differ |= differing ^ changed(whole) & !(u64::MAX << (8 * rest));
        }
        differ == 0
    }
}

/// Copies bytes of ASCII with capital letters lowered; both are equally long.
#[inline]
pub fn copy_lowered(from: &[u8], to: &mut [u8]) {
    debug_assert_eq!(from.len(), to.len());
    let (whole, rest) = from.as_chunks::<8>();
    for (from, to) in whole.iter().zip(to.as_chunks_mut::<8>().0) {
        *to = lowered(*from);
    }
    if rest.is_empty() {
        return;
    }
    match (from.last_chunk::<8>(), to.last_chunk_mut::<8>()) {
        // What has been done already is done again, to the same effect.
        (Some(from), Some(to)) => *to = lowered(*from),
        _ => from.iter().zip(to).for_each(|(from, to)| *to = from.to_ascii_lowercase()),
    }
}

fn lowered(eight: [u8; 8]) -> [u8; 8] {
    let eight = u64::from_le_bytes(eight);
    let ascii = eight & !HIGH;
    let capital = (ascii + FROM_CAPITAL_A) & !(ascii + PAST_CAPITAL_Z) & !eight & HIGH;
    (eight | capital >> 2).to_le_bytes()
}

/// The lowest bit of each byte that is a letter: its lower-case spelling is from `a` to `z`.
fn letters(eight: u64) -> u64 {
    // Bytes of 128 and more are none; without their top bits no sum runs over into the next byte.
    let lower = (eight | (0x20 * EACH)) & !HIGH;
    ((lower + FROM_A) & !(lower + PAST_Z) & !eight & HIGH) >> 7
}

/// Fewer than eight bytes as the low bytes of a word.
fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_same_as_letter_by_letter(name in prop::collection::vec(any::<u8>(), 0..=NAME_MAX), words: [u64; 4]) {
            let mut random = words.iter().copied();
            let mut flips = Flips::draw(name.len(), || random.next().unwrap());
            prop_assert_eq!(random.count(), 4 - name.len().div_ceil(64), "no more than it takes");
            let one = |(at, byte): (usize, &u8)| {
                let bit = at % 8 * 8 + at % 64 / 8;
                let changes = words[at / 64] >> bit & 1 == 1 && byte.is_ascii_alphabetic();
                if changes { byte ^ 0x20 } else { *byte }
            };
            let expected: Vec<u8> = name.iter().enumerate().map(one).collect();
            let mut flipped = name.clone();
            flips.flip(&mut flipped);
            prop_assert_eq!(&flipped, &expected);
            prop_assert!(!flips.is_none() && flips.made(&name, &flipped));
            for at in 0..name.len() {
                let mut other = flipped.clone();
                other[at] ^= 0x20;
                prop_assert!(!flips.made(&name, &other), "byte {}", at);
            }
            prop_assert!(!flips.made(&name, &[&flipped[..], b"a"].concat()));
            flips.flip(&mut flipped);
            prop_assert_eq!(flipped, name, "and back");
        }
    }

    proptest! {
        #[test]
        fn lowering_is_what_it_is_byte_by_byte(bytes in prop::collection::vec(any::<u8>(), 0..=NAME_MAX)) {
            let mut lowered = vec![0; bytes.len()];
            copy_lowered(&bytes, &mut lowered);
            prop_assert_eq!(lowered, bytes.to_ascii_lowercase());
        }
    }

    #[test]
    fn without_flips_a_name_has_to_come_back_as_it_is() {
        let (name, mut asked) = (*b"\x03wWw\0", *b"\x03wWw\0");
        let mut none = Flips::NONE;
        none.flip(&mut asked);
        assert!(none.is_none() && asked == name && none.made(&name, &name) && !none.made(&name, b"\x03www\0"));
    }
}
