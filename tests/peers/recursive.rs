//! Unbound behind the gateway, profile recursive, with NSD behind Unbound.

use super::ask;
use super::clients::{dig, kdig};
use super::harness::Scratch;
use super::servers::{nsd, unbound};
use super::weir::{Setup, Weir};
use hickory_proto::rr::RecordType;
use std::net::SocketAddr;

fn resolves(at: SocketAddr) {
    let a = dig(at, &["www.plain.test", "A"]);
    assert_eq!((a.status(), a.data()), ("NOERROR", vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()]), "{a:?}");
    assert!(a.has_flag("ra"), "recursion is available: {a:?}");
    assert_eq!(kdig(at, &["+tcp", "alias.plain.test", "A"]).answer().len(), 3);
    assert_eq!(dig(at, &["missing.plain.test", "A"]).status(), "NXDOMAIN");
    assert_eq!(dig(at, &["+noedns", "www.local.test", "A"]).data(), ["192.0.2.31"]);
    assert_eq!(dig(at, &["CH", "TXT", "version.bind"]).data(), ["\"unbound under test\""]);
    let truncated = dig(at, &["+bufsize=1232", "huge.local.test", "TXT"]);
    assert!(truncated.has_flag("tc"), "{truncated:?}");
    let whole = dig(at, &["+noignore", "huge.local.test", "TXT"]);
    assert_eq!((whole.has_flag("tc"), whole.answer().len()), (false, 30), "{whole:?}");
    for name in ["wWw.LoCaL.tEsT", "WwW.pLaIn.TeSt"] {
        let answer = ask::udp(at, name, RecordType::A).expect("an answer");
        assert_eq!(answer.queries[0].name.to_ascii().trim_end_matches('.'), name, "letter case of the question");
    }
}

#[test]
fn unbound_is_the_same_directly_and_through_the_gateway() {
    let scratch = Scratch::new("unbound");
    let nsd = nsd(&scratch);
    let unbound = unbound(&scratch, nsd.address);
    let weir = Weir::start(&scratch, &Setup::before("recursive", unbound.address, "www.local.test A"));
    for at in [unbound.address, weir.address, weir.address6] {
        resolves(at);
    }
    weir.stop();
}

#[test]
fn many_questions_on_one_connection_all_get_their_own_answers() {
    let scratch = Scratch::new("pipeline");
    let nsd = nsd(&scratch);
    let unbound = unbound(&scratch, nsd.address);
    let weir = Weir::start(&scratch, &Setup::before("recursive", unbound.address, "www.local.test A"));
    let mut stream = ask::Stream::open(weir.address).expect("a connection");
    for id in 0..30 {
        stream.send(&ask::query(id, &format!("host{id:04}.plain.test"), RecordType::A));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let answer = stream.receive().expect("an answer");
        assert_eq!(answer.queries[0].name.to_ascii(), format!("host{:04}.plain.test.", answer.metadata.id));
        assert_eq!(answer.answers.len(), 1);
        seen.insert(answer.metadata.id);
    }
    assert_eq!(seen.len(), 30);
    weir.stop();
}
