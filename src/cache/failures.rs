//! What could not be learned lately, so that a dead zone is not asked again by every client: a small table of fixed size
//! beside the answers, which a storm of failures therefore never pushes out (RFC 9520).
//!
//! Sets of four places. A full set loses what may be tried again soonest, so questions that have failed for long, whose
//! delay has grown, outlive a flood of names that failed once.

use super::{Flags, Key, SUBNET_MAX};
use crate::clock::Moment;
use crate::dns::name::Name;
use std::time::Duration;

/// A question whose failure is remembered: apart from the flags that only shape an answer (RFC 9520 section 3.1).
#[derive(Clone, Copy, Debug)]
pub struct Failing<'a> {
    /// The name asked for.
    pub name: &'a Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// Recursion desired: a server that will not look something up for RD=0 may answer those who ask with RD=1.
    pub rd: bool,
    /// Checking disabled: what fails validation may be had without it.
    pub cd: bool,
    /// As in [`Key`]: a server may have no answer for the network that one client names, and one for all others.
    pub client_subnet: &'a [u8],
}

impl<'a> Key<'a> {
    /// The question as the memory of failures knows it.
    pub fn failing(&self) -> Failing<'a> {
        let has = |flag: Flags| self.flags.0 & flag.0 != 0;
        Failing {
            name: self.name,
            qtype: self.qtype,
            qclass: self.qclass,
            rd: has(Flags::RD),
            cd: has(Flags::CD),
            client_subnet: self.client_subnet,
        }
    }
}

/// Why nothing could be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No upstream answered before the deadline.
    Timeout,
    /// No upstream could be reached.
    Unreachable,
    /// The upstream said SERVFAIL, or another code that is no answer.
    ServerFailure,
}

impl FailureKind {
    /// What a client is told (EXTRA-TEXT of RFC 8914).
    pub const fn text(self) -> &'static str {
        match self {
            Self::Timeout => "upstream timed out",
            Self::Unreachable => "no upstream can be reached",
            Self::ServerFailure => "upstream said SERVFAIL",
        }
    }
}

/// A failure that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub kind: FailureKind,
    /// How long the question is not to be asked again.
    pub remaining: Duration,
    /// When it failed.
    pub since: Moment,
}

/// RFC 9520 section 3.2: "Resolvers MUST cache resolution failures for at least 1 second."
const FIRST: Duration = Duration::from_secs(1);

/// RFC 9520 section 3.2: "Resolution failures MUST NOT be cached for longer than 5 minutes."
const LONGEST: Duration = Duration::from_secs(300);

const PLACES: usize = 4;

/// One failure.
#[derive(Clone, Copy, Debug)]
struct Place {
    until: Moment,
    /// How long it was remembered the last time; zero: nobody is here.
    delay: Duration,
    kind: FailureKind,
    rd: bool,
    cd: bool,
    qtype: u16,
    qclass: u16,
    name: Name,
    subnet: Subnet,
}

/// The data of a client-subnet option.
#[derive(Clone, Copy, Debug)]
struct Subnet {
    len: u8,
    bytes: [u8; SUBNET_MAX],
}

impl Subnet {
    const NONE: Self = Self { len: 0, bytes: [0; SUBNET_MAX] };

    /// `None` when it is longer than one that is kept.
    fn of(data: &[u8]) -> Option<Self> {
        let mut bytes = [0; SUBNET_MAX];
        bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(Self { len: data.len() as u8, bytes })
    }

    fn is(&self, data: &[u8]) -> bool {
        self.bytes.get(..usize::from(self.len)) == Some(data)
    }
}

impl Place {
    fn is(&self, question: &Failing<'_>) -> bool {
        !self.delay.is_zero()
            && self.qtype == question.qtype
            && self.qclass == question.qclass
            && self.rd == question.rd
            && self.cd == question.cd
            && self.subnet.is(question.client_subnet)
            && self.name == *question.name
    }
}

/// The failures of one shard.
#[derive(Debug, Default)]
pub(super) struct Failures {
    places: Vec<Place>,
    used: usize,
}

