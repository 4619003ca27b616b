//! The action of a rule as written, with the keys that belong to it.
//!
//! | action | keys of its own |
//! |---|---|
//! | `allow` `nxdomain` `nodata` `refused` `drop` `truncate` `monitor` | none |
//! | `sinkhole` | `addresses = ["192.0.2.1"]`, by default 0.0.0.0 and :: |
//! | `data` | `records = ["A 10.0.0.1", "TXT \"x\""]`, or `cname = "garden.example"`, `"*.garden.example"` |
//! | `shed` | `budget = { qps = 200, burst = 200 }`, of all names of the rule together |
//! | `limit` | `qps = 5`, `burst`, `per = "client"` (the default; IPv6: each /64) or `"subtree"` |
//! | `ttl` | `min`, `max`, or `rto`: durations; an `rto` caps at its half; for those alone whom the rule is for |
//! | `expect` | `answers = ["203.0.113.0/24", "cdn.example"]`, `else = "servfail"` |
//!
//! A `data` rule answers each type with its records of that type, and NODATA for the others; with a `cname` it answers every
//! type with that and what stands at its end, asked for as if the client had asked for it: its code, its answer, its
//! authority section. Who asks for CNAME or ANY, or sets no RD, gets the CNAME alone; one that leads a name to itself lets
//! the query pass, so `names = ["*"]` may lead to a name that it names too. What rules say there: see [`super::super::local`].

use super::super::Action;
use super::super::action::{Budget, Expectation, Limit, Otherwise, Per, TtlBounds};
use super::super::data::{Alias, DataSet, LocalData, LocalRecord, RDATA_MAX, RECORDS_MAX};
use super::super::pattern::Pattern;
use super::refuse_empty;
use crate::language::{Text, text};
use crate::policy::clients::Groups;
use crate::policy::document::table::nearest;
use crate::policy::document::{At, Code, Table, network, units};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// The most addresses of a sinkhole: they have to fit into an answer of 512 bytes.
const ADDRESSES_MAX: usize = 8;

/// The most names of an expectation: each is compared.
const EXPECTED_NAMES_MAX: usize = 64;

/// The highest budget, in queries a second and at once.
const QPS_MAX: u32 = 10_000_000;

/// The longest TTL or recovery time: a week (RFC 8767 section 4 finds that sensible for a cache).
const TTL_BOUND_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Actions by their words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Plain(Plain),
    Sinkhole,
    Data,
    Shed,
    Limit,
    Ttl,
    Expect,
}

/// Those that need nothing beside the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Allow,
    Nxdomain,
    Nodata,
    Refused,
    Drop,
    Truncate,
    Monitor,
}

const WORDS: [(&str, Word); 13] = [
    ("allow", Word::Plain(Plain::Allow)),
    ("nxdomain", Word::Plain(Plain::Nxdomain)),
    ("nodata", Word::Plain(Plain::Nodata)),
    ("refused", Word::Plain(Plain::Refused)),
    ("drop", Word::Plain(Plain::Drop)),
    ("truncate", Word::Plain(Plain::Truncate)),
    ("monitor", Word::Plain(Plain::Monitor)),
    ("sinkhole", Word::Sinkhole),
    ("data", Word::Data),
    ("shed", Word::Shed),
    ("limit", Word::Limit),
    ("ttl", Word::Ttl),
    ("expect", Word::Expect),
];

/// Keys that belong to one action, and which.
const OWN_KEYS: [(&str, &str); 12] = [
    ("addresses", "sinkhole"),
    ("records", "data"),
    ("cname", "data"),
    ("budget", "shed"),
    ("qps", "limit"),
    ("burst", "limit"),
    ("per", "limit"),
    ("min", "ttl"),
    ("max", "ttl"),
    ("rto", "ttl"),
    ("answers", "expect"),
    ("else", "expect"),
];

