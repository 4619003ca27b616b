//! In an incident: modes and emergency rules, by command, at once, for a time, over a crash.

use super::place::{Place, Running, ask_within, free_address, rcode, wait_until};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use weir::control::incidents::request::BlockRequest;
use weir::control::protocol::Command;
use weir::control::status::Status;

const MODE: &str = "title = \"Under attack\"\nmax_duration = \"4h\"\n[source]\nrate = 1\nburst = 3\nslip = 0\n";

/// Two workers, a list that allows everything of lab.example, and a mode.
fn place() -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], false, "");
    let text = std::fs::read_to_string(place.path("policies/gateway.toml")).expect("just written");
    place.write("policies/gateway.toml", &text.replace("workers = 1", "workers = 2"));
    place.write("policies/access.toml", "allow = [\"127.0.0.0/8\"]\n");
    place.write(
        "policies/filters/00-allow.toml",
        "[zone]\ntitle = \"allow\"\n[[rule]]\nid = \"ours\"\nnames = [\"lab.example\"]\naction = \"allow\"\n",
    );
    place.write("policies/modes/under-attack.toml", MODE);
    (place, address)
}

fn start(place: &Place) -> Running {
    let state = place.path("state");
    place.start(&["--lab", "--state", state.to_str().expect("paths of tests are text")], &place.socket())
}

fn status(place: &Place) -> Status {
    let json = place.ask(&["status", "--json"]);
    serde_json::from_str(&json.out).expect("status is JSON")
}

/// Of 20 queries that come at once, how many are answered.
fn answered_of_twenty(address: SocketAddr) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
    let name = b"\x04mail\x03lab\x07example\x00\x00\x01\x00\x01";
    for id in 0..20_u8 {
        let query = [&[0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name].concat();
        socket.send_to(&query, address).expect("loopback takes it");
    }
    let mut buffer = [0; 1024];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).take(20).count()
}

