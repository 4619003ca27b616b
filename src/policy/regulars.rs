//! The regulars: sources that are known from before a flood, in fixed memory, shared by all workers.
//!
//! Of millions of forged sources each asks once, so there is nobody to catch; what can be told is who was there before.
//! Regular is who has asked in several different seconds, or has proved that its address is its own (TCP, a valid
//! cookie). While a worker is behind nobody becomes one by asking, so that a flood cannot make its sources known. What
//! somebody may ask who is known is not decided here: fair share and source limit hold for regulars too, and so for who
//! forges the address of one.

use crate::clock::Moment;
use ahash::RandomState;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Different seconds in which a source has to ask.
const SECONDS: u64 = 3;

/// For so long it is known after it was seen last.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// For so long nobody takes its place who has only asked.
const SETTLED_FOR: Duration = Duration::from_secs(600);

/// Sources of a set: one cache line.
const WAYS: usize = 4;

/// Marks an address of IPv4 among the upper halves of IPv6, where it would be multicast.
const IPV4_MARK: u64 = 0xffff_ffff_0000_0000;

/// What counts as one source: an address of IPv4, a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u64);

impl Source {
    /// The source that an address belongs to.
    pub fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(v4) => Self(IPV4_MARK | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }

    /// Its address, with zeros below the /64.
    pub fn address(self) -> IpAddr {
        if self.0 & IPV4_MARK == IPV4_MARK {
            return Ipv4Addr::from_bits(self.0 as u32).into();
        }
        Ipv6Addr::from_bits(u128::from(self.0) << 64).into()
    }
}

/// A source and, in one word, in how many different seconds it has asked ([`SECONDS`] at the most) and when it was seen
/// last. 0 is nobody. Words of two writers may mix: then a source is known that is not, or the other way round, until it
/// asks again.
#[derive(Debug, Default)]
struct Seat {
    source: AtomicU64,
    record: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    seconds: u64,
    last_s: u64,
}

impl Record {
    fn read(seat: &Seat) -> Option<Self> {
        let word = seat.record.load(Relaxed);
        (word != 0).then_some(Self { seconds: word & 0xff, last_s: word >> 8 })
    }

    fn write(self, seat: &Seat) {
        seat.record.store(self.last_s << 8 | self.seconds, Relaxed);
    }

    fn is_known(self, now_s: u64) -> bool {
        self.seconds >= SECONDS && now_s.saturating_sub(self.last_s) <= KNOWN_FOR.as_secs()
    }

    fn is_settled(self, now_s: u64) -> bool {
        self.is_known(now_s) && now_s.saturating_sub(self.last_s) <= SETTLED_FOR.as_secs()
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Seat; WAYS]);

/// All of them.
#[derive(Debug)]
pub struct Regulars {
    sets: Box<[Set]>,
    hasher: RandomState,
}

impl Regulars {
    /// Room for 65 536 sources.
    pub const BYTES: usize = 1 << 20;

    /// Allocates room in at most `bytes`, 16 for each source; it never grows. `seed` keys the hashes.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let hasher =
            RandomState::with_seeds(seed, seed.rotate_left(29), !seed, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { sets: (0..(bytes / size_of::<Set>()).max(1)).map(|_| Set::default()).collect(), hasher }
    }

    /// The memory of all; constant.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// A client asks. Whether it is a regular; with `learns`, it is on its way to become one. One cache line.
    pub fn meet(&self, now: Moment, client: IpAddr, learns: bool) -> bool {
        let (source, now_s) = (Source::of(client), now.as_secs());
        let set = self.set_of(source);
        let Some((seat, record)) = set.find(source) else {
            if learns && let Some(seat) = set.room(now_s, false) {
                seat.source.store(source.0, Relaxed);
                Record { seconds: 1, last_s: now_s }.write(seat);
            }
            return false;
        };
        let known = record.is_known(now_s);
        if (known || learns) && record.last_s != now_s {
            let seconds = match record.seconds {
                // Whoever was away for so long begins anew.
                _ if now_s.saturating_sub(record.last_s) > KNOWN_FOR.as_secs() => 1,
                seconds => (seconds + 1).min(SECONDS),
            };
            Record { seconds, last_s: now_s }.write(seat);
        }
        known
    }

