//! What is known about a server: whether it answers probes, how fast it is, whether it keeps letter case.
//!
//! Only probes and refused connections mark a server down: one that is slow for one zone is not down (the mistake by
//! which a proxy turned a dead zone into a dead resolver, measured in the field). All of it is relaxed atomics: workers
//! may race by one sample, never wait.

use crate::clock::Moment;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Letters that have to come back as they were sent to say that a server keeps them.
const KEPT_LETTERS: usize = 8;

/// The state of one server, shared by all workers and kept over reloads.
#[derive(Debug, Default)]
pub struct State {
    down: AtomicBool,
    /// Probes in a row that went the other way than the present state.
    streak: AtomicU32,
    srtt_us: AtomicU32,
    /// Questions in a row that came back in letters of one case, while nothing came back as it was sent.
    case_folded: AtomicU32,
    /// Once letters are given up: trials in a row that came back as they were sent.
    case_kept: AtomicU32,
    /// Moment of the last refused or unreachable send over UDP and over TCP, in nanoseconds.
    refused_at: [AtomicU64; 2],
    probe_truncated: AtomicBool,
    /// Moment of the last answer of any kind, in nanoseconds.
    heard_at: AtomicU64,
}

/// How long a server that refused is left alone where there is another: also the bound on how often its waiting
/// queries are searched for.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A server is taken for one that puts all letters in one case once so many questions in a row came back so, each with
/// nothing else within the patience of its attempt, and no other question of these times as it was sent. A liar in front
/// of a server that keeps letters would have to guess port and id as often, and silence the server meanwhile.
const FOLDED_MIN: u32 = 8;

/// To a server that is taken for such a one, one question in so many still goes out in random letters.
const TRIAL_EVERY: u64 = 16;

/// So many trials in a row that come back as they were sent show that it keeps letters: one of [`KEPT_LETTERS`] letters
/// does so by chance once in 256.
const KEPT_MIN: u32 = 3;

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

    /// Whether it is believed to send letters back as they came.
    pub fn keeps_case(&self) -> bool {
        self.case_folded.load(Relaxed) < FOLDED_MIN
    }

    /// Whether a question goes out in random letter case (draft-vixie-dnsext-dns0x20): always, and to a server that does
    /// not keep letters now and then, to see whether it has learned to. `random` decides when.
    pub fn randomise_case(&self, random: u64) -> bool {
        self.keeps_case() || random.is_multiple_of(TRIAL_EVERY)
    }

    /// Whether questions came back in letters of one case: only then [`Self::on_case_kept`] has something to note.
    pub fn has_folded(&self) -> bool {
        self.case_folded.load(Relaxed) > 0
    }

    /// A question of `letters` letters came back as it was sent: who forges answers cannot bring that about.
    pub fn on_case_kept(&self, letters: usize) {
        let folded = self.case_folded.load(Relaxed);
        // Fewer may have been sent, by chance, in the case into which the server puts all names.
        if folded == 0 || letters < KEPT_LETTERS {
            return;
        }
        let kept = self.case_kept.load(Relaxed) + 1;
        if folded < FOLDED_MIN || kept >= KEPT_MIN {
            self.case_folded.store(0, Relaxed);
            self.case_kept.store(0, Relaxed);
        } else {
            self.case_kept.store(kept, Relaxed);
        }
    }

    /// A question came back in letters of one case, and nothing else did.
    pub fn on_case_folded(&self) {
        self.case_kept.store(0, Relaxed);
        let folded = self.case_folded.load(Relaxed);
        self.case_folded.store((folded + 1).min(FOLDED_MIN), Relaxed);
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
    fn letter_case_is_given_up_for_a_server_that_folds_and_for_no_other() {
        let state = State::default();
        for _ in 0..100 {
            (1..FOLDED_MIN).for_each(|_| state.on_case_folded());
            assert!(state.keeps_case());
            state.on_case_kept(KEPT_LETTERS);
        }
        (1..FOLDED_MIN).for_each(|_| state.on_case_folded());
        state.on_case_kept(KEPT_LETTERS - 1);
        assert!(state.keeps_case());
        state.on_case_folded();
        assert!(!state.keeps_case(), "a few letters come back by chance");
    }

    #[test]
    fn trials_bring_letter_case_back() {
        let state = State::default();
        (0..1000).for_each(|_| state.on_case_folded());
        assert_eq!((0..160).filter(|random| state.randomise_case(*random)).count(), 10);
        for _ in 0..100 {
            (1..KEPT_MIN).for_each(|_| state.on_case_kept(KEPT_LETTERS));
            state.on_case_folded();
        }
        assert!(!state.keeps_case(), "chance");
        (0..KEPT_MIN).for_each(|_| state.on_case_kept(KEPT_LETTERS));
        assert!(state.keeps_case(), "another server has taken its address");
        assert!((0..160).all(|random| state.randomise_case(random)));
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
