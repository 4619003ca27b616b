//! `weir top`: who asks most and for what, once or refreshing every second, in 80 columns of plain text.

use super::ask::{AskArguments, connect, failed};
use super::{Exit, output};
use crate::control::client::{AskError, Connection};
use crate::control::protocol::Command;
use crate::control::status::seconds_text;
use crate::control::top::{AlertRow, By, Row, Top, rate_text};
use crate::language::{Lang, Text, columns, is_wide, text, width};
use crate::sys::terminal::KeyTerminal;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct TopArguments {
    /// One list alone, longer
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Once, not every second
    #[arg(long)]
    once: bool,
    /// JSON instead of text: one object a line, or with --once one that is indented
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: AskArguments,
}

impl ValueEnum for By {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// Between two pictures, in tenths of a second.
const REFRESH_DS: u8 = 10;

/// Columns of a picture, at most.
const WIDTH: usize = 80;

/// Rows of each list beside others, and of one alone.
const ROWS: usize = 5;
const ROWS_ALONE: usize = 16;

/// Alerts that a picture shows; the others are counted.
const ALERTS: usize = 3;

/// How a picture replaces the one before without a flicker: from the top left, each line and then the rest cleared behind
/// what is written (ECMA-48 CUP, EL, ED).
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// `weir top`
pub(super) fn top(arguments: &TopArguments) -> Exit {
    let mut connection = match connect(arguments.ask.socket.as_ref()) {
        Ok(connection) => connection,
        Err(error) => return failed(&error),
    };
    let end = if arguments.once { once(&mut connection, arguments) } else { refresh(&mut connection, arguments) };
    match end {
        Ok(()) => Exit::Ok,
        Err(error) => failed(&error),
    }
}

fn once(connection: &mut Connection, arguments: &TopArguments) -> Result<(), AskError> {
    let value = connection.ask(&command(arguments))?;
    if arguments.json {
        output::raw(format_args!("{value:#}"));
    } else {
        output::raw(picture(&read(connection, value)?, arguments.by, output::lang()));
    }
    Ok(())
}

/// Until `q`, Ctrl-C or the end of the output. To a file or pipe the pictures come one after the other.
fn refresh(connection: &mut Connection, arguments: &TopArguments) -> Result<(), AskError> {
    let on_screen = io::stdout().is_terminal() && !arguments.json;
    let mut keys = if on_screen { KeyTerminal::open(REFRESH_DS).ok() } else { None };
    let mut is_first = true;
    loop {
        let value = connection.ask(&command(arguments))?;
        let text = match arguments.json {
            true => format!("{value}\n"),
            false => picture(&read(connection, value)?, arguments.by, output::lang()),
        };
        let text = match (on_screen, is_first) {
            (true, first) => on_the_screen(&text, first),
            (false, _) if arguments.json => text,
            (false, _) => format!("{text}\n"),
        };
        is_first = false;
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(()); // Nobody reads any more.
        }
        drop(out);
        match keys.as_mut().map(KeyTerminal::key) {
            Some(Ok(Some(b'q' | b'Q' | 0x03 | 0x04)) | Err(_)) => return Ok(()),
            Some(Ok(_)) => {}
            None => std::thread::sleep(Duration::from_millis(100 * u64::from(REFRESH_DS))),
        }
    }
}

fn command(arguments: &TopArguments) -> Command {
    Command::Top { rows: if arguments.by.is_some() { ROWS_ALONE } else { ROWS } }
}

fn read(connection: &Connection, value: serde_json::Value) -> Result<Top, AskError> {
    serde_json::from_value(value).map_err(|error| AskError::Broken {
        socket: connection.socket().to_path_buf(),
        cause: text!("the gateway is of another version: {error}", error = Text::of_json(&error)),
    })
}

/// What is written to a terminal for a picture; the first one on a screen of its own lines.
fn on_the_screen(text: &str, is_first: bool) -> String {
    let start = if is_first { "\x1b[2J" } else { "" };
    let mut all = format!("{start}{HOME}");
    for line in text.lines() {
        let _ = write!(all, "{line}{CLEAR_LINE}\r\n");
    }
    all + CLEAR_REST
}

