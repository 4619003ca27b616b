//! A policy directory of one to three files in memory: loading it ends with a policy or a report, without a panic, and every
//! fault is in a place that is there.
//!
//! The input is files behind one another, split at bytes of 0xff, which no UTF-8 holds; the first byte of each names it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::policy::document::{Files, Report};
use weir::policy::server::Surroundings;
use weir::policy::{Options, load_files};

const PATHS: [&str; 8] = [
    "gateway.toml",
    "clients.toml",
    "access.toml",
    "limits.toml",
    "filters/00-a.toml",
    "lists/a.txt",
    "modes/a.toml",
    "tests/a.toml",
];

fn check(report: &Report, files: &Files) {
    for fault in &report.faults {
        let text = files.bytes(&fault.file).unwrap_or_default();
        let line = text.split(|byte| *byte == b'\n').nth(fault.line - 1);
        let characters = line.map_or(0, |line| String::from_utf8_lossy(line).chars().count());
        assert!(line.is_some() && (1..=characters + 1).contains(&fault.column), "{fault} is nowhere");
        assert!(fault.excerpt.get(fault.underline.clone()).is_some(), "{fault} underlines {:?}", fault.underline);
    }
    assert_eq!(report.json().lines().count(), report.faults.len());
    assert!(report.human("policies", false).ends_with('\n'));
}

fuzz_target!(|data: &[u8]| {
    let mut files: Files = [("gateway.toml", "schema = 1\n")].into_iter().collect();
    for part in data.split(|byte| *byte == 0xff).take(3) {
        if let [first, text @ ..] = part {
            files.insert(PATHS[usize::from(*first) % PATHS.len()], text);
        }
    }
    let nameservers = vec![([192, 0, 2, 53], 53).into()];
    let options = Options { surroundings: Surroundings { nameservers, ..Surroundings::default() }, seed: 1, ..Options::default() };
    match load_files(files.clone(), &options) {
        Ok((_, report)) => {
            assert_eq!(report.errors(), 0);
            check(&report, &files);
        }
        Err(report) => {
            assert!(report.errors() > 0);
            check(&report, &files);
        }
    }
});
