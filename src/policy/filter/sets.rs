//! The interned sets of rules that name the same name: a million names of one list share one set, so the table holds a
//! number of one byte for each of them.

use super::lists::Types;
use std::collections::HashMap;

/// The name itself.
pub(super) const SELF: u8 = 1;
/// Everything below the name.
pub(super) const BELOW: u8 = 2;

/// The name itself, which an exception of the rule's list frees from the rule.
pub(super) const FREE_SELF: u8 = 4;
/// Everything below the name, freed.
pub(super) const FREE_BELOW: u8 = 8;
/// Any part of it freed.
pub(super) const FREED: u8 = FREE_SELF | FREE_BELOW;

/// Bits below the number of the rule: its reach, and whether its list frees names.
const RULE_SHIFT: u32 = 5;
const FREES: u32 = 16;

/// A rule, and what of a name it speaks about or frees: the name itself, what is below, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RuleRef {
    packed: u32,
    /// The number of the types for which, in the [`Sets`]; 0: all.
    types: u32,
}

impl RuleRef {
    /// `rule`: its number, at most [`super::RULES_MAX`]. `frees`: some name is freed from it.
    pub(super) fn new(rule: usize, reach: u8, types: u32, frees: bool) -> Self {
        let frees = if frees { FREES } else { 0 };
        Self { packed: (rule as u32) << RULE_SHIFT | frees | u32::from(reach), types }
    }

    /// The number of the rule.
    pub(super) fn rule(self) -> usize {
        (self.packed >> RULE_SHIFT) as usize
    }

    /// The same of another rule.
    fn of_rule(self, rule: usize) -> Self {
        Self { packed: (rule as u32) << RULE_SHIFT | self.packed & ((1 << RULE_SHIFT) - 1), ..self }
    }

    /// Any of [`SELF`], [`BELOW`], [`FREE_SELF`], [`FREE_BELOW`].
    pub(super) fn reach(self) -> u8 {
        (self.packed & (FREES - 1)) as u8
    }

    /// What of a name it is about, exceptions left out.
    pub(super) fn named(self) -> u8 {
        self.reach() & (SELF | BELOW)
    }

    /// Whether exceptions free names from the rule.
    pub(super) fn frees(self) -> bool {
        self.packed & FREES != 0
    }

    /// Whether it is about every type that `other` is about.
    pub(super) fn is_for_types_of(self, other: Self) -> bool {
        self.types == 0 || self.types == other.types
    }

    /// Whether it is about every type.
    pub(super) fn is_for_all_types(self) -> bool {
        self.types == 0
    }
}

/// All sets; number 0 is empty and stands for no name.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    refs: Vec<RuleRef>,
    /// Set n is `refs[ends[n - 1]..ends[n]]`.
    ends: Vec<u32>,
    /// Number n is at n - 1.
    types: Vec<Types>,
}

impl Sets {
    /// The members of a set, in order of precedence.
    pub(super) fn members(&self, set: u32) -> &[RuleRef] {
        let set = set as usize;
        match (set.checked_sub(1).and_then(|before| self.ends.get(before)), self.ends.get(set)) {
            (Some(&start), Some(&end)) => &self.refs[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Whether a member is about a type.
    #[inline]
    pub(super) fn admits(&self, member: RuleRef, qtype: u16) -> bool {
        match (member.types as usize).checked_sub(1) {
            None => true,
            Some(number) => self.types.get(number).is_some_and(|types| types.admit(qtype)),
        }
    }

    /// All memory they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.refs.capacity() * size_of::<RuleRef>() + self.ends.capacity() * size_of::<u32>()
    }
}

/// Builds sets by adding one member at a time to one that exists.
pub(super) struct SetsBuilder<'r> {
    sets: Sets,
    /// For each rule its place in the order of precedence inside one name: zone, `allow` first, line.
    ranks: &'r [u32],
    known: HashMap<Vec<RuleRef>, u32>,
    steps: HashMap<(u32, RuleRef), u32>,
    /// The step taken last: within one list it is nearly always the same again.
    last: Option<((u32, RuleRef), u32)>,
}

impl<'r> SetsBuilder<'r> {
    pub(super) fn new(ranks: &'r [u32]) -> Self {
        let sets = Sets { refs: Vec::new(), ends: vec![0], types: Vec::new() };
        let known = HashMap::from([(Vec::new(), 0)]);
        Self { sets, ranks, known, steps: HashMap::new(), last: None }
    }

    /// Begins with sets that exist, under their numbers, in which rules have other numbers now or are gone.
    pub(super) fn on(sets: &Sets, ranks: &'r [u32], rule_now: impl Fn(usize) -> Option<usize>) -> Self {
        let mut builder = Self::new(ranks);
        builder.sets.types.clone_from(&sets.types);
        for number in 1..sets.ends.len() as u32 {
            let now = |member: &RuleRef| rule_now(member.rule()).map(|rule| member.of_rule(rule));
            let mut members: Vec<RuleRef> = sets.members(number).iter().filter_map(now).collect();
            members.sort_by_key(|member| (ranks[member.rule()], member.types));
            builder.sets.refs.extend_from_slice(&members);
            builder.sets.ends.push(builder.sets.refs.len() as u32);
            // Two that are the same now stay two.
            builder.known.entry(members).or_insert(number);
        }
        builder
    }

    /// The number of some types, for a member.
    pub(super) fn types(&mut self, types: Option<&Types>) -> u32 {
        let Some(types) = types else { return 0 };
        let known = self.sets.types.iter().position(|known| known == types);
        let number = known.unwrap_or_else(|| {
            self.sets.types.push(types.clone());
            self.sets.types.len() - 1
        });
        number as u32 + 1
    }

    /// The members of a set that exists.
    pub(super) fn members(&self, set: u32) -> &[RuleRef] {
        self.sets.members(set)
    }

    /// The set that is `set` and `member`.
    pub(super) fn with(&mut self, set: u32, member: RuleRef) -> u32 {
        let step = (set, member);
        if let Some((last, result)) = self.last
            && last == step
        {
            return result;
        }
        let result = match self.steps.get(&step) {
            Some(&result) => result,
            None => {
                let result = self.make(set, member);
                self.steps.insert(step, result);
                result
            }
        };
        self.last = Some((step, result));
        result
    }

    fn make(&mut self, set: u32, member: RuleRef) -> u32 {
        let mut members = self.sets.members(set).to_vec();
        match members.iter_mut().find(|known| (known.rule(), known.types) == (member.rule(), member.types)) {
            Some(known) => known.packed |= member.packed,
            None => members.push(member),
        }
        members.sort_by_key(|member| (self.ranks[member.rule()], member.types));
        if let Some(&known) = self.known.get(&members) {
            return known;
        }
        self.sets.refs.extend_from_slice(&members);
        self.sets.ends.push(self.sets.refs.len() as u32);
        let number = (self.sets.ends.len() - 1) as u32;
        self.known.insert(members, number);
        number
    }

    pub(super) fn finish(mut self) -> Sets {
        self.sets.refs.shrink_to_fit();
        self.sets.ends.shrink_to_fit();
        self.sets
    }
}
