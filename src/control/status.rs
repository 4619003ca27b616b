//! How the gateway is, as a value: for programs as JSON, for people as text. Only [`Status::top`] names clients and names
//! that were asked for; names that were blocked by command are there as well.

use super::history::report::UnconfirmedStatus;
use super::incidents::report::IncidentStatus;
use super::reload::LastReload;
use super::rules::RulesStatus;
use crate::language::{Text, Told, text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `weir status` shows. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// What runs.
    pub policy: PolicyStatus,
    /// The mode that is on, and the names that are blocked by command.
    #[serde(flatten)]
    pub incidents: IncidentStatus,
    /// The apply that waits to be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<UnconfirmedStatus>,
    /// The last reload, when there was one.
    pub last_reload: Option<LastReload>,
    /// Addresses that are listened on, UDP and TCP.
    pub listeners: Vec<String>,
    /// Worker threads.
    pub workers: usize,
    /// What became of the queries.
    pub queries: Queries,
    /// What the rules did.
    #[serde(default)]
    pub rules: RulesStatus,
    /// DNS cookies.
    #[serde(default)]
    pub cookies: CookieStatus,
    /// The cache.
    pub cache: CacheStatus,
    /// The servers that are asked, in the order of the policy.
    pub upstreams: Vec<UpstreamStatus>,
    /// Lists and zones that come from elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<super::feeds::report::FeedStatus>,
    /// What it may use and what it uses.
    pub memory: Memory,
    /// Who asks most and for what, and the attacks that go on.
    #[serde(default)]
    pub top: super::top::Top,
    /// What somebody should look at.
    pub warnings: Vec<Text>,
}

/// The policy that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Hash of its contents.
    pub id: String,
    /// 1 for the first of the process.
    pub generation: u64,
    /// The directory, or what stands in for one.
    pub origin: Text,
    /// Seconds since it was published.
    pub age_s: u64,
}

/// Totals since the start: each query is in exactly one outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// All.
    pub total: u64,
    /// By what became of them; all outcomes are there.
    pub outcomes: BTreeMap<String, u64>,
    /// By which part decided; only those that did.
    pub reasons: BTreeMap<String, u64>,
    /// What sections and rules in monitor mode would have done, by which part.
    pub monitored: BTreeMap<String, u64>,
    /// Waiting for an upstream now.
    pub in_flight: u64,
}

/// DNS cookies: what is done with them, and what they said since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieStatus {
    /// terminate, pass or off.
    pub mode: String,
    /// Whether UDP clients have to show one.
    pub require: bool,
    /// Whether the secrets are of a file; else one was drawn at the start, which no other server knows.
    pub secrets_of_file: bool,
    /// Queries with one of ours.
    pub valid: u64,
    /// Queries with one that is not ours, or not any more.
    pub wrong: u64,
    /// Queries with a client cookie alone.
    pub client_only: u64,
}

/// The cache now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Answers in it.
    pub entries: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that it may use; 0: off.
    pub size_bytes: u64,
    /// Queries answered from it: fresh, stale and remembered failures.
    pub hits: u64,
    /// Answers put out before their time to make room.
    pub evictions: u64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Its pool.
    pub pool: String,
    /// A higher tier serves only while no lower one is healthy.
    pub tier: u8,
    /// Whether it is asked.
    pub healthy: bool,
    /// Smoothed round-trip time in milliseconds; absent before the first answer.
    pub srtt_ms: Option<f64>,
    /// Queries sent to it.
    pub queries: u64,
    /// Queries that it did not answer in time.
    pub timeouts: u64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the system says that the process holds.
    pub resident_bytes: u64,
    /// What the configuration allows, by part.
    pub limits: Vec<MemoryLimit>,
}

/// The memory that one part may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimit {
    /// Which part, with the number of things that it holds.
    pub what: Text,
    /// At most so much.
    pub bytes: u64,
}

