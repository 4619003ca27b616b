//! What a schedule says about each second around the days on which clocks are changed, and what of it is refused.

use super::*;
use crate::policy::document::instant::{parse, show};
use crate::policy::document::probe;
use jiff::civil::Weekday;
use proptest::prelude::*;

fn schedules(zone: &str, windows: &str) -> Schedules {
    let text = format!("[[schedule]]\nname = \"it\"\ntz = \"{zone}\"\nwindows = [{windows}]\n");
    let (schedules, faults) = probe::read(&text, Schedules::read);
    assert_eq!(faults, Vec::<String>::new(), "{text}");
    schedules
}

fn is_active(schedules: &Schedules, unix_ms: u64) -> bool {
    schedules.at(unix_ms).schedules.contains(0)
}

/// Every change between two times: when, and to what.
fn changes(schedules: &Schedules, from: &str, to: &str) -> Vec<(String, bool)> {
    let (mut now, end) = (parse(from).unwrap(), parse(to).unwrap());
    let mut active = schedules.at(now);
    let mut changes = Vec::new();
    while active.until_ms < end {
        let before = active.schedules.contains(0);
        assert_eq!(is_active(schedules, active.until_ms - 1), before, "no change is missed at {}", show(now));
        assert!(active.until_ms > now, "time goes on at {}", show(now));
        now = active.until_ms;
        active.go_to(now, schedules);
        if active.schedules.contains(0) != before {
            changes.push((show(now), !before));
        }
    }
    changes
}

fn expect(zone: &str, windows: &str, (from, to): (&str, &str), expected: &[(&str, bool)]) {
    let found = changes(&schedules(zone, windows), from, to);
    let expected: Vec<_> = expected.iter().map(|(at, active)| ((*at).to_owned(), *active)).collect();
    assert_eq!(found, expected, "{zone} {windows}");
}

/// Berlin's clocks go from 02:00 to 03:00 at 01:00 UTC.
const BERLIN_SPRING: (&str, &str) = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
/// And from 03:00 back to 02:00 at 01:00 UTC.
const BERLIN_AUTUMN: (&str, &str) = ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");

#[test]
fn a_zone_without_summer_time_is_the_same_all_year() {
    let office = "{ days = [\"mon-fri\"], from = \"09:00\", to = \"18:00\" }";
    let expected = [("2026-03-27T01:00:00Z", true), ("2026-03-27T10:00:00Z", false), ("2026-03-30T01:00:00Z", true)];
    expect("Asia/Shanghai", office, ("2026-03-26T12:00:00Z", "2026-03-30T02:00:00Z"), &expected);
}

#[test]
fn a_window_keeps_to_the_clock_on_the_wall_when_clocks_are_changed() {
    let office = "{ from = \"09:00\", to = \"17:00\" }";
    expect(
        "Europe/Berlin",
        office,
        ("2026-03-28T12:00:00Z", "2026-03-29T16:00:00Z"),
        &[("2026-03-28T16:00:00Z", false), ("2026-03-29T07:00:00Z", true), ("2026-03-29T15:00:00Z", false)],
    );
    expect(
        "America/New_York",
        office,
        ("2026-10-31T12:00:00Z", "2026-11-01T23:00:00Z"),
        &[
            ("2026-10-31T13:00:00Z", true),
            ("2026-10-31T21:00:00Z", false),
            ("2026-11-01T14:00:00Z", true),
            ("2026-11-01T22:00:00Z", false),
        ],
    );
}

#[test]
fn a_night_is_an_hour_shorter_or_longer() {
    let night = "{ days = [\"sat\"], from = \"22:00\", to = \"06:00\" }";
    expect("Europe/Berlin", night, BERLIN_SPRING, &[("2026-03-28T21:00:00Z", true), ("2026-03-29T04:00:00Z", false)]);
    expect("Europe/Berlin", night, BERLIN_AUTUMN, &[("2026-10-24T20:00:00Z", true), ("2026-10-25T05:00:00Z", false)]);
    let other_day = "{ days = [\"sun\"], from = \"22:00\", to = \"06:00\" }";
    expect("Europe/Berlin", other_day, BERLIN_SPRING, &[]);
}

