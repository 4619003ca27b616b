//! A slow and plain reading of a packet, apart from both parsers: the facts by which their differences are explained.

/// A record as it lies in the packet.
pub(crate) struct Frame {
    /// 1 answer, 2 authority, 3 additional.
    pub(crate) section: usize,
    /// Where the record begins.
    pub(crate) start: usize,
    pub(crate) owner_len: usize,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

/// What a packet says of itself.
pub(crate) struct Facts {
    pub(crate) flags: u16,
    pub(crate) counts: [u16; 4],
    /// A question's name contains a pointer.
    pub(crate) compressed_question: bool,
    pub(crate) qtype: u16,
    pub(crate) frames: Vec<Frame>,
    /// All questions and records that the header counts are there, as far as their frames go.
    pub(crate) whole: bool,
    /// Bytes follow the last record.
    pub(crate) trailing: bool,
    /// Two bytes that would point into the header.
    pub(crate) points_into_header: bool,
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().unwrap()))
}

/// The end of the name at `at` and its length when spelled out.
fn name(packet: &[u8], at: usize) -> Option<(usize, usize)> {
    let (mut position, mut run, mut limit, mut end, mut len) = (at, at, packet.len(), None, 1);
    loop {
        if position >= limit {
            return None;
        }
        match *packet.get(position)? {
            0 => return Some((end.unwrap_or(position + 1), len)),
            head @ 1..=63 => {
                len += 1 + usize::from(head);
                position += 1 + usize::from(head);
            }
            0xC0.. => {
                let target = usize::from(word(packet, position)? & 0x3FFF);
                end = end.or(Some(position + 2));
                if target >= run {
                    return None;
                }
                limit = run;
                run = target;
                position = target;
            }
            _ => return None,
        }
        if len > 255 {
            return None;
        }
    }
}

impl Facts {
    pub(crate) fn of(packet: &[u8]) -> Option<Self> {
        let counts = [word(packet, 4)?, word(packet, 6)?, word(packet, 8)?, word(packet, 10)?];
        let mut facts = Self {
            flags: word(packet, 2)?,
            counts,
            compressed_question: false,
            qtype: 0,
            frames: Vec::new(),
            whole: false,
            trailing: false,
            points_into_header: packet[12..].windows(2).any(|pair| pair[0] == 0xC0 && pair[1] < 12),
        };
        facts.whole = facts.walk(packet).is_some();
        Some(facts)
    }

    fn walk(&mut self, packet: &[u8]) -> Option<()> {
        let mut at = 12;
        for _ in 0..self.counts[0] {
            let (end, len) = name(packet, at)?;
            self.compressed_question |= end - at != len;
            self.qtype = word(packet, end)?;
            word(packet, end + 2)?;
            at = end + 4;
        }
        for section in 1..4 {
            for _ in 0..self.counts[section] {
                let start = at;
                let (end, _) = name(packet, at)?;
                let data_len = usize::from(word(packet, end + 8)?);
                at = end + 10 + data_len;
                self.frames.push(Frame {
                    section,
                    start,
                    owner_len: end - start,
                    rtype: word(packet, end)?,
                    class: word(packet, end + 2)?,
                    ttl: u32::from(word(packet, end + 4)?) << 16 | u32::from(word(packet, end + 6)?),
                    data: packet.get(end + 10..at)?.to_vec(),
                });
            }
        }
        self.trailing = at != packet.len();
        Some(())
    }

    pub(crate) fn opcode(&self) -> u16 {
        self.flags >> 11 & 15
    }

    pub(crate) fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(crate) fn opts(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.rtype == 41)
    }

    /// A SIG that covers no type, and a record behind it.
    pub(crate) fn record_behind_sig0(&self) -> bool {
        let rest = self.frames.iter().skip_while(|frame| !(frame.section == 3 && frame.is_sig0()));
        rest.count() > 1
    }
}

impl Frame {
    pub(crate) fn is_sig0(&self) -> bool {
        self.rtype == 24 && self.data.starts_with(&[0, 0])
    }

    /// The options of an OPT, when they fill it exactly.
    pub(crate) fn options(&self) -> Option<Vec<(u16, &[u8])>> {
        let mut options = Vec::new();
        let mut rest = &self.data[..];
        while !rest.is_empty() {
            let end = 4 + usize::from(word(rest, 2)?);
            options.push((word(rest, 0)?, rest.get(4..end)?));
            rest = &rest[end..];
        }
        Some(options)
    }

    /// Whether the options are as RFC 7873 and RFC 7871 want them.
    pub(crate) fn options_are_sound(&self) -> bool {
        let Some(options) = self.options() else { return false };
        let count = |code| options.iter().filter(|(other, _)| *other == code).count();
        let subnet = |data: &[u8]| {
            let [_, family, source, scope, ref address @ ..] = *data else { return false };
            let max = match (data[0], family) {
                (0, 0) => 0,
                (0, 1) => 32,
                (0, 2) => 128,
                _ => 255,
            };
            let bits: String = address.iter().map(|byte| format!("{byte:08b}")).collect();
            let needed = usize::from(source).div_ceil(8);
            source <= max && scope <= max && address.len() == needed && !bits[usize::from(source)..].contains('1')
        };
        count(8) <= 1
            && count(10) <= 1
            && options.iter().all(|&(code, data)| match code {
                8 => subnet(data),
                10 => data.len() == 8 || (data.len() >= 16 && data.len() <= 40),
                _ => true,
            })
    }
}
