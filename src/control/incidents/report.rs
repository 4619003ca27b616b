//! Incidents as they are shown: by `status`, by `mode`, and as the answer to a switch, a block and an unblock.

use super::{ActiveMode, Block, Incidents, Term, Who};
use crate::clock::Now;
use crate::control::status::seconds_text;
use crate::policy::Policy;
use crate::policy::document::units::show_duration;
use crate::policy::modes::NORMAL;
use crate::telemetry::query_log::utc;
use serde::{Deserialize, Serialize};
use std::fmt;

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

impl fmt::Display for TermStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, left_s, reason, by, .. } = self;
        write!(f, "until {until} ({} left), by {by}: {reason}", seconds_text(*left_s))
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

impl fmt::Display for ModeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.term {
            Some(term) => write!(f, "{}, {term}", self.name.to_uppercase()),
            None => f.write_str(&self.name),
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

impl fmt::Display for BlockStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, action, rule, term } = self;
        write!(f, "{name} {action} ({rule}), {term}")
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

impl fmt::Display for IncidentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mode        {}", self.mode)?;
        for (n, block) in self.emergency.iter().enumerate() {
            writeln!(f, "{:<12}{block}", if n == 0 { "emergency" } else { "" })?;
        }
        Ok(())
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
    pub auto: Option<String>,
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
    pub warnings: Vec<String>,
}

impl Modes {
    /// The modes of `policy`, and which is on.
    pub fn of(incidents: &Incidents, policy: &Policy, now: Now, warnings: Vec<String>) -> Self {
        let row = |mode: &crate::policy::modes::IncidentMode| ModeRow {
            name: mode.name.clone(),
            title: mode.title.clone(),
            max_duration: show_duration(mode.max_duration),
            auto: mode.auto.map(|auto| format!("{} for {}", auto.when, show_duration(auto.after))),
        };
        let modes = policy.modes.iter().map(row).collect();
        Self { active: IncidentStatus::of(incidents, now).mode, modes, warnings }
    }
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mode {}", self.active)?;
        let width = self.modes.iter().map(|mode| mode.name.chars().count()).max().unwrap_or(0).max(NORMAL.len());
        for ModeRow { name, title, max_duration, auto } in &self.modes {
            let mark = if *name == self.active.name { '>' } else { ' ' };
            write!(f, "{mark} {name:<width$}  {title}, for {max_duration} at most")?;
            match auto {
                Some(auto) => writeln!(f, ", by itself when {auto}")?,
                None => writeln!(f)?,
            }
        }
        let mark = if self.active.term.is_none() { '>' } else { ' ' };
        writeln!(f, "{mark} {NORMAL:<width$}  the policy as it is written")?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// What became of a block or an unblock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In one line.
    pub done: String,
    /// The emergency rules that are in force now.
    pub rules: usize,
    /// What did not go as it should.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules =
            if self.rules == 1 { "1 emergency rule is" } else { &format!("{} emergency rules are", self.rules) };
        writeln!(f, "{}; {rules} in force", self.done)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}
