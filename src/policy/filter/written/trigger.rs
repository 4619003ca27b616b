//! The trigger of a rule as written.
//!
//! | key | what sets the rule off |
//! |---|---|
//! | `names = ["x", "=x", "*.x"]` | the name asked for, or a CNAME target: x and all below, x alone, all below x |
//! | `list = "lists/x.txt"` | the same, with the names of a file in any format of [`Format`] |
//! | `clients = ["10.0.0.0/8", "@group", "!10.9.0.0/16"]` | the address that asks |
//! | `response_ip = ["198.51.100.7", "lists/x.conf"]` | an address in the answer, or in a hint of HTTPS and SVCB records |
//! | `ns_name = ["x", "=x", "*.x"]` | the name of a name server that the answer shows |
//! | `ns_ip = ["198.51.100.0/24"]` | the address of such a name server |
//!
//! An exception in a list (`@@||y.x^`, and alike in other formats) frees y.x and all below from this one rule, as if the
//! rule did not name them: later rules and zones are still heard, which `allow` would stop. Inside the list the ranks of
//! adblock hold: `@@` with `$important`, `$important`, `@@`, the rest. In dnsmasq and unbound lists the longest name decides,
//! and in a tie the exception.
//!
//! In lists of addresses a path that begins with `lists/` stands for the addresses and networks of a file, one on each line,
//! dnsmasq's `bogus-nxdomain=` lines among them.

use super::super::lists::{Format, Match};
use super::super::pattern::split;
use super::super::{Pattern, TriggerKind};
use super::refuse_empty;
use crate::dns::name::Name;
use crate::language::text;
use crate::policy::clients::Groups;
use crate::policy::document::network::{self, Entry, Member};
use crate::policy::document::{At, Code, Faults, Table, values};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a path to a list of addresses begins with.
const LISTS: &str = "lists/";

/// Keys of which a rule has one.
const TRIGGERS: [&str; 6] = ["names", "list", "clients", "response_ip", "ns_name", "ns_ip"];

/// Shorter prefixes hold more of the Internet than any rule should, of IPv4 and of IPv6.
const WIDE: (u8, u8) = (8, 16);

/// Where no host of the Internet is, so that all of it is none too much: multicast and reserved addresses of IPv4; unique
/// local, link-local, site-local and multicast ones of IPv6 (RFC 6890, 5771, 1112 and 4291). Zones against rebinding have
/// `fc00::/7`.
const ELSEWHERE: (Ipv4Net, Ipv6Net) = (
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 6),
);

/// What a rule speaks about, as written.
#[derive(Debug)]
pub(in super::super) enum WrittenTrigger<'d> {
    /// Names in the rule itself: reach, name and place of each. [`TriggerKind::Name`] or [`TriggerKind::NsName`].
    Names(TriggerKind, Vec<(u8, At<Name>)>),
    /// A bulk list of names.
    List {
        /// Path within the policy directory.
        path: At<&'d str>,
        /// Detected when absent.
        format: Option<At<Format>>,
        /// What a bare name in it means.
        matches: Match,
    },
    /// Networks, and files of them.
    Networks {
        /// One of the kinds about addresses.
        kind: TriggerKind,
        /// Those in the rule itself.
        entries: Vec<At<Entry>>,
        /// Paths of files.
        files: Vec<At<&'d str>>,
    },
    /// Nothing that can be read; there is a fault for it.
    Broken,
}

impl<'d> WrittenTrigger<'d> {
    pub(super) fn read(t: &Table<'d>, groups: &Groups) -> Self {
        let format = read_format(t);
        let matches = [("subtree", Match::Subtree), ("exact", Match::Exact), ("children", Match::Children)];
        let matches = t.choice("match", &matches, Match::Subtree);
        let given: Vec<_> = TRIGGERS.into_iter().filter(|key| t.has(key)).collect();
        let Some(&key) = given.first() else {
            let message = text!(
                "[{path}] needs a trigger: {words}",
                path = t.label("").trim_end_matches('.'),
                words = TRIGGERS.join(", ")
            );
            t.faults().add(Code::MissingKey, &t.place(), message, text!("such as names = [\"example.com\"]"));
            return Self::Broken;
        };
        if let Some(other) = given.get(1) {
            t.fault(
                other,
                Code::Conflict,
                text!("a rule has one trigger: {key} or {other}", key, other),
                text!("make two rules of it"),
            );
            return Self::Broken;
        }
        if key != "list" {
            for only in ["match", "format"] {
                if t.has(only) {
                    let hint =
                        text!("names say it themselves: \"x\" is x and all below, \"=x\" x alone, \"*.x\" only below");
                    t.fault(only, Code::Conflict, text!("{key} is only for lists", key = only), hint);
                }
            }
        }
        match key {
            "list" => match t.required_text("list") {
                Some(path) => Self::List { path, format, matches },
                None => Self::Broken,
            },
            "names" => Self::read_names(t, "names", TriggerKind::Name),
            "ns_name" => Self::read_names(t, "ns_name", TriggerKind::NsName),
            "clients" => Self::read_networks(t, "clients", TriggerKind::Client, groups),
            "response_ip" => Self::read_networks(t, "response_ip", TriggerKind::ResponseAddress, groups),
            _ => Self::read_networks(t, "ns_ip", TriggerKind::NsAddress, groups),
        }
    }

