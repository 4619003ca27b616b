//! What the exceptions of a list mean, worked out once while it loads, so that a look-up only ever asks for the longest
//! name.
//!
//! The table decides by length: the longest name of a rule that is at or above the name asked for. Adblock lists decide by
//! rank, whatever the length: `@@` with `$important` over `$important` over `@@` over the rest. Both are the same once
//! every name has lost what a higher rank takes from it: of `||x^`, `@@||y.x^` and `||z.y.x^` the last can never act.
//! Dnsmasq's `server=/x/#`, unbound's transparent zones and `$denyallow` decide by length themselves.

use super::super::sets::{BELOW, FREE_BELOW, FREE_SELF, SELF};
use super::{NameList, Types};
use std::collections::HashMap;

/// Lines of one list that say more than that the rule names a name: each takes 270 bytes while the list is read, where a name
/// takes little more than its own. The real lists that weir is measured with have none.
pub(super) const SPECIALS_MAX: usize = 1_000_000;

/// What a line says of its name, in the order of rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Says {
    /// The rule names it.
    Named,
    /// Freed, unless a longer name is named.
    Freed,
    /// Freed whatever longer names there are (`@@`).
    Excepted,
    /// Named whatever is excepted (`$important`).
    Important,
    /// Excepted whatever is important.
    ImportantExcepted,
}

impl Says {
    fn frees(self) -> bool {
        matches!(self, Self::Freed | Self::Excepted | Self::ImportantExcepted)
    }
}

/// A line that is more than a name: set apart while the list is read.
#[derive(Clone, Debug)]
pub(super) struct Special {
    pub(super) says: Says,
    /// [`SELF`], [`BELOW`] or both.
    pub(super) reach: u8,
    pub(super) types: Types,
    pub(super) wire: Box<[u8]>,
    /// Takes a line like this one back (`$badfilter`) instead of saying it.
    pub(super) cancels: bool,
    /// Names below that this line does not mean (`$denyallow`).
    pub(super) holes: Vec<Box<[u8]>>,
}

impl Special {
    /// Whether it frees its name.
    pub(super) fn frees(&self) -> bool {
        self.says.frees() && !self.cancels
    }

    /// Whether a name is in one of the holes.
    fn spares(&self, wire: &[u8]) -> bool {
        !self.holes.is_empty() && suffixes(wire).any(|(_, suffix)| self.holes.iter().any(|hole| **hole == *suffix))
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (self.says, self.reach, &self.types, &self.holes) == (other.says, other.reach, &other.types, &other.holes)
    }
}

/// What became of the special lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Names that exceptions left nothing of.
    pub(super) overruled: usize,
    /// `$badfilter` lines that met no line to take back.
    pub(super) idle_cancels: usize,
    /// Names that could not be kept, because the list has too many different sets of types.
    pub(super) lost: usize,
}

/// The list with what `specials` make of it.
pub(super) fn resolve(plain: &NameList, specials: &[Special]) -> (NameList, Resolved) {
    let mut resolved = Resolved::default();
    let (cancels, said): (Vec<&Special>, Vec<&Special>) = specials.iter().partition(|special| special.cancels);
    let mut cancels = Cancels::new(&cancels);
    let said: Vec<&Special> = said.into_iter().filter(|s| !cancels.take(s.says, s.reach, &s.types, &s.wire)).collect();
    let mut lines = Lines::default();
    said.iter().for_each(|special| lines.add(special));
    let mut list = NameList::default();
    for (reach, wire) in plain.iter() {
        if cancels.take(Says::Named, reach, &Types::ALL, wire) {
            continue;
        }
        if let Some(plain) = lines.at_holes.get_mut(wire) {
            *plain |= reach;
        }
        keep(&mut list, &mut resolved, Says::Named, reach, &Types::ALL, wire, &lines);
    }
    for special in &said {
        keep(&mut list, &mut resolved, special.says, special.reach, &special.types, &special.wire, &lines);
    }
    for special in &said {
        for hole in &special.holes {
            for (bit, freed) in [(SELF, FREE_SELF), (BELOW, FREE_BELOW)] {
                for types in lines.open(hole, bit, &special.types) {
                    resolved.lost += usize::from(!list.push_for(freed, &types, hole));
                }
            }
        }
    }
    resolved.idle_cancels = cancels.idle();
    list.shrink();
    (list, resolved)
}

/// Enters what higher ranks leave of a name.
fn keep(
    list: &mut NameList,
    resolved: &mut Resolved,
    says: Says,
    reach: u8,
    types: &Types,
    wire: &[u8],
    lines: &Lines<'_>,
) {
    // What is left of the name itself and of what is below it.
    let mut left = [types.clone(), types.clone()];
    for (at, suffix) in suffixes(wire) {
        for higher in lines.ranked.get(suffix).into_iter().flatten() {
            // What decides by length takes only from the same name.
            let outranks = higher.says > says && (higher.says != Says::Freed || at == 0);
            if !outranks || higher.says.frees() == says.frees() || higher.spares(wire) {
                continue;
            }
            for (bit, left) in [SELF, BELOW].into_iter().zip(&mut left) {
                let needed = if at == 0 { bit } else { BELOW };
                if higher.reach & needed != 0 {
                    *left = left.without(&higher.types);
                }
            }
        }
    }
    let shift = if says.frees() { 2 } else { 0 };
    let [of_self, of_below] = left;
    let whole = reach == SELF | BELOW && of_self == of_below;
    let parts =
        if whole { vec![(SELF | BELOW, of_self)] } else { vec![(reach & SELF, of_self), (reach & BELOW, of_below)] };
    let mut any = false;
    for (reach, types) in parts.into_iter().filter(|(reach, types)| *reach != 0 && !types.is_none()) {
        any = true;
        resolved.lost += usize::from(!list.push_for(reach << shift, &types, wire));
    }
    resolved.overruled += usize::from(!any);
}

