//! Puts together how the gateway is, from the counters of all workers and the policy that runs.

use super::{ALERTS, FLIGHTS_MAX, JOURNAL_ENTRIES, SAMPLES, Site};
use crate::control::feeds::report::FeedStatus;
use crate::control::incidents::auto::Sample;
use crate::control::rules::RulesStatus;
use crate::control::status::{
    self, CacheStatus, CookieStatus, Memory, MemoryLimit, PolicyStatus, Queries, Status, UpstreamStatus, seconds_text,
};
use crate::control::top::{self, STATUS_ROWS, Top};
use crate::gateway::Gateway;
use crate::language::{Text, Told as _, text};
use crate::ledger::alerts::{AlertKind, Alerts};
use crate::ledger::journal::Journal;
use crate::ledger::recent::Recent;
use crate::ledger::samples::Samples;
use crate::ledger::watch::Watch;
use crate::ledger::{CookieEvent, Totals, UpstreamEvent};
use crate::listen::Event;
use crate::live_policy::{Running, Shared};
use crate::policy::access::Question;
use crate::policy::document::instant;
use crate::policy::filter::Rule;
use crate::policy::hits::{Counted, RuleHits};
use crate::policy::modes::NORMAL;
use crate::storm::Storms;
use crate::telemetry::exposition::{FeedRow, PolicyRow, RULES_MAX, RuleRow, Snapshot, UpstreamRow};
use crate::upstream::Upstream;
use crate::verdict::{Outcome, Reason};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// What one client connection takes to read a query: the greatest with its length (RFC 1035 section 4.2.2).
const TCP_QUERY_BYTES: u64 = 65_537;

/// Answers that the clients of one worker have not taken; who exceeds it is cut off (`listen::connection`).
const TCP_ANSWERS_BYTES: u64 = 64 << 20;

/// How long before its end a rule is a warning.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// The most rules whose end is told.
const ENDS_MAX: usize = 20;

/// The status now.
pub(super) fn status(site: &Site) -> Status {
    let running = site.shared.live.load();
    let totals = site.totals();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: site.started.elapsed().as_secs(),
        policy: PolicyStatus {
            id: running.policy.id.to_string(),
            generation: running.generation,
            origin: site.origin.text(),
            age_s: site.clock.now().unix_ms.saturating_sub(running.since_unix_ms) / 1000,
        },
        incidents: site.incidents.status(),
        unconfirmed: site.history.waiting(),
        last_reload: site.last_reload(),
        listeners: running.policy.server.listen.iter().map(ToString::to_string).collect(),
        workers: site.workers,
        queries: queries(&totals, site.in_flight()),
        rules: RulesStatus::of(&running),
        cookies: cookies(&running, &totals),
        cache: cache(&site.shared, &totals),
        upstreams: upstreams(&running, &totals),
        memory: Memory {
            resident_bytes: status::resident_bytes(),
            limits: limits(&site.shared, &running, site.workers),
        },
        feeds: site.feeds.list(None).map(|list| list.feeds).unwrap_or_default(),
        top: top(site, STATUS_ROWS),
        warnings: warnings(site, &running),
    }
}

/// Who it is, now.
pub(super) fn top(site: &Site, rows: usize) -> Top {
    let watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
    top::top(&watch, site.clock.now(), rows, site.shared.samples.lost())
}

