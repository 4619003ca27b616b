//! Modes and blocks in virtual time, and what survives a restart.

use super::audit::{AuditLog, OLDER_MAX};
use super::auto::{AutoWatch, Move, Sample};
use super::request::{BlockRequest, ModeRequest, REASON_MAX, Switch};
use super::state::{StateDirectory, candidates};
use super::*;
use crate::policy::Options;
use crate::policy::load_files;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const UNIX_MS: u64 = 1_800_000_000_000;

/// `seconds` after the start.
fn at(seconds: u64) -> Now {
    Now { at: Moment::from_nanos(seconds * 1_000_000_000), unix_ms: UNIX_MS + seconds * 1000 }
}

fn policy(auto: &str) -> Policy {
    let mode = format!("max_duration = \"2h\"\n{auto}[source]\nrate = 5\nburst = 5\n");
    let files = [
        (
            "gateway.toml",
            "schema = 1\n[[upstream]]\naddress = \"192.0.2.1\"\n[[route]]\nzone = \"corp.example\"\npool = \"default\"\n",
        ),
        ("limits.toml", "[source]\nrate = 100\nburst = 200\nslip = 3\n"),
        ("modes/attack.toml", &mode),
        ("modes/calm.toml", ""),
    ];
    let loaded = load_files(files.into_iter().collect(), &Options::default());
    loaded.unwrap_or_else(|report| panic!("{}", report.human("", false))).0
}

fn ann() -> Who {
    Who::named("ann")
}

fn pattern(text: &str) -> (Pattern, Action) {
    (Pattern::parse(text).unwrap(), Action::Nxdomain)
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// A directory of one test's own; removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-incidents-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_variant_has_the_limits_of_its_mode_and_shares_the_rest() {
    let policy = policy("");
    let variant = policy.in_mode(policy.mode("attack").unwrap());
    assert_eq!((variant.source.rate, variant.source.burst, variant.source.slip), (5, 5, 3), "what it lacks stays");
    assert_eq!(policy.source.rate, 100);
    assert!(std::sync::Arc::ptr_eq(&variant.access, &policy.access));
    assert!(std::sync::Arc::ptr_eq(&variant.server, &policy.server));
    assert_eq!(variant.id, policy.id);
    assert_eq!(policy.mode_like("atack"), Some("attack"));
}

#[test]
fn a_mode_ends_at_its_time_and_not_before() {
    let (policy, mut incidents) = (policy(""), Incidents::default());
    let record = incidents.enter(at(0), &ann(), policy.mode("attack").unwrap(), minutes(30), "storm");
    assert_eq!((record.event, record.what.as_str(), record.why.as_str()), (Event::Mode, "attack", "storm"));
    assert_eq!(record.until.as_deref(), Some("2027-01-15T08:30:00.000Z"));
    assert_eq!(incidents.expire(at(30 * 60 - 1)), []);
    assert!(incidents.mode().is_some());
    let ended = incidents.expire(at(30 * 60));
    assert_eq!((ended.len(), ended[0].event), (1, Event::ModeEnded));
    assert_eq!(incidents.mode(), None);
    assert_eq!(incidents.expire(at(9999)), [], "once");
}

#[test]
fn a_clock_that_is_set_neither_ends_nor_prolongs() {
    let mut incidents = Incidents::default();
    incidents.block(at(0), &ann(), pattern("bad.example"), minutes(10), "phish").unwrap();
    let set_forward = Now { unix_ms: UNIX_MS + 86_400_000, ..at(60) };
    assert_eq!(incidents.expire(set_forward), []);
    let set_back = Now { unix_ms: 0, ..at(600) };
    assert_eq!(incidents.expire(set_back).len(), 1);
}

#[test]
fn the_same_names_blocked_again_get_the_new_end_and_unblock_takes_exactly_them() {
    let mut incidents = Incidents::default();
    incidents.block(at(0), &ann(), pattern("bad.example"), minutes(10), "first").unwrap();
    incidents.block(at(60), &ann(), pattern("bad.example"), minutes(20), "again").unwrap();
    incidents.block(at(60), &ann(), pattern("=www.bad.example"), minutes(1), "other").unwrap();
    assert_eq!(incidents.blocks().len(), 2);
    assert_eq!(incidents.blocks()[0].term.reason, "again");
    assert_eq!(incidents.expire(at(120)).len(), 1, "each at its own time");
    let near = incidents.unblock(at(130), &ann(), &pattern("*.bad.example").0, "").unwrap_err();
    assert!(near.message.contains("did you mean \"bad.example\"?"), "{}", near.message);
    let record = incidents.unblock(at(130), &ann(), &pattern("bad.example").0, "gone").unwrap();
    assert_eq!(record.event, Event::Unblock);
    assert!(incidents.blocks().is_empty() && incidents.emergency(1).is_empty());
}