/// Bytes in a unit that a person reads: `64 MiB`, `1.5 KiB`.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// A time span in its two largest units: `3 d 4 h`, `12 s`.
pub fn seconds_text(seconds: u64) -> String {
    let parts = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = seconds;
    let mut texts = Vec::new();
    for (size, unit) in parts {
        if left >= size {
            texts.push(format!("{} {unit}", left / size));
            left %= size;
        }
    }
    texts.truncate(2);
    if texts.is_empty() { "0 s".to_owned() } else { texts.join(" ") }
}

/// What the system says that this process holds; 0 when it does not say.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

impl Told for Status {
    fn text(&self) -> Text {
        let PolicyStatus { id, generation, origin, age_s } = &self.policy;
        let up = seconds_text(self.uptime_s);
        let mut lines = vec![
            text!("weir {version}, pid {pid}, up {up}", version = self.version, pid = self.pid, up),
            text!(
                "policy      {id}, generation {generation}, {age} old, from {origin}",
                id,
                generation,
                age = seconds_text(*age_s),
                origin
            ),
        ];
        lines.extend(self.unconfirmed.iter().map(|waiting| text!("UNCONFIRMED {waiting}", waiting = waiting.text())));
        lines.extend(self.incidents.lines());
        lines.push(match &self.last_reload {
            Some(reload) => text!("reload      {reload}", reload = reload.text()),
            None => text!("reload      none since the start"),
        });
        lines.push(text!("listeners   {listeners}", listeners = self.listeners.join(" ")));
        lines.push(text!("workers     {n}", n = self.workers));
        self.tell_queries(&mut lines);
        lines.extend(self.rules.lines());
        lines.push(self.cookies.text());
        lines.push(self.cache.text());
        self.tell_upstreams(&mut lines);
        self.tell_feeds(&mut lines);
        self.tell_memory(&mut lines);
        lines.extend(self.top.lines());
        lines.extend(self.warnings.iter().map(|warning| text!("warning     {warning}", warning)));
        Text::lines(lines)
    }
}

impl Status {
    fn tell_queries(&self, lines: &mut Vec<Text>) {
        let Queries { total, outcomes, reasons, monitored, in_flight } = &self.queries;
        lines.push(text!("queries     {total}, {in_flight} in flight", total, in_flight));
        let counts = |counts: &BTreeMap<String, u64>| {
            let some = counts.iter().filter(|(_, count)| **count > 0);
            let counts: Vec<_> = some.map(|(name, count)| format!("{name} {count}")).collect();
            Some(counts.join(", ")).filter(|counts| !counts.is_empty())
        };
        lines.extend(counts(outcomes).map(|counts| text!("  outcomes  {counts}", counts)));
        lines.extend(counts(reasons).map(|counts| text!("  reasons   {counts}", counts)));
        lines.extend(counts(monitored).map(|counts| text!("  monitored {counts}", counts)));
    }

    fn tell_upstreams(&self, lines: &mut Vec<Text>) {
        let width = self.upstreams.iter().map(|one| one.name.len()).max().unwrap_or(0);
        for (n, one) in self.upstreams.iter().enumerate() {
            let line = Text::joined("  ", [Text::verbatim(format!("{:<width$}", one.name)), one.text()]);
            lines.push(if n == 0 { text!("upstreams   {upstreams}", upstreams = line) } else { below(line) });
        }
    }

    fn tell_feeds(&self, lines: &mut Vec<Text>) {
        let width = self.feeds.iter().map(|feed| feed.name.len()).max().unwrap_or(0);
        for (n, feed) in self.feeds.iter().enumerate() {
            // What is the matter is among the warnings below.
            let line = Text::joined("  ", [Text::verbatim(format!("{:<width$}", feed.name)), feed.line()]);
            lines.push(if n == 0 { text!("feeds       {feed}", feed = line) } else { below(line) });
        }
    }

    fn tell_memory(&self, lines: &mut Vec<Text>) {
        let allowed = self.memory.limits.iter().map(|limit| limit.bytes).sum();
        let (resident, allowed) = (bytes_text(self.memory.resident_bytes), bytes_text(allowed));
        lines.push(text!("memory      {resident} resident, the configuration allows {allowed}", resident, allowed));
        lines.extend(self.memory.limits.iter().map(MemoryLimit::text));
    }
}

