//! Asking an upstream: choosing it, writing the message, trying again on another, giving up with an answer.

use super::admit::{Admitted, Kind};
use super::guard::Ended;
use super::lead::Led;
use super::memory::key_of;
use super::outbox::{Outbox, To};
use super::{Asker, Case, Desk, LinkPort, Path, View};
use crate::cache::{FailureKind, KeyHash};
use crate::clock::Moment;
use crate::dns::edns::{ExtendedError, option, options};
use crate::dns::letters::Flips;
use crate::dns::query::{Malformed, Query, Records};
use crate::dns::reply::{self, Body};
use crate::dns::{HEADER_LEN, put_u16, rcode};
use crate::ledger::UpstreamEvent;
use crate::policy::cookies::CookieMode;
use crate::upstream::Pool;
use crate::upstream::flights::{ATTEMPTS_MAX, Attempt, AttemptNumber, Doubt, FlightId, Full, Route};
use crate::upstream::select::{Choice, Chosen};
use crate::verdict::{Outcome, Reason};
use rand::RngExt;

/// Tries at a free random id on one port before the worker counts as full.
const ID_TRIES: usize = 8;

/// The most bytes of EDNS options that are passed on; a client that sends more is answered FORMERR by no one, it is
/// passed on without them.
const OPTIONS_MAX: usize = 1024;

/// What a flight asks, and what led to it.
pub(super) struct Asked {
    pub(super) room: Box<[u8]>,
    /// Where the packet ends and the note begins.
    len: usize,
    end: usize,
    /// What was found behind the question when it came.
    pub(super) records: Option<Records>,
}

impl Asked {
    pub(super) fn query(&self) -> Result<Query<'_>, Malformed> {
        let mut query = Query::unread(self.packet());
        query.read(self.records.as_ref())?;
        Ok(query)
    }

    pub(super) fn packet(&self) -> &[u8] {
        &self.room[..self.len]
    }

    pub(super) fn led(&self) -> Option<Led<'_>> {
        Led::read(&self.room[self.len..self.end])
    }
}

impl Desk {
    /// Forwards an admitted query.
    pub(super) fn forward(&mut self, view: &View<'_>, admitted: &Admitted<'_>, out: &mut Outbox) {
        let case = admitted.case();
        let plain = admitted.kind() == Kind::Plain;
        let (pool, _) = view.running.routing.pool_for(&case.query.name);
        let deadline = case.received.plus(pool.settings.timeout);
        if deadline <= view.now.at {
            return self.give_up(view, case, out);
        }
        let Some(server) = self.choose(view, case.query, case.client.is_tcp(), &[]) else {
            return self.fail(view, case, FailureKind::Unreachable, out);
        };
        // All are down: whoever can be served from old data need not wait for the deadline to learn it.
        if !server.up && plain && self.answer_stale(view, case, Reason::None, out) {
            return;
        }
        let Some(leave) = self.guard(view, admitted, out) else { return };
        let Ok(id) = self.open(case, deadline) else {
            self.give_back(view, leave);
            return self.overloaded(view, case, out);
        };
        let flight = self.flights.flight_mut(id);
        (flight.policy, flight.opaque) = (view.running.generation, !plain);
        self.take_off(view, id, leave);
        if self.send(view, id, case.query, server.upstream, out).is_err() {
            self.land(view, id, Ended::Unasked, None);
            self.overloaded(view, case, out);
        }
    }

    /// Hands a transfer to a server of its zone's pool, over a connection of its own.
    pub(super) fn transfer(&mut self, view: &View<'_>, admitted: &Admitted<'_>, out: &mut Outbox) {
        let case = admitted.case();
        let Path::Tcp(client) = case.client.path else { return };
        let Some(server) = self.choose(view, case.query, case.client.is_tcp(), &[]) else {
            return self.fail(view, case, FailureKind::Unreachable, out);
        };
        let upstream = LinkPort { link: view.running.routing.upstreams[server.upstream].link, port: 0 };
        if out.push(To::Transfer { client, upstream }, case.query.packet) {
            self.finish(view, case, Outcome::Transferred, Reason::None, None);
        } else {
            self.lose_answer(view, case, out);
        }
    }

