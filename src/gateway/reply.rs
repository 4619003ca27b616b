//! The last steps of every answer: response-rate limiting, the client's limit, its id, letters, OPT and cookie; then the
//! ledger.

use super::cookies::{OPTION_LEN, asks_for_cookie_alone};
use super::outbox::{Outbox, To};
use super::{Case, Client, Desk, Path, View};
use crate::dns::edns::{ExtendedError, OPT_LEN};
use crate::dns::reply::{self, Body, End, ReplyTo};
use crate::dns::{HEADER_LEN, MESSAGE_MAX, put_u16, rcode};
use crate::ledger::AnsweredBy;
use crate::ledger::journal::{Entry, Quota, RuleId, is_denied};
use crate::policy::cookies::Standing;
use crate::policy::hits::Speaker;
use crate::policy::rrl::{Category, ResponseClass, RrlVerdict};
use crate::policy::server::{LogQueries, LogSettings};
use crate::policy::{Mode, Profile};
use crate::verdict::{Outcome, Reason};

/// Room that a self-made answer may need: the question, some addresses, OPT with an error text.
const OWN_MAX: usize = 4096;

/// An answer whose names are written anew has no pointers in its data: a name of ten bytes for each two.
const GROWTH: usize = 4;

/// Room for OPT: the record, the options kept with an answer, an extended error with its text, a cookie.
pub(super) const OPT_MAX: usize = 11 + 1024 + 6 + 64 + OPTION_LEN;

/// How a query ends.
pub(super) type Ending = (Outcome, Reason);

/// An extended error and its text.
pub(super) type Extended<'a> = Option<(ExtendedError, &'a str)>;

/// A message that may go to the client once it carries the client's id, letters and OPT.
pub(super) struct Draft<'a> {
    /// Bytes in the buffer: header, question, records; no OPT.
    pub(super) len: usize,
    /// Response code with the EDNS bits on top.
    pub(super) rcode: u16,
    /// EDNS options to repeat, encoded.
    pub(super) options: &'a [u8],
    /// An extended error of our own.
    pub(super) error: Extended<'a>,
    /// What response-rate limiting counts it as.
    pub(super) class: ResponseClass,
}

impl Client {
    pub(super) fn to(&self) -> To {
        match self.path {
            Path::Udp { listener, local } => To::Client { listener, peer: self.peer, local },
            Path::Tcp(connection) => To::Stream(connection),
        }
    }

    pub(super) fn expect_nothing(&self, out: &mut Outbox) {
        if let Path::Tcp(connection) = self.path {
            out.push(To::Silence(connection), &[]);
        }
    }
}

impl Case<'_> {
    fn limit(&self) -> usize {
        if self.client.is_tcp() { MESSAGE_MAX } else { self.query.udp_limit() }
    }
}

impl Desk {
    /// Counts a query and logs it: each exactly once.
    pub(super) fn finish(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        outcome: Outcome,
        reason: Reason,
        rule: Option<Speaker<'_>>,
    ) {
        let by = match case.led.and(case.upstream) {
            Some(_) => AnsweredBy::Upstream,
            None => AnsweredBy::of(outcome, reason),
        };
        // An answer of our own is not given before the batch is sent.
        if by == AnsweredBy::Upstream || !self.unsent.note(case.received) {
            self.ledger.took(by, view.now.at.since(case.received));
        }
        self.ledger.count(outcome, reason, case.client.is_tcp(), None);
        self.watch(view, case, outcome, reason);
        let policy = &view.running.policy;
        let wanted = match policy.server.log.queries {
            LogQueries::None => false,
            LogQueries::Denied => is_denied(outcome, reason),
            LogQueries::All => true,
        };
        let is_access =
            matches!(reason, Reason::Access | Reason::Question | Reason::Transfer | Reason::Notify | Reason::Update);
        if wanted && (policy.access.log || !is_access) {
            self.log(view, case, (outcome, reason), rule, false);
        }
    }

    /// Ends a query in silence; the driver of a TCP client is told that nothing will come.
    pub(super) fn drop_query(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        reason: Reason,
        rule: Option<Speaker<'_>>,
        out: &mut Outbox,
    ) {
        case.client.expect_nothing(out);
        self.finish(view, case, Outcome::Dropped, reason, rule);
    }

    /// Ends a query whose answer has no room in the batch; the driver of a TCP client is told that nothing will come.
    pub(super) fn lose_answer(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) {
        case.client.expect_nothing(out);
        self.finish(view, case, Outcome::Failed, Reason::Overload, None);
    }

