//! One pass over a client's packet: header, the one question, OPT, TSIG. Everything later trusts what stands here, so
//! names, counts, EDNS and lengths are validated here and nowhere else (RFC 1035, 6891, 8945, 9619).

use super::edns::{self, Edns};
use super::name::Name;
use super::record::{Record, Walker};
use super::{HEADER_LEN, MESSAGE_MAX, header, opcode, rcode, rtype, u16_at};

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

/// Where a scan found the question's end, and what behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The OPT record, when there is one.
    pub edns: Option<Edns>,
    signed: bool,
    question_end: u16,
}

impl Records {
    /// Whether their places are within a packet, as they are within the one that they were found in.
    fn fit(&self, packet: &[u8]) -> bool {
        self.edns.as_ref().is_none_or(|edns| edns.end <= packet.len())
    }
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
    pub fn scan(packet: &'p [u8]) -> Result<Self, Malformed> {
        let mut query = Self::unread(packet);
        query.read_whole()?;
        Ok(query)
    }

    /// What is known of the packet when it is read again.
    pub fn records(&self) -> Records {
        // The header and the longest name are far below 65 536.
        Records { edns: self.edns.clone(), signed: self.signed, question_end: self.question_end as u16 }
    }

    /// A packet that is still to be [read](Self::read), where the caller wants it: it is large to move.
    #[inline]
    pub(crate) fn unread(packet: &'p [u8]) -> Self {
        Self {
            packet,
            id: 0,
            opcode: 0,
            rd: false,
            ad: false,
            cd: false,
            name: Name::root(),
            qtype: 0,
            qclass: 0,
            question_end: 0,
            edns: None,
            signed: false,
        }
    }

