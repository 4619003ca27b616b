//! Local data: the records that a rule with the action `data` answers with, in the form in which they are written into
//! an answer. Text is read when a policy is compiled, never on the path.

use crate::dns::name::{NAME_MAX, Name, NameError};
use crate::dns::reply::OwnRecord;
use crate::dns::rtype;
use hickory_proto::rr::Name as TextName;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use hickory_proto::serialize::txt::Parser;
use ipnet::IpNet;
use std::collections::HashMap;

/// The most records of one owner: they have to fit into an answer.
pub const RECORDS_MAX: usize = 64;

/// The most bytes of RDATA of one owner, so that every answer fits the room that answers have.
pub const RDATA_MAX: usize = 2048;

/// One record without its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRecord {
    /// The type.
    pub rtype: u16,
    /// In seconds; `None`: that of the rule.
    pub ttl: Option<u32>,
    /// RDATA with uncompressed names.
    pub rdata: Box<[u8]>,
}

impl LocalRecord {
    /// Reads `TYPE RDATA` as a master file has it (RFC 1035 section 5.1), such as `A 10.0.0.1` or `TXT "x"`; names in it
    /// are absolute.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(|c: char| c.is_control() || matches!(c, '(' | ')' | ';')) {
            return Err("a record is one line without brackets and comments".to_owned());
        }
        let line = format!("x. 0 IN {text}\n");
        let parsed = Parser::new(line, None, Some(TextName::root())).parse().map_err(|error| error.to_string())?;
        let mut records = parsed.1.values().flat_map(|set| set.records_without_rrsigs());
        let (Some(record), None) = (records.next(), records.next()) else {
            return Err("it has to be one record".to_owned());
        };
        let mut rdata = Vec::new();
        let mut encoder = BinEncoder::new(&mut rdata);
        // Canonical form has no compressed names, whose pointers would lead into nothing.
        encoder.set_canonical_form(true);
        record.data.emit(&mut encoder).map_err(|error| error.to_string())?;
        Ok(Self { rtype: record.record_type().into(), ttl: None, rdata: rdata.into() })
    }
}

/// Where a name of a rule is led instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The target; for `*.garden.example` the name below which the name asked for is put.
    pub target: Name,
    /// It was written with `*.`: the name asked for goes before it.
    pub below: bool,
    /// In seconds; `None`: that of the rule.
    pub ttl: Option<u32>,
}

impl Alias {
    /// Reads `garden.example` or `*.garden.example`.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (below, bare) = text.strip_prefix("*.").map_or((false, text), |bare| (true, bare));
        let target = Name::from_text(bare)?;
        Ok(Self { target, below, ttl: None })
    }

    /// Writes the target for `name` into `room` in wire form; `None` when it would be longer than a name may be.
    pub fn write<'r>(&self, name: &Name, room: &'r mut [u8; NAME_MAX]) -> Option<&'r [u8]> {
        let (front, target) = (name.as_wire(), self.target.as_wire());
        let front = if self.below { &front[..front.len() - 1] } else { &[] };
        let len = front.len() + target.len();
        room.get_mut(..front.len())?.copy_from_slice(front);
        room.get_mut(front.len()..len)?.copy_from_slice(target);
        Some(&room[..len])
    }
}

/// What is answered about one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalData {
    /// Answers every type; there are no records beside it (RFC 1034 section 3.6.2). Apart, since few have one and it is large.
    pub alias: Option<Box<Alias>>,
    /// Of any types.
    pub records: Vec<LocalRecord>,
}

impl LocalData {
    /// The records of a type; all for ANY.
    pub fn of_type(&self, qtype: u16) -> impl Iterator<Item = &LocalRecord> + Clone {
        self.records.iter().filter(move |record| record.rtype == qtype || qtype == rtype::ANY)
    }

    /// Puts the records of a type into `out`, those without a TTL with this one, and says how many there are.
    pub fn write_of_type<'d>(&'d self, qtype: u16, ttl: u32, out: &mut [OwnRecord<'d>; RECORDS_MAX]) -> usize {
        let slots = out.iter_mut().zip(self.of_type(qtype));
        slots
            .map(|(slot, own)| *slot = OwnRecord { rtype: own.rtype, ttl: own.ttl.unwrap_or(ttl), rdata: &own.rdata })
            .count()
    }
}

/// The owner of local data, as its trigger is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataOwner<'a> {
    /// A name: 1 itself, 2 what is below it.
    Name(u8, &'a [u8]),
    /// A network.
    Network(IpNet),
}

/// The local data of a rule: the same for all its names, or some for each of its triggers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DataSet {
    all: LocalData,
    /// By reach and wire form.
    names: HashMap<Box<[u8]>, LocalData>,
    /// By the length of the prefix as of IPv6, then the network.
    networks: HashMap<IpNet, LocalData>,
}

impl DataSet {
    /// The same for all names of a rule.
    pub fn of_all(all: LocalData) -> Self {
        Self { all, ..Self::default() }
    }

