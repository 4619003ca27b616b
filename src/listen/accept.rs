//! TCP listeners: who may connect, and what happens when there are no descriptors left.

use super::Core;
use super::census::Refused;
use super::connection;
use super::tally::Event;
use super::worker::Worker;
use crate::policy::regulars::Source;
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};

/// How long accepting rests when descriptors or memory are used up: connections have to end first.
const REST: Duration = Duration::from_millis(50);

/// Accepted in a row before everybody else gets a turn.
const ACCEPTS_FAIR: usize = 8;

/// The TCP listeners of a worker; dropping a sender closes its listener.
#[derive(Debug, Default)]
pub(super) struct Doors(Vec<(u16, oneshot::Sender<()>)>);

impl Doors {
    /// Closes a listener after what waits in its queue has been accepted.
    pub(super) fn close(&mut self, index: u16) {
        self.0.retain(|(door, _)| *door != index);
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) {
        self.0.clear();
    }
}

/// Begins to accept on a listening socket.
pub(super) fn open<C: Core>(
    worker: &Rc<Worker<C>>,
    doors: &RefCell<Doors>,
    index: u16,
    socket: StdTcpListener,
) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let (open, closed) = oneshot::channel();
    let mut doors = doors.borrow_mut();
    doors.close(index);
    doors.0.push((index, open));
    spawn_local(serve(Rc::clone(worker), listener, index, closed));
    Ok(())
}

async fn serve<C: Core>(worker: Rc<Worker<C>>, listener: TcpListener, index: u16, mut closed: oneshot::Receiver<()>) {
    let mut in_a_row = 0;
    loop {
        tokio::select! {
            biased;
            _ = &mut closed => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    in_a_row += 1;
                    let mut waiting = welcome(&worker, stream, peer, index, false);
                    // The queue of the kernel is bounded, and who waits there costs nothing.
                    while let Some(stream) = waiting {
                        tokio::select! {
                            biased;
                            _ = &mut closed => return,
                            () = tokio::time::sleep(REST) => waiting = welcome(&worker, stream, peer, index, false),
                        }
                    }
                }
                Err(error) => {
                    worker.tally.one(Event::TcpAcceptErrors);
                    // A client that gave up in the queue is no reason to rest.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tokio::time::sleep(REST).await;
                    }
                }
            },
        }
        if in_a_row >= ACCEPTS_FAIR {
            in_a_row = 0;
            yield_now().await;
        }
    }
    // Closing resets what is still in the queue, so that comes first.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            // When there is no room for it now there will be none for a listener that ends.
            drop(welcome(&worker, stream, peer, index, true));
        }
    }
}

/// Begins a conversation, or refuses one; gives the stream back when there is no room for it now.
fn welcome<C: Core>(
    worker: &Rc<Worker<C>>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: u16,
    finishing: bool,
) -> Option<TcpStream> {
    // Read anew each time, so that a reload acts on the next connection.
    let limits = worker.limits.borrow().clone();
    let admit = || worker.census.admit(worker.clock.now().at, peer.ip(), &limits);
    let admitted = match admit() {
        Err(Refused::Full) if worker.connections.borrow_mut().evict() => admit(),
        admitted => admitted,
    };
    let permit = match admitted {
        Ok(permit) => permit,
        Err(refused) => {
            worker.tally.one(event_of(refused));
            return (refused == Refused::Full).then_some(stream);
        }
    };
    if let Some(would) = permit.watched {
        worker.tally.one(event_of(would));
    }
    worker.tally.one(Event::TcpAccepted);
    // A connection cannot be had from an address that is not one's own.
    if let Some(regulars) = worker.core.borrow().regulars() {
        regulars.prove(worker.clock.now().at, peer.ip());
    }
    // An answer goes out at once; waiting for more to fill a segment only delays it.
    let _ = stream.set_nodelay(true);
    let connection = worker.connections.borrow_mut().insert(Source::of(peer.ip()), listener, permit);
    if finishing {
        connection.finish();
    }
    let worker = Rc::clone(worker);
    spawn_local(async move { connection::converse(&worker, &connection, &stream, peer, limits).await });
    None
}

fn event_of(refused: Refused) -> Event {
    match refused {
        Refused::Full => Event::TcpFull,
        Refused::ClientFull => Event::TcpClientFull,
        Refused::Rate => Event::TcpRate,
    }
}
