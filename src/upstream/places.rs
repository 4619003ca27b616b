//! A few places that many want: nobody may have more of them than are still free, so that no single source fills them all.
//!
//! A fixed share would leave places empty where one source is all there is, a forwarder or the only secondary, and would
//! be too much where many hold one. Of what is free (dynamic thresholds, Choudhury and Hahne 1998) a source alone gets half,
//! the next one half of the rest, and whoever has none gets the last: six sources together leave one of 64 places free.

use crate::policy::regulars::Source;

/// `N` places, each free or held by a source.
#[derive(Debug)]
pub struct Places<const N: usize> {
    holders: [Option<Source>; N],
    /// The numbers of those that are free, the last of them first.
    free: [u16; N],
    free_len: usize,
}

impl<const N: usize> Default for Places<N> {
    fn default() -> Self {
        Self { holders: [None; N], free: std::array::from_fn(|number| number as u16), free_len: N }
    }
}

impl<const N: usize> Places<N> {
    /// A place for a source, by its number; `None` when there is none, or the source holds as many as are free. O(N).
    pub fn take(&mut self, source: Source) -> Option<u16> {
        let held = self.holders.iter().filter(|holder| **holder == Some(source)).count();
        if held >= self.free_len {
            return None;
        }
        self.free_len -= 1;
        let number = self.free[self.free_len];
        self.holders[usize::from(number)] = Some(source);
        Some(number)
    }

    /// Gives a place back.
    pub fn leave(&mut self, number: u16) {
        let holder = self.holders.get_mut(usize::from(number)).and_then(Option::take);
        debug_assert!(holder.is_some(), "a place is left once");
        if holder.is_some() {
            self.free[self.free_len] = number;
            self.free_len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn source(number: u32) -> Source {
        Source::of(Ipv4Addr::from_bits(number).into())
    }

    /// As many places as a source gets.
    fn fill(places: &mut Places<64>, number: u32) -> Vec<u16> {
        std::iter::from_fn(|| places.take(source(number))).collect()
    }

    #[test]
    fn each_source_gets_half_of_what_is_left_and_the_last_is_for_one_that_has_none() {
        let mut places = Places::<64>::default();
        let held: Vec<_> = (0..8).map(|number| fill(&mut places, number)).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [32, 16, 8, 4, 2, 1, 1, 0]);
        let mut numbers = held.concat();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..64).collect::<Vec<_>>(), "no place is given twice");
    }

    #[test]
    fn what_is_given_back_is_had_again() {
        let mut places = Places::<64>::default();
        for _ in 0..3 {
            let mut held = fill(&mut places, 1);
            assert_eq!(held.len(), 32);
            places.leave(held.swap_remove(7));
            assert!(places.take(source(1)).is_some_and(|place| {
                held.push(place);
                places.take(source(1)).is_none()
            }));
            held.into_iter().for_each(|place| places.leave(place));
        }
        assert_eq!(places.free_len, 64);
    }
}
