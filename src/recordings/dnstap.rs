//! dnstap files: protobuf messages (dnstap.proto of dnstap.info) in Frame Streams (fstrm), as BIND, Unbound, Knot, dnsdist,
//! CoreDNS and PowerDNS write them. Queries of clients are taken, with their responses; of a file that holds only the responses,
//! these and what they repeat of the question.
//!
//! The seven fields that matter are read by hand: the schema has been stable for ten years, and a reader that skips what it
//! does not know needs no generated code. Nothing is allocated but one frame of at most [`FRAME_MAX`] bytes.

use super::pairs::{Pairs, Take};
use super::{Asker, CLIENT_DEFAULT, Recorded, Taken, Tally, Unreadable, fill};
use crate::language::text;
use std::io::Read;
use std::net::IpAddr;

/// The longest frame: two DNS messages of 65535 bytes with room for addresses, zone and policy.
pub const FRAME_MAX: usize = 256 * 1024;

/// The longest control frame (fstrm, `FSTRM_CONTROL_FRAME_LENGTH_MAX`).
const CONTROL_MAX: usize = 512;

/// The content type of dnstap.
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

/// Frame Streams control frames and their one field.
const START: u32 = 2;
const STOP: u32 = 3;
const FIELD_CONTENT_TYPE: u32 = 1;

/// Reads a file; what was asked goes to `take`. `tally.responses` had no query there, and may be read instead.
///
/// # Errors
/// The system's; [`Unreadable::NotOne`] when it is no dnstap file; [`Unreadable::TooLarge`] when a frame is.
pub fn read(input: &mut dyn Read, taken: Taken, take: &mut dyn FnMut(&Recorded<'_>)) -> Result<Tally, Unreadable> {
    let (mut tally, mut pairs) = (Tally::default(), Pairs::new(taken));
    let mut frame = Vec::new();
    let mut is_started = false;
    loop {
        match read_frame(input, &mut frame)? {
            Frame::End => break,
            Frame::Cut => {
                tally.is_cut = true;
                break;
            }
            Frame::Control(START) => {
                refuse_other_content(&frame)?;
                is_started = true;
            }
            Frame::Control(STOP) => break,
            Frame::Control(_) => {}
            Frame::Data if is_started => message(&frame, &mut pairs, &mut tally, take),
            Frame::Data => return Err(no_dnstap()),
        }
        if !is_started {
            return Err(no_dnstap());
        }
    }
    pairs.end(take);
    if is_started { Ok(tally) } else { Err(no_dnstap()) }
}

fn no_dnstap() -> Unreadable {
    Unreadable::NotOne(text!("it is no dnstap file: it does not begin as Frame Streams do"))
}

/// What was read; its bytes are in the buffer, those of a control frame behind its type.
enum Frame {
    Data,
    Control(u32),
    End,
    Cut,
}

fn read_frame(input: &mut dyn Read, frame: &mut Vec<u8>) -> Result<Frame, Unreadable> {
    let mut word = [0; 4];
    match fill(input, &mut word)? {
        0 => return Ok(Frame::End),
        4 => {}
        _ => return Ok(Frame::Cut),
    }
    // A length of zero is the escape before a control frame.
    let is_control = word == [0; 4];
    if is_control && fill(input, &mut word)? < 4 {
        return Ok(Frame::Cut);
    }
    let (len, max) = (u32::from_be_bytes(word) as usize, if is_control { CONTROL_MAX } else { FRAME_MAX });
    if len > max {
        return Err(Unreadable::TooLarge(text!(
            "a frame of {len} bytes: none of dnstap is longer than {most}",
            len,
            most = max
        )));
    }
    frame.resize(len, 0);
    if fill(input, frame)? < len {
        return Ok(Frame::Cut);
    }
    if !is_control {
        return Ok(Frame::Data);
    }
    let Some((kind, _)) = frame.split_first_chunk::<4>() else { return Err(no_dnstap()) };
    let kind = u32::from_be_bytes(*kind);
    frame.drain(..4);
    Ok(Frame::Control(kind))
}

/// A stream that says what it holds has to hold dnstap.
fn refuse_other_content(mut fields: &[u8]) -> Result<(), Unreadable> {
    while let Some((head, rest)) = fields.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *head;
        let (kind, len) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) as usize);
        let Some((value, rest)) = rest.split_at_checked(len) else { return Err(no_dnstap()) };
        if kind == FIELD_CONTENT_TYPE && value != CONTENT_TYPE {
            let found = String::from_utf8_lossy(value).escape_default().to_string();
            return Err(Unreadable::NotOne(text!("it holds {found:?} and not dnstap", found)));
        }
        fields = rest;
    }
    Ok(())
}

