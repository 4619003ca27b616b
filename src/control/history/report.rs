//! The history as it is shown.

use super::unconfirmed::Unconfirmed;
use super::{Entry, History, How};
use crate::clock::Now;
use crate::control::status::seconds_text;
use crate::telemetry::query_log::utc;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What `weir history` shows, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryList {
    /// The policies that came to run.
    pub entries: Vec<HistoryRow>,
    /// The apply that waits to be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<UnconfirmedStatus>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Which, when, how, who, why.
    #[serde(flatten)]
    pub entry: Entry,
    /// It runs now.
    pub running: bool,
    /// What came last and needs no confirmation: an apply that is not confirmed goes back to it.
    pub last_good: bool,
    /// Its files are still there to go back to.
    pub kept: bool,
}

impl HistoryList {
    /// The history at `now`.
    pub fn of(history: &History, waiting: Option<UnconfirmedStatus>, back_to: Option<&Unconfirmed>) -> Self {
        let entries = history.entries();
        let last = |wanted: &dyn Fn(&Entry) -> bool| {
            entries.iter().rposition(|entry| entry.how != How::SetAside && wanted(entry))
        };
        let running = last(&|_| true);
        let good = back_to.map_or(running, |waiting| last(&|entry| entry.id == waiting.back_to));
        let row = |(n, entry): (usize, &Entry)| HistoryRow {
            entry: entry.clone(),
            running: Some(n) == running,
            last_good: Some(n) == good,
            kept: history.is_kept(entry.id),
        };
        Self { entries: entries.iter().enumerate().rev().map(row).collect(), unconfirmed: waiting }
    }
}

impl fmt::Display for HistoryList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return writeln!(f, "no policy is in the history yet");
        }
        for HistoryRow { entry, running, last_good, kept } in &self.entries {
            let Entry { time, id, how, who, reason, .. } = entry;
            let mark = if *running { '>' } else { ' ' };
            write!(f, "{mark} {id}  {time}  {:<13}  {who}", how.name())?;
            if !reason.is_empty() {
                write!(f, ": {reason}")?;
            }
            let notes = [(*running, "running"), (*last_good, "last-good"), (!*kept, "files not kept any more")];
            for (_, note) in notes.iter().filter(|(holds, _)| *holds) {
                write!(f, "  [{note}]")?;
            }
            writeln!(f)?;
        }
        self.unconfirmed.iter().try_for_each(|waiting| writeln!(f, "UNCONFIRMED {waiting}"))
    }
}

/// An apply that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnconfirmedStatus {
    /// The policy that was applied.
    pub policy: String,
    /// The one that comes back.
    pub back_to: String,
    /// RFC 3339, UTC.
    pub until: String,
    /// Seconds until then.
    pub left_s: u64,
    /// Who applied it.
    pub by: super::Who,
    /// Why.
    pub reason: String,
}

impl UnconfirmedStatus {
    /// That of `waiting`, which has until `deadline`.
    pub fn of(waiting: &Unconfirmed, deadline: crate::clock::Moment, now: Now) -> Self {
        Self {
            policy: waiting.id.to_string(),
            back_to: waiting.back_to.to_string(),
            until: utc(waiting.until_unix_ms),
            left_s: deadline.since(now.at).as_secs(),
            by: waiting.by.clone(),
            reason: waiting.reason.clone(),
        }
    }
}

impl fmt::Display for UnconfirmedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, back_to, until, left_s, by, reason } = self;
        write!(
            f,
            "policy {policy} goes back to {back_to} at {until} ({} left) unless `weir confirm` keeps it; by {by}: {reason}",
            seconds_text(*left_s)
        )
    }
}

/// The answer to `confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// In a sentence.
    pub done: String,
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.done)
    }
}
