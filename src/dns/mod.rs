//! The wire: scanned in one pass, never decoded into objects, because this is paid for every packet (RFC 1035).
//!
//! `hickory-proto` is the oracle that tests and fuzzing hold this scanner against; it is not used on the path.

mod chain;
pub mod edns;
mod hints;
pub mod letters;
pub mod name;
pub mod patch;
pub mod query;
pub mod record;
pub mod registrable;
pub mod reply;
pub mod response;
#[cfg(test)]
pub(crate) mod sample;
mod walk;

/// Length of the fixed header (RFC 1035 section 4.1.1).
pub const HEADER_LEN: usize = 12;

/// The longest message over TCP: the length field has 16 bits (RFC 1035 section 4.2.2).
pub const MESSAGE_MAX: usize = 65_535;

/// What a client without EDNS can take over UDP (RFC 1035 section 4.2.1).
pub const PLAIN_UDP_MAX: usize = 512;

/// The payload size that we announce in both directions: fits one unfragmented packet (RFC 9715, DNS flag day 2020).
pub const OUR_UDP_PAYLOAD: u16 = 1232;

/// Record types that the path has to know (IANA DNS parameters).
#[allow(missing_docs)]
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const SIG: u16 = 24;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NSEC3: u16 = 50;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Classes (RFC 6895 section 3.2).
#[allow(missing_docs)]
pub mod class {
    pub const IN: u16 = 1;
    pub const CH: u16 = 3;
    pub const NONE: u16 = 254;
    pub const ANY: u16 = 255;
}

/// Opcodes (RFC 6895 section 2.2).
#[allow(missing_docs)]
pub mod opcode {
    pub const QUERY: u8 = 0;
    pub const NOTIFY: u8 = 4;
    pub const UPDATE: u8 = 5;
}

/// Response codes; those above 15 need EDNS (RFC 6895 section 2.3).
#[allow(missing_docs)]
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const YXDOMAIN: u16 = 6;
    pub const NOTAUTH: u16 = 9;
    pub const BADVERS: u16 = 16;
    pub const BADCOOKIE: u16 = 23;
}

/// Bits of the header's second word (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6 and 3.2.2).
#[allow(missing_docs)]
pub mod header {
    pub const QR: u16 = 0x8000;
    pub const AA: u16 = 0x0400;
    pub const TC: u16 = 0x0200;
    pub const RD: u16 = 0x0100;
    pub const RA: u16 = 0x0080;
    pub const AD: u16 = 0x0020;
    pub const CD: u16 = 0x0010;
    /// Where the opcode stands.
    pub const OPCODE: u16 = 0x7800;
    /// Where the response code stands.
    pub const RCODE: u16 = 0x000F;

    /// The opcode in the flags.
    pub const fn opcode(flags: u16) -> u8 {
        ((flags & OPCODE) >> 11) as u8
    }
}

/// Reads a big-endian u16 at `at`, if it is there.
#[inline]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// Reads a big-endian u32 at `at`, if it is there.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let quad = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([quad[0], quad[1], quad[2], quad[3]]))
}

/// Writes a big-endian u16 at `at`; the caller has checked the length.
#[inline]
pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
