//! NSD and Knot behind the gateway, profile authoritative: what a client sees of a server directly, it sees through
//! the gateway. Each set of checks runs both ways, so that it says what the server does and that the gateway keeps it.

use super::ask::{self, ede};
use super::clients::{dig, kdig, python};
use super::harness::Scratch;
use super::servers::{knot, nsd};
use super::weir::{Setup, Weir};
use hickory_proto::rr::RecordType;
use std::net::SocketAddr;

fn plain_answers(at: SocketAddr) {
    let a = dig(at, &["www.plain.test", "A"]);
    assert_eq!((a.status(), a.data()), ("NOERROR", vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()]));
    assert!(a.has_flag("aa"), "{a:?}");
    let alias = kdig(at, &["alias.plain.test", "A"]);
    assert_eq!(alias.answer().len(), 3, "{alias:?}");
    assert_eq!(dig(at, &["x.y.wild.plain.test", "A"]).data(), ["192.0.2.80"]);
    let missing = dig(at, &["missing.plain.test", "A"]);
    assert_eq!((missing.status(), missing.section("AUTHORITY").len()), ("NXDOMAIN", 1), "{missing:?}");
    let nodata = dig(at, &["v4only.plain.test", "AAAA"]);
    assert_eq!((nodata.status(), nodata.answer().len()), ("NOERROR", 0));
    assert!(nodata.section("AUTHORITY")[0].contains(" SOA "), "{nodata:?}");
    let referral = dig(at, &["+norec", "below.deleg.plain.test", "A"]);
    assert!(!referral.has_flag("aa") && referral.section("AUTHORITY")[0].contains(" NS "), "{referral:?}");
    assert_eq!(dig(at, &["elsewhere.invalid", "A"]).status(), "REFUSED");
}

fn transports_and_edns(at: SocketAddr) {
    for arguments in [&["+tcp"][..], &["+noedns"], &["+bufsize=512"], &["+dnssec"], &["+tcp", "+noedns"]] {
        let answer = dig(at, &[arguments, &["www.plain.test", "A"]].concat());
        assert_eq!(answer.data().len(), 2, "{arguments:?} {answer:?}");
        let edns = !arguments.contains(&"+noedns");
        assert_eq!(answer.0.contains("OPT PSEUDOSECTION"), edns, "{arguments:?} {answer:?}");
    }
    let bad_version = dig(at, &["+edns=1", "+noednsnegotiation", "www.plain.test", "A"]);
    assert_eq!(bad_version.status(), "BADVERS");
}

/// Answers over what the client takes; `most` is the largest that comes over UDP.
fn large_answers(at: SocketAddr, most: usize) {
    let small = dig(at, &["+noedns", "large.plain.test", "TXT"]);
    assert!(small.has_flag("tc"), "over 512 bytes: {small:?}");
    let small = dig(at, &["+bufsize=1232", "large.plain.test", "TXT"]);
    assert!(small.has_flag("tc"), "over 1232 bytes: {small:?}");
    let fits = dig(at, &["+bufsize=4096", "large.plain.test", "TXT"]);
    assert_eq!(!fits.has_flag("tc") && fits.answer().len() == 9, most >= 4096, "below 4096 bytes: {fits:?}");
    let too_large = dig(at, &["+bufsize=4096", "huge.plain.test", "TXT"]);
    assert!(too_large.has_flag("tc"), "over 4096 bytes: {too_large:?}");
    for (name, records) in [("large.plain.test", 9), ("huge.plain.test", 30)] {
        let whole = dig(at, &["+noignore", "+bufsize=1232", name, "TXT"]);
        assert!(!whole.has_flag("tc") && whole.answer().len() == records, "TC, then TCP: {whole:?}");
    }
    let any = kdig(at, &["+tcp", "www.plain.test", "ANY"]);
    assert!(any.status() == "NOERROR" && any.answer().len() >= 2, "{any:?}");
}

