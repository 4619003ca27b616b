//! A domain name on the stack, in lower-case wire form, because lookups and hashes need one spelling (RFC 1035, 4343).

use std::fmt;

/// The longest name in wire form, root label included (RFC 1035 section 2.3.4).
pub const NAME_MAX: usize = 255;

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
    /// A label over 63 bytes.
    LabelTooLong,
    /// More than 255 bytes in wire form.
    NameTooLong,
    /// A backslash with no character, or no number up to 255, behind it.
    BadEscape,
    /// A byte that cannot stand in a name as text (space, control, or not ASCII).
    BadCharacter(char),
    /// A pointer that leads forward, out of the message, or round in circles.
    BadPointer,
    /// The bytes end inside the name.
    Truncated,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        {
            let _ = f;
            todo!()
        }
    }
}

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
    pub fn from_text(_text: &str) -> Result<Self, NameError> {
        todo!()
    }

    /// Reads an uncompressed wire name that fills `wire` exactly; lower-cases it.
    pub fn from_wire(_wire: &[u8]) -> Result<Self, NameError> {
        todo!()
    }

    /// Reads the possibly compressed name at `at` in `message`; returns it and the offset behind it. Pointers must
    /// point strictly backward (RFC 1035 section 4.1.4: "a prior occurance"), so reading always ends.
    pub fn read(_message: &[u8], _at: usize) -> Result<(Self, usize), NameError> {
        todo!()
    }

    /// Number of labels without the root: 0 for the root, 2 for `example.com`.
    pub fn labels(&self) -> usize {
        todo!()
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        todo!()
    }

    /// Whether this name is `zone` or below it.
    pub fn is_within(&self, _zone: &Self) -> bool {
        todo!()
    }

    /// The wire form of this name and of each ancestor, longest first, the root last.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.as_wire())
    }
}

impl fmt::Display for Name {
    /// Master-file text with escapes, no trailing dot except for the root itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        {
            let _ = f;
            todo!()
        }
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
