//! The name table in two layers: a large one, which policies share as long as most of its lists stay the same, and a small
//! one of what is new. A feed that changes by one name beside a list of a million costs milliseconds this way, and next to
//! no memory. What is looked up sees one table: a name that is in both has all its rules in the small one.
//!
//! Names that were folded in the large table are not there any more. That changes no decision as long as no rule that is new
//! names, in the same zone, what a folded name could be longer than; if one does, all is made anew.

use super::decide::LEVELS_MAX;
use super::index::{Folded, is_covered};
use super::lists::{Kept, Meanings, NameList};
use super::sets::Sets;
use super::shadow::Overlaps;
use super::table::{Foreseen, Hit, Table};
use std::sync::Arc;

/// Fewer names are all entered anew: that takes a few milliseconds.
const BASE_LEAST: usize = 1 << 15;

/// The most names of the small layer, and the most beside a large layer, as a share of that: every query that is not
/// blocked looks into both, and the small one should stay in a core's cache.
const RECENT_MAX: usize = 1 << 15;
const RECENT_SHARE: usize = 16;

/// The largest share of the large layer that may be names of lists which are gone.
const GONE_SHARE: usize = 4;

/// What is known of the list of a rule while, and after, its names are entered.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) meanings: Meanings,
    kept: Option<Arc<Kept>>,
    names: usize,
}

impl Origin {
    pub(super) fn of(list: &NameList) -> Self {
        Self { meanings: list.meanings().clone(), kept: list.kept().cloned(), names: list.len() }
    }
}

/// A table that a later policy can be built on.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) table: Arc<Table>,
    /// Of rules under the numbers that they had.
    pub(super) sets: Sets,
    /// How many names have each set.
    pub(super) counts: Vec<u32>,
    /// Which sets are of names below one another.
    pub(super) overlaps: Overlaps,
    /// Of each rule that it was made for.
    pub(super) lists: Vec<OfBase>,
}

/// A list of a base.
#[derive(Debug)]
pub(super) struct OfBase {
    origin: Origin,
    pub(super) folded: Folded,
}

impl Base {
    /// `None` when it is not worth it.
    pub(super) fn new(
        table: &Arc<Table>,
        sets: &Sets,
        counts: Vec<u32>,
        overlaps: &Overlaps,
        origins: Vec<Origin>,
        folded: &[Folded],
    ) -> Option<Self> {
        if table.len() < BASE_LEAST || origins.iter().all(|origin| origin.kept.is_none()) {
            return None;
        }
        let lists = origins.into_iter().zip(folded).map(|(origin, folded)| OfBase { origin, folded: *folded });
        Some(Self {
            table: Arc::clone(table),
            sets: sets.clone(),
            counts,
            overlaps: overlaps.clone(),
            lists: lists.collect(),
        })
    }

    /// The lists that need not be read again.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Arc<Kept>> {
        self.lists.iter().filter_map(|list| list.origin.kept.as_ref())
    }

    /// For each list the number of the rule that has it now; `names[n]` are those of rule n. `None` when an absent list is
    /// not here, or too much is new or gone.
    pub(super) fn rules_now(&self, names: &[Arc<NameList>]) -> Option<Vec<Option<usize>>> {
        let mut now = vec![None; self.lists.len()];
        let mut recent = 0;
        for (rule, list) in names.iter().enumerate() {
            if !list.is_absent() {
                recent += list.len();
                continue;
            }
            let is_it = |of_base: &OfBase| match (&of_base.origin.kept, list.kept()) {
                (Some(kept), Some(wanted)) => Arc::ptr_eq(kept, wanted),
                _ => false,
            };
            let at = (0..now.len()).find(|at| now[*at].is_none() && is_it(&self.lists[*at]))?;
            now[at] = Some(rule);
        }
        let gone = self.lists.iter().zip(&now).filter(|(_, now)| now.is_none()).map(|(list, _)| list.origin.names);
        let is_worth_it = recent <= RECENT_MAX.max(self.table.len() / RECENT_SHARE)
            && gone.sum::<usize>() <= self.table.len() / GONE_SHARE;
        is_worth_it.then_some(now)
    }
}

