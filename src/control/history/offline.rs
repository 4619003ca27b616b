//! The history while no gateway runs: what there is, and the way back, so that a directory with which none starts is
//! repaired. The state directory is held meanwhile, as a gateway would.

use super::replace::{self, Marker, keep_secrets};
use super::report::HistoryList;
use super::{Bounds, DIRECTORY, Entry, History, How};
use crate::clock::Clock;
use crate::control::incidents::Who;
use crate::control::incidents::audit::{Event, Record};
use crate::control::incidents::state::StateDirectory;
use crate::language::{Text, Told, text};
use crate::policy::PolicyId;
use crate::policy::document::Files;
use crate::policy::load::read_directory;
use crate::telemetry::query_log::utc;
use std::path::{Path, PathBuf};

/// See above.
#[derive(Debug)]
pub struct Offline {
    state: StateDirectory,
    history: History,
}

/// A policy of the history that is to lie in a directory.
#[derive(Debug)]
pub struct Way {
    /// Its id, with the secrets of the directory.
    pub id: PolicyId,
    /// Its files, with those secrets.
    pub files: Files,
    /// Its id in the history.
    target: PolicyId,
    /// Why this one, when none was named.
    why: Why,
}

/// Why a policy is the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It was named.
    Named,
    /// It ran before an apply that nobody confirmed.
    NotConfirmed,
    /// It ran last.
    Last,
    /// It ran before the last, which lies there.
    BeforeLast,
}

/// What was done.
#[derive(Debug)]
pub struct Restored {
    way: Way,
    dir: PathBuf,
    /// Files that were written or removed.
    changed: usize,
    /// What lay there before, where that was no policy of the history yet.
    aside: Option<PolicyId>,
    /// Of the history.
    warnings: Vec<Text>,
}

impl Told for Restored {
    fn text(&self) -> Text {
        let Self { way: Way { id, target, why, .. }, dir, changed: n, aside, warnings } = self;
        let dir = dir.display();
        let lies = match why {
            Why::Named => {
                text!("policy {target} lies in {dir} again: {n} files were written or removed", target, dir, n)
            }
            Why::NotConfirmed => text!(
                "policy {target}, from before the apply that nobody confirmed, lies in {dir} again: {n} files were written or \
                 removed",
                target,
                dir,
                n
            ),
            Why::Last => text!(
                "policy {target}, which ran last, lies in {dir} again: {n} files were written or removed",
                target,
                dir,
                n
            ),
            Why::BeforeLast => text!(
                "policy {target}, which ran before the last, lies in {dir} again: {n} files were written or removed",
                target,
                dir,
                n
            ),
        };
        let mut lines = vec![lies];
        if id != target {
            lines.push(text!("its secrets are those of {dir}, so that it will run as policy {id}", dir, id));
        }
        lines.extend(aside.map(|aside| text!("what lay there is set aside as policy {aside}", aside)));
        lines.extend(warnings.iter().cloned());
        lines.push(text!("start the gateway with `weir run {dir}`", dir));
        Text::lines(lines)
    }
}

impl Offline {
    /// Opens the history of a state directory.
    ///
    /// # Errors
    /// The message for the user: there is none, or a gateway holds it.
    pub fn open(state: &Path) -> Result<Self, Text> {
        let name = state.display();
        // A name with a typing error must not become a new directory.
        if !state.join(DIRECTORY).is_dir() {
            return Err(text!(
                "{name} holds no history\n  name the directory that `weir run --state` was given, or that it told as its state",
                name
            ));
        }
        let state = StateDirectory::open(&[state.to_path_buf()]).map_err(|error| match error.is_held {
            true => text!("{cause}: a gateway runs: ask it, without --state", cause = error.message),
            false => error.message,
        })?;
        let history = History::open(state.path(), Bounds::default())
            .map_err(|error| text!("{path}: {error}", path = name, error = Text::of_io(&error)))?;
        Ok(Self { state, history })
    }

    /// The policies that came to run.
    ///
    /// # Errors
    /// The message for the user.
    pub fn list(&self) -> Result<HistoryList, Text> {
        let waiting = self.history.unconfirmed()?;
        let mut list = HistoryList::of(&self.history, None, waiting.as_ref());
        list.entries.iter_mut().for_each(|row| row.running = false);
        Ok(list)
    }

    /// What is to lie in `dir`: the policy that `id` begins; without one what comes back for an apply that nobody confirmed,
    /// else what ran last, else what ran before that.
    ///
    /// # Errors
    /// The message for the user: it cannot be had.
    pub fn way_back(&self, dir: &Path, id: Option<&str>) -> Result<Way, Text> {
        let lies = read_directory(dir).map(|(files, _)| PolicyId::of(&files)).ok();
        let is_half = dir.join(replace::MARKER).exists();
        let waiting =
            self.history.unconfirmed()?.filter(|waiting| dir.canonicalize().is_ok_and(|dir| dir == waiting.directory));
        let (target, why) = match (id, waiting, self.history.last()) {
            (Some(id), ..) => (self.history.resolve(id)?, Why::Named),
            (None, Some(waiting), _) => (waiting.back_to, Why::NotConfirmed),
            (None, None, None) => return Err(text!("no policy has run yet, as far as the history goes")),
            (None, None, Some(last)) if is_half || lies != Some(last.id) => (last.id, Why::Last),
            (None, None, Some(last)) => (self.history.before(last.id)?, Why::BeforeLast),
        };
        let mut files = self.history.load(target)?.files;
        keep_secrets(&mut files, dir);
        Ok(Way { id: PolicyId::of(&files), files, target, why })
    }

    /// Makes `dir` that policy. What lies there is kept in the history first; a crash in the middle is completed by the next
    /// start.
    ///
    /// # Errors
    /// The message for the user.
    pub fn restore(&self, dir: &Path, way: Way, reason: &str) -> Result<Restored, Text> {
        let (who, now) = (Who::this_process(), Clock::start().now());
        let disk = |error: std::io::Error| text!("{path}: {error}", path = dir.display(), error = Text::of_io(&error));
        let entry = |id: PolicyId, how: How, before| {
            let (who, reason) = (who.clone(), reason.to_owned());
            Entry { time: utc(now.unix_ms), id, how, who, reason, before }
        };
        let lies = replace::lying(dir)?;
        let lies_id = PolicyId::of(&lies);
        let mut aside = None;
        if lies.iter().next().is_some() && lies_id != way.id && !self.history.is_whole(lies_id) {
            self.history.keep(&lies).map_err(disk)?;
            self.history.note(entry(lies_id, How::SetAside, None), &[way.target, lies_id]).map_err(disk)?;
            aside = Some(lies_id);
        }
        self.history.keep(&way.files).map_err(disk)?;
        let marker = Marker { settle_on: way.id, state: self.state.path().to_path_buf() };
        replace::begin(dir, &marker).map_err(disk)?;
        let changed = replace::put(dir, &way.files).map_err(disk)?;
        if self.history.last().is_none_or(|last| last.id != way.id) {
            let before = self.history.before(way.target).ok();
            let needed: Vec<_> = aside.into_iter().chain([way.id]).collect();
            self.history.note(entry(way.id, How::Rollback, before), &needed).map_err(disk)?;
        }
        self.history.forget_unconfirmed(dir).map_err(disk)?;
        replace::end(dir).map_err(disk)?;
        let what = format!("ok: policy {}, while no gateway ran", way.id);
        self.state.audit(&[Record::new(now, &who, Event::Rollback, what, reason)]).map_err(disk)?;
        Ok(Restored { way, dir: dir.to_path_buf(), changed, aside, warnings: self.history.warnings() })
    }
}
