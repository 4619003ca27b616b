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
pub mod feeds;
pub mod filter;
pub mod foresee;
pub mod guard;
pub mod hits;
pub mod limits;
pub mod load;
pub mod modes;
pub mod networks;
pub mod outline;
pub mod overload;
pub mod rebinding;
pub mod regulars;
pub mod rrl;
pub mod schedules;
pub mod schema;
pub mod server;
pub mod shares;
pub mod source;
pub mod storm;
pub mod word;

use document::Files;
pub use load::{Options, default_policy, load, load_files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyId(pub [u8; 16]);

impl PolicyId {
    /// That of these files.
    pub fn of(files: &Files) -> Self {
        let mut id = Self::default();
        let len = id.0.len();
        id.0.copy_from_slice(&files.digest()[..len]);
        id
    }

    /// All 32 digits; it is shown with the first twelve.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for PolicyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not the id of a policy: 32 hexadecimal digits");
        if text.len() != 32 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut id = Self::default();
        for (n, byte) in id.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| wrong())?;
        }
        Ok(id)
    }
}

impl TryFrom<String> for PolicyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PolicyId> for String {
    fn from(id: PolicyId) -> Self {
        id.hex()
    }
}

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
    /// The groups of clients.toml.
    pub groups: Arc<clients::Groups>,
    /// Its schedules.
    pub schedules: Arc<schedules::Schedules>,
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
    /// limits.toml `[rebinding]`.
    pub rebinding: rebinding::RebindingPolicy,
    /// filters/.
    pub filter: filter::Filter,
    /// gateway.toml `[[feed]]`.
    pub feeds: Arc<feeds::Feeds>,
    /// The hash of the copy that each feed had when this was compiled.
    pub copies: Arc<BTreeMap<String, String>>,
    /// modes/, compiled.
    pub modes: Arc<[modes::IncidentMode]>,
    /// What it was written as.
    pub outline: Arc<outline::Outline>,
}
