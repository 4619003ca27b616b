//! What is said of a list that was read: what was left out and why, grouped, and what did load.

use super::{BAD_LINES_FREE, Format, Parsed, Problems, Weight};
use crate::language::{Text, text};
use crate::policy::document::{Code, Fault, Faults, Place};
use std::sync::Arc;

/// Groups of bad lines that are reported for one list.
const GROUPS_SHOWN: usize = 8;

/// Says what of a list could not be read, and what did load.
pub fn report(file: &Arc<str>, parsed: &Parsed, faults: &Faults) {
    let loaded = parsed.names.len();
    let names = match loaded {
        1 => text!("1 name did load"),
        _ => text!("{loaded} names did load", loaded),
    };
    report_problems(file, &parsed.problems, &names, faults);
    if parsed.is_over_budget() {
        report_budget(file, &parsed.problems, parsed.lines, parsed.format, faults);
    } else if loaded == 0 {
        let message = text!("{file} holds no names", file);
        faults.add(Code::Unused, &Place::whole(file), message, text!("its rule can never act"));
    } else if parsed.exceptions == loaded {
        let message = text!("{file} holds nothing but exceptions", file);
        let hint = text!(
            "an exception frees names from the rule of its own list; a list of names and action = \"allow\" let them pass \
             every zone"
        );
        faults.add(Code::Unused, &Place::whole(file), message, hint);
    }
    if parsed.overruled + parsed.idle_cancels > 0 {
        let message = text!(
            "lines that cannot act because exceptions of the list free their names: {overruled}; that take back a line which is not there: {idle}",
            overruled = parsed.overruled,
            idle = parsed.idle_cancels
        );
        faults.add(Code::Repeated, &Place::whole(file), message, text!("they cost nothing; the rule acts the same"));
    }
}

/// Says which lines were left out or are doubtful, grouped, and what `did_load`.
pub(in crate::policy::filter) fn report_problems(
    file: &Arc<str>,
    problems: &Problems,
    did_load: &Text,
    faults: &Faults,
) {
    for group in problems.groups().iter().take(GROUPS_SHOWN) {
        let (count, is_taken) = (group.count, group.problem.weight() == Weight::Taken);
        let what = match (count, is_taken) {
            (1, true) => text!("line in doubt"),
            (1, false) => text!("line left out"),
            (_, true) => text!("{count} lines in doubt", count),
            (_, false) => text!("{count} lines left out", count),
        };
        let message = text!(
            "{what}: {problem} [{code}], first in line {line}: {sample}; {names}",
            what,
            problem = group.problem.text(),
            code = group.problem.code(),
            line = group.line,
            sample = Text::foreign(&group.sample),
            names = did_load.clone()
        );
        let mut fault = Fault::new(Code::ListLine, Place::new(file, group.span.clone()), message);
        fault.hint = match &group.meant {
            Some(meant) => Some(text!("did you mean {meant}?", meant)),
            None => group.problem.hint(),
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
    let (bad, unsupported, free) = (problems.bad(), problems.unsupported(), BAD_LINES_FREE);
    let message = match bad > free.max(lines / 100) {
        true => text!(
            "{bad} of {lines} lines in {file} are bad, more than 1 % and more than {free}",
            bad,
            lines,
            file,
            free
        ),
        false => text!(
            "{unsupported} of {lines} lines in {file} say what weir does not do, more than half and more than {free}",
            unsupported,
            lines,
            file,
            free
        ),
    };
    let hint = text!("it was read as a list of {format}; is that its format?", format);
    faults.add(Code::List, &Place::whole(file), message, hint);
}
