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

/// Samples that one look takes in at most.
const SAMPLES_PER_LOOK: usize = 8_192;

/// Samples summed up at once: some 0.2 ms.
const PORTION: usize = 200;

/// Between two portions while many samples come, and while there are more than one takes: what 20 workers make is summed up.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_LEAST: Duration = Duration::from_millis(1);

/// So few samples leave the next to the next look: an idle gateway sleeps.
const FEW: usize = 16;

/// How long a look is put off while there are samples that came before it: in portions, time for all that can wait.
const LATE_MAX: Duration = Duration::from_millis(50);

/// When to look, and when to sum up.
struct Rhythm {
    look_at: Instant,
}

impl Rhythm {
    /// So many samples were summed up at a time, `PORTION` at the most: whether to look now, and when to come again.
    fn turn(&mut self, at: Instant, summed: usize) -> (bool, Instant) {
        let is_behind = summed == PORTION && at < self.look_at + LATE_MAX;
        let is_due = at >= self.look_at && !is_behind;
        if is_due {
            self.look_at = at + LOOK;
        }
        let next_at = match summed {
            PORTION => at + PAUSE_LEAST,
            0..=FEW => self.look_at,
            _ => self.look_at.min(at + PAUSE),
        };
        (is_due, next_at)
    }
}

/// Looks until it is dropped.
pub(super) async fn keep(site: Arc<Site>) -> Infallible {
    let mut next_at = Instant::now();
    let mut rhythm = Rhythm { look_at: next_at };
    loop {
        sleep_until(next_at).await;
        let running = site.shared.live.load();
        let mut watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = site.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = site.clock.now();
        let guard = &running.policy.server.guard;
        recent.resize(guard.queries, guard.age);
        let summed = sum_up(&mut watch, Some(&mut recent), &site.shared, now, PORTION);
        let is_due;
        (is_due, next_at) = rhythm.turn(Instant::now(), summed);
        if is_due {
            judge(&mut watch, &site.shared, &running, now, &mut |change| tell(&change));
        }
    }
}

/// One look at all that there is; what has changed goes to `tell`.
pub(super) fn look(watch: &mut Watch, shared: &Shared, running: &Running, now: Now, tell: &mut impl FnMut(Change)) {
    sum_up(watch, None, shared, now, SAMPLES_PER_LOOK);
    judge(watch, shared, running, now, tell);
}

/// Sums up what was sampled, and remembers what was asked in `recent`. How many samples there were, `most` at the most.
fn sum_up(watch: &mut Watch, mut recent: Option<&mut Recent>, shared: &Shared, now: Now, most: usize) -> usize {
    for summed in 0..most {
        let Some(sample) = shared.samples.take() else { return summed };
        watch.note(&sample);
        if let Some(recent) = &mut recent {
            recent.note(now.at, &sample);
        }
    }
    most
}

fn judge(watch: &mut Watch, shared: &Shared, running: &Running, now: Now, tell: &mut impl FnMut(Change)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks within `lasts`, of a queue that holds `waiting` when the first is due and gets so many more each millisecond: for
    /// each when it was, and how many samples waited then.
    fn looks(mut waiting: usize, each_ms: usize, lasts: Duration) -> Vec<(Duration, usize)> {
        let begin = Instant::now();
        let mut rhythm = Rhythm { look_at: begin };
        let (mut at, mut found) = (begin, Vec::new());
        while at < begin + lasts {
            let summed = waiting.min(PORTION);
            waiting -= summed;
            let (is_due, next_at) = rhythm.turn(at, summed);
            if is_due {
                found.push((at - begin, waiting));
            }
            assert!(next_at > at, "others have their turn");
            waiting += each_ms * (next_at - at).as_millis() as usize;
            at = next_at;
        }
        found
    }

    #[test]
    fn a_look_counts_all_that_came_before_it() {
        // As many as wait at most.
        let found = looks(SAMPLES_PER_LOOK, 0, 5 * LOOK);
        assert!(found.iter().all(|(_, left)| *left == 0), "{found:?}");
        assert!(found[0].0 < LATE_MAX && found.len() >= 4, "{found:?}");
    }

    #[test]
    fn looks_go_on_while_more_comes_than_is_summed_up() {
        let found = looks(SAMPLES_PER_LOOK, 2 * PORTION, 20 * LOOK);
        assert!(found.windows(2).all(|pair| pair[1].0 - pair[0].0 <= LOOK + 2 * LATE_MAX), "{found:?}");
    }

    #[test]
    fn an_idle_gateway_is_looked_at_and_left_alone() {
        let found = looks(0, 0, 10 * LOOK);
        assert_eq!(found, (0..10).map(|n| (n * LOOK, 0)).collect::<Vec<_>>());
    }
}
