//! A policy zone as rules that run: one for each kind of trigger and each action. Names and networks go into the tables of
//! the filter like those of every other rule, so a name of a zone costs what a name of a list costs.

use super::store::{Policy, Record};
use super::trigger::{Kind, Trigger};
use super::{RpzZone, is_wide};
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::policy::document::network::Depths;
use crate::policy::filter::data::{Alias, DataOwner, DataSet, LocalData, LocalRecord};
use crate::policy::filter::lists::{NameList, Types};
use crate::policy::filter::sets::{BELOW, SELF};
use crate::policy::filter::{self, Action, TriggerKind};
use crate::policy::networks::canonical;
use ipnet::IpNet;
use std::collections::HashMap;
use std::sync::Arc;

/// Different local data of name servers in one zone: each is a rule of its own.
const NS_DATA_MAX: usize = 1_000;

/// From what of a name is named to what is freed.
const FREE_SHIFT: u32 = 2;

/// A rule in the making.
pub(in crate::policy::filter) struct Part {
    pub(in crate::policy::filter) kind: TriggerKind,
    pub(in crate::policy::filter) action: Action,
    /// Which of several rules of this kind and action it is, from 0.
    pub(in crate::policy::filter) number: usize,
    names: NameList,
    networks: Vec<IpNet>,
    /// How many records it was made of.
    pub(in crate::policy::filter) records: usize,
}

impl Part {
    /// What the rule is set off by.
    pub(in crate::policy::filter) fn trigger(&mut self) -> filter::Trigger {
        if self.kind == TriggerKind::Name || self.kind == TriggerKind::NsName {
            self.names.shrink();
            return filter::Trigger::Names(Arc::new(std::mem::take(&mut self.names)));
        }
        let entries = self.networks.iter().map(|net| canonical(*net)).map(|net| (net, (net.prefix_len(), true)));
        filter::Trigger::Networks(Arc::new(Depths::new(entries)))
    }
}

/// The parts of a zone while they are made.
struct Parts<'z> {
    parts: Vec<Part>,
    /// The names of wildcards, without their `*`, and the part that each is in.
    wildcards: HashMap<(TriggerKind, &'z [u8]), usize, ahash::RandomState>,
    /// The part that a name was put into last, and the name's place: `x` and `*.x` become one.
    last: Option<(usize, &'z [u8], u8)>,
    left_out: LeftOut,
}

/// What of a name below a wildcard has records of its own.
#[derive(Default)]
struct Below {
    /// The parts of all wildcards above it.
    parts: Vec<usize>,
    reach: u8,
}

impl<'z> Parts<'z> {
    /// Takes names out of the reach of wildcards as any DNS zone does (RFC 4592 section 2.2.1; the draft's section 5.3 has
    /// "the same as that used by DNS servers"): a wildcard speaks about no name that is in the zone, be it only for one
    /// below it, and about none below such a name.
    fn keep_from_wildcards(&mut self, records: impl Iterator<Item = Record<'z>>) {
        if self.wildcards.is_empty() {
            return;
        }
        let mut below: HashMap<(TriggerKind, &[u8]), Below, _> = HashMap::with_hasher(ahash::RandomState::new());
        for record in records {
            let Trigger::Name(kind, reach, wire) = record.trigger else { continue };
            let kind = kind_of(kind);
            // What stands directly below the nearest wildcard: what is further below is taken out with it.
            let mut found: Option<&mut Below> = None;
            let mut child = wire;
            while let Some(parent) = parent_of(child) {
                if let Some(&part) = self.wildcards.get(&(kind, parent)) {
                    let below = match found {
                        Some(found) => found,
                        None => {
                            let below = below.entry((kind, child)).or_default();
                            below.reach |= if child.len() == wire.len() { reach } else { 0 };
                            below
                        }
                    };
                    if !below.parts.contains(&part) {
                        below.parts.push(part);
                    }
                    found = Some(below);
                }
                child = parent;
            }
        }
        for ((_, name), Below { parts, reach }) in below {
            // What has a record of its own is decided by that before a shorter wildcard is heard.
            let freed = (SELF | BELOW) & !reach;
            for part in parts.into_iter().filter(|_| freed != 0) {
                // For all types, which takes no room of those that a list can tell apart.
                let _ = self.parts[part].names.push_for(freed << FREE_SHIFT, &Types::ALL, name);
            }
        }
    }
}

/// A name without its first label; `None` for the root.
fn parent_of(wire: &[u8]) -> Option<&[u8]> {
    let (len, rest) = wire.split_first().filter(|(len, _)| **len != 0)?;
    rest.get(usize::from(*len)..)
}

/// Records that were made into no rule.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy::filter) struct LeftOut {
    /// They would block a public suffix.
    pub(in crate::policy::filter) wide: usize,
    /// Their name servers have other data than [`NS_DATA_MAX`] before them.
    pub(in crate::policy::filter) name_servers: usize,
}

