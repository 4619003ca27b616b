//! The queue of queries to be logged: of fixed size, lock-free, shared by all workers; the control side takes out and
//! writes. A log must never slow a query or grow: what is over the rate, or finds the queue full, is counted and lost.

use super::Ledger;
use crate::dns::name::Name;
use crate::verdict::{Outcome, Reason};
use crossbeam_queue::ArrayQueue;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest rule id that is kept whole, in bytes; a longer one is cut.
pub const RULE_MAX: usize = 64;

/// The id of a rule, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    len: u8,
    bytes: [u8; RULE_MAX],
}

impl RuleId {
    /// Keeps the first [`RULE_MAX`] bytes of `id`, whole characters only.
    pub fn new(id: &str) -> Self {
        let len = (0..=id.len().min(RULE_MAX)).rev().find(|&len| id.is_char_boundary(len)).unwrap_or(0);
        let mut bytes = [0; RULE_MAX];
        bytes[..len].copy_from_slice(&id.as_bytes()[..len]);
        Self { len: len as u8, bytes }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// One query as it is logged.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// Who asked.
    pub client: SocketAddr,
    /// Over TCP.
    pub tcp: bool,
    /// The name asked for, in lower case.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// What decided.
    pub reason: Reason,
    /// The rule that decided.
    pub rule: Option<RuleId>,
    /// Nothing was done: outcome and reason are what a rule or section in monitor mode would have done.
    pub monitored: bool,
    /// From its arrival to its end.
    pub took: Duration,
    /// The slot of the upstream that answered.
    pub upstream: Option<u16>,
}

/// How much is logged of what may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Every Nth of each worker; 0 counts as 1.
    pub sample: u32,
    /// At most so many a second, of all workers.
    pub rate: u32,
}

/// The queue.
#[derive(Debug)]
pub struct Journal {
    queue: ArrayQueue<Entry>,
    /// The second (upper half) and how many were taken in it.
    window: AtomicU64,
}

impl Journal {
    /// A queue for `entries_max` queries, allocated now.
    pub fn new(entries_max: usize) -> Self {
        Self { queue: ArrayQueue::new(entries_max.max(1)), window: AtomicU64::new(0) }
    }

    /// Bytes that a queue of `entries_max` takes, about.
    pub const fn size_bytes(entries_max: usize) -> usize {
        entries_max * (size_of::<Entry>() + size_of::<usize>())
    }