    fn read_names(t: &Table<'d>, key: &'static str, kind: TriggerKind) -> Self {
        refuse_empty(t, key, text!("a rule without names can never act"));
        Self::Names(kind, t.list(key).iter().filter_map(|text| read_name(text, t.faults())).collect())
    }

    fn read_networks(t: &Table<'d>, key: &'static str, kind: TriggerKind, groups: &Groups) -> Self {
        refuse_empty(t, key, text!("a rule without addresses can never act"));
        let (files, networks): (Vec<_>, Vec<_>) =
            t.list(key).into_iter().partition(|text| text.value.starts_with(LISTS));
        let entries = networks.iter().filter_map(|text| network::entry(text, groups, t.faults()));
        let entries: Vec<_> = entries.filter(|entry| is_fit(t, entry, kind)).collect();
        network::report_duplicates(&entries, t.faults());
        Self::Networks { kind, entries, files }
    }

    /// What sets the rule off; `None` when that cannot be read.
    pub(in super::super) fn kind(&self) -> Option<TriggerKind> {
        match self {
            Self::Names(kind, _) | Self::Networks { kind, .. } => Some(*kind),
            Self::List { .. } => Some(TriggerKind::Name),
            Self::Broken => None,
        }
    }

    /// The key under which it stands.
    pub(in super::super) fn key(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            _ => self.kind().map_or("id", TriggerKind::key),
        }
    }

    /// Refuses what would act on far more than anyone wants.
    pub(super) fn refuse_wide(&self, faults: &Faults) {
        match self {
            Self::Names(_, names) => names.iter().for_each(|(reach, name)| refuse_wide_name(*reach, name, faults)),
            Self::Networks { entries, .. } => entries.iter().for_each(|entry| refuse_wide_network(entry, faults)),
            Self::List { .. } | Self::Broken => {}
        }
    }
}

/// Groups are of clients: they say nothing about what an answer holds.
fn is_fit(t: &Table<'_>, entry: &At<Entry>, kind: TriggerKind) -> bool {
    let is_group = matches!(entry.value.member, Member::Group(_));
    if is_group && kind != TriggerKind::Client {
        let message = text!("{key} cannot name a group of clients", key = t.label(kind.key()));
        t.faults().add(Code::Value, &entry.place, message, text!("write the networks themselves"));
        return false;
    }
    true
}

fn read_format(t: &Table<'_>) -> Option<At<Format>> {
    let words = Format::ALL.map(|format| (format.name(), format));
    let format = t.choice_given("format", &words)?;
    Some(At { value: format, place: t.place_of("format") })
}

/// `x`, `=x` or `*.x`; `*` alone is everything below the root.
fn read_name(text: &At<&str>, faults: &Faults) -> Option<(u8, At<Name>)> {
    let (reach, bare) = split(text.value);
    if !bare.is_ascii() {
        let message = text!("{text:?} has letters beyond ascii", text = text.value);
        faults.add(Code::Name, &text.place, message, text!("write the name in its ASCII form, which begins with xn--"));
        return None;
    }
    if bare.contains('*') {
        let message = text!("{text:?} has a wildcard that is not the whole first label", text = text.value);
        faults.add(
            Code::Name,
            &text.place,
            message,
            text!("\"*.x\" means every name below x; \"x\" includes x itself"),
        );
        return None;
    }
    let name = values::name(&At { value: bare, place: text.place.clone() }, faults)?;
    Some((reach, name))
}

fn refuse_wide_name(reach: u8, name: &At<Name>, faults: &Faults) {
    if let Some(what) = (Pattern { reach, name: name.value }).too_wide() {
        let message = text!("this rule would act on {what}", what);
        faults.add(Code::Dangerous, &name.place, message, text!("force = true, if you mean it"));
    }
}

/// Whether a network holds more of the Internet than any rule should.
pub(in super::super) fn is_wide(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < WIDE.0 && !ELSEWHERE.0.contains(&net),
        IpNet::V6(net) => net.prefix_len() < WIDE.1 && !ELSEWHERE.1.contains(&net),
    }
}

fn refuse_wide_network(entry: &At<Entry>, faults: &Faults) {
    let Entry { except: false, member: Member::Network(net) } = entry.value else { return };
    if is_wide(net) {
        let message = text!("this rule would act on all of {net}", net);
        faults.add(Code::Dangerous, &entry.place, message, text!("force = true, if you mean it"));
    }
}
