//! Answers that were vetted, in fixed memory, shared by all workers: fresh, negative (RFC 2308), failures (RFC 9520) and
//! past their TTL (RFC 8767).
//!
//! A cache in front of every query must cost one copy and never be the way to run the gateway out of memory. So all of
//! it is allocated at the start and none later: shards, each a ring of bytes in which entries lie whole one behind the
//! other (`shard`), found through buckets of fixed size (`index`). A shard whose lock is taken is not waited for: a
//! look-up counts as a miss and an insert is skipped, and both are counted. Which entries share a bucket is decided by a
//! keyed hash, and a hit is one only when every byte of the key is the same.

mod entry;
mod failures;
mod foresight;
mod hit;
mod index;
mod lifetime;
mod shard;

#[cfg(test)]
mod model;
#[cfg(test)]
mod spans;

pub use failures::{Failed, Failing, FailureKind};
pub use foresight::KeyHash;
pub use hit::{Freshness, Hit};
pub use lifetime::{Lifetime, lifetime};

use crate::clock::Moment;
use crate::dns::name::Name;
use crate::policy::rrl::ResponseClass;
use ahash::RandomState;
use entry::Header;
use failures::Failures;
use foresight::Whereabouts;
use shard::Shard;
use std::hash::{BuildHasher, Hasher};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest body that is kept, in bytes; a smaller cache keeps less: an eighth of a shard.
pub const BODY_MAX: usize = 16 * 1024;

/// The most bytes of EDNS options that are kept with an answer; an answer with more is not kept.
pub const OPTIONS_MAX: usize = 128;

/// The longest client-subnet option data of a key (RFC 7871 section 6: 4 bytes and an IPv6 address).
pub const SUBNET_MAX: usize = 20;

/// The smallest size in bytes that holds anything; less is as good as off.
pub const SIZE_MIN: usize = 64 * 1024;

/// The TTL of records in a stale answer (RFC 8767 section 4: "with a value of 30 seconds RECOMMENDED").
pub const STALE_TTL: u32 = 30;

/// How often a lock that another worker holds is tried again, for less than a microsecond in all: whoever holds one copies an
/// answer, or asks for the memory of one.
const TRIES: usize = 16;

/// The bits of a query that may change its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Recursion desired.
    pub const RD: Self = Self(1);
    /// Checking disabled (RFC 6840 section 5.9: a validator's answers differ).
    pub const CD: Self = Self(2);
    /// DNSSEC OK (RFC 3225): the answer carries signatures.
    pub const DO: Self = Self(8);

    /// The flags of a query.
    pub const fn new(rd: bool, cd: bool, dnssec_ok: bool) -> Self {
        Self(rd as u8 | (cd as u8) << 1 | (dnssec_ok as u8) << 3)
    }

    /// All flags of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a cached answer answers. Two queries get the same answer only when all of it is the same.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The name asked for; lower-cased by its type.
    pub name: &'a Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// RD, CD, DO.
    pub flags: Flags,
    /// The data of the query's client-subnet option, verbatim (RFC 7871); empty when it has none. A query with more
    /// than [`SUBNET_MAX`] bytes is never found.
    pub client_subnet: &'a [u8],
}

/// Under which policy an answer was vetted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vetted {
    /// The generation of the policy.
    pub generation: u64,
    /// No rule of it could ever speak about any name in the answer, whoever asks.
    pub untouched: bool,
}

/// What is inserted.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The message without OPT, ARCOUNT without it, id 0. Its question is the key's, in lower case: an answer to any
    /// other question is not kept. At most [`BODY_MAX`] bytes.
    pub body: &'a [u8],
    /// EDNS options to repeat to every client that speaks EDNS (EDE, ECS), encoded with code and length; at most
    /// [`OPTIONS_MAX`] bytes.
    pub options: &'a [u8],
    /// Offsets of the TTL fields in `body`; at most 255.
    pub ttls: &'a [u16],
    /// How long it serves; from [`lifetime`].
    pub lifetime: Lifetime,
    /// Response code with the EDNS bits on top.
    pub rcode: u16,
    /// What response-rate limiting counts it as; given back on a hit.
    pub class: ResponseClass,
    /// Under which policy it was vetted; given back on a hit.
    pub vetted: Vetted,
}

/// What a look-up finds.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // it lives on the stack of one look-up; a box would be an allocation a query
pub enum Found {
    /// Nothing that may be served, or the shard's lock is taken.
    Miss,
    /// An answer.
    Hit(Hit),
}

