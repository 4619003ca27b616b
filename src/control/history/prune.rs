//! What is over the bounds of the history goes: the policies that came longest ago, with what only they name.
//!
//! Nobody knows what a manifest names that cannot be read: a failing disk, a program of another version or whoever wrote into
//! it may be undone, so that nothing is dropped while it stays which it might name. It is of no use as it is, and so the
//! first to go once room is wanted, unless its policy is needed.

use super::Bounds;
use super::objects::Objects;
use crate::language::{Text, Told, text};
use crate::policy::PolicyId;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;

/// A policy that nobody can go back to, because its manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Which.
    pub id: PolicyId,
    /// The file.
    pub manifest: PathBuf,
    /// What is wrong with it.
    pub cause: Text,
}

impl Told for Damaged {
    fn text(&self) -> Text {
        text!(
            "nobody can go back to policy {id} of the history: {manifest}: {cause}\n  put the file back from a copy, or \
             remove it: until then what it may name is kept",
            id = self.id,
            manifest = self.manifest.display(),
            cause = &self.cause
        )
    }
}

/// What is damaged.
#[derive(Debug, Default)]
pub struct Pruned {
    /// It stays.
    pub damaged: Vec<Damaged>,
    /// It had to go.
    pub dropped: Vec<Damaged>,
}

/// A policy with the names of its contents.
type Named = (PolicyId, Vec<String>);

impl Objects {
    /// Drops the policies that came longest ago until the bounds hold, but none of `needed`; and what no policy names.
    ///
    /// # Errors
    /// What the system said.
    pub fn prune(&self, newest_first: &[PolicyId], needed: &[PolicyId], bounds: Bounds) -> io::Result<Pruned> {
        let rank: HashMap<_, _> = newest_first.iter().enumerate().map(|(rank, id)| (*id, rank)).collect();
        // What never came to run is the first to go, then the oldest.
        let turn = |id: PolicyId| rank.get(&id).map_or(0, |rank| newest_first.len() - rank);
        let (mut kept, mut damaged) = self.manifests()?;
        kept.sort_by_key(|(id, _)| turn(*id));
        damaged.sort_by_key(|damaged| turn(damaged.id));
        let sizes = self.sizes()?;
        let mut uses: HashMap<&str, usize> = HashMap::new();
        kept.iter().flat_map(|(_, names)| names).for_each(|name| *uses.entry(name).or_default() += 1);
        let size = |name: &str| sizes.get(name).copied().unwrap_or(0);
        let named: u64 = uses.keys().map(|name| size(name)).sum();
        // What is held for one that is needed makes no room, however many others go.
        let is_needed = damaged.iter().any(|damaged| needed.contains(&damaged.id));
        let mut bytes = if damaged.is_empty() || is_needed { named } else { sizes.values().sum() };
        let (mut left, mut holding) = (kept.len() + damaged.len(), damaged.len());
        let fits = |left: usize, bytes: u64| left <= bounds.policies && bytes <= bounds.bytes;
        let mut pruned = Pruned::default();
        for policy in damaged {
            if fits(left, bytes) || needed.contains(&policy.id) {
                pruned.damaged.push(policy);
                continue;
            }
            (left, holding) = (left - 1, holding - 1);
            if holding == 0 {
                bytes = named;
            }
            match fs::remove_file(&policy.manifest) {
                Ok(()) => pruned.dropped.push(policy),
                // A directory of that name, most likely: whatever it is, it holds nothing up.
                Err(_) => pruned.damaged.push(policy),
            }
        }
        for (id, names) in kept.iter().filter(|(id, _)| !needed.contains(id)) {
            if fits(left, bytes) {
                break;
            }
            fs::remove_file(self.manifest(*id))?;
            left -= 1;
            for name in names {
                let count = uses.entry(name).or_insert(1);
                *count -= 1;
                if *count == 0 {
                    bytes = bytes.saturating_sub(size(name));
                    uses.remove(name.as_str());
                }
            }
        }
        if holding == 0 {
            let used: HashSet<&str> = uses.into_keys().collect();
            // After a crash in between, what is left over goes with the next.
            let mut unused = sizes.keys().filter(|name| !used.contains(name.as_str()));
            unused.try_for_each(|name| fs::remove_file(self.contents(name)))?;
        }
        Ok(pruned)
    }

    /// All policies: those whose manifests can be read, and the others.
    fn manifests(&self) -> io::Result<(Vec<Named>, Vec<Damaged>)> {
        let (mut kept, mut damaged) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.policies)? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<PolicyId>().ok()) else {
                continue;
            };
            match self.names(id) {
                Ok(names) => kept.push((id, names)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    damaged.push(Damaged { id, manifest: self.manifest(id), cause: Text::of_io(&error) });
                }
            }
        }
        Ok((kept, damaged))
    }

    /// The compressed sizes of all contents.
    fn sizes(&self) -> io::Result<HashMap<String, u64>> {
        let mut sizes = HashMap::new();
        for entry in fs::read_dir(&self.files)? {
            let entry = entry?;
            if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".gz")) {
                sizes.insert(name.to_owned(), entry.metadata()?.len());
            }
        }
        Ok(sizes)
    }
}
