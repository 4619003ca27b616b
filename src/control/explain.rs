//! The answer to `explain`, from a policy that runs or from one that was only loaded.

use super::protocol::Question;
use crate::dns::name::Name;
use crate::policy::Policy;
use crate::policy::document::words;
use crate::policy::explain::{self, Subject};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the policy would do with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Hash of the policy that was asked.
    pub policy: String,
    /// For people.
    pub text: String,
    /// For programs.
    pub explanation: serde_json::Value,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Asks `policy`.
///
/// # Errors
/// What is wrong with the question, for the user.
pub fn explain(policy: &Policy, question: &Question) -> Result<Explained, String> {
    let Question { name, qtype, client, tcp } = question;
    let parsed = Name::from_text(name).map_err(|error| format!("name {name:?}: {error}"))?;
    let Some(qtype) = words::qtype(qtype) else {
        return Err(format!("type {qtype:?}: no such record type; names such as AAAA, or TYPE65, are taken"));
    };
    let subject = Subject { tcp: *tcp, ..Subject::new(*client, parsed, qtype) };
    let explanation = explain::explain(policy, &subject);
    let text = explanation.to_string();
    let explanation = serde_json::to_value(explanation).map_err(|error| error.to_string())?;
    Ok(Explained { policy: policy.id.to_string(), text, explanation })
}
