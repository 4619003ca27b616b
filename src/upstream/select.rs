//! Choosing a server: the lowest tier with a server that is up, and within it by the pool's balance.

use super::flights::Attempt;
use super::{Pool, Routing, Upstream};
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::policy::server::Balance;
use crate::policy::server::pools::UPSTREAMS_MAX;

/// Fixed, so that a name goes to the same server from every worker and after every restart.
const RENDEZVOUS: ahash::RandomState = ahash::RandomState::with_seeds(1, 2, 3, 4);

/// What one choice needs to know.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The moment of the batch.
    pub at: Moment,
    /// The name asked for.
    pub name: &'a Name,
    /// Attempts that were made for this query: their servers are not chosen again.
    pub tried: &'a [Attempt],
    /// The client is on TCP, so that any server is asked over TCP.
    pub tcp: bool,
    /// A random number, where the pool [draws lots](Pool::draws_lots).
    pub random: u64,
    /// Counts the worker's choices, for round-robin.
    pub turn: u64,
}

/// Whether a chosen server is believed to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Index into [`Routing::upstreams`].
    pub upstream: usize,
    /// False when all are down and this is the best of them.
    pub up: bool,
}

impl Pool {
    /// Whether a choice of a server may be by lot, so that it needs a random number.
    pub fn draws_lots(&self) -> bool {
        self.settings.balance == Balance::Latency && self.tiers.iter().any(|tier| tier.members.len() > 1)
    }
}

impl Routing {
    /// Chooses a server of `pool`: of the lowest tier that has one which is up, has not just refused and was not tried;
    /// else, so that a wrong health check never takes the service down, one that is down; `None` when all were tried,
    /// or all refused within the last moment. O(n) in the servers of the pool.
    pub fn choose(&self, pool: &Pool, choice: &Choice<'_>) -> Option<Chosen> {
        let tried = |at: usize| choice.tried.iter().any(|attempt| attempt.route.link == self.upstreams[at].link);
        let refused = |at: usize| {
            let Upstream { settings, state, .. } = &self.upstreams[at];
            state.refused_lately(choice.at, settings.is_asked_over_tcp(choice.tcp))
        };
        let fresh = |at: &usize| !refused(*at) && !tried(*at);
        for tier in &pool.tiers {
            let up = |at: &usize| fresh(at) && self.upstreams[*at].state.is_up();
            if let Some(upstream) = self.pick(pool, &tier.members, up, choice) {
                return Some(Chosen { upstream, up: true });
            }
        }
        for tier in &pool.tiers {
            if let Some(upstream) = self.pick(pool, &tier.members, fresh, choice) {
                return Some(Chosen { upstream, up: false });
            }
        }
        None
    }

    /// Questions that the servers of a pool work on together: those of the lowest tier with one that is up; when all are
    /// down, those of the first. O(n) in the servers of the pool.
    pub fn capacity(&self, pool: &Pool) -> u32 {
        let up = |tier: &super::Tier| tier.members.iter().filter(|at| self.upstreams[**at].state.is_up()).count();
        let servers = pool.tiers.iter().map(up).find(|up| *up > 0);
        let servers = servers.unwrap_or_else(|| pool.tiers.first().map_or(1, |tier| tier.members.len()));
        pool.settings.inflight.saturating_mul(u32::try_from(servers).unwrap_or(u32::MAX))
    }

    #[inline]
    fn pick(
        &self,
        pool: &Pool,
        members: &[usize],
        is_usable: impl Fn(&usize) -> bool,
        choice: &Choice<'_>,
    ) -> Option<usize> {
        let usable = Usable::of(members, is_usable);
        let candidates = || members.iter().enumerate().filter(|(place, _)| usable.has(*place)).map(|(_, at)| *at);
        let mut first_two = candidates();
        let only = first_two.next()?;
        if first_two.next().is_none() {
            return Some(only);
        }
        let total = candidates().map(|at| u64::from(self.upstreams[at].settings.weight)).sum::<u64>().max(1);
        let by_weight = |mut ticket: u64| {
            for at in candidates() {
                let weight = u64::from(self.upstreams[at].settings.weight);
                if ticket < weight {
                    return at;
                }
                ticket -= weight;
            }
            only
        };
        match pool.settings.balance {
            Balance::RoundRobin => Some(by_weight(choice.turn % total)),
            Balance::Hash => candidates()
                .max_by(|a, b| score(&self.upstreams[*a], choice).total_cmp(&score(&self.upstreams[*b], choice))),
            // Two by lot, the faster of them: the slower keep a share, so that it is known when they recover.
            Balance::Latency => {
                let (a, b) = (by_weight(choice.random % total), by_weight((choice.random >> 32) % total));
                let faster = self.upstreams[a].state.srtt() <= self.upstreams[b].state.srtt();
                Some(if faster { a } else { b })
            }
        }
    }
}

/// Which members of a tier are usable, by their places. Looked at once for each choice: other workers change what it depends
/// on at any time, and a choice among some must not find none of them a moment later.
struct Usable([u64; UPSTREAMS_MAX.div_ceil(64)]);

impl Usable {
    #[inline]
    fn of(members: &[usize], is_usable: impl Fn(&usize) -> bool) -> Self {
        let mut places = [0; UPSTREAMS_MAX.div_ceil(64)];
        for (place, _) in members.iter().enumerate().filter(|(_, at)| is_usable(at)) {
            if let Some(word) = places.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        Self(places)
    }

    #[inline]
    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 != 0)
    }
}