impl<'z> Parts<'z> {
    fn of(&mut self, kind: TriggerKind, action: &Action, number: usize) -> usize {
        let same = |part: &Part| part.kind == kind && part.number == number && part.action.name() == action.name();
        self.parts.iter().position(same).unwrap_or_else(|| {
            let (names, networks) = (NameList::default(), Vec::new());
            self.parts.push(Part { kind, action: action.clone(), number, names, networks, records: 0 });
            self.parts.len() - 1
        })
    }

    fn add(&mut self, part: usize, trigger: Trigger<'z>) {
        self.parts[part].records += 1;
        match trigger {
            Trigger::Apex => {}
            Trigger::Network(_, network) => self.parts[part].networks.push(network),
            Trigger::Name(_, reach, wire) => {
                if reach & BELOW != 0 {
                    self.wildcards.insert((self.parts[part].kind, wire), part);
                }
                match &mut self.last {
                    Some((known, before, so_far)) if *known == part && *before == wire => *so_far |= reach,
                    _ => {
                        self.flush();
                        self.last = Some((part, wire, reach));
                    }
                }
            }
        }
    }

    fn flush(&mut self) {
        if let Some((part, wire, reach)) = self.last.take() {
            self.parts[part].names.push(reach, wire);
        }
    }
}

/// What is done in place of what the records of a zone say.
#[derive(Clone, Debug)]
pub(in crate::policy::filter) enum Override {
    /// Nothing: they are followed.
    Given,
    /// The same for all.
    All(Action),
}

fn kind_of(kind: Kind) -> TriggerKind {
    match kind {
        Kind::ClientIp => TriggerKind::Client,
        Kind::Apex | Kind::Qname => TriggerKind::Name,
        Kind::Ip => TriggerKind::ResponseAddress,
        Kind::NsDname => TriggerKind::NsName,
        Kind::NsIp => TriggerKind::NsAddress,
    }
}

impl RpzZone {
    /// The rules of the zone. Names that are public suffixes are left out where they would be blocked, unless `force`.
    pub(in crate::policy::filter) fn compile(&self, instead: &Override, force: bool) -> (Vec<Part>, LeftOut) {
        let wildcards = HashMap::with_hasher(ahash::RandomState::new());
        let mut parts = Parts { parts: Vec::new(), wildcards, last: None, left_out: LeftOut::default() };
        let mut data = Data::default();
        for record in self.records() {
            let kind = match record.trigger {
                Trigger::Apex => continue,
                Trigger::Name(kind, ..) | Trigger::Network(kind, _) => kind_of(kind),
            };
            let action = match instead {
                Override::All(action) => action.clone(),
                Override::Given => match record.policy {
                    Policy::Nxdomain => Action::Nxdomain,
                    Policy::Nodata => Action::Nodata,
                    Policy::Passthru | Policy::PassthruSelf => Action::Allow,
                    Policy::Drop => Action::Drop,
                    Policy::TcpOnly => Action::Truncate,
                    Policy::Data => {
                        if force || !is_wide(record.trigger) {
                            data.add(kind, &record);
                        } else {
                            parts.left_out.wide += 1;
                        }
                        continue;
                    }
                },
            };
            if action.blocks() && !force && is_wide(record.trigger) {
                parts.left_out.wide += 1;
                continue;
            }
            let part = parts.of(kind, &action, 0);
            parts.add(part, record.trigger);
        }
        data.finish(&mut parts);
        parts.flush();
        parts.keep_from_wildcards(self.records());
        (parts.parts, parts.left_out)
    }

    /// How many records let something pass, and how many are local data.
    pub(in crate::policy::filter) fn passed_and_data(&self) -> (usize, usize) {
        let (mut passed, mut data) = (0, 0);
        for record in self.records().filter(|record| record.trigger != Trigger::Apex) {
            match record.policy {
                Policy::Passthru | Policy::PassthruSelf => passed += 1,
                Policy::Data => data += 1,
                _ => {}
            }
        }
        (passed, data)
    }
}

