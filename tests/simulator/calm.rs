//! What must be true of every server that answers at once: its answers arrive, whatever it does with letters.

use crate::stage::message::{A, ANSWER, Message, id_of, question_end};
use crate::stage::{START, Stage, after, inside, now, policy, tcp, udp};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use weir::gateway::outbox::To;
use weir::gateway::{Client, From};

const UDP: &str = "schema = 1\n[[upstream]]\nname = \"u\"\naddress = \"192.0.2.1\"\n[cache]\nsize = 0\n";
const TCP: &str =
    "schema = 1\n[[upstream]]\nname = \"u\"\naddress = \"192.0.2.1\"\ntransport = \"tcp\"\n[cache]\nsize = 0\n";

/// A core before a server that sends all questions back in lower case.
struct Calm {
    stage: Stage,
    /// By id, how many milliseconds after its question each answer came.
    took: BTreeMap<u16, u64>,
    asked: BTreeMap<u16, u64>,
}

impl Calm {
    fn new(gateway: &str, seed: u64) -> Self {
        let stage = Stage::new(policy([("gateway.toml", gateway)]), 1, 1024, seed);
        Self { stage, took: BTreeMap::new(), asked: BTreeMap::new() }
    }

    fn ask(&mut self, millis: u64, client: Client, name: &str) -> Option<Vec<u8>> {
        let query = Message::query(millis as u16, name, A).bytes();
        self.asked.insert(millis as u16, millis);
        self.stage.workers[0].begin_batch();
        self.stage.workers[0].on_query(now(after(millis)), client, &query, &mut self.stage.out);
        self.deliver(millis)
    }

    fn tick(&mut self, millis: u64) {
        self.stage.workers[0].begin_batch();
        self.stage.workers[0].on_tick(now(after(millis)), &mut self.stage.out);
        while self.stage.workers[0].take_rotated().is_some() {}
        self.deliver(millis);
    }

    /// Answers what went upstream, at once; the last reply to a client.
    fn deliver(&mut self, millis: u64) -> Option<Vec<u8>> {
        let mut reply = None;
        loop {
            let out = &mut self.stage.out;
            let sent: Vec<_> = out.messages().iter().map(|m| (m.to, out.bytes(m).to_vec())).collect();
            out.clear();
            if sent.is_empty() {
                return reply;
            }
            for (to, bytes) in sent {
                let from = match to {
                    To::Upstream(link) => From::Udp(link),
                    To::UpstreamStream(link) => From::Tcp(link),
                    _ => {
                        let id = id_of(&bytes);
                        assert_eq!(bytes[3] & 15, 0, "query {id} fails");
                        self.took.insert(id, millis - self.asked[&id]);
                        reply = Some(bytes);
                        continue;
                    }
                };
                let mut answer = Message::answer_to(&bytes).record(ANSWER, &[0xC0, 12], A, 60, &[192, 0, 2, 7]).bytes();
                let end = question_end(&answer);
                answer[12..end - 4].make_ascii_lowercase();
                self.stage.workers[0].on_response(now(after(millis)), from, &answer, &mut self.stage.out);
            }
        }
    }
}

#[test]
fn a_server_that_folds_letters_is_slow_at_first_and_then_like_any_other() {
    for seed in 0..20 {
        let mut calm = Calm::new(UDP, seed);
        for millis in (10..6_000).step_by(10) {
            calm.tick(millis);
            // By accident some of the first come back in the letters in which they were sent.
            let name = if millis < 600 { "1.a." } else { "www.example.org" };
            calm.ask(millis, udp(SocketAddr::new(inside(millis as u32), 1000)), name);
        }
        (6_000..8_100).step_by(10).for_each(|millis| calm.tick(millis));
        assert_eq!(calm.took.len(), calm.asked.len(), "seed {seed}: not all are answered");
        let late = calm.took.iter().filter(|(id, took)| **took > if **id < 3_000 { 1_010 } else { 0 }).count();
        assert_eq!(late, 0, "seed {seed}: answers that took too long");
    }
}

#[test]
fn over_tcp_letters_prove_nothing_and_are_not_asked_for() {
    let mut calm = Calm::new(TCP, 1);
    let peer = SocketAddr::new(inside(1), 1000);
    for (n, client) in [(1, udp(peer)), (2, tcp(peer, 1))] {
        let reply = calm.ask(n, client, "wWw.eXample.org").expect("an answer");
        assert_eq!(&reply[12..16], b"\x03wWw", "the client's letters");
    }
    assert!(after(0) == START);
}