/// What the cache holds and what it did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers in it now, expired ones that nobody has met yet included.
    pub entries: u64,
    /// Bytes of entries now.
    pub bytes: u64,
    /// Bytes of all its memory: rings, index and failures.
    pub size_bytes: u64,
    /// Answers inserted.
    pub inserts: u64,
    /// Answers put out before their time to make room.
    pub evictions: u64,
    /// Answers that could not be kept: too long, or not to the question of their key.
    pub refused: u64,
    /// Look-ups and inserts given up because another worker held the shard.
    pub contention: u64,
    /// Failures remembered now, those that may be tried again included.
    pub failures: u64,
}

/// The cache, shared by all workers.
#[derive(Debug)]
pub struct Cache {
    cells: Box<[Cell]>,
    /// Cells in use, a power of two; 0 when the cache is off.
    active: AtomicUsize,
    /// Failures in all cells, read before a question is hashed: nearly always there are none.
    failing: AtomicUsize,
    is_large: AtomicBool,
    hasher: RandomState,
}

/// One shard with its locks, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell {
    answers: Mutex<Answers>,
    whereabouts: Whereabouts,
    failures: Mutex<Failures>,
    /// [`Failures::len`], read without the lock: while nothing fails, a miss pays nothing for it.
    failing: AtomicUsize,
    contention: AtomicU64,
}

/// A shard, and how many there were when it was filled: who came with another number looks in the wrong one.
#[derive(Debug, Default)]
struct Answers {
    active: usize,
    shard: Shard,
}

/// Shards smaller than this would keep too little of the longest answers.
const SHARD_MIN: usize = 256 * 1024;

/// The most shards.
const SHARDS_MAX: usize = 256;

/// The memory of failures takes this part of all, and no more than [`FAILURES_MAX`] bytes.
const FAILURES_SHARE: usize = 64;
const FAILURES_MAX: usize = 2 << 20;

impl Cache {
    /// A cache of at most `size_bytes` in all, divided among at most `shards` shards (a few times the number of workers;
    /// rounded down to a power of two, fewer when they would get too small). Under [`SIZE_MIN`] it is off: everything
    /// is a miss and nothing is kept, failures neither. `seed` keys the hash.
    pub fn new(size_bytes: u64, seed: u64, shards: usize) -> Self {
        let cells = 1 << shards.clamp(1, SHARDS_MAX).ilog2();
        let cache = Self {
            cells: (0..cells).map(|_| Cell::default()).collect(),
            active: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
            is_large: AtomicBool::new(false),
            hasher: RandomState::with_seeds(seed, seed.rotate_left(17), seed.rotate_left(34), seed.rotate_left(51)),
        };
        cache.resize(Moment::ZERO, size_bytes);
        cache
    }

    /// Looks up an answer and copies its body into `out`, with TTLs counted down: at least 1 when fresh, [`STALE_TTL`]
    /// at most when stale. `out` has to hold [`BODY_MAX`] bytes: an answer that does not fit is a miss.
    pub fn get(&self, now: Moment, key: &Key<'_>, out: &mut [u8]) -> Found {
        self.get_foreseen(now, key, self.hash_of(key), out)
    }

    /// As [`Self::get`], for a key whose hash has been made before.
    pub fn get_foreseen(&self, now: Moment, key: &Key<'_>, KeyHash(hash): KeyHash, out: &mut [u8]) -> Found {
        debug_assert_eq!(hash, self.hash(key), "the hash is that of another key");
        match self.answers(hash) {
            Some(mut answers) => answers.shard.get(now, hash, key, out),
            None => Found::Miss,
        }
    }

    /// Adds the body of an answer to `out` as it was kept, whatever its age, when it is one of at most `room` bytes; false when
    /// there is none. Counts and marks nothing. For the control side: it waits for the lock, and must not be kept from a
    /// processor by whoever looks something up meanwhile.
    pub fn look(&self, key: &Key<'_>, room: usize, out: &mut Vec<u8>) -> bool {
        let hash = self.hash(key);
        let Some(cell) = self.cell(hash) else { return false };
        let answers = wait(&cell.answers);
        let body = answers.shard.look(hash, key).filter(|body| body.len() <= room);
        body.is_some_and(|body| {
            out.extend_from_slice(body);
            true
        })
    }

    /// Keeps an answer in place of the one that was kept for `key`. Skipped, and counted, when it is too long, not to
    /// the question of `key`, or another worker holds the shard.
    pub fn insert(&self, now: Moment, key: &Key<'_>, answer: &Answer<'_>) {
        self.insert_foreseen(now, key, self.hash_of(key), answer);
    }

