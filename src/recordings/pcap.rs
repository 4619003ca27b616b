//! Packet captures, pcap and pcapng, as tcpdump, Wireshark and dnscap write them: queries and responses over UDP and, where
//! they are whole in one segment, over TCP. The container is read by `capture` in a buffer of bounded size, so that a capture
//! of any length can be read; what is in the packets by `etherparse`, see `packet`.

use super::capture::{Capture, Next};
use super::packet::{self, Found, Way};
use super::pairs::{Pairs, Take};
use super::{Asker, Recorded, Taken, Tally, Unreadable};
use std::io::Read;

/// Reads a capture; what was asked of `port` goes to `take`.
///
/// # Errors
/// The system's; [`Unreadable::NotOne`] when it is no capture; [`Unreadable::TooLarge`] when a packet is.
pub fn read(
    input: impl Read,
    port: u16,
    taken: Taken,
    take: &mut dyn FnMut(&Recorded<'_>),
) -> Result<Tally, Unreadable> {
    let mut tally = Tally::default();
    let mut capture = Capture::open(input)?;
    let mut pairs = Pairs::new(taken);
    loop {
        match capture.next()? {
            Next::Packet(Some(link), data) => packet_of(&packet::find(link, data, port), &mut pairs, &mut tally, take),
            Next::Packet(None, _) | Next::Bad => tally.bad += 1,
            Next::End => break,
            Next::Cut => {
                tally.is_cut = true;
                break;
            }
        }
    }
    pairs.end(take);
    Ok(tally)
}

/// Takes what is in a packet.
fn packet_of(found: &Found<'_>, pairs: &mut Pairs, tally: &mut Tally, take: Take<'_>) {
    let mut one = |asker: Asker, way: Way, message: &[u8], tally: &mut Tally| match way {
        Way::ToServer => pairs.query(message, asker, tally, take),
        Way::FromServer => pairs.response(message, asker, tally, take),
    };
    match *found {
        Found::Data(asker, way, segment) if asker.tcp => {
            messages(segment, tally, |tally, message| one(asker, way, message, tally));
        }
        Found::Data(asker, way, message) => one(asker, way, message, tally),
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
