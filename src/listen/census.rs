//! How many TCP connections there are, altogether and of each client, over all workers, in fixed memory.
//!
//! A client's connections are counted in two cells that a keyed hash chooses, and the smaller one is believed: a table of
//! addresses would grow with the clients. Two clients that share both cells (with ten thousand connections open about one
//! in ten million pairs) share a limit.

use crate::policy::Mode;
use crate::policy::server::TcpLimits;
use ahash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Cells in each of the two rows: 128 KiB together.
const CELLS: usize = 16_384;

/// Counts of open connections.
#[derive(Debug)]
pub(super) struct Census {
    total: AtomicUsize,
    cells: Box<[AtomicU32]>,
    keys: RandomState,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many altogether.
    Full,
    /// Too many of this client.
    ClientFull,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    census: Arc<Census>,
    cells: [usize; 2],
    /// The client is over its limit, but the limit only watches.
    pub(super) watched: bool,
}

impl Census {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            total: AtomicUsize::new(0),
            cells: (0..2 * CELLS).map(|_| AtomicU32::new(0)).collect(),
            keys: RandomState::new(),
        })
    }

    /// Counts a connection of `client`, if the limits have room for it.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr, limits: &TcpLimits) -> Result<Permit, Refused> {
        let hash = self.keys.hash_one(client) as usize;
        let cells = [hash % CELLS, CELLS + (hash / CELLS) % CELLS];
        // Counted first and looked at then, so that two workers cannot both take the last place.
        let total = self.total.fetch_add(1, Relaxed);
        let of_client = cells.map(|cell| self.cells[cell].fetch_add(1, Relaxed) as usize);
        let mut permit = Permit { census: Arc::clone(self), cells, watched: false };
        if total >= limits.connections {
            return Err(Refused::Full);
        }
        let over = of_client.into_iter().min() >= Some(limits.per_client);
        match limits.mode {
            Mode::Enforce if over => return Err(Refused::ClientFull),
            Mode::Monitor => permit.watched = over,
            Mode::Enforce | Mode::Off => {}
        }
        Ok(permit)
    }

    /// Open connections.
    pub(super) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.census.total.fetch_sub(1, Relaxed);
        for cell in self.cells {
            self.census.cells[cell].fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits(mode: Mode) -> TcpLimits {
        TcpLimits {
            mode,
            connections: 5,
            per_client: 2,
            idle: Duration::from_secs(10),
            stall: Duration::from_secs(5),
            pipeline: 8,
        }
    }

    #[test]
    fn a_client_has_its_own_limit_and_all_have_one() {
        let census = Census::new();
        let [a, b, c]: [IpAddr; 3] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let limits = limits(Mode::Enforce);
        let first = census.admit(a, &limits).unwrap();
        let mut others = vec![census.admit(a, &limits).unwrap()];
        assert_eq!(census.admit(a, &limits).unwrap_err(), Refused::ClientFull);
        others.extend([b, b, c].map(|client| census.admit(client, &limits).unwrap()));
        assert_eq!(census.admit(c, &limits).unwrap_err(), Refused::Full);
        drop(first);
        assert_eq!(census.total(), 4, "a refused connection is not counted");
        others.push(census.admit(a, &limits).unwrap());
        drop(others);
        assert!(census.total() == 0 && census.cells.iter().all(|cell| cell.load(Relaxed) == 0));
    }

    #[test]
    fn monitor_marks_and_off_does_not_look_but_the_total_always_holds() {
        let census = Census::new();
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let marks: Vec<_> = (0..4).map(|_| census.admit(a, &limits(Mode::Monitor)).unwrap()).collect();
        assert_eq!(marks.iter().map(|permit| permit.watched).collect::<Vec<_>>(), [false, false, true, true]);
        let fifth = census.admit(a, &limits(Mode::Off)).unwrap();
        assert!(!fifth.watched);
        assert_eq!(census.admit(a, &limits(Mode::Off)).unwrap_err(), Refused::Full);
    }
}
