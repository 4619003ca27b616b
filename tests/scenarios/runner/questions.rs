//! What a client sends, from the words of a line.

use crate::script::{Words, Wrong, client_subnet, option, parse, qtype};
use crate::stage::message::{Message, question_end};
use crate::stage::{tcp, udp};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use weir::gateway::Client;

/// The words of a query behind name and type.
const QUERY_WORDS: [&str; 22] = [
    "tcp", "edns", "edns=", "do", "cd", "ad", "nord", "ecs=", "option=", "tsig", "notify", "update", "class=",
    "every=", "waited=", "cut", "qr", "opcode=", "cookie=", "alone", "trailing", "padding=",
];

/// Server cookies by client cookie.
pub(crate) type Cookies = BTreeMap<Vec<u8>, Vec<u8>>;

/// A client and its message, from the words `CLIENT NAME TYPE words...` at a place.
pub(crate) fn message(id: u16, words: Words<'_>, at: usize, cookies: &Cookies) -> Result<(Client, Vec<u8>), Wrong> {
    words.only(at + 3, &QUERY_WORDS)?;
    let ip = address(words.at(at)?)?;
    let peer = SocketAddr::new(ip, 5353);
    let client = if words.has("tcp") { tcp(peer, id.into()) } else { udp(peer) };
    let mut query = Message::query(id, words.at(at + 1)?, qtype(words.at(at + 2)?)?);
    let mut flags = if words.has("nord") { 0 } else { 0x0100 };
    for (word, bit) in [("cd", 0x10), ("ad", 0x20), ("notify", 4 << 11), ("update", 5 << 11), ("qr", 0x8000)] {
        flags |= if words.has(word) { bit } else { 0 };
    }
    flags |= words.number("opcode")?.map_or(0, |opcode| (opcode as u16) << 11);
    query = query.flags(flags);
    if words.values("class").next() == Some("CH") {
        let end = query.0.len();
        query.0[end - 1] = 3;
    }
    let mut options: Vec<u8> = words.values("option").flat_map(|code| option(code.parse().unwrap_or(0), b"")).collect();
    if let Some(text) = words.values("cookie").next() {
        options.extend(option(10, &cookie(text, cookies)?));
    }
    if let Some(subnet) = words.values("ecs").next() {
        options.extend(option(8, &client_subnet(subnet)?));
    }
    if let Some(len) = words.number("padding")? {
        options.extend(option(12, &vec![0; len as usize]));
    }
    let payload = words.number("edns")?;
    if payload.is_some() || words.has("edns") || words.has("do") || !options.is_empty() {
        query = query.opt(payload.unwrap_or(1232) as u16, words.has("do"), &options);
    }
    if words.has("tsig") {
        query = query.tsig();
    }
    let mut bytes = query.bytes();
    if words.has("alone") {
        bytes.drain(12..question_end(&bytes));
        bytes[5] = 0;
    }
    if words.has("trailing") {
        bytes.push(0);
    }
    if words.has("cut") {
        bytes.pop();
    }
    Ok((client, bytes))
}

/// The data of a client's COOKIE option. `NAME`: a client cookie alone; `NAME+`: with the server cookie that it got last;
/// `NAME!`: with one that nobody gave it; `NAME?`: of a length that no cookie has.
fn cookie(text: &str, cookies: &Cookies) -> Result<Vec<u8>, Wrong> {
    let name = text.trim_end_matches(['+', '!', '?']);
    let mut cookie = name.as_bytes().to_vec();
    cookie.resize(8, b'_');
    match &text[name.len()..] {
        "+" => cookie.extend(cookies.get(&cookie).ok_or(format!("{name} has got no server cookie"))?.clone()),
        "!" => cookie.extend(b"\x01\0\0\0not yours 12"),
        "?" => cookie.extend(b"four"),
        _ => {}
    }
    Ok(cookie)
}

/// `10.0.0.1`, or so many addresses behind it: `10.0.0.1+7`, `10.0.0.1+7*256`.
fn address(text: &str) -> Result<IpAddr, Wrong> {
    let (base, offset) = text.split_once('+').unwrap_or((text, "0"));
    let (count, step) = offset.split_once('*').unwrap_or((offset, "1"));
    let (count, step): (u128, u128) = (parse(count, "number")?, parse(step, "number")?);
    Ok(match parse(base, "address")? {
        IpAddr::V4(v4) => IpAddr::from((v4.to_bits() + (count * step) as u32).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() + count * step).to_be_bytes()),
    })
}
