//! Identical questions in flight: one is asked, the others wait for its answer, each with its own deadline, and each gets
//! it with its own id, letters, size limit and OPT, past the filter of its own groups.

use super::admit::Admitted;
use super::memory::{ROOM, key_of};
use super::outbox::Outbox;
use super::{Asker, Case, Desk, View};
use crate::cache::FailureKind;
use crate::dns::query::Query;
use crate::dns::response::Response;
use crate::policy::cookies::CookieMode;
use crate::upstream::flights::{Flight, FlightId};
use crate::verdict::{Outcome, Reason};

/// What makes one question for the upstream: all that shapes the message to it and its way there.
#[derive(PartialEq, Eq)]
struct Same<'q> {
    name: &'q [u8],
    numbers: (u16, u16),
    flags: (bool, bool, bool),
    subnet: &'q [u8],
    edns: bool,
    tcp: bool,
}

impl<'q> Same<'q> {
    /// `None` for one whose answer may depend on an option that we do not know.
    fn of(query: &'q Query<'q>, tcp: bool) -> Option<Self> {
        let key = key_of(query)?;
        Some(Self {
            name: query.name.as_wire(),
            numbers: (query.qtype, query.qclass),
            flags: (query.rd, query.cd, query.dnssec_ok()),
            subnet: key.client_subnet,
            edns: query.edns.is_some(),
            tcp,
        })
    }

    /// All but the name and the client subnet, in one word.
    fn word(&self) -> u64 {
        let (qtype, qclass) = self.numbers;
        let (rd, cd, dnssec_ok) = self.flags;
        let bits = [rd, cd, dnssec_ok, self.edns, self.tcp];
        bits.into_iter().fold(u64::from(qtype) << 16 | u64::from(qclass), |word, bit| word << 1 | u64::from(bit))
    }
}

impl Desk {
    /// The keyed hash of a question under which others may wait for it; 0: none may. `name`: the keyed hash of its name.
    pub(super) fn question_of(&self, view: &View<'_>, case: &Case<'_>, name: u64) -> u64 {
        // A cookie that goes through makes the answer one client's own.
        let has_cookie = case.query.edns.as_ref().is_some_and(|edns| edns.cookie.is_some());
        let is_own = has_cookie && view.running.policy.cookies.mode == CookieMode::Pass;
        if view.running.policy.storm.waiters == 0 || is_own {
            return 0;
        }
        let Some(same) = Same::of(case.query, case.client.is_tcp()) else { return 0 };
        let mut hash = self.storms.hash(&(name, same.word()));
        if !same.subnet.is_empty() {
            hash = self.storms.hash(&(hash, same.subnet));
        }
        // Neither 0 nor the mark of an empty place.
        hash >> 1 | 1
    }

    /// Lets a question wait for the same one in flight; false when there is none, or too many wait already.
    pub(super) fn wait_for_same(&mut self, view: &View<'_>, case: &Case<'_>, question: u64) -> bool {
        let Some((leader, waiting)) = self.flights.leader(question) else { return false };
        let asks = self.flights.flight(leader);
        let Asker::Client(client) = asks.asker else { return false };
        if waiting >= view.running.policy.storm.waiters || asks.deadline <= view.now.at {
            return false;
        }
        // By every byte, not by a hash alone.
        let Ok(leading) = Query::scan(self.flights.packet(leader)) else { return false };
        if Same::of(&leading, client.is_tcp()) != Same::of(case.query, case.client.is_tcp()) {
            return false;
        }
        let timeout = view.running.routing.pool_for(&case.query.name).0.settings.timeout;
        let deadline = case.received.plus(timeout);
        match self.open(case, deadline) {
            Ok(id) => {
                self.flights.flight_mut(id).policy = view.running.generation;
                self.flights.follow(id, leader);
                self.flights.set_timer(id, deadline);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives an answer from the upstream in a slot to those that waited for it, as far as there is room; the others are due
    /// at once, and find it in the cache or ask themselves. `first`: nobody has kept it yet.
    pub(super) fn settle_waiters(
        &mut self,
        view: &View<'_>,
        leader: FlightId,
        message: &[u8],
        (slot, mut first): (u16, bool),
        out: &mut Outbox,
    ) {
        while out.has_room(ROOM.max(message.len() + ROOM)) {
            let Some(id) = self.flights.take_waiter(leader) else { return };
            let Flight { received, policy, asker, .. } = *self.flights.flight(id);
            let asked = self.copy_packet(id);
            self.flights.close(id);
            if let (Asker::Client(client), Ok(query), Ok(response)) = (asker, asked.query(), Response::scan(message)) {
                let led = asked.led();
                let case = &Case { upstream: Some(slot), led: led.as_ref(), ..Case::new(client, &query, received) };
                if self.stays_admitted(view, case, policy, out) {
                    self.settle(view, case, &response, first, out);
                    first = false;
                }
            }
            self.scratch = asked.room;
        }
    }

    /// Goes on with a question that waited for another: at its own deadline, or when that one has ended.
    pub(super) fn resume(&mut self, view: &View<'_>, id: FlightId, out: &mut Outbox) {
        let Flight { received, deadline, policy, failed, asker, .. } = *self.flights.flight(id);
        // The one that it waits for came later to its socket, or left it sooner, and goes on.
        let is_outlived = self.flights.leader_of(id).is_some_and(|leader| leader.deadline > view.now.at);
        let asked = self.copy_packet(id);
        self.flights.close(id);
        match (asker, asked.query()) {
            (Asker::Client(client), Ok(query)) => {
                let led = asked.led();
                let case = &Case { led: led.as_ref(), ..Case::new(client, &query, received) };
                let late = (view.now.at >= deadline).then_some(FailureKind::Timeout);
                match failed.or(late) {
                    _ if !self.stays_admitted(view, case, policy, out) => {}
                    Some(_) if is_outlived => self.give_up(view, case, out),
                    Some(why) => self.fail(view, case, why, out),
                    None => {
                        let admitted = Admitted::again(view, case);
                        if !self.answer_from_memory(view, &admitted, out) {
                            self.forward(view, &admitted, out);
                        }
                    }
                }
            }
            // It was scanned when it came; without it there is nobody to answer.
            (Asker::Client(client), Err(_)) => {
                client.expect_nothing(out);
                self.ledger.count(Outcome::Failed, Reason::Overload, client.is_tcp(), None);
            }
            (Asker::Probe, _) => {}
        }
        self.scratch = asked.room;
    }
}
