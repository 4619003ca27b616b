//! Zones in a storm, in virtual time.

use super::super::{Common, Storms};
use super::*;
use crate::policy::Mode;
use crate::policy::storm::StormAnswer;
use std::net::IpAddr;

const RATIO: f64 = 0.8;
const SOON: Duration = Duration::from_millis(9);

fn at(millis: u64) -> Moment {
    Moment::from_nanos((10_000 + millis) * 1_000_000)
}

fn zone() -> Zone {
    Zone { second: at(0).as_secs(), ..Zone::EMPTY() }
}

fn policy() -> StormPolicy {
    StormPolicy {
        mode: Mode::Enforce,
        zone_inflight: 0.05,
        fail_ratio: RATIO,
        answer: StormAnswer::ServerFailure,
        waiters: 64,
        unknown: 100,
        zones: 64,
    }
}

#[test]
fn second_attempts_are_few_until_they_help() {
    let mut zone = zone();
    assert_eq!((0..100).filter(|_| zone.ask_again()).count(), 5);
    (0..3).for_each(|_| zone.helped());
    assert_eq!((0..100).filter(|_| zone.ask_again()).count(), 6, "two for each that helped");
}

fn fail(zone: &mut Zone, at: Moment, times: u32) {
    (0..times).for_each(|_| {
        zone.asked(at, false);
        zone.failed(at, false, RATIO);
    });
}

#[test]
fn a_zone_fails_after_ten_failures_that_few_answers_stand_against() {
    let mut zone = zone();
    fail(&mut zone, at(0), 9);
    assert_eq!(zone.breaker(at(0)), Says::Ask);
    fail(&mut zone, at(0), 1);
    assert_eq!(zone.breaker(at(999)), Says::Fails);
    let mut mixed = super::tests::zone();
    (0..5).for_each(|_| mixed.answered(at(0), SOON, false, false, RATIO));
    fail(&mut mixed, at(0), 19);
    assert_eq!(mixed.breaker(at(0)), Says::Ask, "19 of 24");
    fail(&mut mixed, at(0), 1);
    assert!(mixed.fails(), "20 of 25");
}

#[test]
fn a_failing_zone_is_tried_by_one_at_a_time_and_one_answer_ends_it() {
    let mut zone = zone();
    fail(&mut zone, at(0), 10);
    assert_eq!(zone.breaker(at(1000)), Says::Try);
    zone.asked(at(1000), true);
    assert_eq!(zone.breaker(at(2500)), Says::Fails, "one probe at a time");
    zone.failed(at(3000), true, RATIO);
    assert_eq!(zone.breaker(at(3000)), Says::Try, "it was waited for longer than the pause is");
    zone.asked(at(3000), true);
    zone.failed(at(3010), true, RATIO);
    assert_eq!((zone.breaker(at(3999)), zone.breaker(at(4000))), (Says::Fails, Says::Try), "it failed at once");
    zone.asked(at(8000), true);
    zone.answered(at(8010), SOON, false, true, RATIO);
    assert_eq!((zone.breaker(at(8010)), zone.recovered_at()), (Says::Ask, at(8010)));
}

#[test]
fn only_a_zone_that_answers_at_this_moment_may_hold_more_than_its_share() {
    let mut zone = zone();
    assert_eq!(zone.places(at(0), &policy(), 1000), 50, "nothing is known of it");
    zone.answered(at(0), SOON, false, false, RATIO);
    assert_eq!(zone.places(at(249), &policy(), 1000), 500);
    assert_eq!(zone.places(at(250), &policy(), 1000), 50, "silent");
    zone.answered(at(255), STALLED, false, false, RATIO);
    assert_eq!(zone.places(at(256), &policy(), 1000), 50, "slow");
    fail(&mut zone, at(250), 2);
    zone.answered(at(260), SOON, false, false, RATIO);
    assert_eq!(zone.places(at(261), &policy(), 1000), 500);
    fail(&mut zone, at(261), 2);
    assert_eq!(zone.places(at(262), &policy(), 1000), 50, "more fails than is answered");
}

