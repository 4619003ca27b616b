//! What is to come to run, or to be compared, is fetched: from another directory or from the history, with the secrets of
//! the policy directory.

use super::{Coming, HistoryDesk, lock};
use crate::control::history::diff::{Diff, diff};
use crate::control::history::objects::Kept;
use crate::control::history::replace::{self, keep_secrets};
use crate::control::history::request::{DiffRequest, Order, Source};
use crate::control::origin;
use crate::control::protocol::{Failure, FailureCode};
use crate::language::{Text, text};
use crate::policy::PolicyId;
use crate::policy::document::{Contents, Faults, Files};
use crate::policy::load::{is_secrets, read_directory};
use std::path::Path;
use std::sync::Arc;

/// A policy that was read and not compiled yet.
#[derive(Debug)]
pub(in crate::daemon) struct Fetched {
    pub(in crate::daemon) coming: Coming,
    /// What is wrong so far.
    pub(in crate::daemon) faults: Faults,
    /// Where it is from, for messages.
    pub(in crate::daemon) name: Text,
    /// For whoever ordered it.
    pub(in crate::daemon) notes: Vec<Text>,
}

impl HistoryDesk {
    /// What is ordered, from another directory or from the history, with the secrets of `dir`. `None` for a reload.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(in crate::daemon) fn fetch(
        &self,
        dir: Option<&Path>,
        runs: PolicyId,
        order: &Order,
    ) -> Result<Option<Fetched>, Failure> {
        let prefix = match &order.source {
            Source::Running => return Ok(None),
            Source::Same => return self.fetch_same(dir, runs),
            Source::Directory(_) => &None,
            Source::Kept(prefix) => prefix,
        };
        let bad = |message: Text| Failure::new(FailureCode::BadRequest, message);
        let history = self.history()?;
        let Some(dir) = dir else {
            let message = text!(
                "it runs on a policy that is built in: there is no directory to write to; start it with `weir run DIR`"
            );
            return Err(Failure::new(FailureCode::NoHistory, message));
        };
        let waiting = lock(&self.waiting).clone().map(|waiting| waiting.apply);
        if let Source::Directory(from) = &order.source {
            if let Some(waiting) = waiting {
                let message = text!(
                    "policy {id} waits to be confirmed\n  `weir confirm` keeps it, `weir rollback` undoes it; then apply again",
                    id = waiting.id
                );
                return Err(Failure::new(FailureCode::Unconfirmed, message));
            }
            return fetch_directory(from, dir).map(Some);
        }
        let target = match (prefix, waiting) {
            (Some(prefix), _) => history.resolve(prefix),
            (None, Some(waiting)) => Ok(waiting.back_to),
            (None, None) => history.before(runs),
        };
        let target = target.map_err(bad)?;
        let kept = history.load(target).map_err(|message| Failure::new(FailureCode::NoHistory, message))?;
        let mut files = kept.files;
        keep_secrets(&mut files, dir);
        let id = PolicyId::of(&files);
        let mut notes = Vec::new();
        if id != target {
            notes.push(text!(
                "policy {target} had other secrets: those of {dir} stay, and it runs as policy {id}",
                target,
                dir = dir.display(),
                id
            ));
        }
        let coming = Coming { id, files: Arc::new(files), before: history.before(target).ok() };
        let name = text!("policy {target} of the history", target);
        Ok(Some(Fetched { coming, faults: Faults::default(), name, notes }))
    }

    /// The policy of a directory (an absolute path) or of the history (the beginning of an id), with the secrets of `dir`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(in crate::daemon) fn fetch_named(&self, dir: Option<&Path>, text: &str) -> Result<Fetched, Failure> {
        let bad = |message: Text| Failure::new(FailureCode::BadRequest, message);
        let from = Path::new(text);
        if from.is_absolute() {
            return fetch_directory(from, dir.unwrap_or(from));
        }
        let history = self.history()?;
        let id = history.resolve(text).map_err(bad)?;
        let mut files = history.load(id).map_err(|message| Failure::new(FailureCode::NoHistory, message))?.files;
        if let Some(dir) = dir {
            keep_secrets(&mut files, dir);
        }
        let coming = Coming { id: PolicyId::of(&files), files: Arc::new(files), before: None };
        let name = text!("policy {id} of the history", id);
        Ok(Fetched { coming, faults: Faults::default(), name, notes: Vec::new() })
    }

    /// The files of the policy that runs: those of the directory while they are the same, else those that were kept. `None`
    /// where it runs on what is built in.
    fn fetch_same(&self, dir: Option<&Path>, runs: PolicyId) -> Result<Option<Fetched>, Failure> {
        let Some(dir) = dir else { return Ok(None) };
        if let Ok((files, faults)) = read_directory(dir)
            && PolicyId::of(&files) == runs
        {
            let coming = Coming { id: runs, files: Arc::new(files), before: None };
            return Ok(Some(Fetched {
                coming,
                faults,
                name: Text::verbatim(dir.display().to_string()),
                notes: Vec::new(),
            }));
        }
        let gone = |cause: Text| {
            let message = text!(
                "the files of {dir} are not those of policy {runs}, which runs, and it was not kept: {cause}\n  `weir reload` \
                 takes them and the feed",
                dir = dir.display(),
                runs,
                cause
            );
            Failure::new(FailureCode::NoHistory, message)
        };
        let mut files = self.history().map_err(|failure| gone(failure.text()))?.load(runs).map_err(gone)?.files;
        keep_secrets(&mut files, dir);
        if PolicyId::of(&files) != runs {
            return Err(gone(text!("its secrets were replaced")));
        }
        let coming = Coming { id: runs, files: Arc::new(files), before: None };
        let name = text!("policy {runs}", runs);
        Ok(Some(Fetched { coming, faults: Faults::default(), name, notes: Vec::new() }))
    }

    /// `weir diff`; waits for the disk.
    pub(in crate::daemon) fn diff(&self, request: &DiffRequest) -> Result<Diff, Failure> {
        let (a, b) = (self.side(&request.a)?, self.side(&request.b)?);
        Ok(diff((&a.0, &a.1), (&b.0, &b.1)))
    }

    /// A policy to compare, with what it is called.
    fn side(&self, text: &str) -> Result<(String, Kept), Failure> {
        let bad = |message: Text| Failure::new(FailureCode::BadRequest, message);
        if text.starts_with('/') {
            let directory = Path::new(text);
            origin::require_directory(directory).map_err(bad)?;
            let (files, _) = read_directory(directory).map_err(|report| bad(Text::lines(report.texts())))?;
            return Ok((text.to_owned(), files.into()));
        }
        let history = self.history()?;
        let id = history.resolve(text).map_err(bad)?;
        let kept = history.load(id).map_err(|message| Failure::new(FailureCode::NoHistory, message))?;
        Ok((id.to_string(), kept))
    }
}

