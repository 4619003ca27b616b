//! Reload: the policy is loaded again from where it came from, whole or not at all.
//!
//! The order is the promise. Loading and compiling happen beside the running policy, on a thread that serves nobody; then
//! new sockets are opened, and a failure up to here changes nothing; then the policy is published, which is one pointer;
//! and only then is what is not needed any more drained and closed. Limit tables, cache, queries in flight and the
//! sockets of listeners that stay are not touched by any of it.
//!
//! One reload at a time. Whoever asks during one waits for the next, and all that wait share it: it begins after they
//! asked, so it sees what they wrote. A storm of signals is two reloads.
//!
//! Apply and rollback take the same way with another source, and write the directory between opening and publishing
//! ([`super::history`]). As one task does all of it, neither the watch nor a signal ever sees a directory in between.

use super::beside::{beside, waiting};
use super::changes::Changes;
use super::history::request::{Order, Source};
use super::incidents::Who;
use super::incidents::report::warning_lines;
use super::protocol::{Failure, FailureCode};
use super::watch::{self, Watch};
use crate::clock::Clock;
use crate::language::{Text, Told, text};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Requests that may wait; the control socket lets fewer connections in, so that it is never full.
pub const WAITING_MAX: usize = 64;

/// What a policy was loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// `weir reload`.
    Command,
    /// SIGHUP.
    Signal,
    /// The files changed.
    Watch,
    /// `weir apply`.
    Apply,
    /// `weir rollback`.
    Rollback,
    /// A feed has another copy.
    Feed,
    /// An apply was not confirmed in time.
    Unconfirmed,
}

