//! Answers that begin with CNAMEs of ours: what stands at their end is written behind them, because a stub asks once and
//! follows nothing (RFC 1034 section 5.3.1). What another server said about the last name is not copied byte for byte: its
//! pointers lead to places that are others here, so each name is written anew.

use super::{OwnRecord, Writer};
use crate::dns::name::Name;
use crate::dns::query::Query;
use crate::dns::record::{Layout, Record};
use crate::dns::response::{Response, Section};
use crate::dns::{class, put_u16, rtype, walk};

/// A CNAME of ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lead<'a> {
    /// Where it leads, in wire form.
    pub target: &'a [u8],
    /// In seconds.
    pub ttl: u32,
}

/// What stands at the end of such CNAMEs.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// Records of ours; NODATA when there are none.
    Records {
        /// All that go into the answer.
        records: &'a [OwnRecord<'a>],
        /// TTL and MINIMUM of NODATA, in seconds.
        ttl: u32,
    },
    /// What was said about the last name: its code, its answer and its authority section.
    Answer(&'a Response<'a>),
}

/// The most names that later ones may be pointers to: an answer has few different owners.
const KNOWN_MAX: usize = 16;

/// Where names were written whole.
#[derive(Default)]
struct Known {
    at: [u16; KNOWN_MAX],
    len: usize,
}

impl Known {
    fn add(&mut self, at: usize) {
        // A pointer has 14 bits.
        let at = u16::try_from(at).ok().filter(|at| at & 0xC000 == 0);
        if let (Some(at), Some(slot)) = (at, self.at.get_mut(self.len)) {
            *slot = at;
            self.len += 1;
        }
    }

    fn find(&self, name: &Name, message: &[u8]) -> Option<u16> {
        self.at[..self.len].iter().copied().find(|at| walk::is_at(name, message, usize::from(*at)))
    }
}

