//! Where copies of feeds are kept: `feeds/NAME` in the state directory, or in memory where there is none.
//!
//! The content is written first, under its hash, and the manifest last, so that a crash leaves the old copy or the new one.
//! What a new copy takes the place of stays on the disk until the next: a policy that is being compiled may still be
//! reading it.

use crate::control::whole_file;
use crate::language::Text;
use crate::policy::feeds::{Copies, Copy, FeedSettings, Manifest, content_file, read_content, read_manifest};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The directory within the state directory.
pub const DIRECTORY: &str = "feeds";

/// The manifest of the copy in force.
const MANIFEST: &str = "manifest.json";

/// The manifest of a copy that waits for somebody to look.
const HELD: &str = "held.json";

/// See above.
#[derive(Debug, Default)]
pub struct Store {
    directory: Option<PathBuf>,
    /// Copies in force, and those that wait, where there is no directory.
    memory: Mutex<[BTreeMap<String, Arc<Copy>>; 2]>,
}

impl Store {
    /// The store of a state directory; in memory without one.
    pub fn open(state: Option<&Path>) -> Self {
        Self { directory: state.map(|state| state.join(DIRECTORY)), memory: Mutex::default() }
    }

    /// The copies in force, for compiling.
    pub fn copies(&self) -> Copies {
        match &self.directory {
            Some(directory) => Copies::in_directory(directory),
            None => {
                let [last, _] = &*self.memory();
                last.iter().fold(Copies::in_memory(), |copies, (name, copy)| copies.with(name, Arc::clone(copy)))
            }
        }
    }

    /// What is known of the copy in force.
    ///
    /// # Errors
    /// The message for the user.
    pub fn manifest(&self, name: &str) -> Result<Option<Manifest>, Text> {
        match &self.directory {
            Some(directory) => read_manifest(&directory.join(name).join(MANIFEST)),
            None => Ok(self.memory()[0].get(name).map(|copy| copy.manifest.clone())),
        }
    }

    /// The copy in force.
    ///
    /// # Errors
    /// The message for the user.
    pub fn last(&self, feed: &FeedSettings) -> Result<Option<Arc<Copy>>, Text> {
        self.copies().of(feed)
    }

    /// Puts a copy in force.
    ///
    /// # Errors
    /// What the system said; the one before stays.
    pub fn commit(&self, name: &str, copy: &Arc<Copy>) -> io::Result<()> {
        self.write(name, copy, MANIFEST)
    }

    /// Keeps a copy until somebody has looked.
    ///
    /// # Errors
    /// What the system said.
    pub fn hold(&self, name: &str, copy: &Arc<Copy>) -> io::Result<()> {
        self.write(name, copy, HELD)
    }

    /// The source says that the copy in force, or the one that waits (`is_held`), is what it has.
    ///
    /// # Errors
    /// What the system said.
    pub fn confirm(&self, name: &str, manifest: Manifest) -> io::Result<()> {
        if let Some(directory) = &self.directory {
            return whole_file::write(&directory.join(name).join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?);
        }
        if let Some(copy) = self.memory()[0].get_mut(name) {
            let bytes = copy.bytes.clone();
            *copy = Arc::new(Copy { bytes, manifest });
        }
        Ok(())
    }

    /// The copy that waits.
    ///
    /// # Errors
    /// The message for the user.
    pub fn held(&self, name: &str) -> Result<Option<Arc<Copy>>, Text> {
        let Some(directory) = &self.directory else { return Ok(self.memory()[1].get(name).cloned()) };
        let directory = directory.join(name);
        let Some(manifest) = read_manifest(&directory.join(HELD))? else { return Ok(None) };
        read_content(&directory, manifest).map(|copy| Some(Arc::new(copy)))
    }

    /// What is known of the copy that waits.
    pub fn held_manifest(&self, name: &str) -> Option<Manifest> {
        match &self.directory {
            Some(directory) => read_manifest(&directory.join(name).join(HELD)).ok()?,
            None => self.memory()[1].get(name).map(|copy| copy.manifest.clone()),
        }
    }

