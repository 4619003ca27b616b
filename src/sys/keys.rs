//! Keys of hashes that nobody outside can guess: who could, would choose addresses and names that all fall into one place.

use ahash::RandomState;
use std::hash::BuildHasher as _;

/// A hasher with keys of the system's randomness. ahash's own `new` has, without a crate for randomness of its own, nothing but
/// addresses of memory to begin with.
pub fn unguessable() -> RandomState {
    let random = std::hash::RandomState::new();
    let [a, b, c, d] = [1, 2, 3, 4].map(|number| random.hash_one(number));
    RandomState::with_seeds(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_keys_of_its_own() {
        assert_ne!(unguessable().hash_one(7), unguessable().hash_one(7));
        let hasher = unguessable();
        assert_eq!(hasher.hash_one(7), hasher.hash_one(7));
    }
}
