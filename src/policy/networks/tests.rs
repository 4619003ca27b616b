//! Maps of networks against a look at every entry.

use super::*;
use proptest::prelude::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What the map must say, found by looking at every entry.
fn naive(entries: &[(IpNet, u8)], address: IpAddr) -> Option<u8> {
    let address = address.to_canonical();
    let holds = |(net, _): &&(IpNet, u8)| canonical(*net).contains(&address);
    entries.iter().filter(holds).max_by_key(|(net, _)| canonical(*net).prefix_len()).map(|(_, value)| *value)
}

/// Addresses at which a map can change its mind: the first and last of each network, and their neighbours.
fn edges(entries: &[(IpNet, u8)]) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for (net, _) in entries {
        match canonical(*net) {
            IpNet::V4(net) => {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                let near = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                all.extend(near.map(|number| IpAddr::V4(number.into())));
            }
            IpNet::V6(net) => {
                let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                let near = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                all.extend(near.map(|number| IpAddr::V6(number.into())));
            }
        }
    }
    all
}

#[test]
fn the_longest_prefix_decides_in_any_order() {
    let set = NetworkSet::new([
        (net("10.9.0.0/16"), false),
        (net("10.0.0.0/8"), true),
        (net("10.9.1.0/24"), true),
        (net("2001:db8::/32"), true),
    ]);
    for (text, expected) in [
        ("10.0.0.0", true),
        ("10.255.255.255", true),
        ("10.9.0.1", false),
        ("10.9.1.1", true),
        ("11.0.0.0", false),
        ("9.255.255.255", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
        ("::ffff:10.0.0.1", true),
        ("::ffff:10.9.0.1", false),
    ] {
        assert_eq!(set.contains(address(text)), expected, "{text}");
    }
}

#[test]
fn an_empty_map_and_a_map_of_everything() {
    assert!(NetworkSet::default().is_empty());
    assert!(!NetworkSet::new([]).contains(address("::1")));
    let all = NetworkSet::new(everything().map(|net| (net, true)));
    for text in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:1.2.3.4"] {
        assert!(all.contains(address(text)), "{text}");
    }
}

#[test]
fn of_two_equal_prefixes_the_later_wins() {
    let map = NetworkMap::new([(net("10.0.0.0/8"), 1), (net("10.0.0.0/8"), 2), (net("10.1.2.3/8"), 3)]);
    assert_eq!(map.get(address("10.0.0.1")), Some(&3));
}

#[test]
fn networks_that_crowd_in_few_corners_are_found() {
    let mut entries = Vec::new();
    for i in 0..400_u32 {
        let (corner, host) = (i % 3, i / 3);
        let v6 = (0x2001_0db8_u128 + u128::from(corner) * 0x0fff_0000) << 96 | u128::from(host) << (host % 40);
        let v4 = (0x0a00_0000 + corner * 0x5000_0000) | host << (host % 9);
        entries.push((IpNet::new(IpAddr::V6(v6.into()), 64 + (i % 65) as u8).unwrap(), i as u8));
        entries.push((IpNet::new(IpAddr::V4(v4.into()), 16 + (i % 17) as u8).unwrap(), i as u8));
    }
    // `naive` takes the last of equal prefixes, as the map does.
    let map = NetworkMap::new(entries.clone());
    assert!(map.v6.nodes.len() > 1 && map.v4.nodes.len() > 1, "the index has more than one level");
    for address in edges(&entries) {
        assert_eq!(map.get(address).copied(), naive(&entries, address), "{address}");
    }
}

#[test]
fn mapped_networks_are_ipv4_networks() {
    let set = NetworkSet::new([(net("::ffff:192.0.2.0/120"), true)]);
    assert!(set.contains(address("192.0.2.7")) && set.contains(address("::ffff:192.0.2.7")));
    assert!(!set.contains(address("192.0.3.7")));
}

fn networks() -> impl Strategy<Value = Vec<(IpNet, u8)>> {
    // Few distinct bits, so that networks nest, touch and repeat.
    let v4 = (0_u32..16, 0_u32..4, 0_u8..=32).prop_map(|(high, low, len)| {
        IpNet::new(IpAddr::V4((high << 28 | low).into()), len).expect("a length up to 32")
    });
    let v6 = (0_u128..16, 0_u128..4, 0_u8..=128).prop_map(|(high, low, len)| {
        IpNet::new(IpAddr::V6((high << 124 | low).into()), len).expect("a length up to 128")
    });
    let mapped = (0_u128..4, 96_u8..=128).prop_map(|(low, len)| {
        IpNet::new(IpAddr::V6((0xffff_u128 << 32 | low << 30).into()), len).expect("a length up to 128")
    });
    prop::collection::vec((prop_oneof![4 => v4, 4 => v6, 1 => mapped], any::<u8>()), 0..40)
}

proptest! {
    #[test]
    fn a_map_agrees_with_a_look_at_every_entry(
        entries in networks(),
        v4 in any::<[u32; 4]>(),
        v6 in any::<[u128; 4]>(),
    ) {
        let map = NetworkMap::new(entries.clone());
        let random = v4.map(|n| IpAddr::V4(n.into())).into_iter().chain(v6.map(|n| IpAddr::V6(n.into())));
        for address in edges(&entries).into_iter().chain(random) {
            prop_assert_eq!(map.get(address).copied(), naive(&entries, address), "{}", address);
        }
    }

    #[test]
    fn a_merged_map_agrees_with_its_parts(a in networks(), b in networks()) {
        let parts = [NetworkMap::new(a.clone()), NetworkMap::new(b.clone())];
        let merged = NetworkMap::merge(&[&parts[0], &parts[1]], |values| Some((values[0].copied()?, values[1].copied()?)));
        for address in edges(&a).into_iter().chain(edges(&b)) {
            let expected = naive(&a, address).zip(naive(&b, address));
            prop_assert_eq!(merged.get(address).copied(), expected, "{}", address);
        }
    }
}
