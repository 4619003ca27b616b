//! Records as they come in a transfer, to a policy zone: the same as from text, with the same complaints.

use super::flaw::Flaw;
use super::reader::policy_of;
use super::spelling::{label_starts, wire_len, write_absolute};
use super::store::{Collector, Policy, Record};
use super::trigger::{self, NoTrigger, Trigger};
use super::{RpzZone, Wide, rdata};
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::policy::document::words::TypeName;
use crate::policy::filter::lists::{Problem, Problems};
use hickory_proto::rr::DNSClass;
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};

/// Collects the records of one state of a zone, in any order; an SOA at both ends, as transfers have it, counts once.
pub struct RpzBuilder {
    apex: Name,
    collector: Collector,
    problems: Problems,
    wide: Wide,
    lines: usize,
    has_soa: bool,
}

impl std::fmt::Debug for RpzBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpzBuilder").field("apex", &self.apex).field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl RpzBuilder {
    /// For the zone of this name.
    pub fn new(apex: &Name) -> Self {
        Self {
            apex: *apex,
            collector: Collector::new(0),
            problems: Problems::default(),
            wide: Wide::default(),
            lines: 0,
            has_soa: false,
        }
    }

    /// Adds a record: owner and data in uncompressed wire form, the TTL in seconds. What is wrong with it is counted.
    pub fn record(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) {
        if rtype == rtype::SOA && std::mem::replace(&mut self.has_soa, true) {
            return;
        }
        self.lines += 1;
        if let Err(no) = self.add(owner, rtype, ttl, data) {
            let mut line = String::new();
            write_absolute(owner, &mut line);
            line.push_str(&format!(" {} ", TypeName(rtype)));
            if rdata::is_sound(rtype, data) {
                rdata::write(rtype, data, &mut line);
            }
            self.problems.add_meant(no.problem, self.lines, 0, line.as_bytes(), no.meant);
        }
    }

    /// Adds a record as hickory-proto has it.
    pub fn hickory_record(&mut self, record: &hickory_proto::rr::Record) {
        if record.dns_class != DNSClass::IN {
            self.lines += 1;
            let line = record.to_string();
            self.problems.add_meant(Flaw::Class.into(), self.lines, 0, line.as_bytes(), None);
            return;
        }
        let (mut owner, mut data) = (Vec::new(), Vec::new());
        for (out, encodable) in [(&mut owner, None), (&mut data, Some(&record.data))] {
            let mut encoder = BinEncoder::new(out);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            // Both were read from a message, so they can be written.
            let _ = match encodable {
                None => record.name.emit(&mut encoder),
                Some(data) => data.emit(&mut encoder),
            };
        }
        self.record(&owner, record.record_type().into(), record.ttl, &data);
    }

    fn add(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Result<(), NoTrigger> {
        if rdata::is_of_the_zone(rtype) {
            return Ok(());
        }
        let apex = self.apex.as_wire();
        if wire_len(owner) != Some(owner.len()) || !rdata::is_sound(rtype, data) {
            return Err(Flaw::Data.into());
        }
        let mut wire = owner.to_ascii_lowercase();
        let len = wire.len().checked_sub(apex.len()).ok_or(Flaw::OutOfZoneData)?;
        let begins_label = len == wire.len() - 1 || label_starts(&wire).any(|start| start == len);
        if !begins_label || &wire[len..] != apex {
            return Err(Flaw::OutOfZoneData.into());
        }
        wire.truncate(len);
        wire.push(0);
        let (trigger, doubt) = trigger::read(&mut wire)?;
        let (policy, action_doubt): (Policy, Option<Problem>) = match (rtype, trigger) {
            (_, Trigger::Apex) => (Policy::Data, None),
            (rtype, _) if !rdata::can_be_data(rtype) => return Err(Flaw::Type.into()),
            (rtype::CNAME, trigger) => policy_of(data, trigger, apex)?,
            _ => (Policy::Data, None),
        };
        let data = (policy == Policy::Data).then_some((rtype, data));
        let record = Record { trigger, policy, ttl, data };
        self.collector.add(&record)?;
        self.wide.note(&record, (self.lines, 0), || {
            let mut line = String::new();
            write_absolute(owner, &mut line);
            line.into_bytes().into()
        });
        doubt.or(action_doubt).map_or(Ok(()), |doubt| Err(doubt.into()))
    }

    /// The zone.
    pub fn finish(self) -> RpzZone {
        let Self { apex, collector, problems, wide, lines, .. } = self;
        RpzZone { apex, store: collector.finish(), problems, wide, lines }
    }
}
