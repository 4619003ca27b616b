//! From a word to a number, in fixed memory: from (route, id) to an attempt, from a question to the flight that asks it.
//! Open addressing with linear probing, never fuller than three quarters.

use super::flights::Full;

/// The table.
#[derive(Debug)]
pub(super) struct Index {
    entries: Box<[(u64, u32)]>,
    len: usize,
}

const EMPTY: u64 = u64::MAX;

impl Index {
    pub(super) fn new(entries_min: usize) -> Self {
        Self { entries: vec![(EMPTY, 0); Self::capacity(entries_min)].into_boxed_slice(), len: 0 }
    }

    fn capacity(entries_min: usize) -> usize {
        entries_min.next_power_of_two().max(64)
    }

    pub(super) fn size_bytes(entries_min: usize) -> usize {
        Self::capacity(entries_min) * size_of::<(u64, u32)>()
    }

    /// Keys hold random ids or are keyed hashes, which nobody outside can foresee, so mixing needs no key.
    fn home(&self, key: u64) -> usize {
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> (64 - self.entries.len().trailing_zeros())) as usize
    }

    pub(super) fn find(&self, key: u64) -> Option<u32> {
        let mask = self.entries.len() - 1;
        let mut at = self.home(key);
        loop {
            match self.entries[at] {
                (found, value) if found == key => return Some(value),
                (EMPTY, _) => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    pub(super) fn insert(&mut self, key: u64, value: u32) -> Result<(), Full> {
        if self.len >= self.entries.len() / 4 * 3 {
            return Err(Full);
        }
        let mask = self.entries.len() - 1;
        let mut at = self.home(key);
        while self.entries[at].0 != EMPTY {
            at = (at + 1) & mask;
        }
        self.entries[at] = (key, value);
        self.len += 1;
        Ok(())
    }

    /// Removes a key and closes the gap, so that no tombstones pile up.
    pub(super) fn remove(&mut self, key: u64) {
        let mask = self.entries.len() - 1;
        let mut gap = self.home(key);
        while self.entries[gap].0 != key {
            if self.entries[gap].0 == EMPTY {
                return;
            }
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let (found, value) = self.entries[at];
            if found == EMPTY {
                break;
            }
            let probes_from_home = at.wrapping_sub(self.home(found)) & mask;
            if probes_from_home >= (at.wrapping_sub(gap) & mask) {
                self.entries[gap] = (found, value);
                gap = at;
            }
        }
        self.entries[gap].0 = EMPTY;
        self.len -= 1;
    }
}
