//! Packets as real software sends them, built by hickory-proto, and the mutations that break them.

use hickory_proto::op::{DEFAULT_MAX_PAYLOAD_LEN, Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn record(owner: &str, ttl: u32, rtype: RecordType, data: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::try_from_str(rtype, data).unwrap())
}

fn unknown(owner: &str, code: u16, data: &[u8]) -> Record {
    let rdata = hickory_proto::rr::rdata::NULL::with(data.to_vec());
    Record::from_rdata(name(owner), 60, RData::Unknown { code: RecordType::from(code), rdata })
}

fn message(kind: MessageType, opcode: OpCode, qname: &str, qtype: RecordType) -> Message {
    let mut message = Message::new(0x4242, kind, opcode);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(qname), qtype));
    message
}

fn query(qname: &str, qtype: RecordType) -> Message {
    message(MessageType::Query, OpCode::Query, qname, qtype)
}

fn response(qname: &str, qtype: RecordType) -> Message {
    let mut message = message(MessageType::Response, OpCode::Query, qname, qtype);
    message.metadata.recursion_available = true;
    message
}

fn edns(options: Vec<EdnsOption>) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(DEFAULT_MAX_PAYLOAD_LEN).set_dnssec_ok(true);
    for option in options {
        edns.options_mut().insert(option);
    }
    edns
}

fn with(mut message: Message, change: impl FnOnce(&mut Message)) -> Message {
    change(&mut message);
    message
}

fn signed(message: Message) -> Message {
    let tsig = TSIG::new(TsigAlgorithm::HmacSha256, 1_700_000_000, 300, vec![7; 32], 0x4242, None, Vec::new());
    with(message, |message| {
        message.set_signature(Box::new(make_tsig_record(name("key.example."), tsig)));
    })
}

fn every_option() -> Edns {
    edns(vec![
        EdnsOption::Unknown(10, b"clientckserver-cookie-16".to_vec()),
        EdnsOption::Subnet(ClientSubnet::new("192.0.2.0".parse().unwrap(), 24, 0)),
        EdnsOption::Unknown(11, Vec::new()),
        EdnsOption::Unknown(12, vec![0; 20]),
        EdnsOption::Unknown(15, b"\0\x0ffiltered".to_vec()),
        EdnsOption::Unknown(65_001, b"local".to_vec()),
    ])
}

fn requests() -> Vec<Message> {
    let soa = record("example.com.", 3600, RecordType::SOA, "ns1.example.com. host.example.com. 7 1 2 3 4");
    let mut odd = query(".", RecordType::ANY);
    odd.queries[0].set_name(Name::from_labels([&b"we.ird"[..], b"\0\xff\xc0\x0c", b"*"]).unwrap());
    let mut all = vec![
        query(".", RecordType::NS),
        query("www.Example.COM.", RecordType::A),
        query("4.3.2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", RecordType::PTR),
        query("example.com.", RecordType::AXFR),
        odd,
        with(query("a.example.", RecordType::AAAA), |m| {
            m.set_edns(edns(vec![]));
        }),
        with(query("b.example.", RecordType::HTTPS), |m| {
            m.set_edns(every_option());
        }),
        with(query("example.com.", RecordType::IXFR), |m| {
            m.add_authority(soa.clone());
        }),
        signed(with(query("example.com.", RecordType::IXFR), |m| {
            m.add_authority(soa.clone()).set_edns(edns(vec![]));
        })),
        with(message(MessageType::Query, OpCode::Notify, "example.com.", RecordType::SOA), |m| {
            m.metadata.authoritative = true;
            m.add_answer(soa.clone());
        }),
        signed(message(MessageType::Query, OpCode::Notify, "example.com.", RecordType::SOA)),
    ];
    let update = message(MessageType::Query, OpCode::Update, "example.com.", RecordType::SOA);
    let mut absent = Record::update0(name("new.example.com."), 0, RecordType::ANY);
    absent.dns_class = DNSClass::NONE;
    let mut gone = Record::update0(name("old.example.com."), 0, RecordType::A);
    gone.dns_class = DNSClass::ANY;
    all.push(signed(with(update, |m| {
        m.add_answer(absent).add_authority(gone);
        m.add_authority(record("new.example.com.", 60, RecordType::MX, "10 mail.example.com."));
        m.add_additional(record("mail.example.com.", 60, RecordType::A, "192.0.2.25"));
    })));
    all
}

