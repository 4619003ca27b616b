//! Queries in flight: who waits for which answer from where, in fixed memory.
//!
//! A flight keeps the client's packet, and for each attempt exactly what a response must match: the path it was sent on,
//! its id and the letter case of its question (RFC 5452 section 9.1).

use super::index::Index;
use super::places::Places;
use super::wheel::Wheel;
use super::{LINKS_MAX, LinkId};
use crate::cache::{FailureKind, KeyHash};
use crate::clock::Moment;
use crate::dns::letters::Flips;
use crate::dns::query::Records;
use crate::policy::regulars::Source;
use crate::policy::server::RETRIES_MAX;

/// Attempts at one query, the first included.
pub const ATTEMPTS_MAX: usize = 1 + RETRIES_MAX as usize;

/// Packets up to this many bytes are kept in the flight itself.
const INLINE_MAX: usize = 512;

/// Larger packets (signed updates, queries with long options) that may be in flight at a time; of one source never more than
/// there is room left for, since each keeps its room until it is answered or its deadline comes.
const LARGE_PACKETS: usize = 64;

/// Room for one larger packet: the longest message there is.
const LARGE_MAX: usize = crate::dns::MESSAGE_MAX;

/// A worker's way to an upstream: one UDP socket, or its TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The upstream.
    pub link: LinkId,
    /// The UDP socket; 0 for TCP.
    pub port: u8,
    /// Over TCP.
    pub tcp: bool,
}

impl Route {
    /// One word for (route, id): what a response is found by.
    fn key(self, id: u16) -> u64 {
        debug_assert!(usize::from(self.link.slot) < LINKS_MAX);
        u64::from(self.link.generation) << 40
            | u64::from(self.link.slot) << 24
            | u64::from(self.port << 1 | u8::from(self.tcp)) << 16
            | u64::from(id)
    }
}

/// One message that was sent for a flight.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// On which way.
    pub route: Route,
    /// Message id.
    pub id: u16,
    /// Letters of the question whose case was flipped (draft-vixie-dnsext-dns0x20).
    pub flips: Flips,
    /// When.
    pub sent: Moment,
    /// The path was lost, or the server has failed the question: nothing more comes back on it.
    pub lost: bool,
    /// What came back on it and was not believed.
    pub doubt: Doubt,
}

/// What came over the right way with the right id, to the question that was asked, and yet is not believed: a lie, or the
/// answer of a server that does not keep to the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing.
    #[default]
    None,
    /// The question in letters of one case.
    Folded,
    /// The question in other letters, a datagram larger than was asked for, or several such things.
    Other,
}

impl Attempt {
    /// An attempt on `route`, with nothing else filled in.
    pub const fn on(route: Route) -> Self {
        Self { route, id: 0, flips: Flips::NONE, sent: Moment::ZERO, lost: false, doubt: Doubt::None }
    }
}

/// A query that waits for an upstream. `A` is who asked.
#[derive(Clone, Debug)]
pub struct Flight<A> {
    /// Who asked.
    pub asker: A,
    /// When the query came.
    pub received: Moment,
    /// When the asker must have an answer.
    pub deadline: Moment,
    /// The policy under which it was admitted, by its generation.
    pub policy: u64,
    /// The message passes byte for byte apart from its id.
    pub opaque: bool,
    /// The keyed hash of the zone that it holds a place for; 0: none.
    pub zone: u64,
    /// Where the account of that zone lay.
    pub place: u32,
    /// The keyed hash of the name asked for, where the storm guard looks; 0: it does not.
    pub name: u64,
    /// How many: one for each attempt that was made while it held fewer than it may.
    pub places: u8,
    /// It is the probe of a zone that fails.
    pub trial: bool,
    /// A server has failed it, so that another was asked.
    pub failed_once: bool,
    /// Why the question that it waited for found no answer.
    pub failed: Option<FailureKind>,
    /// What stands behind the question of its packet; `None`: its packet has to be scanned again.
    pub records: Option<Records>,
    /// The hash of its key in the cache.
    pub key_hash: KeyHash,
    /// Keyed hash of the question under which others may wait for it; 0: none may.
    question: u64,
    /// The flight that asks for it, or [`NOBODY`].
    leader: FlightId,
    /// The first that waits for this one, or, of one that waits, the next.
    next: FlightId,
    /// How many wait for it.
    waiters: u16,
    attempts: [Attempt; ATTEMPTS_MAX],
    attempts_len: u8,
    packet_len: u16,
    /// Bytes that are kept behind the packet.
    note_len: u16,
    /// Room in the store of large packets, or [`NOT_LARGE`].
    large: u16,
    packet: [u8; INLINE_MAX],
}

