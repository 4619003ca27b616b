//! Reading `[[schedule]]`: days, times and zones to parts of the week; and what names a schedule.

use super::{DAY, SCHEDULES_MAX, Schedule, ScheduleSet, Schedules, WEEK, WINDOWS_MAX, Window};
use crate::language::text;
use crate::policy::clients::check_name;
use crate::policy::document::{At, Code, Context, Faults, Table, nearest};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::atomic::AtomicBool;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const FULL_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl Schedules {
    /// Reads the `[[schedule]]` tables of clients.toml.
    pub fn read(t: &Table<'_>) -> Self {
        let mut all: Vec<Schedule> = Vec::new();
        for table in t.tables("schedule") {
            let taken = |name: &str| all.iter().any(|schedule| schedule.name == name);
            let name =
                table.required_text("name").filter(|name| check_name(name, &text!("schedule"), taken, t.faults()));
            let zone = read_zone(&table);
            let windows = read_windows(&table);
            if all.len() == SCHEDULES_MAX {
                let message = text!("more than {most} schedules", most = SCHEDULES_MAX);
                t.faults().add(
                    Code::TooMany,
                    &table.place(),
                    message,
                    text!("one schedule serves any number of rules"),
                );
                break;
            }
            if let Some(At { value, place }) = name {
                let zone = zone.unwrap_or(TimeZone::UTC);
                all.push(Schedule { name: value.to_owned(), place, zone, windows, used: AtomicBool::new(false) });
            }
        }
        Self { all }
    }
}

/// The zone of `tz`. It has to be there: that of the machine would make one policy two on two machines.
fn read_zone(t: &Table<'_>) -> Option<TimeZone> {
    if !t.has("tz") {
        let message = text!("[{path}] needs {key}", path = t.label("").trim_end_matches('.'), key = "tz");
        t.faults().add(Code::MissingKey, &t.place(), message, text!("add tz = \"Asia/Shanghai\", or \"UTC\""));
        return None;
    }
    let name = t.required_text("tz")?;
    let own = TimeZoneDatabase::bundled();
    let zone = jiff::tz::db().get(name.value).or_else(|_| own.get(name.value));
    if zone.is_err() {
        let known: Vec<String> = own.available().map(|name| name.to_string()).collect();
        let hint = match nearest(name.value, known.iter().map(String::as_str)) {
            Some(word) => text!("did you mean {word:?}?", word),
            None => {
                text!("a name of the IANA time zone database, such as \"Asia/Shanghai\", \"Europe/Berlin\", \"UTC\"")
            }
        };
        t.faults().add(Code::TimeZone, &name.place, text!("there is no time zone {name:?}", name = name.value), hint);
    }
    zone.ok()
}

/// Sorted, and apart from one another.
fn read_windows(t: &Table<'_>) -> Vec<Window> {
    if !t.has("windows") {
        t.missing("windows");
        return Vec::new();
    }
    let tables = t.tables("windows");
    if tables.len() > WINDOWS_MAX {
        let hint = text!("one window may be for many days");
        t.fault("windows", Code::TooMany, text!("more than {most} windows", most = WINDOWS_MAX), hint);
    }
    let before = t.faults().has_errors();
    let windows: Vec<_> = tables.iter().take(WINDOWS_MAX).flat_map(read_window).collect();
    if tables.is_empty() && !before && !t.faults().has_errors() {
        let hint = text!("add a window, such as {{ days = [\"mon-fri\"], from = \"09:00\", to = \"18:00\" }}");
        t.fault("windows", Code::Never, text!("a schedule without windows is never active"), hint);
    }
    apart(windows)
}

/// One window on each of its days.
fn read_window(t: &Table<'_>) -> Vec<Window> {
    let days = read_days(t);
    let (from, to) = (read_time(t, "from", 0), read_time(t, "to", DAY));
    let (Some(days), Some(from), Some(to)) = (days, from, to) else { return Vec::new() };
    if from == DAY {
        let hint = text!("from = \"00:00\" of the day after is meant");
        t.fault("from", Code::Range, text!("a day begins at 00:00 and ends at 24:00"), hint);
        return Vec::new();
    }
    if from == to {
        let hint = text!("from = \"00:00\" and to = \"24:00\" are the whole day");
        t.fault("to", Code::Never, text!("a window that ends when it begins is never there"), hint);
        return Vec::new();
    }
    let length = if to > from { to - from } else { to + DAY - from };
    let starts = days.iter().enumerate().filter(|(_, is_in)| **is_in).map(|(day, _)| day as u32 * DAY + from);
    starts.map(|start| Window { start, end: start + length }).collect()
}

