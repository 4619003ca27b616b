//! The cache against a naive model, and what must hold whatever is done to it: a hit is exactly what was inserted last
//! for that key with the TTLs counted down, never another key's and never past its time; memory never grows.

use super::*;
use crate::dns::{HEADER_LEN, u32_at};
use crate::policy::filter::TtlBounds;
use proptest::prelude::*;
use std::collections::HashMap;

pub(super) const NANOS: u64 = 1_000_000_000;

pub(super) fn at(secs: u64) -> Moment {
    Moment::from_nanos(secs * NANOS)
}

pub(super) fn name(text: &str) -> Name {
    let mut wire = Vec::new();
    for label in text.split('.') {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    Name::from_wire(&wire).unwrap()
}

pub(super) fn key(name: &Name) -> Key<'_> {
    Key { name, qtype: 1, qclass: 1, flags: Flags::RD, client_subnet: &[] }
}

/// An answer to `key` with one TTL for each of `ttls`, filled up to at least `len` bytes that only `salt` makes.
pub(super) struct Made {
    body: Vec<u8>,
    pub(super) offsets: Vec<u16>,
    pub(super) options: Vec<u8>,
    pub(super) lifetime: Lifetime,
    salt: u64,
}

impl Made {
    pub(super) fn new(key: &Key<'_>, ttls: &[u32], len: usize, salt: u64) -> Self {
        let mut body = vec![0; HEADER_LEN];
        body.extend_from_slice(key.name.as_wire());
        body.extend_from_slice(&key.qtype.to_be_bytes());
        body.extend_from_slice(&key.qclass.to_be_bytes());
        let mut offsets = Vec::new();
        for ttl in ttls {
            body.push(salt as u8);
            offsets.push(body.len() as u16);
            body.extend_from_slice(&ttl.to_be_bytes());
        }
        for i in body.len()..len {
            body.push((salt.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32) >> 13) as u8);
        }
        let ttl = ttls.iter().copied().min().unwrap_or(60);
        let options = salt.to_le_bytes()[..(salt % 9) as usize].to_vec();
        Self { body, offsets, options, lifetime: Lifetime { ttl, own_ttl: ttl, stale: 100, ttl_max: 86_400 }, salt }
    }

    /// Kept for at least so long, for clients who have such a least TTL.
    pub(super) fn with_least_ttl(mut self, least_ttl: u32) -> Self {
        self.lifetime.ttl = self.lifetime.own_ttl.max(least_ttl);
        self
    }

    fn is_raised(&self) -> bool {
        self.lifetime.own_ttl < self.lifetime.ttl
    }

    pub(super) fn answer(&self) -> Answer<'_> {
        Answer {
            body: &self.body,
            options: &self.options,
            ttls: &self.offsets,
            lifetime: self.lifetime,
            rcode: (self.salt % 4) as u16,
            class: ResponseClass {
                account: self.salt,
                guard: !self.salt,
                category: crate::policy::rrl::Category::from_number(self.salt as u8 % 7),
            },
            vetted: Vetted { generation: self.salt / 3, untouched: self.salt.is_multiple_of(2) },
        }
    }

    /// The TTLs that a client has to get for whom they are bounded so, and whether fresh, once they are `age` old; `None` when
    /// it has to get nothing.
    fn bounded(&self, age: Duration, bounds: TtlBounds) -> Option<(bool, Vec<u32>)> {
        let Lifetime { ttl, own_ttl, stale, ttl_max } = self.lifetime;
        let secs = |secs: u32| Duration::from_secs(secs.into());
        let bounded = |ttl: u32| ttl.max(bounds.min.min(self.lifetime.ttl)).min(bounds.max);
        let lives = bounded(own_ttl);
        assert!(lives <= ttl, "longer than it is kept");
        if age >= secs(lives) && (lives == 0 || age >= secs(lives) + secs(stale)) {
            return None;
        }
        let fresh = age < secs(lives);
        let written = self.offsets.iter().map(|at| u32_at(&self.body, usize::from(*at)).unwrap().min(ttl_max));
        let left = |ttl: u32| if fresh { bounded(ttl) - age.as_secs() as u32 } else { bounded(ttl).min(STALE_TTL) };
        Some((fresh, written.map(left).collect()))
    }

    /// The body as it has to look at `age` seconds.
    fn aged(&self, age: u64) -> Vec<u8> {
        let mut body = self.body.clone();
        for &offset in &self.offsets {
            let offset = usize::from(offset);
            let ttl = u64::from(u32_at(&body, offset).unwrap().min(self.lifetime.ttl_max));
            let fresh = age < u64::from(self.lifetime.ttl);
            let left = match fresh {
                _ if self.is_raised() => ttl,
                true => ttl - age,
                false => ttl.min(u64::from(STALE_TTL)),
            };
            body[offset..offset + 4].copy_from_slice(&(left as u32).to_be_bytes());
        }
        body
    }

    pub(super) fn assert_is(&self, hit: &Hit, out: &[u8], stored: Moment, now: Moment) {
        let answer = self.answer();
        let age = now.since(stored);
        let ttl = Duration::from_secs(u64::from(self.lifetime.ttl));
        assert!(age < ttl + Duration::from_secs(u64::from(self.lifetime.stale)), "served past its time");
        assert_eq!(hit.is_fresh(), age < ttl);
        if let Freshness::Stale { since } = hit.freshness {
            assert_eq!(since, age - ttl);
        }
        assert_eq!(&out[..hit.len], &self.aged(age.as_secs()));
        for (min, max) in [(0, u32::MAX), (0, 20), (90, u32::MAX), (250, 300), (500, 500)] {
            let bounds = TtlBounds { min, max };
            let got = hit.standing(now, bounds).map(|standing| {
                let given = self.offsets.iter().map(|at| u32_at(out, usize::from(*at)).unwrap());
                let ttls: Vec<u32> = given.map(|ttl| hit.ttl_of(ttl, bounds, standing)).collect();
                (standing == Freshness::Fresh, ttls)
            });
            assert_eq!(got, self.bounded(age, bounds), "{bounds:?} of {:?} at {age:?}", self.lifetime);
        }
        assert_eq!(hit.options(), answer.options);
        assert_eq!(u64::from(hit.age_secs), age.as_secs());
        assert_eq!((hit.rcode, hit.class), (answer.rcode, answer.class));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert { key: usize, ttls: Vec<u32>, least_ttl: u32, len: usize, salt: u64 },
    Foresee { key: usize },
    Get { key: usize },
    Remove { key: usize },
    Revet { key: usize, generation: u64, untouched: bool },
    Advance { millis: u64 },
    Resize { size: u64 },
    Clear,
}

