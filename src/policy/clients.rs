//! clients.toml: names for groups of clients, that every other file uses as `@name`.
//!
//! ```toml
//! [[group]]
//! name = "branches"
//! networks = ["10.0.0.0/8", "2001:db8::/32", "!10.9.0.0/16"]
//! ```
//!
//! Within a group the longest prefix decides, so `!` cuts a piece out; a client may be in any number of groups.
//! Its schedules are read by [`super::schedules`].

use super::document::nearest;
use super::document::network::{self, Depths, Member};
use super::document::{At, Code, Faults, Place, Table};
use super::networks::NetworkMap;
use crate::language::{Text, text};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most groups of one policy.
pub const GROUPS_MAX: usize = 256;

/// The groups that one client belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(pub [u64; GROUPS_MAX / 64]);

impl GroupSet {
    /// Adds group number `index`.
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Whether the two sets share a group.
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether all of `other` are in it.
    pub fn includes(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & b == *b)
    }

    /// Whether no group is in it.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; GROUPS_MAX / 64]
    }
}

/// One group as written.
#[derive(Debug)]
struct Group {
    name: String,
    place: Place,
    /// As written, without exceptions.
    listed: Vec<IpNet>,
    networks: Depths,
    used: AtomicBool,
}

/// All groups, compiled.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    members: NetworkMap<GroupSet>,
}

impl Groups {
    /// The groups of a client. One lookup.
    pub fn of(&self, client: IpAddr) -> GroupSet {
        self.members.get(client).copied().unwrap_or_default()
    }

    /// The number of a group.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }

    /// The names of all groups, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.name.as_str())
    }

    /// The number of the group that `@name` means; an unknown one is a fault at `place`.
    pub fn require(&self, name: &str, place: &Place, faults: &Faults) -> Option<usize> {
        let index = self.index_of(name);
        if let Some(index) = index {
            self.groups[index].used.store(true, Ordering::Relaxed);
        } else {
            let hint = match nearest(name, self.names()) {
                Some(word) => text!("did you mean \"@{word}\"?", word),
                None => text!("groups are named in clients.toml, under [[group]]"),
            };
            faults.add(Code::UnknownGroup, place, text!("there is no group {name:?}", name), hint);
        }
        index
    }

    /// The groups of a list such as `groups = ["@branches"]`.
    pub fn set(&self, list: &[At<&str>], faults: &Faults) -> GroupSet {
        let mut set = GroupSet::default();
        for text in list {
            let Some(name) = text.value.strip_prefix('@') else {
                let message = text!("{text:?} is not the name of a group", text = text.value);
                faults.add(
                    Code::Value,
                    &text.place,
                    message,
                    text!("groups are written \"@{text}\"", text = text.value),
                );
                continue;
            };
            if let Some(index) = self.require(name, &text.place, faults) {
                set.insert(index);
            }
        }
        set
    }

    /// Reports groups that nothing names. To be called when everything is read.
    pub fn report_unused(&self, faults: &Faults) {
        for group in self.groups.iter().filter(|group| !group.used.load(Ordering::Relaxed)) {
            let message = text!("group {group:?} is used nowhere", group = group.name);
            let hint = text!("name it as \"@{group}\" where it is meant, or remove it", group = group.name);
            faults.add(Code::Unused, &group.place, message, hint);
        }
    }

    /// The networks of a group as written, without its exceptions.
    pub(super) fn networks(&self, index: usize) -> impl Iterator<Item = IpNet> {
        self.groups[index].listed.iter().copied()
    }

    /// The networks of a group, with the length of the prefix that decides.
    pub(super) fn depths(&self, index: usize) -> &Depths {
        &self.groups[index].networks
    }

    /// Reads clients.toml.
    pub fn read(t: &Table<'_>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for table in t.tables("group") {
            let taken = |name: &str| groups.iter().any(|group| group.name == name);
            let name = table.required_text("name").filter(|name| check_name(name, &text!("group"), taken, t.faults()));
            let (listed, networks) = read_networks(&table);
            if groups.len() == GROUPS_MAX {
                let message = text!("more than {most} groups", most = GROUPS_MAX);
                t.faults().add(
                    Code::TooMany,
                    &table.place(),
                    message,
                    text!("merge some, or name networks where they are used"),
                );
                break;
            }
            if let Some(At { value, place }) = name {
                groups.push(Group { name: value.to_owned(), place, listed, networks, used: AtomicBool::new(false) });
            }
        }
        let maps: Vec<_> = groups.iter().map(|group| &group.networks).collect();
        let members = NetworkMap::merge(&maps, |values| {
            let mut set = GroupSet::default();
            let inside = values.iter().enumerate().filter(|(_, value)| value.is_some_and(|(_, inside)| *inside));
            inside.for_each(|(index, _)| set.insert(index));
            (!set.is_empty()).then_some(set)
        });
        Self { groups, members }
    }
}

/// A name of a group or a schedule that can be spelled where it is used, and that is not taken.
pub(super) fn check_name(name: &At<&str>, what: &Text, is_taken: impl Fn(&str) -> bool, faults: &Faults) -> bool {
    let well_formed =
        name.value.len() <= 64 && name.value.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !well_formed {
        let message = text!("{name:?} cannot be the name of a {what}", name = name.value, what = *what);
        faults.add(Code::Value, &name.place, message, text!("letters, digits, '-', '_' and '.', at most 64 bytes"));
    } else if is_taken(name.value) {
        let message = text!("{what} {name:?} is there twice", what = *what, name = name.value);
        let hint = text!("give each {what} a name of its own, or merge the two", what = *what);
        faults.add(Code::Duplicate, &name.place, message, hint);
        return false;
    }
    well_formed
}

/// The networks of one group. Groups do not hold groups: who is in one must be seen at a glance.
fn read_networks(table: &Table<'_>) -> (Vec<IpNet>, Depths) {
    let texts = table.list("networks");
    let faults = table.faults();
    if !table.has("networks") {
        table.missing("networks");
    } else if texts.is_empty() {
        table.fault(
            "networks",
            Code::Empty,
            text!("a group without networks has no clients"),
            text!("add a network, or remove the group"),
        );
    }
    let mut entries = Vec::new();
    for text in &texts {
        if text.value.trim_start_matches('!').starts_with('@') {
            let hint = text!("list the networks themselves");
            faults.add(Code::Network, &text.place, text!("a group cannot hold another group"), hint);
        } else {
            entries.extend(network::entry(text, &Groups::default(), faults));
        }
    }
    network::report_duplicates(&entries, faults);
    let networks = entries.iter().filter_map(|entry| match entry.value.member {
        Member::Network(net) => Some((net, !entry.value.except)),
        Member::Group(_) => None,
    });
    let networks: Vec<_> = networks.collect();
    let listed = networks.iter().filter(|(_, holds)| *holds).map(|(net, _)| *net).collect();
    (listed, Depths::new(networks.into_iter().map(|(net, holds)| (net, (net.prefix_len(), holds)))))
}
