//! The core under test and what clients need.

#![allow(dead_code, reason = "each test program uses a part of it")]

use socket2::{Domain, Socket, Type};
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir::clock::{Clock, Now};
use weir::gateway::outbox::{Outbox, To};
use weir::gateway::{Client, From, LinkId, LinkPort, Path};
use weir::listen::{Core, Settings, StartError, Workers};
use weir::policy::Mode;
use weir::policy::server::TcpLimits;

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the byte behind the header tells the core to do.
pub(crate) mod order {
    /// Send it back with QR=1.
    pub(crate) const ECHO: u8 = b'e';
    /// Say nothing.
    pub(crate) const DROP: u8 = b'd';
    /// Answer when told to.
    pub(crate) const HOLD: u8 = b'h';
    /// Answer what is held, the last first, and this.
    pub(crate) const RELEASE: u8 = b'r';
    /// Answer with as many bytes as the next two say.
    pub(crate) const BIG: u8 = b'b';
    /// Ask the upstream whose slot comes next, over the port behind it.
    pub(crate) const UDP: u8 = b'u';
    /// Ask it over TCP.
    pub(crate) const TCP: u8 = b't';
    /// Transfer from it.
    pub(crate) const TRANSFER: u8 = b'x';
}

/// What the test and the cores of all workers share.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) upstreams: Mutex<Vec<Option<SocketAddr>>>,
    pub(crate) generation: AtomicUsize,
    pub(crate) rotate: Mutex<Vec<LinkPort>>,
    pub(crate) unreachable: AtomicU64,
    /// Messages whose connection ended.
    pub(crate) ended: AtomicU64,
    pub(crate) ticks: AtomicU64,
    /// Addresses that were asked, as the core was told.
    pub(crate) locals: Mutex<Vec<IpAddr>>,
}

struct Orders {
    world: Arc<World>,
    held: Vec<(Client, Vec<u8>)>,
    asked: VecDeque<(From, Client, Vec<u8>)>,
    /// Of those whose connection has ended; answered at the next tick.
    ended: Vec<(Client, Vec<u8>)>,
}

fn to(client: Client) -> To {
    match client.path {
        Path::Udp { listener, local } => To::Client { listener, peer: client.peer, local },
        Path::Tcp(connection) => To::Stream(connection),
    }
}

fn answer(client: Client, query: &[u8], out: &mut Outbox) {
    let bytes = out.room(query.len()).expect("the outbox has room");
    bytes.copy_from_slice(query);
    bytes[2] |= 0x80;
    out.commit(to(client), query.len());
}

impl Orders {
    fn port(&self, packet: &[u8]) -> LinkPort {
        let slot = u16::from(packet.get(13).copied().unwrap_or(0));
        let generation = self.world.generation.load(SeqCst) as u16;
        LinkPort { link: LinkId { slot, generation }, port: packet.get(14).copied().unwrap_or(0) }
    }
}

impl Core for Orders {
    fn begin_batch(&mut self) {}

    fn on_query(&mut self, _now: Now, client: Client, packet: &[u8], out: &mut Outbox) {
        if let Path::Udp { local: Some(local), .. } = client.path {
            self.world.locals.lock().unwrap().push(local);
        }
        let port = self.port(packet);
        match packet.get(12).copied().unwrap_or(order::DROP) {
            order::ECHO => answer(client, packet, out),
            order::HOLD => self.held.push((client, packet.to_vec())),
            order::RELEASE => {
                while let Some((client, query)) = self.held.pop() {
                    answer(client, &query, out);
                }
                answer(client, packet, out);
            }
            order::BIG => {
                let len = usize::from(u16::from_be_bytes([packet[13], packet[14]]));
                let bytes = out.room(len).expect("the outbox has room");
                bytes.fill(0x42);
                bytes[..12].copy_from_slice(&packet[..12]);
                out.commit(to(client), len);
            }
            order::UDP => {
                self.asked.push_back((From::Udp(port), client, packet.to_vec()));
                out.push(To::Upstream(port), packet);
            }
            order::TCP => {
                let port = LinkPort { port: 0, ..port };
                self.asked.push_back((From::Tcp(port), client, packet.to_vec()));
                out.push(To::UpstreamStream(port), packet);
            }
            order::TRANSFER => {
                let Path::Tcp(connection) = client.path else { return };
                // What follows is the transfer's query.
                out.push(To::Transfer { client: connection, upstream: port }, &packet[15..]);
            }
            _ => {
                if let Path::Tcp(connection) = client.path {
                    out.push(To::Silence(connection), &[]);
                }
            }
        }
    }

    fn on_response(&mut self, _now: Now, from: From, packet: &[u8], out: &mut Outbox) {
        let found = self.asked.iter().position(|(path, _, query)| *path == from && query[..2] == packet[..2]);
        if let Some((_, client, _)) = found.and_then(|found| self.asked.remove(found)) {
            out.push(to(client), packet);
        }
    }

    fn on_unreachable(&mut self, _now: Now, from: From, out: &mut Outbox) {
        self.world.unreachable.fetch_add(1, SeqCst);
        let (gone, kept) = self.asked.drain(..).partition(|(path, _, _)| *path == from);
        self.asked = kept;
        let gone: VecDeque<(From, Client, Vec<u8>)> = gone;
        for (_, client, mut query) in gone {
            query[3] = 2;
            answer(client, &query, out);
        }
    }