/// What is exposed as metrics now.
pub(super) fn snapshot(site: &Site) -> Snapshot {
    let running = site.shared.live.load();
    let alerts = {
        let watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
        AlertKind::ALL.map(|kind| (kind, watch.alerts.begun(kind)))
    };
    let row = |upstream: &Upstream| {
        let (settings, srtt) = (&upstream.settings, upstream.state.srtt());
        UpstreamRow {
            name: settings.name.clone(),
            pool: pool_name(&running, settings.pool).to_owned(),
            tier: settings.tier,
            slot: upstream.link.slot,
            healthy: upstream.state.is_up(),
            srtt: (!srtt.is_zero()).then_some(srtt),
        }
    };
    let happened = |event| site.tallies.iter().map(|tally| tally.of(event)).sum();
    Snapshot {
        totals: site.totals(),
        cache: site.shared.cache.counters(),
        upstreams: running.routing.upstreams.iter().map(row).collect(),
        policy: PolicyRow {
            id: running.policy.id.to_string(),
            generation: running.generation,
            since_unix_ms: running.since_unix_ms,
        },
        mode: running.mode.clone().unwrap_or_else(|| NORMAL.to_owned()),
        rules: running.counted_rules().take(RULES_MAX).map(rule_row).collect(),
        emergency_rules: site.incidents.rules() as u64,
        in_flight: site.in_flight(),
        alerts,
        alerts_lost: site.shared.alerts.lost(),
        samples_lost: site.shared.samples.lost(),
        feeds: site.feeds.list(None).map(|list| list.feeds).unwrap_or_default().into_iter().map(feed_row).collect(),
        outbox_lost: happened(Event::OutboxLost),
        driver_events: Event::ALL.iter().map(|event| (event.name(), happened(*event))).collect(),
        unix_ms: site.clock.now().unix_ms,
    }
}

fn feed_row(feed: FeedStatus) -> FeedRow {
    FeedRow {
        name: feed.name,
        entries: feed.entries.unwrap_or(0),
        serial: feed.serial,
        age_s: feed.age_s,
        is_old: feed.is_old,
        is_held: feed.held.is_some(),
        looks_ok: feed.looks_ok,
        looks_failed: feed.looks - feed.looks_ok.min(feed.looks),
        notified: feed.notified,
    }
}

fn rule_row(rule: Counted<'_>) -> RuleRow {
    let count = rule.hits.read().unwrap_or_default();
    RuleRow { id: rule.id.to_owned(), decided: count.decided, monitored: count.monitored }
}

fn pool_name(running: &Running, pool: usize) -> &str {
    running.policy.server.pools.get(pool).map_or("", |pool| pool.name.as_str())
}

fn queries(totals: &Totals, in_flight: u64) -> Queries {
    let some = |count: &dyn Fn(Reason) -> u64| -> BTreeMap<String, u64> {
        let reasons = Reason::ALL.iter().filter(|reason| **reason != Reason::None);
        reasons.map(|reason| (reason.name().to_owned(), count(*reason))).filter(|(_, count)| *count > 0).collect()
    };
    let by_reason = |reason| {
        let of = |outcome: &Outcome| totals.queries(*outcome, reason, false) + totals.queries(*outcome, reason, true);
        Outcome::ALL.iter().map(of).sum()
    };
    let outcomes: BTreeMap<_, _> =
        Outcome::ALL.iter().map(|outcome| (outcome.name().to_owned(), totals.outcome(*outcome))).collect();
    Queries {
        total: outcomes.values().sum(),
        outcomes,
        reasons: some(&by_reason),
        monitored: some(&|reason| totals.would(reason)),
        in_flight,
    }
}

fn cookies(running: &Running, totals: &Totals) -> CookieStatus {
    let policy = &running.policy.cookies;
    CookieStatus {
        mode: policy.mode.name().to_owned(),
        require: policy.require,
        secrets_of_file: policy.secrets.is_some(),
        valid: totals.cookies(CookieEvent::Valid),
        wrong: totals.cookies(CookieEvent::Wrong),
        client_only: totals.cookies(CookieEvent::ClientOnly),
    }
}

fn cache(shared: &Shared, totals: &Totals) -> CacheStatus {
    let counters = shared.cache.counters();
    let hits = [Outcome::CacheHit, Outcome::CacheStale, Outcome::CacheFailure];
    CacheStatus {
        entries: counters.entries,
        bytes: counters.bytes,
        size_bytes: counters.size_bytes,
        hits: hits.iter().map(|outcome| totals.outcome(*outcome)).sum(),
        evictions: counters.evictions,
    }
}

