//! The policy is changed while it serves: by command, by signal, by itself. Whole, or not at all.

use super::place::{Place, UNGUARDED, free_address, rcode, wait_until};
use std::net::{SocketAddr, TcpListener, TcpStream};

const ACCESS: &str = "allow = [\"127.0.0.0/8\"]\n";

fn filter(name: &str) -> String {
    format!("[zone]\ntitle = \"test\"\n[[rule]]\nid = \"rule\"\nnames = [\"{name}\"]\naction = \"refused\"\n")
}

fn place_with_filter(watch: bool) -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], watch, UNGUARDED);
    place.write("policies/access.toml", ACCESS);
    place.write("policies/filters/10-test.toml", &filter("mail.lab.example"));
    (place, address)
}

/// Which of the two names is refused now.
fn refused(address: SocketAddr) -> [bool; 2] {
    ["mail.lab.example", "text.lab.example"].map(|name| rcode(address, name) == 5)
}

#[test]
fn by_command_and_cached_answers_follow() {
    let (place, address) = place_with_filter(false);
    let running = place.start_lab();
    assert_eq!(refused(address), [true, false]);
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    assert_eq!(refused(address), [true, false], "nothing changes by itself without watch");
    place.ask(&["reload"]).works(&["generation 2", "listeners   unchanged", "upstreams   unchanged"]);
    assert_eq!(refused(address), [false, true], "also what was in the cache");
    place.ask(&["reload"]).works(&["generation 2", "nothing has changed"]);

    place.write("policies/stray.toml", "");
    place.ask(&["reload"]).works(&["warning: stray.toml"]);
    std::fs::rename(place.path("policies/stray.toml"), place.path("stray.toml")).unwrap();
    place.write("policies/other.toml", "");
    place.write("policies/access.toml", &format!("{ACCESS}# other\n"));
    place.ask(&["reload"]).works(&["generation 3", "other.toml"]);
    let status = place.ask(&["status"]);
    assert!(status.out.contains("other.toml") && !status.out.contains("stray.toml"), "{status:#?}");
    drop(running);
}

#[test]
fn by_signal() {
    let (place, address) = place_with_filter(false);
    let running = place.start_lab();
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    for _ in 0..20 {
        running.signal("HUP");
    }
    wait_until("SIGHUP has reloaded", || refused(address) == [false, true]);
    let status =
        || -> weir::control::status::Status { serde_json::from_str(&place.ask(&["status", "--json"]).out).unwrap() };
    // A policy acts before it is noted.
    wait_until("the reload is on record", || status().last_reload.is_some_and(|last| last.ok));
    assert_eq!(status().policy.generation, 2, "a storm of signals is one change");
    drop(running);
}

#[test]
fn by_itself_when_files_change_or_the_directory_is_swapped() {
    let (place, address) = place_with_filter(true);
    std::fs::rename(place.path("policies"), place.path("one")).unwrap();
    std::os::unix::fs::symlink("one", place.path("policies")).unwrap();
    let running = place.start_lab();
    assert_eq!(refused(address), [true, false]);
    place.write("one/filters/10-test.toml", &filter("text.lab.example"));
    wait_until("an edit is loaded", || refused(address) == [false, true]);

    let copied = std::process::Command::new("cp").args(["-a", "one", "two"]).current_dir(place.path("")).status();
    assert!(copied.unwrap().success());
    place.write("two/filters/10-test.toml", &filter("mail.lab.example"));
    std::os::unix::fs::symlink("two", place.path("next")).unwrap();
    std::fs::rename(place.path("next"), place.path("policies")).unwrap();
    wait_until("a swapped link is loaded", || refused(address) == [true, false]);
    drop(running);
}

#[test]
fn a_bad_policy_changes_nothing_and_its_faults_are_told() {
    let (place, address) = place_with_filter(false);
    let running = place.start_lab();
    place.write("policies/filters/10-test.toml", &filter("text.lab.example").replace("refused", "refuse"));
    place.write("policies/access.toml", "allow = []\ndeny = [\"10.0.0.0/33\"]\n");
    place
        .ask(&["reload"])
        .fails(2, &["10-test.toml:6:", "refuse", "access.toml:2:", "10.0.0.0/33", "running policy stays"]);
    assert_eq!(refused(address), [true, false], "the old one serves");
    place.ask(&["status"]).works(&["generation 1", "REFUSED"]);

    std::fs::rename(place.path("policies"), place.path("away")).unwrap();
    place.ask(&["reload"]).fails(2, &["policies"]);
    assert_eq!(refused(address), [true, false]);

    std::fs::rename(place.path("away"), place.path("policies")).unwrap();
    place.write("policies/access.toml", ACCESS);
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    place.ask(&["reload"]).works(&["generation 2"]);
    assert_eq!(refused(address), [false, true]);
    running.signal("TERM");
    let ended = running.wait();
    ended.works(&[]);
    assert!(ended.err.contains("10-test.toml:6:"), "the log lacks the faults: {ended:#?}");
}

#[test]
fn listeners_come_and_go() {
    let (place, first) = place_with_filter(false);
    let running = place.start_lab();
    let second = free_address();
    place.write_gateway(&[first, second], false, "");
    place.ask(&["reload"]).works(&[&format!("+{second}")]);
    assert_eq!([refused(first), refused(second)], [[true, false]; 2]);

    place.write_gateway(&[second], false, "");
    place.ask(&["reload"]).works(&[&format!("-{first}")]);
    assert_eq!(refused(second), [true, false]);
    wait_until("the removed listener is closed", || TcpStream::connect(first).is_err());
    let again = TcpListener::bind(first);
    assert!(again.is_ok(), "its address is free again: {again:?}");
    drop(running);
}

#[test]
fn an_address_that_is_taken_refuses_the_whole_policy() {
    let (place, first) = place_with_filter(false);
    let running = place.start_lab();
    let second = free_address();
    let taken = TcpListener::bind(second).unwrap();
    place.write_gateway(&[first, second], false, "");
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    place.ask(&["reload"]).fails(1, &[&second.to_string(), "running policy stays"]);
    assert_eq!(refused(first), [true, false], "not even the rules of the new one run");
    place.ask(&["status"]).works(&["generation 1", "REFUSED"]);
    drop(taken);
    place.ask(&["reload"]).works(&["generation 2", &format!("+{second}")]);
    assert_eq!([refused(first), refused(second)], [[false, true]; 2]);
    drop(running);
}

#[test]
fn what_only_a_start_can_change_is_named() {
    let (place, address) = place_with_filter(false);
    let running = place.start_lab();
    let text = std::fs::read_to_string(place.path("policies/gateway.toml")).unwrap();
    place.write("policies/gateway.toml", &text.replace("workers = 1", "workers = 2"));
    place.write("policies/limits.toml", "[source]\nmemory = \"8MiB\"\n");
    place.ask(&["reload"]).works(&[
        "workers was changed and takes effect at the next start",
        "[source] memory was changed and takes effect at the next start",
    ]);
    assert_eq!(refused(address), [true, false]);
    drop(running);
}
