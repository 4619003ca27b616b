//! Fixed memory for all source limits: a count-min sketch of theoretical arrival times, shared by all workers.
//!
//! A table with one entry per source grows with every forged address, or has to forget; this one does neither. A key
//! has one cell in each of four rows, its arrival time is the smallest of the four, and a charge only ever raises cells.
//! So an estimate is never below the truth (a flood of other sources cannot free anybody of a limit), and it is above
//! only where all four cells are raised by others. A cell that a source raised once is back at "now" after one interval
//! (5 ms at 200/s), so the sketch copes with about `cells per row * rate` forged queries a second, whatever the number
//! of addresses behind them; beyond that it limits more than it should, never less.

use ahash::RandomState;
use governor::nanos::Nanos;
use governor::state::StateStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of a sketch, and cells of a key.
const ROWS: usize = 4;

/// The share of the memory that serves verified sources: few, and ten times as fast to recover.
const VERIFIED_SHARE: usize = 8;

/// Fewer cells than this in a row would be no limit but a wall.
const WIDTH_MIN: usize = 64;

/// The state of all limits in fixed memory, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct SourceTables {
    unverified: Sketch,
    verified: Sketch,
}

impl SourceTables {
    /// Allocates tables of at most `bytes` in all (at least 4 KiB); they never grow. `seed` keys the hashes.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let width = bytes / size_of::<AtomicU64>() / ROWS;
        let verified = (width / VERIFIED_SHARE).max(WIDTH_MIN);
        let unverified = width.saturating_sub(verified).max(WIDTH_MIN);
        Self {
            unverified: Sketch::new(unverified, seed),
            verified: Sketch::new(verified, seed.rotate_left(32) ^ 0x5bd1_e995),
        }
    }

    /// The memory of all cells; constant.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.unverified.cells) + size_of_val(&*self.verified.cells)
    }

    fn sketch(&self, verified: bool) -> &Sketch {
        if verified { &self.verified } else { &self.unverified }
    }
}

/// Four rows of theoretical arrival times, in nanoseconds of the process' clock; 0 is "never asked".
#[derive(Debug)]
struct Sketch {
    cells: Box<[AtomicU64]>,
    width: u64,
    hasher: RandomState,
}

impl Sketch {
    fn new(width: usize, seed: u64) -> Self {
        let cells = (0..width * ROWS).map(|_| AtomicU64::new(0)).collect();
        let hasher =
            RandomState::with_seeds(seed, !seed, seed.rotate_left(21), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { cells, width: width as u64, hasher }
    }

    fn estimate(&self, cells: &[usize; ROWS]) -> u64 {
        cells.iter().map(|&cell| self.cells[cell].load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// Raises the cells that are below `next`. Load and store, not `fetch_max`, which costs a locked instruction for
    /// each of the 16 cells of a query: when two workers meet in a cell, one of the two charges may be lost, no more,
    /// because a cell is only written by who has just seen it lower.
    fn raise(&self, cells: &[usize; ROWS], next: u64) {
        for &cell in cells {
            let cell = &self.cells[cell];
            if cell.load(Ordering::Relaxed) < next {
                cell.store(next, Ordering::Relaxed);
            }
        }
    }
}

/// The cells of one network on one level, and whether this is a look or a charge: all levels are looked at before any
/// of them is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Visit {
    cells: [usize; ROWS],
    /// Write the new arrival time, where the look only decides.
    pub(super) charge: bool,
}

impl Visit {
    /// A number that stands for the network, for tables smaller than the sketch.
    pub(super) fn fingerprint(&self) -> usize {
        self.cells[0]
    }
}

/// governor's view of the shared cells.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    tables: Arc<SourceTables>,
    verified: bool,
}

impl Cells {
    pub(super) fn new(tables: &Arc<SourceTables>, verified: bool) -> Self {
        Self { tables: Arc::clone(tables), verified }
    }

    /// Where `network` of level number `level` lives; a look until `charge` is set.
    pub(super) fn visit(&self, network: u128, level: u8) -> Visit {
        let sketch = self.tables.sketch(self.verified);
        let first = sketch.hasher.hash_one((network, level));
        let wide = u128::from(first) * 0xd6e8_feb8_6659_fd93_u128;
        let second = (wide >> 64) as u64 ^ wide as u64;
        let cell = |row: u64, hash: u64| {
            let column = ((hash & 0xffff_ffff) * sketch.width) >> 32;
            (row * sketch.width + column) as usize
        };
        Visit { cells: [cell(0, first), cell(1, first >> 32), cell(2, second), cell(3, second >> 32)], charge: false }
    }
}

impl StateStore for Cells {
    type Key = Visit;

    fn measure_and_replace<T, F, E>(&self, visit: &Visit, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let sketch = self.tables.sketch(self.verified);
        let (outcome, next) = decide(Some(sketch.estimate(&visit.cells).into()))?;
        if visit.charge {
            sketch.raise(&visit.cells, next.as_u64());
        }
        Ok(outcome)
    }
}