/// Weighted rendezvous hashing: -weight / ln(uniform hash); a server that leaves moves only its own names.
fn score(upstream: &Upstream, choice: &Choice<'_>) -> f64 {
    let hash = RENDEZVOUS.hash_one((choice.name.as_wire(), upstream.settings.address));
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(upstream.settings.weight) / uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::server::{Health, PoolSettings, Transport, UpstreamSettings};
    use crate::upstream::flights::Route;
    use crate::upstream::{LinkId, State};
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    fn routing(balance: Balance, servers: &[(u8, u32)]) -> Routing {
        let settings = PoolSettings {
            name: "default".into(),
            balance,
            timeout: Duration::from_secs(2),
            retries: 1,
            inflight: 1024,
            health: Health { interval: Duration::from_secs(1), query: (Name::root(), 2), fall: 3, rise: 2 },
        };
        let upstream = |(n, (tier, weight)): (usize, &(u8, u32))| Upstream {
            settings: UpstreamSettings {
                name: format!("s{n}"),
                address: ([127, 0, 0, 1], 1000 + n as u16).into(),
                pool: 0,
                tier: *tier,
                weight: *weight,
                transport: Transport::Auto,
            },
            link: LinkId { slot: n as u16, generation: 0 },
            state: Arc::new(State::default()),
        };
        let upstreams: Vec<_> = servers.iter().enumerate().map(upstream).collect();
        let pools = vec![Pool::new(0, &settings, &upstreams)];
        Routing { upstreams, pools, routes: HashMap::with_hasher(RENDEZVOUS) }
    }

    fn choose(routing: &Routing, turn: u64, tried: &[u16]) -> Option<Chosen> {
        let name = Name::root();
        let random = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let attempt =
            |slot: &u16| Attempt::on(Route { link: LinkId { slot: *slot, generation: 0 }, port: 0, tcp: false });
        let tried: Vec<_> = tried.iter().map(attempt).collect();
        let choice =
            Choice { at: Moment::from_nanos(1_000_000_000), name: &name, tried: &tried, tcp: false, random, turn };
        routing.choose(&routing.pools[0], &choice)
    }

    fn take_down(routing: &Routing, at: usize) {
        routing.upstreams[at].state.on_probe(false, 1, 1);
    }

    #[test]
    fn a_higher_tier_serves_only_while_no_lower_one_is_up() {
        let routing = routing(Balance::RoundRobin, &[(0, 1), (1, 1)]);
        assert!((0..10).all(|turn| choose(&routing, turn, &[]).unwrap().upstream == 0));
        take_down(&routing, 0);
        assert!((0..10).all(|turn| choose(&routing, turn, &[]) == Some(Chosen { upstream: 1, up: true })));
        routing.upstreams[0].state.on_probe(true, 1, 1);
        assert_eq!(choose(&routing, 0, &[]).unwrap().upstream, 0, "and back");
    }

    #[test]
    fn all_down_is_still_asked_and_a_tried_server_is_not_asked_again() {
        let routing = routing(Balance::Latency, &[(0, 1), (0, 1)]);
        take_down(&routing, 0);
        take_down(&routing, 1);
        assert!(!choose(&routing, 1, &[]).unwrap().up);
        assert_eq!(choose(&routing, 1, &[0]).unwrap().upstream, 1);
        assert_eq!(choose(&routing, 1, &[0, 1]), None);
    }

    #[test]
    fn servers_that_all_refuse_while_one_is_chosen_do_not_upset_the_choice() {
        for balance in [Balance::RoundRobin, Balance::Hash, Balance::Latency] {
            let routing = routing(balance, &[(0, 1), (0, 1), (0, 1)]);
            let name = Name::root();
            let choice = Choice { at: Moment::ZERO, name: &name, tried: &[], tcp: false, random: 5, turn: 5 };
            for good in 1..9 {
                // Of all looks at a server, only the first few find one that may be asked.
                let looks = Cell::new(0);
                let usable = |_: &usize| looks.replace(looks.get() + 1) < good;
                let chosen = routing.pick(&routing.pools[0], &[0, 1, 2], usable, &choice);
                assert!(chosen.is_some_and(|at| at < good.min(3)), "{balance:?}, {good} good looks: {chosen:?}");
            }
        }
    }

    #[test]
    fn round_robin_follows_the_weights() {
        let routing = routing(Balance::RoundRobin, &[(0, 3), (0, 1)]);
        let first = (0..400).filter(|turn| choose(&routing, *turn, &[]).unwrap().upstream == 0).count();
        assert_eq!(first, 300);
    }

    #[test]
    fn latency_prefers_the_faster_and_keeps_asking_the_slower_a_little() {
        let routing = routing(Balance::Latency, &[(0, 1), (0, 1)]);
        routing.upstreams[0].state.on_answer(Duration::from_millis(50), false);
        routing.upstreams[1].state.on_answer(Duration::from_millis(1), false);
        let slow = (0..4000).filter(|turn| choose(&routing, *turn, &[]).unwrap().upstream == 0).count();
        assert!((500..1500).contains(&slow), "a quarter of the pairs is (slow, slow): {slow}");
    }

    #[test]
    fn hash_keeps_a_name_on_its_server_when_another_leaves() {
        let routing = routing(Balance::Hash, &[(0, 1), (0, 1), (0, 1)]);
        let place = |n: u32| {
            let name = Name::from_text(&format!("n{n}.example")).unwrap();
            let choice = Choice { at: Moment::ZERO, name: &name, tried: &[], tcp: false, random: 0, turn: 0 };
            routing.choose(&routing.pools[0], &choice).unwrap().upstream
        };
        let before: Vec<_> = (0..300).map(place).collect();
        assert!((0..3).all(|server| before.iter().filter(|at| **at == server).count() > 60));
        take_down(&routing, 2);
        for (n, server) in before.iter().enumerate() {
            assert!(*server == 2 || place(n as u32) == *server, "name {n} moved without need");
        }
    }
}
