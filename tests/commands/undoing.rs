//! What was applied is undone in one command: apply, confirm, rollback, history, diff.

use super::place::{Place, Running, UNGUARDED, free_address, rcode, wait_until};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use weir::control::history::How;
use weir::control::history::report::HistoryList;
use weir::control::status::Status;

const ACCESS: &str = "allow = [\"127.0.0.0/8\"]\n";
const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf\n";
const OTHER_SECRET: &str = "445536bcd2513298075a5d379663c962\n";

fn filter(name: &str) -> String {
    format!("[zone]\ntitle = \"test\"\n[[rule]]\nid = \"rule\"\nnames = [\"{name}\"]\naction = \"refused\"\n")
}

/// A gateway that refuses mail.lab.example, and beside it a directory `next` that refuses text.lab.example.
fn place(watch: bool) -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], watch, UNGUARDED);
    place.write("policies/access.toml", ACCESS);
    place.write("policies/filters/10-test.toml", &filter("mail.lab.example"));
    place.write("policies/README.md", "ours\n");
    place.write("next/gateway.toml", &fs::read_to_string(place.path("policies/gateway.toml")).expect("just written"));
    place.write("next/access.toml", ACCESS);
    place.write("next/filters/20-other.toml", &filter("text.lab.example"));
    place.write("next/lists/a.txt", "a.example\nb.example\n");
    (place, address)
}

/// Which of the two names is refused now.
fn refused(address: SocketAddr) -> [bool; 2] {
    ["mail.lab.example", "text.lab.example"].map(|name| rcode(address, name) == 5)
}

fn status(place: &Place) -> Status {
    serde_json::from_str(&place.ask(&["status", "--json"]).out).expect("status is JSON")
}

fn history(place: &Place) -> HistoryList {
    serde_json::from_str(&place.ask(&["history", "--json"]).out).expect("the history is JSON")
}

fn how(place: &Place) -> Vec<How> {
    history(place).entries.iter().map(|row| row.entry.how).collect()
}

fn files(place: &Place) -> Vec<String> {
    weir::policy::document::files::paths(&place.path("policies")).expect("it can be listed")
}

fn apply(place: &Place) -> super::place::Ended {
    place.ask(&["apply", "next", "--reason", "SEC-1"])
}

fn start(place: &Place) -> Running {
    place.start_lab_with_state()
}

