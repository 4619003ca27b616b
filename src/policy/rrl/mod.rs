//! rrl: how often one network may get the same response.
//!
//! Protects the victims of reflection: somebody forges the address of a victim, and we would send it large answers to
//! small questions. The response is counted, not the question, because a flood repeats few responses in many shapes.
//! What is over the rate gets TC=1 now and then, so that a real client behind a forged address gets its answer over TCP.
//! Does not protect us from load, nor anybody from a reflection spread over very many victims or responses. TCP is
//! exempt: its addresses cannot be forged (Vixie and Schryver, "DNS Response Rate Limiting", ISC-TN-2012-1; RFC 5358).

mod class;
mod table;
#[cfg(test)]
mod tests;

pub use class::{Category, ResponseClass};
pub use table::RrlTable;

use super::clients::Groups;
use super::document::{Context, Table};
use super::networks::NetworkSet;
use super::{Mode, Profile};
use crate::clock::Moment;
use crate::dns::name::Name;
use std::net::IpAddr;
use table::{Charge, Outcome, SECOND};

/// limits.toml `[rrl]`, compiled. As written, with the rates in responses per second, 0 to 1000000, 0 for no limit:
///
/// ```toml
/// [rrl]
/// mode        = "enforce"   # profile recursive: "monitor"
/// responses   = 20          # the same answer
/// nodata      = 20          # no answer of this type
/// nxdomains   = 20          # names that do not exist, per zone
/// referrals   = 20          # the same delegation
/// errors      = 5           # REFUSED, SERVFAIL and all others
/// all         = 0           # everything together
/// guard       = 200         # new names below one parent
/// slip        = 2
/// window      = 15
/// ipv4_prefix = 24
/// ipv6_prefix = 56
/// exempt      = []
/// memory      = "16MiB"     # read at start only
/// ```
#[derive(Clone, Debug)]
pub struct RrlPolicy {
    /// enforce, monitor or off; default enforce, profile recursive monitor, until an operator has looked.
    pub mode: Mode,
    /// The rate of each category, in the order of [`Category::ALL`].
    pub rates: [Rate; Category::ALL.len()],
    /// Of the responses over the rate the first and then every Nth gets TC=1, the rest silence; 0: silence; at most 10;
    /// default 2. Errors and what is over `all` never slip.
    pub slip: u8,
    /// Seconds of silence from a flood after which its debt is forgotten, 1 to 3600; default 15.
    pub window: u32,
    /// Clients with so many bits in common count as one, 1 to 32; default 24.
    pub ipv4_prefix: u8,
    /// Clients with so many bits in common count as one, 1 to 128; default 56.
    pub ipv6_prefix: u8,
    /// Never limited; default nobody.
    pub exempt: NetworkSet,
    /// Bytes for all accounts, 1 MiB to 4 GiB; default 16 MiB. Read at start only: the table outlives a change of policy.
    pub memory: usize,
}

impl RrlPolicy {
    /// Reads `[rrl]`; what is wrong becomes a fault and reads as its default.
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        Self::of(t, context.profile(), context.groups)
    }

    fn of(t: &Table<'_>, profile: Profile, groups: &Groups) -> Self {
        let mode_default = match profile {
            Profile::Recursive => Mode::Monitor,
            Profile::Authoritative => Mode::Enforce,
        };
        Self {
            mode: t.mode(mode_default),
            rates: Category::ALL.map(|category| {
                let (key, default) = category.key();
                Rate::per_second(t.number(key, 0..=1_000_000, default))
            }),
            slip: t.number("slip", 0..=10, 2),
            window: t.number("window", 1..=3600, 15),
            ipv4_prefix: t.number("ipv4_prefix", 1..=32, 24),
            ipv6_prefix: t.number("ipv6_prefix", 1..=128, 56),
            exempt: t.networks("exempt", groups),
            memory: t.size("memory", 1 << 20..=4 << 30, 16 << 20) as usize,
        }
    }
}

/// How many of the same response one network may get a second, with bursts of one second's worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    /// Time of one response, in units of the table.
    interval: u64,
}

impl Rate {
    /// `per_second` responses; 0: no limit.
    pub const fn per_second(per_second: u32) -> Self {
        let interval = if per_second == 0 { 0 } else { SECOND / per_second as u64 };
        Self { per_second, interval }
    }

