//! The policies that are kept: contents by their SHA-256, compressed, and a manifest for each policy. A manifest is
//! written after all that it names, so one that is there is whole.

use crate::control::whole_file;
use crate::language::{Text, text};
use crate::policy::PolicyId;
use crate::policy::document::contents::LARGE;
use crate::policy::document::files::{FILES_MAX, LIST_MAX, ON_DISK_MAX, POLICY_MAX, largest};
use crate::policy::document::{Contents, Files};
use crate::policy::feeds::{digest_of, hex};
use crate::policy::load::is_secrets;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of manifests.
const VERSION: u64 = 1;

/// The largest manifest, in bytes: room for [`FILES_MAX`] files, each with a path of a thousand.
const MANIFEST_MAX: u64 = 8 << 20;

/// What a policy consists of.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// [`VERSION`].
    weir_policy: u64,
    files: Vec<Item>,
}

/// A file of a policy.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    path: String,
    sha256: String,
    bytes: u64,
}

impl Manifest {
    /// As it is written, for a policy that [`Objects::read_manifest`] would take: what it refuses is dropped in time, with
    /// all that it names.
    fn written(&self) -> Result<Vec<u8>, Text> {
        self.check()?;
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| Text::of_json(&error))?;
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(text!("its manifest is larger than {most} MiB", most = MANIFEST_MAX >> 20));
        }
        Ok(bytes)
    }

    /// Nothing is unpacked for a manifest that asks for more than a policy may have: whoever wrote into it, or a disk that
    /// failed, must not fill the disk or the memory. Each file is unpacked to what it says here, and not on.
    fn check(&self) -> Result<(), Text> {
        if self.files.len() > FILES_MAX {
            return Err(text!("it has more than {most} files", most = FILES_MAX));
        }
        if let Some(item) = self.files.iter().find(|item| item.bytes > largest(&item.path)) {
            let (path, limit) = (&item.path, largest(&item.path) >> 20);
            return Err(text!("{path} is larger than {limit} MiB", path, limit));
        }
        if self.files.iter().map(|item| item.bytes).sum::<u64>() > POLICY_MAX {
            return Err(text!(
                "the files of the policy are larger than {limit} MiB together",
                limit = POLICY_MAX >> 20
            ));
        }
        Ok(())
    }
}

/// A policy from the history.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Its files, without those of secrets.
    pub files: Files,
    /// The digests of its secrets.
    pub secrets: BTreeMap<String, String>,
}

/// See above.
#[derive(Debug)]
pub struct Objects {
    pub(super) policies: PathBuf,
    pub(super) files: PathBuf,
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&digest_of(bytes))
}

/// The contents of a regular file, where it has this length; left there when they are large, in memory else.
fn read_of_length(path: &Path, bytes: u64) -> Option<Contents> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() != bytes || bytes > LIST_MAX {
        return None;
    }
    let contents = Contents::on_disk(file, bytes).ok()??;
    if bytes < LARGE { contents.whole().ok().map(|bytes| bytes.into_owned().into()) } else { Some(contents) }
}

