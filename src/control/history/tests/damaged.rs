//! A manifest that cannot be read is told of once, loses nothing that may be needed, and holds nothing up.

use super::*;
use crate::control::history::report::HistoryList;
use crate::language::Told as _;

/// Policies that each have a file of their own, the last of which runs.
fn runs(history: &History, versions: impl IntoIterator<Item = usize>) -> Vec<PolicyId> {
    versions.into_iter().map(|n| run(history, &format!("version {n}"), How::Watch)).collect()
}

fn manifest(place: &Place, id: PolicyId) -> PathBuf {
    place.0.join(format!("history/policies/{}.json", id.hex()))
}

fn told(history: &History, lang: Lang) -> Vec<String> {
    history.warnings().iter().map(|warning| warning.to(lang)).collect()
}

#[test]
fn what_a_manifest_that_cannot_be_read_may_name_is_kept_and_told_of() {
    let place = Place::new("damaged");
    let history = place.open(Bounds::default());
    let ids = runs(&history, 0..3);
    let path = manifest(&place, ids[0]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let last = runs(&history, 3..4)[0];
    assert_eq!(stored(&place, "files").len(), 5, "four of their own and the list");
    let told_zh = told(&history, Lang::Zh);
    let named = format!("无法回退到历史中的策略 {}：{}：", ids[0], path.display());
    assert!(told_zh.len() == 1 && told_zh[0].starts_with(&named), "{told_zh:?}");
    assert!(told(&history, Lang::En)[0].contains("put the file back from a copy, or remove it"));
    // Mended, it is one to go back to.
    fs::write(&path, &whole).unwrap();
    assert_eq!(history.load(ids[0]).unwrap().files.bytes("gateway.toml"), Some(&b"version 0"[..]));
    history.note(entry(last, How::Reload), &[]).unwrap();
    assert_eq!(history.warnings(), []);
    // Of another version is one that a newer program wrote: it is not dropped for that.
    fs::write(&path, String::from_utf8(whole).unwrap().replace("\"weir_policy\": 1", "\"weir_policy\": 2")).unwrap();
    history.note(entry(last, How::Reload), &[]).unwrap();
    assert_eq!(stored(&place, "files").len(), 5);
    assert!(told(&history, Lang::En)[0].contains("it is of version 2"), "{:?}", history.warnings());
    // Removed, nothing is held for it any more.
    fs::remove_file(&path).unwrap();
    history.note(entry(last, How::Reload), &[]).unwrap();
    assert_eq!((history.warnings(), stored(&place, "files").len()), (vec![], 4));
}

#[test]
fn the_history_marks_what_nobody_can_go_back_to() {
    let place = Place::new("damaged-marked");
    let history = place.open(Bounds::default());
    let ids = runs(&history, 0..3);
    let marked = || {
        let list = HistoryList::of(&history, None, None);
        let json = serde_json::to_value(&list).unwrap();
        let of_json = json["entries"].as_array().unwrap().iter().map(|entry| entry["damaged"].as_bool().unwrap());
        let of_text = |lang, mark: &str| list.text().to(lang).lines().map(|line| line.contains(mark)).collect();
        let texts: [Vec<bool>; 2] =
            [of_text(Lang::En, "[damaged: nobody can go back to it]"), of_text(Lang::Zh, "［已损坏，无法回退到它］")];
        let marked: Vec<_> = of_json.collect();
        assert_eq!(texts, [marked.clone(), marked.clone()]);
        marked
    };
    assert_eq!(marked(), [false; 3]);
    fs::write(manifest(&place, ids[1]), "{").unwrap();
    assert_eq!(marked(), [false, true, false]);
    assert!(history.load(ids[1]).is_err(), "a rollback fails");
    // What is not kept is no more damaged than it is there.
    fs::remove_file(manifest(&place, ids[1])).unwrap();
    assert_eq!(marked(), [false; 3]);
    assert!(!HistoryList::of(&history, None, None).entries[1].kept);
}

#[test]
fn a_damaged_manifest_is_the_first_to_go_and_holds_up_nothing() {
    let place = Place::new("damaged-first");
    let history = place.open(Bounds { policies: 4, bytes: 1 << 30, entries: 20 });
    let ids = runs(&history, 0..4);
    fs::write(manifest(&place, ids[1]), "{").unwrap();
    let more = runs(&history, 4..5);
    assert_eq!([ids[0], ids[1]].map(|id| history.is_kept(id)), [true, false], "what can be read is worth more");
    assert_eq!((history.warnings(), stored(&place, "files").len()), (vec![], 5), "what only it named is gone as well");
    // Bytes: what it may name counts until it goes.
    drop(history);
    let history = place.open(Bounds { policies: 100, bytes: 1, entries: 20 });
    fs::write(manifest(&place, ids[2]), "{").unwrap();
    let last = runs(&history, 5..6);
    assert_eq!(stored(&place, "policies").len(), 2);
    assert_eq!(stored(&place, "files").len(), 3);
    assert!(history.load(more[0]).is_ok() && history.load(last[0]).is_ok());
    // A directory of that name cannot be removed; the others go all the same.
    drop(history);
    let history = place.open(Bounds { policies: 3, bytes: 1 << 30, entries: 20 });
    let stuck = PolicyId([7; 16]);
    fs::create_dir(manifest(&place, stuck)).unwrap();
    let ids = runs(&history, 10..20);
    let kept: Vec<_> = ids.iter().filter(|id| history.load(**id).is_ok()).collect();
    assert_eq!(kept, [&ids[7], &ids[8], &ids[9]]);
    assert_eq!(stored(&place, "files").len(), 4, "nothing is held for what is no file");
    assert!(told(&history, Lang::En)[0].contains("is a directory"), "{:?}", history.warnings());
}

#[test]
fn one_that_is_needed_stays_however_damaged_and_so_do_the_others() {
    let place = Place::new("damaged-needed");
    let history = place.open(Bounds { policies: 100, bytes: 1 << 30, entries: 20 });
    let ids = runs(&history, 0..6);
    let path = manifest(&place, ids[5]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "").unwrap();
    drop(history);
    // No room at all: the one before is damaged, and neither it nor what it names goes.
    let history = place.open(Bounds { policies: 100, bytes: 1, entries: 20 });
    let last = runs(&history, 6..7)[0];
    assert_eq!(history.before(last), Ok(ids[5]));
    assert_eq!(told(&history, Lang::En).len(), 1);
    fs::write(&path, &whole).unwrap();
    assert!(history.load(ids[5]).is_ok() && history.load(last).is_ok());
    assert!(!history.is_kept(ids[4]), "what is not needed goes as it did");
    history.note(entry(last, How::Reload), &[]).unwrap();
    assert_eq!(stored(&place, "files").len(), 3, "and what was held goes when all can be read");

    // What is held for a needed one counts for nothing: it would push all others out, and there were no more room for it.
    let history = place.open(Bounds { policies: 100, bytes: 600, entries: 100 });
    let damaged = runs(&history, 20..21)[0];
    fs::write(manifest(&place, damaged), "").unwrap();
    let more = (21..71).map(|n| {
        let id = history.keep(&files(&format!("version {n}"))).unwrap();
        history.note(entry(id, How::Watch), &[damaged]).unwrap();
        id
    });
    let more: Vec<_> = more.collect();
    assert!(more[40..].iter().all(|id| history.load(*id).is_ok()) && !history.is_kept(more[0]));
    assert!(history.is_kept(damaged) && stored(&place, "files").len() > 50);
}

#[test]
fn the_manifest_of_what_runs_is_written_anew() {
    let place = Place::new("damaged-runs");
    let history = place.open(Bounds::default());
    let id = run(&history, "one", How::Start);
    fs::write(manifest(&place, id), "{").unwrap();
    history.note(entry(id, How::Reload), &[]).unwrap();
    assert!(!history.is_whole(id) && history.is_kept(id) && history.warnings().len() == 1);
    assert_eq!(history.keep(&files("one")).unwrap(), id);
    assert!(history.is_whole(id) && history.load(id).is_ok());
    assert_eq!(history.warnings(), []);
}

#[test]
fn a_status_names_some_of_many_that_are_damaged() {
    let place = Place::new("damaged-many");
    let history = place.open(Bounds::default());
    let ids = runs(&history, 0..8);
    ids[..5].iter().for_each(|id| fs::write(manifest(&place, *id), "{").unwrap());
    runs(&history, 8..9);
    let told = told(&history, Lang::Zh);
    assert_eq!((told.len(), told[3].as_str()), (4, "……另有 2 份策略的清单无法读取"));
    assert_eq!(stored(&place, "files").len(), 10);
}
