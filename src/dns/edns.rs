//! EDNS(0): the one place where OPT is read and written (RFC 6891), so that no option slips past a check.

use super::{rtype, u16_at};

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

/// Length of an OPT record without options: the root's byte and the ten fixed ones.
pub const OPT_LEN: usize = 11;

/// The bit of OPT's TTL field that says DNSSEC OK (RFC 3225 section 3).
const DO: u16 = 0x8000;

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

impl Edns {
    /// Whether it has any option.
    pub fn has_options(&self) -> bool {
        self.end > self.start + OPT_LEN
    }
}

/// Whether a message, of which nothing is known yet, has an OPT record at `start` that says DNSSEC OK.
#[inline]
pub fn wants_dnssec(message: &[u8], start: usize) -> bool {
    message.get(start) == Some(&0)
        && u16_at(message, start + 1) == Some(rtype::OPT)
        && u16_at(message, start + 7).is_some_and(|flags| flags & DO != 0)
}

/// Reads the OPT record that starts at `start` in a message (owner byte included) up to its end.
///
/// # Errors
/// `None` when the record is not a whole, well-formed OPT: owner not the root, options that do not fill RDLENGTH
/// exactly, a repeated COOKIE or client-subnet option, a COOKIE of a length that RFC 7873 does not allow (8, or 16 to
/// 40), a client-subnet option whose address does not fit its prefix.
pub fn read_opt(message: &[u8], start: usize) -> Option<Edns> {
    // RFC 6891 section 6.1.2: "NAME: MUST be 0 (root domain)"; a pointer to a root elsewhere is not that.
    if message.get(start) != Some(&0) || u16_at(message, start + 1) != Some(rtype::OPT) {
        return None;
    }
    let end = start + OPT_LEN + usize::from(u16_at(message, start + 9)?);
    message.get(start..end)?;
    let mut edns = Edns {
        start,
        end,
        payload: u16_at(message, start + 3)?,
        extended_rcode: *message.get(start + 5)?,
        version: *message.get(start + 6)?,
        dnssec_ok: u16_at(message, start + 7)? & DO != 0,
        cookie: None,
        client_subnet: None,
        has_other_options: false,
    };
    let mut at = start + OPT_LEN;
    while at < end {
        let code = u16_at(message, at)?;
        let data = at + 4;
        at = data + usize::from(u16_at(message, at + 2)?);
        if at > end {
            return None;
        }
        let seen = match code {
            // RFC 7873 section 5.2 would have us ignore all but the first of several COOKIE options; no client sends
            // two, and a second one that some part of the path overlooks is an option smuggled past a check.
            option::COOKIE if is_cookie(at - data) => edns.cookie.replace((data, at)),
            option::CLIENT_SUBNET if is_client_subnet(message.get(data..at)?) => edns.client_subnet.replace((data, at)),
            option::COOKIE | option::CLIENT_SUBNET => return None,
            option::KEEPALIVE | option::PADDING | option::EXTENDED_ERROR => None,
            _ => {
                edns.has_other_options = true;
                None
            }
        };
        if seen.is_some() {
            return None;
        }
    }
    Some(edns)
}

/// RFC 7873 section 4: 8 bytes of client cookie, alone or with 8 to 32 bytes of server cookie.
fn is_cookie(len: usize) -> bool {
    len == 8 || (16..=40).contains(&len)
}

/// RFC 7871 section 6: as many address bytes as the source prefix needs, and no bit set behind it.
fn is_client_subnet(data: &[u8]) -> bool {
    let [family_high, family_low, source, scope, address @ ..] = data else {
        return false;
    };
    let bits_max = match u16::from_be_bytes([*family_high, *family_low]) {
        0 => 0, // "no address" as some stubs say it
        1 => 32,
        2 => 128,
        _ => u8::MAX,
    };
    let spare = source.wrapping_neg() % 8; // bits behind the prefix in the last byte
    *source <= bits_max
        && *scope <= bits_max
        && address.len() == usize::from(source.div_ceil(8))
        && address.last().is_none_or(|last| last & !(0xFF << spare) == 0)
}

/// The options of a message's OPT record, as (code, data), in order.
pub fn options<'m>(message: &'m [u8], edns: &Edns) -> impl Iterator<Item = (u16, &'m [u8])> {
    let mut rest = message.get(edns.start + OPT_LEN..edns.end).unwrap_or_default();
    std::iter::from_fn(move || {
        let code = u16_at(rest, 0)?;
        let end = 4 + usize::from(u16_at(rest, 2)?);
        let data = rest.get(4..end)?;
        rest = &rest[end..];
        Some((code, data))
    })
}

/// The code and text of the first extended error among the options (RFC 8914 section 2).
pub fn extended_error<'m>(message: &'m [u8], edns: &Edns) -> Option<(u16, &'m [u8])> {
    let (_, data) = options(message, edns).find(|(code, _)| *code == option::EXTENDED_ERROR)?;
    Some((u16_at(data, 0)?, &data[2..]))
}