    /// A client has proved that its address is its own: it is a regular at once, flood or not.
    pub fn prove(&self, now: Moment, client: IpAddr) {
        let (source, now_s) = (Source::of(client), now.as_secs());
        let set = self.set_of(source);
        let seat = set.find(source).map(|(seat, _)| seat).or_else(|| set.room(now_s, true));
        if let Some(seat) = seat {
            seat.source.store(source.0, Relaxed);
            Record { seconds: SECONDS, last_s: now_s }.write(seat);
        }
    }

    /// All that are known now. O(n) in the room there is.
    pub fn known(&self, now: Moment) -> impl Iterator<Item = Source> {
        let now_s = now.as_secs();
        let seats = self.sets.iter().flat_map(|set| &set.0);
        let known = move |seat: &&Seat| Record::read(seat).is_some_and(|record| record.is_known(now_s));
        seats.filter(known).map(|seat| Source(seat.source.load(Relaxed)))
    }

    fn set_of(&self, source: Source) -> &Set {
        let hash = self.hasher.hash_one(source.0);
        &self.sets[((u128::from(hash) * self.sets.len() as u128) >> 64) as usize]
    }
}

impl Set {
    fn find(&self, source: Source) -> Option<(&Seat, Record)> {
        let own = self.0.iter().find(|seat| seat.source.load(Relaxed) == source.0)?;
        Record::read(own).map(|record| (own, record))
    }

    /// A free seat or that of who is missed least. Nobody who has only asked takes the seat of a settled regular.
    fn room(&self, now_s: u64, proved: bool) -> Option<&Seat> {
        let standing = |seat: &&Seat| {
            Record::read(seat).map(|record| (record.is_settled(now_s), record.is_known(now_s), record.last_s))
        };
        let least = self.0.iter().min_by_key(standing)?;
        let settled = Record::read(least).is_some_and(|record| record.is_settled(now_s));
        (proved || !settled).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_asks_in_three_different_seconds_is_known_for_an_hour() {
        let regulars = Regulars::new(1 << 16, 1);
        let met: Vec<_> =
            [5, 5, 5, 6, 6, 70, 70].iter().map(|s| regulars.meet(at(*s), ip("192.0.2.1"), true)).collect();
        assert_eq!(met, [false, false, false, false, false, false, true], "many in a second are one");
        assert!(regulars.meet(at(70 + 3600), ip("192.0.2.1"), false), "and an hour more from here");
        assert!(regulars.meet(at(70 + 7200), ip("192.0.2.1"), false));
        assert!(!regulars.meet(at(70 + 7200 + 3601), ip("192.0.2.1"), true), "forgotten");
        assert!(!regulars.meet(at(71), ip("192.0.2.2"), false), "another one");
    }

    #[test]
    fn in_a_flood_nobody_becomes_known_but_by_proof() {
        let regulars = Regulars::new(1 << 16, 1);
        let client = ip("2001:db8::1");
        assert!((1..100).all(|s| !regulars.meet(at(s), client, false)));
        regulars.prove(at(100), client);
        assert!(regulars.meet(at(100), ip("2001:db8::2"), false), "its /64 is one source");
        assert!(!regulars.meet(at(100), ip("2001:db8:0:1::2"), false));
        let known: Vec<_> = regulars.known(at(100)).map(Source::address).collect();
        assert_eq!(known, [ip("2001:db8::")]);
    }

    #[test]
    fn strangers_take_the_seats_of_strangers_only_and_memory_stays() {
        let regulars = Regulars::new(1 << 16, 1);
        let old: Vec<IpAddr> = (0..500u32).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n).into()).collect();
        for second in 1..=3 {
            assert!(old.iter().all(|client| !regulars.meet(at(second), *client, true)));
        }
        let bytes = regulars.bytes();
        for n in 0..1_000_000u32 {
            let forged = Ipv4Addr::from_bits(n.wrapping_mul(2_654_435_761) | 0x8000_0000);
            assert!(!regulars.meet(at(4 + u64::from(n / 10_000)), forged.into(), true), "{forged} asks once");
        }
        let kept = old.iter().filter(|client| regulars.meet(at(104), **client, false)).count();
        assert_eq!((kept, regulars.bytes()), (500, bytes));
        assert_eq!(bytes, 1 << 16);
    }

    #[test]
    fn addresses_of_both_families_come_back() {
        for text in ["192.0.2.255", "0.0.0.0", "255.255.255.255", "2001:db8:1:2::", "::", "fe80::"] {
            assert_eq!(Source::of(ip(text)).address(), ip(text));
        }
        assert_eq!(Source::of(ip("::ffff:192.0.2.1")).address(), ip("192.0.2.1"));
    }
}
