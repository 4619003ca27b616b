//! A flood from so many sources that no network stands out, told from a rush hour by who asks: in a rush those ask more
//! who have asked before, in such a flood sources that nobody knows ask for the first time, far more than all ask usually.
//! Seen in samples, so that it is noticed also while the workers keep up; one that does not says so itself.

use super::samples::Sample;
use std::hash::BuildHasher;
use std::time::Duration;

/// Bits for counting distinct sources among samples: as many as a busy machine samples in half a second.
const BITS: usize = 1 << 14;

/// Looks, of about 100 ms, that one set of bits covers.
const LOOKS: u8 = 5;

/// What happens just now: a half-life of 0.2 s.
const HALF_LIFE: f64 = 0.2;

/// What is usual: the mean of about so many seconds.
const USUAL_S: f64 = 300.0;

/// Nothing is unusual before.
const USUAL_LEAST_S: f64 = 10.0;

/// So long a flood does not become what is usual.
const FLOOD_MAX_S: f64 = 3600.0;

/// A flood is so many times what is usual, goes on while it is half as many, and is worth an alert from so many a second.
const TIMES: f64 = 4.0;
const TIMES_ON: f64 = 2.0;
const RATE_MIN: f64 = 1000.0;

/// The part of it that comes from sources which are not known.
const STRANGERS: f64 = 0.75;

/// Of the samples of about a second so many, and so large a part of different sources.
const SAMPLES_MIN: u32 = 200;
const DISTINCT: f64 = 0.6;

/// What all sources together do.
#[derive(Debug)]
pub struct Multitude {
    queries_now: f64,
    strangers_now: f64,
    usual: f64,
    age_s: f64,
    flood_s: f64,
    now: (Box<[u64]>, u32),
    before: (Box<[u64]>, u32),
    looks: u8,
}

/// A flood from very many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flood {
    /// Queries a second.
    pub queries: f64,
    /// The part of them from sources that are not known, 0 to 1.
    pub strangers: f64,
    /// Distinct sources among the samples of about the last second: so many at the least.
    pub sources: u32,
}

impl Default for Multitude {
    fn default() -> Self {
        let empty = || (vec![0; BITS / 64].into_boxed_slice(), 0);
        let (now, before) = (empty(), empty());
        Self { queries_now: 0.0, strangers_now: 0.0, usual: 0.0, age_s: 0.0, flood_s: 0.0, now, before, looks: 0 }
    }
}

impl Multitude {
    /// Bytes that it takes, about.
    pub const BYTES: usize = 2 * BITS / 8;

    /// Notes a sample.
    pub fn note(&mut self, sample: &Sample, hasher: &impl BuildHasher) {
        let weight = f64::from(sample.weight);
        self.queries_now += weight;
        if !sample.known {
            self.strangers_now += weight;
        }
        let bit = hasher.hash_one(sample.client) as usize % BITS;
        self.now.0[bit / 64] |= 1 << (bit % 64);
        self.now.1 += 1;
    }

    /// To be called about every 100 ms, with what has `passed` since: the flood there is, if any. `largest` is the part
    /// of all queries that the busiest network asks: above half it is a flood of that network.
    pub fn look(&mut self, passed: Duration, largest: f64) -> Option<Flood> {
        let seconds = passed.as_secs_f64();
        let rate = self.queries_now * std::f64::consts::LN_2 / HALF_LIFE;
        let flood = self.flood(rate).filter(|_| largest <= 0.5 && self.age_s >= USUAL_LEAST_S);
        self.age_s += seconds;
        self.flood_s = if flood.is_some() { self.flood_s + seconds } else { 0.0 };
        if flood.is_none() || self.flood_s > FLOOD_MAX_S {
            self.usual += (rate - self.usual) * (seconds / self.age_s.min(USUAL_S)).min(1.0);
        }
        let factor = 0.5f64.powf(seconds / HALF_LIFE);
        self.queries_now *= factor;
        self.strangers_now *= factor;
        self.looks += 1;
        if self.looks == LOOKS {
            self.looks = 0;
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.0.fill(0);
            self.now.1 = 0;
        }
        flood
    }

    fn flood(&self, rate: f64) -> Option<Flood> {
        let times = if self.flood_s > 0.0 { TIMES_ON } else { TIMES };
        let strangers = self.strangers_now / self.queries_now.max(f64::MIN_POSITIVE);
        let samples = self.now.1 + self.before.1;
        let sources = self.distinct();
        let is_flood = rate >= RATE_MIN.max(times * self.usual)
            && strangers >= STRANGERS
            && samples >= SAMPLES_MIN
            && f64::from(sources) >= DISTINCT * f64::from(samples);
        is_flood.then_some(Flood { queries: rate, strangers, sources })
    }

    /// By linear counting (Whang et al. 1990).
    fn distinct(&self) -> u32 {
        let empty: u32 = self.now.0.iter().zip(&self.before.0).map(|(now, before)| (now | before).count_zeros()).sum();
        let distinct = -(BITS as f64) * (f64::from(empty.max(1)) / BITS as f64).ln();
        (distinct.round() as u32).min(self.now.1 + self.before.1)
    }
}