#[test]
fn what_the_clock_leaves_out_does_not_come() {
    let berlin = |windows, expected: &[(&str, bool)]| expect("Europe/Berlin", windows, BERLIN_SPRING, expected);
    berlin("{ from = \"02:15\", to = \"02:45\" }", &[]);
    berlin("{ from = \"02:00\", to = \"03:00\" }", &[]);
    berlin("{ from = \"02:30\", to = \"05:00\" }", &[("2026-03-29T01:00:00Z", true), ("2026-03-29T03:00:00Z", false)]);
    berlin("{ from = \"01:00\", to = \"02:30\" }", &[("2026-03-29T00:00:00Z", true), ("2026-03-29T01:00:00Z", false)]);
    let across = "{ from = \"01:00\", to = \"04:00\" }";
    berlin(across, &[("2026-03-29T00:00:00Z", true), ("2026-03-29T02:00:00Z", false)]);
    let new_york = ("2026-03-08T00:00:00-05:00", "2026-03-08T12:00:00-04:00");
    expect("America/New_York", "{ from = \"02:10\", to = \"02:50\" }", new_york, &[]);
    // Where clocks go from 00:00 to 01:00, the day begins at 01:00.
    let cairo = ("2026-04-23T12:00:00Z", "2026-04-24T12:00:00Z");
    let friday = "{ days = [\"fri\"], from = \"00:00\", to = \"06:00\" }";
    expect("Africa/Cairo", friday, cairo, &[("2026-04-23T22:00:00Z", true), ("2026-04-24T03:00:00Z", false)]);
}

#[test]
fn what_the_clock_shows_twice_counts_twice() {
    let berlin = |windows, expected: &[(&str, bool)]| expect("Europe/Berlin", windows, BERLIN_AUTUMN, expected);
    berlin("{ from = \"02:00\", to = \"03:00\" }", &[("2026-10-25T00:00:00Z", true), ("2026-10-25T02:00:00Z", false)]);
    berlin(
        "{ from = \"01:00\", to = \"02:30\" }",
        &[
            ("2026-10-24T23:00:00Z", true),
            ("2026-10-25T00:30:00Z", false),
            ("2026-10-25T01:00:00Z", true),
            ("2026-10-25T01:30:00Z", false),
        ],
    );
    berlin(
        "{ from = \"02:30\", to = \"04:00\" }",
        &[
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:00:00Z", false),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T03:00:00Z", false),
        ],
    );
    let new_york = ("2026-11-01T00:00:00-04:00", "2026-11-01T12:00:00-05:00");
    expect(
        "America/New_York",
        "{ from = \"01:00\", to = \"02:00\" }",
        new_york,
        &[("2026-11-01T05:00:00Z", true), ("2026-11-01T07:00:00Z", false)],
    );
}

#[test]
fn windows_that_meet_are_one_and_the_week_is_round() {
    let weekend = "{ days = [\"sat\", \"sunday\"] }, { days = [\"mon\"], to = \"06:00\" }, \
                   { days = [\"fri\"], from = \"20:00\" }";
    let week = ("2026-11-23T08:00:00Z", "2026-11-30T08:00:00Z");
    expect("UTC", weekend, week, &[("2026-11-27T20:00:00Z", true), ("2026-11-30T06:00:00Z", false)]);
    expect(
        "UTC",
        "{ days = [\"fri-tue\"], from = \"08:00\", to = \"08:30\" }, { days = [\"wed\"], to = \"08:00\" }",
        week,
        &[
            ("2026-11-23T08:30:00Z", false),
            ("2026-11-24T08:00:00Z", true),
            ("2026-11-24T08:30:00Z", false),
            ("2026-11-25T00:00:00Z", true),
            ("2026-11-25T08:00:00Z", false),
            ("2026-11-27T08:00:00Z", true),
            ("2026-11-27T08:30:00Z", false),
            ("2026-11-28T08:00:00Z", true),
            ("2026-11-28T08:30:00Z", false),
            ("2026-11-29T08:00:00Z", true),
            ("2026-11-29T08:30:00Z", false),
        ],
    );
    let always = schedules("Asia/Kolkata", "{}");
    assert!((0..400).all(|hour| is_active(&always, hour * 3_600_000)));
    assert_eq!(schedules("UTC", "{ days = [\"mon\"] }").at(u64::MAX).until_ms % 1000, 0, "the end of the calendar");
}

