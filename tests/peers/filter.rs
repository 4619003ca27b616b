//! Verdicts of filter zones, as dig sees them.

use super::ask;
use super::clients::{Printed, dig};
use super::harness::Scratch;
use super::servers::nsd;
use super::weir::{Setup, Weir};
use hickory_proto::rr::RecordType;

const RULES: &str = r#"
[zone]
title = "every verdict"
[[rule]]
id = "nx"
names = ["blocked.plain.test"]
action = "nxdomain"
[[rule]]
id = "no-data"
names = ["=host0001.plain.test"]
action = "nodata"
ttl = 45
[[rule]]
id = "refuse"
names = ["=host0002.plain.test"]
action = "refused"
[[rule]]
id = "silence"
names = ["=host0003.plain.test"]
action = "drop"
[[rule]]
id = "tcp-only"
names = ["=host0004.plain.test"]
action = "truncate"
[[rule]]
id = "hole"
names = ["=host0005.plain.test"]
action = "sinkhole"
[[rule]]
id = "hole-here"
names = ["=host0006.plain.test"]
action = "sinkhole"
addresses = ["192.0.2.200", "2001:db8::200"]
[[rule]]
id = "look"
names = ["=host0008.plain.test"]
action = "monitor"
[[rule]]
id = "listed"
list = "lists/names.txt"
match = "subtree"
action = "nxdomain"
[[rule]]
id = "listed-hosts"
list = "lists/hosts.txt"
action = "nxdomain"
[[rule]]
id = "children"
names = ["*.wild.plain.test"]
action = "nxdomain"
[[rule]]
id = "but-this"
names = ["=fine.wild.plain.test"]
action = "allow"
"#;

const NAMES: &str = "# a plain list\nhost0100.plain.test\n=host0101.plain.test\n*.host0102.plain.test\n";
const HOSTS: &str =
    "# a hosts file\n127.0.0.1 localhost\n0.0.0.0 host0103.plain.test\n0.0.0.0 host0104.plain.test # two\n";

/// EDE codes that say that a policy decided: Forged, Blocked, Censored, Filtered, Prohibited.
fn says_why(printed: &Printed) -> bool {
    [4, 15, 16, 17, 18].iter().any(|code| printed.has_ede(*code))
}

fn gateway(scratch: &Scratch, upstream: std::net::SocketAddr) -> Weir {
    let setup = Setup::before("authoritative", upstream, "plain.test SOA");
    Weir::start(
        scratch,
        &setup.with("filters/10-verdicts.toml", RULES).with("lists/names.txt", NAMES).with("lists/hosts.txt", HOSTS),
    )
}

#[test]
fn every_verdict_is_seen_by_dig_as_it_was_written() {
    let scratch = Scratch::new("verdicts");
    let nsd = nsd(&scratch);
    let weir = gateway(&scratch, nsd.address);
    let ask = |name: &str, rtype: &str| dig(weir.address, &[&format!("{name}.plain.test"), rtype]);

    for name in ["blocked", "sub.blocked", "a.b.BLOCKED"] {
        let nx = ask(name, "A");
        assert_eq!((nx.status(), nx.answer().len(), nx.ttl()), ("NXDOMAIN", 0, 30), "{nx:?}");
        assert!(nx.section("AUTHORITY")[0].contains(" SOA ") && says_why(&nx), "{nx:?}");
        let without = dig(weir.address, &["+noedns", &format!("{name}.plain.test"), "A"]);
        assert!(without.status() == "NXDOMAIN" && !without.0.contains("OPT PSEUDOSECTION"), "{without:?}");
        assert_eq!(dig(weir.address, &["+tcp", &format!("{name}.plain.test"), "AAAA"]).status(), "NXDOMAIN");
        assert_eq!(dig(weir.address, &["+dnssec", "+norec", &format!("{name}.plain.test"), "A"]).status(), "NXDOMAIN");
    }
    let nodata = ask("host0001", "A");
    assert_eq!((nodata.status(), nodata.answer().len(), nodata.ttl()), ("NOERROR", 0, 45), "{nodata:?}");
    let refused = ask("host0002", "A");
    assert!(refused.status() == "REFUSED" && says_why(&refused), "{refused:?}");
    assert_eq!(dig(weir.address, &["+time=1", "host0003.plain.test", "A"]).status(), "", "silence");
    let truncated = ask("host0004", "A");
    assert!(truncated.has_flag("tc") && truncated.answer().is_empty(), "{truncated:?}");
    assert_eq!(dig(weir.address, &["+noignore", "host0004.plain.test", "A"]).data(), ["10.53.0.5"]);
    assert_eq!(
        (ask("host0005", "A").data(), ask("host0005", "AAAA").data()),
        (vec!["0.0.0.0".into()], vec!["::".into()])
    );
    assert_eq!(ask("host0005", "TXT").answer().len(), 0);
    assert_eq!(ask("host0006", "A").data(), ["192.0.2.200"]);
    assert_eq!(ask("host0006", "AAAA").data(), ["2001:db8::200"]);
    assert_eq!(ask("host0008", "A").data(), ["10.53.0.9"], "monitor lets it pass");
    assert_eq!(ask("host0009", "A").data(), ["10.53.0.10"], "no rule");
    weir.stop();
}

