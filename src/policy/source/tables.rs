//! The state of all source limits, shared by all workers: tables that are as large at the end as at the start, whatever the
//! number of forged addresses. An account that was charged once is free again after
//! one interval (5 ms at 200/s), so the default 16 MiB hold against about 180 million forged queries a second, whatever
//! the number of addresses behind them; beyond that they limit more than they should, never less.

use crate::policy::accounts::Accounts;
use ahash::RandomState;

/// Verified sources get one part in so many of the memory: they are few, and ten times as fast to recover.
const VERIFIED_SHARE: usize = 8;

/// The state of all limits in fixed memory, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct SourceTables {
    hasher: RandomState,
    unverified: Accounts,
    verified: Accounts,
}

impl SourceTables {
    /// Allocates tables of at most `bytes` in all (at least 128); they never grow. `seed` keys the hashes.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let verified = Accounts::new(bytes / VERIFIED_SHARE);
        Self {
            hasher: RandomState::with_seeds(
                seed,
                !seed,
                seed.rotate_left(21),
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
            unverified: Accounts::new(bytes.saturating_sub(verified.bytes())),
            verified,
        }
    }

    /// The memory of all accounts; constant.
    pub fn bytes(&self) -> usize {
        self.unverified.bytes() + self.verified.bytes()
    }

    /// The keyed hash of a network of IPv4 on level number `level`: in one word, which is one step of the hash less.
    #[inline]
    pub(super) fn hash_v4(&self, network: u32, level: u8) -> u64 {
        self.hasher.hash_one(u64::from(network) << 8 | u64::from(level))
    }

    /// The same of IPv6. What both families may hash to is told apart by `level`.
    #[inline]
    pub(super) fn hash_v6(&self, network: u128, level: u8) -> u64 {
        self.hasher.hash_one((network, level))
    }

    /// Those of one kind of source.
    pub(super) fn accounts(&self, verified: bool) -> &Accounts {
        if verified { &self.verified } else { &self.unverified }
    }
}
