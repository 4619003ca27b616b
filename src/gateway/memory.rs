//! Answers that need no upstream: fresh from the cache, a failure that is remembered, and stale ones when nothing fresh
//! can be had (RFC 2308, 8767, 9520).

use super::admit::Admitted;
use super::judge::Pass;
use super::outbox::Outbox;
use super::reply::{Draft, OPT_MAX};
use super::{Case, Desk, View};
use crate::cache::{BODY_MAX, Flags, Found, Freshness, Hit, Key, Vetted};
use crate::dns::edns::ExtendedError;
use crate::dns::query::Query;
use crate::dns::rcode;
use crate::dns::reply::Body;
use crate::dns::response::Response;
use crate::policy::clients::GroupSet;
use crate::verdict::{Outcome, Reason};

/// Room for a cached answer with its OPT.
pub(super) const ROOM: usize = BODY_MAX + OPT_MAX;

/// The cache's key for a query, unless its answer may depend on an option that we do not know.
pub(super) fn key_of<'q>(query: &'q Query<'q>) -> Option<Key<'q>> {
    let edns = query.edns.as_ref();
    if edns.is_some_and(|edns| edns.has_other_options) {
        return None;
    }
    let subnet = edns.and_then(|edns| edns.client_subnet).map_or(&[][..], |(from, to)| &query.packet[from..to]);
    // Not AD: it is asked for always, and taken from the answer for those who did not ask.
    let flags = Flags::new(query.rd, query.cd, query.dnssec_ok());
    Some(Key { name: &query.name, qtype: query.qtype, qclass: query.qclass, flags, client_subnet: subnet })
}

impl Desk {
    /// Answers from what is remembered; false when an upstream has to be asked.
    pub(super) fn answer_from_memory(&mut self, view: &View<'_>, admitted: &Admitted<'_>, out: &mut Outbox) -> bool {
        let case = admitted.case();
        let Some(key) = key_of(case.query) else { return false };
        let Some(room) = out.room(ROOM) else {
            self.finish(view, case, Outcome::Failed, Reason::Overload, None);
            return true;
        };
        let found = view.shared.cache.get(view.now.at, &key, room);
        if let Found::Hit(hit) = &found
            && hit.is_fresh()
        {
            self.serve(view, case, admitted.groups(), &key, hit, Reason::None, out);
            return true;
        }
        let Some(failed) = view.shared.cache.failed(view.now.at, &key.failing()) else { return false };
        if self.asks_again(view, case, &key, &failed) {
            return false;
        }
        match &found {
            Found::Hit(stale) => self.serve(view, case, admitted.groups(), &key, stale, Reason::None, out),
            Found::Miss => {
                let error = Some((ExtendedError::CachedError, failed.kind.text()));
                let ending = (Outcome::CacheFailure, Reason::None);
                self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, ending, out);
            }
        }
        true
    }

    /// Answers with a stale entry, if there is one, because of `reason`; false when there is none.
    pub(super) fn answer_stale(&mut self, view: &View<'_>, case: Case<'_>, reason: Reason, out: &mut Outbox) -> bool {
        let Some(key) = key_of(case.query) else { return false };
        let Some(room) = out.room(ROOM) else { return false };
        let Found::Hit(hit) = view.shared.cache.get(view.now.at, &key, room) else { return false };
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        self.serve(view, case, &groups, &key, &hit, reason, out);
        true
    }

    /// Sends a hit that lies in the outbox's room, once the filter of the running policy has seen its names.
    #[allow(clippy::too_many_arguments)] // a hit, who gets it, and why
    fn serve(
        &mut self,
        view: &View<'_>,
        case: Case<'_>,
        groups: &GroupSet,
        key: &Key<'_>,
        hit: &Hit,
        reason: Reason,
        out: &mut Outbox,
    ) {
        let generation = view.running.generation;
        let vetted = Vetted { generation, untouched: true };
        if hit.vetted != vetted {
            let body = out.room(ROOM).map(|room| &room[..hit.len]);
            // What was cached was scanned before; should it not scan now, it is not served.
            let Some(Ok(response)) = body.map(Response::scan) else {
                return self.say(
                    view,
                    case,
                    Body::Rcode(rcode::SERVFAIL),
                    Some((ExtendedError::Other, "")),
                    (Outcome::Failed, Reason::Overload),
                    out,
                );
            };
            let word = self.judge_answer(view, case, groups, &response);
            match self.follow(view, case, word, out) {
                Some(Pass { untouched: true, .. }) => view.shared.cache.revet(key, vetted),
                Some(Pass { untouched: false, .. }) => {}
                None => return,
            }
        }
        let (error, ending) = match (hit.freshness, hit.rcode) {
            (Freshness::Fresh, _) => (None, Outcome::CacheHit),
            (Freshness::Stale { .. }, rcode::NXDOMAIN) => {
                (Some((ExtendedError::StaleNxdomain, "")), Outcome::CacheStale)
            }
            (Freshness::Stale { .. }, _) => (Some((ExtendedError::StaleAnswer, "")), Outcome::CacheStale),
        };
        let draft = Draft { len: hit.len, rcode: hit.rcode, options: hit.options(), error, class: hit.class };
        self.deliver(view, case, &draft, ROOM, (ending, reason), out);
    }
}
