//! The chain of CNAMEs from the question's name through an answer section, in whatever order its records come
//! (RFC 1034 section 3.6.2).

use super::name::Name;
use super::{HEADER_LEN, u16_at, walk};

/// The longest CNAME chain that is followed, longer than what resolvers follow (BIND and Unbound start anew 11 times). An
/// answer with a longer one is not cached, and withheld where a filter would have to read all of it.
pub const CHAIN_MAX: usize = 16;

/// A chain under construction. CNAMEs that come in order are followed at once, those that do not at the end.
pub(super) struct Chain<'m> {
    message: &'m [u8],
    /// Where the last name so far stands.
    end_at: usize,
    /// That name, once it had to be read.
    end: Option<Name>,
    /// Offsets of the targets that were followed, and how many there are.
    pub(super) targets: [u16; CHAIN_MAX],
    pub(super) len: usize,
    /// Offsets of owner and target of those that were passed by; an owner of 0 has been used.
    passed: [(u16, u16); CHAIN_MAX],
    passed_len: usize,
    /// More records than are followed.
    pub(super) too_long: bool,
}

impl<'m> Chain<'m> {
    /// A chain that begins at the question's name.
    pub(super) fn new(message: &'m [u8]) -> Self {
        Self {
            message,
            end_at: HEADER_LEN,
            end: None,
            targets: [0; CHAIN_MAX],
            len: 0,
            passed: [(0, 0); CHAIN_MAX],
            passed_len: 0,
            too_long: false,
        }
    }

    /// Takes in a CNAME record by the offsets of its owner and its target; both have been found to be names.
    pub(super) fn add(&mut self, owner: usize, target: usize) {
        let (Ok(owner), Ok(target)) = (u16::try_from(owner), u16::try_from(target)) else { return };
        if self.is_end(owner) {
            self.follow(target);
        } else if let Some(slot) = self.passed.get_mut(self.passed_len) {
            *slot = (owner, target);
            self.passed_len += 1;
        } else {
            self.too_long = true;
        }
    }

    /// Follows what was passed by, as far as it leads on. Each round uses up one record, so that no loop of names is
    /// followed twice: at most [`CHAIN_MAX`] rounds over as many records.
    pub(super) fn finish(&mut self) {
        while let Some(index) = (0..self.passed_len).find(|&index| self.leads_on(index)) {
            let (_, target) = std::mem::take(&mut self.passed[index]);
            self.follow(target);
        }
    }

    fn leads_on(&mut self, index: usize) -> bool {
        let (owner, _) = self.passed[index];
        owner != 0 && self.is_end(owner)
    }

    /// Whether the owner name at `owner` is the last name of the chain so far.
    fn is_end(&mut self, owner: u16) -> bool {
        // Nearly always the owner is a pointer to it.
        let owner = usize::from(owner);
        if u16_at(self.message, owner).is_some_and(|word| word >= 0xC000 && usize::from(word & 0x3FFF) == self.end_at) {
            return true;
        }
        if self.end.is_none() {
            self.end = Name::read(self.message, self.end_at).ok().map(|(name, _)| name);
        }
        self.end.as_ref().is_some_and(|end| walk::is_at(end, self.message, owner))
    }

    /// Goes on to a target, unless the chain is too long.
    fn follow(&mut self, target: u16) {
        let Some(slot) = self.targets.get_mut(self.len) else {
            self.too_long = true;
            return;
        };
        *slot = target;
        (self.end_at, self.end) = (usize::from(target), None);
        self.len += 1;
    }
}
