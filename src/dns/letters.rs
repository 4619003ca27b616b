//! Random letter case in questions (draft-vixie-dnsext-dns0x20): what a response must bring back to be believed. Done for
//! every message to and from an upstream, so eight bytes at a time.

use super::name::NAME_MAX;

/// Which letters of a name have their case changed, a bit for each byte of its wire form.
pub type Flips = [u64; 4];

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// What lifts a byte to 128 from `a` (0x61) on, and from behind `z` (0x7a) on.
const FROM_A: u64 = (0x80 - 0x61) * EACH;
const PAST_Z: u64 = (0x80 - 0x7b) * EACH;

/// The top bit of each byte that is a letter: its lower-case spelling is from `a` to `z`.
fn letters(eight: u64) -> u64 {
    // Bytes of 128 and more are none; without their top bits no sum runs over into the next byte.
    let lower = (eight | (0x20 * EACH)) & !HIGH;
    (lower + FROM_A) & !(lower + PAST_Z) & !eight & HIGH
}

/// The top bit of each byte whose bit is set.
fn spread(bits: u8) -> u64 {
    // Bit n of `bits` alone in byte n.
    let alone = (u64::from(bits) * EACH) & 0x8040_2010_0804_0201;
    (alone + 0x7f * EACH) & HIGH
}

/// Eight bytes with the case of the letters changed whose bit is set.
fn flipped(eight: u64, bits: u8) -> u64 {
    eight ^ (letters(eight) & spread(bits)) >> 2
}

/// The bits of each eight bytes.
fn bytes(flips: &Flips) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut::<8>().0.iter_mut().zip(flips).for_each(|(eight, word)| *eight = word.to_le_bytes());
    bytes
}

/// Changes the case of the letters of a wire name whose bit is set. Length bytes are below 64, so no letters.
pub fn flip(name: &mut [u8], flips: &Flips) {
    if *flips == [0; 4] {
        return;
    }
    debug_assert!(name.len() <= NAME_MAX);
    let bits = bytes(flips);
    let (whole, rest) = name.as_chunks_mut::<8>();
    for (eight, bits) in whole.iter_mut().zip(&bits) {
        *eight = flipped(u64::from_le_bytes(*eight), *bits).to_le_bytes();
    }
    let last = flipped(word_of(rest), bits.get(whole.len()).copied().unwrap_or(0));
    put_word(rest, last);
}

/// Whether `answered` is `asked` with the case of the letters changed whose bit is set: what [`flip`] makes of it.
pub fn is_flipped(asked: &[u8], flips: &Flips, answered: &[u8]) -> bool {
    if asked.len() != answered.len() || *flips == [0; 4] {
        return asked == answered;
    }
    let ((asked, rest), (answered, answered_rest)) = (asked.as_chunks::<8>(), answered.as_chunks::<8>());
    let bits = bytes(flips);
    let mut differ = 0;
    for ((asked, answered), bits) in asked.iter().zip(answered).zip(&bits) {
        differ |= flipped(u64::from_le_bytes(*asked), *bits) ^ u64::from_le_bytes(*answered);
    }
    let last = flipped(word_of(rest), bits.get(asked.len()).copied().unwrap_or(0));
    differ | (last ^ word_of(answered_rest)) == 0
}

/// Fewer than eight bytes as the low bytes of a word. Not copied: to copy a number of bytes that is known only here costs a
/// call.
fn word_of(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // What both hold is the same in both.
        (Some(first), Some(last)) => {
            let last = u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
            u64::from(u32::from_le_bytes(*first)) | last
        }
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Writes a word of [`word_of`] back.
fn put_word(bytes: &mut [u8], word: u64) {
    let len = bytes.len();
    if let Some(first) = bytes.first_chunk_mut::<4>() {
        *first = (word as u32).to_le_bytes();
        if let Some(last) = bytes.last_chunk_mut::<4>() {
            *last = ((word >> (8 * (len - 4))) as u32).to_le_bytes();
        }
        return;
    }
    bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (word >> (8 * at)) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_same_as_letter_by_letter(name in prop::collection::vec(any::<u8>(), 0..=NAME_MAX), flips: Flips) {
            let one = |(at, byte): (usize, &u8)| {
                let changes = flips[at / 64] >> (at % 64) & 1 == 1 && byte.is_ascii_alphabetic();
                if changes { byte ^ 0x20 } else { *byte }
            };
            let expected: Vec<u8> = name.iter().enumerate().map(one).collect();
            let mut flipped = name.clone();
            flip(&mut flipped, &flips);
            prop_assert_eq!(&flipped, &expected);
            prop_assert!(is_flipped(&name, &flips, &flipped));
            for at in 0..name.len() {
                let mut other = flipped.clone();
                other[at] ^= 0x20;
                prop_assert!(!is_flipped(&name, &flips, &other), "byte {}", at);
            }
            prop_assert!(!is_flipped(&name, &flips, &[&flipped[..], b"a"].concat()));
            flip(&mut flipped, &flips);
            prop_assert_eq!(flipped, name, "and back");
        }
    }
}
