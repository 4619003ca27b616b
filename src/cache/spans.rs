//! The cache over time and over sizes: how long an answer lives, what is refused, and what a resize keeps.

use super::model::{Made, NANOS, at, key, name};
use super::*;
use crate::dns::u32_at;

#[test]
fn an_answer_lives_for_its_ttl_then_is_stale_and_then_gone() {
    let cache = Cache::new(1 << 20, 5, 1);
    let name = name("a.example");
    let made = Made::new(&key(&name), &[60, 90], 100, 1);
    cache.insert(at(10), &key(&name), &made.answer());
    let mut out = vec![0; BODY_MAX];
    let mut ttls_at = |moment: u64| match cache.get(Moment::from_nanos(moment), &key(&name), &mut out) {
        Found::Miss => None,
        Found::Hit(hit) => {
            let ttls = [0, 1].map(|i| u32_at(&out, usize::from(made.offsets[i])).unwrap());
            Some((hit.is_fresh(), ttls))
        }
    };
    assert_eq!(ttls_at(5 * NANOS), Some((true, [60, 90])), "a clock that is behind counts as no age");
    assert_eq!(ttls_at(10 * NANOS), Some((true, [60, 90])));
    assert_eq!(ttls_at(11 * NANOS - 1), Some((true, [60, 90])));
    assert_eq!(ttls_at(11 * NANOS), Some((true, [59, 89])));
    assert_eq!(ttls_at(70 * NANOS - 1), Some((true, [1, 31])), "never 0 while fresh");
    assert_eq!(ttls_at(70 * NANOS), Some((false, [30, 30])));
    assert_eq!(ttls_at(170 * NANOS - 1), Some((false, [30, 30])));
    assert_eq!(ttls_at(170 * NANOS), None);
    assert_eq!(cache.counters().entries, 0, "what nobody may have makes room");
}

#[test]
fn what_cannot_be_kept_is_refused_and_the_older_answer_leaves() {
    let cache = Cache::new(1 << 20, 5, 1);
    let (asked, other) = (name("a.example"), name("b.example"));
    let good = Made::new(&key(&asked), &[60], 100, 1);
    let foreign = Made::new(&key(&other), &[60], 100, 1);
    let long = Made::new(&key(&asked), &[60], BODY_MAX + 1, 1);
    let mut outside = Made::new(&key(&asked), &[60], 100, 1);
    outside.offsets = vec![97];
    let mut options = Made::new(&key(&asked), &[60], 100, 1);
    options.options = vec![0; OPTIONS_MAX + 1];
    let mut out = vec![0; BODY_MAX];
    for (number, bad) in [foreign, long, outside, options].iter().enumerate() {
        cache.insert(at(1), &key(&asked), &good.answer());
        cache.insert(at(1), &key(&asked), &bad.answer());
        assert!(matches!(cache.get(at(1), &key(&asked), &mut out), Found::Miss), "number {number}");
        assert_eq!(cache.counters().refused, number as u64 + 1);
    }
    let subnet = Key { client_subnet: &[0; SUBNET_MAX + 1], ..key(&asked) };
    cache.insert(at(1), &subnet, &good.answer());
    assert_eq!(cache.counters().entries, 0);
}

#[test]
fn a_ttl_over_the_limit_is_handed_out_as_the_limit() {
    let cache = Cache::new(1 << 20, 5, 1);
    let name = name("a.example");
    let mut made = Made::new(&key(&name), &[900, 20], 100, 1);
    made.lifetime = Lifetime { ttl: 20, own_ttl: 20, stale: 0, ttl_max: 20 };
    cache.insert(at(1), &key(&name), &made.answer());
    let mut out = vec![0; BODY_MAX];
    let Found::Hit(_) = cache.get(at(6), &key(&name), &mut out) else { panic!("a miss") };
    assert_eq!(u32_at(&out, usize::from(made.offsets[0])), Some(15));
    assert!(matches!(cache.get(at(6), &key(&name), &mut out[..99]), Found::Miss), "one byte too few");
}

#[test]
fn a_cache_of_no_size_keeps_nothing_and_can_be_turned_on_and_off() {
    let cache = Cache::new(0, 5, 8);
    let name = name("a.example");
    let made = Made::new(&key(&name), &[60], 100, 1);
    let mut out = vec![0; BODY_MAX];
    let mut found = |cache: &Cache| {
        cache.insert(at(1), &key(&name), &made.answer());
        let key = key(&name);
        cache.fail(at(1), &key.failing(), FailureKind::Timeout, Duration::from_secs(30));
        let failed = cache.failed(at(1), &key.failing()).is_some();
        cache.succeeded(&key.failing());
        (matches!(cache.get(at(1), &key, &mut out), Found::Hit(_)), failed)
    };
    assert_eq!(found(&cache), (false, false));
    cache.resize(at(1), 4 << 20);
    assert_eq!(found(&cache), (true, true));
    cache.resize(at(1), SIZE_MIN as u64 - 1);
    assert_eq!(found(&cache), (false, false));
    assert_eq!((cache.counters().entries, cache.counters().inserts), (0, 1));
}

#[test]
fn a_resize_keeps_the_answers_that_fit_the_newest_first() {
    let cache = Cache::new(4 << 20, 5, 16);
    let names: Vec<_> = (0..4000).map(|i| name(&format!("n{i}.example"))).collect();
    let made: Vec<_> = names.iter().map(|name| Made::new(&key(name), &[600], 148, 9)).collect();
    for (name, made) in names.iter().zip(&made) {
        cache.insert(at(1), &key(name), &made.answer());
    }
    let mut out = vec![0; BODY_MAX];
    let mut kept = |cache: &Cache, range: std::ops::Range<usize>| {
        range.filter(|&i| matches!(cache.get(at(2), &key(&names[i]), &mut out), Found::Hit(_))).count()
    };
    assert_eq!(kept(&cache, 0..4000), 4000);
    cache.resize(at(2), 32 << 20);
    assert_eq!(kept(&cache, 0..4000), 4000);
    cache.resize(at(2), 256 << 10);
    assert_eq!(cache.counters().entries, kept(&cache, 0..4000) as u64);
    assert!(cache.counters().entries > 800, "{:?}", cache.counters());
}