fn op(keys: usize) -> impl Strategy<Value = Op> {
    let least_ttl = prop_oneof![3 => Just(0u32), 1 => 1u32..400];
    let insert = (0..keys, prop::collection::vec(0u32..200, 0..6), least_ttl, 0usize..3000, any::<u64>());
    prop_oneof![
        12 => insert.prop_map(|(key, ttls, least_ttl, len, salt)| Op::Insert { key, ttls, least_ttl, len, salt }),
        1 => (0..keys, 15_000usize..17_000, any::<u64>())
            .prop_map(|(key, len, salt)| Op::Insert { key, ttls: vec![7], least_ttl: 0, len, salt }),
        10 => (0..keys).prop_map(|key| Op::Foresee { key }),
        20 => (0..keys).prop_map(|key| Op::Get { key }),
        1 => (0..keys).prop_map(|key| Op::Remove { key }),
        2 => (0..keys, any::<u64>(), any::<bool>())
            .prop_map(|(key, generation, untouched)| Op::Revet { key, generation, untouched }),
        4 => (0u64..40_000).prop_map(|millis| Op::Advance { millis }),
        1 => (0u64..3 << 19).prop_map(|size| Op::Resize { size }),
        1 => Just(Op::Clear),
    ]
}

/// Keys that differ in one part each: the same names by type, class, flags and subnet.
fn key_number<'a>(number: usize, names: &'a [Name]) -> Key<'a> {
    const SUBNETS: [&[u8]; 4] = [&[], &[0, 1, 24, 0, 192, 0, 2], &[0, 1, 24, 0, 192, 0, 3], &[0, 1, 0, 0]];
    let variant = number / names.len();
    Key {
        name: &names[number % names.len()],
        qtype: 1 + (variant as u16 & 1) * 27,
        qclass: 1 + (variant as u16 >> 1 & 1) * 2,
        flags: Flags((variant >> 2 & 15) as u8),
        client_subnet: SUBNETS[variant >> 6 & 3],
    }
}

fn names() -> Vec<Name> {
    let mut names: Vec<_> = ["a", "b", "ab", "a.b", "b.a", "www.example.com"].map(name).to_vec();
    names.push(Name::root());
    names
}

