//! What must hold for every reply, whoever gets it and wherever it comes from.

use crate::answers::Who;
use crate::clients::{FEED, Kind, PRIMARY, Sent};
use crate::policies::{Block, Play, SINKHOLE};
use crate::stage::message::{SOA, cookies_of, extended_error, id_of, question_end, question_name, question_type, read};
use crate::truth::{FORGED_IP, FORGED_NAME, NEGATIVE_TTL, Truth, believable};
use hickory_proto::op::{Message as Read, ResponseCode};
use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::BinEncodable;
use std::time::Duration;
use weir::clock::Moment;
use weir::dns::response::Response;
use weir::gateway::Path;

/// How long past their TTL answers may serve, in all policies.
const STALE: Duration = Duration::from_secs(20);

/// TTL of stale records at most (RFC 8767).
const STALE_TTL: u32 = 30;

/// A message of a client that may be answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) sent: Sent,
    pub(crate) at: Moment,
    /// The policy under which it came.
    pub(crate) play: Play,
    /// It shows a cookie that was given to its address.
    pub(crate) verified: bool,
    /// Another with its id was open at the same time: nobody knows which of the two a reply is for.
    pub(crate) doubled: bool,
}

/// A reply, and what was known when it was sent.
pub(crate) struct Reply<'r> {
    pub(crate) bytes: &'r [u8],
    pub(crate) at: Moment,
    /// The policy that ran, and since when.
    pub(crate) play: Play,
    pub(crate) since: Moment,
    /// Who gets it, and when by the wall clock.
    pub(crate) who: Who,
    /// When the true answer to this question last reached the gateway.
    pub(crate) delivered: Option<Moment>,
}

/// Checks a reply against everything that is true; the error says what is wrong.
pub(crate) fn check(asked: &Asked, reply: &Reply<'_>) -> Result<(), String> {
    let (query, bytes) = (&asked.sent.bytes[..], reply.bytes);
    if bytes[2] & 0x80 == 0 || (bytes[2] ^ query[2]) & 0x78 != 0 {
        return Err("QR is not set or the opcode is another".into());
    }
    holds_no_forgery(bytes)?;
    let waited = reply.at.since(asked.at);
    let longest = asked.play.timeout.max(reply.play.timeout) + Duration::from_millis(60);
    if waited > longest {
        return Err(format!("answered after {waited:?}"));
    }
    match asked.sent.kind {
        Kind::Broken => malformed(query, bytes, &read(bytes)),
        // hickory reads no client-subnet option of a family that it does not know.
        Kind::Mutated => Response::scan(bytes)
            .map_err(|error| format!("{error:?}"))
            .and_then(|_| if is_udp(asked) { small(bytes, 1232) } else { Ok(()) }),
        Kind::Notify => question(query, bytes).and_then(|()| notified(asked, bytes)),
        Kind::Transfer | Kind::Opaque => question(query, bytes),
        Kind::Plain => plain(asked, reply, &read(bytes)),
    }
}

/// Whether a message holds nothing that only liars say.
pub(crate) fn holds_no_forgery(bytes: &[u8]) -> Result<(), String> {
    let name = FORGED_NAME.split('.').next().unwrap_or("").as_bytes();
    if contains(bytes, &FORGED_IP) || contains(bytes, name) { Err("forged data".into()) } else { Ok(()) }
}

/// Whether a message says what is true about a question, or what only who expects something else can tell from it.
pub(crate) fn is_believable(name: &str, qtype: u16, read: &Read) -> Result<(), String> {
    any(believable(name, qtype).into_iter().map(|truth| holds(name, &truth, read)))
}

/// The first that is right, or what is wrong with the first.
fn any(checks: impl Iterator<Item = Result<(), String>>) -> Result<(), String> {
    let mut checks = checks.peekable();
    let first = checks.peek().cloned().expect("there is always the truth");
    if checks.any(|check| check.is_ok()) { Ok(()) } else { first }
}

