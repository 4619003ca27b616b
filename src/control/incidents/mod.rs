//! Incidents: the mode that is on and the names that are blocked by command, with who, when, why and until.
//!
//! [`Incidents`] is the plain value: it is told what to do and what time it is, and says what happened as [`Record`]s for
//! the audit log. It publishes, writes and waits for nothing; the daemon does. Times that people see are wall-clock time,
//! because they must mean the same after a restart; what ends is measured on the monotonic clock, so that a clock that is
//! set does neither end nor prolong anything.

pub mod audit;
pub mod auto;
pub mod report;
pub mod request;
pub mod saved;
pub mod state;

#[cfg(test)]
mod tests;

use super::protocol::{Failure, FailureCode};
use crate::clock::{Moment, Now};
use crate::language::{Text, text};
use crate::policy::Policy;
use crate::policy::emergency::{ACTIONS, Emergency, EmergencyRule, RULES_MAX};
use crate::policy::filter::{Action, Pattern};
use crate::policy::modes::{IncidentMode, NORMAL};
pub use audit::{Event, Record, Who};
pub use saved::{Saved, SavedBlock, SavedMode};
use std::time::Duration;

/// The longest that a name is blocked by command.
pub const BLOCK_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What all temporary things have: since when, until when, who and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Unix time in milliseconds.
    pub since_unix_ms: u64,
    /// Unix time in milliseconds.
    pub until_unix_ms: u64,
    /// What counts.
    deadline: Moment,
    /// As given.
    pub reason: String,
    /// Who said so.
    pub by: Who,
}

impl Term {
    fn new(now: Now, lasts: Duration, reason: &str, by: &Who) -> Self {
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        Self {
            since_unix_ms: now.unix_ms,
            until_unix_ms: now.unix_ms.saturating_add(lasts_ms),
            deadline: now.at.plus(lasts),
            reason: reason.to_owned(),
            by: by.clone(),
        }
    }
}

/// The mode that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveMode {
    /// Its name.
    pub name: String,
    /// It entered by its own `auto`.
    pub is_auto: bool,
    /// Since when, until when, who and why.
    pub term: Term,
}

/// A name that is blocked by command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Names and action.
    pub rule: EmergencyRule,
    /// Since when, until when, who and why.
    pub term: Term,
}

/// See above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    mode: Option<ActiveMode>,
    /// In the order they were made.
    blocks: Vec<Block>,
    /// The number of the block made last.
    last_number: u64,
}

impl Incidents {
    /// What was saved, as far as it has not ended and the policy still has it; and what became of the rest.
    pub fn restore(saved: &Saved, now: Now, policy: &Policy) -> (Self, Vec<Record>) {
        let mut records = Vec::new();
        let mut incidents = Self { last_number: saved.last_number, ..Self::default() };
        if let Some(mode) = &saved.mode {
            match (saved::term(&mode.term, now), policy.mode(&mode.name)) {
                (Some(term), Some(known)) => {
                    // A clock that was set back does not let it last longer than any mode may.
                    let deadline = term.deadline.min(now.at.plus(known.max_duration));
                    let term = Term { deadline, ..term };
                    let active = ActiveMode { name: mode.name.clone(), is_auto: mode.auto, term };
                    records.push(Record::of_mode(now, &Who::weir(), Event::ModeRestored, &active));
                    incidents.mode = Some(active);
                }
                (None, _) => {
                    records.push(Record::ended(now, Event::ModeEnded, &mode.name, "expired while it was down"));
                }
                (_, None) => {
                    let why = "the policy does not have it any more";
                    records.push(Record::ended(now, Event::ModeEnded, &mode.name, why));
                }
            }
        }
        for block in &saved.blocks {
            match (saved::term(&block.term, now), saved::rule(block)) {
                (Some(term), Some(rule)) if incidents.blocks.len() < RULES_MAX => {
                    incidents.last_number = incidents.last_number.max(rule.number);
                    let deadline = term.deadline.min(now.at.plus(BLOCK_MAX));
                    incidents.blocks.push(Block { rule, term: Term { deadline, ..term } });
                }
                (None, _) => {
                    records.push(Record::ended(now, Event::BlockEnded, &block.name, "expired while it was down"));
                }
                _ => records.push(Record::ended(now, Event::BlockEnded, &block.name, "the saved rule cannot be read")),
            }
        }
        (incidents, records)
    }

    /// What is to be saved.
    pub fn saved(&self) -> Saved {
        Saved::of(self)
    }

    /// The mode that is on.
    pub fn mode(&self) -> Option<&ActiveMode> {
        self.mode.as_ref()
    }

