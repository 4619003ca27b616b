//! rrl: how often one network may get the same response.

use super::Mode;
use super::networks::NetworkSet;
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::dns::response::Response;
use std::net::IpAddr;

/// limits.toml `[rrl]`, compiled.
#[derive(Debug)]
pub struct RrlPolicy {
    /// enforce, monitor or off.
    pub mode: Mode,
    /// Never limited.
    pub exempt: NetworkSet,
}

/// All accounts in fixed memory, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct RrlTable {}

/// What a response is counted as; small enough to be kept with a cached answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResponseClass {
    /// Keyed hash of category, name and type, without the client.
    pub account: u64,
    /// Keyed hash of the parent of the name asked for, for the guard.
    pub guard: u64,
    /// Category number.
    pub category: u8,
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

impl RrlTable {
    /// Allocates a table of at most `bytes`; it never grows. `seed` keys the hashes.
    pub fn new(_bytes: usize, _seed: u64) -> Self {
        todo!()
    }

    /// Classifies an upstream's response to a question for (`name`, `qtype`). `zone`: the longest route of the name.
    pub fn class_of(&self, _response: &Response<'_>, _name: &Name, _qtype: u16, _zone: Option<&Name>) -> ResponseClass {
        todo!()
    }

    /// Classifies a self-made answer: an error code (ERROR), NXDOMAIN, NODATA or addresses for (`name`, `qtype`).
    pub fn class_of_own(&self, _rcode: u16, _has_answers: bool, _name: &Name, _qtype: u16) -> ResponseClass {
        todo!()
    }
}

impl RrlPolicy {
    /// Charges a response that is about to go to `client` over UDP, and says what to do. Exempt clients and mode `off`
    /// get `Answer`; mode `monitor` says what it would do.
    pub fn check(&self, _table: &RrlTable, _now: Moment, _client: IpAddr, _class: &ResponseClass) -> RrlVerdict {
        todo!()
    }
}
