//! Packets for unit tests, put together byte by byte so that tests can break each of them.

use super::name::Name;
use super::{class, put_u16, rtype, u16_at};

/// A message under construction.
#[derive(Clone)]
pub(crate) struct Sample(pub(crate) Vec<u8>);

impl Sample {
    /// A query with id 0x1234 and RD for `name`, which keeps its letter case.
    pub(crate) fn query(name: &str, qtype: u16) -> Self {
        let mut bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        bytes.extend(wire(name));
        bytes.extend(qtype.to_be_bytes());
        bytes.extend(class::IN.to_be_bytes());
        Self(bytes)
    }

    /// The response to such a query: QR and RA on top.
    pub(crate) fn response(name: &str, qtype: u16) -> Self {
        Self::query(name, qtype).flags(0x8180)
    }

    pub(crate) fn flags(mut self, flags: u16) -> Self {
        put_u16(&mut self.0, 2, flags);
        self
    }

    /// Adds a record of class IN to section 1 (answer), 2 (authority) or 3 (additional).
    pub(crate) fn record(self, section: usize, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Self {
        self.record_of(section, owner, rtype, class::IN, ttl, data)
    }

    pub(crate) fn record_of(
        mut self,
        section: usize,
        owner: &[u8],
        rtype: u16,
        class: u16,
        ttl: u32,
        data: &[u8],
    ) -> Self {
        self.0.extend(owner);
        self.0.extend(rtype.to_be_bytes());
        self.0.extend(class.to_be_bytes());
        self.0.extend(ttl.to_be_bytes());
        self.0.extend((data.len() as u16).to_be_bytes());
        self.0.extend(data);
        self.count(2 + section)
    }

    /// Adds an OPT record with DO and these options.
    pub(crate) fn opt(self, options: &[u8]) -> Self {
        self.record_of(3, b"\0", rtype::OPT, 1232, 0x8000, options)
    }

    /// Adds a TSIG record of the right form; its signature signs nothing.
    pub(crate) fn tsig(self) -> Self {
        let data = b"\x0bhmac-sha256\0\0\0\x65\0\0\0\x01\x2c\0\x04mac!\x12\x34\0\0\0\0";
        self.record_of(3, b"\x03key\0", rtype::TSIG, class::ANY, 0, data)
    }

    /// Adds one to the count in this word of the header.
    pub(crate) fn count(mut self, word: usize) -> Self {
        let count = u16_at(&self.0, word * 2).unwrap();
        put_u16(&mut self.0, word * 2, count + 1);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A name in wire form, its letter case kept.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut wire = Name::from_text(name).unwrap().as_wire().to_vec();
    for (byte, kept) in wire.iter_mut().skip(1).zip(name.bytes()) {
        if byte.is_ascii_lowercase() {
            *byte = kept;
        }
    }
    wire
}