    /// Sends one attempt of a flight to a server (an index of the routing) and sets the flight's timer.
    fn send(
        &mut self,
        view: &View<'_>,
        flight: FlightId,
        query: &Query<'_>,
        upstream: usize,
        out: &mut Outbox,
    ) -> Result<(), Full> {
        let (deadline, opaque) = (self.flights.flight(flight).deadline, self.flights.flight(flight).opaque);
        let upstream = &view.running.routing.upstreams[upstream];
        let link = upstream.link;
        // Nobody forges an answer over TCP, and no server has to cut one there.
        let is_doubtful = |attempt: &Attempt| attempt.route.link == link && attempt.doubt != Doubt::None;
        let doubtful = self.flights.flight(flight).attempts().iter().any(is_doubtful);
        let tcp = upstream.settings.is_asked_over_tcp(doubtful || self.is_over_tcp(flight));
        // For the id, the port and whether letters change: one draw.
        let random: u64 = self.rng.random();
        let port = if tcp { 0 } else { self.links.port(link, random >> 16 & 0xffff) };
        let route = Route { link, port, tcp };
        let id = random as u16;
        let id = if self.flights.is_taken(route, id) { self.free_id(route)? } else { id };
        let is_mixed = !tcp && !opaque && upstream.state.randomise_case(random >> 32);
        let mut flips = Flips::NONE;
        if is_mixed {
            flips = Flips::draw(query.name.as_wire().len(), || self.rng.random());
        }
        let pool = view.running.routing.pool_for(&query.name).0;
        let patience = pool.settings.timeout / (pool.settings.retries + 1);
        // The last attempt has all the time that is left, however early it is made.
        let is_last = self.flights.flight(flight).attempts().len() >= pool.settings.retries as usize;
        let timer = if is_last { deadline } else { deadline.min(view.now.at.plus(patience)) };
        let room = out.room(query.packet.len() + super::reply::OPT_MAX).ok_or(Full)?;
        let len = if opaque {
            room[..query.packet.len()].copy_from_slice(query.packet);
            query.packet.len()
        } else {
            write_ask(query, view.running.policy.cookies.mode, &mut flips, room)
        };
        put_u16(room, 0, id);
        self.flights.add_attempt(flight, Attempt { id, flips, sent: view.now.at, ..Attempt::on(route) }, timer)?;
        let to = LinkPort { link, port };
        out.commit(if tcp { To::UpstreamStream(to) } else { To::Upstream(to) }, len);
        self.ledger.upstream(link.slot, UpstreamEvent::Sent);
        Ok(())
    }

    fn choose(&mut self, view: &View<'_>, query: &Query<'_>, tcp: bool, tried: &[Attempt]) -> Option<Chosen> {
        // Not for a second attempt: it would give the same server all the first ones.
        self.turn = self.turn.wrapping_add(u64::from(tried.is_empty()));
        let routing = &view.running.routing;
        let (pool, _) = routing.pool_for(&query.name);
        let random = if pool.draws_lots() { self.rng.random() } else { 0 };
        let turn = self.turn;
        routing.choose(pool, &Choice { at: view.now.at, name: &query.name, tried, tcp, random, turn })
    }

    /// Asks another server of the tier for what one has failed, as Unbound, BIND and dnsmasq do when they forward. False
    /// when no other is up, or the question has had its attempts, or its zone must not cost more: then it has failed.
    pub(super) fn ask_another(
        &mut self,
        view: &View<'_>,
        (id, attempt): (FlightId, AttemptNumber),
        query: &Query<'_>,
        out: &mut Outbox,
    ) -> bool {
        let (deadline, attempts) = (self.flights.flight(id).deadline, self.flights.flight(id).attempts().len());
        let retries = view.running.routing.pool_for(&query.name).0.settings.retries as usize;
        if attempts > retries || view.now.at >= deadline {
            return false;
        }
        // A higher tier is for when no lower one is healthy, and one that answers is.
        let upstreams = &view.running.routing.upstreams;
        let link = self.flights.attempt(id, attempt).route.link;
        let failed = upstreams.iter().find(|upstream| upstream.link == link);
        let tier = failed.map_or(0, |upstream| upstream.settings.tier);
        let fits = |server: &Chosen| server.up && upstreams[server.upstream].settings.tier <= tier;
        let Some(server) = self.choose_other(view, id, query).filter(fits) else { return false };
        if !self.may_ask_another(view, id, &query.name) || self.send(view, id, query, server.upstream, out).is_err() {
            return false;
        }
        self.flights.spend(id, attempt);
        true
    }

    /// A server for another attempt: one that was not tried; with all tried, or a single one, the same again, because
    /// over UDP the message may have been lost.
    fn choose_again(&mut self, view: &View<'_>, flight: FlightId, query: &Query<'_>) -> Option<Chosen> {
        let tcp = self.is_over_tcp(flight);
        self.choose_other(view, flight, query).or_else(|| self.choose(view, query, tcp, &[]))
    }

