//! What cookies need that outlives a change of policy: the secret drawn at the start, and how many BADCOOKIE were sent.

use super::secrets::{Secret, Secrets};
use crate::clock::Moment;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tries at counting one more before it counts as too many: workers that hinder each other so often are at the cap.
const TRIES: usize = 8;

/// Shared by all workers.
#[derive(Debug)]
pub struct CookieJar {
    own: Secrets,
    /// The second in the upper half, how many in it in the lower.
    spent: AtomicU64,
}

impl CookieJar {
    /// With a secret for policies that have none of their own: drawn for this process, so that its cookies end with it.
    pub const fn new(secret: Secret) -> Self {
        Self { own: Secrets { current: secret, other: None }, spent: AtomicU64::new(0) }
    }

    /// The secrets of this process.
    pub(super) const fn own(&self) -> &Secrets {
        &self.own
    }

    /// Takes one of the `per_second` that all workers together may send in this second; false when there is none left.
    pub(super) fn take(&self, now: Moment, per_second: u32) -> bool {
        let second = now.as_secs() << 32;
        let mut spent = self.spent.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            // Another worker's batch may be a second ahead.
            let base = if spent >> 32 < second >> 32 { second } else { spent };
            if base & 0xFFFF_FFFF >= u64::from(per_second) {
                return false;
            }
            match self.spent.compare_exchange_weak(spent, base + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => spent = found,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_share_and_no_more() {
        let jar = CookieJar::new(Secret::new([7; 16]));
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000 + 5);
        let taken = |second, limit| (0..10).filter(|_| jar.take(at(second), limit)).count();
        assert_eq!((taken(1, 3), taken(1, 3), taken(2, 3), taken(2, 4)), (3, 0, 3, 1));
        assert_eq!(taken(1, 4), 0, "a worker that lags behind spends of the same");
        assert_eq!((taken(9, 0), taken(9, 1_000_000)), (0, 10));
    }
}
