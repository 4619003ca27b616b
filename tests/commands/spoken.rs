//! What a person reads of a command is in the language asked for: no English sentence is left in Chinese, and nothing
//! Chinese in English. Whoever adds a sentence that is only there in English finds it here.

use super::place::{Ended, Place, Running, UNGUARDED, ask_within, free_address, rcode, wait_until};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// Words side by side that make a sentence of English; names of things stand alone or in pairs.
const SENTENCE: usize = 3;

/// The first English sentence of a text, if there is one: words that are no names, code words, numbers or commands.
fn english_in(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut run: Vec<&str> = Vec::new();
        // What stands in quotes is quoted: a command to be typed, what somebody wrote, a name.
        let plain = without_quoted(&without_quoted(line, '`'), '"');
        for token in plain.split_whitespace().chain(["."]) {
            if is_word(token) {
                run.push(token);
                continue;
            }
            // Words with nothing but commas between them are a list, such as the keys of a section.
            let bound = run.iter().rev().skip(1).filter(|word| !word.ends_with(',')).count();
            if run.len() >= SENTENCE && bound + 1 >= SENTENCE {
                return Some(format!("{:?} in {line:?}", run.join(" ")));
            }
            run.clear();
        }
        None
    })
}

fn without_quoted(line: &str, mark: char) -> String {
    let parts: Vec<_> = line.split(mark).collect();
    // A mark that is not closed quotes nothing.
    let is_closed = |at: usize| at % 2 == 1 && at + 1 < parts.len();
    let kept = parts.iter().enumerate().map(|(at, part)| if is_closed(at) { " 0 " } else { part });
    kept.collect()
}

/// A word as in a sentence: letters alone, with what ends a part of a sentence.
fn is_word(token: &str) -> bool {
    let word = token.trim_matches([',', '.', ';', ':', '(', ')', '!', '?']).replace('\'', "");
    let mut letters = word.chars();
    let is_first = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
    // A single capital is a record type.
    is_first && letters.all(|c| c.is_ascii_lowercase()) && (word.len() > 1 || word == "a")
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{303f}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}')
}

#[test]
fn a_sentence_is_told_from_names_commands_and_code_words() {
    for sentence in [
        "error: there is no such mode",
        "策略 a，this runs already now",
        "  try  it once more",
        "It has, since then, gone on.",
    ] {
        assert!(english_in(sentence).is_some(), "{sentence:?}");
    }
    for none in [
        "策略 3f2a9c 已生效，第 2 代",
        "用法：weir check [OPTIONS] [DIRECTORY]",
        "  outcomes  cache-hit 3, forwarded 2",
        "请用 `weir run a directory of yours` 启动",
        "> filter ads  nxdomain，匹配 ads.example",
        "这里可以写：schema, listen, upstream, pool",
        "top type    A 68/s",
        "原因 \"what a person wrote\" 已记录",
    ] {
        assert_eq!(english_in(none), None);
    }
}

/// Asserts that both say something, each in its language.
#[track_caller]
fn judge(what: &str, zh: &Ended, en: &Ended) {
    for text in [&zh.out, &zh.err] {
        // The log of the gateway is for programs and in English.
        let spoken: String =
            text.lines().filter(|line| !is_log(line)).fold(String::new(), |all, line| all + line + "\n");
        if let Some(sentence) = english_in(&spoken) {
            panic!("{what} --lang zh says {sentence}");
        }
    }
    assert!(format!("{}{}", zh.out, zh.err).contains(is_chinese), "{what} --lang zh says nothing in Chinese: {zh:#?}");
    let english = format!("{}{}", en.out, en.err);
    assert!(!english.contains(is_chinese), "{what} --lang en says something in Chinese: {english}");
    assert_eq!(zh.code, en.code, "{what} ends the same in both: {zh:#?} {en:#?}");
}

/// A line of the log: a time, and a level.
fn is_log(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_time = words.next().is_some_and(|word| word.len() > 20 && word.contains('T') && word.ends_with('Z'));
    is_time && words.next().is_some_and(|level| matches!(level, "ERROR" | "WARN" | "INFO" | "DEBUG"))
}

/// Runs a command in both languages.
#[track_caller]
fn both(run: impl Fn(&[&str]) -> Ended, arguments: &[&str]) -> (Ended, Ended) {
    let in_language = |lang| run(&[arguments, &["--lang", lang]].concat());
    let (zh, en) = (in_language("zh"), in_language("en"));
    judge(&arguments.join(" "), &zh, &en);
    (zh, en)
}

