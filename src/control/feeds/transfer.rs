//! One zone from its primary: IXFR from the serial that is here (RFC 1995), and the whole zone (AXFR, RFC 5936) where that
//! is not to be had; signed where there is a key (RFC 8945). Over TCP alone, because an answer over UDP can be forged and
//! a set of changes seldom fits.
//!
//! The wire, TSIG over a sequence of messages and the reading of what they say are `domain`'s; connecting, bounds, and what
//! follows from a failure are here.

use super::progress::{Phase, Progress};
use super::zone::{Assembled, Assembly, Zone};
use crate::language::{Text, text};
use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype, Serial, Ttl};
use domain::rdata::Soa;
use domain::rdata::tsig::Time48;
use domain::tsig::{ClientSequence, Key};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Until the primary takes the connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Between two messages.
const STALL: Duration = Duration::from_secs(15);

/// For the whole transfer.
const WHOLE: Duration = Duration::from_secs(15 * 60);

/// What is to be transferred.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The server.
    pub primary: SocketAddr,
    /// The zone, in wire form.
    pub apex: Vec<u8>,
    /// What requests are signed with, and answers must be.
    pub key: Option<Arc<Key>>,
    /// The largest zone, in bytes of its text.
    pub size_max: u64,
}

/// Why one transfer came to nothing.
enum Broken {
    /// Another kind of transfer may do.
    Kind(Text),
    /// Nothing will, for now.
    Wholly(Text),
}

/// Transfers what has changed since `zone`, or all. The id of a message is taken from `random`.
///
/// # Errors
/// The message for the user.
pub async fn transfer(
    wanted: &Wanted,
    zone: Option<Zone>,
    mut random: impl FnMut() -> u16,
    progress: &Progress,
) -> Result<(Zone, bool), Text> {
    let work = async {
        let is_there = zone.is_some();
        if is_there {
            match once(wanted, zone, random(), progress).await {
                Ok(Assembled::Unchanged(zone)) => return Ok((zone, false)),
                Ok(Assembled::Changed(zone)) => return Ok((zone, true)),
                Ok(Assembled::AskForAll) => {}
                Err(Broken::Kind(why)) => {
                    tracing::info!("IXFR from {}: {}; the whole zone is asked for", wanted.primary, why.english());
                }
                Err(Broken::Wholly(why)) => return Err(why),
            }
        }
        match once(wanted, None, random(), progress).await {
            Ok(Assembled::Unchanged(zone) | Assembled::Changed(zone)) => Ok((zone, true)),
            Ok(Assembled::AskForAll) => Err(text!("it sends nothing of the zone")),
            Err(Broken::Kind(why) | Broken::Wholly(why)) => Err(why),
        }
    };
    let outcome = timeout(WHOLE, work).await;
    let outcome = outcome.unwrap_or_else(|_| Err(text!("it took longer than {n} minutes", n = WHOLE.as_secs() / 60)));
    outcome.map_err(|why| text!("primary {primary}: {why}", primary = wanted.primary, why))
}

/// One transfer over one connection.
async fn once(wanted: &Wanted, zone: Option<Zone>, id: u16, progress: &Progress) -> Result<Assembled, Broken> {
    let wholly = |why: Text| Broken::Wholly(why);
    progress.enter(Phase::Connecting);
    let apex = Name::from_octets(wanted.apex.clone()).map_err(|error| wholly(Text::of_library(&error)))?;
    let rtype = if zone.is_some() { Rtype::IXFR } else { Rtype::AXFR };
    let serial = zone.as_ref().map(|zone| zone.soa.serial);
    let (request, mut sequence) = request(&apex, serial, id, wanted.key.as_ref()).map_err(wholly)?;
    let connected = timeout(CONNECT, TcpStream::connect(wanted.primary)).await;
    let connected =
        connected.map_err(|_| wholly(text!("no connection within {seconds} s", seconds = CONNECT.as_secs())))?;
    let mut stream = connected.map_err(|error| wholly(text!("no connection: {error}", error = Text::of_io(&error))))?;
    let sent = timeout(STALL, stream.write_all(&request)).await;
    sent.map_err(|_| wholly(text!("it takes no request")))?.map_err(|error| wholly(Text::of_io(&error)))?;
    progress.enter(Phase::Receiving);
    let mut assembly = Assembly::new(&wanted.apex, zone, wanted.size_max).map_err(wholly)?;
    loop {
        let read = timeout(STALL, read_message(&mut stream)).await;
        let read = read.map_err(|_| wholly(text!("nothing came for {seconds} s", seconds = STALL.as_secs())))?;
        let bytes =
            read.map_err(|error| wholly(text!("the transfer broke off: {error}", error = Text::of_io(&error))))?;
        progress.add(bytes.len() + 2);
        let message = open(bytes, id, (&apex, rtype), sequence.as_mut())?;
        let Some(assembled) = assembly.take(message).map_err(Broken::Kind)? else { continue };
        // RFC 8945 section 5.3.1: the last message of a sequence has to be signed.
        return match sequence.map(ClientSequence::done) {
            Some(Err(error)) => {
                Err(wholly(text!("its signature does not hold: {error}", error = Text::of_library(&error))))
            }
            _ => Ok(assembled),
        };
    }
}

