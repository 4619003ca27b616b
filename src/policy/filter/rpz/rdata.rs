//! Record data as master files spell it, to wire form and back. The few types that policy zones are made of are read here,
//! and `\#` for any type (RFC 3597); the rest is hickory-proto's, which knows no origin, so names are made absolute first.

use super::flaw::Flaw;
use super::master::Word;
use super::spelling::{read_labels, unescape, wire_len, write_absolute};
use crate::dns::rtype;
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable as _, BinEncoder, NameEncoding, Restrict};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Text as TXT has it (RFC 7208 section 3.1).
const SPF: u16 = 99;
/// RFC 3403.
const NAPTR: u16 = 35;

/// The most bytes of one record's data.
const DATA_MAX: usize = 65_535;

/// Types that say something about the zone or its signatures, and nothing about policy: DS, RRSIG, NSEC, DNSKEY, NSEC3,
/// NSEC3PARAM, CDS, CDNSKEY, ZONEMD.
const OF_THE_ZONE: [u16; 9] = [43, 46, 47, 48, 50, 51, 59, 60, 63];

/// Whether records of a type are left out in silence: a signed policy zone is no worse for it.
pub(super) fn is_of_the_zone(rtype: u16) -> bool {
    OF_THE_ZONE.contains(&rtype)
}

/// Whether records of a type can be local data below the apex. Not what cuts or moves a zone (NS, SOA, DNAME), nor what is
/// only asked for or lives in messages (OPT, and 128 to 255).
pub(super) fn can_be_data(rtype: u16) -> bool {
    !matches!(rtype, 0 | rtype::NS | rtype::SOA | rtype::DNAME | rtype::OPT | 128..=255)
}

/// Reads the data of a record into `data`, which is empty. Relative names are relative to `origin`, in wire form.
///
/// # Errors
/// [`Flaw::Data`], or [`Flaw::Type`] for a type that can only be written as `\#`.
pub(super) fn read(rtype: u16, words: &[Word<'_>], origin: &[u8], data: &mut Vec<u8>) -> Result<(), Flaw> {
    match (rtype, words) {
        (_, [Word { text: b"\\#", quoted: false }, rest @ ..]) => return read_hex(rtype, rest, data),
        (rtype::A, [word]) => data.extend_from_slice(&parsed::<Ipv4Addr>(word)?.octets()),
        (rtype::AAAA, [word]) => data.extend_from_slice(&parsed::<Ipv6Addr>(word)?.octets()),
        (rtype::CNAME | rtype::NS | rtype::PTR, [word]) => read_name(word.text, origin, data)?,
        (rtype::TXT | SPF, [_, ..]) => {
            for word in words {
                read_string(word.text, data)?;
            }
        }
        (rtype::A | rtype::AAAA | rtype::CNAME | rtype::NS | rtype::PTR, _) => return Err(Flaw::Data),
        _ => read_other(rtype, words, origin, data)?,
    }
    if data.len() > DATA_MAX { Err(Flaw::Data) } else { Ok(()) }
}

fn parsed<T: std::str::FromStr>(word: &Word<'_>) -> Result<T, Flaw> {
    str::from_utf8(word.text).ok().and_then(|text| text.parse().ok()).ok_or(Flaw::Data)
}

/// A name, made absolute.
pub(super) fn read_name(text: &[u8], origin: &[u8], wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let begin = wire.len();
    let absolute = text != b"@" && read_labels(text, wire).map_err(|_| Flaw::Data)?;
    if absolute {
        wire.push(0);
    } else {
        wire.extend_from_slice(origin);
    }
    if wire.len() - begin > super::spelling::WIRE_MAX { Err(Flaw::Data) } else { Ok(()) }
}

/// A character string with its length (RFC 1035 section 3.3).
fn read_string(text: &[u8], data: &mut Vec<u8>) -> Result<(), Flaw> {
    let begin = data.len();
    data.push(0);
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        data.push(if byte == b'\\' { unescape(&mut bytes).map_err(|_| Flaw::Data)? } else { byte });
    }
    data[begin] = u8::try_from(data.len() - begin - 1).map_err(|_| Flaw::Data)?;
    Ok(())
}

