//! The index of the history: a line of JSON for each policy that came to run. It is only appended to; a line that a crash
//! cut off is taken away at the next start, and once there are too many lines it is written anew, whole.

use super::{Entry, How};
use crate::control::whole_file;
use crate::policy::PolicyId;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file in the directory of the history.
pub const FILE: &str = "index.jsonl";

/// See above.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Index {
    /// Reads the index; lines that are none are left out, and the file is whole afterwards.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let lines = || text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries: Vec<Entry> = lines().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let index = Self { path: path.to_path_buf(), entries };
        if index.entries.len() != lines().count() || text.last().is_some_and(|byte| *byte != b'\n') {
            tracing::warn!("{}: lines that were cut off or cannot be read are left out", path.display());
            index.write_anew()?;
        }
        Ok(index)
    }

    /// All lines, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The line of what runs, or ran last.
    pub fn last_run(&self) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.how != How::SetAside)
    }

    /// What ran before policy `id` came the last time.
    pub fn before(&self, id: PolicyId) -> Option<PolicyId> {
        self.entries.iter().rfind(|entry| entry.id == id && entry.how != How::SetAside)?.before
    }

    /// All policies, those that came last first, each once.
    pub fn newest_first(&self) -> Vec<PolicyId> {
        let mut seen = std::collections::HashSet::new();
        self.entries.iter().rev().map(|entry| entry.id).filter(|id| seen.insert(*id)).collect()
    }

    /// Appends a line and makes sure that it is on the disk; over `entries_max` the oldest tenth goes.
    ///
    /// # Errors
    /// What the system said.
    pub fn append(&mut self, entry: Entry, entries_max: usize) -> io::Result<()> {
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        self.entries.push(entry);
        if self.entries.len() > entries_max {
            let over = self.entries.len() - entries_max + entries_max / 10;
            self.entries.drain(..over);
            return self.write_anew();
        }
        let is_new = !self.path.exists();
        let mut file = match whole_file::open(&self.path, OpenOptions::new().append(true).create(true)) {
            Ok(file) => file,
            // A link in its place: moved over, it is a file again.
            Err(_) if self.path.is_symlink() => return self.write_anew(),
            Err(error) => return Err(error),
        };
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        if let (true, Some(directory)) = (is_new, self.path.parent()) {
            whole_file::sync_directory(directory)?;
        }
        // Half a line that a full disk left would swallow the next.
        written.or_else(|error| self.write_anew().map_err(|_| error))
    }

    fn write_anew(&self) -> io::Result<()> {
        let mut text = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        whole_file::write(&self.path, &text)
    }
}