    /// Queues what `entry` makes when it is its turn in the sample and the second's rate is not used up. `ledger` is the
    /// worker's own; it keeps the turn and counts what is lost.
    pub fn offer(&self, ledger: &Ledger, quota: Quota, unix_ms: u64, entry: impl FnOnce() -> Entry) {
        if !ledger.journal_turn(quota.sample) {
            return;
        }
        if !self.within_rate(unix_ms / 1000, quota.rate) || self.queue.push(entry()).is_err() {
            ledger.journal_lost.add(1);
        }
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<Entry> {
        self.queue.pop()
    }

    /// Takes one from the second's rate. Over the rate it only reads, so that a flood does not make the workers contend
    /// for one cache line. A worker whose batch began in the second before counts for this one.
    fn within_rate(&self, second: u64, rate: u32) -> bool {
        let second = second & 0xffff_ffff;
        let take = |window: u64| {
            let (current, used) = (window >> 32, window & 0xffff_ffff);
            let is_current = current == second || current == second + 1;
            match is_current {
                true if used >= u64::from(rate) => None,
                true => Some(window + 1),
                false if rate == 0 => None,
                false => Some(second << 32 | 1),
            }
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Whether a policy, rather than the plain path or a fault, ended the query: what `queries = "denied"` logs.
pub fn is_denied(outcome: Outcome, reason: Reason) -> bool {
    let by_policy = matches!(
        reason,
        Reason::Access
            | Reason::Question
            | Reason::Transfer
            | Reason::Notify
            | Reason::Update
            | Reason::Source
            | Reason::Rrl
            | Reason::Cookies
            | Reason::Filter
            | Reason::Rebinding
            | Reason::Storm
            | Reason::Subdomains
    );
    // Failed: what a storm is answered with.
    let ended = matches!(
        outcome,
        Outcome::Denied | Outcome::Truncated | Outcome::Dropped | Outcome::Rejected | Outcome::Failed
    );
    by_policy && ended
}

#[cfg(test)]
mod tests {
    use super::super::Totals;
    use super::*;

    fn entry(number: u16) -> Entry {
        Entry {
            unix_ms: 5_000,
            client: "192.0.2.1:5353".parse().unwrap(),
            tcp: false,
            name: Name::root(),
            qtype: number,
            qclass: 1,
            outcome: Outcome::Denied,
            reason: Reason::Filter,
            rule: None,
            monitored: false,
            took: Duration::ZERO,
            upstream: None,
        }
    }

    fn offer(journal: &Journal, ledger: &Ledger, (sample, rate): (u32, u32), unix_ms: u64, number: u16) {
        journal.offer(ledger, Quota { sample, rate }, unix_ms, || entry(number));
    }

    fn taken(journal: &Journal) -> Vec<u16> {
        std::iter::from_fn(|| journal.take()).map(|entry| entry.qtype).collect()
    }

    #[test]
    fn denied_is_what_a_policy_ended() {
        for end in
            [(Outcome::Denied, Reason::Filter), (Outcome::Dropped, Reason::Source), (Outcome::Truncated, Reason::Rrl)]
        {
            assert!(is_denied(end.0, end.1), "{end:?}");
        }
        for end in [
            (Outcome::Truncated, Reason::Oversized),
            (Outcome::Forwarded, Reason::None),
            (Outcome::Forwarded, Reason::Filter),
            (Outcome::Malformed, Reason::Malformed),
            (Outcome::Failed, Reason::Timeout),
        ] {
            assert!(!is_denied(end.0, end.1), "{end:?}");
        }
    }

    #[test]
    fn a_sample_takes_every_nth() {
        let (journal, ledger) = (Journal::new(10), Ledger::default());
        (0..9).for_each(|number| offer(&journal, &ledger, (4, 100), 0, number));
        assert_eq!(taken(&journal), [0, 4, 8]);
        assert_eq!(Totals::of([&ledger]).journal_lost(), 0, "what is not sampled is not lost");
    }

    #[test]
    fn what_is_over_the_rate_or_finds_no_room_is_counted() {
        let (journal, ledger) = (Journal::new(4), Ledger::default());
        let limited = (1, 3);
        (0..5).for_each(|number| offer(&journal, &ledger, limited, 1_999, number));
        assert_eq!(taken(&journal), [0, 1, 2]);
        (5..7).for_each(|number| offer(&journal, &ledger, limited, 2_000, number));
        assert_eq!(taken(&journal), [5, 6], "a new second");
        offer(&journal, &ledger, limited, 1_999, 7);
        offer(&journal, &ledger, limited, 1_999, 8);
        assert_eq!(taken(&journal), [7], "late, and counted for the new second");
        assert_eq!(Totals::of([&ledger]).journal_lost(), 3);
        (0..6).for_each(|number| offer(&journal, &ledger, (1, 100), 3_000, number));
        assert_eq!(taken(&journal), [0, 1, 2, 3]);
        assert_eq!(Totals::of([&ledger]).journal_lost(), 5);
        offer(&journal, &ledger, (1, 0), 9_000, 1);
        assert_eq!((taken(&journal).len(), Totals::of([&ledger]).journal_lost()), (0, 6));
    }

    #[test]
    fn a_long_rule_id_is_cut_between_characters() {
        let long = format!("{}é and more", "x".repeat(RULE_MAX - 1));
        assert_eq!(RuleId::new(&long).as_str(), "x".repeat(RULE_MAX - 1));
        assert_eq!(RuleId::new("storm-player").as_str(), "storm-player");
        assert_eq!(RuleId::new("").as_str(), "");
    }
}
