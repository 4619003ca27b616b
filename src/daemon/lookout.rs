//! Looks at what the workers have sampled and noticed, ten times a second, and tells of attacks that begin and end. Samples
//! are summed up between the looks too, in small portions, on a thread of its own that waits for an idle core: a worker that
//! wakes up takes it at once. In a flood, when no core is ever idle, it goes with the others for a while: then what it does
//! at once is what queries wait.

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
use crate::sys::thread::{comes_back, go_with_others, wait_for_an_idle_core};
use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Samples that one look takes in at most.
const SAMPLES_PER_LOOK: usize = 8_192;

/// Samples summed up at once as far as can be: some 0.02 ms.
const PORTION: usize = 16;

/// And at most, after a pause in which more came than before: some 0.1 ms.
const PORTION_MAX: usize = 100;

/// Between two portions at least: what 20 workers make is summed up.
const PAUSE_LEAST: Duration = Duration::from_millis(1);

/// How long a look is put off while there are samples that came before it: in portions, time for all that can wait.
const LATE_MAX: Duration = Duration::from_millis(100);

/// When to look, and when to sum up.
struct Rhythm {
    look_at: Instant,
    /// When the last portion was summed up.
    last: Instant,
    /// Until the next, as samples come: an idle gateway sleeps from look to look.
    pause: Duration,
}

impl Rhythm {
    fn new(at: Instant) -> Self {
        Self { look_at: at, last: at, pause: LOOK }
    }

    /// So many samples were summed up at a time, `PORTION_MAX` at the most: whether to look now, and when to come again.
    fn turn(&mut self, at: Instant, summed: usize) -> (bool, Instant) {
        let is_behind = summed == PORTION_MAX && at < self.look_at + LATE_MAX;
        let is_due = at >= self.look_at && !is_behind;
        if is_due {
            self.look_at = at + LOOK;
        }
        let passed = at - std::mem::replace(&mut self.last, at);
        // A few samples say little: by their number alone the pause would be too long now and then.
        let pause = passed.mul_f64(PORTION as f64 / summed.max(1) as f64).min(2 * self.pause);
        self.pause = if summed == PORTION_MAX { PAUSE_LEAST } else { pause.clamp(PAUSE_LEAST, LOOK) };
        let next_at = at + self.pause;
        (is_due, if is_behind { next_at } else { next_at.min(self.look_at) })
    }
}

/// So late after it was due a portion shows that no core is idle. While all is calm it is a millisecond or less.
const STARVED: Duration = Duration::from_millis(20);

/// How long it goes with the others then, before it waits for an idle core again.
const PRESSED: Duration = Duration::from_secs(10);

/// Whom the thread lets go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// All others: it waits for an idle core.
    IdleCore,
    /// Nobody, until then.
    WithOthers(Instant),
}

impl Manner {
    /// From now on, when a portion that was due at `due_at` was summed up `at` this time.
    fn next(self, due_at: Instant, at: Instant) -> Self {
        match self {
            Self::IdleCore if at.saturating_duration_since(due_at) >= STARVED => Self::WithOthers(at + PRESSED),
            Self::WithOthers(until) if at >= until => Self::IdleCore,
            same => same,
        }
    }

    fn take(self) -> io::Result<()> {
        match self {
            Self::IdleCore => wait_for_an_idle_core(),
            Self::WithOthers(_) => go_with_others(),
        }
    }
}

/// The thread that looks; dropping this ends it at its next turn.
pub(super) struct Lookout {
    _until_dropped: mpsc::Sender<Infallible>,
}

impl Lookout {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(site: Arc<Site>) -> io::Result<Self> {
        let (until_dropped, end) = mpsc::channel();
        thread::Builder::new().name("weir-lookout".to_owned()).spawn(move || keep(&site, &end))?;
        Ok(Self { _until_dropped: until_dropped })
    }
}

fn keep(site: &Site, end: &mpsc::Receiver<Infallible>) {
    let mut next_at = Instant::now();
    let mut rhythm = Rhythm::new(next_at);
    // Where it could not come back it goes with the others all the time.
    let mut manner = (comes_back(go_with_others) && Manner::IdleCore.take().is_ok()).then_some(Manner::IdleCore);
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(next_at.saturating_duration_since(Instant::now())) {
        let (due_at, summed) = (next_at, portion(site));
        let at = Instant::now();
        let is_due;
        (is_due, next_at) = rhythm.turn(at, summed);
        if is_due {
            let mut watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
            let running = site.shared.live.load();
            judge(&mut watch, &site.shared, &running, site.clock.now(), &mut |change| tell(&change));
        }
        if let Some(now) = &mut manner {
            let next = now.next(due_at, at);
            if next == *now || next.take().is_ok() {
                *now = next;
            }
        }
    }
}

