//! The files of a policy directory with what is in them. A map and not a path: tests, fuzzing and the built-in policy need no
//! disk, and a reload sees one moment of the directory and not several. What is large and no rules stays on the disk: see
//! `contents`.

use super::contents::LARGE;
use super::{Code, Contents, Faults, Place};
use crate::language::{Text, text};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// The largest rule file, in bytes.
pub const TOML_MAX: u64 = 4 << 20;

/// The largest list or zone, in bytes.
pub const LIST_MAX: u64 = 256 << 20;

/// The most files of a directory.
pub const FILES_MAX: usize = 4_096;

/// The largest directory, in bytes of all files that are read: eight of the largest lists. What the history unpacks has the
/// same bound, so that it brings back whatever has run.
pub const POLICY_MAX: u64 = 8 * LIST_MAX;

/// The largest file of a path, in bytes.
pub fn largest(path: &str) -> u64 {
    if path.ends_with(".toml") { TOML_MAX } else { LIST_MAX }
}

/// Whether a file is left on the disk when it is large: lists, and policy zones wherever they are. All else is held in
/// memory.
fn can_stay(path: &str) -> bool {
    path.ends_with(".rpz") || path.starts_with("lists/") && !path.ends_with(".toml")
}

/// The most files that are left on the disk, each of which stays open: more of them are held in memory.
pub const ON_DISK_MAX: usize = 64;

/// The deepest nesting of directories.
const DEPTH_MAX: usize = 4;

/// Path within the directory (with `/`) to contents.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: BTreeMap<Arc<str>, Contents>,
    /// Those on disk that every user may read or write.
    open: BTreeSet<Arc<str>>,
    /// Whether there were more than may be.
    is_cut: bool,
}

impl Files {
    /// The contents of a file.
    pub fn contents(&self, path: &str) -> Option<&Contents> {
        self.files.get(path)
    }

    /// The contents of a file that is never left on the disk: of any but a list or a policy zone.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path)?.in_memory()
    }

    /// Whether every user of the machine may read or write a file, which matters for one that holds secrets.
    pub fn is_open_to_others(&self, path: &str) -> bool {
        self.open.contains(path)
    }

    /// Whether the directory held more than a policy may, which was told: what is here says nothing about what is not.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The path as the map holds it, shared, for places.
    pub fn path(&self, path: &str) -> Option<&Arc<str>> {
        self.files.get_key_value(path).map(|(path, _)| path)
    }

    /// All files, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Contents)> {
        self.files.iter()
    }

    /// The files directly within a directory whose names end in `.extension`, sorted.
    pub fn within<'f>(&'f self, dir: &str, extension: &str) -> impl Iterator<Item = &'f Arc<str>> {
        let (dir, extension) = (format!("{dir}/"), format!(".{extension}"));
        self.files.keys().filter(move |path| {
            path.strip_prefix(dir.as_str()).is_some_and(|name| !name.contains('/') && name.ends_with(&extension))
        })
    }

    /// Takes a file in, or replaces it.
    pub fn insert(&mut self, path: &str, contents: impl Into<Contents>) {
        self.files.insert(path.into(), contents.into());
    }

    /// Takes a file out.
    pub fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Takes over those files of `other` for which `wanted` holds, with their permissions, in place of all own ones of the
    /// kind.
    pub fn take_over(&mut self, other: &Self, wanted: impl Fn(&str) -> bool) {
        self.files.retain(|path, _| !wanted(path));
        self.open.retain(|path| !wanted(path));
        for (path, contents) in other.files.iter().filter(|(path, _)| wanted(path)) {
            self.files.insert(Arc::clone(path), contents.clone());
        }
        self.open.extend(other.open.iter().filter(|path| wanted(path)).cloned());
    }

    /// SHA-256 over all paths and contents, each with its length, so that no two directories can look alike. What is large
    /// counts by its own SHA-256, wherever it is, so that it is not read for this once more.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (path, contents) in &self.files {
            digest.update((path.len() as u64).to_be_bytes());
            digest.update(path.as_bytes());
            digest.update(contents.len().to_be_bytes());
            match contents.in_memory() {
                Some(bytes) if contents.len() < LARGE => digest.update(bytes),
                _ => digest.update(contents.sha256()),
            }
        }
        digest.finalize().into()
    }

    /// Reads a directory. Files that an editor or a version control system leaves behind, and READMEs, are not part of it.
    /// Symbolic links may point within the directory only.
    ///
    /// # Errors
    /// A directory that cannot be read at all; everything else goes to `faults`.
    pub fn read(dir: &Path, faults: &Faults) -> io::Result<Self> {
        Self::read_those(dir, faults, |_| true)
    }

    /// As [`Self::read`], but only files whose paths are `wanted`.
    ///
    /// # Errors
    /// As there.
    pub fn read_those(dir: &Path, faults: &Faults, wanted: fn(&str) -> bool) -> io::Result<Self> {
        Self::read_up_to(dir, faults, wanted, POLICY_MAX)
    }

    /// As [`Self::read_those`], of so many bytes in all.
    ///
    /// # Errors
    /// As there.
    pub fn read_up_to(dir: &Path, faults: &Faults, wanted: fn(&str) -> bool, most: u64) -> io::Result<Self> {
        let root = dir.canonicalize()?;
        let mut reader = Reader { root: &root, faults, wanted, files: Self::default(), on_disk: 0, most, left: most };
        reader.directory(&root, "", 0)?;
        Ok(reader.files)
    }
}