#[test]
fn random_names_are_many_and_do_not_exist() {
    let ask = |zone: &mut Zone, n: u64, absent: bool| {
        zone.question(at(0), n.wrapping_mul(0x9E37_79B9_7F4A_7C15), 1);
        zone.answered(at(0), SOON, absent, false, RATIO);
    };
    let (mut random, mut few, mut alive) = (zone(), zone(), zone());
    for n in 0..400 {
        ask(&mut random, n, true);
        ask(&mut few, n % 20, true);
        ask(&mut alive, n, n % 3 == 0);
    }
    assert!(random.is_under_random_names(100));
    assert!(!few.is_under_random_names(100), "20 names");
    assert!(!alive.is_under_random_names(100), "most of them exist");
    let passed = (0..1000).filter(|ms| random.admit_unknown(at(*ms), 100)).count();
    assert!((195..=205).contains(&passed), "a second's worth at once and a second's worth after: {passed}");
}

#[test]
fn a_stall_is_seen_before_anything_has_failed_and_told_once_a_second() {
    let mut zone = zone();
    (0..10).for_each(|_| zone.asked(at(0), false));
    assert!(!zone.is_stalled(at(499)) && zone.is_stalled(at(500)));
    let numbers = zone.alert(at(500), AlertKind::RetryStorm).unwrap();
    assert_eq!(numbers.bad_permille, 1000);
    assert!(zone.alert(at(1499), AlertKind::RetryStorm).is_none());
    assert!(zone.alert(at(1499), AlertKind::RandomSubdomains).is_some(), "another kind");
    assert!(zone.alert(at(1500), AlertKind::RetryStorm).is_some());
    zone.answered(at(1500), SOON, false, false, RATIO);
    assert!(!zone.is_stalled(at(1999)));
}

#[test]
fn counts_fade() {
    let mut zone = zone();
    (0..1024).for_each(|n| zone.question(at(0), n, n));
    assert_eq!(zone.sum(|c| c.questions), 1024);
    zone.roll(at(2000));
    assert_eq!(zone.sum(|c| c.questions), 256);
    zone.roll(at(60_000));
    assert_eq!((zone.sum(|c| c.questions), zone.names()), (0, 0));
}

#[test]
fn a_storming_zone_outlives_a_flood_of_other_zones() {
    let common = Common::new(5, 64);
    let mut storms = Storms::new(&common, 64);
    let client: IpAddr = [10, 0, 0, 1].into();
    let dead = Name::from_text("x.dead.test").unwrap();
    let hash = storms.zone_of(&dead, None).hash;
    for n in 0..20_000 {
        for name in [dead, Name::from_text(&format!("n{n}.test")).unwrap()] {
            let zone = storms.zone_of(&name, None);
            storms.question(at(n / 10), zone, common.hash(&name), client);
        }
    }
    let zone = storms.account(at(2000), hash).expect("it is still there");
    assert!(zone.sum(|c| c.questions) > 5_000);
}

#[test]
fn an_account_is_found_where_it_lay_and_no_other_in_its_place() {
    let mut table = Table::new(PLACES);
    let wire = |hash: u64| [1, b'a' + hash as u8, 0];
    let name = |zone: Option<&mut Zone>| zone.map(|zone| zone.name().to_string());
    let place = table.open(at(0), 1, &wire(1)).place();
    assert_eq!(name(table.find_at(at(0), 1, place)), Some("b".into()));
    // More is asked of the others, so that the last takes its place.
    for hash in 2..=PLACES as u64 + 1 {
        table.open(at(0), hash, &wire(hash)).question(at(0), hash, hash);
    }
    assert_eq!(name(table.find_at(at(0), 1, place)), None);
    assert_eq!(name(table.find_at(at(0), 2, place)), Some("c".into()), "it lies elsewhere");
    assert_eq!(table.find_at(at(0), PLACES as u64 + 1, place).map(|zone| zone.place()), Some(place));
}