fn audit(place: &Place) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(place.path("state/audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn a_mode_bites_at_once_and_ends_by_itself() {
    let (place, address) = place();
    let running = start(&place);
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    assert_eq!(answered_of_twenty(address), 20);
    place.ask(&["mode"]).works(&["mode normal", "> normal", "under-attack  Under attack, for 4h at most"]);

    let switched = place.ask(&["mode", "under-attack", "--for", "2s", "--reason", "storm at dawn"]);
    switched.works(&["mode UNDER-ATTACK", "storm at dawn", "> under-attack"]);
    let few = answered_of_twenty(address);
    assert!(few < 10, "{few} of 20 were answered");
    place.ask(&["status"]).works(&["mode        UNDER-ATTACK, until", "storm at dawn"]);
    place.ask(&["explain", "mail.lab.example"]).works(&["in mode under-attack", "at most 1 queries a second"]);
    assert_eq!(status(&place).incidents.mode.name, "under-attack");

    wait_until("it ends by itself", || status(&place).incidents.mode.name == "normal");
    assert_eq!(answered_of_twenty(address), 20, "the usual limits are back");
    wait_until("its end is on record", || audit(&place).iter().any(|line| line["event"] == "mode-ended"));
    let lines = audit(&place);
    assert_eq!((&lines[0]["event"], &lines[0]["why"]), (&"mode".into(), &"storm at dawn".into()), "{lines:?}");
    assert!(lines[0]["who"]["uid"].is_u64() && lines[0]["who"]["pid"].is_u64() && lines[0]["until"].is_string());
    drop(running);
}

#[test]
fn what_is_missing_or_wrong_is_said_and_nothing_changes() {
    let (place, address) = place();
    let running = start(&place);
    let reason = ["--reason", "x"];
    for (arguments, part) in [
        (&["mode", "under-atack", "--for", "30m"][..], "did you mean \"under-attack\"?"),
        (&["mode", "under-attack"], "--for is needed"),
        (&["mode", "under-attack", "--for", "5h"], "lasts 1s to 4h"),
        (&["mode", "under-attack", "--for", "soon"], "no duration"),
        (&["block", "bad.example"], "--for is needed"),
        (&["block", "bad.example", "--for", "31d"], "lasts 1s to 30d"),
        (&["block", "a..b", "--for", "1h"], "not a domain name"),
        (&["block", "com", "--for", "1h"], "top-level domain com"),
        (&["block", ".", "--for", "1h"], "--force"),
        (&["block", "bad.example", "--for", "1h", "--action", "refuse"], "did you mean \"refused\"?"),
    ] {
        place.ask(&[arguments, &reason].concat()).fails(2, &[part]);
    }
    place.ask(&["mode", "under-attack", "--for", "1m"]).fails(2, &["--reason is needed"]);
    place.ask(&["block", "bad.example", "--for", "1m"]).fails(2, &["--reason is needed"]);
    place.ask(&["unblock", "bad.example"]).fails(2, &["not blocked by command"]);
    let status = status(&place);
    assert_eq!((status.incidents.mode.name.as_str(), status.incidents.emergency.len()), ("normal", 0));
    assert_eq!(status.policy.generation, 1);
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    drop(running);
}

#[test]
fn a_block_acts_on_all_workers_within_10_ms_also_on_what_is_cached_and_allowed() {
    let (place, address) = place();
    let running = start(&place);
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    assert_eq!(rcode(address, "elsewhere.lab.example"), 0, "leads to www.other.example");
    let mut connection = weir::control::client::connect(&[place.socket()]).unwrap();
    let request = BlockRequest {
        name: "mail.lab.example".into(),
        lasts: Some("1h".into()),
        reason: Some("phish".into()),
        action: "refused".into(),
        force: false,
    };
    connection.ask(&Command::Block(request)).unwrap();
    let answered = Instant::now();
    // Each from a port of its own, so that both workers get some; not one may be answered as before.
    let codes: Vec<_> = (0..16).map(|_| ask_within(address, "mail.lab.example", Duration::from_secs(2))).collect();
    let took = answered.elapsed();
    assert!(codes.iter().flatten().all(|response| response[3] & 15 == 5), "{codes:?}");
    assert!(codes.iter().flatten().count() >= 10, "{codes:?}");
    println!("16 queries to two workers took {took:?} from the command's end");

    place.ask(&["status"]).works(&["emergency   mail.lab.example refused (emergency-1), until", "phish"]);
    place.ask(&["explain", "mail.lab.example"]).works(&["> emergency emergency-1  refused", "= refused"]);
    place.ask(&["unblock", "=mail.lab.example"]).fails(2, &["did you mean \"mail.lab.example\"?"]);
    place.ask(&["unblock", "mail.lab.example", "--reason", "cleaned"]).works(&["let go", "0 emergency rules"]);
    assert_eq!(rcode(address, "mail.lab.example"), 0);

    place.ask(&["block", "=www.other.example", "--for", "1h", "--reason", "hijacked"]).works(&[]);
    assert_eq!(rcode(address, "elsewhere.lab.example"), 3, "cached, allowed, and leads to a blocked name");
    place.ask(&["unblock", "=www.other.example"]).works(&[]);
    assert_eq!(rcode(address, "elsewhere.lab.example"), 0);

    place.ask(&["block", "*.lab.example", "--for", "1s", "--reason", "short"]).works(&["1 emergency rule is in force"]);
    assert_eq!(rcode(address, "mail.lab.example"), 3);
    wait_until("it ends by itself", || rcode(address, "mail.lab.example") == 0);
    let events: Vec<_> = audit(&place).iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events[..3], ["block", "unblock", "block"], "{events:?}");
    drop(running);
}

