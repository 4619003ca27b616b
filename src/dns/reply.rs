//! Building replies: into a buffer that the caller owns, without allocation. One writer for OPT, one for SOA, so that
//! every self-made answer looks alike (RFC 1035, 2308, 6891, 8914).

mod lead;

pub use lead::{End, Lead};

use super::edns::{self, ExtendedError, OPT_LEN, option};
use super::query::Query;
use super::{HEADER_LEN, OUR_UDP_PAYLOAD, class, header, put_u16, rcode, rtype, u16_at};
use std::net::IpAddr;

/// What is common to all replies to one query.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo<'q> {
    /// The query as scanned.
    pub query: &'q Query<'q>,
    /// Recursion available: set by profile, the same on every self-made answer.
    pub ra: bool,
}

/// The body of a self-made answer.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Only a response code (REFUSED, SERVFAIL, FORMERR, NOTIMP).
    Rcode(u16),
    /// NXDOMAIN with an SOA, so that stubs cache it (RFC 2308).
    Nxdomain {
        /// TTL and MINIMUM in seconds.
        ttl: u32,
    },
    /// NOERROR without records, with an SOA.
    Nodata {
        /// TTL and MINIMUM in seconds.
        ttl: u32,
    },
    /// These addresses, as far as their family is what was asked; NODATA for any other type.
    Addresses {
        /// IPv4 and IPv6 mixed.
        addresses: &'a [IpAddr],
        /// TTL in seconds.
        ttl: u32,
    },
    /// These records of the question's name; NODATA when there are none.
    Records {
        /// All that go into the answer.
        records: &'a [OwnRecord<'a>],
        /// TTL and MINIMUM of NODATA, in seconds.
        ttl: u32,
    },
    /// CNAMEs of ours, and what stands at their end.
    Led {
        /// In order, from the question's name.
        leads: &'a [Lead<'a>],
        /// About the target of the last.
        end: End<'a>,
    },
    /// TC=1: the question byte for byte, OPT kept, no records; never longer than the query.
    Truncated,
}

/// A record of our own, owned by the question's name.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnRecord<'a> {
    /// The type.
    pub rtype: u16,
    /// In seconds.
    pub ttl: u32,
    /// RDATA without compressed names, at most 65 535 bytes.
    pub rdata: &'a [u8],
}

/// The longest text of an extended error that we send, in bytes; longer ones are cut between characters.
pub const ERROR_TEXT_MAX: usize = 64;

/// A pointer to the question's name (RFC 1035 section 4.1.4).
const QUESTION_NAME: [u8; 2] = [0xC0, HEADER_LEN as u8];

/// MNAME and RNAME of the SOA in a negative answer of our own. No zone stands behind it, so the names must lead nowhere:
/// `localhost.` and `nobody.invalid.` (RFC 6761), as Unbound has them in its local zones.
const SOA_NAMES: &[u8] = b"\x09localhost\0\x06nobody\x07invalid\0";

/// SERIAL, REFRESH, RETRY and EXPIRE of that SOA: nobody transfers it, they only have to be plausible.
const SOA_TIMERS: [u32; 4] = [1, 3600, 1200, 604_800];

/// Writes a self-made answer into `out` and returns its length. `out` must hold 512 bytes and the question; an answer
/// that would not fit the client's limit over UDP becomes TC=1 by the caller, not here. Addresses that do not fit into
/// `out` make it TC=1; 0 is returned, for "nothing to send", when not even that fits.
pub fn write(to: ReplyTo<'_>, body: Body<'_>, error: Option<(ExtendedError, &str)>, out: &mut [u8]) -> usize {
    write_with_options(to, body, &[], error, out)
}

/// As [`write()`], with EDNS options (already encoded, a COOKIE for one) that are sent if the query had an OPT.
pub fn write_with_options(
    to: ReplyTo<'_>,
    body: Body<'_>,
    options: &[u8],
    error: Option<(ExtendedError, &str)>,
    out: &mut [u8],
) -> usize {
    let whole = try_write(to, body, options, error, out);
    let shorter = || try_write(to, Body::Truncated, options, None, out);
    whole.or_else(shorter).unwrap_or(0)
}