    /// A server that was not tried.
    fn choose_other(&mut self, view: &View<'_>, flight: FlightId, query: &Query<'_>) -> Option<Chosen> {
        let mut tried = [Attempt::on(Route::default()); ATTEMPTS_MAX];
        let tcp = self.is_over_tcp(flight);
        let attempts = self.flights.flight(flight).attempts();
        let tried = &mut tried[..attempts.len()];
        tried.copy_from_slice(attempts);
        self.choose(view, query, tcp, tried)
    }

    /// Whether a client on TCP waits, whose query goes on over TCP.
    fn is_over_tcp(&self, flight: FlightId) -> bool {
        matches!(self.flights.flight(flight).asker, Asker::Client(client) if client.is_tcp())
    }

    pub(super) fn free_id(&mut self, route: Route) -> Result<u16, Full> {
        for _ in 0..ID_TRIES {
            let id = self.rng.random();
            if !self.flights.is_taken(route, id) {
                return Ok(id);
            }
        }
        Err(Full)
    }

    /// The timers that are due: another attempt, or the end.
    pub(super) fn expire(&mut self, view: &View<'_>, out: &mut Outbox) {
        while out.has_room(super::memory::ROOM) {
            let Some(id) = self.flights.pop_due(view.now.at) else { break };
            let flight = self.flights.flight(id);
            let last = flight.attempts().last();
            // Before its deadline a lost attempt is due because its connection has ended.
            if last.is_some_and(|last| last.lost) && view.now.at < flight.deadline {
                match flight.asker {
                    Asker::Client(_) => self.try_again(view, id, FailureKind::Unreachable, out),
                    Asker::Probe => self.probe_ended(view, id, out),
                }
                continue;
            }
            if let Some(Attempt { route, sent, .. }) = last {
                self.ledger.upstream(route.link.slot, UpstreamEvent::Timeout);
                if let Some(state) = self.links.state(route.link) {
                    state.on_timeout(view.now.at.since(*sent));
                }
                self.judge_case(id);
            }
            self.try_again(view, id, FailureKind::Timeout, out);
        }
    }

    /// A connection has ended with this message unanswered, as connections do: it may have been idle, or have had as many
    /// questions as it may have. What was asked is asked anew at the next tick, and the server has failed nothing (RFC 7766
    /// section 6.2.4: "the client SHOULD retry").
    pub(super) fn ended(&mut self, at: Moment, route: Route, message: u16) {
        if let Some((id, attempt)) = self.flights.find(route, message)
            && self.flights.lose_one(id, attempt)
        {
            self.flights.set_timer(id, at);
        }
    }

    /// The time of a flight's last attempt is over: when all that came for it was the question in letters of one case, its
    /// server may be one that folds them. Each question says so once.
    fn judge_case(&mut self, id: FlightId) {
        let Some((last, earlier)) = self.flights.flight(id).attempts().split_last() else { return };
        let (link, number) = (last.route.link, earlier.len());
        let was_told = earlier.iter().any(|a| a.route.link == link && a.doubt != Doubt::None);
        if last.doubt != Doubt::Folded || was_told {
            return;
        }
        self.flights.doubt(id, number, Doubt::Other);
        if let Some(state) = self.links.state(link) {
            state.on_case_folded();
        }
    }

    /// A path is gone: what was sent there last is tried elsewhere at once, or waits on for earlier attempts.
    pub(super) fn unreachable(&mut self, view: &View<'_>, route: Route, out: &mut Outbox) {
        self.ledger.upstream(route.link.slot, UpstreamEvent::Unreachable);
        let routing = &view.running.routing;
        if let Some(upstream) = routing.upstreams.iter().find(|upstream| upstream.link == route.link) {
            let health = &routing.pools[upstream.settings.pool].settings.health;
            upstream.state.on_refused(view.now.at, route.tcp);
            let as_probed = route.tcp == upstream.settings.is_asked_over_tcp(false);
            if as_probed && upstream.state.on_probe_refused(health.fall).is_some() {
                tracing::warn!(upstream = upstream.settings.name, address = %upstream.settings.address, "upstream refuses");
            }
        }
        for at in (0..self.flights.len()).rev() {
            if !out.has_room(super::memory::ROOM) {
                break; // The rest have their timers.
            }
            let id = self.flights.nth(at);
            if self.flights.lose(id, route) {
                self.try_again(view, id, FailureKind::Unreachable, out);
            }
        }
    }

