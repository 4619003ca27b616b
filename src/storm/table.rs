//! The accounts of zones: sets of eight places; a full set forgets the zone that was asked for least, so that those that
//! storm stay, whatever else is asked for in between.

use super::sketch::Sketch;
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::ledger::alerts::{AlertKind, Numbers};
use crate::policy::storm::StormPolicy;
use std::time::Duration;

/// Places in a set.
const PLACES: usize = 8;

/// Failures, within about two seconds, until a zone can be said to fail.
const FAILED_MIN: u32 = 10;

/// From the time that a zone fails, and then from one probe to the next, so long at least; a probe that is silent is waited
/// for, for 2 s. So a zone is back to normal within 3 s of its recovery.
const TRIAL_EVERY: Duration = Duration::from_secs(1);

/// A zone that has not answered for so long, though questions wait, is held to its share.
const ANSWERING: Duration = Duration::from_millis(250);

/// With so many questions waiting, and no answer for so long, a zone is stalled: that is told before the first of them
/// has failed.
const STALLED_MIN: u32 = 10;
const STALLED: Duration = Duration::from_millis(500);

/// Answers, within about two seconds, until it can be said which part of them is NXDOMAIN.
const ANSWERS_MIN: u32 = 20;

/// Second attempts at what one server failed, within about two seconds, that a zone has whether or not they help.
const AGAIN_FREE: u32 = 5;

/// Alerts of one zone and kind are at least so far apart.
const ALERT_EVERY: Duration = Duration::from_secs(1);

/// What is counted of a zone.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    questions: u32,
    /// Answered, NXDOMAIN included.
    answered: u32,
    /// Answered NXDOMAIN.
    absent: u32,
    failed: u32,
    /// Held back as a name that is not known.
    unknown: u32,
    /// Asked again at another server, because one failed it; and of those, answered there.
    again: u32,
    helped: u32,
}

impl Counts {
    /// The mean of this and the second that has passed.
    fn after(self, second: Self) -> Self {
        let mean = |past: u32, now: u32| ((u64::from(past) + u64::from(now)) / 2) as u32;
        Self {
            questions: mean(self.questions, second.questions),
            answered: mean(self.answered, second.answered),
            absent: mean(self.absent, second.absent),
            failed: mean(self.failed, second.failed),
            unknown: mean(self.unknown, second.unknown),
            again: mean(self.again, second.again),
            helped: mean(self.helped, second.helped),
        }
    }
}

/// Whether a zone may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    /// By all.
    Closed,
    /// By one probe at a time, not before `next`.
    Open { next: Moment, trial: bool },
}

/// What the breaker says about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The zone may be asked.
    Ask,
    /// It fails, and it is time to see whether it still does: this question may be the probe.
    Try,
    /// It fails.
    Fails,
}

/// The account of one zone with one worker.
#[derive(Clone, Copy, Debug)]
pub struct Zone {
    name: Name,
    second: u64,
    /// When it ends: until then nothing has to be let pass.
    second_ends: Moment,
    /// Where it lies in the table.
    place: Place,
    now: Counts,
    past: Counts,
    names: Sketch,
    sources: Sketch,
    names_past: u32,
    sources_past: u32,
    /// Questions of this worker in flight.
    waiting: u32,
    /// When it answered last, or the first of the questions that wait was asked.
    owes_since: Moment,
    answered_at: Moment,
    recovered_at: Moment,
    breaker: Breaker,
    /// GCRA for names that are not known: the theoretical arrival time of the next.
    unknown_due: Moment,
    alerted: [Moment; AlertKind::ALL.len()],
}

impl Zone {
    const EMPTY: fn() -> Self = || Self {
        name: Name::root(),
        second: 0,
        second_ends: Moment::ZERO,
        place: 0,
        now: Counts::default(),
        past: Counts::default(),
        names: Sketch::default(),
        sources: Sketch::default(),
        names_past: 0,
        sources_past: 0,
        waiting: 0,
        owes_since: Moment::ZERO,
        answered_at: Moment::ZERO,
        recovered_at: Moment::ZERO,
        breaker: Breaker::Closed,
        unknown_due: Moment::ZERO,
        alerted: [Moment::ZERO; AlertKind::ALL.len()],
    };

    /// Lets the seconds pass that have passed.
    #[inline]
    fn roll(&mut self, at: Moment) {
        if at >= self.second_ends {
            self.roll_on(at);
        }
    }

    #[inline(never)]
    fn roll_on(&mut self, at: Moment) {
        let passed = at.as_secs().saturating_sub(self.second);
        self.second += passed;
        self.second_ends = Moment::ZERO.plus(Duration::from_secs(self.second + 1));
        if passed == 0 {
            return;
        }
        for _ in 0..passed.min(32) {
            self.past = self.past.after(std::mem::take(&mut self.now));
        }
        let was_last = passed == 1;
        self.names_past = if was_last { self.names.estimate() } else { 0 };
        self.sources_past = if was_last { self.sources.estimate() } else { 0 };
        (self.names, self.sources) = (Sketch::default(), Sketch::default());
    }

