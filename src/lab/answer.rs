//! What the lab says to a message: a pure function from bytes to bytes and a delay. It decodes with hickory-proto, for
//! it wants structure, not speed; it is no part of the request path.

use super::Kind;
use super::zone::{Found, Manner, Zone, Zones};
use hickory_proto::op::{Edns, Header, Message, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use std::time::Duration;

/// How long names in slow.example take.
pub const SLOW: Duration = Duration::from_secs(2);

/// The longest that `slow-NNN.lab.example` takes.
pub const SLOW_MAX: Duration = Duration::from_secs(10);

/// The largest UDP payload that the lab sends and says it takes, in bytes.
pub const PAYLOAD_MAX: u16 = 4096;

/// Links of an alias chain that are followed.
const ALIASES_MAX: usize = 8;

/// Records in one message of a transfer.
const TRANSFER_BATCH: usize = 200;

/// What a message came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// What is to be sent for one message.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// What was asked.
    pub kind: Kind,
    /// To be waited before sending.
    pub after: Duration,
    /// In order; none is silence, several are a transfer.
    pub messages: Vec<Vec<u8>>,
}

impl Response {
    fn silence(kind: Kind) -> Self {
        Self { kind, after: Duration::ZERO, messages: Vec::new() }
    }

    fn one(kind: Kind, message: &Message) -> Self {
        Self { kind, after: Duration::ZERO, messages: message.to_vec().into_iter().collect() }
    }
}

/// Answers one message. Whatever the bytes are, this returns; what is no query at all gets silence.
pub fn answer(zones: &Zones, transport: Transport, packet: &[u8]) -> Response {
    let mut decoder = BinDecoder::new(packet);
    let Ok(header) = Header::read(&mut decoder) else { return Response::silence(Kind::Malformed) };
    if packet[2] & 0x80 != 0 {
        return Response::silence(Kind::Malformed);
    }
    let mut reply = Message::new(header.id, hickory_proto::op::MessageType::Response, header.op_code);
    reply.metadata = Metadata::response_from_request(&header.metadata);
    // RFC 9619: "A DNS message with OPCODE = 0 MUST NOT include a QDCOUNT parameter whose value is greater than 1";
    // and no count is believed before hickory-proto makes room for it.
    let question = if header.counts.queries == 1 { Query::read(&mut decoder).ok() } else { None };
    let Some(question) = question else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return Response::one(Kind::Malformed, &reply);
    };
    reply.add_query(question.clone());
    match header.op_code {
        OpCode::Query => answer_query(zones, transport, packet, &question, reply),
        OpCode::Notify => {
            reply.metadata.authoritative = true;
            Response::one(Kind::Notify, &reply)
        }
        OpCode::Update => {
            reply.metadata.response_code = ResponseCode::Refused;
            Response::one(Kind::Update, &reply)
        }
        _ => {
            reply.metadata.response_code = ResponseCode::NotImp;
            Response::one(Kind::Other, &reply)
        }
    }
}

fn answer_query(zones: &Zones, transport: Transport, packet: &[u8], question: &Query, mut reply: Message) -> Response {
    let Ok(request) = Message::from_vec(packet) else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return Response::one(Kind::Malformed, &reply);
    };
    if let Some(asked) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_MAX).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
        if asked.version() != 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return Response::one(Kind::Other, &reply);
        }
    }
    if request.signature.is_some() {
        // RFC 8945 section 5.2.1: a key that is not known is NOTAUTH; the lab knows none.
        reply.metadata.response_code = ResponseCode::NotAuth;
        return Response::one(Kind::Other, &reply);
    }
    match question.query_class {
        DNSClass::CH => return chaos(question, reply),
        DNSClass::IN | DNSClass::ANY => {}
        _ => return refuse(reply),
    }
    let Some(zone) = zones.of(&question.name) else { return refuse(reply) };
    match zone.manner {
        Manner::Dead => return Response::silence(Kind::Dead),
        Manner::Failing => {
            reply.metadata.response_code = ResponseCode::ServFail;
            return Response::one(Kind::Failing, &reply);
        }
        Manner::Refusing => return refuse(reply),
        Manner::ApexOnly if question.name != zone.origin => return refuse(reply),
        Manner::Plain | Manner::ApexOnly | Manner::Slow => {}
    }
    if matches!(question.query_type, RecordType::AXFR | RecordType::IXFR) {
        return transfer(zone, transport, &request, question, reply);
    }
    let (asked, after) = lateness(zone, &question.name);
    fill(zones, asked.as_ref().unwrap_or(&question.name), question, &mut reply);
    let limit = match transport {
        Transport::Udp => usize::from(request.max_payload().clamp(512, PAYLOAD_MAX)),
        Transport::Tcp => usize::from(u16::MAX),
    };
    let always_truncated = transport == Transport::Udp && has_first_label(&question.name, b"truncated");
    let mut response = Response::one(Kind::Plain, &reply);
    if always_truncated || response.messages.iter().any(|message| message.len() > limit) {
        truncate(&mut reply);
        response = Response::one(Kind::Truncated, &reply);
    }
    if !after.is_zero() {
        (response.after, response.kind) = (after, Kind::Slow);
    }
    response
}

/// RFC 2181 section 9: with TC set the client shall ask again over TCP and ignore the rest; so there is no rest.
fn truncate(reply: &mut Message) {
    reply.metadata.truncation = true;
    reply.answers.clear();
    reply.authorities.clear();
    reply.additionals.clear();
}

fn refuse(mut reply: Message) -> Response {
    reply.metadata.response_code = ResponseCode::Refused;
    Response::one(Kind::Refused, &reply)
}