fn responses() -> Vec<Message> {
    let soa = record("example.com.", 3600, RecordType::SOA, "ns1.example.com. host.example.com. 7 1 2 3 300");
    let ns = |target: &str| record("example.com.", 86_400, RecordType::NS, target);
    let a = record("www.example.com.", 300, RecordType::A, "192.0.2.1");
    vec![
        with(response("www.example.com.", RecordType::A), |m| {
            m.add_answer(a.clone()).add_answer(record("www.example.com.", 60, RecordType::A, "192.0.2.2"));
            m.add_authority(ns("ns1.example.com.")).add_authority(ns("ns2.example.com."));
            m.add_additional(record("ns1.example.com.", 900, RecordType::AAAA, "2001:db8::53"));
            m.set_edns(edns(vec![]));
        }),
        with(response("alias.example.org.", RecordType::A), |m| {
            m.add_answer(record("alias.example.org.", 30, RecordType::CNAME, "edge.example.net."));
            m.add_answer(record("edge.example.net.", 20, RecordType::CNAME, "www.example.com.")).add_answer(a.clone());
            m.set_edns(every_option());
        }),
        with(response("alias.example.org.", RecordType::A), |m| {
            m.add_answer(a.clone()).add_answer(record("edge.example.net.", 20, RecordType::CNAME, "www.example.com."));
            m.add_answer(record("alias.example.org.", 30, RecordType::CNAME, "edge.example.net."));
        }),
        with(response("no.example.com.", RecordType::A), |m| {
            m.metadata.response_code = ResponseCode::NXDomain;
            m.add_authority(soa.clone()).set_edns(edns(vec![EdnsOption::Unknown(15, b"\0\x1dsynthesised".to_vec())]));
        }),
        with(response("sub.example.com.", RecordType::MX), |m| {
            m.metadata.recursion_available = false;
            m.add_authority(record("sub.example.com.", 60, RecordType::NS, "ns.sub.example.com."));
            m.add_additional(record("ns.sub.example.com.", 60, RecordType::A, "192.0.2.53"));
        }),
        with(response("example.com.", RecordType::ANY), |m| {
            m.metadata.authoritative = true;
            m.add_answer(soa.clone()).add_answer(ns("ns1.example.com."));
            m.add_answer(record("example.com.", 60, RecordType::MX, "10 mail.example.com."));
            m.add_answer(record("example.com.", 60, RecordType::TXT, "\"v=spf1 -all\" \"more\""));
            m.add_answer(record("example.com.", 60, RecordType::CAA, "0 issue \"ca.example\""));
            m.add_answer(record("example.com.", 60, RecordType::HTTPS, "1 . alpn=h2 ipv4hint=192.0.2.1"));
            m.add_answer(record("example.com.", 60, RecordType::NAPTR, "1 2 \"u\" \"E2U+sip\" \"\" sip.example.com."));
            m.add_answer(record("_s._tcp.example.com.", 60, RecordType::SRV, "1 2 443 www.example.com."));
            m.add_answer(unknown("example.com.", 65_280, b"opaque")).add_answer(unknown(
                "example.com.",
                39,
                b"\x01d\0",
            ));
        }),
        with(response("w.example.com.", RecordType::A), |m| {
            m.add_answer(record("w.example.com.", 60, RecordType::A, "192.0.2.9"));
            m.add_answer(unknown("w.example.com.", 46, RRSIG_OF_A_WILDCARD)).set_edns(edns(vec![]));
        }),
        with(response("1.2.0.192.in-addr.arpa.", RecordType::PTR), |m| {
            m.add_answer(record("1.2.0.192.in-addr.arpa.", 60, RecordType::PTR, "www.example.com."));
        }),
        with(response("big.example.com.", RecordType::TXT), |m| m.metadata.truncation = true),
        with(response("example.com.", RecordType::SOA), |m| m.metadata.response_code = ResponseCode::ServFail),
        signed(with(response("example.com.", RecordType::SOA), |m| {
            m.add_answer(soa.clone());
        })),
        message(MessageType::Response, OpCode::Update, "example.com.", RecordType::SOA),
        with(message(MessageType::Response, OpCode::Notify, "example.com.", RecordType::SOA), |m| {
            m.metadata.authoritative = true;
        }),
        with(Message::new(7, MessageType::Response, OpCode::Query), |m| {
            m.metadata.response_code = ResponseCode::FormErr;
        }),
    ]
}

