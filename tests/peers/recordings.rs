//! What other programs record of queries is what a plan can be tried on: dnstap as BIND and Unbound write it, captures of
//! tcpdump.

use super::ask;
use super::clients::dig;
use super::harness::{Daemon, Scratch, free_address, program};
use super::servers::zone;
use hickory_proto::rr::RecordType;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use weir::control::plan::Plan;

/// Two policies of which the second blocks www.plain.test for clients of loopback, and every
/// answer with an address that one other name has.
fn policies(scratch: &Scratch) {
    const RULES: &str = "[[rule]]\nid = \"www\"\nnames = [\"www.plain.test\"]\naction = \"nxdomain\"\n\
        [[rule]]\nid = \"address\"\nresponse_ip = [\"192.0.2.4\", \"192.0.2.32\"]\naction = \"nodata\"\n";
    for (name, filter) in [("old", ""), ("new", RULES)] {
        scratch.write(
            &format!("{name}/gateway.toml"),
            "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n",
        );
        scratch.write(&format!("{name}/filters/10-test.toml"), filter);
    }
}

/// `weir plan` with a recording: queries, those with their answers, newly blocked ones, and what was left out.
#[track_caller]
fn plan(scratch: &Scratch, kind: &str, file: &Path, more: &[&str]) -> (u64, u64, f64, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("plan").arg(scratch.path("new")).arg("--against").arg(scratch.path("old")).arg("--json");
    let ended = command.arg(kind).arg(file).args(more).output().expect("the program is built");
    let plan: Plan = serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let verdicts = plan.verdicts.expect("queries are in it");
    let note = plan.queries_note.unwrap_or_default().english();
    (verdicts.queries, verdicts.answered, verdicts.newly_blocked.queries, note)
}

/// Asks 3 times for what is blocked by name, once of them over TCP, and 3 times for something else, some of which are
/// blocked by what the answer says.
fn ask_some(at: SocketAddr) {
    for arguments in [&["www.plain.test", "A"][..], &["www.plain.test", "AAAA"], &["+tcp", "www.plain.test", "A"]] {
        assert_eq!(dig(at, arguments).status(), "NOERROR");
    }
    for name in ["alias.plain.test", "missing.plain.test", "v4only.plain.test"] {
        dig(at, &[name, "A"]);
    }
}

#[test]
fn dnstap_of_bind_is_read() {
    let scratch = Scratch::new("dnstap-bind");
    policies(&scratch);
    let (address, home) = (free_address(), scratch.directory("named"));
    std::fs::write(home.join("plain.zone"), zone("plain.test", 1)).expect("a zone file can be written");
    let config = |kinds: &str, file: &str| {
        format!(
            "options {{ directory \"{0}\"; pid-file none; session-keyfile none; listen-on port {2} {{ {1}; }};\n\
             listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; notify no; allow-transfer {{ none; }};\n\
             dnstap {{ {kinds} }}; dnstap-output file \"{0}/{file}\"; }};\ncontrols {{ }};\n\
             zone \"plain.test\" {{ type primary; file \"plain.zone\"; }};\n",
            home.display(),
            address.ip(),
            address.port()
        )
    };
    // With queries and responses each query is there twice and counts once; responses alone serve as well.
    for (kinds, file) in [("all;", "both.tap"), ("auth response; client response;", "responses.tap")] {
        let path = scratch.write("named.conf", &config(kinds, file));
        let daemon = Daemon::start(&scratch, "named", &["-g", "-n", "1", "-c", path.to_str().expect("UTF-8")]);
        let daemon = daemon.wait(|| ask::answers(address, "ready.plain.test", RecordType::SOA));
        ask_some(address);
        daemon.stop();
        let (queries, answered, blocked, left_out) = plan(&scratch, "--dnstap", &home.join(file), &[]);
        // The alias leads to the name that is blocked.
        assert_eq!(blocked, 5.0, "{kinds} {left_out}");
        assert!((7..=40).contains(&queries), "{kinds} {queries}: six, and those that waited for the server");
        assert!(answered >= 7, "{kinds} {answered} of {queries} with their answers: {left_out}");
        assert!(!left_out.contains("cannot be read") && !left_out.contains("in the middle"), "{left_out}");
    }
}

