//! Who may ask, and what: as dig and kdig see it.

use super::ask;
use super::clients::{dig, kdig};
use super::harness::Scratch;
use super::servers::nsd;
use super::weir::{Setup, Weir};
use hickory_proto::rr::RecordType;
use std::net::IpAddr;
use std::time::Duration;

/// EDE "Prohibited" (RFC 8914 section 4.19).
const PROHIBITED: u16 = 18;

fn source(text: &str) -> IpAddr {
    text.parse().expect("an address in a test")
}

#[test]
fn who_may_not_ask_is_refused_over_every_transport_and_told_why() {
    let scratch = Scratch::new("access");
    let nsd = nsd(&scratch);
    let access = "allow = [\"127.0.0.0/8\", \"::1\"]\ndeny = [\"127.0.6.0/24\"]\n";
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("access.toml", access);
    let weir = Weir::start(&scratch, &setup);
    let name = "www.plain.test";
    for arguments in [&["-b", "127.0.6.6"][..], &["-b", "127.0.6.6", "+tcp"]] {
        let with = |more: &[&'static str]| [arguments, more, &[name, "A"]].concat();
        let refused = dig(weir.address, &with(&[]));
        assert_eq!(refused.status(), "REFUSED", "{refused:?}");
        assert!(refused.has_ede(PROHIBITED), "{refused:?}");
        let refused = kdig(weir.address, &with(&["+edns"]));
        assert!(refused.status() == "REFUSED" && refused.has_ede(PROHIBITED), "{refused:?}");
        let plain = dig(weir.address, &with(&["+noedns"]));
        assert!(plain.status() == "REFUSED" && !plain.0.contains("OPT PSEUDOSECTION"), "{plain:?}");
    }
    assert_eq!(dig(weir.address, &["-b", "127.0.7.7", name, "A"]).data().len(), 2);
    assert_eq!(dig(weir.address6, &[name, "A"]).data().len(), 2);
    weir.stop();
}

#[test]
fn who_may_not_ask_hears_nothing_where_the_policy_says_drop() {
    let scratch = Scratch::new("access-drop");
    let nsd = nsd(&scratch);
    let access = "allow = [\"127.0.0.0/8\", \"!127.0.6.0/24\"]\ndenied = \"drop\"\n";
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("access.toml", access);
    let weir = Weir::start(&scratch, &setup);
    let query = ask::query(9, "www.plain.test", RecordType::A);
    let limit = Duration::from_millis(700);
    assert!(ask::udp_from(source("127.0.6.6"), weir.address, &query, limit).is_none());
    assert!(ask::udp_from(source("127.0.7.7"), weir.address, &query, ask::TIMEOUT).is_some());
    weir.stop();
}

#[test]
fn what_may_not_be_asked_is_refused_or_sent_to_tcp() {
    let scratch = Scratch::new("question");
    let nsd = nsd(&scratch);
    let access = "allow = [\"127.0.0.0/8\"]\n[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n\
                  [[question]]\nqtypes = [\"HINFO\"]\naction = \"refused\"\n";
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with("access.toml", access);
    let weir = Weir::start(&scratch, &setup);
    let any = kdig(weir.address, &["+ignore", "+notcp", "www.plain.test", "ANY"]);
    assert!(any.has_flag("tc") && any.answer().is_empty(), "{any:?}");
    let any = kdig(weir.address, &["+tcp", "www.plain.test", "ANY"]);
    assert!(!any.has_flag("tc") && any.answer().len() >= 2, "{any:?}");
    assert_eq!(dig(weir.address, &["www.plain.test", "HINFO"]).status(), "REFUSED");
    assert_eq!(dig(weir.address, &["+tcp", "www.plain.test", "HINFO"]).status(), "REFUSED");
    weir.stop();
}