#[test]
fn both_survive_a_crash_with_their_ends() {
    let (place, address) = place();
    let mut running = start(&place);
    place.ask(&["mode", "under-attack", "--for", "1h", "--reason", "storm"]).works(&[]);
    place.ask(&["block", "mail.lab.example", "--for", "1h", "--reason", "phish"]).works(&[]);
    place.ask(&["block", "text.lab.example", "--for", "1s", "--reason", "short"]).works(&[]);
    let before = status(&place).incidents;
    running.stop();
    std::thread::sleep(Duration::from_millis(1100));
    let mut running = start(&place);
    let after = status(&place).incidents;
    let untils = |status: &weir::control::incidents::report::IncidentStatus| {
        (status.mode.term.as_ref().unwrap().until.clone(), status.emergency[0].term.until.clone())
    };
    assert_eq!(untils(&after), untils(&before));
    assert_eq!(after.emergency.len(), 1, "the short one is over: {after:?}");
    assert_eq!(rcode(address, "mail.lab.example"), 3, "from the first query on");
    assert!(answered_of_twenty(address) < 10, "the mode bites");

    place.ask(&["mode", "normal", "--reason", "over"]).works(&["mode normal"]);
    running.stop();
    // A state file that cannot be read is told and set aside, and the gateway serves.
    std::fs::write(place.path("state/state.json"), "{\"weir_state\":1,").unwrap();
    let mut running = start(&place);
    std::thread::sleep(Duration::from_millis(1300));
    place.ask(&["status"]).works(&["warning     state file", "set aside", "mode        normal"]);
    assert_eq!(rcode(address, "mail.lab.example"), 0);
    let aside = std::fs::read_dir(place.path("state")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(aside.filter(|name| name.to_string_lossy().contains("broken")).count(), 1);
    running.stop();
}

#[test]
fn a_reload_keeps_the_mode_and_the_blocks_and_is_refused_without_the_mode() {
    let (place, address) = place();
    let running = start(&place);
    place.ask(&["mode", "under-attack", "--for", "1h", "--reason", "storm"]).works(&[]);
    place.ask(&["block", "mail.lab.example", "--for", "1h", "--reason", "phish"]).works(&[]);
    place.ask(&["reload"]).works(&["nothing has changed"]);
    place.write("policies/access.toml", "allow = [\"127.0.0.0/8\"]\n# other\n");
    place.ask(&["reload"]).works(&["generation"]);
    assert_eq!(status(&place).incidents.mode.name, "under-attack");
    assert!(answered_of_twenty(address) < 10, "the mode still bites");
    wait_until("the block is still there", || {
        ask_within(address, "mail.lab.example", Duration::from_secs(1)).is_some_and(|response| response[3] & 15 == 3)
    });

    std::fs::remove_file(place.path("policies/modes/under-attack.toml")).unwrap();
    place.ask(&["reload"]).fails(2, &["mode under-attack is on", "weir mode normal"]);
    assert_eq!(status(&place).incidents.mode.name, "under-attack");
    place.ask(&["mode", "normal"]).works(&["mode normal"]);
    place.ask(&["reload"]).works(&["generation"]);
    let reloads: Vec<_> = audit(&place).into_iter().filter(|line| line["event"] == "reload").collect();
    wait_until("all reloads are on record", || {
        audit(&place).iter().filter(|line| line["event"] == "reload").count() == 4
    });
    assert!(reloads.iter().all(|line| line["who"]["uid"].is_u64()), "{reloads:?}");
    drop(running);
}

#[test]
fn a_state_that_cannot_be_kept_is_told_and_holds_nothing_up() {
    let (place, address) = place();
    let running = place.start_lab();
    let done = place.ask(&["block", "mail.lab.example", "--for", "1h", "--reason", "phish"]);
    done.works(&["1 emergency rule is in force", "warning: this does not survive a restart"]);
    assert_eq!(rcode(address, "mail.lab.example"), 3);
    drop(running);
}

#[test]
fn a_mode_begins_by_itself_only_where_it_says_so() {
    let (place, address) = place();
    place.write(
        "policies/modes/under-attack.toml",
        &format!("auto = {{ when = \"queries > 3\", after = \"1s\", calm = \"1s\" }}\n{MODE}"),
    );
    let running = start(&place);
    wait_until("it begins", || {
        answered_of_twenty(address);
        status(&place).incidents.mode.name == "under-attack"
    });
    let mode = status(&place).incidents.mode;
    assert!(mode.auto && mode.term.is_some_and(|term| term.reason.contains("queries > 3")));
    wait_until("it ends once it is calm", || status(&place).incidents.mode.name == "normal");
    drop(running);
}
