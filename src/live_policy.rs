//! The one place where a running policy is replaced: publishing another value is the only change there is.

use crate::cache::Cache;
use crate::dns::name::Name;
use crate::language::{Text, Told, text};
use crate::ledger::alerts::Alerts;
use crate::ledger::journal::Journal;
use crate::ledger::notices::Notices;
use crate::ledger::samples::Samples;
use crate::policy::Policy;
use crate::policy::access::Question;
use crate::policy::cookies::CookieJar;
use crate::policy::emergency::{self, Emergency};
use crate::policy::filter::{Budgets, Decision, Foreseen, Matched, Rule, Subject};
use crate::policy::hits::{COUNTED_MAX, Counted, RuleHits};
use crate::policy::regulars::Regulars;
use crate::policy::rrl::RrlTable;
use crate::policy::source::SourceTables;
use crate::policy::word::Filters;
use crate::storm;
use crate::upstream::{Registry, RegistryFull, Routing};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A policy as the workers see it, with the routing that belongs to it. One value: a mode and the emergency rules are part
/// of it, so that no query asks whether there is an incident.
#[derive(Clone, Debug)]
pub struct Running {
    /// What acts: `base`, or a variant of it while an incident mode is on.
    pub policy: Arc<Policy>,
    /// What was compiled, without any mode.
    pub base: Arc<Policy>,
    /// The name of the incident mode that is on.
    pub mode: Option<String>,
    /// What is asked before the policy's filter.
    pub emergency: Arc<Emergency>,
    /// Whom to ask.
    pub routing: Arc<Routing>,
    /// 1 for the first policy of the process, one more for each that followed.
    pub generation: u64,
    /// Unix time, in milliseconds, when it was published.
    pub since_unix_ms: u64,
}

impl Running {
    /// What has a say about names and answers.
    #[inline]
    pub fn filters(&self) -> Filters<'_> {
        Filters { policy: &self.policy, emergency: &self.emergency }
    }

    /// What the filters say about a name: emergency rules first, whatever any zone allows.
    #[inline]
    pub fn decide(&self, subject: &Subject<'_>) -> Decision<'_> {
        self.filters().decide(subject)
    }

    /// As [`Self::decide`], for a question that is asked now, of whose name this has been foreseen: `is_spent` says whether the
    /// budget of a rule is used up, and takes from it.
    #[inline]
    pub fn decide_foreseen(
        &self,
        subject: &Subject<'_>,
        foreseen: &Foreseen,
        is_spent: &mut dyn FnMut(&Rule, Matched) -> bool,
    ) -> Decision<'_> {
        match self.emergency_rule(subject) {
            Some(rule) => Decision { rule: Some(rule), ..Decision::default() },
            None => self.policy.filter.decide_foreseen(subject, foreseen, is_spent),
        }
    }

    /// The emergency rule that decides.
    #[inline]
    pub fn emergency_rule(&self, subject: &Subject<'_>) -> Option<&Rule> {
        self.filters().emergency_rule(subject)
    }

    /// The rules that are counted, in the order in which they are heard, those about questions first.
    pub fn counted_rules(&self) -> impl Iterator<Item = Counted<'_>> {
        let questions = self.policy.access.questions().iter().map(Question::counted);
        let emergency = self.emergency.rules().iter().map(|rule| Counted { policy: emergency::ZONE, ..rule.counted() });
        let rules = self.policy.filter.rules().iter().take(COUNTED_MAX).map(Rule::counted);
        questions.chain(emergency).chain(rules)
    }

    /// How many rules there are, counted or not.
    pub fn rules_len(&self) -> usize {
        self.policy.access.questions().len() + self.emergency.len() + self.policy.filter.rules().len()
    }

    /// Lets its rules count on from where those of the same id in `before` are.
    fn count_hits(&self, workers: usize, before: Option<&Self>) {
        if self.counted_rules().all(|rule| rule.hits.has_begun()) {
            return;
        }
        // An emergency rule and one of a file may have the same id.
        let key = |rule: &Counted<'_>| (rule.policy, rule.identity.to_owned());
        let before = before.into_iter().flat_map(Self::counted_rules);
        let before: HashMap<_, &RuleHits> = before.map(|rule| (key(&rule), rule.hits)).collect();
        for rule in self.counted_rules() {
            rule.hits.begin(workers, before.get(&key(&rule)).copied());
        }
    }

    /// Whether no rule of any filter could ever speak about `name`, for any client.
    #[inline]
    pub fn is_untouched(&self, name: &Name) -> bool {
        self.emergency.is_untouched(name) && self.policy.filter.is_untouched(name)
    }

    /// The one that follows when `change` is made to this one.
    fn next(&self, unix_ms: u64, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        (next.generation, next.since_unix_ms) = (self.generation + 1, unix_ms);
        change(&mut next);
        next
    }
}

/// What was published, and what it replaces: the caller drops that one on its own thread once no worker holds it.
pub type Published = (Arc<Running>, Arc<Running>);

/// Why a policy was not published; the running one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// More upstreams than there are slots.
    Upstreams(RegistryFull),
    /// It lacks the incident mode that is on.
    LacksMode(String),
}

