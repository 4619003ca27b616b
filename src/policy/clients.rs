//! clients.toml: names for groups of clients, that every other file uses as `@name`.

use std::net::IpAddr;

/// The most groups of one policy.
pub const GROUPS_MAX: usize = 256;

/// The groups that one client belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(pub [u64; GROUPS_MAX / 64]);

impl GroupSet {
    /// Adds group number `index`.
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Whether the two sets share a group.
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether no group is in it.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; GROUPS_MAX / 64]
    }
}

/// All groups, compiled.
#[derive(Debug)]
pub struct Groups {}

impl Groups {
    /// The groups of a client. One lookup.
    pub fn of(&self, _client: IpAddr) -> GroupSet {
        todo!()
    }
}
