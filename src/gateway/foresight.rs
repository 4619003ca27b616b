//! What queries will need of the filter's table and of the cache, asked for before they are looked at: large ones lie in
//! memory, and whoever looks something up waits for it twice. The queries of a batch wait together, and eight that wait
//! together wait no longer than one; a query that comes alone waits while its client is looked at. A name is hashed once for
//! all of it. Whether a query was foreseen changes nothing that is said about it.

use super::memory::{guess_key, key_of};
use crate::cache::{Cache, Flags, Key, KeyHash};
use crate::dns::HEADER_LEN;
use crate::dns::name::Name;
use crate::dns::query::Query;
use crate::policy::filter::{Filter, Foreseen};

/// The most queries of a group.
const GROUP_MAX: usize = 16;

/// Where queries are looked up.
type Places<'p> = (&'p Filter, &'p Cache);

/// Whose name something may be known of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    Nobodys,
    /// That of the query which came last, alone.
    Alone,
    /// That of a member of the group.
    Member(u8),
}

/// What is known of a query before it is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreknown {
    /// By the filter, of its name: to be had by [`Foresight::of_name`].
    pub(super) name: Known,
    /// Of its key in the cache.
    pub(super) key_hash: Option<KeyHash>,
}

/// What the cache's key of a query has besides a name, as far as it was guessed, and the hash of both.
#[derive(Clone, Copy, Debug)]
struct Guessed {
    qtype: u16,
    qclass: u16,
    flags: Flags,
    hash: KeyHash,
}

/// A name, and what was foreseen of it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    name: Name,
    in_filter: Foreseen,
    in_cache: Option<Guessed>,
}

/// The group that has been foreseen.
#[derive(Debug)]
pub(super) struct Foresight {
    group: [Seen; GROUP_MAX],
    len: usize,
    /// The first that has not been looked at.
    next: usize,
    /// No other belongs to it.
    is_complete: bool,
    /// Of a query that came alone.
    alone: Foreseen,
}

impl Guessed {
    fn new(cache: &Cache, key: &Key<'_>) -> Self {
        let Key { qtype, qclass, flags, .. } = *key;
        Self { qtype, qclass, flags, hash: cache.foresee(key) }
    }

    /// The hash of a query's key with the same name, if the rest was guessed right.
    fn hash_of(&self, query: &Query<'_>) -> Option<KeyHash> {
        let key = key_of(query)?;
        let is_same = (self.qtype, self.qclass, self.flags) == (key.qtype, key.qclass, key.flags);
        (is_same && key.client_subnet.is_empty()).then_some(self.hash)
    }
}

impl Foresight {
    pub(super) fn new() -> Self {
        let seen = Seen { name: Name::root(), in_filter: Foreseen::NOTHING, in_cache: None };
        Self { group: [seen; GROUP_MAX], len: 0, next: 0, is_complete: false, alone: Foreseen::NOTHING }
    }

    /// There is another filter.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    /// Takes in a query, if its name can be read and the filter or the cache is large enough for it to matter.
    #[inline]
    pub(super) fn see(&mut self, (filter, cache): Places<'_>, packet: &[u8]) {
        let (is_filter_large, is_cache_large) = (filter.is_large(), cache.is_large());
        if !is_filter_large && !is_cache_large {
            return;
        }
        if self.is_complete {
            (self.len, self.next, self.is_complete) = (0, 0, false);
        }
        if let Some(seen) = self.group.get_mut(self.len)
            && let Ok(name_end) = seen.name.become_uncompressed(packet, HEADER_LEN)
        {
            // One that is not large now has not been since the last `forget`.
            if is_filter_large {
                seen.in_filter = filter.foresee(seen.name.as_wire());
            }
            let key = guess_key(packet, &seen.name, name_end).filter(|_| is_cache_large);
            seen.in_cache = key.map(|key| Guessed::new(cache, &key));
            self.len += 1;
        }
    }

    /// The group is complete: asks for what the memory asked for first leads to.
    #[inline]
    pub(super) fn fetch(&mut self, (filter, cache): Places<'_>) {
        if std::mem::replace(&mut self.is_complete, true) {
            return;
        }
        for seen in &self.group[..self.len] {
            filter.fetch_foreseen(&seen.in_filter);
            if let Some(guessed) = &seen.in_cache {
                cache.fetch_foreseen(guessed.hash);
            }
        }
    }

    /// What is foreseen of a query that is looked at now, in the order in which a group was taken in; of one that was not, while
    /// there is time to wait for it.
    #[inline]
    pub(super) fn of(&mut self, (filter, cache): Places<'_>, query: &Query<'_>, has_time: bool) -> Foreknown {
        for number in self.next..self.len {
            let seen = &self.group[number];
            if seen.name == query.name {
                self.next = number + 1;
                let key_hash = seen.in_cache.and_then(|guessed| guessed.hash_of(query));
                return Foreknown { name: Known::Member(number as u8), key_hash };
            }
        }
        let mut foreknown = Foreknown { name: Known::Nobodys, key_hash: None };
        if has_time && filter.is_large() {
            self.alone = filter.foresee_alone(query.name.as_wire());
            foreknown.name = Known::Alone;
        }
        if has_time && cache.is_large() {
            foreknown.key_hash = key_of(query).map(|key| cache.foresee(&key));
        }
        foreknown
    }

