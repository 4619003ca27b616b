//! What a look-up gives: the answer as it lies, and how it stands with a client for whom TTLs are bounded.

use super::{OPTIONS_MAX, STALE_TTL, Vetted};
use crate::clock::Moment;
use crate::dns::record::seconds;
use crate::policy::filter::TtlBounds;
use crate::policy::rrl::ResponseClass;
use std::time::Duration;

/// Whether an answer is within its TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within its TTL.
    Fresh,
    /// Past its TTL: to be used only when nothing fresh can be had (RFC 8767), with EDE 3 or, for NXDOMAIN, 19.
    Stale {
        /// How long past.
        since: Duration,
    },
}

/// An answer that was found and copied.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Bytes of the body at the start of `out`: id 0, question in lower case, no OPT, TTLs counted down unless it is
    /// [raised](Self::is_raised).
    pub len: usize,
    /// Within its TTL, or past it, for those who have it for the longest.
    pub freshness: Freshness,
    /// Whole seconds since it was inserted.
    pub age_secs: u32,
    /// Response code with the EDNS bits on top.
    pub rcode: u16,
    /// What response-rate limiting counts it as.
    pub class: ResponseClass,
    /// Under which policy it was vetted last.
    pub vetted: Vetted,
    /// Where it lies: one entry, and no later one for the same question.
    pub(super) place: Place,
    pub(super) ttl: u32,
    pub(super) own_ttl: u32,
    pub(super) stale: u32,
    pub(super) options: [u8; OPTIONS_MAX],
    pub(super) options_len: u8,
}

/// One entry of a shard, for as long as it stays where it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) stored: Moment,
}

impl Hit {
    /// EDNS options to repeat to a client that speaks EDNS, encoded.
    pub fn options(&self) -> &[u8] {
        &self.options[..usize::from(self.options_len)]
    }

    /// Whether it is within its TTL for those who have it for the longest.
    pub fn is_fresh(&self) -> bool {
        self.freshness == Freshness::Fresh
    }

    /// Whether some clients have it for longer than it lives by itself: then its TTLs are those of the upstream, not counted
    /// down.
    pub fn is_raised(&self) -> bool {
        self.own_ttl < self.ttl
    }

    /// How it stands at `now`, the time of the look-up, with a client for whom a rule bounds TTLs so; `None` when it is over.
    /// What has no time of its own is never stale: it is kept only for those who have a least TTL (RFC 1035 section 3.2.1).
    pub fn standing(&self, now: Moment, bounds: TtlBounds) -> Option<Freshness> {
        let lives = self.bounds_of(bounds).bound(self.own_ttl);
        let Some(since) = now.since(self.place.stored).checked_sub(Duration::from_secs(lives.into())) else {
            return Some(Freshness::Fresh);
        };
        (lives > 0 && since < Duration::from_secs(self.stale.into())).then_some(Freshness::Stale { since })
    }

    /// The TTL of a record for such a client, with whom the answer stands so; `given` is what the look-up wrote.
    pub fn ttl_of(&self, given: u32, bounds: TtlBounds, standing: Freshness) -> u32 {
        let counted = if self.is_fresh() && !self.is_raised() { self.age_secs } else { 0 };
        let ttl = self.bounds_of(bounds).bound(seconds(given).saturating_add(counted));
        match standing {
            Freshness::Fresh => ttl.saturating_sub(self.age_secs),
            Freshness::Stale { .. } => ttl.min(STALE_TTL),
        }
    }

    /// A least TTL holds as far as the answer was kept for one.
    fn bounds_of(&self, TtlBounds { min, max }: TtlBounds) -> TtlBounds {
        TtlBounds { min: min.min(self.ttl), max }
    }
}
