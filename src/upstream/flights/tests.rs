//! What a table of flights promises: room, identity, deadlines.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A table whose packets are all of one source.
fn flights(flights_max: usize) -> Flights<()> {
    Flights::new(flights_max, (), |()| Source::of(Ipv4Addr::LOCALHOST.into()))
}

const ROUTE: Route = Route { link: LinkId { slot: 3, generation: 9 }, port: 5, tcp: false };

fn attempt(id: u16) -> Attempt {
    Attempt { id, ..Attempt::on(ROUTE) }
}

#[test]
fn a_flight_is_found_by_each_attempt_until_it_is_closed() {
    let mut flights = flights(4);
    let due = Moment::from_nanos(1_000_000_000);
    let id = flights.open((), b"packet", Moment::ZERO, due).unwrap();
    flights.add_attempt(id, attempt(7), due).unwrap();
    flights.add_attempt(id, attempt(8), due).unwrap();
    assert_eq!(flights.find(ROUTE, 7).unwrap().0, id);
    assert_eq!(flights.find(ROUTE, 8).map(|(id, number)| flights.attempt(id, number).id), Some(8));
    assert!(flights.find(Route { tcp: true, ..ROUTE }, 7).is_none(), "another way");
    assert!(flights.find(Route { port: 4, ..ROUTE }, 7).is_none(), "another port");
    let stranger = LinkId { slot: 3, generation: 8 };
    assert!(flights.find(Route { link: stranger, ..ROUTE }, 7).is_none(), "an earlier use of the slot");
    flights.close(id);
    assert!(flights.find(ROUTE, 7).is_none() && flights.find(ROUTE, 8).is_none());
    assert!(flights.is_empty());
    assert_eq!(flights.pop_due(due.plus(Duration::from_secs(9))), None, "its timer is gone");
}

#[test]
fn those_that_wait_are_found_once_and_may_leave_before() {
    let mut flights = flights(8);
    let mut open = || flights.open((), b"", Moment::ZERO, Moment::ZERO).unwrap();
    let (leader, a, b, c) = (open(), open(), open(), open());
    flights.lead(leader, 77);
    flights.lead(a, 77);
    [a, b, c].into_iter().for_each(|id| flights.follow(id, leader));
    assert_eq!(flights.leader(77), Some((leader, 3)));
    flights.close(b);
    assert_eq!(flights.leader(77), Some((leader, 2)));
    let taken: Vec<_> = std::iter::from_fn(|| flights.take_waiter(leader)).collect();
    assert_eq!(taken, [c, a]);
    flights.close(leader);
    assert_eq!(flights.leader(77), None);
    [a, c].into_iter().for_each(|id| flights.close(id));
    assert!(flights.is_empty());
}

#[test]
fn tables_are_full_at_their_bound_and_free_again_after() {
    let mut flights = flights(2);
    let big = vec![1; INLINE_MAX + 1];
    let one = flights.open((), &big, Moment::ZERO, Moment::ZERO).unwrap();
    flights.open((), b"", Moment::ZERO, Moment::ZERO).unwrap();
    assert_eq!(flights.open((), b"", Moment::ZERO, Moment::ZERO), Err(Full));
    assert_eq!(flights.packet(one), &big[..]);
    (0..ATTEMPTS_MAX as u16).for_each(|id| flights.add_attempt(one, attempt(id), Moment::ZERO).unwrap());
    assert_eq!(flights.add_attempt(one, attempt(99), Moment::ZERO), Err(Full));
    flights.close(one);
    let noted = (&big[..INLINE_MAX], &b"why"[..]);
    assert_eq!(flights.open_noted((), noted, Moment::ZERO, Moment::ZERO), Ok(one));
    assert_eq!((flights.packet(one), flights.packet_and_note(one)), (noted.0, &[noted.0, noted.1].concat()[..]));
}

#[test]
fn large_packets_have_a_bound_of_their_own_of_which_one_source_has_half() {
    let source_of = |number: &u32| Source::of(Ipv4Addr::from_bits(*number).into());
    let mut flights = Flights::new(LARGE_PACKETS + 9, 0, source_of);
    let big = vec![1; LARGE_MAX];
    let mut open = |asker: u32, packet: &[u8]| flights.open(asker, packet, Moment::ZERO, Moment::ZERO);
    let taken = (0..LARGE_PACKETS).filter(|_| open(1, &big).is_ok()).count();
    assert_eq!(taken, LARGE_PACKETS / 2);
    assert!(open(1, b"small").is_ok(), "only larger ones are shared out so");
    assert!(
        (2..100).filter(|asker| open(*asker, &big).is_ok()).count() == LARGE_PACKETS / 2,
        "the others have the rest"
    );
    assert_eq!(open(101, &big), Err(Full));
    assert!(open(101, b"small").is_ok());
    let first = flights.nth(0);
    flights.close(first);
    assert!(flights.open(101, &big, Moment::ZERO, Moment::ZERO).is_ok());
}

#[test]
fn random_use_agrees_with_a_map() {
    let seed = 11;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut flights = flights(64);
    let mut model: HashMap<u16, FlightId> = HashMap::new();
    for round in 0..50_000 {
        if rng.random_bool(0.5) {
            let id = rng.random_range(0..400u16);
            assert_eq!(flights.is_taken(ROUTE, id), model.contains_key(&id), "seed {seed} round {round}");
            if model.contains_key(&id) {
                continue;
            }
            if let Ok(flight) = flights.open((), &id.to_be_bytes(), Moment::ZERO, Moment::ZERO) {
                flights.add_attempt(flight, attempt(id), Moment::ZERO).unwrap();
                model.insert(id, flight);
            } else {
                assert_eq!(model.len(), 64);
            }
        } else if !flights.is_empty() {
            let flight = flights.nth(rng.random_range(0..flights.len()));
            let id = u16::from_be_bytes([flights.packet(flight)[0], flights.packet(flight)[1]]);
            assert_eq!(flights.find(ROUTE, id).map(|found| found.0), Some(flight), "seed {seed} round {round}");
            flights.close(flight);
            model.remove(&id);
        }
        assert_eq!(flights.len(), model.len());
    }
}
