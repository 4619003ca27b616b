//! Whatever stands in the files of a policy directory, loading it ends with a policy or a report: no panic, every fault in a
//! place that is there, and both reports can be written. Documents are mutations of good and bad ones.
//!
//! A failing case is printed by proptest with its seed; `PROPTEST_CASES=100000 cargo test --test mutated_documents` looks longer.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use weir::policy::document::{Files, Report};
use weir::policy::server::Surroundings;
use weir::policy::{Options, load_files};

/// What mutations put in: pieces that mean something to the readers.
const PIECES: [&str; 28] = [
    "[",
    "]",
    "[[",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ",",
    "\n",
    "{",
    "}",
    "#",
    "!",
    "@",
    "\0",
    "é",
    "\u{feff}",
    "10.0.0.0/8",
    "::/0",
    "9223372036854775808",
    "-1",
    "1e999",
    "\\",
    "list = \"lists/a.txt\"\n",
    "*.",
    "1979-05-27",
    "a.b.c = 1\n",
    "x = [[[[[[[[[[[[",
];

fn read_tree(root: &Path, dir: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("a directory of the repository") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            read_tree(root, &path, into);
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            into.insert(name.to_owned(), fs::read(&path).expect("a readable file"));
        }
    }
}

fn corpus() -> Vec<BTreeMap<String, Vec<u8>>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut roots: Vec<_> = fs::read_dir(repository.join("tests/faults"))
        .expect("tests/faults is part of the repository")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.is_dir())
        .collect();
    roots.push(repository.join("policies"));
    roots.sort();
    let read = |root: &std::path::PathBuf| {
        let mut files = BTreeMap::new();
        read_tree(root, root, &mut files);
        // The list of the example is long and plain; a few lines do.
        files.values_mut().for_each(|bytes| bytes.truncate(4_096));
        files
    };
    roots.iter().map(read).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Piece(usize, usize),
    Byte(usize, u8),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0_usize..40).prop_map(|(at, len)| Change::Cut(at, len)),
        (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Piece(at, piece)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<usize>(), 0_usize..80).prop_map(|(at, len)| Change::Repeat(at, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let place = |at: usize| at % (bytes.len() + 1);
    match *change {
        Change::Cut(at, len) => {
            let from = place(at);
            let to = (from + len).min(bytes.len());
            bytes.drain(from..to);
        }
        Change::Piece(at, piece) => {
            let at = place(at);
            bytes.splice(at..at, PIECES[piece].bytes());
        }
        Change::Byte(at, byte) => {
            let at = place(at);
            bytes.insert(at, byte);
        }
        Change::Repeat(at, len) => {
            let from = place(at);
            let to = (from + len).min(bytes.len());
            let copy = bytes[from..to].to_vec();
            bytes.splice(to..to, copy);
        }
    }
}

fn check(report: &Report, files: &BTreeMap<String, Vec<u8>>) {
    for fault in &report.faults {
        let text = files.get(&fault.file).map(Vec::as_slice).unwrap_or_default();
        let line = text.split(|byte| *byte == b'\n').nth(fault.line - 1);
        let characters = line.map_or(0, |line| String::from_utf8_lossy(line).chars().count());
        assert!(line.is_some() && (1..=characters + 1).contains(&fault.column), "{fault} is nowhere");
        assert!(fault.excerpt.get(fault.underline.clone()).is_some(), "{fault} underlines {:?}", fault.underline);
        assert!(!fault.message.is_empty());
    }
    assert!(report.human("policies", true).ends_with('\n'));
    assert_eq!(report.json().lines().count(), report.faults.len());
}

proptest! {
    #[test]
    fn loading_ends_with_a_policy_or_a_report(
        base in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 0..8),
    ) {
        let mut files = base.get(&corpus()).clone();
        for (file, change) in &changes {
            let name = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
            apply(files.get_mut(&name).expect("its own key"), change);
        }
        let nameservers = vec!["192.0.2.53:53".parse().expect("an address")];
        let surroundings = Surroundings { nameservers, ..Surroundings::default() };
        let options = Options { surroundings, seed: 1, ..Options::default() };
        let memory: Files = files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
        match load_files(memory, &options) {
            Ok((_, report)) => {
                prop_assert_eq!(report.errors(), 0);
                check(&report, &files);
            }
            Err(report) => {
                prop_assert!(report.errors() > 0);
                check(&report, &files);
            }
        }
    }
}