#[test]
fn lists_wildcards_exceptions_and_targets_of_aliases_are_heeded() {
    let scratch = Scratch::new("names");
    let nsd = nsd(&scratch);
    let weir = gateway(&scratch, nsd.address);
    let status = |name: &str| dig(weir.address, &[&format!("{name}.plain.test"), "A"]).status().to_owned();
    for name in ["host0100", "x.host0100", "host0101", "x.host0102", "host0103", "host0104", "a.wild", "a.b.wild"] {
        assert_eq!(status(name), "NXDOMAIN", "{name}");
    }
    for name in ["host0102", "host0105", "fine.wild", "www"] {
        assert_eq!(status(name), "NOERROR", "{name}");
    }
    // The question is clean, what it leads to is not.
    assert_eq!(status("alias"), "NOERROR");
    weir.write(
        "filters/20-target.toml",
        "[zone]\n[[rule]]\nid = \"t\"\nnames = [\"=www.plain.test\"]\naction = \"nxdomain\"\n",
    );
    let reload = weir.reload();
    assert!(reload.status.success(), "{reload:?}");
    assert_eq!(status("alias"), "NXDOMAIN", "also what the cache held before the change");
    assert_eq!(status("www"), "NXDOMAIN");
    assert!(ask::tcp(weir.address, "alias.plain.test", RecordType::A).is_some_and(|reply| reply.answers.is_empty()));
    weir.stop();
}

#[test]
fn a_redirect_is_answered_whole() {
    let scratch = Scratch::new("redirects");
    let nsd = nsd(&scratch);
    let rules = r#"
[[rule]]
id = "garden"
names = ["bad.test"]
action = "data"
cname = "alias.plain.test"
ttl = 77
[[rule]]
id = "nowhere"
names = ["=gone.test"]
action = "data"
cname = "no-such-name.plain.test"
[[rule]]
id = "wild"
names = ["*.led.test"]
action = "data"
cname = "*.plain.test"
[[rule]]
id = "not-again"
names = ["=www.plain.test"]
action = "nxdomain"
"#;
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA");
    let weir = Weir::start(&scratch, &setup.with("filters/10-redirects.toml", rules));
    // NSD follows its own alias; what dig gets is that answer, behind the CNAME.
    let direct = dig(nsd.address, &["alias.plain.test", "A"]);
    for transport in ["+notcp", "+tcp"] {
        let led = dig(weir.address, &[transport, "www.bad.test", "A"]);
        assert_eq!(led.status(), "NOERROR", "{led:?}");
        assert_eq!(led.answer()[0], "www.bad.test. 77 IN CNAME alias.plain.test.");
        assert_eq!(led.answer()[1..], direct.answer(), "{led:?}");
        assert!(direct.data().len() == 3 && led.has_ede(4) && !led.has_flag("aa") && !led.has_flag("ad"), "{led:?}");
    }
    let noedns = dig(weir.address, &["+noedns", "bad.test", "AAAA"]);
    assert!(noedns.data().contains(&"2001:db8::1".to_owned()), "{noedns:?}");
    let nodata = dig(weir.address, &["bad.test", "SRV"]);
    assert!(nodata.status() == "NOERROR" && nodata.section("AUTHORITY")[0].contains(" SOA "), "{nodata:?}");
    let gone = dig(weir.address, &["gone.test", "A"]);
    assert_eq!((gone.status(), gone.data()), ("NXDOMAIN", vec!["no-such-name.plain.test.".to_owned()]));
    assert!(gone.section("AUTHORITY")[0].starts_with("plain.test."), "{gone:?}");
    let wild = dig(weir.address, &["host0010.led.test", "A"]);
    assert_eq!(wild.answer().len(), 1, "host0010.led.test.plain.test does not exist: {wild:?}");
    let alone = dig(weir.address, &["+norec", "bad.test", "A"]);
    assert_eq!(alone.data(), ["alias.plain.test."]);
    weir.stop();
}
