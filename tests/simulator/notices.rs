//! What a NOTIFY (RFC 1996) gets: from the primary of the feed, about its zone, and signed as the feed is, it is heard, and
//! nothing else is; what is signed wrongly is told so (RFC 8945 section 5.2).

use crate::answers::Feed;
use crate::check::Asked;
use crate::clients::{FEED, PRIMARY};
use crate::signatures::{Signing, is_signed, signature};
use crate::stage::message::{SOA, question_name, question_type};
use std::net::IpAddr;

const REFUSED: u8 = 5;
const NOTAUTH: u8 = 9;

/// The time of the server in the answer to a signature that came too early or too late (RFC 8945 section 5.2.3).
const CLOCK_LEN: usize = 6;

/// Whether a reply says that the gateway itself has heard the message: with AA, which no server of the worlds says.
pub(crate) fn is_heard(reply: &[u8]) -> bool {
    reply[2] & 4 != 0 && reply[3] & 15 == 0
}

/// What the reply to a signed NOTIFY shows; that it is the right one is for [`notified`] to say.
pub(crate) fn sight(signing: Signing, reply: &[u8]) -> Option<&'static str> {
    match (signing, signature(reply)?.error, is_heard(reply)) {
        (Signing::Right, 0, true) => Some("a signed NOTIFY is heard"),
        (Signing::Behind, 0, true) => Some("a NOTIFY of a clock that is behind is heard"),
        (Signing::Ahead, 0, true) => Some("a NOTIFY of a clock that is ahead is heard"),
        (Signing::Late, 18, false) => Some("a NOTIFY that was signed too long ago is not"),
        (Signing::Early, 18, false) => Some("a NOTIFY that was signed in the future is not"),
        _ => None,
    }
}

/// Whether a NOTIFY gets the reply that is right for it; `unix`: when, in seconds.
pub(crate) fn notified(asked: &Asked, signing: Signing, bytes: &[u8], unix: u64) -> Result<(), String> {
    let query = &asked.sent.bytes;
    let (feed, from) = (asked.play.says.feed, asked.sent.client.peer.ip());
    let is_ours = feed != Feed::None && from == IpAddr::from(PRIMARY) && question_name(query) == FEED;
    if !is_ours {
        return if is_heard(bytes) { Err("a NOTIFY of nobody is heard".into()) } else { Ok(()) };
    }
    // Over the limit of its source.
    if bytes[2] & 2 != 0 {
        return Ok(());
    }
    // Whoever forges the address of the primary has nothing sent there that is larger than what it costs: a time, where the
    // clocks differ, is all that comes to it.
    if bytes.len() > query.len() + CLOCK_LEN {
        return Err(format!("{} bytes for a NOTIFY of {}", bytes.len(), query.len()));
    }
    let is_of_kind = (signing == Signing::None) == (feed == Feed::Unsigned);
    let (rcode, error) = match signing {
        _ if question_type(query) != SOA || !is_of_kind => (REFUSED, None),
        Signing::None => (0, None),
        signing => (if signing.is_right() { 0 } else { NOTAUTH }, Some(signing.error())),
    };
    if bytes[3] & 15 != rcode || is_heard(bytes) != (rcode == 0) {
        return Err(format!("a NOTIFY signed {signing:?} gets {} where {rcode} is right", bytes[3] & 15));
    }
    let signature = signature(bytes);
    if signature.as_ref().map(|signature| signature.error) != error {
        return Err(format!("signed {signing:?}, answered with {signature:?}"));
    }
    // Who cannot be told from anybody else gets no signature to study. That of BADTIME is not judged: the crate that makes it
    // takes eight bytes of Other Data into the MAC where six are sent.
    match error {
        Some(0) if !is_signed(query, bytes, unix) => {
            Err(format!("the signature of the answer is wrong: {signature:?}"))
        }
        Some(16 | 17) if signature.as_ref().is_some_and(|signature| !signature.mac.is_empty()) => {
            Err("the answer to a wrong signature is signed".into())
        }
        _ => Ok(()),
    }
}
