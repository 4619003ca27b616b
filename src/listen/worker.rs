//! One worker: a thread with a runtime of its own, and what lives on it. Nothing here is shared with another thread but the
//! counters, the census of connections and the limits; so there is no lock, and a borrow never outlives a poll.

use super::accept::{self, Doors};
use super::bind::Bound;
use super::census::Census;
use super::connections::Connections;
use super::datagrams::{self, Listener};
use super::gate::Gate;
use super::links::Links;
use super::overload::Load;
use super::post::Post;
use super::streams::Streams;
use super::tally::{Event, Tally};
use super::transfer::TransferPlaces;
use super::{Core, From};
use crate::clock::{Clock, Now};
use crate::gateway::Client;
use crate::gateway::outbox::Outbox;
use crate::policy::server::TcpLimits;
use crate::sys::Receiver;
use crate::sys::thread::wake_on_time;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Listeners of a worker, those that are being closed included.
pub(super) const LISTENERS_MAX: usize = 256;

/// Between two calls of `on_tick` while queries wait.
const TICK: Duration = Duration::from_millis(10);

/// Between two calls of `on_tick` while none does: an idle gateway sleeps.
const TICK_IDLE: Duration = Duration::from_millis(100);

/// Between two looks for upstreams that have left.
const SWEEP: Duration = Duration::from_secs(1);

/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// How long a removed listener's socket is kept for the answers that are still due.
const LINGER: Duration = Duration::from_secs(3);

/// Messages and bytes that the core may queue between two flushes. The memory is touched only as far as it is used.
const OUTBOX_MESSAGES: usize = 4096;
const OUTBOX_BYTES: usize = 4 << 20;

/// A flush comes early when less than this is free, so that one answer to many waiting clients finds room.
const OUTBOX_FREE: usize = 3 << 20;

/// Rounds of telling the core that upstreams were unreachable, and sending what it wants then, in one flush.
const ROUNDS_MAX: usize = 4;

/// What the control side tells a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve on new sockets, then retire the listeners with these numbers.
    Listen { add: Vec<Bound>, remove: Vec<u16>, done: oneshot::Sender<()> },
    /// Take no new queries, answer what is in flight, end.
    Drain { deadline: Duration },
}

/// What a worker is born with.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) sockets: Vec<Bound>,
    pub(super) clock: Clock,
    pub(super) limits: watch::Receiver<TcpLimits>,
    pub(super) census: Arc<Census>,
    pub(super) tally: Arc<Tally>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// What lives on a worker's thread.
pub(super) struct Worker<C: Core> {
    pub(super) core: RefCell<C>,
    outbox: RefCell<Outbox>,
    post: RefCell<Post>,
    pub(super) clock: Clock,
    /// Buffers of the UDP listeners: filled and emptied within one poll, so one set serves them all.
    pub(super) queries: RefCell<Receiver>,
    /// Buffers of the sockets toward upstreams, likewise.
    pub(super) responses: RefCell<Receiver>,
    /// What a stream's bytes are read into, likewise.
    pub(super) scratch: RefCell<Box<[u8]>>,
    pub(super) listeners: RefCell<Vec<Option<Rc<Listener>>>>,
    doors: RefCell<Doors>,
    pub(super) links: RefCell<Links>,
    pub(super) connections: RefCell<Connections>,
    /// What connections pass before they read.
    pub(super) gate: Gate,
    pub(super) streams: RefCell<Streams>,
    /// Transfers that run.
    pub(super) transfers: RefCell<TransferPlaces>,
    /// Paths that failed since the core was last told.
    pub(super) unreachable: RefCell<Vec<From>>,
    pub(super) limits: watch::Receiver<TcpLimits>,
    /// Whether it keeps up, and who floods it.
    pub(super) load: RefCell<Load>,
    pub(super) census: Arc<Census>,
    pub(super) tally: Arc<Tally>,
}

