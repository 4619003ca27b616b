//! The query log: what the workers queued, written as JSON lines by the control side, one object a query. Names are
//! escaped twice over: as master-file text, so that no byte of a name can end a field, and as JSON.

use super::lines;
use crate::dns::name::Name;
use crate::ledger::journal::{Entry, Journal, RuleId};
use crate::policy::document::words::TypeName;
use serde::Serialize;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Entries written by one call, so that the control side stays responsive.
const BATCH: usize = 1024;

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stdout,
    File(File),
}

/// The writer.
#[derive(Debug)]
pub struct QueryLog {
    sink: Sink,
    path: Option<PathBuf>,
    lines: Vec<u8>,
    lost: u64,
}

/// What the log adds to what the workers queued.
pub trait Notes {
    /// The name of the upstream in a slot.
    fn upstream(&self, slot: u16) -> Option<String>;

    /// Owner and ticket of a rule.
    fn rule(&self, id: &RuleId) -> (Option<&str>, Option<&str>);
}

/// One line. The fields and their names are an interface: operators' parsers rely on them.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    client: std::net::IpAddr,
    port: u16,
    transport: &'a str,
    name: String,
    #[serde(rename = "type")]
    qtype: String,
    class: u16,
    outcome: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    /// Who answers for the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    /// Where the rule was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    /// "monitor" when nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
    latency_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
}

impl QueryLog {
    /// Appends to `path`, which is created with mode 0640 when it is not there; to standard output when `None`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self { sink: open(path)?, path: path.map(Path::to_path_buf), lines: Vec::new(), lost: 0 })
    }

    /// Opens `path` anew: after a reload, when it may be another, and after the file was renamed by log rotation.
    ///
    /// # Errors
    /// The file cannot be opened; lines go on to where they went.
    pub fn reopen(&mut self, path: Option<&Path>) -> io::Result<()> {
        self.sink = open(path)?;
        self.path = path.map(Path::to_path_buf);
        Ok(())
    }

    /// Where it writes; `None` is standard output.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what is queued, at most 1024 entries a call; returns whether more may be waiting. `notes` tells what
    /// the workers did not queue.
    ///
    /// # Errors
    /// The sink took nothing or not all; the lines of this call are lost and counted, and none of them is in a file.
    pub fn write_queued(&mut self, journal: &Journal, notes: &impl Notes) -> io::Result<bool> {
        self.lines.clear();
        let mut count = 0;
        while count < BATCH
            && let Some(entry) = journal.take()
        {
            append(&mut self.lines, &entry, notes);
            count += 1;
        }
        let written = match &mut self.sink {
            _ if count == 0 => Ok(()),
            Sink::Stdout => write_whole(&mut io::stdout().lock(), &self.lines),
            Sink::File(file) => lines::append(file, |file| write_whole(file, &self.lines)),
        };
        if written.is_err() {
            self.lost += count as u64;
        }
        written.map(|()| count == BATCH)
    }
}

fn open(path: Option<&Path>) -> io::Result<Sink> {
    use std::os::unix::fs::OpenOptionsExt;
    match path {
        Some(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path).map(Sink::File),
        None => Ok(Sink::Stdout),
    }
}

fn write_whole(sink: &mut dyn Write, lines: &[u8]) -> io::Result<()> {
    sink.write_all(lines)?;
    sink.flush()
}

fn append(lines: &mut Vec<u8>, entry: &Entry, notes: &impl Notes) {
    let (owner, ticket) = entry.rule.as_ref().map_or((None, None), |rule| notes.rule(rule));
    let line = Line {
        time: utc(entry.unix_ms),
        client: entry.client.ip().to_canonical(),
        port: entry.client.port(),
        transport: if entry.tcp { "tcp" } else { "udp" },
        name: text(&entry.name),
        qtype: TypeName(entry.qtype).to_string(),
        class: entry.qclass,
        outcome: entry.outcome.name(),
        reason: entry.reason.name(),
        rule: entry.rule.as_ref().map(|rule| rule.as_str()),
        owner,
        ticket,
        mode: entry.monitored.then_some("monitor"),
        latency_us: u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX),
        upstream: entry.upstream.and_then(|slot| notes.upstream(slot)),
    };
    let start = lines.len();
    match serde_json::to_writer(&mut *lines, &line) {
        Ok(()) => lines.push(b'\n'),
        // never half a line; strings and numbers always serialise
        Err(_) => lines.truncate(start),
    }
}

fn text(name: &Name) -> String {
    let shown: &dyn Display = name;
    shown.to_string()
}