    /// As [`Self::insert`], for a key whose hash has been made before.
    pub fn insert_foreseen(&self, now: Moment, key: &Key<'_>, KeyHash(hash): KeyHash, answer: &Answer<'_>) {
        debug_assert_eq!(hash, self.hash(key), "the hash is that of another key");
        if let Some(mut answers) = self.answers(hash) {
            answers.shard.insert(now, hash, key, answer);
            if shard_of(hash, answers.active) == 0 {
                self.note_size(&answers);
            }
        }
    }

    /// Remembers that the answer for `key` that was found as `hit` was vetted again; what no rule speaks about any more lives
    /// for its own TTL from then on. Another that was inserted since stays
    /// as it is: nobody has vetted that. Best effort: not when another worker holds the shard.
    pub fn revet(&self, key: &Key<'_>, hit: &Hit, vetted: Vetted) {
        let hash = self.hash(key);
        if let Some(mut answers) = self.answers(hash) {
            answers.shard.revet(hash, key, hit, vetted);
        }
    }

    /// Forgets the answer for `key`. Best effort: not when another worker holds the shard.
    pub fn remove(&self, key: &Key<'_>) {
        let hash = self.hash(key);
        if let Some(mut answers) = self.answers(hash) {
            answers.shard.remove(hash, key);
        }
    }

    /// Remembers that nothing could be learned about a question: for 1 s, doubled by each failure after that time, up
    /// to `failure_ttl` and 5 minutes (RFC 9520 section 3.2); 0 remembers nothing. A failure within that time (of a
    /// query that was already on its way) changes nothing. Best effort: not when another worker holds the shard.
    pub fn fail(&self, now: Moment, question: &Failing<'_>, kind: FailureKind, failure_ttl: Duration) {
        let hash = self.hash_failing(question);
        let Some(cell) = self.cell(hash) else { return };
        if let Some(mut failures) = cell.take(&cell.failures) {
            failures.fail(now, hash, question, kind, failure_ttl);
            self.note_failing(cell, failures.len());
        }
    }

    /// Whether the question failed so lately that it is not to be asked again yet.
    pub fn failed(&self, now: Moment, question: &Failing<'_>) -> Option<Failed> {
        if self.failing.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let hash = self.hash_failing(question);
        let cell = self.cell(hash)?;
        if cell.failing.load(Ordering::Relaxed) == 0 {
            return None;
        }
        cell.take(&cell.failures)?.failed(now, hash, question)
    }

    /// Forgets the failures of a question that was answered.
    pub fn succeeded(&self, question: &Failing<'_>) {
        if self.failing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let hash = self.hash_failing(question);
        let Some(cell) = self.cell(hash) else { return };
        if cell.failing.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(mut failures) = cell.take(&cell.failures) {
            failures.succeeded(hash, question);
            self.note_failing(cell, failures.len());
        }
    }