fn try_write(
    to: ReplyTo<'_>,
    body: Body<'_>,
    options: &[u8],
    error: Option<(ExtendedError, &str)>,
    out: &mut [u8],
) -> Option<usize> {
    let query = to.query;
    let (rcode, error) = match body {
        Body::Rcode(code) => (expressible(code, query.edns.is_some()), error),
        Body::Nxdomain { .. } => (rcode::NXDOMAIN, error),
        Body::Led { end: End::Answer(answer), .. } => (expressible(answer.rcode, query.edns.is_some()), error),
        Body::Nodata { .. } | Body::Addresses { .. } | Body::Records { .. } | Body::Led { .. } => {
            (rcode::NOERROR, error)
        }
        Body::Truncated => (rcode::NOERROR, None),
    };
    let room = out.len();
    let mut writer = Writer { out, len: 0, owner: QUESTION_NAME };
    writer.header_and_question(query.packet, Some(query.question_end), rcode, to.ra)?;
    match body {
        Body::Rcode(_) => {}
        Body::Nxdomain { ttl } | Body::Nodata { ttl } => writer.soa(query.qclass, ttl)?,
        Body::Addresses { addresses, ttl } => writer.addresses(query, addresses, ttl)?,
        Body::Records { records, ttl } => writer.records(query, records, ttl)?,
        Body::Led { leads, end } => writer.led(query, leads, end)?,
        Body::Truncated => writer.out[2] |= (header::TC >> 8) as u8,
    }
    let len = writer.len;
    if query.edns.is_none() {
        return Some(len);
    }
    // The answer comes first: an explanation must not be what makes it too long for UDP.
    let explained = append_opt(&mut out[..room.min(query.udp_limit())], len, rcode, query.dnssec_ok(), options, error);
    explained.or_else(|| append_opt(out, len, rcode, query.dnssec_ok(), options, None))
}

/// Writes the answer to a packet that could not be scanned into a [`Query`] but may be answered (FORMERR, NOTIMP,
/// BADVERS): header, the question when it could be read, OPT when one was seen. Returns its length; 0 for "nothing to
/// send" when `out` or the packet is too short.
pub fn write_malformed(
    packet: &[u8],
    rcode: u16,
    question_end: Option<usize>,
    edns: bool,
    ra: bool,
    out: &mut [u8],
) -> usize {
    let rcode = expressible(rcode, edns);
    let mut writer = Writer { out, len: 0, owner: QUESTION_NAME };
    let Some(()) = writer.header_and_question(packet, question_end, rcode, ra) else { return 0 };
    let len = writer.len;
    let reply = if edns { append_opt(out, len, rcode, false, &[], None) } else { Some(len) };
    reply.unwrap_or(0)
}

/// A response code above 15 needs OPT; without it, its lower bits would say something else, NOERROR even.
fn expressible(rcode: u16, edns: bool) -> u16 {
    if rcode <= header::RCODE || (edns && rcode <= 0xFFF) { rcode } else { rcode::SERVFAIL }
}

/// Appends an OPT record to a message of `len` bytes in `out`: our payload size, `dnssec_ok`, the upper bits of `rcode`,
/// `options` verbatim (already encoded), then the extended error if any. Adds one to ARCOUNT. Returns the new length,
/// or `None` when it does not fit, and then `out[..len]` is as it was.
pub fn append_opt(
    out: &mut [u8],
    len: usize,
    rcode: u16,
    dnssec_ok: bool,
    options: &[u8],
    error: Option<(ExtendedError, &str)>,
) -> Option<usize> {
    let additionals = u16_at(out.get(..len)?, 10)?.checked_add(1)?;
    let text = error.map(|(code, text)| (code, cut_text(text)));
    let options_len = options.len() + text.map_or(0, |(_, text)| 6 + text.len());
    let end = len + OPT_LEN + options_len;
    let record = out.get_mut(len..end)?;
    edns::write_opt(record, OUR_UDP_PAYLOAD, (rcode >> 4) as u8, dnssec_ok)?;
    record[OPT_LEN - 2..OPT_LEN].copy_from_slice(&u16::try_from(options_len).ok()?.to_be_bytes());
    let (given, explained) = record[OPT_LEN..].split_at_mut(options.len());
    given.copy_from_slice(options);
    if let Some((code, text)) = text {
        put_u16(explained, 0, option::EXTENDED_ERROR);
        put_u16(explained, 2, 2 + text.len() as u16);
        put_u16(explained, 4, code as u16);
        explained[6..].copy_from_slice(text.as_bytes());
    }
    put_u16(out, 10, additionals);
    Some(end)
}

