//! Looks at what the workers have sampled and noticed, ten times a second, and tells of attacks that begin and end. Samples
//! are summed up between the looks too, in small portions: where this thread shares a core with a worker, what it does at
//! once is what queries wait.

use super::Site;
use crate::clock::Now;
use crate::control::top::{suggestion, why};
use crate::language::{Told as _, phrase};
use crate::ledger::active::Change;
use crate::ledger::alerts::{Alert, AlertKind};
use crate::ledger::recent::Recent;
use crate::ledger::watch::{Doing, LOOK, Watch};
use crate::live_policy::{Running, Shared};
use crate::policy::Mode;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Samples summed up at once: what 20 workers make between two looks, so that the control side always comes to an end.
const SAMPLES_AT_ONCE: usize = 8_192;

/// Between two portions while many samples come.
const PORTION: Duration = Duration::from_millis(10);

/// No more than so many samples of a portion make it one that may wait for the next look: an idle gateway sleeps.
const FEW: usize = 16;

/// Looks until it is dropped.
pub(super) async fn keep(site: Arc<Site>) -> Infallible {
    let mut look_at = Instant::now();
    let mut next_at = look_at;
    loop {
        sleep_until(next_at).await;
        let at = Instant::now();
        let running = site.shared.live.load();
        let mut watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = site.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = site.clock.now();
        let summed = if at >= look_at {
            look_at = at + LOOK;
            let guard = &running.policy.server.guard;
            recent.resize(guard.queries, guard.age);
            look(&mut watch, Some(&mut recent), &site.shared, &running, now, &mut |change| tell(&change))
        } else {
            sum_up(&mut watch, Some(&mut recent), &site.shared, now)
        };
        next_at = if summed > FEW { look_at.min(at + PORTION) } else { look_at };
    }
}

/// One look; what has changed goes to `tell`, and what was asked is remembered in `recent`. How many samples there were.
pub(super) fn look(
    watch: &mut Watch,
    recent: Option<&mut Recent>,
    shared: &Shared,
    running: &Running,
    now: Now,
    tell: &mut impl FnMut(Change),
) -> usize {
    let summed = sum_up(watch, recent, shared, now);
    while let Some(alert) = shared.alerts.take() {
        watch.heed(now, alert, tell);
    }
    watch.look(now, &doing(running), tell);
    summed
}

/// How many samples there were.
fn sum_up(watch: &mut Watch, mut recent: Option<&mut Recent>, shared: &Shared, now: Now) -> usize {
    for summed in 0..SAMPLES_AT_ONCE {
        let Some(sample) = shared.samples.take() else { return summed };
        watch.note(&sample);
        if let Some(recent) = &mut recent {
            recent.note(now.at, &sample);
        }
    }
    SAMPLES_AT_ONCE
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
        // Told by what looks after it, which knows why.
        Change::Begun(Alert { kind: AlertKind::OldFeed, .. })
        | Change::Ended(Alert { kind: AlertKind::OldFeed, .. }, _) => {}
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
