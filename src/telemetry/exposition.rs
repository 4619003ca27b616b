//! The Prometheus text format, version 0.0.4, written from plain numbers. No client address and no query name is ever a
//! label: both are the attacker's to choose, and each new value would be a time series.

mod feeds;

pub use feeds::FeedRow;

use crate::cache;
use crate::ledger::alerts::AlertKind;
use crate::ledger::{AnsweredBy, CookieEvent, LATENCY_BOUNDS_US, Totals, UpstreamEvent};
use crate::verdict::{Outcome, Reason};
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::time::Duration;

/// The content type of what [`write()`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamRow {
    /// As configured.
    pub name: String,
    /// The name of its pool.
    pub pool: String,
    /// Its tier.
    pub tier: u8,
    /// Its slot, under which its events are counted.
    pub slot: u16,
    /// Whether it is asked.
    pub healthy: bool,
    /// The smoothed round-trip time; `None` before the first answer.
    pub srtt: Option<Duration>,
}

/// The most rules whose hits are exposed: the first in the order in which they are heard. Each is two time series.
pub const RULES_MAX: usize = 1_000;

/// One rule of the policy that runs.
#[derive(Clone, Debug)]
pub struct RuleRow {
    /// Its id; of two rows with the same id the first is exposed.
    pub id: String,
    /// Queries that it decided.
    pub decided: u64,
    /// Queries that it would have decided without monitor mode.
    pub monitored: u64,
}

/// The policy that runs.
#[derive(Clone, Debug)]
pub struct PolicyRow {
    /// Its id, as text.
    pub id: String,
    /// 1 for the first of the process.
    pub generation: u64,
    /// When it was published, in milliseconds since 1970-01-01 UTC.
    pub since_unix_ms: u64,
}

/// All that is exposed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Summed over the workers.
    pub totals: Totals,
    /// The cache.
    pub cache: cache::Counters,
    /// Upstreams of the policy that runs.
    pub upstreams: Vec<UpstreamRow>,
    /// Feeds of the policy that runs.
    pub feeds: Vec<FeedRow>,
    /// The policy that runs.
    pub policy: PolicyRow,
    /// Its rules, at most [`RULES_MAX`], emergency rules first.
    pub rules: Vec<RuleRow>,
    /// The incident mode that is on, or `normal`.
    pub mode: String,
    /// Names that are blocked by command.
    pub emergency_rules: u64,
    /// Queries that wait for an upstream.
    pub in_flight: u64,
    /// Attacks noticed, by kind.
    pub alerts: [(AlertKind, u64); AlertKind::ALL.len()],
    /// Alerts of workers that were lost before anybody told them.
    pub alerts_lost: u64,
    /// Samples of queries that were lost before anybody summed them up.
    pub samples_lost: u64,
    /// Messages lost because a worker's outbox was full.
    pub outbox_lost: u64,
    /// What sockets and connections met with that is no query's outcome: name and count of each event.
    pub driver_events: Vec<(&'static str, u64)>,
    /// Now, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}

/// Writes a snapshot as text.
pub fn write(snapshot: &Snapshot) -> String {
    let mut out = String::with_capacity(16 * 1024);
    // writing to a string cannot fail
    let _ = queries(&mut out, &snapshot.totals)
        .and_then(|()| rules(&mut out, &snapshot.rules))
        .and_then(|()| latency(&mut out, &snapshot.totals))
        .and_then(|()| upstreams(&mut out, snapshot))
        .and_then(|()| feeds::feeds(&mut out, &snapshot.feeds))
        .and_then(|()| memory(&mut out, &snapshot.cache))
        .and_then(|()| process(&mut out, snapshot));
    out
}

fn queries(out: &mut String, totals: &Totals) -> fmt::Result {
    head(out, "weir_queries_total", "counter", "Queries, each counted once by what became of it.")?;
    for outcome in Outcome::ALL {
        for (transport, tcp) in [("udp", false), ("tcp", true)] {
            for reason in Reason::ALL {
                let count = totals.queries(outcome, reason, tcp);
                // every outcome is there from the start, so that a rate can be taken of its first query
                if count > 0 || reason == Reason::None {
                    let labels = [("outcome", outcome.name()), ("reason", reason.name()), ("transport", transport)];
                    sample(out, "weir_queries_total", &labels, count)?;
                }
            }
        }
    }
    head(out, "weir_monitored_total", "counter", "Decisions that a section or rule in monitor mode would have taken.")?;
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::None) {
        sample(out, "weir_monitored_total", &[("reason", reason.name())], totals.would(*reason))?;
    }
    head(out, "weir_cookies_total", "counter", "Queries with a DNS cookie, by what it said.")?;
    for event in CookieEvent::ALL {
        sample(out, "weir_cookies_total", &[("cookie", event.name())], totals.cookies(event))?;
    }
    Ok(())
}

