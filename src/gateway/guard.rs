//! The storm guard on the path: which questions may cost the servers behind something, and what the others get instead.
//! Only those that neither policy nor memory could answer come here, so an answer from the cache pays nothing for it.

use super::admit::{Admitted, Kind};
use super::outbox::Outbox;
use super::{Case, Desk, View};
use crate::cache::{Failed, FailureKind, Key};
use crate::dns::edns::ExtendedError;
use crate::dns::name::Name;
use crate::dns::rcode;
use crate::dns::reply::Body;
use crate::dns::response::Response;
use crate::language::{Phrase, phrase};
use crate::ledger::alerts::{Alert, AlertKind, Subject};
use crate::policy::Mode;
use crate::policy::storm::{StormAnswer, StormPolicy};
use crate::storm::Storms;
use crate::storm::table::{Place, Says};
use crate::upstream::Pool;
use crate::upstream::flights::FlightId;
use crate::verdict::{Outcome, Reason};
use std::time::Duration;

/// The TTL of an NXDOMAIN or NODATA instead of an answer, in seconds: not to be believed for longer than a zone takes to
/// come back.
const ANSWER_TTL: u32 = 1;

/// RFC 9520 section 3.2: "Resolvers MUST cache resolution failures for at least 1 second." Not less after a recovery.
const FAILURE_MIN: Duration = Duration::from_secs(1);

/// One place in so many of a zone is kept for names that are known to exist.
const KNOWN_PART: u32 = 4;

/// Leave to ask an upstream, with the place that is held for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leave {
    /// Keyed hash of the zone; 0: no place is held.
    zone: u64,
    /// Where its account lies.
    place: Place,
    /// Keyed hash of the name asked for; 0: the guard does not look.
    name: u64,
    /// This is the probe of a zone that fails.
    trial: bool,
    /// Keyed hash of the question under which others may wait for it; 0: none may.
    question: u64,
}

/// What a question in flight said about its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was an answer.
    Answered {
        /// NXDOMAIN.
        absent: bool,
    },
    /// There was none, or SERVFAIL.
    Failed,
    /// Nothing: the server could not be reached, or we are full.
    Unasked,
}

impl Ended {
    /// What a response code says.
    pub(super) fn of(code: u16) -> Self {
        if code == rcode::SERVFAIL { Self::Failed } else { Self::Answered { absent: code == rcode::NXDOMAIN } }
    }
}

/// Why a question is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its zone fails.
    Fails,
    /// Its zone holds as many places as it may.
    Share,
    /// Its name is not known to exist, and its zone is under random names.
    Unknown,
}

impl Why {
    fn ending(self, policy: &StormPolicy) -> (Outcome, Reason) {
        match (self, policy.answer) {
            (Self::Unknown, _) => (Outcome::Truncated, Reason::Subdomains),
            (_, StormAnswer::ServerFailure) => (Outcome::Failed, Reason::Storm),
            (_, StormAnswer::Nxdomain | StormAnswer::Nodata) => (Outcome::Denied, Reason::Storm),
        }
    }
}

impl Desk {
    /// Decides whether a question may be asked; `None` when it has been answered, or waits for the same one in flight.
    pub(super) fn guard(&mut self, view: &View<'_>, admitted: &Admitted<'_>, out: &mut Outbox) -> Option<Leave> {
        let (case, policy) = (admitted.case(), &view.running.policy.storm);
        if policy.mode == Mode::Off || admitted.kind() != Kind::Plain {
            return Some(Leave::default());
        }
        let (at, common) = (view.now.at, &view.shared.storm);
        let (pool, route) = view.running.routing.pool_for(&case.query.name);
        let name = common.hash(&case.query.name);
        let key = self.storms.zone_of(&case.query.name, route);
        let zone = key.hash;
        let account = self.storms.question(at, key, name, case.client.peer.ip());
        let (says, place) = (account.breaker(at), account.place());
        if account.fails() || account.is_stalled(at) {
            self.watch_zone(view, zone);
        }
        if says == Says::Fails && self.hold(view, case, zone, Why::Fails, out) {
            return None;
        }
        let enforced = policy.mode == Mode::Enforce;
        let question = if enforced && says == Says::Ask { self.question_of(view, case, name) } else { 0 };
        if question != 0 && self.wait_for_same(view, case, question) {
            return None;
        }
        let capacity = view.running.routing.capacity(pool);
        // It was opened a moment ago; should it not be there, nothing is known against the zone.
        let account = self.storms.account_at(at, zone, place);
        let Some(account) = account else { return Some(Leave { name, ..Leave::default() }) };
        // TC=1 asks for a proof that the client is where it says: who has given it need not hear that.
        let held = says == Says::Ask
            && account.is_under_random_names(policy.unknown)
            && !view.is_verified(case)
            && !common.known.has(name)
            && !account.admit_unknown(at, Storms::part(common, policy.unknown));
        let places = account.places(at, policy, capacity);
        if held && self.hold(view, case, zone, Why::Unknown, out) {
            return None;
        }
        // The last places are for names that are known to exist, so that a flood of others does not keep them out.
        let open_to_all = places - places / KNOWN_PART;
        let is_known = common.inflight.of(zone) >= open_to_all && common.known.has(name);
        if !common.inflight.enter(zone, if is_known { places } else { open_to_all }) {
            if self.hold(view, case, zone, Why::Share, out) {
                return None;
            }
            common.inflight.enter(zone, u32::MAX);
        }
        Some(Leave { zone, place, name, trial: says == Says::Try, question })
    }