    /// Counts and logs what a section or rule in monitor mode would have done; the query goes on.
    pub(super) fn would(&mut self, view: &View<'_>, case: &Case<'_>, ending: Ending, rule: Option<Speaker<'_>>) {
        self.ledger.would(ending.1);
        self.sampler.monitored(ending.1);
        if let Some(rule) = rule {
            rule.hits.monitored(self.worker, view.now.unix_ms);
        }
        if view.running.policy.server.log.queries != LogQueries::None {
            self.log(view, case, ending, rule, true);
        }
    }

    fn log(
        &self,
        view: &View<'_>,
        case: &Case<'_>,
        (outcome, reason): Ending,
        rule: Option<Speaker<'_>>,
        monitored: bool,
    ) {
        let LogSettings { sample, rate, .. } = view.running.policy.server.log;
        view.shared.journal.offer(&self.ledger, Quota { sample, rate }, view.now.unix_ms, || Entry {
            unix_ms: view.now.unix_ms,
            client: case.client.peer,
            tcp: case.client.is_tcp(),
            name: case.asked().name,
            qtype: case.query.qtype,
            qclass: case.query.qclass,
            outcome,
            reason,
            rule: rule.map(|rule| RuleId::new(rule.id)),
            monitored,
            took: view.now.at.since(case.received),
            upstream: case.upstream,
        });
    }

    /// Answers with something self-made.
    pub(super) fn say(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        body: Body<'_>,
        error: Extended<'_>,
        ending: Ending,
        out: &mut Outbox,
    ) {
        let ending = self.write_own(view, case, body, error, ending, out);
        self.finish(view, case, ending.0, ending.1, None);
    }

    /// Writes something self-made; how the query ends, which is for the caller to count.
    pub(super) fn write_own(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        body: Body<'_>,
        error: Extended<'_>,
        ending: Ending,
        out: &mut Outbox,
    ) -> Ending {
        let to = ReplyTo { query: case.asked(), ra: view.running.policy.server.profile == Profile::Recursive };
        // What takes an answer's place under a limit is not limited once more.
        let is_slip = matches!(body, Body::Truncated | Body::Rcode(rcode::BADCOOKIE));
        let (rcode, has_answers) = match body {
            Body::Rcode(rcode) => (rcode, false),
            Body::Nxdomain { .. } => (rcode::NXDOMAIN, false),
            Body::Nodata { .. } | Body::Truncated => (rcode::NOERROR, false),
            Body::Addresses { .. } => (rcode::NOERROR, true),
            Body::Records { records, .. } => (rcode::NOERROR, !records.is_empty()),
            Body::Led { end: End::Answer(answer), .. } => (answer.rcode, true),
            Body::Led { .. } => (rcode::NOERROR, true),
        };
        let room_len = match body {
            Body::Led { end: End::Answer(answer), .. } => (OWN_MAX + GROWTH * answer.message.len()).min(MESSAGE_MAX),
            _ => OWN_MAX,
        };
        let rrl = &view.shared.rrl;
        let class = rrl.class_of_own(rcode, has_answers, &case.asked().name, case.query.qtype);
        let verdict = if is_slip { RrlVerdict::Answer } else { self.limit_response(view, case, &class) };
        let (body, error, ending) = match verdict {
            RrlVerdict::Answer => (body, error, ending),
            RrlVerdict::Slip => {
                let (body, outcome) = view.slip(case);
                (body, None, (outcome, Reason::Rrl))
            }
            RrlVerdict::Drop => return (Outcome::Dropped, Reason::Rrl),
        };
        let cookie = view.cookie_option(case);
        let options = cookie.as_ref().map_or(&[][..], |option| option);
        let Some(room) = out.room(room_len) else {
            case.client.expect_nothing(out);
            return (Outcome::Failed, Reason::Overload);
        };
        let mut len = reply::write_with_options(to, body, options, error, room);
        let mut ending = ending;
        if len > case.limit() {
            len = reply::write_with_options(to, Body::Truncated, options, None, room);
            ending = (Outcome::Truncated, Reason::Oversized);
        }
        out.commit(case.client.to(), len);
        self.sampler.answered(len);
        ending
    }

