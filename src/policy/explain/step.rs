//! One rule that was looked at for an explanation, with who answers for it and what it has done.

use crate::language::{Text, text};
use crate::policy::document::instant;
use crate::policy::hits::{Counted, HitCount};
use serde::Serialize;

/// One rule that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// `access`, `transfer`, `source`, `filter` and so on: the name of a [reason](crate::verdict::Reason), or `emergency`,
    /// or `route`.
    pub policy: &'static str,
    /// The rule's id, or the number of a question rule; empty for a section as a whole.
    pub rule: String,
    /// What it says.
    pub says: Text,
    /// Whether it settles what becomes of the question.
    pub decides: bool,
    /// Who answers for the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where the rule was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What the rule has done so far, in a gateway that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits: Option<StepHits>,
}

/// What a rule has done since it was there first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepHits {
    /// Queries that it decided.
    pub decided: u64,
    /// Queries that it would have decided without monitor mode.
    pub monitored: u64,
    /// When the last was, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

impl Step {
    /// A step of a policy that has no owner and counts nothing apart.
    pub(super) fn new(policy: &'static str, rule: String, says: Text, decides: bool) -> Self {
        Self { policy, rule, says, decides, owner: None, ticket: None, hits: None }
    }

    /// A step of a rule with its notes.
    pub(super) fn of_rule(policy: &'static str, rule: Counted<'_>, says: Text, decides: bool) -> Self {
        let hits = rule.hits.read().map(|HitCount { decided, monitored, last_unix_ms }| StepHits {
            decided,
            monitored,
            last: last_unix_ms.map(instant::show),
        });
        let (owner, ticket) = (rule.owner.map(str::to_owned), rule.ticket.map(str::to_owned));
        Self { owner, ticket, hits, ..Self::new(policy, rule.id.to_owned(), says, decides) }
    }

    /// What it says, then owner, ticket and hits.
    pub(super) fn told(&self) -> Text {
        let owner = self.owner.iter().map(|owner| text!("owner {owner}", owner));
        let ticket = self.ticket.iter().map(|ticket| text!("ticket {ticket}", ticket));
        let hits = self.hits.iter().map(|hits| match hits {
            StepHits { last: None, .. } => text!("never hit so far"),
            StepHits { decided, monitored, last: Some(last) } => {
                text!("{decided} decided and {monitored} monitored so far, last {last}", decided, monitored, last)
            }
        });
        Text::joined("; ", std::iter::once(self.says.clone()).chain(owner).chain(ticket).chain(hits))
    }
}
