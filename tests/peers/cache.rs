//! The cache as clients see it: how often the upstream is asked, and how TTLs count down.

use super::ask::{self, ede, timed};
use super::clients::dig;
use super::harness::Scratch;
use super::servers::{lab, nsd};
use super::weir::{Setup, Weir};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::time::Duration;
use weir::lab::Kind;

const PAUSE: Duration = Duration::from_millis(2100);

#[test]
fn the_upstream_is_asked_once_and_ttls_count_down() {
    let scratch = Scratch::new("ttl");
    let lab = lab();
    let weir = Weir::start(&scratch, &Setup::before("recursive", lab.address, ". NS").with_pool("timeout = \"5s\""));
    let name = "slow-150.lab.example";
    let (first, took) = timed(|| dig(weir.address, &[name, "A"]));
    assert!(first.ttl() == 300 && took >= Duration::from_millis(150), "{took:?} {first:?}");
    // x.slow.example does not exist, and is two seconds late.
    let missing = dig(weir.address, &["x.slow.example", "A"]);
    assert_eq!((missing.status(), missing.ttl()), ("NXDOMAIN", 60), "{missing:?}");
    let slow = lab.counters.of(Kind::Slow);
    assert_eq!(slow, 2);
    let later = dig(weir.address, &[name, "A"]);
    assert!((295..=298).contains(&later.ttl()), "{later:?}");
    std::thread::sleep(PAUSE);
    let missing = dig(weir.address, &["x.slow.example", "A"]);
    assert!(missing.status() == "NXDOMAIN" && (54..=58).contains(&missing.ttl()), "{missing:?}");
    assert_eq!(dig(weir.address, &["+tcp", name, "A"]).data(), later.data());
    assert_eq!(lab.counters.of(Kind::Slow), slow, "answered from the cache");
    weir.stop();
}

#[test]
fn what_has_expired_is_asked_for_again() {
    let scratch = Scratch::new("expiry");
    let lab = lab();
    let weir = Weir::start(&scratch, &Setup::before("recursive", lab.address, ". NS"));
    assert_eq!(dig(weir.address, &["ttl2.lab.example", "A"]).ttl(), 2);
    assert!(dig(weir.address, &["ttl2.lab.example", "A"]).ttl() <= 2);
    std::thread::sleep(PAUSE);
    assert_eq!(dig(weir.address, &["ttl2.lab.example", "A"]).ttl(), 2, "fresh again");
    weir.stop();
}

#[test]
fn failures_are_remembered_for_a_moment() {
    let scratch = Scratch::new("failures");
    let lab = lab();
    let weir = Weir::start(&scratch, &Setup::before("recursive", lab.address, ". NS"));
    for _ in 0..10 {
        let reply = ask::udp(weir.address, "www.fail.example", RecordType::A).expect("an answer");
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
    // The first, and a retry of it at most.
    assert!(lab.counters.of(Kind::Failing) <= 2, "{} queries", lab.counters.of(Kind::Failing));
    weir.stop();
}

#[test]
fn with_dnssec_and_without_are_different_answers() {
    let scratch = Scratch::new("do");
    let knot = super::servers::knot(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", knot.address, "signed.test SOA"));
    for _ in 0..2 {
        assert_eq!(dig(weir.address, &["+dnssec", "www.signed.test", "A"]).answer().len(), 3);
        assert_eq!(dig(weir.address, &["www.signed.test", "A"]).answer().len(), 2);
        assert_eq!(dig(weir.address, &["+noedns", "www.signed.test", "A"]).answer().len(), 2);
        assert_eq!(dig(weir.address, &["+dnssec", "+tcp", "missing.signed.test", "A"]).status(), "NXDOMAIN");
    }
    weir.stop();
}

#[test]
fn a_cookie_does_not_keep_a_client_from_the_cache() {
    let scratch = Scratch::new("cookie");
    let lab = lab();
    let weir = Weir::start(&scratch, &Setup::before("recursive", lab.address, ". NS"));
    for cookie in ["+cookie=0011223344556677", "+cookie=8899aabbccddeeff", "+nocookie"] {
        let answer = dig(weir.address, &[cookie, "slow-100.lab.example", "A"]);
        assert_eq!(answer.answer().len(), 1, "{answer:?}");
        assert!(!answer.0.contains("8899aabbccddeeff") || cookie.contains("8899aabbccddeeff"), "{answer:?}");
    }
    assert_eq!(lab.counters.of(Kind::Slow), 1, "one client's cookie is nothing to another's answer");
    weir.stop();
}

#[test]
fn an_expired_answer_serves_while_the_upstream_is_gone() {
    let scratch = Scratch::new("stale");
    let nsd = nsd(&scratch);
    let setup = Setup::before("recursive", nsd.address, "plain.test SOA").with_pool("timeout = \"1s\"");
    let weir = Weir::start(&scratch, &setup);
    let fresh = ask::udp(weir.address, "short.plain.test", RecordType::A).expect("an answer");
    assert_eq!((fresh.answers.len(), ede(&fresh)), (1, Vec::new()));
    nsd.daemon.stop();
    std::thread::sleep(PAUSE);
    let stale = ask::udp(weir.address, "short.plain.test", RecordType::A).expect("an answer");
    assert_eq!((stale.metadata.response_code, stale.answers.len()), (ResponseCode::NoError, 1));
    // RFC 8767 section 4: "it is RECOMMENDED" that the TTL of such an answer be 30 seconds.
    assert!((1..=30).contains(&stale.answers[0].ttl), "{}", stale.answers[0].ttl);
    assert_eq!(ede(&stale), [3], "EDE Stale Answer");
    weir.stop();
}
