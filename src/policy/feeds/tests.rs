//! `[[feed]]` as written: what is read, and every way to write it wrong.

use super::*;
use crate::policy::document::Report;
use crate::policy::document::toml_file::{TomlFile, TomlText};

const SECRETS: &str = "# of the machine\nweir.key c2VjcmV0LXNlY3JldC1zZWNyZXQ=\nshort.key AAAA\n";

fn read(text: &str) -> (Feeds, Vec<String>) {
    let others = [("feeds.secrets", SECRETS), ("bad.secrets", "weir.key\n"), ("not.pem", "nothing")];
    let files: Files = others.into_iter().chain([("gateway.toml", text)]).collect();
    let faults = Faults::default();
    let feeds = {
        let text = TomlText::of(&files, "gateway.toml", &faults).expect("it is there");
        let file = TomlFile::parse(&text, &faults);
        Feeds::read(&file.root(&faults), &files)
    };
    (feeds, Report::new(faults, &files).faults.into_iter().map(|fault| fault.message).collect())
}

#[test]
fn both_kinds_are_read_with_their_defaults() {
    let (feeds, faults) = read(
        "[[feed]]\nname = \"phishing\"\nurl = \"https://lists.example/x.txt\"\n\
         [[feed]]\nname = \"rpz\"\nprimary = \"192.0.2.53\"\nzone = \"rpz.example\"\n\
         tsig = { name = \"weir.key\", secret_file = \"feeds.secrets\" }\n",
    );
    assert_eq!(faults, Vec::<String>::new());
    let phishing = feeds.of("phishing").unwrap();
    assert_eq!((phishing.size_max, phishing.entries_min, phishing.change_max), (64 << 20, 1, 0.3));
    let FeedSource::Zone(zone) = &feeds.of("rpz").unwrap().source else { panic!("a zone") };
    assert_eq!(zone.primary.to_string(), "192.0.2.53:53");
    assert_eq!(format!("{:?}", zone.key), "Some(TsigKey(weir.key))", "the secret is not shown");
    let (primary, other) = ("192.0.2.53".parse().unwrap(), "192.0.2.54".parse().unwrap());
    let name = Name::from_text("RPZ.example").unwrap();
    assert!(feeds.notified(primary, &name).is_some() && feeds.notified(other, &name).is_none());
    assert!(feeds.notified(primary, &Name::from_text("other.example").unwrap()).is_none());
}

#[test]
fn a_pin_holds_for_copies_that_were_taken_before_it() {
    let (digest, key) = (digest_of(b"right"), "RWR3ZWlyZmVlZPQYOs7T3jjEC2DKIKoMyukTv1CeLdJHsluZimkM1CCC");
    let (read, _) = read(&format!(
        "[[feed]]\nname = \"open\"\nurl = \"https://a.example/\"\n\
         [[feed]]\nname = \"hash\"\nurl = \"https://a.example/\"\nsha256 = \"{}\"\n\
         [[feed]]\nname = \"key\"\nurl = \"https://a.example/\"\nminisign = \"{key}\"\n",
        hex(&digest).to_uppercase()
    ));
    let vouches = |name: &str, copy: &Manifest| read.of(name).unwrap().source.vouches_for(copy);
    let of = |content: &[u8]| Manifest::of(content, "https://a.example/".to_owned(), 1);
    let signed = |key: &str| Manifest { signed_by: Some(key.to_owned()), ..of(b"wrong") };
    assert_eq!([of(b"right"), of(b"wrong")].map(|copy| vouches("open", &copy)), [true, true]);
    assert_eq!([of(b"right"), of(b"wrong")].map(|copy| vouches("hash", &copy)), [true, false]);
    assert_eq!([of(b"right"), signed("RWother"), signed(key)].map(|copy| vouches("key", &copy)), [false, false, true]);
    let elsewhere = Manifest { source: "https://b.example/".to_owned(), ..of(b"right") };
    assert!(!vouches("hash", &elsewhere) && read.of("hash").unwrap().source.is_pinned(&elsewhere));
}

