//! What is said of a list that was read: what was left out and why, grouped, and what did load.

use super::{BAD_LINES_FREE, Format, Parsed, Problems, Weight};
use crate::policy::document::{Code, Fault, Faults, Place};
use std::sync::Arc;

/// Groups of bad lines that are reported for one list.
const GROUPS_SHOWN: usize = 8;

/// Says what of a list could not be read, and what did load.
pub fn report(file: &Arc<str>, parsed: &Parsed, faults: &Faults) {
    let loaded = parsed.names.len();
    report_problems(file, &parsed.problems, &format!("{loaded} names"), faults);
    if parsed.is_over_budget() {
        report_budget(file, &parsed.problems, parsed.lines, parsed.format, faults);
    } else if loaded == 0 {
        let message = format!("{file} holds no names");
        faults.add(Code::Unused, &Place::whole(file), message, "its rule can never act");
    } else if parsed.exceptions == loaded {
        let message = format!("{file} holds nothing but exceptions");
        let hint = "an exception frees names from the rule of its own list; a list of names and action = \"allow\" \
                    let them pass every zone";
        faults.add(Code::Unused, &Place::whole(file), message, hint);
    }
    if parsed.overruled + parsed.idle_cancels > 0 {
        let message = format!(
            "{} lines cannot act, because exceptions of the list free their names; {} take back a line that is not there",
            parsed.overruled, parsed.idle_cancels
        );
        faults.add(Code::Repeated, &Place::whole(file), message, "they cost nothing; the rule acts the same");
    }
}

/// Says which lines were left out or are doubtful, grouped.
pub(in crate::policy::filter) fn report_problems(file: &Arc<str>, problems: &Problems, loaded: &str, faults: &Faults) {
    for group in problems.groups().iter().take(GROUPS_SHOWN) {
        let lines = if group.count == 1 { "line".to_owned() } else { format!("{} lines", group.count) };
        let became = if group.problem.weight() == Weight::Taken { "in doubt" } else { "left out" };
        let message = format!(
            "{lines} {became}: {} [{}], first in line {}: {}; {loaded} did load",
            group.problem,
            group.problem.code(),
            group.line,
            group.sample
        );
        let mut fault = Fault::new(Code::ListLine, Place::new(file, group.span.clone()), message);
        fault.hint = match &group.meant {
            Some(meant) => Some(format!("did you mean {meant}?")),
            None => group.problem.hint().map(str::to_owned),
        };
        faults.push(fault);
    }
}

/// Says that there are too many of them.
pub(in crate::policy::filter) fn report_budget(
    file: &Arc<str>,
    problems: &Problems,
    lines: usize,
    format: Format,
    faults: &Faults,
) {
    let (bad, unsupported) = (problems.bad(), problems.unsupported());
    let (left_out, share) = if bad > BAD_LINES_FREE.max(lines / 100) {
        (format!("{bad} of {lines} lines in {file} are bad"), "1 %")
    } else {
        (format!("{unsupported} of {lines} lines in {file} say what weir does not do"), "half")
    };
    let message = format!("{left_out}, more than {share} and more than {BAD_LINES_FREE}");
    let hint = format!("it was read as a list of {format}; is that its format?");
    faults.add(Code::List, &Place::whole(file), message, hint);
}
