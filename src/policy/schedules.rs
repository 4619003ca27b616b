//! clients.toml `[[schedule]]`: weekly windows in a time zone, that rules and zones name with `schedule = "name"`.
//!
//! ```toml
//! [[schedule]]
//! name = "office-hours"
//! tz = "Asia/Shanghai"                                # a name of the IANA time zone database
//! windows = [
//!     { days = ["mon-fri"], from = "09:00", to = "18:00" },
//!     { days = ["fri", "sat"], from = "22:00", to = "02:00" },    # until the day after
//! ]
//! ```
//!
//! A schedule is active whenever the clock on the wall of its zone shows a time in one of its windows: from `from`, up to
//! and without `to`. A window whose `to` is not after its `from` ends on the day after, and belongs to the day on which it
//! begins. Without `days` it is for every day, without `from` and `to` from 00:00 to 24:00.
//!
//! That holds on the days on which clocks are changed too. What a clock leaves out is never there: where it goes from 02:00
//! to 03:00, a window from 02:15 to 02:45 does not come, one from 02:30 begins at 03:00, one to 02:30 ends at 03:00. What a
//! clock shows twice counts twice: where it goes from 03:00 back to 02:00, a window from 02:00 to 03:00 takes two hours, and
//! one to 02:30 ends at 02:30, is there again from 02:00, and ends once more.
//!
//! The database is that of the system, which its updates keep true; a zone that it lacks is taken from the one that weir
//! brings along, so a machine without one will do.

mod read;

pub use read::read_terms;

use super::document::nearest;
use super::document::{At, Code, Faults, Place};
use crate::language::{Text, text};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most schedules of one policy.
pub const SCHEDULES_MAX: usize = 256;

/// The most windows of one schedule.
pub const WINDOWS_MAX: usize = 100;

const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;

/// Some schedules, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScheduleSet([u64; SCHEDULES_MAX / 64]);

impl ScheduleSet {
    /// Adds schedule number `index`.
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Whether schedule number `index` is in it.
    pub fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & 1 << (index % 64) != 0
    }

    /// Whether the two share a schedule.
    #[inline]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether all of `other` are in it.
    pub fn includes(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & b == *b)
    }
}

/// What is in force at a time: which schedules are active, and what of the rules has not expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveSet {
    unix_ms: u64,
    schedules: ScheduleSet,
    /// It holds from here on, as far as schedules go,
    from_ms: u64,
    /// and before this.
    until_ms: u64,
}

impl ActiveSet {
    /// As if every schedule were active and nothing had expired.
    pub const EVERYTHING: Self =
        Self { unix_ms: 0, schedules: ScheduleSet([u64::MAX; SCHEDULES_MAX / 64]), from_ms: 0, until_ms: u64::MAX };

    /// What is active at a time, made up.
    #[cfg(test)]
    pub(crate) fn of(unix_ms: u64, schedules: ScheduleSet) -> Self {
        Self { unix_ms, schedules, from_ms: 0, until_ms: u64::MAX }
    }

    /// The time, in milliseconds since 1970-01-01 UTC.
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// Whether a schedule may have changed since a time. In doubt it has.
    #[inline]
    pub fn may_have_changed_since(&self, unix_ms: u64) -> bool {
        unix_ms < self.from_ms
    }

    /// When a schedule may change next, in milliseconds since 1970-01-01 UTC; never later than it does.
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Whether one of some schedules is active.
    #[inline]
    pub fn has(&self, schedules: &ScheduleSet) -> bool {
        self.schedules.intersects(schedules)
    }

    /// Whether something that expires at a time has.
    #[inline]
    pub fn has_expired(&self, expires_ms: u64) -> bool {
        self.unix_ms >= expires_ms
    }

    /// Goes on to another time. Two comparisons while no schedule can have changed; no allocation ever. A wall clock that
    /// is set back is obeyed as well.
    #[inline]
    pub fn go_to(&mut self, unix_ms: u64, schedules: &Schedules) {
        self.unix_ms = unix_ms;
        if unix_ms < self.from_ms || unix_ms >= self.until_ms {
            *self = schedules.at(unix_ms);
        }
    }
}

/// A part of the week, in seconds since the beginning of Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: u32,
    end: u32,
}

