//! The request path: a query's whole life, top to bottom, without I/O. A worker's [`Gateway`] takes bytes and time and
//! fills an [`Outbox`]; it owns no socket, reads no clock and never waits.

mod admit;
mod ask;
mod cookies;
mod foresight;
mod guard;
mod judge;
mod lead;
mod links;
mod memory;
mod notify;
mod obey;
pub mod outbox;
mod overload;
mod probe;
mod reply;
mod settle;
mod unsent;
mod waiters;
mod watch;

use crate::cache::KeyHash;
use crate::clock::{Moment, Now};
use crate::dns::MESSAGE_MAX;
use crate::dns::query::Query;
use crate::ledger::Ledger;
use crate::ledger::samples::Sampler;
use crate::live_policy::{Running, Shared};
use crate::policy::cookies::Standing;
use crate::policy::overload::{FairShare, Pressure};
use crate::policy::regulars::Source;
use crate::policy::schedules::ActiveSet;
use crate::policy::source::SourceLimit;
use crate::storm::Storms;
use crate::upstream::flights::{Flights, Route};
pub use crate::upstream::{LINKS_MAX, LinkId};
use foresight::Foresight;
use lead::Led;
use links::Links;
use outbox::Outbox;
use probe::Prober;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use unsent::Unsent;

/// A TCP connection of a worker; the generation tells a reused slot from the connection that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Slot in the worker's table of connections.
    pub slot: u32,
    /// Which use of the slot.
    pub generation: u32,
}

/// An upstream as seen from a worker, with the local port (UDP socket) that is or was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkPort {
    /// The upstream: its slot in the registry, and which use of the slot.
    pub link: LinkId,
    /// Which of the worker's sockets toward it, below [`PORTS`]; 0 for TCP.
    pub port: u8,
}

/// UDP sockets that a worker may hold toward one upstream: half of them in use, half waiting for late answers.
pub const PORTS: usize = 8;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A datagram.
    Udp {
        /// Index of the listener in the worker.
        listener: u16,
        /// The address that was asked, on a wildcard listener.
        local: Option<IpAddr>,
    },
    /// A message on a stream.
    Tcp(ConnectionId),
}

/// Who asked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Address and port.
    pub peer: SocketAddr,
    /// Transport.
    pub path: Path,
}

/// Over what a response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A UDP socket toward an upstream.
    Udp(LinkPort),
    /// A pipelined TCP connection toward an upstream.
    Tcp(LinkPort),
}

impl From {
    fn route(self) -> Route {
        match self {
            Self::Udp(LinkPort { link, port }) => Route { link, port, tcp: false },
            Self::Tcp(LinkPort { link, .. }) => Route { link, port: 0, tcp: true },
        }
    }
}

/// One worker's core.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    running: Arc<Running>,
    /// Of `running`, at the time told last.
    active: ActiveSet,
    desk: Desk,
}

/// What a batch sees: one time, one policy.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    now: Now,
    /// What is in force now.
    active: &'a ActiveSet,
    running: &'a Running,
    shared: &'a Shared,
}

/// A query and who asked it: what an answer is written for.
#[derive(Clone, Debug)]
struct Case<'q> {
    client: Client,
    query: &'q Query<'q>,
    /// When it came.
    received: Moment,
    /// The slot of the upstream that answered it.
    upstream: Option<u16>,
    /// What put `query` in the place of what the client asked.
    led: Option<&'q Led<'q>>,
    /// What its cookie says; judged once, and only when somebody wants to know.
    standing: OnceCell<Option<Standing>>,
    /// The hash of its key in the cache; made once for all that is done with it.
    key_hash: OnceCell<KeyHash>,
}

impl<'q> Case<'q> {
    fn new(client: Client, query: &'q Query<'q>, received: Moment) -> Self {
        Self {
            client,
            query,
            received,
            upstream: None,
            led: None,
            standing: OnceCell::new(),
            key_hash: OnceCell::new(),
        }
    }

    /// The query as the client sent it.
    fn asked(&self) -> &'q Query<'q> {
        self.led.map_or(self.query, |led| &led.asked)
    }
}

impl Client {
    fn is_tcp(&self) -> bool {
        matches!(self.path, Path::Tcp(_))
    }
}

