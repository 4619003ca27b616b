//! A name and all names above it, with their hashes, in one pass over its bytes (RFC 1035 section 3.1: a name is a sequence
//! of labels). They all end alike, so its words are counted from its end: where labels begin does not matter until one of
//! the hashes is asked for, the words are hashed side by side, and the processor, which has to guess how long labels are,
//! has nothing to guess meanwhile.

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// Words that are hashed whether or not a name has so many; nearly all have no more.
const AT_ONCE: usize = 4;

/// The secret of the hash: who writes a list cannot choose names that collide.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    start: u64,
    step: u64,
    last: u64,
}

impl Keys {
    pub(super) fn new(seed: u64) -> Self {
        let spread = |n: u64| {
            // splitmix64: neighbouring seeds give unrelated keys.
            let z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self { start: spread(1), step: spread(2) | 1, last: spread(3) | 1 }
    }

    /// What a word adds to a hash; its number, counted from the end, keeps words apart that have changed places.
    #[inline]
    fn hash_word(self, number: usize, word: u64) -> u64 {
        folded(word ^ self.start.wrapping_add(self.last.wrapping_mul(number as u64)), self.step)
    }

    /// The hash of the root.
    fn root(self) -> u64 {
        folded(self.start, self.last)
    }

    /// The hash of a whole name, and its number of labels.
    pub(super) fn hash(self, wire: &[u8]) -> (u64, usize) {
        (Hashes::of(self, wire).from(0), Labels::of(wire).len())
    }
}

/// The most labels of a name whose suffixes are looked up together; nearly all have fewer.
pub(super) const LABELS_MAX: usize = 8;

/// Those and the root.
pub(super) const SUFFIXES_MAX: usize = LABELS_MAX + 1;

/// A name of at most [`LABELS_MAX`] labels and all names above it.
#[derive(Default)]
pub(super) struct Suffixes {
    /// Of each but the root, the longest first.
    hashes: [u64; LABELS_MAX],
    /// A byte for each: where it begins.
    starts: u64,
    len: usize,
    /// Where the root is.
    end: u8,
}

impl Suffixes {
    /// Takes in those of a name, once; each hash is given to `early` as soon as it is known. False when there are too many.
    #[inline]
    pub(super) fn take(&mut self, keys: Keys, wire: &[u8], mut early: impl FnMut(u64)) -> bool {
        let of = Hashes::of(keys, wire);
        let mut at = 0;
        while let Some(&label) = wire.get(at)
            && label > 0
        {
            if self.len == LABELS_MAX {
                return false;
            }
            let hash = of.from(at);
            early(hash);
            self.hashes[self.len] = hash;
            self.starts |= (at as u64) << (8 * self.len);
            self.len += 1;
            at += 1 + usize::from(label);
        }
        self.end = at as u8;
        true
    }

    /// Calls `visit` with the hash and the beginning of each that has one of these numbers of labels, a bit each; the shortest
    /// first.
    #[inline]
    pub(super) fn of_depths(&self, keys: Keys, mut depths: u128, mut visit: impl FnMut(u64, u8)) {
        if depths & 1 != 0 {
            visit(keys.root(), self.end);
        }
        for number in (0..self.len).rev() {
            depths >>= 1;
            if depths & 1 != 0 {
                visit(self.hashes[number], (self.starts >> (8 * number)) as u8);
            }
        }
    }
}

/// The hashes of a name and of all names above it.
pub(super) struct Hashes<'w> {
    keys: Keys,
    /// Without the root.
    wire: &'w [u8],
    /// Of so many words at its end.
    of_words: [u64; AT_ONCE + 1],
}

impl<'w> Hashes<'w> {
    /// Hashes a name with the root's byte.
    #[inline]
    pub(super) fn of(keys: Keys, wire: &'w [u8]) -> Self {
        let wire = &wire[..wire.len().saturating_sub(1)];
        let mut of_words = [keys.start; AT_ONCE + 1];
        if wire.len() >= WORD {
            for words in 1..=AT_ONCE {
                // What is read twice, because the name has fewer words, is never asked for.
                let word = word_at(wire, wire.len().saturating_sub(words * WORD));
                of_words[words] = of_words[words - 1] ^ keys.hash_word(words, word);
            }
        }
        Self { keys, wire, of_words }
    }

    /// Where the root is.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.wire.len()
    }

    /// The hash of what begins at `at`.
    #[inline]
    pub(super) fn from(&self, at: usize) -> u64 {
        let len = self.wire.len() - at;
        let (words, rest) = (len / WORD, len % WORD);
        // The first bytes, which fill no word.
        let part = if len >= WORD {
            word_at(self.wire, at) & ((1 << (8 * rest)) - 1)
        } else if self.wire.len() >= WORD {
            word_at(self.wire, self.wire.len() - WORD) >> 8 >> (8 * (WORD - 1 - rest))
        } else {
            self.wire[at..].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let hash = self.of_words.get(words).copied().unwrap_or_else(|| self.of_more(words));
        // Their number keeps apart what is filled up with zeros.
        folded(hash ^ part ^ (rest as u64) << 56, self.keys.last)
    }

    /// The hash of more words than were hashed at once. Linear in the length of the name, for each of its suffixes that is
    /// so long.
    #[cold]
    fn of_more(&self, words: usize) -> u64 {
        let more = AT_ONCE + 1..=words;
        more.fold(self.of_words[AT_ONCE], |hash, number| {
            hash ^ self.keys.hash_word(number, word_at(self.wire, self.wire.len() - number * WORD))
        })
    }
}

/// Where the labels of a name begin, root left out: a bit for each byte.
pub(super) struct Labels {
    starts: u64,
    /// Of the bytes behind those.
    more: [u64; 3],
}

impl Labels {
    #[inline]
    pub(super) fn of(wire: &[u8]) -> Self {
        let mut labels = Self { starts: 0, more: [0; 3] };
        let mut at = 0;
        while let Some(&len) = wire.get(at) {
            if len == 0 {
                break;
            }
            if at >= 64 {
                labels.note_more(wire, at);
                break;
            }
            labels.starts |= 1 << at;
            at += 1 + usize::from(len);
        }
        labels
    }

    #[cold]
    fn note_more(&mut self, wire: &[u8], mut at: usize) {
        while let Some(&len) = wire.get(at)
            && len > 0
            && at < 256
        {
            self.more[at / 64 - 1] |= 1 << (at % 64);
            at += 1 + usize::from(len);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        (self.starts.count_ones() + self.more.iter().map(|starts| starts.count_ones()).sum::<u32>()) as usize
    }

    /// Takes out the last one.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<usize> {
        if self.more != [0; 3] {
            return self.pop_more();
        }
        let last = self.starts.checked_ilog2()?;
        self.starts ^= 1 << last;
        Some(last as usize)
    }

    #[cold]
    fn pop_more(&mut self) -> Option<usize> {
        let word = self.more.iter().rposition(|starts| *starts != 0)?;
        let last = self.more[word].ilog2();
        self.more[word] ^= 1 << last;
        Some((word + 1) * 64 + last as usize)
    }
}

/// The word that begins at `at`.
#[inline]
fn word_at(wire: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(wire[at..at + WORD].try_into().expect("a word has eight bytes"))
}

/// The two halves of the 128-bit product, folded into each other.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
