//! What a network or host asks and gets, noted per sample and fading; and the signatures by which reflection and flood are
//! told from busy clients.
//!
//! Reflection: the sender's address is forged to be the victim's, so one network asks very few questions very often over
//! UDP, those with large answers. Flood: a source asks far more than it may, whatever it asks. A busy resolver or NAT gateway
//! asks many different questions, and stays within its limit or near it.

use super::hitters::Account;
use super::samples::Sample;
use crate::verdict::Reason;
use std::time::Duration;

/// The time in which all that is noted fades to half: short, because an attack is to be told within a second.
pub const HALF_LIFE: Duration = Duration::from_secs(1);

/// Events a second that a faded weight stands for, once the rate has been steady for a few half-lives; less before.
pub const RATE: f64 = std::f64::consts::LN_2;

/// Fadings, of about 100 ms, that one set of questions covers.
const FADES: u8 = 5;

/// Samples of the last second without which nothing is said of a network.
const SAMPLES_MIN: u32 = 8;

/// Queries a second from which reflection and flood are worth an alert.
const RATE_MIN: f64 = 50.0;

/// Queries a second from which answers alone, with no limit in force that would be exceeded, count as reflection.
const UNLIMITED_RATE_MIN: f64 = 500.0;

/// Bytes of answer for a byte of query from which a network is worth reflecting to.
const AMPLIFICATION_MIN: f64 = 3.0;

/// Distinct questions that an attacker who reflects uses at most; the records that amplify best are few.
const QUESTIONS_MAX: u32 = 16;

/// The part of a flood's queries that is over the limit: three times what it may ask.
const FLOOD_OVER: f64 = 2.0 / 3.0;

/// The same over all that is remembered, so that a few samples do not make a flood.
const FLOOD_OVER_SLOW: f64 = 0.4;

/// How much faster fades what happens just now: a half-life of 0.2 s.
const FAST: i32 = 5;

/// The part of reflected queries that is over a limit.
const REFLECTED_OVER: f64 = 0.5;

/// Distinct questions among the samples of the last half to whole second: linear counting in two bitmaps.
#[derive(Clone, Copy, Debug, Default)]
struct Questions {
    now: ([u64; 4], u32),
    before: ([u64; 4], u32),
    fades: u8,
}

impl Questions {
    fn note(&mut self, hash: u64) {
        self.now.0[(hash >> 6 & 3) as usize] |= 1 << (hash & 63);
        self.now.1 += 1;
    }

    fn fade(&mut self) {
        self.fades += 1;
        if self.fades == FADES {
            (self.before, self.now, self.fades) = (self.now, Default::default(), 0);
        }
    }

    /// Samples, and distinct questions among them; 256 bits tell up to about 1000.
    fn count(&self) -> (u32, u32) {
        let empty: u32 = self.now.0.iter().zip(self.before.0).map(|(now, before)| (now | before).count_zeros()).sum();
        let distinct = -256.0 * (f64::from(empty.max(1)) / 256.0).ln();
        (self.now.1 + self.before.1, distinct.round() as u32)
    }
}

/// The traffic of one network or host. All weights fade; see [`RATE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Queries.
    pub queries: f64,
    /// Those whose sender's address may be forged: over UDP.
    pub unverified: f64,
    /// Those over the source limit; in monitor mode those that would have been.
    pub over: f64,
    /// Unverified ones whose answer was over response-rate limits; in monitor mode as above.
    pub limited: f64,
    /// Bytes of unverified queries.
    pub received: f64,
    /// Bytes of the answers to them.
    pub sent: f64,
    /// Bytes of queries whose whole answer was known, and of those answers.
    asked: f64,
    whole: f64,
    /// Queries, and those over the source limit, that fade [`FAST`] times as fast: what happens just now.
    queries_now: f64,
    over_now: f64,
    questions: Questions,
}

impl Account for Traffic {
    fn fade(&mut self, factor: f64) {
        let Self { queries, unverified, over, limited, received, sent, asked, whole, queries_now, over_now, questions } =
            self;
        *queries_now *= factor.powi(FAST);
        *over_now *= factor.powi(FAST);
        for weight in [queries, unverified, over, limited, received, sent, asked, whole] {
            *weight *= factor;
        }
        questions.fade();
    }
}

/// What the traffic of a network looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Its addresses are forged: it is the victim.
    Reflection,
    /// It asks far more than it may.
    Flood,
}

impl Traffic {
    /// Notes a sample with the hash of its question.
    pub fn note(&mut self, sample: &Sample, question: u64) {
        let weight = f64::from(sample.weight);
        let is = |reason| sample.reason == reason || sample.trace.monitored == Some(reason);
        self.queries += weight;
        self.queries_now += weight;
        self.questions.note(question);
        if is(Reason::Source) {
            self.over += weight;
            self.over_now += weight;
        }
        if sample.verified {
            return;
        }
        let (received, sent) = (f64::from(sample.received), f64::from(sample.trace.sent));
        self.unverified += weight;
        self.received += weight * received;
        self.sent += weight * sent;
        if is(Reason::Rrl) {
            self.limited += weight;
        }
        // What was sent because of a limit says nothing about the answer that the question has.
        let is_cut = matches!(sample.reason, Reason::Source | Reason::Rrl);
        let whole = if is_cut { f64::from(sample.trace.whole) } else { sent.max(f64::from(sample.trace.whole)) };
        if whole > 0.0 {
            self.asked += weight * received;
            self.whole += weight * whole;
        }
    }

    /// Queries a second just now: true half a second after a change.
    pub fn rate_now(&self) -> f64 {
        self.queries_now * RATE * f64::from(FAST)
    }

