//! What the rules of the running policy have done: the most active first, so that both what works and what nothing ever
//! hits can be seen.

use crate::language::{Text, text};
use crate::live_policy::Running;
use crate::policy::document::instant;
use crate::policy::hits::{COUNTED_MAX, Counted, HitCount};
use serde::{Deserialize, Serialize};

/// The most rules that are listed for programs; those that were hit least are left out.
pub const LISTED_MAX: usize = 1_000;

/// Rules that are listed for people.
const ROWS: usize = 10;

/// All rules, those about questions and emergency rules included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesStatus {
    /// How many there are.
    pub count: u64,
    /// How many of them nothing has hit.
    pub silent: u64,
    /// How many are too far back to be counted: the first 10 000 are.
    pub uncounted: u64,
    /// Each rule with its hits, the most first, at most 1000; ties in the order in which they are heard.
    pub hits: Vec<RuleStatus>,
}

/// One rule since it was there first; a reload goes on counting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Its id.
    pub rule: String,
    /// The title of its zone; `access` for one about questions.
    pub zone: String,
    /// What it does.
    pub action: String,
    /// Queries that it decided, those that it allowed included.
    pub decided: u64,
    /// Queries that it would have decided without monitor mode.
    pub monitored: u64,
    /// When it was hit last, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl RulesStatus {
    /// Those of what runs.
    pub fn of(running: &Running) -> Self {
        let count = running.rules_len();
        let counted = running.counted_rules().filter_map(|rule| Some((rule, rule.hits.read()?)));
        let mut counted: Vec<_> = counted.collect();
        let silent = counted.iter().filter(|(_, count)| count.all() == 0).count();
        let uncounted = count - counted.len();
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(count.all()));
        let row = |(rule, count): (Counted<'_>, HitCount)| RuleStatus {
            rule: rule.id.to_owned(),
            zone: rule.zone.to_owned(),
            action: rule.action.to_owned(),
            decided: count.decided,
            monitored: count.monitored,
            last: count.last_unix_ms.map(instant::show),
            owner: rule.owner.map(str::to_owned),
            ticket: rule.ticket.map(str::to_owned),
        };
        let hits = counted.into_iter().take(LISTED_MAX).map(row).collect();
        Self { count: count as u64, silent: silent as u64, uncounted: uncounted as u64, hits }
    }
}

impl RulesStatus {
    /// The lines of the status; none without rules.
    pub(super) fn lines(&self) -> Vec<Text> {
        let Self { count, silent, uncounted, hits } = self;
        if *count == 0 {
            return Vec::new();
        }
        let mut lines = vec![match uncounted {
            0 => text!("rules       {count}, {silent} never hit", count, silent),
            _ => text!(
                "rules       {count}, {silent} never hit, {uncounted} behind the first {most} not counted",
                count,
                silent,
                uncounted,
                most = COUNTED_MAX
            ),
        }];
        let rows = || hits.iter().filter(|row| row.decided + row.monitored > 0).take(ROWS);
        let width = rows().map(|row| row.rule.len()).max().unwrap_or(0);
        lines.extend(rows().map(|row| row.line(width)));
        lines
    }
}

impl RuleStatus {
    fn line(&self, width: usize) -> Text {
        let Self { rule, action, decided, monitored, last, owner, ticket, .. } = self;
        let rule = format!("{rule:<width$}");
        let did = match last {
            Some(last) => text!(
                "  {rule}  {action}, {decided} decided, {monitored} monitored, last {last}",
                rule,
                action,
                decided,
                monitored,
                last
            ),
            None => text!(
                "  {rule}  {action}, {decided} decided, {monitored} monitored, last never",
                rule,
                action,
                decided,
                monitored
            ),
        };
        let owner = owner.iter().map(|owner| text!("owner {owner}", owner));
        let ticket = ticket.iter().map(|ticket| text!("ticket {ticket}", ticket));
        Text::joined(", ", std::iter::once(did).chain(owner).chain(ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rule: &str, decided: u64, monitored: u64) -> RuleStatus {
        RuleStatus { rule: rule.into(), action: "nxdomain".into(), decided, monitored, ..RuleStatus::default() }
    }

    #[test]
    fn the_text_shows_what_was_hit_and_counts_what_was_not() {
        let noted = RuleStatus {
            last: Some("2026-01-01T00:00:00Z".into()),
            owner: Some("noc".into()),
            ticket: Some("SEC-1".into()),
            ..row("a", 7, 2)
        };
        let status =
            RulesStatus { count: 3, silent: 1, uncounted: 0, hits: vec![noted, row("long-id", 0, 1), row("c", 0, 0)] };
        let expected = "rules       3, 1 never hit\n  \
            a        nxdomain, 7 decided, 2 monitored, last 2026-01-01T00:00:00Z, owner noc, ticket SEC-1\n  \
            long-id  nxdomain, 0 decided, 1 monitored, last never\n";
        assert_eq!(Text::lines(status.lines()).english(), expected);
        assert_eq!(RulesStatus::default().lines(), [], "without rules there is nothing to say");
        let many = RulesStatus { count: 12_000, silent: 0, uncounted: 2_000, hits: Vec::new() };
        let told = "rules       12000, 0 never hit, 2000 behind the first 10000 not counted\n";
        assert_eq!(Text::lines(many.lines()).english(), told);
    }
}
