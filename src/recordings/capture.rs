//! The containers of packet captures: pcap (draft-ietf-opsawg-pcap) with either byte order, microseconds, nanoseconds and
//! the longer headers of old Linux; pcapng (draft-ietf-opsawg-pcapng) with sections of either byte order. Read block by
//! block into one buffer; times and options are of no concern.
//!
//! By hand, because they are two headers and four kinds of blocks, and the crates at hand panic on lengths that a malicious
//! file may have, or ask for a block to fit in memory that is only to be skipped.

use super::{Unreadable, fill};
use crate::language::text;
use std::io::Read;

/// The longest packet: IPv6 jumbograms are rare enough, and the largest snapshot length of tcpdump is a quarter of it.
const PACKET_MAX: usize = 1 << 20;

/// Interfaces of one section that are known; packets of further ones are of an unknown link layer.
const INTERFACES_MAX: usize = 4_096;

/// Kinds of blocks of pcapng.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

/// The number by which a section tells its byte order.
const BYTE_ORDER: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];

/// A capture that is being read.
#[derive(Debug)]
pub(super) struct Capture<R> {
    input: R,
    kind: Kind,
    big_endian: bool,
    /// Of each interface: link layer and snapshot length.
    interfaces: Vec<(u32, u32)>,
    block: Vec<u8>,
    /// Bytes read so far.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// pcap, with so many bytes of header before each packet.
    Plain(usize),
    NextGeneration,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next<'c> {
    /// A packet of this link layer; of an interface that was not described when it is `None`.
    Packet(Option<u32>, &'c [u8]),
    /// A packet that says other lengths than its block has.
    Bad,
    End,
    /// The file ends in the middle.
    Cut,
}

impl<R: Read> Capture<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// The system's, and [`Unreadable::NotOne`].
    pub(super) fn open(mut input: R) -> Result<Self, Unreadable> {
        let mut magic = [0; 4];
        let read = fill(&mut input, &mut magic)?;
        let mut capture = Self {
            input,
            kind: Kind::NextGeneration,
            big_endian: false,
            interfaces: Vec::new(),
            block: Vec::new(),
            at: 4,
        };
        let no_capture = || Unreadable::NotOne(text!("it is no packet capture: neither pcap nor pcapng"));
        if read < 4 {
            return Err(no_capture());
        }
        if u32::from_be_bytes(magic) == SECTION {
            return if capture.section()? { Ok(capture) } else { Err(no_capture()) };
        }
        let (big_endian, header) = match (u32::from_be_bytes(magic), u32::from_le_bytes(magic)) {
            (0xa1b2_c3d4 | 0xa1b2_3c4d, _) => (true, 16),
            (_, 0xa1b2_c3d4 | 0xa1b2_3c4d) => (false, 16),
            (0xa1b2_cd34, _) => (true, 24),
            (_, 0xa1b2_cd34) => (false, 24),
            _ => return Err(no_capture()),
        };
        (capture.kind, capture.big_endian) = (Kind::Plain(header), big_endian);
        if !capture.take(20)? {
            return Err(no_capture());
        }
        // The upper bits tell of a frame check sequence behind each packet, which does not matter.
        let link = capture.word(16) & 0x0fff_ffff;
        capture.interfaces.push((link, 0));
        Ok(capture)
    }

