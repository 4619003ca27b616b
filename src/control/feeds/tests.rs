//! The age of feeds, and when they are looked at first, in virtual time.

use super::awaited::Awaited;
use super::*;
use crate::language::Told as _;

const DAY_MS: u64 = 86_400_000;

fn at(unix_ms: u64) -> Now {
    Now { at: Moment::from_nanos(0), unix_ms }
}

/// A feed whose copy in force was confirmed at `confirmed`, if there is one.
fn feed(text: &str, confirmed: Option<u64>, now: u64) -> Feed {
    let (settings, store) = (Arc::new(test_feed("x", text)), Store::open(None));
    if let Some(confirmed) = confirmed {
        let manifest = Manifest { entries: 1, serial: Some(7), ..Manifest::of(b"x", "https://a/".into(), confirmed) };
        store.commit("x", &Arc::new(Copy { content: b"x".to_vec().into(), manifest })).unwrap();
    }
    Feed::new(&settings, &store, at(now))
}

const URL: &str = "url = \"https://a.example/\"\nage_max = \"2d\"\nrefresh = \"1h\"\n";
const ZONE: &str = "primary = \"192.0.2.1\"\nzone = \"a.example\"\nage_max = \"2d\"\n";

#[test]
fn a_copy_that_nobody_confirms_grows_old() {
    let feed = feed(URL, Some(DAY_MS), DAY_MS);
    assert!(!feed.status(at(3 * DAY_MS)).is_old, "two days are what it may be");
    let old = feed.status(at(3 * DAY_MS + 1));
    assert!(old.is_old && old.entries == Some(1), "it stays in force: {old:#?}");
    assert!(old.warnings()[0].english().contains("was confirmed 2 d ago"), "{:?}", old.warnings());
    assert!(old.line().english().starts_with("OLD"), "{old:?}");
    assert!(!feed.status(at(0)).is_old, "a clock that was set back makes nothing old");
}

#[test]
fn an_alert_is_raised_for_as_long_as_a_copy_is_too_old() {
    let desk = FeedDesk::new(Arc::new(Store::open(None)), Clock::start());
    let feed = Arc::new(feed(URL, Some(DAY_MS), DAY_MS));
    lock(&desk.feeds).insert("x".to_owned(), (Arc::clone(&feed), None));
    let raised = |unix_ms| {
        let mut raised = Vec::new();
        desk.watch_ages(at(unix_ms), &mut |alert| raised.push(alert));
        raised
    };
    assert_eq!(raised(3 * DAY_MS), []);
    for later in [1_000, 2_000] {
        let [alert] = raised(3 * DAY_MS + later)[..] else { panic!("one, each time") };
        assert_eq!((alert.kind, alert.subject.text().english().as_str()), (AlertKind::OldFeed, "x"));
        assert_eq!(alert.numbers.age_s, (2 * 86_400 + later / 1_000, 2 * 86_400));
        assert!(crate::control::top::why(&alert).english().contains("not confirmed for 2 d"));
    }
    if let Some(manifest) = &mut lock(&feed.state).manifest {
        manifest.confirmed_unix_ms = 3 * DAY_MS;
    }
    assert_eq!(raised(3 * DAY_MS + 3_000), [], "it was confirmed");
}

#[test]
fn what_never_came_is_missed_after_the_same_time() {
    let feed = feed(URL, None, DAY_MS);
    assert!(!feed.status(at(2 * DAY_MS)).is_old);
    let missed = feed.status(at(4 * DAY_MS));
    assert!(missed.warnings()[0].english().contains("has never come"), "{:?}", missed.warnings());
}

#[test]
fn a_zone_is_as_good_as_its_soa_says() {
    let feed = feed(ZONE, Some(DAY_MS), DAY_MS);
    assert!(!feed.status(at(3 * DAY_MS)).is_old);
    lock(&feed.state).expire = Some(Duration::from_secs(3_600));
    assert!(feed.status(at(DAY_MS + 3_600_001)).is_old, "its primary was not reached for longer than expire");
    lock(&feed.state).expire = Some(Duration::from_secs(86_400 * 30));
    assert!(feed.status(at(3 * DAY_MS + 1)).is_old, "age_max holds as well");
    lock(&feed.state).expire = Some(Duration::ZERO);
    assert!(!feed.status(at(3 * DAY_MS)).is_old, "an expire of 0 is a mistake, not a wish");
}

#[test]
fn a_start_is_no_reason_to_fetch_a_list_again() {
    let waits = |text: &str, confirmed, now| feed(text, confirmed, now).status(at(now)).next_s;
    assert_eq!(waits(URL, Some(DAY_MS), DAY_MS + 600_000), 3_000, "it would have been due in 50 minutes");
    assert_eq!(waits(URL, Some(DAY_MS), 2 * DAY_MS), 0, "it is overdue");
    assert_eq!(waits(URL, None, DAY_MS), 0, "there is none");
    assert_eq!(waits(ZONE, Some(DAY_MS), DAY_MS), 0, "a NOTIFY may have been missed");
}