    /// Reads the packet; one that has been read before without looking for what is `known` of it.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub(crate) fn read(&mut self, known: Option<&Records>) -> Result<(), Malformed> {
        match known.filter(|records| records.fit(self.packet)).and_then(|records| self.read_again(records)) {
            Some(()) => Ok(()),
            None => self.read_whole(),
        }
    }

    /// Reads a packet that has been read before: its labels, counts and records were found to be sound.
    fn read_again(&mut self, records: &Records) -> Option<()> {
        let (header, rest) = self.packet.split_first_chunk::<HEADER_LEN>()?;
        let question = rest.get(..usize::from(records.question_end).checked_sub(HEADER_LEN)?)?;
        let (name, &[type_high, type_low, class_high, class_low]) = question.split_last_chunk::<4>()?;
        self.name.become_known(name)?;
        self.note_header(u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]));
        self.qtype = u16::from_be_bytes([type_high, type_low]);
        self.qclass = u16::from_be_bytes([class_high, class_low]);
        self.question_end = records.question_end.into();
        (self.edns, self.signed) = (records.edns.clone(), records.signed);
        Some(())
    }

    #[inline]
    fn note_header(&mut self, id: u16, flags: u16) {
        (self.id, self.opcode) = (id, header::opcode(flags));
        self.rd = flags & header::RD != 0;
        self.ad = flags & header::AD != 0;
        self.cd = flags & header::CD != 0;
    }

    fn read_whole(&mut self) -> Result<(), Malformed> {
        let packet = self.packet;
        let header = Header::read(packet)?;
        if header.questions != 1 {
            // RFC 9619 section 4: more than one question is FORMERR. Without one there is nothing to filter or forward.
            return Err(header.without_question());
        }
        let name_end = self.name.become_uncompressed(packet, HEADER_LEN).map_err(|_| header.without_question())?;
        let (Some(qtype), Some(qclass)) = (u16_at(packet, name_end), u16_at(packet, name_end + 2)) else {
            return Err(header.without_question());
        };
        let question_end = name_end + 4;
        let answer = |rcode, edns| Malformed::Answer { rcode, question_end: Some(question_end), edns };
        if !header.is_implemented() {
            return Err(answer(rcode::NOTIMP, false));
        }
        self.note_header(header.id, header.flags);
        (self.qtype, self.qclass, self.question_end) = (qtype, qclass, question_end);
        if !header.has_records() && question_end == packet.len() {
            return Ok(());
        }
        match self.read_records(&header) {
            Ok(()) => Ok(()),
            Err(Fault { rcode, opt_seen }) => Err(answer(rcode, opt_seen || self.edns.is_some())),
        }
    }

    /// Walks everything behind the question.
    fn read_records(&mut self, header: &Header) -> Result<(), Fault> {
        let mut walker = Walker::new(self.packet, self.question_end);
        if self.opcode == opcode::QUERY && header.answers > 0 {
            return Err(Fault::FORMERR);
        }
        for _ in 0..header.answers {
            walker.body_record()?;
        }
        // RFC 1995 section 3: an IXFR query has "the authority section containing the SOA record of client's version of
        // the zone"; no other query has one.
        let soa_only = self.opcode == opcode::QUERY;
        if soa_only && header.authorities > u16::from(self.qtype == rtype::IXFR) {
            return Err(Fault::FORMERR);
        }
        for _ in 0..header.authorities {
            let record = walker.body_record()?;
            if soa_only && record.rtype != rtype::SOA {
                return Err(Fault::FORMERR);
            }
        }
        for _ in 0..header.additionals {
            self.read_additional(&mut walker)?;
        }
        if walker.at == self.packet.len() { Ok(()) } else { Err(Fault::FORMERR) }
    }

    /// Reads one record of the additional section: OPT, a signature, or one that does not matter.
    fn read_additional(&mut self, walker: &mut Walker<'_>) -> Result<(), Fault> {
        // RFC 8945 section 5.1: a TSIG "in any other position" than the last is FORMERR.
        if self.signed {
            return Err(Fault::FORMERR);
        }
        let record = walker.record().ok_or(Fault::FORMERR)?;
        if record.rtype == rtype::OPT {
            // RFC 6891 section 6.1.1: "If a query message with more than one OPT RR is received, a FORMERR (RCODE=1) MUST
            // be returned."
            if self.edns.is_some() {
                return Err(Fault::FORMERR);
            }
            // RFC 6891 section 6.1.3: a version we do not know is BADVERS, and its options are not ours to read.
            if record.ttl >> 16 & 0xFF != 0 {
                return Err(Fault { rcode: rcode::BADVERS, opt_seen: true });
            }
            let edns = edns::read_opt(self.packet, record.owner);
            self.edns = Some(edns.ok_or(Fault { rcode: rcode::FORMERR, opt_seen: true })?);
        } else if record.signs_message(self.packet) {
            if !record.is_sound_signature() {
                return Err(Fault::FORMERR);
            }
            self.signed = true;
        }
        Ok(())
    }

    /// An ordinary question: no transfer, NOTIFY or UPDATE.
    pub fn asks_for_records(&self) -> bool {
        self.opcode == opcode::QUERY && !matches!(self.qtype, rtype::AXFR | rtype::IXFR)
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

/// The fixed header of a request.
struct Header {
    id: u16,
    opcode: u8,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Header {
    fn read(packet: &[u8]) -> Result<Self, Malformed> {
        let bytes = packet.first_chunk::<HEADER_LEN>().ok_or(Malformed::Short)?;
        let word = |index: usize| u16::from_be_bytes([bytes[index * 2], bytes[index * 2 + 1]]);
        let flags = word(1);
        if flags & header::QR != 0 {
            return Err(Malformed::NotAQuery);
        }
        let read = Self {
            id: word(0),
            opcode: header::opcode(flags),
            flags,
            questions: word(2),
            answers: word(3),
            authorities: word(4),
            additionals: word(5),
        };
        if packet.len() > MESSAGE_MAX { Err(read.without_question()) } else { Ok(read) }
    }

    fn is_implemented(&self) -> bool {
        matches!(self.opcode, opcode::QUERY | opcode::NOTIFY | opcode::UPDATE)
    }

    fn has_records(&self) -> bool {
        self.answers | self.authorities | self.additionals != 0
    }

    /// The question cannot be read.
    fn without_question(&self) -> Malformed {
        let rcode = if self.is_implemented() { rcode::FORMERR } else { rcode::NOTIMP };
        Malformed::Answer { rcode, question_end: None, edns: false }
    }
}

/// What is wrong behind the question.
struct Fault {
    rcode: u16,
    /// The record at fault is an OPT.
    opt_seen: bool,
}

impl Fault {
    const FORMERR: Self = Self { rcode: rcode::FORMERR, opt_seen: false };
}

impl Walker<'_> {
    /// The next record of the answer or authority section of a request, where neither OPT (RFC 6891 section 6.1.1) nor a
    /// message's signature (RFC 8945 section 5.1) may stand.
    fn body_record(&mut self) -> Result<Record, Fault> {
        let record = self.record().ok_or(Fault::FORMERR)?;
        if record.rtype == rtype::OPT || record.signs_message(self.message) {
            return Err(Fault { rcode: rcode::FORMERR, opt_seen: record.rtype == rtype::OPT });
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests;
