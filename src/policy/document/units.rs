//! Values that are written as text with a unit: durations (`500ms`, `2s`, `30m`, `1h`, `1d`) and sizes (`64MiB`).

use std::time::Duration;

/// Units of time with their length in milliseconds, largest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size with their length in bytes, largest first. Powers of two only: `MB` is ambiguous, so it is refused.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration; `None` when it is not one, or over 500 million years.
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, &TIMES).map(Duration::from_millis)
}

/// Reads a size in bytes; `None` when it is not one, or over 2^64.
pub fn size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// Writes a duration as one would in a policy: `90s`, `2h`.
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

/// Writes a size as one would in a policy: `64MiB`.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

/// A whole number and a unit; zero needs none.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    if number == 0 && unit.is_empty() {
        return Some(0);
    }
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?;
    number.checked_mul(*scale)
}

/// In the largest unit that divides it.
fn show(value: u64, units: &[(&str, u64)]) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let whole = units.iter().find(|(_, scale)| value.is_multiple_of(*scale));
    whole.map_or_else(|| value.to_string(), |(name, scale)| format!("{}{name}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_but_zero_does_not() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("30m"), Some(Duration::from_secs(1800)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(duration("1d"), Some(Duration::from_secs(86_400)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for bad in ["", "s", "2", "-1s", "1.5s", "2 weeks", "2S", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("512KiB"), Some(512 << 10));
        assert_eq!(size("0"), Some(0));
        for bad in ["64MB", "64M", "64", "1e6B", "18446744073709551615KiB"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["500ms", "90s", "2h", "1d", "0"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["64MiB", "3KiB", "1B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }
}
