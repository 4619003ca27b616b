//! What a policy says about clients and answers, as plainly as it can be said: prefixes, names and hours, gone through one
//! after the other. Shares nothing with the filter that it is held against.

use crate::policies::{Block, is_within};
use crate::truth::{Truth, private};
use std::net::IpAddr;

/// A network by its first bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Net {
    V4(&'static [u8]),
    V6(&'static [u8]),
}

impl Net {
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4(prefix), IpAddr::V4(v4)) => v4.octets().starts_with(prefix),
            (Self::V6(prefix), IpAddr::V6(v6)) => v6.octets().starts_with(prefix),
            _ => false,
        }
    }
}

/// For whom and when a rule speaks, and what it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Does {
    pub(crate) block: Block,
    /// Clients; everybody when `None`.
    pub(crate) to: Option<Net>,
    /// From and until when, in milliseconds of the minutes after [`crate::stage::EPOCH_MS`].
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
}

impl Does {
    pub(crate) const fn always(block: Block) -> Self {
        Self { block, to: None, from_ms: 0, until_ms: u64::MAX }
    }

    fn speaks(&self, who: &Who) -> bool {
        self.to.is_none_or(|net| net.holds(who.client)) && (self.from_ms..self.until_ms).contains(&who.clock_ms)
    }
}

/// Whose question is judged, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) client: IpAddr,
    /// The wall clock, in milliseconds after [`crate::stage::EPOCH_MS`].
    pub(crate) clock_ms: u64,
}

/// Answers to names in a zone have addresses of one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) zone: &'static str,
    pub(crate) within: Net,
    pub(crate) block: Block,
}

/// What one account may take: so many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// The rule.
    pub(crate) id: &'static str,
    pub(crate) names: &'static [&'static str],
    pub(crate) qps: u64,
    pub(crate) burst: u64,
    pub(crate) per: Per,
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Per {
    /// Of each client; over it REFUSED.
    Client,
    /// Of each name of the rule with all below; over it REFUSED.
    Name,
    /// Of all names of the rule together; over it old answers and NXDOMAIN.
    Rule,
}

/// An account of a budget: the rule, the name and the client, where each of these has its own.
pub(crate) type Purse = (&'static str, &'static str, Option<IpAddr>);

impl Budget {
    /// The budget of a name, as far as there is one.
    pub(crate) fn of(budgets: &'static [Self], name: &str) -> Option<&'static Self> {
        budgets.iter().find(|budget| budget.named(name).is_some())
    }

    /// The account that a question takes from.
    pub(crate) fn purse(&self, name: &str, client: IpAddr) -> Purse {
        match self.per {
            Per::Client => (self.id, "", Some(link_of(client))),
            Per::Name => (self.id, self.named(name).unwrap_or_default(), None),
            Per::Rule => (self.id, "", None),
        }
    }

    fn named(&self, name: &str) -> Option<&'static str> {
        self.names.iter().copied().find(|zone| is_within(name, zone))
    }
}

/// Whoever has one address of a /64 has them all.
fn link_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// How long answers for names in a zone live, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) zone: &'static str,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// For whom; everybody when `None`.
    pub(crate) to: Option<Net>,
}

impl Bounds {
    /// None yet.
    pub(crate) const fn of(zone: &'static str) -> Self {
        Self { zone, min: 0, max: u32::MAX, to: None }
    }

    pub(crate) fn bound(&self, ttl: u32) -> u32 {
        ttl.clamp(self.min, self.max)
    }
}

/// Whether it has the feed [`crate::clients::FEED`], and whether its primary signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    None,
    Unsigned,
    Signed,
}

/// All that a policy says besides names, in the order in which it is heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says {
    pub(crate) clients: &'static [(Net, Does)],
    /// Names for some clients, or at some times.
    pub(crate) names: &'static [(&'static str, Does)],
    pub(crate) expects: &'static [Expected],
    pub(crate) addresses: &'static [(Net, Does)],
    pub(crate) server_names: &'static [(&'static str, Does)],
    pub(crate) server_addresses: &'static [(Net, Does)],
    /// Names of the outside may not lead inside, apart from these zones.
    pub(crate) rebinding: bool,
    pub(crate) inside: &'static [&'static str],
    pub(crate) bounds: &'static [Bounds],
    pub(crate) budgets: &'static [Budget],
    /// What it says about addresses comes before what it says about names, which is done without an answer if there is none.
    pub(crate) answers_first: bool,
    pub(crate) feed: Feed,
}

