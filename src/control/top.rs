//! Who it is, as a value: the heaviest sources, names and what is refused, and the alerts that go on, with what the gateway
//! does about each and what it suggests. For programs as JSON; `weir top` and `weir status` write it as text.

use super::status::seconds_text;
use crate::clock::Now;
use crate::language::{Text, Told as _, text};
use crate::ledger::alerts::{Alert, AlertKind, Numbers, Subject};
use crate::ledger::hitters::{Account, Hitter, Hitters};
use crate::ledger::traffic::{RATE, Traffic};
use crate::ledger::watch::{Refused, Watch};
use crate::policy::document::words::TypeName;
use serde::{Deserialize, Serialize};
use std::hash::Hash;

/// Rows of a list at the most.
pub const ROWS_MAX: usize = 100;

/// Rows of each list in the status.
pub const STATUS_ROWS: usize = 3;

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Addresses of clients.
    Source,
    /// Their networks: /24 of IPv4, /56 of IPv6.
    Network,
    /// Zones, about: what somebody has registered.
    Zone,
    /// Names.
    Name,
    /// Types.
    Type,
    /// What refused, or in monitor mode would have, and which network.
    Reason,
}

impl By {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] = [Self::Source, Self::Network, Self::Zone, Self::Name, Self::Type, Self::Reason];

    /// The word on the command line and over a list.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Network => "network",
            Self::Zone => "zone",
            Self::Name => "name",
            Self::Type => "type",
            Self::Reason => "reason",
        }
    }
}

/// What goes on now. Numbers are of the last seconds, and estimates: they come from samples. Fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// Queries a second.
    pub queries_per_s: f64,
    /// Of these, how many a policy refused; not what monitor mode would have.
    pub refused_per_s: f64,
    /// The alerts that go on, the oldest first.
    pub alerts: Vec<AlertRow>,
    /// How often an alert was raised that had no room among them, since the start.
    #[serde(default)]
    pub alerts_unlisted: u64,
    /// The heaviest of each kind.
    pub lists: Vec<List>,
    /// Samples lost, since the start: the numbers are too low when it grows.
    #[serde(default)]
    pub samples_lost: u64,
}

/// The heaviest of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// Which kind.
    pub by: By,
    /// The heaviest first.
    pub rows: Vec<Row>,
}

/// One of the heaviest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who or what; names as master-file text, ASCII with escapes.
    pub what: Text,
    /// Queries a second, at least.
    pub queries_per_s: f64,
    /// So many more at the most.
    pub error_per_s: f64,
    /// The part of all queries, 0 to 1.
    pub share: f64,
    /// Of a source or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficRow>,
}

/// What a source or network asks and gets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// The part of its queries that was over a limit, or would have been in monitor mode: 0 to 1.
    pub over: f64,
    /// Bytes a second that came over UDP, and that went.
    pub received_per_s: f64,
    /// See above.
    pub sent_per_s: f64,
    /// Distinct questions of about the last second, among samples.
    pub questions: u32,
}

/// An alert that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// Which attack.
    pub kind: String,
    /// On which zone, or from or toward which network.
    pub subject: Text,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub since_unix_ms: u64,
    /// Seconds since then.
    pub age_s: u64,
    /// The numbers that gave it away.
    pub why: Text,
    /// What the gateway does.
    pub done: Text,
    /// What somebody may do.
    pub suggestion: Text,
}

