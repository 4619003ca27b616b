//! The queries of the last minutes, so that a change of the policy can be tried on them before it runs. Kept by the control
//! side from the samples of all workers, in fixed memory.
//!
//! Time is cut into slices, and each slice keeps an unbiased choice of its queries: a flood of ten seconds does not push the
//! minutes before out of memory. Of what has a weight the choice is Chao's ("A general purpose unequal probability sampling
//! plan", 1982): each sample is taken in with a chance that is proportional to its weight, and puts out another at random.
//!
//! What a limit withheld is left out: no rule decides about it, and in a flood it would be nearly all there is.

use super::samples::Sample;
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::verdict::Reason;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The slices of the time that is remembered.
const SLICES: usize = 60;

/// A query that was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Who asked.
    pub client: IpAddr,
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// It came over TCP.
    pub tcp: bool,
    /// How many queries it stands for.
    pub weight: f64,
}

/// A part of the time.
#[derive(Debug, Default)]
struct Slice {
    /// Which, counted from the start of the clock; 0 for one that was never used.
    number: u64,
    kept: Vec<Asked>,
    /// Of all its queries, kept or not.
    weight: f64,
}

/// See above.
#[derive(Debug)]
pub struct Recent {
    slices: Vec<Slice>,
    per_slice: usize,
    slice_ns: u64,
    random: u64,
    size: (usize, Duration),
}

/// What is remembered at a moment.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// The queries.
    pub queries: Vec<Asked>,
    /// How far back they go, about.
    pub reach: Duration,
}

impl Remembered {
    /// How many queries they stand for.
    pub fn weight(&self) -> f64 {
        self.queries.iter().map(|query| query.weight).sum()
    }
}

/// An empty vector for so many, whose memory was written once: the system gives a page when it is first written, and what
/// the gateway needs is to be seen when it starts rather than when all the time to remember has passed.
fn written_room(queries: usize) -> Vec<Asked> {
    let client = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let mut room = vec![Asked { client, name: Name::root(), qtype: 0, tcp: false, weight: 0.0 }; queries];
    room.clear();
    room
}

