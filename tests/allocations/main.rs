//! The path of a query allocates nothing, and what it remembers does not grow: held by an allocator that counts.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

mod foresight;
#[path = "../stage/memory.rs"]
mod memory;
mod rules;
#[path = "../stage/mod.rs"]
mod stage;

use domain::base::iana::Opcode;
use domain::base::{MessageBuilder, Name, Rtype};
use domain::rdata::tsig::Time48;
use domain::tsig::{Algorithm, ClientTransaction, Key};
use memory::count;
use stage::message::{A, ADDITIONAL, ANSWER, AUTHORITY, HTTPS, Message, NS, SOA, question_end};
use stage::{EPOCH_MS, Stage, after, inside, now, policy, udp};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use weir::gateway::From;
use weir::gateway::outbox::To;
use weir::verdict::{Outcome, Reason};

const OPERATIONS: u64 = 10_000;

const GATEWAY: &str = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n[[upstream]]\nname = \"b\"\n\
                       address = \"192.0.2.2\"\n[cache]\nsize = \"4MiB\"\n[log]\nqueries = \"all\"\n";
const FILTER: &str = "[zone]\ntitle = \"t\"\n[[rule]]\nid = \"n\"\nnames = [\"blocked.test\"]\naction = \"nxdomain\"\n\
                      [[rule]]\nid = \"d\"\nnames = [\"dropped.test\"]\naction = \"drop\"\n\
                      [[rule]]\nid = \"s\"\nnames = [\"=night.test\"]\naction = \"refused\"\nschedule = \"night\"\n\
                      [[rule]]\nid = \"e\"\nnames = [\"night.test\"]\naction = \"nxdomain\"\n";
const CLIENTS: &str =
    "[[schedule]]\nname = \"night\"\ntz = \"Europe/Berlin\"\nwindows = [{ from = \"22:00\", to = \"06:00\" }]\n";

/// The workers with what an operation needs at hand.
struct Bench {
    stage: Stage,
    /// Milliseconds since the start.
    millis: u64,
    query: Vec<u8>,
    asked: Vec<u8>,
    from: Option<From>,
}

impl Bench {
    fn new(limits: &str, query: Message) -> Self {
        Self::with_rules(FILTER, limits, query)
    }

    fn with_rules(filter: &str, limits: &str, query: Message) -> Self {
        let files = [
            ("gateway.toml", GATEWAY),
            ("clients.toml", CLIENTS),
            ("filters/10-t.toml", filter),
            ("limits.toml", limits),
        ];
        let stage = Stage::new(policy(files), 1, 4096, 1);
        Self { stage, millis: 0, query: query.bytes(), asked: Vec::with_capacity(2048), from: None }
    }

    /// A query with this number.
    fn ask(&mut self, number: u64, ip: IpAddr) {
        enter_number(&mut self.query, number);
        let at = now(after(self.millis));
        self.stage.workers[0].begin_batch();
        self.stage.workers[0].on_query(at, udp(SocketAddr::new(ip, 5353)), &self.query, &mut self.stage.out);
        self.from = None;
        let out = &self.stage.out;
        for message in out.messages() {
            if let To::Upstream(link) = message.to {
                self.from = Some(From::Udp(link));
                self.asked.clear();
                self.asked.extend_from_slice(out.bytes(message));
            }
        }
        self.stage.out.clear();
    }

    /// Answers what was asked last, with the records of `template` behind its question.
    fn answer(&mut self, template: &[u8]) {
        let end = question_end(template);
        self.asked.truncate(question_end(&self.asked));
        self.asked.extend_from_slice(&template[end..]);
        self.asked[2..12].copy_from_slice(&template[2..12]);
        let from = self.from.take().expect("an upstream was asked");
        self.stage.workers[0].on_response(now(after(self.millis)), from, &self.asked, &mut self.stage.out);
        self.stage.out.clear();
    }

    fn tick(&mut self) {
        self.millis += 10;
        self.stage.workers[0].begin_batch();
        self.stage.workers[0].on_tick(now(after(self.millis)), &mut self.stage.out);
        while self.stage.workers[0].take_rotated().is_some() {}
        self.stage.out.clear();
    }

    fn counted(&self, outcome: Outcome, reason: Reason) -> u64 {
        self.stage.totals().queries(outcome, reason, false)
    }
}