/// A time as RFC 3339 has it, in UTC with milliseconds.
pub fn utc(unix_ms: u64) -> String {
    const DAY: u64 = 86_400;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let (secs, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (hour, minute, second) = (secs % DAY / 3600, secs % 3600 / 60, secs % 60);
    // Count from 0000-03-01: then a leap day is the last of its year, and 400 years repeat.
    let days = secs / DAY + 719_468;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let leaps = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31, 30, 31, 30, 31 days, again and again: 153 days in five of them.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::journal::Quota;
    use crate::verdict::{Outcome, Reason};
    use std::time::Duration;

    fn entry(name: Name) -> Entry {
        Entry {
            unix_ms: 1_795_447_212_123,
            client: "[::ffff:192.0.2.7]:53124".parse().unwrap(),
            tcp: true,
            name,
            qtype: 28,
            qclass: 1,
            outcome: Outcome::Denied,
            reason: Reason::Filter,
            rule: Some(RuleId::new("storm-\"player\"")),
            monitored: false,
            took: Duration::from_micros(42),
            upstream: Some(3),
        }
    }

    struct Known;

    impl Notes for Known {
        fn upstream(&self, slot: u16) -> Option<String> {
            (slot == 3).then(|| "dc-a-1".to_owned())
        }

        fn rule(&self, id: &RuleId) -> (Option<&str>, Option<&str>) {
            if id.as_str() == "storm-\"player\"" { (Some("noc \"east\""), Some("SEC-1234")) } else { (None, None) }
        }
    }

    fn offer(journal: &Journal, entries: usize) {
        let ledger = Ledger::default();
        let quota = Quota { sample: 1, rate: u32::MAX };
        (0..entries).for_each(|_| journal.offer(&ledger, quota, 0, || entry(Name::root())));
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_name_holds() {
        let name = Name::from_wire(b"\x06a\"\n\\.\xff\x04evil\x00").unwrap();
        let mut lines = Vec::new();
        append(&mut lines, &entry(name), &Known);
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(lines.is_ascii());
        let value: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-23T15:20:12.123Z", "client": "192.0.2.7", "port": 53124, "transport": "tcp",
            "name": value["name"], "type": "AAAA", "class": 1, "outcome": "denied", "reason": "filter",
            "rule": "storm-\"player\"", "owner": "noc \"east\"", "ticket": "SEC-1234", "latency_us": 42, "upstream": "dc-a-1",
        });
        assert_eq!(value, expected);
        let shown = value["name"].as_str().unwrap();
        assert_eq!(Name::from_text(shown), Ok(name), "the text means the same name: {shown}");
    }

    /// Whatever was asked, and however: what the log has of it is what `weir plan --queries` tries.
    #[test]
    fn what_is_logged_can_be_tried_again() {
        let asked = [
            entry(Name::from_wire(b"\x06a\"\n\\.\xff\x04evil\x00").unwrap()),
            Entry { tcp: false, qtype: 65_280, ..entry(Name::root()) },
            Entry { client: "[2001:db8::7]:53".parse().unwrap(), outcome: Outcome::CacheHit, ..entry(Name::root()) },
        ];
        let others = [
            Entry { reason: Reason::Malformed, ..entry(Name::root()) },
            Entry { qclass: 3, ..entry(Name::root()) },
            Entry { qtype: 252, ..entry(Name::root()) },
        ];
        let mut lines = Vec::new();
        asked.iter().chain(&others).for_each(|entry| append(&mut lines, entry, &Known));
        let mut tried = Vec::new();
        let tally = crate::recordings::lines::read(&mut lines.as_slice(), &mut |found| {
            assert!(found.answer.is_none(), "the log holds no answers");
            tried.push((found.client, found.name, found.qtype, found.tcp));
        });
        let logged = asked.map(|entry| (entry.client.ip().to_canonical(), entry.name, entry.qtype, entry.tcp));
        assert_eq!(tried, logged);
        let tally = tally.unwrap();
        assert_eq!((tally.queries, tally.others, tally.no_questions, tally.bad), (3, 1, 2, 0));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_s, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(unix_s * 1000), expected);
        }
    }

    #[test]
    fn a_rotated_file_is_opened_anew_and_nothing_is_overwritten() {
        let folder = std::env::temp_dir().join(format!("weir-query-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, rotated) = (folder.join("q.jsonl"), folder.join("q.jsonl.1"));
        let journal = Journal::new(BATCH + 10);
        let mut log = QueryLog::open(Some(&path)).unwrap();
        offer(&journal, BATCH + 1);
        assert!(log.write_queued(&journal, &Known).unwrap(), "more is waiting");
        std::fs::rename(&path, &rotated).unwrap();
        assert!(!log.write_queued(&journal, &Known).unwrap());
        log.reopen(Some(&path)).unwrap();
        assert!(log.reopen(Some(&folder)).is_err(), "a folder");
        assert_eq!(log.path(), Some(path.as_path()), "lines go on to where they went");
        offer(&journal, 2);
        assert!(!log.write_queued(&journal, &Known).unwrap());
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&rotated), lines(&path), log.lost()), (BATCH + 1, 2, 0));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let journal = Journal::new(4);
        let mut log = QueryLog::open(Some(Path::new("/dev/full"))).unwrap();
        offer(&journal, 3);
        assert!(log.write_queued(&journal, &Known).is_err());
        assert_eq!(log.lost(), 3);
        assert!(!log.write_queued(&journal, &Known).unwrap(), "nothing queued is no error");
    }
}