    fn try_again(&mut self, view: &View<'_>, id: FlightId, why: FailureKind, out: &mut Outbox) {
        let flight = self.flights.flight(id);
        let (received, deadline, policy) = (flight.received, flight.deadline, flight.policy);
        let attempts = flight.attempts().len();
        let Asker::Client(client) = flight.asker else {
            return self.probe_failed(view, id);
        };
        if attempts == 0 {
            return self.resume(view, id, out);
        }
        let asked = self.copy_packet(id);
        let Ok(query) = asked.query() else {
            // It was scanned when it came; without it there is nobody to answer.
            client.expect_nothing(out);
            self.scratch = asked.room;
            self.land(view, id, Ended::Unasked, Some(why));
            return self.ledger.count(Outcome::Failed, Reason::Overload, client.is_tcp(), None);
        };
        let led = asked.led();
        let case = &Case { led: led.as_ref(), ..Case::new(client, &query, received) };
        if !self.stays_admitted(view, case, policy, out) {
            self.scratch = asked.room;
            return self.land(view, id, Ended::Unasked, None);
        }
        let pool = view.running.routing.pool_for(&query.name).0;
        let may_retry = view.now.at < deadline
            && attempts <= pool.settings.retries as usize
            && !self.zone_fails(view, id)
            && self.take_another_place(view, id, pool);
        let server = if may_retry { self.choose_again(view, id, &query) } else { None };
        let sent = server.is_some_and(|server| self.send(view, id, &query, server.upstream, out).is_ok());
        if !sent {
            let waits = self.flights.flight(id).attempts().iter().any(|attempt| !attempt.lost);
            if waits && view.now.at < deadline {
                self.flights.set_timer(id, deadline);
            } else if why == FailureKind::Timeout && self.was_hurried(view, id, pool) {
                // Who waits for the same has time of its own.
                self.land(view, id, Ended::Unasked, None);
                self.give_up(view, case, out);
            } else {
                let ended = self.blame(id, why);
                self.land(view, id, ended, Some(why));
                self.fail(view, case, why, out);
            }
        }
        self.scratch = asked.room;
    }

    /// Whether a question had less than half of the time that an answer may take, because it had lain in its socket: then
    /// silence says nothing about its name or its zone.
    fn was_hurried(&self, view: &View<'_>, id: FlightId, pool: &Pool) -> bool {
        let first = self.flights.flight(id).attempts().first();
        first.is_some_and(|first| view.now.at.since(first.sent) < pool.settings.timeout / 2)
    }

    /// Puts a query in flight.
    pub(super) fn open(&mut self, case: &Case<'_>, deadline: Moment) -> Result<FlightId, Full> {
        let note = case.led.map_or(&[][..], |led| led.note);
        let asker = Asker::Client(case.client);
        let id = self.flights.open_noted(asker, (case.query.packet, note), case.received, deadline)?;
        let flight = self.flights.flight_mut(id);
        flight.records = Some(case.query.records());
        flight.key_hash = case.key_hash.get().copied().unwrap_or(KeyHash::UNKNOWN);
        Ok(id)
    }

    /// What a flight asks, in the scratch buffer, which the caller puts back: while it reads there, flights change.
    pub(super) fn copy_packet(&mut self, id: FlightId) -> Asked {
        let mut room = std::mem::take(&mut self.scratch);
        let (len, all) = (self.flights.packet_len(id), self.flights.packet_and_note(id));
        room[..all.len()].copy_from_slice(all);
        Asked { len, end: all.len(), room, records: self.flights.flight(id).records.clone() }
    }

    /// No upstream answers: stale data, else SERVFAIL with the reason; never silence.
    pub(super) fn fail(&mut self, view: &View<'_>, case: &Case<'_>, why: FailureKind, out: &mut Outbox) {
        let opaque = Kind::of(case.query, case.client.is_tcp()) != Kind::Plain;
        // That TCP cannot be had is no failure of the question: over UDP it may be answered.
        let of_transport = why == FailureKind::Unreachable && case.client.is_tcp();
        if !opaque
            && !of_transport
            && let Some(key) = key_of(case.query)
        {
            let failure_ttl = view.running.policy.server.cache.failure_ttl;
            view.shared.cache.fail(view.now.at, &key.failing(), why, failure_ttl);
        }
        if !opaque && self.answer_stale(view, case, Reason::None, out) {
            return;
        }
        if self.obey_without_answer(view, case, out) {
            return;
        }
        let (code, reason) = match why {
            FailureKind::Unreachable => (ExtendedError::NoReachableAuthority, Reason::Unreachable),
            FailureKind::Timeout | FailureKind::ServerFailure => (ExtendedError::NetworkError, Reason::Timeout),
        };
        let error = Some((code, why.text()));
        self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, (Outcome::Failed, reason), out);
    }

    /// Ends a query that has lain in its socket for too long to be answered by an upstream. Nobody has failed it, so nothing
    /// is held against its name, its zone or a server.
    pub(super) fn give_up(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) {
        let is_plain = Kind::of(case.query, case.client.is_tcp()) == Kind::Plain;
        if !(is_plain && self.answer_stale(view, case, Reason::Overload, out)) {
            self.overloaded(view, case, out);
        }
    }

    pub(super) fn overloaded(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) {
        let error = Some((ExtendedError::NotReady, "too many queries are waiting"));
        self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, (Outcome::Failed, Reason::Overload), out);
    }
}

