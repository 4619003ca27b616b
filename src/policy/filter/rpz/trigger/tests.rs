//! Owners to triggers and back, and what is said of those that are none.

use super::super::spelling::read_labels;
use super::*;
use proptest::prelude::*;

/// Kind, reach, name or network, and what is doubtful about it.
type Seen = (Kind, u8, String, Option<&'static str>);

/// Kind, reach, and the name or network; or the code of the problem and what was meant.
fn seen(owner: &str) -> Result<Seen, (&'static str, Option<String>)> {
    let mut wire = Vec::new();
    read_labels(owner.as_bytes(), &mut wire).expect("the owner is a name");
    wire.make_ascii_lowercase();
    wire.push(0);
    match read(&mut wire) {
        Ok((Trigger::Apex, _)) => Ok((Kind::Apex, 0, String::new(), None)),
        Ok((Trigger::Name(kind, reach, name), doubt)) => Ok((kind, reach, text_of(name), doubt.map(Problem::code))),
        Ok((Trigger::Network(kind, network), doubt)) => Ok((kind, 0, network.to_string(), doubt.map(Problem::code))),
        Err(no) => Err((no.problem.code(), no.meant)),
    }
}

#[test]
fn every_kind_of_owner_is_read() {
    for (owner, kind, reach, what) in [
        ("a.example", Kind::Qname, SELF, "a.example"),
        ("*.A.example", Kind::Qname, BELOW, "a.example"),
        ("*", Kind::Qname, BELOW, ""),
        ("rpzone.example", Kind::Qname, SELF, "rpzone.example"),
        ("rpz.example.com", Kind::Qname, SELF, "rpz.example.com"),
        ("_dmarc.example", Kind::Qname, SELF, "_dmarc.example"),
        ("1.2.3.4.in-addr.arpa", Kind::Qname, SELF, "1.2.3.4.in-addr.arpa"),
        ("24.0.2.0.192.rpz-ip", Kind::Ip, 0, "192.0.2.0/24"),
        ("32.1.2.0.192.RPZ-CLIENT-IP", Kind::ClientIp, 0, "192.0.2.1/32"),
        ("32.1.2.0.192.rpz-nsip", Kind::NsIp, 0, "192.0.2.1/32"),
        ("ns.a.example.rpz-nsdname", Kind::NsDname, SELF, "ns.a.example"),
        ("*.a.example.rpz-nsdname", Kind::NsDname, BELOW, "a.example"),
        ("*.rpz-nsdname", Kind::NsDname, BELOW, ""),
        ("32.zz.db8.2001.rpz-ip", Kind::Ip, 0, "2001:db8::/32"),
        ("128.1.zz.cc.bb.aa.db8.2001.rpz-ip", Kind::Ip, 0, "2001:db8:aa:bb:cc::1/128"),
        ("128.124.0.0.cc.bb.aa.db8.2001.rpz-ip", Kind::Ip, 0, "2001:db8:aa:bb:cc::124/128"),
        ("128.1.zz.rpz-ip", Kind::Ip, 0, "::1/128"),
        ("1.zz.rpz-ip", Kind::Ip, 0, "::/1"),
    ] {
        assert_eq!(seen(owner), Ok((kind, reach, what.to_owned(), None)), "{owner}");
    }
    assert_eq!(seen("."), Ok((Kind::Apex, 0, String::new(), None)));
}

#[test]
fn bits_beyond_the_prefix_are_cut_off() {
    for (owner, network) in [
        ("8.2.0.0.10.rpz-client-ip", "10.0.0.0/8"),
        ("24.10.100.51.198.rpz-client-ip", "198.51.100.0/24"),
        ("32.10.zz.db8.2001.rpz-client-ip", "2001:db8::/32"),
    ] {
        assert_eq!(seen(owner), Ok((Kind::ClientIp, 0, network.to_owned(), Some("rpz-hostbits"))), "{owner}");
    }
}

#[test]
fn what_is_no_trigger_says_what_was_meant() {
    for (owner, code, meant) in [
        ("1.0.218.230.rpz-ip", "rpz-ip-prefix", Some("32.230.218.0.1.rpz-ip")),
        ("100.20.104.229.rpz-ip", "rpz-ip-prefix", Some("32.229.104.20.100.rpz-ip")),
        ("222.186.190.92.rpz-client-ip.rpz.mypdns.cloud", "rpz-ip-prefix", Some("32.92.190.186.222.rpz-client-ip")),
        ("33.1.2.0.192.rpz-ip", "rpz-ip-prefix", None),
        ("0.0.0.0.0.rpz-ip", "rpz-ip-prefix", None),
        ("129.1.zz.rpz-ip", "rpz-ip-prefix", None),
        ("24.0.247.18.71.rpz.ip", "rpz-suspect-owner", Some("24.0.247.18.71.rpz-ip")),
        ("48.2404:9dc0:c002::.rpz.ip", "rpz-suspect-owner", Some("48.zz.c002.9dc0.2404.rpz-ip")),
        ("48.2404:9dc0:c002::.rpz-ip", "rpz-ip6-form", Some("48.zz.c002.9dc0.2404.rpz-ip")),
        ("128.3.zz.101:db8.2001.rpz-ip", "rpz-ip6-form", Some("128.3.zz.101.db8.2001.rpz-ip")),
        ("32.1.2.0.192.rpz-ip.rpz.example.com", "rpz-suspect-owner", Some("32.1.2.0.192.rpz-ip")),
        ("32.1.2.0.192.rpz-clientip", "rpz-suspect-owner", Some("32.1.2.0.192.rpz-client-ip")),
        ("ns.a.rpz.nsdname", "rpz-suspect-owner", Some("ns.a.rpz-nsdname")),
        ("rpz-nsdname", "rpz-suspect-owner", None),
        ("rpz-ip", "rpz-ip-form", None),
        ("32.a.b.rpz-ip", "rpz-ip-form", None),
        ("32.300.2.0.192.rpz-ip", "rpz-ip-form", None),
        ("128.1.zz.2.zz.rpz-ip", "rpz-ip6-form", None),
        ("128.1.2.3.4.5.6.7.rpz-ip", "rpz-ip6-form", None),
        ("192.0.2.1", "rpz-address-owner", Some("32.1.2.0.192.rpz-ip")),
        ("a.*.example", "inner-wildcard", None),
        ("a*.example", "inner-wildcard", None),
    ] {
        assert_eq!(seen(owner), Err((code, meant.map(str::to_owned))), "{owner}");
    }
}

proptest! {
    #[test]
    fn networks_come_back_as_they_were_written(v4 in any::<u32>(), v6 in any::<[u16; 8]>(), zeros in any::<u8>(), len in 1_u8..=128) {
        let words = std::array::from_fn::<u16, 8, _>(|at| if zeros >> at & 1 == 1 { 0 } else { v6[at] });
        let v6 = IpNet::V6(Ipv6Net::new(Ipv6Addr::from(words), len).unwrap().trunc());
        let v4 = IpNet::V4(Ipv4Net::new(Ipv4Addr::from(v4), (len - 1) % 32 + 1).unwrap().trunc());
        for network in [v4, v6] {
            for kind in [Kind::Ip, Kind::ClientIp, Kind::NsIp] {
                let owner = encode(network, kind.label().unwrap());
                prop_assert_eq!(seen(&owner), Ok((kind, 0, network.to_string(), None)), "{}", owner);
            }
        }
    }

    #[test]
    fn no_owner_is_too_strange(labels in prop::collection::vec("rpz-ip|rpz|zz|[0-9]{1,3}|[a-f:*]{1,4}|rpz-[a-z]{1,9}|ip", 0..12)) {
        let mut wire = Vec::new();
        for label in &labels {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        let _ = read(&mut wire);
    }
}
