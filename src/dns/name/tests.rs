//! Names: spellings, order, and what hickory-proto makes of the same bytes.

use super::super::walk::is_at;
use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

#[test]
fn spellings_of_one_name_are_one_name() {
    assert_eq!(name("WWW.Example.COM"), name("www.example.com."));
    assert_eq!(name("www.example.com").as_wire(), b"\x03www\x07example\x03com\0");
    assert_eq!(name("."), Name::root());
    assert_eq!(name(r"a\.b.\099"), Name::from_wire(b"\x03a.b\x01c\0").unwrap());
    assert_eq!(name(r"\065.x"), name("a.x"), "an escaped letter is still a letter (RFC 4343 section 2.1)");
}

#[test]
fn the_canonical_order_is_that_of_rfc_4034() {
    // The example of section 6.1, and the root before all.
    let texts = [
        ".",
        "example",
        "a.example",
        "yljkjljk.a.example",
        "Z.a.example",
        "zABC.a.EXAMPLE",
        "z.example",
        r"\001.z.example",
    ];
    let names: Vec<Name> = texts.into_iter().chain(["*.z.example", r"\200.z.example"]).map(name).collect();
    for (n, first) in names.iter().enumerate() {
        for (m, second) in names.iter().enumerate() {
            assert_eq!(first.canonical_cmp(second), n.cmp(&m), "{first} {second}");
        }
    }
    let longest = name(&["a"; 127].join("."));
    assert_eq!(longest.canonical_cmp(&longest.parent().unwrap()), Ordering::Greater);
    assert_eq!(longest.canonical_cmp(&longest), Ordering::Equal);
}

