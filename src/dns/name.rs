//! A domain name on the stack, in lower-case wire form, because lookups and hashes need one spelling (RFC 1035, 4343).
//!
//! Every reading of a name from a packet goes through `walk`, so that there is one rule for pointers and lengths.

use super::letters;
use super::walk::walk;
use crate::language::{Text, text};
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// The longest name in wire form, root label included (RFC 1035 section 2.3.4).
pub const NAME_MAX: usize = 255;

/// The longest label (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// The most labels of a name, without the root: each takes two bytes at least.
const LABELS_MAX: usize = 127;

/// A valid, uncompressed, lower-cased name in wire form: length-prefixed labels and the root's zero byte.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    wire: [u8; NAME_MAX],
}

/// Why a text or some bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A label of no bytes that is not the root (`a..b`).
    EmptyLabel,
    /// A label over 63 bytes, or one of the reserved label types whose first byte reads like such a length.
    LabelTooLong,
    /// More than 255 bytes in wire form.
    NameTooLong,
    /// A backslash with no character, or no number up to 255, behind it.
    BadEscape,
    /// A byte that cannot stand in a name as text (space, control, or not ASCII).
    BadCharacter(char),
    /// A pointer that leads forward, out of the message, into its header, or round in circles.
    BadPointer,
    /// The bytes end inside the name.
    Truncated,
}

impl NameError {
    /// What is wrong with the name.
    pub fn text(self) -> Text {
        match self {
            Self::EmptyLabel => text!("name has an empty label"),
            Self::LabelTooLong => text!("name has a label over 63 bytes"),
            Self::NameTooLong => text!("name is over 255 bytes"),
            Self::BadEscape => {
                text!("name has a backslash without a character or a number up to 255 behind it")
            }
            Self::BadCharacter(c) => text!("name has a character that needs an escape: {character:?}", character = c),
            Self::BadPointer => text!("name has a compression pointer that does not lead backward to a name"),
            Self::Truncated => text!("name is cut off"),
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self { len: 1, wire: [0; NAME_MAX] }
    }

    /// The wire form, root label included, lower case.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.len)]
    }

    /// Reads master-file text: `a.b`, `a.b.`, `.`, escapes `\.` and `\DDD` (RFC 1035 section 5.1). Relative and
    /// absolute spellings mean the same here.
    ///
    /// # Errors
    /// All of [`NameError`] but those that only bytes from a packet can have; the empty text is an empty label.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut builder = Builder::new();
        let mut label = [0; LABEL_MAX];
        let mut len = 0;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let byte = match c {
                '.' => {
                    builder.push(&label[..len])?;
                    len = 0;
                    continue;
                }
                '\\' => unescape(&mut chars)?,
                _ if c.is_ascii_graphic() => c as u8,
                _ => return Err(NameError::BadCharacter(c)),
            };
            *label.get_mut(len).ok_or(NameError::LabelTooLong)? = byte;
            len += 1;
        }
        // What stands behind the last dot: nothing in the absolute spelling.
        if len > 0 || text.is_empty() {
            builder.push(&label[..len])?;
        }
        Ok(builder.finish())
    }

    /// Reads an uncompressed wire name that fills `wire` exactly; lower-cases it.
    ///
    /// # Errors
    /// [`NameError::BadPointer`] for a compressed name, [`NameError::NameTooLong`] for bytes behind the root label.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        let (name, end) = Self::read_uncompressed(wire, 0)?;
        if end == wire.len() { Ok(name) } else { Err(NameError::NameTooLong) }
    }

    /// Reads the possibly compressed name at `at` in `message`; returns it and the offset behind it. Pointers must
    /// point strictly backward (RFC 1035 section 4.1.4: "a prior occurance"), so reading always ends.
    ///
    /// # Errors
    /// Those of [`NameError`] that bytes can have. The cost is bounded by 127 labels and 127 pointers.
    pub fn read(message: &[u8], at: usize) -> Result<(Self, usize), NameError> {
        let mut wire = [0; NAME_MAX];
        let mut len = 0;
        let walked = walk(message, at, |label| {
            // `walk` has checked that all labels and the root fit into NAME_MAX bytes.
            if let Some(room) = wire.get_mut(len..len + label.len()) {
                room.copy_from_slice(label);
                len += label.len();
            }
        })?;
        wire[..len].make_ascii_lowercase();
        Ok((Self { len: len as u8 + 1, wire }, walked.end))
    }

    /// Reads the name at `at` in `message`, which must not be compressed, as in a question; returns it and the offset
    /// behind it.
    ///
    /// # Errors
    /// As [`Self::read`]; any pointer is [`NameError::BadPointer`].
    #[inline]
    pub fn read_uncompressed(message: &[u8], at: usize) -> Result<(Self, usize), NameError> {
        let mut name = Self::root();
        let end = name.become_uncompressed(message, at)?;
        Ok((name, end))
    }

    /// As [`Self::read_uncompressed`], in the place of an earlier name, which stays when there is an error.
    #[inline]
    pub(crate) fn become_uncompressed(&mut self, message: &[u8], at: usize) -> Result<usize, NameError> {
        let (end, _) = end_of_uncompressed(message, at)?;
        self.become_known(message.get(at..end).ok_or(NameError::Truncated)?).ok_or(NameError::NameTooLong)?;
        Ok(end)
    }

    /// As [`Self::become_uncompressed`], from bytes that have been found to be a name.
    #[inline]
    pub(super) fn become_known(&mut self, bytes: &[u8]) -> Option<()> {
        // Length bytes are below 64 and the letters begin at 65, so the whole can be lowered in one go.
        letters::copy_lowered(bytes, self.wire.get_mut(..bytes.len())?);
        self.len = bytes.len() as u8;
        Some(())
    }

    /// Number of labels without the root: 0 for the root, 2 for `example.com`.
    pub fn labels(&self) -> usize {
        self.suffixes().count() - 1
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let rest = self.suffixes().nth(1)?;
        let mut wire = [0; NAME_MAX];
        wire[..rest.len()].copy_from_slice(rest);
        Some(Self { len: rest.len() as u8, wire })
    }

    /// Whether this name is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        // Only a suffix that begins at a label counts: `badexample.com` is not within `example.com`.
        self.suffixes()
            .find(|suffix| suffix.len() <= zone.as_wire().len())
            .is_some_and(|suffix| suffix == zone.as_wire())
    }

    /// Which of two names comes first in the canonical order of DNSSEC (RFC 4034 section 6.1): label by label from the
    /// last, each as a string of bytes. No allocation; the cost is bounded by the length of both.
    pub fn canonical_cmp(&self, other: &Self) -> Ordering {
        let (mut own, mut others) = ([0; LABELS_MAX], [0; LABELS_MAX]);
        let (own, others) = (self.label_starts(&mut own), other.label_starts(&mut others));
        let pairs = own.iter().rev().zip(others.iter().rev());
        let mut orders = pairs.map(|(own, others)| self.label_at(*own).cmp(other.label_at(*others)));
        orders.find(|order| order.is_ne()).unwrap_or_else(|| own.len().cmp(&others.len()))
    }

    /// Where each label begins, first to last, without the root.
    fn label_starts<'s>(&self, starts: &'s mut [u8; LABELS_MAX]) -> &'s [u8] {
        let (mut at, mut len) = (0, 0);
        while let (Some(&label), Some(start)) = (self.wire.get(usize::from(at)), starts.get_mut(len))
            && label != 0
        {
            *start = at;
            at += 1 + label;
            len += 1;
        }
        starts.get(..len).unwrap_or_default()
    }

    /// The label that begins at `at`, without its length byte.
    fn label_at(&self, at: u8) -> &[u8] {
        let at = usize::from(at);
        let end = self.wire.get(at).map_or(0, |len| at + 1 + usize::from(*len));
        self.wire.get(at + 1..end).unwrap_or_default()
    }

    /// Whether the first label is `*` (RFC 4592).
    pub fn is_wildcard(&self) -> bool {
        self.as_wire().starts_with(b"\x01*")
    }

    /// The wire form of this name and of each ancestor, longest first, the root last.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(self.as_wire());
        std::iter::from_fn(move || {
            let suffix = rest?;
            let label = usize::from(*suffix.first()?);
            rest = if label == 0 { None } else { suffix.get(1 + label..) };
            Some(suffix)
        })
    }

    /// The labels without the root, first to last, without their length bytes.
    fn label_contents(&self) -> impl Iterator<Item = &[u8]> {
        self.suffixes().filter_map(|suffix| {
            let (&len, rest) = suffix.split_first()?;
            rest.get(..usize::from(len)).filter(|label| !label.is_empty())
        })
    }
}

