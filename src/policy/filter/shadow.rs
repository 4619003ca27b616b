//! Rules that others decide before, always: found for `weir check`, since nobody sees it in the answers.
//!
//! A rule is decided before by another that is heard first wherever it is heard, for at least the same clients, types,
//! transport and times, and that neither only watches nor depends on more than that (a budget, the answer). Names are
//! compared set by set: while a table is built it is counted how many names share a set of rules, and how many of them lie
//! below a name of another set, so a million names of two lists cost two steps and not a million. What is found is of the
//! name itself and of the nearest name above it.

mod report;

pub(super) use report::report;

use super::index::Index;
use super::networks::{Held, Holders};
use super::sets::{BELOW, RuleRef, SELF, Sets};
use super::{Action, Rule, RuleTransport, Scope};
use crate::policy::Mode;
use crate::policy::clients::GroupSet;
use crate::policy::schedules::ScheduleSet;
use ipnet::IpNet;
use std::collections::HashMap;

/// Pairs that are counted without a look into the map.
const RECENT: usize = 64;

/// Rules of one name that are compared with one another, the first so many.
const MEMBERS_MAX: usize = 64;

/// How many names have which set, and which set is that of the nearest name above them (0: none is above).
#[derive(Clone, Debug)]
pub(super) struct Overlaps {
    pairs: HashMap<(u32, u32), u32>,
    recent: [((u32, u32), u32); RECENT],
}

impl Default for Overlaps {
    fn default() -> Self {
        Self { pairs: HashMap::new(), recent: [((0, 0), 0); RECENT] }
    }
}

impl Overlaps {
    /// Counts one name; a few nanoseconds.
    #[inline]
    pub(super) fn note(&mut self, set: u32, above: Option<u32>) {
        let pair = (set, above.unwrap_or(0));
        let place = set.wrapping_mul(31).wrapping_add(pair.1) as usize % RECENT;
        let (known, count) = &mut self.recent[place];
        if *known == pair {
            *count += 1;
            return;
        }
        let (known, count) = std::mem::replace(&mut self.recent[place], (pair, 1));
        if count > 0 {
            *self.pairs.entry(known).or_default() += count;
        }
    }

    /// Takes back one name that was noted.
    pub(super) fn forget(&mut self, set: u32, above: Option<u32>) {
        let noted = std::mem::take(self);
        self.pairs = noted.finish();
        if let Some(count) = self.pairs.get_mut(&(set, above.unwrap_or(0))) {
            *count = count.saturating_sub(1);
        }
    }

    fn finish(mut self) -> HashMap<(u32, u32), u32> {
        for (pair, count) in self.recent {
            if count > 0 {
                *self.pairs.entry(pair).or_default() += count;
            }
        }
        self.pairs
    }
}

/// What of one rule others decide before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shadow {
    /// Names that are decided before.
    pub(super) names: u64,
    /// All names of the rule.
    pub(super) of: u64,
    /// By which rules, with how many names; the most first.
    pub(super) by: Vec<(usize, u64)>,
}

impl Shadow {
    /// Whether the rule never decides.
    pub(super) fn is_whole(&self) -> bool {
        self.names > 0 && self.names == self.of
    }
}

/// For each rule with names that others decide before, what of it; linear in the number of sets and pairs of sets.
pub(super) fn of_names(rules: &[Rule], sets: &Sets, overlaps: Overlaps) -> HashMap<usize, Shadow> {
    let mut found = Found::new(rules);
    for ((set, above), names) in overlaps.finish() {
        let members = sets.members(set);
        for (n, member) in members.iter().enumerate().take(MEMBERS_MAX) {
            if member.reach() & (SELF | BELOW) == 0 {
                continue;
            }
            let by_same = members[..n].iter().find(|other| found.decides_name_before(**other, *member, member.reach()));
            let by_above = || {
                let zone = rules[member.rule()].zone_number;
                let before = sets.members(above).iter().take_while(|other| rules[other.rule()].zone_number < zone);
                before.take(MEMBERS_MAX).find(|other| found.decides_name_before(**other, *member, BELOW))
            };
            let by = by_same.or_else(by_above).map(|other| other.rule());
            found.count(member.rule(), by, u64::from(names));
        }
    }
    found.finish()
}

/// As [`of_names`] for networks: ranges of addresses are counted in the place of names.
pub(super) fn of_networks(rules: &[Rule], holders: &Holders) -> HashMap<usize, Shadow> {
    let mut found = Found::new(rules);
    for held in holders.sets() {
        for (n, member) in held.iter().enumerate().take(MEMBERS_MAX) {
            let by = held[..n].iter().find(|other| found.decides_before(other.rule as usize, member.rule as usize));
            found.count(member.rule as usize, by.map(|other| other.rule as usize), 1);
        }
    }
    found.finish()
}