    /// Writes what was granted into the flight that it was granted for.
    pub(super) fn take_off(&mut self, view: &View<'_>, id: FlightId, leave: Leave) {
        let flight = self.flights.flight_mut(id);
        (flight.zone, flight.name, flight.trial) = (leave.zone, leave.name, leave.trial);
        (flight.place, flight.places) = (leave.place, u8::from(leave.zone != 0));
        if leave.question != 0 {
            self.flights.lead(id, leave.question);
        }
        if leave.zone != 0
            && let Some(account) = self.storms.account_at(view.now.at, leave.zone, leave.place)
        {
            account.asked(view.now.at, leave.trial);
        }
    }

    /// Takes a place for another attempt of a flight: the servers may still work on the one before. False when its zone has
    /// none left for it: a storm is not doubled by trying twice.
    pub(super) fn take_another_place(&mut self, view: &View<'_>, id: FlightId, pool: &Pool) -> bool {
        let (at, policy, zone) = (view.now.at, &view.running.policy.storm, self.flights.flight(id).zone);
        if zone == 0 {
            return true;
        }
        let Some(account) = self.storms.account(at, zone) else { return true };
        let places = account.places(at, policy, view.running.routing.capacity(pool));
        // However small the share, one question may be asked twice: what it asked first may only have been lost.
        let open_to_all = (places - places / KNOWN_PART).max(2);
        let most = if policy.mode == Mode::Enforce { open_to_all } else { u32::MAX };
        let taken = view.shared.storm.inflight.enter(zone, most);
        self.flights.flight_mut(id).places += u8::from(taken);
        taken
    }

    /// Gives a place back that no flight took.
    pub(super) fn give_back(&self, view: &View<'_>, leave: Leave) {
        if leave.zone != 0 {
            view.shared.storm.inflight.leave(leave.zone, 1);
        }
    }

    /// Closes a flight of a client and notes what it said about its zone. Those that still wait for it are due at once:
    /// with its failure, or, when it was answered, to look for the answer themselves.
    pub(super) fn land(&mut self, view: &View<'_>, id: FlightId, ended: Ended, why: Option<FailureKind>) {
        let at = view.now.at;
        while self.flights.is_awaited(id)
            && let Some(waiter) = self.flights.take_waiter(id)
        {
            self.flights.flight_mut(waiter).failed = why;
            self.flights.set_timer(waiter, at);
        }
        let flight = self.flights.flight(id);
        let (zone, place, places, trial) = (flight.zone, flight.place, flight.places, flight.trial);
        let asked = flight.attempts().first().map_or(at, |attempt| attempt.sent);
        self.flights.close(id);
        if zone == 0 {
            return;
        }
        view.shared.storm.inflight.leave(zone, places.into());
        let fail_ratio = view.running.policy.storm.fail_ratio;
        let Some(account) = self.storms.account_at(at, zone, place) else { return };
        match ended {
            Ended::Answered { absent } => account.answered(at, at.since(asked), absent, trial, fail_ratio),
            Ended::Failed => account.failed(at, trial, fail_ratio),
            Ended::Unasked => account.ended(trial),
        }
    }

    /// What silence says about the zone of a flight: nothing, unless its servers were heard from meanwhile. A pool that is
    /// down is not the fault of any zone.
    pub(super) fn blame(&self, id: FlightId, why: FailureKind) -> Ended {
        let heard = self.flights.flight(id).attempts().iter().any(|attempt| {
            let state = self.links.state(attempt.route.link);
            state.is_some_and(|state| state.was_heard_since(attempt.sent))
        });
        if heard && why != FailureKind::Unreachable { Ended::Failed } else { Ended::Unasked }
    }

    /// Whether a flight's zone fails, so that nothing is tried twice.
    pub(super) fn zone_fails(&mut self, view: &View<'_>, id: FlightId) -> bool {
        let zone = self.flights.flight(id).zone;
        view.running.policy.storm.mode == Mode::Enforce
            && zone != 0
            && self.storms.account(view.now.at, zone).is_some_and(|account| account.fails())
    }

    /// Whether what one server has failed may cost another one something: not the probe of a zone that fails, nothing of a
    /// zone over its share, and little where it has not helped lately.
    pub(super) fn may_ask_another(&mut self, view: &View<'_>, id: FlightId, name: &Name) -> bool {
        let flight = self.flights.flight(id);
        let (zone, at, policy) = (flight.zone, view.now.at, &view.running.policy.storm);
        let capacity = view.running.routing.capacity(view.running.routing.pool_for(name).0);
        // Without the guard, and where nothing is known against the zone, only the retries bound it.
        let Some(account) = self.storms.account(at, zone).filter(|_| zone != 0) else { return true };
        let within = view.shared.storm.inflight.of(zone) <= account.places(at, policy, capacity);
        !account.fails() && within && account.ask_again()
    }

