//! What becomes of a request on the control socket.

use super::recipe::Recipe;
use super::{Site, planning, survey};
use crate::control::beside::{beside, waiting};
use crate::control::history::request::Order;
use crate::control::incidents::{Event, Who};
use crate::control::protocol::{Command, Failure, FailureCode};
use crate::control::reload::{Asker, Outcome};
use crate::control::socket::Peer;
use crate::language::{Lang, json_in, text};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Answers one request.
pub(super) async fn answer(
    site: Arc<Site>,
    recipe: &Arc<Recipe>,
    asker: Asker,
    command: Command,
    peer: Peer,
    lang: Lang,
) -> Result<Value, Failure> {
    let who = || Who::peer(peer.uid, peer.pid);
    match command {
        Command::Status {} => value(lang, &survey::status(&site)),
        Command::Reload { force } => {
            let (who, outcome) = (who(), asker.reload(who(), force).await);
            if let Some(last) = site.last_reload() {
                site.incidents.reloaded(&who, &last);
            }
            value(lang, &outcome?)
        }
        Command::History {} => {
            let list = waiting(move || site.history.list());
            let broken =
                |error| Failure::new(FailureCode::Unavailable, text!("reading the history broke off: {error}", error));
            value(lang, &list.await.map_err(broken)??)
        }
        Command::Diff(request) => {
            let compare = move || site.history.diff(&request);
            value(
                lang,
                &beside(compare).await.map_err(|error| {
                    Failure::new(FailureCode::Unavailable, text!("comparing broke off: {error}", error))
                })??,
            )
        }
        Command::Plan(request) => {
            let (site, recipe) = (Arc::clone(&site), Arc::clone(recipe));
            let plan = move || planning::plan(&site, &recipe, &request);
            value(
                lang,
                &beside(plan).await.map_err(|error| {
                    Failure::new(FailureCode::Unavailable, text!("making the plan broke off: {error}", error))
                })??,
            )
        }
        Command::Apply(request) => value(lang, &carry_out(&site, &asker, request.check(who())?, Event::Apply).await?),
        Command::Rollback(request) => {
            value(lang, &carry_out(&site, &asker, request.check(who())?, Event::Rollback).await?)
        }
        Command::Confirm(request) => {
            let reason = request.check()?;
            let (confirmed, id) = site.history.confirm(site.shared.live.load().base.id)?;
            site.incidents.record(&who(), Event::Confirm, format!("policy {id}"), &reason);
            site.incidents.write().await;
            value(lang, &confirmed)
        }
        Command::Feeds {} => value(lang, &site.feeds.list(None)?),
        Command::FeedRefresh { name } => value(lang, &site.feeds.refresh(name.as_deref())?),
        Command::FeedAccept { name } => {
            let outcome = site.feeds.accept(&name, who(), &asker).await;
            let told = outcome.as_ref().map_or_else(|failure| failure.message.as_str(), |_| "ok");
            let what = format!("accept {name}: {}", told.lines().next().unwrap_or_default());
            site.incidents.record(&who(), Event::Feed, what, "");
            site.incidents.write().await;
            value(lang, &outcome?)
        }
        Command::Mode(request) => value(lang, &site.incidents.mode(&who(), &request).await?),
        Command::Block(request) => value(lang, &site.incidents.block(&who(), &request).await?),
        Command::Unblock(request) => value(lang, &site.incidents.unblock(&who(), &request).await?),
        Command::Top { rows } => value(lang, &survey::top(&site, rows)),
        Command::Explain(question) => {
            let running = site.shared.live.load();
            let explained =
                crate::control::explain::explain_running(&running, &question, site.clock.now().unix_ms, lang);
            value(lang, &explained.map_err(|message| Failure::new(FailureCode::BadRequest, message))?)
        }
    }
}

/// Has the policy changed, and notes who did it and what became of it.
async fn carry_out(site: &Site, asker: &Asker, order: Order, event: Event) -> Outcome {
    let (who, reason, force) = (order.who.clone(), order.reason.clone(), order.force);
    let outcome = asker.order(order).await;
    let what = match &outcome {
        Ok(reloaded) => {
            let forced = if force { ", forced" } else { "" };
            format!("ok: policy {}, generation {}{forced}", reloaded.policy, reloaded.generation)
        }
        Err(failure) => format!("refused: {}", failure.message.lines().next().unwrap_or_default()),
    };
    site.incidents.record(&who, event, what, &reason);
    site.incidents.write().await;
    outcome
}

fn value(lang: Lang, result: &impl Serialize) -> Result<Value, Failure> {
    json_in(lang, result)
        .map_err(|error| Failure::new(FailureCode::Unavailable, text!("the answer cannot be written: {error}", error)))
}
