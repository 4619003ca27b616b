//! filter: ordered zones of rules; what is blocked, how, and for whom.
//!
//! Protects clients from names and addresses, and servers from clients that ask for them all day. Not from a client that
//! uses another resolver. A rule has one trigger: the client, the name (asked for, or a CNAME target), an address of the
//! answer, the name or the address of a name server that the answer shows. Precedence is that of response policy zones
//! (draft-vixie-dnsop-dns-rpz section 5): the earlier CNAME stage, then zone order, then the kind of trigger in the order
//! above, then exact before longer before shorter names and longer before shorter prefixes (of several name servers the
//! smallest name comes first, of equally long prefixes the smallest address: see `order`), then `allow`, then the earlier
//! line. A rule of a later zone does not decide on the question while a rule of an earlier one may still decide on the
//! answer: the question is asked first.
//!
//! Exceptions inside a list (`@@`) free names from the rule of that list and from no other: the next rule is heard. A rule
//! whose filters (groups, types, transport, schedule) do not fit, whose time is over, or that is off, does not speak; one in
//! monitor mode is remembered and the next is heard.

mod action;
mod answer;
mod budgets;
mod consider;
pub mod data;
mod decide;
mod index;
mod layers;
pub mod lists;
mod local;
mod networks;
mod order;
mod pattern;
mod registry;
pub mod rpz;
mod rule;
mod sets;
mod shadow;
mod table;
mod trigger;
mod written;
mod zone;

pub use action::{Action, Budget, Expectation, Limit, Otherwise, Per, TtlBounds};
pub use budgets::Budgets;
pub use consider::{Considered, Why};
pub use index::Folded;
pub use local::Local;
pub use pattern::Pattern;
pub use rule::{Decision, Rule, RuleTransport, Scope, Subject, TTL_DEFAULT};
pub use table::{Foreseen, Hit, Table, TooManyNames};
pub use trigger::{Matched, Trigger, TriggerKind};
pub use zone::read;

use super::Mode;
#[cfg(test)]
use super::clients::GroupSet;
#[cfg(test)]
use super::schedules::ActiveSet;
use crate::dns::name::Name;
use crate::policy::document::network::Depths;
use index::{Index, wanted};
use lists::NameList;
use networks::Holders;
use sets::RuleRef;
use shadow::Overlaps;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most rules of one policy; names in lists are not rules.
pub const RULES_MAX: usize = 100_000;

/// From this size on, in bytes, a table does not stay in a core's cache beside all else.
const LARGE: usize = 512 << 10;

/// All zones, compiled. A clone shares everything: the modes of a policy share their lists this way.
#[derive(Clone, Debug)]
pub struct Filter {
    rules: Arc<[Rule]>,
    index: Arc<Index>,
    /// Names of each list, by its path.
    lists: Arc<BTreeMap<String, usize>>,
    besides: Arc<Besides>,
    policy_zones: Arc<[rpz::Summary]>,
}

/// What rules without names of their own look at; empty in most policies.
#[derive(Debug, Default)]
struct Besides {
    clients: Holders,
    responses: Holders,
    ns_names: Option<Index>,
    ns_addresses: Holders,
    /// Rules of the answer that may decide, by number, in the order of zones; of neighbours with one scope the first alone.
    waited_for: Vec<u32>,
    /// Some rule is of the answer, by its trigger or by what it does.
    of_the_answer: bool,
    /// Some rule bounds the TTLs of whatever its clients ask for.
    bounds_by_client: bool,
    least_ttls: LeastTtls,
    /// When rules end, in milliseconds since 1970-01-01 UTC, in order.
    ends_ms: Vec<u64>,
}

/// The largest `min` of all rules with the action `ttl`, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct LeastTtls {
    /// Of those that go by names.
    by_name: u32,
    /// Of all others.
    besides: u32,
}

impl Filter {
    /// Compiles rules in the order of zones and lines; `names[n]` are those of `rules[n]`. `seed` is the secret of the
    /// hash, random for each process. Also says for each rule which of its names said nothing new.
    ///
    /// # Errors
    /// [`TooManyNames`] when the names take more than 4 GiB.
    ///
    /// # Panics
    /// When there are not as many lists as rules, or more than [`RULES_MAX`].
    pub fn new(rules: Vec<Rule>, names: &[Arc<NameList>], seed: u64) -> Result<(Self, Vec<Folded>), TooManyNames> {
        Self::of_lists(rules, names.to_vec(), seed)
    }

