//! Feeds in the running gateway: fetched, judged, compiled with the policy and put in force, or not; and told about.
//!
//! Everything here runs on the control side. What came is in force only once a whole policy with it has been published,
//! in the same way and order as a reload, with the files of the policy that runs; until then, and whenever anything
//! fails, the last good copy stays. Its age is watched, because a feed that fails silently is a guard that sleeps.

pub mod awaited;
pub mod change;
pub mod fetch;
pub mod judge;
mod look;
pub mod progress;
pub mod report;
pub mod schedule;
pub mod signature;
pub mod store;
pub mod transfer;
mod trust;
pub mod zone;

use crate::clock::{Clock, Moment, Now};
use crate::control::history::request::{FeedCopy, Order};
use crate::control::incidents::Who;
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::{Asker, Reloaded};
use crate::language::{Text, phrase, text};
use crate::ledger::alerts::{Alert, AlertKind, Alerts, Numbers, Subject};
use crate::ledger::journal::RuleId;
use crate::ledger::notices::Notices;
use crate::policy::feeds::{Copy, FeedSettings, FeedSource, Feeds, Manifest};
use progress::{Phase, Progress};
use report::{FeedList, FeedStatus, HeldStatus};
use schedule::{Interval, Schedule};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Between two looks whether the policy has other feeds, or one has grown old.
const WATCH: Duration = Duration::from_millis(250);

/// Between two alerts about the same feed: an alert that is not raised again for five seconds has ended.
const ALERT: Duration = Duration::from_secs(1);

/// The longest message that is remembered of a failure, in bytes.
const ERROR_MAX: usize = 1_024;

/// One feed while it is declared.
#[derive(Debug)]
struct Feed {
    settings: Arc<FeedSettings>,
    progress: Progress,
    /// Somebody wants it looked at: [`State::schedule`] says when.
    wake: Notify,
    state: Mutex<State>,
}

/// What is known of a feed.
#[derive(Debug)]
struct State {
    schedule: Schedule,
    interval: Interval,
    manifest: Option<Manifest>,
    held: Option<(Manifest, Text)>,
    last_error: Option<Text>,
    /// A look is under way.
    is_looking: bool,
    /// Looks that have ended, and those that ended well.
    looks: u64,
    looks_ok: u64,
    notified: u64,
    /// How long a zone is good without its primary, by its SOA.
    expire: Option<Duration>,
    /// Since when it is known, for one that never came.
    known_since_unix_ms: u64,
    /// It has been told that it is too old.
    is_old: bool,
}

/// All feeds of the gateway.
#[derive(Debug)]
pub struct FeedDesk {
    store: Arc<Store>,
    clock: Clock,
    feeds: Mutex<BTreeMap<String, Kept>>,
}

/// A feed, and what looks after it; nothing does before the gateway serves.
type Kept = (Arc<Feed>, Option<Keeper>);

/// Ends a feed's task with the feed.
#[derive(Debug)]
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random bits of the system; what they spread and number is no secret, so that a system without is no failure.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

