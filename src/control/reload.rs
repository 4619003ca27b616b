//! Reload: the policy is loaded again from where it came from, whole or not at all.
//!
//! The order is the promise. Loading and compiling happen beside the running policy, on a thread that serves nobody; then
//! new sockets are opened, and a failure up to here changes nothing; then the policy is published, which is one pointer;
//! and only then is what is not needed any more drained and closed. Limit tables, cache, queries in flight and the
//! sockets of listeners that stay are not touched by any of it.
//!
//! One reload at a time. Whoever asks during one waits for the next, and all that wait share it: it begins after they
//! asked, so it sees what they wrote. A storm of signals is two reloads.

use super::changes::Changes;
use super::protocol::{Failure, FailureCode};
use super::watch::{self, Watch};
use crate::clock::Clock;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Requests that may wait; the control socket lets fewer connections in, so that it is never full.
pub const WAITING_MAX: usize = 64;

/// Who wanted a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// `weir reload`.
    Command,
    /// SIGHUP.
    Signal,
    /// The files changed.
    Watch,
}

impl Cause {
    /// For the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "by command",
            Self::Signal => "by SIGHUP",
            Self::Watch => "as the files changed",
        }
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Hash of the policy that runs now.
    pub policy: String,
    /// Its generation.
    pub generation: u64,
    /// False when the files are what already ran: then nothing was published.
    pub changed: bool,
    /// From the beginning of loading until the policy was published.
    pub duration_ms: u64,
    /// Listeners and upstreams that came and went, and what waits for the next start.
    pub changes: Changes,
    /// Faults that do not refuse the policy: bad lines in lists above all.
    pub warnings: Vec<String>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, generation, duration_ms, changes, .. } = self;
        if self.changed {
            writeln!(f, "policy {policy} runs, generation {generation}, loaded in {duration_ms} ms")?;
            writeln!(f, "listeners   {}", changes.listeners)?;
            writeln!(f, "upstreams   {}", changes.upstreams)?;
        } else {
            writeln!(f, "policy {policy} runs already, generation {generation}: nothing has changed")?;
        }
        for setting in &changes.at_next_start {
            writeln!(f, "warning: {setting} was changed and takes effect at the next start")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// How the last reload went, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When it ended, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// Who wanted it.
    pub cause: Cause,
    /// Whether the policy on disk runs now.
    pub ok: bool,
    /// What happened, in one line.
    pub message: String,
}

impl fmt::Display for LastReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.ok { "ok" } else { "REFUSED" };
        write!(f, "{outcome}, {} ago, {}: ", super::status::seconds_text(self.age_s()), self.cause.name())?;
        f.write_str(&self.message)
    }
}

impl LastReload {
    fn age_s(&self) -> u64 {
        unix_ms().saturating_sub(self.at_unix_ms) / 1000
    }
}

/// Where the outcome of the last reload is kept for whoever wants to read it.
#[derive(Clone, Debug, Default)]
pub struct Last(Arc<Mutex<Outcomes>>);

/// Outcomes that nobody has taken yet at the most.
const FRESH_MAX: usize = 64;

#[derive(Debug, Default)]
struct Outcomes {
    last: Option<LastReload>,
    fresh: Vec<LastReload>,
}

impl Last {
    /// The outcome, when there was a reload.
    pub fn outcome(&self) -> Option<LastReload> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// The outcomes since this was called last, for the audit log; of very many the first.
    pub fn take_fresh(&self) -> Vec<LastReload> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).fresh)
    }

    fn set(&self, last: LastReload) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.fresh.len() < FRESH_MAX {
            outcomes.fresh.push(last.clone());
        }
        outcomes.last = Some(last);
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A policy that was loaded and does not run yet.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The policy.
    pub candidate: C,
    /// Hash of it, as text.
    pub id: String,
    /// Whether it differs from what runs.
    pub changed: bool,
    /// What comes and goes with it.
    pub changes: Changes,
    /// One line each.
    pub warnings: Vec<String>,
}

/// What a reload acts on: the workers and the live policy in the daemon, a list of events in tests of the order.
pub trait Engine {
    /// A policy that does not run yet.
    type Candidate: Send + 'static;
    /// Sockets that are open and not served yet.
    type Opened;

    /// Where the files are and whether they are watched.
    fn watched(&self) -> Option<PathBuf>;

    /// What loads the policy; it runs on a thread that may block.
    fn loader(&self) -> impl FnOnce() -> Result<Loaded<Self::Candidate>, Failure> + Send + 'static;

    /// Opens what the new policy needs and the running one does not have.
    ///
    /// # Errors
    /// Which address, and why; everything opened is closed again.
    fn open(&mut self, candidate: &Self::Candidate) -> impl Future<Output = Result<Self::Opened, Failure>>;

    /// Makes the new policy the one that runs; returns its generation.
    ///
    /// # Errors
    /// What of the new policy does not fit beside the old one's rest; nothing has changed then.
    fn publish(
        &mut self,
        candidate: Self::Candidate,
        opened: Self::Opened,
    ) -> impl Future<Output = Result<u64, Failure>>;

    /// Drains and closes what the new policy does not need, and frees the old one.
    fn retire(&mut self) -> impl Future<Output = ()>;

    /// The generation that runs.
    fn generation(&self) -> u64;
}

/// What someone who asked for a reload gets.
pub type Outcome = Result<Reloaded, Failure>;