/// Runs operations on the cache and on the model. Returns the look-ups that missed what the model has.
fn run(size: u64, seed: u64, keys: usize, ops: &[Op]) -> (Cache, usize) {
    let names = names();
    let cache = Cache::new(size, seed, 4);
    let mut model: HashMap<usize, (Moment, Made, Vetted)> = HashMap::new();
    // What was foreseen once stays true, whatever is done meanwhile.
    let mut foreseen: HashMap<usize, KeyHash> = HashMap::new();
    let (mut now, mut limit, mut lost) = (at(1), size, 0);
    let mut out = vec![0; BODY_MAX];
    for op in ops {
        match *op {
            Op::Insert { key, ref ttls, least_ttl, len, salt } => {
                let number = key % keys;
                let key = key_number(number, &names);
                // What has no time at all is not to be inserted.
                let ttls: Vec<u32> = ttls.iter().map(|ttl| (*ttl).max(u32::from(least_ttl == 0))).collect();
                let made = Made::new(&key, &ttls, len, salt).with_least_ttl(least_ttl);
                cache.insert(now, &key, &made.answer());
                let vetted = made.answer().vetted;
                model.insert(number, (now, made, vetted));
            }
            Op::Foresee { key } => {
                let hash = cache.foresee(&key_number(key % keys, &names));
                cache.fetch_foreseen(hash);
                foreseen.insert(key % keys, hash);
            }
            Op::Get { key } => {
                let number = key % keys;
                let key = key_number(number, &names);
                let found = match foreseen.get(&number) {
                    Some(hash) => cache.get_foreseen(now, &key, *hash, &mut out),
                    None => cache.get(now, &key, &mut out),
                };
                match (found, model.get(&number)) {
                    (Found::Hit(hit), Some((stored, made, vetted))) => {
                        made.assert_is(&hit, &out, *stored, now);
                        assert_eq!(hit.vetted, *vetted);
                    }
                    (Found::Hit(_), None) => panic!("a hit for what was never inserted, or was removed"),
                    (Found::Miss, Some((stored, made, _))) => {
                        let life = u64::from(made.lifetime.ttl + made.lifetime.stale);
                        lost += usize::from(now.since(*stored) < Duration::from_secs(life));
                    }
                    (Found::Miss, None) => {}
                }
            }
            Op::Remove { key } => {
                cache.remove(&key_number(key % keys, &names));
                model.remove(&(key % keys));
            }
            Op::Revet { key, generation, untouched } => {
                let new = Vetted { generation, untouched };
                let number = key_number(key % keys, &names);
                if let Found::Hit(hit) = cache.get(now, &number, &mut out) {
                    cache.revet(&number, &hit, new);
                    let (_, made, vetted) = model.get_mut(&(key % keys)).expect("what was inserted");
                    *vetted = new;
                    if untouched {
                        made.lifetime.ttl = made.lifetime.own_ttl;
                    }
                    if made.lifetime.ttl == 0 {
                        model.remove(&(key % keys));
                    }
                }
            }
            Op::Advance { millis } => now = now.plus(Duration::from_millis(millis)),
            Op::Resize { size } => {
                cache.resize(now, size);
                limit = size;
            }
            Op::Clear => {
                cache.clear();
                model.clear();
            }
        }
        let counters = cache.counters();
        let fixed = (size_of::<Cache>() + size_of_val(&*cache.cells)) as u64;
        assert!(counters.size_bytes <= limit.max(fixed) && counters.bytes <= limit, "{counters:?} over {limit}");
    }
    (cache, lost)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_hit_is_what_was_inserted_last_whatever_is_evicted(
        seed in any::<u64>(), size in (64u64 << 10)..(1 << 20), ops in prop::collection::vec(op(900), 1..900)
    ) {
        run(size, seed, 900, &ops);
    }

    #[test]
    fn nothing_is_lost_while_there_is_room(seed in any::<u64>(), ops in prop::collection::vec(op(30), 1..600)) {
        let ops: Vec<_> = ops.into_iter().filter(|op| !matches!(op, Op::Resize { .. })).collect();
        let ops: Vec<_> = ops.into_iter().filter(|op| !matches!(op, Op::Insert { len: 15_000.., .. })).collect();
        let (cache, lost) = run(16 << 20, seed, 30, &ops);
        prop_assert_eq!((lost, cache.counters().evictions, cache.counters().refused), (0, 0, 0));
    }
}

