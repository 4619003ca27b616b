//! Storms in virtual time, over several workers: a zone that is dead and comes back, a living one under random names, and
//! in between the ordinary questions of the same clients, which must not notice.

use crate::stage::message::{A, ANSWER, Message, id_of, question_name};
use crate::stage::{Stage, after, inside, now, policy, udp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;
use weir::gateway::From;
use weir::gateway::outbox::To;
use weir::ledger::Totals;

const WORKERS: usize = 3;

/// The capacity is 200, so that a zone may hold 10, and 100 while it answers well.
const FILES: [(&str, &str); 2] = [
    (
        "gateway.toml",
        "schema = 1\n[[upstream]]\nname = \"u\"\naddress = \"192.0.2.1\"\n\
         [pool.default]\ninflight = 200\nhealth = { interval = \"200ms\" }\n",
    ),
    ("limits.toml", "[source]\nmode = \"off\"\n[storm]\nunknown = 30\n"),
];
const SHARE: usize = 10;
const HALF: usize = 100;

/// When the dead zone comes back, and how long everything lasts, in milliseconds.
const RECOVERS: u64 = 3_500;
const END: u64 = 9_500;

/// What the server takes for an answer.
const LATENCY: Duration = Duration::from_millis(20);

struct Play {
    stage: Stage,
    rng: StdRng,
    millis: u64,
    /// Answers on their way, by when they arrive.
    coming: BTreeMap<u64, Vec<(usize, From, Vec<u8>)>>,
    /// Names at the server without an answer, by zone, and when they were asked.
    waiting: HashMap<String, BTreeMap<String, u64>>,
    /// Questions without a reply: by id and client, the name and when it was asked.
    open: HashMap<(u16, SocketAddr), (String, u64)>,
    /// Ordinary questions asked and answered well; of those to the zone that was dead, the same since it has to be back.
    ordinary: [u32; 2],
    back: [u32; 2],
    id: u16,
}

fn zone(name: &str) -> String {
    name.split_once('.').map_or_else(String::new, |(_, zone)| zone.to_owned())
}

impl Play {
    fn query(&mut self, name: &str) {
        self.id = self.id.wrapping_add(1);
        let peer = SocketAddr::new(inside(self.rng.random_range(0..200)), 1024 + self.id % 5000);
        let query = Message::query(self.id, name, A).bytes();
        let worker = self.rng.random_range(0..WORKERS);
        if name.contains("other") {
            self.ordinary[0] += 1;
        } else if name.ends_with("dead.test") && self.millis >= RECOVERS + 5_000 {
            self.back[0] += 1;
        }
        self.open.insert((self.id, peer), (name.to_owned(), self.millis));
        self.stage.workers[worker].begin_batch();
        let at = now(after(self.millis));
        self.stage.workers[worker].on_query(at, udp(peer), &query, &mut self.stage.out);
        self.deliver(worker);
    }

    fn deliver(&mut self, worker: usize) {
        let out = &mut self.stage.out;
        let sent: Vec<_> = out.messages().iter().map(|message| (message.to, out.bytes(message).to_vec())).collect();
        out.clear();
        for (to, bytes) in sent {
            match to {
                To::Client { peer, .. } => self.reply(peer, &bytes),
                To::Upstream(link) => self.serve(worker, From::Udp(link), &bytes),
                other => panic!("nobody is on TCP: {other:?}"),
            }
        }
    }

    fn reply(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let (name, asked) = self.open.remove(&(id_of(bytes), peer)).expect("somebody asked");
        let (truncated, rcode) = (bytes[2] & 2 != 0, bytes[3] & 15);
        if name.contains("other") {
            assert!(rcode == 0 && !truncated, "{name} at {} ms: rcode {rcode}", self.millis);
            self.ordinary[1] += 1;
        } else if name.contains("real") {
            assert!(rcode == 0 && !truncated, "{name} at {} ms: it exists", self.millis);
        } else if name.ends_with("live.test") {
            assert!(rcode == 3 || truncated || rcode == 2, "{name} is not invented");
        } else if asked >= RECOVERS + 5_000 {
            self.back[1] += u32::from(rcode == 0);
        }
    }

    fn serve(&mut self, worker: usize, from: From, bytes: &[u8]) {
        let name = question_name(bytes).to_ascii_lowercase();
        let dead = name.ends_with("dead.test") && self.millis < RECOVERS;
        if !name.is_empty() {
            let waiting = self.waiting.entry(zone(&name)).or_default();
            waiting.entry(name.clone()).or_insert(self.millis);
            // Nobody waits for them any more.
            waiting.retain(|_, asked| self.millis - *asked < 2_000);
            let bound = if dead { SHARE } else { HALF };
            assert!(waiting.len() <= bound, "{name} at {} ms: {} wait", self.millis, waiting.len());
        }
        if dead {
            return;
        }
        let answer = Message::answer_to(bytes);
        let absent = name.ends_with("live.test") && !name.contains("real");
        let answer = match absent {
            true => answer.rcode(3).soa("live.test", 60),
            false => answer.record(ANSWER, &[0xC0, 12], A, 1, &[192, 0, 2, 7]),
        };
        let arrives = self.millis + LATENCY.as_millis() as u64;
        self.coming.entry(arrives).or_default().push((worker, from, answer.bytes()));
    }

    fn step(&mut self) {
        for (worker, from, bytes) in self.coming.remove(&self.millis).unwrap_or_default() {
            let name = question_name(&bytes).to_ascii_lowercase();
            if let Some(waiting) = self.waiting.get_mut(&zone(&name)) {
                waiting.remove(&name);
            }
            self.stage.workers[worker].begin_batch();
            let at = now(after(self.millis));
            self.stage.workers[worker].on_response(at, from, &bytes, &mut self.stage.out);
            self.deliver(worker);
        }
        if self.millis.is_multiple_of(10) {
            for worker in 0..WORKERS {
                self.stage.workers[worker].on_tick(now(after(self.millis)), &mut self.stage.out);
                while self.stage.workers[worker].take_rotated().is_some() {}
                self.deliver(worker);
            }
        }
    }
}

/// One storm; all its totals.
pub(crate) fn run(seed: u64) -> Totals {
    let mut play = Play {
        stage: Stage::new(policy(FILES), WORKERS, 2_048, seed),
        rng: StdRng::seed_from_u64(seed),
        millis: 0,
        coming: BTreeMap::new(),
        waiting: HashMap::new(),
        open: HashMap::new(),
        ordinary: [0; 2],
        back: [0; 2],
        id: 0,
    };
    while play.millis < END {
        play.step();
        // What exists in the living zone is asked for before the flood, and in between.
        if play.millis < 500 && play.millis.is_multiple_of(10) || play.millis.is_multiple_of(100) {
            let name = format!("real{}.live.test", play.millis / 10 % 50);
            play.query(&name);
        }
        if play.millis > 700 {
            let (random, dead): (u32, u32) = (play.rng.random(), play.rng.random_range(0..100_000));
            play.query(&format!("r{random}.live.test"));
            play.query(&format!("d{dead}.dead.test"));
        }
        if play.millis.is_multiple_of(3) {
            let name = format!("w{}.other{}.test", play.millis, play.millis % 40);
            play.query(&name);
        }
        play.millis += 1;
    }
    for _ in 0..2_100 {
        play.step();
        play.millis += 1;
    }
    assert!(play.open.is_empty(), "seed {seed}: {} questions without a reply", play.open.len());
    assert_eq!(play.ordinary[0], play.ordinary[1], "seed {seed}: ordinary questions");
    assert_eq!(play.back[0], play.back[1], "seed {seed}: five seconds after its recovery the zone is back to normal");
    assert_eq!(play.stage.shared.storm.inflight.total(), 0, "seed {seed}: a place was not given back");
    play.stage.totals()
}

#[test]
fn ordinary_questions_do_not_notice_a_dead_zone_nor_random_names() {
    (21..24).for_each(|seed| drop(run(seed)));
}
