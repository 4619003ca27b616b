//! What a feed's source and the state directory hand in: messages of a transfer, a zone as it was written, a manifest, a
//! signature. Nothing of it may be more than refused, and a zone that was put together is read back as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::control::feeds::signature::verify;
use weir::control::feeds::zone::{Assembled, Assembly, Zone};
use weir::policy::feeds::{Manifest, Pin};

const APEX: &[u8] = b"\x03rpz\x07example\x00";
const KEY: &str = "RWR3ZWlyZmVlZPQYOs7T3jjEC2DKIKoMyukTv1CeLdJHsluZimkM1CCC";
const ZONE: &str = "rpz.example. 60 IN SOA ns.example. me.example. 1 3600 600 86400 60\n\
                    bad.rpz.example. 60 IN CNAME .\n";

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => drop(Manifest::parse(rest)),
        1 => assert!(verify(&Pin::Minisign(KEY.to_owned()), b"x", Some(rest)).is_err(), "nobody signed it"),
        2 => {
            if let Ok(zone) = Zone::from_text(&String::from_utf8_lossy(rest)) {
                let text = zone.to_text();
                assert_eq!(Zone::from_text(&text).expect("it was written here").to_text(), text);
            }
        }
        _ => transfer(rest, kind & 4 != 0),
    }
});

/// Messages one behind the other, each with its length before it.
fn transfer(mut data: &[u8], is_ixfr: bool) {
    let zone = is_ixfr.then(|| Zone::from_text(ZONE).expect("it is right"));
    let mut assembly = Assembly::new(APEX, zone, 1 << 16).expect("it is a name");
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (message, behind) = rest.split_at(len);
        match assembly.take(message.to_vec()) {
            Ok(None) => {}
            Ok(Some(Assembled::Changed(zone) | Assembled::Unchanged(zone))) => {
                let text = zone.to_text();
                assert_eq!(Zone::from_text(&text).expect("it was written here").to_text(), text);
                return;
            }
            Ok(Some(Assembled::AskForAll)) | Err(_) => return,
        }
        data = behind;
    }
}
