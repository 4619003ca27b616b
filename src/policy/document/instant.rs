//! Points in time: a TOML date with its time and offset, and the same as text on a command line or in an expectation. One
//! without an offset is refused: what it means would depend on where it is read.

use crate::language::{Text, text};
use jiff::{Timestamp, Zoned};
use toml::value::Datetime;

/// What to write instead, for hints.
pub fn hint() -> Text {
    text!("write date, time and offset, such as 2027-01-31T00:00:00+08:00, or with Z for UTC")
}

/// The milliseconds since 1970-01-01 UTC of a TOML date; what was before counts as then.
///
/// # Errors
/// What it lacks, for the user.
pub fn of_toml(written: &Datetime) -> Result<u64, Text> {
    match (written.date, written.time, written.offset) {
        (Some(_), Some(_), Some(_)) => {}
        (Some(_), Some(_), None) => {
            return Err(text!("has no offset from UTC: it would be another time in each place"));
        }
        (Some(_), None, _) => return Err(text!("is a date without a time of day")),
        _ => return Err(text!("is a time of day without a date")),
    }
    written.to_string().parse().map(millis).map_err(|_| text!("is not in the calendar"))
}

/// Reads `2026-03-29T00:59:50Z`, `2026-03-29T02:00:00+01:00` or `2026-03-29T09:00[Asia/Shanghai]`: milliseconds since
/// 1970-01-01 UTC.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn parse(text: &str) -> Result<u64, Text> {
    let instant = text.parse::<Timestamp>().or_else(|_| text.parse::<Zoned>().map(|zoned| zoned.timestamp()));
    instant.map(millis).map_err(|_| text!("{text:?} is not a time with its offset", text))
}

/// Writes a time in UTC: `2026-03-29T00:59:50Z`.
pub fn show(unix_ms: u64) -> String {
    let instant = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    instant.unwrap_or(Timestamp::MAX).to_string()
}

fn millis(instant: Timestamp) -> u64 {
    u64::try_from(instant.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_same_however_it_is_spelled() {
        for text in [
            "2026-03-29T00:59:50Z",
            "2026-03-29T01:59:50+01:00",
            "2026-03-29 08:59:50+08:00",
            "2026-03-29T08:59:50[Asia/Shanghai]",
        ] {
            assert_eq!(parse(text).map(show).as_deref(), Ok("2026-03-29T00:59:50Z"), "{text}");
        }
        assert_eq!(parse("1969-12-31T23:59:59Z"), Ok(0), "nothing was before");
        assert_eq!(show(1_500), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn what_is_not_a_point_in_time_is_refused() {
        for text in ["", "now", "2026-03-29", "2026-03-29T00:59:50", "00:59", "2026-02-30T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (text, part) in [
            ("2027-01-31T00:00:00", "no offset"),
            ("2027-01-31", "without a time of day"),
            ("07:32:00", "without a date"),
        ] {
            let error = of_toml(&text.parse().unwrap()).unwrap_err().english();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(of_toml(&"2027-01-31T00:00:00+08:00".parse().unwrap()).map(show), Ok("2027-01-30T16:00:00Z".into()));
    }
}