    /// Adds what is answered for one owner, beside what it has; `false` when it has as much as it may.
    #[must_use]
    pub fn add(&mut self, owner: DataOwner<'_>, record: LocalRecord) -> bool {
        let data = self.entry(owner);
        let bytes: usize = data.records.iter().map(|record| record.rdata.len()).sum();
        let fits = data.records.len() < RECORDS_MAX && bytes + record.rdata.len() <= RDATA_MAX;
        if fits {
            // Most have one: room for four would be most of what an owner takes.
            if data.records.is_empty() {
                data.records.reserve_exact(1);
            }
            data.records.push(record);
        }
        fits
    }

    /// Leads one owner elsewhere.
    pub fn alias(&mut self, owner: DataOwner<'_>, alias: Alias) {
        self.entry(owner).alias = Some(Box::new(alias));
    }

    fn entry(&mut self, owner: DataOwner<'_>) -> &mut LocalData {
        match owner {
            DataOwner::Name(reach, wire) => self.names.entry([&[reach], wire].concat().into()).or_default(),
            DataOwner::Network(net) => self.networks.entry(net).or_default(),
        }
    }

    /// Whether all triggers of the rule are answered alike, so that a name below another one adds nothing.
    pub fn is_the_same_for_all(&self) -> bool {
        self.names.is_empty()
    }

    /// What is answered for a trigger. No allocation.
    pub fn of(&self, owner: DataOwner<'_>) -> &LocalData {
        let own = match owner {
            DataOwner::Name(..) if self.names.is_empty() => None,
            DataOwner::Name(reach, wire) => {
                let mut key = [0; 1 + NAME_MAX];
                key[0] = reach;
                key[1..].iter_mut().zip(wire).for_each(|(room, byte)| *room = *byte);
                key.get(..=wire.len()).and_then(|key| self.names.get(key))
            }
            DataOwner::Network(net) => self.networks.get(&net),
        };
        own.unwrap_or(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    #[test]
    fn records_are_read_as_a_master_file_has_them() {
        for (text, rtype, rdata) in [
            ("A 10.0.0.1", 1, &b"\x0a\0\0\x01"[..]),
            ("TXT \"a b\" c", 16, b"\x03a b\x01c"),
            ("MX 10 Mail.Example.", 15, b"\0\x0a\x04mail\x07example\0"),
            ("AAAA ::1", 28, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
            (
                "SOA a.example. b.example. 1 2 3 4 5",
                6,
                b"\x01a\x07example\0\x01b\x07example\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
            ),
        ] {
            let record = LocalRecord::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((record.rtype, &*record.rdata), (rtype, rdata), "{text}");
        }
        for bad in ["", "A", "A 10.0.0", "A 10.0.0.1\ny A 1.2.3.4", "NOTYPE x", "TXT ( a )", "A 10.0.0.1 ; x"] {
            assert!(LocalRecord::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_wildcard_alias_keeps_the_name_before_it() {
        let mut room = [0; NAME_MAX];
        let alias = Alias::parse("*.garden.example").unwrap();
        assert_eq!(alias.write(&name("a.bad"), &mut room), Some(name("a.bad.garden.example").as_wire()));
        let alias = Alias::parse("garden.example").unwrap();
        assert_eq!(alias.write(&name("a.bad"), &mut room), Some(name("garden.example").as_wire()));
        let long = name(&["a"; 125].join("."));
        let alias = Alias::parse("*.garden.example").unwrap();
        assert_eq!(alias.write(&long, &mut room), None);
    }

    /// A zone has a million owners.
    #[test]
    fn an_owner_takes_little_more_than_its_records() {
        assert!(size_of::<LocalData>() <= 32, "{} bytes", size_of::<LocalData>());
        let mut set = DataSet::default();
        assert!(set.add(DataOwner::Name(1, name("a.example").as_wire()), LocalRecord::parse("A 10.0.0.1").unwrap()));
        assert_eq!(set.of(DataOwner::Name(1, name("a.example").as_wire())).records.capacity(), 1);
    }

    #[test]
    fn each_owner_has_its_own_data() {
        let mut set = DataSet::default();
        let record = |text| LocalRecord::parse(text).unwrap();
        let (a, b) = (name("a.example"), name("b.example"));
        assert!(set.add(DataOwner::Name(1, a.as_wire()), record("A 10.0.0.1")));
        assert!(set.add(DataOwner::Name(2, a.as_wire()), record("A 10.0.0.2")));
        let net = "192.0.2.0/24".parse().unwrap();
        assert!(set.add(DataOwner::Network(net), record("A 10.0.0.3")));
        let of = |owner| set.of(owner).of_type(1).map(|record| record.rdata[3]).collect::<Vec<_>>();
        assert_eq!(of(DataOwner::Name(1, a.as_wire())), [1]);
        assert_eq!(of(DataOwner::Name(2, a.as_wire())), [2]);
        assert_eq!(of(DataOwner::Network(net)), [3]);
        assert_eq!(of(DataOwner::Name(1, b.as_wire())).len(), 0);
        assert_eq!(set.of(DataOwner::Name(1, a.as_wire())).of_type(255).count(), 1);
        assert!(!set.add(
            DataOwner::Name(1, a.as_wire()),
            LocalRecord { rtype: 16, ttl: None, rdata: vec![0; RDATA_MAX].into() }
        ));
    }
}
