//! Redirects and bounds; the whole of a fetch is tested against a server over TLS, with the gateway as a process
//! (tests/commands).

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;

fn leads(from: &str, to: Option<&str>) -> Result<String, Text> {
    let mut headers = HeaderMap::new();
    if let Some(to) = to {
        headers.insert(header::LOCATION, to.parse().unwrap());
    }
    target(&from.parse().unwrap(), &headers).map(|url| url.to_string())
}

#[test]
fn redirects_stay_with_https() {
    let from = "https://a.example/x/y?z";
    assert_eq!(leads(from, Some("https://b.example/c")).unwrap(), "https://b.example/c");
    assert_eq!(leads(from, Some("/c?d")).unwrap(), "https://a.example/c?d");
    assert_eq!(leads("http://127.0.0.1:80/x", Some("https://b.example/c")).unwrap(), "https://b.example/c");
    for to in ["http://b.example/", "http://127.0.0.1/", "ftp://b.example/", "file:///etc/passwd", "c", "//"] {
        assert!(leads(from, Some(to)).is_err(), "{to}");
    }
    assert!(leads(from, None).is_err());
}

#[test]
fn what_is_packed_is_unpacked_within_its_bound() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&[b'a'; 100_000]).unwrap();
    let packed = packer.finish().unwrap();
    assert!(packed.len() < 1_000, "a bomb of its kind");
    let unpack = |most: u64, data: &[u8]| {
        let mut unpacker = Unpacker::Gzip(Box::new(MultiGzDecoder::new(Bounded::new(most))));
        unpacker.write(data)?;
        unpacker.finish()
    };
    assert_eq!(unpack(100_000, &packed).unwrap().len(), 100_000);
    assert_eq!(unpack(99_999, &packed).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert!(unpack(100_000, &packed[..packed.len() - 4]).is_err(), "it was cut off");
    assert!(unpack(100_000, b"plain text").is_err());
}
