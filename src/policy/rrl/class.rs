//! What a response is counted as, so that the many shapes of one flood fall on one account.
//!
//! A random name below a zone is never asked twice, so negative answers count under their zone, errors without any name,
//! answers from a wildcard under the wildcard; see [`Category`].

use super::RrlTable;
use crate::dns::name::Name;
use crate::dns::rcode;
use crate::dns::response::Response;
use ahash::AHasher;
use std::hash::Hasher;

/// What a response is counted as; small enough to be kept with a cached answer. It holds no client: whose account it is
/// comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResponseClass {
    /// Keyed hash of name and type, without the client.
    pub account: u64,
    /// Keyed hash of the parent of the name asked for, for the guard; 0 when the guard has nothing to do with it.
    pub guard: u64,
    /// Which rate holds.
    pub category: Category,
}

/// The kinds of response that are counted apart, each with a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum Category {
    /// Any error code but NXDOMAIN; no name, no type. Never slips.
    #[default]
    Error,
    /// NXDOMAIN, under the zone that said so.
    Nxdomain,
    /// NOERROR without an answer, under the name asked for.
    Nodata,
    /// A delegation, under the name of the zone that is delegated.
    Referral,
    /// An answer, under the name and type asked for, or the wildcard that it came from.
    Positive,
    /// All of a client network's responses together. Never slips.
    All,
    /// New names below one parent.
    Guard,
}

impl Category {
    /// All categories, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Error, Self::Nxdomain, Self::Nodata, Self::Referral, Self::Positive, Self::All, Self::Guard];

    /// The category with this number; `Error`, the strictest, for a number that is none.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|category| *category as u8 == number).unwrap_or(Self::Error)
    }

    /// The key of its rate in limits.toml, and the default.
    pub(super) const fn key(self) -> (&'static str, u32) {
        match self {
            Self::Error => ("errors", 5),
            Self::Nxdomain => ("nxdomains", 20),
            Self::Nodata => ("nodata", 20),
            Self::Referral => ("referrals", 20),
            Self::Positive => ("responses", 20),
            Self::All => ("all", 0),
            Self::Guard => ("guard", 200),
        }
    }

    /// Whether a limited response may slip as TC=1: the retry over TCP helps where there is an answer to be had.
    pub(super) const fn may_slip(self) -> bool {
        !matches!(self, Self::Error | Self::All)
    }
}

impl RrlTable {
    /// Classifies an upstream's response to a question for (`name`, `qtype`). `zone`: the longest route of the name.
    pub fn class_of(&self, response: &Response<'_>, name: &Name, qtype: u16, zone: Option<&Name>) -> ResponseClass {
        match response.rcode {
            rcode::NXDOMAIN => {
                let owner = response.soa().map(|(owner, _)| owner);
                let ancestor = owner.filter(|owner| response.chain_end().is_within(owner));
                self.nxdomain(name, ancestor.as_ref().or(zone))
            }
            rcode::NOERROR if response.answers > 0 => match response.wildcard_labels {
                Some(labels) => self.wildcard(name, usize::from(labels), qtype),
                None => self.asked(name).class(Category::Positive, qtype),
            },
            rcode::NOERROR => match response.ns_owner() {
                Some(owner) if response.negative_ttl().is_none() && !response.aa => {
                    self.unguarded(Category::Referral, owner.as_wire())
                }
                _ => self.asked(name).class(Category::Nodata, 0),
            },
            _ => ResponseClass::default(),
        }
    }

    /// Classifies a self-made answer: an error code (ERROR), NXDOMAIN, NODATA or addresses for (`name`, `qtype`).
    pub fn class_of_own(&self, rcode: u16, has_answers: bool, name: &Name, qtype: u16) -> ResponseClass {
        match rcode {
            rcode::NXDOMAIN => self.nxdomain(name, None),
            rcode::NOERROR if has_answers => self.asked(name).class(Category::Positive, qtype),
            rcode::NOERROR => self.asked(name).class(Category::Nodata, 0),
            _ => ResponseClass::default(),
        }
    }

    fn nxdomain(&self, name: &Name, zone: Option<&Name>) -> ResponseClass {
        self.unguarded(Category::Nxdomain, zone.map_or_else(|| parted(name).1, Name::as_wire))
    }

    /// What counts under one name, whatever was asked for.
    fn unguarded(&self, category: Category, name: &[u8]) -> ResponseClass {
        ResponseClass { account: self.account(name, 0), guard: 0, category }
    }

    /// An answer from `*.` above the last `labels` labels of the name. The wildcard's wire form differs from that of
    /// its suffix by a first label `*`; here the suffix and a type that says "wildcard" serve, which spares a copy.
    fn wildcard(&self, name: &Name, labels: usize, qtype: u16) -> ResponseClass {
        let skip = name.labels().saturating_sub(labels);
        let suffix = name.suffixes().nth(skip).unwrap_or(name.as_wire());
        let account = self.account(suffix, qtype).rotate_left(32) ^ WILDCARD;
        ResponseClass { account, ..self.asked(name).class(Category::Positive, qtype) }
    }
}

/// A name asked for, hashed as far as what counts under it has in common.
pub(super) struct AskedName {
    pub(super) hasher: AHasher,
    /// The keyed hash of its parent.
    pub(super) guard: u64,
}

impl AskedName {
    /// A response that counts under this name; `qtype` 0 for one that has no answer.
    #[inline]
    pub(super) fn class(&self, category: Category, qtype: u16) -> ResponseClass {
        let mut hasher = self.hasher.clone();
        hasher.write_u16(qtype);
        ResponseClass { account: hasher.finish(), guard: self.guard, category }
    }
}

/// Sets the account of `*.example` apart from that of `example`.
const WILDCARD: u64 = 0x2a2a_2a2a_2a2a_2a2a;

/// The first label of a name with its length, and the wire form of the name without it; the root has none and is its own.
#[inline]
pub(super) fn parted(name: &Name) -> (&[u8], &[u8]) {
    let wire = name.as_wire();
    let label = wire.first().map_or(0, |len| usize::from(*len) + 1);
    wire.split_at_checked(label).filter(|(_, parent)| !parent.is_empty()).unwrap_or((&[], wire))
}
