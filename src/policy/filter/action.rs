//! What a rule does: the closed set of actions, and what some of them need to know.

use super::data::DataSet;
use super::pattern::Pattern;
use crate::dns::name::Name;
use crate::policy::networks::NetworkSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes and stops all later zones.
    Allow,
    /// NXDOMAIN with an SOA.
    Nxdomain,
    /// NOERROR without records, with an SOA.
    Nodata,
    /// REFUSED.
    Refused,
    /// Silence.
    Drop,
    /// TC=1 on UDP, the normal answer on TCP.
    Truncate,
    /// These addresses.
    Sinkhole(Vec<IpAddr>),
    /// Records of the operator's, whatever an upstream would say.
    Data(Arc<DataSet>),
    /// Counts and goes on.
    Monitor,
    /// Lets so many queries a second about all its names together pass; over that what the cache has, stale or not, else
    /// NXDOMAIN, and no upstream is asked.
    Shed(Budget),
    /// Answers one client, or about one of its names, no more than so often; over that REFUSED.
    Limit(Limit),
    /// Bounds the TTLs of answers, and goes on.
    Ttl(TtlBounds),
    /// Lets only the expected answers pass, and goes on.
    Expect(Arc<Expectation>),
}

impl Action {
    /// The word for it in `action = "..."`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Refused => "refused",
            Self::Drop => "drop",
            Self::Truncate => "truncate",
            Self::Sinkhole(_) => "sinkhole",
            Self::Data(_) => "data",
            Self::Monitor => "monitor",
            Self::Shed(_) => "shed",
            Self::Limit(_) => "limit",
            Self::Ttl(_) => "ttl",
            Self::Expect(_) => "expect",
        }
    }

    /// Whether it keeps the normal answer from a client, whatever that is and however often it is asked for: what is
    /// dangerous for a whole public suffix.
    pub const fn blocks(&self) -> bool {
        match self {
            Self::Allow | Self::Monitor | Self::Ttl(_) | Self::Shed(_) | Self::Limit(_) => false,
            Self::Nxdomain | Self::Nodata | Self::Refused | Self::Drop | Self::Truncate => true,
            Self::Sinkhole(_) | Self::Data(_) | Self::Expect(_) => true,
        }
    }

    /// Whether it says of an answer that it is right, or for how long, and puts nothing in its place unless it is wrong.
    pub const fn vouches(&self) -> bool {
        matches!(self, Self::Allow | Self::Ttl(_) | Self::Expect(_))
    }

    /// Whether it can be done only once there is an answer, whatever triggers it.
    pub const fn is_about_the_answer(&self) -> bool {
        matches!(self, Self::Ttl(_) | Self::Expect(_))
    }
}

/// Queries a second, on average and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// On average, 1 to 10 million.
    pub qps: u32,
    /// At once, at least 1.
    pub burst: u32,
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each client by itself (IPv6: each /64).
    Client,
    /// Each name of the rule with all below it.
    Subtree,
}

/// The budget of a rule that limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How much.
    pub budget: Budget,
    /// For each of what.
    pub per: Per,
}

/// Bounds of TTLs, in seconds: `min` is not above `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlBounds {
    /// Lower TTLs are raised to it; 0: none.
    pub min: u32,
    /// Higher TTLs are cut to it; `u32::MAX`: none.
    pub max: u32,
}

impl TtlBounds {
    /// Every TTL as it is.
    pub const NONE: Self = Self { min: 0, max: u32::MAX };

    /// A TTL within the bounds.
    pub fn bound(self, ttl: u32) -> u32 {
        ttl.clamp(self.min, self.max)
    }
}

/// What becomes of an answer that was not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// SERVFAIL: the client tries elsewhere, or again.
    Servfail,
    /// NXDOMAIN with an SOA.
    Nxdomain,
    /// NOERROR without records.
    Nodata,
    /// REFUSED.
    Refused,
    /// Silence.
    Drop,
}

impl Otherwise {
    /// All, by their words.
    pub const ALL: [(&'static str, Self); 5] = [
        ("servfail", Self::Servfail),
        ("nxdomain", Self::Nxdomain),
        ("nodata", Self::Nodata),
        ("refused", Self::Refused),
        ("drop", Self::Drop),
    ];
}

/// Which answers are right.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Where addresses may be; empty when only names are listed.
    pub networks: NetworkSet,
    /// Where CNAMEs may lead; empty: wherever the addresses are right.
    pub names: Vec<Pattern>,
    /// For any other answer.
    pub otherwise: Otherwise,
}

impl Expectation {
    /// Whether a CNAME or a service binding may lead to `target`.
    pub fn admits_target(&self, target: &Name) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.names(target))
    }

    /// Whether an address may be in an answer. `led`: a listed name stands before it, whose addresses are its owner's affair.
    pub fn admits_address(&self, address: IpAddr, led: bool) -> bool {
        self.networks.contains(address) || led && !self.names.is_empty()
    }
}

/// Expectations are told apart by what they are, not by what they hold: two rules never share one.
impl PartialEq for Expectation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Expectation {}
