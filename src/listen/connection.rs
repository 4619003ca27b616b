//! A client's TCP connection (RFC 7766): queries as they come, answers as they are ready, in any order, and an end for those
//! who hold a connection without using it.
//!
//! Bounds: a client may have `pipeline` queries waiting, then nothing more is read from it; what it has not taken is at most
//! [`OUT_MAX`] bytes, of all connections of a worker together [`BUFFERED_MAX`]; who exceeds that is cut off.

use super::Core;
use super::frames::{Flow, FrameReader, SendQueue};
use super::tally::Event;
use super::transfer_pace::TransferPace;
use super::worker::{Turn, Worker};
use crate::dns::HEADER_LEN;
use crate::gateway::{Client, ConnectionId, Path};
use crate::policy::regulars::Source;
use crate::policy::server::TcpLimits;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Bytes that wait for a client before its next query is read.
pub(super) const OUT_HIGH: usize = 64 * 1024;

/// Bytes that may wait for a client at all.
const OUT_MAX: usize = 1 << 20;

/// Bytes that may wait for all clients of a worker.
const BUFFERED_MAX: usize = 64 << 20;

/// How long a client that has asked is kept although nothing happens, if `idle` is shorter: longer than any upstream takes.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a connection that is told to finish is still read: what had arrived by then is answered.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Takes no new queries, ends when nothing is owed.
    Finishing,
    /// Ends now.
    Cut,
    /// Ends now, to make room.
    Evicted,
}

/// A client's connection as the rest of the worker sees it.
#[derive(Debug)]
pub(super) struct Connection {
    id: ConnectionId,
    source: Source,
    listener: u16,
    phase: Cell<Phase>,
    out: RefCell<SendQueue>,
    /// Queries that wait for an answer.
    waiting: Cell<usize>,
    /// Zone transfers that run.
    transfers: Cell<usize>,
    /// Bytes up to the end of the last transfer that came whole.
    tail: Cell<usize>,
    /// For the conversation: there is something to write, or the phase has changed.
    wake: Notify,
    /// For transfers: there is room again, or the connection has ended.
    pub(super) taken: Notify,
    /// Bytes that wait on all connections of the worker.
    buffered: Rc<Cell<usize>>,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, source: Source, listener: u16, buffered: Rc<Cell<usize>>) -> Self {
        Self {
            id,
            source,
            listener,
            phase: Cell::new(Phase::Open),
            out: RefCell::default(),
            waiting: Cell::new(0),
            transfers: Cell::new(0),
            tail: Cell::new(0),
            wake: Notify::new(),
            taken: Notify::new(),
            buffered,
        }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whose it is.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    pub(super) fn listener(&self) -> u16 {
        self.listener
    }

    /// Whether nothing is owed on it.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.get() == 0 && self.transfers.get() == 0 && self.unsent() == 0
    }

    /// One more query waits for its answer.
    pub(super) fn asks(&self) {
        self.waiting.set(self.waiting.get() + 1);
    }

    fn queue(&self, message: &[u8]) -> bool {
        if self.is_gone() {
            return false;
        }
        let mut out = self.out.borrow_mut();
        let more = message.len() + 2;
        if out.len() + more > OUT_MAX || self.buffered.get() + more > BUFFERED_MAX {
            drop(out);
            self.cut();
            return false;
        }
        self.buffered.set(self.buffered.get() + out.push(message));
        self.wake.notify_one();
        true
    }

    /// Queues an answer; false when it is lost.
    pub(super) fn answer(&self, message: &[u8]) -> bool {
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.queue(message)
    }

    /// One query gets no answer: a policy chose silence.
    pub(super) fn expect_nothing(&self) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.wake.notify_one();
    }

    /// Queues a message of a transfer; false when it is lost.
    pub(super) fn relay(&self, message: &[u8]) -> bool {
        self.queue(message)
    }

    /// A transfer begins.
    pub(super) fn transfer_begins(&self) {
        self.transfers.set(self.transfers.get() + 1);
    }

    /// All of a transfer is queued: the client may take its end as slowly as the rest.
    pub(super) fn transfer_is_whole(&self) {
        self.tail.set(self.unsent());
    }

    /// Transfers that the client has still to take: those that run, or the end of one.
    fn transfers_to_take(&self) -> usize {
        self.transfers.get().max(usize::from(self.tail.get() > 0))
    }

    /// A transfer has ended: its query is answered.
    pub(super) fn transfer_ends(&self) {
        self.transfers.set(self.transfers.get().saturating_sub(1));
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.wake.notify_one();
    }

    /// Bytes that the client has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.out.borrow().len()
    }

    /// Whether nothing more can be sent.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.phase.get(), Phase::Cut | Phase::Evicted)
    }

    /// Ends the connection at once, to make room for another.
    pub(super) fn evict(&self) {
        self.phase.set(Phase::Evicted);
        self.wake.notify_one();
    }

    /// Ends the connection at once.
    pub(super) fn cut(&self) {
        self.phase.set(Phase::Cut);
        self.wake.notify_one();
        self.taken.notify_waiters();
    }

    /// Takes no further queries; ends when nothing is owed.
    pub(super) fn finish(&self) {
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Finishing);
        }
        self.wake.notify_one();
    }
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both have said what there was to say.
    Done,
    /// No query for too long.
    Idle,
    /// Half a query, or an answer that is not taken, for too long; a transfer taken too slowly; or too much that is not taken.
    Stalled,
    /// A message that cannot be one.
    Garbage,
    /// Its place was needed, and it was idle.
    Evicted,
    /// The stream failed.
    Failed,
}

