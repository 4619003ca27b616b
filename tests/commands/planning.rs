//! What a change would do is shown before it is made, on the queries that were asked or on a file of them; and a change that
//! nobody can have meant is refused until it is forced.

use super::place::{Place, Running, ask_within, free_address, rcode, wait_until};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use weir::control::plan::Plan;
use weir::control::status::Status;

const ACCESS: &str = "allow = [\"127.0.0.0/8\"]\n";

/// A rule that refuses what is in the list.
fn filter(more: &str) -> String {
    format!("[zone]\ntitle = \"test\"\n[[rule]]\nid = \"listed\"\nlist = \"lists/a.txt\"\naction = \"refused\"\n{more}")
}

fn names(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "name{n}.listed.example");
        text
    })
}

/// A gateway that refuses the names of a list, with `more` in its gateway.toml.
fn place(watch: bool, more: &str) -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], watch, more);
    place.write("policies/access.toml", ACCESS);
    place.write("policies/filters/10-test.toml", &filter(""));
    place.write("policies/lists/a.txt", &names(100));
    (place, address)
}

/// Copies the policy to `to`.
fn copy(place: &Place, to: &str) {
    for path in ["gateway.toml", "access.toml", "filters/10-test.toml", "lists/a.txt"] {
        let text = fs::read_to_string(place.path(&format!("policies/{path}"))).expect("it is there");
        place.write(&format!("{to}/{path}"), &text);
    }
}

/// Asks `count` times for names of the lab, a fifth of them mail.lab.example, and waits until the gateway remembers them.
fn ask(place: &Place, address: SocketAddr, count: usize) {
    for n in 0..count {
        let name = if n % 5 == 0 { "mail.lab.example" } else { "www.lab.example" };
        let response = (0..4).find_map(|_| ask_within(address, name, Duration::from_secs(3)));
        assert_eq!(response.expect("the gateway answers")[3] & 15, 0);
    }
    copy(place, "same");
    wait_until("the queries are remembered", || {
        plan(place, &["same"]).verdicts.is_some_and(|v| v.queries >= count as u64)
    });
}

fn start(place: &Place) -> Running {
    place.start_lab_with_state()
}

#[track_caller]
fn plan(place: &Place, arguments: &[&str]) -> Plan {
    let ended = place.ask(&[&["plan"], arguments, &["--json"]].concat());
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
}

fn status(place: &Place) -> Status {
    serde_json::from_str(&place.ask(&["status", "--json"]).out).expect("status is JSON")
}

const BLOCKS_MAIL: &str = "[[rule]]\nid = \"mail\"\nnames = [\"mail.lab.example\"]\naction = \"nxdomain\"\n";

#[test]
fn a_plan_tells_rules_lists_settings_and_the_verdicts_on_what_was_asked() {
    let (place, address) = place(false, "");
    let running = start(&place);
    copy(&place, "next");
    place.write("next/filters/10-test.toml", &filter(BLOCKS_MAIL).replace("refused", "nodata"));
    place.write(
        "next/filters/20-more.toml",
        "[[rule]]\nid = \"watched\"\nnames = [\"www.lab.example\"]\naction = \"refused\"\nmode = \"monitor\"\n",
    );
    place.write("next/lists/a.txt", &names(80));
    let few = plan(&place, &["next"]);
    assert!(few.guard.is_empty() && few.queries_note.is_some_and(|note| note.english().contains("fewer than the 100")));

    ask(&place, address, 200);
    let made = place.ask(&["plan", "next"]);
    assert_eq!(made.code, Some(1), "the guard would object: {made:#?}");
    for part in [
        "+ mail (filters/10-test.toml): action \"nxdomain\", names [\"mail.lab.example\"]",
        "~ listed (filters/10-test.toml): action \"refused\" -> \"nodata\"",
        "~ lists/a.txt: 100 -> 80 names (-20 %)",
        "newly blocked: 40 of 200 (20 %)",
        "40  by mail: forward -> nxdomain",
        "mail.lab.example (40)",
        "newly allowed: none",
        "only watched: 160 of 200 (80 %)",
        "160  by watched: forward would be refused",
        "GUARD       it newly blocks 20 % of the queries of the last",
    ] {
        assert!(made.out.contains(part), "{part:?} is missing in {}", made.out);
    }
    let made = plan(&place, &["next"]);
    let verdicts = made.verdicts.expect("queries were asked");
    assert_eq!((verdicts.queries, verdicts.newly_blocked.queries), (200, 40.0));
    assert_eq!((status(&place).policy.generation, rcode(address, "mail.lab.example")), (1, 0), "nothing has changed");

    place.write("next/access.toml", "allow = [\"10.0.0.0/33\"]\n");
    place.ask(&["plan", "next"]).fails(2, &["access.toml:1:", "it would be refused"]);
    place.ask(&["plan", "nowhere"]).fails(2, &["there is no such directory"]);
    place.ask(&["plan", "0123abcd"]).fails(2, &["no policy 0123abcd"]);
    let same = place.ask(&["plan", "policies"]);
    same.works(&["nothing differs", "newly blocked: none"]);
    drop(running);
    place.ask(&["plan", "next"]).fails(1, &["no gateway runs", "--against"]);
}

