//! The history in the running gateway: keeps what came to run, writes the policy directory for apply and rollback, and
//! knows which apply waits to be confirmed until when.

mod fetch;
#[cfg(test)]
mod tests;
mod waiting;

pub(super) use fetch::Fetched;

use super::recipe::{Made, Recipe};
use super::state::Held;
use crate::clock::Clock;
use crate::control::history::replace::{self, Marker, keep_secrets};
use crate::control::history::report::{HistoryList, UnconfirmedStatus};
use crate::control::history::request::{CONFIRM_MAX, Order};
use crate::control::history::unconfirmed::Unconfirmed;
use crate::control::history::{Bounds, Entry, History, How};
use crate::control::incidents::Who;
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::Cause;
use crate::language::{Text, Told as _, text};
use crate::policy::PolicyId;
use crate::policy::document::{Faults, Files, Report};
use crate::telemetry::query_log::utc;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waiting::Waiting;

/// See above.
#[derive(Debug)]
pub(super) struct HistoryDesk {
    clock: Clock,
    /// Or why there is none.
    history: Result<Arc<History>, Text>,
    /// The state directory.
    state: PathBuf,
    waiting: Mutex<Option<Waiting>>,
    /// Why something could not be written.
    fault: Mutex<Option<Text>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A policy that is to come to run.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    /// Its id.
    pub(super) id: PolicyId,
    /// Its files.
    pub(super) files: Arc<Files>,
    /// What a rollback from it goes back to, where that is not what runs now.
    pub(super) before: Option<PolicyId>,
}

/// What was done to the directory for a policy that is about to be published.
#[derive(Debug)]
pub(super) struct Placed {
    coming: Coming,
    /// What lay in the directory, when it was written to.
    replaced: Option<Files>,
    /// That, when it was no policy that ran.
    aside: Option<PolicyId>,
    /// Why it could not be written to: only where a policy is to run all the same.
    fault: Option<Text>,
    /// For whoever ordered it.
    notes: Vec<Text>,
}

impl Placed {
    /// Whether the directory was written to.
    pub(super) fn is_written(&self) -> bool {
        self.replaced.is_some()
    }

    /// For a policy that runs as it lies there.
    pub(super) fn as_it_lies(coming: Coming) -> Self {
        Self { coming, replaced: None, aside: None, fault: None, notes: Vec::new() }
    }
}

fn cannot_write(dir: &Path, error: &std::io::Error) -> Failure {
    let message = text!(
        "the files of {dir} cannot be replaced: {error}\n  nothing has changed; the user that the gateway runs as must be able to \
         write to the directory",
        dir = dir.display(),
        error = Text::of_io(error)
    );
    Failure::new(FailureCode::CannotWrite, message)
}

impl HistoryDesk {
    /// The history of a state directory.
    pub(super) fn open(held: &Held, clock: Clock) -> Self {
        let opened = held.as_ref().map_err(Clone::clone).and_then(|state| {
            let history = History::open(state.path(), Bounds::default());
            history
                .map(Arc::new)
                .map_err(|error| text!("{path}: {error}", path = state.path().display(), error = Text::of_io(&error)))
        });
        let state = held.as_ref().map_or_else(|_| PathBuf::new(), |state| state.path().to_path_buf());
        let fault = match (held, &opened) {
            (Ok(_), Err(error)) => Some(text!("the history is not kept: {error}", error)),
            _ => None,
        };
        let (waiting, fault) = (Mutex::default(), Mutex::new(fault));
        Self { clock, history: opened, state, waiting, fault }
    }

    /// The history, for whoever cannot do without.
    pub(super) fn history(&self) -> Result<&Arc<History>, Failure> {
        self.history.as_ref().map_err(|why| {
            let message = text!("no history is kept, so that nothing could be undone: {why}", why);
            Failure::new(FailureCode::NoHistory, message)
        })
    }

    /// Makes a directory whole in which files were being replaced when it broke off.
    pub(super) fn mend(&self, dir: &Path) -> Result<(), Text> {
        let settled = replace::settle(dir, self.history.as_deref().ok())?;
        if let Some(id) = settled {
            tracing::warn!(
                "the files of {} were being replaced when it broke off: they are policy {id} again",
                dir.display()
            );
        }
        Ok(())
    }

