//! Incidents in the running gateway: what is decided is published at once, then written down, then told.
//!
//! In that order: a slow disk must not hold up a defence. What cannot be written is in force all the same, is told as a
//! warning, and is tried again every second.

use super::state::{Held, State};
use super::{Site, engine, survey};
use crate::clock::{Clock, Now};
use crate::control::beside::waiting;
use crate::control::incidents::auto::{AutoWatch, Move};
use crate::control::incidents::report::{Done, IncidentStatus, Modes};
use crate::control::incidents::request::{BlockRequest, ModeRequest, Switch, UnblockRequest};
use crate::control::incidents::{Event, Incidents, Record, Who};
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::{Cause, LastReload};
use crate::language::{Text, Told as _, text};
use crate::live_policy::{PublishError, Published, Shared};
use crate::policy::Policy;
use crate::policy::server::TcpLimits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Between two looks whether something is over.
const LOOK: Duration = Duration::from_millis(200);

/// Looks between two samples for modes that begin by themselves, and between two tries to write what could not be written.
const LOOKS_PER_SAMPLE: u32 = 5;

/// Records that wait for a disk at the most.
const PENDING_MAX: usize = 10_000;

/// See above.
#[derive(Debug)]
pub(super) struct IncidentDesk {
    shared: Arc<Shared>,
    clock: Clock,
    /// Keys the hash of the emergency rules.
    seed: u64,
    incidents: Mutex<Incidents>,
    /// The state directory, or why there is none.
    directory: Held,
    pending: Mutex<Vec<Record>>,
    /// Held while writing, so that an older state never comes after a newer one.
    writing: tokio::sync::Mutex<()>,
    /// Something is not on the disk.
    unwritten: AtomicBool,
    /// What was wrong with the state at the start; told until the end.
    at_start: Option<Text>,
    /// Why something could not be written.
    fault: Mutex<Option<Text>>,
    tcp_limits: OnceLock<watch::Sender<TcpLimits>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IncidentDesk {
    /// What was on before the restart is on again when this returns; to be called before the first query.
    pub(super) fn open(shared: &Arc<Shared>, clock: Clock, seed: u64, state: &mut State) -> Self {
        let directory = state.open();
        let now = clock.now();
        let (saved, at_start) = match (&directory, state.is_nowhere()) {
            (Ok(directory), _) => match directory.load(now.unix_ms) {
                Ok(saved) => (saved, None),
                Err(broken) => (None, Some(broken)),
            },
            (Err(_), true) => (None, None),
            (Err(why), false) => (None, Some(text!("the state is not kept: {why}", why))),
        };
        if let Some(warning) = &at_start {
            tracing::error!("{}", warning.english());
        }
        let desk = Self {
            shared: Arc::clone(shared),
            clock,
            seed,
            incidents: Mutex::default(),
            directory,
            pending: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            unwritten: AtomicBool::new(false),
            at_start,
            fault: Mutex::default(),
            tcp_limits: OnceLock::new(),
        };
        if let Some(saved) = saved {
            desk.restore(&Incidents::restore(&saved, now, &shared.live.load().base));
        }
        desk
    }

    fn restore(&self, (incidents, records): &(Incidents, Vec<Record>)) {
        // Nothing serves yet: what is replaced can be dropped here.
        let unix_ms = self.clock.now().unix_ms;
        if let Some(mode) = incidents.mode()
            && let Err(error) = self.shared.live.set_mode(Some(&mode.name), unix_ms)
        {
            tracing::error!("mode {} does not go on: {error}", mode.name);
        }
        if !incidents.blocks().is_empty() {
            self.shared.live.set_emergency(incidents.emergency(self.seed), unix_ms);
        }
        *lock(&self.incidents) = incidents.clone();
        self.note(records.clone());
    }

    /// From now on a switch also changes the limits on client connections.
    pub(super) fn follow(&self, tcp_limits: watch::Sender<TcpLimits>) {
        // Called once, by the wiring.
        let _ = self.tcp_limits.set(tcp_limits);
    }

    /// What is on.
    pub(super) fn status(&self) -> IncidentStatus {
        IncidentStatus::of(&lock(&self.incidents), self.clock.now())
    }

    /// How many emergency rules there are.
    pub(super) fn rules(&self) -> usize {
        lock(&self.incidents).blocks().len()
    }

    /// Where the state is kept, or why it is not.
    pub(super) fn place(&self) -> Text {
        match &self.directory {
            Ok(directory) => Text::verbatim(directory.path().display().to_string()),
            Err(why) => text!("not kept: {why}", why),
        }
    }

    /// What somebody should look at.
    pub(super) fn warnings(&self) -> Vec<Text> {
        self.at_start.clone().into_iter().chain(lock(&self.fault).clone()).collect()
    }

    /// `weir mode`
    pub(super) async fn mode(&self, who: &Who, request: &ModeRequest) -> Result<Modes, Failure> {
        let base = Arc::clone(&self.shared.live.load().base);
        if let Some(switch) = request.check(&base)? {
            self.change(|incidents, now| match switch {
                Switch::To(mode, lasts, reason) => Ok(vec![incidents.enter(now, who, mode, lasts, &reason)]),
                Switch::Normal(reason) => Ok(incidents.leave(now, who, &reason).into_iter().collect()),
            })?;
            self.write().await;
        }
        Ok(Modes::of(&lock(&self.incidents), &base, self.clock.now(), self.not_kept()))
    }

    /// `weir block`
    pub(super) async fn block(&self, who: &Who, request: &BlockRequest) -> Result<Done, Failure> {
        let base = Arc::clone(&self.shared.live.load().base);
        let block = request.check(&base)?;
        let (rule, lasts) = (block.rule, block.lasts);
        self.change(|incidents, now| Ok(vec![incidents.block(now, who, rule, lasts, &block.reason)?]))?;
        self.write().await;
        Ok(self.done(text!(
            "{name} is blocked: {action}, for {lasts}",
            name = request.name,
            action = request.action,
            lasts = request.lasts_text()
        )))
    }

    /// `weir unblock`
    pub(super) async fn unblock(&self, who: &Who, request: &UnblockRequest) -> Result<Done, Failure> {
        let (pattern, reason) = request.check()?;
        self.change(|incidents, now| Ok(vec![incidents.unblock(now, who, &pattern, &reason)?]))?;
        self.write().await;
        Ok(self.done(text!("{pattern} is let go", pattern)))
    }

    /// Notes a reload in the audit log.
    pub(super) fn reloaded(&self, who: &Who, last: &LastReload) {
        self.changed(who, Event::Reload, last, "");
    }

    /// Notes in the audit log what became of a change of policy.
    pub(super) fn changed(&self, who: &Who, event: Event, last: &LastReload, why: &str) {
        let outcome = if last.ok { "ok" } else { "refused" };
        self.record(who, event, format!("{outcome}: {}", last.message.english()), why);
    }

    /// Notes anything in the audit log.
    pub(super) fn record(&self, who: &Who, event: Event, what: String, why: &str) {
        self.note(vec![Record::new(self.clock.now(), who, event, what, why)]);
    }

    fn done(&self, done: Text) -> Done {
        Done { done, rules: self.rules(), warnings: self.not_kept() }
    }

    /// What whoever gave a command has to know: it acts, and would not survive a restart.
    fn not_kept(&self) -> Vec<Text> {
        match &self.directory {
            Err(why) => vec![text!("this does not survive a restart: the state is not kept: {why}", why)],
            Ok(_) => lock(&self.fault).clone().into_iter().collect(),
        }
    }

    /// Makes a change and publishes what follows from it. The order of changes is the order of publishing.
    fn change(&self, change: impl FnOnce(&mut Incidents, Now) -> Result<Vec<Record>, Failure>) -> Result<(), Failure> {
        let now = self.clock.now();
        let mut incidents = lock(&self.incidents);
        let mut next = incidents.clone();
        let records = change(&mut next, now)?;
        let begun = Instant::now();
        let name = |incidents: &Incidents| incidents.mode().map(|mode| mode.name.clone());
        if name(&next) != name(&incidents) {
            let published = self.shared.live.set_mode(name(&next).as_deref(), now.unix_ms);
            self.replaced(published.map_err(|error| Failure::new(FailureCode::BadRequest, error.text()))?);
        }
        if next.blocks() != incidents.blocks() {
            self.replaced(self.shared.live.set_emergency(next.emergency(self.seed), now.unix_ms));
        }
        if !records.is_empty() {
            tracing::debug!("published in {} us", begun.elapsed().as_micros());
        }
        *incidents = next;
        drop(incidents);
        self.note(records);
        Ok(())
    }

    /// Publishes the policy that comes back because nobody confirmed the apply after it. Nothing holds that up: a mode that
    /// it lacks ends with the same step, and its name is returned.
    ///
    /// # Errors
    /// As [`publish`](crate::live_policy::LivePolicy::publish), for anything else; nothing has changed then.
    pub(super) fn bring_back(&self, policy: Policy) -> Result<(Published, Option<String>), PublishError> {
        let (now, live) = (self.clock.now(), &self.shared.live);
        // Held until it is published: no mode begins in between.
        let mut incidents = lock(&self.incidents);
        let lacking = incidents.mode().map(|mode| mode.name.clone()).filter(|mode| policy.mode(mode).is_none());
        if lacking.is_none() {
            return Ok((live.publish(policy, now.unix_ms)?, None));
        }
        let why = format!("policy {}, which runs again as the apply was not confirmed, does not have it", policy.id);
        let published = live.publish_in_no_mode(policy, now.unix_ms)?;
        let record = incidents.leave(now, &Who::weir(), &why);
        drop(incidents);
        self.note(record.into_iter().collect());
        Ok((published, lacking))
    }

    fn replaced(&self, (next, previous): Published) {
        if let Some(limits) = self.tcp_limits.get() {
            limits.send_replace(next.policy.tcp.clone());
        }
        tokio::spawn(engine::free(previous));
    }

    /// Tells records to the log now and to the audit log with the next writing.
    fn note(&self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        records.iter().for_each(|record| tracing::info!("{record}"));
        let mut pending = lock(&self.pending);
        let room = PENDING_MAX.saturating_sub(pending.len());
        pending.extend(records.into_iter().take(room));
        self.unwritten.store(true, Ordering::Relaxed);
    }

    /// Writes what is not on the disk yet; a failure is kept as a warning until it works again.
    pub(super) async fn write(&self) {
        let Ok(directory) = &self.directory else { return };
        let _turn = self.writing.lock().await;
        if !self.unwritten.swap(false, Ordering::Relaxed) {
            return;
        }
        let (directory, saved) = (Arc::clone(directory), lock(&self.incidents).saved());
        let records = std::mem::take(&mut *lock(&self.pending));
        let path = directory.path().display().to_string();
        let written = waiting(move || {
            let written = directory.save(&saved).and_then(|()| directory.audit(&records));
            written.map_err(|error| (Text::of_io(&error), records))
        });
        let fault = match written.await {
            Ok(Ok(())) => None,
            Ok(Err((error, records))) => {
                let mut pending = lock(&self.pending);
                pending.splice(0..0, records);
                Some(text!("state directory {path}: {error}: what is on now does not survive a restart", path, error))
            }
            Err(error) => Some(text!("state directory {path}: writing broke off: {error}", path, error)),
        };
        if let Some(fault) = &fault {
            self.unwritten.store(true, Ordering::Relaxed);
            tracing::error!("{}", fault.english());
        }
        *lock(&self.fault) = fault;
    }

    /// Ends what is over.
    fn expire(&self) {
        // It never fails: nothing is asked of the policy when a mode ends.
        let _ = self.change(|incidents, now| Ok(incidents.expire(now)));
    }

    fn make(&self, policy: &Policy, wanted: Move) {
        let made = self.change(|incidents, now| match wanted {
            Move::Enter(name, why) => {
                let record = policy.mode(&name).map(|mode| incidents.enter_by_itself(now, mode, &why));
                Ok(record.into_iter().collect())
            }
            Move::Leave(why) => Ok(incidents.leave(now, &Who::weir(), &why).into_iter().collect()),
        });
        if let Err(failure) = made {
            tracing::error!("a mode that was to switch by itself did not: {}", failure.message);
        }
    }
}

/// Ends what is over, begins what begins by itself, and writes down what could not be written; until it is dropped.
pub(super) async fn run(site: Arc<Site>) {
    let desk = &site.incidents;
    let (mut looks, mut watch, mut sampler) =
        (tokio::time::interval(LOOK), AutoWatch::default(), survey::Sampler::new(&site));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 1_u32.. {
        looks.tick().await;
        desk.expire();
        for last in site.last.take_fresh() {
            match last.cause {
                Cause::Command | Cause::Apply | Cause::Rollback => {} // Noted with who asked.
                Cause::Signal => desk.reloaded(&Who::named("SIGHUP"), &last),
                Cause::Watch => desk.reloaded(&Who::named("watch"), &last),
                Cause::Feed => desk.record(&Who::named("feed"), Event::Feed, last.message.english(), ""),
                Cause::Unconfirmed => {
                    desk.changed(&Who::weir(), Event::AutoRollback, &last, "an apply was not confirmed");
                }
            }
        }
        if look.is_multiple_of(LOOKS_PER_SAMPLE) {
            let base = Arc::clone(&site.shared.live.load().base);
            if AutoWatch::is_wanted(&base) {
                let sample = sampler.take(&site);
                let active = lock(&desk.incidents).mode().cloned();
                if let Some(wanted) = watch.observe(site.clock.now().at, &sample, &base, active.as_ref()) {
                    desk.make(&base, wanted);
                }
            }
        }
        // At once what has just happened; what failed before, once a second.
        if lock(&desk.fault).is_none() || look.is_multiple_of(LOOKS_PER_SAMPLE) {
            desk.write().await;
        }
    }
}
