//! Answers for a cache, and what they are looked up by.

use weir::cache::{Answer, Cache, Flags, Key, Lifetime, Vetted};
use weir::clock::Moment;
use weir::dns::name::Name;
use weir::policy::rrl::ResponseClass;

pub(crate) fn key(name: &Name) -> Key<'_> {
    Key { name, qtype: 1, qclass: 1, flags: Flags::RD, client_subnet: &[] }
}

/// Keeps an answer of 148 bytes for a name.
pub(crate) fn keep(cache: &Cache, now: Moment, name: &Name) {
    let mut body = [0; 148];
    let end = 12 + name.as_wire().len();
    body[12..end].copy_from_slice(name.as_wire());
    body[end..end + 4].copy_from_slice(&[0, 1, 0, 1]);
    let answer = Answer {
        body: &body,
        options: &[],
        ttls: &[60, 76, 92, 108],
        lifetime: Lifetime { ttl: 3600, own_ttl: 3600, stale: 3600, ttl_max: 86_400 },
        rcode: 0,
        class: ResponseClass::default(),
        vetted: Vetted::default(),
    };
    cache.insert(now, &key(name), &answer);
}

/// A cache with answers of so many names, as large as they need twice over.
pub(crate) fn cache_with(now: Moment, entries: u64) -> Cache {
    let cache = Cache::new((entries * 512).max(4 << 20), 1, 8);
    (0..entries).for_each(|number| keep(&cache, now, &name(number)));
    assert_eq!(cache.counters().entries, entries, "the cache holds all of them");
    cache
}

/// The name of an answer.
pub(crate) fn name(number: u64) -> Name {
    Name::from_text(&format!("host{number}.zone{}.example", number % 997)).expect("a plain name")
}