/// Numbers a query in its id, and in its first label if that has ten bytes.
fn enter_number(query: &mut [u8], number: u64) {
    query[..2].copy_from_slice(&(number as u16).to_be_bytes());
    if query.get(12) == Some(&10) {
        let mut rest = number;
        for digit in query[13..23].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// Does something often, after a little warming up, and holds that it allocates nothing and keeps nothing.
fn allocates_nothing(what: &str, bench: &mut Bench, operation: &mut dyn FnMut(&mut Bench, u64)) {
    (0..200).for_each(|number| operation(bench, number));
    let before = (count().allocations, count().live);
    for number in 200..200 + OPERATIONS {
        bench.millis += 1;
        operation(bench, number);
    }
    let after = (count().allocations, count().live);
    assert_eq!(before, after, "{what}: allocations and live bytes");
}

const OFF: &str = "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n";

fn positive() -> Vec<u8> {
    Message::query(0, "x", A)
        .flags(0x8180)
        .record(ANSWER, &[0xC0, 12], A, 300, &[192, 0, 2, 1])
        .opt(1232, false, b"")
        .bytes()
}

#[test]
fn the_allocator_counts() {
    let before = count().allocations;
    drop(vec![1, 2, 3]);
    assert!(count().allocations > before);
}

#[test]
fn a_cached_answer() {
    let mut bench = Bench::new(OFF, Message::query(1, "www.test", A).opt(1232, true, b""));
    bench.ask(0, inside(1));
    bench.answer(&positive());
    allocates_nothing("a cached answer", &mut bench, &mut |bench, n| bench.ask(n, inside(n as u32)));
    // It lives for 300 s; the operations take 10.
    assert_eq!(bench.counted(Outcome::CacheHit, Reason::None), OPERATIONS + 200);
}

#[test]
fn a_rule_whose_schedule_comes_and_goes() {
    let mut bench = Bench::new(OFF, Message::query(1, "night.test", A));
    // An hour for each query: a year and more, with both changes of the clock.
    let mut rule = |bench: &mut Bench, number: u64| {
        bench.millis += 3_600_000;
        bench.ask(number, inside(number as u32));
    };
    allocates_nothing("a schedule", &mut bench, &mut rule);
    let running = bench.stage.shared.live.load();
    let hits = |id: &str| {
        running.counted_rules().find(|rule| rule.id == id).and_then(|rule| rule.hits.read()).unwrap().decided
    };
    let (night, all) = (hits("s"), OPERATIONS + 200);
    assert_eq!(night + hits("e"), all, "each query is decided by one of the two");
    assert!((all * 8 / 24 - 20..all * 8 / 24 + 20).contains(&night), "eight hours of each day: {night}");
}

#[test]
fn a_forwarded_query_and_its_answer() {
    let mut bench = Bench::new(OFF, Message::query(1, "0000000000.www.test", A).opt(1232, false, b""));
    let (positive, negative) = (positive(), Message::query(0, "x", A).flags(0x8183).soa("test", 60).bytes());
    allocates_nothing("a forwarded query", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(n as u32));
        bench.answer(if n % 3 == 0 { &negative } else { &positive });
    });
    assert_eq!(bench.counted(Outcome::Forwarded, Reason::None), OPERATIONS + 200);
}

#[test]
fn an_answer_that_is_malformed_or_late() {
    let mut bench = Bench::new(OFF, Message::query(1, "0000000000.www.test", A));
    let broken = [&positive()[..], b"x"].concat();
    allocates_nothing("a malformed response", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(n as u32));
        bench.answer(&broken);
        // The retry, the failure, the SERVFAIL.
        if n % 8 == 0 {
            (0..220).for_each(|_| bench.tick());
        }
    });
    assert!(bench.counted(Outcome::Failed, Reason::Timeout) > OPERATIONS / 2);
}

#[test]
fn a_refused_upstream() {
    let mut bench = Bench::new(OFF, Message::query(1, "0000000000.www.test", A));
    allocates_nothing("an unreachable upstream", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(n as u32));
        if let Some(from) = bench.from {
            let at = now(after(bench.millis));
            bench.stage.workers[0].on_unreachable(at, from, &mut bench.stage.out);
            bench.stage.out.clear();
        }
        bench.tick();
    });
}

#[test]
fn a_refused_client() {
    let mut bench = Bench::new(OFF, Message::query(1, "www.test", A).opt(1232, false, b""));
    allocates_nothing("a refused client", &mut bench, &mut |bench, n| {
        bench.ask(n, IpAddr::from([198, 51, 100, n as u8]));
    });
    assert_eq!(bench.counted(Outcome::Denied, Reason::Access), OPERATIONS + 200);
}

