//! What must hold for every reply, whoever gets it and wherever it comes from.

use crate::answers::{Per, Who};
use crate::clients::{Kind, Sent};
use crate::leads::{End, Lead, Way};
use crate::lifetimes::lifetimes;
use crate::notices::notified;
use crate::policies::{Block, Play, SINKHOLE};
use crate::stage::message::{A, cookies_of, id_of, question_end, question_name, question_type, read};
use crate::truth::{FORGED_IP, FORGED_NAME, Truth, believable};
use hickory_proto::op::{Message as Read, ResponseCode};
use hickory_proto::rr::{RData, Record};
use hickory_proto::serialize::binary::BinEncodable;
use std::collections::BTreeMap;
use std::time::Duration;
use weir::clock::Moment;
use weir::dns::response::Response;
use weir::gateway::Path;

/// A message of a client that may be answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) sent: Sent,
    pub(crate) at: Moment,
    /// The policy under which it came.
    pub(crate) play: Play,
    /// It shows a cookie that was given to its address.
    pub(crate) verified: bool,
    /// The budget that it takes from may have been used up when it came.
    pub(crate) over: bool,
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
    /// How often another policy has come since the question did.
    pub(crate) changes: u32,
    /// Unix time, in seconds.
    pub(crate) unix: u64,
    /// When the true answers to all questions reached the gateway, the latest last.
    pub(crate) delivered: &'r BTreeMap<Question, Vec<Moment>>,
}

/// Name and type.
pub(crate) type Question = (String, u16);

