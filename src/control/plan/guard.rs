//! What of a change exceeds the thresholds of `[guard]`: a list that has lost too many of its names, too many queries newly
//! blocked. Each is a sentence that names the number, the threshold and what is behind it.

use super::verdicts::{Changed, Group, Verdicts};
use super::written::ListChange;
use crate::policy::Mode;
use crate::policy::guard::{GuardSettings, lost};

/// Names of the heaviest rule that are told.
const NAMES: usize = 3;

/// What somebody has to say yes to; nothing when `guard` is off.
pub fn objections(guard: &GuardSettings, lists: &[ListChange], verdicts: Option<&Verdicts>) -> Vec<String> {
    if guard.mode == Mode::Off {
        return Vec::new();
    }
    let shrunk = lists.iter().filter_map(|list| shrunk(guard, list));
    let blocking = verdicts.and_then(|verdicts| blocking(guard, verdicts));
    shrunk.chain(blocking).collect()
}

/// A list that is gone with the rules that named it was taken out on purpose; one that a rule names cannot be missing.
fn shrunk(guard: &GuardSettings, list: &ListChange) -> Option<String> {
    let (before, after) = (list.before?, list.after?);
    guard.is_shrunk(before, after).then(|| {
        format!(
            "{} shrinks from {} to {} names, by {}, more than {}",
            list.file,
            count(before as f64),
            count(after as f64),
            percent(lost(before, after)),
            percent(guard.list_shrink)
        )
    })
}

fn blocking(guard: &GuardSettings, verdicts: &Verdicts) -> Option<String> {
    let Verdicts { queries, stand_for, which, newly_blocked, .. } = verdicts;
    let tried = usize::try_from(*queries).unwrap_or(usize::MAX);
    guard.is_blocking(tried, newly_blocked.queries, *stand_for).then(|| {
        format!(
            "it newly blocks {} of the queries {which} ({} of {}), more than {}{}",
            percent(newly_blocked.share),
            count(newly_blocked.queries),
            count(*stand_for),
            percent(guard.newly_blocked),
            most(newly_blocked)
        )
    })
}

/// `, most by rule "x": a.example, b.example`
fn most(changed: &Changed) -> String {
    let Some(Group { rule, names, .. }) = changed.groups.first() else { return String::new() };
    let names: Vec<_> = names.iter().take(NAMES).map(|row| row.name.as_str()).collect();
    format!(", most by {rule:?}: {}", names.join(", "))
}

/// A share as a person reads it: `12.3 %`, `10 %`.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A number with its thousands apart: `1 234 567`.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(before: Option<usize>, after: Option<usize>) -> ListChange {
        ListChange { file: "lists/x.txt".to_owned(), before, after }
    }

    #[test]
    fn each_objection_names_number_threshold_and_rule() {
        let guard = GuardSettings::default();
        let names = vec![super::super::verdicts::NameRow { name: "www.a.example".to_owned(), queries: 900.0 }];
        let (before, after) = ("forward".to_owned(), "nxdomain".to_owned());
        let groups = vec![Group { rule: "wide".to_owned(), before, after, queries: 900.0, names }];
        let newly_blocked = Changed { queries: 900.0, share: 0.45, groups, unlisted: 0 };
        let verdicts = Verdicts {
            queries: 500,
            stand_for: 2_000.0,
            which: "of a test".into(),
            newly_blocked,
            ..Verdicts::default()
        };
        let lists = [list(Some(12_345), Some(600)), list(Some(9), Some(0)), list(None, Some(7)), list(Some(900), None)];
        assert_eq!(
            objections(&guard, &lists, Some(&verdicts)),
            [
                "lists/x.txt shrinks from 12 345 to 600 names, by 95.1 %, more than 30 %",
                "it newly blocks 45 % of the queries of a test (900 of 2 000), more than 10 %, most by \"wide\": www.a.example"
            ]
        );
        let off = GuardSettings { mode: Mode::Off, ..guard };
        assert_eq!(objections(&off, &lists, Some(&verdicts)), [""; 0]);
    }
}