/// The offset behind the name at `at` in `message`, which must not be compressed, and its labels, the root's among them.
///
/// # Errors
/// As [`Name::read_uncompressed`].
#[inline]
pub(super) fn end_of_uncompressed(message: &[u8], at: usize) -> Result<(usize, usize), NameError> {
    let (mut end, mut labels) = (at, 0);
    loop {
        let head = usize::from(*message.get(end).ok_or(NameError::Truncated)?);
        end += 1 + head;
        labels += 1;
        match head {
            0 => return Ok((end, labels)),
            1..=LABEL_MAX if end - at < NAME_MAX => {}
            1..=LABEL_MAX => return Err(NameError::NameTooLong),
            0xC0.. => return Err(NameError::BadPointer),
            _ => return Err(NameError::LabelTooLong),
        }
    }
}

/// A name under construction from labels.
struct Builder {
    len: usize,
    wire: [u8; NAME_MAX],
}

impl Builder {
    fn new() -> Self {
        Self { len: 0, wire: [0; NAME_MAX] }
    }

    /// Adds a label without its length byte; leaves room for the root.
    fn push(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        let end = self.len + 1 + label.len();
        if end >= NAME_MAX {
            return Err(NameError::NameTooLong);
        }
        self.wire[self.len] = label.len() as u8;
        self.wire[self.len + 1..end].copy_from_slice(label);
        self.len = end;
        Ok(())
    }

    fn finish(mut self) -> Name {
        self.wire[..self.len].make_ascii_lowercase();
        Name { len: self.len as u8 + 1, wire: self.wire }
    }
}

/// Reads what stands behind a backslash: three digits, or one character that is not a digit.
fn unescape(chars: &mut std::str::Chars<'_>) -> Result<u8, NameError> {
    let first = chars.next().ok_or(NameError::BadEscape)?;
    let Some(hundreds) = first.to_digit(10) else {
        let printable = first.is_ascii_graphic() || first == ' ';
        return if printable { Ok(first as u8) } else { Err(NameError::BadEscape) };
    };
    let mut digit = || chars.next().and_then(|c| c.to_digit(10)).ok_or(NameError::BadEscape);
    let value = hundreds * 100 + digit()? * 10 + digit()?;
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

impl fmt::Display for Name {
    /// Master-file text with escapes, no trailing dot except for the root itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 1 {
            return f.write_char('.');
        }
        for (index, label) in self.label_contents().enumerate() {
            if index > 0 {
                f.write_char('.')?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(byte))?,
                    _ if byte.is_ascii_graphic() => f.write_char(char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_wire().hash(state);
    }
}

#[cfg(test)]
mod tests;