    /// At the start, before anything serves: goes on waiting for a confirmation, or goes back when its time was over
    /// meanwhile. True when the directory has to be loaded again.
    ///
    /// # Errors
    /// The message for the user: the way back is barred.
    pub(super) fn resume(&self, recipe: &Recipe, loaded: PolicyId) -> Result<bool, Text> {
        let (Ok(history), Some(dir)) = (&self.history, recipe.origin.directory()) else { return Ok(false) };
        let Some(waiting) = history.unconfirmed()? else { return Ok(false) };
        if waiting.is_elsewhere(dir) {
            let other = waiting.directory.display();
            tracing::warn!("an apply to {other} waits to be confirmed, and another directory runs: it goes on waiting");
            return Ok(false);
        }
        if loaded == waiting.back_to {
            history.set_unconfirmed(None).map_err(|error| Text::of_io(&error))?;
            return Ok(false);
        }
        let now = self.clock.now();
        let left = waiting.until_unix_ms.saturating_sub(now.unix_ms);
        if left > 0 {
            // A clock that was set back does not let it wait longer than any may.
            let deadline = now.at.plus(Duration::from_millis(left).min(CONFIRM_MAX));
            tracing::warn!("policy {} waits to be confirmed, and goes back to {} else", waiting.id, waiting.back_to);
            *lock(&self.waiting) = Some(Waiting::until(deadline, waiting));
            return Ok(false);
        }
        let kept = history.load(waiting.back_to)?;
        let order = waiting::way_back(&waiting);
        *lock(&self.waiting) = Some(Waiting::until(now.at, waiting.clone()));
        let mut files = kept.files;
        keep_secrets(&mut files, dir);
        let coming =
            Coming { id: PolicyId::of(&files), files: Arc::new(files), before: history.before(waiting.back_to).ok() };
        let placed = self.place(dir, loaded, coming, &order).map_err(|failure| failure.text())?;
        if let Some(fault) = &placed.fault {
            // It starts with what lies there, and the way back is tried again at once: until then it has not been gone.
            tracing::error!("{}: policy {loaded} runs for now: {}", order.reason, fault.english());
            *lock(&self.waiting) = Some(Waiting::until(now.at, waiting));
            return Ok(false);
        }
        self.note(dir, &placed, &order);
        tracing::warn!("{}: policy {} runs again", order.reason, waiting.back_to);
        Ok(true)
    }

    /// The policy to start with when that of the directory has faults: the one that ran last, or the one that comes back
    /// if an apply is not confirmed.
    ///
    /// # Errors
    /// The message for the user: there is none.
    pub(super) fn last_good(&self, recipe: &Recipe, faults: &Report) -> Result<Made, Text> {
        let history = self.history().map_err(|failure| failure.text())?;
        let dir = recipe.origin.directory();
        let waiting = history.unconfirmed()?.filter(|waiting| !dir.is_some_and(|dir| waiting.is_elsewhere(dir)));
        let id = waiting.map(|waiting| waiting.back_to).or_else(|| history.last().map(|last| last.id));
        let mut files = history.load_beside(id.ok_or_else(|| text!("no policy has run yet"))?, dir)?.files;
        if let Some(dir) = dir {
            keep_secrets(&mut files, dir);
        }
        let (policy, report) =
            recipe.compile(&files, Faults::default()).map_err(|report| Text::lines(report.texts()))?;
        let told = text!(
            "the policy of {origin} has faults: {faults}; policy {id}, the last good one, runs instead\n  `weir check` names the \
             faults; they are gone once mended and reloaded, or with `weir rollback {id}`",
            origin = recipe.origin.text(),
            faults = faults.sum(),
            id = policy.id
        );
        tracing::error!("{}", told.english());
        let warnings = std::iter::once(told).chain(report.texts()).collect();
        Ok(Made { policy, files: Arc::new(files), warnings })
    }

    /// Notes what the gateway started with.
    pub(super) fn started(&self, id: PolicyId, files: Arc<Files>) {
        let order = Order::reload(Cause::Command, Who::weir());
        let placed = Placed::as_it_lies(Coming { id, files, before: None });
        self.keep_and_note(&placed, How::Start, &order);
    }

    /// Makes `dir` what is ordered; waits for the disk.
    ///
    /// # Errors
    /// Why it cannot be; it is as before then. An order to go back from what was not confirmed is carried out all the same,
    /// unless it was confirmed meanwhile.
    pub(super) fn place(&self, dir: &Path, runs: PolicyId, coming: Coming, order: &Order) -> Result<Placed, Failure> {
        self.begin_way_back(order)?;
        let mut placed = Placed::as_it_lies(coming);
        match self.write(dir, runs, &mut placed, order) {
            Ok(()) => Ok(placed),
            Err(failure) if order.cause == Cause::Unconfirmed => {
                placed.fault = Some(failure.text());
                Ok(placed)
            }
            Err(failure) => {
                self.give_up_way_back();
                Err(failure)
            }
        }
    }

