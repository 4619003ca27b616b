//! The decision about a question, and about one stage of an answer: who comes first of all that speak. Branches up here,
//! look-ups below; nothing allocates.

use super::answer::Shown;
use super::consider::Why;
use super::index::{Index, freeing, wanted};
use super::networks::Holders;
use super::order::{By, Key};
use super::rule::Applies;
use super::sets::RuleRef;
use super::{Action, Decision, Filter, Foreseen, Matched, Rule, Subject};
use crate::dns::name::Name;
use std::net::IpAddr;

/// The most names of one lookup that can be in the table: each of 127 labels, and the root.
pub(super) const LEVELS_MAX: usize = 128;

/// A rule that names a name, before its own filters are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    /// Where in the wire form the name found begins.
    pub(super) at: u8,
    pub(super) member: RuleRef,
    /// Why its list does not mean it.
    pub(super) silent: Option<Why>,
}

/// The best of what speaks at one stage of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) key: Key,
    /// The number of the rule.
    pub(super) rule: usize,
    pub(super) matched: Matched,
}

/// What a stage of an answer is, beside its name.
#[derive(Clone, Copy)]
pub(super) struct Stage<'s, 'm> {
    /// It is that of the question: rules about the client are heard.
    pub(super) first: bool,
    /// What the answer shows there; `None` while there is only the question.
    pub(super) shown: Option<&'s Shown<'s, 'm>>,
    /// It is of an answer to which local data has led: rules that rewrite have had their say.
    pub(super) led: bool,
}

impl Filter {
    /// The decision about a question, as if no budget were used up.
    pub fn decide(&self, subject: &Subject<'_>) -> Decision<'_> {
        self.decide_foreseen(subject, &Foreseen::NOTHING, &mut |_, _| false)
    }

    /// The decision about a question, about whose name this has been [foreseen](Self::foresee). `is_spent` is asked for rules
    /// with a budget that would decide, takes from it, and says whether it is used up. No allocation; one pass over the name
    /// and one cache line for each of its suffixes, then linear in the number of rules that name one of them.
    #[inline]
    pub fn decide_foreseen(
        &self,
        subject: &Subject<'_>,
        foreseen: &Foreseen,
        is_spent: &mut dyn FnMut(&Rule, Matched) -> bool,
    ) -> Decision<'_> {
        let mut applies =
            |rule: &Rule, matched: Matched| !matches!(rule.action, Action::Expect(_)) && is_spent(rule, matched);
        let mut decision = if self.besides.clients.is_empty() {
            self.decide_by_name(subject, foreseen, &mut applies)
        } else {
            let mut decision = Decision::default();
            self.hear_stage(subject, Stage { first: true, shown: None, led: false }, &mut decision, &mut applies);
            decision
        };
        decision.waits = decision.rule.is_some_and(|rule| self.waits(rule, subject));
        decision
    }

    /// Whether a rule of an earlier zone than that of `rule` may have a say once the answer is there.
    fn waits(&self, rule: &Rule, subject: &Subject<'_>) -> bool {
        let before = self.besides.waited_for.iter().map(|number| &self.rules[*number as usize]);
        before.take_while(|other| other.zone_number < rule.zone_number).any(|other| other.speaks(subject))
    }

