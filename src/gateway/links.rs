//! A worker's view of the upstreams: which are known, and from which of its ports they are asked now.
//!
//! Half of the ports toward an upstream are in use, the other half wait for late answers; one changes sides at each
//! rotation, so that source ports keep changing (RFC 5452 section 9.2). All queries of one batch leave from one port: it
//! is chosen at random per batch, and full batches are sent with one call.

use super::{LINKS_MAX, LinkId, LinkPort, PORTS};
use crate::clock::Moment;
use crate::upstream::{Routing, State};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Ports in use at a time.
const ACTIVE: u8 = PORTS as u8 / 2;

/// The shortest time between two rotations toward one upstream.
const ROTATE_MIN: Duration = Duration::from_secs(1);

/// How long an upstream that left the policy is remembered; longer than any query waits.
const LINGER: Duration = Duration::from_secs(70);

#[derive(Debug)]
struct Link {
    generation: u16,
    address: SocketAddr,
    state: Arc<State>,
    /// The first of the ports in use.
    base: u8,
    /// The port chosen last, and in which batch.
    chosen: u8,
    chosen_in: u64,
    rotated: Moment,
    /// In the policy that runs.
    current: bool,
    /// When a tick first saw that it had left.
    left: Option<Moment>,
}

/// All upstreams that a worker may still hear from.
#[derive(Debug)]
pub(super) struct Links {
    slots: Vec<Option<Link>>,
    rotated: Vec<LinkPort>,
    /// Batches so far.
    batch: u64,
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(LINKS_MAX).collect(),
            rotated: Vec::with_capacity(LINKS_MAX),
            batch: 0,
        }
    }

    /// Takes over the upstreams of a new policy.
    pub(super) fn adopt(&mut self, routing: &Routing) {
        self.slots.iter_mut().flatten().for_each(|link| link.current = false);
        for upstream in &routing.upstreams {
            let slot = &mut self.slots[usize::from(upstream.link.slot)];
            match slot {
                Some(link) if link.generation == upstream.link.generation => {
                    link.current = true;
                    link.left = None;
                }
                _ => {
                    *slot = Some(Link {
                        generation: upstream.link.generation,
                        address: upstream.settings.address,
                        state: Arc::clone(&upstream.state),
                        base: 0,
                        chosen: 0,
                        chosen_in: 0,
                        rotated: Moment::ZERO,
                        current: true,
                        left: None,
                    });
                }
            }
        }
    }

    /// The next batch chooses its ports anew.
    pub(super) fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// The port toward `link` for this batch. `random` decides at the first call in a batch.
    pub(super) fn port(&mut self, link: LinkId, random: u64) -> u8 {
        let batch = self.batch;
        let Some(link) = self.known_mut(link) else { return 0 };
        if link.chosen_in != batch {
            link.chosen_in = batch;
            link.chosen = (link.base + (random % u64::from(ACTIVE)) as u8) % PORTS as u8;
        }
        link.chosen
    }

    /// What is known about the upstream of `link`.
    pub(super) fn state(&self, link: LinkId) -> Option<&Arc<State>> {
        self.known(link).map(|link| &link.state)
    }

    pub(super) fn address(&self, link: LinkId) -> Option<SocketAddr> {
        self.known(link).map(|link| link.address)
    }

    /// Rotates ports whose time has come, and forgets upstreams that left long ago.
    pub(super) fn rotate(&mut self, at: Moment, routing: &Routing) {
        let longest = routing.pools.iter().map(|pool| pool.settings.timeout).max().unwrap_or_default();
        let every = ROTATE_MIN.max(longest / u32::from(ACTIVE));
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(link) = slot else { continue };
            if !link.current {
                let left = *link.left.get_or_insert(at);
                if at.since(left) > LINGER {
                    *slot = None;
                }
                continue;
            }
            if at.since(link.rotated) >= every && self.rotated.len() < LINKS_MAX {
                link.rotated = at;
                let port = (link.base + ACTIVE) % PORTS as u8;
                link.base = (link.base + 1) % PORTS as u8;
                let id = LinkId { slot: number as u16, generation: link.generation };
                self.rotated.push(LinkPort { link: id, port });
            }
        }
    }

    pub(super) fn take_rotated(&mut self) -> Option<LinkPort> {
        self.rotated.pop()
    }

    fn known(&self, id: LinkId) -> Option<&Link> {
        self.slots.get(usize::from(id.slot))?.as_ref().filter(|link| link.generation == id.generation)
    }

    fn known_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(usize::from(id.slot))?.as_mut().filter(|link| link.generation == id.generation)
    }
}
