//! Lists of networks as they are written: CIDR, a bare address, `!net` for an exception, `@group` for a group of
//! clients.toml; and their compilation. The longest prefix decides, and a network that a group brings along counts with
//! the length that it was written with.

use super::{At, Code, Faults, Place};
use crate::language::text;
use crate::policy::clients::Groups;
use crate::policy::networks::{NetworkMap, NetworkSet, canonical};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// A network without host bits; an address is a network of one.
    Network(IpNet),
    /// A group, by its number.
    Group(usize),
}

/// One entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Written with `!`: these are not in the list.
    pub except: bool,
    /// What it names.
    pub member: Member,
}

/// Networks with the length of the prefix that decided, and what it decided.
pub type Depths = NetworkMap<(u8, bool)>;

/// Reads one entry; a bad one is a fault.
pub fn entry(text: &At<&str>, groups: &Groups, faults: &Faults) -> Option<At<Entry>> {
    let (except, rest) = text.value.strip_prefix('!').map_or((false, text.value), |rest| (true, rest));
    let member = match rest.strip_prefix('@') {
        Some(name) => Member::Group(groups.require(name, &text.place, faults)?),
        None => Member::Network(network(rest, &text.place, faults)?),
    };
    Some(At { value: Entry { except, member }, place: text.place.clone() })
}

/// Reads `10.0.0.0/8`, `2001:db8::/32` or a bare address; anything else, host bits included, is a fault.
pub fn network(text: &str, place: &Place, faults: &Faults) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(canonical(IpNet::from(address)));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        let message = text!("{text:?} is not a network", text);
        let hint = text!("write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", an address, or \"@group\"");
        faults.add(Code::Network, place, message, hint);
        return None;
    };
    if net != net.trunc() {
        let message = text!("network {text:?} has bits set behind its prefix", text);
        let hint = text!(
            "did you mean \"{network}\", or the address \"{address}\"?",
            network = net.trunc(),
            address = net.addr()
        );
        faults.add(Code::Network, place, message, hint);
    }
    Some(canonical(net))
}

/// Reports each entry that a list names twice.
pub fn report_duplicates(entries: &[At<Entry>], faults: &Faults) {
    let mut seen = HashMap::new();
    for entry in entries {
        if seen.insert(entry.value.member, &entry.place).is_some() {
            let what = match entry.value.member {
                Member::Network(net) => text!("network {net} is in this list twice", net),
                Member::Group(_) => text!("this group is in this list twice"),
            };
            faults.add(Code::Duplicate, &entry.place, what, text!("remove one of the two"));
        }
    }
}

/// Reports each network that two lists hold, of which only one can decide about it, where a group brought it into at least
/// one of them: the same entry in both is seen at a glance, this is not. `wins` is the list that decides. O(n) in the number
/// of networks.
pub fn report_overlaps(
    (loses, losing): (&str, &[At<Entry>]),
    (wins, winning): (&str, &[At<Entry>]),
    groups: &Groups,
    faults: &Faults,
) {
    let holding = |entry: &&At<Entry>| !entry.value.except;
    let held = losing.iter().filter(holding).flat_map(|entry| named(entry, groups));
    let held: HashMap<IpNet, &At<Entry>> = held.collect();
    for (net, entry) in winning.iter().filter(holding).flat_map(|entry| named(entry, groups)) {
        let Some(other) = held.get(&net) else { continue };
        if other.value == entry.value {
            continue;
        }
        let (here, there) = (spelled(entry, groups), spelled(other, groups));
        let message =
            text!("network {net} is in {wins} by {here} and in {loses} by {there}", net, wins, here, loses, there);
        let hint = text!("{wins} decides; take the network out of one of the two", wins);
        faults.add(Code::Overlap, &entry.place, message, hint);
    }
}

/// Reports each network that a list excepts in one place and holds in another: a group brought it along.
pub fn report_excepted(list: &str, entries: &[At<Entry>], groups: &Groups, faults: &Faults) {
    let held = entries.iter().filter(|entry| !entry.value.except).flat_map(|entry| named(entry, groups));
    let held: HashMap<IpNet, &At<Entry>> = held.collect();
    for (net, entry) in entries.iter().filter(|entry| entry.value.except).flat_map(|entry| named(entry, groups)) {
        let Some(other) = held.get(&net).filter(|other| other.value.member != entry.value.member) else { continue };
        let (here, there) = (spelled(entry, groups), spelled(other, groups));
        let message = text!("network {net} is in {list} by {there} and out of it by {here}", net, list, there, here);
        let hint = text!("at the same length the exception decides; take the network out of one of the two");
        faults.add(Code::Overlap, &entry.place, message, hint);
    }
}

/// The networks that an entry brings along. An exception inside a group says nothing about the list.
fn named<'e>(entry: &'e At<Entry>, groups: &'e Groups) -> Vec<(IpNet, &'e At<Entry>)> {
    match entry.value.member {
        Member::Network(net) => vec![(net, entry)],
        Member::Group(index) => groups.networks(index).map(|net| (net, entry)).collect(),
    }
}

fn spelled(entry: &At<Entry>, groups: &Groups) -> String {
    let except = if entry.value.except { "!" } else { "" };
    match entry.value.member {
        Member::Network(net) => format!("\"{except}{net}\""),
        Member::Group(index) => format!("\"{except}@{}\"", groups.names().nth(index).unwrap_or_default()),
    }
}

/// Compiles a list to the set of its networks.
pub fn set(entries: impl IntoIterator<Item = Entry>, groups: &Groups) -> NetworkSet {
    NetworkMap::merge(&[&depths(entries, groups)], |values| values[0].map(|(_, holds)| *holds))
}

/// Compiles a list, and keeps the length of the prefix that decides, for whoever compares it with another list's.
pub fn depths(entries: impl IntoIterator<Item = Entry>, groups: &Groups) -> Depths {
    let (mut own, mut named) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.member {
            Member::Network(net) => own.push((net, (net.prefix_len(), !entry.except))),
            Member::Group(index) => named.push((index, !entry.except)),
        }
    }
    let own = Depths::new(own);
    let mut maps = vec![&own];
    maps.extend(named.iter().map(|(index, _)| groups.depths(*index)));
    NetworkMap::merge(&maps, |values| {
        // An exception inside a group says that the address is not in the group, nothing more.
        let inside = values[1..]
            .iter()
            .zip(&named)
            .filter_map(|(value, (_, holds))| value.filter(|(_, in_group)| *in_group).map(|(len, _)| (*len, *holds)));
        // At the same length the exception wins.
        values[0].copied().into_iter().chain(inside).max_by_key(|(len, holds)| (*len, !*holds))
    })
}