/// Sums up what was sampled. How many samples there were, [`PORTION_MAX`] at the most.
fn portion(site: &Site) -> usize {
    let running = site.shared.live.load();
    let mut watch = site.watch.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recent = site.recent.lock().unwrap_or_else(PoisonError::into_inner);
    let guard = &running.policy.server.guard;
    recent.resize(guard.queries, guard.age);
    sum_up(&mut watch, Some(&mut recent), &site.shared, site.clock.now(), PORTION_MAX)
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

    /// A look: when it was, and how many samples waited then.
    type Look = (Duration, usize);

    /// Looks within `lasts`, of a queue that holds `waiting` when the first is due and gets so many more each second; and how
    /// many samples were summed up at a time.
    fn looks(mut waiting: usize, each_second: usize, lasts: Duration) -> (Vec<Look>, Vec<usize>) {
        let begin = Instant::now();
        let mut rhythm = Rhythm::new(begin);
        let (mut at, mut found, mut portions, mut came) = (begin, Vec::new(), Vec::new(), 0);
        while at < begin + lasts {
            let summed = waiting.min(PORTION_MAX);
            waiting -= summed;
            portions.push(summed);
            let (is_due, next_at) = rhythm.turn(at, summed);
            if is_due {
                found.push((at - begin, waiting));
            }
            assert!(next_at > at, "others have their turn");
            at = next_at;
            let all = (each_second as f64 * (at - begin).as_secs_f64()) as usize;
            waiting += all - std::mem::replace(&mut came, all);
        }
        (found, portions)
    }

    #[test]
    fn a_look_counts_all_that_came_before_it() {
        // As many as wait at most.
        let (found, _) = looks(SAMPLES_PER_LOOK, 0, 5 * LOOK);
        assert!(found.iter().all(|(_, left)| *left == 0), "{found:?}");
        assert!(found[0].0 < LATE_MAX && found.len() >= 4, "{found:?}");
    }

    #[test]
    fn looks_go_on_while_more_comes_than_is_summed_up() {
        let (found, _) = looks(SAMPLES_PER_LOOK, 2000 * PORTION_MAX, 20 * LOOK);
        assert!(found.windows(2).all(|pair| pair[1].0 - pair[0].0 <= LOOK + 2 * LATE_MAX), "{found:?}");
    }

    #[test]
    fn an_idle_gateway_is_looked_at_and_left_alone() {
        let (found, _) = looks(0, 0, 10 * LOOK);
        assert_eq!(found, (0..10).map(|n| (n * LOOK, 0)).collect::<Vec<_>>());
    }

    #[test]
    fn it_waits_for_an_idle_core_until_there_is_none() {
        let begin = Instant::now();
        let calm = Manner::IdleCore.next(begin, begin + STARVED / 2);
        assert_eq!(calm, Manner::IdleCore);
        let pressed = calm.next(begin, begin + STARVED);
        let until = begin + STARVED + PRESSED;
        assert_eq!(pressed, Manner::WithOthers(until));
        assert_eq!(pressed.next(begin, until - STARVED), pressed, "it is in time because it goes with the others");
        assert_eq!(pressed.next(until, until), Manner::IdleCore);
    }

    #[test]
    fn what_comes_is_summed_up_in_small_portions() {
        for each_second in [100, 1_000, 4_000, 8_000] {
            let (_, portions) = looks(0, each_second, 20 * LOOK);
            let late = &portions[portions.len() / 4..];
            assert!(late.iter().all(|portion| *portion <= 2 * PORTION), "{each_second}: {portions:?}");
            // Some more at each look, and twice as many looks as there are.
            let turns_max = 2 * each_second / PORTION * 5 / 4 + 40;
            assert!(portions.len() <= turns_max, "{each_second}: woken {} times", portions.len());
        }
        // 4000 of each of 20 workers.
        let (found, _) = looks(0, 80_000, 20 * LOOK);
        assert!(found.len() >= 19 && found.iter().all(|(_, left)| *left < 200), "{found:?}");
    }
}
