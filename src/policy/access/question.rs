//! `[[question]]`: what may not be asked, by type, class and opcode; as long as its time is not over and, where it names
//! schedules, while one of them is active.

use super::{AccessVerdict, Asked, Considered};
use crate::language::{Text, list, text};
use crate::policy::Mode;
use crate::policy::document::values::qtype;
use crate::policy::document::{At, Code, Context, Faults, Table, nearest, words};
use crate::policy::hits::{Counted, RuleHits, Speaker};
use crate::policy::schedules::{ActiveSet, ScheduleSet, read_terms};
use crate::verdict::Reason;

/// `[[question]]`
#[derive(Clone, Debug)]
pub struct Question {
    /// `question-3`, by its place in the file.
    id: String,
    /// What it is about: a question that moves to another place goes on counting.
    identity: String,
    mode: Mode,
    pub(super) qtypes: Vec<u16>,
    pub(super) classes: Vec<u16>,
    pub(super) opcodes: Vec<u8>,
    action: QuestionAction,
    /// One of them has to be active.
    pub schedules: Option<ScheduleSet>,
    /// When it expires: milliseconds since 1970-01-01 UTC.
    pub expires_ms: Option<u64>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Where it was asked for.
    pub ticket: Option<String>,
    /// How often it has spoken.
    pub hits: RuleHits,
}

/// Why a question that fits says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// None of its schedules is active.
    OtherTime,
    /// Its time is over.
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionAction {
    Refused,
    Drop,
    Truncate,
    NotImplemented,
}

/// All, by their words.
const ACTIONS: [(&str, QuestionAction); 4] = [
    ("refused", QuestionAction::Refused),
    ("drop", QuestionAction::Drop),
    ("truncate", QuestionAction::Truncate),
    ("notimp", QuestionAction::NotImplemented),
];

impl Question {
    /// What it says about a query; `number` is its place, from 1.
    pub(super) fn about(&self, number: usize, tcp: bool, asked: Asked, active: &ActiveSet) -> Considered {
        let fits = (self.qtypes.is_empty() || self.qtypes.contains(&asked.qtype))
            && (self.classes.is_empty() || self.classes.contains(&asked.qclass))
            && (self.opcodes.is_empty() || self.opcodes.contains(&asked.opcode));
        let idle = if fits { self.idle(active) } else { None };
        let reason = Reason::Question;
        let verdict = match self.action {
            _ if !fits || idle.is_some() => AccessVerdict::Admit,
            QuestionAction::Truncate if tcp => AccessVerdict::Admit,
            QuestionAction::Truncate => AccessVerdict::Truncate(reason),
            QuestionAction::Refused => AccessVerdict::Refuse(reason),
            QuestionAction::Drop => AccessVerdict::Drop(reason),
            QuestionAction::NotImplemented => AccessVerdict::NotImplemented(reason),
        };
        Considered { reason, number, mode: self.mode, verdict, idle }
    }

    fn idle(&self, active: &ActiveSet) -> Option<Idle> {
        if self.expires_ms.is_some_and(|expires_ms| active.has_expired(expires_ms)) {
            return Some(Idle::Expired);
        }
        let is_active = self.schedules.is_none_or(|schedules| active.has(&schedules));
        (!is_active).then_some(Idle::OtherTime)
    }

    /// What the log and its counters need of it.
    #[inline]
    pub fn speaker(&self) -> Speaker<'_> {
        Speaker { id: &self.id, hits: &self.hits }
    }

    /// As it is shown with its counters.
    pub fn counted(&self) -> Counted<'_> {
        let Self { id, identity, expires_ms, owner, ticket, hits, .. } = self;
        let expires_ms = *expires_ms;
        let action = ACTIONS.iter().find(|(_, action)| *action == self.action).map_or("", |(word, _)| word);
        let (owner, ticket) = (owner.as_deref(), ticket.as_deref());
        let policy = Reason::Access.name();
        Counted { id, policy, identity, zone: policy, action, owner, expires_ms, ticket, hits }
    }

    pub(super) fn read(before: &[Self], t: &Table<'_>, context: &Context<'_>) -> Self {
        let faults = t.faults();
        let (qtypes, classes, opcodes) = (t.list("qtypes"), t.list("classes"), t.list("opcodes"));
        if !t.has("qtypes") && !t.has("classes") && !t.has("opcodes") {
            t.missing_all(&["qtypes", "classes", "opcodes"]);
        }
        for key in ["qtypes", "classes", "opcodes"] {
            if t.has(key) && t.list(key).is_empty() {
                t.fault(
                    key,
                    Code::Empty,
                    text!("{key} names nothing", key = t.label(key)),
                    text!("name something, or remove it"),
                );
            }
        }
        if !t.has("action") {
            t.missing("action");
        }
        let qtypes: Vec<_> = qtypes.iter().filter_map(|text| qtype(text, faults)).collect();
        let class = |text: &At<&str>| {
            let message = text!("{text:?} is not a class", text = text.value);
            word(text, message, words::CLASSES, words::qclass, faults)
        };
        let opcode = |text: &At<&str>| {
            let message = text!("{text:?} is not an opcode", text = text.value);
            word(text, message, words::OPCODES, opcode_of, faults)
        };
        let classes: Vec<_> = classes.iter().filter_map(class).collect();
        let opcodes: Vec<_> = opcodes.iter().filter_map(opcode).collect();
        let action = t.choice("action", &ACTIONS, QuestionAction::Refused);
        let (schedules, expires_ms) = read_terms(t, context);
        let about = format!("{qtypes:?} {classes:?} {opcodes:?} {action:?}");
        // Several may be about the same, at other times.
        let same = before.iter().filter(|other| other.identity.starts_with(&about)).count();
        Self {
            id: format!("question-{}", before.len() + 1),
            identity: format!("{about} {same}"),
            mode: t.mode(Mode::Enforce),
            qtypes,
            classes,
            opcodes,
            action,
            schedules,
            expires_ms,
            owner: t.note("owner"),
            ticket: t.note("ticket"),
            hits: RuleHits::default(),
        }
    }
}

fn opcode_of(text: &str) -> Option<u8> {
    words::by_name(words::OPCODES, text)
}

/// Reads a class or an opcode; a bad one is a fault.
fn word<T>(
    text: &At<&str>,
    message: Text,
    names: &[(&str, T)],
    read: fn(&str) -> Option<T>,
    faults: &Faults,
) -> Option<T> {
    let value = read(text.value);
    if value.is_none() {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        let hint = match nearest(text.value, names.iter().copied()) {
            Some(word) => text!("did you mean {word:?}?", word),
            None => text!("it is one of: {words}", words = list(names)),
        };
        faults.add(Code::Qtype, &text.place, message, hint);
    }
    value
}
