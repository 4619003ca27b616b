//! Names for benchmarks: the same in each run.

use weir::dns::name::Name;

/// An order that no table of names follows by itself.
pub(crate) fn scattered(round: u64, among: u64) -> u64 {
    (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % among
}

/// Names of the shape of published lists.
pub(crate) fn listed(number: u64) -> String {
    let mixed = number.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let word: String = (0..6 + mixed % 9).map(|at| char::from(b'a' + ((mixed >> (4 * at)) % 26) as u8)).collect();
    format!("{word}{number}.{}", ["com", "net", "org", "info", "co.uk"][(mixed % 5) as usize])
}

/// The first `count` of them, read.
pub(crate) fn named(count: u64, text: impl Fn(u64) -> String) -> Vec<Name> {
    (0..count).map(|number| Name::from_text(&text(number)).expect("a plain name")).collect()
}
