//! Names as master files spell them (RFC 1035 section 5.1), to wire form and back. They are read into a buffer that the
//! caller keeps: a million owners pass through here.

use crate::policy::filter::lists::{Problem, UNICODE_MAX};
use std::fmt::Write as _;

/// The longest wire form (RFC 1035 section 2.3.4), the root's byte included.
pub(super) const WIRE_MAX: usize = 255;

/// Whether a byte stands for itself in a name.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// Appends the labels of `text` to `wire`, each with its length, without the root; returns whether the name ends with a
/// dot. Letter case stays. `.` is the root, absolute, of no labels.
///
/// # Errors
/// What is wrong with the name; `wire` then holds a piece of it.
pub(super) fn read_labels(text: &[u8], wire: &mut Vec<u8>) -> Result<bool, Problem> {
    if text == b"." {
        return Ok(true);
    }
    let begin = wire.len();
    let mut label = begin;
    wire.push(0);
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if PLAIN[usize::from(byte)] {
            wire.push(byte);
        } else {
            match byte {
                b'.' => {
                    close(wire, label)?;
                    label = wire.len();
                    wire.push(0);
                }
                b'\\' => wire.push(unescape(&mut bytes)?),
                0x21..=0x7e => wire.push(byte),
                0x80.. => {
                    wire.truncate(begin);
                    return read_unicode(text, wire);
                }
                _ => return Err(Problem::Character),
            }
        }
        // The root's byte has to find room as well.
        if wire.len() - begin >= WIRE_MAX {
            return Err(Problem::NameTooLong);
        }
    }
    if wire.len() - label > 1 {
        close(wire, label)?;
        return Ok(false);
    }
    wire.pop();
    if wire.len() == begin { Err(Problem::EmptyLabel) } else { Ok(true) }
}

/// Writes the length of the label that began at `label`.
#[inline]
fn close(wire: &mut [u8], label: usize) -> Result<(), Problem> {
    match wire.len() - label - 1 {
        0 => Err(Problem::EmptyLabel),
        len @ 1..=63 => {
            wire[label] = len as u8;
            Ok(())
        }
        _ => Err(Problem::LabelTooLong),
    }
}

/// What stands behind a backslash: three digits up to 255, or the character itself.
pub(super) fn unescape(bytes: &mut std::slice::Iter<'_, u8>) -> Result<u8, Problem> {
    let first = *bytes.next().ok_or(Problem::Character)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut digit = || bytes.next().filter(|byte| byte.is_ascii_digit()).map(|byte| u16::from(byte - b'0'));
    let rest = digit().zip(digit()).ok_or(Problem::Character)?;
    u8::try_from(u16::from(first - b'0') * 100 + rest.0 * 10 + rest.1).map_err(|_| Problem::Character)
}

/// A name with letters beyond ASCII, in its ASCII form (RFC 5890): no query has the bytes as written.
#[cold]
fn read_unicode(text: &[u8], wire: &mut Vec<u8>) -> Result<bool, Problem> {
    if text.len() > UNICODE_MAX {
        return Err(Problem::Unicode);
    }
    let text = str::from_utf8(text).map_err(|_| Problem::Character)?;
    let (wild, bare) = match text.strip_prefix("*.") {
        Some(bare) => (true, bare),
        None => (false, text),
    };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '\u{200c}' | '\u{200d}') || !c.is_ascii();
    let ascii = Some(bare).filter(|bare| bare.chars().all(fits)).and_then(|bare| idna::domain_to_ascii(bare).ok());
    let ascii = ascii.filter(|ascii| ascii.is_ascii()).ok_or(Problem::Unicode)?;
    if wild {
        wire.extend_from_slice(b"\x01*");
    }
    read_labels(ascii.as_bytes(), wire)
}

/// Appends a name in wire form, the root's byte at its end or not, without a last dot; nothing for the root.
pub(in crate::policy::filter) fn write_labels(wire: &[u8], text: &mut String) {
    let mut rest = wire;
    let mut first = true;
    while let [len @ 1..=63, tail @ ..] = rest {
        let (label, tail) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
        if !std::mem::take(&mut first) {
            text.push('.');
        }
        label.iter().for_each(|byte| write_byte(*byte, text));
        rest = tail;
    }
}

/// Appends a name in wire form with its last dot.
pub(super) fn write_absolute(wire: &[u8], text: &mut String) {
    write_labels(wire, text);
    text.push('.');
}

fn write_byte(byte: u8, text: &mut String) {
    match byte {
        b'.' | b';' | b'"' | b'(' | b')' | b'\\' | b'@' | b'$' => text.extend(['\\', byte as char]),
        0x21..=0x7e => text.push(byte as char),
        // Writing to a String cannot fail.
        _ => _ = write!(text, "\\{byte:03}"),
    }
}

/// Where each label of a name begins, the root's left out.
pub(super) fn label_starts(wire: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = usize::from(*wire.get(at)?);
        let start = at;
        at += 1 + len;
        (len > 0).then_some(start)
    })
}

/// A name in wire form, the root's byte included, whose bytes begin `bytes`; returns its length.
pub(super) fn wire_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1 + len;
        match len {
            0 => return (at <= WIRE_MAX).then_some(at),
            1..=63 if at < WIRE_MAX => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> Result<(String, bool), Problem> {
        let mut wire = Vec::new();
        let absolute = read_labels(text.as_bytes(), &mut wire)?;
        let mut written = String::new();
        write_labels(&wire, &mut written);
        Ok((written, absolute))
    }

    #[test]
    fn names_come_back_as_they_were_written() {
        for (text, written, absolute) in [
            ("a.example", "a.example", false),
            ("a.example.", "a.example", true),
            (".", "", true),
            ("*.a", "*.a", false),
            (r"a\.b.c", r"a\.b.c", false),
            (r"a\046b", r"a\.b", false),
            (r"\000x", r"\000x", false),
            ("_dmarc.X", "_dmarc.X", false),
            ("банрек.рус", "xn--80abmv1b7a.xn--p1acf", false),
            ("*.банрек.рус.", "*.xn--80abmv1b7a.xn--p1acf", true),
        ] {
            let (back, dot) = round(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            if text.is_ascii() {
                assert_eq!(back, written, "{text}");
            } else {
                assert!(back.contains("xn--p1acf") && back.is_ascii(), "{text}: {back}");
            }
            assert_eq!(dot, absolute, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (text, problem) in [
            ("", Problem::EmptyLabel),
            ("a..b", Problem::EmptyLabel),
            (".a", Problem::EmptyLabel),
            (r"a\", Problem::Character),
            (r"a\25", Problem::Character),
            (r"a\256", Problem::Character),
            ("a\u{1}", Problem::Character),
            ("a b", Problem::Character),
            ("\u{e4}!b", Problem::Unicode),
        ] {
            assert_eq!(round(text), Err(problem), "{text:?}");
        }
        assert_eq!(round(&"a".repeat(64)), Err(Problem::LabelTooLong));
        assert_eq!(round(&"abcdefg.".repeat(32)), Err(Problem::NameTooLong));
        assert!(round(&format!("{}abcde", "abcdefg.".repeat(31))).is_ok(), "253 characters are 255 bytes");
        assert_eq!(round(&format!("{}abcdef", "abcdefg.".repeat(31))), Err(Problem::NameTooLong));
    }
}
