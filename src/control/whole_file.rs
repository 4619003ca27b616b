//! Files that are written whole or not at all: beside, to the disk, and moved over the old one, so that a crash leaves the
//! one or the other.

use crate::policy::document::Contents;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `bytes` to `path`, readable by the owner alone; it is on the disk afterwards. One writer at a time for a name.
///
/// # Errors
/// What the system said; the file is as before.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, |file| file.write_all(bytes))
}

/// As [`write()`], what `contents` are; nothing when they are not any more what they were.
///
/// # Errors
/// As there.
pub fn copy(path: &Path, contents: &Contents) -> io::Result<()> {
    write_by(path, |file| contents.read_through(|piece| file.write_all(piece)))
}

/// As [`write()`], what `fill` writes into it.
///
/// # Errors
/// As there, and what `fill` said.
pub fn write_by(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
    };
    let fresh = directory.join(format!(".{name}.fresh"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    let written = fill(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // Else it would stay, where nobody looks for it.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_directory(directory)
}

/// Makes sure that what was moved, made or removed in a directory is on the disk.
///
/// # Errors
/// What the system said.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
