//! access: who may ask, and what may be asked.

use crate::dns::query::Query;
use crate::verdict::Reason;
use std::net::IpAddr;

/// What access says about a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessVerdict {
    /// May go on.
    Admit,
    /// REFUSED with EDE 18 (prohibited).
    Refuse(Reason),
    /// Silence.
    Drop(Reason),
    /// TC=1 over UDP, nothing over TCP.
    Truncate(Reason),
    /// NOTIMP for opcodes that are not served.
    NotImplemented(Reason),
}

/// access.toml, compiled.
#[derive(Debug)]
pub struct Access {}

impl Access {
    /// Judges one query of one client; the same for every transport. `tcp`: it came over a stream.
    pub fn check(&self, _client: IpAddr, _tcp: bool, _query: &Query<'_>) -> AccessVerdict {
        todo!()
    }
    /// interim
    pub fn admits(&self, _client: IpAddr) -> bool {
        todo!()
    }
}
