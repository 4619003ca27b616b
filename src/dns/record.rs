//! The frame of a record (owner, type, class, TTL, RDATA's place), read one after another with bounded work, because
//! requests and responses are walked alike (RFC 1035 section 4.1.3).

use super::name::NameError;
use super::{HEADER_LEN, class, rtype, u16_at, walk};
use std::ops::Range;

/// One record of a message, as offsets into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset of the owner name, which may be compressed.
    pub owner: usize,
    /// The type.
    pub rtype: u16,
    /// The class; for OPT the payload size.
    pub class: u16,
    /// Offset of the TTL.
    pub ttl_at: usize,
    /// The TTL in seconds as it stands there; see [`seconds`].
    pub ttl: u32,
    /// Where the RDATA lies.
    pub data: Range<usize>,
}

impl Record {
    /// Whether this is the signature of the whole message: TSIG (RFC 8945) or SIG(0) (RFC 2931), a SIG that covers no
    /// type.
    pub(super) fn signs_message(&self, message: &[u8]) -> bool {
        match self.rtype {
            rtype::TSIG => true,
            rtype::SIG => self.data.len() >= 2 && u16_at(message, self.data.start) == Some(0),
            _ => false,
        }
    }

    /// RFC 8945 section 4.2: "CLASS: This MUST be ANY." and "TTL: This MUST be 0."
    pub(super) fn is_sound_signature(&self) -> bool {
        self.rtype != rtype::TSIG || (self.class == class::ANY && self.ttl == 0)
    }
}

/// A TTL in seconds: RFC 2181 section 8 has a value with the top bit set treated "as if the entire value received was
/// zero".
pub fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Reads records in order. Whatever a header claims, the work is bounded by the bytes that are there: each record takes
/// at least 11 of them, and labels reached through pointers are paid from an allowance for the whole message.
#[derive(Debug)]
pub(super) struct Walker<'m> {
    pub(super) message: &'m [u8],
    pub(super) at: usize,
    detours_left: usize,
    /// 0: not counted yet.
    labels_of_first: usize,
}

/// Labels and pointers that one message may have us read away from where its names stand: four for each byte, and some
/// for small messages. 127 labels behind each of thousands of pointers would be 20 times the work of any real message.
fn detours_max(message: &[u8]) -> usize {
    4096 + 4 * message.len()
}

impl<'m> Walker<'m> {
    /// A walk that begins at `at`, an offset behind the header.
    pub(super) fn new(message: &'m [u8], at: usize) -> Self {
        debug_assert!(at >= HEADER_LEN);
        Self::behind(message, at, 0)
    }

    /// As [`Self::new`], behind a question whose name has so many labels, the root's among them; 0: not counted.
    #[inline]
    pub(super) fn behind(message: &'m [u8], at: usize, labels_of_first: usize) -> Self {
        Self { message, at, detours_left: detours_max(message), labels_of_first }
    }

    /// Checks the name at `at` and returns the offset behind it.
    #[inline]
    pub(super) fn skip_name(&mut self, at: usize) -> Result<usize, NameError> {
        // Nearly every owner is a pointer to the name that stands first, and that one has been read by now. Paid for all the
        // same: others will read it there.
        let is_first = at > HEADER_LEN && u16_at(self.message, at) == Some(0xC000 | HEADER_LEN as u16);
        if is_first && let Some(detours) = self.labels_of_first() {
            self.detours_left = self.detours_left.checked_sub(detours).ok_or(NameError::BadPointer)?;
            return Ok(at + 2);
        }
        let walked = walk::walk(self.message, at, |_| ())?;
        self.detours_left = self.detours_left.checked_sub(walked.detours).ok_or(NameError::BadPointer)?;
        Ok(walked.end)
    }

    /// Labels of the name that stands first, the root's among them; `None` when it has not been found to be one.
    #[inline]
    fn labels_of_first(&mut self) -> Option<usize> {
        if self.labels_of_first == 0 {
            let mut at = HEADER_LEN;
            let mut labels = 1;
            loop {
                match *self.message.get(at)? {
                    0 => break,
                    len @ 1..=63 => at += 1 + usize::from(len),
                    _ => return None,
                }
                labels += 1;
            }
            self.labels_of_first = labels;
        }
        Some(self.labels_of_first)
    }

    /// Reads the next record's frame; `None` when it does not fit the bytes or its owner is not a name.
    #[inline]
    pub(super) fn record(&mut self) -> Option<Record> {
        let owner = self.at;
        let fixed = self.skip_name(owner).ok()?;
        // In one piece: to read each is a test of its own whether it is there.
        let (head, rest) = self.message.get(fixed..)?.split_first_chunk::<10>()?;
        let [rtype, class, _, _, data_len] =
            std::array::from_fn(|n| u16::from_be_bytes([head[2 * n], head[2 * n + 1]]));
        let ttl = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let data_len = usize::from(data_len);
        if data_len > rest.len() {
            return None;
        }
        let data = fixed + head.len()..fixed + head.len() + data_len;
        self.at = data.end;
        Some(Record { owner, rtype, class, ttl_at: fixed + 4, ttl, data })
    }