impl<P: Into<Arc<str>>, B: Into<Contents>> FromIterator<(P, B)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let files = files.into_iter().map(|(path, contents)| (path.into(), contents.into())).collect();
        Self { files, open: BTreeSet::new(), is_cut: false }
    }
}

/// The paths of all files below a directory that [`Files::read`] would look at, whatever is in them.
///
/// # Errors
/// What cannot be listed.
pub fn paths(dir: &Path) -> io::Result<Vec<String>> {
    fn walk(dir: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if is_ignored(&name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            if !entry.file_type()?.is_dir() {
                found.push(path);
            } else if depth < DEPTH_MAX {
                walk(&entry.path(), &format!("{path}/"), depth + 1, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(dir, "", 0, &mut found)?;
    found.sort();
    Ok(found)
}

/// Whether a name is none of the policy's business: hidden, a backup, a README.
fn is_ignored(name: &str) -> bool {
    name.starts_with(['.', '#'])
        || name.ends_with('~')
        || name.starts_with("README")
        || [".swp", ".swo", ".bak", ".orig", ".rej", ".tmp"].iter().any(|end| name.ends_with(end))
}

struct Reader<'r> {
    root: &'r Path,
    faults: &'r Faults,
    wanted: fn(&str) -> bool,
    files: Files,
    /// How many of them were left on the disk.
    on_disk: usize,
    /// The most bytes of them all.
    most: u64,
    /// How many more bytes there may be.
    left: u64,
}

impl Reader<'_> {
    fn directory(&mut self, dir: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let path = format!("{prefix}{}", name.to_string_lossy());
                let message = text!("the name of file {path:?} is not UTF-8", path);
                self.faults.add(Code::Utf8, &Place::whole(&path), message, text!("give it another name"));
                continue;
            };
            // Once there was more than may be, which is told once, nothing else is looked at.
            if !is_ignored(name) && !self.files.is_cut {
                self.entry(&entry.path(), &format!("{prefix}{name}"), depth);
            }
        }
        Ok(())
    }

    fn entry(&mut self, disk: &Path, path: &str, depth: usize) {
        let real = match disk.canonicalize() {
            Ok(real) => real,
            Err(error) => {
                return self.fault(
                    Code::Io,
                    path,
                    text!("cannot read {path}: {error}", path, error = Text::of_io(&error)),
                );
            }
        };
        if !real.starts_with(self.root) {
            return self.faults.add(
                Code::Path,
                &Place::whole(path),
                text!("{path} is a link that leaves the policy directory", path),
                text!("put the file itself into the directory: a policy is checked, hashed and swapped as a whole"),
            );
        }
        if real.is_dir() {
            if disk.is_symlink() {
                let message = text!("{path} is a link to a directory", path);
                return self.faults.add(Code::Path, &Place::whole(path), message, text!("link single files, or none"));
            }
            // Passed over, it would leave the defaults in force where rules were meant to be.
            if path.ends_with(".toml") {
                let message = text!("cannot read {path}: it is a directory", path);
                return self.faults.add(
                    Code::Io,
                    &Place::whole(path),
                    message,
                    text!("a file of that name is meant here"),
                );
            }
            if depth == DEPTH_MAX {
                return self.fault(
                    Code::TooMany,
                    path,
                    text!("directories are nested deeper than {most}", most = DEPTH_MAX),
                );
            }
            if let Err(error) = self.directory(&real, &format!("{path}/"), depth + 1) {
                self.fault(Code::Io, path, text!("cannot read {path}: {error}", path, error = Text::of_io(&error)));
            }
            return;
        }
        if !(self.wanted)(path) {
            return;
        }
        if self.files.files.len() == FILES_MAX {
            self.files.is_cut = true;
            return self.fault(
                Code::TooMany,
                path,
                text!("more than {most} files in the policy directory", most = FILES_MAX),
            );
        }
        let (left, limit) = (self.left, largest(path));
        let stays = can_stay(path) && self.on_disk < ON_DISK_MAX;
        match read_bounded(&real, limit.min(left), stays) {
            Ok(Some((contents, is_open))) => {
                self.left = left - contents.len();
                self.on_disk += usize::from(contents.in_memory().is_none());
                self.files.insert(path, contents);
                if is_open {
                    self.files.open.insert(path.into());
                }
            }
            Ok(None) if left < limit => {
                self.files.is_cut = true;
                let limit = self.most >> 20;
                self.fault(
                    Code::TooLarge,
                    path,
                    text!("the files of the policy are larger than {limit} MiB together", limit),
                );
            }
            Ok(None) => {
                self.fault(Code::TooLarge, path, text!("{path} is larger than {limit} MiB", path, limit = limit >> 20));
            }
            Err(error) => {
                self.fault(Code::Io, path, text!("cannot read {path}: {error}", path, error = Text::of_io(&error)));
            }
        }
    }

    fn fault(&self, code: Code, path: &str, message: Text) {
        let hint = match code {
            Code::Io => text!("the gateway must be able to read every file of the directory"),
            _ => text!("split it, or take out what does not belong to the policy"),
        };
        self.faults.add(code, &Place::whole(path), message, hint);
    }
}