impl Told for PublishError {
    fn text(&self) -> Text {
        match self {
            Self::Upstreams(full) => full.text(),
            Self::LacksMode(mode) => text!(
                "mode {mode} is on, and the new policy has no modes/{mode}.toml\n  put it back, or end the mode first: \
                 `weir mode normal`",
                mode
            ),
        }
    }
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for PublishError {}

/// The running policy: read by the workers once per batch, replaced whole by the control side.
#[derive(Debug)]
pub struct LivePolicy {
    running: ArcSwap<Running>,
    registry: Mutex<Registry>,
    /// Workers that count hits of rules.
    workers: usize,
}

impl LivePolicy {
    /// The first policy of the process, for so many workers.
    ///
    /// # Errors
    /// [`RegistryFull`]: more upstreams than there are slots.
    pub fn new(policy: Policy, workers: usize, unix_ms: u64) -> Result<Self, RegistryFull> {
        let mut registry = Registry::default();
        let routing = Arc::new(Routing::new(&policy.server, &mut registry)?);
        let (policy, emergency) = (Arc::new(policy), Arc::new(Emergency::none()));
        let base = Arc::clone(&policy);
        let running = Running { policy, base, mode: None, emergency, routing, generation: 1, since_unix_ms: unix_ms };
        running.count_hits(workers, None);
        Ok(Self { running: ArcSwap::from_pointee(running), registry: Mutex::new(registry), workers })
    }

    /// The policy that runs now.
    pub fn load(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// Whether `running` is still the policy that runs; cheap enough for every batch.
    pub fn is_current(&self, running: &Arc<Running>) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.running.load()), Arc::as_ptr(running))
    }

    /// Publishes another policy; the incident mode that is on and the emergency rules stay on. Publishers take turns.
    ///
    /// # Errors
    /// [`PublishError`]; the running policy stays.
    pub fn publish(&self, policy: Policy, unix_ms: u64) -> Result<Published, PublishError> {
        self.publish_as(policy, unix_ms, |running| running.mode.clone())
    }

    /// As [`Self::publish`], and turns the incident mode that is on off with the same step.
    ///
    /// # Errors
    /// [`PublishError::Upstreams`]; the running policy stays, and its mode.
    pub fn publish_in_no_mode(&self, policy: Policy, unix_ms: u64) -> Result<Published, PublishError> {
        self.publish_as(policy, unix_ms, |_| None)
    }

    fn publish_as(
        &self,
        policy: Policy,
        unix_ms: u64,
        mode: impl FnOnce(&Running) -> Option<String>,
    ) -> Result<Published, PublishError> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.running.load_full();
        let (base, mode) = (Arc::new(policy), mode(&running));
        let policy = in_mode(&base, mode.as_deref())?;
        let routing = Arc::new(Routing::new(&base.server, &mut registry).map_err(PublishError::Upstreams)?);
        Ok(self.swap(running.next(unix_ms, |next| {
            (next.policy, next.base, next.mode, next.routing) = (policy, base, mode, routing);
        })))
    }

    /// Turns an incident mode on in place of any other, or with `None` off.
    ///
    /// # Errors
    /// [`PublishError::LacksMode`].
    pub fn set_mode(&self, mode: Option<&str>, unix_ms: u64) -> Result<Published, PublishError> {
        let _turn = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.running.load_full();
        let policy = in_mode(&running.base, mode)?;
        let mode = mode.map(str::to_owned);
        Ok(self.swap(running.next(unix_ms, |next| (next.policy, next.mode) = (policy, mode))))
    }

    /// Puts these emergency rules in the place of those that act.
    pub fn set_emergency(&self, emergency: Emergency, unix_ms: u64) -> Published {
        let _turn = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.running.load_full().next(unix_ms, |next| next.emergency = Arc::new(emergency));
        self.swap(next)
    }

    /// To be called with the registry locked.
    fn swap(&self, next: Running) -> Published {
        next.count_hits(self.workers, Some(&self.running.load()));
        let next = Arc::new(next);
        let previous = self.running.swap(Arc::clone(&next));
        (next, previous)
    }
}

/// The variant of a policy for a mode.
fn in_mode(base: &Arc<Policy>, mode: Option<&str>) -> Result<Arc<Policy>, PublishError> {
    let Some(name) = mode else { return Ok(Arc::clone(base)) };
    match base.mode(name) {
        Some(mode) => Ok(Arc::new(base.in_mode(mode))),
        None => Err(PublishError::LacksMode(name.to_owned())),
    }
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The policy that runs.
    pub live: LivePolicy,
    /// Limit tables: they outlive a change of policy, because flushing them is an attack window.
    pub source: Arc<SourceTables>,
    /// As above.
    pub rrl: RrlTable,
    /// What rules with a budget have spent: as above.
    pub budgets: Budgets,
    /// Who was there before a flood: as above.
    pub regulars: Regulars,
    /// The secret of the process and the count of BADCOOKIE: as above.
    pub cookies: CookieJar,
    /// Vetted answers; outlive a change of policy, entries know which policy vetted them.
    pub cache: Cache,
    /// What zones hold of the upstreams, and the names that are known to exist.
    pub storm: storm::Common,
    /// Queries on their way to the query log.
    pub journal: Journal,
    /// Attacks that workers have noticed, on their way to whoever tells people.
    pub alerts: Alerts,
    /// Zones of feeds whose primaries say that they have changed.
    pub notices: Notices,
    /// Samples of what is asked, on their way to whoever makes out who it is.
    pub samples: Samples,
}
