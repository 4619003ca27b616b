//! Answers that need no upstream: fresh from the cache, a failure that is remembered, and stale ones when nothing fresh
//! can be had (RFC 2308, 8767, 9520).

use super::admit::Admitted;
use super::outbox::Outbox;
use super::reply::{Draft, OPT_MAX};
use super::{Case, Desk, View};
use crate::cache::{BODY_MAX, Flags, Found, Freshness, Hit, Key, Vetted};
use crate::dns::edns::{self, ExtendedError};
use crate::dns::name::Name;
use crate::dns::query::Query;
use crate::dns::record::seconds;
use crate::dns::reply::Body;
use crate::dns::response::{Response, TTLS_MAX};
use crate::dns::{header, put_u16, rcode, u16_at, u32_at};
use crate::policy::filter::TtlBounds;
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

/// What [`key_of`] is likely to make of a packet whose name, in lower case, ends at an offset: of one without a client subnet
/// and with OPT, if any, right behind the question, as nearly all are.
#[inline]
pub(super) fn guess_key<'n>(packet: &[u8], name: &'n Name, name_end: usize) -> Option<Key<'n>> {
    let (qtype, qclass) = (u16_at(packet, name_end)?, u16_at(packet, name_end + 2)?);
    let bits = u16_at(packet, 2)?;
    let flags = Flags::new(bits & header::RD != 0, bits & header::CD != 0, edns::wants_dnssec(packet, name_end + 4));
    Some(Key { name, qtype, qclass, flags, client_subnet: &[] })
}

