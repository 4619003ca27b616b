//! Feeds as metrics: how old each is, how much it holds, how its looks went. The names are the operator's, and few.

use super::{head, sample};
use std::fmt;

/// One feed.
#[derive(Clone, Debug, Default)]
pub struct FeedRow {
    /// As declared.
    pub name: String,
    /// Lines or records of the copy in force; 0 while there is none.
    pub entries: u64,
    /// The serial of a zone.
    pub serial: Option<u32>,
    /// How long ago the source confirmed the copy in force; absent while there is none.
    pub age_s: Option<u64>,
    /// That is too long ago.
    pub is_old: bool,
    /// A copy waits for somebody to look.
    pub is_held: bool,
    /// Looks that ended well.
    pub looks_ok: u64,
    /// Looks that did not.
    pub looks_failed: u64,
    /// NOTIFY that were heard.
    pub notified: u64,
}

type Metric = (&'static str, &'static str, &'static str, fn(&FeedRow) -> Option<u64>);

const METRICS: [Metric; 6] = [
    ("weir_feed_entries", "gauge", "Lines or records of the copy in force.", |row| Some(row.entries)),
    ("weir_feed_serial", "gauge", "Serial of a zone.", |row| row.serial.map(u64::from)),
    ("weir_feed_age_seconds", "gauge", "Since the source confirmed the copy in force.", |row| row.age_s),
    ("weir_feed_old", "gauge", "1 while a feed is older than its age_max.", |row| Some(row.is_old.into())),
    ("weir_feed_held", "gauge", "1 while a copy waits for weir feed accept.", |row| Some(row.is_held.into())),
    ("weir_feed_notified_total", "counter", "NOTIFY for a feed's zone that were heard.", |row| Some(row.notified)),
];

pub(super) fn feeds(out: &mut String, rows: &[FeedRow]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    for (name, kind, help, value) in METRICS {
        head(out, name, kind, help)?;
        for (row, value) in rows.iter().filter_map(|row| Some((row, value(row)?))) {
            sample(out, name, &[("feed", &row.name)], value)?;
        }
    }
    head(out, "weir_feed_looks_total", "counter", "Looks at the source of a feed, by how they ended.")?;
    rows.iter().try_for_each(|row| {
        sample(out, "weir_feed_looks_total", &[("feed", &row.name), ("result", "ok")], row.looks_ok)?;
        sample(out, "weir_feed_looks_total", &[("feed", &row.name), ("result", "failed")], row.looks_failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_has_no_number() {
        let mut text = String::new();
        feeds(&mut text, &[]).unwrap();
        assert_eq!(text, "");
        let never = FeedRow { name: "never".into(), is_old: true, looks_failed: 2, ..FeedRow::default() };
        let zone = FeedRow { name: "zone".into(), entries: 3, serial: Some(7), age_s: Some(5), ..FeedRow::default() };
        feeds(&mut text, &[never, zone]).unwrap();
        for line in [
            "weir_feed_entries{feed=\"never\"} 0\n",
            "weir_feed_entries{feed=\"zone\"} 3\n",
            "weir_feed_serial{feed=\"zone\"} 7\n",
            "weir_feed_age_seconds{feed=\"zone\"} 5\n",
            "weir_feed_old{feed=\"never\"} 1\n",
            "weir_feed_looks_total{feed=\"never\",result=\"failed\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("weir_feed_serial{feed=\"never\"}") && !text.contains("age_seconds{feed=\"never\"}"));
    }
}