    /// The names that are blocked.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The rules of all blocks, compiled.
    pub fn emergency(&self, seed: u64) -> Emergency {
        let rules: Vec<_> = self.blocks.iter().map(|block| block.rule.clone()).collect();
        Emergency::new(&rules, seed)
    }

    /// A mode begins, in place of any other; the same again begins anew with its new end.
    pub fn enter(&mut self, now: Now, by: &Who, mode: &IncidentMode, lasts: Duration, reason: &str) -> Record {
        self.begin(now, by, mode, lasts, reason, false)
    }

    /// A mode begins by its own `auto`, for as long as it may last.
    pub fn enter_by_itself(&mut self, now: Now, mode: &IncidentMode, reason: &str) -> Record {
        self.begin(now, &Who::weir(), mode, mode.max_duration, reason, true)
    }

    fn begin(&mut self, now: Now, by: &Who, mode: &IncidentMode, lasts: Duration, reason: &str, auto: bool) -> Record {
        let term = Term::new(now, lasts.min(mode.max_duration), reason, by);
        let active = ActiveMode { name: mode.name.clone(), is_auto: auto, term };
        let record = Record::of_mode(now, by, Event::Mode, &active);
        self.mode = Some(active);
        record
    }

    /// The mode ends; `None` when none is on.
    pub fn leave(&mut self, now: Now, by: &Who, reason: &str) -> Option<Record> {
        let mode = self.mode.take()?;
        let what = format!("{NORMAL}, was {}", mode.name);
        Some(Record::new(now, by, Event::ModeEnded, what, reason))
    }

    /// Blocks names. The same names again get the new action, end and reason.
    ///
    /// # Errors
    /// When there are [`RULES_MAX`] already.
    pub fn block(
        &mut self,
        now: Now,
        by: &Who,
        (pattern, action): (Pattern, Action),
        lasts: Duration,
        reason: &str,
    ) -> Result<Record, Failure> {
        let known = self.blocks.iter().position(|block| block.rule.pattern == pattern);
        if known.is_none() && self.blocks.len() >= RULES_MAX {
            let message = text!(
                "{most} names are blocked by command, which is the most\n  unblock some, or put what is to stay into a list of \
                 filters/",
                most = RULES_MAX
            );
            return Err(Failure::new(FailureCode::Full, message));
        }
        self.last_number += 1;
        let rule = EmergencyRule { number: self.last_number, pattern, action };
        let block = Block { rule, term: Term::new(now, lasts.min(BLOCK_MAX), reason, by) };
        let what = format!("{} {}", block.rule.action.name(), block.rule.pattern);
        let record = Record::new(now, by, Event::Block, what, reason).until(block.term.until_unix_ms);
        if let Some(known) = known {
            self.blocks.remove(known);
        }
        self.blocks.push(block);
        Ok(record)
    }

    /// Lets names go again.
    ///
    /// # Errors
    /// When exactly these are not blocked.
    pub fn unblock(&mut self, now: Now, by: &Who, pattern: &Pattern, reason: &str) -> Result<Record, Failure> {
        let Some(at) = self.blocks.iter().position(|block| block.rule.pattern == *pattern) else {
            return Err(Failure::new(FailureCode::BadRequest, self.not_blocked(pattern)));
        };
        self.blocks.remove(at);
        Ok(Record::new(now, by, Event::Unblock, pattern.to_string(), reason))
    }

    fn not_blocked(&self, pattern: &Pattern) -> Text {
        let texts: Vec<_> = self.blocks.iter().map(|block| block.rule.pattern.to_string()).collect();
        let same_name = self.blocks.iter().find(|block| block.rule.pattern.name == pattern.name);
        let near = same_name.map(|block| block.rule.pattern.to_string());
        let wanted = pattern.to_string();
        let near =
            near.as_deref().or_else(|| crate::policy::document::nearest(&wanted, texts.iter().map(String::as_str)));
        match near {
            Some(word) => text!("{wanted} is not blocked by command; did you mean {word:?}?", wanted, word),
            None => text!("{wanted} is not blocked by command; `weir status` lists what is", wanted),
        }
    }

    /// Ends what is over.
    pub fn expire(&mut self, now: Now) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(mode) = self.mode.take_if(|mode| mode.term.deadline <= now.at) {
            records.push(Record::ended(now, Event::ModeEnded, &mode.name, "its time is over"));
        }
        for block in self.blocks.extract_if(.., |block| block.term.deadline <= now.at) {
            let what = block.rule.pattern.to_string();
            records.push(Record::ended(now, Event::BlockEnded, &what, "its time is over"));
        }
        records
    }
}

/// The action of this name.
pub fn action(name: &str) -> Option<Action> {
    ACTIONS.iter().find(|(word, _)| *word == name).map(|(_, action)| action.clone())
}
