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

/// Changes the case of the letters of a wire name whose bit is set. Length bytes are below 64, so no letters.
pub fn flip(name: &mut [u8], flips: &Flips) {
    if *flips == [0; 4] {
        return;
    }
    debug_assert!(name.len() <= NAME_MAX);
    let mut bits = flips.iter().flat_map(|word| word.to_le_bytes());
    let flipped = |number: u64, bits| number ^ (letters(number) & spread(bits)) >> 2;
    let (whole, rest) = name.as_chunks_mut::<8>();
    for (eight, bits) in whole.iter_mut().zip(bits.clone()) {
        *eight = flipped(u64::from_le_bytes(*eight), bits).to_le_bytes();
    }
    // Byte by byte: to copy a number of bytes that is known only here costs a call.
    let bits = bits.nth(whole.len()).unwrap_or(0);
    for (at, byte) in rest.iter_mut().enumerate() {
        *byte = flipped(u64::from(*byte), bits >> at & 1).to_le_bytes()[0];
    }
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
            flip(&mut flipped, &flips);
            prop_assert_eq!(flipped, name, "and back");
        }
    }
}
