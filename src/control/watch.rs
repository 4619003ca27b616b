//! Sees that a policy directory has changed, by comparing a digest of it a few times a second.
//!
//! Polling is deliberate: it sees what notification misses (a symlink swapped atomically, as configuration managers and
//! orchestrators do it; network file systems; a directory moved away and back), needs no descriptor per file, and
//! costs one `stat` a file. The digest holds no contents: an edit that keeps size, inode and both times is not seen by
//! itself, and SIGHUP and `weir reload` are there for it.

use crate::clock::Moment;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Between two looks.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// How long a change must have been stable until it is loaded, so that a copy in progress is not.
pub const STABLE: Duration = Duration::from_millis(300);

/// The most directory entries that are looked at; a directory with more is watched by its first ones.
const ENTRIES_MAX: usize = 100_000;

/// How deep directories are followed.
const DEPTH_MAX: usize = 16;

/// What a directory looked like: names, sizes, times and inodes of all files in it, symlinks followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// Takes the digest of `dir`. What cannot be read is part of it as what it is: a directory that is gone has a digest
/// too, and it differs from when it was there.
pub fn digest(dir: &Path) -> Digest {
    let mut walk = Walk { hash: Sha256::new(), left: ENTRIES_MAX, above: Vec::new() };
    walk.directory(dir, Path::new(""));
    Digest(walk.hash.finalize().into())
}

struct Walk {
    hash: Sha256,
    /// Entries that may still be looked at.
    left: usize,
    /// Device and inode of the directories that we are in: a symlink to one of them is a loop.
    above: Vec<(u64, u64)>,
}

impl Walk {
    fn directory(&mut self, dir: &Path, relative: &Path) {
        let entries = fs::read_dir(dir).and_then(|entries| entries.take(self.left).collect::<io::Result<Vec<_>>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return add_error(&mut self.hash, relative, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.left = self.left.saturating_sub(1);
            let (path, relative) = (entry.path(), relative.join(entry.file_name()));
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    let identity = (metadata.dev(), metadata.ino());
                    if self.above.len() < DEPTH_MAX && !self.above.contains(&identity) {
                        self.above.push(identity);
                        self.directory(&path, &relative);
                        self.above.pop();
                    }
                }
                Ok(metadata) => add_file(&mut self.hash, &relative, &metadata),
                Err(error) => add_error(&mut self.hash, &relative, &error),
            }
        }
    }
}

fn add_file(hash: &mut Sha256, relative: &Path, metadata: &fs::Metadata) {
    add_path(hash, b'f', relative);
    hash.update(metadata.len().to_be_bytes());
    hash.update(metadata.ino().to_be_bytes());
    hash.update(metadata.dev().to_be_bytes());
    for time in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
        hash.update(time.to_be_bytes());
    }
}

fn add_error(hash: &mut Sha256, relative: &Path, error: &io::Error) {
    add_path(hash, b'e', relative);
    hash.update(error.raw_os_error().unwrap_or(0).to_be_bytes());
}

/// Kind and length come first, so that no two lists of files share a digest.
fn add_path(hash: &mut Sha256, kind: u8, relative: &Path) {
    let bytes = relative.as_os_str().as_encoded_bytes();
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// Decides when to load: once per change, after it has been stable for [`STABLE`].
#[derive(Debug)]
pub struct Watch {
    /// What was loaded last, or refused last.
    settled: Digest,
    /// What differs from it, and since when it has looked the same.
    pending: Option<(Digest, Moment)>,
}

impl Watch {
    /// A watch over a directory that was loaded when it looked like `loaded`.
    pub fn new(loaded: Digest) -> Self {
        Self { settled: loaded, pending: None }
    }

    /// Takes a look; true when the directory is to be loaded now. A change that was undone before is no change.
    pub fn observe(&mut self, now: Moment, seen: Digest) -> bool {
        match self.pending {
            _ if seen == self.settled => self.pending = None,
            Some((pending, since)) if pending == seen => {
                if now.since(since) >= STABLE {
                    self.settle(seen);
                    return true;
                }
            }
            _ => self.pending = Some((seen, now)),
        }
        false
    }

    /// Tells that the directory was loaded, for whatever cause, when it looked like `loaded`.
    pub fn settle(&mut self, loaded: Digest) {
        self.settled = loaded;
        self.pending = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_change_is_loaded_once_and_only_when_stable() {
        let [a, b, c] = [1, 2, 3].map(|n| Digest([n; 32]));
        let mut watch = Watch::new(a);
        assert!(!watch.observe(at(0), a));
        assert!(!watch.observe(at(100), b), "just changed");
        assert!(!watch.observe(at(350), b), "stable for 250 ms");
        assert!(!watch.observe(at(380), c), "changes still");
        assert!(!watch.observe(at(600), c));
        assert!(watch.observe(at(680), c), "stable for 300 ms");
        assert!(!watch.observe(at(2000), c), "reported once, loaded or refused");
    }

    #[test]
    fn a_change_that_is_undone_is_none() {
        let [a, b] = [1, 2].map(|n| Digest([n; 32]));
        let mut watch = Watch::new(a);
        assert!(!watch.observe(at(0), b));
        assert!(!watch.observe(at(200), a));
        assert!(!watch.observe(at(300), b), "starts to wait anew");
        assert!(!watch.observe(at(500), b));
        watch.settle(b);
        assert!(!watch.observe(at(900), b), "a reload by command has taken it");
    }

    #[test]
    fn the_digest_sees_edits_swaps_and_absence() {
        let root = std::env::temp_dir().join(format!("weir-watch-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for version in ["one", "two"] {
            fs::create_dir_all(root.join(version).join("lists")).unwrap();
            fs::write(root.join(version).join("lists/x.txt"), "same length").unwrap();
        }
        let dir = root.join("current");
        std::os::unix::fs::symlink("one", &dir).unwrap();
        let first = digest(&dir);
        assert_eq!(first, digest(&dir), "looking changes nothing");

        std::os::unix::fs::symlink("two", root.join("next")).unwrap();
        fs::rename(root.join("next"), &dir).unwrap();
        let swapped = digest(&dir);
        assert_ne!(first, swapped, "another tree under the same name, of the same sizes");

        fs::write(root.join("two/new.toml"), "").unwrap();
        let added = digest(&dir);
        assert_ne!(swapped, added);

        fs::remove_file(&dir).unwrap();
        assert_ne!(added, digest(&dir), "gone");
        assert_eq!(digest(&dir), digest(&dir));

        std::os::unix::fs::symlink("loop", root.join("one/loop")).unwrap();
        std::os::unix::fs::symlink("..", root.join("one/up")).unwrap();
        digest(&root.join("one"));
        fs::remove_dir_all(&root).unwrap();
    }
}
