//! An upstream's answer: is it the one that is waited for, may it pass, is it kept; then it goes to whoever asked.

use super::admit::Kind;
use super::guard::Ended;
use super::memory::{bound_ttls, key_of};
use super::outbox::Outbox;
use super::reply::{Draft, OPT_MAX};
use super::{Asker, Case, Desk, View};
use crate::cache::{self, Answer, FailureKind, Key, Lifetime, Vetted};
use crate::dns::edns::{Edns, option, options};
use crate::dns::query::Query;
use crate::dns::reply::Body;
use crate::dns::response::Response;
use crate::dns::{HEADER_LEN, OUR_UDP_PAYLOAD, PLAIN_UDP_MAX, put_u16, rcode, u16_at};
use crate::ledger::UpstreamEvent;
use crate::policy::Profile;
use crate::policy::cookies::CookieMode;
use crate::policy::rrl::{ResponseClass, RrlVerdict};
use crate::policy::word::Pass;
use crate::upstream::flights::{Attempt, AttemptNumber, Doubt, Flight, FlightId, Route};
use crate::verdict::{Outcome, Reason};
use std::cell::OnceCell;

/// The most bytes of an upstream's EDNS options that are passed on.
const OPTIONS_MAX: usize = 512;

impl View<'_> {
    /// Whether a response code says that another server may know more. REFUSED to a question that wants recursion is about
    /// the gateway, which this resolver does not serve; without recursion, and from authoritative servers, about the name.
    fn is_failure(&self, code: u16, query: &Query<'_>) -> bool {
        let by_resolver = query.rd && self.running.policy.server.profile == Profile::Recursive;
        code == rcode::SERVFAIL || code == rcode::REFUSED && by_resolver
    }
}

impl View<'_> {
    /// How long a vetted answer may be kept, if at all.
    fn lifetime(&self, case: &Case<'_>, vetted: &VettedAnswer<'_, '_, '_>) -> Option<Lifetime> {
        let VettedAnswer { response, pass } = vetted;
        let policy = &self.running.policy;
        let least_ttl = if pass.untouched { 0 } else { policy.filter.least_ttl(&case.query.name, response) };
        cache::lifetime(response, &policy.server.cache, least_ttl)
    }
}

/// A response that matches a query in flight and that every check has passed: only this is cached or sent.
struct VettedAnswer<'r, 'm, 'f> {
    response: &'r Response<'m>,
    pass: Pass<'f>,
}

impl Desk {
    /// The life of a response.
    pub(super) fn response(&mut self, view: &View<'_>, route: Route, packet: &[u8], out: &mut Outbox) {
        let slot = route.link.slot;
        let Some(id) = u16_at(packet, 0) else {
            return self.ledger.upstream(slot, UpstreamEvent::Malformed);
        };
        let Some((flight, attempt)) = self.flights.find(route, id) else {
            return self.ledger.upstream(slot, UpstreamEvent::Unmatched);
        };
        if self.flights.flight(flight).opaque {
            return self.pass_opaque(view, (flight, attempt), packet, out);
        }
        // Read by then from memory that may be far away.
        view.shared.storm.known.prefetch(self.flights.flight(flight).name);
        if !route.tcp && packet.len() > PLAIN_UDP_MAX && packet.len() > self.takes_at_most(flight) {
            self.flights.doubt(flight, attempt, Doubt::Other);
            return self.ledger.upstream(slot, UpstreamEvent::Oversized);
        }
        let mut response = Response::unread(packet);
        if response.read().is_err() {
            return self.ledger.upstream(slot, UpstreamEvent::Malformed);
        }
        let response = &response;
        if !self.is_ours(flight, attempt, response) {
            return self.ledger.upstream(slot, UpstreamEvent::Mismatched);
        }
        if self.flights.attempt(flight, attempt).lost && matches!(response.rcode, rcode::SERVFAIL | rcode::REFUSED) {
            // It has said so before, and another server is asked.
            return self.ledger.upstream(slot, UpstreamEvent::Unmatched);
        }
        self.answered(view, flight, attempt);
        let Flight { received, policy, asker, key_hash, .. } = *self.flights.flight(flight);
        let Asker::Client(client) = asker else {
            return self.probe_answered(view, flight, response);
        };
        let ended = Ended::of(response.rcode);
        let mut first = true;
        let asked = self.copy_packet(flight);
        let mut query = Query::unread(asked.packet());
        if query.read(asked.records.as_ref()).is_ok() {
            let query = &query;
            let led = asked.led();
            let key_hash = key_hash.known().map_or_else(OnceCell::new, OnceCell::from);
            let case =
                &Case { upstream: Some(slot), led: led.as_ref(), key_hash, ..Case::new(client, query, received) };
            self.learn(view, flight, case, response);
            if self.stays_admitted(view, case, policy, out) {
                let failed = view.is_failure(response.rcode, query);
                if failed && self.ask_another(view, (flight, attempt), query, out) {
                    self.scratch = asked.room;
                    return;
                }
                if !failed {
                    self.note_help(view, flight);
                }
                self.settle(view, case, response, true, out);
                first = false;
            }
        }
        self.scratch = asked.room;
        if self.flights.is_awaited(flight) {
            self.settle_waiters(view, flight, packet, (slot, first), out);
        }
        self.land(view, flight, ended, None);
    }