#[test]
fn an_answer_that_came_in_between_is_not_taken_for_vetted() {
    let cache = Cache::new(1 << 20, 3, 1);
    let mut out = vec![0; BODY_MAX];
    let name = name("www.example");
    let key = key(&name);
    let old = Made::new(&key, &[300], 148, 1);
    let vetted = Vetted { generation: 9, untouched: true };
    for len in [100, 148, 400] {
        cache.insert(at(1), &key, &old.answer());
        let Found::Hit(hit) = cache.get(at(2), &key, &mut out) else { panic!("it is there") };
        // Another worker has a newer answer by now, and what is in that is another matter.
        let new = Made::new(&key, &[300], len, 3);
        cache.insert(at(2), &key, &new.answer());
        cache.revet(&key, &hit, vetted);
        let Found::Hit(hit) = cache.get(at(2), &key, &mut out) else { panic!("the new one is there") };
        assert_eq!(hit.vetted, new.answer().vetted, "{len}");
        cache.revet(&key, &hit, vetted);
        let Found::Hit(hit) = cache.get(at(2), &key, &mut out) else { panic!("the new one is there") };
        assert_eq!(hit.vetted, vetted, "{len}");
    }
}

#[test]
fn memory_never_exceeds_the_configured_size_and_most_of_it_is_used() {
    for size in [SIZE_MIN, 100_000, 1 << 20, (7 << 20) + 12_345, 64 << 20] {
        for shards in [1, 3, 16, 100_000] {
            let cache = Cache::new(size as u64, 7, shards);
            let counters = cache.counters();
            let fixed = (size_of::<Cache>() + size_of_val(&*cache.cells)) as u64;
            assert!(counters.size_bytes <= (size as u64).max(fixed), "{size} in {shards} shards: {counters:?}");
            let least = if shards <= 16 { size as u64 * 9 / 10 } else { 0 };
            assert!(counters.size_bytes >= least, "{size} in {shards} shards: {counters:?}");
        }
    }
}

#[test]
fn a_full_cache_stays_full_of_the_newest_and_never_grows() {
    let cache = Cache::new(1 << 20, 3, 4);
    let mut out = vec![0; BODY_MAX];
    let before = cache.counters().size_bytes;
    for i in 0..40_000u64 {
        let name = name(&format!("host{i}.example.com"));
        let made = Made::new(&key(&name), &[300], 148, i);
        cache.insert(at(1), &key(&name), &made.answer());
        let Found::Hit(hit) = cache.get(at(2), &key(&name), &mut out) else { panic!("{i} is gone at once") };
        made.assert_is(&hit, &out, at(1), at(2));
    }
    let counters = cache.counters();
    assert_eq!(counters.size_bytes, before);
    assert_eq!(counters.entries + counters.evictions, 40_000);
    assert!(counters.bytes * 100 >= before * 85, "{counters:?}");
}

#[test]
fn what_is_asked_for_survives_a_flood_of_names_that_nobody_asks_for_again() {
    let cache = Cache::new(1 << 20, 11, 2);
    let mut out = vec![0; BODY_MAX];
    let hot: Vec<_> = (0..200usize).map(|i| name(&format!("hot{i}.example"))).collect();
    let made: Vec<_> = hot.iter().map(|name| Made::new(&key(name), &[3600], 148, 1)).collect();
    let (mut asked, mut hits) = (0, 0);
    for i in 0..40_000u64 {
        let random = name(&format!("r{i}.victim.example"));
        cache.insert(at(2), &key(&random), &Made::new(&key(&random), &[3600], 148, i).answer());
        if i % 10 == 0 {
            let number = (i / 10 % 200) as usize;
            let hit = matches!(cache.get(at(3), &key(&hot[number]), &mut out), Found::Hit(_));
            if !hit {
                cache.insert(at(3), &key(&hot[number]), &made[number].answer());
            }
            (asked, hits) = (asked + 1, hits + u32::from(hit));
        }
    }
    // 200 of 4000 are the first look-ups of each name; a ring without second chances has each name for two of its turns
    assert!(hits >= asked - 200 - asked / 100, "{hits} of {asked}");
}

#[test]
fn keys_that_share_one_hash_share_one_bucket_and_nothing_else() {
    let mut shard = Shard::new(1 << 20);
    let mut out = vec![0; BODY_MAX];
    let names: Vec<_> = (0..500).map(|i| name(&format!("n{i}"))).collect();
    for (i, name) in names.iter().enumerate() {
        shard.insert(at(1), 0xdead_beef_0000_0001, &key(name), &Made::new(&key(name), &[60], 100, i as u64).answer());
    }
    let found = |shard: &mut Shard, out: &mut [u8], i: usize| {
        let Found::Hit(hit) = shard.get(at(1), 0xdead_beef_0000_0001, &key(&names[i]), out) else { return false };
        Made::new(&key(&names[i]), &[60], 100, i as u64).assert_is(&hit, out, at(1), at(1));
        true
    };
    let kept: Vec<_> = (0..500).filter(|&i| found(&mut shard, &mut out, i)).collect();
    assert_eq!(kept, (500 - index::PLACES..500).collect::<Vec<_>>(), "the newest of the bucket stay");
    assert_eq!(shard.counts.evictions, 500 - index::PLACES as u64);
}

