//! One entry as bytes: a header of fixed size, then the client subnet, the offsets of TTLs, the EDNS options and the
//! body, in one piece, because a hit is to touch few cache lines and an eviction is to free it all at once.
//!
//! The question is not stored twice: it stands in the body, and comparing keys reads it there.

use super::{Answer, BODY_MAX, Key, OPTIONS_MAX, SUBNET_MAX, Vetted};
use crate::clock::Moment;
use crate::dns::record::seconds;
use crate::dns::{HEADER_LEN, u16_at, u32_at};
use crate::policy::rrl::{Category, ResponseClass};
use crate::sys::prefetch;
use std::ops::Range;

/// Bytes of the header.
pub(super) const HEADER: usize = 60;

/// A line of the processor's cache.
const LINE: usize = 64;

/// Lines of an entry that are asked for with the first.
const LINES_BEHIND: usize = 3;

/// Entries begin at multiples of this.
pub(super) const ALIGN: usize = 8;

/// Where the state byte lies in the header: the only part that changes while an entry stays.
const STATE_AT: usize = 53;
const GENERATION_AT: usize = 8;
const TTL_AT: usize = 32;
const OWN_TTL_AT: usize = 56;

/// In the index; when not, its bytes only wait for the head of the ring to pass.
const LIVE: u8 = 1;
/// Found since it was written or last spared.
const USED: u8 = 2;
/// [`Vetted::untouched`].
const UNTOUCHED: u8 = 4;

/// What is known of an entry besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub stored: Moment,
    pub vetted: Vetted,
    pub class: ResponseClass,
    pub ttl: u32,
    pub own_ttl: u32,
    pub stale: u32,
    /// Its bucket in the index, so that an eviction need not hash.
    pub bucket: u32,
    pub rcode: u16,
    pub body_len: u16,
    pub options_len: u8,
    pub ttls: u8,
    pub subnet_len: u8,
    pub flags: u8,
    state: u8,
}

impl Header {
    /// The header of a new answer; `None` when it cannot be kept (too long, TTL offsets outside the body, or the
    /// question in the body is not the key's: a hit would answer what was not asked).
    pub(super) fn of(now: Moment, key: &Key<'_>, answer: &Answer<'_>) -> Option<Self> {
        let body = answer.body;
        let inside = answer.ttls.iter().all(|&at| u32_at(body, usize::from(at)).is_some());
        let fits =
            body.len() <= BODY_MAX && answer.options.len() <= OPTIONS_MAX && key.client_subnet.len() <= SUBNET_MAX;
        if !inside || !fits || !asks(body, key) {
            return None;
        }
        Some(Self {
            stored: now,
            vetted: answer.vetted,
            class: answer.class,
            ttl: answer.lifetime.ttl,
            own_ttl: answer.lifetime.own_ttl,
            stale: answer.lifetime.stale,
            bucket: 0,
            rcode: answer.rcode,
            body_len: body.len() as u16,
            options_len: answer.options.len() as u8,
            ttls: u8::try_from(answer.ttls.len()).ok()?,
            subnet_len: key.client_subnet.len() as u8,
            flags: key.flags.0,
            state: LIVE | if answer.vetted.untouched { UNTOUCHED } else { 0 },
        })
    }

    /// Reads the header at `at`.
    pub(super) fn read(ring: &[u8], at: usize) -> Self {
        let mut h = [0; HEADER];
        h.copy_from_slice(&ring[at..at + HEADER]);
        let state = h[STATE_AT];
        Self {
            stored: Moment::from_nanos(u64_of(&h, 0)),
            vetted: Vetted { generation: u64_of(&h, GENERATION_AT), untouched: state & UNTOUCHED != 0 },
            class: ResponseClass {
                account: u64_of(&h, 16),
                guard: u64_of(&h, 24),
                category: Category::from_number(h[52]),
            },
            ttl: u32_of(&h, TTL_AT),
            own_ttl: u32_of(&h, OWN_TTL_AT),
            stale: u32_of(&h, 36),
            bucket: u32_of(&h, 40),
            rcode: u16_of(&h, 44),
            body_len: u16_of(&h, 46),
            options_len: h[48],
            ttls: h[49],
            subnet_len: h[50],
            flags: h[51],
            state,
        }
    }

