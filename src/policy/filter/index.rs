//! All names of all rules in one table: one pass of suffix probes finds every rule that could speak, whatever the number
//! of zones and lists.

use super::layers::{Base, Layers, Origin};
use super::lists::NameList;
use super::sets::{BELOW, FREE_BELOW, FREE_SELF, FREED, RuleRef, SELF, Sets, SetsBuilder};
use super::shadow::Overlaps;
use super::table::{Table, TooManyNames};
use super::{Action, Rule};
use std::cell::RefCell;
use std::sync::Arc;

/// Names of one rule that said nothing new. Of a list whose table is shared with the policy before: as it was found when
/// the table was made, beside the lists of then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Written more than once.
    pub repeated: usize,
    /// Below another name of the rule that speaks about them already.
    pub covered: usize,
}

impl Folded {
    /// Adds those of another table.
    pub(super) fn add(&mut self, other: Self) {
        self.repeated += other.repeated;
        self.covered += other.covered;
    }
}

/// Which rules name what.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) table: Layers,
    pub(super) sets: Sets,
    /// What a later policy can be built on.
    base: Option<Arc<Base>>,
}

impl Index {
    /// Memory of the table and its sets, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes() + self.sets.bytes()
    }

    /// Enters the names of each rule; `names[n]` are those of `rules[n]`, freed on the way if nobody else holds them. Says
    /// for each rule what was folded, and notes which rules meet. `folds`: names that say nothing new are left out, as long
    /// as rules are compared about one name alone.
    pub(super) fn build(
        rules: &[Rule],
        names: Vec<Arc<NameList>>,
        seed: u64,
        folds: bool,
        overlaps: &mut Overlaps,
    ) -> Result<(Self, Vec<Folded>), TooManyNames> {
        let origins: Vec<_> = names.iter().map(|list| Origin::of(list)).collect();
        let ranks = ranks_of(rules);
        // Both closures build sets, but never at the same time.
        let sets = RefCell::new(SetsBuilder::new(&ranks));
        let folded = RefCell::new(vec![Folded::default(); rules.len()]);
        let merge = |known: Option<u32>, rule: usize, marks: u8| {
            enter(&mut sets.borrow_mut(), &mut folded.borrow_mut(), &origins, (known, rule, marks))
        };
        let (mut last, mut counts) = (None, Vec::new());
        let mut keep = |set: u32, above: Option<u32>| {
            overlaps.note(set, above);
            let Some(above) = above.filter(|_| folds) else { return true };
            let sets = sets.borrow();
            let adds_nothing = match last {
                Some((pair, verdict)) if pair == (set, above) => verdict,
                _ => is_covered(sets.members(set), sets.members(above)) && same_for_all(rules, sets.members(set)),
            };
            last = Some(((set, above), adds_nothing));
            if adds_nothing {
                let mut folded = folded.borrow_mut();
                sets.members(set).iter().for_each(|member| folded[member.rule()].covered += 1);
            }
            !adds_nothing
        };
        let table = Table::build(names, seed, merge, |set, above| {
            let is_kept = keep(set, above);
            if is_kept {
                count(&mut counts, set);
            }
            is_kept
        })?;
        let (sets, folded) = (sets.into_inner().finish(), folded.into_inner());
        let table = Arc::new(table);
        let base = Base::new(&table, &sets, counts, overlaps, origins, &folded).map(Arc::new);
        Ok((Self { table: Layers::one(table), sets, base }, folded))
    }

    /// What a later policy can be built on, if it is worth it.
    pub(super) fn base(&self) -> Option<&Arc<Base>> {
        self.base.as_ref()
    }

    /// As [`Self::build`] where many names are those of `base`, whose table is shared; `None` when it cannot be, or would
    /// not be worth it: then all lists have to be read.
    pub(super) fn build_on(
        base: &Arc<Base>,
        rules: &[Rule],
        names: &[Arc<NameList>],
        seed: u64,
        overlaps: &mut Overlaps,
    ) -> Option<(Self, Vec<Folded>)> {
        let rule_now = base.rules_now(names)?;
        let mut folded = vec![Folded::default(); rules.len()];
        for (of_base, now) in base.lists.iter().zip(&rule_now) {
            now.iter().for_each(|rule| folded[*rule] = of_base.folded);
        }
        let ranks = ranks_of(rules);
        let mut sets = SetsBuilder::on(&base.sets, &ranks, |rule| rule_now[rule]);
        let origins: Vec<_> = names.iter().map(|list| Origin::of(list)).collect();
        let none = Arc::new(NameList::default());
        let read = names.iter().map(|list| Arc::clone(if list.is_absent() { &none } else { list })).collect();
        let merge =
            |known: Option<u32>, rule: usize, marks: u8| enter(&mut sets, &mut folded, &origins, (known, rule, marks));
        *overlaps = base.overlaps.clone();
        let mut recent = Table::build_loose(read, seed, merge).ok()?;
        let is_folded = |rule: usize| folded[rule].covered > 0 && names[rule].is_absent();
        let mut names_recent = 0;
        let mut decides_by_length = false;
        recent.revalue(|wire, own| {
            let mut both = own;
            let (mut of_base, mut above) = (0, None);
            base.table.suffixes_of(wire, |hit| {
                let zone = |member: &RuleRef| rules[member.rule()].zone_number;
                let among = |member: &RuleRef| sets.members(own).iter().any(|other| zone(other) == zone(member));
                // A longer name of the list, folded into this one, may be what decides beside the name that is new.
                decides_by_length |=
                    sets.members(hit.value).iter().any(|member| is_folded(member.rule()) && among(member));
                (of_base, above) = if hit.at == 0 { (hit.value, above) } else { (0, Some(hit.value)) };
                true
            });
            names_recent += usize::from(sets.members(of_base).is_empty());
            if of_base != 0 {
                // It is counted with what the small layer has of it.
                overlaps.forget(of_base, above);
                both = of_base;
                for member in sets.members(own).to_vec() {
                    both = sets.with(both, member);
                }
            }
            both
        });
        if decides_by_length {
            return None;
        }
        let sets = sets.finish();
        let names_of_base = base.counts.iter().enumerate().filter(|(set, _)| !sets.members(*set as u32).is_empty());
        let names_all = names_of_base.map(|(_, count)| *count as usize).sum::<usize>() + names_recent;
        let table = Layers::two(Arc::clone(&base.table), recent, names_all);
        table.count_covered(&sets, &mut folded, overlaps);
        Some((Self { table, sets, base: Some(Arc::clone(base)) }, folded))
    }
}