    #[inline]
    fn decide_by_name(&self, subject: &Subject<'_>, foreseen: &Foreseen, applies: Applies<'_>) -> Decision<'_> {
        let mut levels = 0;
        let mut only = (0, 0);
        self.index.table.suffixes_of_foreseen(subject.name.as_wire(), foreseen, |hit| {
            levels += 1;
            only = (hit.at, hit.value);
            true
        });
        match levels {
            0 => Decision::default(),
            1 => self.decide_on_one(subject, only.0, only.1, applies),
            _ => self.decide_on_many(subject, applies),
        }
    }

    /// The common case: one listed name, whose rules are in order already.
    fn decide_on_one(&self, subject: &Subject<'_>, at: u8, set: u32, applies: Applies<'_>) -> Decision<'_> {
        let mut decision = Decision::default();
        for member in self.index.sets.members(set) {
            let rule = &self.rules[member.rule()];
            let speaks = self.index.sets.admits(*member, subject.qtype) && rule.speaks(subject);
            let matched = Matched::Name { at, reach: member.named() };
            if member.reach() & wanted(at) != 0 && speaks && decision.hear(rule, matched, applies) {
                break;
            }
        }
        decision
    }

    /// Several listed names one above the other: each has its rules in the order of zones, so they are merged, the
    /// longest name first within a zone.
    #[inline(never)]
    fn decide_on_many(&self, subject: &Subject<'_>, applies: Applies<'_>) -> Decision<'_> {
        let mut decision = Decision::default();
        self.in_order(&self.index, subject, |named| {
            let rule = &self.rules[named.member.rule()];
            let matched = Matched::Name { at: named.at, reach: named.member.named() };
            named.silent.is_none() && rule.speaks(subject) && decision.hear(rule, matched, applies)
        });
        decision
    }

    /// Hears everything that speaks at a stage, in order, until a rule decides. The first rule that watches and the first
    /// that bounds TTLs are kept, so at most those, and rules that do not apply, cost another pass.
    pub(super) fn hear_stage<'f>(
        &'f self,
        subject: &Subject<'_>,
        stage: Stage<'_, '_>,
        decision: &mut Decision<'f>,
        applies: Applies<'_>,
    ) {
        let mut floor = None;
        while let Some(Candidate { key, rule, matched }) = self.next_of_stage(subject, stage, floor, decision) {
            floor = Some(key);
            if decision.hear(&self.rules[rule], matched, applies) {
                return;
            }
        }
    }

    /// The first in the order of precedence behind `floor` that speaks at a stage, and that has something to add.
    fn next_of_stage(
        &self,
        subject: &Subject<'_>,
        stage: Stage<'_, '_>,
        floor: Option<Key>,
        decision: &Decision<'_>,
    ) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        // Whether the rule was the one looked for: then those behind it in its own order need not be asked.
        let mut offer = |number: usize, (short, by): (u8, By), matched: &mut dyn FnMut() -> Matched| {
            let rule = &self.rules[number];
            let key = Key::of(rule, number, short, by);
            let adds = match (rule.watches(), &rule.action) {
                (true, _) => decision.monitored.is_none(),
                (false, Action::Ttl(_)) => decision.ttl.is_none(),
                (false, _) => true,
            };
            // What watches the question has been counted with it.
            let counted = stage.first
                && stage.shown.is_some()
                && rule.watches()
                && !rule.trigger.is_of_the_answer()
                && !matches!(rule.action, Action::Expect(_));
            if !adds
                || counted
                || stage.led && !rule.action.vouches()
                || floor.is_some_and(|floor| key.cmp(&floor, stage.shown).is_le())
                || !rule.speaks(subject)
            {
                return false;
            }
            if best.is_none_or(|best| key.cmp(&best.key, stage.shown).is_lt()) {
                best = Some(Candidate { key, rule: number, matched: matched() });
            }
            true
        };
        let besides = &*self.besides;
        if stage.first {
            offer_holders(&besides.clients, subject.client, &mut offer);
        }
        offer_names(self, &self.index, subject, By::Stage, &mut offer);
        if let Some(shown) = stage.shown {
            if !besides.responses.is_empty() {
                shown.addresses(&mut |address| offer_holders(&besides.responses, address, &mut offer));
            }
            if let Some(index) = &besides.ns_names {
                shown.name_servers(subject.name, &mut |name, at| {
                    offer_names(self, index, &Subject { name, ..*subject }, By::Server(at), &mut offer);
                });
            }
            if !besides.ns_addresses.is_empty() {
                shown.name_server_addresses(subject.name, &mut |address| {
                    offer_holders(&besides.ns_addresses, address, &mut offer);
                });
            }
        }
        best
    }

    /// Calls `visit` with every rule that names the subject's name, in order of precedence, until it returns `true`.
    pub(super) fn in_order(&self, index: &Index, subject: &Subject<'_>, mut visit: impl FnMut(Named) -> bool) {
        let sets = &index.sets;
        // Shortest first: where it begins, its set, how many of its members are done.
        let mut levels = [(0_u8, 0_u32, 0_usize); LEVELS_MAX];
        let mut len = 0;
        index.table.suffixes_of(subject.name.as_wire(), |hit| {
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
            } else if member.frees() && is_freed(index, member, &levels[level + 1..], subject.qtype) {
                Some(Why::Excepted)
            } else {
                None
            };
            if visit(Named { at, member, silent }) {
                return;
            }
        }
    }
}

/// Whether one of the longer names is an exception of the rule's own list. Linear in the rules that name them, and only
/// for rules whose list has exceptions.
fn is_freed(index: &Index, member: RuleRef, longer: &[(u8, u32, usize)], qtype: u16) -> bool {
    let sets = &index.sets;
    longer.iter().any(|&(at, set, _)| {
        let frees = |m: &RuleRef| m.rule() == member.rule() && m.reach() & freeing(at) != 0 && sets.admits(*m, qtype);
        sets.members(set).iter().any(frees)
    })
}

/// Is given a rule by number, how closely it fits (0: best) what set it off, and by what of it: says whether it was taken.
type Offer<'o> = &'o mut dyn FnMut(usize, (u8, By), &mut dyn FnMut() -> Matched) -> bool;

/// Offers the rules that hold an address, in order, until one is taken.
fn offer_holders(holders: &Holders, address: IpAddr, offer: Offer<'_>) {
    for held in holders.of(address) {
        let fit = (128 - held.bits, By::address(address));
        if offer(held.rule as usize, fit, &mut || Matched::Network(held.network(address))) {
            return;
        }
    }
}

/// Offers the rules that name the subject's name, in order, until one is taken.
fn offer_names(filter: &Filter, index: &Index, subject: &Subject<'_>, by: By, offer: Offer<'_>) {
    filter.in_order(index, subject, |Named { at, member, silent }| {
        if silent.is_some() {
            return false;
        }
        // Names of any length are compared: the more labels, the better.
        let labels = labels_from(subject.name, at);
        offer(member.rule(), (127 - labels, by), &mut || Matched::Name { at, reach: member.named() })
    });
}

/// How many labels what begins at `at` of a name has.
pub(super) fn labels_from(name: &Name, at: u8) -> u8 {
    let wire = name.as_wire();
    let (mut at, mut labels) = (usize::from(at), 0);
    while let Some(&len) = wire.get(at).filter(|len| **len != 0) {
        at += 1 + usize::from(len);
        labels += 1;
    }
    labels
}
