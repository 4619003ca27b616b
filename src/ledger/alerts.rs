//! The queue of alerts: of fixed size, lock-free, shared by all workers and by what looks after feeds; the control side
//! takes out, tells and counts. An attack must not be able to slow a worker or fill memory by being noticed: what finds the
//! queue full is counted and lost.

use super::journal::RuleId;
use crate::dns::name::Name;
use crate::language::{Phrase, Text, Told, text};
use crossbeam_queue::ArrayQueue;
use ipnet::IpNet;
use std::sync::atomic::{AtomicU64, Ordering};

/// The attacks that are told apart, and what leaves the gateway open to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AlertKind {
    /// A dead zone, asked again and again by very many real clients.
    RetryStorm,
    /// A live zone, asked for very many names that do not exist.
    RandomSubdomains,
    /// Few networks get many large answers: their addresses are forged.
    Reflection,
    /// Few sources ask far more than they may; or very many that are not known ask more than usual by far.
    Flood,
    /// An answer holds what a rule with `expect` does not: somebody else answers for the name.
    Hijack,
    /// A feed has not been confirmed for longer than it may: its rules act by a copy that is too old.
    OldFeed,
}

impl AlertKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::RetryStorm, Self::RandomSubdomains, Self::Reflection, Self::Flood, Self::Hijack, Self::OldFeed];

    /// The name in metrics, logs and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RetryStorm => "retry-storm",
            Self::RandomSubdomains => "random-subdomains",
            Self::Reflection => "reflection",
            Self::Flood => "flood",
            Self::Hijack => "hijack",
            Self::OldFeed => "old-feed",
        }
    }
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a box would be an allocation on the path of a query; alerts are few
pub enum Subject {
    /// A zone that is asked for, or a name whose answers are forged.
    Zone(Name),
    /// A network that asks, or whose addresses are forged.
    Network(IpNet),
    /// So many sources that none of them stands out: forged ones, or a very large number of machines.
    ManySources,
    /// A feed, by its name, which is as short as the id of a rule that is kept whole.
    Feed(RuleId),
}

impl Told for Subject {
    fn text(&self) -> Text {
        match self {
            Self::Zone(name) => Text::verbatim(name.to_string()),
            Self::Network(network) => Text::verbatim(network.to_string()),
            Self::ManySources => text!("many sources"),
            Self::Feed(name) => Text::verbatim(name.as_str()),
        }
    }
}

/// Why: what was seen of the subject, per second where not said otherwise. What a kind does not look at is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Queries.
    pub queries: u32,
    /// Of 1000 queries, those that failed (storms), that were over a limit (floods), or that came from sources which are
    /// not known (floods from many).
    pub bad_permille: u16,
    /// Distinct names, about.
    pub names: u32,
    /// Distinct sources, about.
    pub sources: u32,
    /// Bytes of queries received.
    pub received: u64,
    /// Bytes of answers sent.
    pub sent: u64,
    /// Bytes of answers that would have been sent without limits.
    pub wanted: u64,
    /// Seconds since a feed was confirmed, and for how many it may be.
    pub age_s: (u64, u64),
}

/// One alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// Which attack.
    pub kind: AlertKind,
    /// On what, or from where.
    pub subject: Subject,
    /// Why.
    pub numbers: Numbers,
    /// What the gateway does about it.
    pub done: Phrase,
}

/// The queue. Who raises need not remember what was raised: the reader tells the same (kind, subject) once and keeps it
/// active while it comes again; about once a second for each subject is enough.
#[derive(Debug)]
pub struct Alerts {
    queue: ArrayQueue<Alert>,
    lost: AtomicU64,
}

impl Alerts {
    /// A queue for `capacity` alerts (at least 1), allocated now.
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity.max(1)), lost: AtomicU64::new(0) }
    }

    /// Bytes that a queue of `capacity` takes, about.
    pub const fn size_bytes(capacity: usize) -> usize {
        capacity * (size_of::<Alert>() + size_of::<usize>())
    }

    /// Queues an alert, or counts it as lost.
    pub fn raise(&self, alert: Alert) {
        if self.queue.push(alert).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<Alert> {
        self.queue.pop()
    }

    /// Alerts that found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(unix_ms: u64) -> Alert {
        Alert {
            unix_ms,
            kind: AlertKind::RetryStorm,
            subject: Subject::Zone(Name::root()),
            numbers: Numbers::default(),
            done: Phrase::default(),
        }
    }

    #[test]
    fn a_full_queue_loses_the_newest_and_counts_it() {
        let alerts = Alerts::new(2);
        (1..=3).for_each(|at| alerts.raise(alert(at)));
        let taken: Vec<_> = std::iter::from_fn(|| alerts.take()).map(|alert| alert.unix_ms).collect();
        assert_eq!((taken, alerts.lost()), (vec![1, 2], 1));
    }

    #[test]
    fn numbers_and_kinds_agree() {
        assert!(AlertKind::ALL.iter().enumerate().all(|(number, &kind)| kind as usize == number));
    }
}
