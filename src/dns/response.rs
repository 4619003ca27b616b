//! One pass over an upstream's response: every record bounded, TTLs found, the chain of CNAMEs followed, and what
//! response-rate limiting and the cache need (RFC 1035, 2308, 6891).

use super::edns::Edns;
use super::name::Name;

/// The most records whose TTL is tracked for counting down; a response with more is passed on but not cached.
pub const TTLS_MAX: usize = 128;

/// The longest CNAME chain that is followed; a longer one is passed on but not cached.
pub const CHAIN_MAX: usize = 16;

/// A well-formed response. Offsets are into the message that was scanned.
#[derive(Debug)]
pub struct Response<'m> {
    /// The message as it came.
    pub message: &'m [u8],
    /// Message id.
    pub id: u16,
    /// Opcode.
    pub opcode: u8,
    /// Response code with the EDNS bits on top.
    pub rcode: u16,
    /// Authoritative answer.
    pub aa: bool,
    /// Truncated.
    pub tc: bool,
    /// Offset behind the question; 12 when there is none.
    pub question_end: usize,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, OPT included.
    pub additionals: u16,
    /// The OPT record.
    pub edns: Option<Edns>,
    /// A TSIG record is last: not to be changed apart from the id, not to be cached.
    pub signed: bool,
    /// The smallest TTL in the answer section; `None` without records.
    pub answer_ttl_min: Option<u32>,
    /// The SOA of the authority section: owner, and min(TTL, MINIMUM) for the negative TTL (RFC 2308 section 5).
    pub soa: Option<(Name, u32)>,
    /// The owner of the first NS record of the authority section.
    pub ns_owner: Option<Name>,
    /// The last name of the CNAME chain; the name asked for when there is none.
    pub chain_end: Name,
    /// CNAME records that were followed from the name asked for.
    pub chain_len: usize,
    /// Labels that the RRSIG over the answer counts, when fewer than its owner has: the answer came from a wildcard (RFC
    /// 4035 section 5.3.4).
    pub wildcard_labels: Option<u8>,
    /// Offsets of the TTL fields (OPT's excepted).
    ttls: [u16; TTLS_MAX],
    ttls_len: usize,
    /// More than [`TTLS_MAX`] records, or more than [`CHAIN_MAX`] CNAMEs.
    pub too_many: bool,
}

/// Why a message is not a [`Response`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedResponse {
    /// Fewer than 12 bytes.
    Short,
    /// QR=0.
    NotAResponse,
    /// A name, record or count that does not fit the bytes.
    BadRecord,
    /// More or less than one question (none is accepted only with an error code and no records).
    BadQuestion,
    /// A broken, misplaced or repeated OPT.
    BadOpt,
    /// Bytes behind the last record.
    TrailingBytes,
}

impl<'m> Response<'m> {
    /// Reads a response.
    ///
    /// # Errors
    /// [`MalformedResponse`]; the caller counts it and waits on for the real answer.
    pub fn scan(_message: &'m [u8]) -> Result<Self, MalformedResponse> {
        todo!()
    }

    /// Offsets of the TTL fields in the message.
    pub fn ttls(&self) -> &[u16] {
        &self.ttls[..self.ttls_len]
    }

    /// Calls `visit` with the target of each CNAME followed from the name asked for, in order.
    pub fn chain(&self, _visit: &mut dyn FnMut(&Name)) {
        todo!()
    }

    /// The question byte for byte; empty when there is none.
    pub fn question(&self) -> &'m [u8] {
        &self.message[super::HEADER_LEN..self.question_end]
    }
}