impl Failures {
    /// A table of at most `bytes`, and at least one set unless `bytes` is 0.
    pub(super) fn new(bytes: usize) -> Self {
        if bytes == 0 {
            return Self::default();
        }
        let sets = (bytes / Self::SET).max(1);
        let nobody = Place {
            until: Moment::ZERO,
            delay: Duration::ZERO,
            kind: FailureKind::Timeout,
            rd: false,
            cd: false,
            qtype: 0,
            qclass: 0,
            name: Name::root(),
            subnet: Subnet::NONE,
        };
        Self { places: vec![nobody; sets * PLACES], used: 0 }
    }

    /// Bytes of one set, the least that a table takes.
    pub(super) const SET: usize = PLACES * size_of::<Place>();

    /// Bytes allocated.
    pub(super) fn size(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }

    /// Places taken; 0 lets a look-up pass without a lock.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// See [`super::Cache::fail`].
    pub(super) fn fail(
        &mut self,
        now: Moment,
        hash: u64,
        question: &Failing<'_>,
        kind: FailureKind,
        longest: Duration,
    ) {
        let longest = longest.min(LONGEST);
        let Some(subnet) = Subnet::of(question.client_subnet) else { return };
        let Some(place) = self.place_for(now, hash, question) else { return };
        let again = place.is(question);
        if longest.is_zero() || again && now < place.until {
            return;
        }
        // a question that was let alone for as long as a failure may last begins anew
        let delay = if again && now.since(place.until) <= longest { place.delay.saturating_mul(2) } else { FIRST };
        let was_free = place.delay.is_zero();
        let delay = delay.min(longest);
        *place = Place {
            until: now.plus(delay),
            delay,
            kind,
            rd: question.rd,
            cd: question.cd,
            qtype: question.qtype,
            qclass: question.qclass,
            name: *question.name,
            subnet,
        };
        self.used += usize::from(was_free);
    }

    /// See [`super::Cache::failed`].
    pub(super) fn failed(&mut self, now: Moment, hash: u64, question: &Failing<'_>) -> Option<Failed> {
        let place = self.set(hash).iter().find(|place| place.is(question))?;
        let remaining = place.until.since(now);
        (!remaining.is_zero()).then(|| Failed {
            kind: place.kind,
            remaining,
            since: Moment::from_nanos(place.until.as_nanos().saturating_sub(place.delay.as_nanos() as u64)),
        })
    }

