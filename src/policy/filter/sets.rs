//! The interned sets of rules that name the same name: a million names of one list share one set, so the table holds a
//! number of one byte for each of them.

use std::collections::HashMap;

/// The name itself.
pub(super) const SELF: u8 = 1;
/// Everything below the name.
pub(super) const BELOW: u8 = 2;

/// A rule, and what of a name it speaks about: the name itself, what is below, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RuleRef(u32);

impl RuleRef {
    /// `rule`: its number, at most [`super::RULES_MAX`].
    pub(super) fn new(rule: usize, reach: u8) -> Self {
        Self((rule as u32) << 2 | u32::from(reach))
    }

    /// The number of the rule.
    pub(super) fn rule(self) -> usize {
        (self.0 >> 2) as usize
    }

    /// [`SELF`], [`BELOW`] or both.
    pub(super) fn reach(self) -> u8 {
        (self.0 & 3) as u8
    }
}

/// All sets; number 0 is empty and stands for no name.
#[derive(Debug)]
pub(super) struct Sets {
    refs: Vec<RuleRef>,
    /// Set n is `refs[ends[n - 1]..ends[n]]`.
    ends: Vec<u32>,
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
        let sets = Sets { refs: Vec::new(), ends: vec![0] };
        let known = HashMap::from([(Vec::new(), 0)]);
        Self { sets, ranks, known, steps: HashMap::new(), last: None }
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
        match members.iter_mut().find(|known| known.rule() == member.rule()) {
            Some(known) => *known = RuleRef::new(member.rule(), known.reach() | member.reach()),
            None => members.push(member),
        }
        members.sort_by_key(|member| self.ranks[member.rule()]);
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
