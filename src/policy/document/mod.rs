//! A policy directory as written: every value with its place, every fault collected and none hidden.
//!
//! Whoever reads a section gets a [`Table`] and a [`Context`], and always produces a value: a fault is added to
//! [`Faults`], the reader goes on with the default, and the policy is thrown away in the end. So one run finds every
//! fault of the whole directory, and nothing wrong is ever clamped or ignored.
//!
//! ```text
//! pub fn read(t: &Table<'_>, context: &Context<'_>) -> RrlPolicy {
//!     RrlPolicy {
//!         mode: t.mode(Mode::Enforce),
//!         responses: t.number("responses", 0..=1_000_000, 20),
//!         exempt: t.networks("exempt", context.groups),
//!     }
//! }
//! ```
//!
//! A section that is absent is a table without keys: it reads as its defaults. Keys that nobody asked for are reported
//! when the table goes out of scope.

pub mod contents;
mod excerpt;
pub mod fault;
pub mod files;
pub mod instant;
pub mod meaning;
pub mod nearest;
pub mod network;
mod passage;
#[cfg(test)]
pub(crate) mod probe;
pub mod report;
mod sarif;
pub mod table;
pub mod toml_file;
pub mod units;
pub mod values;
pub mod words;

pub use contents::Contents;
pub use fault::{At, Code, Fault, Faults, Place, Severity};
pub use files::Files;
pub use nearest::nearest;
pub use report::Report;
pub use table::Table;

use super::Profile;
use super::clients::Groups;
use super::feeds::{Copies, Feeds};
use super::schedules::Schedules;
use super::server::Server;

/// What a section may need to know of the rest of the directory.
#[derive(Clone, Copy, Debug)]
pub struct Context<'d> {
    /// gateway.toml as read: profile, routes.
    pub server: &'d Server,
    /// The groups of clients.toml.
    pub groups: &'d Groups,
    /// Its schedules.
    pub schedules: &'d Schedules,
    /// Every file of the directory with its bytes: filters and lists are found here.
    pub files: &'d Files,
    /// `[[feed]]` of gateway.toml.
    pub feeds: &'d Feeds,
    /// What those feeds held last.
    pub copies: &'d Copies,
    /// Where faults go.
    pub faults: &'d Faults,
    /// The time, for what expires, in milliseconds since 1970-01-01 UTC; 0: not known, nothing has expired.
    pub unix_ms: u64,
}

impl Context<'_> {
    /// Which defaults fit.
    pub fn profile(&self) -> Profile {
        self.server.profile
    }
}
