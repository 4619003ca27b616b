//! Where copies of feeds are kept: `feeds/NAME` in the state directory, or in memory where there is none.
//!
//! The content is written first, under its hash, and the manifest last, so that a crash leaves the old copy or the new one.
//! What a new copy takes the place of stays on the disk until the next: a policy that is being compiled may still be
//! reading it. The copies of a feed are kept for as long as a policy declares it that runs or that one may go back to: a
//! rollback that found no copy would be one to rules that do nothing.

use crate::control::whole_file;
use crate::language::{Text, text};
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
    /// Taken while manifests are looked at and changed: a copy may come while somebody accepts another.
    turn: Mutex<()>,
}

impl Store {
    /// The store of a state directory; in memory without one.
    pub fn open(state: Option<&Path>) -> Self {
        Self { directory: state.map(|state| state.join(DIRECTORY)), ..Self::default() }
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

    /// Leaves the content of a copy on the disk, so that it is not in memory while a policy is compiled with it: the same
    /// copy, read from there. To be put in force, held or given up then.
    ///
    /// # Errors
    /// The message for the user.
    pub fn stage(&self, name: &str, copy: Arc<Copy>) -> Result<Arc<Copy>, Text> {
        let Some(directory) = self.directory.as_ref().map(|directory| directory.join(name)) else { return Ok(copy) };
        let told = |error| text!("{path}: {error}", path = directory.display(), error = Text::of_io(&error));
        write_content(&directory, &copy).map_err(told)?;
        read_content(&directory, copy.manifest.clone()).map(Arc::new)
    }

    /// Removes the content of a copy that was staged, unless it is in force or waits.
    pub fn give_up(&self, name: &str, copy: &Manifest) {
        let Some(directory) = self.directory.as_ref().map(|directory| directory.join(name)) else { return };
        let manifests = [MANIFEST, HELD].map(|file| read_manifest(&directory.join(file)));
        // Of a manifest that cannot be read nobody knows what it speaks of.
        let is_other = |found: &Manifest| found.sha256 != copy.sha256;
        if manifests.iter().all(|found| found.as_ref().is_ok_and(|found| found.as_ref().is_none_or(is_other))) {
            // One that stays goes with the next that is written.
            let _ = fs::remove_file(directory.join(content_file(&copy.sha256)));
        }
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
            let content = copy.content.clone();
            *copy = Arc::new(Copy { content, manifest });
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

    /// This copy waits no more; another that came meanwhile does.
    pub fn release_one(&self, name: &str, copy: &Manifest) {
        let _turn = self.turn();
        if self.held_manifest(name).is_some_and(|held| held.sha256 == copy.sha256) {
            self.release(name);
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

    /// The feeds that something is kept of.
    pub fn names(&self) -> Vec<String> {
        let Some(directory) = &self.directory else {
            return self.memory().iter().flat_map(BTreeMap::keys).cloned().collect();
        };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Forgets a feed that no policy declares any more.
    ///
    /// # Errors
    /// What the system said.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match &self.directory {
            Some(directory) => fs::remove_dir_all(directory.join(name)),
            None => {
                self.memory().iter_mut().for_each(|copies| drop(copies.remove(name)));
                Ok(())
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, [BTreeMap<String, Arc<Copy>>; 2]> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str, copy: &Arc<Copy>, manifest: &str) -> io::Result<()> {
        let Some(directory) = &self.directory else {
            let _turn = self.turn();
            self.memory()[usize::from(manifest == HELD)].insert(name.to_owned(), Arc::clone(copy));
            return Ok(());
        };
        let directory = directory.join(name);
        // It may be large, and nobody waits for that.
        write_content(&directory, copy)?;
        let _turn = self.turn();
        if !directory.join(content_file(&copy.manifest.sha256)).exists() {
            // Another copy was written meanwhile, and nothing spoke of this one yet.
            write_content(&directory, copy)?;
        }
        let before = read_manifest(&directory.join(MANIFEST)).ok().flatten();
        whole_file::write(&directory.join(manifest), &serde_json::to_vec_pretty(&copy.manifest)?)?;
        let manifests = [MANIFEST, HELD].map(|file| read_manifest(&directory.join(file)).ok().flatten());
        let kept: Vec<_> =
            manifests.into_iter().chain([before]).flatten().map(|manifest| content_file(&manifest.sha256)).collect();
        sweep(&directory, &kept)
    }
}

fn write_content(directory: &Path, copy: &Copy) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // A damaged one is written anew.
    if read_content(directory, copy.manifest.clone()).is_ok() {
        return Ok(());
    }
    whole_file::copy(&directory.join(content_file(&copy.manifest.sha256)), &copy.content)
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
        Arc::new(Copy { content: text.into(), manifest })
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
        again.commit("gone", &copy("x")).unwrap();
        let names = || {
            let mut names = again.names();
            names.sort();
            names
        };
        assert_eq!(names(), ["gone", "u"]);
        again.forget("gone").unwrap();
        assert_eq!(names(), ["u"]);
        fs::write(&file, "thr").unwrap();
        assert!(again.last(&feed).is_err());
        fs::write(state.join("feeds/u/manifest.json"), "{").unwrap();
        assert!(again.last(&feed).is_err());
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn a_copy_is_read_from_the_disk_before_it_is_in_force_and_given_up_when_it_is_refused() {
        let state = std::env::temp_dir().join(format!("weir-feeds-staged-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        let store = Store::open(Some(&state));
        let contents = || {
            let entries = fs::read_dir(state.join("feeds/u")).unwrap().map(|entry| entry.unwrap().file_name());
            entries.filter(|name| name.to_string_lossy().ends_with(".copy")).count()
        };
        let staged = store.stage("u", copy("one")).unwrap();
        assert!(staged.content.in_memory().is_none());
        assert_eq!((&*staged, contents()), (&*copy("one"), 1));
        store.commit("u", &staged).unwrap();
        store.hold("u", &copy("held")).unwrap();
        let refused = store.stage("u", copy("refused")).unwrap();
        assert_eq!(contents(), 3);
        for manifest in [&copy("one").manifest, &copy("held").manifest, &refused.manifest] {
            store.give_up("u", manifest);
        }
        assert_eq!(contents(), 2, "only what is neither in force nor waits");
        let file = state.join("feeds/u").join(content_file(&copy("next").manifest.sha256));
        fs::write(&file, "damaged").unwrap();
        assert_eq!(store.stage("u", copy("next")).unwrap().content, copy("next").content);
        fs::remove_dir_all(&state).unwrap();
        let store = Store::open(None);
        assert!(store.stage("u", copy("one")).unwrap().content.in_memory().is_some(), "there is no disk");
    }

    #[test]
    fn a_copy_that_came_while_another_was_accepted_still_waits() {
        let state = std::env::temp_dir().join(format!("weir-feeds-accepted-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        for store in [Store::open(Some(&state)), Store::open(None)] {
            for text in ["one", "two"] {
                store.hold("u", &copy(text)).unwrap();
            }
            store.release_one("u", &copy("one").manifest);
            assert_eq!(store.held("u").unwrap().unwrap(), copy("two"));
            store.release_one("u", &copy("two").manifest);
            assert_eq!(store.held("u"), Ok(None));
        }
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
        store.forget("u").unwrap();
        assert_eq!((store.last(&feed), store.held("u"), store.names().len()), (Ok(None), Ok(None), 0));
    }
}
