//! What the core does not do while its worker is behind: queries that waited too long, and those over a fair share.
//!
//! The driver knows how long a datagram lay in its socket and whether the worker keeps up; what follows from it is decided
//! here, so that it is counted with everything else and plays in virtual time.

use super::outbox::Outbox;
use super::{Case, Client, Desk, Gateway, View};
use crate::clock::Now;
use crate::language::phrase;
use crate::ledger::alerts::{Alert, AlertKind, Numbers, Subject};
use crate::policy::Mode;
use crate::policy::networks::NetworkSet;
use crate::policy::overload::Pressure;
use crate::policy::regulars::Regulars;
use crate::verdict::{Outcome, Reason};
use std::net::IpAddr;
use std::time::Duration;

impl Gateway {
    /// Whether the worker keeps up, from the next query on; the driver says so before each batch.
    pub fn set_pressure(&mut self, pressure: Pressure) {
        self.desk.pressure = pressure;
    }

    /// Whether a datagram of `client` that lay in its socket for `waited` comes too late to be looked at. Then it has been
    /// counted and must not be handed to [`Gateway::on_query`]: whoever sent it has given up or has asked again.
    pub fn is_late(&mut self, client: Client, waited: Duration) -> bool {
        let overload = &self.running.policy.overload;
        if waited <= overload.max_wait || client.is_tcp() {
            return false;
        }
        match overload.mode {
            Mode::Off => false,
            Mode::Monitor => {
                self.desk.ledger.would(Reason::Overload);
                false
            }
            Mode::Enforce => {
                self.desk.ledger.count(Outcome::Dropped, Reason::Overload, false, Some(waited));
                true
            }
        }
    }

    /// What one source may have each second while the worker is behind; `None`: nobody is shed.
    pub fn shed_rate(&self) -> Option<u32> {
        let overload = &self.running.policy.overload;
        (overload.mode == Mode::Enforce).then_some(overload.rate)
    }

    /// Whether a source is never shed: `[source] exempt`.
    pub fn is_spared(&self, client: IpAddr) -> bool {
        self.spared().contains(client)
    }

    /// All such sources.
    pub fn spared(&self) -> &NetworkSet {
        &self.running.policy.source.exempt
    }

    /// Who is known from before a flood.
    pub fn regulars(&self) -> &Regulars {
        &self.shared.regulars
    }

    /// The worker is flooded from very many sources, and the driver thins those that are not known; to be called about once
    /// a second while it lasts.
    pub fn flooded_by_many(&mut self, now: Now, numbers: Numbers) {
        let (kind, subject) = (AlertKind::Flood, Subject::ManySources);
        let done = phrase!("[overload] serves sources that are known first, strangers with the capacity that is left");
        self.shared.alerts.raise(Alert { unix_ms: now.unix_ms, kind, subject, numbers, done });
    }
}

impl Desk {
    /// A fair share for everybody while the worker is behind. Silence: an answer would cost what there is too little of.
    pub(super) fn pass_overload(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) -> bool {
        let policy = &view.running.policy;
        if self.pressure == Pressure::None || policy.overload.mode == Mode::Off {
            return true;
        }
        let (client, verified) = (case.client.peer.ip(), view.is_verified(case));
        if verified {
            // Also who was a stranger: the filters learn it within a second.
            view.shared.regulars.prove(view.now.at, client);
        }
        if policy.source.exempt.contains(client) || self.share.take(&policy.overload, view.now.at, client, verified) {
            return true;
        }
        if policy.overload.mode == Mode::Monitor {
            self.would(view, case, (Outcome::Dropped, Reason::Overload), None);
            return true;
        }
        self.drop_query(view, case, Reason::Overload, None, out);
        false
    }
}