impl FeedDesk {
    /// The feeds whose copies are in `store`.
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self { store, clock, feeds: Mutex::default() }
    }

    /// Keeps the feeds of whatever policy runs, until it is dropped. To be run within a `LocalSet`.
    pub async fn run(
        self: Arc<Self>,
        running: impl Fn() -> Arc<Feeds>,
        (notices, alerts): (&Notices, &Alerts),
        asker: Asker,
    ) -> Infallible {
        let mut alerted = Moment::ZERO;
        let mut ticks = tokio::time::interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut followed = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = notices.come() => {}
            }
            let feeds = running();
            if followed.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &feeds)) {
                self.follow(&feeds, &asker);
                followed = Some(feeds);
            }
            while let Some(notice) = notices.take() {
                self.heed(&notice.zone);
            }
            let now = self.clock.now();
            let is_due = now.at.since(alerted) >= ALERT;
            if is_due {
                alerted = now.at;
            }
            self.watch_ages(now, &mut |alert| {
                if is_due {
                    alerts.raise(alert);
                }
            });
        }
    }

    /// Begins to keep what is new, and ends what is not declared any more.
    fn follow(self: &Arc<Self>, feeds: &Feeds, asker: &Asker) {
        let mut kept = lock(&self.feeds);
        kept.retain(|name, (feed, _)| feeds.of(name).is_some_and(|settings| *settings == feed.settings));
        for settings in feeds.iter() {
            if kept.contains_key(&settings.name) {
                continue;
            }
            let feed = Arc::new(Feed::new(settings, &self.store, self.clock.now()));
            let task = look::keep(Arc::clone(&feed), Arc::clone(&self.store), self.clock, asker.clone());
            let task = Keeper(tokio::task::spawn_local(async move { match task.await {} }));
            kept.insert(settings.name.clone(), (feed, Some(task)));
        }
    }

    /// A primary says that a zone has changed.
    fn heed(&self, zone: &crate::dns::name::Name) {
        let now = self.clock.moment();
        for (feed, _) in lock(&self.feeds).values() {
            if matches!(&feed.settings.source, FeedSource::Zone(of) if of.zone == *zone) {
                let mut state = lock(&feed.state);
                state.notified = state.notified.saturating_add(1);
                state.schedule.hurry(now);
                feed.wake.notify_one();
            }
        }
    }

    /// Tells of feeds that are too old: once in the log, and with an alert for as long as they are.
    fn watch_ages(&self, now: Now, raise: &mut dyn FnMut(Alert)) {
        for (feed, _) in lock(&self.feeds).values() {
            let (age, limit) = feed.age(now.unix_ms);
            let mut state = lock(&feed.state);
            let is_old = age > limit;
            if is_old {
                let subject = Subject::Feed(RuleId::new(&feed.settings.name));
                let numbers = Numbers { age_s: (age.as_secs(), limit.as_secs()), ..Numbers::default() };
                let done = phrase!("the last copy stays in force");
                raise(Alert { unix_ms: now.unix_ms, kind: AlertKind::OldFeed, subject, numbers, done });
            }
            if is_old == state.is_old {
                continue;
            }
            state.is_old = is_old;
            let why = state.last_error.as_ref().map_or_else(|| "it was not looked at".to_owned(), Text::english);
            let name = &feed.settings.name;
            if is_old {
                tracing::warn!(feed = name, age_s = age.as_secs(), limit_s = limit.as_secs(), why, "feed is too old");
            } else {
                tracing::info!(feed = name, "feed is of age again");
            }
        }
    }

    /// How all are, or those of a name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn list(&self, name: Option<&str>) -> Result<FeedList, Failure> {
        let now = self.clock.now();
        let feeds: Vec<_> = lock(&self.feeds)
            .iter()
            .filter(|(of, _)| name.is_none_or(|name| name == *of))
            .map(|(_, (feed, _))| feed.status(now))
            .collect();
        match name {
            Some(name) if feeds.is_empty() => Err(unknown(name)),
            _ => Ok(FeedList { feeds }),
        }
    }

    /// What somebody should look at.
    pub fn warnings(&self) -> Vec<Text> {
        let statuses = self.list(None).map(|list| list.feeds).unwrap_or_default();
        statuses.iter().flat_map(FeedStatus::warnings).collect()
    }

    /// Has one looked at now, or all; tells how they are now, before that.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn refresh(&self, name: Option<&str>) -> Result<FeedList, Failure> {
        let list = self.list(name)?;
        let now = self.clock.moment();
        for (feed, _) in lock(&self.feeds).iter().filter(|(of, _)| name.is_none_or(|name| name == *of)).map(|(_, f)| f)
        {
            lock(&feed.state).schedule.ask(now);
            feed.wake.notify_one();
        }
        Ok(list)
    }

    /// Puts the copy that waits in force.
    ///
    /// # Errors
    /// None waits, or the policy with it has faults.
    pub async fn accept(&self, name: &str, who: Who, asker: &Asker) -> Result<Reloaded, Failure> {
        let feed = lock(&self.feeds).get(name).map(|(feed, _)| Arc::clone(feed)).ok_or_else(|| unknown(name))?;
        let unreadable = |error| Failure::new(FailureCode::Unavailable, text!("the copy that waits: {error}", error));
        let Some(copy) = self.store.held(name).map_err(unreadable)? else {
            let message = text!("no copy of feed {name} waits to be accepted; `weir feed` says how it is", name);
            return Err(Failure::new(FailureCode::BadRequest, message));
        };
        let published = publish(asker, &feed, Arc::clone(&copy), (who, true)).await;
        if !lock(&feed.state).is_looking {
            feed.progress.enter(Phase::Idle);
        }
        let reloaded = published?;
        self.store.release_one(name, &copy.manifest);
        feed.note_in_force(&self.store);
        let mut state = lock(&feed.state);
        if state.held.is_none() {
            state.last_error = None;
        }
        Ok(reloaded)
    }
}

/// Why a copy waits of which it is not known any more.
fn came_before() -> Text {
    text!("it came before the last start")
}

fn unknown(name: &str) -> Failure {
    let message =
        text!("there is no feed {name:?}; they are declared in gateway.toml, and `weir feed` lists them", name);
    Failure::new(FailureCode::BadRequest, message)
}

/// Has the policy that runs published with another copy of a feed, with `force` whatever the guard says of it. It is on the
/// disk as the last good one afterwards.
async fn publish(asker: &Asker, feed: &Feed, copy: Arc<Copy>, (who, force): (Who, bool)) -> Result<Reloaded, Failure> {
    feed.progress.enter(Phase::Compiling);
    let copy = FeedCopy { name: feed.settings.name.clone(), copy };
    asker.order(Order { force, ..Order::feed(copy, who) }).await
}