impl Says {
    pub(crate) const NOTHING: Self = Self {
        clients: &[],
        names: &[],
        expects: &[],
        addresses: &[],
        server_names: &[],
        server_addresses: &[],
        rebinding: false,
        inside: &[],
        bounds: &[],
        budgets: &[],
        answers_first: false,
        feed: Feed::None,
    };

    /// What is said about a client.
    pub(crate) fn of_client(&self, who: &Who) -> Option<Block> {
        of_net(self.clients, who.client, who)
    }

    /// What is said about a name, whatever its answer is.
    pub(crate) fn of_name(&self, who: &Who, name: &str) -> Option<Block> {
        of_names(self.names, name, who)
    }

    /// What is said about a stage of an answer: `stage` names stand before it.
    pub(crate) fn of_answer(&self, who: &Who, name: &str, truth: &Truth, is_last: bool) -> Option<Block> {
        if let Some(block) = self.unexpected(name, &truth.addresses) {
            return Some(block);
        }
        if !is_last {
            return None;
        }
        let address = self.of_addresses(who, truth);
        let Some((server, glue)) = &truth.server else { return address };
        address
            .or_else(|| of_names(self.server_names, server, who))
            .or_else(|| of_net(self.server_addresses, *glue, who))
    }

    /// What is done about addresses that are not expected for a name, if any of these is not.
    pub(crate) fn unexpected(&self, name: &str, addresses: &[IpAddr]) -> Option<Block> {
        let unexpected = |expected: &&Expected| {
            let right = |address: &IpAddr| expected.within.holds(*address);
            is_within(name, expected.zone) && !addresses.iter().all(right)
        };
        self.expects.iter().find(unexpected).map(|expected| expected.block)
    }

    /// What is said about the addresses of an answer.
    pub(crate) fn of_addresses(&self, who: &Who, truth: &Truth) -> Option<Block> {
        truth.addresses.iter().find_map(|address| of_net(self.addresses, *address, who))
    }

    /// Whether an address may not be in an answer to a question for `names`: the name asked for, then those it leads through.
    /// Rules about addresses speak to `who`, if to anybody.
    pub(crate) fn withholds(&self, who: Option<&Who>, strict: bool, names: &[&str], address: IpAddr) -> bool {
        let by_rule = who.is_some_and(|who| of_net(self.addresses, address, who).is_some());
        let unexpected = |expected: &Expected| {
            names.iter().any(|name| is_within(name, expected.zone)) && !expected.within.holds(address)
        };
        by_rule || self.expects.iter().any(unexpected) || self.leads_inside(strict, names[0], address)
    }

    /// Whether a name of the outside leads inside with this address.
    pub(crate) fn leads_inside(&self, strict: bool, question: &str, address: IpAddr) -> bool {
        let is_inside = self.inside.iter().any(|zone| is_within(question, zone));
        (strict || self.rebinding) && !is_inside && private(address)
    }

    /// How long an answer lives whose names are these.
    pub(crate) fn bounds(&self, client: IpAddr, names: &[&str]) -> Bounds {
        let speaks = |bounds: &&Bounds| bounds.to.is_none_or(|net| net.holds(client));
        let of = |name: &&str| self.bounds.iter().filter(speaks).find(|bounds| is_within(name, bounds.zone));
        names.iter().find_map(of).copied().unwrap_or(Bounds::of(""))
    }

    /// The budget that a question takes from.
    pub(crate) fn budget(&self, name: &str) -> Option<&'static Budget> {
        Budget::of(self.budgets, name)
    }
}

fn of_net(rules: &[(Net, Does)], address: IpAddr, who: &Who) -> Option<Block> {
    rules.iter().find(|(net, does)| net.holds(address) && does.speaks(who)).map(|(_, does)| does.block)
}

fn of_names(rules: &[(&str, Does)], name: &str, who: &Who) -> Option<Block> {
    rules.iter().find(|(zone, does)| is_within(name, zone) && does.speaks(who)).map(|(_, does)| does.block)
}
