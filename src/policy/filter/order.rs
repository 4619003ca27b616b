//! The order of precedence of the rules that speak at one stage of an answer, as draft-vixie-dnsop-dns-rpz section 5 has it,
//! with POLICY's own rules where the draft has none.
//!
//! After the zone (5.2) and the kind of trigger (5.4): of the rules about one name the longest name (5.3); of name servers
//! the smallest name in the canonical order of DNSSEC, however long the trigger is that it sets off (5.5); of addresses the
//! longest prefix, an IPv4 one counted 96 longer (5.6), then the smallest address (5.7). What is still tied is more than a
//! response policy zone can say of one trigger: `allow` first, then the earlier line.

use super::answer::Shown;
use super::{Action, Rule};
use std::cmp::Ordering;
use std::net::IpAddr;

/// By what of an answer a rule was set off, where several could.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// There is only one: the name of the stage, or the client.
    Stage,
    /// An address, as of IPv6.
    Address(u128),
    /// The name of a name server, by where it stands in the answer.
    Server(usize),
}

impl By {
    /// IPv4 addresses are compared as IPv6 has them mapped (RFC 4291 section 2.5.5.2), so they come before all others in
    /// use.
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        })
    }
}

/// The place of a rule in the order of precedence at one stage: the least comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Zone, kind of trigger, and how short the prefix or the name is.
    place: u64,
    by: By,
    /// How short the name is that a name server was matched by; `allow` first; line.
    tie: u64,
}

impl Key {
    /// `short`: how closely the rule fits what set it off, 0 best.
    pub(super) fn of(rule: &Rule, number: usize, short: u8, by: By) -> Self {
        let is_by_server = matches!(by, By::Server(_));
        let (first, last) = if is_by_server { (0, short) } else { (short, 0) };
        let place = (rule.zone_number as u64) << 16 | (rule.trigger as u64) << 8 | u64::from(first);
        let is_other = u64::from(rule.action != Action::Allow);
        Self { place, by, tie: u64::from(last) << 33 | is_other << 32 | number as u64 }
    }

    /// Which comes first. `shown`: the answer that both are of, if there is one.
    pub(super) fn cmp(&self, other: &Self, shown: Option<&Shown<'_, '_>>) -> Ordering {
        let by = || match (self.by, other.by, shown) {
            (By::Address(own), By::Address(other), _) => own.cmp(&other),
            (By::Server(own), By::Server(other), Some(shown)) if own != other => shown.order_of_servers(own, other),
            _ => Ordering::Equal,
        };
        self.place.cmp(&other.place).then_with(by).then_with(|| self.tie.cmp(&other.tie))
    }
}