const NOT_LARGE: u16 = u16::MAX;

/// No flight.
const NOBODY: FlightId = FlightId::MAX;

impl<A> Flight<A> {
    /// What was sent so far.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts[..usize::from(self.attempts_len)]
    }
}

/// The number of a flight; valid until it is closed.
pub type FlightId = u32;

/// Which of the attempts of a flight; below [`ATTEMPTS_MAX`].
pub type AttemptNumber = usize;

/// All flights of a worker.
#[derive(Debug)]
pub struct Flights<A> {
    slots: Box<[Flight<A>]>,
    /// Numbers of flights: the first `open` are in use. `place` is its inverse.
    order: Box<[FlightId]>,
    place: Box<[u32]>,
    open: usize,
    index: Index,
    /// From a question to the flight that asks it.
    questions: Index,
    wheel: Wheel,
    large: Box<[u8]>,
    large_places: Places<LARGE_PACKETS>,
    source_of: fn(&A) -> Source,
}

/// Why a query cannot be put in flight: a table that is bounded by configuration is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<A: Copy> Flights<A> {
    /// Room for `flights_max` flights; `nobody` fills the empty slots. Larger packets are shared out among those of whom
    /// `source_of` speaks.
    pub fn new(flights_max: usize, nobody: A, source_of: fn(&A) -> Source) -> Self {
        let empty = Flight {
            asker: nobody,
            received: Moment::ZERO,
            deadline: Moment::ZERO,
            policy: 0,
            opaque: false,
            zone: 0,
            place: 0,
            name: 0,
            places: 0,
            trial: false,
            failed_once: false,
            failed: None,
            records: None,
            key_hash: KeyHash::UNKNOWN,
            question: 0,
            leader: NOBODY,
            next: NOBODY,
            waiters: 0,
            attempts: [Attempt::on(Route::default()); ATTEMPTS_MAX],
            attempts_len: 0,
            packet_len: 0,
            note_len: 0,
            large: NOT_LARGE,
            packet: [0; INLINE_MAX],
        };
        let numbers = (0..flights_max as u32).collect::<Box<[_]>>();
        Self {
            slots: vec![empty; flights_max].into_boxed_slice(),
            order: numbers.clone(),
            place: numbers,
            open: 0,
            index: Index::new(flights_max * 2),
            questions: Index::new(flights_max * 3 / 2),
            wheel: Wheel::new(flights_max),
            large: vec![0; LARGE_PACKETS * LARGE_MAX].into_boxed_slice(),
            large_places: Places::default(),
            source_of,
        }
    }

    /// Bytes that flights take at the most, all allocated at the start.
    pub fn size_bytes(flights_max: usize) -> usize {
        let per_flight = size_of::<Flight<A>>() + 2 * size_of::<u32>() + Wheel::bytes_per_timer();
        flights_max * per_flight
            + Index::size_bytes(flights_max * 2)
            + Index::size_bytes(flights_max * 3 / 2)
            + LARGE_PACKETS * LARGE_MAX
    }

    /// Puts a query in flight. Its timer is for the caller to set, with its first attempt or without one.
    ///
    /// # Errors
    /// [`Full`].
    pub fn open(&mut self, asker: A, packet: &[u8], received: Moment, deadline: Moment) -> Result<FlightId, Full> {
        self.open_noted(asker, (packet, &[]), received, deadline)
    }

    /// As [`Self::open`], with a note that is kept beside the packet.
    ///
    /// # Errors
    /// [`Full`], also when the two together are longer than a message, or the asker has its share of the larger ones.
    pub fn open_noted(
        &mut self,
        asker: A,
        (packet, note): (&[u8], &[u8]),
        received: Moment,
        deadline: Moment,
    ) -> Result<FlightId, Full> {
        let id = *self.order.get(self.open).ok_or(Full)?;
        let len = packet.len() + note.len();
        if len > LARGE_MAX {
            return Err(Full);
        }
        let large = match len {
            0..=INLINE_MAX => NOT_LARGE,
            _ => self.large_places.take((self.source_of)(&asker)).ok_or(Full)?,
        };
        let flight = &mut self.slots[id as usize];
        flight.asker = asker;
        flight.received = received;
        flight.deadline = deadline;
        (flight.policy, flight.opaque) = (0, false);
        (flight.zone, flight.places, flight.name, flight.trial) = (0, 0, 0, false);
        (flight.failed_once, flight.failed, flight.records) = (false, None, None);
        flight.key_hash = KeyHash::UNKNOWN;
        (flight.question, flight.leader, flight.next, flight.waiters) = (0, NOBODY, NOBODY, 0);
        flight.attempts_len = 0;
        (flight.packet_len, flight.note_len) = (packet.len() as u16, note.len() as u16);
        flight.large = large;
        let room = match large {
            NOT_LARGE => &mut flight.packet[..len],
            at => &mut self.large[usize::from(at) * LARGE_MAX..][..len],
        };
        room[..packet.len()].copy_from_slice(packet);
        if !note.is_empty() {
            room[packet.len()..].copy_from_slice(note);
        }
        self.open += 1;
        Ok(id)
    }

    /// The flight with this number.
    pub fn flight(&self, id: FlightId) -> &Flight<A> {
        &self.slots[id as usize]
    }

    /// The flight with this number, to change it.
    pub fn flight_mut(&mut self, id: FlightId) -> &mut Flight<A> {
        &mut self.slots[id as usize]
    }

    /// The client's packet.
    #[inline]
    pub fn packet(&self, id: FlightId) -> &[u8] {
        &self.packet_and_note(id)[..self.packet_len(id)]
    }

    /// Bytes of the client's packet.
    #[inline]
    pub fn packet_len(&self, id: FlightId) -> usize {
        self.slots[id as usize].packet_len.into()
    }

    /// The client's packet, and behind it the note.
    #[inline]
    pub fn packet_and_note(&self, id: FlightId) -> &[u8] {
        let flight = &self.slots[id as usize];
        let len = usize::from(flight.packet_len) + usize::from(flight.note_len);
        match flight.large {
            NOT_LARGE => &flight.packet[..len],
            at => &self.large[usize::from(at) * LARGE_MAX..][..len],
        }
    }

    /// Whether a message with `id` is on its way on `route`.
    pub fn is_taken(&self, route: Route, id: u16) -> bool {
        self.index.find(route.key(id)).is_some()
    }

    /// Notes an attempt and sets the timer to `timer`.
    ///
    /// # Errors
    /// [`Full`], also when the flight has had [`ATTEMPTS_MAX`].
    pub fn add_attempt(&mut self, id: FlightId, attempt: Attempt, timer: Moment) -> Result<(), Full> {
        let flight = &mut self.slots[id as usize];
        let number = usize::from(flight.attempts_len);
        if number == ATTEMPTS_MAX {
            return Err(Full);
        }
        self.index.insert(attempt.route.key(attempt.id), id * ATTEMPTS_MAX as u32 + number as u32)?;
        flight.attempts[number] = attempt;
        flight.attempts_len += 1;
        self.wheel.set(id, timer);
        Ok(())
    }

    /// Notes that nothing will come back on `route` for a flight; true when its latest attempt was made there.
    pub fn lose(&mut self, id: FlightId, route: Route) -> bool {
        let flight = &mut self.slots[id as usize];
        let attempts = &mut flight.attempts[..usize::from(flight.attempts_len)];
        attempts.iter_mut().filter(|attempt| attempt.route == route).for_each(|attempt| attempt.lost = true);
        attempts.last().is_some_and(|latest| latest.route == route)
    }

    /// Notes that nothing will come back on one attempt; true when it is the latest of its flight.
    pub fn lose_one(&mut self, id: FlightId, attempt: AttemptNumber) -> bool {
        let flight = &mut self.slots[id as usize];
        flight.attempts[attempt].lost = true;
        attempt + 1 == usize::from(flight.attempts_len)
    }

    /// Notes that the server of an attempt has said that it has no answer.
    pub fn spend(&mut self, id: FlightId, attempt: AttemptNumber) {
        let flight = &mut self.slots[id as usize];
        flight.failed_once = true;
        flight.attempts[attempt].lost = true;
    }

    /// The flight, and which of its attempts, that a message with `id` on `route` may belong to.
    #[inline]
    pub fn find(&self, route: Route, id: u16) -> Option<(FlightId, AttemptNumber)> {
        let at = self.index.find(route.key(id))?;
        Some((at / ATTEMPTS_MAX as u32, at as usize % ATTEMPTS_MAX))
    }

    /// One of the attempts of a flight.
    #[inline]
    pub fn attempt(&self, id: FlightId, attempt: AttemptNumber) -> &Attempt {
        &self.slots[id as usize].attempts[attempt]
    }

    /// Notes what came back on an attempt and is not believed.
    pub fn doubt(&mut self, id: FlightId, attempt: AttemptNumber, doubt: Doubt) {
        let own = &mut self.slots[id as usize].attempts[attempt].doubt;
        *own = if *own == Doubt::None { doubt } else { Doubt::Other };
    }

    /// Lets others wait for this flight under the keyed hash of its question, unless another one asks it already.
    pub fn lead(&mut self, id: FlightId, question: u64) {
        if self.questions.find(question).is_none() && self.questions.insert(question, id).is_ok() {
            self.slots[id as usize].question = question;
        }
    }

    /// The flight under a question, and how many wait for it.
    pub fn leader(&self, question: u64) -> Option<(FlightId, u16)> {
        let id = self.questions.find(question)?;
        Some((id, self.slots[id as usize].waiters))
    }

    /// Lets a flight without attempts wait for another one.
    pub fn follow(&mut self, id: FlightId, leader: FlightId) {
        let leading = &mut self.slots[leader as usize];
        let next = std::mem::replace(&mut leading.next, id);
        leading.waiters += 1;
        let flight = &mut self.slots[id as usize];
        (flight.leader, flight.next) = (leader, next);
    }

    /// The flight that one waits for.
    pub fn leader_of(&self, id: FlightId) -> Option<&Flight<A>> {
        self.slots.get(self.slots[id as usize].leader as usize)
    }

    /// Whether others wait for a flight.
    #[inline]
    pub fn is_awaited(&self, id: FlightId) -> bool {
        self.slots[id as usize].waiters > 0
    }

    /// Takes one of those that wait for a flight; call until `None` before it is closed. It waits for nobody then.
    pub fn take_waiter(&mut self, leader: FlightId) -> Option<FlightId> {
        let leading = &self.slots[leader as usize];
        if leading.leader != NOBODY || leading.next == NOBODY {
            return None;
        }
        let id = leading.next;
        self.leave(id);
        Some(id)
    }

    /// Ends the waiting of a flight for another. O(n) in those that wait with it.
    fn leave(&mut self, id: FlightId) {
        let Flight { leader, next, .. } = self.slots[id as usize];
        let mut before = leader;
        while before != NOBODY && self.slots[before as usize].next != id {
            before = self.slots[before as usize].next;
        }
        if before != NOBODY {
            self.slots[before as usize].next = next;
            self.slots[leader as usize].waiters -= 1;
        }
        (self.slots[id as usize].leader, self.slots[id as usize].next) = (NOBODY, NOBODY);
    }

    /// Sets the flight's timer.
    pub fn set_timer(&mut self, id: FlightId, due: Moment) {
        self.wheel.set(id, due);
    }

    /// The next flight whose timer is due; call until `None`.
    pub fn pop_due(&mut self, at: Moment) -> Option<FlightId> {
        self.wheel.pop_due(at)
    }

    /// Ends a flight: nothing that comes for it later finds it.
    pub fn close(&mut self, id: FlightId) {
        if self.slots[id as usize].leader != NOBODY {
            self.leave(id);
        }
        debug_assert!(self.slots[id as usize].next == NOBODY, "those that wait for it were taken");
        let question = self.slots[id as usize].question;
        if question != 0 {
            self.questions.remove(question);
        }
        let flight = &self.slots[id as usize];
        for attempt in flight.attempts() {
            self.index.remove(attempt.route.key(attempt.id));
        }
        if flight.large != NOT_LARGE {
            self.large_places.leave(flight.large);
        }
        self.wheel.cancel(id);
        let at = self.place[id as usize] as usize;
        debug_assert!(at < self.open, "a flight is closed once");
        self.open -= 1;
        self.order.swap(at, self.open);
        self.place[self.order[at] as usize] = at as u32;
        self.place[id as usize] = self.open as u32;
    }

    /// Flights in use.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// The `at`-th flight in use. Going from `len() - 1` down to 0, the present one may be closed on the way.
    pub fn nth(&self, at: usize) -> FlightId {
        self.order[at]
    }
}

#[cfg(test)]
mod tests;
