//! How long an answer may be kept, and which must not be kept at all, because a cache that is wrong about this serves
//! lies (RFC 1035, 2181, 2308, 8767).

use crate::dns::response::Response;
use crate::dns::{opcode, rcode, u16_at, u32_at};
use crate::policy::server::CacheSettings;

/// How long an answer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds that it is fresh; at least 1.
    pub ttl: u32,
    /// Seconds after that in which it may serve while nothing fresh can be had (RFC 8767).
    pub stale: u32,
    /// No record is handed out with a longer TTL than this, in seconds, when the answer is new; counted down from there.
    pub ttl_max: u32,
}

/// Types from here to 255 are not of records but of questions and transactions (RFC 6895 section 3.1): ANY, the
/// transfers, TSIG. What answers them is not a fact to keep.
const QTYPES_FROM: u16 = 128;

/// How long a response may be kept; `None` when it must not be:
/// - truncated, signed (TSIG), with more records than are tracked, with an EDNS option that we do not know, or not an
///   answer to one question;
/// - an rcode other than NOERROR and NXDOMAIN (failures have a memory of their own, RFC 9520);
/// - to a QTYPE or QCLASS that is none of records (ANY, AXFR, IXFR);
/// - negative without an SOA (RFC 2308 section 5: "Negative responses without SOA records SHOULD NOT be cached"),
///   which leaves out referrals too;
/// - with a TTL of 0 somewhere (RFC 1035 section 3.2.1).
///
/// The whole message is one entry, so it lives no longer than the record of it that expires first, whatever its section:
/// nothing is ever handed out past its own TTL. A negative answer lives for the least of the SOA's TTL, its MINIMUM and
/// `negative_max_ttl`, and so does an answer that has both records and an SOA: the end of its CNAME chain is negative.
pub fn lifetime(response: &Response<'_>, limits: &CacheSettings) -> Option<Lifetime> {
    let question = response.question();
    let fixed = question.len().checked_sub(4)?;
    let (qtype, qclass) = (u16_at(question, fixed)?, u16_at(question, fixed + 2)?);
    let has_other_options = response.edns.as_ref().is_some_and(|edns| edns.has_other_options);
    if response.opcode != opcode::QUERY || response.tc || response.signed || response.too_many || has_other_options {
        return None;
    }
    if !matches!(response.rcode, rcode::NOERROR | rcode::NXDOMAIN) || is_of_questions(qtype) || qclass >= 254 {
        return None;
    }
    let shortest = response.ttls().iter().filter_map(|&at| u32_at(response.message, usize::from(at))).map(ttl_of).min();
    let negative = response.rcode == rcode::NXDOMAIN || response.answers == 0;
    let (ttl, ttl_max) = match &response.soa {
        Some((_, negative_ttl)) => {
            let most = shortest?.min(ttl_of(*negative_ttl));
            let ttl = most.min(secs(limits.negative_max_ttl)).min(secs(limits.max_ttl));
            (ttl, ttl)
        }
        None if negative => return None,
        None => (shortest?.min(secs(limits.max_ttl)), secs(limits.max_ttl)),
    };
    (ttl > 0).then(|| Lifetime { ttl, stale: secs(limits.stale), ttl_max })
}

/// RFC 2181 section 8: "treat TTL values received with the most significant bit set as if the entire value received was
/// zero".
fn ttl_of(field: u32) -> u32 {
    if field > i32::MAX as u32 { 0 } else { field }
}

fn is_of_questions(qtype: u16) -> bool {
    (QTYPES_FROM..=255).contains(&qtype)
}

fn secs(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
