//! overload: what a worker that cannot keep up does not do. limits.toml `[overload]`.
//!
//! Protects everybody else's service from a flood that is larger than the machine: a query that waited longer than its
//! client does is not answered for nobody, and while a worker is behind, each source gets a fair share of it and no
//! more. Does not protect from a flood of which every source asks little: there is no telling it from a rush hour.
//! Queueing delay as the sign of overload, rather than the length of a queue, is RFC 8289's (CoDel).

use super::Mode;
use super::accounts::Accounts;
use super::document::Table;
use crate::clock::Moment;
use ahash::RandomState;
use std::net::IpAddr;
use std::time::Duration;

/// limits.toml `[overload]`, compiled. It is written as it runs:
///
/// ```toml
/// [overload]
/// mode     = "enforce"
/// max_wait = "1s"
/// rate     = 100
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverloadPolicy {
    /// enforce (default), monitor or off.
    pub mode: Mode,
    /// A query that has waited in the socket for longer is dropped, 10 ms to 10 s; default 1 s, after which stub
    /// resolvers begin to ask again.
    pub max_wait: Duration,
    /// Queries per second of one address (IPv6: /64) that a worker serves while it is behind, 1 to 1000000; default 100.
    /// Networks get a multiple ([`IPV4_LEVELS`], [`IPV6_LEVELS`]), verified sources ten times as many. Those whom
    /// `[source]` exempts are exempt here too.
    pub rate: u32,
}

impl OverloadPolicy {
    /// Reads `[overload]`; what is wrong becomes a fault and reads as its default.
    pub fn read(t: &Table<'_>) -> Self {
        let bounds = Duration::from_millis(10)..=Duration::from_secs(10);
        Self {
            mode: t.mode(Mode::Enforce),
            max_wait: t.duration("max_wait", bounds, Duration::from_secs(1)),
            rate: t.number("rate", 1..=1_000_000, 100),
        }
    }
}

/// Whether a worker keeps up with what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pressure {
    /// It does, or is behind for an instant.
    #[default]
    None,
    /// It has been behind for longer than a burst lasts.
    Sustained,
}

/// Prefix length and multiple of the rate.
pub const IPV4_LEVELS: [(u32, u32); 2] = [(32, 1), (24, 32)];
/// As above: one subscriber's link, and a site.
pub const IPV6_LEVELS: [(u32, u32); 2] = [(64, 1), (56, 3)];

/// How many times the rate a source gets that cannot be forged.
const VERIFIED_TIMES: u64 = 10;

/// What may come at once, in nanoseconds' worth of the rate: a page of a browser is a burst.
const BURST_NS: u64 = 250_000_000;

/// One worker's accounts: a share is a share of this worker.
#[derive(Debug)]
pub struct FairShare {
    accounts: Accounts,
    hasher: RandomState,
}

impl FairShare {
    /// Bytes of a worker's accounts: enough for 65 536 networks.
    pub const BYTES: usize = 1 << 20;

    /// Allocates the accounts; they never grow. `seed` keys the hashes.
    pub fn new(seed: u64) -> Self {
        let hasher =
            RandomState::with_seeds(seed, !seed, seed.rotate_left(11), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { accounts: Accounts::new(Self::BYTES), hasher }
    }

    /// Whether a query of `client` is within its share of `rate` a second; charged when it is, on all levels or none.
    pub fn take(&self, now: Moment, client: IpAddr, rate: u32, verified: bool) -> bool {
        let (address, bits, levels): (u128, u32, _) = match client.to_canonical() {
            IpAddr::V4(v4) => (v4.to_bits().into(), 32, IPV4_LEVELS),
            IpAddr::V6(v6) => (v6.to_bits(), 128, IPV6_LEVELS),
        };
        let now = now.as_nanos();
        let rate = u64::from(rate) * if verified { VERIFIED_TIMES } else { 1 };
        let visits = levels.map(|(length, multiple)| {
            let network = address >> (bits - length);
            let account = self.accounts.find(self.hasher.hash_one((network, length, bits, verified)));
            let cost = (1_000_000_000 / (rate * u64::from(multiple))).max(1);
            let due = account.state.max(now);
            (account, due, cost)
        });
        if visits.iter().any(|(_, due, cost)| due - now + cost > BURST_NS.max(*cost)) {
            return false;
        }
        for (account, due, cost) in visits {
            account.write(due + cost);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    fn served(share: &FairShare, from: u64, client: &str, rate: u32, verified: bool) -> usize {
        let client = client.parse().unwrap();
        // 10 000 queries within one second.
        let at = |i: u64| Moment::from_nanos(from + i * 100_000);
        (0..10_000).filter(|i| share.take(at(*i), client, rate, verified)).count()
    }

    #[test]
    fn a_source_gets_its_rate_and_a_small_burst_and_another_loses_nothing_by_it() {
        let share = FairShare::new(1);
        let second = 1_000_000_000;
        let flood = served(&share, second, "192.0.2.1", 100, false);
        assert!((120..=126).contains(&flood), "{flood}");
        assert!(share.take(Moment::from_nanos(2 * second), "192.0.2.2".parse().unwrap(), 100, false));
        let again = served(&share, 2 * second, "192.0.2.1", 100, false);
        assert!((95..=126).contains(&again), "{again}");
        let verified = served(&share, second, "192.0.2.1", 100, true);
        assert!((1240..=1260).contains(&verified), "{verified}");
    }

    #[test]
    fn a_link_of_ipv6_is_one_source_and_a_network_has_a_share_too() {
        let share = FairShare::new(1);
        let at = Moment::from_nanos(1_000_000_000);
        let link = (0..500u32).filter(|i| share.take(at, format!("2001:db8::{i:x}").parse().unwrap(), 100, false));
        assert_eq!(link.count(), 25);
        let hosts = (0..250u32).map(|i| format!("198.51.100.{i}").parse().unwrap());
        let network: usize =
            hosts.map(|host: IpAddr| (0..20).filter(|_| share.take(at, host, 100, false)).count()).sum();
        assert_eq!(network, 800, "32 times 25");
    }

    #[test]
    fn a_share_under_one_query_in_a_burst_is_still_a_share() {
        let share = FairShare::new(1);
        let client = "192.0.2.1".parse().unwrap();
        assert!(share.take(Moment::from_nanos(1), client, 1, false));
        assert!(!share.take(Moment::from_nanos(2), client, 1, false));
        assert!(share.take(Moment::from_nanos(1_000_000_002), client, 1, false));
    }

    #[test]
    fn the_section_reads_with_its_bounds() {
        let (policy, faults) = probe::read("mode = \"monitor\"\nmax_wait = \"300ms\"\nrate = 7", OverloadPolicy::read);
        let wanted = OverloadPolicy { mode: Mode::Monitor, max_wait: Duration::from_millis(300), rate: 7 };
        assert_eq!((policy, faults), (wanted, vec![]));
        let (policy, faults) = probe::read("max_wait = \"1ms\"\nrate = 0", OverloadPolicy::read);
        assert_eq!((policy.max_wait, policy.rate, faults.len()), (Duration::from_secs(1), 100, 2));
    }
}