#[test]
fn rules_about_answers_are_tried_on_what_the_cache_holds_and_guarded() {
    let (place, address) = place(false, "");
    let running = start(&place);
    ask(&place, address, 200);
    let answer = ask_within(address, "mail.lab.example", Duration::from_secs(3)).expect("the gateway answers");
    // The address of its one record is last; there is no OPT, as none was asked for.
    let ip = std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&answer[answer.len() - 4..]).expect("four bytes"));
    copy(&place, "next");
    let blocks = format!("[[rule]]\nid = \"ip\"\nresponse_ip = [\"{ip}\"]\naction = \"nxdomain\"\n");
    place.write("next/filters/10-test.toml", &filter(&blocks));
    let made = plan(&place, &["next"]);
    let verdicts = made.verdicts.expect("queries were asked");
    assert!(verdicts.answered >= 200, "{verdicts:#?}");
    let group = &verdicts.newly_blocked.groups[0];
    assert_eq!(
        (group.rule.as_str(), group.after.as_str(), group.names[0].name.as_str()),
        ("ip", "nxdomain", "mail.lab.example")
    );
    assert!(group.queries >= 40.0 && made.guard[0].english().contains("newly blocks 2"), "{:?}", made.guard);
    place
        .ask(&["apply", "next", "--reason", "test"])
        .fails(1, &["it newly blocks 2", "most by \"ip\": mail.lab.example"]);
    assert_eq!((status(&place).policy.generation, rcode(address, "mail.lab.example")), (1, 0), "nothing has changed");
    place.ask(&["plan", "next"]).fails(1, &[]);
    assert!(place.ask(&["plan", "next"]).out.contains("of them with the answer, 0 by the question alone"));
    place.ask(&["apply", "next", "--force", "--reason", "test"]).works(&["generation 2"]);
    assert_eq!(rcode(address, "mail.lab.example"), 3, "as the plan told");
    drop(running);
}

#[test]
fn a_monitor_rule_is_foretold_by_the_plan_and_counted_by_the_status() {
    let (place, address) = place(false, "");
    let running = start(&place);
    ask(&place, address, 100);
    copy(&place, "next");
    place.write(
        "next/filters/10-test.toml",
        &filter(&BLOCKS_MAIL.replace("nxdomain\"", "nxdomain\"\nmode = \"monitor\"")),
    );
    let foretold = plan(&place, &["next"]);
    assert!(foretold.guard.is_empty(), "watching blocks nobody: {foretold:#?}");
    let monitored = foretold.verdicts.expect("queries were asked").monitored;
    assert_eq!(
        (monitored.queries, monitored.groups[0].rule.as_str(), monitored.groups[0].after.as_str()),
        (20.0, "mail", "nxdomain")
    );
    place.ask(&["apply", "next", "--reason", "watch first"]).works(&["generation 2"]);
    assert_eq!(rcode(address, "mail.lab.example"), 0, "it only watches");
    wait_until("it is counted", || status(&place).queries.monitored.get("filter") == Some(&1));
    place.ask(&["status"]).works(&["monitor", "filter 1"]);
    drop(running);
}

