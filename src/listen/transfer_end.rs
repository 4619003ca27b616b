//! Where a zone transfer ends: it says so itself, by SOA records alone.
//!
//! AXFR begins and ends with the zone's SOA (RFC 5936 section 2.2). IXFR is one SOA when there is nothing new, an AXFR, or
//! pairs of deletions and additions, each led by an SOA, between two copies of the newest SOA (RFC 1995 section 4).

use crate::dns::{HEADER_LEN, rtype, u16_at, u32_at};

/// What has been seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// The first SOA, with this serial; an IXFR may still be of any kind.
    First(u32),
    /// Records of a whole zone: the next SOA ends it.
    Zone,
    /// Deletions: additions follow.
    Deletions(u32),
    /// Additions that lead to this version.
    Additions {
        newest: u32,
        version: u32,
    },
    /// The end.
    End,
    /// What cannot be followed: it ends when the upstream says nothing more.
    Unknown,
}

/// Follows a transfer to its end.
#[derive(Debug)]
pub(super) struct TransferEnd {
    seen: Seen,
    /// For an IXFR, the version that the client has.
    has: Option<u32>,
    incremental: bool,
}

/// The offset behind the question at `at`.
pub(super) fn question_end(message: &[u8], at: usize) -> Option<usize> {
    let end = name_end(message, at)? + 4;
    (end <= message.len()).then_some(end)
}

/// The offset behind the name at `at`; a compression pointer ends a name.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// A record's type, the serial if it is an SOA, and the offset behind it.
fn record(message: &[u8], at: usize) -> Option<(u16, Option<u32>, usize)> {
    let fields = name_end(message, at)?;
    let rtype = u16_at(message, fields)?;
    let data = fields + 10;
    let end = data + usize::from(u16_at(message, fields + 8)?);
    if end > message.len() {
        return None;
    }
    let serial = if rtype == rtype::SOA {
        let behind_names = name_end(message, name_end(message, data)?)?;
        Some(u32_at(&message[..end], behind_names)?)
    } else {
        None
    };
    Some((rtype, serial, end))
}

impl TransferEnd {
    /// The transfer that a query asks for.
    pub(super) fn of(query: &[u8]) -> Self {
        let question = question_end(query, HEADER_LEN);
        let qtype = question.and_then(|end| u16_at(query, end - 4));
        // "The authority section containing the SOA record of client's version of the zone" (RFC 1995 section 3).
        let has = question.and_then(|end| record(query, end)).and_then(|(_, serial, _)| serial);
        let seen = if matches!(qtype, Some(rtype::AXFR | rtype::IXFR)) { Seen::Nothing } else { Seen::Unknown };
        Self { seen, has, incremental: qtype == Some(rtype::IXFR) }
    }

    /// Takes the next message; says whether it is the last one.
    pub(super) fn is_reached_by(&mut self, message: &[u8]) -> bool {
        if self.seen == Seen::Unknown {
            return false;
        }
        if message.get(3).is_some_and(|flags| flags & 0x0f != 0) {
            return true;
        }
        let begins = self.seen == Seen::Nothing;
        if self.follow(message).is_none() {
            self.seen = Seen::Unknown;
            return false;
        }
        match self.seen {
            // No answer record at all: this is an answer of another kind, and complete.
            Seen::Nothing => true,
            // An IXFR of one SOA says that there is nothing newer; if it is newer, a zone follows in messages of their own.
            Seen::First(newest) if begins && self.incremental => self.has.is_none_or(|has| !is_newer(newest, has)),
            seen => seen == Seen::End,
        }
    }

    fn follow(&mut self, message: &[u8]) -> Option<()> {
        let (questions, answers) = (u16_at(message, 4)?, u16_at(message, 6)?);
        let mut at = HEADER_LEN;
        for _ in 0..questions {
            at = question_end(message, at)?;
        }
        for _ in 0..answers {
            let (_, serial, end) = record(message, at)?;
            at = end;
            self.seen = self.after(serial);
        }
        Some(())
    }

    fn after(&self, soa: Option<u32>) -> Seen {
        match (self.seen, soa) {
            (Seen::Nothing, Some(serial)) => Seen::First(serial),
            (Seen::Nothing, None) => Seen::Unknown,
            (Seen::First(newest), Some(serial)) if self.incremental && serial != newest => Seen::Deletions(newest),
            (Seen::First(_) | Seen::Zone, Some(_)) => Seen::End,
            (Seen::First(_), None) => Seen::Zone,
            (Seen::Deletions(newest), Some(version)) => Seen::Additions { newest, version },
            (Seen::Additions { newest, version }, Some(_)) if version == newest => Seen::End,
            (Seen::Additions { newest, .. }, Some(_)) => Seen::Deletions(newest),
            (Seen::End, _) => Seen::End,
            (seen, _) => seen,
        }
    }
}

