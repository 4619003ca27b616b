//! TCP connections toward upstreams: opened at need, shared by all queries of a worker, pipelined, answered in any order
//! (RFC 7766 section 6.2.1), closed when they idle. Bounded: so many connections for each upstream, so much waiting on each.

use super::connection::OUT_HIGH;
use super::frames::{Flow, FrameReader, SendQueue};
use super::tally::Event;
use super::unanswered::{UNANSWERED_MAX, Unanswered};
use super::worker::Worker;
use super::{Core, From};
use crate::dns::u16_at;
use crate::gateway::{LINKS_MAX, LinkPort};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

/// Connections to one upstream.
const STREAMS_MAX: usize = 2;

/// A second connection is opened when so many queries are unanswered on the first.
const BUSY: usize = 32;

/// Bytes that wait to be sent on one connection.
const OUT_MAX: usize = 4 * OUT_HIGH;

/// How long the handshake may take.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A connection that nobody uses is closed after this.
const IDLE: Duration = Duration::from_secs(10);

/// A connection on which nothing comes for so long although something is due has failed.
const MUTE: Duration = Duration::from_secs(5);

/// A connection to an upstream as the rest of the worker sees it.
#[derive(Debug)]
struct Stream {
    port: LinkPort,
    out: RefCell<SendQueue>,
    unanswered: RefCell<Unanswered>,
    /// The handshake is done.
    open: Cell<bool>,
    /// Since when something is due and nothing came.
    mute_since: Cell<Option<Instant>>,
    used: Cell<Instant>,
    closed: Cell<bool>,
    wake: Notify,
}

impl Stream {
    fn due(&self) -> usize {
        self.unanswered.borrow().len()
    }

    fn has_room(&self, len: usize) -> bool {
        self.due() < UNANSWERED_MAX && self.out.borrow().len() + len <= OUT_MAX
    }

    fn ask(&self, message: &[u8]) {
        self.out.borrow_mut().push(message);
        let now = Instant::now();
        self.unanswered.borrow_mut().ask(u16_at(message, 0).unwrap_or_default(), now);
        self.used.set(now);
        if self.mute_since.get().is_none() {
            self.mute_since.set(Some(now));
        }
        self.wake.notify_one();
    }

    /// Takes note of an answer.
    fn answered(&self, message: &[u8]) {
        if let Some(id) = u16_at(message, 0) {
            self.unanswered.borrow_mut().answered(id);
        }
    }

    /// Something came.
    fn heard(&self) {
        let now = Instant::now();
        self.used.set(now);
        self.unanswered.borrow_mut().forget(now);
        self.mute_since.set((self.due() > 0).then_some(now));
    }

    fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }

    fn deadline(&self) -> Instant {
        let idle = self.used.get() + IDLE;
        self.mute_since.get().map_or(idle, |since| idle.min(since + MUTE))
    }
}

/// A worker's connections to its upstreams, by the slot of the link.
#[derive(Debug)]
pub(super) struct Streams(Box<[Vec<Rc<Stream>>]>);

impl Default for Streams {
    fn default() -> Self {
        Self((0..LINKS_MAX).map(|_| Vec::new()).collect())
    }
}

impl Streams {
    /// Closes the connections to upstreams that have left.
    pub(super) fn sweep<C: Core>(&mut self, core: &C) {
        for stream in self.0.iter_mut().flat_map(|streams| &*streams) {
            if core.link_address(stream.port.link).is_none() {
                stream.close();
            }
        }
    }

    /// Whether there is a connection to an upstream.
    fn has_open(&self, port: LinkPort) -> bool {
        let streams = self.0.get(usize::from(port.link.slot));
        streams.is_some_and(|streams| {
            streams.iter().any(|stream| stream.port == port && stream.open.get() && !stream.closed.get())
        })
    }

    fn remove(&mut self, stream: &Rc<Stream>) {
        if let Some(streams) = self.0.get_mut(usize::from(stream.port.link.slot)) {
            streams.retain(|other| !Rc::ptr_eq(other, stream));
        }
    }
}

