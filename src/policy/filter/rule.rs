//! One `[[rule]]` of a zone as written: its trigger, what it does, and for whom.
//!
//! ```toml
//! [[rule]]
//! id = "storm-player"
//! names = ["baofeng.com", "=update.example", "*.cdn.example"]
//! action = "nxdomain"
//! ttl = 60
//! ```
//!
//! With `list = "lists/x.txt"` the names come from a file in any format of [`Format`]. An exception in it (`@@||y.x^`, and
//! alike in other formats) frees y.x and all below from this one rule, as if the rule did not name them: later rules and
//! zones are still heard, which `allow` would stop. Inside the list the ranks of adblock hold: `@@` with `$important`,
//! `$important`, `@@`, the rest. In dnsmasq and unbound lists the longest name decides, and in a tie the exception.

use super::lists::{Format, Match};
use super::pattern::split;
use super::{Action, Pattern, RuleTransport, Scope};
use crate::dns::name::Name;
use crate::policy::clients::{GroupSet, Groups};
use crate::policy::document::table::nearest;
use crate::policy::document::{At, Code, Fault, Faults, Table, words};
use crate::policy::{Mode, document};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// TTL of self-made answers unless given, in seconds.
const TTL_DEFAULT: u32 = 30;

/// The longest TTL of self-made answers, in seconds: a mistake should be forgotten within a day.
const TTL_MAX: u32 = 86_400;

/// The most addresses of a sinkhole: they have to fit into an answer of 512 bytes.
const ADDRESSES_MAX: usize = 8;

/// The longest id, in bytes: it goes into answers (EDE), logs and metric labels.
const ID_MAX: usize = 64;

/// The longest note of any kind, in bytes.
const NOTE_MAX: usize = 256;

/// Keys of rules that a later version reads.
const NOT_YET: [&str; 16] = [
    "schedule",
    "expires",
    "budget",
    "min",
    "max",
    "rto",
    "answers",
    "else",
    "records",
    "cname",
    "qps",
    "per",
    "response_ip",
    "ns_name",
    "ns_ip",
    "clients",
];

/// Those of [`NOT_YET`] that are triggers: a rule with one of them does not also lack `names`.
const TRIGGERS_NOT_YET: [&str; 4] = ["response_ip", "ns_name", "ns_ip", "clients"];

/// Actions of this version, by their words; sinkhole gets its addresses later.
static ACTIONS: [(&str, Action); 8] = [
    ("allow", Action::Allow),
    ("nxdomain", Action::Nxdomain),
    ("nodata", Action::Nodata),
    ("refused", Action::Refused),
    ("drop", Action::Drop),
    ("truncate", Action::Truncate),
    ("sinkhole", Action::Sinkhole(Vec::new())),
    ("monitor", Action::Monitor),
];

/// Actions of a later version.
const ACTIONS_NOT_YET: [&str; 5] = ["data", "shed", "limit", "ttl", "expect"];

/// What a rule speaks about, as written.
#[derive(Debug)]
pub(super) enum Trigger<'d> {
    /// Names in the rule itself: reach, name and place of each.
    Names(Vec<(u8, At<Name>)>),
    /// A bulk list.
    List {
        /// Path within the policy directory.
        path: At<&'d str>,
        /// Detected when absent.
        format: Option<At<Format>>,
        /// What a bare name in it means.
        matches: Match,
    },
    /// Nothing that can be read; there is a fault for it.
    Broken,
}

/// A rule as written.
#[derive(Debug)]
pub(super) struct WrittenRule<'d> {
    pub(super) id: Option<At<&'d str>>,
    pub(super) trigger: Trigger<'d>,
    pub(super) action: Action,
    pub(super) ttl: u32,
    pub(super) mode: Mode,
    pub(super) scope: Scope,
    pub(super) force: bool,
    pub(super) owner: Option<String>,
    pub(super) ticket: Option<String>,
    pub(super) note: Option<String>,
}

