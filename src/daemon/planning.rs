//! What a change would do to what runs: for `weir plan`, and for the guard before a policy comes to run. Waits for the disk
//! and compiles, so it is called where that holds up nobody.

use super::recipe::Recipe;
use super::{Site, answers, history};
use crate::control::history::request::{Order, Source};
use crate::control::plan::verdicts::{Comparison, Tried, Verdicts};
use crate::control::plan::written::lists_between;
use crate::control::plan::{Plan, PlanRequest, guard};
use crate::control::protocol::{Failure, FailureCode};
use crate::control::reload::Cause;
use crate::control::status::seconds_text;
use crate::language::{Text, text};
use crate::ledger::recent::{Asked, Remembered};
use crate::live_policy::Running;
use crate::policy::explain::Besides;
use crate::policy::{Mode, Policy};
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// What would change, if the policy of another directory or of the history came to run.
///
/// # Errors
/// That policy cannot be had, or has faults; or another plan is being made just now.
pub(super) fn plan(site: &Site, recipe: &Recipe, request: &PlanRequest) -> Result<Plan, Failure> {
    // A policy takes memory while it is compiled: one at a time beside the one that runs.
    let Ok(_turn) = site.planning.try_lock() else {
        return Err(Failure::new(FailureCode::Busy, text!("another plan is being made; try again in a moment")));
    };
    let fetched = site.history.fetch_named(recipe.origin.directory(), &request.policy)?;
    let history::Fetched { coming, faults, name, notes } = fetched;
    let (policy, report) = recipe.compile(&coming.files, faults).map_err(|report| {
        let sum = report.sum();
        let message = text!("the policy of {name} has faults ({sum}): it would be refused", name, sum);
        Failure::of_faults(message, name.clone(), report)
    })?;
    let running = site.shared.live.load();
    let remembered = site.remembered();
    let note = note(&running, &remembered);
    let verdicts = compare(site, &running, &policy, remembered);
    let old = (text!("the gateway, generation {generation}", generation = running.generation), &*running.base);
    let mut plan = Plan::new(old, (name, &policy), &report, verdicts);
    plan.warnings.splice(0..0, notes);
    plan.queries_note = note;
    Ok(plan)
}

/// The verdicts of both policies on what was asked lately, and on what the cache has of the answers; `None` when nothing was.
fn compare(site: &Site, running: &Running, policy: &Policy, remembered: Remembered) -> Option<Verdicts> {
    let Remembered { queries, reach } = remembered;
    if queries.is_empty() {
        return None;
    }
    let queries = Arc::new(queries);
    let answers = answers::gather(&site.control, &site.shared, &queries);
    let unix_ms = site.clock.now().unix_ms;
    let besides = Besides { mode: None, emergency: Some(&running.emergency) };
    let mut comparison = Comparison::new(&running.base, policy, besides, unix_ms);
    for (number, query) in queries.iter().enumerate() {
        let Asked { client, name, qtype, tcp, weight } = *query;
        let client = client.to_canonical();
        comparison.try_on(&Tried { client, name, qtype, tcp, weight, answer: answers.of(number) });
    }
    Some(comparison.end(text!("of the last {time}", time = seconds_text(reach.as_secs()))))
}

/// What is to be known about the queries that a plan was tried on.
fn note(running: &Running, remembered: &Remembered) -> Option<Text> {
    let server = &running.policy.server;
    if server.guard.queries == 0 || server.top.samples == 0 {
        let key = if server.top.samples == 0 { "[top] samples" } else { "[guard] queries" };
        return Some(text!("none are remembered: {key} is 0; try a file with --queries, --dnstap or --pcap", key));
    }
    let few = remembered.queries.len() < server.guard.queries_min;
    few.then(|| {
        let (len, min) = (remembered.queries.len(), server.guard.queries_min);
        text!("{len} were asked lately, fewer than the {min} that the guard needs to judge by", len, min)
    })
}

/// Holds a policy that is to run against what runs; returns what it only warns of.
///
/// # Errors
/// [`FailureCode::Guarded`]: the change is so large that somebody has to say that it is meant.
pub(super) fn hold(
    site: &Site,
    running: &Running,
    policy: &Policy,
    order: &Order,
    origin: Option<&Path>,
) -> Result<Vec<Text>, Failure> {
    let settings = &running.base.server.guard;
    // The way back from what nobody confirmed is never barred.
    if settings.mode == Mode::Off || order.force || order.cause == Cause::Unconfirmed {
        return Ok(Vec::new());
    }
    let lists = lists_between(&running.base.outline, &policy.outline);
    let verdicts = compare(site, running, policy, site.remembered());
    let objections = guard::objections(settings, &lists, verdicts.as_ref());
    if objections.is_empty() {
        return Ok(Vec::new());
    }
    if settings.mode == Mode::Monitor {
        return Ok(objections
            .into_iter()
            .map(|objection| text!("the guard would object: {objection}", objection))
            .collect());
    }
    let objections = Text::joined("; ", objections);
    if order.feed.is_some() {
        // It waits then, and whoever brought it says how it is taken all the same.
        return Err(Failure::new(FailureCode::Guarded, text!("the guard objects: {objections}", objections)));
    }
    let (shown, forced) = commands(order, origin);
    let message = text!(
        "the guard objects: {objections}; `weir plan {shown}` shows what would change, `weir {forced} --force` makes it all the \
         same",
        objections,
        shown,
        forced
    );
    Err(Failure::new(FailureCode::Guarded, message))
}

/// What to plan with, and the command that is to be forced.
fn commands(order: &Order, origin: Option<&Path>) -> (String, String) {
    let origin = origin.map_or_else(|| "DIR".to_owned(), |path| path.display().to_string());
    match &order.source {
        Source::Running | Source::Same => (origin, "reload".to_owned()),
        Source::Directory(directory) => (directory.display().to_string(), format!("apply {}", directory.display())),
        Source::Kept(Some(id)) => (id.clone(), format!("rollback {id}")),
        Source::Kept(None) => ("ID".to_owned(), "rollback".to_owned()),
    }
}

impl Site {
    /// The queries of the last minutes.
    fn remembered(&self) -> Remembered {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).remembered(self.clock.moment())
    }
}
