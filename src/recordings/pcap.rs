//! Packet captures, pcap and pcapng, as tcpdump, Wireshark and dnscap write them: queries over UDP and, where they are whole
//! in one segment, over TCP. The container is read by `capture` in a buffer of bounded size, so that a capture of
//! any length can be read; what is in the packets by `etherparse`, see `packet`.

use super::capture::{Capture, Next};
use super::packet::{self, Found};
use super::{Recorded, Tally, Unreadable};
use std::io::Read;

/// Reads a capture; what was asked of `port` goes to `take`.
///
/// # Errors
/// The system's; [`Unreadable::NotOne`] when it is no capture; [`Unreadable::TooLarge`] when a packet is.
pub fn read(input: impl Read, port: u16, take: &mut dyn FnMut(&Recorded)) -> Result<Tally, Unreadable> {
    let mut tally = Tally::default();
    let mut capture = Capture::open(input)?;
    loop {
        match capture.next()? {
            Next::Packet(Some(link), data) => packet_of(link, data, port, &mut tally, take),
            Next::Packet(None, _) | Next::Bad => tally.bad += 1,
            Next::End => return Ok(tally),
            Next::Cut => {
                tally.is_cut = true;
                return Ok(tally);
            }
        }
    }
}

/// Takes the query of a packet.
fn packet_of(link: u32, data: &[u8], port: u16, tally: &mut Tally, take: &mut dyn FnMut(&Recorded)) {
    match packet::find(link, data, port) {
        Found::Datagram(client, message) => tally.message(message, client, false, take),
        Found::Segment(client, segment) => messages(segment, tally, |tally, message| {
            tally.message(message, client, true, take);
        }),
        Found::Piece => tally.pieces += 1,
        Found::Other => tally.others += 1,
        Found::Bad => tally.bad += 1,
    }
}

/// The messages that are whole in a TCP segment, each behind its length (RFC 1035 section 4.2.2).
fn messages(mut segment: &[u8], tally: &mut Tally, mut each: impl FnMut(&mut Tally, &[u8])) {
    while let Some((len, rest)) = segment.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let Some((message, rest)) = rest.split_at_checked(len).filter(|_| len > 0) else {
            tally.pieces += 1;
            return;
        };
        each(tally, message);
        segment = rest;
    }
    tally.pieces += u64::from(!segment.is_empty());
}
