//! The state of all source limits, shared by all workers, as governor wants to see it.
//!
//! governor's own keyed stores grow with every forged address (55-69 bytes each, measured) and free nothing by
//! themselves; these tables are as large at the end as at the start. An account that was charged once is free again after
//! one interval (5 ms at 200/s), so the default 16 MiB hold against about 180 million forged queries a second, whatever
//! the number of addresses behind them; beyond that they limit more than they should, never less.

use crate::policy::accounts::Accounts;
use ahash::RandomState;
use governor::nanos::Nanos;
use governor::state::StateStore;
use std::sync::Arc;

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

    /// The account of `network` on level number `level`; a look until `charge` is set.
    pub(super) fn visit(&self, network: u128, level: u8) -> Visit {
        Visit { account: self.hasher.hash_one((network, level)), charge: false }
    }
}

/// A visit to one account: a look or a charge, because all levels are looked at before any of them is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Visit {
    /// The keyed hash of network and level.
    pub(super) account: u64,
    /// Write the new arrival time, where the look only decides.
    pub(super) charge: bool,
}

/// governor's view of the tables: theoretical arrival times in nanoseconds of the process' clock.
#[derive(Clone, Debug)]
pub(super) struct Store {
    tables: Arc<SourceTables>,
    verified: bool,
}

impl Store {
    pub(super) fn new(tables: &Arc<SourceTables>, verified: bool) -> Self {
        Self { tables: Arc::clone(tables), verified }
    }
}

impl StateStore for Store {
    type Key = Visit;

    fn measure_and_replace<T, F, E>(&self, visit: &Visit, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let accounts = if self.verified { &self.tables.verified } else { &self.tables.unverified };
        let account = accounts.find(visit.account);
        let (outcome, next) = decide(Some(account.state.into()))?;
        if visit.charge {
            account.write(next.as_u64());
        }
        Ok(outcome)
    }
}