impl<C: Core> Worker<C> {
    /// Sends a message to an upstream over a shared connection. Without room it is lost, and the core's deadline tells.
    pub(super) fn ask_over_stream(self: &Rc<Self>, core: &C, port: LinkPort, message: &[u8]) {
        let mut streams = self.streams.borrow_mut();
        let Some(streams) = streams.0.get_mut(usize::from(port.link.slot)) else {
            return self.tally.one(Event::StreamsLost);
        };
        streams.retain(|stream| {
            let same = stream.port.link == port.link && !stream.closed.get();
            if !same {
                stream.close();
            }
            same
        });
        let best = streams.iter().min_by_key(|stream| stream.due()).cloned();
        let stream = match best {
            Some(stream) if stream.due() < BUSY || streams.len() >= STREAMS_MAX => stream,
            _ => {
                let Some(address) = core.link_address(port.link) else {
                    return self.note_unreachable(From::Tcp(port));
                };
                let stream = Rc::new(Stream {
                    port,
                    out: RefCell::default(),
                    unanswered: RefCell::default(),
                    open: Cell::new(false),
                    mute_since: Cell::new(None),
                    used: Cell::new(Instant::now()),
                    closed: Cell::new(false),
                    wake: Notify::new(),
                });
                streams.push(Rc::clone(&stream));
                spawn_local(run(Rc::clone(self), Rc::clone(&stream), address));
                stream
            }
        };
        if stream.has_room(message.len() + 2) {
            stream.ask(message);
        } else {
            self.tally.one(Event::StreamsLost);
        }
    }
}

async fn run<C: Core>(worker: Rc<Worker<C>>, stream: Rc<Stream>, address: SocketAddr) {
    let result = match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => {
            worker.tally.one(Event::StreamsOpened);
            let _ = socket.set_nodelay(true);
            stream.open.set(true);
            exchange(&worker, &stream, &socket).await
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    stream.close();
    worker.streams.borrow_mut().remove(&stream);
    // A connection that ends with nothing due on it just ends.
    let mut due = std::mem::take(&mut *stream.unanswered.borrow_mut());
    due.forget(Instant::now());
    if due.len() == 0 {
        return;
    }
    if let Err(error) = result {
        tracing::debug!(%address, %error, "a connection to an upstream failed");
    }
    worker.tally.one(Event::StreamsFailed);
    let from = From::Tcp(stream.port);
    // Who takes one connection and no second has not gone.
    let is_there = stream.open.get() || worker.streams.borrow().has_open(stream.port);
    worker.turn(|turn| {
        if !is_there {
            return turn.unreachable(from);
        }
        let now = turn.now();
        due.take().for_each(|message| turn.core().on_ended(now, from, message));
    });
}

/// Returns when the connection is at its end; what is unanswered then is for others.
async fn exchange<C: Core>(worker: &Rc<Worker<C>>, stream: &Stream, socket: &TcpStream) -> io::Result<()> {
    let mut reader = FrameReader::default();
    let mut timer = pin!(sleep_until(stream.deadline()));
    loop {
        let unsent = write(stream, socket)?;
        if stream.closed.get() {
            return Ok(());
        }
        if stream.deadline() < timer.deadline() {
            timer.as_mut().reset(stream.deadline());
        }
        let interest = if unsent { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        tokio::select! {
            biased;
            () = stream.wake.notified() => {}
            ready = socket.ready(interest) => {
                let ready = ready?;
                if (ready.is_readable() || ready.is_read_closed()) && !read(worker, stream, socket, &mut reader).await? {
                    return Ok(());
                }
            }
            () = timer.as_mut() => {
                if stream.deadline() <= Instant::now() {
                    return Ok(());
                }
                timer.as_mut().reset(stream.deadline());
            }
        }
    }
}

/// Writes what the kernel takes; says whether anything is left.
fn write(stream: &Stream, socket: &TcpStream) -> io::Result<bool> {
    let mut out = stream.out.borrow_mut();
    if out.len() > 0 {
        match out.write(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    Ok(out.len() > 0)
}

/// Reads once; says whether more may come.
async fn read<C: Core>(
    worker: &Rc<Worker<C>>,
    stream: &Stream,
    socket: &TcpStream,
    reader: &mut FrameReader,
) -> io::Result<bool> {
    let read = {
        let mut scratch = worker.scratch.borrow_mut();
        worker.turn(|turn| {
            reader.read(socket, &mut scratch, &mut |message| {
                stream.answered(message);
                turn.response(From::Tcp(stream.port), message);
                Flow::Next
            })
        })
    };
    match read {
        Ok(read) if read.bytes == 0 => Ok(false),
        Ok(read) => {
            if read.messages > 0 {
                stream.heard();
                yield_now().await;
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}
