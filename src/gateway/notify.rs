//! NOTIFY (RFC 1996) for the zone of a feed, from whom the feed names: heard here, answered here, and left for the control
//! side to look. Every other NOTIFY goes the way of all messages.
//!
//! Where the feed has a key the message must be signed with it, and so is the answer (RFC 8945): in rooms of fixed size on
//! the stack, as nothing on the path of a message allocates. A source that sends it often is over its limit, and
//! the errors that it gets are limited as all errors are.

use super::outbox::Outbox;
use super::{Case, Desk, View};
use crate::dns::edns::ExtendedError;
use crate::dns::reply::Body;
use crate::dns::{class, opcode, rcode, rtype};
use crate::ledger::notices::Notice;
use crate::policy::feeds::TsigKey;
use crate::policy::rrl::RrlVerdict;
use crate::verdict::{Outcome, Reason};
use domain::base::iana::{Rcode, TsigRcode};
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder};
use domain::dep::octseq::array::Array;
use domain::dep::octseq::builder::OctetsBuilder;
use domain::rdata::tsig::Time48;
use domain::tsig::ServerTransaction;

/// The longest NOTIFY that is heard, and its answer: a question and the new SOA with three names of 255 bytes, a signature
/// with two more and a MAC of 64 bytes take 1500.
const NOTIFY_MAX: usize = 2048;

/// A message on the stack.
type Room = Array<NOTIFY_MAX>;

/// What a NOTIFY gets.
#[allow(clippy::large_enum_variant)] // it lives on the stack of one answer; a box would be an allocation
enum Reply {
    /// Heard, with a signed answer or none of it.
    Heard(Room),
    /// Not to be believed; the answer says why.
    Wrong(Room),
}

impl Desk {
    /// Hears a NOTIFY that is for a feed; false when it is none, and goes on as any message.
    pub(super) fn hear_notify(&mut self, view: &View<'_>, case: &Case<'_>, out: &mut Outbox) -> bool {
        let query = case.query;
        if query.opcode != opcode::NOTIFY {
            return false;
        }
        let Some(feed) = view.running.base.feeds.notified(case.client.peer.ip(), &query.name) else { return false };
        if !self.pass_source(view, case, out) {
            return true;
        }
        let refused = (Outcome::Denied, Reason::Notify);
        let prohibited = Some((ExtendedError::Prohibited, ""));
        // RFC 1996 section 3.7: the question of a changed zone is its SOA.
        let is_right = query.qtype == rtype::SOA && query.qclass == class::IN;
        if !is_right || query.signed != feed.key.is_some() {
            self.say(view, case, Body::Rcode(rcode::REFUSED), prohibited, refused, out);
            return true;
        }
        let reply = match &feed.key {
            None => plain(query.packet),
            Some(key) => signed(query.packet, key, view.now.unix_ms / 1000),
        };
        let (ending, message) = match reply {
            Ok(Reply::Heard(message)) => {
                view.shared.notices.leave(Notice { zone: query.name });
                ((Outcome::Notified, Reason::None), message)
            }
            Ok(Reply::Wrong(message)) => {
                // An error like any other, for whoever's address this is (errors never slip).
                let class = view.shared.rrl.class_of_own(rcode::NOTAUTH, false, &query.name, query.qtype);
                if self.limit_response(view, case, &class) != RrlVerdict::Answer {
                    self.drop_query(view, case, Reason::Rrl, None, out);
                    return true;
                }
                (refused, message)
            }
            Err(_) => {
                self.drop_query(view, case, Reason::Notify, None, out);
                return true;
            }
        };
        if out.push(case.client.to(), message.as_ref()) {
            self.finish(view, case, ending.0, ending.1, None);
        } else {
            self.lose_answer(view, case, out);
        }
        true
    }
}

fn builder() -> Result<MessageBuilder<Room>, PushError> {
    MessageBuilder::from_target(Room::new()).map_err(|_| PushError::ShortBuf)
}

fn plain(packet: &[u8]) -> Result<Reply, PushError> {
    let message = Message::from_octets(packet).map_err(|_| PushError::ShortBuf)?;
    let mut answer = builder()?.start_answer(&message, Rcode::NOERROR)?;
    answer.header_mut().set_aa(true);
    Ok(Reply::Heard(answer.additional().finish()))
}

/// RFC 8945 section 5.2.2: a MAC that does not match is error 16 (BADSIG) in TSIG; `domain` writes FORMERR there. The record
/// is the last of the answer, its error stands before the length of the Other Data, of which there is none.
fn name_wrong_signature(answer: &mut [u8]) {
    let is_signed_wrongly = answer.get(3).is_some_and(|flags| flags & 0x0f == Rcode::NOTAUTH.to_int());
    let error = answer.len().checked_sub(4).and_then(|at| answer.get_mut(at..at + 2));
    if let Some(error) = error.filter(|_| is_signed_wrongly) {
        error.copy_from_slice(&TsigRcode::BADSIG.to_int().to_be_bytes());
    }
}

fn signed(packet: &[u8], key: &TsigKey, unix_s: u64) -> Result<Reply, PushError> {
    let now = Time48::from_u64(unix_s);
    let mut room = Room::new();
    room.append_slice(packet).map_err(|_| PushError::ShortBuf)?;
    let mut message = Message::from_octets(room).map_err(|_| PushError::ShortBuf)?;
    let transaction = match ServerTransaction::request(&**key.key(), &mut message, now) {
        Ok(Some(transaction)) => transaction,
        Ok(None) => {
            let refused = builder()?.start_answer(&message, Rcode::REFUSED)?;
            return Ok(Reply::Wrong(refused.additional().finish()));
        }
        Err(error) => {
            let is_formerr = error.error() == TsigRcode::FORMERR;
            let mut wrong = error.build_message(&message, builder()?)?.finish();
            if is_formerr {
                name_wrong_signature(wrong.as_mut());
            }
            return Ok(Reply::Wrong(wrong));
        }
    };
    let mut answer = builder()?.start_answer(&message, Rcode::NOERROR)?;
    answer.header_mut().set_aa(true);
    let mut answer = answer.additional();
    transaction.answer(&mut answer, now)?;
    Ok(Reply::Heard(answer.finish()))
}