/// A line below the first of its kind.
fn below(line: Text) -> Text {
    Text::joined("", [Text::verbatim(" ".repeat(12)), line])
}

impl Told for CookieStatus {
    fn text(&self) -> Text {
        let Self { mode, require, secrets_of_file, valid, wrong, client_only } = self;
        if mode != "terminate" {
            return text!("cookies     {mode}", mode);
        }
        let secrets = match secrets_of_file {
            true => text!("secrets of the policy"),
            false => text!("a secret drawn at the start"),
        };
        let parts = [secrets].into_iter().chain(require.then(|| text!("required")));
        text!(
            "cookies     {secrets}, {valid} valid, {wrong} wrong, {client_only} client-only",
            secrets = Text::joined(", ", parts),
            valid,
            wrong,
            client_only
        )
    }
}

impl Told for CacheStatus {
    fn text(&self) -> Text {
        let Self { entries, bytes, size_bytes, hits, evictions } = *self;
        if size_bytes == 0 {
            return text!("cache       off");
        }
        let (bytes, size) = (bytes_text(bytes), bytes_text(size_bytes));
        text!(
            "cache       {entries} answers, {bytes} of {size}, {hits} hits, {evictions} evictions",
            entries,
            bytes,
            size,
            hits,
            evictions
        )
    }
}

impl Told for UpstreamStatus {
    fn text(&self) -> Text {
        let Self { address, pool, tier, queries, timeouts, .. } = self;
        let health = if self.healthy { text!("up") } else { text!("DOWN") };
        let srtt = self.srtt_ms.map_or_else(|| text!("no answer yet"), |ms| Text::verbatim(format!("{ms:.1} ms")));
        text!(
            "{address}, pool {pool}, tier {tier}, {health}, {srtt}, {queries} queries, {timeouts} timeouts",
            address,
            pool,
            tier,
            health,
            srtt,
            queries,
            timeouts
        )
    }
}

impl Told for MemoryLimit {
    fn text(&self) -> Text {
        Text::joined("", [Text::verbatim(format!("  {:<10}", bytes_text(self.bytes))), self.what.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), ((1 << 20) - 1, "1 MiB")];
        for (bytes, text) in cases {
            assert_eq!(bytes_text(bytes), text);
        }
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (90_061, "1 d 1 h")] {
            assert_eq!(seconds_text(seconds), text);
        }
        assert!(resident_bytes() > 100_000, "this test alone holds more");
    }

    #[test]
    fn the_text_names_what_counts_and_json_keeps_all() {
        let count = |name: &str, n| BTreeMap::from([(name.to_owned(), n)]);
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_s: 61,
            policy: PolicyStatus { id: "abc".into(), generation: 2, origin: Text::verbatim("policies"), age_s: 5 },
            incidents: IncidentStatus::default(),
            unconfirmed: None,
            last_reload: None,
            listeners: vec!["127.0.0.1:1053".into()],
            workers: 2,
            queries: Queries { total: 3, outcomes: count("denied", 3), in_flight: 1, ..Queries::default() },
            rules: RulesStatus::default(),
            cookies: CookieStatus { mode: "terminate".into(), valid: 5, ..CookieStatus::default() },
            cache: CacheStatus::default(),
            upstreams: vec![UpstreamStatus {
                name: "a".into(),
                address: "192.0.2.1:53".into(),
                pool: "default".into(),
                tier: 0,
                healthy: false,
                srtt_ms: Some(1.26),
                queries: 9,
                timeouts: 4,
            }],
            feeds: Vec::new(),
            memory: Memory {
                resident_bytes: 1 << 20,
                limits: vec![MemoryLimit { what: Text::verbatim("cache"), bytes: 1 << 21 }],
            },
            top: super::super::top::Top::default(),
            warnings: vec![Text::verbatim("too few descriptors")],
        };
        let text = status.text().english();
        let parts = [
            "up 1 min 1 s",
            "abc, generation 2",
            "denied 3",
            "cookies     a secret drawn at the start, 5 valid, 0 wrong",
            "cache       off",
            "DOWN, 1.3 ms",
            "allows 2 MiB",
            "warning     too few descriptors",
        ];
        for part in parts {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }
}
