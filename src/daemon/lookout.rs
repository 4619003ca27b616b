//! Looks at what the workers have sampled and noticed, ten times a second, and tells of attacks that begin and end.

use super::Site;
use crate::clock::Now;
use crate::control::top::{suggestion, why};
use crate::language::{Told as _, phrase};
use crate::ledger::active::Change;
use crate::ledger::recent::Recent;
use crate::ledger::watch::{Doing, LOOK, Watch};
use crate::live_policy::{Running, Shared};
use crate::policy::Mode;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use tokio::time::MissedTickBehavior;

/// Samples taken out at one look: what 20 workers make in its time, so that the control side always comes to an end.
const SAMPLES_PER_LOOK: usize = 8_192;

/// Looks until it is dropped.
pub(super) async fn keep(site: Arc<Site>) -> Infallible {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let running = site.shared.live.load();
        let mut watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = site.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = &running.policy.server.guard;
        recent.resize(guard.queries, guard.age);
        look(&mut watch, Some(&mut recent), &site.shared, &running, site.clock.now(), &mut |change| tell(&change));
    }
}

/// One look; what has changed goes to `tell`, and what was asked is remembered in `recent`.
pub(super) fn look(
    watch: &mut Watch,
    mut recent: Option<&mut Recent>,
    shared: &Shared,
    running: &Running,
    now: Now,
    tell: &mut impl FnMut(Change),
) {
    for _ in 0..SAMPLES_PER_LOOK {
        let Some(sample) = shared.samples.take() else { break };
        watch.note(&sample);
        if let Some(recent) = &mut recent {
            recent.note(now.at, &sample);
        }
    }
    while let Some(alert) = shared.alerts.take() {
        watch.heed(now, alert, tell);
    }
    watch.look(now, &doing(running), tell);
}

fn doing(running: &Running) -> Doing {
    let (source, rrl, overload) = (running.policy.source.mode, running.policy.rrl.mode, running.policy.overload.mode);
    Doing {
        reflection: match (rrl, source) {
            (Mode::Enforce, _) => phrase!("[rrl] withholds answers over its rate, some as TC=1"),
            (Mode::Monitor, Mode::Enforce) => phrase!("[source] limits each address; [rrl] only monitors"),
            (Mode::Monitor, _) => phrase!("nothing: [rrl] only monitors; set mode = \"enforce\""),
            (Mode::Off, Mode::Enforce) => phrase!("[source] limits each address; [rrl] is off"),
            (Mode::Off, _) => phrase!("nothing: [rrl] is off; set mode = \"enforce\""),
        },
        flood: match source {
            Mode::Enforce => phrase!("[source] drops what is over its rate, some as TC=1"),
            Mode::Monitor => phrase!("nothing: [source] only monitors; set mode = \"enforce\""),
            Mode::Off => phrase!("nothing: [source] is off"),
        },
        crowd: match overload {
            Mode::Enforce => phrase!("nothing while the workers keep up; then [overload] serves known sources first"),
            Mode::Monitor => phrase!("nothing: [overload] only monitors; set mode = \"enforce\""),
            Mode::Off => phrase!("nothing: [overload] is off"),
        },
    }
}

fn tell(change: &Change) {
    match change {
        Change::Begun(alert) => tracing::warn!(
            kind = alert.kind.name(),
            subject = %alert.subject.text().english(),
            why = why(alert).english(),
            done = alert.done.text().english(),
            suggestion = suggestion(alert).english(),
            "attack"
        ),
        Change::Ended(alert, lasted) => tracing::info!(
            kind = alert.kind.name(),
            subject = %alert.subject.text().english(),
            lasted_s = lasted.as_secs(),
            "attack is over"
        ),
    }
}
