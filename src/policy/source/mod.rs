//! source: how often one client, and the networks around it, may ask.
//!
//! Protects the servers behind, and the other clients, from sources that ask too much: one address, or a whole network
//! of them. Does not protect from many addresses that each ask little, and says nothing about forged addresses: a victim
//! whose address is forged is limited like anybody else, which is why some limited queries get TC=1 and the way to TCP
//! stays open (RFC 5358 section 4; the idea of limits per prefix is Knot Resolver's).

mod rate;
mod tables;
#[cfg(test)]
mod tests;

pub use tables::SourceTables;

use super::accounts::Accounts;
use super::clients::Groups;
use super::document::{Code, Context, Table};
use super::networks::NetworkSet;
use super::{Mode, Profile};
use crate::clock::Moment;
use crate::language::text;
use rate::{Instant, Rate};
use std::net::IpAddr;
use std::sync::Arc;

/// limits.toml `[source]`, compiled. It is written as it runs:
///
/// ```toml
/// [source]
/// mode   = "enforce"
/// rate   = 200            # profile authoritative: 50
/// burst  = 500
/// slip   = 2
/// exempt = ["@resolvers"]
/// memory = "16MiB"        # read at start only
/// ```
#[derive(Clone, Debug)]
pub struct SourcePolicy {
    /// enforce (default), monitor or off.
    pub mode: Mode,
    /// Queries per second for one address, 1 to 1000000; default 200, profile authoritative 50. Networks get a multiple
    /// ([`IPV4_LEVELS`], [`IPV6_LEVELS`]), verified sources ten times as many.
    pub rate: u32,
    /// Queries that may come at once, 1 to 1000000 and at most an hour's worth of `rate`; default 500.
    pub burst: u32,
    /// Of the queries over the limit the first and then every Nth gets TC=1, the rest silence; 0: silence for all; at
    /// most 100; default 2.
    pub slip: u32,
    /// Never limited; default nobody.
    pub exempt: NetworkSet,
    /// Bytes for all tables, 1 MiB to 4 GiB; default 16 MiB. Read at start only: the tables outlive a change of policy,
    /// because empty ones would be an attacker's holiday.
    pub memory: usize,
}

/// The longest time that a full burst takes to recover, in seconds: what a policy took, a later one may wait for.
const BURST_SECS_MAX: u32 = 3600;

impl SourcePolicy {
    /// Reads `[source]`; what is wrong becomes a fault and reads as its default.
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        Self::of(t, context.profile(), context.groups)
    }

    fn of(t: &Table<'_>, profile: Profile, groups: &Groups) -> Self {
        let rate_default = match profile {
            Profile::Recursive => 200,
            Profile::Authoritative => 50,
        };
        let policy = Self {
            mode: t.mode(Mode::Enforce),
            rate: t.number("rate", 1..=1_000_000, rate_default),
            burst: t.number("burst", 1..=1_000_000, 500),
            slip: t.number("slip", 0..=100, 2),
            exempt: t.networks("exempt", groups),
            memory: t.size("memory", 1 << 20..=4 << 30, 16 << 20) as usize,
        };
        if policy.burst / BURST_SECS_MAX >= policy.rate {
            let message = text!("source.burst must be less than {most} times source.rate", most = BURST_SECS_MAX);
            t.fault("burst", Code::Range, message, text!("who had used such a burst up would wait for over an hour"));
        }
        policy
    }
}

/// How many times the rate a source gets that cannot be forged: it came over TCP, or with a valid cookie.
const VERIFIED_TIMES: u32 = 10;

/// Prefix length and multiple of the rate, narrowest first. The multiples are Knot Resolver's.
pub const IPV4_LEVELS: [(u32, u32); 4] = [(32, 1), (24, 32), (20, 256), (18, 768)];
/// As above. A /64 is one subscriber's link, a /56 or /48 a site, a /32 a provider.
pub const IPV6_LEVELS: [(u32, u32); 5] = [(128, 1), (64, 2), (56, 3), (48, 4), (32, 64)];

/// Slip counters of a worker: networks share them by hash, which only changes who of them gets the TC=1.
const SLIPS: usize = 4096;

/// What the source limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceVerdict {
    /// Within every level's limit; charged.
    Within,
    /// Over: answer with TC=1.
    Slip,
    /// Over: silence.
    Drop,
}

/// One worker's limiter over the shared tables.
#[derive(Debug)]
pub struct SourceLimit {
    unverified: Levels,
    verified: Levels,
    slips: Box<[u8; SLIPS]>,
}

impl SourceLimit {
    /// A limiter for `policy` over `tables`; made again when the policy changes, while the tables stay.
    pub fn new(tables: &Arc<SourceTables>, policy: &SourcePolicy) -> Self {
        Self {
            unverified: Levels::new(tables, policy, false),
            verified: Levels::new(tables, policy, true),
            slips: Box::new([0; SLIPS]),
        }
    }

