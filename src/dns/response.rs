//! One pass over an upstream's response: every record bounded, TTLs found, the chain of CNAMEs followed, and what
//! response-rate limiting and the cache need (RFC 1035, 2308, 6891).

pub use super::chain::CHAIN_MAX;
use super::chain::Chain;
use super::edns::{self, Edns};
use super::name::{self, Name};
use super::record::{self, Record, Walker};
use super::{HEADER_LEN, MESSAGE_MAX, header, opcode, rcode, rtype, u32_at, walk};

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
    /// Where the additional section begins: names before it never lead into it, so it can be cut off.
    pub additionals_at: usize,
    /// The OPT record.
    pub edns: Option<Edns>,
    /// A TSIG record is last: not to be changed apart from the id, not to be cached.
    pub signed: bool,
    /// The smallest TTL in the answer section; `None` without records.
    pub answer_ttl_min: Option<u32>,
    /// The SOA of the authority section: where its owner stands, and min(TTL, MINIMUM).
    soa: Option<(usize, u32)>,
    /// Where the owner of the first NS record of the authority section stands.
    ns_owner: Option<usize>,
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
        let mut response = Self::unread(message);
        response.read()?;
        Ok(response)
    }

    /// A message that is still to be [read](Self::read), where the caller wants it: it is large to move.
    #[inline]
    pub(crate) fn unread(message: &'m [u8]) -> Self {
        Self {
            message,
            id: 0,
            opcode: 0,
            rcode: 0,
            aa: false,
            tc: false,
            question_end: HEADER_LEN,
            answers: 0,
            authorities: 0,
            additionals: 0,
            additionals_at: 0,
            edns: None,
            signed: false,
            answer_ttl_min: None,
            soa: None,
            ns_owner: None,
            chain_len: 0,
            chain_cut: false,
            wildcard_labels: None,
            ttls: [0; TTLS_MAX],
            ttls_len: 0,
            chain: [0; CHAIN_MAX],
            too_many: false,
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub(crate) fn read(&mut self) -> Result<(), MalformedResponse> {
        let message = self.message;
        let head = message.first_chunk::<HEADER_LEN>().ok_or(MalformedResponse::Short)?;
        let word = |index: usize| u16::from_be_bytes([head[index * 2], head[index * 2 + 1]]);
        let (flags, questions) = (word(1), word(2));
        (self.answers, self.authorities, self.additionals) = (word(3), word(4), word(5));
        (self.id, self.opcode, self.rcode) = (word(0), header::opcode(flags), flags & header::RCODE);
        (self.aa, self.tc) = (flags & header::AA != 0, flags & header::TC != 0);
        if flags & header::QR == 0 {
            return Err(MalformedResponse::NotAResponse);
        }
        // Offsets of TTLs are kept in 16 bits.
        if message.len() > MESSAGE_MAX {
            return Err(MalformedResponse::TrailingBytes);
        }
        let labels = self.read_question(questions)?;
        let mut walker = Walker::behind(message, self.question_end, labels);
        self.read_answers(&mut walker)?;
        for _ in 0..self.authorities {
            let record = self.body_record(&mut walker)?;
            self.read_authority(&record)?;
        }
        self.additionals_at = walker.at;
        for _ in 0..self.additionals {
            self.read_additional(&mut walker)?;
        }
        if walker.at != message.len() {
            return Err(MalformedResponse::TrailingBytes);
        }
        // Only now are the extended bits known: OPT is in the last section.
        self.rcode |= self.edns.as_ref().map_or(0, |edns| u16::from(edns.extended_rcode) << 4);
        if questions == 0 && !self.may_lack_question() {
            return Err(MalformedResponse::BadQuestion);
        }
        Ok(())
    }

    /// Finds the end of the question, with whose name the chain of CNAMEs begins; the labels of that name, 0 without one.
    #[inline]
    fn read_question(&mut self, questions: u16) -> Result<usize, MalformedResponse> {
        if questions == 0 {
            return Ok(0);
        }
        let name = name::end_of_uncompressed(self.message, HEADER_LEN);
        let (end, labels) = name.map_err(|_| MalformedResponse::BadQuestion)?;
        if questions != 1 || end + 4 > self.message.len() {
            return Err(MalformedResponse::BadQuestion);
        }
        self.question_end = end + 4;
        Ok(labels)
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
        let mut chain = Chain::new(self.message);
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
            self.chain_len = chain.len;
            self.chain = chain.targets;
        }
        Ok(())
    }

    /// RFC 4035 section 5.3.4: an RRSIG that counts fewer labels than its owner has was made for a wildcard. Only the
    /// answer to the name asked for matters here.
    fn read_signature(&mut self, record: &Record) {
        let Some(&labels) = self.message.get(record.data.start + 3) else { return };
        let qname = self.question_name();
        // RFC 4034 section 3.1.3: a leading `*` is not counted.
        let owner_labels = qname.labels() - usize::from(qname.is_wildcard());
        if usize::from(labels) < owner_labels && walk::is_at(&qname, self.message, record.owner) {
            self.wildcard_labels = Some(labels);
        }
    }

    /// Takes from an authority record what negative caching and rate limiting need.
    fn read_authority(&mut self, record: &Record) -> Result<(), MalformedResponse> {
        match record.rtype {
            rtype::SOA if self.soa.is_none() && !record.data.is_empty() => {
                // MINIMUM is the last of the five numbers behind the two names.
                let minimum = u32_at(self.message, record.data.end - 4).ok_or(MalformedResponse::BadRecord)?;
                let ttl = record::seconds(record.ttl).min(record::seconds(minimum));
                self.soa = Some((record.owner, ttl));
            }
            rtype::NS if self.ns_owner.is_none() => self.ns_owner = Some(record.owner),
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

    /// The SOA of the authority section: owner, and min(TTL, MINIMUM) for the negative TTL (RFC 2308 section 5).
    pub fn soa(&self) -> Option<(Name, u32)> {
        self.soa.and_then(|(owner, ttl)| Some((self.name_at(owner)?, ttl)))
    }

    /// The negative TTL of [`Self::soa`], without reading the owner.
    pub fn negative_ttl(&self) -> Option<u32> {
        self.soa.map(|(_, ttl)| ttl)
    }

    /// The owner of the first NS record of the authority section.
    pub fn ns_owner(&self) -> Option<Name> {
        self.ns_owner.and_then(|owner| self.name_at(owner))
    }

    /// Whether the authority section has an NS record.
    pub(super) fn has_ns(&self) -> bool {
        self.ns_owner.is_some()
    }

    /// The last name of the CNAME chain; the name asked for when there is none.
    pub fn chain_end(&self) -> Name {
        let last = self.chain_len.checked_sub(1).and_then(|last| self.name_at(self.target_at(last)?));
        last.unwrap_or_else(|| self.question_name())
    }

    /// The name asked for; the root without a question.
    fn question_name(&self) -> Name {
        let has_question = self.question_end > HEADER_LEN;
        has_question.then(|| self.name_at(HEADER_LEN)).flatten().unwrap_or(Name::root())
    }

    /// Where the target of the CNAME number `n` that was followed stands.
    pub(super) fn target_at(&self, n: usize) -> Option<usize> {
        self.chain[..self.chain_len].get(n).map(|at| usize::from(*at))
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

    /// Whether the OPT record ends the message, so that it can be cut off and another one put in its place.
    pub fn opt_is_last(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.end == self.message.len())
    }
}

#[cfg(test)]
mod tests;
