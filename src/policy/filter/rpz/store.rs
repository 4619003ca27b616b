//! The records of a policy zone, packed one behind the other in the order of the file: all that is needed to run the zone
//! and to write it again. A record takes about as much here as in its text.

use super::trigger::{Kind, Trigger};
use crate::dns::rtype;
use crate::policy::filter::data::{RDATA_MAX, RECORDS_MAX};
use crate::policy::filter::lists::Problem;
use crate::policy::filter::rpz::Flaw;
use crate::sys::keys::unguessable;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most bytes of all records of one zone.
const BYTES_MAX: usize = 1 << 30;

/// The text of a short record in bytes, as those of most block lists are. With room for fewer records than there are, what
/// is known of them lies in memory twice while it moves.
const RECORD_BYTES: usize = 24;

/// What a record says is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// `CNAME .`
    Nxdomain,
    /// `CNAME *.`
    Nodata,
    /// `CNAME rpz-passthru.`
    Passthru,
    /// The old spelling of it: a CNAME to the trigger itself.
    PassthruSelf,
    /// `CNAME rpz-drop.`
    Drop,
    /// `CNAME rpz-tcp-only.`
    TcpOnly,
    /// Any other record.
    Data,
}

impl Policy {
    const ALL: [Self; 7] =
        [Self::Nxdomain, Self::Nodata, Self::Passthru, Self::PassthruSelf, Self::Drop, Self::TcpOnly, Self::Data];
}

/// A record of a policy zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'z> {
    /// What it speaks about.
    pub trigger: Trigger<'z>,
    /// What is to be done.
    pub policy: Policy,
    /// In seconds.
    pub ttl: u32,
    /// Type and data of local data; names in it are uncompressed.
    pub data: Option<(u16, &'z [u8])>,
}

impl Record<'_> {
    /// Whether it keeps the answer of the world from clients.
    pub(super) fn blocks(&self) -> bool {
        !matches!(self.policy, Policy::Passthru | Policy::PassthruSelf)
    }
}

/// Hash codes are all the same to a map of hash codes.
type Seen = HashMap<u64, Chain, std::hash::BuildHasherDefault<Given>>;

/// The records of one trigger.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
    count: u16,
    bytes: u16,
}

/// A hash that was made already.
#[derive(Default)]
struct Given(u64);

impl std::hash::Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Bits of a record's first byte: its kind, and its policy above.
const POLICY_SHIFT: u32 = 3;
/// It has the trigger of an earlier record, whose place stands in place of it.
const CHAINED: u8 = 0x40;

/// Records while they are collected.
pub(super) struct Collector {
    packed: Vec<u8>,
    count: usize,
    seen: Seen,
    hasher: ahash::RandomState,
    key: Vec<u8>,
}

impl Collector {
    /// `bytes`: those of the text, of which the memory is a good guess.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            packed: Vec::with_capacity((bytes + bytes / 4).min(BYTES_MAX)),
            count: 0,
            seen: HashMap::with_capacity_and_hasher(
                (bytes / RECORD_BYTES).min(1 << 24),
                std::hash::BuildHasherDefault::default(),
            ),
            hasher: unguessable(),
            key: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Store {
        self.packed.shrink_to_fit();
        Store { packed: self.packed, count: self.count }
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// What is wrong with it beside the others; it was not kept.
    pub(super) fn add(&mut self, record: &Record<'_>) -> Result<(), Problem> {
        let extra = record.data.map_or(0, |(_, data)| data.len()) + 300;
        if self.packed.len() + extra > BYTES_MAX {
            return Err(Flaw::TooLarge.into());
        }
        self.key.clear();
        write_trigger(record.trigger, &mut self.key);
        let hash = self.hasher.hash_one(&self.key);
        let known = self.seen.get(&hash).copied().filter(|chain| {
            // Two triggers of one hash are as good as impossible; the second is then taken for a new one.
            self.packed[chain.first as usize + HEAD..].starts_with(&self.key)
        });
        let at = self.packed.len();
        let kind = self.key[0];
        let bytes = record.data.map_or(0, |(_, data)| data.len());
        let mut chain = match known {
            Some(chain) => {
                self.compare(&chain, record)?;
                if usize::from(chain.count) >= RECORDS_MAX || usize::from(chain.bytes) + bytes > RDATA_MAX {
                    return Err(Flaw::TooManyRecords.into());
                }
                self.head(kind | CHAINED, record);
                self.packed.extend_from_slice(&chain.first.to_le_bytes());
                self.packed.extend_from_slice(&chain.last.to_le_bytes());
                chain
            }
            None => {
                // An apex has what its zone needs, and no answer is made of it.
                if bytes > RDATA_MAX && kind != Kind::Apex as u8 {
                    return Err(Flaw::TooManyRecords.into());
                }
                self.head(kind, record);
                self.packed.extend_from_slice(&self.key);
                Chain { first: at as u32, last: at as u32, count: 0, bytes: 0 }
            }
        };
        if let Some((rtype, data)) = record.data {
            self.packed.extend_from_slice(&rtype.to_le_bytes());
            self.packed.extend_from_slice(&(data.len() as u16).to_le_bytes());
            self.packed.extend_from_slice(data);
        }
        chain.last = at as u32;
        chain.count += 1;
        chain.bytes = chain.bytes.saturating_add(bytes as u16);
        self.seen.insert(hash, chain);
        self.count += 1;
        Ok(())
    }

    fn head(&mut self, kind: u8, record: &Record<'_>) {
        self.packed.push(kind | (record.policy as u8) << POLICY_SHIFT);
        self.packed.extend_from_slice(&record.ttl.to_le_bytes());
    }

    /// Whether a record can stand beside those that its trigger has.
    fn compare(&self, chain: &Chain, record: &Record<'_>) -> Result<(), Problem> {
        let mut at = chain.last as usize;
        loop {
            let (known, before) = read(&self.packed, at);
            if known.policy == record.policy && known.data == record.data {
                return Err(Flaw::Duplicate.into());
            }
            let is_alias = |record: &Record<'_>| record.data.is_some_and(|(rtype, _)| rtype == rtype::CNAME);
            // RFC 1034 section 3.6.2: "If a CNAME RR is present at a node, no other data should be present".
            if known.policy != record.policy || record.policy != Policy::Data || is_alias(&known) || is_alias(record) {
                return Err(Flaw::SecondAction.into());
            }
            match before {
                Some(before) => at = before,
                None => return Ok(()),
            }
        }
    }
}

/// Kind, policy and TTL.
const HEAD: usize = 5;

/// Records, packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    packed: Vec<u8>,
    count: usize,
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// All memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.packed.capacity()
    }

    /// All records, in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < self.packed.len()).then(|| {
                let (record, _) = read(&self.packed, at);
                at = end_of(&self.packed, at);
                record
            })
        })
    }
}