    fn write(&self, ring: &mut [u8], at: usize) {
        let mut h = [0; HEADER];
        h[0..8].copy_from_slice(&self.stored.as_nanos().to_le_bytes());
        h[8..16].copy_from_slice(&self.vetted.generation.to_le_bytes());
        h[16..24].copy_from_slice(&self.class.account.to_le_bytes());
        h[24..32].copy_from_slice(&self.class.guard.to_le_bytes());
        h[32..36].copy_from_slice(&self.ttl.to_le_bytes());
        h[36..40].copy_from_slice(&self.stale.to_le_bytes());
        h[40..44].copy_from_slice(&self.bucket.to_le_bytes());
        h[44..46].copy_from_slice(&self.rcode.to_le_bytes());
        h[46..48].copy_from_slice(&self.body_len.to_le_bytes());
        h[48..54].copy_from_slice(&[
            self.options_len,
            self.ttls,
            self.subnet_len,
            self.flags,
            self.class.category as u8,
            self.state,
        ]);
        h[OWN_TTL_AT..].copy_from_slice(&self.own_ttl.to_le_bytes());
        ring[at..at + HEADER].copy_from_slice(&h);
    }

    /// Bytes of the whole entry.
    pub(super) fn size(&self) -> usize {
        self.body_at(0).end.next_multiple_of(ALIGN)
    }

    pub(super) fn subnet_at(&self, at: usize) -> Range<usize> {
        let start = at + HEADER;
        start..start + usize::from(self.subnet_len)
    }

    pub(super) fn ttls_at(&self, at: usize) -> Range<usize> {
        let start = self.subnet_at(at).end;
        start..start + 2 * usize::from(self.ttls)
    }

    pub(super) fn options_at(&self, at: usize) -> Range<usize> {
        let start = self.ttls_at(at).end;
        start..start + usize::from(self.options_len)
    }

    pub(super) fn body_at(&self, at: usize) -> Range<usize> {
        let start = self.options_at(at).end;
        start..start + usize::from(self.body_len)
    }

    pub(super) fn is_live(&self) -> bool {
        self.state & LIVE != 0
    }

    pub(super) fn is_used(&self) -> bool {
        self.state & USED != 0
    }

    /// How long ago it was stored, in nanoseconds; 0 when another worker stored it with a later reading of the clock.
    pub(super) fn age(&self, now: Moment) -> u64 {
        now.as_nanos().saturating_sub(self.stored.as_nanos())
    }

    /// Whether some clients have it for longer than it lives by itself.
    pub(super) fn is_raised(&self) -> bool {
        self.own_ttl < self.ttl
    }

    /// Whether it may be served to anybody at all, fresh or stale.
    pub(super) fn is_servable(&self, now: Moment) -> bool {
        self.age(now) < nanos(u64::from(self.ttl) + u64::from(self.stale))
    }
}

/// Seconds in nanoseconds.
pub(super) fn nanos(secs: u64) -> u64 {
    secs.saturating_mul(1_000_000_000)
}