fn upstreams(running: &Running, totals: &Totals) -> Vec<UpstreamStatus> {
    let one = |upstream: &Upstream| {
        let settings = &upstream.settings;
        let srtt = upstream.state.srtt();
        let count = |event| totals.upstream(upstream.link.slot, event);
        UpstreamStatus {
            name: settings.name.clone(),
            address: settings.address.to_string(),
            pool: pool_name(running, settings.pool).to_owned(),
            tier: settings.tier,
            healthy: upstream.state.is_up(),
            srtt_ms: (!srtt.is_zero()).then_some(srtt.as_secs_f64() * 1000.0),
            queries: count(UpstreamEvent::Sent),
            timeouts: count(UpstreamEvent::Timeout),
        }
    };
    running.routing.upstreams.iter().map(one).collect()
}

/// What the configuration allows, part by part; the sum is the most that the parts which grow with traffic can take.
pub(super) fn limits(shared: &Shared, running: &Running, workers: usize) -> Vec<MemoryLimit> {
    let limit = |what: Text, bytes: u64| MemoryLimit { what, bytes };
    let zones = running.policy.storm.zones;
    let guard = &running.policy.server.guard;
    let connections = running.policy.tcp.connections as u64;
    vec![
        limit(text!("cache"), shared.cache.counters().size_bytes),
        limit(text!("source limit table"), shared.source.bytes() as u64),
        limit(text!("rrl table"), shared.rrl.bytes() as u64),
        limit(text!("sources that are known"), shared.regulars.bytes() as u64),
        limit(
            text!("queries in flight: {n} in each of {workers} workers", n = FLIGHTS_MAX, workers),
            (workers * Gateway::size_bytes(FLIGHTS_MAX)) as u64,
        ),
        limit(text!("zones in flight and names known to exist"), shared.storm.size_bytes() as u64),
        limit(
            text!("accounts of {zones} zones in each of {workers} workers", zones, workers),
            (workers * Storms::size_bytes(zones)) as u64,
        ),
        limit(
            text!("hits of rules in each of {workers} workers", workers),
            RuleHits::size_bytes(running.counted_rules().count(), workers) as u64,
        ),
        limit(text!("budgets of filter rules"), shared.budgets.bytes() as u64),
        limit(text!("query log: {n} lines waiting", n = JOURNAL_ENTRIES), Journal::size_bytes(JOURNAL_ENTRIES) as u64),
        limit(
            text!(
                "who it is: {samples} samples and {alerts} alerts waiting, and the summaries",
                samples = SAMPLES,
                alerts = ALERTS
            ),
            (Samples::size_bytes(SAMPLES) + Alerts::size_bytes(ALERTS) + Watch::size_bytes()) as u64,
        ),
        limit(
            text!("{n} queries of the last {time}", n = guard.queries, time = seconds_text(guard.age.as_secs())),
            Recent::size_bytes(guard.queries) as u64,
        ),
        limit(text!("queries of {connections} TCP connections", connections), connections * TCP_QUERY_BYTES),
        limit(
            text!("answers that TCP clients have not taken, in {workers} workers", workers),
            workers as u64 * TCP_ANSWERS_BYTES,
        ),
    ]
}

/// Measures what happened since it was asked last, for modes that begin by themselves.
#[derive(Debug)]
pub(super) struct Sampler {
    at: Instant,
    before: [u64; 3],
}

impl Sampler {
    pub(super) fn new(site: &Site) -> Self {
        Self { at: Instant::now(), before: counts(&site.totals()) }
    }

    pub(super) fn take(&mut self, site: &Site) -> Sample {
        let (now, counted) = (Instant::now(), counts(&site.totals()));
        let milliseconds = u64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(u64::MAX).max(1);
        let [queries, dropped, overload] = [0, 1, 2].map(|n| counted[n].saturating_sub(self.before[n]));
        (self.at, self.before) = (now, counted);
        let per_second = |count: u64| count.saturating_mul(1000) / milliseconds;
        let routing = &site.shared.live.load().routing;
        let is_down = |pool: usize| {
            let mut members = routing.upstreams.iter().filter(|upstream| upstream.settings.pool == pool).peekable();
            members.peek().is_some() && members.all(|upstream| !upstream.state.is_up())
        };
        Sample {
            queries: per_second(queries),
            dropped_percent: (dropped * 100).checked_div(queries).unwrap_or(0),
            overload: per_second(overload),
            upstream_down: (0..routing.pools.len()).any(is_down),
        }
    }
}

