//! filter: ordered zones of rules by name; what is blocked, how, and for whom.

use super::clients::GroupSet;
use crate::dns::name::Name;
use std::net::IpAddr;

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
    /// Counts and goes on.
    Monitor,
}

/// A rule as it runs.
#[derive(Debug)]
pub struct Rule {
    /// As written; unique in the policy.
    pub id: String,
    /// The title of its zone.
    pub zone: String,
    /// What it does.
    pub action: Action,
    /// TTL of self-made answers, in seconds.
    pub ttl: u32,
}

/// What a filter is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The groups of the client.
    pub groups: &'a GroupSet,
    /// The name asked for, or a CNAME target.
    pub name: &'a Name,
    /// The type asked for.
    pub qtype: u16,
    /// It came over TCP.
    pub tcp: bool,
}

/// The rules that spoke: the one that decides, and those that only watch.
#[derive(Debug, Default)]
pub struct Decision<'f> {
    /// The rule that decides, if any; never one in monitor mode.
    pub rule: Option<&'f Rule>,
    /// The first rule in monitor mode (or with the action monitor) that would have decided.
    pub monitored: Option<&'f Rule>,
}

/// All zones, compiled.
#[derive(Debug)]
pub struct Filter {}

impl Filter {
    /// The decision about a name. No allocation.
    pub fn decide(&self, _subject: &Subject<'_>) -> Decision<'_> {
        todo!()
    }

    /// Whether no rule of any zone could ever speak about `name`, for any client: a cached answer that holds only such
    /// names needs no second look under the same policy.
    pub fn is_untouched(&self, _name: &Name) -> bool {
        todo!()
    }
}
