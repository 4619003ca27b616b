//! Rules about answers before a real server, as dig sees them: addresses, hints, expectations, TTLs, local data, and private
//! networks.

use super::clients::dig;
use super::harness::{Scratch, eventually};
use super::servers::nsd;
use super::weir::{Setup, Weir};
use std::time::Duration;

const RULES: &str = r#"
[[rule]]
id = "one-address"
response_ip = ["10.53.0.10", "192.0.2.66"]
action = "nxdomain"
[[rule]]
id = "guard-www"
names = ["=www.plain.test"]
action = "expect"
answers = ["192.0.2.0/30", "2001:db8::/32"]
[[rule]]
id = "guard-v4only"
names = ["=v4only.plain.test"]
action = "expect"
answers = ["203.0.113.0/24"]
[[rule]]
id = "short"
names = ["=alias.plain.test"]
action = "ttl"
rto = "20s"
[[rule]]
id = "garden"
names = ["=blocked.plain.test"]
action = "data"
records = ["A 203.0.113.7", "MX 10 mail.plain.test."]
"#;

#[test]
fn what_a_server_answers_is_looked_into() {
    let scratch = Scratch::new("answers");
    let nsd = nsd(&scratch);
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA");
    let weir = Weir::start(&scratch, &setup.with("filters/10-answers.toml", RULES));
    let ask = |name: &str, rtype: &str| dig(weir.address, &[&format!("{name}.plain.test"), rtype]);

    let blocked = ask("host0009", "A");
    assert!(blocked.status() == "NXDOMAIN" && blocked.has_ede(15), "{blocked:?}");
    assert_eq!(ask("host0008", "A").data(), ["10.53.0.9"]);
    let signed = dig(weir.address, &["+dnssec", "+tcp", "host0009.plain.test", "A"]);
    assert_eq!(signed.status(), "NXDOMAIN", "{signed:?}");
    let hint = ask("svc", "TYPE65");
    assert!(hint.status() == "NXDOMAIN" && hint.answer().is_empty(), "the hint of an HTTPS record: {hint:?}");
    assert!(!dig(nsd.address, &["svc.plain.test", "TYPE65"]).answer().is_empty(), "the server has it");

    assert_eq!((ask("www", "A").data().len(), ask("www", "AAAA").data().len()), (2, 1), "as expected");
    let forged = ask("v4only", "A");
    assert!(forged.status() == "SERVFAIL" && forged.answer().is_empty(), "{forged:?}");
    let told = || weir.metric("weir_alerts_total", "hijack") == 1.0;
    assert!(eventually(Duration::from_secs(5), told), "{}", weir.scrape());

    let alias = ask("alias", "A");
    assert!(alias.answer().len() == 3 && alias.ttl() == 10, "half of 20 s: {alias:?}");
    assert_eq!(ask("blocked", "A").data(), ["203.0.113.7"]);
    assert_eq!(ask("blocked", "MX").data(), ["10 mail.plain.test."]);
    assert_eq!((ask("blocked", "AAAA").status(), ask("blocked", "AAAA").answer().len()), ("NOERROR", 0));
    weir.stop();
}

#[test]
fn names_of_the_outside_do_not_lead_inside() {
    let scratch = Scratch::new("rebinding");
    let nsd = nsd(&scratch);
    let limits = "[source]\nmode = \"off\"\n[rrl]\nmode = \"off\"\n\
                  [rebinding]\nmode = \"enforce\"\nallow = [\"host0002.plain.test\"]\n";
    let setup = Setup::before("recursive", nsd.address, "plain.test SOA").with("limits.toml", limits);
    let weir = Weir::start(&scratch, &setup);
    let ask = |name: &str| dig(weir.address, &[&format!("{name}.plain.test"), "A"]);
    let inside = ask("host0001");
    assert!(inside.status() == "NOERROR" && inside.answer().is_empty() && inside.has_ede(15), "{inside:?}");
    assert_eq!(ask("host0002").data(), ["10.53.0.3"], "allowed");
    assert_eq!(ask("www").data().len(), 2, "outside");
    weir.stop();
}