/// One schedule.
#[derive(Debug)]
struct Schedule {
    name: String,
    place: Place,
    zone: TimeZone,
    /// Sorted, apart from one another.
    windows: Vec<Window>,
    used: AtomicBool,
}

impl Schedule {
    /// Whether it is active at a time, and when that may change: at the latest when it does. A zone's clock runs evenly
    /// between two changes of its offset, so the next change is the end of the window, the begin of the next, or that.
    fn state(&self, now: Timestamp) -> (bool, u64) {
        let clock = self.zone.to_offset(now).to_datetime(now);
        let day = u32::from(clock.weekday().to_monday_zero_offset().unsigned_abs());
        let [hour, minute, second] =
            [clock.hour(), clock.minute(), clock.second()].map(|n| u32::from(n.unsigned_abs()));
        let shown = day * DAY + hour * 3600 + minute * 60 + second;
        let next = self.windows.partition_point(|window| window.end <= shown);
        let window = self.windows.get(next);
        let is_active = window.is_some_and(|window| window.start <= shown);
        let change = match (window, self.windows.first()) {
            (Some(window), _) if is_active => window.end,
            (Some(window), _) => window.start,
            (None, Some(first)) => first.start + WEEK,
            (None, None) => return (false, u64::MAX),
        };
        let whole_second = u64::try_from(now.as_second()).unwrap_or(0);
        let of_window = (whole_second + u64::from(change - shown)) * 1000;
        let of_zone = self.zone.following(now).next().and_then(|change| unix_ms(change.timestamp()));
        (is_active, of_window.min(of_zone.unwrap_or(u64::MAX)))
    }
}

/// All schedules of a policy.
#[derive(Debug, Default)]
pub struct Schedules {
    all: Vec<Schedule>,
}

impl Schedules {
    /// What is in force at a time, in milliseconds since 1970-01-01 UTC. Under a microsecond for each schedule.
    pub fn at(&self, unix_ms: u64) -> ActiveSet {
        let now = timestamp(unix_ms);
        let mut active = ActiveSet { unix_ms, schedules: ScheduleSet::default(), from_ms: unix_ms, until_ms: u64::MAX };
        for (index, schedule) in self.all.iter().enumerate() {
            let (is_active, until_ms) = schedule.state(now);
            active.until_ms = active.until_ms.min(until_ms);
            if is_active {
                active.schedules.insert(index);
            }
        }
        active
    }

    /// Their names, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|schedule| schedule.name.as_str())
    }

    /// The names of some, as in a sentence: `"night" or "weekend"`.
    pub fn spelled(&self, set: &ScheduleSet) -> Text {
        let named = self.names().enumerate().filter(|(index, _)| set.contains(*index));
        let named = named.map(|(_, name)| Text::verbatim(format!("{name:?}")));
        named.reduce(|some, one| text!("{some} or {one}", some, one)).unwrap_or_default()
    }

    /// The schedule of a name; an unknown one is a fault at its place.
    pub fn require(&self, name: &At<&str>, faults: &Faults) -> Option<usize> {
        let index = self.all.iter().position(|schedule| schedule.name == name.value);
        match index {
            Some(index) => self.all[index].used.store(true, Ordering::Relaxed),
            None => {
                let hint = match nearest(name.value, self.names()) {
                    Some(word) => text!("did you mean {word:?}?", word),
                    None => text!("schedules are named in clients.toml, under [[schedule]]"),
                };
                faults.add(
                    Code::UnknownSchedule,
                    &name.place,
                    text!("there is no schedule {name:?}", name = name.value),
                    hint,
                );
            }
        }
        index
    }

    /// Reports schedules that no rule and no zone names. To be called when everything is read.
    pub fn report_unused(&self, faults: &Faults) {
        for schedule in self.all.iter().filter(|schedule| !schedule.used.load(Ordering::Relaxed)) {
            let message = text!("schedule {schedule:?} is used nowhere", schedule = schedule.name);
            faults.add(Code::Unused, &schedule.place, message, text!("name it in a rule or a zone, or remove it"));
        }
    }
}

/// A time that the calendar knows; what is beyond it (year 9999) counts as its end.
fn timestamp(unix_ms: u64) -> Timestamp {
    i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

fn unix_ms(at: Timestamp) -> Option<u64> {
    u64::try_from(at.as_millisecond()).ok()
}

#[cfg(test)]
mod tests;
