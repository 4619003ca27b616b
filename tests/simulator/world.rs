//! The world around the cores: virtual time, an event heap, a network, and the book in which every query stands until it
//! is answered.

mod plan;
mod upstream;

use crate::answers::Who;
use crate::check::{Asked, Question, Reply, check, key, sight, who};
use crate::clients::{COOKIE, FEED, Kind, Sent};
use crate::invariants::{
    Book, Invariants, every_query_has_one_verdict, no_withheld_address_is_sent, nothing_unvetted_is_cached,
};
use crate::memory::{self, Count};
use crate::notices::is_heard;
use crate::policies::{EMERGENCY, MODE, PLAYS, Play};
use crate::servers::Server;
use crate::signatures::signed;
use crate::stage::message::{cookies_of, id_of, question_end, question_name};
use crate::stage::{EPOCH_MS, START, Stage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use weir::clock::Moment;
use weir::dns::query::Query;
use weir::gateway::outbox::{Outbox, To};
use weir::gateway::{Client, From, Gateway, LinkPort, Path};
use weir::ledger::{Totals, UpstreamEvent};
use weir::policy::emergency::EmergencyRule;
use weir::policy::filter::{Action, Pattern, Rule};
use weir::policy::overload::Pressure;
use weir::upstream::LINKS_MAX;
use weir::upstream::flights::ATTEMPTS_MAX;
use weir::verdict::{Outcome, Reason};

/// Flights of a core: few, so that some seeds fill them.
pub(crate) const FLIGHTS_MAX: usize = 96;

/// Names of the zone that a storm is about, when it is dead.
const DEAD: &str = "dead.test";

enum Event {
    Query(usize, Sent),
    /// To a worker over a use of a socket; with the question that it answers truly.
    Response(usize, From, u32, Vec<u8>, Option<Question>),
    Unreachable(usize, From),
    /// Of the message with this id.
    Ended(usize, From, u16),
    Tick(usize),
    Reload(Play),
    /// To the mode of every policy, or to none.
    Mode(bool),
    /// The emergency rule comes or goes.
    Emergency(bool),
    Mood(usize),
    /// A zone dies, or is back.
    Dead(bool),
    /// A worker is behind, or keeps up again.
    Pressure(usize, Pressure),
}

/// What came of a world.
pub(crate) struct End {
    /// The hash of all that the cores sent, and when.
    pub(crate) transcript: u64,
    pub(crate) totals: Totals,
    /// Messages whose connection ended.
    pub(crate) ended: u64,
    /// What replies have shown, of [`crate::check::SIGHTS`].
    pub(crate) sights: BTreeSet<&'static str>,
    /// The rules of the last policy, and whether each decided anything, or counted it.
    pub(crate) rules: Vec<(String, bool)>,
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
    /// The mode is on.
    mode: bool,
    /// The zone of the storm is dead.
    dead: bool,
    /// The part of datagrams to and from upstreams that is lost.
    loss: f64,
    servers: BTreeMap<SocketAddr, Server>,
    /// By client and id; of those that share both, the oldest first.
    open: BTreeMap<(String, u16), Vec<Asked>>,
    book: Book,
    invariants: Invariants,
    /// The cookie that each address got last.
    cookies: BTreeMap<IpAddr, Vec<u8>>,
    /// What was asked plainly, so that the cache can be asked at the end.
    plain: BTreeSet<Vec<u8>>,
    /// Queries over TCP whose driver was told that nothing will come.
    silences: u64,
    /// Messages to upstreams whose connection ended.
    ended: u64,
    /// When the truth about a question reached a core.
    delivered: BTreeMap<Question, Vec<Moment>>,
    sights: BTreeSet<&'static str>,
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
        let workers = rng.random_range(1..=3);
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 53));
        let servers = (10..14).map(|last| (address(last), Server::new(&mut rng))).collect();
        let mut stage = Stage::new(play.compile(), workers, FLIGHTS_MAX, seed);
        // Schedules change within the world.
        stage.epoch_ms = EPOCH_MS + rng.random_range(48_000..62_000);
        let loss = if rng.random_bool(0.5) { rng.random_range(0.0..0.2) } else { 0.0 };
        let mut world = Self {
            invariants: Invariants::new(START, play, &stage),
            stage,
            rng,
            heap: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            at: START,
            planned: START,
            play,
            mode: false,
            dead: false,
            loss,
            servers,
            open: BTreeMap::new(),
            book: Book { asked: 0, replies: 0, silent: 0, heard: 0 },
            cookies: BTreeMap::new(),
            plain: BTreeSet::new(),
            silences: 0,
            ended: 0,
            delivered: BTreeMap::new(),
            sights: BTreeSet::new(),
            asked_for: BTreeMap::new(),
            opaque: BTreeSet::new(),
            sockets: BTreeMap::new(),
            transcript: DefaultHasher::new(),
        };
        world.plan();
        world
    }

    fn push(&mut self, at: Moment, event: Event) {
        // Another policy may begin anew what waits.
        if matches!(event, Event::Query(..) | Event::Reload(_) | Event::Mode(_) | Event::Emergency(_)) {
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
        let (rules, sights) = (self.rules(), std::mem::take(&mut self.sights));
        let (transcript, totals) = (self.transcript.finish(), self.stage.totals());
        End { transcript, totals, ended: self.ended, sights, rules }
    }

    fn rules(&self) -> Vec<(String, bool)> {
        let running = self.stage.shared.live.load();
        let rules = running.policy.filter.rules().iter();
        let spoke = |rule: &Rule| rule.hits.read().is_some_and(|count| count.all() > 0);
        rules.map(|rule| (format!("{}: {}", self.play.name, rule.id), spoke(rule))).collect()
    }

    fn happen(&mut self, event: Event) {
        let at = self.stage.now(self.at);
        match event {
            Event::Query(worker, sent) => self.query(worker, sent),
            Event::Response(worker, from, socket, bytes, truth) => {
                if self.socket(worker, from) != socket {
                    return;
                }
                if let Some((name, qtype)) = truth {
                    self.invariants.answered(self.at, &name);
                    self.delivered.entry((name, qtype)).or_default().push(self.at);
                }
                let ended = self.call(worker, |core, out| core.on_response(at, from, &bytes, out));
                if ended > 0 {
                    let message = folded(&bytes);
                    self.invariants.ended_silently(|flight| {
                        flight.worker == worker && flight.message[..message.len().min(flight.message.len())] == message
                    });
                }
            }
            Event::Unreachable(worker, from) => {
                if self.call(worker, |core, out| core.on_unreachable(at, from, out)) > 0 {
                    self.invariants.ended_silently(|flight| flight.worker == worker);
                }
            }
            Event::Ended(worker, from, message) => {
                self.ended += 1;
                let silent = self.call(worker, |core, _| core.on_ended(at, from, message));
                assert_eq!(silent, 0, "what was due on a connection that has ended is for the next tick");
            }
            Event::Tick(worker) => self.tick(worker),
            Event::Reload(play) => {
                self.play = Play { emergency: self.play.emergency, strict: self.play.strict, ..play };
                self.stage.reload(self.at, play.compile());
                self.invariants.changed(self.at, self.play, self.mode);
            }
            Event::Mode(on) => {
                self.mode = on;
                self.play.strict = on;
                self.stage.switch(self.at, on.then_some(MODE));
                self.invariants.changed(self.at, self.play, self.mode);
            }
            Event::Emergency(on) => {
                self.play.emergency = on;
                let pattern = Pattern::parse(EMERGENCY).expect("a name");
                let rule = EmergencyRule { number: 1, pattern, action: Action::Refused };
                self.stage.block(self.at, if on { std::slice::from_ref(&rule) } else { &[] });
                self.invariants.changed(self.at, self.play, self.mode);
            }
            Event::Dead(dead) => self.dead = dead,
            Event::Pressure(worker, pressure) => self.stage.workers[worker].set_pressure(pressure),
            Event::Mood(server) => {
                let server = self.servers.values_mut().nth(server).expect("a server");
                server.change(&mut self.rng);
            }
        }
    }

    /// Calls into a core, and takes what it wants sent to where it goes; how many queries it ended without a reply.
    fn call(&mut self, worker: usize, call: impl FnOnce(&mut Gateway, &mut Outbox)) -> u64 {
        let (core, out) = (&mut self.stage.workers[worker], &mut self.stage.out);
        let waited = core.in_flight() as u64;
        let before: Count = memory::count();
        core.begin_batch();
        let adopted = memory::count();
        call(core, out);
        let after = memory::count();
        let waits = core.in_flight() as u64;
        self.invariants.memory_is_bounded(&self.stage, before, adopted, after);
        let replied = self.book.replies;
        self.deliver(worker, None);
        let silent = (waited + replied).checked_sub(waits + self.book.replies);
        let silent = silent.expect("no call but a query's leaves more waiting, or answers what has ended");
        self.book.silent += silent;
        silent
    }

    fn query(&mut self, worker: usize, mut sent: Sent) {
        let verified = self.show_cookie(&mut sent);
        if let Kind::Notify(signing) = sent.kind {
            sent.bytes = signed(&sent.bytes, signing, self.unix());
        }
        let waited = if self.rng.random_bool(0.01) { Duration::from_secs(2) } else { Duration::ZERO };
        self.note(&sent, verified);
        let at = self.stage.now(self.at);
        let (core, out) = (&mut self.stage.workers[worker], &mut self.stage.out);
        let in_flight = core.in_flight() as u64;
        let before = memory::count();
        core.begin_batch();
        let adopted = memory::count();
        if !core.is_late(sent.client, waited) {
            core.on_query(at, sent.client, &sent.bytes, out);
        }
        let after = memory::count();
        let waits = core.in_flight() as u64 - in_flight;
        self.invariants.memory_is_bounded(&self.stage, before, adopted, after);
        let (replied, heard) = (self.book.replies, self.book.heard);
        self.deliver(worker, Some(&sent));
        let left = std::iter::from_fn(|| self.stage.shared.notices.take()).map(|notice| notice.zone.to_string());
        let left: Vec<String> = left.collect();
        assert!(left.iter().all(|zone| zone.trim_end_matches('.') == FEED), "a notice of no feed: {left:?}");
        assert_eq!(
            left.len() as u64,
            self.book.heard - heard,
            "a NOTIFY is heard when its zone is looked at: {sent:02x?}"
        );
        let replied = self.book.replies - replied;
        assert!(replied + waits <= 1, "one verdict: {replied} replies at once, and {waits} wait: {sent:02x?}");
        if replied + waits == 0 {
            self.book.silent += 1;
            // No reply may come to it any more.
            if let Some(key) = key(&sent) {
                self.open.get_mut(&key).and_then(Vec::pop);
            }
        }
    }

    /// Puts the cookie on a query that its address was given, or at times somebody else's; whether it is its own.
    fn show_cookie(&mut self, sent: &mut Sent) -> bool {
        let Some(place) = sent.bytes.windows(COOKIE.len()).position(|window| window == COOKIE) else { return false };
        let ip = sent.client.peer.ip();
        let own = self.rng.random_bool(0.8);
        let found = self.cookies.iter().find(|(holder, _)| (**holder == ip) == own);
        let Some((_, cookie)) = found.filter(|_| sent.kind == Kind::Plain) else { return false };
        sent.bytes[place..place + COOKIE.len()].copy_from_slice(cookie);
        own
    }

    fn tick(&mut self, worker: usize) {
        let at = self.stage.now(self.at);
        self.call(worker, |core, out| core.on_tick(at, out));
        let core = &mut self.stage.workers[worker];
        while let Some(LinkPort { link, port }) = core.take_rotated() {
            *self.sockets.entry((worker, link.slot, link.generation, port)).or_default() += 1;
        }
        let pause = if core.in_flight() > 0 { 10 } else { 50 };
        self.push(self.at.plus(Duration::from_millis(pause)), Event::Tick(worker));
    }

    /// The wall clock, in milliseconds after [`EPOCH_MS`].
    fn clock_ms(&self) -> u64 {
        self.stage.now(self.at).unix_ms - EPOCH_MS
    }

    /// Unix time, in seconds.
    fn unix(&self) -> u64 {
        self.stage.now(self.at).unix_ms / 1000
    }

    /// Which use of a port's socket it is now.
    fn socket(&self, worker: usize, from: From) -> u32 {
        let From::Udp(LinkPort { link, port }) = from else { return 0 };
        self.sockets.get(&(worker, link.slot, link.generation, port)).copied().unwrap_or_default()
    }

    fn note(&mut self, sent: &Sent, verified: bool) {
        self.book.asked += 1;
        if sent.kind == Kind::Plain {
            self.plain.insert(sent.bytes.clone());
        }
        if matches!(sent.kind, Kind::Opaque | Kind::Notify(_) | Kind::Mutated) {
            self.opaque.insert(sent.bytes.get(2..).unwrap_or_default().to_vec());
        }
        let mut over = false;
        if let Ok(query) = Query::scan(&sent.bytes) {
            over = self.invariants.may_be_over(self.at, &question_name(&sent.bytes), sent.client.peer.ip());
            self.asked_for.entry(query.name.to_string()).or_default().0 += 1;
        }
        if let Some(key) = key(sent) {
            let open = self.open.entry(key).or_default();
            open.iter_mut().for_each(|other| other.doubled = true);
            let doubled = !open.is_empty();
            open.push(Asked { sent: sent.clone(), at: self.at, play: self.play, verified, over, doubled });
        }
    }

    /// Takes what a core wants sent to where it goes; `asker`: it was called with this query.
    fn deliver(&mut self, worker: usize, asker: Option<&Sent>) {
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
                To::Upstream(link) => self.forward(worker, From::Udp(link), link, &bytes, asker),
                To::UpstreamStream(link) => self.forward(worker, From::Tcp(link), link, &bytes, asker),
                To::Transfer { .. } => {}
                To::Silence(_) => self.silences += 1,
            }
        }
    }

    fn reply(&mut self, client: &Client, bytes: &[u8]) {
        let key = (who(client), id_of(bytes));
        let (clock_ms, unix, since) = (self.clock_ms(), self.unix(), self.invariants.since());
        let open = self.open.get_mut(&key).filter(|open| !open.is_empty());
        let open = open.unwrap_or_else(|| panic!("{key:?} gets a reply that it does not wait for: {bytes:02x?}"));
        self.book.replies += 1;
        let mut wrong = String::new();
        // Who asked twice with one id may get its answers in any order, and nobody knows which was dropped.
        let fits = open.iter().position(|asked| {
            let who = Who { client: asked.sent.client.peer.ip(), clock_ms };
            let (changes, delivered) = (self.invariants.changes_since(asked.at), &self.delivered);
            let reply = Reply { bytes, at: self.at, play: self.play, who, since, changes, unix, delivered };
            let checked = check(asked, &reply);
            self.sights.extend(checked.is_ok().then(|| sight(asked, &reply)).flatten());
            checked.inspect_err(|error| wrong.clone_from(error)).is_ok()
        });
        let (at, play) = (self.at.since(START), self.play.name);
        let fits =
            fits.unwrap_or_else(|| panic!("at {at:?} under {play}: {wrong}\nasked: {open:02x?}\nreply: {bytes:02x?}"));
        let asked = open.remove(fits);
        self.invariants.landed(&key);
        self.book.heard += u64::from(matches!(asked.sent.kind, Kind::Notify(_)) && is_heard(bytes));
        if asked.sent.kind == Kind::Plain {
            let who = Who { client: asked.sent.client.peer.ip(), clock_ms };
            no_withheld_address_is_sent(&self.play, &who, &asked.sent.bytes, bytes);
            self.invariants.took_from_a_budget(&asked, bytes);
        }
        let peer = asked.sent.client.peer.ip();
        if let [cookie] = &cookies_of(bytes)[..]
            && cookie.len() == COOKIE.len()
        {
            self.cookies.insert(peer, cookie.clone());
        }
        if matches!(client.path, Path::Udp { .. }) && asked.sent.kind != Kind::Mutated {
            let whom = (peer, asked.verified);
            self.invariants.bytes_toward_an_unverified_network_are_bounded(self.at, whom, &asked.sent.bytes, bytes);
        }
    }

    /// Every query is counted or in flight.
    fn balance(&self) {
        every_query_has_one_verdict(&self.stage, &self.book, false);
        let in_flight = self.stage.in_flight() as u64;
        let attempts = in_flight * ATTEMPTS_MAX as u64;
        assert!(self.stage.shared.storm.inflight.total() <= attempts, "a place that no attempt holds");
    }

    fn end(&mut self) {
        every_query_has_one_verdict(&self.stage, &self.book, true);
        self.invariants.no_budget_lets_more_through();
        self.plain.iter().for_each(|asked| nothing_unvetted_is_cached(&self.stage, self.at, asked));
        let totals = self.stage.totals();
        assert_eq!(self.stage.shared.storm.inflight.total(), 0, "a zone still holds a place");
        let unanswered = [Outcome::Dropped, Outcome::Malformed];
        let over_tcp = |outcome| Reason::ALL.iter().map(move |reason| (outcome, *reason));
        let unanswered = unanswered.into_iter().flat_map(over_tcp);
        let silent: u64 = unanswered.map(|(outcome, reason)| totals.queries(outcome, reason, true)).sum();
        assert_eq!(self.silences, silent, "who waits on a connection is told that nothing will come");
        let attempts = PLAYS.iter().map(|play| play.attempts_max).max().unwrap_or(1);
        let mut asked_for = self.asked_for.clone();
        for (name, (queries, _)) in &self.asked_for {
            // Who is led elsewhere asks for the target too, and begins anew with each policy.
            let ways = PLAYS.iter().map(|play| play.targets(name.trim_end_matches('.')));
            let targets: BTreeSet<String> = ways.flatten().chain([name.clone()]).collect();
            let times = if targets.len() > 1 { u64::from(self.invariants.changes_since(START)) + 1 } else { 0 };
            for target in targets {
                asked_for.entry(target).or_default().0 += queries * times;
            }
        }
        for (name, (queries, sent)) in &asked_for {
            assert!(*sent <= queries * attempts, "{name}: {sent} messages for {queries} queries");
        }
        let events = |event| (0..LINKS_MAX as u16).map(|slot| totals.upstream(slot, event)).sum::<u64>();
        assert!(events(UpstreamEvent::Answered) <= events(UpstreamEvent::Sent), "more answers than messages");
    }
}

/// A message with its id and flags away, and its letters folded: what an upstream is asked, and its answer begins with.
fn folded(message: &[u8]) -> Vec<u8> {
    if message.len() < 17 {
        return Vec::new();
    }
    message[12..question_end(message)].to_ascii_lowercase()
}
