//! What TTLs a reply may have: those of the truth, within the bounds of the policy, counted down since it was heard; and how
//! long it may be kept at all.

use crate::answers::Bounds;
use crate::check::{Question, Reply};
use crate::stage::message::extended_error;
use crate::truth::{NEGATIVE_TTL, Truth};
use hickory_proto::op::Message as Read;
use hickory_proto::rr::{Record, RecordType};
use std::time::Duration;
use weir::clock::Moment;

/// How long past their TTL answers may serve, in all policies.
const STALE: Duration = Duration::from_secs(20);

/// TTL of stale records at most (RFC 8767).
const STALE_TTL: u32 = 30;

/// Whether the TTLs of `answers`, which are the truth about a question, and of the authority section are right: all of them
/// as of one moment at which that truth was heard. `led`: the answer is behind CNAMEs of the policy's, and says so in place
/// of being stale.
pub(crate) fn lifetimes(
    reply: &Reply<'_>,
    question: &Question,
    truth: &Truth,
    answers: &[Record],
    read: &Read,
    led: bool,
) -> Result<(), String> {
    let says_stale = read.edns.is_none() || led || matches!(extended_error(reply.bytes), Some(3 | 19));
    let mut wrong = "nobody ever said that".to_owned();
    let heard = reply.delivered.get(question).into_iter().flatten().rev();
    for delivered in heard {
        match as_of(*delivered, reply, question, truth, (answers, &read.authorities), says_stale) {
            Ok(()) => return Ok(()),
            Err(error) => wrong = error,
        }
    }
    Err(wrong)
}

fn as_of(
    delivered: Moment,
    reply: &Reply<'_>,
    (name, _): &Question,
    truth: &Truth,
    (answers, authorities): (&[Record], &[Record]),
    says_stale: bool,
) -> Result<(), String> {
    let age = reply.at.since(delivered);
    let whole = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    let negative = truth.data.is_empty() && !authorities.is_empty();
    let names: Vec<_> = std::iter::once(&**name).chain(truth.chain.iter().map(|(_, target)| &**target)).collect();
    let bounds = reply.play.says.bounds(reply.who.client, &names);
    // What was heard under another policy was not kept for longer than that one said.
    let is_of_now = delivered >= reply.since;
    let own = match (negative, truth.chain.is_empty()) {
        (true, true) => NEGATIVE_TTL,
        (true, false) => truth.ttl.min(NEGATIVE_TTL),
        (false, _) => truth.ttl,
    };
    // A negative answer is not kept for longer than its SOA says, and the whole message is one entry.
    let min = if negative { bounds.min.min(NEGATIVE_TTL) } else { bounds.min };
    let at_least = Bounds { min: if is_of_now { min } else { 0 }, ..bounds };
    if own == 0 && bounds.min == 0 && !age.is_zero() {
        return Err(format!("kept for {age:?}, and not to be kept"));
    }
    if age > Duration::from_secs(bounds.bound(own).into()) + STALE + Duration::from_secs(1) {
        return Err(format!("served {age:?} after it was heard"));
    }
    let may_be_stale = says_stale && whole >= at_least.bound(own);
    for record in answers.iter().chain(authorities) {
        let original = if record.record_type() == RecordType::SOA { NEGATIVE_TTL } else { truth.ttl };
        let most = bounds.bound(original);
        // What was heard before the rule was there may live as long as what is heard now.
        let most = if is_of_now { most } else { most.max(bounds.bound(original.saturating_add(whole))) };
        let fresh = record.ttl <= most.saturating_sub(whole).max(u32::from(whole < most))
            && record.ttl.saturating_add(whole) >= at_least.bound(own);
        let stale = may_be_stale && record.ttl <= STALE_TTL.min(bounds.max);
        if !(fresh || stale) {
            let ttl = record.ttl;
            return Err(format!("TTL {ttl} of {original} within {bounds:?}, {age:?} after it was heard"));
        }
    }
    Ok(())
}