/// Every rule is there from the start, so that a rate can be taken of its first hit.
fn rules(out: &mut String, rules: &[RuleRow]) -> fmt::Result {
    let mut known = HashSet::new();
    let rules: Vec<_> = rules.iter().take(RULES_MAX).filter(|row| known.insert(row.id.as_str())).collect();
    head(out, "weir_rule_hits_total", "counter", "Queries that a rule decided, those that it allowed included.")?;
    for row in &rules {
        sample(out, "weir_rule_hits_total", &[("rule", &row.id)], row.decided)?;
    }
    let help = "Queries that a rule would have decided, were it not in monitor mode or of the action monitor.";
    head(out, "weir_rule_monitored_total", "counter", help)?;
    for row in &rules {
        sample(out, "weir_rule_monitored_total", &[("rule", &row.id)], row.monitored)?;
    }
    Ok(())
}

fn latency(out: &mut String, totals: &Totals) -> fmt::Result {
    const NAME: &str = "weir_latency_seconds";
    head(out, NAME, "histogram", "From a query's arrival in the kernel to its end, by who made the answer.")?;
    for by in AnsweredBy::ALL {
        let mut sum = 0;
        for (bucket, count) in totals.latency(by).iter().enumerate() {
            sum += count;
            let bound = match LATENCY_BOUNDS_US.get(bucket) {
                Some(us) => Duration::from_micros(*us).as_secs_f64().to_string(),
                None => "+Inf".to_owned(),
            };
            sample(out, "weir_latency_seconds_bucket", &[("by", by.name()), ("le", &bound)], sum)?;
        }
        let labels = [("by", by.name())];
        sample(out, "weir_latency_seconds_sum", &labels, totals.latency_sum(by).as_secs_f64())?;
        sample(out, "weir_latency_seconds_count", &labels, sum)?;
    }
    Ok(())
}

fn upstreams(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let each = |out: &mut String, name: &str, value: &dyn Fn(&UpstreamRow) -> Option<f64>| {
        snapshot.upstreams.iter().try_for_each(|row| match value(row) {
            Some(value) => {
                let tier = row.tier.to_string();
                sample(out, name, &[("upstream", &row.name), ("pool", &row.pool), ("tier", &tier)], value)
            }
            None => Ok(()),
        })
    };
    head(out, "weir_upstream_healthy", "gauge", "1 while the upstream is asked, 0 while it counts as down.")?;
    each(out, "weir_upstream_healthy", &|row| Some(f64::from(u8::from(row.healthy))))?;
    head(out, "weir_upstream_srtt_seconds", "gauge", "Smoothed round-trip time.")?;
    each(out, "weir_upstream_srtt_seconds", &|row| row.srtt.map(|srtt| srtt.as_secs_f64()))?;
    head(out, "weir_upstream_events_total", "counter", "What happened on the way to an upstream.")?;
    for row in &snapshot.upstreams {
        for event in UpstreamEvent::ALL {
            let count = snapshot.totals.upstream(row.slot, event);
            let labels = [("upstream", row.name.as_str()), ("pool", &row.pool), ("event", event.name())];
            sample(out, "weir_upstream_events_total", &labels, count)?;
        }
    }
    Ok(())
}