/// Checks a reply against everything that is true; the error says what is wrong.
pub(crate) fn check(asked: &Asked, reply: &Reply<'_>) -> Result<(), String> {
    let (query, bytes) = (&asked.sent.bytes[..], reply.bytes);
    if bytes[2] & 0x80 == 0 || (bytes[2] ^ query[2]) & 0x78 != 0 {
        return Err("QR is not set or the opcode is another".into());
    }
    holds_no_forgery(bytes)?;
    let waited = reply.at.since(asked.at);
    let longest = asked.play.timeout.max(reply.play.timeout) + Duration::from_millis(60);
    // What is led elsewhere begins anew with each policy.
    if waited > longest * (1 + reply.changes) || waited > longest && !asked.may_be_led() {
        return Err(format!("answered after {waited:?}"));
    }
    match asked.sent.kind {
        Kind::Broken => malformed(query, bytes, &read(bytes)),
        // hickory reads no client-subnet option of a family that it does not know.
        Kind::Mutated => Response::scan(bytes)
            .map_err(|error| format!("{error:?}"))
            .and_then(|_| if is_udp(asked) { small(bytes, 1232) } else { Ok(()) }),
        Kind::Notify(signing) => question(query, bytes).and_then(|()| notified(asked, signing, bytes, reply.unix)),
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
    any(believable(name, qtype).iter().map(|truth| holds(name, truth, read)))
}

/// The first that is right, or what is wrong with the first.
fn any(checks: impl Iterator<Item = Result<(), String>>) -> Result<(), String> {
    let mut checks = checks.peekable();
    let first = checks.peek().cloned().expect("there is always the truth");
    if checks.any(|check| check.is_ok()) { Ok(()) } else { first }
}

fn holds(name: &str, truth: &Truth, read: &Read) -> Result<(), String> {
    if (read.metadata.response_code == ResponseCode::NXDomain) != truth.absent {
        return Err(format!("existence: the truth is {truth:?}"));
    }
    records(name, truth, &read.answers)
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

/// Whether the budget that a question takes from may have been used up when it came, and so be answered with REFUSED.
fn may_be_over(asked: &Asked, is_refused: bool) -> bool {
    let budget = asked.play.says.budget(&question_name(&asked.sent.bytes));
    asked.over && budget.is_some_and(|budget| (budget.per != Per::Rule) == is_refused)
}

impl Asked {
    fn question(&self) -> Question {
        (question_name(&self.sent.bytes), question_type(&self.sent.bytes))
    }

    /// It may be led elsewhere, by some policy.
    fn may_be_led(&self) -> bool {
        crate::policies::PLAYS.iter().any(|play| !play.targets(&question_name(&self.sent.bytes)).is_empty())
    }

    /// The way on which it is led, `first` by this.
    fn way(&self, play: &Play, first: Lead) -> Way {
        let (name, qtype) = self.question();
        Way::of(play, (&name, qtype), self.sent.bytes[2] & 1 != 0, first)
    }
}

/// What is done about a name whose answer would have been heard first, when there is none.
fn without_answer(asked: &Asked, reply: &Reply<'_>) -> Option<Block> {
    let name = question_name(&asked.sent.bytes);
    reply.play.says.answers_first.then(|| reply.play.blocks(&reply.who, &name)).flatten()
}

fn refused(asked: &Asked, reply: &Reply<'_>) -> Result<(), String> {
    let is_said = |truth: &Truth| match block_of(asked, reply, truth) {
        Some(Block::Lead(first)) => {
            let way = asked.way(&reply.play, first);
            truths_at(&way, asked).iter().any(|truth| way.block(&reply.play, truth) == Some(Block::Refused))
        }
        block => block == Some(Block::Refused),
    };
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
        Some(Block::Lead(first)) => return led(asked, reply, read, &asked.way(&reply.play, first)),
        Some(Block::Sinkhole | Block::Local(_)) if !absent => {
            let sink = |data: &&RData| matches!(data, RData::A(a) if a.0.octets() == SINKHOLE);
            return if addresses.iter().all(sink) { Ok(()) } else { Err("data of a blocked name".into()) };
        }
        Some(block) => return Err(format!("blocked with {block:?}, but answered {read}")),
        None => {}
    }
    if absent != truth.absent {
        return Err(format!("existence: the truth is {truth:?}"));
    }
    let question = asked.question();
    records(&question.0, truth, &read.answers)?;
    lifetimes(reply, &question, truth, &read.answers, read, false)
}

/// All that may be true at the end of a way.
fn truths_at(way: &Way, asked: &Asked) -> Vec<Truth> {
    match &way.end {
        End::Away(target) => believable(target, question_type(&asked.sent.bytes)),
        _ => vec![Truth::default()],
    }
}

/// Whether a question that is led elsewhere gets the CNAMEs of the policy, and what stands at their end.
fn led(asked: &Asked, reply: &Reply<'_>, read: &Read, way: &Way) -> Result<(), String> {
    any(truths_at(way, asked).iter().map(|truth| led_to(asked, reply, read, way, truth)))
        .map_err(|wrong| format!("{wrong}; led by {way:?}"))
}

fn led_to(asked: &Asked, reply: &Reply<'_>, read: &Read, way: &Way, truth: &Truth) -> Result<(), String> {
    let absent = read.metadata.response_code == ResponseCode::NXDomain;
    let qtype = question_type(&asked.sent.bytes);
    match way.block(&reply.play, truth) {
        Some(Block::Nodata) if !absent && read.answers.is_empty() => return Ok(()),
        Some(block) => return Err(format!("blocked at its end with {block:?}, but answered {read}")),
        None => {}
    }
    let Some((ours, rest)) = read.answers.split_at_checked(way.cnames.len()) else {
        return Err(format!("{} records are fewer than the CNAMEs", read.answers.len()));
    };
    for (record, (owner, target, ttl)) in ours.iter().zip(&way.cnames) {
        let leads = matches!(&record.data, RData::CNAME(cname) if plain_text(&cname.0) == *target);
        if !leads || plain_text(&record.name) != *owner || record.ttl != *ttl {
            return Err(format!("{record} where {owner} {ttl} CNAME {target} belongs"));
        }
    }
    if absent != truth.absent {
        return Err(format!("existence: the truth at the end is {truth:?}"));
    }
    match &way.end {
        End::Lost | End::Refused => Err("there is no way, and it is answered".into()),
        End::Alone if rest.is_empty() => Ok(()),
        End::Here(ttl) => {
            let is_ours = |record: &Record| {
                let sink = matches!(record.data, RData::A(a) if a.0.octets() == SINKHOLE);
                let owner = way.cnames.last().map(|(_, target, _)| target.clone());
                sink && record.ttl == *ttl && Some(plain_text(&record.name)) == owner
            };
            let right = rest.len() == usize::from(qtype == A) && rest.iter().all(is_ours);
            if right { Ok(()) } else { Err("other records than the policy's".into()) }
        }
        End::Away(target) => {
            records(target, truth, rest)?;
            lifetimes(reply, &(target.clone(), qtype), truth, rest, read, true)
        }
        End::Alone => Err("more than the CNAME for who asks for no more".into()),
    }
}

/// Something that is to be met in some world: what a right reply shows, so that nobody believes in redirects that nothing
/// is behind.
pub(crate) fn sight(asked: &Asked, reply: &Reply<'_>) -> Option<&'static str> {
    if let Kind::Notify(signing) = asked.sent.kind {
        return crate::notices::sight(signing, reply.bytes);
    }
    if asked.sent.kind != Kind::Plain || reply.bytes[2] & 2 != 0 {
        return None;
    }
    let (read, (name, qtype)) = (read(reply.bytes), asked.question());
    if read.metadata.response_code == ResponseCode::Refused && asked.over {
        return asked
            .play
            .says
            .budget(&name)
            .filter(|budget| budget.per == Per::Name)
            .map(|_| "a name is over its budget");
    }
    let first = truths_of(asked).iter().find_map(|truth| match block_of(asked, reply, truth) {
        Some(Block::Lead(first)) => Some(first),
        _ => None,
    });
    let Some(first) = first else {
        let raised =
            reply.play.says.bounds(reply.who.client, &[&name]).min > 5 && read.answers.iter().any(|r| r.ttl > 5);
        return (raised && qtype == A).then_some("a TTL is raised");
    };
    let way = asked.way(&reply.play, first);
    match (&way.end, read.metadata.response_code) {
        (End::Lost, ResponseCode::ServFail) => Some("a circle, or a way that is too long"),
        (End::Refused, ResponseCode::Refused) => Some("an emergency behind a redirect"),
        (End::Here(_), _) if read.answers.len() > 1 => Some("records of the policy behind a redirect"),
        (End::Alone, ResponseCode::NoError) => Some("a CNAME of the policy alone"),
        (End::Away(_), ResponseCode::NXDomain) => Some("a name that is not there, behind a redirect"),
        (End::Away(_), ResponseCode::NoError) if read.answers.is_empty() => {
            Some("an answer withheld behind a redirect")
        }
        (End::Away(_), ResponseCode::NoError) if way.cnames.len() == 8 => Some("an answer behind eight redirects"),
        (End::Away(_), ResponseCode::NoError) => Some("an answer behind a redirect"),
        _ => None,
    }
}

/// All that [`sight`] may see.
pub(crate) const SIGHTS: [&str; 15] = [
    "a signed NOTIFY is heard",
    "a NOTIFY of a clock that is behind is heard",
    "a NOTIFY of a clock that is ahead is heard",
    "a NOTIFY that was signed too long ago is not",
    "a NOTIFY that was signed in the future is not",
    "a name is over its budget",
    "a TTL is raised",
    "a circle, or a way that is too long",
    "an emergency behind a redirect",
    "records of the policy behind a redirect",
    "a CNAME of the policy alone",
    "a name that is not there, behind a redirect",
    "an answer withheld behind a redirect",
    "an answer behind eight redirects",
    "an answer behind a redirect",
];

/// Whether an answer section is the truth, whole.
fn records(name: &str, truth: &Truth, answers: &[Record]) -> Result<(), String> {
    if answers.len() != truth.chain.len() + truth.data.len() {
        return Err(format!("{} records, the truth is {truth:?}", answers.len()));
    }
    for (record, (owner, target)) in answers.iter().zip(&truth.chain) {
        let RData::CNAME(cname) = &record.data else { return Err("no CNAME where one belongs".into()) };
        if plain_text(&record.name) != *owner || plain_text(&cname.0) != *target {
            return Err(format!("CNAME {record}, the truth is {owner} to {target}"));
        }
    }
    for (record, data) in answers[truth.chain.len()..].iter().zip(&truth.data) {
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