    /// Whether the response is to the question that this attempt asked, letter for letter. What is not is counted, and
    /// waiting goes on: the real answer may still come.
    fn is_ours(&mut self, flight: FlightId, number: AttemptNumber, response: &Response<'_>) -> bool {
        let (packet, attempt) = (self.flights.packet(flight), self.flights.attempt(flight, number));
        let (answered, opcode) = (response.question(), asked_opcode(packet));
        let Some(asked) = packet.get(HEADER_LEN..HEADER_LEN + answered.len()) else { return false };
        if answered.is_empty() || response.opcode != opcode {
            return false;
        }
        let name_len = answered.len() - 4;
        let same_case = attempt.flips.made(&asked[..name_len], &answered[..name_len]);
        let same = asked[name_len..] == answered[name_len..]
            && (same_case || asked[..name_len].eq_ignore_ascii_case(&answered[..name_len]));
        if !same {
            return false;
        }
        // Where no letters were changed, over TCP always, none have to come back.
        if attempt.flips.is_none() {
            return true;
        }
        let Some(state) = self.links.state(attempt.route.link) else { return same_case };
        let letters = answered[..name_len].iter().filter(|byte| byte.is_ascii_alphabetic());
        if same_case {
            if state.has_folded() {
                state.on_case_kept(letters.count());
            }
            return true;
        }
        let is_folded = !letters.clone().any(u8::is_ascii_uppercase) || !letters.clone().any(u8::is_ascii_lowercase);
        if is_folded && !state.keeps_case() {
            state.on_case_folded();
            return true;
        }
        // Whether the server does this, or somebody else, is known once nothing better came in time.
        self.flights.doubt(flight, number, if is_folded { Doubt::Folded } else { Doubt::Other });
        false
    }

    /// The most bytes of a datagram that the question of a flight allows: what its OPT says, which is ours.
    fn takes_at_most(&self, flight: FlightId) -> usize {
        let has_edns = match &self.flights.flight(flight).records {
            Some(records) => records.edns.is_some(),
            None => Query::scan(self.flights.packet(flight)).is_ok_and(|query| query.edns.is_some()),
        };
        if has_edns { OUR_UDP_PAYLOAD.into() } else { PLAIN_UDP_MAX }
    }

    /// Notes that an upstream answered.
    fn answered(&mut self, view: &View<'_>, flight: FlightId, attempt: AttemptNumber) {
        let Attempt { route, sent, .. } = *self.flights.attempt(flight, attempt);
        self.ledger.upstream(route.link.slot, UpstreamEvent::Answered);
        if let Some(state) = self.links.state(route.link) {
            state.heard(view.now.at);
            state.on_answer(view.now.at.since(sent), route.tcp);
        }
    }