#[test]
fn apply_takes_a_directory_whole_and_rollback_brings_the_old_one_back() {
    let (place, address) = place(true);
    fs::set_permissions(place.path("policies/access.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    place.write("next/access.toml", &format!("{ACCESS}# other\n"));
    let running = start(&place);
    let first = status(&place).policy.id;
    assert_eq!(refused(address), [true, false]);

    apply(&place).works(&["generation 2", "listeners   unchanged"]);
    assert_eq!(refused(address), [false, true]);
    assert_eq!(files(&place), ["access.toml", "filters/20-other.toml", "gateway.toml", "lists/a.txt"]);
    assert_eq!(fs::read_to_string(place.path("policies/README.md")).unwrap(), "ours\n", "it is not of the policy");
    let mode = fs::metadata(place.path("policies/access.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "permissions stay");
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(status(&place).policy.generation, 2, "the watch sees no change in what was written here");

    let second = status(&place).policy.id;
    place.ask(&["history"]).works(&[&format!("> {second}"), "apply", "SEC-1", "[running]  [last-good]", "start"]);
    place.ask(&["rollback", "--reason", "breaks mail"]).works(&[&format!("policy {first} runs, generation 3")]);
    assert_eq!(refused(address), [true, false]);
    assert_eq!(files(&place), ["access.toml", "filters/10-test.toml", "gateway.toml"]);
    assert_eq!(how(&place), [How::Rollback, How::Apply, How::Start]);
    place.ask(&["rollback"]).fails(2, &["no policy ran before"]);
    place.ask(&["rollback", &second[..6]]).works(&[&second]);
    assert_eq!(refused(address), [false, true]);
    place.ask(&["rollback", &second]).works(&["runs already"]);

    let audit = fs::read_to_string(place.path("state/audit.jsonl")).unwrap();
    for part in ["\"event\":\"apply\"", "\"why\":\"SEC-1\"", "\"event\":\"rollback\"", "\"why\":\"breaks mail\""] {
        assert!(audit.contains(part), "{part} is missing in {audit}");
    }
    drop(running);
    let running = start(&place);
    assert_eq!(refused(address), [false, true], "what lies there is what runs");
    assert_eq!(how(&place)[0], How::Rollback, "a start with what ran before is no change");
    drop(running);
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let (place, address) = place(false);
    let running = start(&place);
    place.ask(&["apply", "next"]).fails(2, &["--reason is needed"]);
    place.ask(&["apply", "nowhere", "--reason", "x"]).fails(2, &["there is no such directory"]);
    place.ask(&["apply", "next", "--reason", "x", "--confirm-within", "soon"]).fails(2, &["no duration"]);
    place.ask(&["apply", "next", "--reason", "x", "--confirm-within", "2d"]).fails(2, &["lasts 1s to 1d"]);
    place.ask(&["confirm"]).fails(2, &["no apply waits"]);
    place.ask(&["rollback"]).fails(2, &["no policy ran before"]);
    place.ask(&["rollback", "abc"]).fails(2, &["at least 4"]);
    place.ask(&["rollback", "0123abcd"]).fails(2, &["no policy 0123abcd is in the history"]);
    place.ask(&["diff", "0123abcd", "policies"]).fails(2, &["no policy 0123abcd"]);

    place.write("next/filters/20-other.toml", &filter("text.lab.example").replace("refused", "refuse"));
    apply(&place).fails(2, &["20-other.toml:6:", "running policy stays"]);
    // Nothing can be written at all, as in a directory that is read-only.
    place.write("next/filters/20-other.toml", &filter("text.lab.example"));
    fs::create_dir(place.path("policies/..weir-replacing.fresh")).unwrap();
    apply(&place).fails(1, &["cannot be replaced", "nothing has changed"]);
    fs::remove_dir(place.path("policies/..weir-replacing.fresh")).unwrap();
    // A directory stands where a file is to be written: the first files are put back.
    fs::create_dir_all(place.path("policies/lists/a.txt")).unwrap();
    apply(&place).fails(1, &["lists/a.txt", "nothing has changed"]);
    fs::remove_dir(place.path("policies/lists/a.txt")).unwrap();
    assert_eq!(files(&place), ["access.toml", "filters/10-test.toml", "gateway.toml"]);
    assert!(!place.path("policies/.weir-replacing").exists());
    assert_eq!((refused(address), status(&place).policy.generation), ([true, false], 1));
    drop(running);

    let running = place.start_lab();
    place.ask(&["status"]).works(&["generation 1"]);
    apply(&place).fails(1, &["no history is kept"]);
    place.ask(&["history"]).fails(1, &["no history is kept"]);
    drop(running);
    place.ask(&["history"]).fails(1, &["no gateway runs"]);
}

#[test]
fn an_apply_that_is_not_confirmed_goes_back_by_itself() {
    let (place, address) = place(true);
    let running = start(&place);
    let within = |time: &'static str| ["apply", "next", "--reason", "try", "--confirm-within", time];
    place.ask(&within("4s")).works(&["generation 2", "unless `weir confirm` keeps it"]);
    assert_eq!(refused(address), [false, true], "it takes effect at once");
    place.ask(&["status"]).works(&["UNCONFIRMED policy", "try"]);
    let list = history(&place);
    assert!(list.entries[0].running && !list.entries[0].last_good && list.entries[1].last_good, "{list:#?}");
    apply(&place).fails(1, &["waits to be confirmed", "weir confirm", "weir rollback"]);
    wait_until("it goes back", || refused(address) == [true, false]);
    wait_until("it is on record", || how(&place) == [How::AutoRollback, How::Apply, How::Start]);
    assert_eq!(files(&place), ["access.toml", "filters/10-test.toml", "gateway.toml"]);
    wait_until("nothing waits any more", || status(&place).unconfirmed.is_none());
    wait_until("it is audited", || {
        fs::read_to_string(place.path("state/audit.jsonl")).unwrap().contains("\"event\":\"auto-rollback\"")
    });

    place.ask(&within("3s")).works(&["generation 4"]);
    place.ask(&["confirm", "--reason", "mail flows"]).works(&["is confirmed and stays"]);
    place.ask(&["confirm"]).fails(2, &["no apply waits"]);
    std::thread::sleep(std::time::Duration::from_millis(3200));
    assert_eq!(refused(address), [false, true], "it stays");
    drop(running);
}

#[test]
fn a_mode_that_the_old_policy_lacks_ends_for_the_way_back() {
    let (place, address) = place(false);
    place.write("next/modes/night.toml", "max_duration = \"4h\"\n");
    let running = start(&place);
    let first = status(&place).policy.id;
    place.ask(&["apply", "next", "--reason", "try", "--confirm-within", "5s"]).works(&["generation 2"]);
    place.ask(&["mode", "night", "--for", "1h", "--reason", "quiet"]).works(&["mode NIGHT"]);
    place.ask(&["rollback"]).fails(2, &["mode night is on", "weir mode normal"]);
    assert_eq!((refused(address), status(&place).incidents.mode.name.as_str()), ([false, true], "night"));
    wait_until("it goes back", || refused(address) == [true, false]);
    wait_until("it is on record", || how(&place) == [How::AutoRollback, How::Apply, How::Start]);
    assert_eq!(files(&place), ["access.toml", "filters/10-test.toml", "gateway.toml"]);
    wait_until("nothing waits any more", || status(&place).unconfirmed.is_none());
    let now = status(&place);
    assert_eq!((now.incidents.mode.name.as_str(), now.policy.id.as_str()), ("normal", first.as_str()));
    place.ask(&["status"]).works(&[&format!("mode night was ended: policy {first}"), "was not confirmed"]);
    place.ask(&["status", "--lang", "zh"]).works(&[&format!("应急模式 night 已被结束：策略 {first}")]);
    wait_until("it is audited", || {
        let audit = fs::read_to_string(place.path("state/audit.jsonl")).unwrap();
        let ended = audit.lines().find(|line| line.contains("\"event\":\"mode-ended\""));
        ended.is_some_and(|line| line.contains("normal, was night") && line.contains(&format!("policy {first}")))
    });
    place.ask(&["reload"]).works(&["nothing has changed"]);
    assert!(!place.ask(&["status"]).out.contains("night"), "it was told");
    let mut running = running;
    let told = running.stop().err;
    assert!(told.contains("mode night was ended"), "{told}");
}

#[test]
fn a_restart_does_not_lose_the_way_back() {
    let (place, address) = place(false);
    let mut running = start(&place);
    let within = ["apply", "next", "--reason", "try", "--confirm-within", "6s"];
    place.ask(&within).works(&["generation 2"]);
    running.stop();
    let mut running = start(&place);
    assert_eq!(refused(address), [false, true], "its time is not over");
    assert!(status(&place).unconfirmed.is_some_and(|waiting| waiting.left_s <= 6));
    wait_until("it goes back", || refused(address) == [true, false]);
    // Its time passes while nothing runs.
    place.ask(&["apply", "next", "--reason", "try", "--confirm-within", "1s"]).works(&["generation 3"]);
    running.stop();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let running = start(&place);
    assert_eq!((refused(address), status(&place).policy.generation), ([true, false], 1), "from the first query");
    assert_eq!(how(&place)[0], How::AutoRollback);
    drop(running);
}

#[test]
fn edits_that_did_not_run_are_set_aside_and_a_rollback_to_what_runs_takes_them_away() {
    let (place, address) = place(false);
    let running = start(&place);
    let runs = status(&place).policy.id;
    place.write("policies/access.toml", "allow = [\"10.0.0.0/33\"]\n");
    place.ask(&["reload"]).fails(2, &["10.0.0.0/33"]);
    place.ask(&["rollback", &runs]).works(&["are set aside as policy"]);
    assert_eq!(fs::read_to_string(place.path("policies/access.toml")).unwrap(), ACCESS);
    place.ask(&["reload"]).works(&["nothing has changed"]);
    let aside = history(&place).entries.iter().find(|row| row.entry.how == How::SetAside).unwrap().entry.id;
    place.ask(&["diff", &runs, &aside.hex()]).works(&["-allow = [\"127.0.0.0/8\"]", "+allow = [\"10.0.0.0/33\"]"]);
    assert_eq!(refused(address), [true, false]);
    drop(running);
}

#[test]
fn a_directory_with_faults_can_start_with_the_last_good_policy_and_is_mended_by_a_rollback() {
    let (place, address) = place(false);
    let state = place.path("state");
    let last_good = ["run", "--lab", "--last-good", "--state", state.to_str().unwrap()];
    place.write("policies/access.toml", "allow = [\"10.0.0.0/33\"]\n");
    place.weir(&last_good).fails(2, &["10.0.0.0/33", "no policy has run yet", "nothing was started"]);
    place.write("policies/access.toml", ACCESS);
    let running = start(&place);
    let id = status(&place).policy.id;
    drop(running);
    place.write("policies/access.toml", "allow = [\"10.0.0.0/33\"]\n");
    let running = place.start(&last_good[1..], &place.socket());
    assert_eq!((refused(address), status(&place).policy.id), ([true, false], id.clone()));
    place.ask(&["status"]).works(&["the last good one, runs instead"]);
    place.ask(&["reload"]).fails(2, &["10.0.0.0/33", "running policy stays"]);
    place.ask(&["rollback", &id]).works(&["are set aside as policy"]);
    assert_eq!(fs::read_to_string(place.path("policies/access.toml")).unwrap(), ACCESS);
    place.ask(&["reload"]).works(&["nothing has changed"]);
    let now = status(&place);
    assert!(!now.warnings.iter().any(|warning| warning.english().contains("last good")), "{:?}", now.warnings);
    drop(running);
}

#[test]
fn secrets_stay_where_they_are_and_are_nowhere_else() {
    let (place, _) = place(false);
    let secret = |path: &str, text: &str| {
        place.write(path, text);
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(0o600)).unwrap();
    };
    secret("policies/cookie.secrets", SECRET);
    secret("next/cookie.secrets", OTHER_SECRET);
    let running = start(&place);
    apply(&place).works(&["generation 2", "the secrets of", "are not taken over"]);
    assert_eq!(fs::read_to_string(place.path("policies/cookie.secrets")).unwrap(), SECRET);
    secret("policies/cookie.secrets", OTHER_SECRET);
    place.ask(&["reload"]).works(&["generation 3"]);
    let ids: Vec<_> = history(&place).entries.iter().map(|row| row.entry.id.hex()).collect();
    place.ask(&["rollback", &ids[2]]).works(&["had other secrets"]);
    assert_eq!(fs::read_to_string(place.path("policies/cookie.secrets")).unwrap(), OTHER_SECRET);
    let diff = place.ask(&["diff", &ids[0], &ids[1]]);
    diff.works(&["cookie.secrets differs: secrets are not shown"]);
    for entry in fs::read_dir(place.path("state/history/files")).unwrap() {
        let packed = fs::File::open(entry.unwrap().path()).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
        assert!(!text.contains(SECRET.trim()) && !text.contains(OTHER_SECRET.trim()), "{text}");
    }
    drop(running);
}

#[test]
fn diff_compares_directories_and_ids_and_counts_rules_and_names() {
    let (place, _) = place(false);
    let offline = place.weir(&["diff", "policies", "next"]);
    offline.works(&[
        "--- policies/filters/10-test.toml\n+++ /dev/null",
        "+names = [\"text.lab.example\"]",
        "+a.example",
        "files +2 -1 ~0, rules +1 -1 ~0, lines of lists +2 -0",
    ]);
    place.weir(&["diff", "policies", "policies"]).works(&["they are the same"]);
    place.weir(&["diff", "policies", "nowhere"]).fails(2, &["there is no such directory"]);
    let running = start(&place);
    let id = status(&place).policy.id;
    place.ask(&["diff", &id, "next"]).works(&["files +2 -1 ~0, rules +1 -1 ~0, lines of lists +2 -0"]);
    place.ask(&["diff", &id, "policies"]).works(&["they are the same"]);
    let json: serde_json::Value = serde_json::from_str(&place.ask(&["diff", &id, "next", "--json"]).out).unwrap();
    assert_eq!(json["rules"]["added"], 1);
    drop(running);
}

#[test]
fn applying_the_running_directory_is_a_reload_that_can_be_undone() {
    let (place, address) = place(false);
    let running = start(&place);
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    place.ask(&["apply", "policies", "--reason", "edited", "--confirm-within", "1h"]).works(&["generation 2"]);
    assert_eq!(refused(address), [false, true]);
    place.ask(&["rollback"]).works(&["generation 3"]);
    assert_eq!(refused(address), [true, false]);
    assert_eq!(fs::read_to_string(place.path("policies/filters/10-test.toml")).unwrap(), filter("mail.lab.example"));
    assert_eq!(status(&place).unconfirmed, None);
    drop(running);
}

#[test]
fn a_gateway_that_does_not_start_is_repaired_without_one() {
    let (place, address) = place(false);
    let state = place.path("state");
    let state = state.to_str().unwrap();
    let with_state = |arguments: &[&str]| place.weir(&[arguments, &["--state", state]].concat());
    with_state(&["history"]).fails(1, &["holds no history"]);
    assert!(!place.path("state").exists(), "a name with a typing error becomes no directory");
    let running = start(&place);
    let first = status(&place).policy.id;
    apply(&place).works(&["generation 2"]);
    let second = status(&place).policy.id;
    with_state(&["rollback"]).fails(1, &["a gateway runs: ask it"]);
    drop(running);

    // Edits that do not load: what ran last comes back, and they are set aside.
    place.write("policies/access.toml", "allow = [\"10.0.0.0/33\"]\n");
    place.launch(&["--lab", "--state", state]).wait().fails(2, &["10.0.0.0/33"]);
    with_state(&["history"]).works(&[&format!("  {second}"), "[last-good]", "apply"]);
    with_state(&["rollback", "--reason", "mend"]).works(&[&format!("policy {second}, which ran last,"), "set aside"]);
    assert_eq!(fs::read_to_string(place.path("policies/access.toml")).unwrap(), ACCESS);
    let running = start(&place);
    assert_eq!((refused(address), how(&place)[0]), ([false, true], How::SetAside), "what runs is no news");
    drop(running);

    // What lies there is what ran last: the one before comes.
    with_state(&["rollback"]).works(&[&format!("policy {first}, which ran before the last,")]);
    let json = with_state(&["history", "--json"]);
    let list: HistoryList = serde_json::from_str(&json.out).expect("the history is JSON");
    assert!(list.entries[0].entry.how == How::Rollback && list.entries[0].entry.id.to_string() == first, "{list:#?}");
    let running = start(&place);
    assert_eq!(refused(address), [true, false]);
    drop(running);
    with_state(&["rollback", &second[..6], "--dir", "policies"]).works(&[&second, "weir run policies"]);
    with_state(&["rollback", "0123abcd"]).fails(1, &["no policy 0123abcd"]);
    with_state(&["rollback", "--dir", "nowhere"]).fails(2, &["there is no such directory"]);
    let audit = fs::read_to_string(place.path("state/audit.jsonl")).unwrap();
    assert!(audit.contains("while no gateway ran") && audit.contains("\"why\":\"mend\""), "{audit}");
}

#[test]
fn check_tells_of_a_directory_that_is_half_replaced_and_a_rollback_makes_it_whole() {
    let (place, address) = place(false);
    let state = place.path("state");
    let running = start(&place);
    let first = status(&place).policy.id;
    drop(running);
    place.write("policies/.weir-replacing", "{}");
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    place.weir(&["check", "policies"]).works(&["W-HALF-REPLACED", "they may be of two policies", "rollback --state"]);
    assert_eq!(place.weir(&["check", "policies", "--strict"]).code, Some(1));
    place.weir(&["rollback", "--state", state.to_str().unwrap()]).works(&[&first, "which ran last"]);
    assert!(!place.path("policies/.weir-replacing").exists());
    place.weir(&["check", "policies", "--strict"]).works(&["0 warnings"]);
    let running = start(&place);
    assert_eq!(refused(address), [true, false]);
    drop(running);
}

#[test]
fn a_linked_directory_stays_linked_and_a_linked_file_becomes_one() {
    let (place, address) = place(false);
    fs::rename(place.path("policies"), place.path("real")).unwrap();
    std::os::unix::fs::symlink("real", place.path("policies")).unwrap();
    fs::rename(place.path("real/filters/10-test.toml"), place.path("real/filters/shared.txt")).unwrap();
    std::os::unix::fs::symlink("shared.txt", place.path("real/filters/10-test.toml")).unwrap();
    place.write("next/filters/10-test.toml", &filter("text.lab.example"));
    fs::remove_file(place.path("next/filters/20-other.toml")).unwrap();
    let running = start(&place);
    assert_eq!(refused(address), [true, false]);
    apply(&place).works(&["generation 2"]);
    assert_eq!(refused(address), [false, true]);
    let is_link = |path: &str| fs::symlink_metadata(place.path(path)).unwrap().is_symlink();
    assert!(is_link("policies") && !is_link("real/filters/10-test.toml"));
    assert_eq!(fs::read_to_string(place.path("real/filters/shared.txt")).unwrap(), filter("mail.lab.example"));
    drop(running);
}

/// Files that are over the bounds of a policy, which are not read and so cannot be set aside.
#[test]
fn what_cannot_be_set_aside_whole_is_not_replaced() {
    let (place, address) = place(false);
    let state = place.path("state");
    let running = start(&place);
    let runs = status(&place).policy.id;
    let lies = || {
        let read = |path: String| (fs::read(place.path("policies").join(&path)).unwrap(), path);
        files(&place).into_iter().map(read).collect::<Vec<_>>()
    };
    place.write("policies/modes/large.toml", &"#".repeat((4 << 20) + 1));
    place.write("policies/filters/10-test.toml", &filter("text.lab.example"));
    let before = lies();
    let refused_for =
        ["modes/large.toml cannot be set aside", "larger than 4 MiB", "nothing has changed", "move them out"];
    place.ask(&["rollback", &runs]).fails(1, &refused_for);
    apply(&place).fails(1, &refused_for);
    assert_eq!((status(&place).policy.generation, how(&place)), (1, vec![How::Start]));
    drop(running);
    let without = |arguments: &[&str]| place.weir(&[arguments, &["--state", state.to_str().unwrap()]].concat());
    without(&["rollback"]).fails(1, &refused_for);
    assert_eq!(lies(), before);
    assert!(!place.path("policies/.weir-replacing").exists());

    // The way out that it names.
    fs::rename(place.path("policies/modes/large.toml"), place.path("large.toml")).unwrap();
    without(&["rollback"]).works(&[&runs, "which ran last", "set aside"]);
    let running = start(&place);
    assert_eq!(refused(address), [true, false]);
    drop(running);
}
