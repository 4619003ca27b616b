//! How long the gateway's own answers take. A batch has one time, so an answer that is made within it seems to take none;
//! it ends when the batch is sent, and until then the moment when its query came is kept here, in fixed memory.

use super::{Desk, Gateway};
use crate::clock::Moment;
use crate::ledger::AnsweredBy;
use std::time::Duration;

/// Answers of a batch that are remembered: four times as many as one call to the kernel brings. Of those over it, which
/// can come of one connection with very many queries, the time since the batch began is left out.
const UNSENT_MAX: usize = 256;

/// When the queries came whose answers are not sent yet.
#[derive(Debug)]
pub(super) struct Unsent {
    received: [Moment; UNSENT_MAX],
    len: usize,
}

impl Unsent {
    pub(super) const fn new() -> Self {
        Self { received: [Moment::ZERO; UNSENT_MAX], len: 0 }
    }

    /// False when there is no room.
    pub(super) fn note(&mut self, received: Moment) -> bool {
        let Some(place) = self.received.get_mut(self.len) else { return false };
        *place = received;
        self.len += 1;
        true
    }
}

impl Gateway {
    /// How long the next query has lain in its socket, which belongs to the time that its client waits.
    pub fn set_waited(&mut self, waited: Duration) {
        self.desk.waited = waited;
    }

    /// Whether answers of the gateway's own have no end yet: then [`Self::on_sent`] is due once all is sent.
    pub fn has_unsent(&self) -> bool {
        self.desk.unsent.len > 0
    }

    /// What the batch has given is sent.
    pub fn on_sent(&mut self, at: Moment) {
        let Desk { unsent, ledger, .. } = &mut self.desk;
        for received in &unsent.received[..unsent.len] {
            ledger.took(AnsweredBy::Gateway, at.since(*received));
        }
        unsent.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_room_is_told() {
        let mut unsent = Unsent::new();
        assert_eq!((0..1000).filter(|n| unsent.note(Moment::from_nanos(*n))).count(), UNSENT_MAX);
        assert_eq!((unsent.len, unsent.received[UNSENT_MAX - 1].as_nanos()), (UNSENT_MAX, 255));
    }
}