fn memory(out: &mut String, cache: &cache::Counters) -> fmt::Result {
    let rows = [
        ("weir_cache_entries", "gauge", "Answers in the cache.", cache.entries),
        ("weir_cache_bytes", "gauge", "Bytes of answers in the cache.", cache.bytes),
        ("weir_cache_size_bytes", "gauge", "All memory of the cache.", cache.size_bytes),
        ("weir_cache_failures", "gauge", "Failures remembered.", cache.failures),
        ("weir_cache_inserts_total", "counter", "Answers put into the cache.", cache.inserts),
        ("weir_cache_evictions_total", "counter", "Answers put out before their time.", cache.evictions),
        ("weir_cache_refused_total", "counter", "Answers that could not be kept.", cache.refused),
        ("weir_cache_contention_total", "counter", "Look-ups and inserts given up on a busy shard.", cache.contention),
    ];
    rows.iter().try_for_each(|(name, kind, help, value)| single(out, name, kind, help, *value))
}

fn process(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    single(out, "weir_in_flight", "gauge", "Queries that wait for an upstream.", snapshot.in_flight)?;
    let lost = snapshot.totals.journal_lost();
    single(out, "weir_query_log_lost_total", "counter", "Queries not logged: over the rate, or no room.", lost)?;
    let lost = snapshot.outbox_lost;
    single(out, "weir_outbox_lost_total", "counter", "Messages not sent for want of room in a batch.", lost)?;
    head(
        out,
        "weir_driver_events_total",
        "counter",
        "What happened on sockets and connections, lost and refused too.",
    )?;
    for (event, count) in &snapshot.driver_events {
        sample(out, "weir_driver_events_total", &[("event", event)], count)?;
    }
    head(out, "weir_alerts_total", "counter", "Attacks noticed, by kind; each once when it begins.")?;
    for (kind, count) in snapshot.alerts {
        sample(out, "weir_alerts_total", &[("kind", kind.name())], count)?;
    }
    let lost = snapshot.alerts_lost;
    single(out, "weir_alerts_lost_total", "counter", "Alerts of workers that found no room.", lost)?;
    let lost = snapshot.samples_lost;
    single(out, "weir_samples_lost_total", "counter", "Samples lost: what `weir top` shows is too low.", lost)?;
    let policy = &snapshot.policy;
    head(out, "weir_policy_info", "gauge", "The policy that runs, by the hash of its files.")?;
    sample(out, "weir_policy_info", &[("id", &policy.id)], 1)?;
    single(out, "weir_policy_generation", "gauge", "Policies published since the start.", policy.generation)?;
    let age = Duration::from_millis(snapshot.unix_ms.saturating_sub(policy.since_unix_ms)).as_secs_f64();
    single(out, "weir_policy_age_seconds", "gauge", "Time since the policy was published.", age)?;
    head(out, "weir_mode_info", "gauge", "The incident mode that is on, or normal.")?;
    sample(out, "weir_mode_info", &[("mode", &snapshot.mode)], 1)?;
    let rules = snapshot.emergency_rules;
    single(out, "weir_emergency_rules", "gauge", "Names that are blocked by command.", rules)?;
    head(out, "weir_build_info", "gauge", "The version that runs.")?;
    sample(out, "weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)
}

fn single(out: &mut String, name: &str, kind: &str, help: &str, value: impl fmt::Display) -> fmt::Result {
    head(out, name, kind, help)?;
    sample(out, name, &[], value)
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) -> fmt::Result {
    out.write_str(name)?;
    for (number, (label, value)) in labels.iter().enumerate() {
        let before = if number == 0 { '{' } else { ',' };
        write!(out, "{before}{label}=\"")?;
        value.chars().try_for_each(|c| escape(out, c))?;
        out.write_char('"')?;
    }
    if !labels.is_empty() {
        out.write_char('}')?;
    }
    writeln!(out, " {value}")
}

/// "label_value can be any sequence of UTF-8 characters, but the backslash, double-quote, and line feed characters have
/// to be escaped".
fn escape(out: &mut String, c: char) -> fmt::Result {
    match c {
        '\\' => out.write_str("\\\\"),
        '"' => out.write_str("\\\""),
        '\n' => out.write_str("\\n"),
        c => out.write_char(c),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use std::collections::HashMap;

    pub(in crate::telemetry) fn snapshot() -> Snapshot {
        let ledger = Ledger::default();
        ledger.count(Outcome::Forwarded, Reason::None, false, Some(Duration::from_millis(3)));
        ledger.count(Outcome::Denied, Reason::Filter, true, Some(Duration::from_micros(40)));
        ledger.count(Outcome::Malformed, Reason::Malformed, false, None);
        ledger.would(Reason::Rrl);
        ledger.upstream(7, UpstreamEvent::Sent);
        Snapshot {
            totals: Totals::of([&ledger]),
            cache: cache::Counters { entries: 5, ..cache::Counters::default() },
            feeds: Vec::new(),
            upstreams: vec![UpstreamRow {
                name: "a \"quoted\\name\"\nx 1".to_owned(),
                pool: "default".to_owned(),
                tier: 1,
                slot: 7,
                healthy: true,
                srtt: Some(Duration::from_micros(1500)),
            }],
            policy: PolicyRow { id: "0a1b2c".to_owned(), generation: 3, since_unix_ms: 1_000 },
            rules: [("storm-player", 9, 0), ("watch:\"it\"", 0, 4), ("storm-player", 1, 1)]
                .map(|(id, decided, monitored)| RuleRow { id: id.to_owned(), decided, monitored })
                .to_vec(),
            mode: "under-attack".to_owned(),
            emergency_rules: 3,
            in_flight: 2,
            alerts: AlertKind::ALL.map(|kind| (kind, kind as u64)),
            alerts_lost: 8,
            samples_lost: 6,
            outbox_lost: 0,
            driver_events: vec![("tcp-full", 4)],
            unix_ms: 3_500,
        }
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_a_declared_metric_and_none_twice() {
        let text = write(&snapshot());
        let (mut kinds, mut series) = (HashMap::new(), HashSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} declared twice");
            } else if !line.starts_with("# HELP ") {
                let (id, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
                let name = id.split('{').next().unwrap();
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                let kind = kinds.get(name).or_else(|| kinds.get(base)).unwrap_or_else(|| panic!("{name} undeclared"));
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                assert!(series.insert(id.to_owned()), "{id} twice");
            }
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn the_numbers_are_those_of_the_ledger() {
        let text = write(&snapshot());
        for line in [
            r#"weir_queries_total{outcome="forwarded",reason="none",transport="udp"} 1"#,
            r#"weir_queries_total{outcome="denied",reason="filter",transport="tcp"} 1"#,
            r#"weir_queries_total{outcome="cache-hit",reason="none",transport="tcp"} 0"#,
            r#"weir_monitored_total{reason="rrl"} 1"#,
            r#"weir_latency_seconds_bucket{by="upstream",le="0.002"} 0"#,
            r#"weir_latency_seconds_bucket{by="upstream",le="0.005"} 1"#,
            r#"weir_latency_seconds_bucket{by="upstream",le="+Inf"} 1"#,
            r#"weir_latency_seconds_bucket{by="gateway",le="0.00005"} 1"#,
            r#"weir_latency_seconds_sum{by="upstream"} 0.003"#,
            r#"weir_upstream_srtt_seconds{upstream="a \"quoted\\name\"\nx 1",pool="default",tier="1"} 0.0015"#,
            r#"weir_upstream_events_total{upstream="a \"quoted\\name\"\nx 1",pool="default",event="sent"} 1"#,
            r#"weir_cache_entries 5"#,
            r#"weir_driver_events_total{event="tcp-full"} 4"#,
            r#"weir_policy_info{id="0a1b2c"} 1"#,
            r#"weir_policy_age_seconds 2.5"#,
            r#"weir_rule_hits_total{rule="storm-player"} 9"#,
            r#"weir_rule_monitored_total{rule="watch:\"it\""} 4"#,
            r#"weir_mode_info{mode="under-attack"} 1"#,
            r#"weir_emergency_rules 3"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        let all: u64 = text.lines().filter(|l| l.starts_with("weir_queries_total{")).map(count).sum();
        assert_eq!(all, 3, "each query exactly once");
    }
}