    /// Whether the RDATA of a record whose type may hold names or addresses reads as that type; any other RDATA is
    /// opaque (RFC 3597 section 3). RFC 3597 section 4 lists the types whose names may be compressed; a name in any
    /// type read here may be, since that is what other readers do.
    pub(super) fn is_sound(&mut self, record: &Record) -> bool {
        let Range { start, end } = record.data;
        // RFC 2136 section 2.4 and 2.5: without RDATA a record stands for a condition or a deletion.
        if start == end && matches!(record.class, class::NONE | class::ANY) {
            return true;
        }
        match record.rtype {
            rtype::A if record.class == class::IN => return end - start == 4,
            rtype::AAAA if record.class == class::IN => return end - start == 16,
            _ => {}
        }
        let Some(Layout { lead, names, tail }) = Layout::of(self.message, record) else { return false };
        let mut at = start + lead;
        for _ in 0..names {
            match self.skip_name(at) {
                Ok(behind) if behind <= end => at = behind,
                _ => return false,
            }
        }
        match tail {
            Tail::None => at == end,
            Tail::Exactly(len) => at + len == end,
            Tail::Any => true,
        }
    }
}

/// Where the names of an RDATA stand.
pub(super) struct Layout {
    /// Bytes before them.
    pub(super) lead: usize,
    /// How many there are, one behind the other.
    pub(super) names: u8,
    tail: Tail,
}

/// What follows the names in an RDATA.
enum Tail {
    None,
    Exactly(usize),
    Any,
}

impl Layout {
    /// That of a record; `None` when what stands before the names does not read as its type.
    pub(super) fn of(message: &[u8], record: &Record) -> Option<Self> {
        let (lead, names, tail) = match record.rtype {
            // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
            2..=5 | 7..=9 | 12 | rtype::DNAME => (0, 1, Tail::None),
            rtype::SOA => (0, 2, Tail::Exactly(20)),
            // MINFO, RP
            14 | 17 => (0, 2, Tail::None),
            // MX, AFSDB, RT, KX
            15 | 18 | 21 | 36 => (2, 1, Tail::None),
            // PX
            26 => (2, 2, Tail::None),
            rtype::SRV => (6, 1, Tail::None),
            rtype::SIG | rtype::RRSIG => (18, 1, Tail::Any),
            // SvcPriority, TargetName, and parameters (RFC 9460 section 2.2).
            rtype::SVCB | rtype::HTTPS => (2, 1, Tail::Any),
            // NXT, NSEC
            30 | rtype::NSEC => (0, 1, Tail::Any),
            // NAPTR: order, preference and three character-strings (RFC 3403 section 4.1)
            35 => {
                let start = record.data.start;
                (behind_strings(message, start + 4, 3)? - start, 1, Tail::None)
            }
            _ => (0, 0, Tail::Any),
        };
        Some(Self { lead, names, tail })
    }
}

/// The offset behind `count` character-strings.
fn behind_strings(message: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        at += 1 + usize::from(*message.get(at)?);
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(rtype: u16, class: u16, data: &[u8]) -> bool {
        let mut message = vec![0; 12];
        message.extend(b"\x01a\0"); // at 12
        message.extend(b"\xc0\x0c");
        message.extend([&rtype.to_be_bytes()[..], &class.to_be_bytes(), &[0; 4]].concat());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        let mut walker = Walker::new(&message, 15);
        let record = walker.record().unwrap();
        assert_eq!((record.rtype, record.class, walker.at), (rtype, class, message.len()));
        walker.is_sound(&record)
    }

    #[test]
    fn rdata_with_names_or_addresses_fills_its_length_exactly() {
        for (rtype, good, bad) in [
            (rtype::A, &b"\x01\x02\x03\x04"[..], &b"\x01\x02\x03"[..]),
            (rtype::AAAA, &[0; 16], &[0; 15]),
            (rtype::NS, b"\xc0\x0c", b"\xc0\x0c\0"),
            (rtype::CNAME, b"\x01b\xc0\x0c", b"\x05b"),
            (rtype::MX, b"\0\x0a\xc0\x0c", b"\xc0\x0c"),
            (rtype::SRV, b"\0\0\0\0\0\x35\0", b"\0\0\0\0\0\x35"),
            (rtype::SOA, &[0; 22], &[0; 21]),
            (rtype::RRSIG, &[0; 19], &[0; 18]),
            (rtype::HTTPS, b"\0\x01\0\0\x04\0\x04\xc0\0\x02\x01", b"\0\x01\x05a"),
            (35, b"\0\x01\0\x01\x01u\0\x02ab\xc0\x0c", b"\0\x01\0\x01\x01u\0\xff\xc0\x0c"),
        ] {
            assert!(sound(rtype, class::IN, good), "type {rtype}");
            assert!(!sound(rtype, class::IN, bad), "type {rtype}");
        }
        assert!(sound(rtype::TXT, class::IN, b"\xff"), "opaque types are not looked into");
        assert!(sound(rtype::A, class::CH, b"\x01"), "addresses of another class are opaque");
        assert!(sound(rtype::NS, class::ANY, b"") && !sound(rtype::NS, class::IN, b""));
    }

    #[test]
    fn pointers_cannot_multiply_the_work_without_bound() {
        // A name of 126 labels, then thousands of records whose owner is a pointer to it.
        let mut message = vec![0; 12];
        message.extend(b"\x01a".repeat(126));
        message.push(0);
        let records = message.len();
        while message.len() < 60_000 {
            message.extend(b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\0");
        }
        let mut walker = Walker::new(&message, records);
        let mut read = 0;
        while walker.record().is_some() {
            read += 1;
        }
        assert_eq!(read, detours_max(&message) / 127, "127 detours for each owner, then the allowance is used up");
        assert!(walker.at < message.len());
    }

    #[test]
    fn a_ttl_with_the_top_bit_is_zero() {
        assert_eq!((seconds(0x8000_0000), seconds(0x7FFF_FFFF), seconds(0)), (0, 0x7FFF_FFFF, 0));
    }
}
