//! One pass over a client's packet: header, the one question, OPT, TSIG. Everything later trusts what stands here, so
//! names, counts, EDNS and lengths are validated here and nowhere else (RFC 1035, 6891, 8945, 9619).

use super::edns::Edns;
use super::name::Name;

/// A well-formed request: a query, or a NOTIFY, UPDATE or signed message that is passed on as it is.
#[derive(Debug)]
pub struct Query<'p> {
    /// The packet as it came.
    pub packet: &'p [u8],
    /// The client's message id.
    pub id: u16,
    /// Opcode, 0 to 15; only QUERY, NOTIFY and UPDATE get this far.
    pub opcode: u8,
    /// Recursion desired.
    pub rd: bool,
    /// Authentic data (RFC 6840 section 5.7: the client understands AD in the response).
    pub ad: bool,
    /// Checking disabled.
    pub cd: bool,
    /// The name asked for, lower-cased; the client's spelling is in `packet[12..]`.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// Offset behind the question: `packet[12..question_end]` is the question byte for byte.
    pub question_end: usize,
    /// The OPT record, when there is one.
    pub edns: Option<Edns>,
    /// A TSIG or SIG(0) record is last: the message must pass byte for byte apart from the id.
    pub signed: bool,
}

/// Why a packet is not a [`Query`], and what may be said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer than 12 bytes: nobody to answer.
    Short,
    /// QR=1: a response sent to a listener. Never answered: two gateways would talk for ever.
    NotAQuery,
    /// To be answered with this response code (FORMERR, NOTIMP or BADVERS).
    Answer {
        /// The response code.
        rcode: u16,
        /// Offset behind the question when it could be read; the reply repeats it.
        question_end: Option<usize>,
        /// An OPT record was seen, so the reply carries one.
        edns: bool,
    },
}

impl<'p> Query<'p> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`Malformed`]: exactly one question for QUERY and NOTIFY (RFC 9619) and one zone for UPDATE, at most one OPT,
    /// with the root as owner, in the additional section; TSIG last; no trailing bytes; no compression in the question;
    /// EDNS version 0, else BADVERS.
    pub fn scan(_packet: &'p [u8]) -> Result<Self, Malformed> {
        todo!()
    }

    /// The question byte for byte, in the client's letter case.
    pub fn question(&self) -> &'p [u8] {
        &self.packet[super::HEADER_LEN..self.question_end]
    }

    /// DNSSEC OK (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }

    /// The largest UDP reply that this client takes: 512, or what its OPT says, and at least 512 (RFC 6891 section
    /// 6.2.3), at most [`super::OUR_UDP_PAYLOAD`].
    pub fn udp_limit(&self) -> usize {
        let announced = self.edns.as_ref().map_or(0, |edns| usize::from(edns.payload));
        announced.clamp(super::PLAIN_UDP_MAX, usize::from(super::OUR_UDP_PAYLOAD))
    }
}