/// The gateway itself takes a NOTIFY only from the primary of its feed, for its zone, and unsigned as it is; with AA, which
/// no server of the worlds says.
fn notified(asked: &Asked, bytes: &[u8]) -> Result<(), String> {
    let query = &asked.sent.bytes;
    let heard = bytes[2] & 4 != 0 && bytes[3] & 15 == 0;
    let signed = query[11] != 0;
    let from = asked.sent.client.peer.ip() == std::net::IpAddr::from(PRIMARY);
    let is_right = from && question_name(query) == FEED && question_type(query) == SOA && !signed;
    if heard && !(is_right && asked.play.says.feed) { Err("a NOTIFY of nobody is heard".into()) } else { Ok(()) }
}

fn holds(name: &str, truth: &Truth, read: &Read) -> Result<(), String> {
    if (read.metadata.response_code == ResponseCode::NXDomain) != truth.absent {
        return Err(format!("existence: the truth is {truth:?}"));
    }
    records(name, truth, read)
}

fn is_udp(asked: &Asked) -> bool {
    matches!(asked.sent.client.path, Path::Udp { .. })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn small(bytes: &[u8], limit: usize) -> Result<(), String> {
    if bytes.len() > limit { Err(format!("{} bytes, {limit} are allowed", bytes.len())) } else { Ok(()) }
}

fn question(query: &[u8], bytes: &[u8]) -> Result<(), String> {
    let end = question_end(query);
    if bytes.get(12..end) == Some(&query[12..end]) { Ok(()) } else { Err("the question is another".into()) }
}

fn malformed(query: &[u8], bytes: &[u8], read: &Read) -> Result<(), String> {
    // FORMERR, NOTIMP, BADVERS
    if ![1, 4, 16].contains(&u16::from(read.metadata.response_code)) {
        return Err(format!("a broken packet is answered {:?}", read.metadata.response_code));
    }
    if !read.answers.is_empty() || bytes.len() > query.len().max(12) + 11 {
        return Err("the answer to a broken packet says more than that".into());
    }
    Ok(())
}

fn plain(asked: &Asked, reply: &Reply<'_>, read: &Read) -> Result<(), String> {
    let (query, bytes) = (&asked.sent.bytes[..], reply.bytes);
    question(query, bytes)?;
    let edns = crate::stage::message::read(query).edns;
    if edns.is_some() != read.edns.is_some() {
        return Err("OPT belongs in the reply exactly when it was in the query".into());
    }
    if let (Some(theirs), Some(ours)) = (&edns, &read.edns)
        && theirs.flags().dnssec_ok != ours.flags().dnssec_ok
    {
        return Err("DO is another".into());
    }
    let announced = edns.as_ref().map_or(512, |edns| usize::from(edns.max_payload()).clamp(512, 1232));
    if is_udp(asked) {
        small(bytes, announced)?;
    }
    cookie(query, bytes)?;
    if read.metadata.truncation {
        if bytes.len() > query.len() + 16 {
            return Err("TC=1, and longer than the query by more than a server cookie".into());
        }
        let empty = read.answers.is_empty() && read.authorities.is_empty();
        return if empty { Ok(()) } else { Err("TC=1 with records".into()) };
    }
    match read.metadata.response_code {
        ResponseCode::ServFail => empty(read),
        ResponseCode::BADCOOKIE if is_udp(asked) && !cookies_of(query).is_empty() => empty(read),
        ResponseCode::Refused => refused(asked, reply).and_then(|()| empty(read)),
        ResponseCode::NoError | ResponseCode::NXDomain => data(asked, reply, read),
        other => Err(format!("response code {other:?}")),
    }
}

/// Who sent a cookie gets one back, whole, with its own in front; nobody else does.
fn cookie(query: &[u8], bytes: &[u8]) -> Result<(), String> {
    match (&cookies_of(query)[..], &cookies_of(bytes)[..]) {
        ([], []) => Ok(()),
        ([theirs], [ours]) if ours.len() == 24 && ours[..8] == theirs[..8] => Ok(()),
        (theirs, ours) => Err(format!("asked with the cookies {theirs:02x?}, answered with {ours:02x?}")),
    }
}

fn empty(read: &Read) -> Result<(), String> {
    if read.answers.is_empty() { Ok(()) } else { Err("an error with answers".into()) }
}

/// All that may be true about the question.
fn truths_of(asked: &Asked) -> Vec<Truth> {
    believable(&question_name(&asked.sent.bytes), question_type(&asked.sent.bytes))
}

/// What the policy that runs says about the answer, whichever ran when the question came.
fn block_of(asked: &Asked, reply: &Reply<'_>, truth: &Truth) -> Option<Block> {
    reply.play.blocks_answer(&reply.who, &question_name(&asked.sent.bytes), truth)
}

/// Whether the budget that a question takes from may have been used up when it came.
fn may_be_over(asked: &Asked, per_client: bool) -> bool {
    let budget = asked.play.says.budget(&question_name(&asked.sent.bytes));
    budget.is_some_and(|budget| budget.per_client == per_client)
}

/// What is done about a name whose answer would have been heard first, when there is none.
fn without_answer(asked: &Asked, reply: &Reply<'_>) -> Option<Block> {
    let name = question_name(&asked.sent.bytes);
    reply.play.says.answers_first.then(|| reply.play.blocks(&reply.who, &name)).flatten()
}

fn refused(asked: &Asked, reply: &Reply<'_>) -> Result<(), String> {
    let is_said = |truth: &Truth| block_of(asked, reply, truth) == Some(Block::Refused);
    if truths_of(asked).iter().any(is_said)
        || may_be_over(asked, true)
        || without_answer(asked, reply) == Some(Block::Refused)
    {
        return Ok(());
    }
    Err("REFUSED, and no policy says so".into())
}

fn data(asked: &Asked, reply: &Reply<'_>, read: &Read) -> Result<(), String> {
    let absent = read.metadata.response_code == ResponseCode::NXDomain;
    if absent && read.answers.is_empty() && may_be_over(asked, false) {
        return Ok(());
    }
    any(truths_of(asked).iter().map(|truth| data_of(asked, reply, read, truth)))
}

fn data_of(asked: &Asked, reply: &Reply<'_>, read: &Read, truth: &Truth) -> Result<(), String> {
    let absent = read.metadata.response_code == ResponseCode::NXDomain;
    let addresses: Vec<_> = read.answers.iter().map(|record| &record.data).collect();
    match block_of(asked, reply, truth) {
        Some(Block::Drop) => return Err("a name that is to be dropped is answered".into()),
        Some(Block::Refused) => return Err("a name that is to be refused is answered".into()),
        Some(Block::Nxdomain) if absent && addresses.is_empty() => return Ok(()),
        Some(Block::Nodata) if !absent && addresses.is_empty() => return Ok(()),
        Some(Block::Sinkhole) if !absent => {
            let sink = |data: &&RData| matches!(data, RData::A(a) if a.0.octets() == SINKHOLE);
            return if addresses.iter().all(sink) { Ok(()) } else { Err("data of a blocked name".into()) };
        }
        Some(block) => return Err(format!("blocked with {block:?}, but answered {read}")),
        None => {}
    }
    if absent != truth.absent {
        return Err(format!("existence: the truth is {truth:?}"));
    }
    records(&question_name(&asked.sent.bytes), truth, read)?;
    lifetimes(asked, reply, truth, read)
}

/// Whether the answer section is the truth, whole.
fn records(name: &str, truth: &Truth, read: &Read) -> Result<(), String> {
    if read.answers.len() != truth.chain.len() + truth.data.len() {
        return Err(format!("{} records, the truth is {truth:?}", read.answers.len()));
    }
    for (record, (owner, target)) in read.answers.iter().zip(&truth.chain) {
        let RData::CNAME(cname) = &record.data else { return Err("no CNAME where one belongs".into()) };
        if plain_text(&record.name) != *owner || plain_text(&cname.0) != *target {
            return Err(format!("CNAME {record}, the truth is {owner} to {target}"));
        }
    }
    for (record, data) in read.answers[truth.chain.len()..].iter().zip(&truth.data) {
        let is_true = match &record.data {
            RData::A(a) => a.0.octets()[..] == data[..],
            RData::HTTPS(_) => record.data.to_bytes().is_ok_and(|bytes| bytes == *data),
            RData::AAAA(aaaa) => aaaa.0.octets()[..] == data[..],
            RData::TXT(txt) => {
                let strings = txt.txt_data.iter();
                strings
                    .flat_map(|text| std::iter::once(text.len() as u8).chain(text.iter().copied()))
                    .eq(data.iter().copied())
            }
            _ => false,
        };
        if !is_true || plain_text(&record.name) != truth.end(name) {
            return Err(format!("record {record}, the truth is {truth:?}"));
        }
    }
    Ok(())
}

fn plain_text(name: &hickory_proto::rr::Name) -> String {
    name.to_string().to_ascii_lowercase().trim_end_matches('.').to_owned()
}

/// TTLs never rise and count down with the time since the answer was heard.
fn lifetimes(asked: &Asked, reply: &Reply<'_>, truth: &Truth, read: &Read) -> Result<(), String> {
    let negative = truth.data.is_empty() && !read.authorities.is_empty();
    let most = if negative && truth.chain.is_empty() { NEGATIVE_TTL } else { truth.ttl };
    let Some(delivered) = reply.delivered else { return Err("nobody ever said that".into()) };
    let age = reply.at.since(delivered);
    let whole = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    let error = if read.edns.is_some() { extended_error(reply.bytes) } else { None };
    let fresh_for = if negative { most.min(NEGATIVE_TTL) } else { most };
    let may_be_stale = read.edns.is_none() || matches!(error, Some(3 | 19));
    if age > Duration::from_secs(fresh_for.into()) + STALE + Duration::from_secs(1) {
        return Err(format!("served {age:?} after it was heard"));
    }
    let question = question_name(&asked.sent.bytes);
    let names: Vec<_> = std::iter::once(&*question).chain(truth.chain.iter().map(|(_, target)| &**target)).collect();
    let cap = reply.play.says.cap(&names).unwrap_or(u32::MAX);
    // What was heard before the rule was there may live as long as what is heard now.
    let aged = if delivered >= reply.since { whole } else { 0 };
    for record in read.answers.iter().chain(&read.authorities) {
        if record.ttl > cap || record.ttl > cap.saturating_sub(aged).max(1) && !may_be_stale {
            return Err(format!("TTL {} over the cap {cap}, {age:?} after it was heard; EDE {error:?}", record.ttl));
        }
        let original =
            if record.record_type() == hickory_proto::rr::RecordType::SOA { NEGATIVE_TTL } else { truth.ttl };
        let fresh = record.ttl <= original.saturating_sub(whole).max(u32::from(original > 0 && whole < original));
        let stale = may_be_stale && record.ttl <= STALE_TTL;
        if !(fresh || stale) {
            return Err(format!("TTL {} of {original}, {age:?} after it was heard; EDE {error:?}", record.ttl));
        }
    }
    Ok(())
}

/// What an id and a client find again.
pub(crate) fn key(sent: &Sent) -> Option<(String, u16)> {
    (sent.bytes.len() >= 2).then(|| (who(&sent.client), id_of(&sent.bytes)))
}

/// A client's name in the book of what is open.
pub(crate) fn who(client: &weir::gateway::Client) -> String {
    match client.path {
        Path::Udp { .. } => format!("udp {}", client.peer),
        Path::Tcp(connection) => format!("tcp {} {}", connection.slot, connection.generation),
    }
}
