//! The process as an operator meets it: exit codes, reloads, signals.

use super::ask;
use super::clients::dig;
use super::harness::{Scratch, eventually};
use super::servers::{lab, nsd};
use super::weir::{Setup, Weir, command};
use hickory_proto::rr::RecordType;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

const BLOCK: &str = "[zone]\n[[rule]]\nid = \"b\"\nnames = [\"blocked.plain.test\"]\naction = \"nxdomain\"\n";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_directory_that_is_missing_or_broken_is_an_error_and_never_a_default() {
    let scratch = Scratch::new("named");
    for arguments in [["run"], ["check"]] {
        let output = command(&arguments, &scratch.path("nowhere"));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("nowhere"), "it names the directory: {}", said(&output));
    }
    scratch.write(
        "broken/gateway.toml",
        "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"127.0.0.1:5300\"\nwieght = 1\n",
    );
    scratch.write("broken/access.toml", "allow = [\"300.1.1.1\"]\n");
    for arguments in [["run"], ["check"]] {
        let output = command(&arguments, &scratch.path("broken"));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        let text = said(&output);
        assert!(text.contains("gateway.toml:5:") && text.contains("access.toml:1:"), "both faults at once: {text}");
        assert!(text.contains("weight"), "did you mean: {text}");
    }
    scratch.write("fine/gateway.toml", "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"127.0.0.1:5300\"\n");
    let output = command(&["check"], &scratch.path("fine"));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_bad_policy_is_reported_and_the_old_one_stays() {
    let scratch = Scratch::new("reload");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let status = || dig(weir.address, &["blocked.plain.test", "A"]).status().to_owned();
    assert_eq!(status(), "NOERROR");
    weir.write("filters/10-block.toml", BLOCK);
    assert_eq!(status(), "NOERROR", "nothing changes by itself when watch is off");
    let reload = weir.reload();
    assert!(reload.status.success(), "{}", said(&reload));
    assert_eq!(status(), "NXDOMAIN", "at once, also for what was cached");

    weir.write("filters/10-block.toml", &BLOCK.replace("action", "akshun"));
    let reload = weir.reload();
    assert_eq!(reload.status.code(), Some(2), "{}", said(&reload));
    assert!(said(&reload).contains("10-block.toml:5:"), "{}", said(&reload));
    assert_eq!(status(), "NXDOMAIN", "the old policy serves on");
    weir.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(), "NXDOMAIN", "and after SIGHUP");
    weir.stop();
}

#[test]
fn sighup_and_the_file_watch_reload() {
    let scratch = Scratch::new("hup");
    let nsd = nsd(&scratch);
    for watch in [false, true] {
        let mut setup = Setup::before("authoritative", nsd.address, "plain.test SOA");
        setup.watch = watch;
        let weir = Weir::start(&scratch, &setup);
        let status = || dig(weir.address, &["blocked.plain.test", "A"]).status().to_owned();
        assert_eq!(status(), "NOERROR");
        weir.write("filters/10-block.toml", BLOCK);
        if !watch {
            weir.signal("HUP");
        }
        assert!(eventually(Duration::from_secs(5), || status() == "NXDOMAIN"), "watch = {watch}");
        weir.stop();
    }
}

#[test]
fn listeners_and_upstreams_come_and_go_with_a_reload() {
    let scratch = Scratch::new("come-and-go");
    let (nsd, lab) = (nsd(&scratch), lab());
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let extra = super::harness::free_address();
    assert_eq!(dig(weir.address, &["www.lab.example", "A"]).status(), "REFUSED", "NSD does not serve it");
    let file = weir.directory.join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("the test wrote it");
    let text = text.replace("listen = [\"127.0.0.1", &format!("listen = [\"{extra}\", \"127.0.0.1"));
    let route = format!(
        "[[upstream]]\nname = \"lab\"\naddress = \"{}\"\npool = \"lab\"\n[pool.lab]\n[[route]]\nzone = \"lab.example\"\n\
         pool = \"lab\"\n",
        lab.address
    );
    weir.write("gateway.toml", &(text.clone() + &route));
    let reload = weir.reload();
    assert!(reload.status.success(), "{}", said(&reload));
    for at in [weir.address, extra] {
        assert!(eventually(Duration::from_secs(3), || dig(at, &["+time=1", "v4only.lab.example", "A"]).status()
            == "NOERROR"));
        assert!(ask::tcp(at, "www.plain.test", RecordType::A).is_some(), "TCP at {at}");
    }
    weir.write("gateway.toml", &text.replace(&format!("\"{extra}\", "), ""));
    assert!(weir.reload().status.success());
    assert!(eventually(Duration::from_secs(5), || !ask::answers(extra, "www.plain.test", RecordType::A)));
    assert_eq!(dig(weir.address, &["www.plain.test", "A"]).data().len(), 2);
    weir.stop();
}

#[test]
fn sigterm_answers_what_is_in_flight_and_then_ends() {
    let scratch = Scratch::new("drain");
    let lab = lab();
    let mut weir = Weir::start(&scratch, &Setup::before("recursive", lab.address, ". NS"));
    let at = weir.address;
    let udp = std::thread::spawn(move || ask::udp(at, "slow-900.lab.example", RecordType::A));
    let tcp = std::thread::spawn(move || ask::tcp(at, "slow-901.lab.example", RecordType::A));
    assert!(eventually(Duration::from_secs(3), || lab.counters.of(weir::lab::Kind::Slow) == 2));
    weir.signal("TERM");
    for (transport, asked) in [("UDP", udp), ("TCP", tcp)] {
        let reply = asked.join().expect("the thread ends");
        assert_eq!(reply.map(|reply| reply.answers.len()), Some(1), "in flight over {transport}");
    }
    weir.wait_end();
}

#[test]
fn status_is_json_for_programs() {
    let scratch = Scratch::new("status");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let output = weir.command(&["status", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(status.is_object() && status.to_string().contains(&nsd.address.to_string()), "{status}");
    weir.stop();
}

/// The files of the example policy but gateway.toml, by their paths in it.
fn example() -> Vec<(String, String)> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).expect("the example policy is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
                continue;
            }
            let name = path.strip_prefix(root).expect("below it").to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).expect("the example policy is text")));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.retain(|(name, _)| name != "gateway.toml");
    found
}

#[test]
fn the_example_policy_runs_before_the_lab_without_any_other_server() {
    let output = command(&["check"], &Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    let scratch = Scratch::new("example");
    let files = example();
    let nobody = super::harness::free_address();
    let mut setup = Setup::before("recursive", nobody, ". NS");
    setup.arguments = &["--lab"];
    for (name, text) in &files {
        setup = setup.with(name, text);
    }
    let weir = Weir::start(&scratch, &setup);
    assert_eq!(dig(weir.address, &["www.lab.example", "A"]).data(), ["192.0.2.10", "192.0.2.11"]);
    assert_eq!(dig(weir.address6, &["+noignore", "long4096.lab.example", "TXT"]).answer().len(), 24);
    assert_eq!(dig(weir.address, &["missing.lab.example", "A"]).status(), "NXDOMAIN");
    let blocked = dig(weir.address, &["update.baofeng.com", "A"]);
    assert_eq!((blocked.status(), blocked.answer().len()), ("NXDOMAIN", 0), "{blocked:?}");
    // dig asks for ANY over TCP unless told otherwise.
    assert!(dig(weir.address, &["+notcp", "lab.example", "ANY"]).has_flag("tc"), "ANY goes to TCP");
    assert!(dig(weir.address, &["+tcp", "lab.example", "ANY"]).answer().len() > 5);
    weir.stop();
}
