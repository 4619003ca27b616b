//! Files that are written whole or not at all: beside, to the disk, and moved over the old one, so that a crash leaves the
//! one or the other.

use crate::language::text;
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
        return Err(text!("not the path of a file").into_io(io::ErrorKind::InvalidInput));
    };
    let fresh = directory.join(format!(".{name}.fresh"));
    let mut file = make(&fresh)?;
    let written = fill(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // Else it would stay, where nobody looks for it.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_directory(directory)
}

/// A new file in the place of what a crash left, for the owner alone. Made anew and never opened: others may write to the
/// directory, and a link that they planted would lead to any file of ours.
///
/// # Errors
/// What the system said.
pub fn make(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file that is not written whole, as `options` say, for the owner alone. A link in its place is not followed: whoever
/// planted it would have us write to any file of ours.
///
/// # Errors
/// What the system said, or that it is a link.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => text!("it is a symbolic link, and none is followed here").into_io(error.kind()),
        _ => error,
    })
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
    use crate::control::history::index::Index;
    use crate::control::incidents::audit::{AuditLog, Event, Record, Who};
    use crate::control::incidents::state::StateDirectory;
    use crate::language::{Lang, Text};
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

    #[test]
    fn nor_is_one_in_the_place_of_a_file_that_is_appended_to_or_locked() {
        let place = std::env::temp_dir().join(format!("weir-no-link-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        let theirs = place.join("theirs");
        for name in ["index.jsonl", "audit.jsonl", ".lock"] {
            symlink(&theirs, place.join(name)).unwrap();
        }
        let is_told = |told: String| assert!(told.contains("它是符号链接"), "{told}");
        // They lead to nothing that is there: whoever followed one would make it.
        let now = crate::clock::Clock::start().now();
        let record = Record::new(now, &Who::weir(), Event::Mode, "x".to_owned(), "");
        is_told(Text::of_io(&AuditLog::new(&place, 1).append(&[record]).unwrap_err()).to(Lang::Zh));
        let entry = crate::control::history::Entry {
            time: String::new(),
            id: crate::policy::PolicyId::of(&crate::policy::document::Files::default()),
            how: crate::control::history::How::Start,
            who: Who::weir(),
            reason: String::new(),
            before: None,
        };
        let mut index = Index::open(&place.join("index.jsonl")).unwrap();
        index.append(entry, 10).expect("it is written anew, and moved over the link");
        assert!(fs::symlink_metadata(place.join("index.jsonl")).unwrap().is_file());
        is_told(StateDirectory::open(std::slice::from_ref(&place)).unwrap_err().message.to(Lang::Zh));
        assert!(fs::symlink_metadata(&theirs).is_err(), "nothing was made");
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn what_is_no_path_of_a_file_is_told_in_both_languages() {
        let told = Text::of_io(&write(Path::new("/"), b"").unwrap_err());
        assert_eq!((told.english().as_str(), told.to(Lang::Zh).as_str()), ("not the path of a file", "不是文件的路径"));
    }
}
