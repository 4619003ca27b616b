//! A policy zone as rules that run: one for each kind of trigger and each action. Names and networks go into the tables of
//! the filter like those of every other rule, so a name of a zone costs what a name of a list costs.

use super::store::{Policy, Record};
use super::trigger::{Kind, Trigger};
use super::{RpzZone, too_wide};
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::policy::document::network::Depths;
use crate::policy::filter::data::{Alias, DataOwner, DataSet, LocalData, LocalRecord};
use crate::policy::filter::lists::{NameList, Types};
use crate::policy::filter::sets::{BELOW, SELF};
use crate::policy::filter::{self, Action, TriggerKind};
use crate::policy::networks::canonical;
use crate::sys::keys::unguessable;
use ipnet::IpNet;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Different local data of name servers in one zone: each is a rule of its own.
const NS_DATA_MAX: usize = 1_000;

/// Triggers of one zone with local data of their own, which takes some 200 bytes of memory each as long as the zone runs. What
/// is the same for most is kept once, and does not count.
pub(in crate::policy::filter) const OWNERS_MAX: usize = 1_000_000;

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

impl<'z> Parts<'z> {
    /// Takes names out of the reach of wildcards as any DNS zone does (RFC 4592 section 2.2.1; the draft's section 5.3 has
    /// "the same as that used by DNS servers"): a wildcard speaks about no name that is in the zone, be it only for one
    /// below it, and about none below such a name.
    fn keep_from_wildcards(&mut self, records: impl Iterator<Item = Record<'z>>) {
        if self.wildcards.is_empty() {
            return;
        }
        // What stands directly below the nearest wildcard, and what of it has records of its own: what is further below is
        // taken out with it. The wildcards above it are looked for again, which takes less memory than to keep them.
        let mut below: HashMap<(TriggerKind, &[u8]), u8, _> = HashMap::with_hasher(unguessable());
        for record in records {
            let Trigger::Name(kind, reach, wire) = record.trigger else { continue };
            let kind = kind_of(kind);
            let nearest = above(wire).find(|(_, parent)| self.wildcards.contains_key(&(kind, *parent)));
            if let Some((child, _)) = nearest {
                let own = below.entry((kind, child)).or_default();
                *own |= if child.len() == wire.len() { reach } else { 0 };
            }
        }
        let mut taken_out = Vec::new();
        for ((kind, name), reach) in below {
            // What has a record of its own is decided by that before a shorter wildcard is heard.
            let freed = (SELF | BELOW) & !reach;
            if freed == 0 {
                continue;
            }
            taken_out.clear();
            for (_, parent) in above(name) {
                let part = self.wildcards.get(&(kind, parent)).copied();
                if let Some(part) = part.filter(|part| !taken_out.contains(part)) {
                    taken_out.push(part);
                    // For all types, which takes no room of those that a list can tell apart.
                    let _ = self.parts[part].names.push_for(freed << FREE_SHIFT, &Types::ALL, name);
                }
            }
        }
    }
}

/// All names above one, the nearest first, each behind the name directly below it.
fn above(wire: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut child = wire;
    std::iter::from_fn(move || {
        let parent = parent_of(child)?;
        Some((std::mem::replace(&mut child, parent), parent))
    })
}

/// A name without its first label; `None` for the root.
fn parent_of(wire: &[u8]) -> Option<&[u8]> {
    let (len, rest) = wire.split_first().filter(|(len, _)| **len != 0)?;
    rest.get(usize::from(*len)..)
}

