//! UDP sockets toward upstreams: connected, so that the kernel drops what comes from anyone else and reports what ICMP says;
//! opened at the first message, on a port that the kernel chooses at random (RFC 5452 section 9.2); closed when the core
//! rotates them or the upstream has left.

use super::datagrams::PAUSE;
use super::socket::DatagramSocket;
use super::tally::Event;
use super::worker::Worker;
use super::{Core, From};
use crate::dns::{HEADER_LEN, put_u16, u16_at};
use crate::gateway::{LINKS_MAX, LinkPort, PORTS};
use crate::sys::{BATCH, set_receive_buffer};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use tokio::task::{AbortHandle, spawn_local, yield_now};

/// Receive buffer of a socket toward an upstream.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The longest question: a name of 255 bytes, type and class.
const QUESTION_MAX: usize = 255 + 4;

#[derive(Debug)]
struct Link {
    socket: Rc<DatagramSocket>,
    generation: u16,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A worker's sockets toward its upstreams.
#[derive(Debug)]
pub(super) struct Links(Box<[Option<Link>]>);

/// What became of the first of some datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Send {
    /// Taken, and so many in all.
    Taken(usize),
    /// No room: the rest is lost, as on any full queue.
    Full,
    /// This one exceeds what the path takes.
    TooLong,
    /// Refused by the far end, or no way there.
    Unreachable,
}

impl Send {
    pub(super) fn of(result: io::Result<usize>) -> Self {
        match result {
            Ok(count) => Self::Taken(count.max(1)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Full,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) => Self::Full,
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Self::TooLong,
            Err(_) => Self::Unreachable,
        }
    }
}

impl Links {
    pub(super) fn new() -> Self {
        Self((0..LINKS_MAX * PORTS).map(|_| None).collect())
    }

    fn place(port: LinkPort) -> Option<usize> {
        let (slot, port) = (usize::from(port.link.slot), usize::from(port.port));
        (slot < LINKS_MAX && port < PORTS).then_some(slot * PORTS + port)
    }

    /// The socket of a port, opened if need be; `None` when that cannot be done. A socket of an earlier use of the slot is
    /// closed.
    pub(super) fn open<C: Core>(
        &mut self,
        worker: &Rc<Worker<C>>,
        core: &C,
        port: LinkPort,
    ) -> Option<&DatagramSocket> {
        let place = self.0.get_mut(Self::place(port)?)?;
        if place.as_ref().is_none_or(|link| link.generation != port.link.generation) {
            *place = None;
            let address = core.link_address(port.link)?;
            let socket = connect(address)
                .inspect_err(|error| tracing::debug!(%address, %error, "no socket toward an upstream"))
                .ok()?;
            worker.tally.one(Event::UpstreamSockets);
            let socket = Rc::new(socket);
            let task = spawn_local(receive(Rc::clone(worker), Rc::clone(&socket), port)).abort_handle();
            *place = Some(Link { socket, generation: port.link.generation, task });
        }
        place.as_ref().map(|link| &*link.socket)
    }

    /// Closes a port's socket; its next use opens another, on another port.
    pub(super) fn close(&mut self, port: LinkPort) {
        let Some(place) = Self::place(port).and_then(|place| self.0.get_mut(place)) else { return };
        if place.as_ref().is_some_and(|link| link.generation == port.link.generation) {
            *place = None;
        }
    }

    /// Closes the sockets of upstreams that have left.
    pub(super) fn sweep<C: Core>(&mut self, core: &C) {
        for (i, place) in self.0.iter_mut().enumerate() {
            let Some(link) = place else { continue };
            let id = crate::gateway::LinkId { slot: (i / PORTS) as u16, generation: link.generation };
            if core.link_address(id).is_none() {
                *place = None;
            }
        }
    }
}

/// A socket connected to `address`. Connecting an unbound socket makes Linux choose its port at random from
/// `net.ipv4.ip_local_port_range` (28 232 ports by default), not the next one; a test holds it to that.
fn connect(address: SocketAddr) -> io::Result<DatagramSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
    socket.connect(&address.into())?;
    DatagramSocket::open(socket.into())
}

