//! The word of a policy on an answer: its CNAME targets, its addresses, its name servers, and whether it is the one that was
//! expected. One function says it on the path of a query, for plans and for explanations, so that they cannot differ.

use super::emergency::Emergency;
use super::filter::{Action, Decision, Rule, Subject, TtlBounds};
use super::{Mode, Policy};
use crate::dns::name::Name;
use crate::dns::response::Response;

/// What has a say about names and answers: the emergency rules come first, whatever any zone allows.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'r> {
    /// Whose filter and whose word on rebinding.
    pub policy: &'r Policy,
    /// Asked before it.
    pub emergency: &'r Emergency,
}

/// An answer that may be sent.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'f> {
    /// No rule speaks about any part of it for anybody.
    pub untouched: bool,
    /// The rule that bounds its TTLs.
    pub ttl: Option<&'f Rule>,
    /// Its additional section may not be sent.
    pub cut: bool,
    /// The rule that allows it, or that does nothing on this transport.
    pub rule: Option<&'f Rule>,
}

impl Pass<'_> {
    /// The bounds of its TTLs.
    pub fn bounds(&self) -> TtlBounds {
        bounds_of(self.ttl)
    }
}

fn bounds_of(rule: Option<&Rule>) -> TtlBounds {
    match rule.map(|rule| &rule.action) {
        Some(Action::Ttl(bounds)) => *bounds,
        _ => TtlBounds::NONE,
    }
}

/// What is said about an answer.
#[allow(clippy::large_enum_variant)] // it lives on the stack of one answer; a box would be an allocation
#[derive(Clone, Copy, Debug)]
pub enum Word<'f> {
    /// May be sent.
    Pass(Pass<'f>),
    /// A rule decides otherwise, at this name.
    Rule(Decision<'f>, Name),
    /// It leads a name of the outside into a private network.
    Rebinding,
    /// There are more CNAMEs than are read: any rule might speak.
    Unread,
}

impl Word<'_> {
    /// The bounds of the TTLs of the answer, whether it passes or not.
    pub fn bounds(&self) -> TtlBounds {
        match self {
            Self::Pass(Pass { ttl, .. }) | Self::Rule(Decision { ttl, .. }, _) => bounds_of(*ttl),
            Self::Rebinding | Self::Unread => TtlBounds::NONE,
        }
    }

    /// Whether no rule speaks about any part of the answer for anybody.
    pub fn is_untouched(&self) -> bool {
        matches!(self, Self::Pass(Pass { untouched: true, .. }))
    }

    /// Whether it is withheld for not being the answer that was expected.
    pub fn is_unexpected(&self) -> bool {
        matches!(self, Self::Rule(Decision { rule: Some(Rule { action: Action::Expect(_), .. }), .. }, _))
    }
}

/// A word, and what would have been said by what only watches.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'f> {
    /// What becomes of the answer.
    pub word: Word<'f>,
    /// The first rule in monitor mode that would have decided.
    pub monitored: Option<&'f Rule>,
    /// It would have decided on the question already, and has been heard there.
    pub was_heard: bool,
    /// It leads inside, and `[rebinding]` only watches.
    pub rebinding: bool,
}

impl<'f> Heard<'f> {
    const fn only(word: Word<'f>) -> Self {
        Self { word, monitored: None, was_heard: false, rebinding: false }
    }
}

/// Where an answer has addresses of private networks.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    answer: bool,
    additional: bool,
}