    /// Whether there is a limit at all.
    pub const fn is_limited(self) -> bool {
        self.per_second > 0
    }

    const fn interval(self) -> u64 {
        self.interval
    }

    /// The time of a full burst: one second.
    const fn capacity(self) -> u64 {
        self.interval * self.per_second as u64
    }

    /// How far beyond now an account may be and still get an answer.
    const fn tolerance(self) -> u64 {
        self.capacity() - self.interval
    }
}

/// What rrl says about a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RrlVerdict {
    /// Send it.
    Answer,
    /// Send TC=1 instead.
    Slip,
    /// Send nothing.
    Drop,
}

impl RrlPolicy {
    /// Charges a response that is about to go to `client` over UDP, and says what to do. Exempt clients and mode `off`
    /// get `Answer`; mode `monitor` says what it would do. No allocation; one cache line an account, three at most.
    pub fn check(&self, table: &RrlTable, now: Moment, client: IpAddr, class: &ResponseClass) -> RrlVerdict {
        if self.mode == Mode::Off || self.exempt.contains(client) {
            return RrlVerdict::Answer;
        }
        let charge = Charging { policy: self, table, now, network: table.network(self.network(client)) };
        let (mut verdict, created) = charge.take(class.category, class.account);
        // A wildcard without signatures answers any name, each on an account of its own; new names have one together.
        if created && class.guard != 0 {
            let guarded = charge.take_more(Category::Guard, class.guard);
            if verdict == RrlVerdict::Answer {
                verdict = guarded;
            }
        }
        if !self.rate(Category::All).is_limited() {
            return verdict;
        }
        // The limit on everything is charged whatever the others say, and decides when it is exceeded.
        match charge.take_more(Category::All, 0) {
            RrlVerdict::Answer => verdict,
            over => over,
        }
    }

    /// Decides about a question whose answer is known to be over its rate before anybody is asked for it: charges and
    /// says so, or charges nothing and returns `None`. Covers answers and NODATA for exactly this question.
    pub fn check_ahead(
        &self,
        table: &RrlTable,
        now: Moment,
        client: IpAddr,
        name: &Name,
        qtype: u16,
    ) -> Option<RrlVerdict> {
        if self.mode == Mode::Off || self.exempt.contains(client) {
            return None;
        }
        let (network, asked) = (table.network(self.network(client)), table.asked(name));
        [(Category::Positive, qtype), (Category::Nodata, 0)].into_iter().find_map(|(category, qtype)| {
            let rate = self.rate(category);
            // The guard of its parent is not looked at unless it is over.
            let class = asked.class(category, qtype);
            let over = rate.is_limited() && table.is_over(table.key(network, category, class.account), now, rate);
            over.then(|| self.check(table, now, client, &class))
        })
    }

    fn rate(&self, category: Category) -> Rate {
        self.rates[category as usize]
    }

    /// The client's network, by its first address.
    #[inline]
    fn network(&self, client: IpAddr) -> IpAddr {
        match client.to_canonical() {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4_prefix).min(32)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.ipv6_prefix).min(128)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        }
    }
}

/// A response that is charged to the accounts of one client's network.
struct Charging<'c> {
    policy: &'c RrlPolicy,
    table: &'c RrlTable,
    now: Moment,
    network: u64,
}

impl Charging<'_> {
    /// Charges one account; says what follows for the response, and whether the account is new.
    #[inline(always)]
    fn take(&self, category: Category, account: u64) -> (RrlVerdict, bool) {
        let Self { policy, table, now, network } = *self;
        let rate = policy.rate(category);
        if !rate.is_limited() {
            return (RrlVerdict::Answer, false);
        }
        let slip = if category.may_slip() { policy.slip } else { 0 };
        let key = table.key(network, category, account);
        let Charge { outcome, created } = table.charge(key, now, rate, u64::from(policy.window) * SECOND, slip);
        let verdict = match outcome {
            Outcome::Within => RrlVerdict::Answer,
            Outcome::Slip => RrlVerdict::Slip,
            Outcome::Over => RrlVerdict::Drop,
        };
        (verdict, created)
    }

    /// Charges another one. Apart from the first, which most responses end with.
    #[inline(never)]
    fn take_more(&self, category: Category, account: u64) -> RrlVerdict {
        self.take(category, account).0
    }
}
