//! All networks of all rules of one kind of trigger in one map: one look-up finds every rule that could speak about an
//! address, whatever the number of zones and rules.

use super::Rule;
use crate::policy::document::network::Depths;
use crate::policy::networks::{NetworkMap, canonical};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A rule and the prefix with which it holds an address, as of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// The number of the rule.
    pub(super) rule: u32,
    /// 0 to 128: an IPv4 prefix is 96 longer than it is written.
    pub(super) bits: u8,
}

impl Held {
    /// The network that holds `address` for the rule.
    pub(super) fn network(self, address: IpAddr) -> IpNet {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { self.bits.saturating_sub(96) } else { self.bits };
        canonical(IpNet::new(address, bits).unwrap_or_else(|_| IpNet::from(address)))
    }
}

/// Which rules hold what addresses.
#[derive(Debug, Default)]
pub(super) struct Holders {
    map: NetworkMap<u32>,
    sets: Vec<Box<[Held]>>,
}

impl Holders {
    /// Enters the networks of rules, each by its number. Members of a set stand in order of precedence: zone, then longer
    /// prefix, then `allow`, then line.
    pub(super) fn build(rules: &[Rule], networks: &[(usize, Arc<Depths>)]) -> Self {
        let maps: Vec<&Depths> = networks.iter().map(|(_, depths)| &**depths).collect();
        let mut sets: Vec<Box<[Held]>> = Vec::new();
        let mut known: HashMap<Box<[Held]>, u32> = HashMap::new();
        let map = NetworkMap::overlay(&maps, |is_v4, here| {
            let mut held: Vec<Held> = here
                .filter(|(_, (_, holds))| *holds)
                .map(|(map, (len, _))| Held { rule: networks[map].0 as u32, bits: if is_v4 { len + 96 } else { *len } })
                .collect();
            if held.is_empty() {
                return None;
            }
            held.sort_by_key(|held| {
                let rule = &rules[held.rule as usize];
                (rule.zone_number, 128 - held.bits, rule.action != super::Action::Allow, held.rule)
            });
            let held: Box<[Held]> = held.into();
            Some(*known.entry(held).or_insert_with_key(|held| {
                sets.push(held.clone());
                sets.len() as u32 - 1
            }))
        });
        Self { map, sets }
    }

    /// Whether no rule holds any address.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All sets of rules that hold the same addresses, each in order of precedence.
    pub(super) fn sets(&self) -> impl Iterator<Item = &[Held]> {
        self.sets.iter().map(|set| &**set)
    }

    /// The rules that hold an address, in order of precedence.
    #[inline]
    pub(super) fn of(&self, address: IpAddr) -> &[Held] {
        self.map.get(address).map_or(&[], |set| &self.sets[*set as usize])
    }

    /// All memory of the sets, in bytes, without the map's.
    pub(super) fn bytes(&self) -> usize {
        self.sets.iter().map(|set| size_of_val(&**set)).sum::<usize>() + self.map.bytes()
    }
}
