//! One pass over an upstream's response: every record bounded, TTLs found, the chain of CNAMEs followed, and what
//! response-rate limiting and the cache need (RFC 1035, 2308, 6891).

pub use super::chain::CHAIN_MAX;
use super::chain::Chain;
use super::edns::{self, Edns};
use super::name::{self, Name};
use super::record::{self, Record, Walker};
use super::{HEADER_LEN, MESSAGE_MAX, class, header, opcode, rcode, rtype, u16_at, u32_at};
use std::net::IpAddr;

/// The most records whose TTL is tracked for counting down; a response with more is passed on but not cached.
pub const TTLS_MAX: usize = 128;

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
    /// There are more than [`CHAIN_MAX`] CNAMEs: what was followed may not be all of the chain.
    pub chain_cut: bool,
    /// Labels that the RRSIG over the answer counts, when fewer than its owner has: the answer came from a wildcard (RFC
    /// 4035 section 5.3.4).
    pub wildcard_labels: Option<u8>,
    /// Offsets of the TTL fields (OPT's excepted).
    ttls: [u16; TTLS_MAX],
    ttls_len: usize,
    /// Offsets of the targets of the CNAMEs that were followed.
    chain: [u16; CHAIN_MAX],
    /// More than [`TTLS_MAX`] records, or more than [`CHAIN_MAX`] CNAMEs.
    pub too_many: bool,
}