/// Records that were made into no rule.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy::filter) struct LeftOut {
    /// They would block a public suffix, or a good part of all addresses.
    pub(in crate::policy::filter) wide: usize,
    /// Their name servers have other data than [`NS_DATA_MAX`] before them.
    pub(in crate::policy::filter) name_servers: usize,
    /// Their triggers have data of their own, as [`OWNERS_MAX`] before them have.
    pub(in crate::policy::filter) owners: usize,
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
    /// The rules of the zone. What is too wide is left out where it would be blocked, unless `force`.
    pub(in crate::policy::filter) fn compile(&self, instead: &Override, force: bool) -> (Vec<Part>, LeftOut) {
        self.compile_up_to(instead, force, OWNERS_MAX)
    }

    /// As [`Self::compile`], where so many triggers may have local data of their own.
    pub(super) fn compile_up_to(&self, instead: &Override, force: bool, owners_max: usize) -> (Vec<Part>, LeftOut) {
        let wildcards = HashMap::with_hasher(unguessable());
        let mut parts = Parts { parts: Vec::new(), wildcards, last: None, left_out: LeftOut::default() };
        for record in self.records() {
            if record.trigger == Trigger::Apex {
                continue;
            }
            let kind = kind_of(record.trigger.kind());
            let action = match instead {
                Override::All(action) => action.clone(),
                Override::Given => match record.policy {
                    Policy::Nxdomain => Action::Nxdomain,
                    Policy::Nodata => Action::Nodata,
                    Policy::Passthru | Policy::PassthruSelf => Action::Allow,
                    Policy::Drop => Action::Drop,
                    Policy::TcpOnly => Action::Truncate,
                    Policy::Data if force || too_wide(record.trigger).is_none() => continue,
                    Policy::Data => {
                        parts.left_out.wide += 1;
                        continue;
                    }
                },
            };
            if action.blocks() && !force && too_wide(record.trigger).is_some() {
                parts.left_out.wide += 1;
                continue;
            }
            let part = parts.of(kind, &action, 0);
            parts.add(part, record.trigger);
        }
        if matches!(instead, Override::Given) {
            self.compile_data(force, owners_max, &mut parts);
        }
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

/// A record as it is told apart: TTL, type and data.
type Signature<'z> = (u32, Option<(u16, &'z [u8])>);

impl RpzZone {
    /// Makes the rules of local data. What most triggers of a kind have, such as a CNAME to one garden, is kept once for all
    /// of them; few triggers have more than one record.
    fn compile_data<'z>(&'z self, force: bool, owners_max: usize, parts: &mut Parts<'z>) {
        let all_data = || {
            let records = self.store.with_places();
            records.filter(|(.., record)| {
                let is_data = record.policy == Policy::Data && record.trigger != Trigger::Apex;
                is_data && (force || too_wide(record.trigger).is_none())
            })
        };
        let hasher = unguessable;
        let mut several: HashMap<u32, Vec<Record<'z>>, _> = HashMap::with_hasher(hasher());
        // What has no room any more, by the place of its trigger.
        let mut lost: HashSet<u32, _> = HashSet::with_hasher(hasher());
        for (first, ..) in all_data().filter(|(_, chained, _)| *chained) {
            if several.len() < owners_max {
                several.entry(first).or_default();
            } else if !several.contains_key(&first) {
                lost.insert(first);
            }
        }
        let mut counts: HashMap<(TriggerKind, Signature<'z>), usize, _> = HashMap::with_hasher(hasher());
        let mut sets: HashMap<TriggerKind, DataSet> = HashMap::new();
        for (first, _, record) in all_data().filter(|(first, ..)| !lost.contains(first)) {
            sets.entry(kind_of(record.trigger.kind())).or_default();
            match several.get_mut(&first) {
                Some(records) => records.push(record),
                None => {
                    let key = (kind_of(record.trigger.kind()), signature(&record));
                    // What comes behind so many others is not what most have.
                    if counts.len() < owners_max || counts.contains_key(&key) {
                        *counts.entry(key).or_default() += 1;
                    }
                }
            }
        }
        let common = |kind| {
            let of_kind = counts.iter().filter(|((own, _), _)| *own == kind);
            of_kind.max_by_key(|((_, signature), count)| (**count, *signature)).map(|((_, signature), _)| *signature)
        };
        let common: HashMap<TriggerKind, Signature<'z>> =
            sets.keys().filter_map(|kind| Some((*kind, common(*kind)?))).collect();
        sets.remove(&TriggerKind::NsName);
        for (kind, set) in &mut sets {
            if let Some((ttl, data)) = common.get(kind) {
                *set = DataSet::of_all(local_data(&[(*ttl, *data)]));
            }
        }
        let mut owners = several.len();
        for (first, _, record) in all_data() {
            let kind = kind_of(record.trigger.kind());
            let is_own = sets.contains_key(&kind) && common.get(&kind) != Some(&signature(&record));
            if is_own && !several.contains_key(&first) && !lost.contains(&first) {
                if owners < owners_max {
                    owners += 1;
                } else {
                    lost.insert(first);
                }
            }
        }
        parts.left_out.owners = all_data().filter(|(first, ..)| lost.contains(first)).count();
        let data = || all_data().filter(|(first, ..)| !lost.contains(first));
        let mut servers = HashMap::new();
        for (first, chained, record) in data() {
            let kind = kind_of(record.trigger.kind());
            let one = [signature(&record)];
            let all: Vec<_> =
                several.get(&first).map(|records| records.iter().map(signature).collect()).unwrap_or_default();
            let signatures = if all.is_empty() { &one[..] } else { &all };
            match sets.get_mut(&kind) {
                _ if chained => {}
                Some(_) if all.is_empty() && common.get(&kind) == Some(&one[0]) => {}
                Some(set) => add_owner(set, record.trigger, local_data(signatures)),
                None => add_server(&mut servers, record.trigger, signatures, parts),
            }
        }
        let mut sets: Vec<_> = sets.into_iter().collect();
        sets.sort_by_key(|(kind, _)| *kind);
        for (kind, set) in sets {
            let part = parts.of(kind, &Action::Data(Arc::new(set)), 0);
            for (_, chained, record) in data().filter(|(.., record)| kind_of(record.trigger.kind()) == kind) {
                if chained {
                    parts.parts[part].records += 1;
                } else {
                    parts.add(part, record.trigger);
                }
            }
        }
    }
}

