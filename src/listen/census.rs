//! How many TCP connections there are, altogether and of each client, and how fast each opens them, over all workers, in
//! fixed memory.
//!
//! A client's connections are counted in two cells that a keyed hash chooses, and the smaller one is believed: a table of
//! addresses would grow with the clients. Two clients that share both cells (with ten thousand connections open about one
//! in ten million pairs) share a limit.

use super::sieve::source_of;
use crate::clock::Moment;
use crate::policy::Mode;
use crate::policy::server::TcpLimits;
use crate::policy::shares::{Shares, Terms};
use crate::sys::keys::unguessable;
use ahash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Cells in each of the two rows: 128 KiB together.
const CELLS: usize = 16_384;

/// Counts of open connections.
#[derive(Debug)]
pub(super) struct Census {
    total: AtomicUsize,
    cells: Box<[AtomicU32]>,
    keys: RandomState,
    rates: Shares,
}

/// Bytes of the accounts of rates.
const RATES: usize = 1 << 20;

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many altogether.
    Full,
    /// Too many of this client.
    ClientFull,
    /// Too many in too short a time.
    Rate,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    census: Arc<Census>,
    cells: [usize; 2],
    /// What would have refused it, did the limits not only watch.
    pub(super) watched: Option<Refused>,
}

impl Census {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            total: AtomicUsize::new(0),
            cells: (0..2 * CELLS).map(|_| AtomicU32::new(0)).collect(),
            rates: Shares::new(RATES, unguessable().hash_one(0)),
            keys: unguessable(),
        })
    }

    /// Counts a connection of `client`, if the limits have room for it.
    pub(super) fn admit(self: &Arc<Self>, now: Moment, client: IpAddr, limits: &TcpLimits) -> Result<Permit, Refused> {
        let client = client.to_canonical();
        let hash = self.keys.hash_one(source_of(client)) as usize;
        let cells = [hash % CELLS, CELLS + (hash / CELLS) % CELLS];
        // Counted first and looked at then, so that two workers cannot both take the last place.
        let total = self.total.fetch_add(1, Relaxed);
        let of_client = cells.map(|cell| self.cells[cell].fetch_add(1, Relaxed) as usize);
        let mut permit = Permit { census: Arc::clone(self), cells, watched: None };
        if total >= limits.connections {
            return Err(Refused::Full);
        }
        let over = of_client.into_iter().min() >= Some(limits.per_client);
        let refused = match limits.mode {
            Mode::Off => None,
            Mode::Enforce | Mode::Monitor if over => Some(Refused::ClientFull),
            // Asked last, so that who is refused for something else is not charged.
            Mode::Enforce | Mode::Monitor => (!self.is_within_rate(now, client, limits)).then_some(Refused::Rate),
        };
        match refused {
            Some(refused) if limits.mode == Mode::Enforce => return Err(refused),
            watched => permit.watched = watched,
        }
        Ok(permit)
    }

    fn is_within_rate(&self, now: Moment, client: IpAddr, limits: &TcpLimits) -> bool {
        let (ipv4, ipv6) = ([(32, 1), (24, 8)], [(64, 1), (56, 3)]);
        let terms = Terms { rate: limits.rate.into(), burst: Duration::from_secs(2), ipv4, ipv6 };
        self.rates.take(now, client, &terms, 0)
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

    const NOW: Moment = Moment::from_nanos(1_000_000_000);

    fn limits(mode: Mode) -> TcpLimits {
        TcpLimits {
            mode,
            connections: 5,
            per_client: 2,
            rate: 1000,
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
        let first = census.admit(NOW, a, &limits).unwrap();
        let mut others = vec![census.admit(NOW, a, &limits).unwrap()];
        assert_eq!(census.admit(NOW, a, &limits).unwrap_err(), Refused::ClientFull);
        others.extend([b, b, c].map(|client| census.admit(NOW, client, &limits).unwrap()));
        assert_eq!(census.admit(NOW, c, &limits).unwrap_err(), Refused::Full);
        drop(first);
        assert_eq!(census.total(), 4, "a refused connection is not counted");
        others.push(census.admit(NOW, a, &limits).unwrap());
        drop(others);
        assert!(census.total() == 0 && census.cells.iter().all(|cell| cell.load(Relaxed) == 0));
    }

    #[test]
    fn monitor_marks_and_off_does_not_look_but_the_total_always_holds() {
        let census = Census::new();
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let marks: Vec<_> = (0..4).map(|_| census.admit(NOW, a, &limits(Mode::Monitor)).unwrap()).collect();
        assert_eq!(
            marks.iter().map(|permit| permit.watched).collect::<Vec<_>>(),
            [None, None, Some(Refused::ClientFull), Some(Refused::ClientFull)]
        );
        let fifth = census.admit(NOW, a, &limits(Mode::Off)).unwrap();
        assert_eq!(fifth.watched, None);
        assert_eq!(census.admit(NOW, a, &limits(Mode::Off)).unwrap_err(), Refused::Full);
    }

    #[test]
    fn a_link_of_ipv6_is_one_client() {
        let census = Census::new();
        let open = |ip: &str| census.admit(NOW, ip.parse().unwrap(), &limits(Mode::Enforce));
        let held = [open("2001:db8::1"), open("2001:db8::2"), open("2001:db8:0:1::1")];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(open("2001:db8::3").unwrap_err(), Refused::ClientFull);
    }

    #[test]
    fn who_opens_connections_too_fast_is_refused_until_time_has_passed() {
        let census = Census::new();
        let limits = TcpLimits { rate: 3, ..limits(Mode::Enforce) };
        let client = "192.0.2.1".parse().unwrap();
        let open = |secs: u64| census.admit(Moment::from_nanos(secs * 1_000_000_000), client, &limits).map(drop);
        assert_eq!((0..8).filter(|_| open(1).is_ok()).count(), 6, "two seconds' worth");
        assert_eq!(open(1), Err(Refused::Rate));
        assert_eq!((0..8).filter(|_| open(2).is_ok()).count(), 3);
        let watching = TcpLimits { mode: Mode::Monitor, ..limits.clone() };
        let permit = census.admit(Moment::from_nanos(2_000_000_000), client, &watching).unwrap();
        assert_eq!(permit.watched, Some(Refused::Rate));
    }
}
