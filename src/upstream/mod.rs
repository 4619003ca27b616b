//! Whom we ask: upstream servers with their health, pools of tiers, and routes by zone.
//!
//! [`Routing`] is built anew with each policy, while the [`State`] of a server that stays is carried over, so that a
//! reload forgets no health, no round-trip time and no socket.

pub mod flights;
pub mod health;
mod index;
pub mod places;
pub mod select;
pub mod wheel;

use crate::dns::name::Name;
use crate::language::{Text, Told, text};
use crate::policy::server::{PoolSettings, Server, UpstreamSettings};
pub use health::State;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The most upstreams at one time, those included that have left the policy and still drain.
pub const LINKS_MAX: usize = 256;

/// An upstream's slot in the registry and which use of the slot it is; stable over reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// Below [`LINKS_MAX`].
    pub slot: u16,
    /// Which use of the slot.
    pub generation: u16,
}

/// One server of the running policy.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub settings: UpstreamSettings,
    /// Its slot.
    pub link: LinkId,
    /// What is known about it; outlives a reload.
    pub state: Arc<State>,
}

/// The servers of one tier.
#[derive(Debug)]
struct Tier {
    /// Indices into [`Routing::upstreams`].
    members: Vec<usize>,
}

/// A pool of servers in tiers.
#[derive(Debug)]
pub struct Pool {
    /// As configured.
    pub settings: PoolSettings,
    /// Lowest number first.
    tiers: Vec<Tier>,
}

/// Pools, servers and routes of one policy.
#[derive(Debug)]
pub struct Routing {
    /// All servers.
    pub upstreams: Vec<Upstream>,
    /// All pools; number 0 is `default`.
    pub pools: Vec<Pool>,
    /// Zone in wire form to (zone, index of its pool).
    routes: HashMap<Box<[u8]>, (Name, usize), ahash::RandomState>,
}

impl Routing {
    /// Builds the routing of a policy; servers with the same name, address and transport as in an earlier one keep
    /// their state and link.
    ///
    /// # Errors
    /// [`RegistryFull`] when more than [`LINKS_MAX`] servers are in use or still drain.
    pub fn new(server: &Server, registry: &mut Registry) -> Result<Self, RegistryFull> {
        let mut upstreams = Vec::with_capacity(server.upstreams.len());
        for settings in &server.upstreams {
            let (link, state) = registry.link(settings)?;
            upstreams.push(Upstream { settings: settings.clone(), link, state });
        }
        let pools = server.pools.iter().enumerate().map(|(index, settings)| Pool::new(index, settings, &upstreams));
        let pools = pools.collect();
        // The operator chooses the keys and queries only look them up, so the hash needs no secret.
        let mut routes = HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        routes.extend(server.routes.iter().map(|route| (route.zone.as_wire().into(), (route.zone, route.pool))));
        Ok(Self { upstreams, pools, routes })
    }

    /// The pool for a name, and the zone of the route that leads there: the longest suffix wins.
    #[inline]
    pub fn pool_for(&self, name: &Name) -> (&Pool, Option<&Name>) {
        let route = if self.routes.is_empty() { None } else { self.route_of(name) };
        match route {
            Some((zone, pool)) => (&self.pools[*pool], Some(zone)),
            None => (&self.pools[0], None),
        }
    }

    fn route_of(&self, name: &Name) -> Option<&(Name, usize)> {
        name.suffixes().find_map(|suffix| self.routes.get(suffix))
    }
}

impl Pool {
    fn new(index: usize, settings: &PoolSettings, upstreams: &[Upstream]) -> Self {
        let mut numbers: Vec<u8> =
            upstreams.iter().filter(|u| u.settings.pool == index).map(|u| u.settings.tier).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let members_of = |tier: u8| {
            let of_tier = |(_, u): &(usize, &Upstream)| u.settings.pool == index && u.settings.tier == tier;
            upstreams.iter().enumerate().filter(of_tier).map(|(at, _)| at).collect()
        };
        let tiers = numbers.into_iter().map(|tier| Tier { members: members_of(tier) }).collect();
        Self { settings: settings.clone(), tiers }
    }
}

/// No slot is free for another upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryFull;

impl Told for RegistryFull {
    fn text(&self) -> Text {
        text!(
            "more than {most} upstreams are in use or still drain; wait a few seconds and reload again",
            most = LINKS_MAX
        )
    }
}

impl std::fmt::Display for RegistryFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for RegistryFull {}

/// Which slot belongs to which upstream. A slot is free again once nobody holds its state.
#[derive(Debug, Default)]
pub struct Registry {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    generation: u16,
    key: UpstreamKey,
    state: Weak<State>,
}

/// What makes two settings the same server.
type UpstreamKey = (String, std::net::SocketAddr, crate::policy::server::Transport);

impl Registry {
    fn link(&mut self, settings: &UpstreamSettings) -> Result<(LinkId, Arc<State>), RegistryFull> {
        let key = (settings.name.clone(), settings.address, settings.transport);
        for (slot, entry) in self.slots.iter().enumerate() {
            if entry.key == key
                && let Some(state) = entry.state.upgrade()
            {
                return Ok((LinkId { slot: slot as u16, generation: entry.generation }, state));
            }
        }
        let state = Arc::new(State::default());
        let free = self.slots.iter().position(|entry| entry.state.strong_count() == 0);
        let slot = match free {
            Some(slot) => {
                let generation = self.slots[slot].generation.wrapping_add(1);
                self.slots[slot] = Slot { generation, key, state: Arc::downgrade(&state) };
                slot
            }
            None if self.slots.len() < LINKS_MAX => {
                self.slots.push(Slot { generation: 0, key, state: Arc::downgrade(&state) });
                self.slots.len() - 1
            }
            None => return Err(RegistryFull),
        };
        Ok((LinkId { slot: slot as u16, generation: self.slots[slot].generation }, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::server::Transport;

    fn settings(name: &str, port: u16) -> UpstreamSettings {
        UpstreamSettings {
            name: name.into(),
            address: ([127, 0, 0, 1], port).into(),
            pool: 0,
            tier: 0,
            weight: 1,
            transport: Transport::Auto,
        }
    }

    #[test]
    fn a_server_that_stays_keeps_its_state_and_one_that_left_frees_its_slot() {
        let mut registry = Registry::default();
        let (a, state_a) = registry.link(&settings("a", 53)).unwrap();
        let (again, state_again) = registry.link(&settings("a", 53)).unwrap();
        assert_eq!(a, again);
        assert!(Arc::ptr_eq(&state_a, &state_again));
        let (b, _state_b) = registry.link(&settings("a", 54)).unwrap();
        assert_ne!(a.slot, b.slot, "another address is another server");
        drop((state_a, state_again));
        let (c, _state_c) = registry.link(&settings("c", 53)).unwrap();
        assert_eq!((c.slot, c.generation), (a.slot, a.generation + 1), "the slot is used again, with a new generation");
    }

    #[test]
    fn a_full_registry_says_so() {
        let mut registry = Registry::default();
        let held: Vec<_> = (0..LINKS_MAX).map(|n| registry.link(&settings("x", n as u16)).unwrap()).collect();
        assert_eq!(registry.link(&settings("y", 1)).unwrap_err(), RegistryFull);
        drop(held);
    }
}
