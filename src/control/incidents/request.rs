//! What may be asked about incidents over the control socket, and the checks that it passes before anything is done.

use super::{BLOCK_MAX, action};
use crate::control::protocol::{Failure, FailureCode};
use crate::language::{Text, text};
use crate::policy::Policy;
use crate::policy::document::{nearest, units};
use crate::policy::emergency::{self, ACTIONS};
use crate::policy::filter::{Action, Pattern};
use crate::policy::modes::{IncidentMode, NORMAL};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest reason, in bytes: it is shown in one line and kept.
pub const REASON_MAX: usize = 256;

/// The shortest that anything lasts.
const LEAST: Duration = Duration::from_secs(1);

/// `mode`: without a name it only lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeRequest {
    /// The mode to switch to, or `normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long, such as `30m`; needed for any mode but `normal`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Why; needed for any mode but `normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `block`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRequest {
    /// As in a rule: `x`, `=x`, `*.x`.
    pub name: String,
    /// How long, such as `1h`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the client gets; `nxdomain` unless given.
    #[serde(default = "BlockRequest::default_action")]
    pub action: String,
    /// Even a top-level domain or a zone with a route.
    #[serde(default)]
    pub force: bool,
}

/// `unblock`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnblockRequest {
    /// As it was blocked.
    pub name: String,
    /// Why, if anybody wants to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A switch that may be made.
#[derive(Clone, Debug)]
pub enum Switch<'p> {
    /// To this mode, for so long, for this reason.
    To(&'p IncidentMode, Duration, String),
    /// To none.
    Normal(String),
}

fn bad(message: Text) -> Failure {
    Failure::new(FailureCode::BadRequest, message)
}

/// The reason, one line of at most [`REASON_MAX`] bytes; `what` cannot be without one.
pub(in crate::control) fn reason(given: Option<&str>, what: &Text) -> Result<String, Failure> {
    match given.map(str::trim).filter(|reason| !reason.is_empty()) {
        None => Err(bad(text!("--reason is needed: {what} is kept with who, when and why", what = *what))),
        Some(reason) => bounded(reason),
    }
}

pub(in crate::control) fn bounded(reason: &str) -> Result<String, Failure> {
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(bad(text!("a reason is one line of at most {most} bytes", most = REASON_MAX)));
    }
    Ok(reason.to_owned())
}

/// How long: needed, and within bounds.
pub(in crate::control) fn lasts(given: Option<&str>, what: &Text, most: Duration) -> Result<Duration, Failure> {
    let Some(text) = given else {
        return Err(bad(text!("--for is needed: {what} ends by itself; such as --for 30m", what = *what)));
    };
    let Some(lasts) = units::duration(text) else {
        return Err(bad(text!("{text:?} is no duration: a whole number with s, m, h or d, such as 30m", text)));
    };
    if !(LEAST..=most).contains(&lasts) {
        let most = units::show_duration(most);
        return Err(bad(text!("{text} is out of bounds: {what} lasts 1s to {most}", text, what = *what, most)));
    }
    Ok(lasts)
}

impl ModeRequest {
    /// What is asked for, by a policy's modes; `None` when nothing but the list is.
    ///
    /// # Errors
    /// What is missing or wrong, for the user.
    pub fn check<'p>(&self, policy: &'p Policy) -> Result<Option<Switch<'p>>, Failure> {
        let Some(name) = self.name.as_deref() else {
            let more = self.lasts.is_some() || self.reason.is_some();
            return if more { Err(bad(text!("the name of the mode is missing"))) } else { Ok(None) };
        };
        if name == NORMAL {
            if self.lasts.is_some() {
                return Err(bad(text!("normal has no end: leave --for out")));
            }
            return Ok(Some(Switch::Normal(bounded(self.reason.as_deref().unwrap_or_default().trim())?)));
        }
        let Some(mode) = policy.mode(name) else {
            let hint = match policy.mode_like(name) {
                Some(word) => text!("did you mean {word:?}?", word),
                None => text!("`weir mode` lists those there are; they are the files of modes/"),
            };
            return Err(bad(text!("there is no mode {name:?}; {hint}", name, hint)));
        };
        let lasts = lasts(self.lasts.as_deref(), &text!("mode {name}", name), mode.max_duration)?;
        let reason = reason(self.reason.as_deref(), &text!("a switch of mode"))?;
        Ok(Some(Switch::To(mode, lasts, reason)))
    }
}

/// A block that may be made.
#[derive(Clone, Debug)]
pub struct CheckedBlock {
    /// Names and action.
    pub rule: (Pattern, Action),
    /// How long.
    pub lasts: Duration,
    /// Why.
    pub reason: String,
}

impl BlockRequest {
    fn default_action() -> String {
        "nxdomain".to_owned()
    }

    /// How long, as it was written.
    pub fn lasts_text(&self) -> &str {
        self.lasts.as_deref().unwrap_or_default()
    }

    /// What is asked for.
    ///
    /// # Errors
    /// What is missing, wrong or dangerous, for the user.
    pub fn check(&self, policy: &Policy) -> Result<CheckedBlock, Failure> {
        let pattern = Pattern::parse(&self.name).map_err(bad)?;
        let Some(action) = action(&self.action) else {
            let words = || ACTIONS.iter().map(|(word, _)| *word);
            let all = words().collect::<Vec<_>>().join(", ");
            let hint = match nearest(&self.action, words()) {
                Some(word) => text!("did you mean {word:?}? It is one of: {words}", word, words = all),
                None => text!("it is one of: {words}", words = all),
            };
            return Err(bad(text!("action {action:?} is not known here; {hint}", action = self.action, hint)));
        };
        let lasts = lasts(self.lasts.as_deref(), &text!("a block"), BLOCK_MAX)?;
        let reason = reason(self.reason.as_deref(), &text!("a block"))?;
        if let Some(danger) = emergency::danger(&pattern, &policy.server).filter(|_| !self.force) {
            return Err(bad(text!("{danger}\n  --force, if you mean it", danger)));
        }
        Ok(CheckedBlock { rule: (pattern, action), lasts, reason })
    }
}

impl UnblockRequest {
    /// What is asked for.
    ///
    /// # Errors
    /// What is wrong, for the user.
    pub fn check(&self) -> Result<(Pattern, String), Failure> {
        let pattern = Pattern::parse(&self.name).map_err(bad)?;
        Ok((pattern, bounded(self.reason.as_deref().unwrap_or_default().trim())?))
    }
}
