//! Limits over real sockets: BIND's figures for RRL, and the limit on sources. Every test has source networks of its
//! own, so that the gateway's readiness check and other tests count elsewhere.

use super::ask;
use super::clients::dig;
use super::harness::Scratch;
use super::servers::nsd;
use super::weir::{Setup, Weir};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const RRL: &str = "[source]\nmode = \"off\"\n[rrl]\nmode = \"enforce\"\nresponses = 2\nnodata = 2\nnxdomains = 2\n\
                   referrals = 2\nerrors = 2\nall = 0\nslip = 3\nwindow = 15\nipv4_prefix = 24\nexempt = [\"127.9.0.0/16\"]\n";

/// Ten identical queries at once: how many full answers, truncated ones, and silences.
fn ten(from: &str, at: SocketAddr, name: &str, rtype: RecordType) -> (usize, usize, usize) {
    many(10, from, at, name, rtype)
}

fn many(count: u16, from: &str, at: SocketAddr, name: &str, rtype: RecordType) -> (usize, usize, usize) {
    let from: IpAddr = from.parse().expect("an address in a test");
    let queries: Vec<Message> = (0..count).map(|id| ask::query(id, name, rtype)).collect();
    let answers = ask::burst(from, at, &queries, Duration::from_millis(800));
    let truncated = answers.iter().filter(|answer| answer.metadata.truncation).count();
    (answers.len() - truncated, truncated, queries.len() - answers.len())
}

fn near(found: (usize, usize, usize), wanted: (usize, usize, usize)) -> bool {
    found.0.abs_diff(wanted.0) <= 1 && found.1.abs_diff(wanted.1) <= 1 && found.2.abs_diff(wanted.2) <= 1
}

#[test]
fn ten_equal_questions_get_two_answers_three_truncations_and_five_silences() {
    let scratch = Scratch::new("rrl");
    let nsd = nsd(&scratch);
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("limits.toml", RRL);
    let weir = Weir::start(&scratch, &setup);
    let at = weir.address;
    for (from, name, rtype) in [
        ("127.1.1.1", "www.plain.test", RecordType::A),
        ("127.1.2.1", "missing.plain.test", RecordType::A),
        ("127.1.3.1", "v4only.plain.test", RecordType::AAAA),
        ("127.1.4.1", "below.deleg.plain.test", RecordType::A),
    ] {
        let found = ten(from, at, name, rtype);
        assert!(near(found, (2, 3, 5)), "{name}: {found:?}");
    }
    let errors = ten("127.1.5.1", at, "elsewhere.invalid", RecordType::A);
    assert!(near(errors, (2, 0, 8)), "errors do not slip: {errors:?}");
    let exempt = ten("127.9.1.1", at, "www.plain.test", RecordType::A);
    assert_eq!(exempt, (10, 0, 0), "exempt");
    // The network whose UDP is over the limit still has TCP.
    for _ in 0..10 {
        assert_eq!(dig(at, &["+tcp", "-b", "127.1.1.2", "www.plain.test", "A"]).data().len(), 2);
    }
    weir.stop();
}

#[test]
fn monitored_response_limits_let_everything_pass() {
    let scratch = Scratch::new("rrl-monitor");
    let nsd = nsd(&scratch);
    let limits = RRL.replace("enforce", "monitor");
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("limits.toml", &limits);
    let weir = Weir::start(&scratch, &setup);
    assert_eq!(ten("127.2.1.1", weir.address, "www.plain.test", RecordType::A), (10, 0, 0));
    weir.stop();
}

#[test]
fn one_source_over_its_limit_is_slowed_and_its_neighbour_is_not() {
    let scratch = Scratch::new("source");
    let nsd = nsd(&scratch);
    let limits = "[source]\nmode = \"enforce\"\nrate = 10\nburst = 20\nslip = 2\nexempt = [\"127.9.0.0/16\"]\n\
                  [rrl]\nmode = \"off\"\n";
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("limits.toml", limits);
    let weir = Weir::start(&scratch, &setup);
    let found = many(60, "127.3.1.1", weir.address, "www.plain.test", RecordType::A);
    // The burst, and what the rate gives while sixty queries are sent; of the rest every other one gets TC=1.
    assert!((20..=26).contains(&found.0), "{found:?}");
    assert!(found.1.abs_diff(found.2) <= 2, "{found:?}");
    assert_eq!(many(10, "127.3.1.2", weir.address, "www.plain.test", RecordType::A), (10, 0, 0), "its neighbour");
    assert_eq!(many(60, "127.9.1.1", weir.address, "www.plain.test", RecordType::A), (60, 0, 0), "exempt");
    // A reload does not forget who was over the limit.
    let reload = weir.reload();
    assert!(reload.status.success(), "{reload:?}");
    let again = many(40, "127.3.1.1", weir.address, "www.plain.test", RecordType::A);
    assert!(again.0 < 20, "{again:?}");
    weir.stop();
}

#[test]
fn connections_are_limited_per_client_and_cut_when_they_idle_or_stall() {
    let scratch = Scratch::new("tcp");
    let nsd = nsd(&scratch);
    let limits =
        "[source]\nmode = \"off\"\n[rrl]\nmode = \"off\"\n[tcp]\nper_client = 3\nidle = \"1s\"\nstall = \"1s\"\n";
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("limits.toml", limits);
    let weir = Weir::start(&scratch, &setup);
    let query = ask::query(1, "www.plain.test", RecordType::A);
    let mut open: Vec<ask::Stream> = (0..3).map(|_| ask::Stream::open(weir.address).expect("a connection")).collect();
    for stream in &mut open {
        stream.send(&query);
        assert_eq!(stream.receive().expect("an answer").answers.len(), 2);
    }
    let closed_at_once = ask::Stream::open(weir.address)
        .map_or(true, |mut fourth| fourth.until_closed().is_some_and(|time| time < Duration::from_millis(500)));
    assert!(closed_at_once, "a fourth connection");
    let other = dig(weir.address, &["+tcp", "-b", "127.4.1.1", "www.plain.test", "A"]);
    assert_eq!(other.data().len(), 2, "another client");
    // Half a message, and nothing: the first stalls, the others idle.
    open[0].send_bytes(&[0, 60, 1]);
    for stream in &mut open {
        assert!(stream.until_closed().is_some_and(|time| time < Duration::from_secs(3)));
    }
    let again = ask::tcp(weir.address, "www.plain.test", RecordType::A);
    assert_eq!(again.expect("an answer").answers.len(), 2, "their places are free again");
    weir.stop();
}
