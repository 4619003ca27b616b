//! How slowly a client may take a transfer. A transfer has one of few places, and a large one on a slow line takes hours: no
//! time to be whole in would be right. But whoever takes a few bytes now and then would keep its place from all others for
//! as long as it likes.

use socket2::SockRef;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes a second that are taken of each transfer at least. A telephone modem of 33.6 kbit/s (ITU-T V.34) has 2 100 for each
/// of two at a time, which is what BIND as a secondary asks of one server (`transfers-per-ns 2`). It gives up itself below
/// 10 240 bytes in five minutes (`min-transfer-rate-in`); all places of a worker could be held with 2 kB a second then.
const RATE_MIN: usize = 2_048;

/// Times `stall`, which is 5 seconds unless set, in which that is looked at: a minute bears a line that stands still for a
/// while, and TCP's probes of a closed window, which come ever later.
const STALLS: u32 = 12;

/// Bytes that the kernel keeps unsent of a transfer. It calls for more when half of them are gone, which takes 4 seconds at
/// [`RATE_MIN`]. Left alone it fills its buffer, of 100 kB and more, and calls when a third of that is taken: a client that
/// takes 5 kB a second is then as silent as one that takes none, and is cut off for a stall.
const UNSENT_MAX: u32 = 16 << 10;

/// What the client of a connection's transfers takes while something is on offer to it.
#[derive(Debug, Default)]
pub(super) struct TransferPace {
    /// Since when bytes are counted, and the transfers that ran then.
    since: Option<(Instant, usize)>,
    taken: usize,
    is_set: bool,
}

impl TransferPace {
    /// A transfer is about to be written: has the kernel show what is taken while it is.
    pub(super) fn begins(&mut self, stream: &TcpStream) {
        if !std::mem::replace(&mut self.is_set, true) {
            // Without it the pace is seen less exactly.
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX);
        }
    }

    /// So many bytes were taken.
    pub(super) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Something is on offer, of so many transfers.
    pub(super) fn offers(&mut self, now: Instant, transfers: usize) {
        if self.since.is_none() {
            (self.since, self.taken) = (Some((now, transfers)), 0);
        }
    }

    /// All was taken, or no transfer runs: there is nothing to be slow at.
    pub(super) fn rests(&mut self) {
        self.since = None;
    }

    /// When to look at it next.
    pub(super) fn deadline(&self, stall: Duration) -> Option<Instant> {
        self.since.map(|(since, _)| since + stall * STALLS)
    }

    /// Whether the client of so many transfers was too slow up to the deadline, which has come; begins to count anew.
    pub(super) fn is_too_slow(&mut self, now: Instant, stall: Duration, transfers: usize) -> bool {
        let Some((_, at_first)) = self.since.replace((now, transfers)) else { return false };
        let taken = std::mem::take(&mut self.taken);
        // Those that began or ended meanwhile have not run all the time.
        let running = transfers.min(at_first);
        (taken as u128) < (RATE_MIN * running) as u128 * (stall * STALLS).as_millis() / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(5);

    /// Takes so many bytes in each of the next seconds; whether it is found too slow, and in which second.
    fn takes(pace: &mut TransferPace, begin: Instant, transfers: usize, seconds: u64, bytes: usize) -> Option<u64> {
        (0..seconds).find(|second| {
            let now = begin + Duration::from_secs(*second);
            let is_due = pace.deadline(STALL).is_some_and(|deadline| deadline <= now);
            let is_over = is_due && pace.is_too_slow(now, STALL, transfers);
            pace.took(bytes);
            pace.offers(now, transfers);
            is_over
        })
    }

    #[test]
    fn a_slow_line_is_borne_and_drops_are_not() {
        let begin = Instant::now();
        for (transfers, bytes, found) in [
            (1, 2_100, None),
            (1, 1, Some(60)),
            (1, 2_000, Some(60)),
            (2, 4_200, None),
            (2, 2_100, Some(60)),
            (64, 100_000, Some(60)),
            (64, 140_000, None),
        ] {
            let mut pace = TransferPace::default();
            assert_eq!(takes(&mut pace, begin, transfers, 3_600, bytes), found, "{bytes} of {transfers}");
        }
    }

    #[test]
    fn a_line_may_stand_still_for_a_while_and_what_stalls_later_is_found() {
        let begin = Instant::now();
        let mut pace = TransferPace::default();
        assert_eq!(takes(&mut pace, begin, 1, 90, 10_000), None);
        assert_eq!(takes(&mut pace, begin + Duration::from_secs(90), 1, 29, 0), None);
        let after = begin + Duration::from_secs(119);
        assert_eq!(takes(&mut pace, after, 1, 200, 1), Some(61), "the second minute was well, the third is not");
    }

    #[test]
    fn nobody_is_slow_at_what_is_not_offered() {
        let begin = Instant::now();
        let mut pace = TransferPace::default();
        for minute in 0..100 {
            let now = begin + Duration::from_secs(60 * minute);
            pace.offers(now, 1);
            pace.took(1);
            pace.rests();
            assert_eq!(pace.deadline(STALL), None);
        }
        // One transfer ran, and many more begin just before it is looked at.
        pace.offers(begin, 1);
        pace.took(200_000);
        assert!(!pace.is_too_slow(begin + Duration::from_secs(60), STALL, 50));
        pace.took(200_000);
        assert!(pace.is_too_slow(begin + Duration::from_secs(120), STALL, 50));
        pace.took(200_000);
        assert!(!pace.is_too_slow(begin + Duration::from_secs(180), STALL, 1), "those that have ended");
    }
}
