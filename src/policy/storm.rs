//! storm: how much of the servers behind one zone may hold, and what its clients get while it fails.
//!
//! Protects the servers, and everybody who asks for other names, from a zone that stopped answering while the world keeps
//! asking for it (the storm player of 2009-05-19), and from random names below a zone that lives. Nobody is banned: who
//! asks for a dead zone is an ordinary user, whose other questions must be answered. Does not protect from sources that
//! ask too much (`source`), nor from reflection (`rrl`). RFC 8767 (stale answers), RFC 9520 (remembered failures).

use super::Mode;
use super::document::Table;

/// limits.toml `[storm]`, compiled. It is written as it runs:
///
/// ```toml
/// [storm]
/// mode          = "enforce"
/// zone_inflight = 0.05
/// fail_ratio    = 0.8
/// answer        = "stale"
/// waiters       = 64
/// unknown       = 100
/// zones         = 1024      # read at start only
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StormPolicy {
    /// enforce (default), monitor (count and alert; no question waits for another's answer) or off.
    pub mode: Mode,
    /// The part of a pool's capacity (`pool.NAME.inflight` for each server that is up) that questions for one zone may
    /// hold, 0.0001 to 1; default 0.05. A zone that answers well at this moment may hold half of the pool. The last quarter
    /// of its places is for names that are known to exist.
    pub zone_inflight: f64,
    /// A zone of whose questions this part fails is asked by probes only, 0.1 to 1; default 0.8.
    pub fail_ratio: f64,
    /// What is said, when there is no stale answer, instead of asking; default SERVFAIL.
    pub answer: StormAnswer,
    /// Questions that wait for the answer to an identical one in flight, for each, 0 to 1024; default 64.
    pub waiters: u16,
    /// Names not known to exist that may be asked for a second in a zone that is under random names, 1 to 1000000;
    /// default 100.
    pub unknown: u32,
    /// Zones that each worker keeps account of, 64 to 65536; default 1024. About 500 bytes each. Read at start only.
    pub zones: usize,
}

/// `[storm] answer`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StormAnswer {
    /// SERVFAIL with an extended error (`stale` and `servfail`).
    #[default]
    ServerFailure,
    /// NXDOMAIN. Not true: for zones of which the operator wants no client to ask again soon.
    Nxdomain,
    /// NOERROR without records.
    Nodata,
}

impl StormPolicy {
    /// Reads `[storm]`; what is wrong becomes a fault and reads as its default.
    pub fn read(t: &Table<'_>) -> Self {
        let answers = [
            ("stale", StormAnswer::ServerFailure),
            ("servfail", StormAnswer::ServerFailure),
            ("nxdomain", StormAnswer::Nxdomain),
            ("nodata", StormAnswer::Nodata),
        ];
        Self {
            mode: t.mode(Mode::Enforce),
            zone_inflight: t.fraction("zone_inflight", 0.0001..=1.0, 0.05),
            fail_ratio: t.fraction("fail_ratio", 0.1..=1.0, 0.8),
            answer: t.choice("answer", &answers, StormAnswer::ServerFailure),
            waiters: t.number("waiters", 0..=1024, 64),
            unknown: t.number("unknown", 1..=1_000_000, 100),
            zones: t.number("zones", 64..=65_536, 1_024u32) as usize,
        }
    }

    /// Questions for one zone that a pool of this capacity may hold at a time, at least 1.
    pub fn share(&self, capacity: u32) -> u32 {
        ((f64::from(capacity) * self.zone_inflight) as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    #[test]
    fn what_is_not_written_is_the_default() {
        let (policy, faults) = probe::read("", StormPolicy::read);
        assert!(faults.is_empty());
        assert_eq!((policy.mode, policy.answer, policy.waiters), (Mode::Enforce, StormAnswer::ServerFailure, 64));
        assert_eq!((policy.share(1024), policy.share(1)), (51, 1));
    }

    #[test]
    fn each_key_is_read_and_held_to_its_bounds() {
        let text = "mode = \"monitor\"\nzone_inflight = 1\nfail_ratio = 0.5\nanswer = \"nodata\"\nwaiters = 0\nunknown = 7\nzones = 64";
        let (policy, faults) = probe::read(text, StormPolicy::read);
        assert_eq!(faults, Vec::<String>::new());
        let expected = StormPolicy {
            mode: Mode::Monitor,
            zone_inflight: 1.0,
            fail_ratio: 0.5,
            answer: StormAnswer::Nodata,
            waiters: 0,
            unknown: 7,
            zones: 64,
        };
        assert_eq!(policy, expected);
        let text = "mode = \"on\"\nzone_inflight = 0.0\nfail_ratio = 1.5\nanswer = \"drop\"\nwaiters = 2000\nunknown = 0\nzones = \"1\"\nzone = 1";
        let (_, faults) = probe::read(text, StormPolicy::read);
        let expected = [
            "1:8 E-CHOICE",
            "2:17 E-RANGE",
            "3:14 E-RANGE",
            "4:10 E-CHOICE",
            "5:11 E-RANGE",
            "6:11 E-RANGE",
            "7:9 E-TYPE",
            "8:1 E-UNKNOWN-KEY",
        ];
        assert_eq!(faults, expected);
    }
}
