//! The piece of a line that is shown with a fault: some files are one line, and some lines hold what a terminal obeys.

use std::ops::Range;

/// The longest piece of a line that is shown, in bytes.
const EXCERPT_MAX: usize = 160;

/// The line that byte `at` is in, without its end.
pub(super) fn line_around(text: &[u8], at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |newline| at + newline);
    start..end
}

/// The piece of a line around a fault, control characters made visible, and which bytes of it to underline.
pub(super) fn excerpt(text: &[u8], line: &Range<usize>, span: Range<usize>) -> (String, Range<usize>) {
    let from = line.start.max(span.start.saturating_sub(EXCERPT_MAX / 2));
    let to = line.end.min(span.start + EXCERPT_MAX);
    let clean = |bytes: &[u8]| -> String {
        let show = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        String::from_utf8_lossy(bytes).trim_end_matches('\r').chars().map(show).collect()
    };
    let end = span.end.clamp(span.start, to.max(span.start));
    let before = clean(&text[from..span.start.max(from)]);
    let inside = clean(&text[span.start..end]);
    let after = clean(&text[end..to.max(end)]);
    let underline = before.len()..before.len() + inside.len();
    (before + &inside + &after, underline)
}