/// A picture: who it is at a glance, or one list alone.
fn picture(top: &Top, by: Option<By>, lang: Lang) -> String {
    let mut text = String::new();
    let seconds = top.unix_ms / 1000 % 86_400;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let clock = format!("{hours:02}:{minutes:02}:{seconds:02}Z");
    let (rate, refused) = (rate_text(top.queries_per_s), rate_text(top.refused_per_s));
    let head = text!(
        "weir top  {clock}  {rate} q/s  refused {refused}/s  alerts {n}  (q ends)",
        clock,
        rate,
        refused,
        n = top.alerts.len()
    );
    let _ = writeln!(text, "{}", cut(&head.to(lang), WIDTH));
    write_alerts(&mut text, top, lang);
    match by {
        Some(by) => write_alone(&mut text, by, top.list(by), lang),
        None => {
            for pair in By::ALL.chunks(2) {
                write_pair(&mut text, pair, top, lang);
            }
        }
    }
    text
}

fn write_alerts(text: &mut String, top: &Top, lang: Lang) {
    for AlertRow { kind, subject, age_s, why, done, suggestion, .. } in top.alerts.iter().take(ALERTS) {
        let head = format!("! {kind} ");
        let tail = format!(" {}", seconds_text(*age_s));
        let room = WIDTH.saturating_sub(head.len() + tail.len());
        let _ = writeln!(text, "{head}{}{tail}", shortened(&subject.to(lang), room));
        let lines = [text!("why  {why}", why), text!("does {done}", done), text!("try  {suggestion}", suggestion)];
        for line in lines {
            let _ = writeln!(text, "  {}", cut(&line.to(lang), WIDTH - 2));
        }
    }
    let more = (top.alerts.len().saturating_sub(ALERTS), top.alerts_unlisted);
    if more != (0, 0) {
        let more = text!("and {n} more; {unlisted} raised without room", n = more.0, unlisted = more.1);
        let _ = writeln!(text, "  {}", cut(&more.to(lang), WIDTH - 2));
    }
}