/// Runs a worker until it is drained or its control side is gone.
///
/// # Errors
/// What kept the runtime from being built or the sockets from being registered; nothing has been served then.
pub(super) fn run<C: Core>(birth: Birth, core: C, ready: std::sync::mpsc::Sender<io::Result<()>>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    wake_on_time();
    let runtime = match builder.enable_io().enable_time().build_local(Default::default()) {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(live(birth, core, ready));
}

async fn live<C: Core>(birth: Birth, core: C, ready: std::sync::mpsc::Sender<io::Result<()>>) {
    let Birth { sockets, clock, limits, census, tally, mut commands } = birth;
    let worker = Rc::new(Worker {
        core: RefCell::new(core),
        outbox: RefCell::new(Outbox::new(OUTBOX_MESSAGES, OUTBOX_BYTES)),
        post: RefCell::new(Post::new(OUTBOX_MESSAGES)),
        clock,
        queries: RefCell::new(Receiver::named()),
        responses: RefCell::new(Receiver::unnamed()),
        scratch: RefCell::new(vec![0; super::frames::READ_MAX].into_boxed_slice()),
        listeners: RefCell::new((0..LISTENERS_MAX).map(|_| None).collect()),
        doors: RefCell::default(),
        links: RefCell::new(Links::new()),
        connections: RefCell::default(),
        gate: Gate::new(),
        streams: RefCell::default(),
        transfers: RefCell::default(),
        unreachable: RefCell::new(Vec::new()),
        limits,
        load: RefCell::new(Load::new()),
        census,
        tally,
    });
    let opened = worker.open(sockets).map(drop);
    let failed = opened.is_err();
    if ready.send(opened).is_err() || failed {
        return;
    }
    tokio::task::spawn_local(keep_time(Rc::clone(&worker)));
    tokio::task::spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.gate.pace().await }
    });
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen { add, remove, done } => {
                match worker.open(add) {
                    Ok(replaced) => worker.close_replaced(replaced).await,
                    Err(error) => tracing::error!(%error, "a listener's sockets could not be registered"),
                }
                for index in remove {
                    worker.retire(index).await;
                }
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            Command::Drain { deadline } => return worker.drain(Instant::now() + deadline).await,
        }
    }
}

async fn keep_time<C: Core>(worker: Rc<Worker<C>>) {
    let mut sweep_at = Instant::now() + SWEEP;
    loop {
        let waiting = worker.core.borrow().in_flight() > 0;
        sleep(if waiting { TICK } else { TICK_IDLE }).await;
        worker.turn(|turn| {
            turn.tick();
            // While all that comes is thinned there may be no batch to do it.
            worker.review_sources(turn);
        });
        let rotated = || worker.core.borrow_mut().take_rotated();
        while let Some(port) = rotated() {
            worker.links.borrow_mut().close(port);
        }
        let now = Instant::now();
        if now >= sweep_at {
            sweep_at = now + SWEEP;
            let core = worker.core.borrow();
            worker.links.borrow_mut().sweep(&*core);
            worker.streams.borrow_mut().sweep(&*core);
        }
    }
}

/// One batch with the core: one time, one policy, one flush; the clock is read once more if the core has given answers of
/// its own, whose end is the flush.
pub(super) struct Turn<'w, C: Core> {
    worker: &'w Rc<Worker<C>>,
    core: &'w mut C,
    outbox: &'w mut Outbox,
    now: Now,
    wall: Duration,
}

impl<C: Core> Turn<'_, C> {
    /// A message from a client.
    pub(super) fn query(&mut self, client: Client, message: &[u8]) {
        self.core.on_query(self.now, client, message, self.outbox);
        self.keep_room();
    }

    /// A message from an upstream.
    pub(super) fn response(&mut self, from: From, message: &[u8]) {
        self.core.on_response(self.now, from, message, self.outbox);
        self.keep_room();
    }

    /// An upstream could not be reached.
    pub(super) fn unreachable(&mut self, from: From) {
        self.worker.tally.one(Event::UpstreamUnreachable);
        self.core.on_unreachable(self.now, from, self.outbox);
        self.keep_room();
    }

    /// The time of this batch.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    /// The same by the wall clock, since 1970-01-01 UTC.
    pub(super) fn wall(&self) -> Duration {
        self.wall
    }

    /// The core, for what the drivers ask it.
    pub(super) fn core(&mut self) -> &mut C {
        self.core
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_silent(&self) -> bool {
        self.outbox.messages().is_empty()
    }

    fn tick(&mut self) {
        self.core.on_tick(self.now, self.outbox);
    }

    fn keep_room(&mut self) {
        if self.outbox.messages().len() > OUTBOX_MESSAGES / 2 || !self.outbox.has_room(OUTBOX_FREE) {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        self.worker.post.borrow_mut().deliver(self.worker, self.core, self.outbox);
        self.outbox.clear();
    }

    /// Sends all that is queued, and what the core wants instead of what could not be sent.
    fn flush(mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.outbox.messages().is_empty() {
                self.deliver();
            }
            let failed = std::mem::take(&mut *self.worker.unreachable.borrow_mut());
            if failed.is_empty() {
                return;
            }
            // `unreachable` may deliver early and so add paths; they wait for the next round.
            for from in failed {
                self.unreachable(from);
            }
        }
        self.deliver();
        self.worker.tally.set(Event::OutboxLost, self.outbox.lost());
    }
}