    /// Notes that another server had the answer.
    pub(super) fn note_help(&mut self, view: &View<'_>, id: FlightId) {
        let flight = self.flights.flight(id);
        if flight.failed_once
            && let Some(account) = self.storms.account(view.now.at, flight.zone)
        {
            account.helped();
        }
    }

    /// Whether a question whose failure is remembered is asked all the same: as the probe of its zone, which could else
    /// never be found to have recovered, or because its zone has recovered since.
    pub(super) fn asks_again(&mut self, view: &View<'_>, case: &Case<'_>, key: &Key<'_>, failed: &Failed) -> bool {
        let (at, common, policy) = (view.now.at, &view.shared.storm, &view.running.policy.storm);
        if policy.mode == Mode::Off {
            return false;
        }
        let route = view.running.routing.pool_for(&case.query.name).1;
        let zone = self.storms.zone_of(&case.query.name, route);
        let account = self.storms.question(at, zone, common.hash(&case.query.name), case.client.peer.ip());
        let (says, recovered_at) = (account.breaker(at), account.recovered_at());
        self.watch_zone(view, zone.hash);
        let recovered = says == Says::Ask && recovered_at > failed.since && at.since(failed.since) >= FAILURE_MIN;
        if recovered {
            view.shared.cache.succeeded(&key.failing());
        }
        policy.mode == Mode::Enforce && (recovered || says == Says::Try)
    }

    /// Notes what the answer to a flight tells about names and zones.
    pub(super) fn learn(&mut self, view: &View<'_>, id: FlightId, case: &Case<'_>, response: &Response<'_>) {
        let name = self.flights.flight(id).name;
        if name == 0 || view.running.policy.storm.mode == Mode::Off {
            return;
        }
        if response.rcode == rcode::NOERROR {
            view.shared.storm.known.learn(name);
        }
        if let Some((owner, _)) = response.soa() {
            self.storms.learn_cut(&case.query.name, &owner);
        }
    }

    /// Answers a question that is not asked: stale, or as the policy says. False in monitor mode: it is asked.
    fn hold(&mut self, view: &View<'_>, case: &Case<'_>, zone: u64, why: Why, out: &mut Outbox) -> bool {
        let policy = &view.running.policy.storm;
        let ending = why.ending(policy);
        if why == Why::Unknown {
            let done = phrase!("names known to exist pass; of the others a few a second are asked, the rest get TC=1");
            self.alarm(view, zone, AlertKind::RandomSubdomains, done);
        }
        if policy.mode == Mode::Monitor {
            self.would(view, case, ending, None);
            return false;
        }
        if self.answer_stale(view, case, ending.1, out) {
            return true;
        }
        let body = match (why, policy.answer) {
            (Why::Unknown, _) => Body::Truncated,
            (_, StormAnswer::ServerFailure) => Body::Rcode(rcode::SERVFAIL),
            (_, StormAnswer::Nxdomain) => Body::Nxdomain { ttl: ANSWER_TTL },
            (_, StormAnswer::Nodata) => Body::Nodata { ttl: ANSWER_TTL },
        };
        let error = match why {
            Why::Fails => Some((ExtendedError::NoReachableAuthority, "the zone does not answer")),
            Why::Share => Some((ExtendedError::NetworkError, "too many questions wait for this zone")),
            Why::Unknown => None,
        };
        self.say(view, case, body, error, ending, out);
        true
    }

    /// Raises the alarm about a zone that fails, or from which nothing comes though many wait and its servers do answer.
    fn watch_zone(&mut self, view: &View<'_>, zone: u64) {
        let at = view.now.at;
        let Some(account) = self.storms.account(at, zone) else { return };
        let (fails, stalled) = (account.fails(), account.is_stalled(at));
        if !fails && !stalled {
            return;
        }
        let since = account.owes_since();
        let heard = || view.running.routing.upstreams.iter().any(|upstream| upstream.state.was_heard_since(since));
        let done = match fails {
            true => {
                phrase!("one probe at a time is asked; everybody else is answered at once, stale or with an error")
            }
            false => phrase!("held to its share of the upstream"),
        };
        if fails || heard() {
            self.alarm(view, zone, AlertKind::RetryStorm, done);
        }
    }

    fn alarm(&mut self, view: &View<'_>, zone: u64, kind: AlertKind, done: Phrase) {
        let Some(account) = self.storms.account(view.now.at, zone) else { return };
        let Some(numbers) = account.alert(view.now.at, kind) else { return };
        let monitored = view.running.policy.storm.mode == Mode::Monitor;
        let done = if monitored { phrase!("nothing: [storm] is in monitor mode") } else { done };
        let subject = Subject::Zone(*account.name());
        view.shared.alerts.raise(Alert { unix_ms: view.now.unix_ms, kind, subject, numbers, done });
    }
}