/// A field of a protobuf message: its number and what it holds.
enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
    /// Of a fixed width: none that matters here.
    Fixed,
}

/// The fields of a protobuf message; ends with an error at the first that is none.
struct Fields<'m>(&'m [u8]);

impl<'m> Fields<'m> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn skip(&mut self, len: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next field; `None` at the end, `Some(None)` when it cannot be read.
    fn next(&mut self) -> Option<Option<(u64, Value<'m>)>> {
        (!self.0.is_empty()).then(|| {
            let key = self.varint()?;
            let value = match key & 7 {
                0 => Value::Number(self.varint()?),
                1 => self.skip(8).map(|_| Value::Fixed)?,
                2 => {
                    let len = usize::try_from(self.varint()?).ok()?;
                    Value::Bytes(self.skip(len)?)
                }
                5 => self.skip(4).map(|_| Value::Fixed)?,
                _ => return None,
            };
            Some((key >> 3, value))
        })
    }
}

/// What a `Message` says, as far as it matters.
#[derive(Default)]
struct Message<'m> {
    kind: u64,
    transport: u64,
    client: Option<&'m [u8]>,
    port: u64,
    query: Option<&'m [u8]>,
    response: Option<&'m [u8]>,
}

impl<'m> Message<'m> {
    /// Reads a `Dnstap` and the `Message` in it.
    fn read(frame: &'m [u8]) -> Option<Self> {
        let (mut outer, mut inner) = (Fields(frame), None);
        while let Some(field) = outer.next() {
            // Field 14: the message.
            if let (14, Value::Bytes(bytes)) = field? {
                inner = Some(bytes);
            }
        }
        let (mut fields, mut message) = (Fields(inner?), Self::default());
        while let Some(field) = fields.next() {
            match field? {
                (1, Value::Number(kind)) => message.kind = kind,
                (3, Value::Number(transport)) => message.transport = transport,
                (4, Value::Bytes(address)) => message.client = Some(address),
                (6, Value::Number(port)) => message.port = port,
                (10, Value::Bytes(query)) => message.query = Some(query),
                (14, Value::Bytes(response)) => message.response = Some(response),
                _ => {}
            }
        }
        Some(message)
    }

    /// The address of who asked.
    fn client(&self) -> Option<IpAddr> {
        match self.client {
            None => Some(CLIENT_DEFAULT),
            Some(bytes) => {
                let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
            }
        }
    }

    /// Whether it was carried over a stream: TCP, DoT, DoH, DNSCrypt over TCP, DoQ.
    fn is_over_stream(&self) -> bool {
        matches!(self.transport, 2 | 3 | 4 | 6 | 7)
    }
}

/// `Message.Type`: what is asked of an authoritative server, and by the clients of a resolver, with its responses.
const QUERIES: [u64; 2] = [1, 5];
const RESPONSES: [u64; 2] = [2, 6];

fn message(frame: &[u8], pairs: &mut Pairs, tally: &mut Tally, take: Take<'_>) {
    let Some(message) = Message::read(frame) else {
        tally.bad += 1;
        return;
    };
    let (is_query, is_response) = (QUERIES.contains(&message.kind), RESPONSES.contains(&message.kind));
    if !is_query && !is_response {
        tally.others += 1;
        return;
    }
    let asker = message.client().map(|client| {
        let port = u16::try_from(message.port).unwrap_or_default();
        Asker { client: client.to_canonical(), port, tcp: message.is_over_stream() }
    });
    match (asker, message.query, message.response) {
        (Some(asker), Some(query), _) if is_query => pairs.query(query, asker, tally, take),
        (Some(asker), _, Some(response)) if is_response => pairs.response(response, asker, tally, take),
        _ => tally.bad += 1,
    }
}