/// Writes a whole entry; the caller has made room for [`Header::size`] bytes.
pub(super) fn write(ring: &mut [u8], at: usize, header: &Header, key: &Key<'_>, answer: &Answer<'_>) {
    header.write(ring, at);
    // Nearly always empty, and a copy of nothing is a call all the same.
    if !key.client_subnet.is_empty() {
        ring[header.subnet_at(at)].copy_from_slice(key.client_subnet);
    }
    for (field, offset) in ring[header.ttls_at(at)].chunks_exact_mut(2).zip(answer.ttls) {
        field.copy_from_slice(&offset.to_le_bytes());
    }
    if !answer.options.is_empty() {
        ring[header.options_at(at)].copy_from_slice(answer.options);
    }
    let body = &mut ring[header.body_at(at)];
    body.copy_from_slice(answer.body);
    for at in answer.ttls.iter().map(|at| usize::from(*at)) {
        let ttl = u32_at(body, at).map_or(0, seconds).min(answer.lifetime.ttl_max);
        body[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
    }
}

/// Lowers the TTL at `offset` by `age` seconds and to at most `most`.
pub(super) fn cap_ttl(body: &mut [u8], offset: usize, most: u32, age: u32) {
    let Some(ttl) = u32_at(body, offset) else { return };
    let ttl = ttl.saturating_sub(age).min(most);
    body[offset..offset + 4].copy_from_slice(&ttl.to_be_bytes());
}

/// Asks for the lines of the processor's cache behind the first of an entry, which says where the rest lies: all are there at
/// once then, and not one after the other. An entry of a few addresses has no more.
#[inline]
pub(super) fn fetch(ring: &[u8], at: usize) {
    fetch_lines(ring, at, 1);
}

/// Asks for these lines and the first.
#[inline]
pub(super) fn fetch_all(ring: &[u8], at: usize) {
    fetch_lines(ring, at, 0);
}

#[inline]
fn fetch_lines(ring: &[u8], at: usize, first: usize) {
    for line in first..=LINES_BEHIND {
        if let Some(byte) = ring.get(at + line * LINE) {
            prefetch(byte);
        }
    }
}

/// Whether the entry at `at` answers `key`: every byte of it is compared.
pub(super) fn answers(ring: &[u8], at: usize, key: &Key<'_>) -> bool {
    let header = Header::read(ring, at);
    header.flags == key.flags.0
        && &ring[header.subnet_at(at)] == key.client_subnet
        && asks(&ring[header.body_at(at)], key)
}

/// Whether the question of `body` is the key's. A name ends with its root label, so none is the beginning of another.
fn asks(body: &[u8], key: &Key<'_>) -> bool {
    let name = key.name.as_wire();
    let end = HEADER_LEN + name.len();
    body.get(HEADER_LEN..end) == Some(name)
        && u16_at(body, end) == Some(key.qtype)
        && u16_at(body, end + 2) == Some(key.qclass)
}

/// The question of a body: the name in wire form, type and class behind it.
pub(super) fn question(body: &[u8]) -> Option<(&[u8], u16, u16)> {
    let mut end = HEADER_LEN;
    while *body.get(end)? != 0 {
        end += 1 + usize::from(body[end]);
    }
    end += 1;
    Some((&body[HEADER_LEN..end], u16_at(body, end)?, u16_at(body, end + 2)?))
}

pub(super) fn bury(ring: &mut [u8], at: usize) {
    ring[at + STATE_AT] &= !LIVE;
}

pub(super) fn mark_used(ring: &mut [u8], at: usize) {
    ring[at + STATE_AT] |= USED;
}

pub(super) fn mark_unused(ring: &mut [u8], at: usize) {
    ring[at + STATE_AT] &= !USED;
}

/// Notes under which policy it was vetted again. What no rule speaks about any more lives for its own TTL alone.
pub(super) fn revet(ring: &mut [u8], at: usize, vetted: Vetted) {
    if vetted.untouched {
        ring.copy_within(at + OWN_TTL_AT..at + OWN_TTL_AT + 4, at + TTL_AT);
    }
    ring[at + GENERATION_AT..at + GENERATION_AT + 8].copy_from_slice(&vetted.generation.to_le_bytes());
    let state = &mut ring[at + STATE_AT];
    *state = if vetted.untouched { *state | UNTOUCHED } else { *state & !UNTOUCHED };
}

/// Tells an entry that was moved to another index where its bucket is now.
pub(super) fn rebucket(ring: &mut [u8], at: usize, bucket: u32) {
    ring[at + 40..at + 44].copy_from_slice(&bucket.to_le_bytes());
}

fn u64_of(h: &[u8; HEADER], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| h[at + i]))
}

fn u32_of(h: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| h[at + i]))
}

fn u16_of(h: &[u8; HEADER], at: usize) -> u16 {
    u16::from_le_bytes([h[at], h[at + 1]])
}