/// Writes the message for an upstream: the header with what the client may decide, the question in the letter case of
/// `flips`, an OPT of our own when the client sent one. Its id is 0.
fn write_ask(query: &Query<'_>, cookies: CookieMode, flips: &mut Flips, out: &mut [u8]) -> usize {
    let end = query.question_end;
    out[..HEADER_LEN].fill(0);
    out[2] = u8::from(query.rd);
    // AD always: it only asks that AD be set in the answer (RFC 6840 section 5.7), from which it is taken again for a client
    // that did not ask, so that all clients share one cached answer.
    out[3] = 1 << 5 | u8::from(query.cd) << 4;
    out[5] = 1;
    out[HEADER_LEN..end].copy_from_slice(query.question());
    flips.flip(&mut out[HEADER_LEN..end - 4]);
    let Some(edns) = &query.edns else { return end };
    if !edns.has_options() {
        return reply::append_opt(out, end, 0, edns.dnssec_ok, &[], None).unwrap_or(end);
    }
    let mut kept = [0; OPTIONS_MAX];
    let mut kept_len = 0;
    for (code, data) in options(query.packet, edns) {
        let hop_by_hop = matches!(code, option::KEEPALIVE | option::PADDING)
            || code == option::COOKIE && cookies != CookieMode::Pass;
        // An extended error says nothing in a query (RFC 8914), and is no part of the cache's key: it must not push out one
        // that is.
        let is_void = code == option::EXTENDED_ERROR;
        if is_void || hop_by_hop || kept_len + 4 + data.len() > OPTIONS_MAX {
            continue;
        }
        put_u16(&mut kept, kept_len, code);
        put_u16(&mut kept, kept_len + 2, data.len() as u16);
        kept[kept_len + 4..][..data.len()].copy_from_slice(data);
        kept_len += 4 + data.len();
    }
    reply::append_opt(out, end, 0, edns.dnssec_ok, &kept[..kept_len], None).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::memory::key_of;

    /// A query for the root's addresses with these options.
    fn query(options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1];
        packet.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
        let len: usize = options.iter().map(|(_, data)| 4 + data.len()).sum();
        packet.extend((len as u16).to_be_bytes());
        for (code, data) in options {
            packet.extend(code.to_be_bytes());
            packet.extend((data.len() as u16).to_be_bytes());
            packet.extend(*data);
        }
        packet
    }

    #[test]
    fn what_is_asked_has_the_client_subnet_under_which_its_answer_is_kept() {
        let subnet: &[u8] = &[0, 1, 24, 0, 198, 51, 100];
        let (error, cookie, padding) = ([0; 1010], [7; 40], [0; 1010]);
        for others in [
            &[(option::EXTENDED_ERROR, &error[..])][..],
            &[(option::PADDING, &padding), (option::COOKIE, &cookie), (option::EXTENDED_ERROR, &error)],
            &[(option::EXTENDED_ERROR, &error[..4]); 100],
        ] {
            let packet = query(&[others, &[(option::CLIENT_SUBNET, subnet)]].concat());
            let query = Query::scan(&packet).expect("well-formed");
            assert_eq!(key_of(&query).map(|key| key.client_subnet), Some(subnet));
            for cookies in [CookieMode::Pass, CookieMode::Off] {
                let mut room = [0; 4096];
                let mut flips = Flips::NONE;
                let len = write_ask(&query, cookies, &mut flips, &mut room);
                let asked = Query::scan(&room[..len]).expect("well-formed");
                assert_eq!(key_of(&asked).map(|key| key.client_subnet), Some(subnet), "{cookies:?}, {others:?}");
                let edns = asked.edns.as_ref().expect("its client sent one");
                assert!(options(asked.packet, edns).all(|(code, _)| code != option::EXTENDED_ERROR));
            }
        }
    }
}
