//! Incidents as they are written to the state file: what survives a restart.

use super::{ActiveMode, Block, Incidents, Term, Who, action};
use crate::clock::Now;
use crate::policy::emergency::EmergencyRule;
use crate::policy::filter::Pattern;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of the file.
pub const VERSION: u64 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// [`VERSION`].
    pub weir_state: u64,
    /// The mode that is on.
    #[serde(default)]
    pub mode: Option<SavedMode>,
    /// The names that are blocked.
    #[serde(default)]
    pub blocks: Vec<SavedBlock>,
    /// The number of the block made last.
    #[serde(default)]
    pub last_number: u64,
}

/// [`Term`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTerm {
    /// Unix time in milliseconds.
    pub since_unix_ms: u64,
    /// Unix time in milliseconds.
    pub until_unix_ms: u64,
    /// As given.
    pub reason: String,
    /// Who said so.
    pub by: Who,
}

/// [`ActiveMode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMode {
    /// Its name.
    pub name: String,
    /// It entered by itself.
    #[serde(default)]
    pub auto: bool,
    /// Since when, until when, who and why.
    #[serde(flatten)]
    pub term: SavedTerm,
}

/// [`Block`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBlock {
    /// As a rule spells it.
    pub name: String,
    /// Its word.
    pub action: String,
    /// Of the rule.
    pub number: u64,
    /// Since when, until when, who and why.
    #[serde(flatten)]
    pub term: SavedTerm,
}

impl Saved {
    /// What is on.
    pub(super) fn of(incidents: &Incidents) -> Self {
        let mode = |mode: &ActiveMode| SavedMode {
            name: mode.name.clone(),
            auto: mode.is_auto,
            term: SavedTerm::of(&mode.term),
        };
        let block = |block: &Block| SavedBlock {
            name: block.rule.pattern.to_string(),
            action: block.rule.action.name().to_owned(),
            number: block.rule.number,
            term: SavedTerm::of(&block.term),
        };
        Self {
            weir_state: VERSION,
            mode: incidents.mode.as_ref().map(mode),
            blocks: incidents.blocks.iter().map(block).collect(),
            last_number: incidents.last_number,
        }
    }
}

impl SavedTerm {
    fn of(term: &Term) -> Self {
        let Term { since_unix_ms, until_unix_ms, reason, by, .. } = term;
        let (since_unix_ms, until_unix_ms) = (*since_unix_ms, *until_unix_ms);
        Self { since_unix_ms, until_unix_ms, reason: reason.clone(), by: by.clone() }
    }
}

/// A term that goes on; `None` when it is over.
pub(super) fn term(saved: &SavedTerm, now: Now) -> Option<Term> {
    let left = saved.until_unix_ms.checked_sub(now.unix_ms).filter(|left| *left > 0)?;
    Some(Term {
        since_unix_ms: saved.since_unix_ms,
        until_unix_ms: saved.until_unix_ms,
        deadline: now.at.plus(Duration::from_millis(left)),
        reason: saved.reason.clone(),
        by: saved.by.clone(),
    })
}

/// The rule of a saved block; `None` when it cannot be read.
pub(super) fn rule(saved: &SavedBlock) -> Option<EmergencyRule> {
    let pattern = Pattern::parse(&saved.name).ok()?;
    Some(EmergencyRule { number: saved.number, pattern, action: action(&saved.action)? })
}
