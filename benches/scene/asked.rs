//! Questions one after the other, as benchmarks of what is looked up by a name ask them.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use weir::dns::name::Name;
use weir::policy::clients::GroupSet;
use weir::policy::filter::Subject;
use weir::policy::schedules::ActiveSet;
use weir::sys::prefetch;

/// Datagrams of a batch that are foreseen together, as in `listen`.
pub(crate) const GROUP: usize = 8;

/// Queries ahead of the one that is measured: in service the name asked for has just been read, here it must be fetched.
const AHEAD: usize = 8;

/// Names that are asked for by turns.
pub(crate) struct Asked {
    names: Vec<Name>,
    next: usize,
    /// Unknown to the compiler, so that a name which is asked for by way of it is not known before the answer is.
    zero: usize,
}

impl Asked {
    /// A multiple of [`GROUP`], and enough that they and what they need do not stay in a core's cache.
    pub(crate) fn new(names: Vec<Name>) -> Self {
        assert!(!names.is_empty() && names.len().is_multiple_of(GROUP), "whole groups");
        Self { names, next: 0, zero: black_box(0) }
    }

    /// A query that comes alone: it waits for its own memory only, and the next comes when it is done. `ask` says whether
    /// something was found.
    pub(crate) fn alone(&mut self, ask: impl FnOnce(&Name) -> bool) {
        let len = self.names.len();
        prefetch(&self.names[(self.next + AHEAD) % len]);
        let is_found = ask(&self.names[self.next]);
        self.next = (self.next + 1 + (usize::from(is_found) & self.zero)) % len;
    }

    /// Queries that come together.
    pub(crate) fn group(&mut self) -> &[Name] {
        let group = self.next..self.next + GROUP;
        self.next = group.end % self.names.len();
        self.names[self.next..self.next + GROUP].iter().for_each(prefetch);
        &self.names[group]
    }
}

/// How long so many queries take in whole groups, in proportion.
pub(crate) fn time_groups(queries: u64, mut group: impl FnMut()) -> Duration {
    let groups = queries.div_ceil(GROUP as u64);
    let begun = Instant::now();
    (0..groups).for_each(|_| group());
    begun.elapsed().mul_f64(queries as f64 / (groups * GROUP as u64) as f64)
}

/// A question for the filter, of a client that is in these groups.
pub(crate) fn subject<'s>(groups: &'s GroupSet, name: &'s Name) -> Subject<'s> {
    let client = IpAddr::from([192, 0, 2, 1]);
    Subject { groups, client, name, qtype: 1, tcp: false, active: &ActiveSet::EVERYTHING }
}
