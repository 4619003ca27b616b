//! DNS cookies with clients that know them: dig learns one and is accepted, BIND as a forwarder remembers its own.

use super::ask;
use super::clients::{Printed, dig};
use super::harness::Scratch;
use super::servers::{bind_forwarder, nsd};
use super::weir::{Setup, Weir};
use hickory_proto::rr::RecordType;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

const REQUIRE: &str = "[source]\nmode = \"off\"\n[rrl]\nmode = \"off\"\n[cookies]\nrequire = true\n";

/// The cookie that dig got, when it holds it to be an answer to its own.
fn good_cookie(printed: &Printed) -> &str {
    let line = printed.0.lines().find_map(|line| line.strip_prefix("; COOKIE: "));
    line.and_then(|line| line.strip_suffix(" (good)")).unwrap_or_else(|| panic!("no good cookie in\n{}", printed.0))
}

fn cookies(weir: &Weir) -> [f64; 3] {
    ["valid", "wrong", "client-only"].map(|cookie| weir.metric("weir_cookies_total", &format!("cookie=\"{cookie}\"")))
}

#[test]
fn dig_learns_a_cookie_and_is_accepted_with_it() {
    let scratch = Scratch::new("dig-cookie");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let ask = |cookie: &str, more: &[&str]| {
        dig(weir.address, &[&[format!("+cookie={cookie}").as_str(), "www.plain.test", "A"], more].concat())
    };
    let first = ask("0011223344556677", &[]);
    let learned = good_cookie(&first).to_owned();
    assert_eq!((first.status(), first.data().len(), learned.len()), ("NOERROR", 2, 48));
    assert!(learned.starts_with("0011223344556677010000"), "version 1: {learned}");
    let second = ask(&learned, &[]);
    assert_eq!((second.status(), good_cookie(&second)), ("NOERROR", learned.as_str()), "it is young and repeated");
    assert_eq!(cookies(&weir), [1.0, 0.0, 1.0]);

    let forged = format!("{}00", &learned[..46]);
    let told = ask(&forged, &["+nobadcookie"]);
    assert_eq!((told.status(), good_cookie(&told).len()), ("BADCOOKIE", 48), "{}", told.0);
    let retried = ask(&forged, &["+badcookie"]);
    assert_eq!((retried.status(), retried.data().len()), ("NOERROR", 2), "dig comes back by itself: {}", retried.0);
    assert_eq!(good_cookie(&ask("8899aabbccddeeff", &["+tcp"])).len(), 48);
    let nothing_else = dig(weir.address, &["+header-only", "+cookie=8899aabbccddeeff"]);
    assert_eq!((nothing_else.status(), good_cookie(&nothing_else).len()), ("NOERROR", 48), "{}", nothing_else.0);
    let without = ask::udp(weir.address, "www.plain.test", RecordType::A).expect("an answer");
    assert!(without.edns.is_none_or(|edns| edns.options().as_ref().is_empty()), "nobody asked for one");
    weir.stop();
}

#[test]
fn bind_as_a_client_learns_a_required_cookie_once_and_remembers_it() {
    let scratch = Scratch::new("bind-cookie");
    let nsd = nsd(&scratch);
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("limits.toml", REQUIRE);
    let weir = Weir::start(&scratch, &setup);
    let forwarder = bind_forwarder(&scratch, weir.address);
    for number in 0..20 {
        let name = format!("host{number:04}.plain.test");
        let answer = dig(forwarder.address, &[&name, "A"]);
        assert_eq!((answer.status(), answer.answer().len()), ("NOERROR", 1), "{answer:?}");
    }
    let [valid, wrong, client_only] = cookies(&weir);
    assert!(valid >= 20.0, "{valid} queries with a cookie of ours");
    assert!(wrong == 0.0 && (1.0..=3.0).contains(&client_only), "{wrong} wrong, {client_only} without a server cookie");
    let said = weir.metric("weir_queries_total", "outcome=\"rejected\",reason=\"cookies\"");
    assert_eq!(said, client_only, "each of these was told its cookie");
    assert_eq!(weir.metric("weir_queries_total", "transport=\"tcp\""), 0.0, "nothing had to go over TCP");
    let plain = ask::udp(weir.address, "www.plain.test", RecordType::A).expect("an answer");
    assert!(plain.metadata.truncation && plain.answers.is_empty(), "who has none gets nothing over UDP");
    weir.stop();
}

#[test]
fn secrets_come_from_a_file_of_their_own_and_are_replaced_while_it_serves() {
    let scratch = Scratch::new("secrets");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let status = |text: &str| {
        let output = weir.command(&["status"]);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(out.contains(text), "{text:?} is missing in\n{out}");
    };
    status("a secret drawn at the start");
    let file = weir.directory.join("cookie.secrets");
    let chmod = |mode| fs::set_permissions(&file, Permissions::from_mode(mode)).expect("the file is ours");
    weir.write("cookie.secrets", "e5e973e5a6b2a43f48e7dc849e37bfcf\n");
    chmod(0o644);
    let refused = weir.reload();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let report = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(report.contains("every user") && !report.contains("e5e973e5"), "{report}");
    status("a secret drawn at the start");
    chmod(0o600);
    assert!(weir.reload().status.success());
    status("secrets of the policy");
    let ask =
        |at: SocketAddr, cookie: &str| dig(at, &["+nobadcookie", &format!("+cookie={cookie}"), "www.plain.test", "A"]);
    let learned = good_cookie(&ask(weir.address, "0011223344556677")).to_owned();
    weir.write("cookie.secrets", "445536bcd2513298075a5d379663c962\ne5e973e5a6b2a43f48e7dc849e37bfcf\n");
    assert!(weir.reload().status.success());
    let renewed = ask(weir.address, &learned);
    assert_eq!(renewed.status(), "NOERROR", "the secret before is accepted");
    assert_ne!(good_cookie(&renewed), learned, "and one of the new secret given");
    weir.write("cookie.secrets", "broken\n");
    assert_eq!(weir.reload().status.code(), Some(2));
    assert_eq!(ask(weir.address, &learned).status(), "NOERROR", "a broken file changes nothing");
    weir.write("cookie.secrets", "445536bcd2513298075a5d379663c962\n");
    assert!(weir.reload().status.success());
    assert_eq!(ask(weir.address, &learned).status(), "BADCOOKIE", "the old secret is gone");
    weir.stop();
}
