//! The connections of a worker: found by number, and in the order in which they were last used, so that the one that has
//! been idle for longest goes first when there is room for no more.
//!
//! Two queues: those that have never asked anything, and the others. Whoever holds connections to hold them is mostly in
//! the first, which pays first, but not with those that came just now: they are about to ask. All steps are O(1).

use super::Core;
use super::census::Permit;
use super::connection::Connection;
use super::tally::Event;
use super::worker::Worker;
use crate::gateway::ConnectionId;
use crate::policy::regulars::Source;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection that has asked nothing is spared before those that have.
const GRACE: Duration = Duration::from_secs(1);

/// Connections that are looked at for an idle one, in each queue.
const LOOKS_MAX: usize = 8;

/// Ends a queue.
const NONE: u32 = u32::MAX;

/// Which queue a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// It has asked nothing.
    New = 0,
    /// It has.
    Proven = 1,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Rc<Connection>>,
    /// It is counted until this is dropped.
    permit: Option<Permit>,
    rank: Rank,
    used: Instant,
    before: u32,
    behind: u32,
}

/// First and last of a queue.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
}

/// The connections of a worker.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    queues: [Queue; 2],
    buffered: Rc<Cell<usize>>,
}

impl Default for Connections {
    fn default() -> Self {
        let queues = [Queue { first: NONE, last: NONE }; 2];
        Self { slots: Vec::new(), free: Vec::new(), queues, buffered: Rc::default() }
    }
}

impl Connections {
    /// A new connection of `source` that came to `listener`. How many there may be is the census' affair.
    pub(super) fn insert(&mut self, source: Source, listener: u16, permit: Permit) -> Rc<Connection> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                connection: None,
                permit: None,
                rank: Rank::New,
                used: Instant::now(),
                before: NONE,
                behind: NONE,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[number as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let id = ConnectionId { slot: number, generation: slot.generation };
        let connection = Rc::new(Connection::new(id, source, listener, Rc::clone(&self.buffered)));
        slot.connection = Some(Rc::clone(&connection));
        slot.permit = Some(permit);
        self.append(number, Rank::New);
        connection
    }

    /// The connection with this number, if it is still the same one.
    pub(super) fn with_id(&self, id: ConnectionId) -> Option<&Rc<Connection>> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.connection.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// A connection has asked.
    pub(super) fn touch(&mut self, id: ConnectionId) {
        // One that was evicted is in no queue any more.
        if self.with_id(id).is_some() && self.slots[id.slot as usize].permit.is_some() {
            self.unlink(id.slot);
            self.append(id.slot, Rank::Proven);
        }
    }

    /// Closes the connection that has been idle for longest, so that its place is free at once; false when none is.
    pub(super) fn evict(&mut self) -> bool {
        let fresh = |slot: &Slot| slot.used.elapsed() < GRACE;
        let first = self.queues[Rank::New as usize].first;
        let spared = self.slots.get(first as usize).is_none_or(fresh);
        let order = if spared { [Rank::Proven, Rank::New] } else { [Rank::New, Rank::Proven] };
        order.into_iter().any(|rank| self.evict_from(rank))
    }

    fn evict_from(&mut self, rank: Rank) -> bool {
        for _ in 0..LOOKS_MAX {
            let number = self.queues[rank as usize].first;
            let Some(slot) = self.slots.get(number as usize) else { return false };
            let idle = slot.connection.clone().filter(|connection| connection.is_idle());
            self.unlink(number);
            if let Some(connection) = idle {
                self.slots[number as usize].permit = None;
                connection.evict();
                return true;
            }
            // In use, whatever it did last: it waits for an answer, or takes one.
            self.append(number, rank);
        }
        false
    }

    /// A conversation has ended.
    pub(super) fn remove(&mut self, connection: &Connection) {
        connection.cut();
        self.buffered.set(self.buffered.get().saturating_sub(connection.unsent()));
        let number = connection.id().slot;
        let slot = &mut self.slots[number as usize];
        slot.connection = None;
        if slot.permit.take().is_some() {
            self.unlink(number);
        }
        self.free.push(number);
    }

