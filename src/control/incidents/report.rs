//! Incidents as they are shown: by `status`, by `mode`, and as the answer to a switch, a block and an unblock.

use super::{ActiveMode, Block, Incidents, Term, Who};
use crate::clock::Now;
use crate::control::status::seconds_text;
use crate::language::{Text, Told, text};
use crate::policy::Policy;
use crate::policy::document::units::show_duration;
use crate::policy::modes::NORMAL;
use crate::telemetry::query_log::utc;
use serde::{Deserialize, Serialize};

/// Since when, until when, who and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermStatus {
    /// RFC 3339, UTC.
    pub since: String,
    /// RFC 3339, UTC.
    pub until: String,
    /// Seconds until then.
    pub left_s: u64,
    /// As given.
    pub reason: String,
    /// Who said so.
    pub by: Who,
}

impl TermStatus {
    fn of(term: &Term, now: Now) -> Self {
        Self {
            since: utc(term.since_unix_ms),
            until: utc(term.until_unix_ms),
            left_s: term.deadline.since(now.at).as_secs(),
            reason: term.reason.clone(),
            by: term.by.clone(),
        }
    }
}

impl Told for TermStatus {
    fn text(&self) -> Text {
        let Self { until, left_s, reason, by, .. } = self;
        text!(
            "until {until} ({left} left), by {by}: {reason}",
            until,
            left = seconds_text(*left_s),
            by = by.text(),
            reason
        )
    }
}

/// The mode that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeStatus {
    /// `normal` when none is on.
    pub name: String,
    /// It entered by itself.
    pub auto: bool,
    /// Absent when none is on.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub term: Option<TermStatus>,
}

impl Default for ModeStatus {
    fn default() -> Self {
        Self { name: NORMAL.to_owned(), auto: false, term: None }
    }
}

impl ModeStatus {
    fn of(mode: &ActiveMode, now: Now) -> Self {
        Self { name: mode.name.clone(), auto: mode.is_auto, term: Some(TermStatus::of(&mode.term, now)) }
    }
}

impl Told for ModeStatus {
    fn text(&self) -> Text {
        let name = |name: &str| Text::verbatim(name);
        match &self.term {
            Some(term) => {
                let itself = self.auto.then(|| text!("by itself"));
                let parts = [name(&self.name.to_uppercase())].into_iter().chain(itself).chain([term.text()]);
                Text::joined(", ", parts)
            }
            None => name(&self.name),
        }
    }
}

/// A name that is blocked by command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockStatus {
    /// As a rule spells it.
    pub name: String,
    /// What the client gets.
    pub action: String,
    /// The id under which it is logged.
    pub rule: String,
    /// Since when, until when, who and why.
    #[serde(flatten)]
    pub term: TermStatus,
}

impl BlockStatus {
    fn of(block: &Block, now: Now) -> Self {
        let rule = &block.rule;
        Self {
            name: rule.pattern.to_string(),
            action: rule.action.name().to_owned(),
            rule: rule.id(),
            term: TermStatus::of(&block.term, now),
        }
    }
}

impl Told for BlockStatus {
    fn text(&self) -> Text {
        let Self { name, action, rule, term } = self;
        Text::joined(", ", [Text::verbatim(format!("{name} {action} ({rule})")), term.text()])
    }
}

/// Everything that is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentStatus {
    /// The mode that is on.
    pub mode: ModeStatus,
    /// The names that are blocked by command, in the order they were.
    pub emergency: Vec<BlockStatus>,
}

impl IncidentStatus {
    /// What is on at `now`.
    pub fn of(incidents: &Incidents, now: Now) -> Self {
        Self {
            mode: incidents.mode().map_or_else(ModeStatus::default, |mode| ModeStatus::of(mode, now)),
            emergency: incidents.blocks().iter().map(|block| BlockStatus::of(block, now)).collect(),
        }
    }
}

impl IncidentStatus {
    /// The lines of the status.
    pub(in crate::control) fn lines(&self) -> Vec<Text> {
        let mode = text!("mode        {mode}", mode = self.mode.text());
        let blocks = self.emergency.iter().enumerate().map(|(n, block)| match n {
            0 => text!("emergency   {block}", block = block.text()),
            _ => Text::joined("", [Text::verbatim(" ".repeat(12)), block.text()]),
        });
        std::iter::once(mode).chain(blocks).collect()
    }
}

/// A mode that can be switched to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeRow {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// The longest that it may last.
    pub max_duration: String,
    /// When it begins by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<Text>,
}

/// What `weir mode` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    /// The one that is on.
    pub active: ModeStatus,
    /// All that can be switched to.
    pub modes: Vec<ModeRow>,
    /// What did not go as it should.
    #[serde(default)]
    pub warnings: Vec<Text>,
}

impl Modes {
    /// The modes of `policy`, and which is on.
    pub fn of(incidents: &Incidents, policy: &Policy, now: Now, warnings: Vec<Text>) -> Self {
        let row = |mode: &crate::policy::modes::IncidentMode| ModeRow {
            name: mode.name.clone(),
            title: mode.title.clone(),
            max_duration: show_duration(mode.max_duration),
            auto: mode.auto.map(|auto| text!("{when} for {time}", when = auto.when, time = show_duration(auto.after))),
        };
        let modes = policy.modes.iter().map(row).collect();
        Self { active: IncidentStatus::of(incidents, now).mode, modes, warnings }
    }
}

impl Told for Modes {
    fn text(&self) -> Text {
        let width = self.modes.iter().map(|mode| mode.name.chars().count()).max().unwrap_or(0).max(NORMAL.len());
        let row = |ModeRow { name, title, max_duration, auto }: &ModeRow| {
            let mark = if *name == self.active.name { '>' } else { ' ' };
            let name = format!("{mark} {name:<width$}");
            match auto {
                None => text!("{name}  {title}, for {most} at most", name, title, most = max_duration),
                Some(auto) => text!(
                    "{name}  {title}, for {most} at most, by itself when {auto}",
                    name,
                    title,
                    most = max_duration,
                    auto
                ),
            }
        };
        let mark = if self.active.term.is_none() { '>' } else { ' ' };
        let mut lines = vec![text!("mode {mode}", mode = self.active.text())];
        lines.extend(self.modes.iter().map(row));
        lines.push(text!("{name}  the policy as it is written", name = format!("{mark} {NORMAL:<width$}")));
        lines.extend(warning_lines(&self.warnings));
        Text::lines(lines)
    }
}

/// `warning: ...`, a line each.
pub(in crate::control) fn warning_lines(warnings: &[Text]) -> impl Iterator<Item = Text> {
    warnings.iter().map(|warning| text!("warning: {warning}", warning))
}

/// What became of a block or an unblock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In one line.
    pub done: Text,
    /// The emergency rules that are in force now.
    pub rules: usize,
    /// What did not go as it should.
    #[serde(default)]
    pub warnings: Vec<Text>,
}

impl Told for Done {
    fn text(&self) -> Text {
        let done = match self.rules {
            1 => text!("{done}; 1 emergency rule is in force", done = self.done),
            n => text!("{done}; {n} emergency rules are in force", done = self.done, n),
        };
        Text::lines(std::iter::once(done).chain(warning_lines(&self.warnings)).collect())
    }
}