#[test]
fn a_change_that_blocks_a_tenth_of_what_is_asked_is_refused_until_it_is_forced() {
    let (place, address) = place(true, "");
    let running = start(&place);
    copy(&place, "next");
    place.write("next/filters/10-test.toml", &filter(BLOCKS_MAIL));
    ask(&place, address, 200);

    let objection = ["the guard objects: it newly blocks 20 %", "most by rule", "--force", "running policy stays"];
    let objection = objection.map(|part| part.replace("rule", "\"mail\""));
    let objection: Vec<_> = objection.iter().map(String::as_str).collect();
    place.ask(&["apply", "next", "--reason", "typing error"]).fails(1, &objection);
    assert_eq!(status(&place).policy.generation, 1);
    let audit = fs::read_to_string(place.path("state/audit.jsonl")).unwrap_or_default();
    assert!(audit.contains("refused: the guard objects"), "{audit}");

    // By the watch, and by SIGHUP.
    place.write("policies/filters/10-test.toml", &filter(BLOCKS_MAIL));
    wait_until("the watch has looked", || {
        place.ask(&["status"]).out.contains("as the files changed: the guard objects")
    });
    let text = place.ask(&["status"]);
    text.works(&["REFUSED", "as the files changed", "the guard objects", "`weir reload --force`"]);
    running.signal("HUP");
    wait_until("SIGHUP is refused", || place.ask(&["status"]).out.contains("by SIGHUP: the guard objects"));
    place.ask(&["reload"]).fails(1, &objection);
    assert_eq!((status(&place).policy.generation, rcode(address, "mail.lab.example")), (1, 0));

    place.ask(&["reload", "--force"]).works(&["generation 2"]);
    assert_eq!(rcode(address, "mail.lab.example"), 3);
    assert!(status(&place).last_reload.is_some_and(|last| last.message.english().contains("forced")));
    // Letting go again needs no force; going back to blocking does.
    place.ask(&["rollback"]).works(&["generation 3"]);
    let blocking = weir_history(&place)[1].clone();
    place.ask(&["rollback", &blocking]).fails(1, &["the guard objects", &format!("weir rollback {blocking} --force")]);
    place.ask(&["rollback", &blocking, "--force"]).works(&["generation 4"]);
    running.signal("TERM");
    let log = running.wait();
    assert!(
        log.err.contains("refused, the running policy stays: the guard objects")
            || log.out.contains("the guard objects"),
        "{log:#?}"
    );
}

fn weir_history(place: &Place) -> Vec<String> {
    let list: weir::control::history::report::HistoryList =
        serde_json::from_str(&place.ask(&["history", "--json"]).out).expect("the history is JSON");
    list.entries.iter().map(|row| row.entry.id.hex()).collect()
}

#[test]
fn a_list_that_loses_a_third_of_its_names_is_refused_until_it_is_forced_and_blocks_and_modes_are_free() {
    let (place, address) = place(false, "");
    place.write("policies/modes/attack.toml", "[source]\nrate = 50\n");
    let running = start(&place);
    assert_eq!(rcode(address, "name99.listed.example"), 5);
    place.write("policies/lists/a.txt", &names(60));
    place.ask(&["reload"]).fails(1, &["lists/a.txt shrinks from 100 to 60 names, by 40 %, more than 30 %", "--force"]);
    place.write("policies/lists/a.txt", "");
    place.ask(&["reload"]).fails(1, &["from 100 to 0 names"]);
    assert_eq!(rcode(address, "name99.listed.example"), 5, "an empty download unblocks nobody");
    place.write("policies/lists/a.txt", &names(75));
    place.ask(&["reload"]).works(&["generation 2"]);
    place.write("policies/lists/a.txt", &names(10));
    place.ask(&["reload", "--force"]).works(&["generation 3"]);

    ask(&place, address, 120);
    place.ask(&["block", "lab.example", "--for", "1h", "--reason", "all of it"]).works(&["blocked"]);
    assert_eq!(rcode(address, "www.lab.example"), 3, "a block asks no guard");
    place.ask(&["mode", "attack", "--for", "5m", "--reason", "drill"]).works(&["attack"]);
    drop(running);
}

#[test]
fn the_guard_is_set_in_gateway_toml_and_watches_or_is_off_there() {
    let (place, address) =
        place(false, "[guard]\nmode = \"monitor\"\nlist_shrink = 0.05\nnewly_blocked = 0.5\nqueries_min = 10\n");
    let running = start(&place);
    place.write("policies/lists/a.txt", &names(90));
    place.ask(&["plan", "policies"]).works(&["warning: the guard would object: lists/a.txt shrinks from 100 to 90"]);
    place.ask(&["reload"]).works(&["generation 2", "the guard would object: lists/a.txt shrinks from 100 to 90"]);
    ask(&place, address, 20);
    place.write("policies/filters/10-test.toml", &filter(&BLOCKS_MAIL.replace("mail.lab.example", "lab.example")));
    place.ask(&["reload"]).works(&["generation 3", "it newly blocks 100 % of the queries"]);
    drop(running);

    // The guard of what runs counts: a change cannot lift its own.
    let (place, _) = self::place(false, "");
    let running = start(&place);
    let off = fs::read_to_string(place.path("policies/gateway.toml")).unwrap() + "[guard]\nmode = \"off\"\n";
    place.write("policies/gateway.toml", &off);
    place.write("policies/lists/a.txt", &names(1));
    place.ask(&["reload"]).fails(1, &["the guard objects"]);
    place.write("policies/lists/a.txt", &names(100));
    place.ask(&["reload"]).works(&["generation 2"]);
    place.write("policies/lists/a.txt", &names(1));
    place.ask(&["reload"]).works(&["generation 3"]);
    drop(running);
    // Nor is a start ever held up.
    let running = start(&place);
    place.ask(&["status"]).works(&["generation 1"]);
    drop(running);
}

