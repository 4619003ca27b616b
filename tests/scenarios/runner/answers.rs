//! What an upstream of a scenario says, from the words of an `answer` or `always` line.

use crate::script::{Words, Wrong, option, parse, rcode};
use crate::stage::message::{
    A, AAAA, ADDITIONAL, ANSWER, AUTHORITY, CNAME, HTTPS, Message, NS, TXT, cookies_of, question_end, wire,
};
use std::net::IpAddr;
use weir::dns::query::Query;

/// The words of an answer.
const KNOWN: [&str; 36] = [
    "noerror",
    "formerr",
    "servfail",
    "nxdomain",
    "notimp",
    "refused",
    "A=",
    "AAAA=",
    "cname=",
    "txt=",
    "ttl=",
    "soa=",
    "tc",
    "lower",
    "case",
    "id",
    "name",
    "port",
    "opcode",
    "query",
    "cut",
    "trailing",
    "option=",
    "opt-first",
    "size=",
    "ns=",
    "tsig",
    "cookie",
    "upper",
    "type",
    "again",
    "hint=",
    "service=",
    "server=",
    "glue=",
    "more=",
];

/// An answer, and whether it comes on another port.
pub(crate) fn answer(words: Words<'_>, from: usize, asked: &[u8]) -> Result<(Vec<u8>, bool), Wrong> {
    words.only(from, &KNOWN)?;
    let query = Query::scan(asked).map_err(|error| format!("a malformed message went upstream: {error:?}"))?;
    let ttl = words.number("ttl")?.unwrap_or(300);
    let mut message = Message::answer_to(asked);
    if let Some(code) = words.all().skip(from).find_map(rcode) {
        message = message.rcode(code as u8);
    }
    if words.has("tc") {
        message = message.truncated();
    }
    let mut owner = vec![0xC0, 12];
    for target in words.values("cname") {
        message = message.record(ANSWER, &owner, CNAME, ttl, &wire(target));
        owner = wire(target);
    }
    for address in words.values("A").chain(words.values("AAAA")) {
        message = match parse::<IpAddr>(address, "address")? {
            IpAddr::V4(v4) => message.record(ANSWER, &owner, A, ttl, &v4.octets()),
            IpAddr::V6(v6) => message.record(ANSWER, &owner, AAAA, ttl, &v6.octets()),
        };
    }
    if words.values("hint").chain(words.values("service")).next().is_some() {
        message = message.record(ANSWER, &owner, HTTPS, ttl, &service(words)?);
    }
    if let Some(strings) = words.number("txt")? {
        let data: Vec<u8> = (0..strings).flat_map(|_| std::iter::once(100).chain([b'x'; 100])).collect();
        message = message.record(ANSWER, &owner, TXT, ttl, &data);
    }
    if let Some(soa) = words.number("soa")? {
        message = message.soa("example", soa);
    }
    for zone in words.values("ns") {
        let given = words.values("server").next().is_some();
        for server in words.values("server").chain((!given).then_some("ns.example")) {
            message = message.record(AUTHORITY, &wire(zone), NS, ttl, &wire(server));
        }
    }
    for (server, address) in words.values("server").zip(words.values("glue")) {
        message = additional(message, server, ttl, address)?;
    }
    for address in words.values("more") {
        message = additional(message, "more.example", ttl, address)?;
    }
    if words.has("opt-first") {
        // A record behind OPT, so that it is not the last.
        message = message.opt(1232, query.dnssec_ok(), b"");
        message = message.record(ADDITIONAL, &wire("ns.example"), A, ttl, &[192, 0, 2, 53]);
    } else if query.edns.is_some() {
        let mut options: Vec<u8> =
            words.values("option").flat_map(|code| option(code.parse().unwrap_or(0), b"x")).collect();
        if words.has("cookie") {
            let client = cookies_of(asked).first().map_or(vec![b'?'; 8], |cookie| cookie[..8].to_vec());
            options.extend(option(10, &[&client[..], b"of the server xx"].concat()));
        }
        message = message.opt(1232, query.dnssec_ok(), &options);
    }
    if words.has("tsig") {
        message = message.tsig();
    }
    Ok((spoil(words, message.bytes()), words.has("port")))
}

/// The RDATA of an HTTPS record in service mode for `service=NAME`, the owner itself unless given, with all hints (RFC 9460
/// section 2.2).
fn service(words: Words<'_>) -> Result<Vec<u8>, Wrong> {
    let mut hints = [Vec::new(), Vec::new()];
    for address in words.values("hint") {
        match parse::<IpAddr>(address, "address")? {
            IpAddr::V4(v4) => hints[0].extend(v4.octets()),
            IpAddr::V6(v6) => hints[1].extend(v6.octets()),
        }
    }
    let mut data = [&[0, 1][..], &wire(words.values("service").next().unwrap_or("."))].concat();
    // alpn=h2 comes before the hints.
    data.extend(b"\0\x01\0\x03\x02h2");
    for (key, hints) in [4, 6].into_iter().zip(hints).filter(|(_, hints)| !hints.is_empty()) {
        data.extend([0, key, 0, hints.len() as u8]);
        data.extend(hints);
    }
    Ok(data)
}

/// An address that nobody asked for.
fn additional(message: Message, owner: &str, ttl: u32, address: &str) -> Result<Message, Wrong> {
    Ok(match parse::<IpAddr>(address, "address")? {
        IpAddr::V4(v4) => message.record(ADDITIONAL, &wire(owner), A, ttl, &v4.octets()),
        IpAddr::V6(v6) => message.record(ADDITIONAL, &wire(owner), AAAA, ttl, &v6.octets()),
    })
}

/// What makes it another answer than the one that is waited for.
fn spoil(words: Words<'_>, mut bytes: Vec<u8>) -> Vec<u8> {
    let end = question_end(&bytes);
    if words.has("lower") {
        bytes[12..end - 4].make_ascii_lowercase();
    }
    if words.has("upper") {
        bytes[12..end - 4].make_ascii_uppercase();
    }
    if words.has("case") {
        bytes[12..end - 4].iter_mut().filter(|byte| byte.is_ascii_alphabetic()).for_each(|byte| *byte ^= 0x20);
    }
    if words.has("id") {
        bytes[0] ^= 0x55;
    }
    if words.has("name") {
        bytes[13] ^= 1;
    }
    if words.has("type") {
        bytes[end - 3] ^= 0x40;
    }
    if words.has("opcode") {
        bytes[2] ^= 0x10;
    }
    if words.has("query") {
        bytes[2] &= 0x7F;
    }
    if words.has("cut") {
        bytes.pop();
    }
    if words.has("trailing") {
        bytes.push(0);
    }
    bytes
}
