//! What is known about a server: whether it answers probes, how fast it is, whether it keeps letter case.
//!
//! Only probes and refused connections mark a server down: one that is slow for one zone is not down (the mistake by
//! which a proxy turned a dead zone into a dead resolver, measured in the field). All of it is relaxed atomics: workers
//! may race by one sample, never wait.

use crate::clock::Moment;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The state of one server, shared by all workers and kept over reloads.
#[derive(Debug, Default)]
pub struct State {
    down: AtomicBool,
    /// Probes in a row that went the other way than the present state.
    streak: AtomicU32,
    srtt_us: AtomicU32,
    case_kept: AtomicU32,
    case_changed: AtomicU32,
    /// Moment of the last refused or unreachable send over UDP and over TCP, in nanoseconds.
    refused_at: [AtomicU64; 2],
    probe_truncated: AtomicBool,
    /// Moment of the last answer of any kind, in nanoseconds.
    heard_at: AtomicU64,
}

/// How long a server that refused is left alone where there is another: also the bound on how often its waiting
/// queries are searched for.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A response in changed letter case is forgiven only from a server that has done so this often, and more often than it
/// has kept it: that a server which changes letters seems to keep them once is chance, and must not make every later
/// answer of it a forgery.
const CASE_CHANGED_MIN: u32 = 3;

/// Kept answers are counted up to here: a forger would have to guess id and port as often in a row, and a server that is
/// replaced by one which changes letters is understood after as many answers.
const CASE_KEPT_MAX: u32 = 16;

impl State {
    /// Whether it is up; a server is believed up until probes say otherwise.
    pub fn is_up(&self) -> bool {
        !self.down.load(Relaxed)
    }

    /// Takes the result of one probe; returns the new state when it changed.
    pub fn on_probe(&self, good: bool, fall: u32, rise: u32) -> Option<bool> {
        let up = self.is_up();
        if good == up {
            self.streak.store(0, Relaxed);
            return None;
        }
        let streak = self.streak.load(Relaxed) + 1;
        self.streak.store(streak, Relaxed);
        if streak < if up { fall } else { rise } {
            return None;
        }
        self.streak.store(0, Relaxed);
        self.down.store(up, Relaxed);
        Some(!up)
    }

    /// A send was refused or the server cannot be reached over this transport. The other may serve all the same: a
    /// server whose TCP is closed or full, which any client can bring about, has not failed.
    pub fn on_refused(&self, at: Moment, tcp: bool) {
        self.refused_at[usize::from(tcp)].store(at.as_nanos(), Relaxed);
    }

    /// A send over the transport of its probes was refused: as good as a failed probe.
    pub fn on_probe_refused(&self, fall: u32) -> Option<bool> {
        if self.is_up() { self.on_probe(false, fall, u32::MAX) } else { None }
    }

    /// Whether it refused this transport less than [`REFUSED_PAUSE`] ago.
    pub fn refused_lately(&self, at: Moment, tcp: bool) -> bool {
        let refused = self.refused_at[usize::from(tcp)].load(Relaxed);
        refused != 0 && at.since(Moment::from_nanos(refused)) < REFUSED_PAUSE
    }

    /// It answered over this transport: what was refused there is over.
    pub fn on_answer(&self, took: Duration, tcp: bool) {
        let refused_at = &self.refused_at[usize::from(tcp)];
        if refused_at.load(Relaxed) != 0 {
            refused_at.store(0, Relaxed);
        }
        let sample = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let old = self.srtt_us.load(Relaxed);
        // RFC 6298 section 2: SRTT <- 7/8 SRTT + 1/8 sample.
        let new = if old == 0 { sample } else { old - old / 8 + sample / 8 };
        self.srtt_us.store(new.max(1), Relaxed);
    }

    /// Something came from it, to a question of any zone or a probe.
    pub fn heard(&self, at: Moment) {
        self.heard_at.fetch_max(at.as_nanos(), Relaxed);
    }

    /// Whether anything came from it since a moment: then silence about one question is not the server's.
    pub fn was_heard_since(&self, at: Moment) -> bool {
        self.heard_at.load(Relaxed) >= at.as_nanos()
    }

    /// An attempt ended without an answer: it counts as a sample of its full waiting time, so that a slow server is
    /// chosen less often without being called down.
    pub fn on_timeout(&self, waited: Duration) {
        let sample = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
        let old = self.srtt_us.load(Relaxed);
        self.srtt_us.store((old - old / 8 + sample / 8).max(1), Relaxed);
    }

