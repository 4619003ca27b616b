//! Messages put together byte by byte, so that they can be wrong in any way, and read back by hickory-proto, which
//! shares no code with the gateway.

use hickory_proto::op::Message as Read;

/// Record types of the tests.
pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;
pub(crate) const HTTPS: u16 = 65;
pub(crate) const TSIG: u16 = 250;
pub(crate) const AXFR: u16 = 252;
pub(crate) const ANY: u16 = 255;

/// Sections of [`Message::record`].
pub(crate) const ANSWER: usize = 1;
pub(crate) const AUTHORITY: usize = 2;
pub(crate) const ADDITIONAL: usize = 3;

/// A message under construction.
#[derive(Clone, Debug)]
pub(crate) struct Message(pub Vec<u8>);

impl Message {
    /// A query with RD; the name keeps its letter case.
    pub(crate) fn query(id: u16, name: &str, qtype: u16) -> Self {
        let mut bytes = vec![0; 12];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes[2] = 1;
        bytes[5] = 1;
        bytes.extend(wire(name));
        bytes.extend(qtype.to_be_bytes());
        bytes.extend([0, 1]);
        Self(bytes)
    }

    /// The head of an answer to `query`: its id, opcode, RD and question, QR and RA.
    pub(crate) fn answer_to(query: &[u8]) -> Self {
        let mut bytes = query[..question_end(query)].to_vec();
        bytes[2] = bytes[2] & 0x79 | 0x80;
        bytes[3] = bytes[3] & 0x10 | 0x80;
        bytes[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        Self(bytes)
    }

    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.0[2..4].copy_from_slice(&flags.to_be_bytes());
        self
    }

    pub(crate) fn rcode(mut self, rcode: u8) -> Self {
        self.0[3] = self.0[3] & 0xF0 | rcode;
        self
    }

    pub(crate) fn truncated(mut self) -> Self {
        self.0[2] |= 2;
        self
    }

    /// Adds a record of class IN; `owner` and `data` are wire bytes.
    pub(crate) fn record(self, section: usize, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Self {
        self.record_of(section, owner, rtype, 1, ttl, data)
    }

    pub(crate) fn record_of(
        mut self,
        section: usize,
        owner: &[u8],
        rtype: u16,
        class: u16,
        ttl: u32,
        data: &[u8],
    ) -> Self {
        self.0.extend(owner);
        self.0.extend(rtype.to_be_bytes());
        self.0.extend(class.to_be_bytes());
        self.0.extend(ttl.to_be_bytes());
        self.0.extend((data.len() as u16).to_be_bytes());
        self.0.extend(data);
        let at = 4 + 2 * section;
        let count = u16::from_be_bytes([self.0[at], self.0[at + 1]]) + 1;
        self.0[at..at + 2].copy_from_slice(&count.to_be_bytes());
        self
    }

    /// The SOA of a negative answer, owned by `zone`.
    pub(crate) fn soa(self, zone: &str, ttl: u32) -> Self {
        let data = [&wire("ns.test")[..], &wire("admin.test"), &[0; 16], &ttl.to_be_bytes()].concat();
        self.record(AUTHORITY, &wire(zone), SOA, ttl, &data)
    }

    pub(crate) fn opt(self, payload: u16, dnssec_ok: bool, options: &[u8]) -> Self {
        self.record_of(ADDITIONAL, &[0], OPT, payload, if dnssec_ok { 0x8000 } else { 0 }, options)
    }

    /// A TSIG record of the right form; its signature signs nothing.
    pub(crate) fn tsig(self) -> Self {
        let data = b"\x0bhmac-sha256\0\0\0\x65\0\0\0\x01\x2c\0\x04mac!\x12\x34\0\0\0\0";
        self.record_of(ADDITIONAL, b"\x03key\0", TSIG, 255, 0, data)
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A name in wire form, its letter case kept.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> = labels.flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes())).collect();
    wire.push(0);
    wire
}

/// The lower-cased text of the question's name, without the last dot.
pub(crate) fn question_name(message: &[u8]) -> String {
    let (mut at, mut text) = (12, String::new());
    while let Some(&len) = message.get(at).filter(|len| **len > 0) {
        let label = message.get(at + 1..at + 1 + usize::from(len)).expect("a whole label");
        text.push_str(if text.is_empty() { "" } else { "." });
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += 1 + usize::from(len);
    }
    text
}

/// Offset behind the question of a message that has one.
pub(crate) fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// The type asked for.
pub(crate) fn question_type(message: &[u8]) -> u16 {
    let end = question_end(message);
    u16::from_be_bytes([message[end - 4], message[end - 3]])
}

/// The message id.
pub(crate) fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// Reads a reply with hickory-proto.
///
/// # Panics
/// When it cannot be read: no reply may be malformed.
pub(crate) fn read(reply: &[u8]) -> Read {
    Read::from_vec(reply).unwrap_or_else(|error| panic!("the reply cannot be read ({error}): {reply:02x?}"))
}

/// The first extended error among a reply's options (RFC 8914).
pub(crate) fn extended_error(reply: &[u8]) -> Option<u16> {
    use weir::dns::{edns, response::Response};
    if reply[4..6] == [0, 0] {
        // No scanner of answers takes one without a question.
        return None;
    }
    let response = Response::scan(reply).expect("a reply scans");
    edns::extended_error(reply, response.edns.as_ref()?).map(|(code, _)| code)
}

/// The data of all COOKIE options of a message (RFC 7873), read without the gateway's own scanner.
pub(crate) fn cookies_of(message: &[u8]) -> Vec<Vec<u8>> {
    let Ok(read) = Read::from_vec(message) else { return Vec::new() };
    let options = read.edns.iter().flat_map(|edns| edns.options().as_ref());
    let cookies = options.filter(|(code, _)| u16::from(*code) == 10);
    cookies.map(|(_, data)| Vec::<u8>::try_from(data).unwrap_or_default()).collect()
}
