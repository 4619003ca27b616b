//! Undoing: every policy that ran is kept, and a directory is replaced in a way that a crash cannot leave half done.
//!
//! In the state directory, everything with mode 0600 in directories of mode 0700:
//!
//! ```text
//! history/index.jsonl            a line for each policy that came to run: when, who, how, why, what ran before
//! history/policies/ID.json       the manifest of a policy: its paths, each with the SHA-256 of its contents
//! history/files/SHA256.gz        contents, once for all policies that share them; `zcat` reads them
//! history/unconfirmed.json       the apply that waits for `weir confirm`: which, until when, and what comes back
//! ```
//!
//! and in the policy directory, only while its files are being replaced:
//!
//! ```text
//! .weir-replacing                which policy of which history the directory is to become if nobody comes to the end
//! .weir-fresh                    a file that is not whole yet
//! ```
//!
//! The directory that `weir run DIR` was given stays the one source: what runs is what lies there. Apply and rollback
//! therefore write it, file by file, each written beside and moved over. In that order: both policies are kept, whole and
//! on the disk, and so are edits that did not run, or else nothing is replaced; the marker is written; the files are
//! replaced; the policy is published; the index gets its line; the marker goes. Whoever finds a marker, at the next start
//! or the next reload, first makes the directory what it names: an apply that did not come to its end has not happened, a
//! rollback that has begun is completed.
//!
//! Files of secrets are of the machine and not of its policy: only their digest is kept, apply and rollback leave those of
//! the directory as they are, and nothing shows them. An id covers them all the same, so that a rollback after a change of
//! secrets runs under a new id.
//!
//! What is kept is unpacked no further than a policy directory may be large (`POLICY_MAX` and its like): a manifest that asks
//! for more is told of and not followed. The bounds are [`Bounds::default`]; the oldest go first, and never the policy that
//! runs, the one before it, or the one that comes back if an apply is not confirmed. A manifest that cannot be read is told
//! of, and written anew when its policy is kept again.

pub mod diff;
pub mod index;
pub(in crate::control) mod list_lines;
pub mod objects;
pub mod offline;
pub mod prune;
pub mod replace;
pub mod report;
pub mod request;
#[cfg(test)]
mod tests;
pub mod unconfirmed;

use super::incidents::Who;
use super::reload::Cause;
use crate::language::{Text, Told as _, text};
use crate::policy::PolicyId;
use crate::policy::document::Files;
use crate::policy::feeds::declared;
use index::Index;
use objects::{Kept, Objects};
use prune::{Damaged, Pruned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use unconfirmed::Unconfirmed;

/// The directory within the state directory.
pub const DIRECTORY: &str = "history";

/// The fewest digits by which a policy is called.
pub const PREFIX_MIN: usize = 4;

/// The most damaged policies that a status names.
const DAMAGED_NAMED: usize = 3;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Policies with their files.
    pub policies: usize,
    /// Bytes of all files, compressed.
    pub bytes: u64,
    /// Lines of the index: that a policy ran is known for longer than what was in it.
    pub entries: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { policies: 100, bytes: 1 << 30, entries: 1_000 }
    }
}

/// How a policy came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The gateway started with it.
    Start,
    /// `weir reload`.
    Reload,
    /// SIGHUP.
    Signal,
    /// The files changed.
    Watch,
    /// `weir apply`.
    Apply,
    /// `weir rollback`.
    Rollback,
    /// A feed came, and what ran was not kept before.
    Feed,
    /// An apply was not confirmed in time.
    AutoRollback,
    /// It never ran: edits that lay in the directory when it was replaced.
    SetAside,
}

impl How {
    /// In a listing.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Signal => "SIGHUP",
            Self::Watch => "watch",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Feed => "feed",
            Self::AutoRollback => "auto-rollback",
            Self::SetAside => "set aside",
        }
    }
}

impl From<Cause> for How {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Command => Self::Reload,
            Cause::Signal => Self::Signal,
            Cause::Watch => Self::Watch,
            Cause::Apply => Self::Apply,
            Cause::Rollback => Self::Rollback,
            Cause::Feed => Self::Feed,
            Cause::Unconfirmed => Self::AutoRollback,
        }
    }
}