/// Two lists side by side, 39 columns each.
fn write_pair(text: &mut String, pair: &[By], top: &Top, lang: Lang) {
    let cell = |what: &str, rate: &str, share: &str| format!("{}{rate:>7}{share:>5}", padded(&shortened(what, 26), 27));
    let titles: Vec<_> = pair.iter().map(|by| cell(by.name(), "q/s", "%")).collect();
    let _ = writeln!(text, "\n{}", titles.join("  "));
    let lists: Vec<_> = pair.iter().map(|by| top.list(*by)).collect();
    for at in 0..lists.iter().map(|rows| rows.len().min(ROWS)).max().unwrap_or(0) {
        let cells = lists.iter().map(|rows| {
            rows.get(at).map_or_else(
                || cell("", "", ""),
                |row| cell(&row.what.to(lang), &rate_text(row.queries_per_s), &percent(row.share)),
            )
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// One list over the whole width.
fn write_alone(text: &mut String, by: By, rows: &[Row], lang: Lang) {
    let traffic = matches!(by, By::Source | By::Network);
    let (room, more) = if traffic { (42, ["over%", "quest.", "in B/s", "out B/s"]) } else { (66, [""; 4]) };
    let line = |what: &str, rate: &str, share: &str, more: [&str; 4]| {
        let [over, questions, received, sent] = more;
        let end = if traffic { format!("{over:>6}{questions:>6}{received:>7}{sent:>8}") } else { String::new() };
        format!("{}{rate:>6}{share:>5}{end}", padded(&shortened(what, room - 1), room))
    };
    let _ = writeln!(text, "\n{}", line(by.name(), "q/s", "%", more));
    for row in rows {
        let more = row.traffic.map_or_else(Default::default, |traffic| {
            [
                percent(traffic.over),
                traffic.questions.to_string(),
                rate_text(traffic.received_per_s),
                rate_text(traffic.sent_per_s),
            ]
        });
        let more = more.each_ref().map(String::as_str);
        let _ =
            writeln!(text, "{}", line(&row.what.to(lang), &rate_text(row.queries_per_s), &percent(row.share), more));
    }
}

fn percent(part: f64) -> String {
    format!("{:.0}", 100.0 * part)
}

/// The text in at most `room` columns: of a long one the beginning and the end, which names need most.
fn shortened(text: &str, room: usize) -> String {
    let characters: Vec<char> = printable(text).collect();
    if columns(text) <= room {
        return characters.into_iter().collect();
    }
    // Each takes two columns at the most.
    let each = if columns(text) > characters.len() { 2 } else { 1 };
    let kept = room.saturating_sub(2) / each;
    let (head, tail) = (kept / 3, kept - kept / 3);
    characters[..head].iter().chain(&['.', '.']).chain(&characters[characters.len() - tail..]).collect()
}

/// The first `room` columns of the text.
fn cut(text: &str, room: usize) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += width(*c);
        taken <= room
    };
    printable(text).take_while(fits).collect()
}

/// The text with blanks up to `room` columns.
fn padded(text: &str, room: usize) -> String {
    format!("{text}{}", " ".repeat(room.saturating_sub(columns(text))))
}

/// Whatever a gateway says, nothing in it steers a terminal: names come as ASCII, sentences also as Chinese.
fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' || is_wide(c) { c } else { '?' })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::top::{List, TrafficRow};

    fn busy() -> Top {
        let row = |what: String, traffic| {
            let what = Text::verbatim(what);
            Row { what, queries_per_s: 123_456_789.0, error_per_s: 0.0, share: 1.0, traffic }
        };
        let traffic = Some(TrafficRow { over: 1.0, received_per_s: 9e9, sent_per_s: 9.9e13, questions: 1_000 });
        let list = |by: By| List {
            by,
            rows: (0..ROWS_ALONE)
                .map(|n| match by {
                    By::Source | By::Network => row(format!("2001:db8:1111:2222:3333:4444:5555:{n:04x}/128"), traffic),
                    _ => row(format!("{n}.{}\\200.\u{1b}[2J\u{4e2d}.example", "x".repeat(200)), None),
                })
                .collect(),
        };
        let alert = AlertRow {
            kind: "random-subdomains".into(),
            subject: Text::verbatim("y".repeat(250)),
            since_unix_ms: 0,
            age_s: u64::MAX,
            why: Text::verbatim("w".repeat(200)),
            done: Text::verbatim("\u{4e2d}".repeat(200)),
            suggestion: Text::verbatim("s".repeat(200)),
        };
        Top {
            unix_ms: 1_767_225_599_000,
            queries_per_s: 1e9,
            refused_per_s: 1e9,
            alerts: vec![alert; 24],
            alerts_unlisted: 7,
            lists: By::ALL.map(list).to_vec(),
            samples_lost: 0,
        }
    }

    #[test]
    fn a_picture_fits_80_columns_and_steers_no_terminal() {
        for by in [None].into_iter().chain(By::ALL.map(Some)) {
            for (lang, more) in [(Lang::En, "and 21 more"), (Lang::Zh, "21")] {
                let text = picture(&busy(), by, lang);
                for line in text.lines() {
                    assert!(columns(line) <= WIDTH, "{} columns: {line}", columns(line));
                    assert!(line.chars().all(|c| c.is_ascii_graphic() || c == ' ' || is_wide(c)), "{line:?}");
                }
                assert!(text.contains("23:59:59Z") && text.contains(more), "{text}");
            }
        }
        assert!(picture(&Top::default(), None, Lang::En).lines().count() <= 24, "a quiet one fits a small terminal");
    }

    #[test]
    fn long_names_keep_their_beginning_and_their_zone() {
        assert_eq!(shortened("short.example", 20), "short.example");
        assert_eq!(cut("a\u{7}b", 5), "a?b");
        assert_eq!(shortened("abcdefghijklmnopqrstuvwxyz.example.com", 20), "abcdef...example.com");
    }

    #[test]
    fn the_screen_is_written_over_and_not_cleared() {
        let again = on_the_screen("a\nb\n", false);
        assert_eq!(again, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
        assert!(on_the_screen("a\n", true).starts_with("\x1b[2J\x1b[H"));
    }
}