#[test]
fn texts_that_are_no_names_say_why() {
    let long = "a".repeat(64);
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(name(&longest).as_wire().len(), NAME_MAX);
    let too_long = format!("{longest}d");
    for (text, error) in [
        ("", NameError::EmptyLabel),
        ("..", NameError::EmptyLabel),
        (".a", NameError::EmptyLabel),
        ("a..b", NameError::EmptyLabel),
        (long.as_str(), NameError::LabelTooLong),
        (too_long.as_str(), NameError::NameTooLong),
        (r"a\", NameError::BadEscape),
        (r"a\25", NameError::BadEscape),
        (r"a\256", NameError::BadEscape),
        ("a\\\u{e9}", NameError::BadEscape),
        ("a b", NameError::BadCharacter(' ')),
        ("b\u{fc}cher.example", NameError::BadCharacter('\u{fc}')),
    ] {
        assert_eq!(Name::from_text(text), Err(error), "{text:?}");
    }
}

#[test]
fn pointers_lead_backward_to_labels_and_nowhere_else() {
    let mut message = vec![0; 12];
    message.extend(b"\x07Example\x03com\0"); // at 12
    message.extend(b"\x03www\xc0\x0c"); // at 25
    message.extend(b"\xc0\x19"); // at 31: a pointer to a name that ends in a pointer
    assert_eq!(Name::read(&message, 25), Ok((name("www.example.com"), 31)));
    assert_eq!(Name::read(&message, 31), Ok((name("www.example.com"), 33)));
    assert!(is_at(&name("www.example.com"), &message, 31));
    assert!(!is_at(&name("example.com"), &message, 31) && !is_at(&name("a.www.example.com"), &message, 31));

    let read = |tail: &[u8]| {
        let bytes = [&[0; 12], tail].concat();
        Name::read(&bytes, 12).map(|(name, _)| name)
    };
    assert_eq!(read(b"\xc0\x0c"), Err(NameError::BadPointer), "to itself");
    assert_eq!(read(b"\x01a\xc0\x0c"), Err(NameError::BadPointer), "to its own start");
    assert_eq!(read(b"\xc0\x0e\0"), Err(NameError::BadPointer), "forward");
    assert_eq!(read(b"\xc0\x00"), Err(NameError::BadPointer), "into the header");
    assert_eq!(read(b"\x40a\0"), Err(NameError::LabelTooLong), "a reserved label type");
    assert_eq!(read(b"\x03ab"), Err(NameError::Truncated));
    assert_eq!(read(b"\xc0"), Err(NameError::Truncated));
    assert_eq!(read(b""), Err(NameError::Truncated));

    let overlapping = [&[0; 12][..], b"\x04aa\x01b\xc0\x0c\0"].concat();
    assert_eq!(Name::read(&overlapping, 15), Err(NameError::BadPointer), "labels that run into the pointer");
}

#[test]
fn a_ladder_of_pointers_ends_after_127_rungs() {
    let mut message = vec![0; 13]; // the root stands at 12
    for rung in 0..200 {
        let target = if rung == 0 { 12 } else { 13 + 2 * (rung - 1) };
        message.extend((0xC000 | target as u16).to_be_bytes());
    }
    assert!(Name::read(&message, 13 + 2 * 126).is_ok());
    assert_eq!(Name::read(&message, 13 + 2 * 127).unwrap_err(), NameError::BadPointer);
}

#[test]
fn a_question_name_is_not_compressed() {
    let longest = [&b"\x3f"[..], &[b'x'; 63], b"\x3f", &[b'x'; 63], b"\x3f", &[b'x'; 63], b"\x3d", &[b'x'; 61], b"\0"];
    let longest = longest.concat();
    assert_eq!(Name::from_wire(&longest).unwrap().as_wire(), longest);
    let longer = [b"\x01y", &longest[..]].concat();
    assert_eq!(Name::from_wire(&longer), Err(NameError::NameTooLong));
    assert_eq!(Name::from_wire(b"\x01a\xc0\x00"), Err(NameError::BadPointer));
    assert_eq!(Name::from_wire(b"\x01a\0\0"), Err(NameError::NameTooLong));
    assert_eq!(Name::from_wire(b"\x02a"), Err(NameError::Truncated));
    assert_eq!(Name::from_wire(b"\x01a"), Err(NameError::Truncated));
}

#[test]
fn ancestors_are_found_at_labels_only() {
    let www = name("www.example.com");
    assert_eq!(www.labels(), 3);
    assert_eq!(www.parent(), Some(name("example.com")));
    assert_eq!((Name::root().parent(), Name::root().labels()), (None, 0));
    assert_eq!(www.suffixes().count(), 4);
    assert_eq!(www.suffixes().last(), Some(&b"\0"[..]));
    assert!(www.is_within(&name("example.com")) && www.is_within(&www) && www.is_within(&Name::root()));
    assert!(!name("badexample.com").is_within(&name("example.com")));
    assert!(!name("com").is_within(&name("example.com")));
    assert!(name("*.a").is_wildcard() && !name("x*.a").is_wildcard() && !Name::root().is_wildcard());
}

proptest! {
    #[test]
    fn text_and_wire_are_two_spellings(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=20), 0..=12)) {
        let mut wire = Vec::new();
        for label in &labels {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        let name = Name::from_wire(&wire).unwrap();
        let text = name.to_string();
        prop_assert_eq!(name, Name::from_text(&text).unwrap());
        prop_assert_eq!(name.as_wire(), wire.to_ascii_lowercase());
        prop_assert_eq!(name.labels(), labels.len());
        // hickory reads our text, and the same bytes from the wire, as the same name.
        let theirs = hickory_proto::rr::Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap().to_lowercase();
        let mut bytes = Vec::new();
        for label in &theirs {
            bytes.push(label.len() as u8);
            bytes.extend(label);
        }
        bytes.push(0);
        prop_assert_eq!(name.as_wire(), bytes);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0usize..600) {
        if let Ok((name, end)) = Name::read(&bytes, at) {
            prop_assert!(end > at && end <= bytes.len());
            prop_assert!(is_at(&name, &bytes, at));
            prop_assert_eq!(Name::from_wire(name.as_wire()).unwrap(), name);
        }
        if let Ok((name, end)) = Name::read_uncompressed(&bytes, at) {
            prop_assert_eq!(Name::read(&bytes, at).unwrap(), (name, end));
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,80}") {
        if let Ok(name) = Name::from_text(&text) {
            prop_assert_eq!(Name::from_text(&name.to_string()).unwrap(), name);
        }
    }
}