    /// See [`super::Cache::succeeded`].
    pub(super) fn succeeded(&mut self, hash: u64, question: &Failing<'_>) {
        if let Some(place) = self.set(hash).iter_mut().find(|place| place.is(question)) {
            place.delay = Duration::ZERO;
            self.used -= 1;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.places.iter_mut().for_each(|place| place.delay = Duration::ZERO);
        self.used = 0;
    }

    /// The question's own place, else a free one, else that of the failure that may be tried again soonest.
    fn place_for(&mut self, now: Moment, hash: u64, question: &Failing<'_>) -> Option<&mut Place> {
        let rank = |place: &Place| match place {
            own if own.is(question) => (0, Moment::ZERO),
            free if free.delay.is_zero() => (1, Moment::ZERO),
            other if other.until <= now => (2, other.until),
            other => (3, other.until),
        };
        self.set(hash).iter_mut().min_by_key(|place| rank(place))
    }

    fn set(&mut self, hash: u64) -> &mut [Place] {
        let sets = (self.places.len() / PLACES) as u64;
        let first = (((hash & 0xffff_ffff) * sets) >> 32) as usize * PLACES;
        self.places.get_mut(first..first + PLACES).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::model::{at, name};

    const LONG: Duration = Duration::from_secs(30);

    fn failing(name: &Name) -> Failing<'_> {
        Failing { name, qtype: 1, qclass: 1, rd: true, cd: false, client_subnet: &[] }
    }

    #[test]
    fn a_failure_lasts_a_second_then_twice_as_long_each_time_up_to_the_limit() {
        let mut failures = Failures::new(4096);
        let dead = name("dead.example");
        let mut now = at(100);
        for secs in [1, 2, 4, 8, 16, 30, 30] {
            failures.fail(now, 9, &failing(&dead), FailureKind::Timeout, LONG);
            let remaining = Duration::from_secs(secs);
            let expected = Failed { kind: FailureKind::Timeout, remaining, since: now };
            assert_eq!(failures.failed(now, 9, &failing(&dead)), Some(expected));
            failures.fail(now, 9, &failing(&dead), FailureKind::ServerFailure, LONG);
            assert_eq!(failures.failed(now, 9, &failing(&dead)), Some(expected), "what was on its way changes nothing");
            now = now.plus(remaining);
            assert_eq!(failures.failed(now, 9, &failing(&dead)), None);
        }
        assert_eq!(failures.len(), 1);
    }

    #[test]
    fn success_and_a_long_quiet_start_anew() {
        let mut failures = Failures::new(4096);
        let zone = name("z.example");
        let second = Duration::from_secs(1);
        let left = |failures: &mut Failures, secs| failures.failed(at(secs), 9, &failing(&zone)).map(|f| f.remaining);
        failures.fail(at(1), 9, &failing(&zone), FailureKind::Timeout, LONG);
        failures.fail(at(2), 9, &failing(&zone), FailureKind::Timeout, LONG);
        assert_eq!(left(&mut failures, 2), Some(2 * second));
        failures.succeeded(9, &failing(&zone));
        assert_eq!((left(&mut failures, 2), failures.len()), (None, 0));
        failures.fail(at(3), 9, &failing(&zone), FailureKind::Timeout, LONG);
        assert_eq!(left(&mut failures, 3), Some(second));
        failures.fail(at(4 + 31), 9, &failing(&zone), FailureKind::Timeout, LONG);
        assert_eq!(left(&mut failures, 35), Some(second), "let alone for longer than a failure lasts");
    }

    #[test]
    fn a_failure_is_of_one_name_type_class_rd_cd_and_client_subnet() {
        let mut failures = Failures::new(4096);
        let (zone, other) = (name("z.example"), name("y.example"));
        failures.fail(at(1), 9, &failing(&zone), FailureKind::Timeout, LONG);
        for different in [
            Failing { name: &other, ..failing(&zone) },
            Failing { qtype: 28, ..failing(&zone) },
            Failing { qclass: 3, ..failing(&zone) },
            Failing { cd: true, ..failing(&zone) },
            Failing { rd: false, ..failing(&zone) },
            Failing { client_subnet: &[0, 1, 8, 0, 10], ..failing(&zone) },
        ] {
            assert_eq!(failures.failed(at(1), 9, &different), None);
        }
        assert!(failures.failed(at(1), 9, &failing(&zone)).is_some());
    }

    #[test]
    fn a_client_subnet_that_is_too_long_to_be_kept_is_not_remembered() {
        let mut failures = Failures::new(4096);
        let zone = name("z.example");
        for (len, remembered) in [(SUBNET_MAX, true), (SUBNET_MAX + 1, false)] {
            let question = Failing { client_subnet: &[7; SUBNET_MAX + 1][..len], ..failing(&zone) };
            failures.fail(at(1), 9, &question, FailureKind::ServerFailure, LONG);
            assert_eq!((failures.failed(at(1), 9, &question).is_some(), failures.len()), (remembered, 1));
        }
    }

    #[test]
    fn a_full_set_keeps_what_has_failed_longest_and_never_grows() {
        let mut failures = Failures::new(1);
        let dead = name("dead.example");
        let size = failures.size();
        for secs in [1, 2, 4] {
            failures.fail(at(secs), 9, &failing(&dead), FailureKind::Unreachable, LONG);
        }
        for i in 0..1000 {
            let name = name(&format!("r{i}.example"));
            failures.fail(at(5), 9, &failing(&name), FailureKind::Timeout, LONG);
            assert!(failures.failed(at(5), 9, &failing(&name)).is_some());
        }
        assert!(failures.failed(at(5), 9, &failing(&dead)).is_some());
        assert_eq!((failures.len(), failures.size()), (PLACES, size));
    }

    #[test]
    fn no_time_remembers_nothing_and_too_much_is_five_minutes() {
        let mut failures = Failures::new(4096);
        let zone = name("z.example");
        failures.fail(at(1), 9, &failing(&zone), FailureKind::Timeout, Duration::ZERO);
        assert_eq!((failures.len(), failures.failed(at(1), 9, &failing(&zone))), (0, None));
        let mut now = at(1);
        for _ in 0..20 {
            failures.fail(now, 9, &failing(&zone), FailureKind::Timeout, Duration::MAX);
            now = now.plus(failures.failed(now, 9, &failing(&zone)).unwrap().remaining);
        }
        failures.fail(now, 9, &failing(&zone), FailureKind::Timeout, Duration::MAX);
        assert_eq!(failures.failed(now, 9, &failing(&zone)).unwrap().remaining, LONGEST);
    }
}
