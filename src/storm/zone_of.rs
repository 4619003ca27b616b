//! Which zone a name belongs to, as far as can be told without asking: the route's zone, a zone cut that an SOA has shown,
//! else the registrable domain.
//!
//! Cuts are believed only below the registrable domain, and few of each: who owns a domain could else make every name of
//! it a zone, and so escape the share of one.

use crate::dns::name::Name;
use crate::dns::registrable::registrable;

/// Registrable domains whose cuts are remembered share buckets by hash.
const BUCKETS: usize = 512;

/// Cuts in a bucket: the most zones that one domain can be.
const PLACES: usize = 8;

/// One zone cut.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    /// Hash of the registrable domain; 0: nobody is here.
    domain: u64,
    /// Hash of the zone's name.
    zone: u64,
    /// Bytes of its wire form.
    len: u8,
}

/// The cuts that a worker has seen.
#[derive(Debug)]
pub(super) struct Cuts {
    hasher: ahash::RandomState,
    places: Box<[Cut]>,
    /// Which place of a full bucket is taken next.
    turn: usize,
}

impl Cuts {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { hasher, places: vec![Cut::default(); BUCKETS * PLACES].into_boxed_slice(), turn: 0 }
    }

    pub(super) const SIZE_BYTES: usize = BUCKETS * PLACES * size_of::<Cut>();

    /// The wire form of the zone of a name and its hash, never 0. `route`: the zone of the route that the name takes.
    pub(super) fn zone_of<'n>(&self, name: &'n Name, route: Option<&Name>) -> (&'n [u8], u64) {
        let wire = name.as_wire();
        let domain = registrable(name);
        let hash = self.hash(domain);
        let seen = self.bucket(hash).iter().filter(|cut| cut.domain == hash);
        let is_suffix = |cut: &&Cut| {
            name.suffixes()
                .find(|suffix| suffix.len() <= usize::from(cut.len))
                .is_some_and(|suffix| suffix.len() == usize::from(cut.len) && self.hash(suffix) == cut.zone)
        };
        let cut = seen.filter(is_suffix).map(|cut| usize::from(cut.len)).max().unwrap_or(0);
        let route = route.map_or(0, |zone| zone.as_wire().len());
        // The longest: a route's zone may be a part of a domain, or hold many domains.
        let len = domain.len().max(cut).max(if route > domain.len() { route } else { 0 });
        let zone = &wire[wire.len() - len..];
        (zone, if len == domain.len() { hash } else { self.hash(zone) })
    }

    /// Notes that an answer to `name` came from the zone `owner`.
    pub(super) fn learn(&mut self, name: &Name, owner: &Name) {
        let domain = registrable(name);
        if owner.as_wire().len() <= domain.len() || !name.is_within(owner) {
            return;
        }
        let cut = Cut { domain: self.hash(domain), zone: self.hash(owner.as_wire()), len: owner.as_wire().len() as u8 };
        let start = cut.domain as usize % BUCKETS * PLACES;
        let bucket = &mut self.places[start..start + PLACES];
        if bucket.iter().any(|place| (place.domain, place.zone) == (cut.domain, cut.zone)) {
            return;
        }
        let free = bucket.iter().position(|place| place.domain == 0);
        self.turn = self.turn.wrapping_add(1);
        bucket[free.unwrap_or(self.turn % PLACES)] = cut;
    }

    fn bucket(&self, domain: u64) -> &[Cut] {
        let start = domain as usize % BUCKETS * PLACES;
        &self.places[start..start + PLACES]
    }

    fn hash(&self, wire: &[u8]) -> u64 {
        self.hasher.hash_one(wire).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn cuts() -> Cuts {
        Cuts::new(ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    fn zone(cuts: &Cuts, text: &str, route: Option<&str>) -> String {
        let route = route.map(name);
        let of = name(text);
        let (zone, hash) = cuts.zone_of(&of, route.as_ref());
        assert_eq!(hash, cuts.hash(zone));
        Name::from_wire(zone).unwrap().to_string()
    }

    #[test]
    fn a_name_belongs_to_its_registrable_domain() {
        let cuts = cuts();
        for (of, expected) in [
            ("a.b.example.com", "example.com"),
            ("www.example.co.uk", "example.co.uk"),
            ("someone.github.io", "someone.github.io"),
            ("a.dead.test", "dead.test"),
            (".", "."),
        ] {
            assert_eq!(zone(&cuts, of, None), expected, "{of}");
        }
    }

    #[test]
    fn a_route_is_a_zone_where_it_says_more() {
        let cuts = cuts();
        assert_eq!(zone(&cuts, "a.b.corp.example.com", Some("corp.example.com")), "corp.example.com");
        assert_eq!(zone(&cuts, "a.example.com", Some("com")), "example.com");
    }

    #[test]
    fn an_soa_shows_a_zone_below_a_domain_and_nowhere_else() {
        let mut cuts = cuts();
        cuts.learn(&name("x.sub.example.com"), &name("sub.example.com"));
        assert_eq!(zone(&cuts, "y.z.sub.example.com", None), "sub.example.com");
        assert_eq!(zone(&cuts, "y.example.com", None), "example.com");
        cuts.learn(&name("nobody.com"), &name("com"));
        assert_eq!(zone(&cuts, "nobody.com", None), "nobody.com");
        cuts.learn(&name("x.example.com"), &name("other.example.com"));
        assert_eq!(zone(&cuts, "y.other.example.com", None), "example.com", "not its own zone");
    }

    #[test]
    fn a_domain_is_few_zones_however_many_it_shows() {
        let mut cuts = cuts();
        (0..1000).for_each(|n| {
            let own = name(&format!("n{n}.evil.example"));
            cuts.learn(&own, &own);
        });
        let apart = (0..1000).filter(|n| zone(&cuts, &format!("n{n}.evil.example"), None) != "evil.example").count();
        assert!(apart <= PLACES, "{apart}");
    }
}
