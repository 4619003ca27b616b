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

/// Bytes of a record up to and with RDLENGTH whose owner is a pointer.
const RECORD_HEAD: usize = 12;

/// Bytes of that SOA.
const SOA_LEN: usize = RECORD_HEAD + SOA_NAMES.len() + 4 * SOA_TIMERS.len() + 4;

/// That SOA without its owner, class, TTL and MINIMUM.
const SOA: [u8; SOA_LEN] = {
    let mut soa = [0; SOA_LEN];
    soa[3] = rtype::SOA as u8;
    soa[RECORD_HEAD - 1] = (SOA_LEN - RECORD_HEAD) as u8;
    let mut at = 0;
    while at < SOA_NAMES.len() {
        soa[RECORD_HEAD + at] = SOA_NAMES[at];
        at += 1;
    }
    let mut at = 0;
    while at < 4 * SOA_TIMERS.len() {
        soa[RECORD_HEAD + SOA_NAMES.len() + at] = SOA_TIMERS[at / 4].to_be_bytes()[at % 4];
        at += 1;
    }
    soa
};

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
        let mut head = [0; RECORD_HEAD];
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
        let (mut soa, ttl) = (SOA, ttl.to_be_bytes());
        soa[..2].copy_from_slice(&self.owner);
        soa[4..6].copy_from_slice(&class.to_be_bytes());
        soa[6..10].copy_from_slice(&ttl);
        soa[SOA_LEN - 4..].copy_from_slice(&ttl);
        self.put(&soa)?;
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
mod tests;
