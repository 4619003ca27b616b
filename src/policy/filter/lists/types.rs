//! The record types that one line of a list speaks about (`$dnstype`): some, or all but some.

/// A set of record types, or all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Types {
    /// Sorted, each once.
    listed: Vec<u16>,
    /// All but those listed.
    except: bool,
}

impl Types {
    /// Every type.
    pub const ALL: Self = Self { listed: Vec::new(), except: true };

    /// Those listed, or with `except` all others.
    pub(super) fn new(mut listed: Vec<u16>, except: bool) -> Self {
        listed.sort_unstable();
        listed.dedup();
        Self { listed, except }
    }

    /// Whether `qtype` is one of them.
    pub fn admit(&self, qtype: u16) -> bool {
        self.listed.binary_search(&qtype).is_ok() != self.except
    }

    /// The types, when they are few and not all others.
    pub(super) fn only(&self) -> Option<&[u16]> {
        (!self.except).then_some(&self.listed)
    }

    /// Those that are not in `other`.
    pub(super) fn without(&self, other: &Self) -> Self {
        let kept = |of: &Self, found: bool, by: &Self| {
            of.listed.iter().copied().filter(|qtype| by.listed.binary_search(qtype).is_ok() == found).collect()
        };
        match (self.except, other.except) {
            (false, false) => Self::new(kept(self, false, other), false),
            (false, true) => Self::new(kept(self, true, other), false),
            (true, true) => Self::new(kept(other, false, self), false),
            (true, false) => Self::new([self.listed.as_slice(), &other.listed].concat(), true),
        }
    }

    /// Whether no type is left.
    pub(super) fn is_none(&self) -> bool {
        !self.except && self.listed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_is_what_the_other_admits() {
        let sets: Vec<_> = [vec![], vec![1], vec![1, 28], vec![28, 65]]
            .into_iter()
            .flat_map(|of| [false, true].map(|e| Types::new(of.clone(), e)))
            .collect();
        for one in &sets {
            for other in &sets {
                let left = one.without(other);
                for qtype in [1, 5, 28, 65] {
                    assert_eq!(left.admit(qtype), one.admit(qtype) && !other.admit(qtype), "{one:?} {other:?} {qtype}");
                }
                assert!(one.without(one).is_none());
            }
        }
    }
}