    /// The next packet.
    ///
    /// # Errors
    /// The system's; [`Unreadable::NotOne`] or [`Unreadable::TooLarge`] where what follows is no part of a capture.
    pub(super) fn next(&mut self) -> Result<Next<'_>, Unreadable> {
        match self.kind {
            Kind::Plain(header) => self.plain(header),
            Kind::NextGeneration => self.next_generation(),
        }
    }

    fn plain(&mut self, header: usize) -> Result<Next<'_>, Unreadable> {
        let before = self.at;
        if !self.take(header)? {
            return Ok(if self.at == before { Next::End } else { Next::Cut });
        }
        let len = self.word(8) as usize;
        if len > PACKET_MAX {
            return Err(self.too_large(len));
        }
        if !self.take(len)? {
            return Ok(Next::Cut);
        }
        Ok(Next::Packet(Some(self.interfaces[0].0), &self.block))
    }

    fn next_generation(&mut self) -> Result<Next<'_>, Unreadable> {
        loop {
            let mut kind = [0; 4];
            match self.fill(&mut kind)? {
                0 => return Ok(Next::End),
                4 => {}
                _ => return Ok(Next::Cut),
            }
            if u32::from_be_bytes(kind) == SECTION {
                if !self.section()? {
                    return Ok(Next::Cut);
                }
                continue;
            }
            let kind = self.number(kind);
            let Some(len) = self.block_len()? else { return Ok(Next::Cut) };
            if !matches!(kind, INTERFACE | OLD_PACKET | SIMPLE_PACKET | PACKET) {
                if !self.skip(len as u64 + 4)? {
                    return Ok(Next::Cut);
                }
                continue;
            }
            if len > PACKET_MAX {
                return Err(self.too_large(len));
            }
            if !self.take(len + 4)? {
                return Ok(Next::Cut);
            }
            self.block.truncate(len);
            if kind == INTERFACE {
                self.describe();
                continue;
            }
            return Ok(self.packet(kind));
        }
    }

    /// Reads the rest of a section header; false when the file ends in it.
    fn section(&mut self) -> Result<bool, Unreadable> {
        let (mut len, mut order) = ([0; 4], [0; 4]);
        if self.fill(&mut len)? < 4 || self.fill(&mut order)? < 4 {
            return Ok(false);
        }
        self.big_endian = match order {
            BYTE_ORDER => true,
            [d, c, b, a] if [a, b, c, d] == BYTE_ORDER => false,
            _ => return Err(self.broken()),
        };
        self.interfaces.clear();
        let len = self.number(len);
        // Type, both lengths, byte order, version and length of the section.
        if len < 28 || !len.is_multiple_of(4) {
            return Err(self.broken());
        }
        self.skip(u64::from(len) - 12)
    }

    /// The length of a block without its head and its second length; `None` where the file ends.
    fn block_len(&mut self) -> Result<Option<usize>, Unreadable> {
        let mut len = [0; 4];
        if self.fill(&mut len)? < 4 {
            return Ok(None);
        }
        let len = self.number(len);
        if len < 12 || !len.is_multiple_of(4) {
            return Err(self.broken());
        }
        Ok(Some(len as usize - 12))
    }

    fn describe(&mut self) {
        if self.interfaces.len() < INTERFACES_MAX && self.block.len() >= 8 {
            let link = [self.block[0], self.block[1]];
            let link = if self.big_endian { u16::from_be_bytes(link) } else { u16::from_le_bytes(link) };
            self.interfaces.push((link.into(), self.word(4)));
        }
    }

    /// The packet in the block that was read.
    fn packet(&self, kind: u32) -> Next<'_> {
        let head = if kind == SIMPLE_PACKET { 4 } else { 20 };
        let Some(data) = self.block.get(head..) else { return Next::Bad };
        let interface = match kind {
            SIMPLE_PACKET => 0,
            // Two bytes of the interface, two of a count.
            OLD_PACKET if self.big_endian => self.word(0) >> 16,
            OLD_PACKET => self.word(0) & 0xffff,
            _ => self.word(0),
        };
        let described = self.interfaces.get(interface as usize).copied();
        let len = match (kind, described) {
            // It does not tell what was captured of it: as much as the interface lets, at the most.
            (SIMPLE_PACKET, Some((_, limit))) if limit > 0 => self.word(0).min(limit),
            (SIMPLE_PACKET, _) => self.word(0),
            _ => self.word(12),
        };
        match data.get(..len as usize) {
            Some(data) => Next::Packet(described.map(|(link, _)| link), data),
            None => Next::Bad,
        }
    }

    fn broken(&self) -> Unreadable {
        Unreadable::NotOne(text!("what follows after {n} bytes is no block of a capture", n = self.at))
    }

    fn too_large(&self, len: usize) -> Unreadable {
        let message = text!(
            "a packet of {len} bytes after {n} bytes: none is longer than {most} MiB",
            len,
            n = self.at,
            most = PACKET_MAX >> 20
        );
        Unreadable::TooLarge(message)
    }

    /// Four bytes of the block, in its byte order; 0 behind its end.
    fn word(&self, at: usize) -> u32 {
        let bytes = self.block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        self.number(bytes.unwrap_or_default())
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Reads `len` bytes into the block; false where the file ends before.
    fn take(&mut self, len: usize) -> Result<bool, Unreadable> {
        self.block.resize(len, 0);
        let read = fill(&mut self.input, &mut self.block)?;
        self.at += read as u64;
        Ok(read == len)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Unreadable> {
        let read = fill(&mut self.input, buffer)?;
        self.at += read as u64;
        Ok(read)
    }

    fn skip(&mut self, len: u64) -> Result<bool, Unreadable> {
        let skipped = std::io::copy(&mut self.input.by_ref().take(len), &mut std::io::sink())?;
        self.at += skipped;
        Ok(skipped == len)
    }
}
