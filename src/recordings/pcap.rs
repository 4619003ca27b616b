//! Packet captures, pcap and pcapng, as tcpdump, Wireshark and dnscap write them: queries over UDP and, where they are whole
//! in one segment, over TCP. The container is read by `pcap-parser` in a buffer of fixed size, so that a capture of any
//! length can be read; what is in the packets by `etherparse`, see [`super::packet`].

use super::packet::{self, Found};
use super::{Recorded, Tally, Unreadable};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use std::io::Read;

/// Room for one block: the largest packet of a loopback interface with its headers, several times over.
const BUFFER: usize = 1 << 20;

/// Interfaces of one section that are known; packets of further ones are left out.
const INTERFACES_MAX: usize = 4_096;

/// Reads a capture; what was asked of `port` goes to `take`.
///
/// # Errors
/// The system's; [`Unreadable::NotOne`] when it is no capture; [`Unreadable::TooLarge`] when a block is.
pub fn read(input: impl Read + Send, port: u16, take: &mut dyn FnMut(&Recorded)) -> Result<Tally, Unreadable> {
    let mut tally = Tally::default();
    let mut reader = match create_reader(BUFFER, input) {
        Ok(reader) => reader,
        Err(error) => return Err(refusal(&error, "it is no packet capture: neither pcap nor pcapng")),
    };
    let mut links = Vec::new();
    loop {
        let at = reader.consumed();
        match reader.next() {
            Ok((len, block)) => {
                block_of(&block, &mut links, port, &mut tally, take);
                reader.consume(len);
            }
            Err(PcapError::Eof) => return Ok(tally),
            Err(PcapError::UnexpectedEof) => {
                tally.is_cut = true;
                return Ok(tally);
            }
            Err(PcapError::Incomplete(_)) => {
                let before = (reader.data().len(), reader.reader_exhausted());
                reader.refill().map_err(|error| refusal(&error, "it cannot be read further"))?;
                if before == (reader.data().len(), reader.reader_exhausted()) {
                    tally.is_cut = true;
                    return Ok(tally);
                }
            }
            Err(error) => {
                return Err(refusal(&error, &format!("what follows after {at} bytes is no block of a capture")));
            }
        }
    }
}

fn refusal<I>(error: &PcapError<I>, otherwise: &str) -> Unreadable {
    match error {
        PcapError::BufferTooSmall => Unreadable::TooLarge(format!("a block is larger than {} MiB", BUFFER >> 20)),
        PcapError::ReadError => Unreadable::Io(std::io::Error::other("it cannot be read")),
        _ => Unreadable::NotOne(otherwise.to_owned()),
    }
}

/// Takes note of what a block tells, and takes the query of a packet.
fn block_of(
    block: &PcapBlockOwned<'_>,
    links: &mut Vec<Linktype>,
    port: u16,
    tally: &mut Tally,
    take: &mut dyn FnMut(&Recorded),
) {
    let (interface, data) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *links = vec![header.network];
            return;
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => return links.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            if links.len() < INTERFACES_MAX {
                links.push(interface.linktype);
            }
            return;
        }
        PcapBlockOwned::Legacy(packet) => (0, packet.data),
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => (packet.if_id as usize, packet.packet_data()),
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => (0, packet.packet_data()),
        PcapBlockOwned::NG(_) => return,
    };
    let Some(link) = links.get(interface) else {
        tally.bad += 1;
        return;
    };
    match packet::find(*link, data, port) {
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
