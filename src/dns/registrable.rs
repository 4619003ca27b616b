//! What somebody has registered: the registrable domain of a name, and the suffixes below which domains are registered
//! (publicsuffix.org). The one place that knows, for whatever must tell one owner's names from another's.
//!
//! It is asked for every forwarded query, so the labels are looked up where they stand: nothing is copied or allocated,
//! and a dot within a label is no border.

use super::name::Name;
use psl::{List, Psl, Type};

/// Labels that are looked at, from the end of a name: more than any suffix of the list has, and than a network's name.
const LABELS_KEPT: usize = 16;

/// Labels of the names for IPv4 addresses that make a domain: a /16 (RFC 1035 section 3.5). The list has whole registries
/// there.
const IPV4_LABELS: usize = 4;

/// The same for IPv6: a /32, which is what a provider gets (RFC 3596 section 2.5).
const IPV6_LABELS: usize = 10;

/// A public suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicSuffix {
    /// A top-level domain, listed or not, or what its registry registers below, such as `co.uk`.
    Registry,
    /// A company's own, such as `github.io`.
    Private,
}

/// Where the last labels of a name begin.
struct Labels<'w> {
    wire: &'w [u8],
    /// Of the label number `n` at `n % LABELS_KEPT`.
    starts: [u8; LABELS_KEPT],
    count: usize,
}

impl<'w> Labels<'w> {
    /// `wire` is a valid, lower-case, uncompressed wire form.
    #[inline]
    fn of(wire: &'w [u8]) -> Self {
        let mut labels = Self { wire, starts: [0; LABELS_KEPT], count: 0 };
        let mut at = 0;
        while let Some(&len @ 1..) = wire.get(at) {
            labels.starts[labels.count % LABELS_KEPT] = at as u8;
            labels.count += 1;
            at += 1 + usize::from(len);
        }
        labels
    }

    /// Where those that are kept begin, the last first.
    #[inline]
    fn backward(&self) -> impl Iterator<Item = usize> {
        let first = self.count.saturating_sub(LABELS_KEPT);
        (first..self.count).rev().map(|number| usize::from(self.starts[number % LABELS_KEPT]))
    }

    /// The last `count` labels, at most all, and the root.
    fn last(&self, count: usize) -> &'w [u8] {
        &self.wire[self.backward().nth(count - 1).unwrap_or(0)..]
    }

    /// Where the public suffix begins, and whose it is: `None` for one that is not on the list, one label then.
    #[inline]
    fn suffix(&self) -> (usize, Option<Type>) {
        let info = List.find(self.backward().filter_map(|start| {
            let (&len, rest) = self.wire[start..].split_first()?;
            rest.get(..usize::from(len))
        }));
        // `n` characters of text are `n + 2` bytes in wire form: a length and the root.
        (self.wire.len().saturating_sub(info.len + 2), info.typ)
    }
}

/// The registrable domain of a name in wire form; the whole name where it has none (a public suffix, a single label). Of
/// names for addresses the network that one owner usually has: /16 and /32.
pub fn registrable(name: &Name) -> &[u8] {
    let wire = name.as_wire();
    let labels = Labels::of(wire);
    if wire.ends_with(b"\x04arpa\0") {
        match labels.last(2) {
            b"\x07in-addr\x04arpa\0" => return labels.last(IPV4_LABELS),
            b"\x03ip6\x04arpa\0" => return labels.last(IPV6_LABELS),
            _ => {}
        }
    }
    let (suffix, _) = labels.suffix();
    &wire[labels.backward().find(|start| *start < suffix).unwrap_or(0)..]
}

/// Whether a name, by its valid, lower-case wire form, is one below which domains are registered.
pub fn public_suffix(wire: &[u8]) -> Option<PublicSuffix> {
    let labels = Labels::of(wire);
    match (labels.count, labels.suffix()) {
        (0, _) => None,
        (1, _) => Some(PublicSuffix::Registry),
        (_, (0, Some(whose))) => Some(match whose {
            Type::Icann => PublicSuffix::Registry,
            Type::Private => PublicSuffix::Private,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn registrable_of(text: &str) -> String {
        Name::from_wire(registrable(&Name::from_text(text).unwrap())).unwrap().to_string()
    }

    #[test]
    fn a_domain_is_one_label_below_a_public_suffix() {
        for (name, domain) in [
            ("a.b.example.com", "example.com"),
            ("example.com", "example.com"),
            ("www.example.co.uk", "example.co.uk"),
            ("www.example.com.cn", "example.com.cn"),
            ("www.example.cn", "example.cn"),
            ("x.someone.github.io", "someone.github.io"),
            ("a.b.xn--fiqs8s", "b.xn--fiqs8s"),
            ("a.dead.test", "dead.test"),
            ("a.b.city.kawasaki.jp", "city.kawasaki.jp"),
            ("a.b.other.kawasaki.jp", "b.other.kawasaki.jp"),
            ("com", "com"),
            ("co.uk", "co.uk"),
            ("test", "test"),
            (".", "."),
            (r"x\.y.example.com", "example.com"),
            (r"a.b\.com", r"a.b\.com"),
        ] {
            assert_eq!(registrable_of(name), domain, "{name}");
        }
    }

    #[test]
    fn of_addresses_it_is_a_network() {
        let nibbles = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        for (name, domain) in [
            ("4.3.2.1.in-addr.arpa", "2.1.in-addr.arpa"),
            ("3.in-addr.arpa", "3.in-addr.arpa"),
            ("in-addr.arpa", "in-addr.arpa"),
            ("arpa", "arpa"),
            (nibbles, "8.b.d.0.1.0.0.2.ip6.arpa"),
        ] {
            assert_eq!(registrable_of(name), domain, "{name}");
        }
    }

    #[test]
    fn suffixes_are_known_with_their_owners() {
        use PublicSuffix::{Private, Registry};
        for (name, expected) in [
            ("com", Some(Registry)),
            ("test", Some(Registry)),
            ("co.uk", Some(Registry)),
            ("com.cn", Some(Registry)),
            ("other.kawasaki.jp", Some(Registry)),
            ("github.io", Some(Private)),
            ("example.com", None),
            ("city.kawasaki.jp", None),
            ("example.test", None),
            (r"b\.com", Some(Registry)),
            (".", None),
        ] {
            assert_eq!(public_suffix(Name::from_text(name).unwrap().as_wire()), expected, "{name}");
        }
    }

    proptest! {
        /// Against the crate's own way over text.
        #[test]
        fn it_agrees_with_the_list(name in "([a-z]{1,3}\\.){0,4}(com|co\\.uk|github\\.io|test|kawasaki\\.jp|ck|s3\\.amazonaws\\.com|uk)") {
            let theirs = psl::domain_str(&name).unwrap_or(&name);
            prop_assert_eq!(registrable_of(&name), theirs);
        }

        #[test]
        fn any_name_is_taken_without_harm(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=3), 0..=64)) {
            let mut wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8], &label[..]].concat()).collect();
            wire.push(0);
            if let Ok(name) = Name::from_wire(&wire) {
                prop_assert!(name.as_wire().ends_with(registrable(&name)));
                public_suffix(name.as_wire());
            }
        }
    }
}
