//! Rates for addresses and the networks around them, in fixed memory: who is within its rate is charged on all levels, who
//! is over on one is charged on none. The generic cell rate algorithm (ITU-T I.371) over [`super::accounts`].

use super::accounts::Accounts;
use crate::clock::Moment;
use ahash::RandomState;
use std::net::IpAddr;
use std::time::Duration;

/// Levels of one family: prefix length and multiple of the rate.
pub type Levels = [(u32, u32); 2];

/// What a source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Per second, at least 1, for the first level.
    pub rate: u64,
    /// So much time's worth of the rate may come at once; one always may.
    pub burst: Duration,
    /// Networks of IPv4.
    pub ipv4: Levels,
    /// Networks of IPv6.
    pub ipv6: Levels,
}

/// The accounts.
#[derive(Debug)]
pub struct Shares {
    accounts: Accounts,
    hasher: RandomState,
}

impl Shares {
    /// Allocates accounts of 16 bytes each in at most `bytes`; they never grow. `seed` keys the hashes.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let hasher =
            RandomState::with_seeds(seed, !seed, seed.rotate_left(11), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { accounts: Accounts::new(bytes), hasher }
    }

    /// Whether `client` is within `terms` at all levels; charged then. `kind` keeps accounts of different terms apart.
    pub fn take(&self, now: Moment, client: IpAddr, terms: &Terms, kind: u8) -> bool {
        let (address, bits, levels): (u128, u32, &Levels) = match client.to_canonical() {
            IpAddr::V4(v4) => (v4.to_bits().into(), 32, &terms.ipv4),
            IpAddr::V6(v6) => (v6.to_bits(), 128, &terms.ipv6),
        };
        let (now, burst) = (now.as_nanos(), terms.burst.as_nanos() as u64);
        let visits = levels.map(|(length, multiple)| {
            let network = address >> (bits - length);
            let account = self.accounts.find(self.hasher.hash_one((network, length, bits, kind)));
            let cost = (1_000_000_000 / terms.rate.saturating_mul(multiple.into()).max(1)).max(1);
            let due = account.state.max(now);
            (account, due, cost)
        });
        if visits.iter().any(|(_, due, cost)| due - now + cost > burst.max(*cost)) {
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

    const TERMS: Terms =
        Terms { rate: 100, burst: Duration::from_millis(250), ipv4: [(32, 1), (24, 32)], ipv6: [(64, 1), (56, 3)] };

    fn served(shares: &Shares, from: u64, client: &str, terms: &Terms, kind: u8) -> usize {
        let client = client.parse().unwrap();
        // 10 000 queries within one second.
        let at = |i: u64| Moment::from_nanos(from + i * 100_000);
        (0..10_000).filter(|i| shares.take(at(*i), client, terms, kind)).count()
    }

    #[test]
    fn a_source_gets_its_rate_and_a_small_burst_and_another_loses_nothing_by_it() {
        let shares = Shares::new(1 << 20, 1);
        let second = 1_000_000_000;
        let flood = served(&shares, second, "192.0.2.1", &TERMS, 0);
        assert!((120..=126).contains(&flood), "{flood}");
        assert!(shares.take(Moment::from_nanos(2 * second), "192.0.2.2".parse().unwrap(), &TERMS, 0));
        let again = served(&shares, 2 * second, "192.0.2.1", &TERMS, 0);
        assert!((95..=126).contains(&again), "{again}");
        let other_kind = served(&shares, second, "192.0.2.1", &Terms { rate: 1000, ..TERMS }, 1);
        assert!((1240..=1260).contains(&other_kind), "{other_kind}");
    }

    #[test]
    fn a_link_of_ipv6_is_one_source_and_a_network_has_a_share_too() {
        let shares = Shares::new(1 << 20, 1);
        let at = Moment::from_nanos(1_000_000_000);
        let link =
            (0..500u32).filter(|i| shares.take(at, format!("2001:db8::{i:x}").parse().unwrap(), &TERMS, 0)).count();
        assert_eq!(link, 25);
        let hosts = (0..250u32).map(|i| format!("198.51.100.{i}").parse().unwrap());
        let network: usize =
            hosts.map(|host: IpAddr| (0..20).filter(|_| shares.take(at, host, &TERMS, 0)).count()).sum();
        assert_eq!(network, 800, "32 times 25");
    }

    #[test]
    fn a_share_under_one_query_in_a_burst_is_still_a_share() {
        let shares = Shares::new(1 << 20, 1);
        let client = "192.0.2.1".parse().unwrap();
        let terms = Terms { rate: 1, ..TERMS };
        assert!(shares.take(Moment::from_nanos(1), client, &terms, 0));
        assert!(!shares.take(Moment::from_nanos(2), client, &terms, 0));
        assert!(shares.take(Moment::from_nanos(1_000_000_002), client, &terms, 0));
    }
}