fn names(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "name{n}.listed.example");
        text
    })
}

const FILTER: &str = "[zone]\ntitle = \"t\"\n[[rule]]\nid = \"listed\"\nlist = \"lists/a.txt\"\naction = \"refused\"\n\
    [[rule]]\nid = \"ends\"\nnames = [\"ends.example\"]\naction = \"nodata\"\nexpires = 2027-01-01T00:00:00Z\n\
    owner = \"noc\"\n[[rule]]\nid = \"watched\"\nnames = [\"www.lab.example\"]\naction = \"nxdomain\"\nmode = \"monitor\"\n";
const MODE: &str = "title = \"M\"\nmax_duration = \"1h\"\nauto = { when = \"queries > 1000000\", after = \"30s\" }\n\
    [source]\nrate = 50\n";
const FEED: &str = "[[feed]]\nname = \"away\"\nurl = \"https://127.0.0.1:9/x.txt\"\n\
    sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n";

/// A directory of policies with something of everything, and another beside it.
fn place(more: &str) -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], false, more);
    for directory in ["policies", "next"] {
        place.write(&format!("{directory}/access.toml"), "allow = [\"127.0.0.0/8\"]\n");
        place.write(&format!("{directory}/filters/10-t.toml"), FILTER);
        place.write(&format!("{directory}/lists/a.txt"), &names(100));
        place.write(&format!("{directory}/modes/calm.toml"), MODE);
    }
    let gateway = fs::read_to_string(place.path("policies/gateway.toml")).expect("written");
    place.write("next/gateway.toml", &gateway);
    (place, address)
}

fn start(place: &Place) -> Running {
    place.start_lab_with_state()
}

#[test]
fn what_is_asked_of_a_gateway_is_answered_in_the_language_asked_for() {
    let (place, address) = place(&format!("{UNGUARDED}{FEED}"));
    let running = start(&place);
    assert_eq!((rcode(address, "mail.lab.example"), rcode(address, "www.lab.example")), (0, 0));
    let ask = |arguments: &[&str]| both(|arguments| place.ask(arguments), arguments);
    wait_until("the feed has failed", || place.ask(&["feed"]).out.contains("FAILING"));
    ask(&["status"]);
    ask(&["top", "--once"]);
    ask(&["top", "--once", "--by", "source"]);
    ask(&["feed"]);
    ask(&["feed", "refresh"]);
    ask(&["feed", "refresh", "x"]);
    ask(&["feed", "accept", "away"]);
    ask(&["explain", "www.lab.example"]);
    ask(&["explain", "x.name1.listed.example", "AAAA", "--tcp"]);
    ask(&["explain", "ends.example", "--client", "192.0.2.1", "--at", "2027-06-01T00:00:00Z"]);
    ask(&["explain", "a..b"]);
    ask(&["explain", "a", "NOTYPE"]);
    ask(&["explain", "a", "--at", "noon"]);
    ask(&["mode"]);
    ask(&["mode", "calm", "--for", "5m", "--reason", "x"]);
    ask(&["mode", "clam", "--for", "5m", "--reason", "x"]);
    ask(&["mode", "calm", "--for", "9h", "--reason", "x"]);
    ask(&["mode", "calm", "--for", "5m"]);
    ask(&["block", "bad.example", "--for", "1h", "--reason", "x"]);
    ask(&["block", "bad.example", "--for", "1h", "--reason", "x", "--action", "nodate"]);
    ask(&["block", "worse.example", "--for", "1h", "--reason", "x"]);
    ask(&["explain", "bad.example"]);
    ask(&["status"]);
    ask(&["unblock", "bed.example", "--reason", "x"]);
    // What is gone is not there a second time.
    judge(
        "unblock",
        &place.ask(&["unblock", "bad.example", "--reason", "x", "--lang", "zh"]),
        &place.ask(&["unblock", "worse.example", "--reason", "x", "--lang", "en"]),
    );
    ask(&["mode", "normal", "--reason", "x"]);
    ask(&["reload"]);
    let status: serde_json::Value =
        serde_json::from_str(&place.ask(&["status", "--json", "--lang", "zh"]).out).expect("keys stay as they are");
    let warnings = status["warnings"].as_array().expect("a list");
    assert!(warnings.iter().all(|one| one.as_str().is_some_and(|one| one.contains(is_chinese))), "{status:#}");
    drop(running);
}