    /// What becomes of a response that matches. `first`: not one more copy of it, for somebody who waited for the same.
    pub(super) fn settle(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        response: &Response<'_>,
        first: bool,
        out: &mut Outbox,
    ) {
        let key = key_of(case.query).filter(|_| first);
        if response.rcode == rcode::SERVFAIL {
            if let Some(key) = &key {
                let failure_ttl = view.running.policy.server.cache.failure_ttl;
                view.shared.cache.fail(view.now.at, &key.failing(), FailureKind::ServerFailure, failure_ttl);
            }
            if self.answer_stale(view, case, Reason::None, out) {
                return;
            }
        } else if let Some(key) = &key {
            view.shared.cache.succeeded(&key.failing());
        }
        if response.tc && !case.client.is_tcp() {
            return self.say(view, case, Body::Truncated, None, (Outcome::Truncated, Reason::Oversized), out);
        }
        if let Some(vetted) = self.vet(view, case, response, out) {
            self.keep_and_send(view, case, &vetted, key.as_ref(), out);
        }
    }

    /// The filter's word on the names of the answer; what it denies has been answered.
    fn vet<'r, 'm, 'v>(
        &mut self,
        view: &View<'v>,
        case: &Case<'_>,
        response: &'r Response<'m>,
        out: &mut Outbox,
    ) -> Option<VettedAnswer<'r, 'm, 'v>> {
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        let heard = self.judge_answer(view, case, &groups, response);
        let pass = self.follow(view, case, &heard.word, out)?;
        Some(VettedAnswer { response, pass })
    }

    /// As [`Self::vet`], for an answer that passes as it is or not at all.
    fn passes_chain(&mut self, view: &View<'_>, case: &Case<'_>, response: &Response<'_>, out: &mut Outbox) -> bool {
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        let heard = self.judge_answer(view, case, &groups, response);
        self.follow(view, case, &heard.word, out).is_some()
    }

    /// Sends an answer, and keeps it under its `key`, if it has one.
    fn keep_and_send(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        vetted: &VettedAnswer<'_, '_, '_>,
        key: Option<&Key<'_>>,
        out: &mut Outbox,
    ) {
        let response = vetted.response;
        let message = response.message;
        let room_len = message.len() + OPT_MAX;
        let rrl = &view.shared.rrl;
        let zone = view.running.routing.pool_for(&case.query.name).1;
        let class = rrl.class_of(response, &case.query.name, case.query.qtype, zone);
        let Some(room) = out.room(room_len) else { return self.lose_answer(view, case, out) };
        // OPT is nearly always last; one in the middle stays where it is, and the message is passed on as it came.
        let (opt_cut, len) = match &response.edns {
            _ if vetted.pass.cut => (true, response.additionals_at),
            Some(edns) if edns.end == message.len() => (true, edns.start),
            Some(_) => (false, message.len()),
            None => (true, message.len()),
        };
        room[..len].copy_from_slice(&message[..len]);
        let bounds = vetted.pass.bounds();
        let ttls = response.ttls();
        let ttls = &ttls[..ttls.partition_point(|at| usize::from(*at) < len)];
        if !opt_cut {
            bound_ttls(&mut room[..len], ttls, bounds);
            if let Some(led) = case.led {
                return self.answer_led(view, case, led, len, out);
            }
            return self.send_as_is(view, case, len, &class, out);
        }
        if vetted.pass.cut {
            put_u16(room, 10, 0);
        } else if response.edns.is_some() {
            put_u16(room, 10, response.additionals - 1);
        }
        put_u16(room, 0, 0);
        // As the cache keeps it; it differs from what came in the case of letters alone.
        let name = case.query.name.as_wire();
        if let Some(question) = room.get_mut(HEADER_LEN..HEADER_LEN + name.len()) {
            question.copy_from_slice(name);
        }
        let mut kept;
        let (options, cacheable_options) = match &response.edns {
            Some(edns) if edns.has_options() => {
                kept = [0; OPTIONS_MAX];
                keep_options(response.message, edns, view.running.policy.cookies.mode, &mut kept)
            }
            _ => (&[][..], true),
        };
        if let Some(key) = key
            && cacheable_options
            && let Some(lifetime) = view.lifetime(case, vetted)
        {
            let vetted = Vetted { generation: view.running.generation, untouched: vetted.pass.untouched };
            let answer = Answer { body: &room[..len], options, ttls, lifetime, rcode: response.rcode, class, vetted };
            let hash = case.key_hash.get_or_init(|| view.shared.cache.hash_of(key));
            view.shared.cache.insert_foreseen(view.now.at, key, *hash, &answer);
        }
        // Not before: what is kept is for others too, whom other rules may speak about.
        bound_ttls(&mut room[..len], ttls, bounds);
        if let Some(led) = case.led {
            return self.answer_led(view, case, led, len, out);
        }
        let draft = Draft { len, rcode: response.rcode, options, error: None, class };
        self.deliver(view, case, &draft, room_len, (Outcome::Forwarded, Reason::None), out);
    }

    /// Sends the first `len` bytes of the outbox's room with nothing but the client's id and letters put on, and AD taken
    /// off where nobody asked for it.
    fn send_as_is(&mut self, view: &View<'_>, case: &Case<'_>, len: usize, class: &ResponseClass, out: &mut Outbox) {
        match self.limit_response(view, case, class) {
            RrlVerdict::Answer => {}
            RrlVerdict::Slip => {
                let (body, outcome) = view.slip(case);
                return self.say(view, case, body, None, (outcome, Reason::Rrl), out);
            }
            RrlVerdict::Drop => return self.finish(view, case, Outcome::Dropped, Reason::Rrl, None),
        }
        if !case.client.is_tcp() && len > case.query.udp_limit() {
            return self.say(view, case, Body::Truncated, None, (Outcome::Truncated, Reason::Oversized), out);
        }
        let Some(room) = out.room(len) else { return self.lose_answer(view, case, out) };
        put_u16(room, 0, case.query.id);
        let question = case.query.question();
        room[HEADER_LEN..HEADER_LEN + question.len()].copy_from_slice(question);
        if !case.query.ad && !case.query.dnssec_ok() {
            room[3] &= !0x20;
        }
        out.commit(case.client.to(), len);
        self.sampler.answered(len);
        self.finish(view, case, Outcome::Forwarded, Reason::None, None);
    }

    /// The answer to a signed message, a NOTIFY, an UPDATE: passed on byte for byte apart from its id.
    fn pass_opaque(
        &mut self,
        view: &View<'_>,
        (flight, attempt): (FlightId, AttemptNumber),
        packet: &[u8],
        out: &mut Outbox,
    ) {
        let slot = self.flights.attempt(flight, attempt).route.link.slot;
        let Some(is_answer) = matches_opaque(self.flights.packet(flight), packet) else {
            return self.ledger.upstream(slot, UpstreamEvent::Malformed);
        };
        if !is_answer {
            return self.ledger.upstream(slot, UpstreamEvent::Mismatched);
        }
        self.answered(view, flight, attempt);
        let Flight { received, policy, asker, .. } = *self.flights.flight(flight);
        let Asker::Client(client) = asker else { return };
        let asked = self.copy_packet(flight);
        self.flights.close(flight);
        if let Ok(query) = asked.query() {
            let case = &Case { upstream: Some(slot), ..Case::new(client, &query, received) };
            if self.stays_admitted(view, case, policy, out) {
                self.send_opaque(view, case, packet, out);
            }
        }
        self.scratch = asked.room;
    }

    fn send_opaque(&mut self, view: &View<'_>, case: &Case<'_>, packet: &[u8], out: &mut Outbox) {
        debug_assert!(Kind::of(case.query, case.client.is_tcp()) != Kind::Plain);
        let class = match Response::scan(packet) {
            Ok(response) => {
                if case.query.asks_for_records() && !self.passes_chain(view, case, &response, out) {
                    return;
                }
                let zone = view.running.routing.pool_for(&case.query.name).1;
                view.shared.rrl.class_of(&response, &case.query.name, case.query.qtype, zone)
            }
            Err(_) => {
                let rcode = u16::from(packet[3] & 0x0f);
                view.shared.rrl.class_of_own(rcode, true, &case.query.name, case.query.qtype)
            }
        };
        match self.limit_response(view, case, &class) {
            RrlVerdict::Answer => {}
            RrlVerdict::Slip => {
                return self.say(view, case, Body::Truncated, None, (Outcome::Truncated, Reason::Rrl), out);
            }
            RrlVerdict::Drop => return self.finish(view, case, Outcome::Dropped, Reason::Rrl, None),
        }
        // An upstream that is asked over TCP does not know what the client takes over UDP. What it announced is believed:
        // unlike an answer of ours, this one cannot be made smaller.
        let announced = case.query.edns.as_ref().map_or(0, |edns| usize::from(edns.payload)).max(PLAIN_UDP_MAX);
        if !case.client.is_tcp() && packet.len() > announced {
            return self.say(view, case, Body::Truncated, None, (Outcome::Truncated, Reason::Oversized), out);
        }
        let Some(room) = out.room(packet.len()) else { return self.lose_answer(view, case, out) };
        room.copy_from_slice(packet);
        put_u16(room, 0, case.query.id);
        out.commit(case.client.to(), packet.len());
        self.sampler.answered(packet.len());
        self.finish(view, case, Outcome::Forwarded, Reason::None, None);
    }
}

