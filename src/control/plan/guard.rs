//! What of a change exceeds the thresholds of `[guard]`: a list that has lost too many of its names, too many queries newly
//! blocked. Each is a sentence that names the number, the threshold and what is behind it.

use super::verdicts::{Changed, Group, Verdicts};
use super::written::ListChange;
use crate::language::{Text, list, text};
use crate::policy::Mode;
use crate::policy::guard::{GuardSettings, lost};

/// Names of the heaviest rule that are told.
const NAMES: usize = 3;

/// What somebody has to say yes to; nothing when `guard` is off.
pub fn objections(guard: &GuardSettings, lists: &[ListChange], verdicts: Option<&Verdicts>) -> Vec<Text> {
    if guard.mode == Mode::Off {
        return Vec::new();
    }
    let shrunk = lists.iter().filter_map(|list| shrunk(guard, list));
    let blocking = verdicts.and_then(|verdicts| blocking(guard, verdicts));
    shrunk.chain(blocking).collect()
}

/// A list that is gone with the rules that named it was taken out on purpose; one that a rule names cannot be missing.
fn shrunk(guard: &GuardSettings, shrinking: &ListChange) -> Option<Text> {
    let (before, after) = (shrinking.before?, shrinking.after?);
    guard.is_shrunk(before, after).then(|| {
        text!(
            "{file} shrinks from {before} to {after} names, by {part}, more than {most}",
            file = shrinking.file,
            before = count(before as f64),
            after = count(after as f64),
            part = percent(lost(before, after)),
            most = percent(guard.list_shrink)
        )
    })
}

fn blocking(guard: &GuardSettings, verdicts: &Verdicts) -> Option<Text> {
    let Verdicts { queries, stand_for, which, newly_blocked, .. } = verdicts;
    let tried = usize::try_from(*queries).unwrap_or(usize::MAX);
    if !guard.is_blocking(tried, newly_blocked.queries, *stand_for) {
        return None;
    }
    let blocked = text!(
        "it newly blocks {part} of the queries {which} ({blocked} of {all}), more than {most}",
        part = percent(newly_blocked.share),
        which,
        blocked = count(newly_blocked.queries),
        all = count(*stand_for),
        most = percent(guard.newly_blocked)
    );
    Some(Text::joined(", ", std::iter::once(blocked).chain(most(newly_blocked))))
}

/// `most by "x": a.example, b.example`
fn most(changed: &Changed) -> Option<Text> {
    let Group { rule, names, .. } = changed.groups.first()?;
    let names = list(names.iter().take(NAMES).map(|row| row.name.as_str()));
    Some(text!("most by {rule:?}: {names}", rule, names))
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

    fn change(before: Option<usize>, after: Option<usize>) -> ListChange {
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
            which: Text::verbatim("of a test"),
            newly_blocked,
            ..Verdicts::default()
        };
        let lists =
            [change(Some(12_345), Some(600)), change(Some(9), Some(0)), change(None, Some(7)), change(Some(900), None)];
        let told: Vec<_> = objections(&guard, &lists, Some(&verdicts)).iter().map(Text::english).collect();
        assert_eq!(
            told,
            [
                "lists/x.txt shrinks from 12 345 to 600 names, by 95.1 %, more than 30 %",
                "it newly blocks 45 % of the queries of a test (900 of 2 000), more than 10 %, most by \"wide\": www.a.example"
            ]
        );
        let off = GuardSettings { mode: Mode::Off, ..guard };
        assert_eq!(objections(&off, &lists, Some(&verdicts)), []);
    }
}
