//! Expected verdicts, tests/*.toml: what must hold of a policy, checked whenever it is loaded. A change that breaks one is
//! not applied.
//!
//! ```toml
//! [[expect]]
//! query  = "update.baofeng.com A"
//! client = "10.1.2.3"
//! transport = "udp"          # udp | tcp
//! action = "nxdomain"        # forward | allow | nxdomain | nodata | refused | drop | truncate | sinkhole
//!                            # | data | servfail | notimp
//! rule   = "storm-player"    # the rule that must decide; any when absent
//! at     = 2026-11-25T10:00:00+08:00    # when it is asked
//! answer = ["CNAME cdn.example.", "A 192.0.2.1"]     # what an upstream would say; nothing when absent
//! mode   = "under-attack"    # the incident mode that is on; none when absent
//! ```
//!
//! `forward` holds for whatever reaches an upstream or the cache; `allow` only when a rule says so. Limits are not part of
//! it: they depend on what came before. Without `at` every schedule counts as active and nothing as expired, so that an
//! expectation holds at whatever hour the policy is loaded. An incident mode changes limits, of which `[rebinding]` alone
//! says something about an answer.

use super::Policy;
use super::document::toml_file::{TomlFile, TomlText};
use super::document::{Code, Faults, Files, Place, Table, instant};
use super::explain::{self, Answer, Subject};
use super::filter::data::{LocalRecord, RECORDS_MAX};
use super::schedules::ActiveSet;
use super::server::pools::question;
use crate::dns::name::Name;
use crate::language::{Text, text};
use std::collections::HashMap;
use std::net::IpAddr;

/// The most expectations of one file.
pub const EXPECTATIONS_MAX: usize = 100_000;

/// One expectation, with the places to blame.
#[derive(Debug)]
pub struct Expectation {
    client: IpAddr,
    query: (Name, u16),
    tcp: bool,
    /// In milliseconds since 1970-01-01 UTC.
    at: Option<u64>,
    action: (Answer, Place),
    rule: Option<(String, Place)>,
    /// What an upstream would say.
    answer: Option<Vec<LocalRecord>>,
    /// The incident mode that is on.
    mode: Option<(String, Place)>,
}

/// Reads all files of tests/.
pub fn read(files: &Files, faults: &Faults) -> Vec<Expectation> {
    let mut all = Vec::new();
    for path in files.within("tests", "toml") {
        let Some(text) = TomlText::of(files, path, faults) else { continue };
        let file = TomlFile::parse(&text, faults);
        let root = file.root(faults);
        let tables = root.tables("expect");
        if tables.len() > EXPECTATIONS_MAX {
            let message = text!("more than {most} expectations in one file", most = EXPECTATIONS_MAX);
            root.fault("expect", Code::TooMany, message, text!("use several files"));
        }
        all.extend(tables.iter().take(EXPECTATIONS_MAX).filter_map(read_one));
    }
    all
}

fn read_one(t: &Table<'_>) -> Option<Expectation> {
    let query = t.required_text("query").and_then(|text| question(&text, t.faults()));
    let client = t.required_text("client").and_then(|text| {
        let client = text.value.parse::<IpAddr>().ok();
        if client.is_none() {
            let message = text!("{text:?} is not an address", text = text.value);
            t.fault("client", Code::Address, message, text!("write one address, such as \"10.1.2.3\""));
        }
        client
    });
    let tcp = t.choice("transport", &[("udp", false), ("tcp", true)], false);
    if !t.has("action") {
        t.missing("action");
    }
    let action = t.choice_given("action", &Answer::ALL.map(|answer| (answer.name(), answer)));
    let rule = t.text("rule").map(|rule| (rule.value.to_owned(), rule.place));
    let (asked_at, at) = (t.has("at"), t.instant("at"));
    if asked_at && at.is_none() {
        return None;
    }
    let answer = t.has("answer").then(|| read_answer(t));
    let mode = t.text("mode").map(|mode| (mode.value.to_owned(), mode.place));
    Some(Expectation {
        answer,
        mode,
        client: client?,
        query: query?,
        tcp,
        at,
        action: (action?, t.place_of("action")),
        rule,
    })
}

fn read_answer(t: &Table<'_>) -> Vec<LocalRecord> {
    let mut records = Vec::new();
    for text in t.list("answer") {
        match LocalRecord::parse(text.value) {
            Ok(record) => records.push(record),
            Err(error) => {
                let message =
                    text!("{text:?} is not a record: {error}", text = text.value, error = Text::of_library(&error));
                t.faults().add(
                    Code::Value,
                    &text.place,
                    message,
                    text!("type and data as in a master file: \"A 10.0.0.1\""),
                );
            }
        }
    }
    if records.len() > RECORDS_MAX {
        t.fault(
            "answer",
            Code::TooMany,
            text!("more than {most} records", most = RECORDS_MAX),
            text!("fewer show as much"),
        );
        records.truncate(RECORDS_MAX);
    }
    records
}

/// Holds a policy to its expectations; each that fails is a fault.
pub fn check(expectations: &[Expectation], policy: &Policy, faults: &Faults) {
    let mut variants: HashMap<&str, Policy> = HashMap::new();
    for expectation in expectations {
        let Expectation { client, query: (name, qtype), tcp, at, action: (wanted, place), rule, answer, mode } =
            expectation;
        let policy = match mode {
            None => policy,
            Some((mode, place)) => match policy.mode(mode) {
                Some(found) => &*variants.entry(mode).or_insert_with(|| policy.in_mode(found)),
                None => {
                    let hint = match policy.mode_like(mode) {
                        Some(word) => text!("did you mean {word:?}?", word),
                        None => text!("modes are the files in modes/"),
                    };
                    faults.add(Code::Value, place, text!("there is no mode {mode:?}", mode), hint);
                    continue;
                }
            },
        };
        let active = at.map_or(ActiveSet::EVERYTHING, |at| policy.schedules.at(at));
        let subject = Subject { tcp: *tcp, active, ..Subject::new(*client, *name, *qtype) };
        let explanation = match answer {
            Some(records) => explain::explain_answer(policy, &subject, records),
            None => explain::explain(policy, &subject),
        };
        let got = explanation.answer;
        if got != *wanted && !(*wanted == Answer::Forward && got == Answer::Allow) {
            let message = text!(
                "expected {wanted}, but the policy says {sentence}",
                wanted = wanted.name(),
                sentence = explanation.verdict()
            );
            let at = at.map_or_else(String::new, |at| format!(" --at {}", instant::show(at)));
            let hint = text!(
                "weir explain {name} {qtype} --client {client}{at} shows every rule",
                name,
                qtype = explanation.qtype,
                client,
                at
            );
            faults.add(Code::Expect, place, message, hint);
            continue;
        }
        let decided = explanation.rule.as_deref();
        if let Some((rule, place)) = rule
            && decided != Some(rule)
        {
            let message = match decided {
                Some(other) => text!("expected rule {rule:?} to decide, but {other:?} does", rule, other),
                None => text!("expected rule {rule:?} to decide, but no rule does", rule),
            };
            faults.add(Code::Expect, place, message, text!("rules of earlier zones are heard first"));
        }
    }
}
