//! filter: ordered zones of rules by name; what is blocked, how, and for whom.
//!
//! Protects clients from names, and servers from clients that ask for them all day. Not from addresses in answers, and
//! not from a client that uses another resolver. Precedence is that of response policy zones
//! (draft-vixie-dnsop-dns-rpz): zone order, then exact before longer before shorter names, then `allow`, then the
//! earlier line. Exceptions inside a list (`@@`) free names from the rule of that list and from no other: the next rule is
//! heard. A rule whose filters (groups, types, transport) do not fit, or that is off, does not speak; one in
//! monitor mode is remembered and the next is heard.

mod consider;
mod index;
mod layers;
pub mod lists;
mod pattern;
mod rule;
mod sets;
mod table;
mod zone;

pub use consider::{Considered, Why};
pub use index::Folded;
pub use pattern::Pattern;
pub use table::{Foreseen, Hit, Table, TooManyNames};
pub use zone::read;

use super::Mode;
use super::clients::GroupSet;
use crate::dns::name::Name;
use index::{Index, freeing, wanted};
use lists::NameList;
use sets::RuleRef;
use std::net::IpAddr;
use std::sync::Arc;

/// The most rules of one policy; names in lists are not rules.
pub const RULES_MAX: usize = 100_000;

/// The most names of one lookup that can be in the table: each of 127 labels, and the root.
const LEVELS_MAX: usize = 128;

/// From this size on, in bytes, a table does not stay in a core's cache beside all else.
const LARGE: usize = 512 << 10;

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes and stops all later zones.
    Allow,
    /// NXDOMAIN with an SOA.
    Nxdomain,
    /// NOERROR without records, with an SOA.
    Nodata,
    /// REFUSED.
    Refused,
    /// Silence.
    Drop,
    /// TC=1 on UDP, the normal answer on TCP.
    Truncate,
    /// These addresses.
    Sinkhole(Vec<IpAddr>),
    /// Counts and goes on.
    Monitor,
}

impl Action {
    /// The word for it in `action = "..."`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Refused => "refused",
            Self::Drop => "drop",
            Self::Truncate => "truncate",
            Self::Sinkhole(_) => "sinkhole",
            Self::Monitor => "monitor",
        }
    }

    /// Whether it keeps the normal answer from a client.
    pub const fn blocks(&self) -> bool {
        !matches!(self, Self::Allow | Self::Monitor)
    }
}

/// Which transport a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleTransport {
    /// Queries over UDP.
    Udp,
    /// Queries over TCP.
    Tcp,
}

/// For whom and what a rule speaks; what is absent does not restrict it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `groups` of the zone.
    pub zone_groups: Option<GroupSet>,
    /// `groups` of the rule.
    pub groups: Option<GroupSet>,
    /// Types asked for.
    pub qtypes: Option<Vec<u16>>,
    /// How it was asked.
    pub transport: Option<RuleTransport>,
}

/// A rule as it runs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As written; unique in the policy.
    pub id: String,
    /// The title of its zone.
    pub zone: String,
    /// The place of its zone in the order of zones, from 0.
    pub zone_number: usize,
    /// What it does.
    pub action: Action,
    /// TTL of self-made answers, in seconds.
    pub ttl: u32,
    /// The stricter of what rule and zone say: off before monitor before enforce.
    pub mode: Mode,
    /// For whom and what.
    pub scope: Scope,
    /// Who answers for it; a note, as are `ticket` and `note`.
    pub owner: Option<String>,
    /// Where it was asked for.
    pub ticket: Option<String>,
    /// Why it is there.
    pub note: Option<String>,
}

impl Rule {
    /// Whether it only watches.
    pub fn watches(&self) -> bool {
        self.mode == Mode::Monitor || self.action == Action::Monitor
    }

    /// Whether it speaks about a subject whose name it names.
    fn speaks(&self, subject: &Subject<'_>) -> bool {
        self.silent_because(subject).is_none()
    }

    /// Why it does not speak about a subject whose name it names.
    fn silent_because(&self, subject: &Subject<'_>) -> Option<Why> {
        let scope = &self.scope;
        if self.mode == Mode::Off {
            return Some(Why::Off);
        }
        if [&scope.zone_groups, &scope.groups].into_iter().flatten().any(|groups| !groups.intersects(subject.groups)) {
            return Some(Why::OtherGroup);
        }
        if scope.qtypes.as_ref().is_some_and(|qtypes| !qtypes.contains(&subject.qtype)) {
            return Some(Why::OtherType);
        }
        let transport = if subject.tcp { RuleTransport::Tcp } else { RuleTransport::Udp };
        if scope.transport.is_some_and(|wanted| wanted != transport) {
            return Some(Why::OtherTransport);
        }
        None
    }
}

/// What a filter is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The groups of the client.
    pub groups: &'a GroupSet,
    /// The name asked for, or a CNAME target.
    pub name: &'a Name,
    /// The type asked for.
    pub qtype: u16,
    /// It came over TCP.
    pub tcp: bool,
}

/// The rules that spoke: the one that decides, and those that only watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'f> {
    /// The rule that decides, if any; never one in monitor mode.
    pub rule: Option<&'f Rule>,
    /// The first rule in monitor mode (or with the action monitor) that would have decided.
    pub monitored: Option<&'f Rule>,
}

impl<'f> Decision<'f> {
    /// Hears a rule that speaks; says whether it decides.
    fn hear(&mut self, rule: &'f Rule) -> bool {
        if rule.watches() {
            self.monitored = self.monitored.or(Some(rule));
            return false;
        }
        self.rule = Some(rule);
        true
    }
}

/// A rule that names a name, before its own filters are asked.
#[derive(Clone, Copy, Debug)]
struct Named {
    /// Where in the wire form the name found begins.
    at: u8,
    member: RuleRef,
    /// Why its list does not mean it.
    silent: Option<Why>,
}

