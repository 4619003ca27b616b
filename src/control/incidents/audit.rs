//! The audit log: one JSON line for everything that somebody did to the running gateway, and for what ended by itself;
//! append-only, bounded by rotation.

use crate::clock::Now;
use crate::control::whole_file;
use crate::language::{Text, Told, text};
use crate::telemetry::lines;
use crate::telemetry::query_log::utc;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The file in the state directory; older ones are `audit.jsonl.1` and so on.
pub const FILE: &str = "audit.jsonl";

/// Bytes after which a new file is begun.
pub const FILE_MAX: u64 = 4 << 20;

/// Older files that are kept.
pub const OLDER_MAX: u32 = 4;

/// Who did something: the peer of the control socket, as the system tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user name, or `weir` for the gateway itself, or a signal's name.
    pub name: String,
    /// The user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The user who logged in, where the system remembers it: `sudo` does not hide them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

impl Who {
    /// The gateway itself.
    pub fn weir() -> Self {
        Self::named("weir")
    }

    /// Somebody without a process.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Whoever runs this process.
    pub fn this_process() -> Self {
        let uid = fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid());
        Self::peer(uid, i32::try_from(std::process::id()).ok())
    }

    /// The user `uid` in process `pid`, with the names that the system has for them.
    pub fn peer(uid: u32, pid: Option<i32>) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let login = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/loginuid")).ok());
        // 4294967295: nobody logged in, such as under a service manager.
        let login = login.and_then(|text| text.trim().parse().ok()).filter(|login| ![u32::MAX, uid].contains(login));
        let login = login.map(|login: u32| user_name(&users, login).unwrap_or_else(|| login.to_string()));
        let name = user_name(&users, uid).unwrap_or_else(|| uid.to_string());
        Self { name, uid: Some(uid), pid, login }
    }
}

fn user_name(users: &str, uid: u32) -> Option<String> {
    let mut entries = users.lines().map(|line| line.split(':'));
    let uid = uid.to_string();
    entries.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(login) = &self.login {
            write!(f, " (logged in as {login})")?;
        }
        Ok(())
    }
}

impl Told for Who {
    fn text(&self) -> Text {
        match &self.login {
            None => Text::verbatim(&self.name),
            Some(login) => text!("{name} (logged in as {login})", name = self.name, login),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A mode began.
    Mode,
    /// A mode ended.
    ModeEnded,
    /// A mode goes on after a restart.
    ModeRestored,
    /// A name was blocked.
    Block,
    /// A name was let go.
    Unblock,
    /// A block ended by itself.
    BlockEnded,
    /// The policy was loaded again, or refused.
    Reload,
    /// A feed took another copy, or the policy with it was refused.
    Feed,
    /// A policy was applied, or refused.
    Apply,
    /// The policy was rolled back, or that was refused.
    Rollback,
    /// The policy went back by itself.
    AutoRollback,
    /// An apply was confirmed.
    Confirm,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// RFC 3339, UTC.
    pub time: String,
    /// What happened.
    pub event: Event,
    /// To what.
    pub what: String,
    /// Who did it.
    pub who: Who,
    /// The reason as given; empty when none was.
    pub why: String,
    /// RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Record {
    /// A record without an end.
    pub fn new(now: Now, who: &Who, event: Event, what: impl Into<String>, why: &str) -> Self {
        let (what, why) = (what.into(), why.to_owned());
        Self { time: utc(now.unix_ms), event, what, who: who.clone(), why, until: None }
    }

    /// The same with an end.
    #[must_use]
    pub fn until(self, unix_ms: u64) -> Self {
        Self { until: Some(utc(unix_ms)), ..self }
    }

    pub(super) fn of_mode(now: Now, who: &Who, event: Event, mode: &super::ActiveMode) -> Self {
        Self::new(now, who, event, &mode.name, &mode.term.reason).until(mode.term.until_unix_ms)
    }

    /// Something that ended by itself.
    pub(super) fn ended(now: Now, event: Event, what: &str, why: &str) -> Self {
        Self::new(now, &Who::weir(), event, what, why)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = match self.event {
            Event::Mode => "mode",
            Event::ModeEnded => "mode ended",
            Event::ModeRestored => "mode goes on",
            Event::Block => "block",
            Event::Unblock => "unblock",
            Event::BlockEnded => "block ended",
            Event::Reload => "reload",
            Event::Feed => "feed",
            Event::Apply => "apply",
            Event::Rollback => "rollback",
            Event::AutoRollback => "rollback by itself",
            Event::Confirm => "confirm",
        };
        write!(f, "{event}: {}, by {}", self.what, self.who)?;
        if let Some(until) = &self.until {
            write!(f, ", until {until}")?;
        }
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        Ok(())
    }
}

/// The log's file.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
    file_max: u64,
}

impl AuditLog {
    /// The log in `directory`, a new file after `file_max` bytes.
    pub fn new(directory: &Path, file_max: u64) -> Self {
        Self { path: directory.join(FILE), file_max }
    }

    /// Appends records and makes sure that they are on the disk, all or none.
    ///
    /// # Errors
    /// What the system said; the log is as before.
    pub fn append(&self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if fs::metadata(&self.path).is_ok_and(|file| file.len() >= self.file_max) {
            self.rotate()?;
        }
        let mut file = whole_file::open(&self.path, OpenOptions::new().read(true).append(true).create(true))?;
        let mut text = Vec::new();
        if ends_within_a_line(&file)? {
            text.push(b'\n');
        }
        for record in records {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        lines::append(&mut file, |file| file.write_all(&text).and_then(|()| file.sync_data()))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (1..OLDER_MAX).rev() {
            let from = self.older(number);
            if from.exists() {
                fs::rename(from, self.older(number + 1))?;
            }
        }
        fs::rename(&self.path, self.older(1))
    }
}

/// Whether the last line was cut off, by a crash of the system.
fn ends_within_a_line(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = file.metadata()?.len().checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != [b'\n'])
}
