//! The apply that waits to be confirmed, as it is written down: a restart does not lose the way back.

use crate::control::incidents::Who;
use crate::control::whole_file;
use crate::language::{Text, text};
use crate::policy::PolicyId;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// The file in the directory of the history.
const FILE: &str = "unconfirmed.json";

/// See above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The policy that was applied.
    pub id: PolicyId,
    /// The one that comes back.
    pub back_to: PolicyId,
    /// The policy directory, canonical.
    pub directory: std::path::PathBuf,
    /// Unix time in milliseconds.
    pub since_unix_ms: u64,
    /// Unix time in milliseconds.
    pub until_unix_ms: u64,
    /// Who applied it.
    pub by: Who,
    /// Why.
    pub reason: String,
}

impl Unconfirmed {
    /// Whether it was another directory than `dir` that it was applied to.
    pub fn is_elsewhere(&self, dir: &Path) -> bool {
        dir.canonicalize().is_ok_and(|dir| dir != self.directory)
    }
}

/// Reads it.
///
/// # Errors
/// The message for the user.
pub(super) fn load(dir: &Path) -> Result<Option<Unconfirmed>, Text> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(text!("{path}: {error}", path = path.display(), error = Text::of_io(&error))),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| text!("{path}: {error}", path = path.display(), error = Text::of_json(&error)))
}

/// Writes it, or takes it away.
///
/// # Errors
/// What the system said.
pub(super) fn save(dir: &Path, waiting: Option<&Unconfirmed>) -> io::Result<()> {
    let path = dir.join(FILE);
    match waiting {
        Some(waiting) => whole_file::write(&path, &serde_json::to_vec_pretty(waiting)?),
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => whole_file::sync_directory(dir),
        },
    }
}
