//! How a name is read in a message: the one rule for pointers and lengths (RFC 1035 section 4.1.4).

use super::name::{NAME_MAX, Name, NameError};
use super::{HEADER_LEN, u16_at};

/// The most pointers followed in one name: a name has at most 127 labels, and no encoder needs a pointer for each.
const HOPS_MAX: usize = 127;

/// What reading a name in a message came to.
pub(super) struct Walked {
    /// Offset behind the name, where it stands and not where its pointers lead.
    pub(super) end: usize,
    /// Labels and pointers read away from there: what a message can make us do more than once.
    pub(super) detours: usize,
}

/// Reads the name at `at`, handing each label with its length byte, the root's excepted, to `visit`; a name that turns
/// out to be broken may have had some of its labels visited.
#[inline]
pub(super) fn walk(message: &[u8], at: usize, mut visit: impl FnMut(&[u8])) -> Result<Walked, NameError> {
    let mut position = at;
    let mut run = at; // where the labels being read began: a pointer must lead before it ...
    let mut limit = message.len(); // ... and the labels there must end before the run that pointed to them
    let mut end = None;
    let mut wire_len = 1;
    let (mut hops, mut detours) = (0, 0);
    loop {
        let head = match message.get(position) {
            Some(&head) if position < limit => head,
            Some(_) => return Err(NameError::BadPointer),
            None => return Err(NameError::Truncated),
        };
        detours += usize::from(hops > 0);
        match head {
            0 => return Ok(Walked { end: end.unwrap_or(position + 1), detours }),
            1..=63 => {
                let label = message.get(position..position + 1 + usize::from(head)).ok_or(NameError::Truncated)?;
                wire_len += label.len();
                if wire_len > NAME_MAX {
                    return Err(NameError::NameTooLong);
                }
                visit(label);
                position += label.len();
            }
            0xC0.. => {
                let target = usize::from(u16_at(message, position).ok_or(NameError::Truncated)? & 0x3FFF);
                // Names that lead through the header would change with the message id, so they are refused as well.
                if !(HEADER_LEN..run).contains(&target) || hops == HOPS_MAX {
                    return Err(NameError::BadPointer);
                }
                end.get_or_insert(position + 2);
                hops += 1;
                limit = run;
                run = target;
                position = target;
            }
            _ => return Err(NameError::LabelTooLong),
        }
    }
}

/// Whether the name at `at` in `message` is well-formed and, whatever its letter case, `name`.
pub(super) fn is_at(name: &Name, message: &[u8], at: usize) -> bool {
    let mut rest = Some(name.as_wire());
    let walked = walk(message, at, |label| {
        rest = rest.and_then(|wire| match wire.split_at_checked(label.len()) {
            Some((head, tail)) if head.eq_ignore_ascii_case(label) => Some(tail),
            _ => None,
        });
    });
    walked.is_ok() && rest == Some(&[0])
}