/// Covers A, algorithm 13, two labels, signed by `example.com.`
const RRSIG_OF_A_WILDCARD: &[u8] = b"\0\x01\x0d\x02\0\0\0\x3c\x65\0\0\0\x64\0\0\0\x30\x39\x07example\x03com\0\
      sixty-four bytes of signature, as ECDSA P-256 would have made...";

/// All packets, requests first.
pub(crate) fn packets() -> Vec<Vec<u8>> {
    let all = requests().into_iter().chain(responses());
    all.map(|message| message.to_vec().unwrap()).collect()
}

/// More for mutants to start from, at the edges of what is well-formed: the longest name, and SIG in every place.
pub(crate) fn oddities() -> Vec<Vec<u8>> {
    let mut longest = b"\x42\x42\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for len in [63, 63, 63, 61] {
        longest.push(len);
        longest.extend(std::iter::repeat_n(b'n', usize::from(len)));
    }
    longest.extend(b"\0\0\x01\0\x01");
    let sig0 = with(query("example.com.", RecordType::SOA), |m| {
        m.add_additional(unknown(".", 24, &[0; 40]));
    });
    let not_last = with(sig0.clone(), |m| {
        m.add_additional(record("example.com.", 60, RecordType::A, "192.0.2.1"));
    });
    let with_sig = with(response("example.com.", RecordType::SIG), |m| {
        m.add_answer(unknown("example.com.", 24, &[1; 40]));
    });
    let messages = [sig0, not_last, with_sig].map(|message| message.to_vec().unwrap());
    messages.into_iter().chain([longest]).collect()
}

/// A small generator of random numbers (SplitMix64), so that a seed means the same for ever.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Bytes and numbers at which parsers stumble.
const BYTES: [u8; 14] = [0, 1, 2, 11, 12, 40, 41, 63, 64, 127, 128, 0xC0, 0xC1, 0xFF];
const TYPES: [u16; 20] = [0, 1, 2, 5, 6, 12, 15, 17, 24, 26, 28, 33, 35, 39, 41, 46, 47, 64, 250, 255];

/// A packet of the corpus with one to four faults.
pub(crate) fn mutant(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut packet = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        if packet.is_empty() {
            break;
        }
        let at = random.below(packet.len());
        match random.below(12) {
            0 => packet[at] ^= 1 << random.below(8),
            1 => packet[at] = random.next() as u8,
            2 | 3 => packet[at] = BYTES[random.below(BYTES.len())],
            4 => packet.truncate(at),
            5 => packet.insert(at, BYTES[random.below(BYTES.len())]),
            6 => drop(packet.remove(at)),
            7 => {
                let other = &corpus[random.below(corpus.len())];
                packet.truncate(at);
                packet.extend(&other[random.below(other.len())..]);
            }
            8 => {
                let pointer = 0xC000 | random.below(packet.len().min(at + 3) + 1) as u16;
                put(&mut packet, at, pointer);
            }
            9 => put(&mut packet, at, TYPES[random.below(TYPES.len())]),
            10 => {
                let len = packet.len();
                let [high, low] = (random.below(5) as u16).to_be_bytes();
                let word = 4 + 2 * random.below(4);
                if len >= 12 {
                    packet[word] = high;
                    packet[word + 1] = low;
                }
            }
            _ => {
                let end = at + random.below(packet.len() - at).min(40);
                let piece = packet[at..end].to_vec();
                packet.extend(piece);
            }
        }
    }
    packet
}

fn put(packet: &mut [u8], at: usize, value: u16) {
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