impl Objects {
    /// Opens or makes them in the directory of the history.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let objects = Self { policies: dir.join("policies"), files: dir.join("files") };
        for dir in [&objects.policies, &objects.files] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(objects)
    }

    pub(super) fn manifest(&self, id: PolicyId) -> PathBuf {
        self.policies.join(format!("{}.json", id.hex()))
    }

    pub(super) fn contents(&self, sha256: &str) -> PathBuf {
        self.files.join(format!("{sha256}.gz"))
    }

    /// Whether a policy is kept.
    pub fn has(&self, id: PolicyId) -> bool {
        self.manifest(id).exists()
    }

    /// Whether the manifest of a policy can be read.
    pub fn is_whole(&self, id: PolicyId) -> bool {
        self.read_manifest(id).is_ok()
    }

    /// The SHA-256 of all contents that a policy names.
    ///
    /// # Errors
    /// Its manifest cannot be read.
    pub(super) fn names(&self, id: PolicyId) -> io::Result<Vec<String>> {
        Ok(self.read_manifest(id)?.files.into_iter().map(|item| item.sha256).collect())
    }

    /// Keeps a policy. A manifest that is there and cannot be read is written anew.
    ///
    /// # Errors
    /// What the system said, or that it is more than could be read again.
    pub fn keep(&self, files: &Files) -> io::Result<PolicyId> {
        let id = PolicyId::of(files);
        match self.read_manifest(id) {
            Ok(_) => return Ok(id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("the manifest of policy {id} is written anew: it cannot be read: {error}"),
        }
        let item = |(path, contents): (&Arc<str>, &Contents)| Item {
            path: path.to_string(),
            sha256: hex(&contents.sha256()),
            bytes: contents.len(),
        };
        let manifest = Manifest { weir_policy: VERSION, files: files.iter().map(item).collect() };
        let refused =
            |cause| text!("policy {id} cannot be kept: {cause}", id, cause).into_io(io::ErrorKind::InvalidInput);
        let written = manifest.written().map_err(refused)?;
        for ((path, contents), Item { sha256, .. }) in files.iter().zip(&manifest.files) {
            if !is_secrets(path) && !self.contents(sha256).exists() {
                // What is on the disk is held against its digest while it is read: what is kept is what was compiled.
                whole_file::write_by(&self.contents(sha256), |file| {
                    let mut packed = GzEncoder::new(BufWriter::new(file), Compression::fast());
                    contents.read_through(|piece| packed.write_all(piece))?;
                    packed.finish()?.flush()
                })?;
            }
        }
        whole_file::write(&self.manifest(id), &written)?;
        Ok(id)
    }

    /// The files of a policy, each held against its digest.
    ///
    /// # Errors
    /// The message for the user.
    pub fn load(&self, id: PolicyId) -> Result<Kept, Text> {
        self.load_beside(id, None)
    }

    /// As [`Self::load`]; a file that lies in `dir` as it is kept is taken from there, which needs no unpacking.
    ///
    /// # Errors
    /// As there.
    pub fn load_beside(&self, id: PolicyId, dir: Option<&Path>) -> Result<Kept, Text> {
        let manifest = self.read_manifest(id).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => text!("the files of policy {id} are not kept any more", id),
            _ => text!("policy {id} of the history cannot be read: {error}", id, error = Text::of_io(&error)),
        })?;
        let (mut kept, mut on_disk) = (Kept::default(), 0);
        for Item { path, sha256, bytes } in manifest.files {
            if is_secrets(&path) {
                kept.secrets.insert(path, sha256);
                continue;
            }
            let lies = dir.and_then(|dir| read_of_length(&dir.join(&path), bytes));
            if let Some(found) = lies.filter(|found| hex(&found.sha256()) == sha256) {
                kept.files.insert(&path, found);
                continue;
            }
            let broken = |cause: Text| text!("policy {id} of the history is broken: {path}: {cause}", id, path, cause);
            let found = self.unpack(&sha256, bytes, on_disk < ON_DISK_MAX);
            let found = found.map_err(|error| broken(Text::of_io(&error)))?;
            if hex(&found.sha256()) != sha256 {
                return Err(broken(text!(
                    "its contents are not those of {path}",
                    path = self.contents(&sha256).display()
                )));
            }
            on_disk += usize::from(found.in_memory().is_none());
            kept.files.insert(&path, found);
        }
        Ok(kept)
    }

    /// What was kept, unpacked: into a file without a name where it is large, may stay there and the disk has room, into
    /// memory else.
    fn unpack(&self, sha256: &str, bytes: u64, stays: bool) -> io::Result<Contents> {
        if stays
            && (LARGE..=LIST_MAX).contains(&bytes)
            && let Ok(Some(contents)) = self.unpack_to_disk(sha256, bytes)
        {
            return Ok(contents);
        }
        self.read_contents(sha256, bytes).map(Contents::from)
    }

    fn unpack_to_disk(&self, sha256: &str, bytes: u64) -> io::Result<Option<Contents>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut packed = GzDecoder::new(File::open(self.contents(sha256))?).take(bytes + 1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.files.join(format!(".{sha256}.{}.{number}", std::process::id()));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        io::copy(&mut packed, &mut file)?;
        Contents::on_disk(file, bytes)
    }

    /// One file of a policy; `None` where it has none of that path.
    ///
    /// # Errors
    /// What the system said.
    pub fn file(&self, id: PolicyId, path: &str) -> io::Result<Option<Vec<u8>>> {
        let item = self.read_manifest(id)?.files.into_iter().find(|item| item.path == path);
        item.map(|item| self.read_contents(&item.sha256, item.bytes)).transpose()
    }

    fn read_manifest(&self, id: PolicyId) -> io::Result<Manifest> {
        let mut bytes = Vec::new();
        File::open(self.manifest(id))?.take(MANIFEST_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MANIFEST_MAX {
            let message = text!("it is larger than {most} MiB", most = MANIFEST_MAX >> 20);
            return Err(message.into_io(io::ErrorKind::InvalidData));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes)?;
        if manifest.weir_policy != VERSION {
            let message = text!(
                "it is of version {found}, and this program reads {version}",
                found = manifest.weir_policy,
                version = VERSION
            );
            return Err(message.into_io(io::ErrorKind::InvalidData));
        }
        manifest.check().map_err(|message| message.into_io(io::ErrorKind::InvalidData))?;
        Ok(manifest)
    }

    fn read_contents(&self, sha256: &str, bytes: u64) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        let limit = bytes.min(LIST_MAX) + 1;
        GzDecoder::new(File::open(self.contents(sha256))?).take(limit).read_to_end(&mut found)?;
        Ok(found)
    }
}