#[test]
fn what_is_wrong_is_named() {
    let zone = "name = \"z\"\nprimary = \"192.0.2.53\"\nzone = \"z.example\"\n";
    let url = "name = \"u\"\nurl = \"https://a.example/\"\n";
    let cases = [
        ("name = \"u\"\n".to_owned(), "needs url or primary"),
        ("name = \"../u\"\nurl = \"https://a/\"\n".to_owned(), "cannot be the name of a feed"),
        ("name = \".u\"\nurl = \"https://a/\"\n".to_owned(), "cannot be the name of a feed"),
        ("name = \"u\"\nurl = \"http://a.example/\"\n".to_owned(), "over https"),
        ("name = \"u\"\nurl = \"ftp://a.example/\"\n".to_owned(), "over https"),
        ("name = \"u\"\nurl = \"/etc/passwd\"\n".to_owned(), "must have a host"),
        ("name = \"u\"\nurl = \"https://me:pw@a.example/\"\n".to_owned(), "password"),
        (format!("{url}primary = \"192.0.2.1\"\n"), "one source"),
        (format!("{url}sha256 = \"00\"\n"), "not a SHA-256"),
        (format!("{url}minisign = \"RW\"\n"), "not a public key"),
        (format!("{url}ca = \"/etc/ca.pem\"\n"), "ca cannot be"),
        (format!("{url}ca = \"there-is-none.pem\"\n"), "there is no"),
        (format!("{url}ca = \"not.pem\"\n"), "no certificate"),
        (format!("{url}change_max = 2\n"), "change_max must be"),
        (format!("{url}zone = \"x\"\n"), "only for a feed with a primary"),
        (format!("{zone}refresh = \"1h\"\n"), "only for a feed with a url"),
        (format!("{zone}tsig = {{ name = \"weir.key\" }}\n"), "needs secret_file"),
        (format!("{zone}tsig = {{ name = \"weir.key\", secret_file = \"x\" }}\n"), "secret_file cannot be"),
        (format!("{zone}tsig = {{ name = \"weir.key\", secret_file = \"no.secrets\" }}\n"), "there is no no.secrets"),
        (format!("{zone}tsig = {{ name = \"other\", secret_file = \"feeds.secrets\" }}\n"), "has no secret"),
        (format!("{zone}tsig = {{ name = \"short.key\", secret_file = \"feeds.secrets\" }}\n"), "too short"),
        (format!("{zone}tsig = {{ name = \"weir.key\", secret_file = \"bad.secrets\" }}\n"), "a line of bad.secrets"),
        (format!("{url}[[feed]]\n{url}"), "twice"),
    ];
    for (text, part) in cases {
        let (_, faults) = read(&format!("[[feed]]\n{text}"));
        assert!(faults.iter().any(|fault| fault.contains(part)), "{text}: {faults:?}");
    }
}

#[test]
fn http_is_for_loopback_alone() {
    for (url, is_right) in [
        ("http://127.0.0.1:8000/x", true),
        ("http://[::1]:8000/x", true),
        ("http://localhost/x", true),
        ("http://127.0.0.1.example/x", false),
        ("http://192.0.2.1/x", false),
        ("https://192.0.2.1/x", true),
    ] {
        assert_eq!(check_scheme(&url.parse().unwrap()).is_ok(), is_right, "{url}");
    }
}

#[test]
fn the_names_of_feeds_are_found_in_whatever_else_is_written() {
    let text =
        "schema = 9\nlisten = 7\n[[feed]]\nname = \"a\"\nnew_key = 1\n[[feed]]\nurl = \"x\"\n[[feed]]\nname = \"b\"\n";
    assert_eq!(declared(text).unwrap(), ["a", "b"]);
    assert_eq!(declared("feed = 1\n").unwrap(), [""; 0]);
    assert!(declared("[[feed]\n").is_err());
}