/// Asks for reloads; each clone may be used at the same time.
#[derive(Clone, Debug)]
pub struct Asker {
    mailbox: mpsc::Sender<oneshot::Sender<Outcome>>,
}

impl Asker {
    /// Asks for a reload and waits for its outcome.
    pub async fn reload(&self) -> Outcome {
        let gone = |_| Failure::new(FailureCode::Unavailable, "the gateway is ending: nothing was reloaded");
        let (reply, outcome) = oneshot::channel();
        self.mailbox.send(reply).await.map_err(|error| gone(error.to_string()))?;
        outcome.await.map_err(|error| gone(error.to_string()))?
    }
}

/// Carries out reloads, one at a time.
#[derive(Debug)]
pub struct Reloader<E> {
    engine: E,
    clock: Clock,
    watch: Watch,
    mailbox: mpsc::Receiver<oneshot::Sender<Outcome>>,
    last: Last,
}

impl<E: Engine> Reloader<E> {
    /// A reloader of what `engine` loaded when its directory looked like `loaded`; outcomes are kept in `last`.
    pub fn new(engine: E, loaded: watch::Digest, last: Last) -> (Self, Asker) {
        let (sender, mailbox) = mpsc::channel(WAITING_MAX);
        (Self { engine, clock: Clock::start(), watch: Watch::new(loaded), mailbox, last }, Asker { mailbox: sender })
    }

    /// What it acts on, for the end.
    pub fn engine(&mut self) -> &mut E {
        &mut self.engine
    }

    /// Reloads whenever someone asks, a signal comes or the files change; for ever. May be dropped at any time: a
    /// reload that has not been published has changed nothing then.
    pub async fn run(&mut self, hangup: &mut tokio::signal::unix::Signal) {
        let mut looks = tokio::time::interval(watch::INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(asker) = self.mailbox.recv() => self.answer(asker).await,
                Some(()) = hangup.recv() => {
                    let _ = self.reload(Cause::Signal).await;
                }
                _ = looks.tick() => if self.has_changed().await {
                    let _ = self.reload(Cause::Watch).await;
                },
            }
        }
    }

    /// One reload for `first` and for all that have asked before it begins.
    async fn answer(&mut self, first: oneshot::Sender<Outcome>) {
        let mut askers = vec![first];
        while let Ok(asker) = self.mailbox.try_recv() {
            askers.push(asker);
        }
        let outcome = self.reload(Cause::Command).await;
        for asker in askers {
            // Who has hung up does not want to know.
            let _ = asker.send(outcome.clone());
        }
    }

    async fn has_changed(&mut self) -> bool {
        let Some(directory) = self.engine.watched() else { return false };
        let seen = tokio::task::spawn_blocking(move || watch::digest(&directory)).await;
        seen.is_ok_and(|seen| self.watch.observe(self.clock.now().at, seen))
    }

    async fn reload(&mut self, cause: Cause) -> Outcome {
        let begun = Instant::now();
        let outcome = self.load_and_publish(begun).await;
        let (ok, message) = match &outcome {
            Ok(reloaded) => (true, one_line(reloaded)),
            Err(failure) => (false, failure.message.lines().next().unwrap_or_default().to_owned()),
        };
        report(cause, &outcome);
        let last = LastReload { at_unix_ms: unix_ms(), cause, ok, message };
        self.last.set(last);
        outcome
    }

    async fn load_and_publish(&mut self, begun: Instant) -> Outcome {
        let (watched, load) = (self.engine.watched(), self.engine.loader());
        // The digest is taken before loading: a change that comes while loading is seen as one afterwards.
        let loading = tokio::task::spawn_blocking(move || (watched.map(|dir| watch::digest(&dir)), load()));
        let (digest, loaded) = loading.await.map_err(|error| {
            Failure::new(FailureCode::Unavailable, format!("loading the policy broke off: {error}"))
        })?;
        if let Some(digest) = digest {
            self.watch.settle(digest);
        }
        let Loaded { candidate, id, changed, changes, warnings } = loaded?;
        let generation = if changed {
            let opened = self.engine.open(&candidate).await?;
            self.engine.publish(candidate, opened).await?
        } else {
            self.engine.generation()
        };
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if changed {
            self.engine.retire().await;
        }
        Ok(Reloaded { policy: id, generation, changed, duration_ms, changes, warnings })
    }
}

fn one_line(reloaded: &Reloaded) -> String {
    let Reloaded { policy, generation, duration_ms, .. } = reloaded;
    if reloaded.changed {
        format!("policy {policy}, generation {generation}, in {duration_ms} ms")
    } else {
        format!("policy {policy} ran already")
    }
}

fn report(cause: Cause, outcome: &Outcome) {
    let cause = cause.name();
    match outcome {
        Ok(reloaded) if !reloaded.changed => tracing::info!("reload {cause}: nothing has changed"),
        Ok(reloaded) => {
            let Changes { listeners, upstreams, at_next_start } = &reloaded.changes;
            let line = one_line(reloaded);
            tracing::info!("reloaded {cause}: {line}; listeners {listeners}; upstreams {upstreams}");
            for setting in at_next_start {
                tracing::warn!("{setting} was changed and takes effect at the next start");
            }
            for warning in &reloaded.warnings {
                tracing::warn!("{warning}");
            }
        }
        Err(Failure { message, report, .. }) => {
            let report = report.as_deref().map_or_else(String::new, |report| format!("\n{report}"));
            tracing::error!("reload {cause} refused, the running policy stays: {message}{report}");
        }
    }
}

#[cfg(test)]
mod tests;