/// `\# LENGTH HEX...`
fn read_hex(rtype: u16, words: &[Word<'_>], data: &mut Vec<u8>) -> Result<(), Flaw> {
    let (len, rest) = words.split_first().ok_or(Flaw::Data)?;
    let len: u16 = parsed(len)?;
    let digits: Vec<u8> = rest.iter().flat_map(|word| word.text).copied().collect();
    if digits.len() != usize::from(len) * 2 {
        return Err(Flaw::Data);
    }
    for pair in digits.chunks(2) {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        data.push(pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(Flaw::Data)?);
    }
    if is_sound(rtype, data) { Ok(()) } else { Err(Flaw::Data) }
}

/// Whether data is what its type says, as far as the type is known; it goes into answers as it is.
pub(super) fn is_sound(rtype: u16, data: &[u8]) -> bool {
    if data.len() > DATA_MAX {
        return false;
    }
    match rtype {
        rtype::A => data.len() == 4,
        rtype::AAAA => data.len() == 16,
        rtype::CNAME | rtype::NS | rtype::PTR => wire_len(data) == Some(data.len()),
        rtype::TXT | SPF => is_strings(data),
        _ => decoded(rtype, data).is_some(),
    }
}

fn is_strings(mut data: &[u8]) -> bool {
    if data.is_empty() {
        return false;
    }
    while let Some((&len, rest)) = data.split_first() {
        let Some(rest) = rest.get(usize::from(len)..) else { return false };
        data = rest;
    }
    true
}

/// Which word of a type's data is a name, counted from 0.
fn names_in(rtype: u16) -> &'static [usize] {
    match rtype {
        rtype::SOA => &[0, 1],
        rtype::MX | rtype::SVCB | rtype::HTTPS => &[1],
        rtype::SRV => &[3],
        NAPTR => &[5],
        _ => &[],
    }
}

fn read_other(rtype: u16, words: &[Word<'_>], origin: &[u8], data: &mut Vec<u8>) -> Result<(), Flaw> {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        if names_in(rtype).contains(&at) {
            let mut name = Vec::new();
            read_name(word.text, origin, &mut name)?;
            write_absolute(&name, &mut text);
            continue;
        }
        let word_text = str::from_utf8(word.text).map_err(|_| Flaw::Data)?;
        if word.quoted {
            text.extend(["\"", word_text, "\""]);
        } else {
            text.push_str(word_text);
        }
    }
    // hickory-proto writes times of an SOA into numbers of 32 bits; it must not be asked for what it knows nothing of.
    match RecordType::from(rtype) {
        RecordType::Unknown(_) | RecordType::NULL | RecordType::ZERO => return Err(Flaw::Type),
        known => {
            let read = RData::try_from_str(known, &text).map_err(|_| Flaw::Data)?;
            let mut encoder = BinEncoder::new(data);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            read.emit(&mut encoder).map_err(|_| Flaw::Data)?;
        }
    }
    if is_sound(rtype, data) { Ok(()) } else { Err(Flaw::Data) }
}

/// The data in hickory-proto's form, if all of it is what the type says.
fn decoded(rtype: u16, data: &[u8]) -> Option<RData> {
    let len = Restrict::new(u16::try_from(data.len()).ok()?);
    let mut decoder = BinDecoder::new(data);
    let read = RData::read(&mut decoder, RecordType::from(rtype), len).ok()?;
    decoder.is_empty().then_some(read)
}

/// Appends data as text that [`read`] reads as the same data: as its type is spelled where that is sure, or as `\#`.
pub(super) fn write(rtype: u16, data: &[u8], text: &mut String) {
    match (rtype, data) {
        (rtype::A, &[a, b, c, d]) => _ = write!(text, "{}", Ipv4Addr::new(a, b, c, d)),
        (rtype::AAAA, data) if data.len() == 16 => {
            let octets: [u8; 16] = std::array::from_fn(|at| data[at]);
            let _ = write!(text, "{}", Ipv6Addr::from(octets));
        }
        (rtype::CNAME | rtype::NS | rtype::PTR, data) if wire_len(data) == Some(data.len()) => {
            write_absolute(data, text);
        }
        (rtype::TXT | SPF, data) if is_strings(data) => write_strings(data, text),
        _ => {
            let spelled = decoded(rtype, data).map(|data| match rtype {
                // hickory-proto ends lists of values with a comma, which other readers take for an empty value.
                rtype::SVCB | rtype::HTTPS => data.to_string().replace(", ", " ").trim_end_matches(',').to_owned(),
                _ => data.to_string(),
            });
            let spelled = spelled.filter(|spelled| says(rtype, spelled, data));
            match spelled {
                Some(spelled) => text.push_str(&spelled),
                None => {
                    let _ = write!(text, "\\# {}", data.len());
                    for (at, byte) in data.iter().enumerate() {
                        let _ = write!(text, "{}{byte:02x}", if at == 0 { " " } else { "" });
                    }
                }
            }
        }
    }
}

/// Whether a spelling is read as this data, on one line.
fn says(rtype: u16, spelled: &str, data: &[u8]) -> bool {
    let mut entries = super::master::Entries::of(spelled.as_bytes());
    if spelled.contains(['\n', '\r']) || !matches!(entries.step(), Some(Ok(()))) {
        return false;
    }
    let mut back = Vec::new();
    read(rtype, entries.words(), &[0], &mut back).is_ok() && back == data
}

fn write_strings(mut data: &[u8], text: &mut String) {
    let mut first = true;
    while let Some((&len, rest)) = data.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(len)).unwrap_or((rest, &[]));
        text.push_str(if std::mem::take(&mut first) { "\"" } else { " \"" });
        for &byte in string {
            match byte {
                b'"' | b'\\' => text.extend(['\\', byte as char]),
                b' '..=b'~' => text.push(byte as char),
                _ => _ = write!(text, "\\{byte:03}"),
            }
        }
        text.push('"');
        data = rest;
    }
}
