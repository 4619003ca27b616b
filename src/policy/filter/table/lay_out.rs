//! Where the blocks of a table come to lie in the end: each near the place that its number alone gives, with a little room
//! between them. The memory of a name is asked for at that place while the index, which says where it is exactly, is still
//! on its way: a query that comes alone then waits for memory once and not twice.

use super::{Block, TAIL, Table};

/// Of so many bytes so many are names: the fuller it is, the farther blocks push each other away from their places, and
/// what is not near them is waited for twice. Measured with a million names, one look-up at a time: no room 282 ns, this
/// much 226, twice as much 201, where one read of as much memory took 160. Since names are compared as `heads` does it,
/// four times as much no longer helps.
const ROOM: usize = 9;
const FILLED: usize = 8;

/// The most bytes by which all blocks are moved back so that those at the front find room.
const AHEAD_MAX: usize = 4096;

/// The most memory that so many blocks of so many bytes take with the room between them.
pub(super) fn room_for(bytes: usize, blocks: usize) -> usize {
    with_gaps(bytes) + blocks + AHEAD_MAX + TAIL
}

fn with_gaps(bytes: usize) -> usize {
    bytes / FILLED * ROOM + ROOM
}

impl Table {
    /// Moves the blocks of a table, which take `used` bytes and follow each other directly; to be called once, when all
    /// names are in it.
    pub(super) fn lay_out(&mut self, used: usize) {
        let count = self.blocks.len() - 1;
        self.stride = with_gaps(used).div_ceil(count);
        // The blocks at the front may be pushed before the beginning: by as much all of them are moved back.
        let mut start = count * self.stride;
        let mut before = 0;
        for block in (0..count).rev() {
            let len = (self.block(block + 1).start - self.block(block).start) as usize;
            let end = start.min((block + 1) * self.stride + before);
            // Kept above zero by moving the beginning, so that it can be told without a sign.
            let missing = len.saturating_sub(end);
            before += missing;
            start = end + missing - len;
        }
        self.ahead = before;
        let all = count * self.stride + before;
        if u32::try_from(all).is_err() || all + TAIL > self.arena.len() {
            // As they are there is room for them; the places are only hints.
            self.arena.truncate(used + TAIL);
            return;
        }
        self.arena.truncate(all + TAIL);
        let mut next = all;
        let mut old_end = used;
        for block in (0..count).rev() {
            let Block { start: old_start, marks } = self.block(block);
            let old = old_start as usize..old_end;
            let end = next.min((block + 1) * self.stride + before);
            let start = end - old.len();
            // No block that has not been moved yet lies behind the old end, which is not behind the new one.
            self.arena.copy_within(old.clone(), start);
            self.arena[end..next].fill(0);
            self.blocks[block] = Block { start: start as u32, marks }.word();
            (next, old_end) = (start, old.start);
        }
        self.arena[..next].fill(0);
        self.end_at(all);
    }
}