#[test]
fn changes_of_the_policy_are_told_in_the_language_asked_for() {
    let (place, address) = place("");
    let running = start(&place);
    for _ in 0..120 {
        let response = (0..4).find_map(|_| ask_within(address, "mail.lab.example", Duration::from_secs(3)));
        assert!(response.is_some(), "the gateway answers");
    }
    let ask = |arguments: &[&str]| both(|arguments| place.ask(arguments), arguments);
    ask(&["history"]);
    ask(&["plan", "policies"]);
    place.write("next/lists/a.txt", &names(7));
    let block = "[[rule]]\nid = \"mail\"\nnames = [\"mail.lab.example\"]\naction = \"nxdomain\"\n";
    place.write("next/filters/10-t.toml", &format!("{}{block}", FILTER.replace("refused", "nodata")));
    wait_until("the queries are remembered", || place.ask(&["plan", "next"]).out.contains("newly blocked"));
    let (zh, _) = ask(&["plan", "next"]);
    assert!(zh.out.contains("变更保护"), "the guard objects: {zh:#?}");
    let (zh, _) = ask(&["apply", "next", "--reason", "x"]);
    assert!(zh.code == Some(1) && zh.err.contains("变更保护拒绝"), "{zh:#?}");
    ask(&["diff", "policies", "next"]);
    ask(&["confirm"]);
    // What is done once is asked for in Chinese alone.
    let apply = ["apply", "next", "--reason", "x", "--confirm-within", "10m", "--force", "--lang", "zh"];
    let applied = place.ask(&apply);
    assert!(applied.code == Some(0) && english_in(&applied.out).is_none(), "{applied:#?}");
    ask(&["status"]);
    ask(&["history"]);
    ask(&["apply", "next", "--reason", "x"]);
    let confirmed = place.ask(&["confirm", "--lang", "zh"]);
    assert!(confirmed.code == Some(0) && confirmed.out.contains("已确认"), "{confirmed:#?}");
    ask(&["rollback", "ffff"]);
    ask(&["rollback", "x"]);
    let back = place.ask(&["rollback", "--reason", "x", "--force", "--lang", "zh"]);
    assert!(back.code == Some(0) && english_in(&back.out).is_none(), "{back:#?}");
    ask(&["rollback", "--reason", "x", "--force"]);
    ask(&["diff", "ffff", "next"]);
    place.write("policies/access.toml", "allow = [\"10.0.0.0/33\"]\n");
    ask(&["reload"]);
    ask(&["status"]);
    ask(&["plan", "policies"]);
    drop(running);
    let state = place.path("state");
    let state = state.to_str().expect("paths of tests are text");
    let weir = |arguments: &[&str]| both(|arguments| place.weir(arguments), arguments);
    weir(&["history", "--state", state]);
    weir(&["history", "--state", "nowhere"]);
    weir(&["rollback", "--state", state, "ffff"]);
    let restored = ["zh", "en"].map(|lang| {
        // What was mended for one is broken again for the other.
        place.write("policies/access.toml", "allow = [\"10.0.0.0/33\"]\n");
        place.weir(&["rollback", "--state", state, "--lang", lang])
    });
    assert_eq!(restored[0].code, Some(0), "{restored:#?}");
    judge("rollback --state", &restored[0], &restored[1]);
}

