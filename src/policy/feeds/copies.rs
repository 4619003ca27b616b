//! The copies of feeds that a policy is compiled with: the last good ones, from the directory that the control side writes
//! (`feeds/NAME` in the state directory), or given. Each is held against the hash in its manifest, so that a half-written
//! or damaged file is no list with half of its names.

use super::{FeedSettings, Feeds};
use crate::language::{Text, text};
use crate::policy::document::Contents;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest manifest, in bytes.
const MANIFEST_MAX: u64 = 64 * 1024;

/// The manifest of the last good copy.
const MANIFEST: &str = "manifest.json";

/// The version of manifests that is written and read.
const VERSION: u32 = 1;

/// What is known of a copy; beside it on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file's form.
    pub weir_feed: u32,
    /// SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Lines or records in it.
    pub entries: u64,
    /// Where it came from: what is known of a copy of another source is not asked about at this one.
    pub source: String,
    /// The server's name for this version (RFC 9110 section 8.8.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the server says that it changed, as it said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// The serial of a zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// The minisign public key that a signature of it was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// When this content came, in milliseconds of Unix time.
    pub fetched_unix_ms: u64,
    /// When the source said last that this is what it has, in milliseconds of Unix time.
    pub confirmed_unix_ms: u64,
}

impl Manifest {
    /// That of some content; what the source says of it is for the caller to fill in.
    pub fn of(content: &[u8], source: String, unix_ms: u64) -> Self {
        Self {
            weir_feed: VERSION,
            sha256: hex(&digest_of(content)),
            bytes: content.len() as u64,
            source,
            fetched_unix_ms: unix_ms,
            confirmed_unix_ms: unix_ms,
            ..Self::default()
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// The message for the user.
    pub fn parse(bytes: &[u8]) -> Result<Self, Text> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| Text::of_json(&error))?;
        if manifest.weir_feed != VERSION {
            return Err(text!(
                "it is of version {found}, and this program reads {version}",
                found = manifest.weir_feed,
                version = VERSION
            ));
        }
        if manifest.sha256.len() != 64 || !manifest.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(text!("sha256 is not 64 hexadecimal digits"));
        }
        Ok(manifest)
    }
}

/// The content of a feed at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The list, or the zone as master-file text; left on the disk where it comes from there.
    pub content: Contents,
    /// What is known of it.
    pub manifest: Manifest,
}

/// Where copies are found. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// `feeds` in the state directory.
    directory: Option<PathBuf>,
    /// Those that take the place of what is on the disk.
    given: BTreeMap<String, Arc<Copy>>,
    /// Copies come, though there may be none yet.
    come: bool,
}

impl Copies {
    /// Those of a directory.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()), come: true, ..Self::default() }
    }

    /// Those that are given alone.
    pub fn in_memory() -> Self {
        Self { come: true, ..Self::default() }
    }

    /// With one in the place of what is on the disk, or of nothing.
    #[must_use]
    pub fn with(mut self, name: &str, copy: Arc<Copy>) -> Self {
        self.come = true;
        self.given.insert(name.to_owned(), copy);
        self
    }

    /// Whether there is any place where copies could be.
    pub fn is_nowhere(&self) -> bool {
        !self.come
    }

    /// The copy of a feed; `None` when there never was one. Reads up to `size_max` bytes from the disk, in pieces, and
    /// hashes them.
    ///
    /// # Errors
    /// The message for the user: why the copy that should be there cannot be used.
    pub fn of(&self, feed: &FeedSettings) -> Result<Option<Arc<Copy>>, Text> {
        if let Some(copy) = self.given.get(&feed.name) {
            return Ok(Some(Arc::clone(copy)));
        }
        let Some(directory) = &self.directory else { return Ok(None) };
        let directory = directory.join(&feed.name);
        let Some(manifest) = read_manifest(&directory.join(MANIFEST))? else { return Ok(None) };
        read_content(&directory, manifest).map(|copy| Some(Arc::new(copy)))
    }

    /// The hash of the copy that each feed has now, without reading the content.
    pub fn in_force(&self, feeds: &Feeds) -> BTreeMap<String, String> {
        let hash = |feed: &Arc<FeedSettings>| {
            let given = self.given.get(&feed.name).map(|copy| copy.manifest.sha256.clone());
            let kept = || {
                let path = self.directory.as_ref()?.join(&feed.name).join(MANIFEST);
                Some(read_manifest(&path).ok()??.sha256)
            };
            Some((feed.name.clone(), given.or_else(kept)?))
        };
        feeds.iter().filter_map(hash).collect()
    }
}

/// The content that a manifest of this directory speaks of.
///
/// # Errors
/// The message for the user.
pub fn read_content(directory: &Path, manifest: Manifest) -> Result<Copy, Text> {
    let path = directory.join(content_file(&manifest.sha256));
    let told = |error: Text| text!("{path}: {error}", path = path.display(), error);
    let read = File::open(&path).and_then(|file| Contents::on_disk(file, manifest.bytes));
    match read.map_err(|error| told(Text::of_io(&error)))? {
        Some(content) if content.len() == manifest.bytes && hex(&content.sha256()) == manifest.sha256 => {
            Ok(Copy { content, manifest })
        }
        _ => Err(told(text!("it is not what was fetched: its hash is another"))),
    }
}

/// Reads a manifest; `None` when there is none.
///
/// # Errors
/// The message for the user.
pub fn read_manifest(path: &Path) -> Result<Option<Manifest>, Text> {
    match read_bounded(path, MANIFEST_MAX) {
        Ok(bytes) => {
            Manifest::parse(&bytes).map(Some).map_err(|error| text!("{path}: {error}", path = path.display(), error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(text!("{path}: {error}", path = path.display(), error = Text::of_io(&error))),
    }
}

/// At most `most` bytes and one.
fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file of a content in the directory of its feed.
pub fn content_file(sha256: &str) -> String {
    format!("{sha256}.copy")
}

/// SHA-256.
pub fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// In hexadecimal digits.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn manifests_of_any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn a_manifest_survives_the_disk(etag in proptest::option::of(".*"), serial: Option<u32>, at: u64) {
            let manifest = Manifest { etag, serial, entries: 3, ..Manifest::of(b"x", "https://a/".into(), at) };
            prop_assert_eq!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn a_manifest_cannot_name_a_file_elsewhere() {
        let manifest = Manifest { sha256: "../../etc/passwd".into(), ..Manifest::of(b"", String::new(), 0) };
        let text = serde_json::to_vec(&manifest).unwrap();
        assert!(Manifest::parse(&text).unwrap_err().english().contains("hexadecimal"));
    }
}
