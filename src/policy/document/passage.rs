//! The text around a fault: all of a file that is in memory, and of a file on the disk the lines that are told of, found in
//! one reading, so that a report on a large list needs no more memory than its lines.

use super::excerpt::line_around;
use super::{Contents, Fault, Files, Place};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Whole lines of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Passage<'f> {
    pub(super) text: Cow<'f, [u8]>,
    /// Where it begins in the file.
    pub(super) start: usize,
    /// Lines before it.
    pub(super) lines_before: usize,
}

/// The passages of files on the disk, by file and place.
#[derive(Debug, Default)]
pub(super) struct Passages(BTreeMap<(Arc<str>, usize, usize), Passage<'static>>);

impl Passages {
    /// Reads those of all faults; `faults` are sorted by file and place. A file that is not any more what was compiled has
    /// none: its faults name their lines themselves.
    pub(super) fn of(faults: &[Fault], files: &Files) -> Self {
        let mut passages = Self::default();
        for of_file in faults.chunk_by(|a, b| a.place.file == b.place.file) {
            let file = &of_file[0].place.file;
            let Some(contents) = files.contents(file).filter(|contents| contents.in_memory().is_none()) else {
                continue;
            };
            let spans: Vec<_> = of_file.iter().map(|fault| &fault.place.span).filter(|span| **span != (0..0)).collect();
            if let Ok(found) = find(contents, &spans) {
                passages
                    .0
                    .extend(found.into_iter().map(|(span, found)| ((Arc::clone(file), span.start, span.end), found)));
            }
        }
        passages
    }

    /// The text around a place; empty when there is none.
    pub(super) fn of_place<'f>(&'f self, place: &Place, files: &'f Files) -> Passage<'f> {
        if let Some(bytes) = files.bytes(&place.file) {
            return Passage { text: Cow::Borrowed(bytes), ..Passage::default() };
        }
        let found = self.0.get(&(Arc::clone(&place.file), place.span.start, place.span.end));
        found.map_or_else(Passage::default, |found| Passage { text: Cow::Borrowed(&found.text), ..*found })
    }
}

/// The lines of each span, which are sorted by their beginnings; up to the end of its piece, where it goes beyond that.
fn find(contents: &Contents, spans: &[&Range<usize>]) -> std::io::Result<Vec<(Range<usize>, Passage<'static>)>> {
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    let mut left = spans.iter().peekable();
    let (mut found, mut before, mut lines) = (Vec::new(), 0, 0);
    let len = usize::try_from(contents.len()).unwrap_or(usize::MAX);
    contents.read_through(|piece| {
        let (mut counted, after) = (0, before + piece.len());
        while let Some(span) = left.next_if(|span| span.start < after || after == len) {
            let start = line_around(piece, span.start.saturating_sub(before)).start;
            let end = line_around(piece, span.end.saturating_sub(before).max(start)).end;
            lines += newlines(&piece[counted..start]);
            counted = start;
            let text = piece[start..end].to_vec().into();
            found.push(((*span).clone(), Passage { text, start: before + start, lines_before: lines }));
        }
        lines += newlines(&piece[counted..]);
        before = after;
        Ok(())
    })?;
    Ok(found)
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}
