//! The layout on disk, the bounds, the way back, and directories that were left half replaced.

mod damaged;
mod lying;

use super::diff::{TEXT_MAX, diff};
use super::replace::{self, MARKER, Marker};
use super::*;
use crate::language::{Lang, Told as _};
use crate::policy::document::files::{FILES_MAX, LIST_MAX, TOML_MAX, paths};
use crate::policy::load::read_directory;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A directory of one test's own; removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-history-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self, bounds: Bounds) -> History {
        History::open(&self.0, bounds).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(version: &str) -> Files {
    let list = "a.example\n".repeat(1000);
    [("gateway.toml", version), ("lists/all.txt", &list), ("cookie.secrets", "s3cr3t")].into_iter().collect()
}

fn entry(id: PolicyId, how: How) -> Entry {
    let (time, who) = ("2027-01-15T08:00:00.000Z".to_owned(), Who::named("ann"));
    Entry { time, id, how, who, reason: "why".to_owned(), before: None }
}

/// Keeps a policy and notes that it came to run.
fn run(history: &History, version: &str, how: How) -> PolicyId {
    let id = history.keep(&files(version)).unwrap();
    history.note(entry(id, how), &[]).unwrap();
    id
}

fn stored(place: &Place, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(place.0.join("history").join(dir)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn contents_are_kept_once_compressed_private_and_without_secrets() {
    let place = Place::new("layout");
    let history = place.open(Bounds::default());
    let (one, two) = (run(&history, "one", How::Start), run(&history, "two", How::Apply));
    let mut names = [one, two].map(|id| format!("{}.json", id.hex()));
    names.sort();
    assert_eq!(stored(&place, "policies"), names);
    assert_eq!(stored(&place, "files").len(), 3, "two gateway.toml, one list, no secrets");
    let sizes: u64 = stored(&place, "files")
        .iter()
        .map(|name| fs::metadata(place.0.join("history/files").join(name)).unwrap().len())
        .sum();
    assert!(sizes < 500, "10 000 bytes of list take {sizes}");
    for path in paths(&place.0).unwrap() {
        let file = place.0.join(&path);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
        assert!(!String::from_utf8_lossy(&fs::read(&file).unwrap()).contains("s3cr3t"), "{path}");
    }
    for dir in ["history", "history/policies", "history/files"] {
        assert_eq!(fs::metadata(place.0.join(dir)).unwrap().permissions().mode() & 0o777, 0o700, "{dir}");
    }
    let kept = history.load(one).unwrap();
    assert_eq!(kept.files.bytes("lists/all.txt"), files("").bytes("lists/all.txt"));
    assert_eq!((kept.files.bytes("gateway.toml"), kept.files.bytes("cookie.secrets")), (Some(b"one".as_slice()), None));
    assert_eq!(kept.secrets["cookie.secrets"], objects::sha256(b"s3cr3t"));
}

#[test]
fn contents_that_are_not_what_they_were_are_not_taken() {
    let place = Place::new("broken");
    let history = place.open(Bounds::default());
    let one = run(&history, "one", How::Start);
    let file = place.0.join(format!("history/files/{}.gz", objects::sha256(b"one")));
    for broken in [&b""[..], b"one", b"\x1f\x8b\x08"] {
        fs::write(&file, broken).unwrap();
        let said = history.load(one).unwrap_err().english();
        assert!(said.contains("broken: gateway.toml"), "{said}");
    }
    let other =
        place.0.join(format!("history/files/{}.gz", objects::sha256(files("").bytes("lists/all.txt").unwrap())));
    // However it is cut or turned, the library's English does not get into the Chinese.
    let whole = fs::read(&other).unwrap();
    let turned = (0..whole.len()).map(|at| {
        let mut turned = whole.clone();
        turned[at] ^= 0x55;
        turned
    });
    for broken in (0..whole.len()).map(|len| whole[..len].to_vec()).chain(turned) {
        fs::write(&file, &broken).unwrap();
        let told = history.load(one).unwrap_err().to(Lang::Zh);
        let cause = told.split('：').skip(2).collect::<String>();
        let words = cause.split(' ').filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
        assert!(!cause.is_empty() && words.count() <= 1, "{told}");
    }
    fs::copy(other, &file).unwrap();
    assert!(history.load(one).unwrap_err().english().contains("broken: gateway.toml"));
}

/// A manifest that somebody wrote into, or a failing disk, must not fill the disk with what it asks for.
#[test]
fn a_manifest_that_asks_for_more_than_a_policy_may_have_is_not_unpacked() {
    let place = Place::new("greedy");
    let history = place.open(Bounds::default());
    let one = run(&history, "one", How::Start);
    let manifest = place.0.join(format!("history/policies/{}.json", one.hex()));
    let gateway = objects::sha256(b"one");
    let load = |bytes: &[u64], extension: &str| {
        let file = |(n, bytes)| format!(r#"{{"path":"lists/{n}.{extension}","sha256":"{gateway}","bytes":{bytes}}}"#);
        let files: Vec<_> = bytes.iter().enumerate().map(file).collect();
        fs::write(&manifest, format!(r#"{{"weir_policy":1,"files":[{}]}}"#, files.join(","))).unwrap();
        history.load(one).map(|kept| kept.files.iter().count()).map_err(|told| told.to(Lang::Zh))
    };
    let cannot = |why: &str| Err(format!("无法读取历史中的策略 {one}：{why}"));
    assert_eq!(load(&[3; 64], "txt"), Ok(64));
    let too_much = cannot("策略的文件合计超过 2048 MiB");
    assert_eq!(load(&[LIST_MAX; 9], "txt"), too_much);
    assert_eq!(load(&[&[LIST_MAX; 8][..], &[1]].concat(), "txt"), too_much, "by one byte");
    assert_eq!(load(&[LIST_MAX + 1], "txt"), cannot("lists/0.txt 超过 256 MiB"));
    assert_eq!(load(&[u64::MAX; 2], "txt"), cannot("lists/0.txt 超过 256 MiB"), "no sum runs over");
    assert_eq!(load(&[TOML_MAX + 1], "toml"), cannot("lists/0.toml 超过 4 MiB"));
    assert_eq!(load(&[3; FILES_MAX + 1], "txt"), cannot("其中的文件超过 4096 个"));
    fs::write(&manifest, vec![b' '; 9 << 20]).unwrap();
    let told = history.load(one).unwrap_err().english();
    assert_eq!(told, format!("policy {one} of the history cannot be read: it is larger than 8 MiB"));
    assert_eq!(stored(&place, "files").len(), 2, "nothing lies beside what is kept");
}

#[test]
fn a_line_that_a_crash_cut_off_is_taken_away_and_the_rest_stays() {
    let place = Place::new("torn");
    let path = place.0.join("history/index.jsonl");
    let (one, two) = {
        let history = place.open(Bounds::default());
        (run(&history, "one", How::Start), run(&history, "two", How::Watch))
    };
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for len in 0..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let history = place.open(Bounds::default());
        let ids: Vec<_> = history.entries().iter().map(|entry| entry.id).collect();
        // A line is whole with its last brace, with or without the line end.
        let lines = usize::from(len + 1 >= first) + usize::from(len + 1 >= whole.len());
        assert_eq!(ids, [one, two][..lines], "cut at {len}");
        let three = run(&history, "three", How::Reload);
        drop(history);
        assert_eq!(place.open(Bounds::default()).entries().last().unwrap().id, three, "cut at {len}");
    }
}

#[test]
fn the_way_back_goes_further_with_each_step_and_never_in_a_circle() {
    let place = Place::new("back");
    let history = place.open(Bounds::default());
    let [a, b, c] = [("a", How::Start), ("b", How::Apply), ("c", How::Watch)].map(|(v, how)| run(&history, v, how));
    assert_eq!(history.before(c), Ok(b));
    history.note(entry(b, How::Rollback), &[]).unwrap();
    assert_eq!(history.before(b), Ok(a), "and not to c, from which it came");
    let aside = run(&history, "aside", How::SetAside);
    assert_eq!(history.last().unwrap().id, b, "what never ran is not on the way");
    history.note(entry(a, How::Rollback), &[]).unwrap();
    assert!(history.before(a).unwrap_err().english().contains("no policy ran before"));
    history.note(entry(c, How::Rollback), &[]).unwrap();
    assert_eq!(history.before(c), Ok(b), "called by its id it has its own way back again");
    history.note(entry(c, How::Apply), &[]).unwrap();
    assert_eq!(history.before(c), Ok(b), "the same again is no step");

    assert_eq!(history.resolve(&a.hex()), Ok(a));
    assert_eq!(history.resolve(&aside.to_string().to_uppercase()), Ok(aside));
    assert!(history.resolve("abc").unwrap_err().english().contains("at least 4"));
    assert!(history.resolve("no-id").unwrap_err().english().contains("not the id"));
}

#[test]
fn the_oldest_go_first_and_never_what_is_needed() {
    let place = Place::new("bounds");
    let history = place.open(Bounds { policies: 3, bytes: 1 << 30, entries: 20 });
    let first = run(&history, "first", How::Start);
    let apply = Unconfirmed {
        id: first,
        back_to: first,
        directory: place.0.clone(),
        since_unix_ms: 0,
        until_unix_ms: 1,
        by: Who::weir(),
        reason: String::new(),
    };
    history.set_unconfirmed(Some(&apply)).unwrap();
    let ids: Vec<_> = (0..40).map(|n| run(&history, &format!("version {n}"), How::Watch)).collect();
    assert!(history.is_kept(first), "an apply that is not confirmed would go back to it");
    assert!(history.is_kept(ids[39]) && history.is_kept(ids[38]) && !history.is_kept(ids[37]));
    assert_eq!(stored(&place, "policies").len(), 3);
    assert_eq!(stored(&place, "files").len(), 4, "what no policy names is gone");
    assert!(history.entries().len() <= 20);
    assert!(history.resolve(&ids[37].hex()).unwrap_err().english().contains("not kept any more"));
    history.set_unconfirmed(None).unwrap();
    run(&history, "one more", How::Watch);
    assert!(!history.is_kept(first));

    // Bytes: room for nothing, and what is needed is there all the same.
    drop(history);
    let history = place.open(Bounds { policies: 100, bytes: 1, entries: 20 });
    let (a, b, c) = (run(&history, "a", How::Watch), run(&history, "b", How::Watch), run(&history, "c", How::Watch));
    assert_eq!([a, b, c].map(|id| history.is_kept(id)), [false, true, true], "what runs and the one before");
    history.note(entry(b, How::Rollback), &[c]).unwrap();
    assert!(history.load(b).is_ok() && history.load(c).is_ok());
}

/// Makes `policy` of the place a directory with the files of a version and some that are not of it.
fn directory(place: &Place, version: &str) -> PathBuf {
    place.write("policy/gateway.toml", version);
    place.write("policy/filters/10-a.toml", version);
    place.write("policy/README.md", "ours");
    place.write("policy/.git/config", "ours");
    place.write("policy/cookie.secrets", "s3cr3t");
    place.0.join("policy")
}

fn next() -> Files {
    let files = [("gateway.toml", "next"), ("filters/20-b.toml", "next"), ("lists/deep/x.txt", "x.example\n")];
    files.into_iter().collect()
}

#[test]
fn a_directory_becomes_exactly_the_files_and_keeps_what_is_not_of_the_policy() {
    let place = Place::new("put");
    let dir = directory(&place, "old");
    place.write("policy/notes.toml", "a stranger");
    fs::set_permissions(dir.join("gateway.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(replace::put(&dir, &next()).unwrap(), 4);
    assert_eq!(
        paths(&dir).unwrap(),
        ["cookie.secrets", "filters/20-b.toml", "gateway.toml", "lists/deep/x.txt", "notes.toml"]
    );
    for (path, text) in [("cookie.secrets", "s3cr3t"), ("README.md", "ours"), (".git/config", "ours")] {
        assert_eq!(fs::read_to_string(dir.join(path)).unwrap(), text);
    }
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("gateway.toml"), mode("lists/deep/x.txt")), (0o640, 0o640), "new files are like gateway.toml");
    assert_eq!(mode("lists/deep"), fs::metadata(&dir).unwrap().permissions().mode() & 0o777);
    assert_eq!(replace::put(&dir, &next()).unwrap(), 0, "what is equal is not touched");
}

#[test]
fn wherever_replacing_broke_off_it_is_settled_on_what_the_marker_names() {
    let place = Place::new("settle");
    let history = place.open(Bounds::default());
    let dir = directory(&place, "old");
    let (old, _) = read_directory(&dir).unwrap();
    let (old_id, next_id) = (history.keep(&old).unwrap(), history.keep(&next()).unwrap());
    assert_eq!(replace::settle(&dir, Some(&history)), Ok(None), "nothing to do");
    // All states that replacing goes through: each file old or new, in any order, and a file that is not whole.
    let steps: [&dyn Fn(); 4] = [
        &|| place.write("policy/gateway.toml", "next"),
        &|| place.write("policy/filters/20-b.toml", "next"),
        &|| place.write("policy/lists/deep/x.txt", "x.example\n"),
        &|| fs::remove_file(dir.join("filters/10-a.toml")).unwrap(),
    ];
    for settle_on in [old_id, next_id] {
        for state in 0..1_u32 << steps.len() {
            replace::put(&dir, &old).unwrap();
            replace::begin(&dir, &Marker { settle_on, state: place.0.clone() }).unwrap();
            (0..steps.len()).filter(|n| state >> n & 1 == 1).for_each(|n| steps[n]());
            place.write("policy/filters/.weir-fresh", "ha");
            assert_eq!(replace::settle(&dir, Some(&history)), Ok(Some(settle_on)));
            let (settled, _) = read_directory(&dir).unwrap();
            let mut wanted = history.load(settle_on).unwrap().files;
            wanted.insert("cookie.secrets", "s3cr3t");
            assert_eq!(PolicyId::of(&settled), PolicyId::of(&wanted), "state {state:b}");
            assert!(!dir.join(MARKER).exists() && !dir.join("filters/.weir-fresh").exists());
        }
    }
    replace::begin(&dir, &Marker { settle_on: next_id, state: place.0.clone() }).unwrap();
    let said = replace::settle(&dir, None).unwrap_err().english();
    assert!(said.contains("--state") && dir.join(MARKER).exists(), "{said}");
    let gone = Marker { settle_on: PolicyId([7; 16]), state: place.0.clone() };
    replace::begin(&dir, &gone).unwrap();
    assert!(replace::settle(&dir, Some(&history)).unwrap_err().english().contains("not kept any more"));
    fs::write(dir.join(MARKER), "{").unwrap();
    assert!(replace::settle(&dir, Some(&history)).unwrap_err().english().contains(MARKER));
}

#[test]
fn a_diff_is_bounded_however_long_the_lists_are() {
    let list = |from: usize| (from..from + 300_000).map(|n| format!("host{n:06}.example\n")).collect::<String>();
    let side = |list: String| Kept::from([("lists/a.txt", list)].into_iter().collect::<Files>());
    let (a, b) = (side(list(0)), side(list(5)));
    let few = diff(("a", &a), ("b", &b));
    assert_eq!((few.list_lines.added, few.list_lines.removed, few.is_cut), (5, 5, false));
    assert!(few.text.contains("-host000004.example") && few.text.contains("+host300004.example"), "{}", few.text);
    let all = diff(("a", &a), ("b", &side(list(500_000))));
    assert_eq!((all.list_lines.added, all.is_cut), (300_000, true));
    assert!(all.text.len() <= TEXT_MAX && all.text().english().contains("cut off"));
}

#[test]
fn a_large_file_whose_lines_only_changed_places_is_told_of() {
    let names = || (0..100_000).map(|n| format!("host{n:06}.example\n"));
    let side = |list: String| Kept::from([("lists/a.txt", list)].into_iter().collect::<Files>());
    let turned = diff(("a", &side(names().collect())), ("b", &side(names().rev().collect())));
    assert_eq!((turned.list_lines.added, turned.list_lines.removed, turned.is_cut), (0, 0, false));
    assert!(turned.text.ends_with("@@ unordered @@\nthe same lines, in another order or number, or other comments\n"));
}

/// Of a policy zone among the filters too, and from the disk: what is kept is unpacked there.
#[test]
fn a_diff_of_what_is_kept_has_no_large_file_in_memory() {
    let place = Place::new("large-diff");
    let history = place.open(Bounds::default());
    let zone =
        |from: usize| (from..from + 100_000).map(|n| format!("host{n:06}.example CNAME .\n")).collect::<String>();
    let [a, b] = [0, 2].map(|from| {
        let files = [("filters/10-z.rpz", zone(from)), ("gateway.toml", from.to_string())].into_iter().collect();
        history.load(history.keep(&files).unwrap()).unwrap()
    });
    for side in [&a, &b] {
        assert!(side.files.contents("filters/10-z.rpz").unwrap().in_memory().is_none());
        assert!(side.files.contents("gateway.toml").unwrap().in_memory().is_some());
    }
    assert_eq!(stored(&place, "files").len(), 4, "nothing is left beside what is kept");
    let diff = diff(("a", &a), ("b", &b));
    assert_eq!((diff.list_lines.added, diff.list_lines.removed, diff.files.changed), (2, 2, 2));
    let zone = "--- a/filters/10-z.rpz\n+++ b/filters/10-z.rpz\n@@ unordered @@\n-host000000.example CNAME .\n-host000001.example \
                CNAME .\n+host100000.example CNAME .\n+host100001.example CNAME .\n--- a/gateway.toml\n";
    assert!(diff.text.starts_with(zone), "{}", diff.text);
}

#[test]
fn a_diff_does_not_speak_to_the_terminal() {
    let side = |text: &str| Kept::from([("lists/a.txt", text)].into_iter().collect::<Files>());
    let shown = diff(("a", &side("")), ("b", &side("\u{1b}[2Jx.example\r\n"))).text().english();
    assert!(shown.contains("+\\u{1b}[2Jx.example\\r\n") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_diff_shows_no_secrets() {
    let side =
        |secret: &str| Kept::from([("cookie.secrets", secret), ("gateway.toml", "x")].into_iter().collect::<Files>());
    let diff = diff(("a", &side("s3cr3t")), ("b", &side("oth3r")));
    assert_eq!((diff.files.changed, diff.text.as_str(), diff.secrets.len()), (1, "", 1));
    assert!(diff.text().english().starts_with("cookie.secrets differs: secrets are not shown\nfiles +0 -0 ~1"));
}

#[test]
fn files_that_lie_there_as_they_are_kept_need_no_unpacking_and_others_are_unpacked() {
    let place = Place::new("beside");
    let history = place.open(Bounds::default());
    let id = run(&history, "one", How::Start);
    let dir = place.0.join("dir");
    // The list lies there as it is kept, gateway.toml is of the same length and says something else.
    place.write("dir/gateway.toml", "two");
    place.write("dir/lists/all.txt", &"a.example\n".repeat(1000));
    let contents = stored(&place, "files");
    let list = contents.iter().map(|name| place.0.join("history/files").join(name));
    let list = list.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(&list).unwrap();
    assert!(history.load(id).is_err(), "the kept list is gone");
    let kept = history.load_beside(id, Some(&dir)).unwrap();
    assert_eq!(kept.files.bytes("gateway.toml"), Some(&b"one"[..]), "what lies there is not taken for what is kept");
    assert_eq!(kept.files.bytes("lists/all.txt").map(<[u8]>::len), Some(10_000));
}

#[test]
fn what_is_written_into_while_it_is_to_be_kept_is_not_kept() {
    let place = Place::new("written-into");
    let history = place.open(Bounds::default());
    let list = |name: &str| format!("{name}.example\n").repeat(200_000);
    place.write("policy/gateway.toml", "schema = 1\n");
    place.write("policy/lists/all.txt", &list("a"));
    let dir = place.0.join("policy");
    let read = || read_directory(&dir).unwrap().0;
    let files = read();
    assert!(files.contents("lists/all.txt").unwrap().in_memory().is_none(), "it stays on the disk");
    // One moved over it is another file: what was read is kept.
    place.write("policy/lists/fresh.txt", &list("b"));
    fs::rename(dir.join("lists/fresh.txt"), dir.join("lists/all.txt")).unwrap();
    let id = history.keep(&files).unwrap();
    assert_eq!(history.load(id).unwrap().files.digest(), files.digest());
    assert_eq!(
        history.load(id).unwrap().files.contents("lists/all.txt").unwrap().whole().unwrap(),
        list("a").as_bytes()
    );
    // Written into, nobody knows any more what it was.
    let files = read();
    place.write("policy/lists/all.txt", &list("c"));
    let error = history.keep(&files).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(!history.is_kept(PolicyId::of(&files)));
    let hidden = |name: &String| name.starts_with('.');
    assert!(!stored(&place, "files").iter().any(hidden), "nothing is left half written");
    let id = history.keep(&read()).unwrap();
    assert_eq!(PolicyId::of(&history.load(id).unwrap().files), id);
}

#[test]
fn what_could_not_be_read_again_is_not_kept() {
    let place = Place::new("too-much-to-keep");
    let history = place.open(Bounds::default());
    let many = |most: usize| (0..most).map(|n| (format!("lists/{n}.txt"), "")).collect::<Files>();
    // 1,400 paths of 6,000 bytes each, when they are written as JSON.
    let escaped = (0..1_400).map(|n| (format!("lists/{n:04}{}.txt", "\u{1}".repeat(1_000)), "")).collect::<Files>();
    for (files, told) in [(many(FILES_MAX + 1), "其中的文件超过 4096 个"), (escaped, "超过 8 MiB")] {
        let error = history.keep(&files).unwrap_err();
        assert!(Text::of_io(&error).to(Lang::Zh).contains(told), "{error}");
        assert!(!history.is_kept(PolicyId::of(&files)));
        assert_eq!((stored(&place, "policies"), stored(&place, "files")), (vec![], vec![]), "nothing is left of it");
    }
    let most = many(FILES_MAX);
    assert_eq!(history.load(history.keep(&most).unwrap()).unwrap().files.digest(), most.digest());
}