/// All queries; those that a policy dropped or truncated; those that found a bounded table full.
fn counts(totals: &Totals) -> [u64; 3] {
    let of = |outcome, reason| totals.queries(outcome, reason, false) + totals.queries(outcome, reason, true);
    let by_policy = Reason::ALL.iter().filter(|reason| !matches!(reason, Reason::Oversized | Reason::Overload));
    let dropped = by_policy.map(|reason| of(Outcome::Dropped, *reason) + of(Outcome::Truncated, *reason)).sum();
    let overload = Outcome::ALL.iter().map(|outcome| of(*outcome, Reason::Overload)).sum();
    [totals.all(), dropped, overload]
}

fn warnings(site: &Site, running: &Running) -> Vec<Text> {
    let mut warnings = site.warnings();
    warnings.extend(site.incidents.warnings());
    warnings.extend(site.history.warnings());
    warnings.extend(site.feeds.warnings());
    let questions = running.policy.access.questions().iter().map(Question::counted);
    let rules = questions.chain(running.policy.filter.rules().iter().map(Rule::counted));
    warnings.extend(ends(rules, site.clock.now().unix_ms));
    for upstream in &running.routing.upstreams {
        let name = &upstream.settings.name;
        if !upstream.state.is_up() {
            warnings.push(text!("upstream {name} is down", name));
        }
        if upstream.state.probe_truncated() {
            warnings.push(text!(
                "upstream {name} answers probes with TC=1: its own rate limit counts the gateway as one client; exempt it there",
                name
            ));
        }
    }
    warnings
}

/// Rules that have expired, and those that will within a week: a rule that ends unnoticed is one that is missed.
fn ends<'r>(rules: impl Iterator<Item = Counted<'r>>, now_ms: u64) -> Vec<Text> {
    let ending = rules.filter_map(|rule| Some((rule, rule.expires_ms?)));
    let soon = ending.filter(|(_, expires_ms)| *expires_ms < now_ms.saturating_add(SOON.as_millis() as u64));
    let told = soon.take(ENDS_MAX).map(|(rule, expires_ms)| {
        let (id, when) = (rule.id, instant::show(expires_ms));
        let owner = rule.owner;
        match expires_ms > now_ms {
            true => with_owner(text!("rule {id:?} expires at {when}", id, when), owner),
            false => with_owner(text!("rule {id:?} has expired at {when}", id, when), owner),
        }
    });
    told.collect()
}

fn with_owner(told: Text, owner: Option<&str>) -> Text {
    Text::joined(", ", std::iter::once(told).chain(owner.map(|owner| text!("owner {owner}", owner))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::filter::{Action, Scope};

    #[test]
    fn rules_that_end_within_a_week_are_named() {
        let ending = |id: &str, expires_ms| Rule {
            scope: Scope { expires_ms, ..Scope::default() },
            owner: Some("noc".to_owned()),
            ..Rule::new(id, "zone", 0, Action::Nxdomain)
        };
        let (now, day) = (1_767_225_600_000, 86_400_000);
        let rules = [
            ending("never", None),
            ending("late", Some(now + 7 * day)),
            ending("soon", Some(now + 6 * day)),
            ending("over", Some(now)),
        ];
        let expected = [
            "rule \"soon\" expires at 2026-01-07T00:00:00Z, owner noc",
            "rule \"over\" has expired at 2026-01-01T00:00:00Z, owner noc",
        ];
        let told: Vec<_> = ends(rules.iter().map(Rule::counted), now).iter().map(Text::english).collect();
        assert_eq!(told, expected);
        let many: Vec<_> = (0..100).map(|_| ending("over", Some(now))).collect();
        assert_eq!(ends(many.iter().map(Rule::counted), now).len(), ENDS_MAX);
    }
}
