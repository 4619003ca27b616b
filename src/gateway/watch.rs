//! What the control side is told about queries, so that it can make out who and what is behind the load: samples, taken
//! where each query ends.

use super::reply::Ending;
use super::{Case, Client, Desk, View};
use crate::dns::class;
use crate::dns::name::Name;
use crate::ledger::samples::Sample;
use crate::verdict::{Outcome, Reason};

impl Desk {
    /// Passes on a query that has just been counted, when it is one to be sampled.
    #[inline]
    pub(super) fn watch(&mut self, view: &View<'_>, case: &Case<'_>, outcome: Outcome, reason: Reason) {
        let Some((weight, trace)) = self.sampler.turn(view.now.at) else { return };
        view.shared.samples.push(Sample {
            weight,
            client: case.client.peer.ip(),
            verified: view.is_verified(case),
            known: view.shared.regulars.meet(view.now.at, case.client.peer.ip(), false),
            tcp: case.client.is_tcp(),
            asks: case.query.asks_for_records() && case.query.qclass == class::IN,
            name: case.asked().name,
            qtype: case.query.qtype,
            outcome,
            reason,
            received: u16::try_from(case.asked().packet.len()).unwrap_or(u16::MAX),
            trace,
        });
    }

    /// Counts a packet that could not be read as a query, and passes it on as above.
    pub(super) fn count_malformed(&mut self, view: &View<'_>, client: Client, packet: &[u8], ending: Ending) {
        let (outcome, reason) = ending;
        self.ledger.count(outcome, reason, client.is_tcp(), None);
        let Some((weight, trace)) = self.sampler.turn(view.now.at) else { return };
        view.shared.samples.push(Sample {
            weight,
            client: client.peer.ip(),
            verified: client.is_tcp(),
            known: view.shared.regulars.meet(view.now.at, client.peer.ip(), false),
            tcp: client.is_tcp(),
            asks: false,
            name: Name::root(),
            qtype: 0,
            outcome,
            reason,
            received: u16::try_from(packet.len()).unwrap_or(u16::MAX),
            trace,
        });
    }
}
