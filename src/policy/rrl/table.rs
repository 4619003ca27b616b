//! The accounts of response-rate limiting: a debt each, in one word.

use super::Rate;
use super::class::{AskedName, Category, parted};
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::policy::accounts::Accounts;
use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

/// All accounts in fixed memory, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct RrlTable {
    accounts: Accounts,
    hasher: RandomState,
}

/// What a charge found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) outcome: Outcome,
    /// There was no account, or it lay idle for longer than the window, which is when its debt would be forgotten.
    pub(super) created: bool,
}

/// What one account says about a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Within the rate.
    Within,
    /// Over the rate, and this one's turn to slip.
    Slip,
    /// Over the rate.
    Over,
}

impl RrlTable {
    /// Allocates accounts of 16 bytes each in at most `bytes` (at least 64); it never grows. `seed` keys the hashes.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let hasher =
            RandomState::with_seeds(seed, !seed, seed.rotate_left(17), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { accounts: Accounts::new(bytes), hasher }
    }

    /// The memory of all accounts; constant.
    pub fn bytes(&self) -> usize {
        self.accounts.bytes()
    }

    /// The keyed hash of a name and a type; 0 for what is counted whatever its type.
    pub(super) fn account(&self, name: &[u8], qtype: u16) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write_u16(qtype);
        hasher.finish()
    }

    /// A name asked for, whose parent is hashed once, for its guard and for itself.
    #[inline]
    pub(super) fn asked(&self, name: &Name) -> AskedName {
        let (label, parent) = parted(name);
        let mut hasher = self.hasher.build_hasher();
        hasher.write(parent);
        let guard = hasher.finish().max(1);
        hasher.write(label);
        AskedName { hasher, guard }
    }

    /// A client's network as the key of an account takes it. IPv4 is in its mapped form; the families meet as
    /// rarely as two hashes of 64 bits.
    #[inline]
    pub(super) fn network(&self, network: IpAddr) -> u64 {
        match network {
            IpAddr::V4(v4) => 0xffff << 32 | u64::from(v4.to_bits()),
            IpAddr::V6(v6) => self.hasher.hash_one(v6.to_bits()),
        }
    }

    /// The key of the account of a client's `network` in a category.
    #[inline]
    pub(super) fn key(&self, network: u64, category: Category, account: u64) -> u64 {
        // Accounts are hashes: that of one category lies beside that of another as rarely as any two are the same.
        self.hasher.hash_one((network, account.wrapping_add(category as u64)))
    }

    /// Charges one response to an account, making it when it is not there.
    #[inline(always)]
    pub(super) fn charge(&self, key: u64, now: Moment, rate: Rate, window: u64, slip: u8) -> Charge {
        let account = self.accounts.find(key);
        let now = units(now);
        let before = Debt::unpack(account.state);
        let created = !account.is_own || before.tat.saturating_add(window) < now;
        // A newcomer takes over the debt, but not the place in the row of slips.
        let before = if account.is_own { before } else { Debt { slips: 0, ..before } };
        let (after, outcome) = before.hit(now, rate, window, slip);
        account.write(after.pack());
        Charge { outcome, created }
    }

    /// Whether the next response of an account would be over its rate; an account that is not there is not.
    pub(super) fn is_over(&self, key: u64, now: Moment, rate: Rate) -> bool {
        let account = self.accounts.find(key);
        account.is_own && Debt::unpack(account.state).tat > units(now) + rate.tolerance()
    }
}

/// The unit of time of an account is 2^4 ns = 16 ns.
const UNIT_BITS: u32 = 4;

/// The units of a second.
pub(super) const SECOND: u64 = 1_000_000_000 >> UNIT_BITS;

fn units(now: Moment) -> u64 {
    now.as_nanos() >> UNIT_BITS
}

/// The state of one account: until when its responses are spoken for, and which limited response comes next.
///
/// In one word: 60 bits of time in units of 16 ns, which last as long as the clock (584 years), above 4 bits of slip
/// counter, so that words compare by their debts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Debt {
    /// The theoretical arrival time, in units; what lies beyond now is debt.
    tat: u64,
    slips: u8,
}

impl Debt {
    fn unpack(state: u64) -> Self {
        Self { tat: state >> UNIT_BITS, slips: (state & 0xf) as u8 }
    }

    fn pack(self) -> u64 {
        (self.tat.min(u64::MAX >> UNIT_BITS) << UNIT_BITS) | u64::from(self.slips & 0xf)
    }

    /// Charges one response. Unlike GCRA it charges what it refuses too: a steady flood stays limited until it pauses,
    /// where GCRA would let `rate` of it pass for ever. The debt ends at `window`, so that a pause of that length is
    /// always enough.
    fn hit(self, now: u64, rate: Rate, window: u64, slip: u8) -> (Self, Outcome) {
        let Self { tat, slips } = if self.tat <= now { Self { tat: now, slips: 0 } } else { self };
        let within = tat <= now + rate.tolerance();
        let tat = (tat + rate.interval()).min(now + rate.capacity() + window);
        if within {
            return (Self { tat, slips }, Outcome::Within);
        }
        let outcome = if slips == 0 && slip > 0 { Outcome::Slip } else { Outcome::Over };
        (Self { tat, slips: (slips + 1).checked_rem(slip).unwrap_or(0) }, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_debt_survives_packing(tat in 0..=u64::MAX >> UNIT_BITS, slips in 0u8..10) {
            let debt = Debt { tat, slips };
            prop_assert_eq!(Debt::unpack(debt.pack()), debt);
        }

        /// Whatever is in the word and whenever: no panic, and the debt never exceeds a burst and the window.
        #[test]
        fn a_hit_is_bounded(state: u64, now: u64, per_second in 1u32..=1_000_000, window in 1u64..=3600, slip in 0u8..=10) {
            let (rate, now, window) = (Rate::per_second(per_second), units(Moment::from_nanos(now)), window * SECOND);
            let (after, _) = Debt::unpack(state).hit(now, rate, window, slip);
            prop_assert!(after.tat <= now + rate.capacity() + window);
            prop_assert!(after.tat > now);
            prop_assert!(after.slips < slip.max(16));
        }
    }
}