/// The sections that hold records (RFC 1035 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Section {
    Answer,
    Authority,
    Additional,
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
    pub fn scan(message: &'m [u8]) -> Result<Self, MalformedResponse> {
        let word = |index: usize| u16_at(message, index * 2).ok_or(MalformedResponse::Short);
        let (flags, questions) = (word(1)?, word(2)?);
        let mut response = Self {
            message,
            id: word(0)?,
            opcode: header::opcode(flags),
            rcode: flags & header::RCODE,
            aa: flags & header::AA != 0,
            tc: flags & header::TC != 0,
            question_end: HEADER_LEN,
            answers: word(3)?,
            authorities: word(4)?,
            additionals: word(5)?,
            edns: None,
            signed: false,
            answer_ttl_min: None,
            soa: None,
            ns_owner: None,
            chain_end: Name::root(),
            chain_len: 0,
            chain_cut: false,
            wildcard_labels: None,
            ttls: [0; TTLS_MAX],
            ttls_len: 0,
            chain: [0; CHAIN_MAX],
            too_many: false,
        };
        if flags & header::QR == 0 {
            return Err(MalformedResponse::NotAResponse);
        }
        // Offsets of TTLs are kept in 16 bits.
        if message.len() > MESSAGE_MAX {
            return Err(MalformedResponse::TrailingBytes);
        }
        response.read_question(questions)?;
        let mut walker = Walker::new(message, response.question_end);
        response.read_answers(&mut walker)?;
        for _ in 0..response.authorities {
            let record = response.body_record(&mut walker)?;
            response.read_authority(&record)?;
        }
        for _ in 0..response.additionals {
            response.read_additional(&mut walker)?;
        }
        if walker.at != message.len() {
            return Err(MalformedResponse::TrailingBytes);
        }
        // Only now are the extended bits known: OPT is in the last section.
        response.rcode |= response.edns.as_ref().map_or(0, |edns| u16::from(edns.extended_rcode) << 4);
        if questions == 0 && !response.may_lack_question() {
            return Err(MalformedResponse::BadQuestion);
        }
        Ok(response)
    }

    /// Reads the question, which starts the chain of CNAMEs.
    fn read_question(&mut self, questions: u16) -> Result<(), MalformedResponse> {
        if questions == 0 {
            return Ok(());
        }
        let (name, end) =
            Name::read_uncompressed(self.message, HEADER_LEN).map_err(|_| MalformedResponse::BadQuestion)?;
        if questions != 1 || end + 4 > self.message.len() {
            return Err(MalformedResponse::BadQuestion);
        }
        self.chain_end = name;
        self.question_end = end + 4;
        Ok(())
    }

    /// A server that could not read the question does not repeat it, and one that was sent an UPDATE need not (RFC 2136
    /// section 3.8); nothing else makes sense without one.
    fn may_lack_question(&self) -> bool {
        let says_nothing = self.answers == 0 && self.authorities == 0;
        says_nothing && (self.rcode != rcode::NOERROR || self.opcode == opcode::UPDATE)
    }

    /// Walks the answer section and follows the CNAMEs from the question's name.
    fn read_answers(&mut self, walker: &mut Walker<'m>) -> Result<(), MalformedResponse> {
        if self.answers == 0 {
            return Ok(());
        }
        let mut chain = Chain::new(self.message, self.chain_end);
        for _ in 0..self.answers {
            let record = self.body_record(walker)?;
            let ttl = record::seconds(record.ttl);
            self.answer_ttl_min = Some(self.answer_ttl_min.map_or(ttl, |least| least.min(ttl)));
            match record.rtype {
                // The answer section of an UPDATE that is sent back: a condition, not a record.
                _ if record.data.is_empty() => {}
                rtype::CNAME => chain.add(record.owner, record.data.start),
                rtype::RRSIG if self.wildcard_labels.is_none() => self.read_signature(&record),
                _ => {}
            }
        }
        chain.finish();
        self.chain_cut = chain.too_long;
        self.too_many |= chain.too_long;
        if chain.len > 0 {
            self.chain_end = chain.end;
            self.chain_len = chain.len;
            self.chain = chain.targets;
        }
        Ok(())
    }

    /// RFC 4035 section 5.3.4: an RRSIG that counts fewer labels than its owner has was made for a wildcard. Only the
    /// answer to the name asked for matters here.
    fn read_signature(&mut self, record: &Record) {
        // `chain_end` is the question's name until the whole section is read.
        let qname = &self.chain_end;
        let Some(&labels) = self.message.get(record.data.start + 3) else { return };
        // RFC 4034 section 3.1.3: a leading `*` is not counted.
        let owner_labels = qname.labels() - usize::from(qname.is_wildcard());
        if usize::from(labels) < owner_labels && name::is_at(qname, self.message, record.owner) {
            self.wildcard_labels = Some(labels);
        }
    }

    /// Takes from an authority record what negative caching and rate limiting need.
    fn read_authority(&mut self, record: &Record) -> Result<(), MalformedResponse> {
        let owner = |message| Name::read(message, record.owner).map_err(|_| MalformedResponse::BadRecord);
        match record.rtype {
            rtype::SOA if self.soa.is_none() && !record.data.is_empty() => {
                // MINIMUM is the last of the five numbers behind the two names.
                let minimum = u32_at(self.message, record.data.end - 4).ok_or(MalformedResponse::BadRecord)?;
                let ttl = record::seconds(record.ttl).min(record::seconds(minimum));
                self.soa = Some((owner(self.message)?.0, ttl));
            }
            rtype::NS if self.ns_owner.is_none() => self.ns_owner = Some(owner(self.message)?.0),
            _ => {}
        }
        Ok(())
    }

    /// Reads one record of the answer or authority section.
    fn body_record(&mut self, walker: &mut Walker<'m>) -> Result<Record, MalformedResponse> {
        let record = walker.record().ok_or(MalformedResponse::BadRecord)?;
        if record.rtype == rtype::OPT {
            return Err(MalformedResponse::BadOpt);
        }
        if record.signs_message(self.message) || !walker.is_sound(&record) {
            return Err(MalformedResponse::BadRecord);
        }
        self.note_ttl(record.ttl_at);
        Ok(record)
    }

    /// Reads one record of the additional section: OPT, a signature, or one that is only bounded.
    fn read_additional(&mut self, walker: &mut Walker<'m>) -> Result<(), MalformedResponse> {
        let record = walker.record().ok_or(MalformedResponse::BadRecord)?;
        if self.signed {
            return Err(MalformedResponse::BadRecord);
        }
        if record.rtype == rtype::OPT {
            let edns = edns::read_opt(self.message, record.owner).ok_or(MalformedResponse::BadOpt)?;
            if self.edns.replace(edns).is_some() {
                return Err(MalformedResponse::BadOpt);
            }
        } else if record.signs_message(self.message) {
            if !record.is_sound_signature() {
                return Err(MalformedResponse::BadRecord);
            }
            self.signed = true;
        } else if walker.is_sound(&record) {
            self.note_ttl(record.ttl_at);
        } else {
            return Err(MalformedResponse::BadRecord);
        }
        Ok(())
    }

    fn note_ttl(&mut self, at: usize) {
        match (self.ttls.get_mut(self.ttls_len), u16::try_from(at)) {
            (Some(slot), Ok(at)) => {
                *slot = at;
                self.ttls_len += 1;
            }
            _ => self.too_many = true,
        }
    }

    /// Offsets of the TTL fields in the message, in order; OPT's and a signature's are not among them.
    pub fn ttls(&self) -> &[u16] {
        &self.ttls[..self.ttls_len]
    }

    /// Calls `visit` with the target of each CNAME followed from the name asked for, in order.
    pub fn chain(&self, visit: &mut dyn FnMut(&Name)) {
        for &target in &self.chain[..self.chain_len] {
            if let Ok((name, _)) = Name::read(self.message, usize::from(target)) {
                visit(&name);
            }
        }
    }

    /// The question byte for byte; empty when there is none.
    pub fn question(&self) -> &'m [u8] {
        &self.message[HEADER_LEN..self.question_end]
    }

    /// All records in order with the section they stand in, OPT and signatures included. Walks the message anew.
    pub fn records(&self) -> impl Iterator<Item = (Section, Record)> + use<'m> {
        let mut walker = Walker::new(self.message, self.question_end);
        let counts = [
            (Section::Answer, self.answers),
            (Section::Authority, self.authorities),
            (Section::Additional, self.additionals),
        ];
        counts.into_iter().flat_map(|(section, count)| std::iter::repeat_n(section, usize::from(count))).map_while(
            move |section| {
                let record = walker.record()?;
                Some((section, record))
            },
        )
    }

    /// Calls `visit` with each IPv4 and IPv6 address of the answer section, in order. Walks the message anew.
    pub fn addresses(&self, visit: &mut dyn FnMut(IpAddr)) {
        for (_, record) in self.records().take(usize::from(self.answers)) {
            // The scan has checked the length of an address, so `first_chunk` is the whole of it.
            let data = &self.message[record.data];
            let address = match (record.class, record.rtype) {
                (class::IN, rtype::A) => data.first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
                (class::IN, rtype::AAAA) => data.first_chunk::<16>().map(|ip| IpAddr::from(*ip)),
                _ => None,
            };
            if let Some(address) = address {
                visit(address);
            }
        }
    }

    /// Whether the OPT record ends the message, so that it can be cut off and another one put in its place.
    pub fn opt_is_last(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.end == self.message.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, wire};
    use super::super::{put_u16, u32_at};
    use super::*;

    const QNAME: &[u8] = b"\xc0\x0c";

    fn www() -> Sample {
        Sample::response("Www.Example.com", rtype::A)
    }

    fn fault(sample: Sample) -> MalformedResponse {
        Response::scan(&sample.bytes()).unwrap_err()
    }

    fn soa(minimum: u32) -> Vec<u8> {
        [&b"\0\0"[..], &[0; 16], &minimum.to_be_bytes()].concat()
    }

    fn chain(response: &Response<'_>) -> Vec<String> {
        let mut names = Vec::new();
        response.chain(&mut |name| names.push(name.to_string()));
        names
    }

    #[test]
    fn a_positive_answer_is_read_in_full() {
        let message = www()
            .flags(0x8580)
            .record(1, QNAME, rtype::A, 300, &[192, 0, 2, 1])
            .record(1, QNAME, rtype::A, 60, &[192, 0, 2, 2])
            .record(2, b"\x07example\0", rtype::NS, 900, b"\x02ns\xc0\x10")
            .record(3, b"\x02ns\xc0\x10", rtype::AAAA, 800, &[0x20; 16])
            .opt(b"\0\x0f\0\x02\0\x0f")
            .bytes();
        let response = Response::scan(&message).unwrap();
        assert_eq!((response.id, response.opcode, response.rcode), (0x1234, 0, rcode::NOERROR));
        assert!(response.aa && !response.tc && !response.signed && !response.too_many && response.opt_is_last());
        assert_eq!((response.answers, response.authorities, response.additionals), (2, 1, 2));
        assert_eq!(response.answer_ttl_min, Some(60));
        assert_eq!(response.ns_owner, Some(Name::from_text("example").unwrap()));
        assert_eq!(response.soa, None);
        assert_eq!(response.question(), &message[12..response.question_end]);
        let ttls: Vec<_> = response.ttls().iter().map(|&at| u32_at(&message, at.into()).unwrap()).collect();
        assert_eq!(ttls, [300, 60, 900, 800]);
        assert_eq!(edns::extended_error(&message, response.edns.as_ref().unwrap()), Some((15, &b""[..])));
        let mut addresses = Vec::new();
        response.addresses(&mut |ip| addresses.push(ip.to_string()));
        assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"], "glue is no answer");
        let types: Vec<_> = response.records().map(|(section, record)| (section, record.rtype)).collect();
        assert_eq!(types[2..], [(Section::Authority, 2), (Section::Additional, 28), (Section::Additional, 41)]);
    }

    #[test]
    fn a_negative_answer_gives_the_zone_and_its_ttl() {
        for (ttl, minimum, expected) in [(900, 300, 300), (60, 300, 60), (0x8000_0001, 300, 0), (5, u32::MAX, 0)] {
            let message = www().flags(0x8183).record(2, b"\xc0\x10", rtype::SOA, ttl, &soa(minimum)).bytes();
            let response = Response::scan(&message).unwrap();
            assert_eq!(response.rcode, rcode::NXDOMAIN);
            assert_eq!(response.soa, Some((Name::from_text("example.com").unwrap(), expected)));
            assert_eq!(response.answer_ttl_min, None);
        }
    }

    #[test]
    fn a_chain_of_cnames_is_followed_in_any_order() {
        let [b, c] = [wire("b.example"), wire("C.example")];
        let ordered = www()
            .record(1, QNAME, rtype::CNAME, 9, &b)
            .record(1, &b, rtype::CNAME, 9, &c)
            .record(1, &c, rtype::A, 9, &[0; 4])
            .bytes();
        let shuffled = www()
            .record(1, &c, rtype::A, 9, &[0; 4])
            .record(1, &wire("B.EXAMPLE"), rtype::CNAME, 9, &c)
            .record(1, QNAME, rtype::CNAME, 9, &b)
            .bytes();
        for message in [ordered, shuffled] {
            let response = Response::scan(&message).unwrap();
            assert_eq!(response.chain_len, 2);
            assert_eq!(chain(&response), ["b.example", "c.example"]);
            assert_eq!(response.chain_end.to_string(), "c.example");
        }
    }

    #[test]
    fn a_loop_of_cnames_ends() {
        let b = wire("b.example");
        let message = www().record(1, QNAME, rtype::CNAME, 9, &b).record(1, &b, rtype::CNAME, 9, QNAME).bytes();
        let response = Response::scan(&message).unwrap();
        assert_eq!(chain(&response), ["b.example", "www.example.com"]);
        let alien = www().record(1, &b, rtype::CNAME, 9, &b).bytes();
        assert_eq!(Response::scan(&alien).unwrap().chain_len, 0, "a CNAME that nothing leads to");
    }

    #[test]
    fn a_chain_over_the_limit_is_said_to_be() {
        for (links, reversed, too_many) in [
            (CHAIN_MAX, false, false),
            (CHAIN_MAX, true, false),
            (CHAIN_MAX + 1, false, true),
            (CHAIN_MAX + 1, true, true),
        ] {
            let mut order: Vec<_> = (0..links).collect();
            if reversed {
                order.reverse();
            }
            let mut sample = www();
            for link in order {
                let owner = if link == 0 { QNAME.to_vec() } else { wire(&format!("n{link}")) };
                sample = sample.record(1, &owner, rtype::CNAME, 9, &wire(&format!("n{}", link + 1)));
            }
            let message = sample.bytes();
            let response = Response::scan(&message).unwrap();
            assert_eq!((response.too_many, response.chain_cut), (too_many, too_many), "{links} {reversed}");
            assert!(response.chain_len <= CHAIN_MAX);
            assert!(too_many || response.chain_len == links);
        }
    }

    #[test]
    fn more_records_than_are_tracked_are_said_to_be() {
        for (records, too_many) in [(TTLS_MAX, false), (TTLS_MAX + 1, true)] {
            let message = (0..records).fold(www(), |sample, _| sample.record(1, QNAME, rtype::A, 5, &[9; 4])).bytes();
            let response = Response::scan(&message).unwrap();
            assert_eq!((response.too_many, response.ttls().len()), (too_many, TTLS_MAX));
            assert!(!response.chain_cut, "that is about CNAMEs");
        }
    }

    #[test]
    fn a_wildcard_shows_in_the_labels_of_its_signature() {
        let rrsig = |labels: u8| [&[0, 1, 8, labels][..], &[0; 14], b"\0sig"].concat();
        let scan = |qname: &str, owner: &[u8], labels| {
            let sample = Sample::response(qname, rtype::A).record(1, owner, rtype::RRSIG, 9, &rrsig(labels));
            Response::scan(&sample.bytes()).unwrap().wildcard_labels
        };
        assert_eq!(scan("www.example.com", QNAME, 2), Some(2));
        assert_eq!(scan("www.example.com", QNAME, 3), None);
        assert_eq!(scan("*.example.com", QNAME, 2), None, "the wildcard itself was asked for");
        assert_eq!(scan("www.example.com", &wire("a.b.c.d"), 2), None, "another name's signature");
    }

    #[test]
    fn the_question_is_there_or_there_is_a_reason() {
        let bare = |flags: u16| {
            let mut message = b"\0\x01\0\0\0\0\0\0\0\0\0\0".to_vec();
            put_u16(&mut message, 2, flags);
            Sample(message)
        };
        assert!(Response::scan(&bare(0x8001).bytes()).is_ok_and(|response| response.question().is_empty()));
        assert!(Response::scan(&bare(0xA800).bytes()).is_ok(), "UPDATE");
        assert_eq!(fault(bare(0x8000)), MalformedResponse::BadQuestion);
        let badvers = bare(0x8000).record_of(3, b"\0", rtype::OPT, 1232, 0x0100_0000, b"");
        assert_eq!(Response::scan(&badvers.bytes()).unwrap().rcode, rcode::BADVERS);
        assert_eq!(fault(bare(0x8001).record(1, b"\0", rtype::A, 0, &[0; 4])), MalformedResponse::BadQuestion);
        assert_eq!(fault(www().count(2)), MalformedResponse::BadQuestion);
        let compressed = Sample(b"\0\x01\x80\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01".to_vec());
        assert_eq!(fault(compressed), MalformedResponse::BadQuestion);
    }

    #[test]
    fn broken_responses_say_what_is_wrong() {
        assert_eq!(Response::scan(&[0; 11]).unwrap_err(), MalformedResponse::Short);
        assert_eq!(fault(Sample::query("a", rtype::A)), MalformedResponse::NotAResponse);
        for word in 3..6 {
            assert_eq!(fault(www().count(word)), MalformedResponse::BadRecord);
        }
        assert_eq!(fault(www().record(1, QNAME, rtype::A, 0, &[0; 3])), MalformedResponse::BadRecord);
        assert_eq!(fault(www().record(1, QNAME, rtype::CNAME, 0, b"\xc0\xff")), MalformedResponse::BadRecord);
        assert_eq!(fault(www().record(2, QNAME, rtype::SOA, 0, b"\0\0")), MalformedResponse::BadRecord);
        assert_eq!(fault(www().record(1, b"\0", rtype::OPT, 0, b"")), MalformedResponse::BadOpt);
        assert_eq!(fault(www().opt(b"").opt(b"")), MalformedResponse::BadOpt);
        assert_eq!(fault(www().opt(b"\0")), MalformedResponse::BadOpt);
        assert_eq!(fault(www().tsig().opt(b"")), MalformedResponse::BadRecord);
        let mut trailing = www();
        trailing.0.push(0);
        assert_eq!(fault(trailing), MalformedResponse::TrailingBytes);
    }

    #[test]
    fn a_signature_is_noticed_and_its_ttl_left_alone() {
        let message = www().record(1, QNAME, rtype::A, 5, &[9; 4]).opt(b"").tsig().bytes();
        let response = Response::scan(&message).unwrap();
        assert!(response.signed && !response.opt_is_last());
        assert_eq!(response.ttls().len(), 1);
    }

    #[test]
    fn a_response_cut_anywhere_is_malformed() {
        let message = www().record(1, QNAME, rtype::CNAME, 5, &wire("a.b")).opt(b"\0\x0c\0\x02xy").bytes();
        for len in 0..message.len() {
            assert!(Response::scan(&message[..len]).is_err(), "cut to {len} bytes");
        }
    }
}
