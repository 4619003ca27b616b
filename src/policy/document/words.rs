//! Record types, classes and opcodes as people write them: `AAAA`, `TYPE65` (RFC 3597 section 5), `CH`, `NOTIFY`.

use crate::dns::{class, opcode};
use std::fmt;

/// Types by name (IANA DNS parameters, "Resource Record (RR) TYPEs"). Sorted by number.
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("MD", 3),
    ("MF", 4),
    ("CNAME", 5),
    ("SOA", 6),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("NULL", 10),
    ("WKS", 11),
    ("PTR", 12),
    ("HINFO", 13),
    ("MINFO", 14),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP", 22),
    ("NSAP-PTR", 23),
    ("SIG", 24),
    ("KEY", 25),
    ("PX", 26),
    ("GPOS", 27),
    ("AAAA", 28),
    ("LOC", 29),
    ("NXT", 30),
    ("EID", 31),
    ("NIMLOC", 32),
    ("SRV", 33),
    ("ATMA", 34),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("A6", 38),
    ("DNAME", 39),
    ("SINK", 40),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("DSYNC", 66),
    ("SPF", 99),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
    ("AVC", 258),
    ("DOA", 259),
    ("AMTRELAY", 260),
    ("RESINFO", 261),
    ("TA", 32_768),
    ("DLV", 32_769),
];

/// Classes by name.
pub const CLASSES: &[(&str, u16)] =
    &[("IN", class::IN), ("CH", class::CH), ("HS", 4), ("NONE", class::NONE), ("ANY", class::ANY)];

/// Opcodes by name.
pub const OPCODES: &[(&str, u8)] = &[
    ("QUERY", opcode::QUERY),
    ("IQUERY", 1),
    ("STATUS", 2),
    ("NOTIFY", opcode::NOTIFY),
    ("UPDATE", opcode::UPDATE),
    ("DSO", 6),
];

/// All names of types, for suggestions.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(name, _)| *name)
}

/// Reads a type: a name in any letter case, or `TYPE` and a number.
pub fn qtype(text: &str) -> Option<u16> {
    by_name(TYPES, text).or_else(|| numbered("TYPE", text))
}

/// Reads a class: a name in any letter case, or `CLASS` and a number.
pub fn qclass(text: &str) -> Option<u16> {
    by_name(CLASSES, text).or_else(|| numbered("CLASS", text))
}

/// Looks a name up in any letter case.
pub fn by_name<T: Copy>(names: &[(&str, T)], text: &str) -> Option<T> {
    names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
}

/// `TYPE65`: the number behind a prefix.
fn numbered(prefix: &str, text: &str) -> Option<u16> {
    let (head, digits) = text.split_at_checked(prefix.len())?;
    let is_number = head.eq_ignore_ascii_case(prefix) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// A type, to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeName(pub u16);

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.binary_search_by_key(&self.0, |(_, number)| *number) {
            Ok(index) => f.write_str(TYPES[index].0),
            Err(_) => write!(f, "TYPE{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_by_name_and_by_number() {
        assert_eq!(qtype("AAAA"), Some(28));
        assert_eq!(qtype("aaaa"), Some(28));
        assert_eq!(qtype("TYPE65"), Some(65));
        assert_eq!(qtype("type65535"), Some(65_535));
        for bad in ["", "TYPE", "TYPE65536", "TYPE+1", "QUAD", "TYPÉ1"] {
            assert_eq!(qtype(bad), None, "{bad:?}");
        }
        assert_eq!(qclass("ch"), Some(3));
        assert_eq!(qclass("CLASS7"), Some(7));
    }

    #[test]
    fn every_type_shown_reads_back() {
        assert!(TYPES.is_sorted_by(|a, b| a.1 < b.1));
        for number in 0..=u16::MAX {
            assert_eq!(qtype(&TypeName(number).to_string()), Some(number));
        }
    }
}
