//! rebinding: a name of the outside world may not lead into the networks behind the gateway.
//!
//! Protects browsers from pages that first resolve to their own server and then to an address of the local network, past the
//! same-origin policy (DNS rebinding). Not from names that are allowed, nor from an attacker who has an address inside. An
//! answer with a private address (A, AAAA, or a hint of an HTTPS or SVCB record, RFC 9460) to a question for a name outside
//! is withheld whole and NODATA put in its place, as dnsmasq does; such addresses in the additional section are cut off.

use super::document::{Context, Table, values};
use super::networks::{NetworkSet, canonical};
use super::{Mode, Profile};
use crate::dns::name::Name;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// TTL of the NODATA, in seconds.
pub const TTL: u32 = 30;

/// Private unless the operator says otherwise: RFC 6890 and what it lists (RFC 1918, 1122, 3927, 4193, 4291, 6598).
const PRIVATE: [&str; 13] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    // RFC 3879: site-local, deprecated, and still no address of the outside world.
    "fec0::/10",
];

/// The prefix behind which IPv4 addresses stand in IPv6 ones for NAT64 (RFC 6052 section 2.1).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// limits.toml `[rebinding]`, compiled.
///
/// ```toml
/// [rebinding]
/// mode    = "enforce"                 # default: monitor in profile recursive, off in profile authoritative
/// private = ["10.0.0.0/8", "fc00::/7"]    # in place of the built-in list
/// allow   = ["corp.example", "zen.spamhaus.org"]  # names, with all below, that may lead inside
/// ```
///
/// Names that have a route of their own in gateway.toml are inside, and need not be allowed. Blocklists for mail
/// (DNSBL) answer with addresses of 127.0.0.0/8 and have to be.
#[derive(Clone, Debug)]
pub struct RebindingPolicy {
    /// Enforce, monitor or off.
    pub mode: Mode,
    private: Arc<NetworkSet>,
    /// Wire forms of names that may lead inside, with all below them.
    allow: Arc<HashSet<Box<[u8]>>>,
}

impl RebindingPolicy {
    /// Reads `[rebinding]`; what is wrong becomes a fault and reads as its default.
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        let faults = context.faults;
        let mode = match context.server.profile {
            Profile::Recursive => Mode::Monitor,
            Profile::Authoritative => Mode::Off,
        };
        let private = if t.has("private") {
            t.networks("private", context.groups)
        } else {
            let built_in = PRIVATE.iter().filter_map(|text| text.parse().ok());
            NetworkSet::new(built_in.map(|net| (canonical(net), true)))
        };
        let allowed = t.list("allow").into_iter().filter_map(|text| values::name(&text, faults)).map(|name| name.value);
        let routed = context.server.routes.iter().map(|route| route.zone);
        let allow = allowed.chain(routed).map(|name: Name| name.as_wire().into()).collect();
        Self { mode: t.mode(mode), private: Arc::new(private), allow: Arc::new(allow) }
    }

    /// Whether an address is of the networks behind the gateway.
    #[inline]
    pub fn is_private(&self, address: IpAddr) -> bool {
        self.private.contains(address) || embedded(address).is_some_and(|v4| self.private.contains(v4.into()))
    }

    /// Whether a name may lead inside.
    pub fn allows(&self, name: &Name) -> bool {
        name.suffixes().any(|suffix| self.allow.contains(suffix))
    }
}

/// The IPv4 address in an IPv6 one of NAT64.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [.., high, low] = v6.segments();
    v6.segments().starts_with(&NAT64).then(|| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::super::document::probe;
    use super::*;

    const GATEWAY: &str =
        "[[upstream]]\naddress = \"192.0.2.1\"\n[[route]]\nzone = \"corp.example\"\npool = \"default\"\n";

    fn read(profile: &str, text: &str) -> (RebindingPolicy, Vec<String>) {
        let server = probe::server(&format!("profile = \"{profile}\"\n{GATEWAY}"));
        probe::read_within(&server, 0, text, RebindingPolicy::read)
    }

    #[test]
    fn the_defaults_know_private_networks_and_own_routes() {
        let (policy, faults) = read("recursive", "");
        assert_eq!((faults.len(), policy.mode), (0, Mode::Monitor));
        assert_eq!(read("authoritative", "").0.mode, Mode::Off);
        for (address, private) in [
            ("10.1.2.3", true),
            ("127.0.0.1", true),
            ("0.0.0.0", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.0.2.1", false),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("::ffff:192.168.1.1", true),
            ("64:ff9b::a01:203", true),
            ("64:ff9b::c000:201", false),
        ] {
            assert_eq!(policy.is_private(address.parse().unwrap()), private, "{address}");
        }
        for (name, allowed) in [("corp.example", true), ("a.corp.example", true), ("example", false), (".", false)] {
            assert_eq!(policy.allows(&Name::from_text(name).unwrap()), allowed, "{name}");
        }
    }

    #[test]
    fn every_field_is_read_and_every_fault_found() {
        let text = "mode = \"enforce\"\nprivate = [\"192.0.2.0/24\", \"!192.0.2.7\"]\nallow = [\"dns.bl\"]";
        let (policy, faults) = read("authoritative", text);
        assert_eq!((faults, policy.mode), (vec![], Mode::Enforce));
        assert!(policy.is_private([192, 0, 2, 1].into()) && !policy.is_private([192, 0, 2, 7].into()));
        assert!(!policy.is_private([10, 0, 0, 1].into()), "the list takes the place of the built-in one");
        assert!(policy.allows(&Name::from_text("2.0.0.127.dns.bl").unwrap()));
        let text = "mode = \"on\"\nprivate = [\"10.0.0.1/8\"]\nallow = [\"a..b\", \"10.0.0.1\"]\nalow = []";
        let (_, faults) = read("recursive", text);
        assert_eq!(faults, ["1:8 E-CHOICE", "2:12 E-NETWORK", "3:10 E-NAME", "3:18 E-NAME", "4:1 E-UNKNOWN-KEY"]);
    }
}