/// Serial number arithmetic (RFC 1982 section 3.2).
fn is_newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x07example\x00";

    fn soa(serial: u32) -> Vec<u8> {
        let mut data = b"\xc0\x0c\x02hm\xc0\x0c".to_vec();
        data.extend(serial.to_be_bytes());
        data.extend([0; 16]);
        let mut record = vec![0xc0, 0x0c, 0, 6, 0, 1, 0, 0, 0, 60, 0, data.len() as u8];
        record.extend(data);
        record
    }

    fn a() -> Vec<u8> {
        vec![0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]
    }

    fn message(rcode: u8, questions: u8, answers: &[Vec<u8>], authority: &[Vec<u8>], qtype: u16) -> Vec<u8> {
        let counts = [0, questions, 0, answers.len() as u8, 0, authority.len() as u8, 0, 0];
        let mut message = vec![0, 7, 0x84, rcode];
        message.extend(counts);
        for _ in 0..questions {
            message.extend(QUESTION);
            message.extend(qtype.to_be_bytes());
            message.extend([0, 1]);
        }
        message.extend(answers.concat());
        message.extend(authority.concat());
        message
    }

    fn ends(query: &[u8], messages: &[Vec<Vec<u8>>]) -> Vec<bool> {
        let mut end = TransferEnd::of(query);
        let question = |i| u8::from(i == 0);
        messages.iter().enumerate().map(|(i, m)| end.is_reached_by(&message(0, question(i), m, &[], 252))).collect()
    }

    #[test]
    fn axfr_ends_with_the_second_soa() {
        let query = message(0, 1, &[], &[], rtype::AXFR);
        assert_eq!(ends(&query, &[vec![soa(5)], vec![a(), a()], vec![a(), soa(5)]]), [false, false, true]);
        assert_eq!(ends(&query, &[vec![soa(5), a(), soa(5)]]), [true]);
        assert_eq!(ends(&query, &[vec![soa(5), soa(5)]]), [true], "an empty zone");
    }

    #[test]
    fn ixfr_ends_as_each_of_its_three_kinds_does() {
        let query = message(0, 1, &[], &[soa(3)], rtype::IXFR);
        assert_eq!(ends(&query, &[vec![soa(3)]]), [true], "nothing new");
        assert_eq!(ends(&query, &[vec![soa(5)], vec![a()], vec![soa(5)]]), [false, false, true], "a zone, one by one");
        assert_eq!(ends(&query, &[vec![soa(5), a()], vec![a(), soa(5)]]), [false, true], "a zone");
        let two_steps = [soa(5), soa(3), a(), soa(4), a(), a(), soa(4), soa(5), a(), soa(5)];
        assert_eq!(ends(&query, &[two_steps.to_vec()]), [true]);
        let one_by_one: Vec<_> = two_steps.iter().map(|record| vec![record.clone()]).collect();
        let ends = ends(&query, &one_by_one);
        assert_eq!(ends.iter().position(|end| *end), Some(two_steps.len() - 1));
    }

    #[test]
    fn an_error_or_an_answer_without_records_is_the_only_message() {
        let query = message(0, 1, &[], &[], rtype::AXFR);
        assert!(TransferEnd::of(&query).is_reached_by(&message(5, 1, &[], &[], rtype::AXFR)));
        assert!(TransferEnd::of(&query).is_reached_by(&message(0, 1, &[], &[], rtype::AXFR)));
    }

    #[test]
    fn what_cannot_be_followed_never_ends_by_itself() {
        let query = message(0, 1, &[], &[], rtype::AXFR);
        let mut end = TransferEnd::of(&query);
        let whole = message(0, 1, &[soa(5), a(), soa(5)], &[], rtype::AXFR);
        assert!((4..whole.len()).all(|len| !TransferEnd::of(&query).is_reached_by(&whole[..len])));
        assert!(!end.is_reached_by(&message(0, 1, &[a()], &[], rtype::AXFR)), "a transfer begins with an SOA");
        assert!(!end.is_reached_by(&whole));
    }

    #[test]
    fn serials_compare_around_the_circle() {
        assert!(is_newer(1, u32::MAX) && !is_newer(u32::MAX, 1) && !is_newer(4, 4) && is_newer(5, 4));
    }
}
