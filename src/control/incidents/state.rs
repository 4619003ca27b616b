//! The state directory: what survives a restart, and the audit log. One gateway at a time holds it.
//!
//! The state file is written beside and moved over the old one, so a crash leaves the one or the other, whole. One that
//! cannot be read is set aside under another name: it is told loudly, nothing is lost silently, and the gateway starts.

use super::audit::{AuditLog, FILE_MAX, Record};
use super::saved::{Saved, VERSION};
use crate::control::whole_file;
use crate::language::{Text, text};
use crate::sys;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file in the directory.
pub const FILE: &str = "state.json";

/// The longest state file that is read: a thousand blocks take a tenth of it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where the state may be, in order: `$STATE_DIRECTORY` alone where it is set (systemd's `StateDirectory=`), else
/// /var/lib/weir, else `$XDG_STATE_HOME/weir`, else `~/.local/state/weir`.
pub fn candidates(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = set("STATE_DIRECTORY") {
        // Several are separated by colons; the first is the one that the unit names first.
        let first = named.as_os_str().as_encoded_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
        return vec![PathBuf::from(String::from_utf8_lossy(first).into_owned())];
    }
    let xdg = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let xdg = xdg.filter(|dir| dir.is_absolute()).map(|dir| dir.join("weir"));
    [Some(PathBuf::from("/var/lib/weir")), xdg].into_iter().flatten().collect()
}

/// The directory, held.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    audit: AuditLog,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Why there is no state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDirectory {
    /// Another gateway holds it; it may be ending.
    pub is_held: bool,
    /// For the user: what was tried and what the system said.
    pub message: Text,
}

impl StateDirectory {
    /// Opens the first of `candidates` that can be made and written to. One that another gateway holds is not passed by
    /// for the next: what was saved there would be lost.
    ///
    /// # Errors
    /// [`NoDirectory`].
    pub fn open(candidates: &[PathBuf]) -> Result<Self, NoDirectory> {
        let mut tried = Vec::new();
        for path in candidates {
            match Self::open_one(path) {
                Ok(Some(directory)) => return Ok(directory),
                Ok(None) => {
                    let message = text!("{path}: another gateway holds it", path = path.display());
                    return Err(NoDirectory { is_held: true, message });
                }
                Err(error) => tried.push(text!("{path}: {error}", path = path.display(), error = Text::of_io(&error))),
            }
        }
        Err(NoDirectory { is_held: false, message: Text::joined("; ", tried) })
    }

    fn open_one(path: &Path) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = whole_file::open(&path.join(".lock"), OpenOptions::new().write(true).create(true).truncate(false))?;
        if !sys::try_lock(lock.as_fd())? {
            return Ok(None);
        }
        Ok(Some(Self { path: path.to_path_buf(), audit: AuditLog::new(path, FILE_MAX), _lock: lock }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved; `None` when nothing was.
    ///
    /// # Errors
    /// The message for the user: what is wrong with the file, and where it was moved.
    pub fn load(&self, unix_ms: u64) -> Result<Option<Saved>, Text> {
        let path = self.path.join(FILE);
        match read(&path) {
            Ok(saved) => Ok(saved),
            Err(cause) => {
                let aside = self.path.join(format!("{FILE}.broken-{unix_ms}"));
                let moved = match fs::rename(&path, &aside) {
                    Ok(()) => text!("it was set aside as {aside}", aside = aside.display()),
                    Err(error) => text!("it could not be set aside: {error}", error = Text::of_io(&error)),
                };
                Err(text!(
                    "state file {path}: {cause}; {moved}: no mode and no emergency rule is on any more",
                    path = path.display(),
                    cause,
                    moved
                ))
            }
        }
    }

    /// Saves, whole or not at all, and is on the disk afterwards.
    ///
    /// # Errors
    /// What the system said; the file is as before.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(saved)?;
        text.push(b'\n');
        whole_file::write(&self.path.join(FILE), &text)
    }

    /// Appends to the audit log.
    ///
    /// # Errors
    /// What the system said.
    pub fn audit(&self, records: &[Record]) -> io::Result<()> {
        self.audit.append(records)
    }
}

fn read(path: &Path) -> Result<Option<Saved>, Text> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Text::of_io(&error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| Text::of_io(&error))?;
    let saved: Saved = serde_json::from_slice(&text).map_err(|error| Text::of_json(&error))?;
    if saved.weir_state != VERSION {
        return Err(text!(
            "it is of version {found}, and this program reads {version}",
            found = saved.weir_state,
            version = VERSION
        ));
    }
    Ok(Some(saved))
}

/// The variables of this process.
pub fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(OsStr::new(name))
}