struct Conversation<'c, C: Core> {
    worker: &'c Rc<Worker<C>>,
    connection: &'c Connection,
    stream: &'c TcpStream,
    client: Client,
    limits: TcpLimits,
    reader: FrameReader,
    /// The client says no more, or we listen no more.
    ended: bool,
    garbage: bool,
    /// When the last whole query came or answer went.
    active: Instant,
    /// Since when half a query is there.
    begun: Option<Instant>,
    /// Since when the first answer in the queue is on offer.
    offered: Option<Instant>,
    pace: TransferPace,
    /// When reading ends, once the connection is told to finish.
    last_look: Option<Instant>,
}

/// Serves a connection to its end.
pub(super) async fn converse<C: Core>(
    worker: &Rc<Worker<C>>,
    connection: &Connection,
    stream: &TcpStream,
    peer: SocketAddr,
    limits: TcpLimits,
) {
    let mut conversation = Conversation {
        worker,
        connection,
        stream,
        client: Client { peer, path: Path::Tcp(connection.id) },
        limits,
        reader: FrameReader::default(),
        ended: false,
        garbage: false,
        active: Instant::now(),
        begun: None,
        offered: None,
        pace: TransferPace::default(),
        last_look: None,
    };
    let end = conversation.run().await;
    match end {
        End::Done | End::Failed => {}
        End::Idle => worker.tally.one(Event::TcpIdle),
        End::Stalled => worker.tally.one(Event::TcpStalled),
        End::Garbage => worker.tally.one(Event::TcpGarbage),
        End::Evicted => worker.tally.one(Event::TcpEvicted),
    }
    if end == End::Stalled {
        // The kernel shall not go on offering megabytes to one who does not take them.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
    worker.connections.borrow_mut().remove(connection);
}

impl<C: Core> Conversation<'_, C> {
    async fn run(&mut self) -> End {
        let mut timer = pin!(sleep_until(self.active + self.limits.idle));
        let connection = self.connection;
        loop {
            if self.write().is_err() {
                return End::Failed;
            }
            if self.may_ask() && self.reader.has_whole() {
                self.take_held();
                continue;
            }
            self.watch_phase();
            if let Some(end) = self.end() {
                return end;
            }
            self.watch_partial();
            let reads = !self.ended && self.may_ask() && !self.reader.has_whole();
            let interest = match (reads, connection.unsent() > 0) {
                (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
                (true, false) => Some(Interest::READABLE),
                (false, true) => Some(Interest::WRITABLE),
                (false, false) => None,
            };
            let deadline = self.deadline();
            // A later deadline needs no new timer: when the old one rings there is another look.
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                () = connection.wake.notified() => {}
                ready = self.stream.ready(interest.unwrap_or(Interest::READABLE)), if interest.is_some() => {
                    let Ok(ready) = ready else { return End::Failed };
                    if reads && (ready.is_readable() || ready.is_read_closed()) {
                        self.worker.gate.pass().await;
                        match self.read() {
                            Ok(messages) => self.worker.gate.spend(messages),
                            Err(_) => return End::Failed,
                        }
                        // Who always has something to read would keep the timer from ever being looked at.
                        if let Some(end) = self.expired() {
                            return end;
                        }
                    }
                }
                () = timer.as_mut() => {
                    if let Some(end) = self.expired() {
                        return end;
                    }
                    timer.as_mut().reset(self.deadline());
                }
            }
        }
    }

    /// Whether another query may come in: backpressure is not reading.
    fn may_ask(&self) -> bool {
        self.connection.waiting.get() < self.limits.pipeline.max(1) && self.connection.unsent() < OUT_HIGH
    }

    fn write(&mut self) -> io::Result<()> {
        let mut out = self.connection.out.borrow_mut();
        if out.len() == 0 {
            return Ok(());
        }
        let (now, transfers) = (Instant::now(), self.connection.transfers_to_take());
        if transfers > 0 {
            self.pace.begins(self.stream);
        }
        match out.write(self.stream) {
            Ok(written) => {
                self.connection.buffered.set(self.connection.buffered.get().saturating_sub(written.bytes));
                self.worker.tally.add(Event::TcpAnswers, written.messages as u64);
                self.connection.tail.set(self.connection.tail.get().saturating_sub(written.bytes));
                self.pace.took(written.bytes);
                // A transfer is long: there any progress will do, at a least pace. Otherwise a whole answer has to be taken
                // in time, or a client could hold it for hours, byte by byte.
                if written.messages > 0 || transfers > 0 {
                    self.active = now;
                    self.offered = None;
                }
                if transfers > 0 && out.len() < OUT_HIGH {
                    self.connection.taken.notify_waiters();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if out.len() == 0 {
            self.offered = None;
        } else {
            self.offered.get_or_insert(now);
        }
        match out.len() {
            1.. if transfers > 0 => self.pace.offers(now, transfers),
            _ => self.pace.rests(),
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut reader = std::mem::take(&mut self.reader);
        let worker = self.worker;
        let mut scratch = worker.scratch.borrow_mut();
        let read = worker.turn(|turn| reader.read(self.stream, &mut scratch, &mut |message| self.ask(turn, message)));
        self.reader = reader;
        match read {
            Ok(read) => {
                self.ended |= read.bytes == 0;
                if read.messages > 0 {
                    self.active = Instant::now();
                    self.begun = None;
                    worker.connections.borrow_mut().touch(self.connection.id);
                }
                Ok(read.messages)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn take_held(&mut self) {
        let mut reader = std::mem::take(&mut self.reader);
        let worker = self.worker;
        worker.turn(|turn| reader.take_held(&mut |message| self.ask(turn, message)));
        self.reader = reader;
        self.active = Instant::now();
    }

    fn ask(&mut self, turn: &mut Turn<'_, C>, message: &[u8]) -> Flow {
        self.worker.tally.one(Event::TcpQueries);
        if message.len() < HEADER_LEN {
            // The core counts it; the stream is out of step or its sender is no DNS client.
            self.garbage = true;
            turn.query(self.client, message);
            return Flow::Pause;
        }
        self.connection.asks();
        turn.query(self.client, message);
        if self.may_ask() { Flow::Next } else { Flow::Pause }
    }

    fn end(&self) -> Option<End> {
        let connection = self.connection;
        match connection.phase.get() {
            Phase::Cut => return Some(End::Stalled),
            Phase::Evicted => return Some(End::Evicted),
            Phase::Open | Phase::Finishing => {}
        }
        if self.garbage {
            return Some(End::Garbage);
        }
        let owed = connection.waiting.get() > 0;
        let quiet = connection.unsent() == 0 && connection.transfers.get() == 0 && !self.reader.has_whole();
        (self.ended && quiet && !owed).then_some(End::Done)
    }

    /// A connection that is told to finish is read for a moment more: a runtime that has just accepted it does not know yet
    /// that there is something to read.
    fn watch_phase(&mut self) {
        if self.connection.phase.get() == Phase::Finishing && !self.ended {
            let now = Instant::now();
            self.ended = *self.last_look.get_or_insert(now + LAST_LOOK) <= now;
        }
    }

    /// The time for half a query runs only while we read.
    fn watch_partial(&mut self) {
        if !self.ended && self.may_ask() && self.reader.is_partial() {
            self.begun.get_or_insert_with(Instant::now);
        } else {
            self.begun = None;
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        if self.connection.transfers.get() > 0 || self.offered.is_some() {
            return None;
        }
        let waits = self.connection.waiting.get() > 0;
        Some(self.active + if waits { self.limits.idle.max(ANSWER_MAX) } else { self.limits.idle })
    }

    fn stall_deadline(&self) -> Option<Instant> {
        [self.begun, self.offered].into_iter().flatten().min().map(|since| since + self.limits.stall)
    }

    fn deadline(&self) -> Instant {
        let last_look = self.last_look.filter(|_| !self.ended);
        let pace = self.pace.deadline(self.limits.stall);
        let deadlines = [self.idle_deadline(), self.stall_deadline(), pace, last_look];
        deadlines.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + ANSWER_MAX)
    }

    fn expired(&mut self) -> Option<End> {
        let now = Instant::now();
        let over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if over(self.stall_deadline()) {
            return Some(End::Stalled);
        }
        let (stall, transfers) = (self.limits.stall, self.connection.transfers_to_take());
        if over(self.pace.deadline(stall)) && self.pace.is_too_slow(now, stall, transfers) {
            return Some(End::Stalled);
        }
        if over(self.idle_deadline()) {
            return Some(End::Idle);
        }
        None
    }
}
