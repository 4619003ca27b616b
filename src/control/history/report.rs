//! The history as it is shown.

use super::unconfirmed::Unconfirmed;
use super::{Entry, History, How};
use crate::clock::{Moment, Now};
use crate::control::status::seconds_text;
use crate::language::{Text, Told, text};
use crate::policy::PolicyId;
use crate::telemetry::query_log::utc;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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
    /// They are, and nobody can go back to it: its manifest cannot be read.
    #[serde(default)]
    pub damaged: bool,
}

impl HistoryList {
    /// The history at `now`. Reads the manifest of each policy that is kept.
    pub fn of(history: &History, waiting: Option<UnconfirmedStatus>, back_to: Option<&Unconfirmed>) -> Self {
        let entries = history.entries();
        let last = |wanted: &dyn Fn(&Entry) -> bool| {
            entries.iter().rposition(|entry| entry.how != How::SetAside && wanted(entry))
        };
        let running = last(&|_| true);
        let good = back_to.map_or(running, |waiting| last(&|entry| entry.id == waiting.back_to));
        let mut damaged: HashMap<PolicyId, bool> = HashMap::new();
        let row = |(n, entry): (usize, &Entry)| HistoryRow {
            entry: entry.clone(),
            running: Some(n) == running,
            last_good: Some(n) == good,
            kept: history.is_kept(entry.id),
            damaged: *damaged
                .entry(entry.id)
                .or_insert_with(|| history.is_kept(entry.id) && !history.is_whole(entry.id)),
        };
        Self { entries: entries.iter().enumerate().rev().map(row).collect(), unconfirmed: waiting }
    }
}

impl Told for HistoryList {
    fn text(&self) -> Text {
        if self.entries.is_empty() {
            return text!("no policy is in the history yet");
        }
        let waiting = self.unconfirmed.iter().map(|waiting| text!("UNCONFIRMED {waiting}", waiting = waiting.text()));
        Text::lines(self.entries.iter().map(HistoryRow::line).chain(waiting).collect())
    }
}

impl HistoryRow {
    fn line(&self) -> Text {
        let Self { entry: Entry { time, id, how, who, reason, .. }, running, last_good, kept, damaged } = self;
        let mark = if *running { '>' } else { ' ' };
        let came = Text::verbatim(format!("{mark} {id}  {time}  {:<13}  ", how.name()));
        let reason = match how {
            How::AutoRollback => Some(text!("the apply before was not confirmed in time")),
            _ => (!reason.is_empty()).then(|| Text::verbatim(reason)),
        };
        let who = Text::joined(": ", std::iter::once(who.text()).chain(reason));
        let came = Text::joined("", [came, who]);
        let notes = [
            (*running, text!("[running]")),
            (*last_good, text!("[last-good]")),
            (!*kept, text!("[files not kept any more]")),
            (*damaged, text!("[damaged: nobody can go back to it]")),
        ];
        let notes = notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note);
        Text::joined("  ", std::iter::once(came).chain(notes))
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
    /// The way back from it has begun: it cannot be confirmed any more.
    #[serde(default)]
    pub goes_back: bool,
}

impl UnconfirmedStatus {
    /// That of `waiting`, which has until `deadline`, or `goes_back` now.
    pub fn of(waiting: &Unconfirmed, (deadline, goes_back): (Moment, bool), now: Now) -> Self {
        Self {
            policy: waiting.id.to_string(),
            back_to: waiting.back_to.to_string(),
            until: utc(waiting.until_unix_ms),
            left_s: deadline.since(now.at).as_secs(),
            by: waiting.by.clone(),
            reason: waiting.reason.clone(),
            goes_back,
        }
    }
}

impl Told for UnconfirmedStatus {
    fn text(&self) -> Text {
        let Self { policy, back_to, until, left_s, by, reason, goes_back } = self;
        if *goes_back {
            return text!(
                "policy {policy} was not confirmed, and the way back from it is under way; by {by}: {reason}",
                policy,
                by = by.text(),
                reason
            );
        }
        text!(
            "policy {policy} goes back to {back_to} at {until} ({left} left) unless `weir confirm` keeps it; by {by}: {reason}",
            policy,
            back_to,
            until,
            left = seconds_text(*left_s),
            by = by.text(),
            reason
        )
    }
}

/// The answer to `confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// In a sentence.
    pub done: Text,
}

impl Told for Confirmed {
    fn text(&self) -> Text {
        self.done.clone()
    }
}
