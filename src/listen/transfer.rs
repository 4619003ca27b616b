//! Zone transfers (RFC 5936, RFC 1995): a connection of its own to the upstream, whose messages go to the client's
//! connection byte for byte until the transfer's end. What the client does not take is not read from the upstream.

use super::Core;
use super::connection::{Connection, OUT_HIGH};
use super::frames::{Flow, FrameReader, READ_MAX, SendQueue};
use super::streams::CONNECT_MAX;
use super::tally::Event;
use super::transfer_end::TransferEnd;
use super::worker::Worker;
use crate::dns::{HEADER_LEN, rcode, u16_at};
use crate::gateway::{ConnectionId, LinkPort};
use crate::upstream::places::Places;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Transfers of a worker at one time. How long a client can keep its places: see [`super::transfer_pace`]; how many: no more
/// than it leaves free, since whoever may transfer could keep all of them at the least pace.
const TRANSFERS_MAX: usize = 64;

/// The transfers that run.
pub(super) type TransferPlaces = Places<TRANSFERS_MAX>;

/// How long an upstream may say nothing.
const IDLE: Duration = Duration::from_secs(30);

/// Begins a transfer that the core has allowed.
pub(super) fn start<C: Core>(worker: &Rc<Worker<C>>, core: &C, client: ConnectionId, upstream: LinkPort, query: &[u8]) {
    let connections = worker.connections.borrow();
    let Some(client) = connections.with_id(client) else {
        return worker.tally.one(Event::TcpAnswersLost);
    };
    let Some(address) = core.link_address(upstream.link) else {
        worker.tally.one(Event::TransfersFailed);
        client.answer(&servfail(query));
        return;
    };
    let Some(place) = worker.transfers.borrow_mut().take(client.source()) else {
        worker.tally.one(Event::TransfersFull);
        client.answer(&servfail(query));
        return;
    };
    worker.tally.one(Event::Transfers);
    client.transfer_begins();
    spawn_local(run(Rc::clone(worker), Rc::clone(client), place, address, query.to_vec()));
}

/// How a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Wholly passed on.
    Whole,
    /// Not one message came.
    Nothing,
    /// It broke off in the middle.
    Broken,
    /// The client is gone.
    Gone,
}

async fn run<C: Core>(worker: Rc<Worker<C>>, client: Rc<Connection>, place: u16, address: SocketAddr, query: Vec<u8>) {
    let mut relay = Relay { worker: &worker, client: &client, end: TransferEnd::of(&query), relayed: 0, whole: false };
    let result = relay.run(address, &query).await;
    let end = match result {
        _ if relay.whole => End::Whole,
        _ if client.is_gone() => End::Gone,
        _ if relay.relayed == 0 => End::Nothing,
        _ => End::Broken,
    };
    if let (Err(error), End::Nothing | End::Broken) = (result, end) {
        tracing::warn!(upstream = %address, %error, messages = relay.relayed, "a zone transfer failed");
    }
    match end {
        End::Whole => client.transfer_is_whole(),
        End::Gone => {}
        End::Nothing => {
            worker.tally.one(Event::TransfersFailed);
            client.relay(&servfail(&query));
        }
        End::Broken => {
            // Nothing else tells a client in the middle of a transfer that no more will come (RFC 5936 section 2.2).
            worker.tally.one(Event::TransfersFailed);
            client.cut();
        }
    }
    client.transfer_ends();
    worker.transfers.borrow_mut().leave(place);
}

struct Relay<'r, C: Core> {
    worker: &'r Rc<Worker<C>>,
    client: &'r Connection,
    end: TransferEnd,
    relayed: u64,
    whole: bool,
}

impl<C: Core> Relay<'_, C> {
    async fn run(&mut self, address: SocketAddr, query: &[u8]) -> io::Result<()> {
        let socket = timeout(CONNECT_MAX, TcpStream::connect(address)).await??;
        self.worker.tally.one(Event::StreamsOpened);
        let _ = socket.set_nodelay(true);
        let mut out = SendQueue::default();
        out.push(query);
        while out.len() > 0 {
            timeout(IDLE, socket.writable()).await??;
            ignore_would_block(out.write(&socket).map(drop))?;
        }
        let mut reader = FrameReader::default();
        let mut scratch = vec![0; READ_MAX];
        while !self.whole && !self.client.is_gone() {
            if self.client.unsent() >= OUT_HIGH {
                // Ends with room or with the connection, whose own limits watch over the client.
                self.client.taken.notified().await;
            } else if reader.has_whole() {
                reader.take_held(&mut |message| self.pass_on(message));
            } else {
                let ready = tokio::select! {
                    biased;
                    () = self.client.taken.notified() => continue,
                    ready = timeout(IDLE, socket.readable()) => ready,
                };
                ready??;
                match reader.read(&socket, &mut scratch, &mut |message| self.pass_on(message)) {
                    Ok(read) if read.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    result => ignore_would_block(result.map(drop))?,
                }
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, message: &[u8]) -> Flow {
        if !self.client.relay(message) {
            return Flow::Pause;
        }
        self.relayed += 1;
        self.worker.tally.one(Event::TransferMessages);
        self.whole = self.end.is_reached_by(message);
        if self.whole || self.client.unsent() >= OUT_HIGH { Flow::Pause } else { Flow::Next }
    }
}

fn ignore_would_block(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

/// The answer to a transfer that cannot be had: the query's header and question with SERVFAIL.
fn servfail(query: &[u8]) -> Vec<u8> {
    let mut answer = query.get(..HEADER_LEN).map_or_else(|| vec![0; HEADER_LEN], <[u8]>::to_vec);
    answer[2] = 0x80 | answer[2] & 0x79; // QR; opcode and RD as asked
    answer[3] = rcode::SERVFAIL as u8;
    answer[4..].fill(0);
    if u16_at(query, 4) == Some(1)
        && let Some(end) = super::transfer_end::question_end(query, HEADER_LEN)
    {
        answer[5] = 1;
        answer.extend_from_slice(&query[HEADER_LEN..end]);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_transfer_is_answered_with_its_id_and_question() {
        let mut query = vec![0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 1, 0, 0];
        query.extend(b"\x07example\x00\x00\xfb\x00\x01");
        let question_end = query.len();
        query.extend([0xc0, 0x0c, 0, 6]);
        let answer = servfail(&query);
        assert_eq!(answer[..12], [0xab, 0xcd, 0x81, 0x02, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer[12..], query[12..question_end]);
        assert_eq!(servfail(&query[..15])[4..], [0; 8], "no question is invented");
        assert_eq!(servfail(b"").len(), 12);
    }
}