#[test]
fn a_client_over_its_limit() {
    let limits =
        "[source]\nrate = 1\nburst = 1\nslip = 2\nmemory = \"1MiB\"\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n";
    let mut bench = Bench::new(limits, Message::query(1, "www.blocked.test", A));
    allocates_nothing("a limited source", &mut bench, &mut |bench, n| bench.ask(n, inside(1)));
    let over = bench.counted(Outcome::Dropped, Reason::Source) + bench.counted(Outcome::Truncated, Reason::Source);
    assert!(over > OPERATIONS - 20, "{over}");
}

#[test]
fn a_limited_response() {
    let limits =
        "[source]\nmode = \"off\"\nmemory = \"1MiB\"\n[rrl]\nmode = \"enforce\"\nnxdomains = 1\nmemory = \"1MiB\"\n";
    let mut bench = Bench::new(limits, Message::query(1, "www.blocked.test", A));
    allocates_nothing("a limited response", &mut bench, &mut |bench, n| bench.ask(n, inside(1)));
    let over = bench.counted(Outcome::Dropped, Reason::Rrl) + bench.counted(Outcome::Truncated, Reason::Rrl);
    assert!(over > OPERATIONS - 20, "{over}");
}

#[test]
fn a_cookie_learned_or_wrong() {
    let alone = Message::query(1, "www.test", A).opt(1232, false, b"\0\x0a\0\x08abcdefgh");
    let mut bench = Bench::new(OFF, alone);
    bench.ask(0, inside(1));
    bench.answer(&positive());
    allocates_nothing("a cookie learned", &mut bench, &mut |bench, n| bench.ask(n, inside(n as u32)));
    assert_eq!(bench.counted(Outcome::CacheHit, Reason::None), OPERATIONS + 200);

    let limits = format!("{OFF}[cookies]\nbadcookies = 1000000\n");
    let wrong = Message::query(1, "www.test", A).opt(1232, false, b"\0\x0a\0\x18abcdefgh\x01\0\0\0wrong cookie");
    let mut bench = Bench::new(&limits, wrong);
    allocates_nothing("a wrong cookie", &mut bench, &mut |bench, n| bench.ask(n, inside(n as u32)));
    assert_eq!(bench.counted(Outcome::Rejected, Reason::Cookies), OPERATIONS + 200);
}

#[test]
fn a_packet_that_is_no_query() {
    let mut broken = Message::query(1, "www.test", A).record(AUTHORITY, &[0], A, 0, b"");
    broken.0.push(7);
    let mut bench = Bench::new(OFF, broken);
    allocates_nothing("a malformed packet", &mut bench, &mut |bench, n| bench.ask(n, inside(n as u32)));
    assert_eq!(bench.counted(Outcome::Rejected, Reason::Malformed), OPERATIONS + 200);
}

#[test]
fn a_tick() {
    let mut bench = Bench::new(OFF, Message::query(1, "0000000000.www.test", A));
    allocates_nothing("a tick", &mut bench, &mut |bench, n| {
        if n % 16 == 0 {
            bench.ask(n, inside(n as u32));
        }
        bench.tick();
    });
}

/// Eight million forged sources within four seconds (two within one without optimisation), each once, and a hundred honest
/// clients between them: nothing is allocated for anybody, and no honest query is limited.
#[test]
fn millions_of_forged_sources() {
    const FORGED: u64 = if cfg!(debug_assertions) { 2_000_000 } else { 8_000_000 };
    const PER_SECOND: u64 = 2_000_000;
    const HONEST: u32 = 100;
    let limits = "[source]\nrate = 20\nburst = 50\nslip = 2\n[rrl]\nmode = \"off\"\nmemory = \"1MiB\"\n";
    let files = [
        ("gateway.toml", &*GATEWAY.replace("queries = \"all\"", "queries = \"none\"")),
        ("clients.toml", CLIENTS),
        ("filters/10-t.toml", FILTER),
        ("limits.toml", limits),
        ("access.toml", "allow = [\"0.0.0.0/0\"]\n"),
    ];
    let mut stage = Stage::new(policy(files), 1, 256, 1);
    let flood = Message::query(7, "dropped.test", A).bytes();
    let honest = Message::query(8, "www.blocked.test", A).bytes();
    let before = (count().allocations, count().live);
    let mut replies = 0;
    for number in 0..FORGED {
        let at = now(stage::START.plus(std::time::Duration::from_nanos(number * 500)));
        // A full-period generator: no address comes twice.
        let forged = (number as u32).wrapping_mul(0x9E37_79B1).wrapping_add(12_345);
        let peer = SocketAddr::new(IpAddr::from(forged.to_be_bytes()), 53);
        stage.workers[0].on_query(at, udp(peer), &flood, &mut stage.out);
        // Ten queries of each honest client within a second.
        if number % (PER_SECOND / u64::from(HONEST * 10)) == 0 {
            assert!(stage.out.messages().is_empty(), "what is forged gets no answer");
            let client = SocketAddr::new(inside(((number / 2000) as u32 % HONEST) << 14), 53);
            stage.workers[0].on_query(at, udp(client), &honest, &mut stage.out);
            replies += stage.out.messages().len();
        }
        // Over a limit of its network a forged source gets TC=1 now and then.
        stage.out.clear();
    }
    assert_eq!((count().allocations, count().live), before, "allocations and live bytes");
    let totals = stage.totals();
    let asked = u64::from(HONEST) * 10 * FORGED / PER_SECOND;
    assert_eq!(totals.all(), FORGED + asked);
    assert_eq!(replies as u64, asked, "every honest query is answered");
    assert_eq!(totals.queries(Outcome::Denied, Reason::Filter, false), asked);
}

