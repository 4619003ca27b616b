//! Lines are appended to a log whole or not at all: half a line, left by a disk that is full, would swallow the next one.

use std::fs::File;
use std::io;

/// Appends what `write` writes to `file`, which is open for appending. When that fails, what went in of it is cut off again;
/// pipes and devices keep what they took.
///
/// # Errors
/// What `write` said; the file is as before.
pub fn append(file: &mut File, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let before = file.metadata()?;
    let written = write(file);
    // Shorter than before: somebody emptied it meanwhile, and it must not grow by a hole.
    if written.is_err() && before.is_file() && file.metadata().is_ok_and(|now| now.len() > before.len()) {
        // What cannot be cut off stays: what failed is told all the same.
        let _ = file.set_len(before.len());
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_failure_leaves_the_file_as_it_was() {
        let path = std::env::temp_dir().join(format!("weir-lines-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        append(&mut file, |file| file.write_all(b"whole\n")).unwrap();
        let full = || Err(io::ErrorKind::StorageFull.into());
        let failed = append(&mut file, |file| file.write_all(b"whole\nha").and_then(|()| full()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        append(&mut file, |file| file.write_all(b"next\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nnext\n");
        // Log rotation that copies and empties comes in between.
        append(&mut file, |file| file.set_len(0).and_then(|()| full())).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"");
        fs::remove_file(&path).unwrap();
    }
}