/// A line of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339, UTC.
    pub time: String,
    /// Which policy.
    pub id: PolicyId,
    /// How it came.
    pub how: How,
    /// Who did it.
    pub who: Who,
    /// The reason as given; empty when none was.
    #[serde(default)]
    pub reason: String,
    /// What a rollback without an id goes back to from here: what ran before; after a rollback what ran before that
    /// policy, so that one goes further back with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<PolicyId>,
}

/// The history, held by the gateway that holds the state directory. Every call may wait for the disk.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    bounds: Bounds,
    objects: Objects,
    index: Mutex<Index>,
    /// As the last policy that came to run found them.
    damaged: Mutex<Vec<Damaged>>,
}

impl History {
    /// Opens or makes the history of a state directory.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(state: &Path, bounds: Bounds) -> io::Result<Self> {
        let dir = state.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let objects = Objects::open(&dir)?;
        let index = Mutex::new(Index::open(&dir.join(index::FILE))?);
        Ok(Self { dir, bounds, objects, index, damaged: Mutex::default() })
    }

    /// All lines, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.index().entries().to_vec()
    }

    /// What runs, or ran last.
    pub fn last(&self) -> Option<Entry> {
        self.index().last_run().cloned()
    }

    /// Keeps the files of a policy; nothing is written when they are kept already and can be read.
    ///
    /// # Errors
    /// What the system said; no policy is kept in part.
    pub fn keep(&self, files: &Files) -> io::Result<PolicyId> {
        let _turn = self.index();
        let id = self.objects.keep(files)?;
        self.damaged().retain(|damaged| damaged.id != id);
        Ok(id)
    }

    /// Whether the files of a policy are kept and it can be read which.
    pub fn is_whole(&self, id: PolicyId) -> bool {
        self.objects.is_whole(id)
    }

    /// Whether the files of a policy are kept.
    pub fn is_kept(&self, id: PolicyId) -> bool {
        self.objects.has(id)
    }

    /// The feeds that a policy declares which one may go back to.
    ///
    /// # Errors
    /// One of them cannot be read: then nothing is known.
    pub fn feeds(&self) -> io::Result<BTreeSet<String>> {
        let index = self.index();
        let waiting = unconfirmed::load(&self.dir).map_err(|error| error.into_io(io::ErrorKind::InvalidData))?;
        let waiting = waiting.into_iter().flat_map(|waiting| [waiting.id, waiting.back_to]);
        let mut names = BTreeSet::new();
        for id in index.newest_first().into_iter().chain(waiting).filter(|id| self.objects.has(*id)) {
            let gateway = self.objects.file(id, "gateway.toml")?.unwrap_or_default();
            let text = String::from_utf8(gateway).map_err(io::Error::other)?;
            names.extend(declared(&text).map_err(io::Error::other)?);
        }
        Ok(names)
    }

    /// The files of a policy.
    ///
    /// # Errors
    /// The message for the user: they are not kept, or not whole any more.
    pub fn load(&self, id: PolicyId) -> Result<Kept, Text> {
        self.objects.load(id)
    }

    /// As [`Self::load`]; files that lie in `dir` as they are kept are taken from there, which is quicker.
    ///
    /// # Errors
    /// As there.
    pub fn load_beside(&self, id: PolicyId, dir: Option<&Path>) -> Result<Kept, Text> {
        self.objects.load_beside(id, dir)
    }

    /// Notes that a policy came to run, and drops what is over the bounds; `needed` is not dropped.
    ///
    /// # Errors
    /// What the system said.
    pub fn note(&self, mut entry: Entry, needed: &[PolicyId]) -> io::Result<()> {
        let mut index = self.index();
        entry.before = match entry.how {
            How::SetAside => None,
            How::Rollback | How::AutoRollback => entry.before.or_else(|| index.before(entry.id)),
            _ => entry.before.or_else(|| index.last_run().map(|last| last.id)),
        };
        // The way back never leads to where one is.
        if entry.before == Some(entry.id) {
            entry.before = index.before(entry.id);
        }
        index.append(entry, self.bounds.entries)?;
        let waiting = unconfirmed::load(&self.dir).ok().flatten();
        let mut needed = needed.to_vec();
        needed.extend(waiting.into_iter().flat_map(|waiting| [waiting.id, waiting.back_to]));
        needed.extend(index.last_run().into_iter().flat_map(|last| [Some(last.id), last.before]).flatten());
        self.tell(self.objects.prune(&index.newest_first(), &needed, self.bounds)?);
        Ok(())
    }

    /// Each that is damaged is logged once.
    fn tell(&self, Pruned { damaged, dropped }: Pruned) {
        let mut known = self.damaged();
        for new in damaged.iter().filter(|found| !known.contains(found)) {
            tracing::warn!("{}", new.text().english());
        }
        for Damaged { id, manifest, cause } in dropped {
            let (manifest, cause) = (manifest.display(), cause.english());
            tracing::warn!("policy {id} of the history is dropped: its manifest cannot be read: {manifest}: {cause}");
        }
        *known = damaged;
    }

    /// What somebody should look at.
    pub fn warnings(&self) -> Vec<Text> {
        let damaged = self.damaged();
        let named = damaged.iter().take(DAMAGED_NAMED).map(Damaged::text);
        let more = damaged.len().checked_sub(DAMAGED_NAMED + 1);
        named.chain(more.map(|more| text!("... and {n} more, whose manifests cannot be read", n = more + 1))).collect()
    }

    /// The policy that a unique beginning of its id names.
    ///
    /// # Errors
    /// The message for the user.
    pub fn resolve(&self, prefix: &str) -> Result<PolicyId, Text> {
        if let Ok(id) = prefix.parse()
            && self.is_kept(id)
        {
            return Ok(id);
        }
        let known = self.index().newest_first();
        let wanted = prefix.to_ascii_lowercase();
        if wanted.len() < PREFIX_MIN || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(text!(
                "{prefix:?} is not the id of a policy: at least {least} of its hexadecimal digits, as `weir history` \
                 shows them",
                prefix,
                least = PREFIX_MIN
            ));
        }
        let found: Vec<_> = known.into_iter().filter(|id| id.hex().starts_with(&wanted)).collect();
        match found[..] {
            [] => Err(text!("no policy {prefix} is in the history; `weir history` lists those there are", prefix)),
            [id] if self.is_kept(id) => Ok(id),
            [id] => Err(text!("the files of policy {id} are not kept any more: only that it ran", id)),
            _ => {
                let all: Vec<_> = found.iter().map(ToString::to_string).collect();
                Err(text!("{prefix} may be any of {all}: add a digit", prefix, all = all.join(", ")))
            }
        }
    }

    /// What a rollback without an id goes back to, from policy `runs`.
    ///
    /// # Errors
    /// The message for the user: there is nothing.
    pub fn before(&self, runs: PolicyId) -> Result<PolicyId, Text> {
        let before = self.index().before(runs);
        let before = before.ok_or_else(|| text!("no policy ran before {runs}, as far as the history goes", runs))?;
        if self.is_kept(before) {
            return Ok(before);
        }
        Err(text!("the files of policy {before}, which ran before {runs}, are not kept any more", before, runs))
    }

    /// The apply that waits to be confirmed.
    ///
    /// # Errors
    /// The message for the user: its file cannot be read.
    pub fn unconfirmed(&self) -> Result<Option<Unconfirmed>, Text> {
        unconfirmed::load(&self.dir)
    }

    /// Writes down which apply waits to be confirmed, or that none does.
    ///
    /// # Errors
    /// What the system said; what was written before stays.
    pub fn set_unconfirmed(&self, waiting: Option<&Unconfirmed>) -> io::Result<()> {
        unconfirmed::save(&self.dir, waiting)
    }

    /// Writes down that no apply to `dir` waits to be confirmed; one to another directory goes on waiting.
    ///
    /// # Errors
    /// As [`Self::set_unconfirmed`].
    pub fn forget_unconfirmed(&self, dir: &Path) -> io::Result<()> {
        match self.unconfirmed() {
            Ok(Some(waiting)) if waiting.is_elsewhere(dir) => Ok(()),
            _ => self.set_unconfirmed(None),
        }
    }

    fn damaged(&self) -> MutexGuard<'_, Vec<Damaged>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