impl Writer<'_> {
    /// CNAMEs of ours, each owned by the target of the one before, and what stands at their end.
    pub(super) fn led(&mut self, query: &Query<'_>, leads: &[Lead<'_>], end: End<'_>) -> Option<()> {
        let mut known = Known::default();
        for lead in leads {
            self.record(rtype::CNAME, class::IN, lead.ttl, lead.target.len())?;
            self.owner = (0xC000 | u16::try_from(self.len).ok().filter(|at| at & 0xC000 == 0)?).to_be_bytes();
            known.add(self.len);
            self.put(lead.target)?;
            self.count(6, 1)?;
        }
        match end {
            End::Records { records, ttl } => self.records(query, records, ttl),
            End::Answer(response) => self.copies(response, &mut known),
        }
    }

    /// The answer and authority sections of a response.
    fn copies(&mut self, response: &Response<'_>, known: &mut Known) -> Option<()> {
        for (section, record) in response.records() {
            let count_at = match section {
                Section::Answer => 6,
                Section::Authority => 8,
                Section::Additional => break,
            };
            self.copy(response.message, &record, known)?;
            self.count(count_at, 1)?;
        }
        Some(())
    }

    fn copy(&mut self, message: &[u8], record: &Record, known: &mut Known) -> Option<()> {
        let (owner, _) = Name::read(message, record.owner).ok()?;
        match known.find(&owner, &self.out[..self.len]) {
            Some(at) => self.put(&(0xC000 | at).to_be_bytes())?,
            None => drop(self.name(message, record.owner, known)?),
        }
        // Type, class and TTL.
        self.put(message.get(record.ttl_at - 4..record.ttl_at + 4)?)?;
        let len_at = self.len;
        self.put(&[0, 0])?;
        let mut at = record.data.start;
        if !record.data.is_empty() {
            let Layout { lead, names, .. } = Layout::of(message, record)?;
            self.put(message.get(at..at + lead)?)?;
            at += lead;
            // Not as pointers: of most types they must not be (RFC 3597 section 4).
            for _ in 0..names {
                at = self.name(message, at, known)?;
            }
        }
        self.put(message.get(at..record.data.end)?)?;
        put_u16(self.out, len_at, u16::try_from(self.len - len_at - 2).ok()?);
        Some(())
    }

    /// The name that stands at `at` of a message, whole and in its letters. Returns the offset behind it there.
    fn name(&mut self, message: &[u8], at: usize, known: &mut Known) -> Option<usize> {
        let start = self.len;
        let mut fits = Some(());
        let walked = walk::walk(message, at, |label| fits = fits.and_then(|()| self.put(label))).ok()?;
        fits?;
        self.put(&[0])?;
        known.add(start);
        Some(walked.end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, ReplyTo, write};
    use super::*;
    use crate::dns::sample::{Sample, wire};
    use crate::dns::{header, rcode, u16_at};
    use hickory_proto::op::Message;

    const PACKET: &str = "Led.Example";

    fn written(packet: &[u8], leads: &[Lead<'_>], end: End<'_>, room: usize) -> Vec<u8> {
        let query = Query::scan(packet).unwrap();
        let mut out = vec![0; room];
        let len = write(ReplyTo { query: &query, ra: true }, Body::Led { leads, end }, None, &mut out);
        out.truncate(len);
        out
    }

    /// The records of the answer and authority sections, as the oracle reads them.
    fn records(message: &[u8]) -> Vec<String> {
        let message = Message::from_vec(message).unwrap();
        let all = message.answers.iter().chain(&message.authorities);
        all.map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)).collect()
    }

    /// An answer with pointers of all kinds: to the question, into it, to a record's data, to what a pointer stands behind.
    fn answer() -> Vec<u8> {
        // garden.test: the question at 12, "test" at 19; the CNAME's data begins at 29 + 12 = 41.
        Sample::response("garden.test", rtype::MX)
            .flags(0x85B3)
            .record(1, b"\xc0\x0c", rtype::CNAME, 60, b"\x02lb\xc0\x13")
            .record(1, b"\xc0\x29", rtype::MX, 50, b"\x00\x0a\x04mail\xc0\x29")
            .record(1, b"\xc0\x29", rtype::MX, 50, b"\x00\x14\xc0\x3c")
            .record(1, b"\xc0\x29", 99, 50, b"\xc0\x0c")
            .record(
                2,
                b"\xc0\x13",
                rtype::SOA,
                40,
                b"\x02ns\xc0\x13\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
            )
            .record(3, b"\xc0\x29", rtype::A, 40, &[192, 0, 2, 1])
            .bytes()
    }

    #[test]
    fn an_answer_about_the_last_name_follows_the_cnames_with_every_name_as_it_was() {
        let (packet, message) = (Sample::query(PACKET, rtype::MX).bytes(), answer());
        let response = Response::scan(&message).unwrap();
        let (one, two) = (wire("a.b"), wire("Garden.test"));
        let leads = [Lead { target: &one, ttl: 30 }, Lead { target: &two, ttl: 20 }];
        let reply = written(&packet, &leads, End::Answer(&response), 1500);
        let expected = ["Led.Example. 30 CNAME a.b.", "a.b. 20 CNAME Garden.test."].map(str::to_owned);
        let mut copied = records(&message);
        // Its owner is a pointer to our CNAME.
        copied[0] = copied[0].replacen("garden", "Garden", 1);
        assert_eq!(records(&reply), [&expected[..], &copied].concat());
        assert_eq!(reply[12..packet.len()], packet[12..], "the question is the client's");
        let flags = u16_at(&reply, 2).unwrap();
        assert_eq!(flags, header::QR | header::RD | header::RA | rcode::NXDOMAIN, "neither AA nor AD");
        let scanned = Response::scan(&reply).unwrap();
        assert_eq!((scanned.chain_len, scanned.additionals), (3, 0));
        assert_eq!(scanned.chain_end(), Name::from_text("lb.test").unwrap());
        for room in 0..reply.len() {
            let cut = written(&packet, &leads, End::Answer(&response), room);
            let expected = if room < packet.len() { 0 } else { packet.len() };
            assert_eq!(cut.len(), expected, "{room}: TC where that fits");
        }
    }

    #[test]
    fn records_of_ours_belong_to_the_last_name_and_so_does_what_says_that_there_are_none() {
        let packet = Sample::query(PACKET, rtype::A).bytes();
        let target = wire("garden.test");
        let leads = [Lead { target: &target, ttl: 30 }];
        let own = OwnRecord { rtype: rtype::A, ttl: 7, rdata: &[192, 0, 2, 9] };
        let reply = written(&packet, &leads, End::Records { records: &[own, own], ttl: 9 }, 512);
        let record = "garden.test. 7 A 192.0.2.9";
        assert_eq!(records(&reply), ["Led.Example. 30 CNAME garden.test.", record, record]);
        let reply = written(&packet, &leads, End::Records { records: &[], ttl: 9 }, 512);
        let response = Response::scan(&reply).unwrap();
        assert_eq!((response.answers, response.rcode), (1, rcode::NOERROR));
        assert_eq!(response.soa(), Some((Name::from_text("garden.test").unwrap(), 9)));
    }

    #[test]
    fn more_names_than_are_remembered_are_written_whole() {
        let mut message = Sample::response("garden.test", rtype::TXT);
        for number in 0..40 {
            message = message.record(1, &wire(&format!("n{number}.test")), rtype::TXT, 1, b"\x01x");
        }
        let message = message.bytes();
        let response = Response::scan(&message).unwrap();
        let target = wire("garden.test");
        let leads = [Lead { target: &target, ttl: 30 }];
        let packet = Sample::query(PACKET, rtype::TXT).bytes();
        let reply = written(&packet, &leads, End::Answer(&response), 4096);
        assert_eq!(records(&reply)[1..], records(&message));
    }
}