    pub(super) fn question(&mut self, at: Moment, name: u64, source: u64) {
        self.roll(at);
        self.now.questions = self.now.questions.saturating_add(1);
        self.names.add(name);
        self.sources.add(source);
    }

    /// Where it is found again at once.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The zone's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What the breaker says.
    pub fn breaker(&self, at: Moment) -> Says {
        match self.breaker {
            Breaker::Closed => Says::Ask,
            Breaker::Open { trial: false, next } if at >= next => Says::Try,
            Breaker::Open { .. } => Says::Fails,
        }
    }

    /// Whether it fails: then nothing is tried twice.
    pub fn fails(&self) -> bool {
        self.breaker != Breaker::Closed
    }

    /// When it was found to answer again.
    pub fn recovered_at(&self) -> Moment {
        self.recovered_at
    }

    /// Since when nothing came from it, though something was asked.
    pub fn owes_since(&self) -> Moment {
        self.owes_since
    }

    /// Places toward a pool of `capacity` that it may hold: its share, or half of all while it answers well.
    pub fn places(&self, at: Moment, policy: &StormPolicy, capacity: u32) -> u32 {
        let share = policy.share(capacity);
        let answers = at.since(self.answered_at) < ANSWERING && self.sum(|c| c.failed) <= self.sum(|c| c.answered);
        let is_known = self.answered_at != Moment::ZERO;
        if answers && is_known && !self.fails() { share.max(capacity / 2) } else { share }
    }

    /// Whether many different names are asked for, most of which do not exist.
    pub fn is_under_random_names(&self, unknown: u32) -> bool {
        let (answered, failed, held) = (self.sum(|c| c.answered), self.sum(|c| c.failed), self.sum(|c| c.unknown));
        let (all, bad) = (answered + failed + held, self.sum(|c| c.absent) + failed + held);
        // Past a few hundred the sketch only says "many".
        all >= ANSWERS_MIN && bad * 2 >= all && self.names() >= unknown.min(400)
    }

    /// Takes a place in the second's budget for names that are not known; false when it is used up, and the question
    /// counts as held back.
    pub fn admit_unknown(&mut self, at: Moment, per_second: u32) -> bool {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let due = self.unknown_due.max(at);
        if due.since(at) >= Duration::from_secs(1) {
            self.now.unknown = self.now.unknown.saturating_add(1);
            return false;
        }
        self.unknown_due = due.plus(interval);
        true
    }

    /// Takes leave to ask another server for what one has failed. While that helps there is no end to it; where it does not
    /// the zone is what fails, and a second attempt at each question would only double what it costs.
    pub fn ask_again(&mut self) -> bool {
        let leave = self.sum(|c| c.again) < AGAIN_FREE + 2 * self.sum(|c| c.helped);
        self.now.again = self.now.again.saturating_add(u32::from(leave));
        leave
    }

    /// Another server had the answer.
    pub fn helped(&mut self) {
        self.now.helped = self.now.helped.saturating_add(1);
    }

    /// A question went upstream; `trial`: it is the probe.
    pub fn asked(&mut self, at: Moment, trial: bool) {
        if self.waiting == 0 {
            self.owes_since = at;
        }
        self.waiting += 1;
        if trial && self.fails() {
            self.breaker = Breaker::Open { next: at.plus(TRIAL_EVERY), trial: true };
        }
    }

    /// A question was answered, after `took`. Answers that come late do not let a zone hold more than its share: each of
    /// its questions holds a place for long.
    pub fn answered(&mut self, at: Moment, took: Duration, absent: bool, trial: bool, fail_ratio: f64) {
        self.waiting = self.waiting.saturating_sub(1);
        self.owes_since = at;
        if took < STALLED {
            self.answered_at = at;
        }
        self.now.answered = self.now.answered.saturating_add(1);
        self.now.absent = self.now.absent.saturating_add(u32::from(absent));
        if self.fails() && (trial || !self.is_failing(fail_ratio)) {
            self.breaker = Breaker::Closed;
            self.recovered_at = at;
            (self.now.failed, self.past.failed) = (0, 0);
        }
    }

    /// A question got no answer, or SERVFAIL, and the server is not to blame.
    pub fn failed(&mut self, at: Moment, trial: bool, fail_ratio: f64) {
        self.now.failed = self.now.failed.saturating_add(1);
        if !self.fails() && self.is_failing(fail_ratio) {
            self.breaker = Breaker::Open { next: at.plus(TRIAL_EVERY), trial: false };
        }
        self.ended(trial);
    }

