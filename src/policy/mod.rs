//! Policies: one file or folder each, `ls` is the list of features. [`Policy`] is the immutable value that runs; it is
//! compiled whole from a directory ([`load()`]) or not at all.

pub mod access;
pub mod accounts;
pub mod clients;
pub mod cookies;
pub mod document;
pub mod emergency;
pub mod expect;
pub mod explain;
pub mod filter;
pub mod limits;
pub mod load;
pub mod modes;
pub mod networks;
pub mod overload;
pub mod regulars;
pub mod rrl;
pub mod server;
pub mod shares;
pub mod source;
pub mod storm;

pub use load::{Options, default_policy, load, load_files};
use std::fmt;
use std::sync::Arc;

/// Whether a section or rule acts, only counts what it would have done, or is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Acts.
    #[default]
    Enforce,
    /// Counts and logs what it would have done, and lets the query pass.
    Monitor,
    /// Is skipped.
    Off,
}

/// Which defaults fit what stands behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Resolvers.
    #[default]
    Recursive,
    /// Authoritative servers.
    Authoritative,
}

/// The hash of a policy directory's contents: the same files, the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PolicyId(pub [u8; 16]);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One immutable policy, as it runs. A clone shares all that is large.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Hash of what it was compiled from.
    pub id: PolicyId,
    /// gateway.toml: where it listens, whom it asks, cache, control, metrics, log.
    pub server: Arc<server::Server>,
    /// clients.toml.
    pub groups: Arc<clients::Groups>,
    /// access.toml.
    pub access: Arc<access::Access>,
    /// limits.toml `[source]`.
    pub source: source::SourcePolicy,
    /// limits.toml `[rrl]`.
    pub rrl: rrl::RrlPolicy,
    /// limits.toml `[cookies]`.
    pub cookies: cookies::CookiePolicy,
    /// limits.toml `[storm]`.
    pub storm: storm::StormPolicy,
    /// limits.toml `[tcp]`.
    pub tcp: server::TcpLimits,
    /// limits.toml `[overload]`.
    pub overload: overload::OverloadPolicy,
    /// filters/.
    pub filter: filter::Filter,
    /// modes/, compiled.
    pub modes: Arc<[modes::IncidentMode]>,
}