#[test]
fn dnstap_of_unbound_is_read() {
    let scratch = Scratch::new("dnstap-unbound");
    policies(&scratch);
    let (address, home) = (free_address(), scratch.directory("unbound"));
    let socket = scratch.path("tap.sock");
    let listener = UnixListener::bind(&socket).expect("a socket in the scratch directory");
    let recording = scratch.path("unbound.tap");
    let writer = {
        let recording = recording.clone();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("unbound connects");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            std::fs::write(recording, bytes).expect("the recording can be written");
        })
    };
    let config = format!(
        "server:\n interface: {}\n port: {}\n username: \"\"\n chroot: \"\"\n directory: \"{}\"\n pidfile: \"\"\n\
         \x20use-syslog: no\n logfile: \"\"\n num-threads: 1\n do-daemonize: no\n access-control: 127.0.0.0/8 allow\n\
         \x20module-config: \"iterator\"\n local-zone: \"plain.test.\" static\n\
         \x20local-data: \"www.plain.test. 300 A 192.0.2.31\"\n local-data: \"alias.plain.test. 300 A 192.0.2.32\"\n\
         remote-control:\n control-enable: no\n\
         dnstap:\n dnstap-enable: yes\n dnstap-bidirectional: no\n dnstap-socket-path: \"{}\"\n\
         \x20dnstap-log-client-query-messages: yes\n dnstap-log-client-response-messages: yes\n",
        address.ip(),
        address.port(),
        home.display(),
        socket.display(),
    );
    let path = scratch.write("unbound.conf", &config);
    let daemon = Daemon::start(&scratch, "unbound", &["-d", "-p", "-c", path.to_str().expect("UTF-8")]);
    let daemon = daemon.wait(|| ask::answers(address, "ready.plain.test", RecordType::A));
    ask_some(address);
    // It writes what it has gathered once a second.
    std::thread::sleep(Duration::from_secs(2));
    daemon.stop();
    writer.join().expect("the recording is written");
    let (queries, answered, blocked, left_out) = plan(&scratch, "--dnstap", &recording, &[]);
    assert_eq!(blocked, 4.0, "{left_out}");
    assert!((7..=40).contains(&queries), "{queries}: six, and those that waited for the server");
    assert!(answered >= 7 && !left_out.contains("cannot be read"), "{answered} of {queries}: {left_out}");
}

#[test]
fn captures_of_tcpdump_are_read() {
    let scratch = Scratch::new("tcpdump");
    policies(&scratch);
    let server = super::servers::nsd(&scratch);
    let (port, recording) = (server.address.port().to_string(), scratch.path("lo.pcap"));
    // `any` has another link layer than `lo`.
    for interface in ["lo", "any"] {
        // Without buffering it keeps room for the largest packet it may see times a few: with 256 KiB each (its default) the
        // eight packets of one TCP connection are too many, and the kernel drops what does not fit.
        let mut tcpdump = Command::new(program("tcpdump"))
            .args(["-i", interface, "-s", "2048", "--immediate-mode", "-U", "-n", "-w", "-", "port", &port])
            .stdin(Stdio::null())
            .stdout(File::create(&recording).expect("a file in the scratch directory"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump starts");
        let begun = std::time::Instant::now();
        // Its file header is there once it listens.
        while std::fs::metadata(&recording).map_or(0, |file| file.len()) < 24 {
            if tcpdump.try_wait().expect("a child can be asked").is_some() {
                let mut said = String::new();
                let _ = tcpdump.stderr.take().map(|mut pipe| pipe.read_to_string(&mut said));
                assert!(said.contains("permission"), "tcpdump ended: {said}");
                println!("not tried: capturing needs root here: {said}");
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "tcpdump does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        ask_some(server.address);
        let len = || std::fs::metadata(&recording).map_or(0, |file| file.len());
        let mut seen = 0;
        while len() > seen || len() <= 24 {
            assert!(begun.elapsed() < Duration::from_secs(20), "tcpdump captures nothing");
            seen = len();
            std::thread::sleep(Duration::from_millis(500));
        }
        super::harness::signal(&tcpdump, "INT");
        assert!(super::harness::wait_exit(&mut tcpdump, Duration::from_secs(10)).is_some(), "tcpdump ends");
        let (queries, answered, blocked, left_out) = plan(&scratch, "--pcap", &recording, &["--port", &port]);
        // Over `any` each packet of loopback may be seen going out and coming in.
        let times = if interface == "any" && queries > 6 { 2 } else { 1 };
        // Of two copies of a query the second has the answer.
        assert_eq!((queries, answered), (6 * times, 6), "{interface}: {left_out}");
        assert_eq!(blocked, 3.0 * times as f64 + 2.0, "{interface}: {left_out}");
    }
    server.daemon.stop();
}