/// A request, with its length before it, and what verifies the answers.
#[allow(clippy::type_complexity)]
fn request(
    apex: &Name<Vec<u8>>,
    serial: Option<u32>,
    id: u16,
    key: Option<&Arc<Key>>,
) -> Result<(Vec<u8>, Option<ClientSequence<Arc<Key>>>), Text> {
    let told = |_| text!("the request does not fit");
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    let mut question = builder.question();
    question.push((apex, if serial.is_some() { Rtype::IXFR } else { Rtype::AXFR })).map_err(told)?;
    let mut authority = question.authority();
    if let Some(serial) = serial {
        let root = Name::root_vec;
        let zero = Ttl::from_secs(0);
        // RFC 1995 section 3: "the authority section containing the SOA record of client's version of the zone". Servers
        // read its serial.
        let soa = Soa::new(root(), root(), Serial(serial), zero, zero, zero, zero);
        authority.push((apex, Class::IN, zero, soa)).map_err(told)?;
    }
    let mut additional = authority.additional();
    let sequence = match key {
        Some(key) => Some(ClientSequence::request(Arc::clone(key), &mut additional, Time48::now()).map_err(told)?),
        None => None,
    };
    let message = additional.finish();
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&(message.len() as u16).to_be_bytes());
    framed.extend_from_slice(&message);
    Ok((framed, sequence))
}

/// An answer whose id, question, signature and code are right.
fn open(
    bytes: Vec<u8>,
    id: u16,
    question: (&Name<Vec<u8>>, Rtype),
    sequence: Option<&mut ClientSequence<Arc<Key>>>,
) -> Result<Vec<u8>, Broken> {
    let wholly = Broken::Wholly;
    let mut message = Message::from_octets(bytes).map_err(|_| wholly(text!("it sends what is no message")))?;
    if let Some(sequence) = sequence {
        let verified = sequence.answer(&mut message, Time48::now());
        verified.map_err(|error| {
            let code = message.header().rcode();
            Broken::Wholly(text!("its signature does not hold: {error} (it says {code})", error, code))
        })?;
    }
    if message.header().id() != id || !message.header().qr() {
        return Err(wholly(text!("it answers another question")));
    }
    let asks_the_same = |asked: &domain::base::Question<domain::base::ParsedName<_>>| {
        asked.qname() == question.0 && asked.qtype() == question.1
    };
    // RFC 5936 section 2.2.1: later messages may leave the question out.
    if !message.question().all(|asked| asked.is_ok_and(|asked| asks_the_same(&asked))) {
        return Err(wholly(text!("it answers another question")));
    }
    match message.header().rcode() {
        Rcode::NOERROR => {}
        // It may not know IXFR, or not know this zone's changes, or not serve it for the moment.
        code @ (Rcode::NOTIMP | Rcode::FORMERR | Rcode::SERVFAIL) => {
            return Err(Broken::Kind(text!("it says {code}", code)));
        }
        code => {
            return Err(Broken::Wholly(text!(
                "it says {code}: it must allow transfers of the zone to this address or key",
                code
            )));
        }
    }
    Ok(message.into_octets())
}

async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; len.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