/// Who waits for an upstream's answer.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A client.
    Client(Client),
    /// A health probe of ours.
    Probe,
}

impl Asker {
    /// On whose account it waits.
    fn source(&self) -> Source {
        match self {
            Self::Client(client) => Source::of(client.peer.ip()),
            Self::Probe => Source::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }
}

/// A worker's own state, with nothing shared in it.
#[derive(Debug)]
struct Desk {
    /// The number of the worker.
    worker: usize,
    flights: Flights<Asker>,
    links: Links,
    limit: SourceLimit,
    pressure: Pressure,
    share: FairShare,
    storms: Storms,
    prober: Option<Prober>,
    /// Probes among the flights.
    probes: usize,
    rng: StdRng,
    ledger: Arc<Ledger>,
    sampler: Sampler,
    /// How long the next query has lain in its socket.
    waited: Duration,
    unsent: Unsent,
    /// For a message that is taken apart and put together again.
    scratch: Box<[u8]>,
    /// For an answer about the name that local data leads to, while the client's is written.
    about_target: Box<[u8]>,
    /// Counts choices of a server.
    turn: u64,
    hijacks: judge::Hijacks,
    foresight: Foresight,
}

impl Gateway {
    /// A core over what all workers share, with room for `flights_max` queries in flight. `seed` feeds its random ids and
    /// letter cases; `worker` 0 also probes the upstreams' health.
    pub fn new(shared: &Arc<Shared>, ledger: &Arc<Ledger>, worker: usize, flights_max: usize, seed: [u8; 32]) -> Self {
        let running = shared.live.load();
        let mut links = Links::new();
        links.adopt(&running.routing);
        let desk = Desk {
            worker,
            flights: Flights::new(flights_max, Asker::Probe, Asker::source),
            links,
            limit: SourceLimit::new(&shared.source, &running.policy.source),
            pressure: Pressure::None,
            share: FairShare::new(u64::from_le_bytes(std::array::from_fn(|i| seed[i]))),
            storms: Storms::new(&shared.storm, running.policy.storm.zones),
            prober: (worker == 0).then(Prober::new),
            probes: 0,
            rng: StdRng::from_seed(seed),
            ledger: Arc::clone(ledger),
            sampler: Sampler::new(
                u64::from_ne_bytes(seed[..8].try_into().unwrap_or_default()),
                sample_rate(shared, &running),
            ),
            waited: Duration::ZERO,
            unsent: Unsent::new(),
            scratch: vec![0; MESSAGE_MAX].into_boxed_slice(),
            about_target: vec![0; MESSAGE_MAX].into_boxed_slice(),
            turn: 0,
            hijacks: judge::Hijacks::default(),
            foresight: Foresight::new(),
        };
        let active = running.policy.schedules.at(0);
        Self { shared: Arc::clone(shared), running, active, desk }
    }

    /// Bytes that a core with room for `flights_max` queries takes, all of it from the start.
    pub fn size_bytes(flights_max: usize) -> usize {
        Flights::<Asker>::size_bytes(flights_max) + 2 * MESSAGE_MAX + FairShare::BYTES
    }

    /// Takes notice of a new policy, once per batch; everything until the next call sees one policy. Letting go of the
    /// old one here never frees it: the control side holds it until no worker does.
    pub fn begin_batch(&mut self) {
        self.desk.links.begin_batch();
        if self.shared.live.is_current(&self.running) {
            return;
        }
        self.running = self.shared.live.load();
        self.desk.foresight.forget();
        self.desk.links.adopt(&self.running.routing);
        self.desk.limit = SourceLimit::new(&self.shared.source, &self.running.policy.source);
        self.desk.sampler.set_rate(sample_rate(&self.shared, &self.running));
        self.active = self.running.policy.schedules.at(self.active.unix_ms());
    }

    /// A message from a client that will come to [`Self::on_query`] soon, one of several.
    #[inline]
    pub fn foresee(&mut self, packet: &[u8]) {
        // Of a flood most is refused before its name is looked up.
        if self.desk.pressure == Pressure::None {
            self.desk.foresight.see((&self.running.policy.filter, &self.shared.cache), packet);
        }
    }

