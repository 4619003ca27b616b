//! The rules of the house, held by a test: who may import whom, how long a file may be, where unsafe lives.

use std::fs;
use std::path::{Path, PathBuf};

/// Top to bottom, as in the table of `src/lib.rs`: a module may use those behind it, never those before it.
const ORDER: [&str; 20] = [
    "cli",
    "drill",
    "daemon",
    "lab",
    "control",
    "telemetry",
    "listen",
    "gateway",
    "live_policy",
    "storm",
    "upstream",
    "cache",
    "recordings",
    "policy",
    "ledger",
    "verdict",
    "dns",
    "language",
    "clock",
    "sys",
];

/// Lines a file may have, tests included. The house asks for about 500.
const LINES_MAX: usize = 550;

fn sources() -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn relative(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(root).expect("below src").to_string_lossy().into_owned()
}

/// The module that a file belongs to: `dns/name.rs` to `dns`, `clock.rs` to `clock`.
fn module(relative: &str) -> &str {
    relative.split(['/', '.']).next().expect("split yields one")
}

/// Lines before the file's tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
}

#[test]
fn imports_go_downward_only() {
    let rank = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut broken = Vec::new();
    for path in sources() {
        let relative = relative(&path);
        let own = module(&relative);
        let Some(own_rank) = rank(own) else {
            assert!(matches!(own, "lib" | "main"), "{relative}: a module that the map does not know");
            continue;
        };
        let text = fs::read_to_string(&path).expect("readable");
        for (number, line) in code(&text).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if rank(used).is_some_and(|rank| rank < own_rank) {
                    broken.push(format!("{relative}:{}: {own} is below {used}", number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "imports that go upward:\n{}", broken.join("\n"));
}

#[test]
fn the_map_lists_every_module() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("lib.rs");
    let rows: Vec<_> = map.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next()).collect();
    assert_eq!(rows, ORDER, "the table of lib.rs and this test tell the same order");
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut broken = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("readable");
        if !text.starts_with("//! ") {
            broken.push(format!("{}: does not begin with //!", relative(&path)));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{}: {lines} lines", relative(&path)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn unsafe_lives_in_one_room_and_vague_names_nowhere() {
    let mut broken = Vec::new();
    for path in sources() {
        let relative = relative(&path);
        let text = fs::read_to_string(&path).expect("readable");
        let is_unsafe =
            |line: &str| line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl");
        if relative != "sys.rs" && !relative.starts_with("sys/") && text.lines().any(is_unsafe) {
            broken.push(format!("{relative}: unsafe outside sys"));
        }
        if ["utils", "helpers", "common", "misc"].iter().any(|vague| relative.contains(vague)) {
            broken.push(format!("{relative}: the name does not say what it is"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn hashes_have_keys_that_nobody_can_guess() {
    let mut broken = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("readable");
        // Without its features for randomness ahash has nothing but addresses of memory to make keys of.
        if text.contains("ahash")
            && text.lines().any(|line| line.contains("RandomState::new()") && !line.contains("std::"))
        {
            broken.push(format!("{}: ahash's own keys, instead of sys::keys", relative(&path)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn policies_do_not_import_each_other() {
    const POLICIES: [&str; 7] = ["access", "cookies", "filter", "rrl", "source", "server", "storm"];
    let mut broken = Vec::new();
    for path in sources() {
        let relative = relative(&path);
        let Some(inside) = relative.strip_prefix("policy/") else { continue };
        let own = module(inside);
        // Tests may build what they need of another policy.
        if !POLICIES.contains(&own) || inside.contains("/tests") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        for (number, line) in code(&text) {
            let other = POLICIES.iter().filter(|policy| **policy != own);
            for used in other {
                if line.contains(&format!("policy::{used}"))
                    || line.contains(&format!("use super::{used}")) && inside.matches('/').count() == 0
                {
                    broken.push(format!("{relative}:{}: {own} uses {used}", number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "policies that know each other:\n{}", broken.join("\n"));
}
