//! What could not be learned lately, so that a dead zone is not asked again by every client: a small table of fixed size
//! beside the answers, which a storm of failures therefore never pushes out (RFC 9520).
//!
//! Sets of four places. A full set loses what may be tried again soonest, so questions that have failed for long, whose
//! delay has grown, outlive a flood of names that failed once.

use super::Failing;
use crate::clock::Moment;
use crate::dns::name::Name;
use std::time::Duration;

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

/// A failure that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub kind: FailureKind,
    /// How long the question is not to be asked again.
    pub remaining: Duration,
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
    cd: bool,
    qtype: u16,
    qclass: u16,
    name: Name,
}

impl Place {
    fn is(&self, question: &Failing<'_>) -> bool {
        !self.delay.is_zero()
            && self.qtype == question.qtype
            && self.qclass == question.qclass
            && self.cd == question.cd
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
            cd: false,
            qtype: 0,
            qclass: 0,
            name: Name::root(),
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
            cd: question.cd,
            qtype: question.qtype,
            qclass: question.qclass,
            name: *question.name,
        };
        self.used += usize::from(was_free);
    }

    /// See [`super::Cache::failed`].
    pub(super) fn failed(&mut self, now: Moment, hash: u64, question: &Failing<'_>) -> Option<Failed> {
        let place = self.set(hash).iter().find(|place| place.is(question))?;
        let remaining = place.until.since(now);
        (!remaining.is_zero()).then_some(Failed { kind: place.kind, remaining })
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