    /// All of a group have been foreseen.
    #[inline]
    pub fn fetch_foreseen(&mut self) {
        self.desk.foresight.fetch((&self.running.policy.filter, &self.shared.cache));
    }

    /// A message from a client.
    pub fn on_query(&mut self, now: Now, client: Client, packet: &[u8], out: &mut Outbox) {
        self.active.go_to(now.unix_ms, &self.running.policy.schedules);
        let view = View { now, active: &self.active, running: &self.running, shared: &self.shared };
        self.desk.query(&view, client, packet, out);
    }

    /// A message from an upstream.
    pub fn on_response(&mut self, now: Now, from: From, packet: &[u8], out: &mut Outbox) {
        self.active.go_to(now.unix_ms, &self.running.policy.schedules);
        let view = View { now, active: &self.active, running: &self.running, shared: &self.shared };
        self.desk.response(&view, from.route(), packet, out);
    }

    /// An upstream could not be reached over this path (connection refused, reset, no route): what waits there is
    /// tried elsewhere at once.
    pub fn on_unreachable(&mut self, now: Now, from: From, out: &mut Outbox) {
        self.active.go_to(now.unix_ms, &self.running.policy.schedules);
        let view = View { now, active: &self.active, running: &self.running, shared: &self.shared };
        self.desk.unreachable(&view, from.route(), out);
    }

    /// A connection that had been made to an upstream has ended, and the message with this id that went over it has no answer:
    /// it is sent again at the next tick.
    pub fn on_ended(&mut self, now: Now, from: From, message: u16) {
        self.desk.ended(now.at, from.route(), message);
    }

    /// Timers: deadlines, retries, health probes, rotation of ports. To be called about every 10 ms.
    pub fn on_tick(&mut self, now: Now, out: &mut Outbox) {
        self.active.go_to(now.unix_ms, &self.running.policy.schedules);
        let view = View { now, active: &self.active, running: &self.running, shared: &self.shared };
        self.desk.expire(&view, out);
        self.desk.probe(&view, out);
        self.shared.storm.known.turn();
        self.desk.links.rotate(now.at, &self.running.routing);
    }

    /// Ports whose sockets the driver has to close, and to open anew on their next use (random source ports, rotated).
    /// To be called after each tick until `None`.
    pub fn take_rotated(&mut self) -> Option<LinkPort> {
        self.desk.links.take_rotated()
    }

    /// Where the upstream of a link is; `None` once it has left the policy for long enough that nothing waits for it any
    /// more, then the driver closes its sockets.
    pub fn link_address(&self, link: LinkId) -> Option<SocketAddr> {
        self.desk.links.address(link)
    }

    /// Queries of clients that wait for an upstream; a drain ends when it is 0.
    pub fn in_flight(&self) -> usize {
        self.desk.flights.len() - self.desk.probes
    }
}

/// Queries a second of each worker that are sampled, as far as anybody reads samples.
fn sample_rate(shared: &Shared, running: &Running) -> u32 {
    if shared.samples.is_on() { running.policy.server.top.samples } else { 0 }
}

impl Desk {
    /// The life of a query.
    fn query(&mut self, view: &View<'_>, client: Client, packet: &[u8], out: &mut Outbox) {
        let received = view.now.at.minus(std::mem::take(&mut self.waited));
        let mut query = Query::unread(packet);
        if let Err(malformed) = query.read(None) {
            return self.reject(view, client, packet, malformed, out);
        }
        let case = &Case::new(client, &query, received);
        if self.hear_notify(view, case, out) {
            return;
        }
        let Some(admitted) = self.admit(view, case, out) else { return };
        match admitted.kind() {
            admit::Kind::Plain => self.look_up(view, &admitted, out),
            admit::Kind::Opaque => self.forward(view, &admitted, out),
            admit::Kind::Transfer => self.transfer(view, &admitted, out),
        }
    }

    /// Answers a plain query from memory, or asks an upstream.
    fn look_up(&mut self, view: &View<'_>, admitted: &admit::Admitted<'_>, out: &mut Outbox) {
        if !self.answer_from_memory(view, admitted, out) && self.pass_debt(view, admitted, out) {
            self.forward(view, admitted, out);
        }
    }
}