/// Enters a name of a rule beside what it has so far.
fn enter(
    sets: &mut SetsBuilder<'_>,
    folded: &mut [Folded],
    origins: &[Origin],
    (known, rule, marks): (Option<u32>, usize, u8),
) -> u32 {
    let (reach, types) = origins[rule].meanings.of(marks);
    let member = RuleRef::new(rule, reach, sets.types(types), origins[rule].meanings.frees());
    let before = known.unwrap_or(0);
    let after = sets.with(before, member);
    folded[rule].repeated += usize::from(before == after);
    after
}

fn count(counts: &mut Vec<u32>, set: u32) {
    if counts.len() <= set as usize {
        counts.resize(set as usize + 1, 0);
    }
    counts[set as usize] += 1;
}

/// Whether a name adds nothing to the nearest name above it in the table. The rules must be the same: were there one
/// more on either, the longer name would decide between them. And the lower name must speak with one voice: its rules
/// then say for every query either nothing or what those above say, in the same order. What is freed, or for some types
/// only, is left as it is: such names are few.
pub(super) fn is_covered(lower: &[RuleRef], above: &[RuleRef]) -> bool {
    let plain = |member: &RuleRef| member.reach() & FREED == 0 && member.is_for_all_types();
    lower.len() == above.len()
        && lower.iter().zip(above).all(|(lower, above)| lower.rule() == above.rule() && above.reach() & BELOW != 0)
        && lower.iter().all(|member| member.reach() == lower[0].reach())
        && lower.iter().chain(above).all(plain)
}

/// Whether rules do the same for all their names: one with records for each does not.
fn same_for_all(rules: &[Rule], members: &[RuleRef]) -> bool {
    members.iter().all(|member| match &rules[member.rule()].action {
        Action::Data(data) => data.is_the_same_for_all(),
        _ => true,
    })
}

/// For each rule its place among rules that name the same name: zone first, then `allow`, then the earlier line.
fn ranks_of(rules: &[Rule]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by_key(|&rule| (rules[rule].zone_number, rules[rule].action != Action::Allow, rule));
    let mut ranks = vec![0; rules.len()];
    order.iter().enumerate().for_each(|(rank, &rule)| ranks[rule] = rank as u32);
    ranks
}

/// What of a name an exception must free to matter for the name looked up, of which it is the suffix at `at`.
pub(super) fn freeing(at: u8) -> u8 {
    if at == 0 { FREE_SELF } else { FREE_BELOW }
}

/// What of a name a rule must speak about to matter for the name looked up, of which it is the suffix at `at`.
pub(super) fn wanted(at: u8) -> u8 {
    if at == 0 { SELF } else { BELOW }
}
