//! A name as it is written in a list, read into wire form in one pass: this is what nearly all bytes of a list go through.

use super::problem::Problem;

/// What each byte of a name becomes; 0: it cannot stand in one. Digits, letters, hyphen, and the underscore that service
/// names have (RFC 8552).
const LETTERS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// A name in wire form while it is read; longest wire form plus room for one label's length.
pub(super) struct Wire {
    pub(super) bytes: [u8; 256],
    pub(super) len: usize,
    pub(super) labels: usize,
    /// Where the last label begins.
    pub(super) last: usize,
}

impl Wire {
    /// The root.
    pub(super) fn root() -> Self {
        Self { bytes: [0; 256], len: 1, labels: 0, last: 0 }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads the name at the beginning of `text` into `wire`; returns how many bytes it took. It ends at the first byte that
/// cannot stand in it; whether that byte may stand there is the caller's question.
pub(super) fn read_name(text: &[u8], wire: &mut Wire) -> Result<usize, Problem> {
    let mut label = 0;
    let mut last = 0;
    let mut len = 1;
    let mut labels = 0;
    let mut taken = text.len();
    for (at, &byte) in text.iter().enumerate() {
        let letter = LETTERS[usize::from(byte)];
        if letter == 0 && byte != b'.' {
            taken = at;
            break;
        }
        if len > 254 {
            return Err(Problem::NameTooLong);
        }
        if letter == 0 {
            close_label(wire, label, len)?;
            labels += 1;
            last = label;
            label = len;
        } else {
            wire.bytes[len] = letter;
        }
        len += 1;
    }
    if len - label == 1 {
        // Nothing behind the last dot, or nothing at all: the byte for the next length is the root's.
        if labels == 0 {
            return Err(if taken == 0 { Problem::Character } else { Problem::EmptyLabel });
        }
    } else {
        close_label(wire, label, len)?;
        labels += 1;
        if len > 254 {
            return Err(Problem::NameTooLong);
        }
        last = label;
        label = len;
        len += 1;
    }
    wire.bytes[label] = 0;
    wire.len = len;
    wire.labels = labels;
    wire.last = last;
    Ok(taken)
}

/// Writes the length of the label that began at `label` and ends before `end`.
#[inline]
fn close_label(wire: &mut Wire, label: usize, end: usize) -> Result<(), Problem> {
    match end - label - 1 {
        0 => Err(Problem::EmptyLabel),
        len @ 1..=63 => {
            wire.bytes[label] = len as u8;
            Ok(())
        }
        _ => Err(Problem::LabelTooLong),
    }
}

/// Whether the last label has only digits: no such top-level domain can exist, so it is an address (RFC 1123 section
/// 2.1: "a valid host name can never have the dotted-decimal form").
pub(super) fn is_numeric(wire: &Wire) -> bool {
    // The last byte is the root's; most names are settled by the one before it.
    wire.labels > 0
        && wire.bytes[wire.len - 2].is_ascii_digit()
        && wire.bytes[wire.last + 1..wire.len - 1].iter().all(u8::is_ascii_digit)
}

/// Whether a name is `zone` or below it, both in wire form.
pub(super) fn is_within(mut wire: &[u8], zone: &[u8]) -> bool {
    while wire.len() > zone.len() {
        wire = &wire[1 + usize::from(wire[0])..];
    }
    wire == zone
}