    fn write(&self, dir: &Path, runs: PolicyId, placed: &mut Placed, order: &Order) -> Result<(), Failure> {
        let history = self.history()?;
        let disk = |error: std::io::Error| {
            let message = text!(
                "the history in {state} cannot be written: {error}\n  nothing has changed",
                state = self.state.display(),
                error = Text::of_io(&error)
            );
            Failure::new(FailureCode::NoHistory, message)
        };
        let id = placed.coming.id;
        let lies = replace::lying(dir).map_err(|message| Failure::new(FailureCode::CannotWrite, message))?;
        let lies_id = PolicyId::of(&lies);
        if !history.is_whole(runs) {
            if lies_id != runs {
                let message = text!(
                    "policy {runs} runs and could not be kept: what lies in {dir} would replace it with no way back\n  \
                     nothing has changed; `weir reload` first",
                    runs,
                    dir = dir.display()
                );
                return Err(Failure::new(FailureCode::NoHistory, message));
            }
            history.keep(&lies).map_err(disk)?;
        }
        if ![runs, id].contains(&lies_id) && lies.iter().next().is_some() {
            history.keep(&lies).map_err(disk)?;
            let entry = self.entry(lies_id, How::SetAside, order, None);
            placed.aside = Some(lies_id);
            let needed: Vec<_> = self.needed(placed).into_iter().chain([runs]).collect();
            history.note(entry, &needed).map_err(disk)?;
            placed.notes.push(text!(
                "edits in {dir} that did not run are set aside as policy {lies_id}",
                dir = dir.display(),
                lies_id
            ));
        }
        history.keep(&placed.coming.files).map_err(disk)?;
        if let Some(lasts) = order.confirm_within.filter(|_| id != runs) {
            // In a directory that is gone nothing can come back, and nobody could confirm it.
            if let Ok(Some(other)) = history.unconfirmed()
                && other.is_elsewhere(dir)
                && other.directory.is_dir()
            {
                return Err(self.is_taken(&other));
            }
            history.set_unconfirmed(Some(&self.unconfirmed(dir, id, runs, lasts, order))).map_err(disk)?;
        }
        if lies_id == id {
            return Ok(());
        }
        // An apply that does not come to its end has not happened; a way back that was begun is gone to its end.
        let settle_on = if order.cause == Cause::Apply { runs } else { id };
        let written = replace::begin(dir, &Marker { settle_on, state: self.state.clone() })
            .and_then(|()| replace::put(dir, &placed.coming.files).map(drop));
        placed.replaced = Some(lies);
        written.map_err(|error| {
            self.take_back(dir, placed, order);
            cannot_write(dir, &error)
        })
    }

    /// There is one record of what waits, and it is another directory's.
    fn is_taken(&self, other: &Unconfirmed) -> Failure {
        let message = text!(
            "an apply to {other} waits to be confirmed, and {state} keeps one at a time\n  nothing has changed; run weir with \
             {other} and confirm it or go back, or run with another `--state`",
            other = other.directory.display(),
            state = self.state.display()
        );
        Failure::new(FailureCode::Unavailable, message)
    }

    /// The directory as it was before [`Self::place`], because the policy is not published after all.
    pub(super) fn take_back(&self, dir: &Path, placed: &Placed, order: &Order) {
        let Ok(history) = &self.history else { return };
        if let Some(lay) = &placed.replaced
            && let Err(error) = replace::put(dir, lay).and_then(|_| replace::end(dir))
        {
            tracing::error!(
                "the files of {} are not whole: {error}; the next start or reload mends them",
                dir.display()
            );
        }
        if order.confirm_within.is_none() {
            return;
        }
        // One that came to run before goes on waiting, over a restart too.
        let before = lock(&self.waiting).as_ref().map(|waiting| waiting.apply.clone());
        let written = match &before {
            Some(_) => history.set_unconfirmed(before.as_ref()),
            None => history.forget_unconfirmed(dir),
        };
        if let Err(error) = written {
            tracing::error!("the history in {} cannot be written: {error}", self.state.display());
        }
    }

