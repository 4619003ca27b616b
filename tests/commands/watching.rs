//! Who it is, from a gateway that runs: `weir top`, the status, the alerts and their counter.

use super::place::{Place, free_address, rcode, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};
use weir::control::top::{By, Top};

const ACCESS: &str = "allow = [\"127.0.0.0/8\"]\n";
const LIMITS: &str = "[source]\nrate = 100\nburst = 100\n[rrl]\nmode = \"monitor\"\n";

fn place(more: &str) -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], false, more);
    place.write("policies/access.toml", ACCESS);
    place.write("policies/limits.toml", LIMITS);
    (place, address)
}

fn top(place: &Place) -> Top {
    let json = place.ask(&["top", "--once", "--json"]);
    json.works(&[]);
    serde_json::from_str(&json.out).expect("top is JSON")
}

/// Sends `count` queries for different names at once from `from`, and leaves the answers unread.
fn flood(from: &str, to: SocketAddr, count: u32) {
    let socket = UdpSocket::bind(from).expect("loopback is there");
    for n in 0..count {
        let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06".to_vec();
        query.extend(format!("{:06}", n % 1_000_000).bytes());
        query.extend(b"\x03lab\x07example\0\0\x01\0\x01");
        // What does not fit into the gateway's queue is lost, as in a real flood.
        let _ = socket.send_to(&query, to);
        if n % 50 == 49 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn top_names_clients_zones_names_types_and_what_is_refused() {
    let (place, address) = place("");
    let running = place.start_lab();
    // Asked until it shows: what nobody asks any more fades within seconds.
    wait_until("top has it", || {
        assert_eq!(rcode(address, "mail.lab.example"), 0);
        top(&place).list(By::Name).iter().any(|row| row.what.english() == "mail.lab.example")
    });
    let now = top(&place);
    let first = |by| now.list(by).first().map(|row| row.what.english());
    assert_eq!(first(By::Source).as_deref(), Some("127.0.0.1"), "{now:#?}");
    assert_eq!(first(By::Network).as_deref(), Some("127.0.0.0/24"), "{now:#?}");
    assert_eq!(first(By::Zone).as_deref(), Some("lab.example"), "{now:#?}");
    assert_eq!(first(By::Type).as_deref(), Some("A"), "{now:#?}");
    assert!(now.queries_per_s > 0.0 && now.alerts.is_empty(), "{now:#?}");

    let text = place.ask(&["top", "--once"]);
    text.works(&["weir top", "127.0.0.1", "lab.example"]);
    assert!(text.out.lines().all(|line| line.chars().count() <= 80), "{}", text.out);
    assert!(!text.out.contains('\u{1b}'), "no terminal, no control codes: {}", text.out);
    for by in ["source", "network", "zone", "name", "type", "reason"] {
        place.ask(&["top", "--once", "--by", by]).works(&["weir top", by]);
    }
    place.ask(&["top", "--once", "--by", "colour"]).fails(2, &["colour", "source"]);
    drop(running);
    place.ask(&["top", "--once"]).fails(1, &["no gateway runs at"]);
}

#[test]
fn top_goes_on_until_nobody_reads() {
    let (place, _) = place("");
    let running = place.start_lab();
    let socket = place.socket();
    let mut command = place.command(&["top", "--json", "--socket", socket.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = Instant::now();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(serde_json::from_str::<Top>(&line).is_ok(), "one object a line: {line}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "once a second, not as fast as it can");
    drop(lines);
    wait_until("it ends with its reader", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    drop(running);
}

#[test]
fn a_flood_is_told_in_the_log_top_status_and_metrics() {
    let metrics = free_address();
    let (place, address) = place(&format!("[metrics]\nlisten = \"{metrics}\"\n"));
    let running = place.start_lab();
    let flooder = std::thread::spawn(move || flood("127.9.9.9:0", address, 10_000));
    wait_until("the alert is there", || !top(&place).alerts.is_empty());
    let alert = top(&place).alerts[0].clone();
    assert_eq!((alert.kind.as_str(), alert.subject.english().as_str()), ("flood", "127.9.9.9/32"), "{alert:#?}");
    assert!(
        alert.why.english().contains("over the source limit") && alert.done.english().contains("[source] drops"),
        "{alert:#?}"
    );
    place.ask(&["top", "--once"]).works(&["! flood 127.9.9.9/32", "why", "does", "weir mode under-attack"]);
    place.ask(&["status"]).works(&["ALERT       flood 127.9.9.9/32", "top source"]);
    let mut page = String::new();
    let mut stream = TcpStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("weir_alerts_total{kind=\"flood\"} 1\n"), "{page}");
    assert!(page.contains("weir_alerts_total{kind=\"reflection\"} 0\n"), "{page}");
    assert!(!page.contains("127.9.9.9") && !page.contains("lab.example"), "no client and no name in metrics: {page}");
    flooder.join().unwrap();
    running.signal("TERM");
    let ended = running.wait();
    let told: Vec<_> =
        ended.err.lines().filter(|line| line.contains("WARN") && line.contains("kind=\"flood\"")).collect();
    assert!(told.len() == 1 && told[0].contains("127.9.9.9/32"), "told once: {}", ended.err);
}