#[test]
fn what_needs_no_gateway_is_told_in_the_language_asked_for() {
    let (place, _) = place(FEED);
    place.write("list.txt", "a.example\nb..example\nhttp://c.example/x\nd.example\n");
    place.write("queries.txt", "www.example A 192.0.2.1\nname1.listed.example A 127.0.0.1\nno query at all here\n");
    place.write("page.html", "<html>\n<p>a\n<p>b\n");
    place.write("next/lists/a.txt", &names(5));
    place.write("broken/gateway.toml", "schema = 1\nweigth = 2\n");
    place.write("zones/gateway.toml", "schema = 1\n[[upstream]]\naddress = \"192.0.2.53\"\n");
    place.write("zones/filters/20-z.rpz", "$TTL 60\n@ SOA a. b. 1 2 3 4 5\n@ NS localhost.\nbad.example CNAME .\n");
    let weir = |arguments: &[&str]| both(|arguments| place.weir(arguments), arguments);
    weir(&["check", "policies"]);
    weir(&["check", "zones"]);
    weir(&["check", "broken"]);
    weir(&["check", "--explain"]);
    weir(&["schema"]);
    weir(&["import", "list.txt"]);
    weir(&["import", "list.txt", "--format", "hosst"]);
    weir(&["import", "nowhere.txt"]);
    weir(&["import", "page.html"]);
    weir(&["explain", "www.example", "--dir", "policies"]);
    weir(&["explain", "www.example", "--dir", "broken"]);
    weir(&["plan", "next", "--against", "policies"]);
    weir(&["plan", "next", "--against", "policies", "--queries", "queries.txt"]);
    weir(&["plan", "next", "--against", "policies", "--queries", "page.html"]);
    weir(&["plan", "next", "--against", "policies", "--pcap", "queries.txt"]);
    weir(&["plan", "next", "--against", "policies", "--dnstap", "queries.txt"]);
    weir(&["plan", "broken", "--against", "policies"]);
    weir(&["diff", "policies", "nowhere"]);
    weir(&["diff", "policies", "policies"]);
    weir(&["drill", "storm", "--upstream", "192.0.2.1:53"]);
    weir(&["drill", "storm", "--zone", "x.example"]);
    weir(&["drill", "forged-flood", "--rate", "1000", "--seconds", "1"]);
    for command in ["status", "reload", "plan", "history", "feed", "mode", "top"] {
        both(|arguments| place.ask(arguments), &[command]);
    }
}

#[test]
fn a_gateway_tells_its_start_and_why_it_did_not_in_the_language_asked_for() {
    let (place, address) = place("[metrics]\nlisten = \"127.0.0.1:9\"\n");
    let run = |lang: &str, more: &[&str]| place.weir(&[&["run", "--lab", "--lang", lang], more].concat());
    let refused = |more: &[&str]| judge("run", &run("zh", more), &run("en", more));
    refused(&["nowhere"]);
    place.write("broken/gateway.toml", "schema = 1\nweigth = 2\n");
    refused(&["broken"]);
    refused(&["broken", "--last-good"]);
    place.write("file.sock", "");
    refused(&["policies", "--socket", "file.sock"]);
    let taken = std::net::UdpSocket::bind(address).expect("it was free");
    refused(&["policies"]);
    drop(taken);
    place.write_gateway(&[address], false, UNGUARDED);
    let tell = |lang: &str| {
        let state = place.path("state");
        let arguments = ["--lab", "--lang", lang, "--state", state.to_str().expect("paths of tests are text")];
        let mut running = place.start(&arguments, &place.socket());
        // Told once it serves, a moment after it answers.
        std::thread::sleep(Duration::from_millis(500));
        running.stop()
    };
    let (zh, en) = (tell("zh"), tell("en"));
    assert!(zh.out.contains("监听") && en.out.contains("listens on"), "{zh:#?} {en:#?}");
    judge("run", &zh, &en);
}

#[test]
fn the_command_line_itself_is_in_the_language_asked_for() {
    let place = Place::new();
    let weir = |arguments: &[&str]| {
        let (zh, en) = both(|arguments| place.weir(arguments), arguments);
        assert_ne!((&zh.out, &zh.err), (&en.out, &en.err), "{arguments:?}");
    };
    let commands = [
        "run",
        "check",
        "schema",
        "explain",
        "drill",
        "reload",
        "plan",
        "apply",
        "confirm",
        "rollback",
        "history",
        "diff",
        "status",
        "feed",
        "mode",
        "block",
        "unblock",
        "cookie-secret",
        "import",
        "top",
    ];
    for command in commands {
        weir(&[command, "--help"]);
        weir(&[command, "-h"]);
    }
    weir(&["--help"]);
    weir(&["feed", "accept", "--help"]);
    weir(&["chekc"]);
    weir(&["check", "--stirct"]);
    weir(&["explain"]);
    weir(&["top", "--by", "x"]);
    weir(&["drill", "storm", "--seconds", "99"]);
    weir(&["explain", "x", "--client", "y"]);
    weir(&["explain", "x", "--dir", "y", "--socket", "z"]);
    let help = place.command(&["--help"]).env("LC_ALL", "zh_CN.UTF-8").output().expect("it starts");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("用法：weir") && help.contains("运行网关") && english_in(&help).is_none(), "{help}");
}
