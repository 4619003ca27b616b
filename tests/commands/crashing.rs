//! kill -9 at random moments of apply and rollback: the next start serves exactly one of the two policies, what lies in the
//! directory is what runs, and the history can be read.
//!
//! 40 kills unless `WEIR_KILLS` says how many; `WEIR_SEED` repeats a run's moments as far as a machine repeats itself.

use super::place::{Place, Running, UNGUARDED, free_address, rcode};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use weir::control::client;
use weir::control::history::replace::MARKER;
use weir::control::history::report::HistoryList;
use weir::control::history::request::{ApplyRequest, RollbackRequest};
use weir::control::protocol::Command;
use weir::control::status::Status;
use weir::policy::document::files::paths;

/// Files of filters in each policy, each of which has to be of the same one.
const PARTS: usize = 6;

/// A start that is killed as well is killed within this time.
const STARTS_WITHIN: Duration = Duration::from_millis(30);

/// Who may be served after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    A,
    B,
}

impl Version {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }
}

/// The next of a row of numbers that look random (splitmix64, Steele et al. 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The policies run and beside it a and b; `policies` begins as a.
fn place() -> (Place, SocketAddr) {
    let (place, address) = (Place::new(), free_address());
    place.write_gateway(&[address], true, UNGUARDED);
    let gateway = fs::read_to_string(place.path("policies/gateway.toml")).expect("just written");
    for version in Version::BOTH {
        let name = version.name();
        let write = |path: &str, text: &str| {
            place.write(&format!("{name}/{path}"), text);
            if version == Version::A {
                place.write(&format!("policies/{path}"), text);
            }
        };
        write("gateway.toml", &gateway);
        write("access.toml", &format!("allow = [\"127.0.0.0/8\"]\n# {name}\n"));
        for part in 0..PARTS {
            // Every second file is there in one of the two only.
            let file = if part % 2 == 0 {
                format!("filters/{part}0-both.toml")
            } else {
                format!("filters/{part}0-{name}.toml")
            };
            let rule = format!("id = \"r{part}\"\nlist = \"lists/{name}{part}.txt\"\naction = \"refused\"\n");
            write(&file, &format!("[zone]\ntitle = \"test\"\n[[rule]]\n{rule}"));
            write(&format!("lists/{name}{part}.txt"), &format!("p{part}.{name}.lab.example\n"));
        }
    }
    (place, address)
}

fn ask<T: serde::de::DeserializeOwned>(place: &Place, command: &Command) -> T {
    let answer = client::connect(&[place.socket()]).and_then(|mut one| one.ask(command)).expect("the gateway answers");
    serde_json::from_value(answer).expect("the answer is of this version")
}

fn contents(place: &Place, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = place.path(dir);
    let files = paths(&dir).expect("it can be listed").into_iter();
    files.map(|path| (path.clone(), fs::read(dir.join(path)).expect("it can be read"))).collect()
}

/// Which of the two is served: all parts of it, and none of the other.
fn served(address: SocketAddr) -> Option<Version> {
    let refuses = |version: Version| {
        let refused = |part: &usize| rcode(address, &format!("p{part}.{}.lab.example", version.name())) == 5;
        (0..PARTS).filter(refused).count()
    };
    match Version::BOTH.map(refuses) {
        [PARTS, 0] => Some(Version::A),
        [0, PARTS] => Some(Version::B),
        _ => None,
    }
}

/// Starts it and holds it against all promises; returns what is served.
fn start(place: &Place, address: SocketAddr, about: &str) -> (Running, Version) {
    let running = place.start_lab_with_state();
    let version = served(address).unwrap_or_else(|| panic!("a mixture is served {about}"));
    assert_eq!(contents(place, "policies"), contents(place, version.name()), "{version:?} is served {about}");
    let hidden = |dir: &str| {
        fs::read_dir(place.path(dir)).expect("it is there").map(|entry| entry.expect("an entry").file_name())
    };
    let left: Vec<_> = ["policies", "policies/filters", "policies/lists"].into_iter().flat_map(hidden).collect();
    let left: Vec<_> = left.iter().filter(|name| name.to_string_lossy().starts_with(".weir")).collect();
    assert!(left.is_empty(), "{left:?} is left {about}");
    let (status, history): (Status, HistoryList) = (ask(place, &Command::Status {}), ask(place, &Command::History {}));
    let runs = history.entries.iter().find(|row| row.running).expect("something runs");
    assert_eq!(runs.entry.id.to_string(), status.policy.id, "{about}");
    assert!(runs.kept, "{about}");
    (running, version)
}

#[test]
fn kill_at_random_moments_leaves_one_policy_or_the_other() {
    let kills = variable("WEIR_KILLS").unwrap_or(40);
    let seed = variable("WEIR_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("WEIR_SEED={seed}");
    let mut random = seed;
    let (place, address) = place();
    // How long an apply takes here, to hit all of it and a little after it.
    let (running, _) = start(&place, address, "at first");
    let apply = |version: Version, confirm: bool| {
        Command::Apply(ApplyRequest {
            directory: place.path(version.name()),
            reason: Some("test".to_owned()),
            confirm_within: confirm.then(|| "1h".to_owned()),
            force: false,
        })
    };
    let timed = |version| {
        let begun = Instant::now();
        let _: serde_json::Value = ask(&place, &apply(version, false));
        begun.elapsed()
    };
    let takes = [Version::B, Version::A, Version::B].map(timed).into_iter().min().expect("three");
    drop(running);
    let (mut starts_killed, mut unmended) = (0, 0);
    let (mut half, mut cut_off, mut seen) = (0, 0, BTreeMap::from([("a", 0), ("b", 0)]));
    for kill in 0..kills {
        let about = format!("after kill {kill} of seed {seed}");
        let (mut running, version) = start(&place, address, &about);
        *seen.get_mut(version.name()).expect("one of two") += 1;
        let list: HistoryList = ask(&place, &Command::History {});
        let choice = next(&mut random) % 3;
        let command = match (&list.unconfirmed, choice) {
            (Some(_), _) | (None, 0) => Command::Rollback(RollbackRequest::default()),
            (None, 1) => apply(version.other(), true),
            _ => apply(version.other(), false),
        };
        let moment = Duration::from_nanos(next(&mut random) % (takes.as_nanos() as u64 * 5 / 4));
        let mut connection = client::connect(&[place.socket()]).expect("the gateway is there");
        let asking = std::thread::spawn(move || connection.ask(&command));
        std::thread::sleep(moment);
        running.stop();
        cut_off += usize::from(matches!(asking.join().expect("no panic"), Err(client::AskError::Broken { .. })));
        half += usize::from(place.path("policies").join(MARKER).exists());
        // Every third time the start that mends is killed as well.
        if next(&mut random).is_multiple_of(3) {
            let state = place.path("state");
            let mut mending = place.launch(&["--lab", "--state", state.to_str().expect("paths of tests are text")]);
            std::thread::sleep(Duration::from_nanos(next(&mut random) % STARTS_WITHIN.as_nanos() as u64));
            mending.stop();
            starts_killed += 1;
            unmended += usize::from(place.path("policies").join(MARKER).exists());
        }
    }
    let (running, _) = start(&place, address, "at last");
    drop(running);
    println!(
        "{kills} kills, an apply takes {takes:?}: {cut_off} commands cut off, {half} directories half replaced, {seen:?}"
    );
    println!("{starts_killed} starts killed as well, {unmended} of them before they had mended");
    assert!(cut_off > 0 && half > 0, "no kill hit anything: {cut_off}, {half}");
    assert!(seen.values().all(|count| *count > 0), "{seen:?}");
}