#[test]
fn a_hit_needs_every_part_of_the_key_even_when_the_hash_is_the_same() {
    let (a, b) = (name("a.example"), name("b.example"));
    let base = Key { client_subnet: &[0, 1, 24, 0, 192, 0, 2], ..key(&a) };
    let different = [
        Key { name: &b, ..base },
        Key { qtype: 28, ..base },
        Key { qclass: 3, ..base },
        Key { flags: base.flags.with(Flags::DO), ..base },
        Key { flags: base.flags.with(Flags::CD), ..base },
        Key { flags: Flags::default(), ..base },
        Key { client_subnet: &[0, 1, 24, 0, 192, 0, 3], ..base },
        Key { client_subnet: &[0, 1, 24, 0, 192, 0], ..base },
        Key { client_subnet: &[], ..base },
    ];
    let mut out = vec![0; BODY_MAX];
    for other in different {
        let mut shard = Shard::new(1 << 20);
        shard.insert(at(1), 42, &base, &Made::new(&base, &[60], 100, 1).answer());
        assert!(matches!(shard.get(at(1), 42, &base, &mut out), Found::Hit(_)));
        assert!(matches!(shard.get(at(1), 42, &other, &mut out), Found::Miss), "{other:?}");
        shard.insert(at(1), 42, &other, &Made::new(&other, &[60], 100, 2).answer());
        for (key, salt) in [(base, 1), (other, 2)] {
            let Found::Hit(hit) = shard.get(at(1), 42, &key, &mut out) else { panic!("{key:?} is lost") };
            assert_eq!(hit.class.account, salt);
        }
    }
}

#[test]
fn many_threads_never_see_a_torn_or_foreign_answer() {
    let cache = Cache::new(256 << 10, 5, 4);
    let names: Vec<_> = (0..400).map(|i| name(&format!("t{i}.example"))).collect();
    let hits: u64 = std::thread::scope(|scope| {
        let worker = |thread: u64| {
            let (cache, names) = (&cache, &names);
            move || {
                let (mut hits, mut random, mut out) = (0, thread + 1, vec![0; BODY_MAX]);
                for step in 0..30_000u64 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let (name, salt) = (&names[(random >> 20) as usize % names.len()], random % 50);
                    let key = key(name);
                    match (random >> 40) % 8 {
                        0 => cache.insert(at(1), &key, &Made::new(&key, &[60], 100 + salt as usize, salt).answer()),
                        1 if step % 1000 == 0 => cache.remove(&key),
                        2 => {
                            let Found::Hit(hit) = cache.get(at(2), &key, &mut out) else { continue };
                            cache.revet(&key, &hit, Vetted { generation: salt, untouched: false });
                        }
                        _ => {
                            let Found::Hit(hit) = cache.get(at(2), &key, &mut out) else { continue };
                            let salt = hit.class.account;
                            let made = Made::new(&key, &[60], 100 + salt as usize, salt);
                            made.assert_is(&hit, &out, at(1), at(2));
                            hits += 1;
                        }
                    }
                }
                hits
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(worker(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let counters = cache.counters();
    assert!(hits > 1000, "{hits} hits");
    assert!(counters.entries > 0 && counters.size_bytes <= 256 << 10, "{counters:?}");
}

#[test]
fn a_taken_shard_is_a_counted_miss_and_never_waited_for() {
    let cache = Cache::new(1 << 20, 5, 1);
    let name = name("a.example");
    let made = Made::new(&key(&name), &[60], 100, 1);
    cache.insert(at(1), &key(&name), &made.answer());
    let held = cache.cells[0].answers.lock().unwrap();
    let mut out = vec![0; BODY_MAX];
    assert!(matches!(cache.get(at(1), &key(&name), &mut out), Found::Miss));
    cache.insert(at(1), &key(&name), &made.answer());
    drop(held);
    assert!(matches!(cache.get(at(1), &key(&name), &mut out), Found::Hit(_)));
    let counters = cache.counters();
    assert_eq!((counters.contention, counters.inserts), (2, 1));
}