/// The local data of a zone: for each trigger its records.
#[derive(Default)]
struct Data<'z> {
    triggers: Vec<(TriggerKind, Trigger<'z>, Vec<Record<'z>>)>,
    places: HashMap<Vec<u8>, usize>,
}

/// Records as they are told apart: type, TTL and data of each.
type Signature<'z> = Vec<(u32, Option<(u16, &'z [u8])>)>;

impl<'z> Data<'z> {
    fn add(&mut self, kind: TriggerKind, record: &Record<'z>) {
        let place = *self.places.entry(record.trigger.key()).or_insert(self.triggers.len());
        if place == self.triggers.len() {
            self.triggers.push((kind, record.trigger, Vec::new()));
        }
        self.triggers[place].2.push(*record);
    }

    /// Makes the rules. What most triggers of a kind have, such as a CNAME to one garden, is kept once for all of them.
    fn finish(self, parts: &mut Parts<'z>) {
        for kind in TriggerKind::ALL {
            let own: Vec<_> = self.triggers.iter().filter(|(own, ..)| *own == kind).collect();
            let mut counts: HashMap<Signature<'z>, usize> = HashMap::new();
            own.iter().for_each(|(_, _, records)| *counts.entry(signature(records)).or_default() += 1);
            let Some((most, _)) = counts.iter().max_by_key(|(signature, count)| (**count, signature.len())) else {
                continue;
            };
            if kind == TriggerKind::NsName {
                name_servers(&own, parts);
                continue;
            }
            let mut common = None;
            let mut others = Vec::new();
            for (_, trigger, records) in &own {
                if signature(records) == *most {
                    common = common.or_else(|| Some(local_data(records)));
                } else {
                    others.push((*trigger, records));
                }
            }
            let mut set = DataSet::of_all(common.unwrap_or_default());
            for (trigger, records) in others {
                let owner = match trigger {
                    Trigger::Name(_, reach, wire) => DataOwner::Name(reach, wire),
                    Trigger::Network(_, network) => DataOwner::Network(canonical(network)),
                    Trigger::Apex => continue,
                };
                let LocalData { alias, records } = local_data(records);
                if let Some(alias) = alias {
                    set.alias(owner, alias);
                }
                for record in records {
                    // The store has no more than an owner may have.
                    let _ = set.add(owner, record);
                }
            }
            let part = parts.of(kind, &Action::Data(Arc::new(set)), 0);
            own.iter().for_each(|(_, trigger, records)| {
                parts.add(part, *trigger);
                parts.parts[part].records += records.len() - 1;
            });
        }
    }
}

/// Data of name servers: the name that set a rule off is not the one that is answered about, so each has a rule.
fn name_servers<'z>(own: &[&(TriggerKind, Trigger<'z>, Vec<Record<'z>>)], parts: &mut Parts<'z>) {
    let mut numbers: HashMap<Signature<'_>, usize> = HashMap::new();
    for (kind, trigger, records) in own {
        let next = numbers.len().min(NS_DATA_MAX);
        let number = *numbers.entry(signature(records)).or_insert(next);
        if number < NS_DATA_MAX {
            let part = parts.of(*kind, &Action::Data(Arc::new(DataSet::of_all(local_data(records)))), number);
            parts.add(part, *trigger);
        } else {
            parts.left_out.name_servers += records.len();
        }
    }
}

fn signature<'z>(records: &[Record<'z>]) -> Signature<'z> {
    records.iter().map(|record| (record.ttl, record.data)).collect()
}

fn local_data(records: &[Record<'_>]) -> LocalData {
    let mut data = LocalData::default();
    for record in records {
        let (rtype, rdata) = record.data.unwrap_or_default();
        let ttl = Some(record.ttl);
        match (rtype, rdata) {
            (rtype::CNAME, [1, b'*', rest @ ..]) => data.alias = alias(rest, true, ttl),
            (rtype::CNAME, target) => data.alias = alias(target, false, ttl),
            _ => data.records.push(LocalRecord { rtype, ttl, rdata: rdata.into() }),
        }
    }
    data
}

fn alias(target: &[u8], below: bool, ttl: Option<u32>) -> Option<Alias> {
    Some(Alias { target: Name::from_wire(target).ok()?, below, ttl })
}
