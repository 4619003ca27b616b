//! What may be asked about the history over the control socket, and what it is turned into once it is checked.

use crate::control::incidents::Who;
use crate::control::incidents::request::{bounded, lasts, reason};
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::Cause;
use crate::language::text;
use crate::policy::feeds::Copy;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest that an apply waits to be confirmed.
pub const CONFIRM_MAX: Duration = Duration::from_secs(86_400);

/// `apply`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The directory, an absolute path that the gateway can read.
    pub directory: PathBuf,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it waits to be confirmed, such as `5m`; for ever unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<String>,
    /// Even what the guard objects to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// `rollback`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The beginning of an id; the policy before unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why, if anybody wants to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Even what the guard objects to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// `confirm`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    /// Why, if anybody wants to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `diff`: each side is the beginning of an id, or the absolute path of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// From.
    pub a: String,
    /// To.
    pub b: String,
}

/// Where the policy that is to run comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Where it came from at the start: a reload.
    Running,
    /// Another directory.
    Directory(PathBuf),
    /// The history: the policy whose id begins so, else the one before.
    Kept(Option<String>),
    /// The files of the policy that runs, whatever lies where it came from.
    Same,
}

/// Another copy of a feed, to be put in force with the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCopy {
    /// The feed.
    pub name: String,
    /// What came.
    pub copy: Arc<Copy>,
}

/// What is to be done, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Where the policy comes from.
    pub source: Source,
    /// What it is done for.
    pub cause: Cause,
    /// Who wants it.
    pub who: Who,
    /// As given; empty when none was.
    pub reason: String,
    /// How long it waits to be confirmed.
    pub confirm_within: Option<Duration>,
    /// Even what the guard objects to.
    pub force: bool,
    /// What takes the place of the last copy of a feed.
    pub feed: Option<FeedCopy>,
}

impl Order {
    /// A reload.
    pub fn reload(cause: Cause, who: Who) -> Self {
        Self {
            source: Source::Running,
            cause,
            who,
            reason: String::new(),
            confirm_within: None,
            force: false,
            feed: None,
        }
    }

    /// The policy that runs with another copy of a feed.
    pub fn feed(feed: FeedCopy, who: Who) -> Self {
        Self { source: Source::Same, feed: Some(feed), ..Self::reload(Cause::Feed, who) }
    }
}

impl ApplyRequest {
    /// What is asked for.
    ///
    /// # Errors
    /// What is missing or wrong, for the user.
    pub fn check(&self, who: Who) -> Result<Order, Failure> {
        if !self.directory.is_absolute() {
            let message =
                text!("the directory of an apply is an absolute path: the gateway has a working directory of its own");
            return Err(Failure::new(FailureCode::BadRequest, message));
        }
        let reason = reason(self.reason.as_deref(), &text!("an apply"))?;
        let confirm_within = self.confirm_within.as_deref();
        let confirm_within =
            confirm_within.map(|text| lasts(Some(text), &text!("the time to confirm"), CONFIRM_MAX)).transpose()?;
        let source = Source::Directory(self.directory.clone());
        Ok(Order { source, cause: Cause::Apply, who, reason, confirm_within, force: self.force, feed: None })
    }
}

impl RollbackRequest {
    /// What is asked for.
    ///
    /// # Errors
    /// What is wrong, for the user.
    pub fn check(&self, who: Who) -> Result<Order, Failure> {
        let reason = bounded(self.reason.as_deref().unwrap_or_default().trim())?;
        let source = Source::Kept(self.id.clone());
        Ok(Order { source, cause: Cause::Rollback, who, reason, confirm_within: None, force: self.force, feed: None })
    }
}

impl ConfirmRequest {
    /// The reason.
    ///
    /// # Errors
    /// What is wrong, for the user.
    pub fn check(&self) -> Result<String, Failure> {
        bounded(self.reason.as_deref().unwrap_or_default().trim())
    }
}
