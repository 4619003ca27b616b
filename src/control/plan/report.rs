//! A plan as a person reads it.

use super::guard::{count, percent};
use super::verdicts::{Changed, Group, Verdicts};
use super::written::{KeyChange, ListChange, ORDER, RuleChange, RuleRow, Written};
use super::{Plan, Side};
use crate::control::incidents::report::warning_lines;
use crate::language::{Text, Told, text};
use crate::policy::guard::lost;

/// Rows of rules, settings and lists that are printed; JSON has more.
const ROWS: usize = 40;

/// Groups of each kind that are printed.
const GROUPS: usize = 10;

impl Told for KeyChange {
    fn text(&self) -> Text {
        let Self { key, before, after, of_list } = self;
        let key = match key.as_str() {
            ORDER => text!("order of rules"),
            key => Text::verbatim(key),
        };
        let change = if *of_list {
            let went = before.iter().map(|went| format!(" -{went}"));
            Text::verbatim(went.chain(after.iter().map(|came| format!(" +{came}"))).collect::<String>())
        } else {
            let value = |value: &Option<String>| value.as_ref().map_or_else(|| text!("none"), Text::verbatim);
            Text::joined("", [Text::verbatim(" "), value(before), Text::verbatim(" -> "), value(after)])
        };
        Text::joined("", [key, change])
    }
}

impl Told for ListChange {
    fn text(&self) -> Text {
        let Self { file, before, after } = self;
        let names = |names: usize| count(names as f64);
        match (*before, *after) {
            (Some(before), Some(after)) if before == after => {
                text!("{file}: other contents, {n} names", file, n = names(after))
            }
            (Some(before), Some(after)) => {
                let change = match before > after {
                    true => format!("-{}", percent(lost(before, after))),
                    false => format!("+{}", names(after - before)),
                };
                text!(
                    "{file}: {before} -> {after} names ({change})",
                    file,
                    before = names(before),
                    after = names(after),
                    change
                )
            }
            (None, after) => text!("{file}: new, {n} names", file, n = names(after.unwrap_or(0))),
            (Some(before), None) => text!("{file}: gone, had {n} names", file, n = names(before)),
        }
    }
}

impl Written {
    fn lines(&self) -> Vec<Text> {
        if self.is_empty() {
            return vec![text!("written     nothing differs")];
        }
        let Self { added, removed, changed, settings, lists, secrets, on_answers, unlisted } = self;
        let mut lines = vec![text!(
            "rules       +{added} -{removed} ~{changed}",
            added = added.len(),
            removed = removed.len(),
            changed = changed.len()
        )];
        let row = |sign: char| {
            move |RuleRow { id, file, says }: &RuleRow| Text::verbatim(format!("  {sign} {id} ({file}): {says}"))
        };
        rows(&mut lines, added.iter().map(row('+')));
        rows(&mut lines, removed.iter().map(row('-')));
        let change = |RuleChange { id, file, moved_from, keys }: &RuleChange| {
            let moved = moved_from.iter().map(|from| text!("moved from {from}", from));
            let all = Text::joined("; ", moved.chain(keys.iter().map(KeyChange::text)));
            Text::joined("", [Text::verbatim(format!("  ~ {id} ({file}): ")), all])
        };
        rows(&mut lines, changed.iter().map(change));
        let marked = |text: Text| Text::joined("", [Text::verbatim("  ~ "), text]);
        if !lists.is_empty() {
            lines.push(text!("lists       {n} changed", n = lists.len()));
            rows(&mut lines, lists.iter().map(|list| marked(list.text())));
        }
        if !settings.is_empty() {
            lines.push(text!("settings    {n} changed", n = settings.len()));
            let one = |file: &str, change: Text| Text::joined(": ", [Text::verbatim(file), change]);
            rows(&mut lines, settings.iter().map(|setting| marked(one(&setting.file, setting.change.text()))));
        }
        if *on_answers > 0 {
            lines.push(text!(
                "  {n} of these rules act on answers: they are tried on queries whose answer is known",
                n = on_answers
            ));
        }
        lines.extend(secrets.iter().map(|file| text!("secrets     {file} differs, and is not shown", file)));
        if *unlisted > 0 {
            lines.push(text!("  ... and {n} more", n = unlisted));
        }
        lines
    }
}

