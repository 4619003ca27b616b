//! A response policy zone as a list of names: what its records block by name the rule names, each as it is written (`x` is
//! x alone, `*.x` what is below); what they pass (`rpz-passthru.`) the rule excepts, the longest name deciding as in the
//! zone. How the zone blocks a name is no matter of a list, and what it says of addresses and name servers has no place in
//! one: that is counted.

use super::line::{Reader, Saying};
use super::problem::Problem;
use super::resolve::Says;
use super::write::Written;
use super::{BELOW, NameList, SELF, Unwritable};
use crate::policy::filter::rpz::{self, Flaw, Kind, Policy, RpzZone, Trigger};
use crate::policy::filter::sets::FREED;
use std::fmt;

/// A name that may still be joined by the next record: zones have `x` and `*.x` side by side.
struct Open<'z> {
    wire: &'z [u8],
    reach: u8,
    passes: bool,
}

impl Reader<'_> {
    /// Reads all records of a zone.
    pub(super) fn read_zone(&mut self, zone: &RpzZone) {
        self.lines = zone.lines();
        self.problems = zone.problems().clone();
        let mut open: Option<Open<'_>> = None;
        let mut no_names = 0;
        for record in zone.records() {
            let (reach, wire) = match record.trigger {
                Trigger::Apex => continue,
                Trigger::Name(Kind::Qname, reach, wire) => (reach, wire),
                _ => {
                    no_names += 1;
                    continue;
                }
            };
            let passes = matches!(record.policy, Policy::Passthru | Policy::PassthruSelf);
            match &mut open {
                Some(open) if open.wire == wire && open.passes == passes => open.reach |= reach,
                _ => {
                    self.close(open.as_ref());
                    open = Some(Open { wire, reach, passes });
                }
            }
        }
        self.close(open.as_ref());
        self.problems.add_unplaced(Problem::Rpz(Flaw::NoName), no_names);
    }

    fn close(&mut self, name: Option<&Open<'_>>) {
        let Some(&Open { wire, reach, passes }) = name else { return };
        let mut text = String::new();
        rpz::write_name(wire, &mut text);
        let says = if passes { Says::Freed } else { Says::Named };
        let read = if wire.len() == 1 {
            self.root();
            Ok(())
        } else {
            self.word(text.as_bytes(), SELF | BELOW).map(|_| ())
        };
        if let Err(problem) = read.and_then(|()| self.say(reach, Saying::that(says))) {
            // Where in the file the record stood is not known any more; its name is.
            self.problems.add_many(problem, 1, (1, 0), text.as_bytes());
        }
    }
}

/// Names as a zone that blocks them; made while it is written.
///
/// # Errors
/// [`Unwritable::Types`] for names that are for some record types only: known before anything is written.
pub fn to_rpz(names: &NameList) -> Result<impl fmt::Display, Unwritable> {
    if names.entries().any(|entry| entry.types.is_some()) {
        return Err(Unwritable::Types);
    }
    Ok(Written(|to: &mut fmt::Formatter<'_>| write_zone(names, to)))
}

fn write_zone(names: &NameList, to: &mut impl fmt::Write) -> fmt::Result {
    to.write_str("$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 60\n@ NS localhost.\n")?;
    let frees = names.entries().any(|entry| entry.reach & FREED != 0);
    if frees {
        to.write_str(
            "; Exceptions of the list freed names from it alone; rpz-passthru lets them pass all later zones too.\n",
        )?;
    }
    let mut owner = String::new();
    for entry in names.entries() {
        let frees = entry.reach & FREED != 0;
        let reach = if frees { entry.reach >> 2 } else { entry.reach & (SELF | BELOW) };
        let action = if frees { " CNAME rpz-passthru.\n" } else { " CNAME .\n" };
        for part in [SELF, BELOW].into_iter().filter(|part| reach & part != 0) {
            // A zone cannot speak about the root alone: its owner would be that of the SOA.
            if part == SELF && entry.wire.len() == 1 {
                continue;
            }
            owner.clear();
            rpz::write_trigger_name(part, entry.wire, &mut owner);
            to.write_str(&owner)?;
            to.write_str(action)?;
        }
    }
    Ok(())
}