    /// Lets the connections of one listener, or all, come to their end.
    pub(super) fn finish(&self, listener: Option<u16>) {
        let connections = self.slots.iter().filter_map(|slot| slot.connection.as_ref());
        for connection in connections.filter(|c| listener.is_none_or(|listener| c.listener() == listener)) {
            connection.finish();
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    fn append(&mut self, number: u32, rank: Rank) {
        let queue = &mut self.queues[rank as usize];
        let last = std::mem::replace(&mut queue.last, number);
        if last == NONE {
            queue.first = number;
        } else {
            self.slots[last as usize].behind = number;
        }
        let slot = &mut self.slots[number as usize];
        (slot.rank, slot.used) = (rank, Instant::now());
        (slot.before, slot.behind) = (last, NONE);
    }

    fn unlink(&mut self, number: u32) {
        let Slot { rank, before, behind, .. } = self.slots[number as usize];
        let queue = &mut self.queues[rank as usize];
        match before {
            NONE => queue.first = behind,
            before => self.slots[before as usize].behind = behind,
        }
        match behind {
            NONE => self.queues[rank as usize].last = before,
            behind => self.slots[behind as usize].before = before,
        }
    }
}

impl<C: Core> Worker<C> {
    /// Queues an answer for a client's connection.
    pub(super) fn answer(&self, id: ConnectionId, message: &[u8]) {
        let queued = self.connections.borrow().with_id(id).is_some_and(|connection| connection.answer(message));
        if !queued {
            self.tally.one(Event::TcpAnswersLost);
        }
    }

    /// One query of a client's connection gets no answer.
    pub(super) fn expect_nothing(&self, id: ConnectionId) {
        if let Some(connection) = self.connections.borrow().with_id(id) {
            connection.expect_nothing();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::listen::census::Census;
    use crate::policy::Mode;
    use crate::policy::server::TcpLimits;

    fn open(connections: &mut Connections, count: usize) -> (std::sync::Arc<Census>, Vec<Rc<Connection>>) {
        let second = Duration::from_secs(1);
        let (census, limits) = (
            Census::new(),
            TcpLimits {
                mode: Mode::Off,
                connections: 1000,
                per_client: 1000,
                rate: 1000,
                idle: second,
                stall: second,
                pipeline: 8,
            },
        );
        let client = [127, 0, 0, 1].into();
        let admit = || census.admit(Moment::ZERO, client, &limits).unwrap();
        let opened = (0..count).map(|_| connections.insert(Source::of(client), 0, admit())).collect();
        (census, opened)
    }

    #[test]
    fn the_longest_idle_goes_first_and_one_in_use_never() {
        let mut connections = Connections::default();
        let (census, opened) = open(&mut connections, 5);
        for connection in &opened {
            connections.touch(connection.id());
        }
        opened[0].asks();
        connections.touch(opened[1].id());
        let mut gone = |expected: usize| {
            assert!(connections.evict());
            assert!(opened[expected].is_gone(), "{expected}");
        };
        [2, 3, 4, 1].into_iter().for_each(&mut gone);
        assert!(!connections.evict(), "the one that waits for an answer stays");
        assert_eq!(census.total(), 1, "the places are free at once");
        opened[0].expect_nothing();
        assert!(connections.evict() && opened[0].is_gone());
        opened.iter().for_each(|connection| connections.remove(connection));
        assert!(connections.is_empty() && census.total() == 0);
    }

    #[test]
    fn those_that_just_came_are_spared_before_those_that_have_asked() {
        let mut connections = Connections::default();
        let (_census, opened) = open(&mut connections, 4);
        connections.touch(opened[1].id());
        connections.touch(opened[2].id());
        for expected in [1, 2, 0, 3] {
            assert!(connections.evict());
            assert!(opened[expected].is_gone(), "{expected}");
        }
        assert!(!connections.evict());
    }

    #[test]
    fn queues_hold_whatever_comes_and_goes() {
        let mut connections = Connections::default();
        let (census, mut opened) = open(&mut connections, 50);
        for round in 0..2000_usize {
            let index = round * 7919 % opened.len();
            match round % 5 {
                0 => connections.remove(&opened.swap_remove(index)),
                1 if connections.evict() => {}
                _ => connections.touch(opened[index].id()),
            }
            if opened.len() < 10 {
                break;
            }
        }
        opened.iter().for_each(|connection| connections.remove(connection));
        assert!(connections.is_empty() && census.total() == 0);
        assert!(connections.queues.iter().all(|queue| queue.first == NONE && queue.last == NONE));
    }
}