    /// Answers a packet that is no query, or one that asks for nothing but a cookie.
    pub(super) fn say_malformed(
        &mut self,
        view: &View<'_>,
        client: Client,
        packet: &[u8],
        (rcode, question_end, edns): (u16, Option<usize>, bool),
        out: &mut Outbox,
    ) {
        let class = view.shared.rrl.class_of_own(rcode, false, &crate::dns::name::Name::root(), 0);
        if self.limit_any(view, client, &class) != RrlVerdict::Answer {
            return self.count_malformed(view, client, packet, (Outcome::Dropped, Reason::Rrl));
        }
        let Some(room) = out.room(OWN_MAX) else {
            client.expect_nothing(out);
            return self.count_malformed(view, client, packet, (Outcome::Failed, Reason::Overload));
        };
        let cookie = view.cookie_option_of(client, packet, question_end);
        let is_cookie_alone = cookie.is_some() && asks_for_cookie_alone(packet);
        let (rcode, ending) = match &cookie {
            Some((Standing::Wrong, _)) if is_cookie_alone && view.take_badcookie() => {
                (rcode::BADCOOKIE, (Outcome::Rejected, Reason::Cookies))
            }
            Some(_) if is_cookie_alone => (rcode::NOERROR, (Outcome::Denied, Reason::Cookies)),
            _ => (rcode, (Outcome::Rejected, Reason::Malformed)),
        };
        let edns = edns || is_cookie_alone;
        let ra = view.running.policy.server.profile == Profile::Recursive;
        let len = reply::write_malformed(packet, rcode, question_end, edns, ra, room);
        let opt = if edns { len.checked_sub(OPT_LEN) } else { None };
        let whole = opt.zip(cookie).and_then(|(opt, (_, option))| reply::extend_opt(room, opt, len, &option));
        let len = whole.unwrap_or(len);
        out.commit(client.to(), len);
        self.sampler.answered(len);
        self.count_malformed(view, client, packet, ending);
    }

    /// Response-rate limiting, for a client that may be anywhere: one with a valid cookie is where it says, and what is
    /// left to limit is its errors, which say that it asks for nothing good.
    pub(super) fn limit_response(&mut self, view: &View<'_>, case: &Case<'_>, class: &ResponseClass) -> RrlVerdict {
        if class.category != Category::Error && view.is_verified(case) {
            return RrlVerdict::Answer;
        }
        self.limit_any(view, case.client, class)
    }

    /// UDP only (a TCP client has shown that it is where it says), monitor mode only counts.
    fn limit_any(&mut self, view: &View<'_>, client: Client, class: &ResponseClass) -> RrlVerdict {
        if client.is_tcp() {
            return RrlVerdict::Answer;
        }
        let policy = &view.running.policy.rrl;
        let verdict = policy.check(&view.shared.rrl, view.now.at, client.peer.ip(), class);
        if verdict != RrlVerdict::Answer && policy.mode == Mode::Monitor {
            self.ledger.would(Reason::Rrl);
            self.sampler.monitored(Reason::Rrl);
            return RrlVerdict::Answer;
        }
        verdict
    }

    /// Sends a message that lies at the start of the buffer which `out.room(room_len)` gave last.
    pub(super) fn deliver(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        draft: &Draft<'_>,
        room_len: usize,
        ending: Ending,
        out: &mut Outbox,
    ) {
        self.sampler.will_answer(draft.len);
        let verdict = self.limit_response(view, case, &draft.class);
        if verdict == RrlVerdict::Drop {
            return self.finish(view, case, Outcome::Dropped, Reason::Rrl, None);
        }
        let Some(room) = out.room(room_len) else { return self.lose_answer(view, case, out) };
        let cookie = view.cookie_option(case);
        let cookie = cookie.as_ref().map_or(&[][..], |option| option);
        let whole = match verdict {
            RrlVerdict::Slip => None,
            _ => complete(case, draft, cookie, room).filter(|len| *len <= case.limit()),
        };
        let (len, ending) = match whole {
            Some(len) => (len, ending),
            None => {
                let ra = view.running.policy.server.profile == Profile::Recursive;
                let (body, ending) = match verdict {
                    RrlVerdict::Slip => {
                        let (body, outcome) = view.slip(case);
                        (body, (outcome, Reason::Rrl))
                    }
                    _ => (Body::Truncated, (Outcome::Truncated, Reason::Oversized)),
                };
                let to = ReplyTo { query: case.query, ra };
                (reply::write_with_options(to, body, cookie, None, room), ending)
            }
        };
        out.commit(case.client.to(), len);
        self.sampler.answered(len);
        self.finish(view, case, ending.0, ending.1, None);
    }
}

/// Puts the client's id, letters and OPT with its cookie on a draft; `None` when OPT does not fit.
fn complete(case: &Case<'_>, draft: &Draft<'_>, cookie: &[u8], room: &mut [u8]) -> Option<usize> {
    let query = case.query;
    put_u16(room, 0, query.id);
    let question = query.question();
    room.get_mut(HEADER_LEN..HEADER_LEN + question.len())?.copy_from_slice(question);
    // RFC 6840 section 5.8: AD goes only to clients that set DO or AD.
    if !query.ad && !query.dnssec_ok() {
        room[3] &= !0x20;
    }
    if query.edns.is_none() {
        return Some(draft.len);
    }
    let end = reply::append_opt(room, draft.len, draft.rcode, query.dnssec_ok(), draft.options, draft.error)?;
    reply::extend_opt(room, draft.len, end, cookie)
}
