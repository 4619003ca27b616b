//! Plays a script twice, with a section enforced as it is written and in monitor mode, and holds what would have been done
//! there against what was done here.

use crate::player::{Ears, play_with};
use crate::script::Wrong;
use weir::ledger::Totals;
use weir::verdict::{Outcome, Reason};

/// The section that a script wants played twice (`twin SECTION`).
pub(crate) fn section_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("twin "))
}

/// Whether monitor mode counts query for query what the same section does when it is enforced, and does nothing itself.
pub(crate) fn agrees(text: &str, section: &str) -> Result<(), Wrong> {
    let (file, head, reasons): (&str, Option<&str>, &[Reason]) = match section {
        "source" => ("limits.toml", Some("[source]"), &[Reason::Source]),
        "rrl" => ("limits.toml", Some("[rrl]"), &[Reason::Rrl]),
        "storm" => ("limits.toml", Some("[storm]"), &[Reason::Storm, Reason::Subdomains]),
        "rebinding" => ("limits.toml", Some("[rebinding]"), &[Reason::Rebinding]),
        "overload" => ("limits.toml", Some("[overload]"), &[Reason::Overload]),
        "access" => ("access.toml", None, &[Reason::Access]),
        "filter" => ("filters/10-test.toml", Some("[zone]"), &[Reason::Filter]),
        other => return Err(format!("no section {other:?} has a mode")),
    };
    let run = |mode: &str| {
        let text = in_mode(text, file, head, mode)?;
        play_with(&text, Ears::Closed).map_err(|(line, wrong)| format!("in mode {mode}, line {line}: {wrong}"))
    };
    let (enforced, monitored) = (run("enforce")?, run("monitor")?);
    let done = |totals: &Totals, reason| -> u64 {
        let both = |outcome| totals.queries(outcome, reason, false) + totals.queries(outcome, reason, true);
        Outcome::ALL.into_iter().map(both).sum()
    };
    for reason in reasons {
        let decided = done(&enforced, *reason);
        let (would, did) = (monitored.would(*reason), done(&monitored, *reason));
        if would != decided || did != 0 || enforced.would(*reason) != 0 {
            let name = reason.name();
            return Err(format!("{name}: {decided} enforced; in monitor mode {would} would have been, and {did} were"));
        }
    }
    if reasons.iter().all(|reason| done(&enforced, *reason) == 0) {
        return Err(format!("nothing comes to [{section}] in this script"));
    }
    Ok(())
}

/// The script with a mode written into the section of a file.
fn in_mode(text: &str, file: &str, head: Option<&str>, mode: &str) -> Result<String, Wrong> {
    let (mut out, mut inside, mut found) = (String::new(), false, false);
    let mut section = None;
    for line in text.lines() {
        let begins = line.strip_prefix("policy ").map(|path| path == file);
        inside = begins.unwrap_or(inside);
        section =
            if begins.is_some() { None } else { line.strip_prefix("| ").filter(|l| l.starts_with('[')).or(section) };
        if inside && section == head && line.starts_with("| mode =") {
            return Err("a script that is played twice names no mode".into());
        }
        out.push_str(line);
        out.push('\n');
        let is_place = match head {
            Some(head) => inside && line.strip_prefix("| ") == Some(head),
            None => begins == Some(true),
        };
        if is_place {
            found = true;
            out.push_str(&format!("| mode = \"{mode}\"\n"));
        }
    }
    if found { Ok(out) } else { Err(format!("{file} has no place for a mode")) }
}
