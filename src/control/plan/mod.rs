//! What a change would do, before it is made: which rules and settings differ between two policies, and on which of the
//! queries of the last minutes the verdict would be another. The guard judges the same numbers when a policy is to run.
//!
//! | file | what it tells |
//! |---|---|
//! | `written` | rules, settings and lists that differ, by what was written |
//! | `verdicts` | queries whose verdict changes, by rule and name |
//! | `guard` | what of it is so much that somebody has to say that it is meant |
//! | `report` | all of it, for people |

pub mod guard;
mod report;
#[cfg(test)]
mod tests;
pub mod verdicts;
pub mod written;

use crate::language::{Text, text};
use crate::policy::document::Report;
use crate::policy::{Mode, Policy};
use serde::{Deserialize, Serialize};
use verdicts::Verdicts;
use written::Written;

/// `plan` over the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The absolute path of a directory that the gateway can read, or the beginning of an id of the history.
    pub policy: String,
}

/// A policy in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its id.
    pub policy: String,
    /// Where it is from.
    pub name: Text,
}

/// What would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What runs, or is compared with.
    pub old: Side,
    /// What would run.
    pub new: Side,
    /// Rules, settings and lists.
    pub written: Written,
    /// On queries that were asked; absent when there are none to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Verdicts>,
    /// Why there are no queries to try, or what is to be known about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries_note: Option<Text>,
    /// What the guard would refuse unless it is forced, a sentence each.
    pub guard: Vec<Text>,
    /// What `weir check` warns of, a line each.
    pub warnings: Vec<Text>,
}

impl Plan {
    /// Puts a plan together.
    pub fn new(
        (old_name, old): (Text, &Policy),
        (new_name, new): (Text, &Policy),
        report: &Report,
        verdicts: Option<Verdicts>,
    ) -> Self {
        let written = Written::between(&old.outline, &new.outline);
        let mut guard = guard::objections(&old.server.guard, &written.lists, verdicts.as_ref());
        let mut warnings = report.texts();
        if old.server.guard.mode == Mode::Monitor {
            warnings.extend(guard.drain(..).map(|objection| text!("the guard would object: {objection}", objection)));
        }
        Self {
            old: Side { policy: old.id.to_string(), name: old_name },
            new: Side { policy: new.id.to_string(), name: new_name },
            written,
            verdicts,
            queries_note: None,
            guard,
            warnings,
        }
    }

    /// Whether the guard would refuse it.
    pub fn is_refused(&self) -> bool {
        !self.guard.is_empty()
    }
}
