//! How long an answer may be kept, and which must not be kept at all, because a cache that is wrong about this serves
//! lies (RFC 1035, 2181, 2308, 8767).

use crate::dns::record::seconds;
use crate::dns::response::Response;
use crate::dns::{opcode, rcode, u16_at, u32_at};
use crate::policy::server::CacheSettings;

/// How long an answer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds that it is fresh for those who have it for the longest; at least 1.
    pub ttl: u32,
    /// Seconds that it is fresh by itself; less than `ttl` only where rules give some clients longer TTLs, and 0 when it is
    /// kept for those alone.
    pub own_ttl: u32,
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
/// - with a TTL of 0 somewhere (RFC 1035 section 3.2.1), or one that counts as 0 (RFC 2181 section 8), unless for those who
///   have a least TTL.
///
/// The whole message is one entry, so it lives no longer than the record of it that expires first, whatever its section:
/// nothing is ever handed out past its own TTL. A negative answer lives for the least of the SOA's TTL, its MINIMUM and
/// `negative_max_ttl`, and so does an answer that has both records and an SOA: the end of its CNAME chain is negative.
/// `least_ttl` is the largest of the least TTLs, in seconds, that rules give to some clients: it is kept for so long, but a
/// negative answer never outlives its SOA's MINIMUM.
pub fn lifetime(response: &Response<'_>, limits: &CacheSettings, least_ttl: u32) -> Option<Lifetime> {
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
    let shortest =
        response.ttls().iter().filter_map(|&at| u32_at(response.message, usize::from(at))).map(seconds).min();
    let negative = response.rcode == rcode::NXDOMAIN || response.answers == 0;
    let (own_ttl, most, ttl_max) = match response.negative_ttl() {
        Some(negative_ttl) => {
            let most = seconds(negative_ttl).min(secs(limits.negative_max_ttl)).min(secs(limits.max_ttl));
            let own_ttl = shortest?.min(most);
            (own_ttl, most, own_ttl)
        }
        None if negative => return None,
        None => (shortest?.min(secs(limits.max_ttl)), secs(limits.max_ttl), secs(limits.max_ttl)),
    };
    let ttl = own_ttl.max(least_ttl.min(most));
    (ttl > 0).then(|| Lifetime { ttl, own_ttl, stale: secs(limits.stale), ttl_max })
}

fn is_of_questions(qtype: u16) -> bool {
    (QTYPES_FROM..=255).contains(&qtype)
}

