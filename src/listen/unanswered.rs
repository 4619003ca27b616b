//! What is due on a connection to an upstream: the ids of the messages that it has not answered, in fixed memory.
//!
//! Servers drop what they do not like and go on answering the rest (RFC 7766 section 6.2.1 asks for no more). What they drop
//! would be due for as long as the connection lives, until there is room for nothing else; so what nobody waits for any more
//! is forgotten. An answer that comes after all is none the worse for it: the core knows what it is for.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Queries on one connection that are unanswered.
pub(super) const UNANSWERED_MAX: usize = 1024;

/// What is due for so long is forgotten: hardly anybody waits longer for an answer.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// Ids that are due, the oldest first, and since when.
#[derive(Debug)]
pub(super) struct Unanswered(VecDeque<(u16, Instant)>);

impl Default for Unanswered {
    fn default() -> Self {
        Self(VecDeque::with_capacity(UNANSWERED_MAX))
    }
}

impl Unanswered {
    /// Messages that are due.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what nobody waits for any more. O(1) for each that is forgotten.
    pub(super) fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|(_, since)| now.duration_since(*since) >= FORGOTTEN_AFTER) {
            self.0.pop_front();
        }
    }

    /// One more is due. At the bound it is not noted, which is for the caller to see to.
    pub(super) fn ask(&mut self, id: u16, now: Instant) {
        if self.0.len() < UNANSWERED_MAX {
            self.0.push_back((id, now));
        }
    }

    /// One is answered. O(n) in what is due, from the oldest: that is mostly the one.
    pub(super) fn answered(&mut self, id: u16) {
        if let Some(place) = self.0.iter().position(|(due, _)| *due == id) {
            self.0.remove(place);
        }
    }

    /// All that are due, none of them any more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u16> {
        self.0.drain(..).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_drops_while_it_answers_the_rest_takes_no_room_for_ever() {
        let (begin, mut unanswered) = (Instant::now(), Unanswered::default());
        for number in 0..100_000u32 {
            let now = begin + Duration::from_millis(10) * number;
            unanswered.forget(now);
            assert!(unanswered.len() <= 1_000, "10 s of what is dropped: {}", unanswered.len());
            unanswered.ask((number % 30_000) as u16, now);
            unanswered.ask(40_000, now);
            unanswered.answered(40_000);
        }
        assert_eq!(unanswered.take().count(), 1_000);
        assert_eq!(unanswered.len(), 0);
    }

    #[test]
    fn answers_come_in_any_order_and_what_is_left_is_due() {
        let (now, mut unanswered) = (Instant::now(), Unanswered::default());
        (0..8).for_each(|id| unanswered.ask(id, now));
        [3, 7, 0, 3, 99].into_iter().for_each(|id| unanswered.answered(id));
        unanswered.forget(now + FORGOTTEN_AFTER - Duration::from_millis(1));
        assert_eq!(unanswered.take().collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
    }

    #[test]
    fn there_is_a_bound() {
        let (now, mut unanswered) = (Instant::now(), Unanswered::default());
        (0..2_000).for_each(|id| unanswered.ask(id, now));
        assert_eq!(unanswered.len(), UNANSWERED_MAX);
    }
}
