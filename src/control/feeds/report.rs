//! How the feeds are, as `weir feed` and `weir status` show them.

use super::progress::{Phase, ProgressStatus};
use crate::control::status::{bytes_text, seconds_text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// `url` or `zone`.
    pub kind: String,
    /// Where it comes from.
    pub source: String,
    /// Lines or records of the copy in force; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The server's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The serial of a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// When it came, in milliseconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_unix_ms: Option<u64>,
    /// How long ago the source said last that this is what it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// How long ago that may be.
    pub age_max_s: u64,
    /// It is longer ago.
    pub is_old: bool,
    /// Until it is looked at again.
    pub next_s: u64,
    /// A look is under way.
    pub is_looking: bool,
    /// Looks since the start that have ended.
    pub looks: u64,
    /// Those that ended well.
    pub looks_ok: u64,
    /// Looks that failed since the last that did not.
    pub failures: u32,
    /// NOTIFY that were heard.
    pub notified: u64,
    /// Why the last look failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// A copy that waits for `weir feed accept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldStatus>,
    /// What is being done.
    pub progress: ProgressStatus,
}

/// A copy that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// Lines or records in it.
    pub entries: u64,
    /// Why it waits.
    pub why: String,
}

/// All feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedList {
    /// By name.
    pub feeds: Vec<FeedStatus>,
}

impl FeedStatus {
    /// What somebody should look at, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let Self { name, age_s, age_max_s, .. } = self;
        let mut warnings = Vec::new();
        if self.is_old {
            let why = self.last_error.as_deref().map_or_else(String::new, |why| format!(": {why}"));
            let age = match age_s {
                Some(age) => {
                    format!("was confirmed {} ago, and may be at most {}", seconds_text(*age), seconds_text(*age_max_s))
                }
                None => "has never come".to_owned(),
            };
            warnings.push(format!("feed {name} {age}{why}"));
        } else if let Some(why) = self.last_error.as_ref().filter(|_| self.held.is_none()) {
            warnings.push(format!("feed {name} did not come: {why}"));
        }
        if let Some(HeldStatus { why, .. }) = &self.held {
            warnings.push(format!("feed {name} has a copy that waits for `weir feed accept {name}`: {why}"));
        }
        warnings
    }

    /// In a word, what is the matter.
    fn condition(&self) -> &'static str {
        match self {
            Self { is_old: true, .. } => "OLD",
            Self { held: Some(_), .. } => "HELD",
            Self { last_error: Some(_), .. } => "FAILING",
            Self { entries: None, .. } => "not there yet",
            _ => "ok",
        }
    }
}

impl fmt::Display for FeedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.condition(), self.source)?;
        if let (Some(entries), Some(bytes), Some(age)) = (self.entries, self.bytes, self.age_s) {
            write!(f, ", {entries} entries in {}, confirmed {} ago", bytes_text(bytes), seconds_text(age))?;
        }
        if let Some(serial) = self.serial {
            write!(f, ", serial {serial}")?;
        }
        if let Some(etag) = &self.etag {
            write!(f, ", etag {}", etag.escape_debug())?;
        }
        match self.progress {
            ProgressStatus { phase: Phase::Idle, .. } => write!(f, ", next in {}", seconds_text(self.next_s)),
            ProgressStatus { phase, bytes, total: 0 } => write!(f, ", {} ({})", phase.name(), bytes_text(bytes)),
            ProgressStatus { phase, bytes, total } => {
                write!(f, ", {} ({} of {})", phase.name(), bytes_text(bytes), bytes_text(total))
            }
        }?;
        self.warnings().iter().try_for_each(|warning| write!(f, "\n  {warning}"))
    }
}

impl fmt::Display for FeedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.feeds.is_empty() {
            return f.write_str("no feeds: they are declared in gateway.toml, under [[feed]]");
        }
        let width = self.feeds.iter().map(|feed| feed.name.len()).max().unwrap_or(0);
        for (n, feed) in self.feeds.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{:<width$}  {feed}", feed.name)?;
        }
        Ok(())
    }
}