fn rows(lines: &mut Vec<Text>, rows: impl ExactSizeIterator<Item = Text>) {
    let over = rows.len().saturating_sub(ROWS);
    lines.extend(rows.take(ROWS));
    if over > 0 {
        lines.push(text!("  ... and {n} more: `--json` has them", n = over));
    }
}

impl Verdicts {
    fn lines(&self) -> Vec<Text> {
        let Self { queries, answered, stand_for, which, .. } = self;
        let n = count(*queries as f64);
        let mut lines = vec![match *stand_for > *queries as f64 + 0.5 {
            false => text!("queries     {n} {which}", n, which),
            true => {
                text!("queries     {n} {which}: a sample that stands for {all}", n, which, all = count(*stand_for))
            }
        }];
        lines.push(text!(
            "  {answered} of them with the answer, {others} by the question alone",
            answered = count(*answered as f64),
            others = count(queries.saturating_sub(*answered) as f64)
        ));
        let kinds = [
            (text!("newly blocked"), &self.newly_blocked),
            (text!("newly allowed"), &self.newly_allowed),
            (text!("other action"), &self.other_action),
        ];
        let becomes = |before: &str, after: &str| Text::verbatim(format!("{before} -> {after}"));
        for (what, changed) in kinds {
            kind(&mut lines, &what, changed, *stand_for, becomes);
        }
        if self.other_ttl.queries > 0.0 {
            kind(&mut lines, &text!("other TTLs"), &self.other_ttl, *stand_for, becomes);
        }
        if self.monitored.queries > 0.0 {
            let would = |before: &str, after: &str| text!("{before} would be {after}", before, after);
            kind(&mut lines, &text!("only watched"), &self.monitored, *stand_for, would);
        }
        lines
    }
}

fn kind(lines: &mut Vec<Text>, what: &Text, changed: &Changed, all: f64, becomes: impl Fn(&str, &str) -> Text) {
    let Changed { queries, share, groups, unlisted } = changed;
    if *queries == 0.0 {
        return lines.push(text!("  {what}: none", what));
    }
    lines.push(text!(
        "  {what}: {n} of {all} ({part})",
        what,
        n = count(*queries),
        all = count(all),
        part = percent(*share)
    ));
    for Group { rule, before, after, queries, names } in groups.iter().take(GROUPS) {
        let n = format!("    {:>9}", count(*queries));
        lines.push(text!("{n}  by {rule}: {change}", n, rule, change = becomes(before, after)));
        let names: Vec<_> = names.iter().map(|row| format!("{} ({})", row.name, count(row.queries))).collect();
        lines.push(Text::verbatim(format!("               {}", names.join(", "))));
    }
    let over = groups.len().saturating_sub(GROUPS) + unlisted;
    if over > 0 {
        lines.push(text!("    ... by {n} more", n = over));
    }
}

impl Told for Plan {
    fn text(&self) -> Text {
        let side = |Side { policy, name }: &Side| text!("policy {policy} of {name}", policy, name);
        let mut lines = vec![
            text!("plan        {side}", side = side(&self.new)),
            text!("against     {side}", side = side(&self.old)),
        ];
        lines.extend(self.written.lines());
        lines.extend(self.verdicts.iter().flat_map(Verdicts::lines));
        lines.extend(self.queries_note.iter().map(|note| text!("queries     {note}", note)));
        let objected = |objection: &Text| text!("GUARD       {objection}: it needs --force", objection);
        lines.extend(self.guard.iter().map(objected));
        lines.extend(warning_lines(&self.warnings));
        Text::lines(lines)
    }
}