#[test]
fn queries_of_a_file_are_tried_on_two_directories_or_on_what_runs() {
    let (place, _) = place(false, "");
    copy(&place, "next");
    place.write("next/filters/10-test.toml", &filter(BLOCKS_MAIL));
    place.write("next/clients.toml", "[[group]]\nname = \"lab\"\nnetworks = [\"10.9.0.0/16\"]\n");
    place.write("next/access.toml", "allow = [\"127.0.0.0/8\", \"@lab\"]\n");
    place.write(
        "asked.txt",
        "# what was asked\nmail.lab.example A 127.0.0.1\nmail.lab.example AAAA\nwww.lab.example A 10.9.1.2\n\
         name1.listed.example A\nother.example MX 192.0.2.1\nxfr.example AXFR\nwhat is this\n",
    );
    let against = ["next", "--against", "policies", "--queries", "asked.txt"];
    let shown = place.weir(&[&["plan"], &against[..]].concat());
    shown.works(&[
        "plan        policy",
        "of next",
        "of policies",
        "queries     5 of asked.txt",
        "newly blocked: 2 of 5 (40 %)",
        "by mail: forward -> nxdomain",
        "newly allowed: 1 of 5 (20 %)",
        "by access: refused -> forward",
        "left out: 1 of other kinds, 1 transfers, notifications, updates or of other classes, 1 that cannot be read",
    ]);
    let json: Plan =
        serde_json::from_str(&place.weir(&[&["plan", "--json"], &against[..]].concat()).out).expect("JSON");
    assert_eq!(json.verdicts.expect("it has queries").newly_blocked.queries, 2.0);
    place.weir(&["plan", "next", "--against", "policies"]).works(&["none: try some with --queries"]);
    place.weir(&["plan", "next", "--against", "policies", "--queries", "nothing.txt"]).fails(2, &["nothing.txt"]);
    place.weir(&["plan", "next", "--against", "policies", "--dnstap", "asked.txt"]).fails(2, &["asked.txt", "frame"]);
    place.weir(&["plan", "next", "--against", "policies", "--pcap", "asked.txt"]).fails(2, &["no packet capture"]);
    place.weir(&["plan", "next", "--queries", "a", "--pcap", "b"]).fails(2, &["cannot be used with"]);

    let running = start(&place);
    place.ask(&["plan", "next", "--queries", "asked.txt"]).works(&["newly blocked: 2 of 5 (40 %)"]);
    place.write("policies/lists/a.txt", &names(99));
    place.ask(&["plan", "next", "--queries", "asked.txt"]).fails(1, &["it is not what lies in", "--against DIR"]);
    drop(running);
}

#[test]
fn the_query_log_of_the_gateway_can_be_planned_with() {
    let (place, address) = place(false, "[log]\nqueries = \"all\"\nfile = \"queries.jsonl\"\n");
    let running = start(&place);
    for _ in 0..10 {
        assert_eq!(rcode(address, "mail.lab.example"), 0);
        assert_eq!(rcode(address, "name7.listed.example"), 5);
    }
    running.signal("TERM");
    assert_eq!(running.wait().code, Some(0), "what is queued for the log is written");
    copy(&place, "next");
    place.write("next/filters/10-test.toml", &filter(BLOCKS_MAIL));
    place.write("next/lists/a.txt", &names(7));
    let log = fs::read_to_string(place.path("queries.jsonl")).expect("the query log");
    assert!(log.lines().count() >= 20, "{log}");
    let shown = place.weir(&["plan", "next", "--against", "policies", "--queries", "queries.jsonl"]);
    for part in [
        "20 of queries.jsonl",
        "newly blocked: 10 of 20 (50 %)",
        "newly allowed: 10 of 20 (50 %)",
        "by listed: refused -> forward",
    ] {
        assert!(shown.out.contains(part), "{part:?} is missing in {shown:#?}");
    }
    assert!(shown.out.contains("GUARD       lists/a.txt shrinks from 100 to 7 names"), "{shown:#?}");
    assert_eq!(shown.code, Some(1));
}
