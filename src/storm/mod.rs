//! Storms: what each zone costs the servers behind, kept account of in fixed memory, so that a zone that fails, or is under
//! random names, cannot take what all the others need (RFC 8767, 9520).
//!
//! Each worker has a table of its own ([`table`]) without locks; what must hold over all workers is shared: places toward
//! the upstream ([`inflight`]) and the names that are known to exist ([`known`]).

pub mod inflight;
pub mod known;
mod sketch;
pub mod table;
mod zone_of;

use crate::clock::Moment;
use crate::dns::name::Name;
use inflight::InFlight;
use known::KnownNames;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use table::{Place, Table, Zone};
use zone_of::Cuts;

/// Names that the filter of known names holds at least.
pub const KNOWN_NAMES: usize = 1 << 20;

/// What all workers share.
#[derive(Debug)]
pub struct Common {
    hasher: ahash::RandomState,
    /// Questions in flight, by zone.
    pub inflight: InFlight,
    /// Names that are known to exist.
    pub known: KnownNames,
    workers: AtomicUsize,
}

impl Common {
    /// Empty; `seed` keys all hashes, so that nobody can choose names that collide. `known_names`: usually
    /// [`KNOWN_NAMES`].
    pub fn new(seed: u64, known_names: usize) -> Self {
        let hasher =
            ahash::RandomState::with_seeds(seed, seed.rotate_left(13), seed.rotate_left(29), seed.rotate_left(47));
        let (inflight, known) = (InFlight::default(), KnownNames::new(known_names));
        Self { hasher, inflight, known, workers: AtomicUsize::new(0) }
    }

    /// Bytes of it.
    pub fn size_bytes(&self) -> usize {
        InFlight::SIZE_BYTES + self.known.size_bytes()
    }

    /// The keyed hash of a name, for [`KnownNames`]; never 0.
    pub fn hash(&self, name: &Name) -> u64 {
        self.hasher.hash_one(name.as_wire()).max(1)
    }
}

/// The zone of a name.
#[derive(Clone, Copy, Debug)]
pub struct ZoneKey<'n> {
    wire: &'n [u8],
    /// Its keyed hash; never 0.
    pub hash: u64,
}

/// One worker's account of all zones.
#[derive(Debug)]
pub struct Storms {
    hasher: ahash::RandomState,
    cuts: Cuts,
    table: Table,
}

impl Storms {
    /// An account of at least `zones_max` zones.
    pub fn new(common: &Common, zones_max: usize) -> Self {
        common.workers.fetch_add(1, Relaxed);
        let hasher = common.hasher.clone();
        Self { cuts: Cuts::new(hasher.clone()), table: Table::new(zones_max), hasher }
    }

    /// Bytes that one of `zones_max` zones takes.
    pub fn size_bytes(zones_max: usize) -> usize {
        Table::size_bytes(zones_max) + Cuts::SIZE_BYTES
    }

    /// The zone of a name; `route` is the zone of the route that it takes.
    pub fn zone_of<'n>(&self, name: &'n Name, route: Option<&Name>) -> ZoneKey<'n> {
        let (wire, hash) = self.cuts.zone_of(name, route);
        ZoneKey { wire, hash }
    }

    /// A keyed hash of anything.
    pub fn hash(&self, of: &impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// Notes which zone answered a question for `name`: the owner of the SOA.
    pub fn learn_cut(&mut self, name: &Name, owner: &Name) {
        self.cuts.learn(name, owner);
    }

    /// The account of a zone, with one question more in it; a zone of which little was heard makes room for a new one.
    pub fn question(&mut self, at: Moment, zone: ZoneKey<'_>, name: u64, client: IpAddr) -> &mut Zone {
        let source = match client.to_canonical() {
            // Mapped: there are hashers to which one number is the same in 64 bits and in 128.
            IpAddr::V4(client) => self.hasher.hash_one(0xffff << 32 | u64::from(client.to_bits())),
            IpAddr::V6(client) => self.hasher.hash_one(client.to_bits()),
        };
        let account = self.table.open(at, zone.hash, zone.wire);
        account.question(at, name, source);
        account
    }

    /// The account of a zone, if there is one.
    pub fn account(&mut self, at: Moment, zone: u64) -> Option<&mut Zone> {
        self.table.find(at, zone)
    }

    /// As above, by where it lay when it was looked up last.
    #[inline]
    pub fn account_at(&mut self, at: Moment, zone: u64, place: Place) -> Option<&mut Zone> {
        self.table.find_at(at, zone, place)
    }

    /// This worker's part of a rate per second, at least 1.
    pub fn part(common: &Common, rate: u32) -> u32 {
        let workers = u32::try_from(common.workers.load(Relaxed)).unwrap_or(u32::MAX).max(1);
        (rate / workers).max(1)
    }
}