#[test]
fn there_are_no_more_rules_than_the_bound() {
    let mut incidents = Incidents::default();
    for n in 0..RULES_MAX {
        incidents.block(at(0), &ann(), pattern(&format!("n{n}.example")), minutes(10), "x").unwrap();
    }
    let full = incidents.block(at(0), &ann(), pattern("more.example"), minutes(10), "x").unwrap_err();
    assert_eq!(full.code, FailureCode::Full);
    assert!(incidents.block(at(0), &ann(), pattern("n7.example"), minutes(20), "x").is_ok(), "a known one is renewed");
    assert_eq!(incidents.emergency(1).len(), RULES_MAX);
}

#[test]
fn what_was_on_goes_on_after_a_restart_with_its_own_end() {
    let (policy, mut incidents) = (policy(""), Incidents::default());
    incidents.enter(at(0), &ann(), policy.mode("attack").unwrap(), minutes(30), "storm");
    incidents.block(at(0), &ann(), pattern("bad.example"), minutes(10), "phish").unwrap();
    incidents.block(at(0), &ann(), pattern("short.example"), minutes(1), "x").unwrap();
    let saved: Saved = serde_json::from_str(&serde_json::to_string(&incidents.saved()).unwrap()).unwrap();
    assert_eq!(saved, incidents.saved(), "survives the file");

    // Another process: its own monotonic clock begins anew, two minutes later.
    let restarted = Now { at: Moment::from_nanos(5_000_000_000), unix_ms: UNIX_MS + 120_000 };
    let (mut restored, records) = Incidents::restore(&saved, restarted, &policy);
    let mode = restored.mode().unwrap();
    assert_eq!((mode.name.as_str(), mode.term.until_unix_ms), ("attack", UNIX_MS + 1_800_000));
    assert_eq!((mode.term.reason.as_str(), &mode.term.by), ("storm", &ann()));
    assert_eq!(restored.blocks().len(), 1);
    let events: Vec<_> = records.iter().map(|record| record.event).collect();
    assert_eq!(events, [Event::ModeRestored, Event::BlockEnded], "{records:?}");
    restored.block(restarted, &ann(), pattern("new.example"), minutes(1), "x").unwrap();
    assert_eq!(restored.blocks()[1].rule.number, 3, "numbers are not used twice");
    let end = Now { at: restarted.at.plus(minutes(28)), ..restarted };
    assert_eq!(restored.expire(end).iter().filter(|record| record.event == Event::ModeEnded).count(), 1);
}

#[test]
fn a_restart_ends_what_is_over_and_what_the_policy_has_no_more() {
    let (policy, mut incidents) = (policy(""), Incidents::default());
    incidents.enter(at(0), &ann(), policy.mode("attack").unwrap(), minutes(30), "storm");
    let mut saved = incidents.saved();
    let (late, records) = Incidents::restore(&saved, at(1801), &policy);
    assert_eq!((late.mode(), records.len()), (None, 1));
    // The clock was set back by a year: not longer than any mode may last.
    let back = Now { unix_ms: UNIX_MS - 31_536_000_000, ..at(0) };
    let (mut back, _) = Incidents::restore(&saved, back, &policy);
    assert_eq!(back.expire(at(7200)).len(), 1);
    saved.mode.as_mut().unwrap().name = "gone".to_owned();
    let (gone, records) = Incidents::restore(&saved, at(1), &policy);
    assert!(gone.mode().is_none() && records[0].why.contains("does not have it"), "{records:?}");
}

