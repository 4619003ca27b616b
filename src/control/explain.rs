//! The answer to `explain`, from a policy that runs or from one that was only loaded.

use super::protocol::Question;
use crate::dns::name::Name;
use crate::language::{Lang, Text, Told as _, json_in, text};
use crate::live_policy::Running;
use crate::policy::Policy;
use crate::policy::document::{instant, words};
use crate::policy::explain::{self, Subject};
use serde::{Deserialize, Serialize};

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

/// Asks `policy`, now unless the question says when.
///
/// # Errors
/// What is wrong with the question, for the user.
pub fn explain(policy: &Policy, question: &Question, unix_ms: u64, lang: Lang) -> Result<Explained, Text> {
    explain_with(policy, explain::Besides::default(), question, unix_ms, lang)
}

/// Asks what runs: with the incident mode and the emergency rules.
///
/// # Errors
/// As [`explain()`].
pub fn explain_running(running: &Running, question: &Question, unix_ms: u64, lang: Lang) -> Result<Explained, Text> {
    let besides = explain::Besides { mode: running.mode.as_deref(), emergency: Some(&running.emergency) };
    explain_with(&running.policy, besides, question, unix_ms, lang)
}

fn explain_with(
    policy: &Policy,
    besides: explain::Besides<'_>,
    question: &Question,
    now_ms: u64,
    lang: Lang,
) -> Result<Explained, Text> {
    let Question { name, qtype, client, tcp, at } = question;
    let parsed = Name::from_text(name).map_err(|error| text!("name {name:?}: {error}", name, error = error.text()))?;
    let Some(qtype) = words::qtype(qtype) else {
        return Err(text!("type {qtype:?}: no such record type; names such as AAAA, or TYPE65, are taken", qtype));
    };
    let at = at.as_deref().map(read_time).transpose()?;
    let active = policy.schedules.at(at.unwrap_or(now_ms));
    let subject = Subject { tcp: *tcp, active, ..Subject::new(*client, parsed, qtype) };
    let mut explanation = explain::explain_with(policy, besides, &subject);
    explanation.at = at.map(instant::show);
    let text = explanation.text().to(lang);
    let explanation = json_in(lang, &explanation).map_err(|error| Text::of_json(&error))?;
    Ok(Explained { policy: policy.id.to_string(), text, explanation })
}

fn read_time(text: &str) -> Result<u64, Text> {
    instant::parse(text).map_err(|error| text!("{error}: {hint}", error, hint = instant::hint()))
}