    /// Notes that what was placed runs now; returns what whoever ordered it should know. Waits for the disk.
    pub(super) fn note(&self, dir: &Path, placed: &Placed, order: &Order) -> Vec<Text> {
        let how = How::from(order.cause);
        let mut notes = placed.notes.clone();
        notes.extend(self.keep_and_note(placed, how, order));
        if let Some(fault) = &placed.fault {
            // It stays on record as unconfirmed, so that the next try or the next start writes the directory.
            notes.push(fault.clone());
            tracing::error!("{}", fault.english());
            return notes;
        }
        let Ok(history) = &self.history else { return notes };
        let ended = if placed.is_written() { replace::end(dir) } else { Ok(()) };
        let ended = ended.and_then(|()| match order.cause {
            Cause::Rollback | Cause::Unconfirmed => {
                history.forget_unconfirmed(dir)?;
                *lock(&self.waiting) = None;
                Ok(())
            }
            _ => Ok(()),
        });
        if let Err(error) = ended {
            notes.push(text!(
                "{dir} or the history cannot be written: {error}",
                dir = dir.display(),
                error = Text::of_io(&error)
            ));
        }
        if order.cause == Cause::Apply
            && let Some(lasts) = order.confirm_within
            && let Ok(Some(waiting)) = history.unconfirmed()
            && waiting.id == placed.coming.id
            && !waiting.is_elsewhere(dir)
        {
            let deadline = self.clock.now().at.plus(lasts);
            let status = UnconfirmedStatus::of(&waiting, (deadline, false), self.clock.now()).text();
            tracing::warn!("{}", status.english());
            notes.push(status);
            *lock(&self.waiting) = Some(Waiting::until(deadline, waiting));
        }
        notes
    }

    /// What could not be written, if anything.
    fn keep_and_note(&self, placed: &Placed, how: How, order: &Order) -> Option<Text> {
        let Ok(history) = &self.history else { return None };
        let Coming { id, files, before } = &placed.coming;
        let is_known = history.last().is_some_and(|last| last.id == *id) && history.is_kept(*id);
        let is_news = !is_known || matches!(how, How::Apply | How::Rollback);
        if !is_news && history.is_whole(*id) {
            return None;
        }
        let entry = self.entry(*id, how, order, *before);
        let written =
            history.keep(files).and_then(|_| if is_news { history.note(entry, &self.needed(placed)) } else { Ok(()) });
        let fault = written.err().map(|error| {
            text!(
                "policy {id} is not in the history: {state}: {error}",
                id,
                state = self.state.display(),
                error = Text::of_io(&error)
            )
        });
        if let Some(fault) = &fault {
            tracing::error!("{}", fault.english());
        }
        *lock(&self.fault) = fault.clone();
        fault
    }

    /// What is not dropped: what comes, what was just set aside, and what waits, of which the file may not be readable.
    fn needed(&self, placed: &Placed) -> Vec<PolicyId> {
        let waiting = lock(&self.waiting).as_ref().map(|waiting| [waiting.apply.id, waiting.apply.back_to]);
        waiting.into_iter().flatten().chain(placed.aside).chain([placed.coming.id]).collect()
    }

    fn entry(&self, id: PolicyId, how: How, order: &Order, before: Option<PolicyId>) -> Entry {
        let time = utc(self.clock.now().unix_ms);
        Entry { time, id, how, who: order.who.clone(), reason: order.reason.clone(), before }
    }

    fn unconfirmed(&self, dir: &Path, id: PolicyId, back_to: PolicyId, lasts: Duration, order: &Order) -> Unconfirmed {
        let since_unix_ms = self.clock.now().unix_ms;
        Unconfirmed {
            id,
            back_to,
            directory: dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf()),
            since_unix_ms,
            until_unix_ms: since_unix_ms.saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX)),
            by: order.who.clone(),
            reason: order.reason.clone(),
        }
    }

    /// `weir history`
    pub(super) fn list(&self) -> Result<HistoryList, Failure> {
        let waiting = lock(&self.waiting).clone().map(|waiting| waiting.apply);
        Ok(HistoryList::of(self.history()?, self.waiting(), waiting.as_ref()))
    }

    /// What somebody should look at.
    pub(super) fn warnings(&self) -> Vec<Text> {
        let damaged = self.history.iter().flat_map(|history| history.warnings());
        lock(&self.fault).clone().into_iter().chain(damaged).collect()
    }
}