#[test]
fn a_request_says_what_is_missing_or_wrong() {
    let policy = policy("");
    let mode = |name: &str, lasts: Option<&str>, reason: Option<&str>| {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let request = ModeRequest { name: Some(name.to_owned()), lasts: own(lasts), reason: own(reason) };
        request.check(&policy).map(drop).map_err(|failure| failure.message)
    };
    assert_eq!(mode("attack", Some("30m"), Some("storm")), Ok(()));
    assert_eq!(mode("normal", None, None), Ok(()));
    let long = "x".repeat(REASON_MAX + 1);
    for (name, lasts, reason, part) in [
        ("atack", Some("30m"), Some("x"), "did you mean \"attack\"?"),
        ("attack", None, Some("x"), "--for is needed"),
        ("attack", Some("soon"), Some("x"), "no duration"),
        ("attack", Some("3h"), Some("x"), "lasts 1s to 2h"),
        ("attack", Some("0s"), Some("x"), "out of bounds"),
        ("attack", Some("30m"), None, "--reason is needed"),
        ("attack", Some("30m"), Some("  "), "--reason is needed"),
        ("attack", Some("30m"), Some("a\nb"), "one line"),
        ("attack", Some("30m"), Some(&long), "256 bytes"),
        ("normal", Some("30m"), None, "leave --for out"),
    ] {
        let said = mode(name, lasts, reason).unwrap_err();
        assert!(said.contains(part), "{name} {lasts:?}: {said}");
    }
    assert!(matches!(ModeRequest::default().check(&policy), Ok(None)), "without a name it lists");

    let block = |name: &str, action: &str, force: bool| {
        let (lasts, reason) = (Some("1h".to_owned()), Some("x".to_owned()));
        let request = BlockRequest { name: name.to_owned(), lasts, reason, action: action.to_owned(), force };
        request.check(&policy).map(drop).map_err(|failure| failure.message)
    };
    assert_eq!(block("bad.example", "drop", false), Ok(()));
    assert_eq!(block("com", "nxdomain", true), Ok(()), "forced");
    for (name, action, part) in [
        ("com", "nxdomain", "--force"),
        ("corp.example", "nxdomain", "route of its own"),
        ("a..b", "nxdomain", "not a domain name"),
        ("bad.example", "nxdomian", "did you mean \"nxdomain\"?"),
    ] {
        let said = block(name, action, false).unwrap_err();
        assert!(said.contains(part), "{name}: {said}");
    }
}

#[test]
fn a_mode_enters_and_leaves_by_itself_and_never_against_a_person() {
    let policy = policy("auto = { when = \"overload > 100\", after = \"30s\", calm = \"60s\" }\n");
    let (mut watch, mut incidents) = (AutoWatch::default(), Incidents::default());
    let sample = |overload| Sample { overload, ..Sample::default() };
    let mut look = |seconds, overload, incidents: &Incidents| {
        watch.observe(at(seconds).at, &sample(overload), &policy, incidents.mode())
    };
    assert_eq!(look(0, 200, &incidents), None);
    assert_eq!(look(20, 50, &incidents), None, "not for long enough");
    assert_eq!(look(25, 200, &incidents), None);
    assert_eq!(look(54, 200, &incidents), None);
    let Some(Move::Enter(name, why)) = look(55, 200, &incidents) else { panic!("30 s are over") };
    assert!(why.contains("overload > 100 for 30 s"), "{why}");
    incidents.enter_by_itself(at(55), policy.mode(&name).unwrap(), &why);
    assert_eq!(look(60, 0, &incidents), None);
    assert_eq!(look(100, 300, &incidents), None, "not calm yet");
    assert_eq!(look(101, 0, &incidents), None);
    assert!(matches!(look(161, 0, &incidents), Some(Move::Leave(_))));

    // A person ends it while the condition holds: it does not come back before it has once been calm.
    incidents.enter_by_itself(at(200), policy.mode("attack").unwrap(), "x");
    assert_eq!(look(201, 300, &incidents), None);
    incidents.leave(at(202), &ann(), "false alarm");
    assert_eq!(look(300, 300, &incidents), None);
    assert_eq!(look(301, 0, &incidents), None);
    assert_eq!(look(302, 300, &incidents), None);
    assert!(matches!(look(332, 300, &incidents), Some(Move::Enter(..))));

    // What a person switched to stays, whatever is measured.
    incidents.enter(at(400), &ann(), policy.mode("attack").unwrap(), minutes(60), "drill");
    assert_eq!(look(401, 0, &incidents), None);
    assert_eq!(look(900, 0, &incidents), None, "its own end is the only one");
    incidents.enter(at(901), &ann(), policy.mode("calm").unwrap(), minutes(60), "other");
    assert_eq!(look(950, 500, &incidents), None);
    assert_eq!(look(999, 500, &incidents), None, "no mode takes the place of a chosen one");
}