    /// Checks all levels around `client`, then charges all, or none when one is over. Exempt sources and mode `off`
    /// are `Within`; mode `monitor` says what it would do, and the caller lets it pass. `verified`: the source cannot
    /// be forged (TCP, or a valid cookie). No allocation; one hash and one cache line a level.
    pub fn check(&mut self, policy: &SourcePolicy, now: Moment, client: IpAddr, verified: bool) -> SourceVerdict {
        if policy.mode == Mode::Off || policy.exempt.contains(client) {
            return SourceVerdict::Within;
        }
        let levels = if verified { &self.verified } else { &self.unverified };
        match levels.charge(now, client) {
            Ok(()) => SourceVerdict::Within,
            Err(over) => self.over(policy.slip, over),
        }
    }

    /// The first query over the limit slips, then every `slip`th.
    fn over(&mut self, slip: u32, Over { hash }: Over) -> SourceVerdict {
        let Ok(slip) = u8::try_from(slip) else { return SourceVerdict::Drop };
        let count = &mut self.slips[hash as usize % SLIPS];
        let slips = *count == 0 && slip > 0;
        *count = count.saturating_add(1).checked_rem(slip).unwrap_or(0);
        if slips { SourceVerdict::Slip } else { SourceVerdict::Drop }
    }
}

/// The hash of the network that is over its limit.
struct Over {
    hash: u64,
}

/// The limits of all levels of both families, for one kind of source.
#[derive(Debug)]
struct Levels {
    tables: Arc<SourceTables>,
    verified: bool,
    ipv4: [Level; IPV4_LEVELS.len()],
    ipv6: [Level; IPV6_LEVELS.len()],
}

impl Levels {
    fn new(tables: &Arc<SourceTables>, policy: &SourcePolicy, verified: bool) -> Self {
        let times = if verified { VERIFIED_TIMES } else { 1 };
        let level = |number: usize, bits: u32, length: u32, multiple: u32| {
            let times = u64::from(multiple) * u64::from(times);
            let rate = Rate::new(u64::from(policy.rate) * times, u64::from(policy.burst) * times);
            Level { number: number as u8, mask: u128::MAX << (bits - length), rate }
        };
        let ipv4 = std::array::from_fn(|i| level(i, 32, IPV4_LEVELS[i].0, IPV4_LEVELS[i].1));
        let ipv6 = std::array::from_fn(|i| level(IPV4_LEVELS.len() + i, 128, IPV6_LEVELS[i].0, IPV6_LEVELS[i].1));
        Self { tables: Arc::clone(tables), verified, ipv4, ipv6 }
    }

    /// Looks at all levels and charges all, or none: a /24 over its limit must not use up its addresses' budgets.
    ///
    /// # Errors
    /// The narrowest level that is over.
    #[inline]
    fn charge(&self, now: Moment, client: IpAddr) -> Result<(), Over> {
        let (tables, accounts, now) = (&*self.tables, self.tables.accounts(self.verified), Instant::of(now));
        // One within the other and without a loop: what is found on one level stays in registers while the wider ones are
        // looked at, which halves what it costs.
        match client.to_canonical() {
            IpAddr::V4(v4) => {
                let hash = |level: &Level| tables.hash_v4(v4.to_bits() & level.mask as u32, level.number);
                let charge = Charge { hash, accounts, now };
                let [host, a, b, c] = &self.ipv4;
                charge.take(host, || charge.take(a, || charge.take(b, || charge.take(c, || Ok(())))))
            }
            IpAddr::V6(v6) => {
                let hash = |level: &Level| tables.hash_v6(v6.to_bits() & level.mask, level.number);
                let charge = Charge { hash, accounts, now };
                let [host, a, b, c, d] = &self.ipv6;
                let wide = || charge.take(b, || charge.take(c, || charge.take(d, || Ok(()))));
                charge.take(host, || charge.take(a, wide))
            }
        }
    }
}

/// A query that is to be charged.
struct Charge<'t, H> {
    /// The keyed hash of the client's network on a level.
    hash: H,
    accounts: &'t Accounts,
    now: Instant,
}

impl<H: Fn(&Level) -> u64> Charge<'_, H> {
    /// Charges a level, if it and the `wider` ones let the query pass.
    #[inline(always)]
    fn take(&self, level: &Level, wider: impl FnOnce() -> Result<(), Over>) -> Result<(), Over> {
        let account = self.accounts.find((self.hash)(level));
        let next = level.rate.take(self.now, account.state).ok_or(Over { hash: account.tag })?;
        wider()?;
        if !account.write(next) {
            self.take_again(level, account.tag);
        }
        Ok(())
    }

    /// Another worker was first. If it has taken the last of the budget, there is nothing to charge.
    #[cold]
    fn take_again(&self, level: &Level, hash: u64) {
        let account = self.accounts.find(hash);
        let _lost = level.rate.take(self.now, account.state).is_some_and(|next| account.write(next));
    }
}

/// The limit of networks of one size.
#[derive(Debug)]
struct Level {
    /// Sets the hashes of the levels apart.
    number: u8,
    /// Keeps the prefix of an address.
    mask: u128,
    rate: Rate,
}