    /// As [`Self::new`], with lists that are given away: those that nobody else holds are freed while the table is made of
    /// them, so that names as parsed and names as looked up need not both be in memory.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn of_lists(
        rules: Vec<Rule>,
        names: Vec<Arc<NameList>>,
        seed: u64,
    ) -> Result<(Self, Vec<Folded>), TooManyNames> {
        Self::with_triggers(rules, names.into_iter().map(Trigger::Names).collect(), seed)
    }

    /// As [`Self::of_lists`], with a trigger for each rule, of the kind that the rule says.
    ///
    /// # Errors
    /// [`TooManyNames`] when the names take more than 4 GiB.
    ///
    /// # Panics
    /// When there are not as many triggers as rules, or more than [`RULES_MAX`].
    pub fn with_triggers(
        rules: Vec<Rule>,
        triggers: Vec<Trigger>,
        seed: u64,
    ) -> Result<(Self, Vec<Folded>), TooManyNames> {
        Self::noting(rules, triggers, seed, &mut [Overlaps::default(), Overlaps::default()])
    }

    /// As [`Self::with_triggers`], and notes which rules meet at names, and at those of name servers.
    fn noting(
        rules: Vec<Rule>,
        triggers: Vec<Trigger>,
        seed: u64,
        [overlaps, ns_overlaps]: &mut [Overlaps; 2],
    ) -> Result<(Self, Vec<Folded>), TooManyNames> {
        assert!(rules.len() == triggers.len() && rules.len() <= RULES_MAX, "a trigger for each of the rules");
        let (besides, of_servers) = Besides::new(&rules, &triggers, seed, ns_overlaps)?;
        let (index, mut folded) = Index::build(&rules, names_of(&rules, triggers), seed, true, overlaps)?;
        folded.iter_mut().zip(of_servers).for_each(|(folded, more)| folded.add(more));
        Ok((Self::of_parts(rules, index, besides), folded))
    }

    /// As [`Self::noting`] where some lists are those of `running`, whose names are absent; `None` when the large table of
    /// that one cannot be shared, and all lists have to be read.
    fn beside(
        running: &Self,
        rules: Vec<Rule>,
        triggers: Vec<Trigger>,
        seed: u64,
        [overlaps, ns_overlaps]: &mut [Overlaps; 2],
    ) -> Option<(Self, Vec<Folded>)> {
        let (besides, of_servers) = Besides::new(&rules, &triggers, seed, ns_overlaps).ok()?;
        let base = running.index.base()?;
        let (index, mut folded) = Index::build_on(base, &rules, &names_of(&rules, triggers), seed, overlaps)?;
        folded.iter_mut().zip(of_servers).for_each(|(folded, more)| folded.add(more));
        Some((Self::of_parts(rules, index, besides), folded))
    }

    fn of_parts(rules: Vec<Rule>, index: Index, besides: Besides) -> Self {
        let (lists, policy_zones) = (Arc::default(), Arc::default());
        let (rules, index, besides) = (rules.into(), Arc::new(index), Arc::new(besides));
        Self { rules, index, lists, besides, policy_zones }
    }

    /// The lists that need not be read again beside it.
    fn kept(&self) -> impl Iterator<Item = &Arc<lists::Kept>> {
        self.index.base().into_iter().flat_map(|base| base.kept())
    }

    /// Whether there are any.
    fn has_kept(&self) -> bool {
        self.kept().next().is_some()
    }

    /// A filter without rules.
    pub fn none() -> Self {
        let (filter, _) = Self::new(Vec::new(), &[], 0).expect("no names are not too many");
        filter
    }

    /// What became of each response policy zone, in the order of zones.
    pub fn policy_zones(&self) -> &[rpz::Summary] {
        &self.policy_zones
    }

    /// All rules, in the order of zones and lines.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How many names each list was read to have, by its path; repetitions included.
    pub fn lists(&self) -> &BTreeMap<String, usize> {
        &self.lists
    }

    /// How many names are in the table.
    pub fn names(&self) -> usize {
        self.index.table.len()
    }

    /// Memory of the table and its sets, in bytes.
    pub fn bytes(&self) -> usize {
        let besides = &self.besides;
        let ns_names = besides.ns_names.as_ref().map_or(0, Index::bytes);
        let holders = [&besides.clients, &besides.responses, &besides.ns_addresses];
        self.index.bytes() + ns_names + holders.map(Holders::bytes).iter().sum::<usize>()
    }

    /// Whether a rule ends after one time and not after another, both in milliseconds since 1970-01-01 UTC.
    #[inline]
    pub fn expires_within(&self, after_ms: u64, until_ms: u64) -> bool {
        let ends = &self.besides.ends_ms;
        ends.get(ends.partition_point(|end| *end <= after_ms)).is_some_and(|end| *end <= until_ms)
    }

    /// Whether its table is so large that look-ups wait for memory, and are worth foreseeing.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.index.table.bytes() > LARGE
    }

    /// A name in wire form, lower-case, that will be decided upon soon: hashes it, and asks for the memory that this takes. To
    /// be followed, after the others of a batch, by [`Self::fetch_foreseen`], and by [`Self::decide_foreseen`].
    #[inline]
    pub fn foresee(&self, wire: &[u8]) -> Foreseen {
        self.index.table.foresee(wire)
    }

    /// As [`Self::foresee`], for a name that comes alone: nothing follows it but [`Self::decide_foreseen`].
    #[inline]
    pub fn foresee_alone(&self, wire: &[u8]) -> Foreseen {
        self.index.table.foresee_alone(wire)
    }

    /// Asks for what the memory asked for first leads to.
    #[inline]
    pub fn fetch_foreseen(&self, foreseen: &Foreseen) {
        self.index.table.fetch_foreseen(foreseen);
    }

    /// Whether no rule of any zone could ever speak about `name`, for any client: a cached answer that holds only such
    /// names needs no second look under the same policy.
    pub fn is_untouched(&self, name: &Name) -> bool {
        let mut untouched = true;
        self.index.table.suffixes_of(name.as_wire(), |hit| {
            let mut members = self.index.sets.members(hit.value).iter();
            let speaks = |m: &RuleRef| m.reach() & wanted(hit.at) != 0 && self.rules[m.rule()].mode != Mode::Off;
            untouched = !members.any(speaks);
            untouched
        });
        untouched
    }
}