#[test]
fn the_state_of_each_is_one_word_and_its_numbers() {
    let zone = feed(ZONE, Some(DAY_MS), DAY_MS);
    let text = zone.status(at(DAY_MS)).line().english();
    assert!(text.starts_with("ok, a.example of 192.0.2.1:53, 1 entries in 1 B, confirmed 0 s ago, serial 7"), "{text}");
    zone.progress.enter(Phase::Receiving);
    zone.progress.expect(2048);
    zone.progress.add(1024);
    assert!(zone.status(at(DAY_MS)).line().english().contains("receiving (1 KiB of 2 KiB)"));
    lock(&zone.state).last_error = Some(Text::verbatim("no route"));
    assert!(zone.status(at(DAY_MS)).line().english().contains("FAILING"), "a failure is told before it is old");
}

#[tokio::test]
async fn accepting_a_copy_leaves_one_that_came_meanwhile_waiting() {
    let store = Arc::new(Store::open(None));
    let copy = |text: &str| {
        let manifest = Manifest { entries: 1, ..Manifest::of(text.as_bytes(), "https://a.example/".into(), 1) };
        Arc::new(Copy { content: text.as_bytes().to_vec().into(), manifest })
    };
    store.hold("x", &copy("one")).unwrap();
    let desk = FeedDesk::new(Arc::clone(&store), Clock::start());
    let feed = Arc::new(Feed::new(&Arc::new(test_feed("x", URL)), &store, at(DAY_MS)));
    lock(&desk.feeds).insert("x".to_owned(), (Arc::clone(&feed), None));
    let (asker, mut jobs) = Asker::answered_by_a_test();
    let reloads = async {
        let (order, asked) = jobs.recv().await.expect("it is ordered");
        assert_eq!(order.feed.as_ref().map(|feed| &feed.copy), Some(&copy("one")));
        assert!(order.force, "whoever accepts it has heard what the guard said");
        // Another comes, and waits as well.
        store.hold("x", &copy("two")).unwrap();
        let mut state = lock(&feed.state);
        (state.held, state.last_error) =
            (Some((copy("two").manifest.clone(), Text::verbatim("x"))), Some(Text::verbatim("x")));
        drop(state);
        let reloaded = Reloaded {
            policy: String::new(),
            generation: 2,
            changed: true,
            duration_ms: 1,
            changes: crate::control::changes::Changes::default(),
            warnings: Vec::new(),
        };
        asked.send(Ok(reloaded)).expect("it is waited for");
    };
    let (accepted, ()) = tokio::join!(desk.accept("x", Who::named("test"), &asker), reloads);
    assert_eq!(accepted.map(|reloaded| reloaded.generation), Ok(2));
    assert_eq!(store.held("x").unwrap().unwrap(), copy("two"));
    let status = feed.status(at(DAY_MS));
    assert!(status.held.is_some() && status.last_error.is_some(), "{status:?}");
}

#[test]
fn whoever_waits_for_a_look_hears_of_a_feed_that_a_reload_replaced_or_took_away() {
    let desk = FeedDesk::new(Arc::new(Store::open(None)), Clock::start());
    let put = |since: u64, looks: u64| {
        let feed = Arc::new(feed(URL, Some(DAY_MS), since));
        lock(&feed.state).looks = looks;
        lock(&desk.feeds).insert("x".to_owned(), (Arc::clone(&feed), None));
        feed
    };
    let now = || desk.list(None).unwrap();
    let is_done = |awaited: &Awaited| awaited.is_done(&now().feeds[0]);
    let old = put(DAY_MS, 5);
    lock(&old.state).is_looking = true;
    let mut awaited = Awaited::default();
    awaited.add(&desk.refresh(Some("x")).unwrap());
    lock(&old.state).looks = 6;
    assert!(!is_done(&awaited) && awaited.replaced(&now()).is_empty(), "that look began before");

    // Another of the same name, which nobody has asked and whose looks begin at nothing.
    let new = put(DAY_MS + 1, 0);
    assert_eq!((is_done(&awaited), awaited.replaced(&now())), (false, vec!["x".to_owned()]));
    awaited.add(&desk.refresh(Some("x")).unwrap());
    assert!(lock(&new.state).schedule.next <= desk.clock.moment(), "it is looked at now");
    assert!(!is_done(&awaited) && awaited.replaced(&now()).is_empty());
    lock(&new.state).looks = 1;
    assert!(is_done(&awaited), "although that is less than what the one before had");
    // Many looks of one that was never asked are not the one that is waited for.
    put(DAY_MS + 2, 9);
    assert!(!is_done(&awaited));

    lock(&desk.feeds).clear();
    assert!(awaited.take_gone(&now()) == ["x"] && awaited.take_gone(&now()).is_empty(), "it is told once");
}
