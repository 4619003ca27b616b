//! Which question rules fit a question, found without a look at each: a policy of 64 rules costs a query as much as one.

use super::{Asked, QUESTIONS_MAX, Question};

/// A bit for each rule, by its place in the file.
type Rules = u64;

const _: () = assert!(QUESTIONS_MAX <= Rules::BITS as usize, "a bit for each rule");

/// The rules by what they name.
#[derive(Debug, Default)]
pub(super) struct Fitting {
    qtypes: Naming<u16>,
    classes: Naming<u16>,
    opcodes: Naming<u8>,
}

/// The rules by their lists of one kind.
#[derive(Debug)]
struct Naming<K> {
    /// Those without a list: whatever is asked, it fits them.
    without: Rules,
    /// Each value that a list holds, in order, with the rules whose list holds it.
    values: Vec<(K, Rules)>,
}

impl<K> Default for Naming<K> {
    fn default() -> Self {
        Self { without: 0, values: Vec::new() }
    }
}

impl Fitting {
    /// At most [`QUESTIONS_MAX`] rules.
    pub(super) fn new(questions: &[Question]) -> Self {
        Self {
            qtypes: Naming::new(questions.iter().map(|question| &*question.qtypes)),
            classes: Naming::new(questions.iter().map(|question| &*question.classes)),
            opcodes: Naming::new(questions.iter().map(|question| &*question.opcodes)),
        }
    }

    /// The places of the rules that fit, first to last.
    #[inline]
    pub(super) fn of(&self, asked: Asked) -> Places {
        let mut rules = self.qtypes.of(asked.qtype);
        if rules != 0 {
            rules &= self.classes.of(asked.qclass) & self.opcodes.of(asked.opcode);
        }
        Places(rules)
    }
}

impl<K: Copy + Ord> Naming<K> {
    fn new<'l>(lists: impl Iterator<Item = &'l [K]>) -> Self
    where
        K: 'l,
    {
        let mut naming = Self::default();
        for (place, list) in lists.enumerate() {
            let rule = 1 << place;
            if list.is_empty() {
                naming.without |= rule;
            }
            for value in list {
                match naming.values.binary_search_by_key(value, |(value, _)| *value) {
                    Ok(at) => naming.values[at].1 |= rule,
                    Err(at) => naming.values.insert(at, (*value, rule)),
                }
            }
        }
        naming
    }

    #[inline]
    fn of(&self, value: K) -> Rules {
        let at = self.values.binary_search_by_key(&value, |(value, _)| *value);
        self.without | at.map_or(0, |at| self.values[at].1)
    }
}

/// Places of rules, from 0 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places(Rules);

impl Places {
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.0.trailing_zeros() as usize;
        let rest = self.0.checked_sub(1)?;
        self.0 &= rest;
        Some(place)
    }
}
