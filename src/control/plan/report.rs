//! A plan as a person reads it.

use super::guard::{count, percent};
use super::verdicts::{Changed, Verdicts};
use super::written::{KeyChange, ListChange, RuleChange, RuleRow, Written};
use super::{Plan, Side};
use crate::policy::guard::lost;
use std::fmt;

/// Rows of rules, settings and lists that are printed; JSON has more.
const ROWS: usize = 40;

/// Groups of each kind that are printed.
const GROUPS: usize = 10;

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after, of_list } = self;
        f.write_str(key)?;
        if *of_list {
            before.iter().try_for_each(|went| write!(f, " -{went}"))?;
            return after.iter().try_for_each(|came| write!(f, " +{came}"));
        }
        let text = |value: &Option<String>| value.as_deref().unwrap_or("none").to_owned();
        write!(f, " {} -> {}", text(before), text(after))
    }
}

impl fmt::Display for ListChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, before, after } = self;
        match (*before, *after) {
            (Some(before), Some(after)) if before == after => {
                write!(f, "{file}: other contents, {} names", count(after as f64))
            }
            (Some(before), Some(after)) => {
                write!(f, "{file}: {} -> {} names", count(before as f64), count(after as f64))?;
                match before > after {
                    true => write!(f, " (-{})", percent(lost(before, after))),
                    false => write!(f, " (+{})", count((after - before) as f64)),
                }
            }
            (None, after) => write!(f, "{file}: new, {} names", count(after.unwrap_or(0) as f64)),
            (Some(before), None) => write!(f, "{file}: gone, had {} names", count(before as f64)),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "written     nothing differs");
        }
        let Self { added, removed, changed, settings, lists, secrets, on_answers, unlisted } = self;
        writeln!(f, "rules       +{} -{} ~{}", added.len(), removed.len(), changed.len())?;
        let row = |sign: char| move |RuleRow { id, file, says }: &RuleRow| format!("  {sign} {id} ({file}): {says}");
        rows(f, added.iter().map(row('+')))?;
        rows(f, removed.iter().map(row('-')))?;
        rows(
            f,
            changed.iter().map(|RuleChange { id, file, moved_from, keys }| {
                let moved = moved_from.iter().map(|from| format!("moved from {from}"));
                let all: Vec<_> = moved.chain(keys.iter().map(ToString::to_string)).collect();
                format!("  ~ {id} ({file}): {}", all.join("; "))
            }),
        )?;
        if !lists.is_empty() {
            writeln!(f, "lists       {} changed", lists.len())?;
            rows(f, lists.iter().map(|list| format!("  ~ {list}")))?;
        }
        if !settings.is_empty() {
            writeln!(f, "settings    {} changed", settings.len())?;
            rows(f, settings.iter().map(|one| format!("  ~ {}: {}", one.file, one.change)))?;
        }
        if *on_answers > 0 {
            writeln!(
                f,
                "  {on_answers} of these rules act on answers: they are tried on queries whose answer is known"
            )?;
        }
        for secret in secrets {
            writeln!(f, "secrets     {secret} differs, and is not shown")?;
        }
        if *unlisted > 0 {
            writeln!(f, "  ... and {unlisted} more")?;
        }
        Ok(())
    }
}

fn rows(f: &mut fmt::Formatter<'_>, rows: impl ExactSizeIterator<Item = String>) -> fmt::Result {
    let over = rows.len().saturating_sub(ROWS);
    for row in rows.take(ROWS) {
        writeln!(f, "{row}")?;
    }
    if over > 0 { writeln!(f, "  ... and {over} more: `--json` has them") } else { Ok(()) }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queries, answered, stand_for, which, .. } = self;
        write!(f, "queries     {} {which}", count(*queries as f64))?;
        if *stand_for > *queries as f64 + 0.5 {
            write!(f, ": a sample that stands for {}", count(*stand_for))?;
        }
        writeln!(f)?;
        writeln!(f, "  {} of them with the answer, {} by the question alone", count(*answered as f64), {
            count(queries.saturating_sub(*answered) as f64)
        })?;
        kind(f, "newly blocked", &self.newly_blocked, *stand_for)?;
        kind(f, "newly allowed", &self.newly_allowed, *stand_for)?;
        kind(f, "other action", &self.other_action, *stand_for)?;
        for (what, changed) in [("other TTLs", &self.other_ttl), ("only watched", &self.monitored)] {
            if changed.queries > 0.0 {
                kind(f, what, changed, *stand_for)?;
            }
        }
        Ok(())
    }
}

fn kind(f: &mut fmt::Formatter<'_>, what: &str, changed: &Changed, all: f64) -> fmt::Result {
    let Changed { queries, share, groups, unlisted } = changed;
    if *queries == 0.0 {
        return writeln!(f, "  {what}: none");
    }
    writeln!(f, "  {what}: {} of {} ({})", count(*queries), count(all), percent(*share))?;
    for group in groups.iter().take(GROUPS) {
        let verb = if what == "only watched" { "would be" } else { "->" };
        writeln!(f, "    {:>9}  by {}: {} {verb} {}", count(group.queries), group.rule, group.before, group.after)?;
        let names: Vec<_> = group.names.iter().map(|row| format!("{} ({})", row.name, count(row.queries))).collect();
        writeln!(f, "               {}", names.join(", "))?;
    }
    let over = groups.len().saturating_sub(GROUPS) + unlisted;
    if over > 0 { writeln!(f, "    ... by {over} more") } else { Ok(()) }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |Side { policy, name }: &Side| format!("policy {policy} of {name}");
        writeln!(f, "plan        {}", side(&self.new))?;
        writeln!(f, "against     {}", side(&self.old))?;
        self.written.fmt(f)?;
        if let Some(verdicts) = &self.verdicts {
            verdicts.fmt(f)?;
        }
        if let Some(note) = &self.queries_note {
            writeln!(f, "queries     {note}")?;
        }
        for objection in &self.guard {
            writeln!(f, "GUARD       {objection}: it needs --force")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}
