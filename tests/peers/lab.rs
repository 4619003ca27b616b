//! The lab of the crate, read by real clients, directly and through the gateway: what `weir run --lab` shows to somebody
//! who tries it with dig.

use super::clients::{dig, kdig};
use super::harness::Scratch;
use super::servers::lab;
use super::weir::{Setup, Weir};
use weir::lab::zone::TRANSFER_HOSTS;

#[test]
fn dig_and_kdig_read_every_kind_of_record() {
    let scratch = Scratch::new("lab");
    let lab = lab();
    let weir = Weir::start(&scratch, &Setup::before("recursive", lab.address, ". NS"));
    for at in [lab.address, weir.address] {
        for (name, rtype, data) in [
            ("www", "A", &["192.0.2.10", "192.0.2.11"][..]),
            ("www", "AAAA", &["2001:db8::10"]),
            ("alias3", "AAAA", &["2001:db8::10", "alias.lab.example.", "alias2.lab.example.", "www.lab.example."]),
            ("text", "TXT", &["\"one string\" \"and another\""]),
            ("_sip._udp", "SRV", &["10 60 5060 www.lab.example.", "20 40 5060 mail.lab.example."]),
            ("x.wild", "TXT", &["\"from the wildcard\""]),
        ] {
            let name = format!("{name}.lab.example");
            assert_eq!(dig(at, &[&name, rtype]).data(), data, "{name} {rtype}");
            let answer = kdig(at, &["+tcp", &name, rtype]);
            assert_eq!(answer.data(), data, "{name} {rtype} by kdig");
            assert!(!answer.0.contains("WARNING"), "{answer:?}");
        }
        assert_eq!(dig(at, &["lab.example", "CAA"]).data(), ["0 issue \"ca.example.net\""]);
        assert!(dig(at, &["www.lab.example", "HTTPS"]).data()[0].contains("alpn=\"h2,h3\""));
        assert_eq!(dig(at, &["-x", "192.0.2.10"]).data(), ["www.lab.example."]);
        assert_eq!(dig(at, &["long4096.lab.example", "TXT", "+noignore"]).answer().len(), 24);
        assert_eq!(dig(at, &["www.refused.example", "A"]).status(), "REFUSED");
        assert_eq!(dig(at, &["www.fail.example", "A"]).status(), "SERVFAIL");
    }
    let whole = dig(lab.address, &["transfer.example", "AXFR"]).0;
    assert_eq!(whole.matches("\tA\t10.53.").count(), TRANSFER_HOSTS as usize);
    assert!(dig(weir.address, &["transfer.example", "AXFR"]).0.contains("failed"), "nobody is named for transfers");
    weir.stop();
}