impl Recent {
    /// Room for about `queries` of the last `age`, all of it taken now; 0: nothing is remembered. `seed` is random.
    pub fn new(queries: usize, age: Duration, seed: u64) -> Self {
        let per_slice = queries.div_ceil(SLICES);
        let slice = |_| Slice { kept: written_room(per_slice), ..Slice::default() };
        let slice_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX) / SLICES as u64;
        Self {
            slices: (0..SLICES).map(slice).collect(),
            per_slice,
            slice_ns: slice_ns.max(1),
            random: seed | 1,
            size: (queries, age),
        }
    }

    /// Bytes that room for `queries` takes, about.
    pub const fn size_bytes(queries: usize) -> usize {
        queries.div_ceil(SLICES) * SLICES * size_of::<Asked>() + SLICES * size_of::<Slice>()
    }

    /// Other room, when it is not this already: what was remembered is forgotten.
    pub fn resize(&mut self, queries: usize, age: Duration) {
        if self.size != (queries, age) {
            *self = Self::new(queries, age, self.random);
        }
    }

    /// Takes note of a sample.
    pub fn note(&mut self, at: Moment, sample: &Sample) {
        let is_withheld = matches!(sample.reason, Reason::Source | Reason::Rrl | Reason::Cookies | Reason::Overload);
        if self.per_slice == 0 || !sample.asks || is_withheld {
            return;
        }
        let number = at.as_nanos() / self.slice_ns + 1;
        let chance = self.next_fraction();
        let put_out = self.next_fraction();
        let slice = &mut self.slices[(number % SLICES as u64) as usize];
        if slice.number != number {
            slice.number = number;
            slice.kept.clear();
            slice.weight = 0.0;
        }
        let weight = f64::from(sample.weight);
        slice.weight += weight;
        let Sample { client, name, qtype, tcp, .. } = *sample;
        let asked = Asked { client, name, qtype, tcp, weight };
        if slice.kept.len() < self.per_slice {
            slice.kept.push(asked);
        } else if chance * slice.weight < self.per_slice as f64 * weight {
            let at = (put_out * self.per_slice as f64) as usize;
            slice.kept[at.min(self.per_slice - 1)] = asked;
        }
    }

    /// What is remembered now. O(queries).
    pub fn remembered(&self, now: Moment) -> Remembered {
        let number = now.as_nanos() / self.slice_ns + 1;
        let is_fresh = |slice: &&Slice| slice.number > 0 && number - slice.number.min(number) < SLICES as u64;
        let fresh: Vec<_> = self.slices.iter().filter(is_fresh).filter(|slice| !slice.kept.is_empty()).collect();
        let mut queries = Vec::with_capacity(fresh.iter().map(|slice| slice.kept.len()).sum());
        for slice in &fresh {
            // Once it was full each stands for the same: the chance to stay was that of its weight.
            let each = (slice.kept.len() == self.per_slice).then(|| slice.weight / self.per_slice as f64);
            queries.extend(slice.kept.iter().map(|asked| Asked { weight: each.unwrap_or(asked.weight), ..*asked }));
        }
        let oldest = fresh.iter().map(|slice| slice.number).min().map_or(0, |oldest| number - oldest.min(number));
        Remembered {
            queries,
            reach: Duration::from_nanos(if fresh.is_empty() { 0 } else { (oldest + 1) * self.slice_ns }),
        }
    }

    /// The next of xorshift64, as a fraction below 1.
    fn next_fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::samples::Trace;
    use crate::verdict::Outcome;

    fn sample(name: &str, weight: u32, reason: Reason) -> Sample {
        Sample {
            weight,
            client: [192, 0, 2, 1].into(),
            verified: false,
            known: true,
            tcp: false,
            asks: true,
            name: Name::from_text(name).unwrap(),
            qtype: 1,
            outcome: Outcome::Forwarded,
            reason,
            received: 40,
            trace: Trace::default(),
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn share(remembered: &Remembered, name: &str) -> f64 {
        let name = Name::from_text(name).unwrap();
        let of_name = remembered.queries.iter().filter(|query| query.name == name);
        of_name.map(|query| query.weight).sum::<f64>() / remembered.weight()
    }

    #[test]
    fn a_quiet_gateway_remembers_every_query_for_its_time() {
        let mut recent = Recent::new(6_000, Duration::from_secs(600), 7);
        assert_eq!(recent.remembered(at(5)).queries.len(), 0);
        for second in 0..300 {
            recent.note(at(second), &sample("a.example", 1, Reason::None));
        }
        let now = recent.remembered(at(300));
        assert_eq!((now.queries.len(), now.weight() as u64), (300, 300));
        assert!((295..=320).contains(&now.reach.as_secs()), "{:?}", now.reach);
        assert_eq!(recent.remembered(at(750)).queries.len(), 140, "the oldest are forgotten, a slice at a time");
        assert_eq!(recent.remembered(at(2_000)).queries.len(), 0);
    }

    #[test]
    fn a_flood_of_seconds_does_not_push_out_the_minutes_before_and_weights_stay_true() {
        for seed in [1, 9, 77] {
            let mut recent = Recent::new(6_000, Duration::from_secs(600), seed);
            for second in 0..300 {
                recent.note(at(second), &sample("before.example", 1, Reason::None));
            }
            for n in 0..100_000 {
                // A third of the weight is of the rarer but heavier samples.
                let (name, weight) = if n % 5 == 0 { ("b.example", 2) } else { ("a.example", 1) };
                recent.note(at(305), &sample(name, weight, Reason::None));
            }
            let now = recent.remembered(at(306));
            assert_eq!(now.queries.len(), 300 + 100, "seed {seed}");
            let flood = now.weight() - 300.0;
            assert!((flood - 120_000.0).abs() < 1.0, "seed {seed}: {flood}");
            let heavier = share(&now, "b.example") * now.weight() / flood;
            assert!((heavier - 1.0 / 3.0).abs() < 0.15, "seed {seed}: {heavier}");
        }
    }

    #[test]
    fn what_limits_withheld_and_what_is_no_question_is_left_out() {
        let mut recent = Recent::new(600, Duration::from_secs(60), 7);
        for reason in [Reason::Source, Reason::Rrl, Reason::Cookies, Reason::Overload] {
            recent.note(at(1), &sample("a.example", 1, reason));
        }
        recent.note(at(1), &Sample { asks: false, ..sample("a.example", 1, Reason::Malformed) });
        recent.note(at(1), &sample("b.example", 1, Reason::Filter));
        assert_eq!(recent.remembered(at(1)).queries.len(), 1);
        recent.resize(600, Duration::from_secs(60));
        assert_eq!(recent.remembered(at(1)).queries.len(), 1, "the same size is no change");
        recent.resize(0, Duration::from_secs(60));
        recent.note(at(2), &sample("b.example", 1, Reason::Filter));
        assert_eq!(recent.remembered(at(2)).queries.len(), 0, "turned off");
    }

    /// The system tells of each page of a process whether there is memory under it (bit 63 of /proc/PID/pagemap, proc(5)).
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn all_its_memory_is_there_from_the_first() {
        use std::os::unix::fs::FileExt;
        const PAGE: usize = 4096;
        let recent = Recent::new(60_000, Duration::from_secs(60), 1);
        let pages = std::fs::File::open("/proc/self/pagemap").expect("a process may read its own");
        for slice in &recent.slices {
            let start = slice.kept.as_ptr() as usize;
            let end = start + slice.kept.capacity() * size_of::<Asked>();
            for page in start.div_ceil(PAGE)..end / PAGE {
                let mut entry = [0; 8];
                pages.read_exact_at(&mut entry, page as u64 * 8).expect("each page has an entry");
                assert!(u64::from_ne_bytes(entry) >> 63 == 1, "a page that nothing has been written to yet");
            }
        }
    }
}