    /// What the filter knows of the name of the query that was asked about last.
    #[inline]
    pub(super) fn of_name(&self, known: Known) -> &Foreseen {
        match known {
            Known::Nobodys => &Foreseen::NOTHING,
            Known::Alone => &self.alone,
            Known::Member(number) => {
                self.group.get(usize::from(number)).map_or(&Foreseen::NOTHING, |seen| &seen.in_filter)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Answer, Lifetime, Vetted};
    use crate::clock::Moment;
    use crate::dns::sample::Sample;
    use crate::policy::clients::GroupSet;
    use crate::policy::filter::Subject;
    use crate::policy::rrl::ResponseClass;
    use crate::policy::schedules::ActiveSet;
    use crate::policy::{Options, load_files};
    use proptest::prelude::*;

    /// With 30 000 names below one, and `also`.
    fn filter_with(below: &str, also: &str) -> Filter {
        let list: String = (0..30_000).map(|n| format!("n{n}.{below}\n")).chain([also.to_owned()]).collect();
        let rule = "[zone]\ntitle = \"z\"\n[[rule]]\nid = \"r\"\nlist = \"lists/l\"\naction = \"nxdomain\"\n";
        let gateway = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
        let files = [("gateway.toml", gateway), ("filters/10-z.toml", rule), ("lists/l", &list)].into_iter().collect();
        let filter = load_files(files, &Options::default()).unwrap().0.filter;
        assert!(filter.is_large());
        filter
    }

    fn no_cache() -> Cache {
        Cache::new(0, 7, 1)
    }

    /// With answers of eight thousand names.
    fn large_cache() -> Cache {
        let cache = Cache::new(16 << 20, 7, 4);
        for number in 0..8_000 {
            let name = Name::from_text(&format!("n{number}.example")).unwrap();
            let key = Key { name: &name, qtype: 1, qclass: 1, flags: Flags::RD, client_subnet: &[] };
            let body = [&[0; HEADER_LEN][..], name.as_wire(), &[0, 1, 0, 1], &[0; 100]].concat();
            let answer = Answer {
                body: &body,
                options: &[],
                ttls: &[],
                lifetime: Lifetime { ttl: 60, own_ttl: 60, stale: 60, ttl_max: 60 },
                rcode: 0,
                class: ResponseClass::default(),
                vetted: Vetted::default(),
            };
            cache.insert(Moment::ZERO, &key, &answer);
        }
        assert!(cache.is_large());
        cache
    }

    fn query(name: &str) -> (Name, Vec<u8>) {
        let name = Name::from_text(name).unwrap();
        (name, [b"\0\0\x01\0\0\x01\0\0\0\0\0\0", name.as_wire(), b"\0\x01\0\x01"].concat())
    }

    fn of(foresight: &mut Foresight, filter: &Filter, packet: &[u8], has_time: bool) -> Foreseen {
        let known = foresight.of((filter, &no_cache()), &Query::scan(packet).unwrap(), has_time).name;
        *foresight.of_name(known)
    }

    fn see(foresight: &mut Foresight, filter: &Filter, packets: &[(Name, Vec<u8>)]) {
        let places = (filter, &no_cache());
        packets.iter().for_each(|(_, packet)| foresight.see(places, packet));
        foresight.fetch(places);
    }

    fn is_blocked(filter: &Filter, name: &Name, foreseen: &Foreseen) -> bool {
        let (groups, client) = (&GroupSet::default(), [192, 0, 2, 1].into());
        let subject = Subject { groups, client, name, qtype: 1, tcp: false, active: &ActiveSet::EVERYTHING };
        let rule = filter.decide_foreseen(&subject, foreseen, &mut |_, _| false).rule.is_some();
        assert_eq!(rule, filter.decide(&subject).rule.is_some(), "{name}");
        rule
    }

    #[test]
    fn packets_of_any_kind_may_be_foreseen() {
        let (filter, cache) = (filter_with("example", ""), large_cache());
        let (name, sound) = query("n1.example");
        for (filter, cache) in [(&filter, &cache), (&filter, &no_cache()), (&Filter::none(), &cache)] {
            let mut foresight = Foresight::new();
            for (packet, is_seen) in [(&b""[..], false), (&[0; 12], false), (&[0xff; 300], false), (&sound, true)] {
                (0..20).for_each(|_| foresight.see((filter, cache), packet));
                assert_eq!(foresight.len, if is_seen { GROUP_MAX } else { 0 });
                foresight.fetch((filter, cache));
                let foreknown = foresight.of((filter, cache), &Query::scan(&sound).unwrap(), true);
                assert_eq!(is_blocked(filter, &name, foresight.of_name(foreknown.name)), filter.is_large());
                assert_eq!(foreknown.key_hash.is_some(), cache.is_large());
            }
        }
        let (filter, cache, mut foresight) = (Filter::none(), no_cache(), Foresight::new());
        foresight.see((&filter, &cache), &sound);
        assert_eq!(foresight.len, 0, "what is small needs no foresight");
        assert_eq!(foresight.of((&filter, &cache), &Query::scan(&sound).unwrap(), true).key_hash, None);
    }

    #[test]
    fn what_is_foreseen_is_found_and_nothing_else() {
        let filter = filter_with("example", "n1.test\n*.deep.test\n");
        let mut foresight = Foresight::new();
        let deep = format!("{}deep.test", "a.".repeat(60));
        let names = ["n1.example", "N1.Example", "x.n2.example", "example", ".", "n30000.example", "n1.test", &deep];
        let blocked = [true, true, true, false, false, false, true, true];
        let queries = names.map(query);
        // Of the second group the last of the first have not been asked for.
        for asked in [0..6, 0..8] {
            see(&mut foresight, &filter, &queries);
            for number in asked {
                let (name, packet) = &queries[number];
                let foreseen = of(&mut foresight, &filter, packet, false);
                assert_eq!(is_blocked(&filter, name, &foreseen), blocked[number], "{name}");
            }
        }
        // Some of a group are not looked at, and some that are were not in it.
        see(&mut foresight, &filter, &queries);
        for number in [1, 4, 0, 6] {
            let (name, packet) = &queries[number];
            let foreseen = of(&mut foresight, &filter, packet, number != 0);
            assert_eq!(is_blocked(&filter, name, &foreseen), blocked[number], "{name}");
        }
    }

    #[test]
    fn another_filter_makes_nothing_of_it() {
        let (one, other) = (filter_with("example", ""), filter_with("test", ""));
        let asked = [query("n1.test")];
        let (name, packet) = &asked[0];
        let mut foresight = Foresight::new();
        see(&mut foresight, &one, &asked);
        let foreseen = of(&mut foresight, &one, packet, true);
        assert!(!is_blocked(&one, name, &foreseen) && is_blocked(&other, name, &foreseen));
        see(&mut foresight, &one, &asked);
        foresight.forget();
        assert!(is_blocked(&other, name, &of(&mut foresight, &other, packet, true)));
    }

    #[test]
    fn a_key_is_guessed_where_it_is_likely() {
        let (filter, cache) = (Filter::none(), large_cache());
        let a = || Sample::query("N1.example", 1);
        let ecs = b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02";
        let (cookie, nsid) = (b"\0\x0a\0\x08abcdefgh", b"\0\x03\0\0");
        let guessed =
            [a(), a().flags(0x0110), a().flags(0), a().opt(b""), a().opt(cookie), Sample::query("n2.test", 65)];
        let others = [a().opt(ecs), a().opt(nsid)];
        for (queries, is_guessed) in [(guessed.to_vec(), true), (others.to_vec(), false)] {
            for packet in queries.into_iter().map(Sample::bytes) {
                let query = Query::scan(&packet).unwrap();
                let mut foresight = Foresight::new();
                foresight.see((&filter, &cache), &packet);
                foresight.fetch((&filter, &cache));
                let made = key_of(&query).map(|key| cache.hash_of(&key)).filter(|_| is_guessed);
                assert_eq!(made.is_some(), is_guessed);
                assert_eq!(foresight.of((&filter, &cache), &query, false).key_hash, made, "{packet:02x?}");
                // One that comes alone is known.
                let alone = foresight.of((&filter, &cache), &query, true).key_hash;
                assert_eq!(alone, key_of(&query).map(|key| cache.hash_of(&key)));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_known_of_a_key_is_its_hash(
            group in prop::collection::vec((0..3u8, 0..3u8, any::<[bool; 3]>(), 0..4u8), 1..24), skipped in any::<u32>()
        ) {
            let (filter, mut foresight) = (Filter::none(), Foresight::new());
            // Large only by its word: what it holds does not matter here.
            let cache = Cache::new(1 << 20, 7, 1).said_to_be_large();
            let packets = group.iter().map(|(name, qtype, [rd, cd, upper], options)| {
                let name = format!("{}{name}.example", if *upper { 'N' } else { 'n' });
                let query = Sample::query(&name, 1 + u16::from(*qtype));
                let query = query.flags(u16::from(*rd) << 8 | u16::from(*cd) << 4);
                match options {
                    0 => query,
                    1 => query.opt(b""),
                    2 => query.opt(b"\0\x0a\0\x08abcdefgh"),
                    _ => query.opt(b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02"),
                }.bytes()
            });
            let packets: Vec<_> = packets.collect();
            packets.iter().for_each(|packet| foresight.see((&filter, &cache), packet));
            foresight.fetch((&filter, &cache));
            for (number, packet) in packets.iter().enumerate().filter(|(number, _)| skipped >> number & 1 == 0) {
                let query = Query::scan(packet).unwrap();
                let key_hash = foresight.of((&filter, &cache), &query, number % 2 == 0).key_hash;
                if let Some(hash) = key_hash {
                    prop_assert_eq!(Some(hash), key_of(&query).map(|key| cache.hash_of(&key)));
                }
            }
        }
    }
}