/// What goes on now, with `rows` rows of each list.
pub fn top(watch: &Watch, now: Now, rows: usize, samples_lost: u64) -> Top {
    let rows = rows.min(ROWS_MAX);
    let all = watch.types.total();
    let list = |by, rows| List { by, rows };
    let lists = vec![
        list(By::Source, traffic_rows(&watch.hosts, rows, |host| plain(&host.addr()))),
        list(By::Network, traffic_rows(&watch.networks, rows, plain)),
        list(By::Zone, plain_rows(&watch.zones, all, rows, plain)),
        list(By::Name, plain_rows(&watch.names, all, rows, plain)),
        list(By::Type, plain_rows(&watch.types, all, rows, type_text)),
        list(By::Reason, plain_rows(&watch.denied, all, rows, refused_text)),
    ];
    let alerts = watch.alerts.list(now).map(|(active, age)| AlertRow {
        kind: active.alert.kind.name().to_owned(),
        subject: active.alert.subject.text(),
        since_unix_ms: active.since_unix_ms,
        age_s: age.as_secs(),
        why: why(&active.alert),
        done: active.alert.done.text(),
        suggestion: suggestion(&active.alert),
    });
    Top {
        unix_ms: now.unix_ms,
        queries_per_s: all * RATE,
        refused_per_s: watch.refused() * RATE,
        alerts: alerts.collect(),
        alerts_unlisted: watch.alerts.unlisted(),
        lists,
        samples_lost,
    }
}

fn refused_text(Refused { reason, monitored, network }: &Refused) -> Text {
    let (reason, network) = (reason.name(), network);
    match monitored {
        true => text!("would: {reason} {network}", reason, network),
        false => Text::verbatim(format!("{reason} {network}")),
    }
}

fn type_text(qtype: &u16) -> Text {
    if *qtype == 0 { text!("unreadable") } else { Text::verbatim(TypeName(*qtype).to_string()) }
}

/// What is the same in every language.
fn plain(what: &impl ToString) -> Text {
    Text::verbatim(what.to_string())
}

fn plain_rows<K: Clone + Eq + Hash, V: Account>(
    hitters: &Hitters<K, V>,
    all: f64,
    rows: usize,
    text: impl Fn(&K) -> Text,
) -> Vec<Row> {
    hitters.top(rows).iter().map(|hitter| row(hitter, all, &text)).collect()
}

fn traffic_rows<K: Clone + Eq + Hash>(
    hitters: &Hitters<K, Traffic>,
    rows: usize,
    text: impl Fn(&K) -> Text,
) -> Vec<Row> {
    let with_traffic = |hitter: &Hitter<'_, K, Traffic>| {
        let Traffic { queries, over, limited, received, sent, .. } = hitter.account;
        let over = ((over + limited) / queries.max(f64::MIN_POSITIVE)).min(1.0);
        let (received_per_s, sent_per_s, questions) = (received * RATE, sent * RATE, hitter.account.questions());
        let traffic = Some(TrafficRow { over, received_per_s, sent_per_s, questions });
        Row { traffic, ..row(hitter, hitters.total(), &text) }
    };
    hitters.top(rows).iter().map(with_traffic).collect()
}

fn row<K, V>(hitter: &Hitter<'_, K, V>, all: f64, text: &impl Fn(&K) -> Text) -> Row {
    let certain = hitter.weight - hitter.error;
    Row {
        what: text(hitter.key),
        queries_per_s: certain * RATE,
        error_per_s: hitter.error * RATE,
        share: (certain / all.max(f64::MIN_POSITIVE)).min(1.0),
        traffic: None,
    }
}

/// The numbers that gave an attack away, as a sentence without an end.
pub fn why(alert: &Alert) -> Text {
    let Numbers { queries, bad_permille, names, sources, received, sent, wanted, age_s } = alert.numbers;
    let percent = bad_permille / 10;
    let times = |bytes: u64| format!("{:.1}", bytes as f64 / received.max(1) as f64);
    match alert.kind {
        AlertKind::RetryStorm | AlertKind::RandomSubdomains => {
            text!("{queries} q/s, {percent}% fail, {names} names, {sources} sources", queries, percent, names, sources)
        }
        AlertKind::Reflection => text!(
            "{queries} q/s over UDP, {names} questions, answers {wanted}x the queries, sent {sent}x, {percent}% over limits",
            queries,
            names,
            wanted = times(wanted),
            sent = times(sent),
            percent
        ),
        AlertKind::Flood if alert.subject == Subject::ManySources => text!(
            "{queries} q/s, {percent}% from sources that are not known, at least {sources} of them",
            queries,
            percent,
            sources
        ),
        AlertKind::Hijack => text!("an answer that no expect rule admits"),
        AlertKind::Flood => {
            text!("{queries} q/s, {percent}% over the source limit, {sources} sources", queries, percent, sources)
        }
        AlertKind::OldFeed => text!(
            "not confirmed for {age}, and may be for {limit} at most",
            age = seconds_text(age_s.0),
            limit = seconds_text(age_s.1)
        ),
    }
}

