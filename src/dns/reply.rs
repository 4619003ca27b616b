//! Building replies: into a buffer that the caller owns, without allocation. One writer for OPT, one for SOA, so that
//! every self-made answer looks alike (RFC 1035, 2308, 6891, 8914).

use super::edns::ExtendedError;
use super::query::Query;
use std::net::IpAddr;

/// What is common to all replies to one query.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo<'q> {
    /// The query as scanned.
    pub query: &'q Query<'q>,
    /// Recursion available: set by profile, the same on every self-made answer.
    pub ra: bool,
}

/// The body of a self-made answer.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Only a response code (REFUSED, SERVFAIL, FORMERR, NOTIMP).
    Rcode(u16),
    /// NXDOMAIN with an SOA, so that stubs cache it (RFC 2308).
    Nxdomain {
        /// TTL and MINIMUM in seconds.
        ttl: u32,
    },
    /// NOERROR without records, with an SOA.
    Nodata {
        /// TTL and MINIMUM in seconds.
        ttl: u32,
    },
    /// These addresses, as far as their family is what was asked; NODATA for any other type.
    Addresses {
        /// IPv4 and IPv6 mixed.
        addresses: &'a [IpAddr],
        /// TTL in seconds.
        ttl: u32,
    },
    /// TC=1: the question byte for byte, OPT kept, no records; never longer than the query.
    Truncated,
}

/// Writes a self-made answer into `out` and returns its length. `out` must hold 512 bytes and the question; an answer
/// that would not fit the client's limit over UDP becomes TC=1 by the caller, not here.
pub fn write(_to: ReplyTo<'_>, _body: Body<'_>, _error: Option<(ExtendedError, &str)>, _out: &mut [u8]) -> usize {
    todo!()
}

/// Writes the answer to a packet that could not be scanned into a [`Query`] but may be answered (FORMERR, NOTIMP,
/// BADVERS): header, the question when it could be read, OPT when one was seen. Returns its length.
pub fn write_malformed(
    _packet: &[u8],
    _rcode: u16,
    _question_end: Option<usize>,
    _edns: bool,
    _ra: bool,
    _out: &mut [u8],
) -> usize {
    todo!()
}

/// Appends an OPT record to a message of `len` bytes in `out`: our payload size, `dnssec_ok`, the upper bits of `rcode`,
/// `options` verbatim (already encoded), then the extended error if any. Adds one to ARCOUNT. Returns the new length,
/// or `None` when it does not fit.
pub fn append_opt(
    _out: &mut [u8],
    _len: usize,
    _rcode: u16,
    _dnssec_ok: bool,
    _options: &[u8],
    _error: Option<(ExtendedError, &str)>,
) -> Option<usize> {
    todo!()
}