impl Store {
    /// All records as [`Self::iter`], each with the place of its trigger's first one, and whether that is another.
    pub(super) fn with_places(&self) -> impl Iterator<Item = (u32, bool, Record<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < self.packed.len()).then(|| {
                let chained = self.packed[at] & CHAINED != 0;
                let first = if chained { u32_at(&self.packed, at + HEAD) } else { at as u32 };
                let (record, _) = read(&self.packed, at);
                at = end_of(&self.packed, at);
                (first, chained, record)
            })
        })
    }
}

/// The trigger as it is packed: its kind, then a name with reach and length, or a network with the length of its address.
fn write_trigger(trigger: Trigger<'_>, out: &mut Vec<u8>) {
    match trigger {
        Trigger::Apex => out.push(Kind::Apex as u8),
        Trigger::Name(kind, reach, wire) => {
            out.extend_from_slice(&[kind as u8, reach, wire.len() as u8]);
            out.extend_from_slice(wire);
        }
        Trigger::Network(kind, IpNet::V4(net)) => {
            out.extend_from_slice(&[kind as u8, net.prefix_len(), 4]);
            out.extend_from_slice(&net.addr().octets());
        }
        Trigger::Network(kind, IpNet::V6(net)) => {
            out.extend_from_slice(&[kind as u8, net.prefix_len(), 16]);
            out.extend_from_slice(&net.addr().octets());
        }
    }
}

impl Trigger<'_> {
    /// Bytes that no other trigger has.
    pub(super) fn key(self) -> Vec<u8> {
        let mut key = Vec::new();
        write_trigger(self, &mut key);
        key
    }
}

/// The trigger at `at`, and where it ends.
fn read_trigger(packed: &[u8], at: usize) -> (Trigger<'_>, usize) {
    let kind = Kind::ALL[usize::from(packed[at])];
    if kind == Kind::Apex {
        return (Trigger::Apex, at + 1);
    }
    let (reach, len) = (packed[at + 1], usize::from(packed[at + 2]));
    let (bytes, end) = (&packed[at + 3..at + 3 + len], at + 3 + len);
    let trigger = match kind {
        Kind::Qname | Kind::NsDname => Trigger::Name(kind, reach, bytes),
        _ => match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(octets), _) => Trigger::Network(kind, IpNet::V4(net4(octets.into(), reach))),
            (_, Ok(octets)) => Trigger::Network(kind, IpNet::V6(net6(octets.into(), reach))),
            _ => Trigger::Apex,
        },
    };
    (trigger, end)
}

fn net4(address: Ipv4Addr, len: u8) -> Ipv4Net {
    Ipv4Net::new(address, len).unwrap_or_else(|_| Ipv4Net::from(address))
}

fn net6(address: Ipv6Addr, len: u8) -> Ipv6Net {
    Ipv6Net::new(address, len).unwrap_or_else(|_| Ipv6Net::from(address))
}

fn u32_at(packed: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| packed[at + n]))
}

fn u16_at(packed: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|n| packed[at + n]))
}

/// Where the parts of the record at `at` are: its trigger, what is behind that, and the record before in its chain.
fn parts(packed: &[u8], at: usize) -> (Trigger<'_>, usize, Option<usize>) {
    if packed[at] & CHAINED == 0 {
        let (trigger, end) = read_trigger(packed, at + HEAD);
        return (trigger, end, None);
    }
    let first = u32_at(packed, at + HEAD) as usize;
    (read_trigger(packed, first + HEAD).0, at + HEAD + 8, Some(u32_at(packed, at + HEAD + 4) as usize))
}

/// The record at `at`, and the one before in its chain.
fn read(packed: &[u8], at: usize) -> (Record<'_>, Option<usize>) {
    let policy = Policy::ALL[usize::from((packed[at] & !CHAINED) >> POLICY_SHIFT)];
    let (trigger, behind, before) = parts(packed, at);
    let data = (policy == Policy::Data).then(|| {
        let len = usize::from(u16_at(packed, behind + 2));
        (u16_at(packed, behind), &packed[behind + 4..behind + 4 + len])
    });
    (Record { trigger, policy, ttl: u32_at(packed, at + 1), data }, before)
}

fn end_of(packed: &[u8], at: usize) -> usize {
    let (record, _) = read(packed, at);
    let (_, behind, _) = parts(packed, at);
    behind + record.data.map_or(0, |(_, data)| 4 + data.len())
}