/// What somebody may do about an attack: a command, where there is one.
pub fn suggestion(alert: &Alert) -> Text {
    let subject = alert.subject.text();
    match (alert.kind, &alert.subject) {
        (AlertKind::RetryStorm, Subject::Zone(_)) => {
            text!("weir block {zone} --for 1h --reason \"retry storm\"", zone = subject)
        }
        (AlertKind::Flood, Subject::Network(_)) => text!(
            "weir mode under-attack --for 30m --reason \"flood\"; or deny {network} in access.toml",
            network = subject
        ),
        (AlertKind::Hijack, _) => {
            text!("weir explain {subject}; then the zone's registrar and its name servers: who changed them?", subject)
        }
        (AlertKind::OldFeed, feed) => {
            text!("weir feed {feed}; weir feed refresh {feed}", feed = feed.text())
        }
        (kind, _) => Text::verbatim(format!("weir mode under-attack --for 30m --reason \"{}\"", kind.name())),
    }
}

/// A number of queries or bytes a second in at most 6 characters.
pub fn rate_text(rate: f64) -> String {
    match rate {
        _ if rate < 9.95 => format!("{rate:.1}"),
        _ if rate < 99_999.5 => format!("{rate:.0}"),
        _ if rate < 9_999_500.0 => format!("{:.0}k", rate / 1e3),
        _ if rate < 9_999_500_000.0 => format!("{:.0}M", rate / 1e6),
        _ => format!("{:.0}G", rate / 1e9),
    }
}

impl Top {
    /// The list of a kind.
    pub fn list(&self, by: By) -> &[Row] {
        self.lists.iter().find(|list| list.by == by).map_or(&[], |list| &list.rows)
    }
}

