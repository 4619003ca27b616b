//! What is not dropped from the history, whatever the bounds, and what is written anew.

use super::waiting::Waiting;
use super::*;
use std::fs;

/// A state directory of one test's own, removed at its end, whose history has room for one policy and what is needed.
struct Site {
    state: PathBuf,
    desk: HistoryDesk,
}

impl Site {
    fn new(name: &str) -> Self {
        let state = std::env::temp_dir().join(format!("weir-desk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        let bounds = Bounds { policies: 1, ..Bounds::default() };
        let history = History::open(&state, bounds).map(Arc::new).map_err(|error| Text::of_io(&error));
        let (waiting, fault) = (Mutex::default(), Mutex::default());
        let desk = HistoryDesk { clock: Clock::start(), history, state: state.clone(), waiting, fault };
        Self { state, desk }
    }

    fn history(&self) -> &History {
        self.desk.history().unwrap()
    }

    fn start(&self, version: &str) -> PolicyId {
        let Coming { id, files, .. } = coming(version);
        self.desk.started(id, files);
        id
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.state);
    }
}

fn coming(version: &str) -> Coming {
    let files: Files = [("gateway.toml", version)].into_iter().collect();
    Coming { id: PolicyId::of(&files), files: Arc::new(files), before: None }
}

#[test]
fn what_waits_is_not_dropped_when_its_file_cannot_be_read() {
    let site = Site::new("waits");
    let [back_to, id] = ["back", "applied"].map(|version| site.start(version));
    let order = Order::reload(Cause::Apply, Who::weir());
    let unconfirmed = site.desk.unconfirmed(&site.state, id, back_to, Duration::from_secs(60), &order);
    *lock(&site.desk.waiting) = Some(Waiting::until(site.desk.clock.moment(), unconfirmed));
    fs::write(site.state.join("history/unconfirmed.json"), "{").unwrap();
    let others = ["one", "two", "three"].map(|version| site.start(version));
    assert!(site.history().load(back_to).is_ok() && site.history().load(id).is_ok());
    assert_eq!(others.map(|id| site.history().is_kept(id)), [false, true, true]);
}

#[test]
fn what_was_just_set_aside_is_not_dropped_for_what_it_made_room_for() {
    let site = Site::new("aside");
    let ran = ["one", "two"].map(|version| site.start(version));
    let dir = site.state.join("policy");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("gateway.toml"), "edited").unwrap();
    let order = Order::reload(Cause::Rollback, Who::weir());
    let coming = Coming { before: Some(ran[0]), ..coming("one more") };
    let placed = site.desk.place(&dir, ran[1], coming, &order).unwrap();
    let notes = site.desk.note(&dir, &placed, &order);
    let aside = placed.aside.unwrap();
    assert!(notes[0].english().contains(&format!("are set aside as policy {aside}")), "{notes:?}");
    assert_eq!(site.history().load(aside).unwrap().files.bytes("gateway.toml"), Some(&b"edited"[..]));
    assert_eq!(fs::read_to_string(dir.join("gateway.toml")).unwrap(), "one more");
}

#[test]
fn the_manifest_of_what_runs_is_written_anew_at_a_start_and_needed_for_a_change() {
    let site = Site::new("anew");
    let id = site.start("one");
    let manifest = site.state.join(format!("history/policies/{}.json", id.hex()));
    fs::write(&manifest, "{").unwrap();
    site.start("one");
    assert!(site.history().load(id).is_ok());
    assert_eq!((site.history().entries().len(), site.desk.warnings()), (1, vec![]), "it is no news");

    // Edited meanwhile, nothing is left of what runs: it would be gone with the next.
    let dir = site.state.join("policy");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("gateway.toml"), "edited").unwrap();
    fs::write(&manifest, "{").unwrap();
    let order = Order::reload(Cause::Apply, Who::weir());
    let refused = site.desk.place(&dir, id, coming("two"), &order).unwrap_err();
    assert!(refused.message.contains("could not be kept"), "{}", refused.message);
    assert_eq!(fs::read_to_string(dir.join("gateway.toml")).unwrap(), "edited");
    // Whatever else comes to run, it is told of.
    let other = site.start("two");
    let warnings = site.desk.warnings();
    assert!(warnings.len() == 1 && warnings[0].english().contains(&manifest.display().to_string()), "{warnings:?}");
    assert_eq!(site.history().before(other).unwrap(), id);
}