/// One table, or a large one and a small one over it.
#[derive(Debug)]
pub(super) struct Layers {
    base: Arc<Table>,
    recent: Option<Table>,
    names: usize,
}

impl Layers {
    pub(super) fn one(base: Arc<Table>) -> Self {
        let names = base.len();
        Self { base, recent: None, names }
    }

    /// `names`: how many there are in both together that some rule names.
    pub(super) fn two(base: Arc<Table>, recent: Table, names: usize) -> Self {
        Self { base, recent: (!recent.is_empty()).then_some(recent), names }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names
    }

    /// All memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.base.bytes() + self.recent.as_ref().map_or(0, Table::bytes)
    }

    /// As [`Table::suffixes_of`].
    #[inline]
    pub(super) fn suffixes_of(&self, wire: &[u8], visit: impl FnMut(Hit) -> bool) {
        self.suffixes_of_foreseen(wire, &Foreseen::NOTHING, visit);
    }

    /// As [`Table::suffixes_of_foreseen`].
    #[inline]
    pub(super) fn suffixes_of_foreseen(&self, wire: &[u8], foreseen: &Foreseen, visit: impl FnMut(Hit) -> bool) {
        match &self.recent {
            None => self.base.suffixes_of_foreseen(wire, foreseen, visit),
            Some(recent) => self.suffixes_of_both(recent, wire, foreseen, visit),
        }
    }

    fn suffixes_of_both(&self, recent: &Table, wire: &[u8], foreseen: &Foreseen, mut visit: impl FnMut(Hit) -> bool) {
        let mut hits = [Hit { at: 0, value: 0 }; LEVELS_MAX];
        let mut len = 0;
        recent.suffixes_of(wire, |hit| {
            hits[len] = hit;
            len += 1;
            len < LEVELS_MAX
        });
        // Shortest first, in both.
        let mut recent = hits[..len].iter().peekable();
        let mut goes_on = true;
        self.base.suffixes_of_foreseen(wire, foreseen, |hit| {
            let mut is_in_both = false;
            while goes_on && let Some(own) = recent.next_if(|own| own.at >= hit.at) {
                is_in_both = own.at == hit.at;
                goes_on = visit(*own);
            }
            goes_on = goes_on && (is_in_both || visit(hit));
            goes_on
        });
        while goes_on && let Some(own) = recent.next() {
            goes_on = visit(*own);
        }
    }

    /// The value of exactly this name.
    #[cfg(test)]
    pub(super) fn value_of(&self, wire: &[u8]) -> Option<u32> {
        let mut value = None;
        self.suffixes_of(wire, |hit| {
            value = (hit.at == 0).then_some(hit.value);
            true
        });
        value
    }

    /// As [`Table::foresee`]: what is large.
    #[inline]
    pub(super) fn foresee(&self, wire: &[u8]) -> Foreseen {
        self.base.foresee(wire)
    }

    /// As [`Table::foresee_alone`].
    #[inline]
    pub(super) fn foresee_alone(&self, wire: &[u8]) -> Foreseen {
        self.base.foresee_alone(wire)
    }

    /// As [`Table::fetch_foreseen`].
    #[inline]
    pub(super) fn fetch_foreseen(&self, foreseen: &Foreseen) {
        self.base.fetch_foreseen(foreseen);
    }

    /// Counts the names of the small layer that add nothing to a name above them, and notes which rules meet there. They
    /// stay in it: they are few.
    pub(super) fn count_covered(&self, sets: &Sets, folded: &mut [Folded], overlaps: &mut Overlaps) {
        for (wire, _) in self.recent.iter().flat_map(Table::iter) {
            let (mut own, mut above) = (0, None);
            self.suffixes_of(wire, |hit| {
                if hit.at == 0 {
                    own = hit.value;
                } else if !sets.members(hit.value).is_empty() {
                    above = Some(hit.value);
                }
                true
            });
            overlaps.note(own, above);
            if above.is_some_and(|above| is_covered(sets.members(own), sets.members(above))) {
                sets.members(own).iter().for_each(|member| folded[member.rule()].covered += 1);
            }
        }
    }
}
