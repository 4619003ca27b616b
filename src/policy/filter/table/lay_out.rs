//! Where the blocks of a table come to lie in the end: each near the place that its number alone gives, with a little room
//! between them. The memory of a name is asked for at that place while the index, which says where it is exactly, is still
//! on its way: a query that comes alone then waits for memory once and not twice.

use super::Table;

/// Of so many bytes so many are names: the fuller it is, the farther blocks push each other away from their places, and
/// what is not near them is waited for twice. Measured with a million names, one look-up at a time: no room 282 ns, this
/// much 226, twice as much 201, where one read of as much memory took 160.
const ROOM: usize = 9;
const FILLED: usize = 8;

/// The memory that names of so many bytes take with the room between them.
pub(super) fn with_gaps(bytes: usize) -> usize {
    bytes / FILLED * ROOM + ROOM
}

impl Table {
    /// Moves the blocks of a table whose blocks follow each other directly; to be called once, when all names are in it.
    pub(super) fn lay_out(&mut self) {
        let (used, count) = (self.arena.len(), self.blocks.len() - 1);
        self.stride = with_gaps(used).div_ceil(count);
        // The blocks at the front may be pushed before the beginning: by as much all of them are moved back.
        let mut start = count * self.stride;
        let mut before = 0;
        for block in (0..count).rev() {
            let len = (self.blocks[block + 1].start - self.blocks[block].start) as usize;
            let end = start.min((block + 1) * self.stride + before);
            // Kept above zero by moving the beginning, so that it can be told without a sign.
            let missing = len.saturating_sub(end);
            before += missing;
            start = end + missing - len;
        }
        self.ahead = before;
        let all = count * self.stride + before;
        if u32::try_from(all).is_err() {
            // As they are there is room for them; the places are only hints.
            self.arena.shrink_to_fit();
            return;
        }
        self.arena.resize(all, 0);
        let mut next = all;
        let mut old_end = used;
        for block in (0..count).rev() {
            let old = self.blocks[block].start as usize..old_end;
            let end = next.min((block + 1) * self.stride + before);
            let start = end - old.len();
            // No block that has not been moved yet lies behind the old end, which is not behind the new one.
            self.arena.copy_within(old.clone(), start);
            self.arena[end..next].fill(0);
            self.blocks[block].start = start as u32;
            (next, old_end) = (start, old.start);
        }
        self.arena[..next].fill(0);
        self.blocks[count].start = all as u32;
        self.arena.shrink_to_fit();
    }
}