    /// A question ended without saying anything about the zone.
    pub fn ended(&mut self, trial: bool) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Breaker::Open { trial: running, .. } = &mut self.breaker
            && trial
        {
            *running = false;
        }
    }

    fn is_failing(&self, fail_ratio: f64) -> bool {
        let (failed, answered) = (self.sum(|c| c.failed), self.sum(|c| c.answered));
        failed >= FAILED_MIN && f64::from(failed) >= fail_ratio * f64::from(failed + answered)
    }

    /// Whether many questions wait and none is answered.
    pub fn is_stalled(&self, at: Moment) -> bool {
        self.waiting >= STALLED_MIN && at.since(self.owes_since) >= STALLED
    }

    /// What an alert says, when it is time for one of this kind.
    pub fn alert(&mut self, at: Moment, kind: AlertKind) -> Option<Numbers> {
        let last = &mut self.alerted[kind as usize];
        if *last != Moment::ZERO && at.since(*last) < ALERT_EVERY {
            return None;
        }
        *last = at;
        let (answered, failed, held) = (self.sum(|c| c.answered), self.sum(|c| c.failed), self.sum(|c| c.unknown));
        let bad = if kind == AlertKind::RandomSubdomains { self.sum(|c| c.absent) + failed + held } else { failed };
        let all = answered + failed + if kind == AlertKind::RandomSubdomains { held } else { 0 };
        // Nothing has come back yet: all of it fails so far.
        let permille = if all == 0 { 1000 } else { u64::from(bad) * 1000 / u64::from(all) };
        Some(Numbers {
            queries: self.now.questions.max(self.past.questions),
            bad_permille: permille as u16,
            names: self.names(),
            sources: self.sources_past.max(self.sources.estimate()),
            ..Numbers::default()
        })
    }

    fn names(&self) -> u32 {
        self.names_past.max(self.names.estimate())
    }

    fn sum(&self, of: impl Fn(&Counts) -> u32) -> u32 {
        of(&self.now).saturating_add(of(&self.past)).min(1 << 28)
    }

    /// What it would be a loss to forget: those that wait or fail, then those asked for most.
    fn weight(&self) -> (bool, u32) {
        (self.waiting > 0 || self.fails(), self.sum(|c| c.questions))
    }
}

/// Where the account of a zone lay when it was looked up; another zone may have it by now.
pub type Place = u32;

/// All accounts of a worker.
#[derive(Debug)]
pub(super) struct Table {
    /// Hash of the zone at each place; 0: nobody is here. Apart from the accounts, so that a set is looked through in one
    /// cache line.
    hashes: Box<[[u64; PLACES]]>,
    zones: Box<[[Zone; PLACES]]>,
}

impl Table {
    pub(super) fn new(zones_max: usize) -> Self {
        let sets = Self::sets(zones_max);
        let zones = (0..sets).map(|_| [Zone::EMPTY(); PLACES]).collect();
        Self { hashes: vec![[0; PLACES]; sets].into_boxed_slice(), zones }
    }

    pub(super) fn size_bytes(zones_max: usize) -> usize {
        Self::sets(zones_max) * PLACES * (size_of::<u64>() + size_of::<Zone>())
    }

    /// A power of two.
    fn sets(zones_max: usize) -> usize {
        zones_max.div_ceil(PLACES).max(1).next_power_of_two()
    }

    fn set_of(&self, hash: u64) -> usize {
        hash as usize & (self.hashes.len() - 1)
    }

    pub(super) fn find(&mut self, at: Moment, hash: u64) -> Option<&mut Zone> {
        let set = self.set_of(hash);
        let place = self.hashes[set].iter().position(|other| *other == hash)?;
        let zone = &mut self.zones[set][place];
        zone.roll(at);
        Some(zone)
    }

    /// As [`Self::find`], where it was before, if it still is there.
    #[inline]
    pub(super) fn find_at(&mut self, at: Moment, hash: u64, place: Place) -> Option<&mut Zone> {
        let place = place as usize;
        if self.hashes.as_flattened().get(place) != Some(&hash) {
            return self.find(at, hash);
        }
        let zone = self.zones.as_flattened_mut().get_mut(place)?;
        zone.roll(at);
        Some(zone)
    }

    pub(super) fn open(&mut self, at: Moment, hash: u64, wire: &[u8]) -> &mut Zone {
        let set = self.set_of(hash);
        let (hashes, zones) = (&mut self.hashes[set], &mut self.zones[set]);
        let is_it = |place: &usize| hashes[*place] == hash && zones[*place].name.as_wire() == wire;
        let place = match (0..PLACES).find(is_it) {
            Some(place) => place,
            None => {
                zones.iter_mut().zip(&*hashes).filter(|(_, hash)| **hash != 0).for_each(|(zone, _)| zone.roll(at));
                let least = |place: &usize| (hashes[*place] != 0, zones[*place].weight());
                let place = (0..PLACES).min_by_key(least).unwrap_or_default();
                let name = Name::from_wire(wire).unwrap_or_else(|_| Name::root());
                hashes[place] = hash;
                let found_at = (set * PLACES + place) as Place;
                zones[place] = Zone { name, second: at.as_secs(), place: found_at, ..Zone::EMPTY() };
                place
            }
        };
        &mut zones[place]
    }
}

#[cfg(test)]
mod tests;