impl Feed {
    fn new(settings: &Arc<FeedSettings>, store: &Store, now: Now) -> Self {
        let name = &settings.name;
        let (manifest, last_error) = match store.manifest(name) {
            Ok(manifest) => (manifest, None),
            Err(error) => (None, Some(error)),
        };
        let interval = match &settings.source {
            FeedSource::Url(url) => Interval::every(url.refresh),
            FeedSource::Zone(_) => Interval::of_soa(3_600, 60),
        };
        let held = store.held_manifest(name);
        if held.as_ref().is_some_and(|held| !settings.source.vouches_for(held)) {
            // Nobody can accept it any more.
            store.release(name);
        }
        let held = held.filter(|held| settings.source.vouches_for(held)).map(|held| (held, came_before()));
        let next = first_look(settings, manifest.as_ref(), interval, now);
        let state = State {
            schedule: Schedule::starting(next),
            interval,
            manifest,
            held,
            last_error,
            is_looking: false,
            looks: 0,
            looks_ok: 0,
            notified: 0,
            expire: None,
            known_since_unix_ms: now.unix_ms,
            is_old: false,
        };
        Self { settings: Arc::clone(settings), progress: Progress::default(), wake: Notify::new(), state: state.into() }
    }

    /// How long ago the source said that this is what it has, and how long ago it may.
    fn age(&self, unix_ms: u64) -> (Duration, Duration) {
        let state = lock(&self.state);
        let since = state.manifest.as_ref().map_or(state.known_since_unix_ms, |manifest| manifest.confirmed_unix_ms);
        let limit = state.expire.filter(|expire| !expire.is_zero()).map_or(self.settings.age_max, |expire| {
            // RFC 1035 section 3.3.13: without the primary for so long the zone is "no longer authoritative".
            expire.min(self.settings.age_max)
        });
        (Duration::from_millis(unix_ms.saturating_sub(since)), limit)
    }

    /// What the store holds now.
    fn note_in_force(&self, store: &Store) {
        let (manifest, is_held) =
            (store.manifest(&self.settings.name), store.held_manifest(&self.settings.name).is_some());
        let mut state = lock(&self.state);
        if !is_held {
            state.held = None;
        }
        if let Ok(manifest) = manifest {
            state.manifest = manifest;
        }
    }

    fn status(&self, now: Now) -> FeedStatus {
        let (age, limit) = self.age(now.unix_ms);
        let state = lock(&self.state);
        let kind = match &self.settings.source {
            FeedSource::Url(_) => "url",
            FeedSource::Zone(_) => "zone",
        };
        let manifest = state.manifest.as_ref();
        FeedStatus {
            name: self.settings.name.clone(),
            kind: kind.to_owned(),
            source: self.settings.source.text(),
            entries: manifest.map(|manifest| manifest.entries),
            bytes: manifest.map(|manifest| manifest.bytes),
            sha256: manifest.map(|manifest| manifest.sha256.clone()),
            etag: manifest.and_then(|manifest| manifest.etag.clone()),
            serial: manifest.and_then(|manifest| manifest.serial),
            changed_unix_ms: manifest.map(|manifest| manifest.fetched_unix_ms),
            age_s: manifest.map(|_| age.as_secs()),
            age_max_s: limit.as_secs(),
            is_old: age > limit,
            next_s: state.schedule.next.since(now.at).as_secs(),
            known_since_unix_ms: state.known_since_unix_ms,
            is_looking: state.is_looking,
            looks: state.looks,
            looks_ok: state.looks_ok,
            failures: state.schedule.failures,
            notified: state.notified,
            last_error: state.last_error.clone(),
            held: state.held.as_ref().map(|(held, why)| HeldStatus { entries: held.entries, why: why.clone() }),
            progress: self.progress.now(),
        }
    }
}

/// When a feed is looked at first: a zone and what has no copy at once, a list when it would have been due anyway.
fn first_look(settings: &FeedSettings, manifest: Option<&Manifest>, interval: Interval, now: Now) -> Moment {
    let (FeedSource::Url(of), Some(manifest)) = (&settings.source, manifest) else { return now.at };
    if !of.pin.is_of(manifest) {
        return now.at;
    }
    let age = Duration::from_millis(now.unix_ms.saturating_sub(manifest.confirmed_unix_ms));
    now.at.plus(interval.refresh.saturating_sub(age))
}

/// A feed of these lines.
#[cfg(test)]
pub(crate) fn test_feed(name: &str, text: &str) -> FeedSettings {
    use crate::policy::document::probe;
    let text = format!("[[feed]]\nname = {name:?}\n{text}");
    let (feeds, faults) = probe::read(&text, |table| Feeds::read(table, &crate::policy::document::Files::default()));
    assert!(faults.is_empty(), "{faults:?}");
    FeedSettings::clone(feeds.of(name).expect("it was just declared"))
}

#[cfg(test)]
mod tests;
