//! The world around the cores: virtual time, an event heap, a network, and the book in which every query stands until it
//! is answered.

use crate::check::{Asked, Reply, check, key, who};
use crate::clients::{self, Kind, Sent};
use crate::policies::{EMERGENCY, MODE, PLAYS, Play};
use crate::servers::{Back, Server};
use crate::stage::message::{id_of, question_name, question_type};
use crate::stage::{START, Stage, now};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;
use weir::clock::Moment;
use weir::dns::query::Query;
use weir::gateway::outbox::To;
use weir::gateway::{Client, From, LinkPort, Path};
use weir::ledger::{Totals, UpstreamEvent};
use weir::policy::emergency::EmergencyRule;
use weir::policy::filter::{Action, Pattern};
use weir::upstream::LINKS_MAX;
use weir::upstream::flights::ATTEMPTS_MAX;
use weir::verdict::{Outcome, Reason};

/// Flights of a core: few, so that some seeds fill them.
const FLIGHTS_MAX: usize = 96;

/// Name and type.
type Question = (String, u16);

enum Event {
    Query(usize, Sent),
    /// To a worker over a use of a socket; with the question that it answers truly.
    Response(usize, From, u32, Vec<u8>, Option<Question>),
    Unreachable(usize, From),
    Tick(usize),
    Reload(Play),
    /// To the mode of every policy, or to none.
    Mode(bool),
    /// The emergency rule comes or goes.
    Emergency(bool),
    Mood(usize),
}

/// What came of a world.
pub(crate) struct End {
    /// The hash of all that the cores sent, and when.
    pub(crate) transcript: u64,
    pub(crate) totals: Totals,
}

