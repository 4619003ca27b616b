//! dnsperf against the whole pipeline while the policy is reloaded every second: no query lost, no wrong answer.
//!
//! `soak_briefly` always runs. The long one: `cargo test --release --test peers soak_at_length -- --ignored`, for
//! WEIR_SOAK_SECONDS (30) at WEIR_SOAK_QPS (5000) queries a second.

use super::clients::python;
use super::harness::{Scratch, program};
use super::servers::{nsd, unbound};
use super::weir::{Setup, Weir};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FILTER: &str =
    "[zone]\ntitle = \"soak\"\n[[rule]]\nid = \"blocked\"\nnames = [\"blocked.plain.test\"]\naction = \"nxdomain\"\n";

/// Cached, negative, blocked, refused by question, large, and names that were never asked before.
fn questions() -> String {
    let mut text = String::new();
    for number in 0..2000 {
        let _ = writeln!(text, "www.plain.test A\nhost{:04}.plain.test A", number % 50);
        let _ = writeln!(text, "missing{}.plain.test A\nx{number}.blocked.plain.test A", number % 20);
        let _ = writeln!(text, "u{number}.wild.plain.test A");
        if number % 10 == 0 {
            let _ = writeln!(text, "www.plain.test HINFO\nlarge.plain.test TXT\nv4only.plain.test AAAA");
        }
    }
    text
}

fn number_after(text: &str, label: &str) -> u64 {
    let line =
        text.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or_else(|| panic!("{label}\n{text}"));
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{label} {line}"))
}

fn soak(scratch: &Scratch, profile: &str, upstream: SocketAddr, health: &str, seconds: u64, qps: u64) {
    let access = "allow = [\"127.0.0.0/8\"]\n[[question]]\nqtypes = [\"HINFO\"]\naction = \"refused\"\n";
    let setup = Setup::before(profile, upstream, health).with("access.toml", access);
    let weir = Weir::start(scratch, &setup.with("filters/10-soak.toml", FILTER));
    let file = scratch.write(&format!("questions-{}", weir.address.port()), &questions());
    let (host, port) = (weir.address.ip().to_string(), weir.address.port().to_string());
    let (length, rate) = (seconds.to_string(), qps.to_string());
    let before = weir.metric("weir_queries_total", "");
    let over = AtomicBool::new(false);
    let (printed, reloads) = std::thread::scope(|scope| {
        let reloader = scope.spawn(|| reload_every_second(&weir, &over));
        let sampler = scope.spawn(|| python("sampler.py", &[&host, &port, &length]));
        let dnsperf = Command::new(program("dnsperf"))
            .args(["-s", &host, "-p", &port, "-l", &length, "-Q", &rate, "-c", "20", "-q", "200", "-t", "5", "-e"])
            .args([Path::new("-d"), &file])
            .stdin(Stdio::null())
            .output()
            .expect("dnsperf runs");
        over.store(true, Ordering::Relaxed);
        let printed = String::from_utf8_lossy(&dnsperf.stdout).into_owned();
        println!("{}", sampler.join().expect("the sampler saw right answers only"));
        (printed, reloader.join().expect("every reload succeeded"))
    });
    let (sent, lost) = (number_after(&printed, "Queries sent:"), number_after(&printed, "Queries lost:"));
    println!("{profile}: {sent} queries, {lost} lost, {reloads} reloads\n{printed}");
    assert_eq!(lost, 0, "{printed}");
    let codes = printed.lines().find(|line| line.contains("Response codes:")).expect("dnsperf counts them");
    for code in ["SERVFAIL", "FORMERR", "NOTIMP"] {
        assert!(!codes.contains(code), "{codes}");
    }
    assert!(sent > seconds * 100, "{printed}");
    assert!(reloads >= seconds / 2, "{reloads} reloads in {seconds} s");
    assert!(weir.metric("weir_queries_total", "") - before >= sent as f64);
    weir.stop();
}

/// Every other policy has one rule more, so that each reload is a change.
fn reload_every_second(weir: &Weir, over: &AtomicBool) -> u64 {
    let mut reloads = 0;
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let more = format!("[[rule]]\nid = \"r{reloads}\"\nnames = [\"r{reloads}.invalid\"]\naction = \"refused\"\n");
        weir.write("filters/10-soak.toml", &format!("{FILTER}{more}"));
        let output = weir.reload();
        assert!(output.status.success(), "{output:?}");
        reloads += 1;
        while start.elapsed() < Duration::from_secs(1) && !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    reloads
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")));
    value.unwrap_or(default)
}

fn both(seconds: u64, qps: u64) {
    let scratch = Scratch::new("soak");
    let nsd = nsd(&scratch);
    let unbound = unbound(&scratch, nsd.address);
    soak(&scratch, "authoritative", nsd.address, "plain.test SOA", seconds, qps);
    soak(&scratch, "recursive", unbound.address, "www.local.test A", seconds, qps);
}

#[test]
fn soak_briefly() {
    both(3, 1000);
}

#[test]
#[ignore = "half a minute for each profile: run it by name"]
fn soak_at_length() {
    both(setting("WEIR_SOAK_SECONDS", 30), setting("WEIR_SOAK_QPS", 5000));
}
