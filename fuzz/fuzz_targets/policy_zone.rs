//! Any bytes as a response policy zone: no panic, memory in proportion to the bytes, every problem within them; what was
//! kept is written as text that is read as the same zone, and as rules that a policy takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::policy::filter::lists::Weight;
use weir::policy::filter::rpz::RpzZone;
use weir::policy::server::Surroundings;
use weir::policy::{Options, load_files};

fuzz_target!(|bytes: &[u8]| {
    let Ok(zone) = RpzZone::parse(bytes) else { return };
    assert!(zone.bytes() <= 4096 + bytes.len() * 400, "{} bytes of {}", zone.bytes(), bytes.len());
    assert!(zone.len() + zone.problems().count() <= zone.lines() + 1, "a record was counted twice");
    for group in zone.problems().groups() {
        assert!(bytes.get(group.span.clone()).is_some(), "a problem outside of the zone");
        assert!(group.problem.weight() != Weight::Taken || group.problem.hint().is_some());
    }
    let text = zone.to_text();
    let again = RpzZone::parse(text.as_bytes()).expect("text is text");
    assert!(again.problems().groups().is_empty(), "{:?}\n{text}", again.problems());
    assert!(again.records().eq(zone.records()), "{text}");
    assert_eq!(again.to_text(), text);
    // As a zone of a policy, which compiles it.
    let files: [(&str, &[u8]); 2] = [("gateway.toml", b"schema = 1"), ("filters/10-x.rpz", bytes)];
    let nameservers = vec![([192, 0, 2, 53], 53).into()];
    let options = Options { surroundings: Surroundings { nameservers, ..Surroundings::default() }, seed: 1, ..Options::default() };
    if let Ok((policy, report)) = load_files(files.into_iter().collect(), &options) {
        assert_eq!(report.errors(), 0);
        assert!(policy.filter.rules().len() <= zone.len());
    }
});