/// `days`, from Monday on; every day when not given.
fn read_days(t: &Table<'_>) -> Option<[bool; 7]> {
    if !t.has("days") {
        return Some([true; 7]);
    }
    let before = t.faults().has_errors();
    let texts = t.list("days");
    if texts.is_empty() {
        if !before && !t.faults().has_errors() {
            t.fault(
                "days",
                Code::Never,
                text!("a window without days is never there"),
                text!("leave days out for every day"),
            );
        }
        return None;
    }
    let mut days = [false; 7];
    let mut whole = true;
    for text in &texts {
        match days_of(text, t.faults()) {
            Some((first, last)) => {
                let length = (last + 7 - first) % 7;
                (0..=length).for_each(|n| days[(first + n) % 7] = true);
            }
            None => whole = false,
        }
    }
    whole.then_some(days)
}

/// `mon`, `mon-fri`, `fri-mon`: the first day and the last.
fn days_of(text: &At<&str>, faults: &Faults) -> Option<(usize, usize)> {
    let (first, last) = text.value.split_once('-').unwrap_or((text.value, text.value));
    let day = |word: &str| {
        let word = word.trim().to_ascii_lowercase();
        DAYS.iter().zip(FULL_DAYS).position(|(short, full)| word == *short || word == full)
    };
    let read = day(first).zip(day(last));
    if read.is_none() {
        let hint = text!("\"mon\", \"mon-fri\", or \"sat-sun\"; the days are mon, tue, wed, thu, fri, sat, sun");
        faults.add(Code::Value, &text.place, text!("{text:?} is not a day of the week", text = text.value), hint);
    }
    read
}

/// `HH:MM` in seconds since the beginning of the day; 24:00 is its end.
fn read_time(t: &Table<'_>, key: &'static str, default: u32) -> Option<u32> {
    if !t.has(key) {
        return Some(default);
    }
    let text = t.text(key)?;
    let is_two = |digits: &&str| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let two = |digits: &str| Some(digits).filter(is_two)?.parse::<u32>().ok();
    let read = text.value.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    let seconds = match read {
        Some((hour @ 0..24, minute @ 0..60)) => Some((hour * 60 + minute) * 60),
        Some((24, 0)) => Some(DAY),
        _ => None,
    };
    if seconds.is_none() {
        let message = text!("{key} cannot be {text:?}", key = t.label(key), text = text.value);
        t.faults().add(
            Code::Value,
            &text.place,
            message,
            text!("write hours and minutes, from \"00:00\" to \"24:00\""),
        );
    }
    seconds
}

/// Windows in order and apart; one that goes over the end of the week is two.
fn apart(windows: Vec<Window>) -> Vec<Window> {
    let halves = windows.into_iter().flat_map(|Window { start, end }| match end.checked_sub(WEEK) {
        None | Some(0) => [Some(Window { start, end }), None],
        Some(rest) => [Some(Window { start, end: WEEK }), Some(Window { start: 0, end: rest })],
    });
    let mut sorted: Vec<Window> = halves.flatten().collect();
    sorted.sort_unstable_by_key(|window| (window.start, window.end));
    let mut apart: Vec<Window> = Vec::new();
    for window in sorted {
        match apart.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ => apart.push(window),
        }
    }
    apart
}

/// `schedule`, one or a list, and `expires`: when a zone, a rule or a question acts; `None` for what is not given: always.
pub fn read_terms(t: &Table<'_>, context: &Context<'_>) -> (Option<ScheduleSet>, Option<u64>) {
    let names = t.text_or_list("schedule");
    if t.has("schedule") && names.is_empty() && !t.faults().has_errors() {
        t.fault(
            "schedule",
            Code::Empty,
            text!("{key} is empty", key = t.label("schedule")),
            text!("leave it out to act at all times"),
        );
    }
    let mut schedules = ScheduleSet::default();
    let known = names.iter().filter_map(|name| context.schedules.require(name, t.faults()));
    known.for_each(|index| schedules.insert(index));
    let expires_ms = t.instant("expires");
    if expires_ms.is_some_and(|expires_ms| context.unix_ms >= expires_ms && context.unix_ms > 0) {
        let path = t.label("");
        let message =
            text!("the time of [{path}] is over: it does nothing any more", path = path.trim_end_matches('.'));
        t.fault("expires", Code::Expired, message, text!("remove it, or give it more time"));
    }
    (t.has("schedule").then_some(schedules), expires_ms)
}