/// Follows aliases through all zones and fills the sections.
fn fill(zones: &Zones, asked: &Name, question: &Query, reply: &mut Message) {
    let mut name = asked.clone();
    for step in 0..=ALIASES_MAX {
        let served = |zone: &&Zone| match zone.manner {
            Manner::Plain | Manner::Slow => true,
            Manner::ApexOnly => zone.origin == name,
            Manner::Dead | Manner::Failing | Manner::Refusing => false,
        };
        // Where the chain leaves what the lab serves, what was found is the answer.
        let Some(zone) = zones.of(&name).filter(served) else { return };
        if step == 0 {
            reply.metadata.authoritative = true;
        }
        let found = zone.look_up(&name, question.query_type);
        match found {
            Found::Answer(mut records) => {
                if step == 0 {
                    for record in &mut records {
                        record.name = question.name.clone();
                    }
                }
                reply.add_answers(records);
                return;
            }
            // A circle ends where it began; the client sees the chain.
            Found::Alias(record, _) if reply.answers.contains(&record) => return,
            Found::Alias(record, target) => {
                reply.add_answer(*record);
                name = target;
            }
            Found::Referral(servers, glue) => {
                // RFC 1035 section 4.1.1: AA "corresponds to the name which matches the query name, or the first owner
                // name in the answer section".
                reply.metadata.authoritative = step > 0;
                reply.add_authorities(servers);
                reply.add_additionals(glue);
                return;
            }
            Found::NoData => return negative(zone, ResponseCode::NoError, reply),
            Found::NoName => return negative(zone, ResponseCode::NXDomain, reply),
        }
    }
}

/// RFC 2308 section 3: the SOA goes to the authority section, its TTL the lesser of its own and of its last field.
fn negative(zone: &Zone, code: ResponseCode, reply: &mut Message) {
    reply.metadata.response_code = code;
    if let Some(soa) = zone.soa() {
        let mut soa = soa.clone();
        if let RData::SOA(data) = &soa.data {
            soa.ttl = soa.ttl.min(data.minimum);
        }
        reply.add_authority(soa);
    }
}

/// `slow-NNN.lab.example` is looked up as `slow.lab.example`, NNN milliseconds late.
fn lateness(zone: &Zone, name: &Name) -> (Option<Name>, Duration) {
    if zone.manner == Manner::Slow {
        return (None, SLOW);
    }
    let label = name.iter().next().and_then(|label| std::str::from_utf8(label).ok()).unwrap_or_default();
    let millis = label.to_ascii_lowercase().strip_prefix("slow-").and_then(|digits| digits.parse::<u64>().ok());
    match millis {
        Some(millis) if name.base_name() == zone.origin => {
            (zone.origin.prepend_label("slow").ok(), Duration::from_millis(millis).min(SLOW_MAX))
        }
        _ => (None, Duration::ZERO),
    }
}

fn has_first_label(name: &Name, wanted: &[u8]) -> bool {
    name.iter().next().is_some_and(|label| label.eq_ignore_ascii_case(wanted))
}

/// RFC 4892: version.bind and id.server in class CH.
fn chaos(question: &Query, mut reply: Message) -> Response {
    let asked = question.name.to_ascii().to_ascii_lowercase();
    let text = match asked.as_str() {
        "version.bind." | "version.server." => concat!("weir lab ", env!("CARGO_PKG_VERSION")),
        "id.server." | "hostname.bind." => "lab",
        _ => return refuse(reply),
    };
    reply.metadata.authoritative = true;
    if matches!(question.query_type, RecordType::TXT | RecordType::ANY) {
        let mut record = Record::from_rdata(question.name.clone(), 0, RData::TXT(TXT::new(vec![text.to_owned()])));
        record.dns_class = DNSClass::CH;
        reply.add_answer(record);
    }
    Response::one(Kind::Chaos, &reply)
}

/// RFC 5936: the SOA, everything else, the SOA again, in as many messages as it takes. IXFR gets the same (RFC 1995
/// section 4 allows it), or the SOA alone when the client's serial is the current one or it asked over UDP.
fn transfer(zone: &Zone, transport: Transport, request: &Message, question: &Query, mut reply: Message) -> Response {
    let Some(soa) = zone.soa().filter(|_| question.name == zone.origin) else {
        reply.metadata.response_code = ResponseCode::NotAuth;
        return Response::one(Kind::Transfer, &reply);
    };
    reply.metadata.authoritative = true;
    let held = request.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    match (question.query_type, transport) {
        (RecordType::AXFR, Transport::Udp) => {
            reply.metadata.authoritative = false;
            reply.metadata.response_code = ResponseCode::NotImp;
            return Response::one(Kind::Transfer, &reply);
        }
        (RecordType::IXFR, _) if transport == Transport::Udp || held == zone.serial() => {
            reply.add_answer(soa.clone());
            return Response::one(Kind::Transfer, &reply);
        }
        _ => {}
    }
    let all: Vec<&Record> = std::iter::once(soa).chain(zone.records()).chain(std::iter::once(soa)).collect();
    let mut messages = Vec::with_capacity(all.len() / TRANSFER_BATCH + 1);
    for batch in all.chunks(TRANSFER_BATCH) {
        reply.answers = batch.iter().map(|record| (*record).clone()).collect();
        messages.extend(reply.to_vec());
        // RFC 5936 section 2.2.1: the question section of later messages may be empty.
        reply.queries.clear();
    }
    Response { kind: Kind::Transfer, after: Duration::ZERO, messages }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
