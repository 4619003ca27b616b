//! Foresight changes no answer: two cores with the same seed get the same messages from clients and servers, one of them
//! foresees them in groups, and what both send is the same byte for byte, whatever becomes of the policy, the cache and the
//! time meanwhile.

use crate::clients::{self, Sent};
use crate::policies::{OPEN, UNLIMITED};
use crate::stage::message::{A, ANSWER, Message};
use crate::stage::{Stage, after, inside, now, policy, udp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::net::SocketAddr;
use weir::cache::{Answer, Flags, Key, Lifetime, Vetted};
use weir::dns::name::Name;
use weir::gateway::From;
use weir::gateway::outbox::To;
use weir::policy::Policy;
use weir::policy::rrl::ResponseClass;
use weir::verdict::Outcome;

/// Names that make a filter a large one.
const LISTED: usize = 30_000;

/// Answers that make a cache one.
const FILLING: usize = 8_000;

/// Policies: with many names blocked, with others, with few, and with none.
fn policies() -> [Policy; 4] {
    let many: String = (0..LISTED).map(|number| format!("l{number}.filling.test\n")).collect();
    let lists =
        [many.clone() + "n1.plain.test\n*.blocked.test\n", many + "n2.plain.test\n", "n3.plain.test\n".to_owned()];
    let zone = "[zone]\ntitle = \"z\"\n[[rule]]\nid = \"r\"\nlist = \"lists/l\"\naction = \"nxdomain\"\n";
    let with = |mib: u32, list: Option<&str>| {
        let upstream = "[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
        let gateway = format!("schema = 1\n{upstream}[cache]\nsize = \"{mib}MiB\"\n");
        let files = [("gateway.toml", &*gateway), ("access.toml", OPEN), ("limits.toml", UNLIMITED)];
        let blocking = list.map(|list| [("filters/10-z.toml", zone), ("lists/l", list)]);
        policy(files.into_iter().chain(blocking.into_iter().flatten()))
    };
    [with(32, Some(&lists[0])), with(24, Some(&lists[1])), with(32, Some(&lists[2])), with(16, None)]
}

fn filling(number: usize) -> String {
    format!("c{number}.filling.test")
}

/// Both cores, and what they have gone through.
struct Twins {
    seeing: Stage,
    blind: Stage,
    rng: StdRng,
    millis: u64,
    asked: u64,
    /// Groups that were foreseen while the cache was large.
    foreseen: usize,
}

impl Twins {
    fn new(seed: u64, policies: &[Policy]) -> Self {
        let [seeing, blind] = std::array::from_fn(|_| Stage::new(policies[0].clone(), 1, 256, seed));
        Self { seeing, blind, rng: StdRng::seed_from_u64(seed), millis: 0, asked: 0, foreseen: 0 }
    }

    fn both(&mut self, mut act: impl FnMut(&mut Stage)) {
        act(&mut self.seeing);
        act(&mut self.blind);
    }

    fn fill(&mut self) {
        let at = after(self.millis);
        for number in 0..FILLING {
            let name = Name::from_text(&filling(number)).unwrap();
            let key = Key { name: &name, qtype: A, qclass: 1, flags: Flags::RD, client_subnet: &[] };
            let body = Message::answer_to(&Message::query(0, &filling(number), A).bytes());
            let ttl = 60 + number as u32 % 600;
            let body = body.record(ANSWER, &[0xC0, 12], A, ttl, &(number as u32).to_be_bytes()).bytes();
            let ttl_at = [(body.len() - 10) as u16];
            let answer = Answer {
                body: &body,
                options: &[],
                ttls: &ttl_at,
                lifetime: Lifetime { ttl, own_ttl: ttl, stale: 60, ttl_max: 86_400 },
                rcode: 0,
                class: ResponseClass::default(),
                vetted: Vetted::default(),
            };
            self.both(|stage| stage.shared.cache.insert(at, &key, &answer));
        }
    }

    fn message(&mut self) -> Sent {
        self.asked += 1;
        let mut sent = clients::message(&mut self.rng, self.asked);
        if self.rng.random_bool(0.4) {
            let name = filling(self.rng.random_range(0..FILLING));
            let mut query = Message::query(sent.bytes.first().map_or(0, |byte| u16::from(*byte)), &name, A);
            match self.rng.random_range(0..8) {
                0 => query = query.opt(1232, true, b""),
                1 => query = query.opt(1232, false, b"\0\x08\0\x07\0\x01\x18\0\x0a\x01\x02"),
                2 => query = query.opt(1232, false, b""),
                3 => query = query.flags(0),
                _ => {}
            }
            sent.bytes = query.bytes();
            sent.client = udp(SocketAddr::new(inside(self.rng.random_range(0..50)), sent.client.peer.port()));
        }
        sent
    }

    /// A group as a listener has it: seen and fetched, and then looked at one by one, some not at all.
    fn group(&mut self) {
        let group: Vec<Sent> = (0..self.rng.random_range(1..21)).map(|_| self.message()).collect();
        self.both(|stage| stage.workers[0].begin_batch());
        if group.len() > 1 {
            for sent in &group {
                self.seeing.workers[0].foresee(&sent.bytes);
            }
            self.seeing.workers[0].fetch_foreseen();
            self.foreseen += usize::from(self.seeing.shared.cache.is_large());
        }
        for sent in &group {
            if self.rng.random_bool(0.1) {
                continue;
            }
            self.millis += u64::from(self.rng.random_bool(0.2));
            let at = now(after(self.millis));
            self.both(|stage| stage.workers[0].on_query(at, sent.client, &sent.bytes, &mut stage.out));
            self.compare();
        }
        self.millis += 10;
        let at = now(after(self.millis));
        self.both(|stage| {
            stage.workers[0].on_tick(at, &mut stage.out);
            while stage.workers[0].take_rotated().is_some() {}
        });
        self.compare();
    }

    /// Both send the same; a server answers most of what is for it.
    fn compare(&mut self) {
        loop {
            let [seen, unseen] = [&mut self.seeing, &mut self.blind].map(|stage| {
                let out = &mut stage.out;
                let sent: Vec<_> = out.messages().iter().map(|m| (m.to, out.bytes(m).to_vec())).collect();
                out.clear();
                sent
            });
            assert_eq!(seen, unseen, "after {} messages", self.asked);
            if seen.is_empty() {
                return;
            }
            for (to, bytes) in seen {
                let from = match to {
                    To::Upstream(link) => From::Udp(link),
                    To::UpstreamStream(link) => From::Tcp(link),
                    _ => continue,
                };
                if self.rng.random_bool(0.2) {
                    continue;
                }
                let ttl = self.rng.random_range(0..100);
                let answer = Message::answer_to(&bytes);
                let answer = answer.record(ANSWER, &[0xC0, 12], A, ttl, &[192, 0, 2, self.rng.random()]).bytes();
                let at = now(after(self.millis));
                self.both(|stage| stage.workers[0].on_response(at, from, &answer, &mut stage.out));
            }
        }
    }
}

#[test]
fn what_is_foreseen_is_answered_as_what_is_not() {
    let policies = policies();
    for seed in 0..4 {
        let mut twins = Twins::new(seed, &policies);
        twins.fill();
        for _ in 0..150 {
            let at = after(twins.millis);
            match twins.rng.random_range(0..30) {
                0 => twins.both(|stage| stage.shared.cache.clear()),
                1 | 6 => twins.fill(),
                2 | 3 => {
                    let next = policies[twins.rng.random_range(0..policies.len())].clone();
                    twins.both(|stage| stage.reload(at, next.clone()));
                }
                4 | 5 => twins.millis += twins.rng.random_range(0..90_000),
                _ => {}
            }
            twins.group();
        }
        let [seen, unseen] = [&twins.seeing, &twins.blind].map(|stage| (stage.totals(), stage.shared.cache.counters()));
        assert_eq!(format!("{seen:?}"), format!("{unseen:?}"), "seed {seed}");
        let hits = seen.0.outcome(Outcome::CacheHit);
        assert!(hits > 200 && twins.foreseen > 30, "seed {seed}: {hits} hits, {} groups foreseen", twins.foreseen);
    }
}