impl Told for Cause {
    fn text(&self) -> Text {
        match self {
            Self::Command => text!("by command"),
            Self::Signal => text!("by SIGHUP"),
            Self::Watch => text!("as the files changed"),
            Self::Apply => text!("by apply"),
            Self::Rollback => text!("by rollback"),
            Self::Feed => text!("by feed"),
            Self::Unconfirmed => text!("by itself, as an apply was not confirmed"),
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
    pub warnings: Vec<Text>,
}

impl Told for Reloaded {
    fn text(&self) -> Text {
        let Self { policy, generation, changed, duration_ms, changes, warnings } = self;
        let Changes { listeners, upstreams, at_next_start } = changes;
        let mut lines = match changed {
            true => vec![
                text!(
                    "policy {policy} runs, generation {generation}, loaded in {duration_ms} ms",
                    policy,
                    generation,
                    duration_ms
                ),
                text!("listeners   {listeners}", listeners = listeners.text()),
                text!("upstreams   {upstreams}", upstreams = upstreams.text()),
            ],
            false => {
                vec![text!(
                    "policy {policy} runs already, generation {generation}: nothing has changed",
                    policy,
                    generation
                )]
            }
        };
        let later =
            |setting: &String| text!("warning: {setting} was changed and takes effect at the next start", setting);
        lines.extend(at_next_start.iter().map(later));
        lines.extend(warning_lines(warnings));
        Text::lines(lines)
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
    pub message: Text,
}

impl Told for LastReload {
    fn text(&self) -> Text {
        let (age, cause, message) = (super::status::seconds_text(self.age_s()), self.cause.text(), &self.message);
        match self.ok {
            true => text!("ok, {age} ago, {cause}: {message}", age, cause, message),
            false => text!("REFUSED, {age} ago, {cause}: {message}", age, cause, message),
        }
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
        // What became of the files is not hidden by a feed that came since.
        if last.cause != Cause::Feed {
            outcomes.last = Some(last);
        }
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
    pub warnings: Vec<Text>,
}

/// What a reload acts on: the workers and the live policy in the daemon, a list of events in tests of the order.
pub trait Engine {
    /// A policy that does not run yet.
    type Candidate: Send + 'static;
    /// Sockets that are open and not served yet.
    type Opened;

    /// Where the files are and whether they are watched.
    fn watched(&self) -> Option<PathBuf>;

    /// What loads the policy that is ordered; it runs on a thread that may block.
    fn loader(&self, order: &Order) -> impl FnOnce() -> Result<Loaded<Self::Candidate>, Failure> + Send + 'static;

    /// Opens what the new policy needs and the running one does not have.
    ///
    /// # Errors
    /// Which address, and why; everything opened is closed again.
    fn open(&mut self, candidate: &Self::Candidate) -> impl Future<Output = Result<Self::Opened, Failure>>;

    /// Makes the directory what is ordered, where that is not what lies there already; says whether it was written to. To
    /// be called for every candidate that is to run.
    ///
    /// # Errors
    /// Why it cannot be; it is as before then.
    fn place(&mut self, candidate: &Self::Candidate, order: &Order) -> impl Future<Output = Result<bool, Failure>>;

    /// Makes the new policy the one that runs; returns its generation.
    ///
    /// # Errors
    /// What of the new policy does not fit beside the old one's rest; nothing has changed then, and the directory is as
    /// before.
    fn publish(
        &mut self,
        candidate: Self::Candidate,
        opened: Self::Opened,
    ) -> impl Future<Output = Result<u64, Failure>>;

    /// Notes in the history that what was placed runs now; returns what whoever ordered it should know.
    fn note(&mut self, order: &Order) -> impl Future<Output = Vec<Text>>;

    /// What is to be done because its time has come: back from an apply that was not confirmed.
    fn overdue(&self) -> Option<Order>;

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
    mailbox: mpsc::Sender<Job>,
}

/// An order, and who waits for its outcome.
pub(crate) type Job = (Order, oneshot::Sender<Outcome>);

impl Asker {
    /// Asks for a reload and waits for its outcome; with `force` even for what the guard objects to.
    pub async fn reload(&self, who: Who, force: bool) -> Outcome {
        self.order(Order { force, ..Order::reload(Cause::Command, who) }).await
    }

    /// One whose orders a test answers.
    #[cfg(test)]
    pub(crate) fn answered_by_a_test() -> (Self, mpsc::Receiver<Job>) {
        let (mailbox, jobs) = mpsc::channel(WAITING_MAX);
        (Self { mailbox }, jobs)
    }

    /// Asks for anything and waits for its outcome.
    pub async fn order(&self, order: Order) -> Outcome {
        let gone = |_| Failure::new(FailureCode::Unavailable, text!("the gateway is ending: nothing was reloaded"));
        let (reply, outcome) = oneshot::channel();
        self.mailbox.send((order, reply)).await.map_err(|error| gone(error.to_string()))?;
        outcome.await.map_err(|error| gone(error.to_string()))?
    }
}

/// Carries out reloads, one at a time.
#[derive(Debug)]
pub struct Reloader<E> {
    engine: E,
    clock: Clock,
    watch: Watch,
    mailbox: mpsc::Receiver<Job>,
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
                Some(job) = self.mailbox.recv() => self.answer(job).await,
                Some(()) = hangup.recv() => {
                    let _ = self.carry_out(&Order::reload(Cause::Signal, Who::named("SIGHUP"))).await;
                }
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// One look whether there is something to do without anybody asking.
    async fn look(&mut self) {
        if let Some(order) = self.engine.overdue() {
            let _ = self.carry_out(&order).await;
        } else if self.has_changed().await {
            let _ = self.carry_out(&Order::reload(Cause::Watch, Who::named("watch"))).await;
        }
    }

    /// One reload for `first` and for all that have asked for one before it begins; anything else by itself, in turn.
    async fn answer(&mut self, first: Job) {
        let mut next = Some(first);
        while let Some((order, asker)) = next.take() {
            let mut askers = vec![asker];
            while order.source == Source::Running
                && let Ok((other, asker)) = self.mailbox.try_recv()
            {
                if other.source != Source::Running || other.force != order.force {
                    next = Some((other, asker));
                    break;
                }
                askers.push(asker);
            }
            let outcome = self.carry_out(&order).await;
            for asker in askers {
                // Who has hung up does not want to know.
                let _ = asker.send(outcome.clone());
            }
        }
    }

    /// Takes the directory as it lies there for loaded.
    async fn settle(&mut self) {
        let Some(directory) = self.engine.watched() else { return };
        if let Ok(digest) = waiting(move || watch::digest(&directory)).await {
            self.watch.settle(digest);
        }
    }

    async fn has_changed(&mut self) -> bool {
        let Some(directory) = self.engine.watched() else { return false };
        let seen = waiting(move || watch::digest(&directory)).await;
        seen.is_ok_and(|seen| self.watch.observe(self.clock.now().at, seen))
    }

    async fn carry_out(&mut self, order: &Order) -> Outcome {
        let (begun, cause) = (Instant::now(), order.cause);
        let outcome = self.load_and_publish(order, begun).await;
        let (ok, message) = match &outcome {
            Ok(reloaded) if order.force => (true, Text::joined(", ", [one_line(reloaded), text!("forced")])),
            Ok(reloaded) => (true, one_line(reloaded)),
            Err(failure) => (false, failure.text().first_line()),
        };
        report(cause, &outcome);
        let last = LastReload { at_unix_ms: unix_ms(), cause, ok, message };
        self.last.set(last);
        outcome
    }

    async fn load_and_publish(&mut self, order: &Order, begun: Instant) -> Outcome {
        let (watched, load) = (self.engine.watched(), self.engine.loader(order));
        // The digest is taken before loading: a change that comes while loading is seen as one afterwards.
        let loaded = beside(move || (watched.map(|dir| watch::digest(&dir)), load())).await;
        let (digest, loaded) = loaded.map_err(|error| {
            Failure::new(FailureCode::Unavailable, text!("loading the policy broke off: {error}", error))
        })?;
        // What runs already says nothing of what lies there.
        if let Some(digest) = digest.filter(|_| order.source != Source::Same) {
            self.watch.settle(digest);
        }
        let Loaded { candidate, id, changed, changes, mut warnings } = loaded?;
        let opened = if changed { Some(self.engine.open(&candidate).await?) } else { None };
        let is_written = match self.engine.place(&candidate, order).await {
            Ok(is_written) => is_written,
            Err(failure) => {
                self.engine.retire().await;
                return Err(failure);
            }
        };
        let published = match opened {
            Some(opened) => self.engine.publish(candidate, opened).await,
            None => Ok(self.engine.generation()),
        };
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if published.is_ok() {
            warnings.extend(self.engine.note(order).await);
        }
        if is_written {
            // What was written here is no change that anybody made.
            self.settle().await;
        }
        let generation = published?;
        if changed {
            self.engine.retire().await;
        }
        Ok(Reloaded { policy: id, generation, changed, duration_ms, changes, warnings })
    }
}

fn one_line(reloaded: &Reloaded) -> Text {
    let Reloaded { policy, generation, duration_ms, .. } = reloaded;
    match reloaded.changed {
        true => text!("policy {policy}, generation {generation}, in {duration_ms} ms", policy, generation, duration_ms),
        false => text!("policy {policy} ran already", policy),
    }
}

fn report(cause: Cause, outcome: &Outcome) {
    let cause = cause.text().english();
    match outcome {
        Ok(reloaded) if !reloaded.changed => tracing::info!("reload {cause}: nothing has changed"),
        Ok(reloaded) => {
            let Changes { listeners, upstreams, at_next_start } = &reloaded.changes;
            let (line, listeners) = (one_line(reloaded).english(), listeners.text().english());
            let upstreams = upstreams.text().english();
            tracing::info!("reloaded {cause}: {line}; listeners {listeners}; upstreams {upstreams}");
            for setting in at_next_start {
                tracing::warn!("{setting} was changed and takes effect at the next start");
            }
            for warning in &reloaded.warnings {
                tracing::warn!("{}", warning.english());
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