#[test]
fn the_state_file_is_private_whole_and_set_aside_when_broken() {
    let place = Place::new("state");
    let directory = StateDirectory::open(&[PathBuf::from("/proc/none"), place.0.join("made")]).unwrap();
    assert_eq!(directory.load(1), Ok(None));
    let mut incidents = Incidents::default();
    incidents.block(at(0), &ann(), pattern("bad.example"), minutes(10), "phish").unwrap();
    directory.save(&incidents.saved()).unwrap();
    assert_eq!(directory.load(2), Ok(Some(incidents.saved())));
    let file = directory.path().join("state.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);

    for broken in ["", "{\"weir_state\":1,\"blocks\":[{\"na", "{\"weir_state\":9}", "\u{0}\u{0}"] {
        fs::write(&file, broken).unwrap();
        let said = directory.load(3).unwrap_err().english();
        assert!(said.contains("state.json.broken-3"), "{said}");
        assert_eq!(fs::read_to_string(directory.path().join("state.json.broken-3")).unwrap(), broken);
        assert_eq!(directory.load(4), Ok(None));
    }
    let held = StateDirectory::open(&[place.0.join("made"), place.0.join("other")]).unwrap_err();
    assert!(held.is_held && held.message.english().contains("another gateway"), "{held:?}");
    drop(directory);
    assert!(StateDirectory::open(&[place.0.join("made")]).is_ok(), "free again");
}

#[test]
fn the_state_is_where_the_service_manager_says_else_in_the_usual_places() {
    let of = |set: &[(&str, &str)]| {
        candidates(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    };
    let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(of(&[("STATE_DIRECTORY", "/a:/b"), ("HOME", "/h")]), paths(&["/a"]));
    assert_eq!(of(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), paths(&["/var/lib/weir", "/x/weir"]));
    assert_eq!(of(&[("HOME", "/h")]), paths(&["/var/lib/weir", "/h/.local/state/weir"]));
    assert_eq!(of(&[("XDG_STATE_HOME", "relative")]), paths(&["/var/lib/weir"]));
}

#[test]
fn the_audit_log_is_lines_of_json_and_bounded() {
    let place = Place::new("audit");
    fs::create_dir(&place.0).unwrap();
    let (log, record) = (AuditLog::new(&place.0, 1000), Record::new(at(0), &ann(), Event::Block, "nxdomain x", "why"));
    for _ in 0..100 {
        log.append(std::slice::from_ref(&record)).unwrap();
    }
    let mut files: Vec<_> = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 1 + OLDER_MAX as usize, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.len() < 1200 && text.ends_with('\n'), "{file:?}: {} bytes", text.len());
        assert!(text.lines().all(|line| serde_json::from_str::<Record>(line).unwrap() == record));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(Who::peer(0, None).name, "root");
    assert_eq!(Who::peer(4_000_000_000, None).name, "4000000000", "a user without a name");
}

#[test]
fn a_record_after_half_a_line_stands_by_itself() {
    let place = Place::new("half");
    fs::create_dir(&place.0).unwrap();
    let (log, record) =
        (AuditLog::new(&place.0, 1 << 20), Record::new(at(0), &ann(), Event::Block, "nxdomain x", "why"));
    log.append(std::slice::from_ref(&record)).unwrap();
    let (file, whole) = (place.0.join("audit.jsonl"), fs::read_to_string(place.0.join("audit.jsonl")).unwrap());
    fs::write(&file, format!("{whole}{}", &whole[..20])).unwrap();
    (0..2).for_each(|_| log.append(std::slice::from_ref(&record)).unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{whole}{}\n{whole}{whole}", &whole[..20]));
}

#[test]
fn a_switch_checks_against_the_modes_of_the_policy() {
    let policy = policy("");
    let request = ModeRequest { name: Some("calm".into()), lasts: Some("4h".into()), reason: Some(" tidy ".into()) };
    let Ok(Some(Switch::To(mode, lasts, reason))) = request.check(&policy) else { panic!("a sound request") };
    assert_eq!((mode.name.as_str(), lasts, reason.as_str()), ("calm", minutes(240), "tidy"));
}