/// The name and all above it, each with where it begins.
fn suffixes(wire: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let at = next?;
        let len = usize::from(*wire.get(at)?);
        next = (len > 0).then_some(at + 1 + len);
        Some((at, &wire[at..]))
    })
}

/// The lines that take others back.
struct Cancels<'s> {
    by_name: HashMap<&'s [u8], Vec<(&'s Special, bool)>>,
}

impl<'s> Cancels<'s> {
    fn new(cancels: &[&'s Special]) -> Self {
        let mut by_name: HashMap<&[u8], Vec<_>> = HashMap::new();
        for special in cancels {
            let of_name = by_name.entry(&special.wire).or_default();
            if !of_name.iter().any(|(known, _): &(&Special, bool)| known.says_the_same(special)) {
                of_name.push((*special, false));
            }
        }
        Self { by_name }
    }

    /// Whether a line is taken back.
    fn take(&mut self, says: Says, reach: u8, types: &Types, wire: &[u8]) -> bool {
        if self.by_name.is_empty() {
            return false;
        }
        let Some(of_name) = self.by_name.get_mut(wire) else { return false };
        let mut taken = false;
        for (cancel, met) in of_name {
            if cancel.says == says && cancel.reach == reach && cancel.types == *types {
                *met = true;
                taken = true;
            }
        }
        taken
    }

    fn idle(&self) -> usize {
        self.by_name.values().flatten().filter(|(_, met)| !met).count()
    }
}

/// The special lines by their names.
#[derive(Default)]
struct Lines<'s> {
    /// Those that are more than [`Says::Named`].
    ranked: HashMap<&'s [u8], Vec<&'s Special>>,
    /// The others.
    named: HashMap<&'s [u8], Vec<&'s Special>>,
    /// For each name at or above a hole what plain lines say of it.
    at_holes: HashMap<&'s [u8], u8>,
}

impl<'s> Lines<'s> {
    fn add(&mut self, special: &'s Special) {
        let lines = if special.says == Says::Named { &mut self.named } else { &mut self.ranked };
        let of_name = lines.entry(&special.wire).or_default();
        // Each thing that can be said of a name once: a list that repeats a line must not cost its square.
        if !of_name.iter().any(|known| known.says_the_same(special)) {
            of_name.push(special);
        }
        for hole in &special.holes {
            suffixes(hole).for_each(|(_, suffix)| {
                self.at_holes.entry(suffix).or_default();
            });
        }
    }

    /// For which of `types` a hole frees: those for which all other lines together do not name what is in it. `bit` is
    /// the name of the hole itself, or what is below.
    fn open(&self, hole: &[u8], bit: u8, types: &Types) -> Vec<Types> {
        let covers = |at: usize, reach: u8| reach & if at == 0 { bit } else { BELOW } != 0;
        let (mut left, mut open) = (types.clone(), Vec::new());
        for rank in [Says::ImportantExcepted, Says::Important, Says::Excepted] {
            for (at, suffix) in suffixes(hole) {
                let lines = self.ranked.get(suffix).into_iter().flatten();
                for line in lines.filter(|line| line.says == rank && covers(at, line.reach) && !line.spares(hole)) {
                    let others = left.without(&line.types);
                    if rank.frees() {
                        open.push(left.without(&others));
                    }
                    left = others;
                }
            }
        }
        for (at, suffix) in suffixes(hole) {
            if self.at_holes.get(suffix).is_some_and(|reach| covers(at, *reach)) {
                left = left.without(&Types::ALL);
            }
            let lines = self.named.get(suffix).into_iter().flatten();
            for line in lines.filter(|line| covers(at, line.reach) && !line.spares(hole)) {
                left = left.without(&line.types);
            }
        }
        open.push(left);
        open.retain(|types| !types.is_none());
        open
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Reader;
    use super::super::{Format, Reading};
    use super::*;
    use crate::policy::document::contents::Source;

    #[test]
    fn exceptions_beyond_those_that_a_list_may_have_are_counted() {
        let special = |wire: &[u8]| {
            let (says, reach, types) = (Says::Excepted, SELF | BELOW, Types::ALL);
            Special { says, reach, types, wire: wire.into(), cancels: false, holes: Vec::new() }
        };
        let mut reader = Reader::new(Format::Adblock, Reading::default());
        reader.specials = vec![special(b"\x01x\x01y\0"); 999_999];
        let text = "||a.example^\n@@||b.a.example^\n@@||c.a.example^\n||d.example^\n||e.example^$important\n";
        let reader = reader.read(Source::Memory(text.as_bytes())).unwrap();
        let told: Vec<_> = reader.problems.groups().iter().map(|g| (g.problem.code(), g.count, g.line)).collect();
        assert_eq!((reader.specials.len(), told), (1_000_000, vec![("too-many-exceptions", 2, 3)]));
        assert_eq!(*reader.specials[999_999].wire, *b"\x01b\x01a\x07example\0");
    }
}