async fn receive<C: Core>(worker: Rc<Worker<C>>, socket: Rc<DatagramSocket>, port: LinkPort) {
    let mut errors = 0;
    loop {
        match socket.receive(&worker.responses).await {
            Ok(count) => {
                errors = 0;
                hand_over(&worker, port, count);
                if count == BATCH {
                    yield_now().await;
                }
            }
            Err(_) => {
                worker.turn(|turn| turn.unreachable(From::Udp(port)));
                errors += 1;
                if errors > 1 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn hand_over<C: Core>(worker: &Rc<Worker<C>>, port: LinkPort, count: usize) {
    let batch = worker.responses.borrow();
    worker.tally.add(Event::UpstreamReceived, count as u64);
    worker.turn(|turn| {
        for i in 0..count {
            let datagram = batch.datagram(i);
            if !datagram.truncated {
                turn.response(From::Udp(port), datagram.bytes);
                continue;
            }
            worker.tally.one(Event::UpstreamOversized);
            let mut buffer = [0; HEADER_LEN + QUESTION_MAX];
            if let Some(len) = cut_to_question(datagram.bytes, &mut buffer) {
                turn.response(From::Udp(port), &buffer[..len]);
            }
        }
    });
}

/// Makes of a response that did not fit our buffer what its sender would have sent had it known: header and question with
/// TC=1 (RFC 2181 section 9), so that the client is told to come over TCP instead of waiting for an answer that was thrown
/// away. `None` when there is no question to be found.
fn cut_to_question(message: &[u8], out: &mut [u8; HEADER_LEN + QUESTION_MAX]) -> Option<usize> {
    if u16_at(message, 4)? != 1 {
        return None;
    }
    let mut at = HEADER_LEN;
    loop {
        let label = usize::from(*message.get(at)?);
        at += 1 + label;
        match label {
            0 => break,
            1..=63 if at < HEADER_LEN + 255 => {}
            _ => return None,
        }
    }
    let end = at + 4;
    out.get_mut(..end)?.copy_from_slice(message.get(..end)?);
    out[2] |= 0x02;
    for count in [6, 8, 10] {
        put_u16(out, count, 0);
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_response_becomes_its_header_and_question_with_tc() {
        let mut message = vec![0xab, 0xcd, 0x84, 0x00, 0, 1, 0, 200, 0, 3, 0, 1];
        message.extend(b"\x03www\x07example\x00\x00\x10\x00\x01");
        let question_end = message.len();
        message.resize(4096, 0x55);
        let mut out = [0; HEADER_LEN + QUESTION_MAX];
        assert_eq!(cut_to_question(&message, &mut out), Some(question_end));
        assert_eq!(out[..12], [0xab, 0xcd, 0x86, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[12..question_end], message[12..question_end]);
    }

    #[test]
    fn what_has_no_sound_question_is_not_made_into_a_response() {
        let mut out = [0; HEADER_LEN + QUESTION_MAX];
        let header = |questions| vec![0, 0, 0x80, 0, 0, questions, 0, 0, 0, 0, 0, 0];
        for (questions, name) in
            [(0, vec![0; 5]), (1, vec![0xc0; 4084]), (1, vec![63; 4084]), (1, vec![]), (1, vec![0; 4])]
        {
            let message = [header(questions), name].concat();
            assert_eq!(cut_to_question(&message, &mut out), None, "{message:?}");
        }
    }

    #[test]
    fn the_kernel_chooses_source_ports_at_random() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let ports: Vec<_> = runtime.block_on(async {
            let sockets: Vec<_> = (0..32).map(|_| connect("127.0.0.1:9".parse().unwrap()).unwrap()).collect();
            sockets.iter().map(|socket| i32::from(socket.socket().local_addr().unwrap().port())).collect()
        });
        let near = ports.windows(2).filter(|pair| (pair[1] - pair[0]).abs() <= 8).count();
        assert!(near <= 2, "of 31 pairs of ports that follow each other, {near} are neighbours: {ports:?}");
    }
}