/// A NOTIFY for the zone of a feed, signed with its key at the start of virtual time.
fn signed_notify(secret: &[u8]) -> Vec<u8> {
    let key = Key::new(Algorithm::Sha256, secret, "key.example".parse().unwrap(), None, None).unwrap();
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(7);
    message.header_mut().set_opcode(Opcode::NOTIFY);
    let mut message = message.question();
    message.push((Name::<Vec<u8>>::from_str("rpz.example").unwrap(), Rtype::SOA)).unwrap();
    let mut message = message.additional();
    let at = Time48::from_u64(EPOCH_MS / 1000);
    ClientTransaction::request(Arc::new(key), &mut message, at).unwrap();
    message.finish()
}

#[test]
fn a_notify_for_a_feed_signed_or_forged_or_without_a_key() {
    let feed = |tsig: &str| {
        format!("{GATEWAY}[[feed]]\nname = \"f\"\nprimary = \"10.1.0.53\"\nzone = \"rpz.example\"\n{tsig}")
    };
    let secret = b"secret that is only for tests!!!";
    let keyed =
        feed("tsig = { name = \"key.example\", algorithm = \"hmac-sha256\", secret_file = \"tsig.secrets\" }\n");
    let right = signed_notify(secret);
    let forged = signed_notify(b"another secret, as long as that.");
    let plain = Message::query(7, "rpz.example", SOA).flags(0x2000).bytes();
    // The error in the answer's TSIG (RFC 8945 section 4.2): of a wrong signature BADSIG.
    for (what, gateway, notify, outcome, error) in [
        ("a signed NOTIFY", &keyed, right, Outcome::Notified, Some(0)),
        ("a forged NOTIFY", &keyed, forged, Outcome::Denied, Some(16)),
        ("a NOTIFY", &feed(""), plain, Outcome::Notified, None),
    ] {
        let files = [
            ("gateway.toml", &**gateway),
            ("limits.toml", OFF),
            ("tsig.secrets", "key.example c2VjcmV0IHRoYXQgaXMgb25seSBmb3IgdGVzdHMhISE=\n"),
        ];
        let stage = Stage::new(policy(files), 1, 4096, 1);
        let mut bench = Bench { stage, millis: 0, query: notify, asked: Vec::new(), from: None };
        let (mut answered, mut wrongly) = (0_u64, 0);
        allocates_nothing(what, &mut bench, &mut |bench, _| {
            let (at, client) = (now(after(bench.millis)), udp("10.1.0.53:5353".parse().unwrap()));
            bench.stage.workers[0].begin_batch();
            bench.stage.workers[0].on_query(at, client, &bench.query, &mut bench.stage.out);
            answered += bench.stage.out.messages().len() as u64;
            // It stands before the length of the Other Data, of which there is none.
            let told = bench.stage.out.messages().first().and_then(|answer| bench.stage.out.bytes(answer).last_chunk());
            wrongly += u64::from(error.is_some_and(|error| told != Some(&[0, error, 0, 0])));
            bench.stage.out.clear();
            while bench.stage.shared.notices.take().is_some() {}
        });
        assert_eq!((answered, wrongly), (OPERATIONS + 200, 0), "{what}");
        let reason = if outcome == Outcome::Denied { Reason::Notify } else { Reason::None };
        assert_eq!(bench.counted(outcome, reason), OPERATIONS + 200, "{what}");
    }
}