/// Keeps what is answered for one trigger.
fn add_owner(set: &mut DataSet, trigger: Trigger<'_>, data: LocalData) {
    let owner = match trigger {
        Trigger::Name(_, reach, wire) => DataOwner::Name(reach, wire),
        Trigger::Network(_, network) => DataOwner::Network(canonical(network)),
        Trigger::Apex => return,
    };
    if let Some(alias) = data.alias {
        set.alias(owner, *alias);
    }
    for record in data.records {
        // The store has no more than an owner may have.
        let _ = set.add(owner, record);
    }
}

/// Data of name servers: the name that sets a rule off is not the one that is answered about, so each data has a rule.
fn add_server<'z>(
    known: &mut HashMap<Vec<Signature<'z>>, usize>,
    trigger: Trigger<'z>,
    signatures: &[Signature<'z>],
    parts: &mut Parts<'z>,
) {
    let part = match known.get(signatures) {
        Some(&part) => part,
        None if known.len() == NS_DATA_MAX => {
            parts.left_out.name_servers += signatures.len();
            return;
        }
        None => {
            let action = Action::Data(Arc::new(DataSet::of_all(local_data(signatures))));
            let part = parts.of(TriggerKind::NsName, &action, known.len());
            known.insert(signatures.to_vec(), part);
            part
        }
    };
    parts.add(part, trigger);
    parts.parts[part].records += signatures.len() - 1;
}

fn signature<'z>(record: &Record<'z>) -> Signature<'z> {
    (record.ttl, record.data)
}

fn local_data(records: &[Signature<'_>]) -> LocalData {
    let mut data = LocalData::default();
    for (ttl, record) in records {
        let (rtype, rdata) = record.unwrap_or_default();
        let ttl = Some(*ttl);
        match (rtype, rdata) {
            (rtype::CNAME, [1, b'*', rest @ ..]) => data.alias = alias(rest, true, ttl).map(Box::new),
            (rtype::CNAME, target) => data.alias = alias(target, false, ttl).map(Box::new),
            _ => data.records.push(LocalRecord { rtype, ttl, rdata: rdata.into() }),
        }
    }
    data
}

fn alias(target: &[u8], below: bool, ttl: Option<u32>) -> Option<Alias> {
    Some(Alias { target: Name::from_wire(target).ok()?, below, ttl })
}
