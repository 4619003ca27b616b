//! What is told at the start: enough to see at a glance whether this is what was meant.

use super::recipe::Recipe;
use super::{Site, survey};
use crate::control::origin::Origin;
use crate::control::socket::ControlSocket;
use crate::control::status::bytes_text;
use crate::language::{Text, Told as _, text};
use crate::live_policy::Running;

/// Tells it, a line at a time.
pub(super) fn announce(
    site: &Site,
    recipe: &Recipe,
    running: &Running,
    socket: Option<&ControlSocket>,
    say: &mut dyn FnMut(Text),
) {
    let server = &running.policy.server;
    say(text!(
        "weir {version}, policy {id} from {origin}",
        version = env!("CARGO_PKG_VERSION"),
        id = running.policy.id,
        origin = recipe.origin.text()
    ));
    if recipe.origin == Origin::Defaults {
        let from = recipe.resolv_conf.display();
        say(text!(
            "no policy directory: built-in defaults, the nameservers of {from}; `weir run DIR` takes another",
            from
        ));
    }
    if let Some(lab) = recipe.lab {
        say(text!("LAB: every query is answered by a small upstream of our own on {lab}, not by your upstreams", lab));
    }
    for address in &server.listen {
        say(text!("listens on {address}, UDP and TCP", address));
    }
    for upstream in &running.routing.upstreams {
        let settings = &upstream.settings;
        let pool = server.pools.get(settings.pool).map_or("", |pool| pool.name.as_str());
        say(text!(
            "asks {name} at {address}, pool {pool}, tier {tier}",
            name = settings.name,
            address = settings.address,
            pool,
            tier = settings.tier
        ));
    }
    say(text!("workers: {workers}", workers = site.workers));
    match socket {
        Some(socket) => say(text!("control socket: {path}", path = socket.path().display())),
        None => say(text!("control socket: none; `weir status` and `weir reload` have nothing to speak to")),
    }
    say(text!("state: {place}", place = site.incidents.place()));
    let on = site.incidents.status();
    if on.mode.term.is_some() {
        say(text!("mode: {mode}", mode = on.mode.text()));
    }
    if !on.emergency.is_empty() {
        say(text!("emergency rules: {n}; `weir status` lists them", n = on.emergency.len()));
    }
    if let Some(waiting) = site.history.waiting() {
        say(text!("UNCONFIRMED: {waiting}", waiting = waiting.text()));
    }
    if let Some(metrics) = server.metrics {
        say(text!("metrics: {url}", url = format_args!("http://{metrics}/metrics")));
    }
    let limits = survey::limits(&site.shared, running, site.workers);
    say(text!(
        "memory that the configuration allows: {bytes}",
        bytes = bytes_text(limits.iter().map(|limit| limit.bytes).sum())
    ));
    for limit in limits {
        say(limit.text());
    }
    for warning in site.warnings().into_iter().chain(site.incidents.warnings()).chain(site.history.warnings()) {
        say(text!("warning: {warning}", warning));
    }
}