impl<'d> WrittenRule<'d> {
    /// Reads a rule; always gives a value, what is wrong goes to the faults.
    pub(super) fn read(t: &Table<'d>, groups: &Groups) -> Self {
        t.not_yet(&NOT_YET);
        let action = read_action(t);
        let force = t.flag("force", false);
        let trigger = read_trigger(t);
        if let Trigger::Names(names) = &trigger
            && action.blocks()
            && !force
        {
            names.iter().for_each(|(reach, name)| refuse_wide(*reach, name, t.faults()));
        }
        Self {
            id: read_id(t),
            trigger,
            action,
            ttl: t.number("ttl", 0..=TTL_MAX, TTL_DEFAULT),
            mode: t.mode(Mode::Enforce),
            scope: Scope {
                zone_groups: None,
                groups: read_groups(t, groups),
                qtypes: read_qtypes(t),
                transport: t.choice_given("transport", &[("udp", RuleTransport::Udp), ("tcp", RuleTransport::Tcp)]),
            },
            force,
            owner: read_note(t, "owner"),
            ticket: read_note(t, "ticket"),
            note: read_note(t, "note"),
        }
    }
}

/// `groups` of a zone or a rule; `None` when not given: everyone.
pub(super) fn read_groups(t: &Table<'_>, groups: &Groups) -> Option<GroupSet> {
    refuse_empty(t, "groups", "for nobody: leave it out to act for everyone")?;
    Some(groups.set(&t.list("groups"), t.faults()))
}

/// `None` when the key is not there; an empty list is a fault, because what it would mean is a trap.
fn refuse_empty(t: &Table<'_>, key: &'static str, hint: &str) -> Option<()> {
    if !t.has(key) {
        return None;
    }
    let before = t.faults().has_errors();
    if t.list(key).is_empty() && !before && !t.faults().has_errors() {
        t.fault(key, Code::Empty, format!("{} is empty", t.label(key)), hint);
    }
    Some(())
}

fn read_id<'d>(t: &Table<'d>) -> Option<At<&'d str>> {
    let id = t.required_text("id")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if id.value.len() > ID_MAX || !id.value.chars().all(fits) {
        let hint = format!("ascii letters, digits and - _ . : /, at most {ID_MAX} bytes");
        t.faults().add(Code::Value, &id.place, format!("{:?} cannot be the id of a rule", id.value), hint);
        return None;
    }
    Some(id)
}

fn read_note(t: &Table<'_>, key: &'static str) -> Option<String> {
    let text = t.text(key)?;
    if text.value.len() > NOTE_MAX {
        let message = format!("{} is longer than {NOTE_MAX} bytes", t.label(key));
        t.faults().push(Fault::new(Code::Range, text.place, message));
        return None;
    }
    Some(text.value.to_owned())
}

fn read_action(t: &Table<'_>) -> Action {
    let addresses = read_addresses(t);
    let text = t.required_text("action");
    let known = text.as_ref().and_then(|text| ACTIONS.iter().find(|(word, _)| *word == text.value));
    let action = match (known, text) {
        (Some((_, action)), _) => action.clone(),
        (None, None) => Action::Monitor,
        (None, Some(text)) => {
            refuse_action(t, &text);
            // What addresses are good for cannot be said without an action.
            return Action::Monitor;
        }
    };
    match (action, addresses) {
        (Action::Sinkhole(_), None) => {
            Action::Sinkhole(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()])
        }
        (Action::Sinkhole(_), Some(addresses)) => Action::Sinkhole(addresses),
        (action, Some(_)) => {
            let message = format!("addresses have no use with the action {}", action.name());
            t.fault("addresses", Code::Conflict, message, "only action = \"sinkhole\" answers with addresses");
            action
        }
        (action, None) => action,
    }
}

fn refuse_action(t: &Table<'_>, text: &At<&str>) {
    if ACTIONS_NOT_YET.contains(&text.value) {
        let message = format!("action {:?} is not in this version of weir", text.value);
        t.faults().add(Code::NotYet, &text.place, message, "use another action, or remove the rule");
        return;
    }
    let words = || ACTIONS.iter().map(|(word, _)| *word);
    let all = words().collect::<Vec<_>>().join(", ");
    let hint = match nearest(text.value, words()) {
        Some(word) => format!("did you mean {word:?}? It is one of: {all}"),
        None => format!("it is one of: {all}"),
    };
    t.faults().add(Code::Choice, &text.place, format!("{} cannot be {:?}", t.label("action"), text.value), hint);
}

