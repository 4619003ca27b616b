//! UDP listeners: batches of datagrams in, one turn with the core for each, and the art of closing a socket without losing
//! what is queued on it.

use super::Core;
use super::crowd::Batch;
use super::gather::{GATHER, Gatherer, Next};
use super::sieve::{self, Caught};
use super::socket::DatagramSocket;
use super::strangers::Strangers;
use super::tally::Event;
use super::worker::Worker;
use crate::gateway::{Client, Path};
use crate::sys::BATCH;
use socket2::{SockFilter, SockRef};
use std::cell::{Cell, OnceCell};
use std::io::{self, ErrorKind::WouldBlock};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{AbortHandle, spawn_local, yield_now};

/// Errors in a row after which a task pauses instead of spinning.
const ERRORS_MAX: u32 = 16;

/// How long it pauses then.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// Nobody gives up before: the core need not be asked.
const WAIT_LEAST: Duration = Duration::from_millis(10);

/// Datagrams of a batch that are foreseen together: what they need fits into a core's cache beside all else.
const FORESEEN: usize = 8;

/// A worker's UDP socket on an address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: DatagramSocket,
    index: u16,
    /// Bound to all addresses, so that a reply must say from which one it comes.
    pub(super) wildcard: bool,
    /// What the kernel said last about datagrams that it dropped.
    dropped: Cell<u32>,
    /// A filter is on the socket that thins floods.
    thinned: Cell<bool>,
    /// Nothing more comes in, and that is to stay so.
    closing: Cell<bool>,
    ipv6: bool,
    task: OnceCell<AbortHandle>,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// Begins to serve on a bound socket.
    pub(super) fn start<C: Core>(
        worker: &Rc<Worker<C>>,
        index: u16,
        address: SocketAddr,
        socket: UdpSocket,
    ) -> io::Result<Rc<Self>> {
        let listener = Rc::new(Self {
            socket: DatagramSocket::open(socket)?,
            index,
            wildcard: address.ip().is_unspecified(),
            dropped: Cell::new(0),
            thinned: Cell::new(false),
            closing: Cell::new(false),
            ipv6: address.is_ipv6(),
            task: OnceCell::new(),
        });
        let task = spawn_local(serve(Rc::clone(worker), Rc::clone(&listener))).abort_handle();
        let _ = listener.task.set(task);
        Ok(listener)
    }

    /// Puts a filter on the socket that thins floods, or takes it off.
    ///
    /// # Errors
    /// What setsockopt said: `ENOMEM` when the program is too large for what the system grants a socket
    /// (net.core.optmem_max). There is no filter then.
    pub(super) fn thin(&self, caught: &[Caught], strangers: Option<(&Strangers, u32)>) -> io::Result<()> {
        if self.closing.get() {
            return Ok(());
        }
        let socket = SockRef::from(self);
        let program = sieve::program(caught, strangers, self.ipv6);
        let was_thinned = self.thinned.replace(program.is_some());
        let Some(program) = program else {
            return if was_thinned { socket.detach_filter() } else { Ok(()) };
        };
        let Err(error) = socket.attach_filter(&program) else { return Ok(()) };
        // The old program counts until the new one is there: there may be room for one.
        if was_thinned {
            socket.detach_filter()?;
            if socket.attach_filter(&program).is_ok() {
                return Ok(());
            }
        }
        self.thinned.set(false);
        Err(error)
    }

    /// Datagrams lost since it was told last; the kernel's count goes round.
    fn count_dropped(&self, dropped: Option<u32>) -> u64 {
        dropped.map_or(0, |dropped| dropped.wrapping_sub(self.dropped.replace(dropped)).into())
    }

    /// Ends the reading; the socket closes with the last reference.
    pub(super) fn close(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn serve<C: Core>(worker: Rc<Worker<C>>, listener: Rc<Listener>) {
    let mut errors = 0;
    let mut gatherer = Gatherer::default();
    loop {
        match listener.socket.receive(&worker.queries).await {
            Ok(count) => {
                errors = 0;
                let silent = hand_over(&worker, &listener, count);
                let owing = worker.core.borrow().in_flight() > 0;
                let next = gatherer.judge(count, silent, owing);
                if matches!(next, Next::Gather | Next::GatherAndGiveWay) {
                    // The thread and not the task: the runtime's sleeps are of a millisecond at least.
                    std::thread::sleep(GATHER);
                    listener.socket.look_again();
                }
                if matches!(next, Next::GiveWay | Next::GatherAndGiveWay) {
                    // Under a flood the responses of upstreams, the connections and the clock get their turns too.
                    yield_now().await;
                }
            }
            Err(_) => {
                worker.tally.one(Event::UdpErrors);
                errors += 1;
                if errors >= ERRORS_MAX {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// A batch of at least one. Whether nothing is to be sent for any of it.
fn hand_over<C: Core>(worker: &Rc<Worker<C>>, listener: &Listener, count: usize) -> bool {
    let batch = worker.queries.borrow();
    worker.turn(|turn| {
        let delay = waited(turn.wall(), batch.datagram(0).arrived_unix);
        let dropped = listener.count_dropped(batch.datagram(count - 1).dropped);
        let overflows = dropped > 0 && !listener.thinned.get();
        let event = if listener.thinned.get() { Event::UdpThinned } else { Event::UdpOverflow };
        worker.tally.add(event, dropped);
        worker.feel(turn, Batch { delay, full: count == BATCH, dropped }, overflows);
        for i in 0..count {
            let group = i..count.min(i + FORESEEN);
            if i % FORESEEN == 0 && group.len() > 1 {
                group.for_each(|i| turn.core().foresee(batch.datagram(i).bytes));
                turn.core().fetch_foreseen();
            }
            let datagram = batch.datagram(i);
            // No reply could ever be sent to port 0.
            let Some(peer) = datagram.peer.filter(|peer| peer.port() != 0) else {
                worker.tally.one(Event::UdpUnanswerable);
                continue;
            };
            let waited = waited(turn.wall(), datagram.arrived_unix);
            if !worker.looks_at(turn, i, peer.ip(), waited) {
                worker.tally.one(Event::UdpThinned);
                continue;
            }
            worker.tally.one(Event::UdpQueries);
            // A query over the buffer's length is handed on as it was cut: it is malformed then, and counted as such.
            let client = Client { peer, path: Path::Udp { listener: listener.index, local: datagram.local } };
            if waited < WAIT_LEAST || !turn.core().is_late(client, waited) {
                turn.core().set_waited(waited);
                turn.query(client, datagram.bytes);
            }
        }
        worker.review_sources(turn);
        turn.is_silent()
    })
}

/// How long a datagram lay in its socket; zero when the wall clock went back meanwhile.
fn waited(wall: Duration, arrived_unix: Option<Duration>) -> Duration {
    arrived_unix.map_or(Duration::ZERO, |arrived| wall.saturating_sub(arrived))
}

/// Lets nothing more into a listener's queue and hands over what is in it. The socket stays, for the replies.
pub(super) async fn empty<C: Core>(worker: &Rc<Worker<C>>, listener: &Listener) {
    // BPF_RET | BPF_K with 0: keep no byte of any packet. Without it the queue would never be known to be empty.
    let refuse_all = [SockFilter::new(0x06, 0, 0, 0)];
    listener.closing.set(true);
    if let Err(error) = SockRef::from(listener).attach_filter(&refuse_all) {
        tracing::warn!(%error, "a listener closes without a filter: datagrams that come meanwhile may be lost");
    }
    loop {
        let received = worker.queries.borrow_mut().receive(listener.as_fd());
        match received {
            Ok(count) => {
                hand_over(worker, listener, count);
            }
            Err(error) if error.kind() == WouldBlock => return,
            Err(_) => worker.tally.one(Event::UdpErrors),
        }
        yield_now().await;
    }
}