/// Reads the action; what cannot be read is a fault, and acts as `monitor` would.
pub(super) fn read(t: &Table<'_>, groups: &Groups) -> Action {
    let text = t.required_text("action");
    let known = text.as_ref().and_then(|text| WORDS.iter().find(|(word, _)| *word == text.value));
    let Some((name, word)) = known else {
        text.iter().for_each(|text| refuse_word(t, text));
        // What the keys of actions are good for cannot be said without one.
        OWN_KEYS.iter().for_each(|(key, _)| _ = t.has(key));
        return Action::Monitor;
    };
    for (key, action) in OWN_KEYS.iter().filter(|(key, action)| t.has(key) && action != name) {
        let message = text!("{key} has no use with the action {name}", key, name);
        t.fault(key, Code::Conflict, message, text!("only action = {action:?} has it", action));
    }
    let action = match word {
        Word::Plain(plain) => Some(match plain {
            Plain::Allow => Action::Allow,
            Plain::Nxdomain => Action::Nxdomain,
            Plain::Nodata => Action::Nodata,
            Plain::Refused => Action::Refused,
            Plain::Drop => Action::Drop,
            Plain::Truncate => Action::Truncate,
            Plain::Monitor => Action::Monitor,
        }),
        Word::Sinkhole => Some(Action::Sinkhole(
            read_addresses(t).unwrap_or_else(|| vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        )),
        Word::Data => read_data(t).map(|data| Action::Data(Arc::new(DataSet::of_all(data)))),
        Word::Shed => read_shed(t).map(Action::Shed),
        Word::Limit => read_limit(t).map(Action::Limit),
        Word::Ttl => read_ttl(t).map(Action::Ttl),
        Word::Expect => read_expectation(t, groups).map(|expectation| Action::Expect(Arc::new(expectation))),
    };
    action.unwrap_or(Action::Monitor)
}

fn refuse_word(t: &Table<'_>, text: &At<&str>) {
    let words = || WORDS.iter().map(|(word, _)| *word);
    let all = words().collect::<Vec<_>>().join(", ");
    let hint = match nearest(text.value, words()) {
        Some(word) => text!("did you mean {word:?}? It is one of: {words}", word, words = all),
        None => text!("it is one of: {words}", words = all),
    };
    t.faults().add(
        Code::Choice,
        &text.place,
        text!("{key} cannot be {text:?}", key = t.label("action"), text = text.value),
        hint,
    );
}

fn read_addresses(t: &Table<'_>) -> Option<Vec<IpAddr>> {
    refuse_empty(t, "addresses", text!("leave it out to answer with 0.0.0.0 and ::"))?;
    let texts = t.list("addresses");
    let mut addresses = Vec::new();
    for text in &texts {
        match text.value.parse::<IpAddr>() {
            Ok(address) if addresses.contains(&address) => {
                let message = text!("address {address} is there twice", address);
                t.faults().add(Code::Duplicate, &text.place, message, text!("remove one of the two"));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let message = text!("{text:?} is not an address", text = text.value);
                t.faults().add(Code::Address, &text.place, message, text!("such as \"192.0.2.1\" or \"2001:db8::1\""));
            }
        }
    }
    if addresses.len() > ADDRESSES_MAX {
        t.fault(
            "addresses",
            Code::TooMany,
            text!("more than {most} addresses", most = ADDRESSES_MAX),
            text!("an answer has to fit"),
        );
        addresses.truncate(ADDRESSES_MAX);
    }
    Some(addresses)
}

fn read_data(t: &Table<'_>) -> Option<LocalData> {
    match (t.has("records"), t.text("cname")) {
        (true, Some(_)) => {
            t.list("records");
            let hint = text!("a name with a CNAME has no other records: leave one of the two out");
            t.fault("cname", Code::Conflict, text!("records and cname exclude each other"), hint);
            None
        }
        (false, None) if t.has("cname") => None,
        (false, None) => {
            let message = text!("{key} needs records or cname", key = t.label("action"));
            t.faults().add(Code::MissingKey, &t.place(), message, text!("such as records = [\"A 10.0.0.1\"]"));
            None
        }
        (false, Some(text)) => match Alias::parse(text.value) {
            Ok(alias) => Some(LocalData { alias: Some(Box::new(alias)), records: Vec::new() }),
            Err(error) => {
                let message = text!("{text:?} is not a domain name: {error}", text = text.value, error = error.text());
                let hint = text!("such as \"garden.example\"; \"*.garden.example\" puts the name asked for before it");
                t.faults().add(Code::Name, &text.place, message, hint);
                None
            }
        },
        (true, None) => read_records(t),
    }
}

fn read_records(t: &Table<'_>) -> Option<LocalData> {
    refuse_empty(t, "records", text!("action = \"nodata\" answers without records"))?;
    let mut records = Vec::new();
    for text in t.list("records") {
        match LocalRecord::parse(text.value) {
            Ok(record) if record.rtype == crate::dns::rtype::CNAME => {
                let hint = text!("write cname = \"...\" in place of records");
                t.faults().add(Code::Conflict, &text.place, text!("a CNAME answers every type, so it is alone"), hint);
            }
            Ok(record) if records.contains(&record) => {
                t.faults().add(
                    Code::Duplicate,
                    &text.place,
                    text!("this record is there twice"),
                    text!("remove one of the two"),
                );
            }
            Ok(record) => records.push(record),
            Err(error) => {
                let message =
                    text!("{text:?} is not a record: {error}", text = text.value, error = Text::of_library(&error));
                let hint = text!(
                    "type and data as in a master file: \"A 10.0.0.1\", \"TXT \\\"text\\\"\", \"MX 10 mail.example.\""
                );
                t.faults().add(Code::Value, &text.place, message, hint);
            }
        }
    }
    let bytes: usize = records.iter().map(|record| record.rdata.len()).sum();
    if records.len() > RECORDS_MAX || bytes > RDATA_MAX {
        let message =
            text!("more than {most} records, or than {bytes} bytes of them", most = RECORDS_MAX, bytes = RDATA_MAX);
        t.fault("records", Code::TooMany, message, text!("an answer has to fit"));
        return None;
    }
    Some(LocalData { alias: None, records })
}

/// `qps`, and `burst`, by default one second's worth.
fn read_budget(t: &Table<'_>) -> Option<Budget> {
    if !t.has("qps") {
        t.missing("qps");
        return None;
    }
    let qps = t.number_given("qps", 1..=QPS_MAX);
    let burst = t.number_given("burst", 1..=QPS_MAX);
    qps.map(|qps| Budget { qps, burst: burst.unwrap_or(qps) })
}

fn read_shed(t: &Table<'_>) -> Option<Budget> {
    let budget = t.table("budget");
    if !budget.is_present() {
        let message = text!("{key} needs a budget", key = t.label("action"));
        t.faults().add(Code::MissingKey, &t.place(), message, text!("such as budget = {{ qps = 200 }}"));
        return None;
    }
    read_budget(&budget)
}

fn read_limit(t: &Table<'_>) -> Option<Limit> {
    let per = t.choice("per", &[("client", Per::Client), ("subtree", Per::Subtree)], Per::Client);
    read_budget(t).map(|budget| Limit { budget, per })
}

fn read_ttl(t: &Table<'_>) -> Option<TtlBounds> {
    let seconds = |key: &'static str| {
        let given = t.has(key).then(|| t.duration(key, Duration::from_secs(1)..=TTL_BOUND_MAX, TTL_BOUND_MAX))?;
        Some(given.as_secs() as u32)
    };
    let (min, max, rto) = (seconds("min"), seconds("max"), seconds("rto"));
    if min.is_none() && max.is_none() && rto.is_none() {
        let message = text!("{key} needs min, max or rto", key = t.label("action"));
        t.faults().add(
            Code::MissingKey,
            &t.place(),
            message,
            text!("such as max = \"5m\", or rto = \"30m\" for a cap at half of it"),
        );
        return None;
    }
    if max.is_some() && rto.is_some() {
        t.fault("rto", Code::Conflict, text!("max and rto both cap"), text!("leave one of the two out"));
    }
    // Half of the recovery time for the old answer to be forgotten, half for the new one to be there.
    let bounds = TtlBounds { min: min.unwrap_or(0), max: rto.map(|rto| (rto / 2).max(1)).or(max).unwrap_or(u32::MAX) };
    if bounds.min > bounds.max {
        let cap = units::show_duration(Duration::from_secs(bounds.max.into()));
        t.fault("min", Code::Range, text!("min is above the cap of {cap}", cap), text!("a lower min, or a higher cap"));
        return None;
    }
    Some(bounds)
}