fn read_addresses(t: &Table<'_>) -> Option<Vec<IpAddr>> {
    refuse_empty(t, "addresses", "leave it out to answer with 0.0.0.0 and ::")?;
    let texts = t.list("addresses");
    let mut addresses = Vec::new();
    for text in &texts {
        match text.value.parse::<IpAddr>() {
            Ok(address) if addresses.contains(&address) => {
                let message = format!("address {address} is there twice");
                t.faults().push(Fault::new(Code::Duplicate, text.place.clone(), message));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let message = format!("{:?} is not an address", text.value);
                t.faults().add(Code::Address, &text.place, message, "such as \"192.0.2.1\" or \"2001:db8::1\"");
            }
        }
    }
    if addresses.len() > ADDRESSES_MAX {
        t.fault("addresses", Code::TooMany, format!("more than {ADDRESSES_MAX} addresses"), "an answer has to fit");
        addresses.truncate(ADDRESSES_MAX);
    }
    Some(addresses)
}

fn read_qtypes(t: &Table<'_>) -> Option<Vec<u16>> {
    refuse_empty(t, "qtypes", "leave it out to act on every type")?;
    let texts = t.list("qtypes");
    let types = texts.iter().filter_map(|text| {
        let qtype = words::qtype(text.value);
        if qtype.is_none() {
            let message = format!("{:?} is not a record type", text.value);
            t.faults().add(Code::Qtype, &text.place, message, "such as \"A\", \"AAAA\", \"ANY\" or \"TYPE65\"");
        }
        qtype
    });
    let mut types: Vec<u16> = types.collect();
    types.sort_unstable();
    types.dedup();
    Some(types)
}

fn read_trigger<'d>(t: &Table<'d>) -> Trigger<'d> {
    let format = read_format(t);
    let matches = [("subtree", Match::Subtree), ("exact", Match::Exact), ("children", Match::Children)];
    let matches = t.choice("match", &matches, Match::Subtree);
    match (t.has("names"), t.has("list")) {
        (true, true) => {
            t.fault("list", Code::Conflict, "a rule has one trigger: names or list", "make two rules of it");
            Trigger::Broken
        }
        (false, false) => {
            if !TRIGGERS_NOT_YET.into_iter().any(|key| t.has(key)) {
                let message = format!("[{}] needs a trigger: names or list", t.label("").trim_end_matches('.'));
                t.faults().add(Code::MissingKey, &t.place(), message, "names = [\"example.com\"]");
            }
            Trigger::Broken
        }
        (false, true) => match t.required_text("list") {
            Some(path) => Trigger::List { path, format, matches },
            None => Trigger::Broken,
        },
        (true, false) => {
            for key in ["match", "format"] {
                if t.has(key) {
                    let hint = "names say it themselves: \"x\" is x and all below, \"=x\" x alone, \"*.x\" only below";
                    t.fault(key, Code::Conflict, format!("{key} is only for lists"), hint);
                }
            }
            refuse_empty(t, "names", "a rule without names can never act");
            Trigger::Names(t.list("names").iter().filter_map(|text| read_name(text, t.faults())).collect())
        }
    }
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
        let message = format!("{:?} has letters beyond ascii", text.value);
        faults.add(Code::Name, &text.place, message, "write the name in its ASCII form, which begins with xn--");
        return None;
    }
    if bare.contains('*') {
        let message = format!("{:?} has a wildcard that is not the whole first label", text.value);
        faults.add(Code::Name, &text.place, message, "\"*.x\" means every name below x; \"x\" includes x itself");
        return None;
    }
    let name = document::values::name(&At { value: bare, place: text.place.clone() }, faults)?;
    Some((reach, name))
}

fn refuse_wide(reach: u8, name: &At<Name>, faults: &Faults) {
    if let Some(what) = (Pattern { reach, name: name.value }).too_wide() {
        let message = format!("this rule would act on {what}");
        faults.add(Code::Dangerous, &name.place, message, "force = true, if you mean it");
    }
}
