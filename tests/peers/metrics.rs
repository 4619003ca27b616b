//! The metrics page: every query exactly once, and nobody's address or question in a label.

use super::ask;
use super::clients::dig;
use super::harness::{Scratch, eventually};
use super::servers::nsd;
use super::weir::{Setup, Weir};
use hickory_proto::rr::RecordType;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// Every query by what became of it.
const QUERIES: &str = "weir_queries_total";

#[test]
fn outcomes_sum_to_the_queries_that_were_sent() {
    let scratch = Scratch::new("metrics");
    let nsd = nsd(&scratch);
    let rules = "[zone]\n[[rule]]\nid = \"b\"\nnames = [\"blocked.plain.test\"]\naction = \"nxdomain\"\n\
                 [[rule]]\nid = \"d\"\nnames = [\"=host0001.plain.test\"]\naction = \"drop\"\n";
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("filters/10-f.toml", rules);
    let weir = Weir::start(&scratch, &setup);
    let before = weir.metric(QUERIES, "");
    assert!(before >= 1.0, "the readiness check at least:\n{}", weir.scrape());
    let mut sent = 0.0;
    for number in 0..10 {
        for name in ["www", "missing", "x.blocked", "large", &format!("host{:04}", number + 10)] {
            let name = format!("{name}.plain.test");
            assert!(ask::udp(weir.address, &name, RecordType::TXT).is_some(), "{name}");
            assert!(ask::tcp(weir.address, &name, RecordType::A).is_some(), "{name} over TCP");
            sent += 2.0;
        }
    }
    let silence = ask::query(1, "host0001.plain.test", RecordType::A);
    assert!(ask::udp_from(weir.address.ip(), weir.address, &silence, Duration::from_millis(300)).is_none());
    sent += 1.0;
    let page = || weir.metric(QUERIES, "") - before;
    assert!(
        eventually(Duration::from_secs(3), || page() == sent),
        "{} counted, {sent} sent\n{}",
        page(),
        weir.scrape()
    );
    assert_eq!(weir.metric(QUERIES, "outcome=\"dropped\""), 1.0);
    assert_eq!(weir.metric(QUERIES, "outcome=\"denied\""), 20.0);
    // What the gateway answers itself takes time too, if only from its socket and back to it.
    let latency = |part: &str| weir.metric(&format!("weir_latency_seconds_{part}"), "by=\"gateway\"");
    assert!(latency("count") >= 20.0 && latency("sum") > latency("count") * 1e-6, "{}", weir.scrape());
    weir.stop();
}

/// Whatever arrives on a socket is a query with an outcome or a counted event.
#[test]
fn what_never_was_a_query_is_on_the_page_too() {
    let scratch = Scratch::new("events");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let count = |event: &str| weir.metric("weir_driver_events_total", &format!("event=\"{event}\""));
    assert_eq!(count("tcp-garbage"), 0.0);
    let mut stream = TcpStream::connect(weir.address).expect("weir accepts");
    stream.write_all(&[0, 0]).expect("weir reads");
    assert!(eventually(Duration::from_secs(3), || count("tcp-garbage") == 1.0), "{}", weir.scrape());
    assert!(count("tcp-accepted") >= 1.0 && weir.scrape().contains("event=\"udp-overflow\"} 0"));
    weir.stop();
}

#[test]
fn no_address_and_no_name_of_a_query_is_a_label() {
    let scratch = Scratch::new("labels");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    dig(weir.address, &["-b", "127.77.66.55", "host0042.plain.test", "A"]);
    dig(weir.address, &["-b", "127.77.66.55", "a\\\"b\\010c.plain.test", "A"]);
    let page = weir.scrape();
    for secret in ["127.77.66.55", "host0042", "a\\\"b"] {
        assert!(!page.contains(secret), "{secret} is on the page:\n{page}");
    }
    weir.stop();
}