    /// The part of the queries of just now that was over the source limit, 0 to 1.
    pub fn over_now(&self) -> f64 {
        (self.over_now / self.queries_now.max(f64::MIN_POSITIVE)).min(1.0)
    }

    /// Distinct questions of the last second or less, about; among samples, so fewer than there are.
    pub fn questions(&self) -> u32 {
        self.questions.count().1
    }

    /// Bytes that the answers have for each byte of the queries, limits aside; `None` when none was known.
    pub fn amplification(&self) -> Option<f64> {
        (self.asked > 0.0).then(|| self.whole / self.asked)
    }

    /// The attack that this traffic looks like.
    pub fn signature(&self) -> Option<Signature> {
        let (samples, questions) = self.questions.count();
        if samples < SAMPLES_MIN {
            return None;
        }
        let few = questions <= QUESTIONS_MAX && samples >= 4 * questions;
        if few && self.is_reflection() {
            return Some(Signature::Reflection);
        }
        // A source may begin with its burst, so that what it does now says more than what it did a second ago.
        let floods = self.over * RATE >= RATE_MIN
            && self.over_now >= FLOOD_OVER * self.queries_now
            && self.over >= FLOOD_OVER_SLOW * self.queries;
        floods.then_some(Signature::Flood)
    }

    /// Whether few questions of such traffic are reflection.
    fn is_reflection(&self) -> bool {
        let rate = self.unverified * RATE;
        // A forger cannot hold a TCP connection; a network that does, asks itself.
        if rate < RATE_MIN || self.unverified < 0.9 * self.queries {
            return false;
        }
        let over = (self.over + self.limited) / self.unverified;
        match self.amplification() {
            Some(factor) if factor < AMPLIFICATION_MIN => false,
            Some(_) => over >= REFLECTED_OVER || rate >= UNLIMITED_RATE_MIN,
            // Withheld before an answer was known, because its like has just been sent too often.
            None => self.limited >= REFLECTED_OVER * self.unverified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::Trace;
    use super::*;
    use crate::dns::name::Name;
    use crate::verdict::Outcome;

    fn sample(reason: Reason, sent: u16, whole: u16) -> Sample {
        Sample {
            weight: 1,
            client: [192, 0, 2, 1].into(),
            verified: false,
            known: true,
            tcp: false,
            asks: true,
            name: Name::root(),
            qtype: 1,
            outcome: Outcome::Forwarded,
            reason,
            received: 40,
            trace: Trace { sent, whole, monitored: None },
        }
    }

    /// The finaliser of SplitMix64.
    fn mixed(n: u64) -> u64 {
        let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    /// `count` samples, of `questions` different questions.
    fn traffic(count: u64, questions: u64, sample: &Sample) -> Traffic {
        let mut traffic = Traffic::default();
        (0..count).for_each(|n| traffic.note(sample, mixed(n % questions)));
        traffic
    }

    #[test]
    fn distinct_questions_are_estimated() {
        for (distinct, least, most) in [(1, 1, 1), (10, 9, 11), (100, 80, 120), (400, 320, 480)] {
            let found = traffic(2_000, distinct, &sample(Reason::None, 0, 0)).questions();
            assert!((least..=most).contains(&found), "{found} of {distinct}");
        }
        let mut traffic = traffic(100, 10, &sample(Reason::None, 0, 0));
        (0..2 * FADES).for_each(|_| traffic.fade(0.9));
        assert_eq!(traffic.questions(), 0, "they are of the last second");
    }

    #[test]
    fn the_signatures_tell_the_attacks_from_busy_clients() {
        let withheld = sample(Reason::Rrl, 0, 1_000);
        let refused = sample(Reason::Source, 0, 0);
        let answered = |whole| sample(Reason::None, whole, whole);
        let cases = [
            ("few questions with large answers, limited", traffic(300, 2, &withheld), Some(Signature::Reflection)),
            ("the same with no limits on", traffic(900, 2, &answered(1_000)), Some(Signature::Reflection)),
            ("large answers, but many questions", traffic(900, 300, &answered(1_000)), None),
            ("few questions, small answers", traffic(900, 2, &answered(80)), None),
            ("too slow to matter", traffic(40, 2, &withheld), None),
            ("over the limit with anything", traffic(300, 300, &refused), Some(Signature::Flood)),
            ("over the limit with one question", traffic(300, 1, &refused), Some(Signature::Flood)),
        ];
        for (what, traffic, signature) in cases {
            assert_eq!(traffic.signature(), signature, "{what}: {traffic:#?}");
        }

        let mut nat = traffic(400, 200, &answered(120));
        (0..400).for_each(|n| nat.note(&refused, n << 3));
        assert_eq!(nat.signature(), None, "twice its limit is a busy network, not a flood: {nat:#?}");

        let mut forged = traffic(40, 1, &answered(1_000));
        (0..400).for_each(|_| forged.note(&refused, 0));
        assert_eq!(forged.signature(), Some(Signature::Reflection), "the answers that got through tell: {forged:#?}");
    }

    #[test]
    fn over_tcp_nobody_is_a_forger() {
        let mut over_tcp = sample(Reason::None, 1_000, 1_000);
        over_tcp.verified = true;
        assert_eq!(traffic(900, 1, &over_tcp).signature(), None);
    }

    #[test]
    fn monitor_mode_tells_the_same() {
        let mut monitored = sample(Reason::None, 80, 80);
        monitored.trace.monitored = Some(Reason::Source);
        assert_eq!(traffic(300, 300, &monitored).signature(), Some(Signature::Flood));
    }
}
