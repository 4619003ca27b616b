//! What became of everybody, for people and for programs.

use crate::language::{Lang, Text, Told, columns, text};
use serde_json::{Map, Value, json};
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
    Text(Text),
}

impl Figure {
    pub(super) fn count(number: Option<u64>) -> Self {
        number.map_or(Self::None, Self::Count)
    }

    pub(super) fn time(time: Option<Duration>) -> Self {
        time.map_or(Self::None, Self::Time)
    }

    /// Times in milliseconds, shares in percent; `null` for what there is not.
    fn to_json(&self, lang: Lang) -> Value {
        match self {
            Self::None | Self::NotWithin(_) | Self::Share(_, 0) => Value::Null,
            Self::Count(number) => json!(number),
            Self::Share(part, whole) => json!(*part as f64 * 100.0 / *whole as f64),
            Self::Ratio(ratio) => json!(ratio),
            Self::Time(time) => json!(time.as_secs_f64() * 1e3),
            Self::Text(text) => json!(text.to(lang)),
        }
    }
}

impl Told for Figure {
    fn text(&self) -> Text {
        Text::verbatim(match self {
            Self::None | Self::Share(_, 0) => "-".to_owned(),
            Self::Count(number) => number.to_string(),
            // Never rounded up to all of them.
            Self::Share(part, whole) => format!("{:.2} %", (*part as f64 * 1e4 / *whole as f64).floor() / 100.0),
            Self::Ratio(ratio) => format!("{ratio:.2}"),
            Self::Time(time) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::NotWithin(time) => return text!("over {n} s", n = time.as_secs()),
            Self::Text(text) => return text.clone(),
        })
    }
}

/// A figure of both halves.
#[derive(Clone, Debug)]
struct Row {
    key: &'static str,
    title: Text,
    direct: Figure,
    through: Figure,
}

/// The table of a drill.
#[derive(Clone, Debug)]
pub struct Table {
    drill: String,
    /// Under what it was held.
    head: Text,
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn new(drill: String, head: Text) -> Self {
        Self { drill, head, rows: Vec::new() }
    }

    /// Adds a row, unless there is nothing in it.
    pub(super) fn row(&mut self, key: &'static str, title: Text, [direct, through]: [Figure; 2]) {
        if (&direct, &through) != (&Figure::None, &Figure::None) {
            self.rows.push(Row { key, title, direct, through });
        }
    }

    /// For programs: times in milliseconds, shares in percent, `null` for what there is not.
    pub fn to_json(&self, lang: Lang) -> String {
        let row = |row: &Row| {
            let (direct, through) = (row.direct.to_json(lang), row.through.to_json(lang));
            (row.key.to_owned(), json!({ "title": row.title.to(lang), "direct": direct, "through": through }))
        };
        let rows: Map<String, Value> = self.rows.iter().map(row).collect();
        json!({ "drill": self.drill, "head": self.head.to(lang), "rows": rows }).to_string()
    }

    /// For people.
    pub fn shown(&self, lang: Lang) -> String {
        let titles: Vec<_> = self.rows.iter().map(|row| row.title.to(lang)).collect();
        let wide = titles.iter().map(|title| columns(title)).max().unwrap_or(0);
        let line = |title: &str, direct: &str, through: &str| {
            let blanks = |text: &str, room: usize| " ".repeat(room.saturating_sub(columns(text)));
            let (behind, before) = (blanks(title, wide), [blanks(direct, 16), blanks(through, 16)]);
            format!("{title}{behind}{}{direct}{}{through}\n", before[0], before[1])
        };
        let mut shown = format!("{}: {}\n", self.drill, self.head.to(lang));
        shown += &line("", &text!("direct").to(lang), &text!("through weir").to(lang));
        for (title, Row { direct, through, .. }) in titles.iter().zip(&self.rows) {
            shown += &match through {
                // A long text is put on a line of its own, or would move the columns.
                Figure::Text(text) => format!("{title}{}  {}\n", " ".repeat(wide - columns(title)), text.to(lang)),
                _ => line(title, &direct.text().to(lang), &through.text().to(lang)),
            };
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_up_and_what_there_is_not_is_null() {
        let mut table = Table::new("storm".to_owned(), Text::verbatim("one run"));
        table.row("answered", Text::verbatim("answered"), [Figure::Share(9_999_999, 10_000_000), Figure::Share(1, 1)]);
        table.row("empty", Text::verbatim("empty"), [Figure::None, Figure::None]);
        table.row(
            "normal",
            Text::verbatim("normal after"),
            [Figure::NotWithin(Duration::from_secs(10)), Figure::Time(Duration::from_millis(7))],
        );
        let text = table.shown(Lang::En);
        assert!(text.contains("99.99 %") && text.contains("100.00 %") && text.contains("over 10 s"), "{text}");
        assert!(!text.contains("empty"), "{text}");
        let json: Value = serde_json::from_str(&table.to_json(Lang::En)).unwrap();
        assert_eq!(
            (&json["rows"]["normal"]["direct"], &json["rows"]["normal"]["through"]),
            (&Value::Null, &json!(7.0))
        );
        assert_eq!(json["rows"]["answered"]["through"], json!(100.0));
    }
}
