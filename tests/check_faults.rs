//! Bad policies as data: each directory of tests/faults/ is loaded once, and every fault of it must be reported, in order, at
//! its file, line and column, with its code, message and hint. `NAME.expected.en` and `NAME.expected.zh` beside directory
//! NAME hold what is expected in each language; tests/messages.rs sees to it that no code lacks a case.
//!
//! `WEIR_BLESS=1 cargo test --test check_faults` writes what was found; read the difference before committing it.

use std::fs;
use std::path::{Path, PathBuf};
use weir::control::origin::Origin;
use weir::language::{Lang, Text};
use weir::policy::document::Report;
use weir::policy::document::report::Located;
use weir::policy::feeds::Copies;
use weir::policy::server::Surroundings;
use weir::policy::{Options, load};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// With the copies of feeds of a case that has them, in `.feeds`.
fn options_of(dir: &Path) -> Options {
    let feeds = dir.join(".feeds");
    let copies = if feeds.is_dir() { Copies::in_directory(feeds) } else { Copies::default() };
    Options { copies, ..options() }
}

fn options() -> Options {
    let nameservers = vec!["192.0.2.53:53".parse().expect("an address")];
    // 2026-01-01T00:00:00Z, for what has expired.
    let unix_ms = 1_767_225_600_000;
    Options {
        surroundings: Surroundings { nameservers, ..Surroundings::default() },
        seed: 1,
        unix_ms,
        ..Options::default()
    }
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus()).expect("tests/faults is part of the repository");
    let mut dirs: Vec<_> =
        entries.map(|entry| entry.expect("a readable directory").path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs
}

/// A copy of a case that has a file `.sizes`: paths, each with a size in bytes. Files of these sizes are put beside the
/// others; they take no room on the disk.
fn with_sizes(dir: &Path) -> Option<PathBuf> {
    let sizes = fs::read_to_string(dir.join(".sizes")).ok()?;
    let copy = std::env::temp_dir().join(format!("weir-faults-{}", std::process::id()));
    fs::create_dir_all(&copy).expect("temporary directories can be made");
    fs::copy(dir.join("gateway.toml"), copy.join("gateway.toml")).expect("readable");
    for (path, size) in sizes.lines().filter_map(|line| line.split_once(' ')) {
        let file = fs::File::create(copy.join(path)).expect("writable");
        file.set_len(size.parse().expect("a number")).expect("sparse");
    }
    Some(copy)
}

/// A case by itself: what is found at each place, in a language.
fn found(report: &Report) -> String {
    let line = |fault: &Located| {
        let hint = fault.hint.as_ref().map_or_else(String::new, |hint| format!("    {hint}\n"));
        format!("{fault}\n{hint}")
    };
    report.faults.iter().map(line).collect()
}

#[test]
fn every_fault_of_a_directory_is_reported_in_one_run_in_both_languages() {
    let mut failed = Vec::new();
    for dir in cases() {
        let copy = with_sizes(&dir);
        let report = match Origin::Directory(copy.clone().unwrap_or_else(|| dir.clone())).load(&options_of(&dir)) {
            Ok((_, report)) | Err(report) => report,
        };
        copy.into_iter().for_each(|copy| fs::remove_dir_all(copy).expect("our own directory"));
        assert!(!report.faults.is_empty(), "{} has no fault", dir.display());
        for fault in &report.faults {
            assert!(fault.hint.is_some() || fault.severity == "warning", "{fault} has no hint");
            assert!(!fault.message.ends_with('.'), "{fault}");
            assert!(!fault.text().is_foreign(), "{fault} is not made of a message");
            assert!(!fault.advice().is_some_and(Text::is_foreign), "{fault} has a hint that is not made of a message");
        }
        for lang in Lang::ALL {
            let found = found(&report.clone().in_language(lang));
            let expected_path = dir.with_extension(format!("expected.{lang}"));
            if std::env::var_os("WEIR_BLESS").is_some() {
                fs::write(&expected_path, &found).expect("the corpus is writable");
            }
            let expected = fs::read_to_string(&expected_path).unwrap_or_default();
            if found != expected {
                failed.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", expected_path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
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
