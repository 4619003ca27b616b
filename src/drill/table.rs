//! What became of everybody, for people and for programs.

use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figure {
    /// There is none: nothing to measure, or nobody who could.
    None,
    Count(u64),
    /// A part of a whole.
    Share(u64, u64),
    Ratio(f64),
    Time(Duration),
    /// It had not come by then.
    NotWithin(Duration),
    Text(String),
}

impl Figure {
    pub(super) fn count(number: Option<u64>) -> Self {
        number.map_or(Self::None, Self::Count)
    }

    pub(super) fn time(time: Option<Duration>) -> Self {
        time.map_or(Self::None, Self::Time)
    }

    /// Times in milliseconds, shares in percent; `null` for what there is not.
    fn to_json(&self) -> Value {
        match self {
            Self::None | Self::NotWithin(_) | Self::Share(_, 0) => Value::Null,
            Self::Count(number) => json!(number),
            Self::Share(part, whole) => json!(*part as f64 * 100.0 / *whole as f64),
            Self::Ratio(ratio) => json!(ratio),
            Self::Time(time) => json!(time.as_secs_f64() * 1e3),
            Self::Text(text) => json!(text),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::None | Self::Share(_, 0) => "-".to_owned(),
            Self::Count(number) => number.to_string(),
            // Never rounded up to all of them.
            Self::Share(part, whole) => format!("{:.2} %", (*part as f64 * 1e4 / *whole as f64).floor() / 100.0),
            Self::Ratio(ratio) => format!("{ratio:.2}"),
            Self::Time(time) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::NotWithin(time) => format!("over {} s", time.as_secs()),
            Self::Text(text) => text.clone(),
        };
        f.pad(&text)
    }
}

/// A figure of both halves.
#[derive(Clone, Debug)]
struct Row {
    key: &'static str,
    title: &'static str,
    direct: Figure,
    through: Figure,
}

/// The table of a drill.
#[derive(Clone, Debug)]
pub struct Table {
    drill: String,
    /// Under what it was held.
    head: String,
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn new(drill: String, head: String) -> Self {
        Self { drill, head, rows: Vec::new() }
    }

    /// Adds a row, unless there is nothing in it.
    pub(super) fn row(&mut self, key: &'static str, title: &'static str, [direct, through]: [Figure; 2]) {
        if (&direct, &through) != (&Figure::None, &Figure::None) {
            self.rows.push(Row { key, title, direct, through });
        }
    }

    /// The same for programs: times in milliseconds, shares in percent, `null` for what there is not.
    pub fn to_json(&self) -> String {
        let row = |row: &Row| {
            let figures =
                json!({ "title": row.title, "direct": row.direct.to_json(), "through": row.through.to_json() });
            (row.key.to_owned(), figures)
        };
        let rows: Map<String, Value> = self.rows.iter().map(row).collect();
        json!({ "drill": self.drill, "head": self.head, "rows": rows }).to_string()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.drill, self.head)?;
        let wide = self.rows.iter().map(|row| row.title.len()).max().unwrap_or(0);
        writeln!(f, "{:<wide$}{:>16}{:>16}", "", "direct", "through weir")?;
        for Row { title, direct, through, .. } in &self.rows {
            // A long text is put on a line of its own, or would move the columns.
            match through {
                Figure::Text(text) => writeln!(f, "{title:<wide$}  {text}")?,
                _ => writeln!(f, "{title:<wide$}{direct:>16}{through:>16}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_up_and_what_there_is_not_is_null() {
        let mut table = Table::new("storm".to_owned(), "one run".to_owned());
        table.row("answered", "answered", [Figure::Share(9_999_999, 10_000_000), Figure::Share(1, 1)]);
        table.row("empty", "empty", [Figure::None, Figure::None]);
        table.row(
            "normal",
            "normal after",
            [Figure::NotWithin(Duration::from_secs(10)), Figure::Time(Duration::from_millis(7))],
        );
        let text = table.to_string();
        assert!(text.contains("99.99 %") && text.contains("100.00 %") && text.contains("over 10 s"), "{text}");
        assert!(!text.contains("empty"), "{text}");
        let json: Value = serde_json::from_str(&table.to_json()).unwrap();
        assert_eq!(
            (&json["rows"]["normal"]["direct"], &json["rows"]["normal"]["through"]),
            (&Value::Null, &json!(7.0))
        );
        assert_eq!(json["rows"]["answered"]["through"], json!(100.0));
    }
}