impl Top {
    /// The lines of the status: the heaviest of each kind, and each alert.
    pub(super) fn lines(&self) -> Vec<Text> {
        let mut lines = Vec::new();
        for by in By::ALL.into_iter().filter(|by| !self.list(*by).is_empty()) {
            let rate = |row: &Row| format!("{}/s", rate_text(row.queries_per_s));
            let row = |row: &Row| Text::joined(" ", [row.what.clone(), Text::verbatim(rate(row))]);
            let rows = Text::joined(", ", self.list(by).iter().take(STATUS_ROWS).map(row));
            lines.push(Text::joined("", [Text::verbatim(format!("top {:<8}", by.name())), rows]));
        }
        for AlertRow { kind, subject, age_s, why, done, suggestion, .. } in &self.alerts {
            let age = super::status::seconds_text(*age_s);
            lines.push(text!("ALERT       {kind} {subject}, for {age}: {why}", kind, subject, age, why));
            lines.push(text!("  done      {done}", done));
            lines.push(text!("  try       {suggestion}", suggestion));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::dns::name::Name;
    use crate::language::Phrase;
    use crate::ledger::journal::RuleId;
    use crate::ledger::samples::{Sample, Trace};
    use crate::verdict::{Outcome, Reason};

    fn sample(client: &str, name: &str, reason: Reason, monitored: Option<Reason>) -> Sample {
        let outcome = if reason == Reason::None { Outcome::CacheHit } else { Outcome::Dropped };
        let trace = Trace { sent: 100, whole: 100, monitored };
        let (client, name) = (client.parse().unwrap(), Name::from_text(name).unwrap());
        Sample {
            weight: 10,
            client,
            verified: false,
            known: true,
            tcp: false,
            asks: true,
            name,
            qtype: 28,
            outcome,
            reason,
            received: 40,
            trace,
        }
    }

    #[test]
    fn the_heaviest_are_named_and_what_only_would_be_refused_is_apart() {
        let mut watch = Watch::new(Moment::ZERO);
        for _ in 0..3 {
            watch.note(&sample("192.0.2.1", "www.a.example", Reason::None, Some(Reason::Rrl)));
        }
        watch.note(&sample("2001:db8::1", "www.b.example", Reason::Filter, None));
        watch.note(&sample("2001:db8::1", ".", Reason::Malformed, None));
        let top = top(&watch, Now::default(), 1, 0);
        let first = |by: By| top.list(by).iter().map(|row| row.what.english()).collect::<Vec<_>>();
        let firsts = By::ALL.map(|by| first(by).join(" "));
        let expected = ["192.0.2.1", "192.0.2.0/24", "a.example", "www.a.example", "AAAA", "would: rrl 192.0.2.0/24"];
        assert_eq!(firsts, expected, "one row each");
        assert!((top.queries_per_s - 50.0 * RATE).abs() < 1e-6 && (top.refused_per_s - 20.0 * RATE).abs() < 1e-6);
        let row = &top.list(By::Source)[0];
        let traffic = row.traffic.expect("of a source");
        assert!((row.share - 0.6).abs() < 1e-6 && (traffic.over - 1.0).abs() < 1e-6, "{row:#?}");
        assert!((traffic.sent_per_s / traffic.received_per_s - 2.5).abs() < 1e-6, "{row:#?}");
        let json = serde_json::to_string(&top).unwrap();
        assert_eq!(serde_json::from_str::<Top>(&json).unwrap().lists.len(), By::ALL.len());
    }

    #[test]
    fn an_alert_says_why_and_what_may_be_done() {
        let zone = Subject::Zone(Name::from_text("dead.example").unwrap());
        let network = Subject::Network("192.0.2.0/24".parse().unwrap());
        let numbers = Numbers {
            queries: 900,
            bad_permille: 987,
            names: 2,
            sources: 3,
            received: 40,
            sent: 20,
            wanted: 1000,
            age_s: (7_200, 3_600),
        };
        let cases = [
            (AlertKind::RetryStorm, zone, "98% fail, 2 names, 3 sources", "weir block dead.example --for 1h"),
            (AlertKind::RandomSubdomains, zone, "900 q/s", "weir mode under-attack --for 30m"),
            (AlertKind::Reflection, network, "answers 25.0x the queries, sent 0.5x", "weir mode under-attack"),
            (AlertKind::Flood, network, "98% over the source limit, 3 sources", "deny 192.0.2.0/24"),
            (
                AlertKind::OldFeed,
                Subject::Feed(RuleId::new("bad")),
                "for 2 h, and may be for 1 h",
                "weir feed refresh bad",
            ),
            (AlertKind::Flood, Subject::ManySources, "98% from sources that are not known", "--reason \"flood\""),
        ];
        for (kind, subject, reason, way_out) in cases {
            let alert = Alert { unix_ms: 0, kind, subject, numbers, done: Phrase::default() };
            assert!(why(&alert).english().contains(reason), "{:?}", why(&alert));
            assert!(suggestion(&alert).english().contains(way_out), "{:?}", suggestion(&alert));
        }
    }

    #[test]
    fn rates_take_six_characters() {
        for (rate, text) in [(0.0, "0.0"), (9.94, "9.9"), (9.96, "10"), (99_999.0, "99999"), (123_456.0, "123k")] {
            assert_eq!(rate_text(rate), text);
        }
        assert!([1e-9, 9_999_499.0, 1e7, 9.9e9, 9.9e13].iter().all(|rate| rate_text(*rate).len() <= 6));
    }
}
