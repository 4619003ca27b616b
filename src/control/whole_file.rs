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
    // What a crash left. Made anew and never opened: others may write to the directory, and a link that they planted would
    // lead to any file of ours.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_link_that_somebody_planted_is_not_followed() {
        let place = std::env::temp_dir().join(format!("weir-whole-file-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        let (theirs, path, fresh) = (place.join("theirs"), place.join("ours"), place.join(".ours.fresh"));
        fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, &fresh).unwrap();
        write(&path, b"ours").unwrap();
        assert_eq!((fs::read(&theirs).unwrap(), fs::read(&path).unwrap()), (b"theirs".to_vec(), b"ours".to_vec()));
        let written = fs::symlink_metadata(&path).unwrap();
        assert!(written.is_file() && written.permissions().mode() & 0o777 == 0o600, "{written:?}");
        assert!(fs::symlink_metadata(&fresh).is_err(), "it is gone");

        // What a crash left is in nobody's way; what is no file at all changes nothing.
        fs::write(&fresh, "half of").unwrap();
        write(&path, b"again").unwrap();
        fs::create_dir(&fresh).unwrap();
        assert!(write(&path, b"never").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"again");
        fs::remove_dir_all(&place).unwrap();
    }
}