/// The rule that decides about a name of a rule before, whatever is below it.
pub(super) fn name_before(rules: &[Rule], index: &Index, rule: usize, wire: &[u8]) -> Option<usize> {
    let mut levels = Vec::new();
    index.table.suffixes_of(wire, |hit| {
        levels.push((hit.at, hit.value));
        true
    });
    let &(_, set) = levels.iter().find(|(at, _)| *at == 0)?;
    let found = Found::new(rules);
    let members = index.sets.members(set);
    let (n, member) = members.iter().enumerate().find(|(_, member)| member.rule() == rule)?;
    let mut same = members[..n].iter();
    let by_same = same.find(|other| found.decides_name_before(**other, *member, member.reach()));
    let above = levels.iter().filter(|(at, _)| *at > 0).flat_map(|(_, set)| index.sets.members(*set));
    let mut above = above.filter(|other| rules[other.rule()].zone_number < rules[rule].zone_number);
    let by = by_same.or_else(|| above.find(|other| found.decides_name_before(**other, *member, BELOW)));
    by.map(|other| other.rule())
}

/// The rule that decides about a network of a rule before, and whether it holds the very same network.
pub(super) fn network_before(rules: &[Rule], holders: &Holders, rule: usize, net: IpNet) -> Option<(usize, bool)> {
    let bits = net.prefix_len() + if net.network().is_ipv4() { 96 } else { 0 };
    let held = holders.of(net.network());
    let place = held.iter().position(|held| *held == Held { rule: rule as u32, bits })?;
    let found = Found::new(rules);
    let wider = held[..place].iter().filter(|other| other.bits <= bits);
    let by = wider.into_iter().find(|other| found.decides_before(other.rule as usize, rule))?;
    Some((by.rule as usize, by.bits == bits))
}

/// What has been found so far.
struct Found<'r> {
    rules: &'r [Rule],
    /// For each rule all its names, and those that others decide before, by whom.
    of: HashMap<usize, u64>,
    before: HashMap<(usize, usize), u64>,
}

impl<'r> Found<'r> {
    fn new(rules: &'r [Rule]) -> Self {
        Self { rules, of: HashMap::new(), before: HashMap::new() }
    }

    fn count(&mut self, rule: usize, by: Option<usize>, names: u64) {
        if self.rules[rule].mode == Mode::Off {
            return;
        }
        *self.of.entry(rule).or_default() += names;
        if let Some(by) = by {
            *self.before.entry((rule, by)).or_default() += names;
        }
    }

    /// Whether the rule of `other`, which is heard before, decides wherever that of `member` would speak about a name;
    /// `reach`: what of the name, or of one above it, `other` has to be about.
    fn decides_name_before(&self, other: RuleRef, member: RuleRef, reach: u8) -> bool {
        let reach = reach & (SELF | BELOW);
        other.reach() & reach == reach
            && !other.frees()
            && other.is_for_types_of(member)
            && self.decides_before(other.rule(), member.rule())
    }

    fn decides_before(&self, other: usize, rule: usize) -> bool {
        let (other, rule) = (&self.rules[other], &self.rules[rule]);
        always_decides(other, &rule.scope) && is_wider(&other.scope, &rule.scope)
    }

    fn finish(self) -> HashMap<usize, Shadow> {
        let mut shadows: HashMap<usize, Shadow> = HashMap::new();
        for ((rule, by), names) in self.before {
            let shadow = shadows.entry(rule).or_default();
            shadow.names += names;
            shadow.of = self.of[&rule];
            shadow.by.push((by, names));
        }
        for shadow in shadows.values_mut() {
            shadow.by.sort_by_key(|(rule, names)| (std::cmp::Reverse(*names), *rule));
        }
        shadows
    }
}

/// Whether a rule decides whenever it speaks, as far as `scope` goes.
fn always_decides(rule: &Rule, scope: &Scope) -> bool {
    let decides = match rule.action {
        Action::Monitor | Action::Ttl(_) | Action::Shed(_) | Action::Limit(_) | Action::Expect(_) => false,
        // Over TCP there is nothing to truncate.
        Action::Truncate => scope.transport == Some(RuleTransport::Udp),
        _ => true,
    };
    decides && rule.mode == Mode::Enforce
}

/// Whether `wide` holds wherever and whenever `narrow` does.
fn is_wider(wide: &Scope, narrow: &Scope) -> bool {
    let groups = [narrow.zone_groups, narrow.groups];
    let times = [narrow.zone_schedules, narrow.schedules];
    let for_groups = |wide: GroupSet| groups.iter().flatten().any(|own| wide.includes(own));
    let at_times = |wide: ScheduleSet| times.iter().flatten().any(|own| wide.includes(own));
    let for_types = |wide: &Vec<u16>| narrow.qtypes.iter().any(|own| own.iter().all(|qtype| wide.contains(qtype)));
    [wide.zone_groups, wide.groups].into_iter().flatten().all(for_groups)
        && [wide.zone_schedules, wide.schedules].into_iter().flatten().all(at_times)
        && wide.qtypes.as_ref().is_none_or(for_types)
        && wide.transport.is_none_or(|wide| narrow.transport == Some(wide))
        && wide.expires_ms.is_none_or(|wide| narrow.expires_ms.is_some_and(|own| own <= wide))
}