/// Adds options (already encoded) to an OPT record from `start` to `end`, the last of a message in `out`. Returns the new
/// length of the message, or `None` when they do not fit, and then nothing has changed.
pub fn extend_opt(out: &mut [u8], start: usize, end: usize, options: &[u8]) -> Option<usize> {
    let length_at = start + OPT_LEN - 2;
    let options_len = usize::from(u16_at(out, length_at)?) + options.len();
    let options_len = u16::try_from(options_len).ok()?;
    out.get_mut(end..end + options.len())?.copy_from_slice(options);
    put_u16(out, length_at, options_len);
    Some(end + options.len())
}

/// At most [`ERROR_TEXT_MAX`] bytes of a text, whole characters only (RFC 8914 section 2: EXTRA-TEXT is UTF-8).
fn cut_text(text: &str) -> &str {
    let mut end = text.len().min(ERROR_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A message under construction; each step is `None` when it does not fit.
struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
    /// A pointer to the owner of the records to come.
    owner: [u8; 2],
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// The header and the question of a reply: id, opcode, RD and CD are the client's, AA and AD are not ours to claim.
    fn header_and_question(&mut self, packet: &[u8], question_end: Option<usize>, rcode: u16, ra: bool) -> Option<()> {
        let header = packet.first_chunk::<HEADER_LEN>()?;
        let copied = u16_at(header, 2)? & (header::OPCODE | header::RD | header::CD);
        let flags = header::QR | copied | if ra { header::RA } else { 0 } | (rcode & header::RCODE);
        let question = question_end.map_or(Some(&[][..]), |end| packet.get(HEADER_LEN..end))?;
        let ([high, low], questions) = (flags.to_be_bytes(), u8::from(question_end.is_some()));
        self.put(&[header[0], header[1], high, low, 0, questions, 0, 0, 0, 0, 0, 0])?;
        self.put(question)
    }

    /// A record up to and with RDLENGTH.
    fn record(&mut self, rtype: u16, class: u16, ttl: u32, data_len: usize) -> Option<()> {
        // In one piece: to put each is a test of its own whether it fits.
        let mut head = [0; 12];
        head[..2].copy_from_slice(&self.owner);
        head[2..4].copy_from_slice(&rtype.to_be_bytes());
        head[4..6].copy_from_slice(&class.to_be_bytes());
        head[6..10].copy_from_slice(&ttl.to_be_bytes());
        head[10..].copy_from_slice(&u16::try_from(data_len).ok()?.to_be_bytes());
        self.put(&head)
    }

    /// The SOA that lets a negative answer be cached for `ttl` seconds: RFC 2308 section 5 takes the lesser of its TTL
    /// and its MINIMUM. It is owned by the name that there is nothing of, so that it speaks for that name alone.
    fn soa(&mut self, qclass: u16, ttl: u32) -> Option<()> {
        let class = if qclass == class::ANY { class::IN } else { qclass };
        self.record(rtype::SOA, class, ttl, SOA_NAMES.len() + 20)?;
        self.put(SOA_NAMES)?;
        let [serial, refresh, retry, expire] = SOA_TIMERS;
        self.put([serial, refresh, retry, expire, ttl].map(u32::to_be_bytes).as_flattened())?;
        put_u16(self.out, 8, 1);
        Some(())
    }

    /// The addresses of the family that was asked for, or what says that there are none.
    fn addresses(&mut self, query: &Query<'_>, addresses: &[IpAddr], ttl: u32) -> Option<()> {
        let mut answers: u16 = 0;
        for address in addresses {
            match (query.qclass, query.qtype, address) {
                (class::IN | class::ANY, rtype::A | rtype::ANY, IpAddr::V4(ip)) => {
                    self.record(rtype::A, class::IN, ttl, 4)?;
                    self.put(&ip.octets())?;
                }
                (class::IN | class::ANY, rtype::AAAA | rtype::ANY, IpAddr::V6(ip)) => {
                    self.record(rtype::AAAA, class::IN, ttl, 16)?;
                    self.put(&ip.octets())?;
                }
                _ => continue,
            }
            answers = answers.checked_add(1)?;
        }
        if answers == 0 {
            return self.soa(query.qclass, ttl);
        }
        put_u16(self.out, 6, answers);
        Some(())
    }

    /// These records, or what says that there are none.
    fn records(&mut self, query: &Query<'_>, records: &[OwnRecord<'_>], ttl: u32) -> Option<()> {
        if records.is_empty() {
            return self.soa(query.qclass, ttl);
        }
        for record in records {
            self.record(record.rtype, class::IN, record.ttl, record.rdata.len())?;
            self.put(record.rdata)?;
        }
        self.count(6, u16::try_from(records.len()).ok()?)
    }

    /// Adds to the count at an offset of the header.
    fn count(&mut self, at: usize, more: u16) -> Option<()> {
        let count = u16_at(self.out, at)?.checked_add(more)?;
        put_u16(self.out, at, count);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::super::query::Malformed;
    use super::super::response::Response;
    use super::super::sample::Sample;
    use super::*;

    const ERROR: Option<(ExtendedError, &str)> = Some((ExtendedError::Blocked, "on the list"));

    fn reply(packet: &[u8], body: Body<'_>, error: Option<(ExtendedError, &str)>) -> Vec<u8> {
        let query = Query::scan(packet).unwrap();
        let mut out = [0; 1500];
        let len = write(ReplyTo { query: &query, ra: true }, body, error, &mut out);
        out[..len].to_vec()
    }

    fn extended_error(response: &Response<'_>) -> Option<(u16, String)> {
        let (code, text) = edns::extended_error(response.message, response.edns.as_ref()?)?;
        Some((code, String::from_utf8(text.to_vec()).unwrap()))
    }

    #[test]
    fn the_header_says_what_is_the_clients_and_what_is_ours() {
        let packet = Sample::query("Www.Example", rtype::A).flags(0x0130).bytes();
        let message = reply(&packet, Body::Rcode(rcode::REFUSED), ERROR);
        assert_eq!(message[..12], *b"\x12\x34\x81\x95\0\x01\0\0\0\0\0\0", "QR RD RA CD, no AD; no OPT was asked for");
        assert_eq!(message[12..], packet[12..]);
        let notify = Sample::query("example", rtype::SOA).flags(0x2400).bytes();
        assert_eq!(u16_at(&reply(&notify, Body::Rcode(rcode::NOTIMP), None), 2), Some(0xA084));
    }

    #[test]
    fn a_negative_answer_carries_an_soa_and_says_why() {
        let packet = Sample::query("Blocked.Example", rtype::HTTPS).opt(b"").bytes();
        for (body, rcode) in [(Body::Nxdomain { ttl: 30 }, rcode::NXDOMAIN), (Body::Nodata { ttl: 30 }, rcode::NOERROR)]
        {
            let message = reply(&packet, body, ERROR);
            let response = Response::scan(&message).unwrap();
            assert_eq!((response.rcode, response.aa), (rcode, false));
            assert_eq!(response.soa(), Some((Name::from_text("blocked.example").unwrap(), 30)));
            assert_eq!(response.question(), &packet[12..response.question_end]);
            assert_eq!(extended_error(&response), Some((15, "on the list".to_owned())));
            assert!(response.edns.as_ref().unwrap().dnssec_ok && response.opt_is_last());
            assert_eq!(response.edns.as_ref().unwrap().payload, OUR_UDP_PAYLOAD);
        }
        let root = Sample::query(".", rtype::A).bytes();
        let message = reply(&root, Body::Nxdomain { ttl: 1 }, None);
        assert_eq!(Response::scan(&message).unwrap().soa(), Some((Name::root(), 1)));
    }

    #[test]
    fn the_longest_name_with_everything_fits_into_512_bytes() {
        let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let packet = Sample::query(&name, rtype::A).opt(b"").bytes();
        let query = Query::scan(&packet).unwrap();
        let mut out = [0; 512];
        let text = "x".repeat(100);
        let error = Some((ExtendedError::Filtered, text.as_str()));
        let len = write(ReplyTo { query: &query, ra: false }, Body::Nxdomain { ttl: 5 }, error, &mut out);
        let response = Response::scan(&out[..len]).unwrap();
        assert_eq!(extended_error(&response), Some((17, "x".repeat(64))));
    }

    #[test]
    fn addresses_are_of_the_family_that_was_asked_for() {
        let addresses = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let body = Body::Addresses { addresses: &addresses, ttl: 7 };
        for (qtype, expected) in [(rtype::A, 2), (rtype::AAAA, 1), (rtype::ANY, 3), (rtype::MX, 0)] {
            let message = reply(&Sample::query("x.example", qtype).opt(b"").bytes(), body, None);
            let response = Response::scan(&message).unwrap();
            assert_eq!(response.answers, expected);
            assert_eq!(response.soa().is_some(), expected == 0, "NODATA for any other type");
            let mut seen = Vec::new();
            response.addresses(&mut |ip| seen.push(ip));
            assert_eq!(seen.len(), usize::from(expected));
            assert!(seen.iter().all(|ip| addresses.contains(ip)));
        }
    }

    #[test]
    fn addresses_that_do_not_fit_become_tc_and_not_half_an_answer() {
        let addresses = vec!["2001:db8::1".parse().unwrap(); 60];
        let packet = Sample::query("x.example", rtype::AAAA).opt(b"").bytes();
        let message = reply(&packet, Body::Addresses { addresses: &addresses, ttl: 7 }, ERROR);
        let response = Response::scan(&message).unwrap();
        assert!(response.tc && response.answers == 0 && message.len() <= packet.len());
    }

    #[test]
    fn an_explanation_never_makes_an_answer_too_long_for_udp() {
        let addresses = vec!["192.0.2.1".parse().unwrap(); 29]; // 12 + 15 + 29 * 16 + 11 = 502 bytes
        let packet = Sample::query("x.example", rtype::A).record_of(3, b"\0", rtype::OPT, 512, 0, b"").bytes();
        let message = reply(&packet, Body::Addresses { addresses: &addresses, ttl: 7 }, ERROR);
        let response = Response::scan(&message).unwrap();
        assert!(message.len() <= 512 && response.answers == 29 && extended_error(&response).is_none());
    }

    #[test]
    fn a_truncated_reply_is_never_longer_than_its_query() {
        for (sample, additionals) in
            [(Sample::query("Www.Example", rtype::TXT), 0), (Sample::query("Www.Example", rtype::TXT).opt(b""), 1)]
        {
            let packet = sample.bytes();
            let message = reply(&packet, Body::Truncated, ERROR);
            let response = Response::scan(&message).unwrap();
            assert!(response.tc && message.len() <= packet.len());
            assert_eq!((response.rcode, response.additionals), (rcode::NOERROR, additionals));
            assert_eq!(response.question(), &packet[12..response.question_end]);
        }
    }

    #[test]
    fn codes_above_15_need_edns() {
        let plain = Sample::query("a", rtype::A);
        let message = reply(&plain.clone().opt(b"").bytes(), Body::Rcode(rcode::BADCOOKIE), None);
        assert_eq!(Response::scan(&message).unwrap().rcode, rcode::BADCOOKIE);
        let message = reply(&plain.bytes(), Body::Rcode(rcode::BADCOOKIE), None);
        assert_eq!(Response::scan(&message).unwrap().rcode, rcode::SERVFAIL);
    }

    #[test]
    fn options_stand_before_the_explanation() {
        let packet = Sample::query("a", rtype::A).opt(b"").bytes();
        let query = Query::scan(&packet).unwrap();
        let mut out = [0; 512];
        let to = ReplyTo { query: &query, ra: true };
        let len = write_with_options(to, Body::Rcode(rcode::REFUSED), b"\0\x0a\0\x08abcdefgh", ERROR, &mut out);
        let response = Response::scan(&out[..len]).unwrap();
        let codes: Vec<_> = edns::options(&out, response.edns.as_ref().unwrap()).map(|(code, _)| code).collect();
        assert_eq!(codes, [option::COOKIE, option::EXTENDED_ERROR]);
    }

    #[test]
    fn malformed_packets_are_answered_with_what_could_be_read() {
        let mut out = [0; 600];
        let mut broken = Sample::query("Www.Example", rtype::A).flags(0x0110).opt(b"\0").bytes();
        let Err(Malformed::Answer { rcode, question_end, edns }) = Query::scan(&broken) else { panic!() };
        let len = write_malformed(&broken, rcode, question_end, edns, false, &mut out);
        let response = Response::scan(&out[..len]).unwrap();
        assert_eq!((response.rcode, response.additionals), (rcode::FORMERR, 1));
        assert_eq!(u16_at(&out, 2), Some(0x8111));
        assert_eq!(response.question(), &broken[12..response.question_end]);

        broken.truncate(14);
        let Err(Malformed::Answer { rcode, question_end, edns }) = Query::scan(&broken) else { panic!() };
        let len = write_malformed(&broken, rcode, question_end, edns, true, &mut out);
        assert_eq!(&out[..len], b"\x12\x34\x81\x91\0\0\0\0\0\0\0\0");
        assert_eq!(write_malformed(&broken[..11], rcode, None, false, true, &mut out), 0);
        assert_eq!(write_malformed(&broken, rcode, Some(99), false, true, &mut out), 0);
        assert_eq!(write_malformed(&broken, rcode::BADVERS, None, true, true, &mut out[..22]), 0);
    }

    #[test]
    fn a_buffer_that_is_too_short_gets_nothing() {
        let packet = Sample::query("www.example", rtype::A).opt(b"").bytes();
        let query = Query::scan(&packet).unwrap();
        let whole = reply(&packet, Body::Nxdomain { ttl: 1 }, None).len();
        for room in 0..whole {
            let mut out = vec![0; room];
            let len = write(ReplyTo { query: &query, ra: true }, Body::Nxdomain { ttl: 1 }, None, &mut out);
            let expected = if room < packet.len() { 0 } else { packet.len() };
            assert_eq!(len, expected, "{room}: TC where that fits");
        }
    }

    #[test]
    fn opt_is_appended_whole_or_not_at_all() {
        let bare = Sample::response("a", rtype::A).bytes();
        let mut out = [0; 100];
        out[..bare.len()].copy_from_slice(&bare);
        let before = out;
        assert_eq!(append_opt(&mut out[..bare.len() + 10], bare.len(), 0, false, &[], None), None);
        assert_eq!(append_opt(&mut out, 101, 0, false, &[], None), None);
        assert_eq!(append_opt(&mut out, 11, 0, false, &[], None), None, "no header");
        assert_eq!(out, before);
        put_u16(&mut out, 10, u16::MAX);
        assert_eq!(append_opt(&mut out, bare.len(), 0, false, &[], None), None, "ARCOUNT is full");
    }

    #[test]
    fn options_are_added_to_an_opt_that_stands_last() {
        let bare = Sample::response("a", rtype::A).bytes();
        let mut out = [0; 100];
        out[..bare.len()].copy_from_slice(&bare);
        let end = append_opt(&mut out, bare.len(), 0, false, b"\0\x03\0\x01x", None).unwrap();
        let before = out;
        assert_eq!(extend_opt(&mut out[..end + 11], bare.len(), end, b"\0\x0a\0\x08abcdefgh"), None);
        assert_eq!(out, before);
        assert_eq!(extend_opt(&mut out, bare.len(), end, b""), Some(end));
        let longer = extend_opt(&mut out, bare.len(), end, b"\0\x0a\0\x08abcdefgh").unwrap();
        let response = Response::scan(&out[..longer]).unwrap();
        let read: Vec<_> = edns::options(&out, response.edns.as_ref().unwrap()).collect();
        assert_eq!(read, [(3, &b"x"[..]), (option::COOKIE, b"abcdefgh")]);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = format!("x{}", "\u{e9}".repeat(40));
        assert_eq!(cut_text(&text).len(), 63);
        assert_eq!(cut_text("short"), "short");
    }
}
