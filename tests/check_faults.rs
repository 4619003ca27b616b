//! Bad policies as data: each directory of tests/faults/ is loaded once, and every fault of it must be reported, in order, at
//! its file, line and column, with its code and a hint. `NAME.expected` beside directory NAME holds what is expected.
//!
//! `WEIR_BLESS=1 cargo test --test check_faults` writes what was found; read the difference before committing it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use weir::policy::server::Surroundings;
use weir::policy::{Options, load};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

fn options() -> Options {
    let nameservers = vec!["192.0.2.53:53".parse().expect("an address")];
    Options { surroundings: Surroundings { nameservers, ..Surroundings::default() }, seed: 1, running: None }
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus()).expect("tests/faults is part of the repository");
    let mut dirs: Vec<_> =
        entries.map(|entry| entry.expect("a readable directory").path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs
}

#[test]
fn every_fault_of_a_directory_is_reported_in_one_run() {
    let (mut failed, mut codes) = (Vec::new(), BTreeSet::new());
    for dir in cases() {
        let report = load(&dir, &options()).expect_err("a bad policy is refused");
        let found: String = report
            .faults
            .iter()
            .map(|fault| format!("{}:{}:{} {}\n", fault.file, fault.line, fault.column, fault.code))
            .collect();
        codes.extend(report.faults.iter().map(|fault| fault.code));
        for fault in &report.faults {
            let has_hint = fault.hint.as_ref().is_some_and(|hint| !hint.is_empty());
            assert!(has_hint || fault.severity == "warning", "{fault} has no hint");
            assert!(!fault.message.ends_with('.'), "{fault}");
        }
        let expected_path = dir.with_extension("expected");
        if std::env::var_os("WEIR_BLESS").is_some() {
            fs::write(&expected_path, &found).expect("the corpus is writable");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            failed.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}\n{}", dir.display(), report.short()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let promised = [
        "E-SYNTAX",
        "E-UNKNOWN-KEY",
        "E-TYPE",
        "E-NETWORK",
        "E-NAME",
        "E-MISSING-FILE",
        "E-DUPLICATE",
        "E-UNKNOWN-GROUP",
        "E-RANGE",
        "E-CHOICE",
        "E-NOT-YET",
        "E-PATH",
        "E-EXPECT",
        "E-UTF8",
        "E-UNKNOWN-POOL",
        "E-CONFLICT",
        "E-QTYPE",
    ];
    let missing: Vec<_> = promised.iter().filter(|code| !codes.contains(*code)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

#[test]
fn the_report_for_people_underlines_the_place_and_the_one_for_programs_is_json() {
    let report = load(&corpus().join("each-kind"), &options()).expect_err("a bad policy is refused");
    let human = report.human("policies", false);
    for part in [
        "policies/gateway.toml:3:1",
        "profil = \"recursive\"",
        "^^^^^^",
        "did you mean \"profile\"?",
        "error[E-UNKNOWN-KEY]",
    ] {
        assert!(human.contains(part), "{part:?} is not in\n{human}");
    }
    assert!(human.trim_end().ends_with(&report.to_string()), "{human}");
    let json = report.json();
    assert_eq!(json.lines().count(), report.faults.len());
    for (line, fault) in json.lines().zip(&report.faults) {
        let value: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        assert_eq!(value["code"], fault.code);
        assert_eq!(value["line"], fault.line);
        assert_eq!(value["file"], fault.file.as_str());
        assert!(value["hint"].is_string() && value["column"].is_u64());
    }
}
