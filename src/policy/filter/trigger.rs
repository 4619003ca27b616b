//! What makes a rule speak: who asks, which name, or what the answer shows.

use super::lists::NameList;
use crate::dns::name::{NAME_MAX, Name};
use crate::policy::document::network::Depths;
use ipnet::{IpNet, Ipv4Net};
use std::sync::Arc;

/// The kinds of triggers, in the order in which they are heard within one zone (draft-vixie-dnsop-dns-rpz section 5,
/// "trigger type").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TriggerKind {
    /// `clients`: the address that asks.
    Client,
    /// `names` or `list`: the name asked for, and every CNAME target.
    #[default]
    Name,
    /// `response_ip`: an address of the answer, hints of HTTPS and SVCB records among them.
    ResponseAddress,
    /// `ns_name`: the name of a name server that the answer shows.
    NsName,
    /// `ns_ip`: the address of such a name server.
    NsAddress,
}

impl TriggerKind {
    /// All, in order of precedence.
    pub const ALL: [Self; 5] = [Self::Client, Self::Name, Self::ResponseAddress, Self::NsName, Self::NsAddress];

    /// The key of a rule that has it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Client => "clients",
            Self::Name => "names",
            Self::ResponseAddress => "response_ip",
            Self::NsName => "ns_name",
            Self::NsAddress => "ns_ip",
        }
    }

    /// Whether only an answer can set it off.
    pub const fn is_of_the_answer(self) -> bool {
        matches!(self, Self::ResponseAddress | Self::NsName | Self::NsAddress)
    }
}

/// The trigger of a rule with what it holds, ready to be compiled.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// Names, for [`TriggerKind::Name`] and [`TriggerKind::NsName`].
    Names(Arc<NameList>),
    /// Networks with their exceptions, for the other kinds.
    Networks(Arc<Depths>),
}

/// By what of its trigger a rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// Of a name in wire form, what begins at `at`; and the reach with which the rule has it.
    Name {
        /// An offset into the name.
        at: u8,
        /// As in a [`NameList`]: 1 the name itself, 2 what is below it, 3 both.
        reach: u8,
    },
    /// A network of the trigger.
    Network(IpNet),
}

impl Matched {
    /// The name in the trigger that `name` was matched by; `None` when it was an address.
    pub fn name(self, name: &Name) -> Option<&[u8]> {
        match self {
            Self::Name { at, .. } if usize::from(at) < NAME_MAX => name.as_wire().get(usize::from(at)..),
            _ => None,
        }
    }
}

impl Default for Matched {
    fn default() -> Self {
        Self::Network(IpNet::V4(Ipv4Net::default()))
    }
}