/// All zones, compiled. A clone shares everything: the modes of a policy share their lists this way.
#[derive(Clone, Debug)]
pub struct Filter {
    rules: Arc<[Rule]>,
    index: Arc<Index>,
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
        assert!(rules.len() == names.len() && rules.len() <= RULES_MAX, "a list of names for each of the rules");
        let (index, folded) = Index::build(&rules, names, seed)?;
        Ok((Self { rules: rules.into(), index: Arc::new(index) }, folded))
    }

    /// As [`Self::of_lists`] where some lists are those of `running`, whose names are absent; `None` when the large table
    /// of that one cannot be shared, and all lists have to be read.
    fn beside(running: &Self, rules: &[Rule], names: &[Arc<NameList>], seed: u64) -> Option<(Self, Vec<Folded>)> {
        let (index, folded) = Index::build_on(running.index.base()?, rules, names, seed)?;
        Some((Self { rules: rules.into(), index: Arc::new(index) }, folded))
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

    /// All rules, in the order of zones and lines.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How many names are in the table.
    pub fn names(&self) -> usize {
        self.index.table.len()
    }

    /// Memory of the table and its sets, in bytes.
    pub fn bytes(&self) -> usize {
        self.index.table.bytes() + self.index.sets.bytes()
    }

    /// Whether its table is so large that look-ups wait for memory, and are worth foreseeing.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.index.table.bytes() > LARGE
    }

    /// A name in wire form, lower-case, that will be decided upon soon: asks for the memory that this takes. To be
    /// followed, after the others of a batch, by [`Self::fetch_foreseen`]. A hint: it changes no decision.
    #[inline]
    pub fn foresee(&self, wire: &[u8]) -> Foreseen {
        self.index.table.foresee(wire)
    }

    /// The second half of it.
    #[inline]
    pub fn fetch_foreseen(&self, foreseen: &Foreseen) {
        self.index.table.fetch_foreseen(foreseen);
    }

    /// The decision about a name. No allocation; one pass over the name and one cache line for each of its suffixes,
    /// then linear in the number of rules that name one of them.
    pub fn decide(&self, subject: &Subject<'_>) -> Decision<'_> {
        let mut levels = 0;
        let mut only = (0, 0);
        self.index.table.suffixes_of(subject.name.as_wire(), |hit| {
            levels += 1;
            only = (hit.at, hit.value);
            true
        });
        match levels {
            0 => Decision::default(),
            1 => self.decide_on_one(subject, only.0, only.1),
            _ => self.decide_on_many(subject),
        }
    }

    /// The common case: one listed name, whose rules are in order already.
    fn decide_on_one(&self, subject: &Subject<'_>, at: u8, set: u32) -> Decision<'_> {
        let mut decision = Decision::default();
        for member in self.index.sets.members(set) {
            let rule = &self.rules[member.rule()];
            let speaks = self.index.sets.admits(*member, subject.qtype) && rule.speaks(subject);
            if member.reach() & wanted(at) != 0 && speaks && decision.hear(rule) {
                break;
            }
        }
        decision
    }

    /// Several listed names one above the other: each has its rules in the order of zones, so they are merged, the
    /// longest name first within a zone.
    #[inline(never)]
    fn decide_on_many(&self, subject: &Subject<'_>) -> Decision<'_> {
        let mut decision = Decision::default();
        self.in_order(subject, |named| {
            let rule = &self.rules[named.member.rule()];
            named.silent.is_none() && rule.speaks(subject) && decision.hear(rule)
        });
        decision
    }

    /// Calls `visit` with every rule that names the subject's name, in order of precedence, until it returns `true`.
    fn in_order(&self, subject: &Subject<'_>, mut visit: impl FnMut(Named) -> bool) {
        let sets = &self.index.sets;
        // Shortest first: where it begins, its set, how many of its members are done.
        let mut levels = [(0_u8, 0_u32, 0_usize); LEVELS_MAX];
        let mut len = 0;
        self.index.table.suffixes_of(subject.name.as_wire(), |hit| {
            levels[len] = (hit.at, hit.value, 0);
            len += 1;
            len < LEVELS_MAX
        });
        let levels = &mut levels[..len];
        loop {
            let mut next: Option<(usize, usize, RuleRef)> = None;
            for (level, &(_, set, done)) in levels.iter().enumerate().rev() {
                if let Some(&first) = sets.members(set).get(done) {
                    let zone = self.rules[first.rule()].zone_number;
                    if next.is_none_or(|(least, ..)| zone < least) {
                        next = Some((zone, level, first));
                    }
                }
            }
            let Some((_, level, member)) = next else { return };
            levels[level].2 += 1;
            let at = levels[level].0;
            if member.reach() & wanted(at) == 0 {
                continue;
            }
            let silent = if !sets.admits(member, subject.qtype) {
                Some(Why::OtherType)
            } else if member.frees() && self.is_freed(member, &levels[level + 1..], subject.qtype) {
                Some(Why::Excepted)
            } else {
                None
            };
            if visit(Named { at, member, silent }) {
                return;
            }
        }
    }

    /// Whether one of the longer names is an exception of the rule's own list. Linear in the rules that name them, and only
    /// for rules whose list has exceptions.
    fn is_freed(&self, member: RuleRef, longer: &[(u8, u32, usize)], qtype: u16) -> bool {
        let sets = &self.index.sets;
        longer.iter().any(|&(at, set, _)| {
            let frees =
                |m: &RuleRef| m.rule() == member.rule() && m.reach() & freeing(at) != 0 && sets.admits(*m, qtype);
            sets.members(set).iter().any(frees)
        })
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

#[cfg(test)]
mod tests;
