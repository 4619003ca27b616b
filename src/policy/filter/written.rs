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
//! A rule has one trigger ([`trigger`]) and one action ([`action`]), and any of the filters `groups`, `qtypes`,
//! `transport`, `schedule` (a name or a list of names: one of them has to be active) and `expires` (a date with time and
//! offset, from which on it is not heard).

mod action;
mod trigger;

use super::TTL_DEFAULT;
use super::{Action, RuleTransport, Scope, TriggerKind};
use crate::language::{Text, text};
use crate::policy::Mode;
use crate::policy::clients::{GroupSet, Groups};
use crate::policy::document::{At, Code, Context, Table, words};
use crate::policy::schedules::read_terms;
pub(super) use trigger::{WrittenTrigger, is_wide};

/// The longest TTL of self-made answers, in seconds: a mistake should be forgotten within a day.
const TTL_MAX: u32 = 86_400;

/// The longest id, in bytes: it goes into answers (EDE), logs and metric labels.
const ID_MAX: usize = 64;

/// A rule as written.
#[derive(Debug)]
pub(super) struct WrittenRule<'d> {
    pub(super) id: Option<At<&'d str>>,
    pub(super) trigger: WrittenTrigger<'d>,
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
    pub(super) fn read(t: &Table<'d>, context: &Context<'_>) -> Self {
        let groups = context.groups;
        let (schedules, expires_ms) = read_terms(t, context);
        let action = action::read(t, groups);
        let force = t.flag("force", false);
        let trigger = WrittenTrigger::read(t, groups);
        if action.blocks() && !force {
            trigger.refuse_wide(t.faults());
        }
        let scope = Scope {
            zone_groups: None,
            groups: read_groups(t, groups),
            qtypes: read_qtypes(t),
            transport: t.choice_given("transport", &[("udp", RuleTransport::Udp), ("tcp", RuleTransport::Tcp)]),
            zone_schedules: None,
            schedules,
            expires_ms,
        };
        refuse_pair(t, &action, trigger.kind());
        Self {
            id: read_id(t),
            trigger,
            action,
            ttl: t.number("ttl", 0..=TTL_MAX, TTL_DEFAULT),
            mode: t.mode(Mode::Enforce),
            scope,
            force,
            owner: t.note("owner"),
            ticket: t.note("ticket"),
            note: t.note("note"),
        }
    }
}

/// `groups` of a zone or a rule; `None` when not given: everyone.
pub(super) fn read_groups(t: &Table<'_>, groups: &Groups) -> Option<GroupSet> {
    refuse_empty(t, "groups", text!("for nobody: leave it out to act for everyone"))?;
    Some(groups.set(&t.list("groups"), t.faults()))
}

/// `None` when the key is not there; an empty list is a fault, because what it would mean is a trap.
pub(super) fn refuse_empty(t: &Table<'_>, key: &'static str, hint: Text) -> Option<()> {
    if !t.has(key) {
        return None;
    }
    let before = t.faults().has_errors();
    if t.list(key).is_empty() && !before && !t.faults().has_errors() {
        t.fault(key, Code::Empty, text!("{key} is empty", key = t.label(key)), hint);
    }
    Some(())
}

fn read_id<'d>(t: &Table<'d>) -> Option<At<&'d str>> {
    let id = t.required_text("id")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if id.value.len() > ID_MAX || !id.value.chars().all(fits) {
        let hint = text!("ascii letters, digits and - _ . : /, at most {most} bytes", most = ID_MAX);
        t.faults().add(Code::Value, &id.place, text!("{id:?} cannot be the id of a rule", id = id.value), hint);
        return None;
    }
    Some(id)
}

/// Triggers that an action cannot be had with, and filters that it cannot keep to.
fn refuse_pair(t: &Table<'_>, action: &Action, kind: Option<TriggerKind>) {
    let Some(kind) = kind else { return };
    let name = action.name();
    let refuse = |key: &'static str, hint: Text| {
        t.fault(key, Code::Conflict, text!("action {name} cannot be had with {key}", name, key), hint);
    };
    match action {
        Action::Shed(_) | Action::Limit(_) if kind.is_of_the_answer() => {
            refuse(kind.key(), text!("budgets are asked before an upstream is: use names, list or clients"));
        }
        Action::Limit(limit) if kind == TriggerKind::Client && limit.per == super::Per::Subtree => {
            refuse(kind.key(), text!("per = \"subtree\" is about names: use names or list, or per = \"client\""));
        }
        Action::Expect(_) if kind != TriggerKind::Name => {
            refuse(kind.key(), text!("expect says which answers are right for names: use names or list"));
        }
        _ => {}
    }
}

fn read_qtypes(t: &Table<'_>) -> Option<Vec<u16>> {
    refuse_empty(t, "qtypes", text!("leave it out to act on every type"))?;
    let texts = t.list("qtypes");
    let types = texts.iter().filter_map(|text| {
        let qtype = words::qtype(text.value);
        if qtype.is_none() {
            let message = text!("{text:?} is not a record type", text = text.value);
            t.faults().add(Code::Qtype, &text.place, message, text!("such as \"A\", \"AAAA\", \"ANY\" or \"TYPE65\""));
        }
        qtype
    });
    let mut types: Vec<u16> = types.collect();
    types.sort_unstable();
    types.dedup();
    Some(types)
}
