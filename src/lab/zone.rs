//! The zones of the lab, and what one holds for a question: RFC 1034 section 4.3.2 over a map. Master-file text is
//! compiled into the program, so that the lab needs no file, and is parsed by hickory-proto at start.

use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

/// Records of the zone that exists to be transferred, its SOA and NS not counted.
pub const TRANSFER_HOSTS: u32 = 2000;

/// How a zone behaves beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As its records say.
    Plain,
    /// As its records say for its own name; anything below is refused.
    ApexOnly,
    /// As its records say, after [`super::SLOW`].
    Slow,
    /// No answer at all.
    Dead,
    /// SERVFAIL.
    Failing,
    /// REFUSED.
    Refusing,
}

const TEXTS: &[(Manner, &str)] = &[
    (Manner::Plain, include_str!("zones/lab.example.zone")),
    (Manner::Plain, include_str!("zones/other.example.zone")),
    (Manner::Plain, include_str!("zones/reverse.zone")),
    (Manner::Plain, include_str!("zones/baofeng.com.zone")),
    (Manner::Plain, include_str!("zones/iqiyi.com.zone")),
    (Manner::Plain, include_str!("zones/tudou.com.zone")),
    (Manner::Plain, include_str!("zones/youku.com.zone")),
    (Manner::Slow, include_str!("zones/slow.example.zone")),
    (Manner::ApexOnly, include_str!("zones/root.zone")),
];

const BARE: &[(Manner, &str)] =
    &[(Manner::Dead, "dead.example."), (Manner::Failing, "fail.example."), (Manner::Refusing, "refused.example.")];

/// One zone.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) origin: Name,
    pub(super) manner: Manner,
    /// By owner, then in the order of the types.
    nodes: BTreeMap<LowerName, Vec<Record>>,
    /// Every name that exists, empty non-terminals included.
    names: BTreeSet<LowerName>,
}

/// What a zone holds for a question.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// Records of the type, or all for ANY.
    Answer(Vec<Record>),
    /// An alias, and where it leads.
    Alias(Box<Record>, Name),
    /// The name is below a zone cut: the NS records, and addresses of theirs that are in this zone.
    Referral(Vec<Record>, Vec<Record>),
    /// The name exists, the type does not.
    NoData,
    /// No such name.
    NoName,
}