impl<'r> Filters<'r> {
    /// What the filters say about a name: emergency rules first.
    #[inline]
    pub fn decide(self, subject: &Subject<'_>) -> Decision<'r> {
        match self.emergency_rule(subject) {
            Some(rule) => Decision { rule: Some(rule), ..Decision::default() },
            None => self.policy.filter.decide(subject),
        }
    }

    /// The emergency rule that decides. Over TCP there is nothing to truncate: then it is as if there were no such rule.
    #[inline]
    pub fn emergency_rule(self, subject: &Subject<'_>) -> Option<&'r Rule> {
        let passes = |rule: &Rule| subject.tcp && matches!(rule.action, Action::Truncate);
        self.emergency.decide(subject).rule.filter(|rule| !passes(rule))
    }

    /// Whether any filter has a rule.
    #[inline]
    pub fn has_rules(self) -> bool {
        !self.emergency.is_empty() || !self.policy.filter.rules().is_empty()
    }

    /// Whether no rule of any filter could ever speak about an answer to `name`, for any client, apart from rules that
    /// decide on the question.
    #[inline]
    pub fn is_answer_untouched(self, name: &Name, response: &Response<'_>) -> bool {
        let mut untouched = self.policy.filter.is_answer_untouched(name, response);
        if !self.emergency.is_empty() {
            response.chain(&mut |target| untouched = untouched && self.emergency.is_untouched(target));
        }
        untouched
    }

    /// The word on an answer to `subject`. No budget is asked and nothing counted.
    pub fn judge(self, subject: &Subject<'_>, response: &Response<'_>) -> Heard<'r> {
        self.judge_answer(subject, response, false)
    }

    /// The word on an answer to `subject` whose name local data has put in the place of another
    /// ([`super::filter::Filter::judge_led`]).
    pub fn judge_led(self, subject: &Subject<'_>, response: &Response<'_>) -> Heard<'r> {
        self.judge_answer(subject, response, true)
    }

    fn judge_answer(self, subject: &Subject<'_>, response: &Response<'_>, led: bool) -> Heard<'r> {
        let Self { policy, emergency } = self;
        let Subject { name, tcp, .. } = *subject;
        if let Some((rule, target)) = self.emergency_in_chain(subject, response) {
            return Heard::only(Word::Rule(Decision { rule: Some(rule), ..Decision::default() }, target));
        }
        let inside = leads_inside(policy, name, response);
        let untouched = !inside.answer && !inside.additional && self.is_answer_untouched(name, response);
        let waited = !led && policy.filter.may_wait() && self.decide(subject).waits;
        if untouched && !waited && !response.chain_cut {
            return Heard::only(Word::Pass(Pass { untouched, ttl: None, cut: false, rule: None }));
        }
        let decision = match led {
            true => policy.filter.judge_led(subject, response),
            false => policy.filter.judge(subject, response),
        };
        let monitored = decision.monitored;
        let was_heard = monitored.is_some() && self.decide(subject).monitored.is_some();
        let heard = |word| Heard { word, monitored, was_heard, rebinding: false };
        let passes =
            |rule: &Rule| matches!(rule.action, Action::Allow) || tcp && matches!(rule.action, Action::Truncate);
        if decision.rule.is_some_and(|rule| !passes(rule)) {
            let target = decision.stage.checked_sub(1).and_then(|n| response.target(n));
            return heard(Word::Rule(decision, target.unwrap_or(*name)));
        }
        let allowed = decision.rule.is_some_and(|rule| matches!(rule.action, Action::Allow));
        // Behind a rule that allows, nothing but an emergency rule could say more.
        if response.chain_cut && self.has_rules() && (!allowed || !emergency.is_empty()) {
            return heard(Word::Unread);
        }
        let enforced = policy.rebinding.mode == Mode::Enforce;
        if inside.answer && enforced {
            return heard(Word::Rebinding);
        }
        let cut = inside.additional && enforced || policy.filter.cuts_additionals(subject, response, &decision);
        let pass = Pass { untouched, ttl: decision.ttl, cut, rule: decision.rule };
        Heard { rebinding: inside.answer, ..heard(Word::Pass(pass)) }
    }

    /// The first CNAME target that an emergency rule is about: not even a rule that allows the question comes before it.
    fn emergency_in_chain(self, subject: &Subject<'_>, response: &Response<'_>) -> Option<(&'r Rule, Name)> {
        if self.emergency.is_empty() {
            return None;
        }
        (0..response.chain_len).find_map(|n| {
            let target = response.target(n)?;
            let rule = self.emergency_rule(&Subject { name: &target, ..*subject })?;
            Some((rule, target))
        })
    }
}

/// Whether the answer to a question for a name of the outside holds addresses of private networks.
fn leads_inside(policy: &Policy, name: &Name, response: &Response<'_>) -> Inside {
    let policy = &policy.rebinding;
    let mut inside = Inside::default();
    if policy.mode == Mode::Off {
        return inside;
    }
    response.addresses(&mut |address| inside.answer |= policy.is_private(address));
    response.additional_addresses(&mut |address| inside.additional |= policy.is_private(address));
    if (inside.answer || inside.additional) && policy.allows(name) { Inside::default() } else { inside }
}