impl Desk {
    /// Answers from what is remembered; false when an upstream has to be asked.
    pub(super) fn answer_from_memory(&mut self, view: &View<'_>, admitted: &Admitted<'_>, out: &mut Outbox) -> bool {
        let case = admitted.case();
        let Some(key) = key_of(case.query) else { return false };
        let Some(room) = out.room(ROOM) else {
            self.lose_answer(view, case, out);
            return true;
        };
        let cache = &view.shared.cache;
        let hash = case.key_hash.get_or_init(|| cache.hash_of(&key));
        let found = cache.get_foreseen(view.now.at, &key, *hash, room);
        if let Found::Hit(hit) = &found
            && hit.is_fresh()
        {
            match self.serve(view, admitted, &key, (hit, Wanted::Fresh), Reason::None, out) {
                Served::Answered => return true,
                Served::Removed => return false,
                Served::Over => {}
            }
        }
        let Some(failed) = view.shared.cache.failed(view.now.at, &key.failing()) else { return false };
        if self.asks_again(view, case, &key, &failed) {
            return false;
        }
        if let Found::Hit(hit) = &found {
            match self.serve(view, admitted, &key, (hit, Wanted::Any), Reason::None, out) {
                Served::Answered => return true,
                Served::Removed => return false,
                Served::Over => {}
            }
        }
        if !(admitted.waits() && self.obey_without_answer(view, case, out)) {
            let error = Some((ExtendedError::CachedError, failed.kind.text()));
            let ending = (Outcome::CacheFailure, Reason::None);
            self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, ending, out);
        }
        true
    }

    /// Answers with a stale entry, if there is one, because of `reason`; false when there is none.
    pub(super) fn answer_stale(&mut self, view: &View<'_>, case: &Case<'_>, reason: Reason, out: &mut Outbox) -> bool {
        let Some(key) = key_of(case.query) else { return false };
        let Some(room) = out.room(ROOM) else { return false };
        let cache = &view.shared.cache;
        let hash = case.key_hash.get_or_init(|| cache.hash_of(&key));
        let Found::Hit(hit) = cache.get_foreseen(view.now.at, &key, *hash, room) else { return false };
        let admitted = Admitted::again(view, case);
        self.serve(view, &admitted, &key, (&hit, Wanted::Any), reason, out) == Served::Answered
    }

    /// Sends a hit that lies in the outbox's room, once the filter of the running policy has seen what is in it, unless it has
    /// lived for as long as the rules let it for this client.
    fn serve(
        &mut self,
        view: &View<'_>,
        admitted: &Admitted<'_>,
        key: &Key<'_>,
        (hit, wanted): (&Hit, Wanted),
        reason: Reason,
        out: &mut Outbox,
    ) -> Served {
        let case = admitted.case();
        let (mut len, mut standing) = (hit.len, hit.freshness);
        let generation = view.running.generation;
        let vetted = Vetted { generation, untouched: true };
        if hit.vetted != vetted || admitted.waits() {
            let body = out.room(ROOM).map(|room| &room[..hit.len]);
            // What was cached was scanned before; should it not scan now, it is not served.
            let scanned = body.map(Response::scan);
            let Some(Ok(response)) = &scanned else {
                let error = Some((ExtendedError::Other, ""));
                self.say(view, case, Body::Rcode(rcode::SERVFAIL), error, (Outcome::Failed, Reason::Overload), out);
                return Served::Answered;
            };
            let heard = view.hear(case, admitted.groups(), response);
            let additionals_at = response.additionals_at;
            let (mut ttls, ttls_len) = ([0; TTLS_MAX], response.ttls().len());
            ttls[..ttls_len].copy_from_slice(response.ttls());
            let bounds = heard.word.bounds();
            if heard.word.is_unexpected() {
                // A forged answer from before the rule: the true one may be had by now.
                self.count_heard(view, case, &heard);
                view.shared.cache.remove(key);
                return Served::Removed;
            }
            standing = match hit.standing(view.now.at, bounds) {
                Some(standing) if wanted == Wanted::Any || standing == Freshness::Fresh => standing,
                Some(_) => return Served::Over,
                None => {
                    // It was kept for longer than its TTL for those to whom a rule gave a least one, and there is none now.
                    if heard.word.is_untouched() {
                        view.shared.cache.remove(key);
                    }
                    return Served::Over;
                }
            };
            self.count_heard(view, case, &heard);
            let Some(pass) = self.follow(view, case, &heard.word, out) else { return Served::Answered };
            if pass.untouched && hit.vetted != vetted {
                view.shared.cache.revet(key, hit, vetted);
            }
            if let Some(room) = out.room(ROOM) {
                if pass.cut {
                    len = additionals_at;
                    put_u16(room, 10, 0);
                }
                if hit.is_raised() || bounds != TtlBounds::NONE {
                    change_ttls(room, &ttls[..ttls_len], |ttl| hit.ttl_of(ttl, bounds, standing));
                }
            }
        }
        if let Some(led) = case.led {
            self.answer_led(view, case, led, len, out);
            return Served::Answered;
        }
        let (error, ending) = match (standing, hit.rcode) {
            (Freshness::Fresh, _) => (None, Outcome::CacheHit),
            (Freshness::Stale { .. }, rcode::NXDOMAIN) => {
                (Some((ExtendedError::StaleNxdomain, "")), Outcome::CacheStale)
            }
            (Freshness::Stale { .. }, _) => (Some((ExtendedError::StaleAnswer, "")), Outcome::CacheStale),
        };
        let draft = Draft { len, rcode: hit.rcode, options: hit.options(), error, class: hit.class };
        self.deliver(view, case, &draft, ROOM, (ending, reason), out);
        Served::Answered
    }
}

/// Which hits are good enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Those within their TTL.
    Fresh,
    /// Stale ones too.
    Any,
}

/// What became of a hit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// The query is answered.
    Answered,
    /// It is not good enough for this client.
    Over,
    /// It should not have been there, and a better one is to be asked for.
    Removed,
}

/// Keeps the TTLs at these offsets of a message within bounds.
pub(super) fn bound_ttls(message: &mut [u8], ttls: &[u16], bounds: TtlBounds) {
    if bounds != TtlBounds::NONE {
        change_ttls(message, ttls, |ttl| bounds.bound(seconds(ttl)));
    }
}

fn change_ttls(message: &mut [u8], ttls: &[u16], change: impl Fn(u32) -> u32) {
    for at in ttls.iter().map(|at| usize::from(*at)) {
        let changed = u32_at(message, at).map(&change);
        if let (Some(ttl), Some(room)) = (changed, message.get_mut(at..at + 4)) {
            room.copy_from_slice(&ttl.to_be_bytes());
        }
    }
}