/// The files of another directory as they are to lie in `dir`.
fn fetch_directory(from: &Path, dir: &Path) -> Result<Fetched, Failure> {
    origin::require_directory(from).map_err(|message| Failure::new(FailureCode::BadRequest, message))?;
    let name = Text::verbatim(from.display().to_string());
    if from.join(replace::MARKER).exists() {
        let message =
            text!("the files of {name} are being replaced just now, or that broke off: it is not whole", name);
        return Err(Failure::new(FailureCode::BadRequest, message));
    }
    let (mut files, faults) = read_directory(from).map_err(|report| {
        let message = text!("{name} cannot be read: the running policy stays", name);
        Failure::of_faults(message, name.clone(), report)
    })?;
    let of_secrets = |files: &Files| {
        files
            .iter()
            .filter(|(path, _)| is_secrets(path))
            .map(|(path, contents)| (path.to_string(), contents.clone()))
            .collect()
    };
    let theirs: Vec<(String, Contents)> = of_secrets(&files);
    keep_secrets(&mut files, dir);
    let mut notes = Vec::new();
    if theirs.iter().any(|(path, contents)| files.contents(path) != Some(contents)) {
        notes.push(text!(
            "the secrets of {name} are not taken over: those of {dir} stay until you replace them there",
            name,
            dir = dir.display()
        ));
    }
    let coming = Coming { id: PolicyId::of(&files), files: Arc::new(files), before: None };
    Ok(Fetched { coming, faults, name, notes })
}
