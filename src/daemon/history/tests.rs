//! What is not dropped from the history, whatever the bounds, and what is written anew.

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
