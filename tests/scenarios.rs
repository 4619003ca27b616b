//! Behaviour as text: every file of `tests/scenarios/POLICY/*.txt` is one scenario, whose first line is the promise. The
//! steps are listed in `tests/scenarios/README.md`. A failure names file and line, what was expected and what came.
//!
//! `WEIR_SCENARIO=rrl/` runs only those whose path contains it.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

#[path = "scenarios/runner/answers.rs"]
mod answers;
#[path = "scenarios/runner/desk.rs"]
mod desk;
#[path = "scenarios/runner/player.rs"]
mod player;
#[path = "scenarios/runner/questions.rs"]
mod questions;
#[path = "scenarios/runner/replies.rs"]
mod replies;
#[path = "scenarios/runner/script.rs"]
mod script;
mod stage;
#[path = "scenarios/runner/twin.rs"]
mod twin;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn scenarios() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut found = Vec::new();
    for folder in fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            found.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    found.sort();
    found
}

/// Plays a scenario, and once more for monitor mode where it says so.
fn play(text: &str) -> Result<(), (usize, script::Wrong)> {
    player::play(text)?;
    twin::section_of(text).map_or(Ok(()), |section| twin::agrees(text, section).map_err(|wrong| (1, wrong)))
}

#[test]
fn every_scenario_keeps_its_promise() {
    let wanted = std::env::var("WEIR_SCENARIO").unwrap_or_default();
    let mut failures = Vec::new();
    let mut played = 0;
    for path in scenarios() {
        let relative = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        if !relative.contains(&wanted) {
            continue;
        }
        played += 1;
        let text = fs::read_to_string(&path).unwrap();
        let promise = text.lines().next().unwrap_or_default();
        if !promise.starts_with("# ") || promise.len() < 20 {
            failures.push(format!("{relative}:1: the first line is the promise"));
        }
        let played = catch_unwind(|| play(&text)).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            Err((0, message.to_owned()))
        });
        if let Err((line, wrong)) = played {
            failures.push(format!("{relative}:{line}: {wrong}\n    the promise: {}", promise.trim_start_matches("# ")));
        }
    }
    assert!(played > 0, "no scenario matches {wanted:?}");
    assert!(failures.is_empty(), "{} of {played} scenarios fail:\n{}", failures.len(), failures.join("\n"));
}
