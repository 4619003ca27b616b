//! What is told at the start: enough to see at a glance whether this is what was meant.

use super::recipe::Recipe;
use super::{Site, survey};
use crate::control::origin::Origin;
use crate::control::socket::ControlSocket;
use crate::control::status::bytes_text;
use crate::live_policy::Running;

/// Tells it, a line at a time.
pub(super) fn announce(
    site: &Site,
    recipe: &Recipe,
    running: &Running,
    socket: Option<&ControlSocket>,
    say: &mut dyn FnMut(&str),
) {
    let server = &running.policy.server;
    say(&format!("weir {}, policy {} from {}", env!("CARGO_PKG_VERSION"), running.policy.id, recipe.origin));
    if recipe.origin == Origin::Defaults {
        let from = recipe.resolv_conf.display();
        say(&format!(
            "no policy directory: built-in defaults, the nameservers of {from}; `weir run DIR` takes another"
        ));
    }
    if let Some(lab) = recipe.lab {
        say(&format!("LAB: every query is answered by a small upstream of our own on {lab}, not by your upstreams"));
    }
    for address in &server.listen {
        say(&format!("listens on {address}, UDP and TCP"));
    }
    for upstream in &running.routing.upstreams {
        let settings = &upstream.settings;
        let pool = server.pools.get(settings.pool).map_or("", |pool| pool.name.as_str());
        say(&format!("asks {} at {}, pool {pool}, tier {}", settings.name, settings.address, settings.tier));
    }
    say(&format!("workers: {}", site.workers));
    match socket {
        Some(socket) => say(&format!("control socket: {}", socket.path().display())),
        None => say("control socket: none; `weir status` and `weir reload` have nothing to speak to"),
    }
    say(&format!("state: {}", site.incidents.place()));
    let on = site.incidents.status();
    if on.mode.term.is_some() {
        say(&format!("mode: {}", on.mode));
    }
    if !on.emergency.is_empty() {
        say(&format!("emergency rules: {}; `weir status` lists them", on.emergency.len()));
    }
    if let Some(waiting) = site.history.waiting() {
        say(&format!("UNCONFIRMED: {waiting}"));
    }
    if let Some(metrics) = server.metrics {
        say(&format!("metrics: http://{metrics}/metrics"));
    }
    let limits = survey::limits(&site.shared, running, site.workers);
    say(&format!("memory that the configuration allows: {}", bytes_text(limits.iter().map(|limit| limit.bytes).sum())));
    for limit in limits {
        say(&format!("  {:<10}{}", bytes_text(limit.bytes), limit.what));
    }
    for warning in site.warnings().into_iter().chain(site.incidents.warnings()).chain(site.history.warnings()) {
        say(&format!("warning: {warning}"));
    }
}