fn chaos(at: SocketAddr, version: &str, id: &str) {
    assert_eq!(dig(at, &["CH", "TXT", "version.bind"]).data(), [format!("\"{version}\"")]);
    assert_eq!(kdig(at, &["CH", "TXT", "id.server"]).data(), [format!("\"{id}\"")]);
}

fn letter_case(at: SocketAddr) {
    for name in ["wWw.PlAiN.tEsT", "WWW.plain.TEST"] {
        let answer = ask::udp(at, name, RecordType::A).expect("an answer");
        assert_eq!(answer.queries[0].name.to_ascii().trim_end_matches('.'), name);
        assert_eq!(answer.answers.len(), 2);
    }
}

#[test]
fn nsd_is_the_same_directly_and_through_the_gateway() {
    let scratch = Scratch::new("nsd");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    // The gateway announces 1232 bytes in both directions (RFC 9715) and lets nothing larger through over UDP.
    for (at, most) in [(nsd.address, 4096), (weir.address, 1232)] {
        plain_answers(at);
        transports_and_edns(at);
        large_answers(at, most);
        chaos(at, "nsd under test", "nsd-id");
        letter_case(at);
    }
    plain_answers(weir.address6);
    large_answers(weir.address6, 1232);
    weir.stop();
}

#[test]
fn answers_are_the_same_bytes_with_and_without_the_gateway() {
    let scratch = Scratch::new("bytes");
    let (nsd, knot) = (nsd(&scratch), knot(&scratch));
    let route = format!(
        "[[upstream]]\nname = \"knot\"\naddress = \"{}\"\npool = \"knot\"\n[pool.knot]\nhealth = {{ interval = \"1s\", \
         query = \"signed.test SOA\", fall = 2, rise = 1 }}\n[[route]]\nzone = \"signed.test\"\npool = \"knot\"\n",
        knot.address
    );
    let setup = Setup::before("authoritative", nsd.address, "plain.test SOA").with_gateway(&route);
    let weir = Weir::start(&scratch, &setup);
    let (gateway, nsd, knot) = (weir.address.to_string(), nsd.address.to_string(), knot.address.to_string());
    python("compare.py", &[&nsd, &gateway, "plain.test"]);
    python("compare.py", &[&knot, &gateway, "signed.test"]);
    weir.stop();
}

#[test]
fn signatures_of_knot_validate_through_the_gateway() {
    let scratch = Scratch::new("signed");
    let knot = knot(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", knot.address, "signed.test SOA"));
    for at in [knot.address, weir.address, weir.address6] {
        let signed = kdig(at, &["+dnssec", "www.signed.test", "A"]);
        assert!(signed.answer().iter().any(|record| record.contains(" RRSIG A ")), "{signed:?}");
        let unsigned = kdig(at, &["www.signed.test", "A"]);
        assert_eq!(unsigned.answer().len(), 2, "DO is not set: {unsigned:?}");
        chaos(at, "knot under test", "knot-id");
        python("validate.py", &[&at.ip().to_string(), &at.port().to_string(), "signed.test"]);
    }
    weir.stop();
}

#[test]
fn questions_that_are_none_get_formerr_and_the_next_ones_answers() {
    let scratch = Scratch::new("formerr");
    let nsd = nsd(&scratch);
    let weir = Weir::start(&scratch, &Setup::before("authoritative", nsd.address, "plain.test SOA"));
    let mut two = ask::query(7, "www.plain.test", RecordType::A);
    two.add_query(two.queries[0].clone());
    let reply = ask::udp_from(weir.address.ip(), weir.address, &two, ask::TIMEOUT).expect("an answer");
    assert_eq!(u16::from(reply.metadata.response_code), 1, "two questions (RFC 9619)");
    assert!(ede(&reply).is_empty());
    assert_eq!(ask::tcp(weir.address, "www.plain.test", RecordType::A).expect("an answer").answers.len(), 2);
    weir.stop();
}
