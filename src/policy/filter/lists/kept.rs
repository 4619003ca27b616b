//! Lists that are in the running policy already: a reload mostly has them again, byte for byte, and then neither reads them
//! nor makes a table of them anew.

use super::{NameList, Parsed, Reading, Unreadable, parse_source};
use crate::policy::document::Contents;
use crate::policy::document::contents::Source;
use std::sync::Arc;

/// Shorter lists are read again: it takes a few milliseconds.
const WORTH_BYTES: u64 = 256 << 10;

/// What is kept of a list whose names are in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Kept {
    /// SHA-256 of its bytes.
    digest: [u8; 32],
    reading: Reading,
    /// What it held, without the names.
    parsed: Parsed,
}

impl Kept {
    fn is_of(&self, digest: &[u8; 32], reading: Reading) -> bool {
        self.digest == *digest && self.reading == reading
    }
}

/// Reads a list as [`parse_source`] does, or takes it from `known`: then its names are absent, and are in the table of which
/// `known` tells.
///
/// # Errors
/// As [`parse_source`].
pub(in super::super) fn parse_beside<'o, 'k>(
    list: &Contents,
    reading: Reading,
    other: &mut dyn FnMut(&str) -> Option<Source<'o>>,
    known: impl IntoIterator<Item = &'k Arc<Kept>>,
) -> Result<Parsed, Unreadable> {
    if list.len() < WORTH_BYTES {
        return parse_source(list.source(), reading, other);
    }
    let digest = list.sha256();
    if let Some(kept) = known.into_iter().find(|kept| kept.is_of(&digest, reading)) {
        let mut parsed = kept.parsed.clone();
        parsed.names.keep(Arc::clone(kept));
        return Ok(parsed);
    }
    let mut takes_in_others = false;
    let mut parsed = parse_source(list.source(), reading, &mut |name| {
        takes_in_others = true;
        other(name)
    })?;
    // What it says is not in its own bytes alone otherwise.
    if !takes_in_others {
        let names: NameList = parsed.names.without_names();
        let without = Parsed { names, problems: parsed.problems.clone(), ..parsed };
        parsed.names.keep(Arc::new(Kept { digest, reading, parsed: without }));
    }
    Ok(parsed)
}