/// The permissions of those who are neither the owner nor of the group, to read or to write.
const OTHERS: u32 = 0o006;

/// The contents, and whether every user may read or write them; `None` when there are more than `limit` bytes. Only
/// regular files: a pipe would wait for ever. One that is large and `stays` is left where it is.
fn read_bounded(path: &Path, limit: u64, stays: bool) -> io::Result<Option<(Contents, bool)>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(text!("not a regular file").into_io(io::ErrorKind::InvalidInput));
    }
    let file = fs::File::open(path)?;
    let is_open = metadata.permissions().mode() & OTHERS != 0;
    if stays && metadata.len() >= LARGE {
        return Ok(Contents::on_disk(file, limit)?.map(|contents| (contents, is_open)));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then(|| (bytes.into(), is_open)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Lang;

    #[test]
    fn what_is_no_regular_file_is_refused_in_both_languages() {
        let dir = std::env::temp_dir().join(format!("weir-files-irregular-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.join("s.txt")).unwrap();
        let faults = Faults::default();
        let files = Files::read(&dir, &faults).unwrap();
        let told: Vec<_> =
            faults.into_parts().0.into_iter().map(|f| (f.message.english(), f.message.to(Lang::Zh))).collect();
        assert_eq!(files.iter().count(), 0);
        assert_eq!(
            told,
            [("cannot read s.txt: not a regular file".to_owned(), "无法读取 s.txt：不是普通文件".to_owned())]
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn files_that_are_too_large_together_are_refused_once() {
        let dir = std::env::temp_dir().join(format!("weir-files-together-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("lists")).unwrap();
        // Some in memory and some on the disk: three MiB in all.
        for (path, bytes) in [("a.txt", LARGE), ("b.txt", LARGE + 1), ("c.txt", LARGE - 1)] {
            fs::write(dir.join("lists").join(path), vec![b'\n'; usize::try_from(bytes).unwrap()]).unwrap();
        }
        let read = |most| {
            let faults = Faults::default();
            let files = Files::read_up_to(&dir, &faults, |_| true, most).unwrap();
            let told = faults.into_parts().0.into_iter().map(|f| (f.place.file.to_string(), f.message.to(Lang::Zh)));
            (files.iter().count(), told.collect::<Vec<_>>())
        };
        assert_eq!(read(3 * LARGE), (3, vec![]));
        let told = |path: &str, limit| (path.to_owned(), format!("策略的文件合计超过 {limit} MiB"));
        assert_eq!(read(3 * LARGE - 1), (2, vec![told("lists/c.txt", 2)]));
        assert_eq!(read(LARGE), (1, vec![told("lists/b.txt", 1)]), "and what follows is not told of again");
        fs::remove_dir_all(&dir).unwrap();
    }
}