fn asked_opcode(packet: &[u8]) -> u8 {
    packet[2] >> 3 & 0x0f
}

/// Whether `packet` answers the opaque message `asked`: a response with its opcode and, where it has a question, with
/// the same one byte for byte. `None` when it is too short to tell.
fn matches_opaque(asked: &[u8], packet: &[u8]) -> Option<bool> {
    let flags = *packet.get(2)?;
    packet.get(..HEADER_LEN)?;
    if flags & 0x80 == 0 || asked_opcode(packet) != asked_opcode(asked) {
        return Some(false);
    }
    if u16_at(packet, 4)? == 0 {
        // An error without its question (some servers answer a bad signature so): the id on this socket has to do.
        return Some(packet[3] & 0x0f != 0);
    }
    let question_end = Query::scan(asked).ok()?.question_end;
    let question = packet.get(HEADER_LEN..question_end)?;
    Some(question == &asked[HEADER_LEN..question_end])
}

/// Copies the options that are meant for the client, and says whether an answer with them may be cached: an extended
/// error or a client-subnet scope may, what we do not know may not.
fn keep_options<'k>(
    message: &[u8],
    edns: &Edns,
    cookies: CookieMode,
    kept: &'k mut [u8; OPTIONS_MAX],
) -> (&'k [u8], bool) {
    let (mut len, mut cacheable) = (0, true);
    for (code, data) in options(message, edns) {
        let hop_by_hop = matches!(code, option::KEEPALIVE | option::PADDING)
            || code == option::COOKIE && cookies != CookieMode::Pass;
        if hop_by_hop {
            continue;
        }
        cacheable &= matches!(code, option::EXTENDED_ERROR | option::CLIENT_SUBNET);
        if len + 4 + data.len() > OPTIONS_MAX {
            cacheable = false;
            continue;
        }
        put_u16(kept, len, code);
        put_u16(kept, len + 2, data.len() as u16);
        kept[len + 4..][..data.len()].copy_from_slice(data);
        len += 4 + data.len();
    }
    (&kept[..len], cacheable)
}