impl Zone {
    fn parse(manner: Manner, text: &str) -> io::Result<Self> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let (origin, sets) =
            Parser::new(text, None, None).parse().map_err(|error| invalid(format!("zone of the lab: {error}")))?;
        let mut zone = Self { origin: origin.clone(), manner, nodes: BTreeMap::new(), names: BTreeSet::new() };
        for (key, set) in sets {
            if !origin.zone_of(set.name()) {
                return Err(invalid(format!("zone of the lab: {} is outside {origin}", set.name())));
            }
            let mut name = Name::from(key.name.clone());
            while zone.names.insert(LowerName::new(&name)) && name != origin {
                name = name.base_name();
            }
            let records = set.records_without_rrsigs().cloned();
            zone.nodes.entry(key.name).or_default().extend(records);
        }
        match zone.soa() {
            Some(_) => Ok(zone),
            None => Err(invalid(format!("zone of the lab: {origin} has no SOA"))),
        }
    }

    fn bare(manner: Manner, origin: &str) -> io::Result<Self> {
        let origin = Name::from_ascii(origin).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self { origin, manner, nodes: BTreeMap::new(), names: BTreeSet::new() })
    }

    /// The SOA record; a zone that always fails has none.
    pub(super) fn soa(&self) -> Option<&Record> {
        self.of_type(&LowerName::new(&self.origin), RecordType::SOA).next()
    }

    /// The serial of the SOA.
    pub(super) fn serial(&self) -> Option<u32> {
        self.soa().and_then(|soa| if let RData::SOA(soa) = &soa.data { Some(soa.serial) } else { None })
    }

    /// All records but the SOA, for a transfer.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.nodes.values().flatten().filter(|record| record.record_type() != RecordType::SOA)
    }

    fn of_type(&self, name: &LowerName, rtype: RecordType) -> impl Iterator<Item = &Record> {
        let node = self.nodes.get(name).into_iter().flatten();
        node.filter(move |record| rtype == RecordType::ANY || record.record_type() == rtype)
    }

    /// What this zone holds for `name` and `rtype`; the owner of each record is `name` as it was written in the
    /// question. O(labels) look-ups.
    pub(super) fn look_up(&self, name: &Name, rtype: RecordType) -> Found {
        let key = LowerName::new(name);
        if let Some(referral) = self.cut_above(name, rtype) {
            return referral;
        }
        if self.names.contains(&key) {
            return self.at_node(&key, name, rtype);
        }
        // RFC 4592 section 3.3.1: "the closest encloser is the node in the zone's tree of existing domain names that
        // has the most labels matching the query name"; only its own wildcard counts.
        let mut encloser = name.base_name();
        while !self.names.contains(&LowerName::new(&encloser)) && encloser != self.origin && !encloser.is_root() {
            encloser = encloser.base_name();
        }
        match encloser.prepend_label("*").map(|wildcard| LowerName::new(&wildcard)) {
            Ok(wildcard) if self.names.contains(&wildcard) => self.at_node(&wildcard, name, rtype),
            _ => Found::NoName,
        }
    }

    fn at_node(&self, key: &LowerName, owner: &Name, rtype: RecordType) -> Found {
        let renamed = |record: &Record| {
            let mut record = record.clone();
            record.name = owner.clone();
            record
        };
        let found: Vec<Record> = self.of_type(key, rtype).map(renamed).collect();
        if !found.is_empty() {
            return Found::Answer(found);
        }
        match self.of_type(key, RecordType::CNAME).next() {
            Some(alias) => match &alias.data {
                RData::CNAME(target) => Found::Alias(Box::new(renamed(alias)), target.0.clone()),
                _ => Found::NoData,
            },
            None => Found::NoData,
        }
    }

    fn cut_above(&self, name: &Name, rtype: RecordType) -> Option<Found> {
        let mut cut = name.clone();
        let mut found = None;
        while cut != self.origin && !cut.is_root() {
            // RFC 4035 section 3.1.4.1: the DS of a cut is answered by the parent.
            let asked_of_parent = rtype == RecordType::DS && cut == *name;
            if !asked_of_parent {
                let servers: Vec<Record> = self.of_type(&LowerName::new(&cut), RecordType::NS).cloned().collect();
                if !servers.is_empty() {
                    found = Some(servers);
                }
            }
            cut = cut.base_name();
        }
        let servers = found?;
        let mut glue = Vec::new();
        for server in &servers {
            if let RData::NS(target) = &server.data {
                let target = LowerName::new(&target.0);
                let addresses = self.of_type(&target, RecordType::A).chain(self.of_type(&target, RecordType::AAAA));
                glue.extend(addresses.cloned());
            }
        }
        Some(Found::Referral(servers, glue))
    }
}

/// All zones of the lab.
#[derive(Debug)]
pub struct Zones(Vec<Zone>);

impl Zones {
    /// Parses the zones that are compiled in.
    ///
    /// # Errors
    /// `InvalidData` when one is not a zone; a test sees to it that they are.
    pub fn load() -> io::Result<Self> {
        let mut zones = Vec::with_capacity(TEXTS.len() + BARE.len() + 1);
        for (manner, text) in TEXTS {
            zones.push(Zone::parse(*manner, text)?);
        }
        for (manner, origin) in BARE {
            zones.push(Zone::bare(*manner, origin)?);
        }
        zones.push(Zone::parse(Manner::Plain, &transfer_text())?);
        Ok(Self(zones))
    }

    /// The zone with the longest origin that `name` is in.
    pub(super) fn of(&self, name: &Name) -> Option<&Zone> {
        self.0.iter().filter(|zone| zone.origin.zone_of(name)).max_by_key(|zone| zone.origin.num_labels())
    }
}