impl<C: Core> Worker<C> {
    /// One batch with the core.
    pub(super) fn turn<R>(self: &Rc<Self>, run: impl FnOnce(&mut Turn<'_, C>) -> R) -> R {
        let (mut core, mut outbox) = (self.core.borrow_mut(), self.outbox.borrow_mut());
        core.begin_batch();
        let (now, wall) = self.clock.read();
        let mut turn = Turn { worker: self, core: &mut core, outbox: &mut outbox, now, wall };
        let result = run(&mut turn);
        turn.flush();
        if core.has_unsent() {
            core.on_sent(self.clock.moment());
        }
        result
    }

    /// Remembers that the core has to be told; the end of the turn does it.
    pub(super) fn note_unreachable(&self, from: From) {
        let mut unreachable = self.unreachable.borrow_mut();
        if !unreachable.contains(&from) {
            unreachable.push(from);
        }
    }

    fn open(self: &Rc<Self>, sockets: Vec<Bound>) -> io::Result<Vec<Rc<Listener>>> {
        let mut replaced = Vec::new();
        for bound in sockets {
            let listener = Listener::start(self, bound.index, bound.address, bound.udp)?;
            replaced.extend(self.listeners.borrow_mut()[usize::from(bound.index)].replace(listener));
            accept::open(self, &self.doors, bound.index, bound.tcp)?;
        }
        Ok(replaced)
    }

    /// Closes listeners that were still owed replies when their addresses were opened again, which now serves for both. As
    /// long as such a socket is there the kernel gives it its share of the datagrams, and it refuses them.
    async fn close_replaced(&self, replaced: Vec<Rc<Listener>>) {
        for listener in replaced {
            listener.close();
            // Its task lets go of it when it is next looked at.
            while Rc::strong_count(&listener) > 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what is queued on a listener, and closes it as soon as nothing is owed over it any more.
    async fn retire(self: &Rc<Self>, index: u16) {
        self.doors.borrow_mut().close(index);
        self.connections.borrow().finish(Some(index));
        let listener = self.listeners.borrow()[usize::from(index)].clone();
        let Some(listener) = listener else { return };
        datagrams::empty(self, &listener).await;
        let worker = Rc::clone(self);
        // Weak, because the same address may be opened again meanwhile, and this socket then has to go at once.
        let listener = Rc::downgrade(&listener);
        tokio::task::spawn_local(async move {
            let deadline = Instant::now() + LINGER;
            while worker.core.borrow().in_flight() > 0 && Instant::now() < deadline {
                sleep(TICK).await;
            }
            let Some(listener) = listener.upgrade() else { return };
            listener.close();
            let mut listeners = worker.listeners.borrow_mut();
            let slot = &mut listeners[usize::from(index)];
            if slot.as_ref().is_some_and(|current| Rc::ptr_eq(current, &listener)) {
                *slot = None;
            }
        });
    }

    async fn drain(self: &Rc<Self>, deadline: Instant) {
        self.doors.borrow_mut().close_all();
        let listeners: Vec<_> = self.listeners.borrow().iter().flatten().cloned().collect();
        for listener in &listeners {
            datagrams::empty(self, listener).await;
        }
        loop {
            // Again each time: a connection that was still in the accept queue comes later.
            self.connections.borrow().finish(None);
            sleep_until(deadline.min(Instant::now() + DRAIN_POLL)).await;
            let done = self.core.borrow().in_flight() == 0 && self.connections.borrow().is_empty();
            if done || Instant::now() >= deadline {
                return;
            }
        }
    }
}