#[test]
fn a_wall_clock_that_is_set_back_is_obeyed() {
    let schedules = schedules("UTC", "{ from = \"10:00\", to = \"11:00\" }");
    let mut active = schedules.at(parse("2026-01-01T10:30:00Z").unwrap());
    assert!(active.schedules.contains(0));
    active.go_to(parse("2026-01-01T09:59:59Z").unwrap(), &schedules);
    assert!(!active.schedules.contains(0));
    active.go_to(parse("2026-01-01T10:00:00Z").unwrap(), &schedules);
    assert!(active.schedules.contains(0) && !active.has_expired(u64::MAX));
    assert!(active.has_expired(active.unix_ms()) && !active.has_expired(active.unix_ms() + 1));
    let everything = ActiveSet::EVERYTHING;
    assert!(everything.schedules.contains(255) && !everything.has_expired(1));
}

#[test]
fn what_cannot_be_a_schedule_is_named_where_it_stands() {
    let cases = [
        ("tz = \"Asia/Shanghia\"\nwindows = [{}]", "3:6 E-TIME-ZONE"),
        ("windows = [{}]", "1:1 E-MISSING-KEY"),
        ("tz = \"UTC\"", "1:1 E-MISSING-KEY"),
        ("tz = \"UTC\"\nwindows = []", "4:11 W-NEVER"),
        ("tz = \"UTC\"\nwindows = [{ days = [] }]", "4:21 W-NEVER"),
        ("tz = \"UTC\"\nwindows = [{ from = \"09:00\", to = \"09:00\" }]", "4:35 W-NEVER"),
        ("tz = \"UTC\"\nwindows = [{ days = [\"mon-fry\"] }]", "4:22 E-VALUE"),
        ("tz = \"UTC\"\nwindows = [{ from = \"9:00\" }]", "4:21 E-VALUE"),
        ("tz = \"UTC\"\nwindows = [{ from = \"+9:00\" }]", "4:21 E-VALUE"),
        ("tz = \"UTC\"\nwindows = [{ from = \"24:00\" }]", "4:21 E-RANGE"),
        ("tz = \"UTC\"\nwindows = [{ to = \"24:01\" }]", "4:19 E-VALUE"),
        ("tz = \"UTC\"\nwindows = [{ until = \"24:00\" }]", "4:14 E-UNKNOWN-KEY"),
        ("tz = \"UTC\"\nwindows = [{}]\n[[schedule]]\nname = \"x\"\ntz = \"UTC\"\nwindows = [{}]", "6:8 E-DUPLICATE"),
    ];
    for (text, expected) in cases {
        let (_, faults) = probe::read(&format!("[[schedule]]\nname = \"x\"\n{text}\n"), Schedules::read);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].contains(expected), "{text}: {expected} is not in {faults:?}");
    }
}

#[test]
fn each_zone_of_the_list_is_found_without_the_system() {
    let own = jiff::tz::TimeZoneDatabase::bundled();
    for zone in ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "UTC", "Etc/GMT-8"] {
        assert!(own.get(zone).is_ok(), "{zone}");
    }
}

/// What the clock on the wall shows, asked another way: day by day.
fn shows(zone: &str, now_ms: u64, window: (usize, u32, u32)) -> bool {
    let clock = timestamp(now_ms).to_zoned(TimeZone::get(zone).unwrap());
    let minute = clock.hour() as u32 * 60 + clock.minute() as u32;
    let (day, from, to) = window;
    let is_day = |date: Weekday| usize::from(date.to_monday_zero_offset().unsigned_abs()) == day;
    let today = is_day(clock.date().weekday());
    let yesterday = is_day(clock.date().yesterday().unwrap().weekday());
    if from < to { today && (from..to).contains(&minute) } else { today && minute >= from || yesterday && minute < to }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_active_exactly_when_the_wall_clock_says_so(
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Africa/Cairo"]),
        day in 0usize..7, from in 0u32..1440, to in 0u32..1440,
        // Around the changes of 2026, and any time.
        start in prop::sample::select(vec![1_774_742_400u64, 1_792_886_400, 1_772_928_000, 1_793_491_200, 1_775_318_400, 1_776_945_600]),
        hours in 0u64..96,
    ) {
        prop_assume!(from != to);
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let at = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let schedules = schedules(zone, &format!("{{ days = [\"{}\"], from = \"{}\", to = \"{}\" }}", days[day], at(from), at(to)));
        let begin = (start + hours * 3600) * 1000;
        let mut active = schedules.at(begin);
        for minute in 0..36 * 6 {
            let now = begin + minute * 600_000 + 123;
            active.go_to(now, &schedules);
            prop_assert_eq!(active.schedules.contains(0), shows(zone, now, (day, from, to)), "at {}", show(now));
        }
    }
}
