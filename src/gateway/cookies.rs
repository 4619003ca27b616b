//! DNS cookies on their way through: what a query's cookie says, what follows from it, and the one that its reply carries.
//!
//! A case judges its cookie once. Nothing is kept with a query that waits: whoever answers it judges the cookie again, from the
//! query itself. That costs a hash of 20 bytes, and an answer that many wait for finds each its own.

use super::admit::Kind;
use super::outbox::Outbox;
use super::{Case, Client, Desk, View};
use crate::dns::edns::{self, option};
use crate::dns::reply::Body;
use crate::dns::{HEADER_LEN, header, opcode, put_u16, rcode, u16_at};
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
    fn standing(&self, case: &Case<'_>) -> Option<Standing> {
        let data = case.cookie()?;
        *case.standing.get_or_init(|| self.judge_cookie(case.client, data))
    }

    /// Whether the client is known to be where it says: it came over TCP, or has received what we sent there.
    pub(super) fn is_verified(&self, case: &Case<'_>) -> bool {
        case.client.is_tcp() || matches!(self.standing(case), Some(Standing::Valid { .. }))
    }

    /// The COOKIE option of a reply, encoded: for each client that sent one, its own, whoever else gets the same answer.
    pub(super) fn cookie_option(&self, case: &Case<'_>) -> Option<[u8; OPTION_LEN]> {
        let standing = self.standing(case)?;
        Some(self.answer_cookie(case.client, case.cookie()?, standing))
    }

    /// The COOKIE option of a reply to a packet that is no query, where one can be found in it: in an OPT directly behind
    /// the question, or behind the header when there is none.
    pub(super) fn cookie_option_of(
        &self,
        client: Client,
        packet: &[u8],
        question_end: Option<usize>,
    ) -> Option<(Standing, [u8; OPTION_LEN])> {
        let edns = edns::read_opt(packet, question_end.unwrap_or(HEADER_LEN)).filter(|edns| edns.version == 0)?;
        let (from, to) = edns.cookie?;
        let data = packet.get(from..to)?;
        let standing = self.judge_cookie(client, data)?;
        Some((standing, self.answer_cookie(client, data, standing)))
    }

    fn judge_cookie(&self, client: Client, data: &[u8]) -> Option<Standing> {
        self.running.policy.cookies.judge(&self.shared.cookies, self.now, client.peer.ip(), data)
    }

    fn answer_cookie(&self, client: Client, data: &[u8], standing: Standing) -> [u8; OPTION_LEN] {
        let (policy, jar, ip) = (&self.running.policy.cookies, &self.shared.cookies, client.peer.ip());
        let mut encoded = [0; OPTION_LEN];
        put_u16(&mut encoded, 0, option::COOKIE);
        put_u16(&mut encoded, 2, COOKIE_LEN as u16);
        encoded[4..].copy_from_slice(&policy.answer(jar, self.now, ip, data, standing));
        encoded
    }

    /// Whether BADCOOKIE may be said to this query, one of this second's then: the client speaks cookies, has not shown a
    /// valid one, and its message is not one whose cookie is for the server behind.
    fn may_say_badcookie(&self, case: &Case<'_>) -> bool {
        !case.client.is_tcp()
            && Kind::of(case.query, false) == Kind::Plain
            && matches!(self.standing(case), Some(Standing::ClientOnly | Standing::Wrong))
            && self.take_badcookie()
    }

    /// Takes one of this second's BADCOOKIE; false when there is none left.
    pub(super) fn take_badcookie(&self) -> bool {
        self.running.policy.cookies.take_badcookie(&self.shared.cookies, self.now)
    }

    /// What a UDP client gets instead of an answer that is over a limit, and may come back with: a cookie when it speaks
    /// them, which spares both the way over TCP; else TC=1. Neither is longer than the query by more than a server cookie.
    pub(super) fn slip(&self, case: &Case<'_>) -> (Body<'static>, Outcome) {
        if self.may_say_badcookie(case) {
            (Body::Rcode(rcode::BADCOOKIE), Outcome::Rejected)
        } else {
            (Body::Truncated, Outcome::Truncated)
        }
    }
}

impl Desk {
    /// Counts what the cookie of a query says.
    pub(super) fn count_cookie(&self, view: &View<'_>, case: &Case<'_>) {
        let event = match view.standing(case) {
            None => return,
            Some(Standing::ClientOnly) => CookieEvent::ClientOnly,
            Some(Standing::Wrong) => CookieEvent::Wrong,
            Some(Standing::Valid { .. }) => CookieEvent::Valid,
        };
        self.ledger.cookie(event);
    }

    /// A wrong cookie is answered with a right one, and where cookies are required one is asked for; over UDP only.
    pub(super) fn pass_cookie(&mut self, view: &View<'_>, case: &Case<'_>, kind: Kind, out: &mut Outbox) -> bool {
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

/// RFC 7873 section 5.4: a query "with an empty Question Section [...] provided that an OPT record is present with a COOKIE
/// option", from a client that wants to learn its cookie and nothing else: OPT is all there is behind the header.
pub(super) fn asks_for_cookie_alone(packet: &[u8]) -> bool {
    let counts = [4, 6, 8, 10].map(|at| u16_at(packet, at));
    let is_query = u16_at(packet, 2).is_some_and(|flags| header::opcode(flags) == opcode::QUERY);
    let opt = edns::read_opt(packet, HEADER_LEN);
    is_query && counts == [Some(0), Some(0), Some(0), Some(1)] && opt.is_some_and(|opt| opt.end == packet.len())
}
