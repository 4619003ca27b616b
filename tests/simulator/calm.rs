//! What must be true of every server that answers at once: its answers arrive, whatever it does with letters.

use crate::stage::message::{A, ANSWER, Message};
use crate::stage::{START, Stage, after, inside, now, policy, tcp, udp};
use std::net::SocketAddr;
use weir::gateway::outbox::To;
use weir::gateway::{Client, From};

const UDP: &str = "schema = 1\n[[upstream]]\nname = \"u\"\naddress = \"192.0.2.1\"\n[cache]\nsize = 0\n";
const TCP: &str =
    "schema = 1\n[[upstream]]\nname = \"u\"\naddress = \"192.0.2.1\"\ntransport = \"tcp\"\n[cache]\nsize = 0\n";

/// Asks a question of a server that sends all questions back in lower case, and says what the client got at once.
fn ask_a_folding_server(stage: &mut Stage, millis: u64, client: Client, name: &str) -> Option<Vec<u8>> {
    let query = Message::query(millis as u16, name, A).bytes();
    let at = now(after(millis));
    stage.workers[0].begin_batch();
    stage.workers[0].on_query(at, client, &query, &mut stage.out);
    let sent: Vec<_> = stage.out.messages().iter().map(|m| (m.to, stage.out.bytes(m).to_vec())).collect();
    stage.out.clear();
    for (to, bytes) in sent {
        let from = match to {
            To::Upstream(link) => From::Udp(link),
            To::UpstreamStream(link) => From::Tcp(link),
            _ => continue,
        };
        let mut answer = Message::answer_to(&bytes).record(ANSWER, &[0xC0, 12], A, 60, &[192, 0, 2, 7]).bytes();
        let end = crate::stage::message::question_end(&answer);
        answer[12..end - 4].make_ascii_lowercase();
        stage.workers[0].on_response(at, from, &answer, &mut stage.out);
    }
    let reply = stage.out.messages().first().map(|message| stage.out.bytes(message).to_vec());
    stage.out.clear();
    reply
}

#[test]
fn few_letters_are_no_proof_that_a_server_keeps_them() {
    for seed in 0..20 {
        let mut stage = Stage::new(policy([("gateway.toml", UDP)]), 1, 1024, seed);
        let client = |n: u64| udp(SocketAddr::new(inside(n as u32), 1000));
        // By accident some of these come back in the letters in which they were sent.
        (0..100).for_each(|n| drop(ask_a_folding_server(&mut stage, n, client(n), "1.a.")));
        let answered =
            (100..200).filter(|n| ask_a_folding_server(&mut stage, *n, client(*n), "www.example.org").is_some());
        let answered = answered.count();
        assert!(answered >= 97, "seed {seed}: {answered} of 100 answered");
    }
}

#[test]
fn over_tcp_letters_prove_nothing_and_are_not_asked_for() {
    let mut stage = Stage::new(policy([("gateway.toml", TCP)]), 1, 1024, 1);
    let peer = SocketAddr::new(inside(1), 1000);
    for (n, client) in [(1, udp(peer)), (2, tcp(peer, 1))] {
        let reply = ask_a_folding_server(&mut stage, n, client, "wWw.eXample.org").expect("an answer");
        assert_eq!(&reply[12..16], b"\x03wWw", "the client's letters");
    }
    assert!(after(0) == START);
}
