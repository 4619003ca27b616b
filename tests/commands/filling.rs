//! The disk fills while it runs: the audit log and the query log hold whole lines, and what comes later stands by itself.

use super::place::{Place, free_address, rcode, wait_until};
use std::fs;

/// The lines of a file, each of which is an object.
#[track_caller]
fn lines(place: &Place, file: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(place.path(file)).expect("it is there");
    assert!(text.ends_with('\n'), "{file} ends within a line: {:?}", text.lines().last());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{file}: {line}"))).collect()
}

#[test]
fn a_full_disk_leaves_whole_lines_in_the_logs() {
    let (place, address) = (Place::new(), free_address());
    let log = place.path("queries.jsonl");
    place.write_gateway(&[address], false, &format!("[log]\nqueries = \"all\"\nfile = \"{}\"\n", log.display()));
    place.write("policies/access.toml", "allow = [\"127.0.0.0/8\"]\n");
    let mut running = place.start_lab_on_a_small_disk();
    let logged = |name: &str| fs::read_to_string(&log).is_ok_and(|text| text.contains(name));
    assert_eq!(rcode(address, "text.lab.example"), 0);
    wait_until("a line is in the log", || logged("text.lab.example"));
    let why = "why ".repeat(50);
    for _ in 0..16 {
        place.ask(&["block", "bad.example", "--for", "1h", "--reason", &why]).works(&["is blocked"]);
        place.ask(&["unblock", "bad.example", "--reason", &why]).works(&["is let go"]);
        for _ in 0..8 {
            assert_eq!(rcode(address, "mail.lab.example"), 0);
        }
    }
    place.ask(&["status"]).works(&["does not survive a restart"]);
    let told = running.stop();
    assert!(told.err.contains("the query log cannot be written"), "the disk was not full: {told:#?}");
    let before = [lines(&place, "state/audit.jsonl").len(), lines(&place, "queries.jsonl").len()];
    assert!(before[0] > 0 && before[1] > 0, "{before:?} lines before it was full");

    let running = place.start_lab_with_state();
    place.ask(&["block", "late.example", "--for", "1h", "--reason", "there is room"]).works(&["is blocked"]);
    assert_eq!(rcode(address, "www.lab.example"), 0);
    wait_until("it is logged", || logged("www.lab.example"));
    assert_eq!(lines(&place, "queries.jsonl").len(), before[1] + 1);
    let audit = lines(&place, "state/audit.jsonl");
    assert!(audit.iter().any(|line| line["why"] == "there is room"), "{audit:#?}");
    drop(running);
}