    fn on_ended(&mut self, _now: Now, from: From, message: u16) {
        self.world.ended.fetch_add(1, SeqCst);
        let found = self.asked.iter().position(|(path, _, query)| *path == from && id_of(query) == message);
        let (_, client, query) = found.and_then(|found| self.asked.remove(found)).expect("it is due");
        self.ended.push((client, query));
    }

    fn on_tick(&mut self, _now: Now, out: &mut Outbox) {
        for (client, mut query) in self.ended.drain(..) {
            query[3] = 2;
            answer(client, &query, out);
        }
        self.world.ticks.fetch_add(1, SeqCst);
    }

    fn take_rotated(&mut self) -> Option<LinkPort> {
        self.world.rotate.lock().unwrap().pop()
    }

    fn link_address(&self, link: LinkId) -> Option<SocketAddr> {
        if usize::from(link.generation) != self.world.generation.load(SeqCst) {
            return None;
        }
        self.world.upstreams.lock().unwrap().get(usize::from(link.slot)).copied().flatten()
    }

    fn in_flight(&self) -> usize {
        self.held.len() + self.asked.len() + self.ended.len()
    }
}

/// Limits that no test meets by accident.
pub(crate) fn limits() -> TcpLimits {
    TcpLimits {
        mode: Mode::Enforce,
        connections: 1000,
        per_client: 1000,
        rate: 100_000,
        idle: PATIENCE,
        stall: PATIENCE,
        pipeline: 64,
    }
}

pub(crate) fn try_start(
    listen: &[SocketAddr],
    workers: usize,
    tcp: TcpLimits,
) -> Result<(Workers, Arc<World>), StartError> {
    let world = Arc::new(World::default());
    let shared = Arc::clone(&world);
    let settings = Settings { listen: listen.to_vec(), workers, tcp, clock: Clock::start() };
    let core =
        move |_| Orders { world: Arc::clone(&shared), held: Vec::new(), asked: VecDeque::new(), ended: Vec::new() };
    Workers::start(settings, core).map(|workers| (workers, world))
}

/// Workers on one IPv4 address, and where.
pub(crate) fn start(workers: usize, tcp: TcpLimits) -> (Workers, Arc<World>, SocketAddr) {
    let (workers, world) = try_start(&[local("127.0.0.1")], workers, tcp).expect("loopback is free");
    let address = workers.listeners()[0];
    (workers, world, address)
}

pub(crate) fn local(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

/// A query of 15 bytes or more: id, order, two bytes for the order.
pub(crate) fn query(id: u16, order: u8, a: u8, b: u8) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([0; 10]);
    query.extend([order, a, b]);
    query
}

pub(crate) fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

pub(crate) fn udp_client(server: SocketAddr) -> UdpSocket {
    let ip = if server.is_ipv4() { "127.0.0.1" } else { "::1" };
    let client = UdpSocket::bind(local(ip)).unwrap();
    client.connect(server).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The ids of the next `count` answers.
#[track_caller]
pub(crate) fn answered(client: &UdpSocket, count: usize) -> HashSet<u16> {
    let mut buffer = [0; 512];
    let mut next = || {
        client.recv(&mut buffer).expect("an answer comes");
        id_of(&buffer)
    };
    (0..count).map(|_| next()).collect()
}

/// Sends `count` queries, at most 50 unanswered at a time, and waits for all answers.
pub(crate) fn echo(client: &UdpSocket, count: u16) {
    let mut ids: HashSet<u16> = (0..count).collect();
    let mut buffer = [0; 512];
    for window in (0..count).collect::<Vec<_>>().chunks(50) {
        for id in window {
            client.send(&query(*id, order::ECHO, 1, 2)).unwrap();
        }
        for _ in window {
            let len = client.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("{} of {count} unanswered by {:?}: {error}", ids.len(), client.peer_addr())
            });
            let id = id_of(&buffer);
            let mut expected = query(id, order::ECHO, 1, 2);
            expected[2] |= 0x80;
            assert_eq!(buffer[..len], expected);
            assert!(ids.remove(&id), "answer {id} came twice");
        }
    }
    assert!(ids.is_empty());
}

pub(crate) fn tcp_client(server: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// A client at another address of the loopback network: another source.
pub(crate) fn tcp_client_at(last: u8, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let client = TcpStream::from(socket);
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The next connection to an upstream.
#[track_caller]
pub(crate) fn accept(upstream: &TcpListener) -> TcpStream {
    upstream.set_nonblocking(true).unwrap();
    let mut stream = None;
    until("a connection comes", || {
        stream = upstream.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.expect("just seen");
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u16).to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

pub(crate) fn send(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&framed(message)).unwrap();
}

/// The next message; `None` at the end of the stream, however it came.
pub(crate) fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    read_exact(stream, &mut len)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    read_exact(stream, &mut message)?;
    Some(message)
}

fn read_exact(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<()> {
    match stream.read_exact(buffer) {
        Ok(()) => Some(()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came within {PATIENCE:?}"),
        Err(_) => None,
    }
}

/// Waits until `done`.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Ends the workers in order, long before the deadline: nothing is in flight at the end of a test.
#[track_caller]
pub(crate) fn end(workers: Workers) {
    let begin = Instant::now();
    assert!(block_on(workers.drain(PATIENCE)), "a worker did not end");
    assert!(begin.elapsed() < PATIENCE / 2, "a drain with nothing in flight took {:?}", begin.elapsed());
}