/// Writes an OPT record without options to the start of `out`: the one writer of OPT. The caller adds options behind it
/// and their length to the last two bytes. `None` when `out` is too short.
pub(super) fn write_opt(out: &mut [u8], payload: u16, extended_rcode: u8, dnssec_ok: bool) -> Option<()> {
    let record = out.first_chunk_mut::<OPT_LEN>()?;
    let [payload_high, payload_low] = payload.to_be_bytes();
    let flags = if dnssec_ok { (DO >> 8) as u8 } else { 0 };
    *record = [0, 0, rtype::OPT as u8, payload_high, payload_low, extended_rcode, 0, flags, 0, 0, 0];
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opt(options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 12];
        message.extend(b"\0\0\x29\x04\xd0\x01\0\x80\0");
        message.extend((options.len() as u16).to_be_bytes());
        message.extend(options);
        message
    }

    fn subnet(family: u16, source: u8, scope: u8, address: &[u8]) -> bool {
        let data = [&family.to_be_bytes()[..], &[source, scope], address].concat();
        let option = [&[0, 8, 0, data.len() as u8][..], &data].concat();
        read_opt(&opt(&option), 12).is_some()
    }

    #[test]
    fn the_fixed_part_is_read_and_written_alike() {
        let mut message = opt(b"");
        let edns = read_opt(&message, 12).unwrap();
        assert_eq!((edns.start, edns.end, edns.payload), (12, 23, 1232));
        assert_eq!((edns.extended_rcode, edns.version, edns.dnssec_ok), (1, 0, true));
        assert!(!edns.has_other_options && edns.cookie.is_none() && edns.client_subnet.is_none());
        let expected = message.clone();
        message[12..].fill(0xFF);
        write_opt(&mut message[12..], 1232, 1, true).unwrap();
        assert_eq!(message, expected);
        assert_eq!(write_opt(&mut [0; 10], 1232, 0, false), None);
    }

    #[test]
    fn options_fill_the_record_exactly() {
        let message = opt(b"\0\x0a\0\x08abcdefgh\0\x0c\0\0\0\x03\0\x01x\0\x0f\0\x04\0\x0fno");
        let edns = read_opt(&message, 12).unwrap();
        assert_eq!(edns.cookie, Some((27, 35)));
        assert!(edns.has_other_options, "NSID");
        let read: Vec<_> = options(&message, &edns).collect();
        assert_eq!(read, [(10, &b"abcdefgh"[..]), (12, b""), (3, b"x"), (15, b"\0\x0fno")]);
        assert_eq!(extended_error(&message, &edns), Some((15, &b"no"[..])));

        assert!(!read_opt(&opt(b"\0\x0c\0\0\0\x0b\0\0"), 12).unwrap().has_other_options);
        for broken in [&b"\0"[..], b"\0\x0c\0", b"\0\x0c\0\x01", b"\0\x0c\0\x02x", b"\0\x0c\0\0\0"] {
            assert_eq!(read_opt(&opt(broken), 12), None, "{broken:?}");
        }
        let whole = opt(b"\0\x0c\0\x02xy");
        for len in 12..whole.len() {
            assert_eq!(read_opt(&whole[..len], 12), None, "cut to {len}");
        }
    }

    #[test]
    fn the_owner_is_the_root_in_place() {
        let mut message = opt(b"");
        message[12] = 1;
        assert_eq!(read_opt(&message, 12), None);
        assert_eq!(read_opt(&opt(b""), 500), None);
    }

    #[test]
    fn a_cookie_has_8_or_16_to_40_bytes_and_comes_once() {
        for len in 0..60u8 {
            let option = [&[0, 10, 0, len][..], &vec![7; usize::from(len)]].concat();
            let allowed = len == 8 || (16..=40).contains(&len);
            assert_eq!(read_opt(&opt(&option), 12).is_some(), allowed, "{len}");
        }
        assert_eq!(read_opt(&opt(b"\0\x0a\0\x08abcdefgh\0\x0a\0\x08abcdefgh"), 12), None);
    }

    #[test]
    fn a_client_subnet_fits_its_prefix() {
        assert!(subnet(1, 24, 0, &[192, 0, 2]) && subnet(2, 56, 48, &[0x20, 1, 0xd, 0xb8, 0, 0, 0]));
        assert!(subnet(1, 0, 0, &[]) && subnet(0, 0, 0, &[]) && subnet(1, 25, 0, &[192, 0, 2, 128]));
        assert!(!subnet(1, 25, 0, &[192, 0, 2, 129]), "a bit behind the prefix");
        assert!(!subnet(1, 24, 0, &[192, 0]) && !subnet(1, 24, 0, &[192, 0, 2, 1]));
        assert!(!subnet(1, 33, 0, &[192, 0, 2, 1, 0]) && !subnet(1, 8, 33, &[10]) && !subnet(0, 8, 0, &[10]));
        assert_eq!(read_opt(&opt(b"\0\x08\0\x03\0\x01\x08"), 12), None, "shorter than its fixed part");
        let twice = b"\0\x08\0\x04\0\x01\0\0".repeat(2);
        assert_eq!(read_opt(&opt(&twice), 12), None);
    }
}
