//! What belongs to servers among themselves, through the gateway: AXFR and IXFR of many messages, NOTIFY and UPDATE, all
//! signed with TSIG, which the far end verifies: not a byte may have changed but the id.

use super::ask;
use super::clients::{dig, kdig, python};
use super::harness::{Scratch, eventually, free_address};
use super::servers::{BindZone, HOSTS, KEY_NAME, KEY_SECRET, bind, key, knot, nsd, small_zone};
use super::weir::{Setup, Weir};
use hickory_proto::rr::{RData, RecordType};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

const OPEN: &str =
    "[transfer]\nallow = [\"127.0.0.1\"]\n[notify]\nallow = [\"127.0.0.1\"]\n[update]\nallow = [\"127.0.0.1\"]\n";

fn serial(at: SocketAddr, zone: &str) -> Option<u32> {
    ask::udp(at, zone, RecordType::SOA)?.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

#[test]
fn a_whole_transfer_of_many_messages_passes_with_its_signature() {
    let scratch = Scratch::new("axfr");
    let nsd = nsd(&scratch);
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("access.toml", OPEN);
    let weir = Weir::start(&scratch, &setup);
    for at in [nsd.address, weir.address] {
        let whole = dig(at, &["-y", &key(), "plain.test", "AXFR"]).0;
        assert!(!whole.contains("failed") && !whole.contains("verify"), "{}", tail(&whole));
        assert!(whole.matches("\tA\t10.53.").count() == HOSTS, "{}", tail(&whole));
        let messages = whole.split("messages ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u32>().ok());
        assert!(messages > Some(1), "one message only: {}", tail(&whole));
        let again = kdig(at, &["-y", &key(), "plain.test", "AXFR"]).0;
        assert!(!again.contains(";; ERROR") && again.matches("\tA\t10.53.").count() == HOSTS, "{}", tail(&again));
        let unsigned = dig(at, &["plain.test", "AXFR"]).0;
        assert!(unsigned.contains("Transfer failed"), "{unsigned}");
        let wrong = format!("hmac-sha256:{KEY_NAME}:{}", "d3JvbmcgcGVlcnMgdGVzdCBrZXksIDMyIGJ5dGVzISE=");
        let refused = dig(at, &["-y", &wrong, "plain.test", "AXFR"]).0;
        assert!(refused.contains("failed") && !refused.contains("10.53."), "{}", tail(&refused));
    }
    weir.stop();
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(600);
    text.get(start..).unwrap_or(text)
}

#[test]
fn transfers_are_for_nobody_unless_named() {
    let scratch = Scratch::new("axfr-denied");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    for rtype in ["AXFR", "IXFR=0"] {
        let refused = dig(weir.address, &["+tcp", "-y", &key(), "plain.test", rtype]).0;
        assert!(!refused.contains("10.53."), "{}", tail(&refused));
    }
    let mut stream = ask::Stream::open(weir.address).expect("a connection");
    stream.send(&ask::query(5, "plain.test", RecordType::AXFR));
    let reply = stream.receive().expect("a refusal, not silence");
    assert_eq!(u16::from(reply.metadata.response_code), 5);
    assert!(!ask::ede(&reply).is_empty(), "a refusal says why");
    weir.stop();
}

#[test]
fn an_incremental_transfer_passes_with_its_signature() {
    let scratch = Scratch::new("ixfr");
    let knot = knot(&scratch);
    let setup = Setup::before("authoritative", knot.address, "signed.test SOA").with("access.toml", OPEN);
    let weir = Weir::start(&scratch, &setup);
    for at in [knot.address, weir.address] {
        // From the serial before signing to that after it: two SOAs about the difference, and one at each end.
        let difference = dig(at, &["-y", &key(), "signed.test", "IXFR=1"]).0;
        assert!(!difference.contains("failed") && !difference.contains("verify"), "{}", tail(&difference));
        assert_eq!(difference.matches("\tSOA\t").count(), 4, "{}", tail(&difference));
        assert!(difference.matches("\tRRSIG\tA ").count() >= HOSTS, "{}", tail(&difference));
    }
    weir.stop();
}

#[test]
fn a_signed_notify_makes_the_secondary_transfer() {
    let scratch = Scratch::new("notify");
    let (primary_at, secondary_at) = (free_address(), free_address());
    let zone = |text: Option<String>, statements: String| BindZone { name: "small.test", text, statements };
    let first = small_zone("small.test", 1, "192.0.2.1");
    let primary = bind(&scratch, primary_at, &[zone(Some(first), "type primary;".to_owned())]);
    let from = format!(
        "type secondary; primaries {{ {} port {} key {KEY_NAME}; }}; allow-notify {{ key {KEY_NAME}; }};",
        primary_at.ip(),
        primary_at.port()
    );
    let secondary = bind(&scratch, secondary_at, &[zone(None, from)]);
    assert!(eventually(Duration::from_secs(20), || serial(secondary.address, "small.test") == Some(1)));
    let setup = Setup::before("authoritative", secondary.address, "small.test SOA").with("access.toml", OPEN);
    let weir = Weir::start(&scratch, &setup);

    let file = scratch.path(&format!("named-{}/small.test", primary_at.port()));
    std::fs::write(&file, small_zone("small.test", 2, "192.0.2.2")).expect("a zone file can be written");
    primary.daemon.hang_up();
    assert!(eventually(Duration::from_secs(20), || serial(primary.address, "small.test") == Some(2)));
    assert_eq!(serial(secondary.address, "small.test"), Some(1), "nobody told it yet");
    let (host, port) = (weir.address.ip().to_string(), weir.address.port().to_string());
    python("notify.py", &[&host, &port, "small.test", KEY_NAME, KEY_SECRET]);
    assert!(
        eventually(Duration::from_secs(20), || serial(secondary.address, "small.test") == Some(2)),
        "NOTIFY did not arrive as it was sent:\n{}",
        secondary.daemon.log()
    );
    weir.stop();
}

fn nsupdate(at: SocketAddr, owner: &str, arguments: &[&str]) -> String {
    let mut child = Command::new(super::harness::program("nsupdate"))
        .args(["-t", "5", "-r", "0", "-y", &key()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsupdate starts");
    let script = format!(
        "server {} {}\nzone dynamic.test\nupdate add {owner}.dynamic.test 60 A 192.0.2.99\nsend\n",
        at.ip(),
        at.port()
    );
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("nsupdate reads");
    let output = child.wait_with_output().expect("nsupdate ends");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_signed_update_changes_the_zone_and_only_for_those_named() {
    let scratch = Scratch::new("update");
    let zone = BindZone {
        name: "dynamic.test",
        text: Some(small_zone("dynamic.test", 1, "192.0.2.1")),
        statements: format!("type primary; allow-update {{ key {KEY_NAME}; }};"),
    };
    let bind = bind(&scratch, free_address(), &[zone]);
    let setup = Setup::before("authoritative", bind.address, "dynamic.test SOA").with("access.toml", OPEN);
    let weir = Weir::start(&scratch, &setup);
    for (at, owner, arguments) in
        [(bind.address, "directly", &[][..]), (weir.address, "over-udp", &[]), (weir.address, "over-tcp", &["-v"])]
    {
        let said = nsupdate(at, owner, arguments);
        assert_eq!(said, "", "{owner}");
        assert_eq!(dig(at, &[&format!("{owner}.dynamic.test"), "A"]).data(), ["192.0.2.99"], "{owner}");
    }
    weir.write("access.toml", "");
    assert!(weir.reload().status.success());
    let said = nsupdate(weir.address, "denied", &[]);
    assert!(said.contains("REFUSED"), "{said}");
    assert_eq!(dig(bind.address, &["denied.dynamic.test", "A"]).status(), "NXDOMAIN");
    weir.stop();
}
