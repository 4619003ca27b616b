//! EDNS(0): the one place where OPT is read and written (RFC 6891), so that no option slips past a check.

/// Option codes (IANA EDNS0 option codes).
#[allow(missing_docs)]
pub mod option {
    pub const NSID: u16 = 3;
    pub const CLIENT_SUBNET: u16 = 8;
    pub const COOKIE: u16 = 10;
    pub const KEEPALIVE: u16 = 11;
    pub const PADDING: u16 = 12;
    pub const EXTENDED_ERROR: u16 = 15;
}

/// Extended DNS error codes that we send (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum ExtendedError {
    Other = 0,
    StaleAnswer = 3,
    ForgedAnswer = 4,
    CachedError = 13,
    NotReady = 14,
    Blocked = 15,
    Censored = 16,
    Filtered = 17,
    Prohibited = 18,
    StaleNxdomain = 19,
    NoReachableAuthority = 22,
    NetworkError = 23,
}

/// Where the OPT record of a scanned message lies and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Offset of the record (of its root owner byte).
    pub start: usize,
    /// Offset behind the record.
    pub end: usize,
    /// The sender's UDP payload size.
    pub payload: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The version; always 0 in a scanned query.
    pub version: u8,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// Offset and end of the COOKIE option's data (RFC 7873), the first one.
    pub cookie: Option<(usize, usize)>,
    /// Offset and end of the client-subnet option's data (RFC 7871).
    pub client_subnet: Option<(usize, usize)>,
    /// An option that may change the answer and that we do not know (NSID among them): the answer is not cached.
    pub has_other_options: bool,
}

/// Reads the OPT record that starts at `start` in a message (owner byte included) up to its end.
///
/// # Errors
/// `None` when the record is not a whole, well-formed OPT: owner not the root, options that do not fill RDLENGTH
/// exactly, a repeated COOKIE or client-subnet option, a COOKIE of a length that RFC 7873 does not allow (8, or 16 to
/// 40), a client-subnet option whose address does not fit its prefix.
pub fn read_opt(_message: &[u8], _start: usize) -> Option<Edns> {
    todo!()
}

/// The options of a message's OPT record, as (code, data), in order.
pub fn options<'m>(_message: &'m [u8], _edns: &Edns) -> impl Iterator<Item = (u16, &'m [u8])> {
    std::iter::empty()
}