    /// Notes how many failures a cell holds; under the lock of its failures.
    fn note_failing(&self, cell: &Cell, failing: usize) {
        let before = cell.failing.swap(failing, Ordering::Relaxed);
        // Wraps round and back when there are fewer.
        self.failing.fetch_add(failing.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Changes the size of all memory, keeping the answers that fit and no failures. For the control side: it waits for
    /// locks and allocates. Look-ups miss while it lasts; old and new memory exist together until it returns.
    pub fn resize(&self, now: Moment, size_bytes: u64) {
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX).saturating_sub(size_of::<Self>());
        let size = size.saturating_sub(size_of_val(&*self.cells));
        let off = size_bytes < SIZE_MIN as u64 || size < SIZE_MIN / 2;
        let mut active = if off { 0 } else { self.cells.len() };
        while active > 1 && size / active < SHARD_MIN {
            active /= 2;
        }
        let each = size.checked_div(active).unwrap_or(0);
        let failing = (each / FAILURES_SHARE).min(FAILURES_MAX / active.max(1)).max(Failures::SET);
        let mut guards: Vec<_> = self.cells.iter().map(|cell| wait(&cell.answers)).collect();
        let old: Vec<Shard> = guards.iter_mut().map(|answers| std::mem::take(&mut answers.shard)).collect();
        for (number, answers) in guards.iter_mut().enumerate() {
            answers.active = active;
            answers.shard = if number < active { Shard::new(each - failing) } else { Shard::default() };
            answers.shard.inherit(&old[number]);
        }
        for shard in old.iter().filter(|_| active > 0) {
            shard.each(|bytes, header| {
                if let Some(hash) = self.hash_entry(bytes, header) {
                    guards[shard_of(hash, active)].shard.adopt(now, hash, bytes);
                }
            });
        }
        self.note_size(&guards[0]);
        for (number, cell) in self.cells.iter().enumerate() {
            cell.whereabouts.note(guards[number].shard.index());
            let mut failures = wait(&cell.failures);
            *failures = if number < active { Failures::new(failing) } else { Failures::default() };
            self.note_failing(cell, 0);
        }
        self.active.store(active, Ordering::Relaxed);
    }

    /// Forgets all answers and failures. For the control side: it waits for locks.
    pub fn clear(&self) {
        self.is_large.store(false, Ordering::Relaxed);
        for cell in &self.cells {
            wait(&cell.answers).shard.clear();
            let mut failures = wait(&cell.failures);
            failures.clear();
            self.note_failing(cell, 0);
            drop(failures);
            // what a panic under the lock left is forgotten now
            cell.answers.clear_poison();
            cell.failures.clear_poison();
        }
    }

    /// What it holds and did. For the control side: it waits for locks.
    pub fn counters(&self) -> Counters {
        let fixed = (size_of::<Self>() + size_of_val(&*self.cells)) as u64;
        let mut sum = Counters { size_bytes: fixed, ..Counters::default() };
        for cell in &self.cells {
            let answers = wait(&cell.answers);
            let (counts, size) = (answers.shard.counts, answers.shard.size());
            drop(answers);
            let failures = wait(&cell.failures);
            sum.entries += counts.entries;
            sum.bytes += counts.bytes;
            sum.size_bytes += (size + failures.size()) as u64;
            sum.inserts += counts.inserts;
            sum.evictions += counts.evictions;
            sum.refused += counts.refused;
            sum.contention += cell.contention.load(Ordering::Relaxed);
            sum.failures += failures.len() as u64;
        }
        sum
    }

    fn cell(&self, hash: u64) -> Option<&Cell> {
        let active = self.active.load(Ordering::Relaxed);
        (active > 0).then(|| &self.cells[shard_of(hash, active)])
    }

    /// The shard of a hash, unless another worker holds it.
    #[inline]
    fn answers(&self, hash: u64) -> Option<MutexGuard<'_, Answers>> {
        let active = self.active.load(Ordering::Relaxed);
        let cell = self.cells.get(shard_of(hash, active)).filter(|_| active > 0)?;
        cell.take(&cell.answers).filter(|answers| answers.active == active)
    }

    fn hash(&self, key: &Key<'_>) -> u64 {
        self.hash_parts(key.name.as_wire(), key.qtype, key.qclass, key.flags.0, key.client_subnet)
    }

    fn hash_entry(&self, bytes: &[u8], header: &Header) -> Option<u64> {
        let (name, qtype, qclass) = entry::question(&bytes[header.body_at(0)])?;
        Some(self.hash_parts(name, qtype, qclass, header.flags, &bytes[header.subnet_at(0)]))
    }

    fn hash_failing(&self, question: &Failing<'_>) -> u64 {
        self.hash_parts(
            question.name.as_wire(),
            question.qtype,
            question.qclass,
            u8::from(question.rd) << 1 | u8::from(question.cd),
            question.client_subnet,
        )
    }

    fn hash_parts(&self, name: &[u8], qtype: u16, qclass: u16, flags: u8, subnet: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write_u64(u64::from(qtype) | u64::from(qclass) << 16 | u64::from(flags) << 32);
        if !subnet.is_empty() {
            hasher.write(subnet);
        }
        hasher.finish()
    }
}

impl Cell {
    /// Takes one of its locks if it is free, or soon is; one that another worker holds for longer is counted and not waited
    /// for.
    #[inline]
    fn take<'c, T>(&self, lock: &'c Mutex<T>) -> Option<MutexGuard<'c, T>> {
        lock.try_lock().ok().or_else(|| self.take_soon(lock))
    }

    #[cold]
    fn take_soon<'c, T>(&self, lock: &'c Mutex<T>) -> Option<MutexGuard<'c, T>> {
        for _ in 0..TRIES {
            spin_loop();
            if let Ok(taken) = lock.try_lock() {
                return Some(taken);
            }
        }
        self.contention.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Waits for a lock; only the control side does.
fn wait<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of `active` shards a hash belongs to, by bits that do not choose the bucket.
fn shard_of(hash: u64, active: usize) -> usize {
    (hash >> 32) as usize & active.wrapping_sub(1)
}
