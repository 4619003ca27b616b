//! How the feeds are, as `weir feed` and `weir status` show them.

use super::progress::{Phase, ProgressStatus};
use crate::control::status::{bytes_text, seconds_text};
use crate::language::{Text, Told, text};
use serde::{Deserialize, Serialize};

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
    /// Since when it is known as it is declared: one that is declared otherwise is another feed.
    #[serde(default)]
    pub known_since_unix_ms: u64,
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
    pub last_error: Option<Text>,
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
    pub why: Text,
}

/// All feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedList {
    /// By name.
    pub feeds: Vec<FeedStatus>,
}

impl FeedStatus {
    /// What somebody should look at, a line each.
    pub fn warnings(&self) -> Vec<Text> {
        let Self { name, age_s, age_max_s, .. } = self;
        let mut warnings = Vec::new();
        if self.is_old {
            let old = match age_s {
                Some(age) => text!(
                    "feed {name} was confirmed {age} ago, and may be at most {most}",
                    name,
                    age = seconds_text(*age),
                    most = seconds_text(*age_max_s)
                ),
                None => text!("feed {name} has never come", name),
            };
            warnings.push(Text::joined(": ", std::iter::once(old).chain(self.last_error.clone())));
        } else if let Some(why) = self.last_error.as_ref().filter(|_| self.held.is_none()) {
            warnings.push(text!("feed {name} did not come: {why}", name, why));
        }
        if let Some(HeldStatus { why, .. }) = &self.held {
            warnings.push(text!("feed {name} has a copy that waits for `weir feed accept {name}`: {why}", name, why));
        }
        warnings
    }

    /// In a word, what is the matter.
    fn condition(&self) -> Text {
        match self {
            Self { is_old: true, .. } => text!("OLD"),
            Self { held: Some(_), .. } => text!("HELD"),
            Self { last_error: Some(_), .. } => text!("FAILING"),
            Self { entries: None, .. } => text!("not there yet"),
            _ => text!("ok"),
        }
    }

    /// How it is, in one line; what is the matter is told by its warnings.
    pub(in crate::control) fn line(&self) -> Text {
        let mut parts = vec![self.condition(), Text::verbatim(&self.source)];
        if let (Some(entries), Some(bytes), Some(age)) = (self.entries, self.bytes, self.age_s) {
            parts.push(text!("{entries} entries in {bytes}", entries, bytes = bytes_text(bytes)));
            parts.push(text!("confirmed {age} ago", age = seconds_text(age)));
        }
        parts.extend(self.serial.map(|serial| text!("serial {serial}", serial)));
        parts.extend(self.etag.as_ref().map(|etag| Text::verbatim(format!("etag {}", etag.escape_debug()))));
        parts.push(match self.progress {
            ProgressStatus { phase: Phase::Idle, .. } => text!("next in {time}", time = seconds_text(self.next_s)),
            ProgressStatus { phase, bytes, total: 0 } => {
                text!("{phase} ({bytes})", phase = phase.text(), bytes = bytes_text(bytes))
            }
            ProgressStatus { phase, bytes, total } => text!(
                "{phase} ({bytes} of {total})",
                phase = phase.text(),
                bytes = bytes_text(bytes),
                total = bytes_text(total)
            ),
        });
        Text::joined(", ", parts)
    }
}

impl Told for FeedList {
    fn text(&self) -> Text {
        if self.feeds.is_empty() {
            return text!("no feeds: they are declared in gateway.toml, under [[feed]]");
        }
        let width = self.feeds.iter().map(|feed| feed.name.len()).max().unwrap_or(0);
        let lines = self.feeds.iter().flat_map(|feed| {
            let line = Text::joined("  ", [Text::verbatim(format!("{:<width$}", feed.name)), feed.line()]);
            let warnings = feed.warnings().into_iter().map(|warning| Text::joined("", [Text::verbatim("  "), warning]));
            std::iter::once(line).chain(warnings)
        });
        Text::lines(lines.collect())
    }
}