fn read_expectation(t: &Table<'_>, groups: &Groups) -> Option<Expectation> {
    let otherwise = t.choice("else", &Otherwise::ALL, Otherwise::Servfail);
    if !t.has("answers") {
        t.missing("answers");
        return None;
    }
    refuse_empty(t, "answers", text!("then every answer would be withheld"));
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    for text in t.list("answers") {
        let is_network = text.value.starts_with(['!', '@'])
            || text.value.contains([':', '/'])
            || text.value.parse::<IpAddr>().is_ok();
        if is_network {
            entries.extend(network::entry(&text, groups, t.faults()));
            continue;
        }
        match Pattern::parse(text.value) {
            Ok(pattern) => names.push(pattern),
            Err(message) => {
                let hint =
                    text!("answers are networks such as \"203.0.113.0/24\", and names to which a CNAME may lead");
                t.faults().add(Code::Name, &text.place, message, hint);
            }
        }
    }
    network::report_duplicates(&entries, t.faults());
    if names.len() > EXPECTED_NAMES_MAX {
        let message = text!("more than {most} names", most = EXPECTED_NAMES_MAX);
        t.fault("answers", Code::TooMany, message, text!("one name stands for all below it"));
        names.truncate(EXPECTED_NAMES_MAX);
    }
    let networks = network::set(entries.into_iter().map(|entry| entry.value), groups);
    Some(Expectation { networks, names, otherwise })
}