fn secs(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rtype;
    use std::time::Duration;

    const LIMITS: CacheSettings = CacheSettings {
        size_bytes: 1 << 20,
        max_ttl: Duration::from_secs(86_400),
        negative_max_ttl: Duration::from_secs(3600),
        stale: Duration::from_secs(7200),
        failure_ttl: Duration::from_secs(30),
    };

    /// A response to `www.a` of type `qtype` with header `flags`; records are (section, type, ttl), their data 4 bytes,
    /// or for an SOA two roots and five numbers of which the last is MINIMUM = 900.
    fn response(flags: u16, qtype: u16, records: &[(usize, u16, u32)]) -> Vec<u8> {
        let mut message = vec![0; 12];
        message[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
        message[5] = 1;
        message.extend_from_slice(b"\x03www\x01a\x00");
        message.extend_from_slice(&qtype.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        for &(section, rtype, ttl) in records {
            message[7 + 2 * section] += 1;
            message.extend_from_slice(if rtype == rtype::SOA { &[0xc0, 16] } else { &[0xc0, 12] });
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&ttl.to_be_bytes());
            let soa = [[0; 18].as_slice(), &900u32.to_be_bytes()].concat();
            let data: &[u8] = match rtype {
                rtype::SOA => &soa,
                rtype::NS => &[0xc0, 12],
                rtype::CNAME => &[0xc0, 16],
                _ => &[192, 0, 2, 1],
            };
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    fn ttl(flags: u16, qtype: u16, records: &[(usize, u16, u32)]) -> Option<u32> {
        let message = response(flags, qtype, records);
        lifetime(&Response::scan(&message).unwrap(), &LIMITS, 0).map(|lifetime| lifetime.ttl)
    }

    const ANSWER: usize = 0;
    const AUTHORITY: usize = 1;
    const ADDITIONAL: usize = 2;

    #[test]
    fn a_positive_answer_lives_as_long_as_its_shortest_record_of_any_section() {
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::A, 300), (ANSWER, rtype::A, 200)]), Some(200));
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::A, 300), (AUTHORITY, rtype::NS, 100)]), Some(100));
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::A, 300), (ADDITIONAL, rtype::A, 50)]), Some(50));
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::A, 1_000_000)]), Some(86_400));
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::A, 300), (ADDITIONAL, rtype::A, 0)]), None);
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::A, 0x8000_0001)]), None, "a negative TTL is zero");
    }

    #[test]
    fn a_negative_answer_lives_as_long_as_its_soa_says_and_not_at_all_without() {
        const NXDOMAIN: u16 = 3;
        assert_eq!(ttl(NXDOMAIN, rtype::A, &[(AUTHORITY, rtype::SOA, 3600)]), Some(900), "MINIMUM");
        assert_eq!(ttl(NXDOMAIN, rtype::A, &[(AUTHORITY, rtype::SOA, 60)]), Some(60), "the SOA's own TTL");
        assert_eq!(ttl(0, rtype::A, &[(AUTHORITY, rtype::SOA, 3600)]), Some(900), "NODATA");
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::CNAME, 30), (AUTHORITY, rtype::SOA, 3600)]), Some(30));
        assert_eq!(ttl(0, rtype::A, &[(ANSWER, rtype::CNAME, 3000), (AUTHORITY, rtype::SOA, 3600)]), Some(900));
        for records in [&[][..], &[(AUTHORITY, rtype::NS, 60)]] {
            assert_eq!((ttl(NXDOMAIN, rtype::A, records), ttl(0, rtype::A, records)), (None, None), "{records:?}");
        }
        let message = response(NXDOMAIN, rtype::A, &[(AUTHORITY, rtype::SOA, 3600)]);
        let limits = CacheSettings { negative_max_ttl: Duration::from_secs(20), ..LIMITS };
        let expected = Lifetime { ttl: 20, own_ttl: 20, stale: 7200, ttl_max: 20 };
        assert_eq!(lifetime(&Response::scan(&message).unwrap(), &limits, 0), Some(expected));
    }

    #[test]
    fn what_is_not_a_plain_answer_is_not_kept() {
        let records = [(ANSWER, rtype::A, 300)];
        assert_eq!(ttl(0x0200, rtype::A, &records), None, "truncated");
        assert_eq!(ttl(4 << 11, rtype::A, &records), None, "NOTIFY");
        for rcode in [1, 2, 4, 5, 9] {
            assert_eq!(ttl(rcode, rtype::A, &records), None, "rcode {rcode}");
        }
        for qtype in [rtype::ANY, rtype::AXFR, rtype::IXFR, rtype::TSIG, 128] {
            assert_eq!(ttl(0, qtype, &records), None, "type {qtype}");
        }
        assert_eq!(ttl(0, 256, &records), Some(300), "URI is a type of records");
        let mut class_any = response(0, rtype::A, &records);
        class_any[22] = 255;
        assert_eq!(lifetime(&Response::scan(&class_any).unwrap(), &LIMITS, 0), None);
        let many = vec![(ANSWER, rtype::A, 300); crate::dns::response::TTLS_MAX + 1];
        assert_eq!(ttl(0, rtype::A, &many), None, "more records than are tracked");
    }

    #[test]
    fn an_unknown_edns_option_keeps_an_answer_out() {
        let mut message = response(0, rtype::A, &[(ANSWER, rtype::A, 300)]);
        message[11] = 1;
        message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 3, 0, 2, b'n', b's']);
        assert_eq!(lifetime(&Response::scan(&message).unwrap(), &LIMITS, 0), None, "NSID names one server");
    }

    #[test]
    fn a_least_ttl_keeps_an_answer_for_longer_and_no_negative_one_past_its_soa() {
        let kept = |flags, records: &[(usize, u16, u32)], least_ttl| {
            let message = response(flags, rtype::A, records);
            let kept = lifetime(&Response::scan(&message).unwrap(), &LIMITS, least_ttl);
            kept.map(|kept| (kept.own_ttl, kept.ttl, kept.ttl_max))
        };
        assert_eq!(kept(0, &[(ANSWER, rtype::A, 3600)], 300), Some((3600, 3600, 86_400)));
        assert_eq!(kept(0, &[(ANSWER, rtype::A, 60)], 300), Some((60, 300, 86_400)));
        assert_eq!(kept(0, &[(ANSWER, rtype::A, 0)], 300), Some((0, 300, 86_400)));
        assert_eq!(kept(0, &[(ANSWER, rtype::A, 0)], 100_000), Some((0, 86_400, 86_400)), "max_ttl");
        assert_eq!(kept(3, &[(AUTHORITY, rtype::SOA, 3600)], 1000), Some((900, 900, 900)), "MINIMUM");
        assert_eq!(kept(3, &[(AUTHORITY, rtype::SOA, 60)], 1000), Some((60, 60, 60)), "the SOA's own TTL");
        let alias = [(ANSWER, rtype::CNAME, 0), (AUTHORITY, rtype::SOA, 3600)];
        assert_eq!(kept(0, &alias, 1000), Some((0, 900, 0)), "the end of the chain is negative");
    }
}
