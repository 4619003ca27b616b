//! All names of all rules in one table: one pass of suffix probes finds every rule that could speak, whatever the number
//! of zones and lists.

use super::Rule;
use super::lists::NameList;
use super::sets::{BELOW, FREE_BELOW, FREE_SELF, FREED, RuleRef, SELF, Sets, SetsBuilder};
use super::table::{Table, TooManyNames};
use std::cell::RefCell;
use std::sync::Arc;

/// Names of one rule that said nothing new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Written more than once.
    pub repeated: usize,
    /// Below another name of the rule that speaks about them already.
    pub covered: usize,
}

/// Which rules name what.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) table: Table,
    pub(super) sets: Sets,
}

impl Index {
    /// Enters the names of each rule; `names[n]` are those of `rules[n]`, freed on the way if nobody else holds them. Says for each rule what was folded.
    pub(super) fn build(
        rules: &[Rule],
        names: Vec<Arc<NameList>>,
        seed: u64,
    ) -> Result<(Self, Vec<Folded>), TooManyNames> {
        let meanings: Vec<_> = names.iter().map(|list| list.meanings().clone()).collect();
        let ranks = ranks_of(rules);
        // Both closures build sets, but never at the same time.
        let sets = RefCell::new(SetsBuilder::new(&ranks));
        let folded = RefCell::new(vec![Folded::default(); rules.len()]);
        let merge = |known: Option<u32>, rule: usize, marks: u8| {
            let mut sets = sets.borrow_mut();
            let (reach, types) = meanings[rule].of(marks);
            let member = RuleRef::new(rule, reach, sets.types(types), meanings[rule].frees());
            let before = known.unwrap_or(0);
            let after = sets.with(before, member);
            folded.borrow_mut()[rule].repeated += usize::from(before == after);
            after
        };
        let mut last = None;
        let keep = |set: u32, above: Option<u32>| {
            let Some(above) = above else { return true };
            let sets = sets.borrow();
            let adds_nothing = match last {
                Some((pair, verdict)) if pair == (set, above) => verdict,
                _ => is_covered(sets.members(set), sets.members(above)),
            };
            last = Some(((set, above), adds_nothing));
            if adds_nothing {
                let mut folded = folded.borrow_mut();
                sets.members(set).iter().for_each(|member| folded[member.rule()].covered += 1);
            }
            !adds_nothing
        };
        let table = Table::build(names, seed, merge, keep)?;
        let (sets, folded) = (sets.into_inner(), folded.into_inner());
        Ok((Self { table, sets: sets.finish() }, folded))
    }
}

/// Whether a name adds nothing to the nearest name above it in the table. The rules must be the same: were there one
/// more on either, the longer name would decide between them. And the lower name must speak with one voice: its rules
/// then say for every query either nothing or what those above say, in the same order. What is freed, or for some types
/// only, is left as it is: such names are few.
fn is_covered(lower: &[RuleRef], above: &[RuleRef]) -> bool {
    let plain = |member: &RuleRef| member.reach() & FREED == 0 && member.is_for_all_types();
    lower.len() == above.len()
        && lower.iter().zip(above).all(|(lower, above)| lower.rule() == above.rule() && above.reach() & BELOW != 0)
        && lower.iter().all(|member| member.reach() == lower[0].reach())
        && lower.iter().chain(above).all(plain)
}

/// For each rule its place among rules that name the same name: zone first, then `allow`, then the earlier line.
fn ranks_of(rules: &[Rule]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by_key(|&rule| (rules[rule].zone_number, rules[rule].action != super::Action::Allow, rule));
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
