//! DNS cookies on their way through: what a query's cookie says, what follows from it, and the one that its reply carries.
//!
//! Nothing is remembered with a query: whoever needs to know judges the cookie again, from the query itself. That costs a
//! hash of 20 bytes, and an answer that many wait for finds each its own.

use super::admit::Kind;
use super::outbox::Outbox;
use super::{Case, Desk, View};
use crate::dns::edns::option;
use crate::dns::reply::Body;
use crate::dns::{opcode, put_u16, rcode};
use crate::ledger::CookieEvent;
use crate::policy::cookies::{COOKIE_LEN, CookieMode, Standing};
use crate::verdict::{Outcome, Reason};

/// Length of an encoded COOKIE option.
pub(super) const OPTION_LEN: usize = 4 + COOKIE_LEN;

impl Case<'_> {
    /// The data of the COOKIE option.
    fn cookie(&self) -> Option<&[u8]> {
        let (from, to) = self.query.edns.as_ref()?.cookie?;
        self.query.packet.get(from..to)
    }
}

impl View<'_> {
    /// What the cookie of a query says; `None` without one, or where cookies are not ended here.
    fn standing(&self, case: Case<'_>) -> Option<Standing> {
        let data = case.cookie()?;
        self.running.policy.cookies.judge(&self.shared.cookies, self.now, case.client.peer.ip(), data)
    }

    /// Whether the client is known to be where it says: it came over TCP, or has received what we sent there.
    pub(super) fn is_verified(&self, case: Case<'_>) -> bool {
        case.client.is_tcp() || matches!(self.standing(case), Some(Standing::Valid { .. }))
    }

    /// The COOKIE option of a reply, encoded: for each client that sent one, its own, whoever else gets the same answer.
    pub(super) fn cookie_option(&self, case: Case<'_>) -> Option<[u8; OPTION_LEN]> {
        let (data, standing) = (case.cookie()?, self.standing(case)?);
        let policy = &self.running.policy.cookies;
        let cookie = policy.answer(&self.shared.cookies, self.now, case.client.peer.ip(), data, standing);
        let mut encoded = [0; OPTION_LEN];
        put_u16(&mut encoded, 0, option::COOKIE);
        put_u16(&mut encoded, 2, COOKIE_LEN as u16);
        encoded[4..].copy_from_slice(&cookie);
        Some(encoded)
    }

    /// Whether BADCOOKIE may be said to this query, one of this second's then: the client speaks cookies, has not shown a
    /// valid one, and its message is not one whose cookie is for the server behind.
    fn may_say_badcookie(&self, case: Case<'_>) -> bool {
        !case.client.is_tcp()
            && Kind::of(case.query, false) == Kind::Plain
            && matches!(self.standing(case), Some(Standing::ClientOnly | Standing::Wrong))
            && self.running.policy.cookies.take_badcookie(&self.shared.cookies, self.now)
    }

    /// What a UDP client gets instead of an answer that is over a limit, and may come back with: a cookie when it speaks
    /// them, which spares both the way over TCP; else TC=1. Neither is longer than the query by more than a server cookie.
    pub(super) fn slip(&self, case: Case<'_>) -> (Body<'static>, Outcome) {
        if self.may_say_badcookie(case) {
            (Body::Rcode(rcode::BADCOOKIE), Outcome::Rejected)
        } else {
            (Body::Truncated, Outcome::Truncated)
        }
    }
}

impl Desk {
    /// Counts what the cookie of a query says.
    pub(super) fn count_cookie(&self, view: &View<'_>, case: Case<'_>) {
        let event = match view.standing(case) {
            None => return,
            Some(Standing::ClientOnly) => CookieEvent::ClientOnly,
            Some(Standing::Wrong) => CookieEvent::Wrong,
            Some(Standing::Valid { .. }) => CookieEvent::Valid,
        };
        self.ledger.cookie(event);
    }

    /// A wrong cookie is answered with a right one, and where cookies are required one is asked for; over UDP only.
    pub(super) fn pass_cookie(&mut self, view: &View<'_>, case: Case<'_>, kind: Kind, out: &mut Outbox) -> bool {
        let policy = &view.running.policy.cookies;
        if policy.mode != CookieMode::Terminate || case.client.is_tcp() {
            return true;
        }
        let standing = view.standing(case);
        if matches!(standing, Some(Standing::Valid { .. })) {
            return true;
        }
        let is_wrong = kind == Kind::Plain && standing == Some(Standing::Wrong);
        // NOTIFY and UPDATE come from whom access.toml names, and mean the server behind, as their cookies do.
        let is_required = policy.require && case.query.opcode == opcode::QUERY;
        if is_wrong && view.may_say_badcookie(case) {
            let body = Body::Rcode(rcode::BADCOOKIE);
            self.say(view, case, body, None, (Outcome::Rejected, Reason::Cookies), out);
            return false;
        }
        if is_required {
            let (body, outcome) = if is_wrong { (Body::Truncated, Outcome::Truncated) } else { view.slip(case) };
            self.say(view, case, body, None, (outcome, Reason::Cookies), out);
            return false;
        }
        true
    }
}
