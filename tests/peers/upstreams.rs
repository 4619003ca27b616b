//! Servers that are dead, late or come back: never silence, and fail-over from tier to tier.

use super::ask::{self, ede, timed};
use super::clients::dig;
use super::harness::{Scratch, eventually, free_address};
use super::servers::{lab, nsd, nsd_at};
use super::weir::{Setup, Weir};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// EDE "No Reachable Authority" and "Network Error" (RFC 8914).
const UNREACHABLE: [u16; 2] = [22, 23];

fn fails_and_says_why(reply: &Message) -> bool {
    reply.metadata.response_code == ResponseCode::ServFail && ede(reply).iter().any(|code| UNREACHABLE.contains(code))
}

#[test]
fn an_upstream_that_is_dead_or_silent_means_servfail_within_the_deadline() {
    let scratch = Scratch::new("dead");
    // One that takes queries and says nothing, one where nobody listens.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    for upstream in [silent.local_addr().expect("it is bound"), free_address()] {
        let setup = Setup::before("recursive", upstream, ". NS").with_pool("timeout = \"1s\"");
        let weir = Weir::start(&scratch, &setup);
        for number in 0..3 {
            let name = format!("n{number}.plain.test");
            let (reply, took) = timed(|| ask::udp(weir.address, &name, RecordType::A));
            assert!(reply.as_ref().is_some_and(fails_and_says_why), "{upstream}: {reply:?}");
            assert!(took < Duration::from_millis(1800), "{took:?}");
            let (reply, took) = timed(|| ask::tcp(weir.address, &format!("tcp-{name}"), RecordType::A));
            assert!(reply.as_ref().is_some_and(fails_and_says_why), "{upstream} over TCP: {reply:?}");
            assert!(took < Duration::from_millis(1800), "{took:?}");
        }
        weir.stop();
    }
}

#[test]
fn late_answers_are_waited_for_up_to_the_deadline_and_no_longer() {
    let scratch = Scratch::new("late");
    let lab = lab();
    let setup = Setup::before("recursive", lab.address, ". NS").with_pool("timeout = \"1s\"\nretries = 0");
    let weir = Weir::start(&scratch, &setup);
    let (reply, took) = timed(|| ask::udp(weir.address, "slow-400.lab.example", RecordType::A));
    assert_eq!(reply.expect("an answer").answers.len(), 1);
    assert!(took >= Duration::from_millis(400), "{took:?}");
    for name in ["www.slow.example", "www.dead.example"] {
        let (reply, took) = timed(|| ask::udp(weir.address, name, RecordType::A));
        assert!(reply.as_ref().is_some_and(fails_and_says_why), "{name}: {reply:?}");
        assert!(took < Duration::from_millis(1800), "{name}: {took:?}");
    }
    let quick = timed(|| ask::udp(weir.address, "www.lab.example", RecordType::A));
    assert!(quick.0.is_some() && quick.1 < Duration::from_millis(500), "a dead zone does not hold up the others");
    weir.stop();
}

fn who(at: SocketAddr) -> String {
    dig(at, &["CH", "TXT", "id.server"]).data().join(" ")
}

#[test]
fn a_higher_tier_serves_while_the_lower_is_down_and_not_after() {
    let scratch = Scratch::new("tiers");
    let first_at = free_address();
    let first = nsd_at(&scratch, first_at, "first");
    let second = nsd_at(&scratch, free_address(), "second");
    let setup = Setup::before("authoritative", first_at, "plain.test SOA")
        .and_upstream(second.address, 1)
        .with_pool("timeout = \"2s\"\nretries = 1");
    let weir = Weir::start(&scratch, &setup);
    assert_eq!(who(weir.address), "\"first\"");
    assert!((0..20).all(|_| who(weir.address) == "\"first\""), "the lower tier serves alone");

    first.daemon.stop();
    let end = Instant::now() + Duration::from_secs(4);
    let mut number = 0;
    while Instant::now() < end {
        let name = format!("n{number}.wild.plain.test");
        assert!(ask::udp(weir.address, &name, RecordType::A).is_some(), "{name}: silence");
        number += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!((0..10).all(|_| who(weir.address) == "\"second\""), "the higher tier serves");

    let _again = nsd_at(&scratch, first_at, "first");
    assert!(eventually(Duration::from_secs(15), || who(weir.address) == "\"first\""), "it does not come back");
    weir.stop();
}

#[test]
fn with_one_of_two_servers_dead_no_question_stays_without_an_answer() {
    let scratch = Scratch::new("pair");
    let (nsd, dead) = (nsd(&scratch), free_address());
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").and_upstream(dead, 0);
    let weir = Weir::start(&scratch, &setup);
    for number in 0..50 {
        let reply = ask::udp(weir.address, &format!("n{number}.wild.plain.test"), RecordType::A).expect("an answer");
        assert_eq!(reply.answers.len(), 1, "{number}: {:?}", reply.metadata.response_code);
    }
    weir.stop();
}