/// transfer.example: [`TRANSFER_HOSTS`] addresses, for transfers of many messages.
fn transfer_text() -> String {
    let mut text = String::from(
        "$ORIGIN transfer.example.\n$TTL 300\n@ SOA ns1.lab.example. hostmaster.lab.example. 2026010101 3600 600 86400 60\n\
         @ NS ns1.lab.example.\n",
    );
    for host in 0..TRANSFER_HOSTS {
        let _ = writeln!(text, "host{host:04} A 10.53.{}.{}", host / 250, host % 250 + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Zones {
        Zones::load().expect("the zones that are compiled in parse")
    }

    fn look_up(name: &str, rtype: RecordType) -> Found {
        let name = Name::from_ascii(name).unwrap();
        zones().of(&name).expect("the lab serves it").look_up(&name, rtype)
    }

    #[test]
    fn the_longest_origin_wins() {
        let zones = zones();
        let of = |name: &str| zones.of(&Name::from_ascii(name).unwrap()).unwrap().origin.to_ascii();
        assert_eq!(of("a.b.LAB.example."), "lab.example.");
        assert_eq!(of("www.dead.example."), "dead.example.");
        assert_eq!(of("example."), ".");
    }

    #[test]
    fn answers_keep_the_letter_case_of_the_question() {
        let Found::Answer(records) = look_up("wWw.LaB.eXample.", RecordType::A) else { panic!("no answer") };
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|record| record.name.to_ascii() == "wWw.LaB.eXample."));
    }

    #[test]
    fn empty_non_terminals_exist_and_other_names_do_not() {
        assert_eq!(look_up("deep.empty.lab.example.", RecordType::A), Found::NoData);
        assert_eq!(look_up("empty.lab.example.", RecordType::A), Found::NoData);
        assert_eq!(look_up("v4only.lab.example.", RecordType::AAAA), Found::NoData);
        assert_eq!(look_up("nothing.empty.lab.example.", RecordType::A), Found::NoName);
        assert_eq!(look_up("nothing.lab.example.", RecordType::A), Found::NoName);
    }

    #[test]
    fn a_wildcard_covers_what_is_not_there_and_nothing_below_what_is() {
        assert!(matches!(look_up("any.thing.wild.lab.example.", RecordType::A), Found::Answer(_)));
        assert_eq!(look_up("any.wild.lab.example.", RecordType::MX), Found::NoData);
        assert_eq!(look_up("below.fixed.wild.lab.example.", RecordType::A), Found::NoName);
    }

    #[test]
    fn a_cut_refers_with_glue_and_its_ds_is_the_parents() {
        for name in ["deleg.lab.example.", "deep.below.deleg.lab.example.", "ns.deleg.lab.example."] {
            let Found::Referral(servers, glue) = look_up(name, RecordType::A) else { panic!("no referral for {name}") };
            assert_eq!((servers.len(), glue.len()), (2, 1), "{name}");
        }
        assert_eq!(look_up("deleg.lab.example.", RecordType::DS), Found::NoData);
    }

    #[test]
    fn aliases_lead_somewhere() {
        let Found::Alias(_, target) = look_up("elsewhere.lab.example.", RecordType::A) else { panic!("no alias") };
        assert_eq!(target.to_ascii(), "www.other.example.");
        assert!(matches!(look_up("elsewhere.lab.example.", RecordType::CNAME), Found::Answer(_)));
    }

    #[test]
    fn any_gives_every_type() {
        let Found::Answer(records) = look_up("lab.example.", RecordType::ANY) else { panic!("no answer") };
        let types: BTreeSet<RecordType> = records.iter().map(Record::record_type).collect();
        for rtype in [RecordType::SOA, RecordType::NS, RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::CAA]
        {
            assert!(types.contains(&rtype), "{rtype} is missing");
        }
    }
}