    /// No copy waits any more.
    pub fn release(&self, name: &str) {
        match &self.directory {
            // One that stays is shown as waiting, and may be accepted or replaced.
            Some(directory) => drop(fs::remove_file(directory.join(name).join(HELD))),
            None => drop(self.memory()[1].remove(name)),
        }
    }

    fn memory(&self) -> MutexGuard<'_, [BTreeMap<String, Arc<Copy>>; 2]> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str, copy: &Arc<Copy>, manifest: &str) -> io::Result<()> {
        let Some(directory) = &self.directory else {
            self.memory()[usize::from(manifest == HELD)].insert(name.to_owned(), Arc::clone(copy));
            return Ok(());
        };
        let directory = directory.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let before = read_manifest(&directory.join(MANIFEST)).ok().flatten();
        let content = directory.join(content_file(&copy.manifest.sha256));
        if !content.exists() {
            whole_file::write(&content, &copy.bytes)?;
        }
        whole_file::write(&directory.join(manifest), &serde_json::to_vec_pretty(&copy.manifest)?)?;
        let manifests = [MANIFEST, HELD].map(|file| read_manifest(&directory.join(file)).ok().flatten());
        let kept: Vec<_> =
            manifests.into_iter().chain([before]).flatten().map(|manifest| content_file(&manifest.sha256)).collect();
        sweep(&directory, &kept)
    }
}

/// Removes contents that no manifest speaks of.
fn sweep(directory: &Path, kept: &[String]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.contains(".copy")) else { continue };
        if !kept.iter().any(|kept| kept == name) {
            fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::feeds::test_feed;

    fn copy(text: &str) -> Arc<Copy> {
        let manifest = Manifest { entries: 1, ..Manifest::of(text.as_bytes(), "https://a/".into(), 5) };
        Arc::new(Copy { bytes: text.into(), manifest })
    }

    #[test]
    fn the_last_copy_is_found_again_and_a_damaged_one_is_not_taken() {
        let state = std::env::temp_dir().join(format!("weir-feeds-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        let feed = test_feed("u", "url = \"https://a.example/\"\n");
        let store = Store::open(Some(&state));
        assert_eq!(store.last(&feed), Ok(None));
        for text in ["one", "two", "three"] {
            store.commit("u", &copy(text)).unwrap();
        }
        store.hold("u", &copy("held")).unwrap();
        let again = Store::open(Some(&state));
        assert_eq!(again.last(&feed).unwrap().unwrap(), copy("three"));
        assert_eq!(again.held("u").unwrap().unwrap(), copy("held"));
        let files = || fs::read_dir(state.join("feeds/u")).unwrap().count();
        assert_eq!(files(), 4, "two manifests, the last copy and the one that waits");
        again.release("u");
        assert_eq!(again.held("u"), Ok(None));

        let file = state.join("feeds/u").join(content_file(&copy("three").manifest.sha256));
        fs::write(&file, "thrEE").unwrap();
        assert!(again.last(&feed).unwrap_err().english().contains("its hash is another"));
        fs::write(&file, "thr").unwrap();
        assert!(again.last(&feed).is_err());
        fs::write(state.join("feeds/u/manifest.json"), "{").unwrap();
        assert!(again.last(&feed).is_err());
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn without_a_directory_it_is_kept_in_memory() {
        let (store, feed) = (Store::open(None), test_feed("u", "url = \"https://a.example/\"\n"));
        assert!(!store.copies().is_nowhere(), "copies come here, though there are none yet");
        store.commit("u", &copy("one")).unwrap();
        store.hold("u", &copy("held")).unwrap();
        let confirmed = Manifest { confirmed_unix_ms: 9, ..copy("one").manifest.clone() };
        store.confirm("u", confirmed.clone()).unwrap();
        assert_eq!(store.last(&feed).unwrap().unwrap().manifest, confirmed);
        assert_eq!(store.held("u").unwrap().unwrap(), copy("held"));
    }
}