    /// Smoothed round-trip time; zero while unknown.
    pub fn srtt(&self) -> Duration {
        Duration::from_micros(u64::from(self.srtt_us.load(Relaxed)))
    }

    /// Whether letters are sent in random case (draft-vixie-dnsext-dns0x20): until the server has shown that it does
    /// not keep them.
    pub fn randomise_case(&self) -> bool {
        let changed = self.case_changed.load(Relaxed);
        changed < CASE_CHANGED_MIN || self.case_kept.load(Relaxed) >= changed
    }

    /// A response came with the question in the case sent (`kept`), or equal but for its case.
    pub fn on_case(&self, kept: bool) {
        if kept {
            let before = self.case_kept.load(Relaxed);
            if before < CASE_KEPT_MAX {
                self.case_kept.store(before + 1, Relaxed);
            }
            // Forgeries of a whole year must not add up.
            let changed = self.case_changed.load(Relaxed);
            if changed > 0 {
                self.case_changed.store(changed - 1, Relaxed);
            }
        } else {
            self.case_changed.store(self.case_changed.load(Relaxed).saturating_add(1), Relaxed);
        }
    }

    /// A probe came back with TC=1: the upstream's own rate limiting sees the gateway as one client. Returns true the
    /// first time.
    pub fn on_probe_truncated(&self) -> bool {
        !self.probe_truncated.swap(true, Relaxed)
    }

    /// Whether a probe ever came back truncated.
    pub fn probe_truncated(&self) -> bool {
        self.probe_truncated.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_after_fall_bad_probes_in_a_row_and_rises_after_rise_good_ones() {
        let state = State::default();
        assert_eq!(state.on_probe(false, 3, 2), None);
        assert_eq!(state.on_probe(false, 3, 2), None);
        assert_eq!(state.on_probe(true, 3, 2), None, "a good one ends the streak");
        assert_eq!(state.on_probe(false, 3, 2), None);
        assert_eq!(state.on_probe(false, 3, 2), None);
        assert_eq!(state.on_probe(false, 3, 2), Some(false));
        assert!(!state.is_up());
        assert_eq!(state.on_probe(true, 3, 2), None);
        assert_eq!(state.on_probe(true, 3, 2), Some(true));
        assert!(state.is_up());
    }

    #[test]
    fn a_refusal_pauses_until_it_answers() {
        let state = State::default();
        let at = Moment::from_nanos(5_000_000_000);
        assert!(!state.refused_lately(at, false));
        state.on_refused(at, false);
        assert!(state.refused_lately(at.plus(Duration::from_millis(99)), false));
        assert!(!state.refused_lately(at.plus(Duration::from_millis(100)), false));
        state.on_refused(at, false);
        state.on_answer(Duration::from_millis(1), true);
        assert!(state.refused_lately(at, false), "an answer over TCP says nothing about UDP");
        state.on_answer(Duration::from_millis(1), false);
        assert!(!state.refused_lately(at, false));
    }

    #[test]
    fn letter_case_is_given_up_only_for_a_server_that_changes_it_more_often_than_not() {
        let state = State::default();
        (0..2).for_each(|_| state.on_case(false));
        assert!(state.randomise_case());
        state.on_case(false);
        assert!(!state.randomise_case());
        state.on_case(false);
        state.on_case(true);
        assert!(!state.randomise_case(), "one kept answer is chance");
        (0..2).for_each(|_| state.on_case(true));
        assert!(state.randomise_case(), "more show that the others were forged");
    }

    #[test]
    fn a_server_that_kept_letters_is_believed_for_long_but_not_for_ever() {
        let state = State::default();
        (0..2000).for_each(|_| state.on_case(true));
        (0..100).for_each(|_| {
            state.on_case(false);
            state.on_case(true);
        });
        (0..CASE_KEPT_MAX).for_each(|_| state.on_case(false));
        assert!(state.randomise_case());
        state.on_case(false);
        assert!(!state.randomise_case(), "another server has taken its address");
    }

    #[test]
    fn round_trip_time_is_smoothed() {
        let state = State::default();
        state.on_answer(Duration::from_millis(8), false);
        assert_eq!(state.srtt(), Duration::from_millis(8));
        state.on_answer(Duration::from_millis(16), false);
        assert_eq!(state.srtt(), Duration::from_millis(9));
    }
}