impl Besides {
    /// Also says for each rule which of its names of servers said nothing new.
    fn new(
        rules: &[Rule],
        triggers: &[Trigger],
        seed: u64,
        overlaps: &mut Overlaps,
    ) -> Result<(Self, Vec<Folded>), TooManyNames> {
        let (mut ns_names, mut folded) = (None, Vec::new());
        if rules.iter().any(|rule| rule.trigger == TriggerKind::NsName) {
            let names = rules.iter().zip(triggers).map(|(rule, trigger)| match trigger {
                Trigger::Names(names) if rule.trigger == TriggerKind::NsName => Arc::clone(names),
                _ => Arc::default(),
            });
            let (index, of_servers) = Index::build(rules, names.collect(), seed, false, overlaps)?;
            (ns_names, folded) = (Some(index), of_servers);
        }
        let holders = |kind| Holders::build(rules, &networks_of(rules, triggers, kind));
        let is_of_the_answer = |rule: &Rule| {
            rule.mode != Mode::Off && (rule.trigger.is_of_the_answer() || rule.action.is_about_the_answer())
        };
        let bounds_by_client = |rule: &Rule| {
            rule.mode != Mode::Off && rule.trigger == TriggerKind::Client && matches!(rule.action, Action::Ttl(_))
        };
        let least_ttl = |by_name: bool| {
            let those = rules.iter().filter(|rule| (rule.trigger == TriggerKind::Name) == by_name);
            those.map(Rule::least_ttl).max().unwrap_or(0)
        };
        let mut ends_ms: Vec<u64> = rules.iter().filter_map(|rule| rule.scope.expires_ms).collect();
        ends_ms.sort_unstable();
        ends_ms.dedup();
        let besides = Self {
            clients: holders(TriggerKind::Client),
            responses: holders(TriggerKind::ResponseAddress),
            ns_names,
            ns_addresses: holders(TriggerKind::NsAddress),
            waited_for: waited_for(rules),
            of_the_answer: rules.iter().any(is_of_the_answer),
            bounds_by_client: rules.iter().any(bounds_by_client),
            least_ttls: LeastTtls { by_name: least_ttl(true), besides: least_ttl(false) },
            ends_ms,
        };
        Ok((besides, folded))
    }
}

/// For each rule its names, if it is about names.
fn names_of(rules: &[Rule], triggers: Vec<Trigger>) -> Vec<Arc<NameList>> {
    let names = rules.iter().zip(triggers).map(|(rule, trigger)| match trigger {
        Trigger::Names(names) if rule.trigger == TriggerKind::Name => names,
        _ => Arc::default(),
    });
    names.collect()
}

/// The networks of all rules whose trigger is of this kind, each with the number of its rule.
fn networks_of(rules: &[Rule], triggers: &[Trigger], kind: TriggerKind) -> Vec<(usize, Arc<Depths>)> {
    let networks = rules.iter().zip(triggers).enumerate().filter_map(|(number, (rule, trigger))| match trigger {
        Trigger::Networks(networks) if rule.trigger == kind => Some((number, Arc::clone(networks))),
        _ => None,
    });
    networks.collect()
}

fn waited_for(rules: &[Rule]) -> Vec<u32> {
    let decides = |rule: &Rule| {
        rule.trigger.is_of_the_answer()
            && rule.mode == Mode::Enforce
            && !rule.watches()
            && !rule.action.is_about_the_answer()
    };
    let mut waited_for: Vec<u32> = (0..rules.len()).filter(|n| decides(&rules[*n])).map(|n| n as u32).collect();
    waited_for.sort_by_key(|n| rules[*n as usize].zone_number);
    waited_for.dedup_by(|later, first| rules[*later as usize].scope == rules[*first as usize].scope);
    waited_for
}

#[cfg(test)]
mod tests;