/// One simulated world.
pub(crate) struct World {
    stage: Stage,
    rng: StdRng,
    heap: BinaryHeap<Reverse<(Moment, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    at: Moment,
    /// When the last of what was planned happens; no query waits longer than a second after it.
    planned: Moment,
    play: Play,
    servers: BTreeMap<SocketAddr, Server>,
    /// By client and id; of those that share both, the oldest first.
    open: BTreeMap<(String, u16), Vec<Asked>>,
    asked: u64,
    replies: u64,
    /// Queries over TCP whose driver was told that nothing will come.
    silences: u64,
    /// When the truth about a question last reached a core.
    delivered: BTreeMap<Question, Moment>,
    /// Queries and messages to upstreams, by question.
    asked_for: BTreeMap<String, (u64, u64)>,
    opaque: BTreeSet<Vec<u8>>,
    /// How often a port's socket was opened anew: what comes for an earlier one is lost.
    sockets: BTreeMap<(usize, u16, u16, u8), u32>,
    transcript: DefaultHasher,
}

impl World {
    /// A world that is determined by its seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let play = PLAYS[rng.random_range(0..PLAYS.len())];
        let workers = rng.random_range(1..=2);
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 53));
        let servers = (10..14).map(|last| (address(last), Server::new(&mut rng))).collect();
        let mut world = Self {
            stage: Stage::new(play.compile(), workers, FLIGHTS_MAX, seed),
            rng,
            heap: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            at: START,
            planned: START,
            play,
            servers,
            open: BTreeMap::new(),
            asked: 0,
            replies: 0,
            silences: 0,
            delivered: BTreeMap::new(),
            asked_for: BTreeMap::new(),
            opaque: BTreeSet::new(),
            sockets: BTreeMap::new(),
            transcript: DefaultHasher::new(),
        };
        world.plan();
        world
    }

    /// Everything that is known beforehand: who asks when, which server changes, when the policy does.
    fn plan(&mut self) {
        let workers = self.stage.workers.len();
        (0..workers).for_each(|worker| self.push(START, Event::Tick(worker)));
        let span = Duration::from_millis(self.rng.random_range(500..12_000));
        let queries = self.rng.random_range(20..160);
        for number in 0..queries {
            let sent = clients::message(&mut self.rng, number);
            self.plan_query(span, sent);
        }
        if self.rng.random_bool(0.3) {
            let begin = span.mul_f64(self.rng.random_range(0.0..0.8));
            for number in 0..self.rng.random_range(50..250) {
                let sent = clients::flood(&mut self.rng, 10_000 + number);
                let worker = self.rng.random_range(0..workers);
                self.push(START.plus(begin + Duration::from_millis(number)), Event::Query(worker, sent));
            }
        }
        for _ in 0..self.rng.random_range(0..4) {
            let play = PLAYS[self.rng.random_range(0..PLAYS.len())];
            let at = self.moment_within(span);
            self.push(at, Event::Reload(play));
        }
        for _ in 0..self.rng.random_range(0..8) {
            let (server, at) = (self.rng.random_range(0..self.servers.len()), self.moment_within(span));
            self.push(at, Event::Mood(server));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let (on, at) = (self.rng.random_bool(0.5), self.moment_within(span));
            self.push(at, Event::Mode(on));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let (on, at) = (self.rng.random_bool(0.6), self.moment_within(span));
            self.push(at, Event::Emergency(on));
        }
    }

    fn plan_query(&mut self, span: Duration, sent: Sent) {
        let worker = self.rng.random_range(0..self.stage.workers.len());
        let at = self.moment_within(span);
        // Impatient clients ask again, with the same id.
        if self.rng.random_bool(0.05) {
            let again = at.plus(Duration::from_millis(self.rng.random_range(0..900)));
            self.push(again, Event::Query(worker, sent.clone()));
        }
        self.push(at, Event::Query(worker, sent));
    }

    fn moment_within(&mut self, span: Duration) -> Moment {
        START.plus(span.mul_f64(self.rng.random()))
    }

    fn push(&mut self, at: Moment, event: Event) {
        if matches!(event, Event::Query(..)) {
            self.planned = self.planned.max(at);
        }
        self.next += 1;
        self.heap.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
    }

    /// Lets everything happen.
    pub(crate) fn run(mut self) -> End {
        let end = self.planned.plus(Duration::from_secs(1));
        while let Some(Reverse((at, number))) = self.heap.pop() {
            if at > end {
                break;
            }
            self.at = at;
            let event = self.events.remove(&number).expect("each event once");
            self.happen(event);
            if number.is_multiple_of(16) {
                self.balance();
            }
        }
        self.end();
        End { transcript: self.transcript.finish(), totals: self.stage.totals() }
    }

    fn happen(&mut self, event: Event) {
        let at = now(self.at);
        match event {
            Event::Query(worker, sent) => {
                self.note(&sent);
                self.stage.workers[worker].begin_batch();
                self.stage.workers[worker].on_query(at, sent.client, &sent.bytes, &mut self.stage.out);
                self.deliver(worker);
            }
            Event::Response(worker, from, socket, bytes, truth) => {
                if self.socket(worker, from) != socket {
                    return;
                }
                if let Some(question) = truth {
                    self.delivered.insert(question, self.at);
                }
                self.stage.workers[worker].begin_batch();
                self.stage.workers[worker].on_response(at, from, &bytes, &mut self.stage.out);
                self.deliver(worker);
            }
            Event::Unreachable(worker, from) => {
                self.stage.workers[worker].begin_batch();
                self.stage.workers[worker].on_unreachable(at, from, &mut self.stage.out);
                self.deliver(worker);
            }
            Event::Tick(worker) => self.tick(worker),
            Event::Reload(play) => {
                let emergency = self.play.emergency;
                self.play = play;
                self.play.emergency = emergency;
                self.stage.reload(self.at, play.compile());
            }
            Event::Mode(on) => self.stage.switch(self.at, on.then_some(MODE)),
            Event::Emergency(on) => {
                self.play.emergency = on;
                let pattern = Pattern::parse(EMERGENCY).expect("a name");
                let rule = EmergencyRule { number: 1, pattern, action: Action::Refused };
                self.stage.block(self.at, if on { std::slice::from_ref(&rule) } else { &[] });
            }
            Event::Mood(server) => {
                let server = self.servers.values_mut().nth(server).expect("a server");
                server.change(&mut self.rng);
            }
        }
    }

    fn tick(&mut self, worker: usize) {
        let core = &mut self.stage.workers[worker];
        core.begin_batch();
        core.on_tick(now(self.at), &mut self.stage.out);
        while let Some(LinkPort { link, port }) = core.take_rotated() {
            *self.sockets.entry((worker, link.slot, link.generation, port)).or_default() += 1;
        }
        let pause = if core.in_flight() > 0 { 10 } else { 50 };
        self.deliver(worker);
        self.push(self.at.plus(Duration::from_millis(pause)), Event::Tick(worker));
    }

    /// Which use of a port's socket it is now.
    fn socket(&self, worker: usize, from: From) -> u32 {
        let From::Udp(LinkPort { link, port }) = from else { return 0 };
        self.sockets.get(&(worker, link.slot, link.generation, port)).copied().unwrap_or_default()
    }

    fn note(&mut self, sent: &Sent) {
        self.asked += 1;
        if matches!(sent.kind, Kind::Opaque | Kind::Mutated) {
            self.opaque.insert(sent.bytes.get(2..).unwrap_or_default().to_vec());
        }
        if let Ok(query) = Query::scan(&sent.bytes) {
            self.asked_for.entry(query.name.to_string()).or_default().0 += 1;
        }
        if let Some(key) = key(sent) {
            let asked = Asked { sent: sent.clone(), at: self.at, play: self.play };
            self.open.entry(key).or_default().push(asked);
        }
    }

    /// Takes what a core wants sent to where it goes.
    fn deliver(&mut self, worker: usize) {
        let out = &mut self.stage.out;
        let messages: Vec<_> = out.messages().iter().map(|message| (message.to, out.bytes(message).to_vec())).collect();
        out.clear();
        assert_eq!(out.lost(), 0, "the outbox is large enough");
        for (to, bytes) in messages {
            (self.at, &bytes).hash(&mut self.transcript);
            match to {
                To::Client { peer, .. } => self.reply(&crate::stage::udp(peer), &bytes),
                To::Stream(connection) => {
                    let client = Client { peer: SocketAddr::from(([0; 4], 0)), path: Path::Tcp(connection) };
                    self.reply(&client, &bytes);
                }
                To::Upstream(link) => self.forward(worker, From::Udp(link), link, &bytes),
                To::UpstreamStream(link) => self.forward(worker, From::Tcp(link), link, &bytes),
                To::Transfer { .. } => {}
                To::Silence(_) => self.silences += 1,
            }
        }
    }

    fn reply(&mut self, client: &Client, bytes: &[u8]) {
        let key = (who(client), id_of(bytes));
        let open = self.open.get_mut(&key).filter(|open| !open.is_empty());
        let open = open.unwrap_or_else(|| panic!("{key:?} gets a reply that it does not wait for: {bytes:02x?}"));
        self.replies += 1;
        let mut wrong = String::new();
        // Who asked twice with one id may get its answers in any order, and nobody knows which was dropped.
        let fits = open.iter().position(|asked| {
            let question = (asked.sent.kind == Kind::Plain)
                .then(|| (question_name(&asked.sent.bytes), question_type(&asked.sent.bytes)));
            let delivered = question.and_then(|question| self.delivered.get(&question).copied());
            let checked = check(asked, &Reply { bytes, at: self.at, play: self.play, delivered });
            checked.inspect_err(|error| wrong.clone_from(error)).is_ok()
        });
        let (at, play) = (self.at.since(START), self.play.name);
        let fits =
            fits.unwrap_or_else(|| panic!("at {at:?} under {play}: {wrong}\nasked: {open:02x?}\nreply: {bytes:02x?}"));
        open.remove(fits);
    }

    fn forward(&mut self, worker: usize, from: From, link: LinkPort, bytes: &[u8]) {
        let (name, tcp) = (question_name(bytes), matches!(from, From::Tcp(_)));
        let query = Query::scan(bytes).expect("what is sent upstream is well-formed");
        let opaque = query.opcode != 0 || query.signed;
        assert!(!opaque || self.opaque.contains(&bytes[2..]), "it passes byte for byte: {bytes:02x?}");
        let has_cookie = query.edns.as_ref().is_some_and(|edns| edns.cookie.is_some());
        assert!(!has_cookie || query.signed || !query.asks_for_records(), "an upstream sees a cookie: {bytes:02x?}");
        // The root is asked for by health probes.
        if !name.is_empty() {
            self.asked_for.entry(query.name.to_string()).or_default().1 += 1;
        }
        let Some(address) = self.stage.workers[worker].link_address(link.link) else { return };
        let server = self.servers.get_mut(&address).expect("a server of the policy");
        let back = server.receive(bytes, tcp, opaque, &mut self.rng);
        let socket = self.socket(worker, from);
        for (after, back) in back {
            let at = self.at.plus(after);
            match back {
                Back::Unreachable => self.push(at, Event::Unreachable(worker, from)),
                Back::Elsewhere(bytes) => {
                    let elsewhere = self.elsewhere(from);
                    let socket = self.socket(worker, elsewhere);
                    self.push(at, Event::Response(worker, elsewhere, socket, bytes, None));
                }
                Back::Truth(bytes) => {
                    let question = (question_name(&bytes), question_type(&bytes));
                    self.push(at, Event::Response(worker, from, socket, bytes, Some(question)));
                }
                Back::Lie(bytes) => self.push(at, Event::Response(worker, from, socket, bytes, None)),
            }
        }
    }

    /// Another socket, or another use of the link.
    fn elsewhere(&mut self, from: From) -> From {
        match from {
            From::Udp(LinkPort { link, port }) => From::Udp(LinkPort { link, port: (port + 1) % 8 }),
            From::Tcp(LinkPort { mut link, port }) => {
                link.slot = (link.slot + 1 + self.rng.random_range(0..100)) % LINKS_MAX as u16;
                link.generation ^= 1;
                From::Tcp(LinkPort { link, port })
            }
        }
    }

    /// Every query is counted or in flight.
    fn balance(&self) {
        let counted = self.stage.totals().all();
        let open = self.asked - counted;
        let in_flight = self.stage.in_flight() as u64;
        let attempts = in_flight * ATTEMPTS_MAX as u64;
        assert!(self.stage.shared.storm.inflight.total() <= attempts, "a place that no attempt holds");
        assert_eq!(open, in_flight, "{} asked, {counted} counted", self.asked);
    }

    fn end(&self) {
        let totals = self.stage.totals();
        assert_eq!(totals.all(), self.asked, "every query ends exactly once");
        let silent: u64 =
            [Outcome::Dropped, Outcome::Malformed, Outcome::Transferred].map(|o| totals.outcome(o)).iter().sum();
        assert_eq!(self.replies + silent, self.asked, "every query that is not dropped gets one reply");
        assert_eq!(self.stage.in_flight(), 0, "somebody still waits");
        assert_eq!(self.stage.shared.storm.inflight.total(), 0, "a zone still holds a place");
        let unanswered = [Outcome::Dropped, Outcome::Malformed];
        let over_tcp = |outcome| Reason::ALL.iter().map(move |reason| (outcome, *reason));
        let unanswered = unanswered.into_iter().flat_map(over_tcp);
        let silent: u64 = unanswered.map(|(outcome, reason)| totals.queries(outcome, reason, true)).sum();
        assert_eq!(self.silences, silent, "who waits on a connection is told that nothing will come");
        let attempts = PLAYS.iter().map(|play| play.attempts_max).max().unwrap_or(1);
        for (name, (queries, sent)) in &self.asked_for {
            assert!(*sent <= queries * attempts, "{name}: {sent} messages for {queries} queries");
        }
        let events = |event| (0..LINKS_MAX as u16).map(|slot| totals.upstream(slot, event)).sum::<u64>();
        assert!(events(UpstreamEvent::Answered) <= events(UpstreamEvent::Sent), "more answers than messages");
        let counters = self.stage.shared.cache.counters();
        assert!(counters.bytes <= counters.size_bytes, "the cache keeps to its memory");
    }
}
