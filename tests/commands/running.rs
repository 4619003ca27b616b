//! A gateway that runs, with the lab behind it: what it says at the start, to questions, and at the end.

use super::place::{Place, ask_within, free_address, rcode, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Held by the tests whose gateways listen on the ports of the defaults.
static DEFAULT_PORTS: Mutex<()> = Mutex::new(());

/// Lets loopback ask.
const ACCESS: &str = "allow = [\"127.0.0.0/8\", \"::1\"]\n";
const FILTER: &str =
    "[zone]\ntitle = \"test\"\n[[rule]]\nid = \"no-www\"\nnames = [\"www.lab.example\"]\naction = \"nxdomain\"\n";

fn place_with_gateway(more: &str) -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], false, more);
    place.write("policies/access.toml", ACCESS);
    place.write("policies/filters/10-test.toml", FILTER);
    (place, address)
}

#[test]
fn it_serves_tells_how_it_is_and_ends_cleanly() {
    let (place, address) = place_with_gateway("");
    let running = place.start_lab();
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    assert_eq!(rcode(address, "www.lab.example"), 3, "the filter denies it");

    let mode = std::fs::metadata(place.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    let listen = address.to_string();
    place.ask(&["status"]).works(&[env!("CARGO_PKG_VERSION"), "generation 1", &listen, "lab", "resident"]);
    let json = place.ask(&["status", "--json"]);
    json.works(&[]);
    let status: weir::control::status::Status = serde_json::from_str(&json.out).unwrap();
    assert_eq!(status.listeners, std::slice::from_ref(&listen));
    assert_eq!(status.queries.outcomes.get("denied"), Some(&1), "{status:#?}");
    assert_eq!(status.queries.reasons.get("filter"), Some(&1), "{status:#?}");
    assert_eq!(status.queries.outcomes.values().sum::<u64>(), status.queries.total, "each query once: {status:#?}");
    assert!(!status.memory.limits.is_empty() && status.memory.resident_bytes > 0);

    running.signal("TERM");
    let ended = running.wait();
    ended.works(&[env!("CARGO_PKG_VERSION"), &listen, "LAB", "memory", "cache", "workers"]);
    assert!(!place.socket().exists(), "the socket is left behind");
    place.ask(&["status"]).fails(1, &["no gateway runs at"]);
}

#[test]
fn explain_asks_the_running_policy_unless_a_directory_is_named() {
    let (place, _) = place_with_gateway("");
    let running = place.start_lab();
    place.write("policies/filters/10-test.toml", &FILTER.replace("no-www", "later"));
    let live = place.ask(&["explain", "www.lab.example", "A"]);
    live.works(&["no-www"]);
    assert!(live.err.contains("running policy"), "{live:#?}");
    place.weir(&["explain", "www.lab.example", "--dir", "policies"]).works(&["later"]);
    place.ask(&["explain", "www..example"]).fails(2, &["www..example"]);
    drop(running);
}

#[test]
fn hits_of_rules_are_told_with_owner_and_ticket_and_outlive_a_reload() {
    let metrics = free_address();
    let (place, address) = place_with_gateway(&format!("[metrics]\nlisten = \"{metrics}\"\n[log]\nfile = \"LOG\"\n"));
    let text = std::fs::read_to_string(place.path("policies/gateway.toml")).unwrap();
    let log = place.path("queries.log");
    place.write("policies/gateway.toml", &text.replace("LOG", log.to_str().unwrap()));
    let noted = format!(
        "{FILTER}owner = \"noc\"\nticket = \"SEC-1\"\n[[rule]]\nid = \"silent\"\nnames = [\"x.example\"]\naction = \"drop\"\n"
    );
    place.write("policies/filters/10-test.toml", &noted);
    let running = place.start_lab();
    assert_eq!(rcode(address, "www.lab.example"), 3);
    place.ask(&["status"]).works(&["rules       2, 1 never hit", "no-www  nxdomain, 1 decided, 0 monitored, last 20"]);
    place
        .ask(&["explain", "www.lab.example"])
        .works(&["owner noc; ticket SEC-1; 1 decided and 0 monitored so far, last 20"]);
    place.ask(&["explain", "x.example"]).works(&["never hit so far"]);
    wait_until("the log has it", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!([&line["rule"], &line["owner"], &line["ticket"]], ["no-www", "noc", "SEC-1"], "{line}");

    place.write(
        "policies/filters/20-more.toml",
        "[[rule]]\nid = \"more\"\nnames = [\"y.example\"]\naction = \"drop\"\n",
    );
    place.ask(&["reload"]).works(&["generation 2"]);
    assert_eq!(rcode(address, "www.lab.example"), 3);
    let json = place.ask(&["status", "--json"]);
    let status: weir::control::status::Status = serde_json::from_str(&json.out).unwrap();
    let rules = &status.rules;
    assert_eq!((rules.count, rules.silent, rules.hits.len()), (3, 2, 3), "{rules:#?}");
    let first = &rules.hits[0];
    assert_eq!((first.rule.as_str(), first.decided, first.owner.as_deref()), ("no-www", 2, Some("noc")), "{first:#?}");
    let scraped = scrape(metrics);
    for line in ["weir_rule_hits_total{rule=\"no-www\"} 2", "weir_rule_monitored_total{rule=\"more\"} 0"] {
        assert!(scraped.lines().any(|l| l == line), "{line} is not in {scraped}");
    }
    drop(running);
}

#[test]
fn metrics_and_the_query_log_tell_what_was_denied() {
    let metrics = free_address();
    let (place, address) = place_with_gateway(&format!("[metrics]\nlisten = \"{metrics}\"\n[log]\nfile = \"LOG\"\n"));
    let text = std::fs::read_to_string(place.path("policies/gateway.toml")).unwrap();
    let log = place.path("queries.log");
    place.write("policies/gateway.toml", &text.replace("LOG", log.to_str().unwrap()));
    let running = place.start_lab();
    assert_eq!(rcode(address, "www.lab.example"), 3);
    let scraped = scrape(metrics);
    let count = scraped.lines().find(|line| line.starts_with("weir_queries_total{") && line.contains("\"filter\""));
    assert!(count.is_some_and(|line| line.contains("\"denied\"") && line.ends_with(" 1")), "{scraped}");
    assert!(!scraped.contains("www.lab.example") && !scraped.contains("127.0.0.1"), "{scraped}");
    wait_until("the log has it", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!([&line["name"], &line["rule"]], ["www.lab.example", "no-www"], "{line}");

    // Both move with a reload; what was there is closed.
    let (moved, rotated) = (free_address(), place.path("rotated.log"));
    let text = std::fs::read_to_string(place.path("policies/gateway.toml")).unwrap();
    place.write("policies/gateway.toml", &text.replace(&metrics.to_string(), &moved.to_string()));
    std::fs::rename(&log, &rotated).unwrap();
    place.ask(&["reload"]).works(&["generation 2"]);
    assert!(scrape(moved).contains("weir_queries_total"));
    wait_until("the old metrics listener is closed", || std::net::TcpStream::connect(metrics).is_err());
    assert_eq!(rcode(address, "www.lab.example"), 3);
    wait_until("the log is opened anew", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
    drop(running);
}

fn scrape(metrics: SocketAddr) -> String {
    let mut stream = std::net::TcpStream::connect(metrics).expect("the metrics listener is there");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it takes a request");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).expect("it answers");
    text
}

#[test]
fn no_files_at_all_are_defaults_that_are_named() {
    let _held = DEFAULT_PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    place.write("resolv.conf", "nameserver 127.0.0.9\n");
    let resolv_conf = place.path("resolv.conf");
    let socket = place.path("xdg/weir/control.sock");
    let arguments = ["--resolv-conf", resolv_conf.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
    let running = place.start(&arguments, &socket);
    let status = place.weir(&["status", "--socket", socket.to_str().unwrap()]);
    status.works(&["built-in defaults", "127.0.0.1:1053", "127.0.0.9:53"]);
    running.signal("INT");
    let ended = running.wait();
    ended.works(&["no policy directory", "127.0.0.1:1053"]);
}

#[test]
fn the_lab_brings_an_example_policy() {
    let _held = DEFAULT_PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let socket = place.socket();
    let no_nameservers = place.path("none");
    let arguments = ["--lab", "--socket", socket.to_str().unwrap(), "--resolv-conf", no_nameservers.to_str().unwrap()];
    let running = place.start(&arguments, &socket);
    place.ask(&["status"]).works(&["built-in example", "lab"]);
    let gateway = "127.0.0.1:1053".parse().unwrap();
    assert_eq!([rcode(gateway, "www.lab.example"), rcode(gateway, "baofeng.com")], [0, 3]);
    running.signal("TERM");
    running.wait().works(&["LAB", "built-in example"]);
}

#[test]
fn a_second_gateway_does_not_take_the_socket_of_a_live_one() {
    let (place, address) = place_with_gateway("");
    let mut first = place.start_lab();
    place.weir(&["run", "--lab"]).fails(1, &["another gateway answers", place.socket().to_str().unwrap(), "--socket"]);
    assert_eq!(rcode(address, "mail.lab.example"), 0, "the first serves on");
    first.stop();
    assert!(place.socket().exists(), "a gateway that is killed leaves its socket behind");
    let second = place.start_lab();
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    drop(second);
}

#[test]
fn an_address_that_is_taken_is_named_and_nothing_is_started() {
    let (place, address) = place_with_gateway("");
    let taken = TcpListener::bind(address).unwrap();
    place.weir(&["run", "--lab"]).fails(1, &[&address.to_string()]);
    drop(taken);
    let taken = UdpSocket::bind(address).unwrap();
    place.weir(&["run", "--lab"]).fails(1, &[&address.to_string()]);
    drop(taken);
    assert!(!place.socket().exists());
}

#[test]
fn the_control_socket_survives_whatever_is_said_to_it() {
    let (place, address) = place_with_gateway("");
    let running = place.start_lab();
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(place.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line);
        line
    };
    assert!(say(b"GET / HTTP/1.1\r\n\r\n").contains("not JSON"));
    assert!(say(b"{\"weir\":9,\"command\":\"status\"}\n").contains("unknown-version"));
    assert!(say(b"{\"weir\":1,\"command\":\"stop\"}\n").contains("bad-request"));
    assert!(say(&[&[b'['; 20_000][..], b"\n"].concat()).contains("at most"));
    assert!(say(b"{\"weir\":1,\"command\":\"status\"}\n").contains("\"ok\":true"));
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    drop(running);
}

#[test]
fn what_is_in_flight_is_answered_before_the_end() {
    let (place, address) = place_with_gateway("");
    let running = place.start_lab();
    let asked = std::thread::spawn(move || ask_within(address, "slow-900.lab.example", Duration::from_secs(5)));
    wait_until("the query is in flight", || in_flight(&place) > 0);
    running.signal("TERM");
    let response = asked.join().unwrap().expect("it is answered");
    assert!([0, 3].contains(&(response[3] & 15)), "not what the lab says: {response:?}");
    running.wait().works(&[]);
}

/// A supervisor that signals the process and then its group tells the same thing twice.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let (place, address) = place_with_gateway("");
    let running = place.start_lab();
    let asked = std::thread::spawn(move || ask_within(address, "slow-900.lab.example", Duration::from_secs(5)));
    wait_until("the query is in flight", || in_flight(&place) > 0);
    running.signal("TERM");
    wait_until("it drains", || !place.socket().exists());
    running.signal("TERM");
    asked.join().unwrap().expect("it is answered");
    running.wait().works(&[]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (place, address) = place_with_gateway("[pool.default]\ntimeout = \"10s\"\n");
    let running = place.start_lab();
    let asked = std::thread::spawn(move || ask_within(address, "host.dead.example", Duration::from_secs(6)));
    wait_until("the query is in flight", || in_flight(&place) > 0);
    let begun = Instant::now();
    running.signal("TERM");
    wait_until("the second is not taken for the first", || begun.elapsed() > Duration::from_secs(1));
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "the drain alone may take 5 s: {:?}", begun.elapsed());
    let _ = asked.join();
}

fn in_flight(place: &Place) -> u64 {
    let json = place.ask(&["status", "--json"]);
    let status: weir::control::status::Status = serde_json::from_str(&json.out).expect("status is JSON");
    status.queries.in_flight
}
