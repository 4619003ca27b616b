//! overload: what a worker that cannot keep up does not do. limits.toml `[overload]`.
//!
//! Protects everybody else's service from a flood that is larger than the machine: a query that waited longer than its
//! client does is not answered for nobody, and while a worker is behind, each source gets a fair share of it and no
//! more. In a flood of which every source asks little, sources that are known from before it ([`super::regulars`]) are
//! served first. Does not protect from one whose sources were all there before, or who forges the addresses of those: there
//! is no telling it from a rush hour, and each has its share.
//! Queueing delay as the sign of overload, rather than the length of a queue, is RFC 8289's (CoDel).

use super::Mode;
use super::document::toml_file::{TomlFile, TomlText};
use super::document::units::show_duration;
use super::document::{Code, Context, Faults, Place, Table};
use super::server::PoolSettings;
use super::shares::{Levels, Shares, Terms};
use crate::clock::Moment;
use crate::language::text;
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
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        let bounds = Duration::from_millis(10)..=Duration::from_secs(10);
        let policy = Self {
            mode: t.mode(Mode::Enforce),
            max_wait: t.duration("max_wait", bounds, Duration::from_secs(1)),
            rate: t.number("rate", 1..=1_000_000, 100),
        };
        policy.check(t, context);
        policy
    }

    /// What waits for longer than its servers may take is kept, and then there is no time left to ask them.
    fn check(&self, t: &Table<'_>, context: &Context<'_>) {
        let is_short = |pool: &&PoolSettings| self.mode != Mode::Off && pool.timeout < self.max_wait;
        for pool in context.server.pools.iter().filter(is_short) {
            // One of the two was written: the defaults go together.
            let is_here = t.has("max_wait");
            let place = if is_here { t.place_of("max_wait") } else { timeout_place(context, &pool.name) };
            let message = text!(
                "overload.max_wait is {wait} and the timeout of pool {pool:?} {timeout}: what has waited for longer than that can only fail",
                wait = show_duration(self.max_wait),
                timeout = show_duration(pool.timeout),
                pool = pool.name
            );
            let hint = text!("make max_wait shorter, so that it is dropped instead, or the timeout longer");
            context.faults.add(Code::AtOdds, &place, message, hint);
        }
    }
}

/// Where gateway.toml has the timeout of a pool. It is read once more, because what has been made of it knows no places.
fn timeout_place(context: &Context<'_>, pool: &str) -> Place {
    let told = Faults::default();
    let text = TomlText::of(context.files, "gateway.toml", &told);
    let file = text.as_ref().map(|text| TomlFile::parse(text, &told));
    let pools = file.as_ref().map(|file| file.root(&told).table("pool").named_tables()).unwrap_or_default();
    let own = pools.iter().find(|(name, _)| name.value == pool);
    own.map_or_else(|| Place::whole("gateway.toml"), |(_, table)| table.place_of("timeout"))
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

/// The networks that have a share: of IPv4 an address and a /24.
pub const IPV4_LEVELS: Levels = [(32, 1), (24, 32)];
/// As above: one subscriber's link, and a site.
pub const IPV6_LEVELS: Levels = [(64, 1), (56, 3)];

/// How many times the rate a source gets that cannot be forged.
const VERIFIED_TIMES: u64 = 10;

/// So much time's worth of the rate may come at once: a page of a browser is a burst.
const BURST: Duration = Duration::from_millis(250);

/// One worker's accounts: a share is a share of this worker.
#[derive(Debug)]
pub struct FairShare(Shares);

impl FairShare {
    /// Bytes of a worker's accounts: enough for 65 536 networks.
    pub const BYTES: usize = 1 << 20;

    /// Allocates the accounts; they never grow. `seed` keys the hashes.
    pub fn new(seed: u64) -> Self {
        Self(Shares::new(Self::BYTES, seed))
    }

    /// Whether a query of `client` is within its share under `policy`; charged when it is.
    pub fn take(&self, policy: &OverloadPolicy, now: Moment, client: IpAddr, verified: bool) -> bool {
        let times = if verified { VERIFIED_TIMES } else { 1 };
        let rate = u64::from(policy.rate) * times;
        let terms = Terms { rate, burst: BURST, ipv4: IPV4_LEVELS, ipv6: IPV6_LEVELS };
        self.0.take(now, client, &terms, u8::from(verified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    #[test]
    fn a_verified_source_has_ten_times_the_share_in_an_account_of_its_own() {
        let share = FairShare::new(1);
        let policy = OverloadPolicy { mode: Mode::Enforce, max_wait: Duration::from_secs(1), rate: 100 };
        let at = Moment::from_nanos(1_000_000_000);
        let client = "192.0.2.1".parse().unwrap();
        let took =
            [false, true].map(|verified| (0..1000).filter(|_| share.take(&policy, at, client, verified)).count());
        assert_eq!(took, [25, 250]);
    }

    #[test]
    fn the_section_reads_with_its_bounds() {
        let server = probe::server("");
        let read = |text| probe::read_within(&server, 0, text, OverloadPolicy::read);
        let (policy, faults) = read("mode = \"monitor\"\nmax_wait = \"300ms\"\nrate = 7");
        let wanted = OverloadPolicy { mode: Mode::Monitor, max_wait: Duration::from_millis(300), rate: 7 };
        assert_eq!((policy, faults), (wanted, vec![]));
        let (policy, faults) = read("max_wait = \"1ms\"\nrate = 0");
        assert_eq!((policy.max_wait, policy.rate, faults.len()), (Duration::from_secs(1), 100, 2));
    }

    #[test]
    fn a_wait_longer_than_a_timeout_is_a_warning_unless_nothing_is_dropped_for_it() {
        let server = probe::server("[[upstream]]\naddress = \"192.0.2.1\"\n[pool.default]\ntimeout = \"500ms\"");
        for (text, expected) in [
            ("max_wait = \"501ms\"", &["1:12 W-CONFLICT"][..]),
            ("max_wait = \"500ms\"", &[]),
            ("rate = 7", &["1:1 W-CONFLICT"]),
            ("mode = \"monitor\"", &["1:1 W-CONFLICT"]),
            ("mode = \"off\"", &[]),
        ] {
            assert_eq!(probe::read_within(&server, 0, text, OverloadPolicy::read).1, expected, "{text}");
        }
        assert_eq!(probe::read_within(&probe::server(""), 0, "", OverloadPolicy::read).1, [""; 0], "the defaults");
    }
}
