//! What the rules with a budget have spent, in fixed memory that all workers share and that outlives every change of
//! policy: an account is kept under the id of its rule, so a reload gives nobody a second budget.
//!
//! Each account holds the time until which it is spoken for (the generic cell rate algorithm). Clients have accounts apart
//! from those of rules and names: however many addresses somebody forges, they push out no rule's.

use super::action::{Budget, Limit, Per};
use super::rule::Rule;
use super::{Action, Matched};
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::policy::accounts::Accounts;
use ahash::RandomState;
use std::net::IpAddr;

/// Memory of the accounts of rules and of names, in bytes: 16 384 of them.
const SHARED_BYTES: usize = 256 * 1024;

/// Memory of the accounts of clients, in bytes: 131 072 of them.
const CLIENT_BYTES: usize = 2 * 1024 * 1024;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// What was spent.
#[derive(Debug)]
pub struct Budgets {
    hasher: RandomState,
    shared: Accounts,
    clients: Accounts,
}

impl Budgets {
    /// Allocates all accounts. `seed` keys the hash.
    pub fn new(seed: u64) -> Self {
        Self {
            hasher: RandomState::with_seeds(
                seed,
                !seed,
                seed.rotate_left(23),
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
            shared: Accounts::new(SHARED_BYTES),
            clients: Accounts::new(CLIENT_BYTES),
        }
    }

    /// The memory of all accounts; constant.
    pub fn bytes(&self) -> usize {
        self.shared.bytes() + self.clients.bytes()
    }

    /// Whether the budget of a rule that speaks about `name`, asked by `client`, is used up; takes one query from it if
    /// not. Rules without a budget have always used it up.
    pub fn is_spent(&self, now: Moment, rule: &Rule, matched: Matched, name: &Name, client: IpAddr) -> bool {
        let id = rule.id.as_str();
        match rule.action {
            Action::Shed(budget) => is_over(&self.shared, self.hasher.hash_one(id), budget, now),
            Action::Limit(Limit { budget, per: Per::Client }) => {
                is_over(&self.clients, self.hasher.hash_one((id, link_of(client))), budget, now)
            }
            Action::Limit(Limit { budget, per: Per::Subtree }) => {
                is_over(&self.shared, self.hasher.hash_one((id, matched.name(name))), budget, now)
            }
            _ => true,
        }
    }
}

/// An IPv4 address, or the link that an IPv6 address is on: whoever has one address of a /64 has them all.
fn link_of(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) | 0xffff << 32,
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

fn is_over(accounts: &Accounts, hash: u64, budget: Budget, now: Moment) -> bool {
    let step = SECOND / u64::from(budget.qps.max(1));
    let account = accounts.find(hash);
    let now = now.as_nanos();
    let until = account.state.max(now) + step;
    if until - now > step.saturating_mul(budget.burst.into()) {
        return true;
    }
    account.write(until);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(10 * SECOND + ms * 1_000_000)
    }

    fn passed(budgets: &Budgets, rule: &Rule, (name, client): (&str, &str), times: impl Iterator<Item = u64>) -> usize {
        let name = Name::from_text(name).unwrap();
        let client = client.parse().unwrap();
        // The rule names "example": the last two labels of whatever is asked.
        let at_example = name.as_wire().len() - b"\x01a\x07example\0".len();
        let matched = Matched::Name { at: at_example as u8, reach: 3 };
        times.filter(|ms| !budgets.is_spent(at(*ms), rule, matched, &name, client)).count()
    }

    fn rule(id: &str, action: Action) -> Rule {
        Rule::new(id, "z", 0, action)
    }

    const BUDGET: Budget = Budget { qps: 10, burst: 5 };

    #[test]
    fn a_rule_spends_its_burst_and_then_its_rate_whoever_asks_for_whatever() {
        let (budgets, shed) = (Budgets::new(1), rule("r", Action::Shed(BUDGET)));
        assert_eq!(passed(&budgets, &shed, ("x.a.example", "192.0.2.1"), 0..4), 4);
        assert_eq!(passed(&budgets, &shed, ("y.b.example", "192.0.2.2"), 4..100), 1, "the fifth of the burst");
        assert_eq!(passed(&budgets, &shed, ("x.a.example", "192.0.2.1"), 100..1100), 10);
        assert_eq!(passed(&budgets, &rule("other", Action::Shed(BUDGET)), ("x.a.example", "192.0.2.1"), 1100..1101), 1);
    }

    #[test]
    fn a_rule_of_the_same_id_goes_on_where_the_last_one_was() {
        let (budgets, shed) = (Budgets::new(1), rule("r", Action::Shed(BUDGET)));
        assert_eq!(passed(&budgets, &shed, ("x.a.example", "192.0.2.1"), 0..50), 5);
        let reloaded = Rule { zone_number: 3, ..rule("r", Action::Shed(BUDGET)) };
        assert_eq!(passed(&budgets, &reloaded, ("x.a.example", "192.0.2.1"), 50..60), 0);
    }

    #[test]
    fn each_client_and_each_name_of_a_rule_has_its_own() {
        let budgets = Budgets::new(1);
        let client = rule("c", Action::Limit(Limit { budget: BUDGET, per: Per::Client }));
        for client_address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
            assert_eq!(passed(&budgets, &client, ("x.a.example", client_address), 0..50), 5, "{client_address}");
        }
        assert_eq!(passed(&budgets, &client, ("x.a.example", "2001:db8::2"), 50..60), 0, "the same link");
        let subtree = rule("s", Action::Limit(Limit { budget: BUDGET, per: Per::Subtree }));
        assert_eq!(passed(&budgets, &subtree, ("x.a.example", "192.0.2.1"), 0..50), 5);
        assert_eq!(passed(&budgets, &subtree, ("y.a.example", "192.0.2.9"), 50..60), 0, "below the same name");
        assert_eq!(passed(&budgets, &subtree, ("x.b.example", "192.0.2.1"), 50..60), 5);
    }
}
