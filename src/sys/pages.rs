//! Memory by the page: large pages for large tables, since one of many megabytes that is read at random spends more on
//! finding its pages than on its bytes; memory that goes back to the system as soon as it is not needed, since a reload
//! needs as much again as it leaves behind (madvise(2), mmap(2), mallopt(3)).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};

/// What one large page holds, and where it has to begin.
const LARGE_PAGE: usize = 2 << 20;

/// What a system gives and takes at least, and at most.
const PAGE: usize = 4096;
const PAGE_MAX: usize = 64 << 10;

/// From this size on memory is a mapping of its own, of which nothing is taken before it is written.
const MAPPED_LEAST: usize = PAGE_MAX;

/// A line of the processor's cache.
const LINE: usize = 64;

/// The least that [`Scratch::give_back`] gives back: each time costs a system call, and every thread of the process a
/// look at its page tables.
const GIVEN_BACK_LEAST: usize = 1 << 20;

/// From this size on the allocator takes memory of its own from the system, and gives it back when it is freed: for a list
/// or a table, and for nothing that a query needs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_MEMORY: libc::c_int = 128 << 10;

/// Numbers that are valid whatever their bytes are.
pub trait Plain: Sealed {}

impl<T: Sealed> Plain for T {}

use sealed::Sealed;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// Which pages memory has, where the system has a choice and there is enough of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Small ones, each taken when it is first written: for what may stay empty.
    Small,
    /// Large ones, each taken when it is first written: to be written by who can wait, for a page is filled with zeros first,
    /// which takes some 150 us, and milliseconds where the system itself is a guest whose host has to find the memory.
    Large,
}

/// So many numbers, zero at first, that begin at a line of the processor's cache: for tables that are read at random. Those
/// with large pages begin at one; a vector's memory begins where it will, so that its first page is a small one, or all.
#[derive(Debug)]
pub struct Zeroed<T: Plain> {
    start: NonNull<T>,
    len: usize,
    /// Bytes of the mapping; 0: there is none, and the allocator has made it.
    mapped: usize,
}

// SAFETY: it owns its memory as a boxed slice does.
unsafe impl<T: Plain + Send> Send for Zeroed<T> {}
// SAFETY: as above; what is shared is a slice.
unsafe impl<T: Plain + Sync> Sync for Zeroed<T> {}

impl<T: Plain> Zeroed<T> {
    /// So many numbers. Aborts when the system has no room for them.
    pub fn new(len: usize, pages: Pages) -> Self {
        let layout = Self::layout(len);
        if len == 0 {
            return Self { start: NonNull::dangling(), len, mapped: 0 };
        }
        let (start, mapped) = match map(layout.size(), pages) {
            Some((start, mapped)) => (Some(start), mapped),
            // SAFETY: its size is not 0.
            None => (NonNull::new(unsafe { alloc_zeroed(layout) }), 0),
        };
        let Some(start) = start else { handle_alloc_error(layout) };
        Self { start: start.cast(), len, mapped }
    }

    /// Keeps the first `len`, and gives back the memory of the others.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        if self.mapped > 0 && len > 0 {
            let kept = (len * size_of::<T>()).next_multiple_of(PAGE_MAX);
            if kept < self.mapped {
                // SAFETY: whole pages at the end of our own mapping, behind all that `len` leaves visible from now on.
                unsafe {
                    libc::munmap(self.start.as_ptr().byte_add(kept).cast(), self.mapped - kept);
                }
                self.mapped = kept;
            }
            self.len = len;
            return;
        }
        let shorter = Self::new(len, Pages::Small);
        // SAFETY: both are live, apart, and at least `len` long; what is moved is plain.
        unsafe {
            shorter.start.copy_from_nonoverlapping(self.start, len);
        }
        *self = shorter;
    }

    /// Lines of the cache are what a look-up counts.
    fn layout(len: usize) -> Layout {
        Layout::array::<T>(len).and_then(|layout| layout.align_to(LINE)).expect("it is less than all memory")
    }
}

/// A mapping of so many bytes, and how many it has; `None` when they are too few for one, or the system has no room.
fn map(len: usize, pages: Pages) -> Option<(NonNull<u8>, usize)> {
    if len < MAPPED_LEAST {
        return None;
    }
    let len = len.next_multiple_of(PAGE_MAX);
    // Only whole large pages: a part of one would take more than was asked for.
    let large = if pages == Pages::Small { 0 } else { len / LARGE_PAGE * LARGE_PAGE };
    let more = if large > 0 { LARGE_PAGE } else { 0 };
    let all = len.checked_add(more)?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of its own, at a place of the system's choice; what lies before the first large page and behind
    // the end is given back at once, in whole pages. Advice changes neither what the rest holds nor what may be done with
    // it, and a refusal is no error: a system without large pages, or an old one, takes small ones when they are written.
    unsafe {
        let start = libc::mmap(null_mut(), all, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if start == libc::MAP_FAILED {
            return None;
        }
        if large == 0 {
            return Some((NonNull::new(start.cast())?, len));
        }
        let before = start.addr().next_multiple_of(LARGE_PAGE) - start.addr();
        let first = start.byte_add(before);
        if before > 0 {
            libc::munmap(start, before);
        }
        if more > before {
            libc::munmap(first.byte_add(len), more - before);
        }
        #[cfg(target_os = "linux")]
        libc::madvise(first, large, libc::MADV_HUGEPAGE);
        Some((NonNull::new(first.cast())?, len))
    }
}

impl<T: Plain> Deref for Zeroed<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: live, aligned, so many, and valid whatever their bytes; nobody writes while it is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Zeroed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for reading, and it is ours alone while `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> Default for Zeroed<T> {
    fn default() -> Self {
        Self::new(0, Pages::Small)
    }
}

impl<T: Plain> Drop for Zeroed<T> {
    fn drop(&mut self) {
        if self.mapped > 0 {
            // SAFETY: our own mapping, unmapped once; no borrow of it outlives `self`.
            unsafe {
                libc::munmap(self.start.as_ptr().cast(), self.mapped);
            }
        } else if self.len > 0 {
            // SAFETY: the allocator made it with this layout.
            unsafe {
                dealloc(self.start.as_ptr().cast(), Self::layout(self.len));
            }
        }
    }
}

/// Lets every large allocation of the process be memory of its own that is given back when it is freed, once and for all.
/// The GNU allocator otherwise raises what it calls large to the largest that was ever freed, and keeps a list of many
/// megabytes for itself after it is gone. To be called before threads are started; other allocators are left as they are.
pub fn give_back_large_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets two numbers of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MEMORY);
        libc::mallopt(libc::M_TRIM_THRESHOLD, OWN_MEMORY);
    }
}

/// Gives back what the allocator holds and nobody uses. It locks each of the allocator's arenas for a while: for a thread
/// that may wait, after much was freed.
pub fn give_back_unused_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it only touches memory that the allocator knows to be free, under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Memory for a while, zeroed, whose front can be given back while the rest is in use.
#[derive(Debug)]
pub struct Scratch {
    start: NonNull<u8>,
    len: usize,
    given_back: usize,
}

impl Scratch {
    /// So many bytes; a page takes memory once it is written. Aborts when the system has no room for them.
    pub fn new(len: usize) -> Self {
        if len == 0 {
            return Self { start: NonNull::dangling(), len, given_back: 0 };
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of its own, at a place of the system's choice, that takes nothing from anybody.
        let start = unsafe { libc::mmap(null_mut(), len, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if start == libc::MAP_FAILED {
            handle_alloc_error(Layout::from_size_align(len, 1).unwrap_or(Layout::new::<u8>()));
        }
        let start = NonNull::new(start.cast()).expect("no mapping begins at 0 unless it was asked for");
        Self { start, len, given_back: 0 }
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is live, of this length, readable and writable, zeroed at birth and so of valid bytes
        // always; it is ours alone while `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Says that what lies before `end` is not needed any more. It may read as zeros from now on.
    pub fn give_back(&mut self, end: usize) {
        let end = end.min(self.len) / PAGE * PAGE;
        if end.saturating_sub(self.given_back) < GIVEN_BACK_LEAST {
            return;
        }
        // SAFETY: whole pages within the live mapping, which nobody else can touch while `self` is borrowed mutably; they
        // read as zeros, or as before, and both are valid bytes. A system with larger pages refuses, which changes nothing.
        unsafe {
            libc::madvise(self.start.as_ptr().add(self.given_back).cast(), end - self.given_back, libc::MADV_DONTNEED);
        }
        self.given_back = end;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: made in `new` with this length, unmapped once; no borrow of it outlives `self`.
            unsafe {
                libc::munmap(self.start.as_ptr().cast(), self.len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_zero_aligned_and_stay_when_others_go() {
        for len in [0, 1, 1000, MAPPED_LEAST, LARGE_PAGE - 1, LARGE_PAGE, LARGE_PAGE + 1, 3 * LARGE_PAGE + 12_345] {
            for pages in [Pages::Small, Pages::Large] {
                let mut bytes = Zeroed::<u8>::new(len, pages);
                assert_eq!(bytes.len(), len);
                assert!(len == 0 || bytes.as_ptr().addr().is_multiple_of(LINE));
                assert!(len < LARGE_PAGE || pages == Pages::Small || bytes.as_ptr().addr().is_multiple_of(LARGE_PAGE));
                assert!(bytes.iter().all(|byte| *byte == 0));
                bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
                for kept in [len + 1, len, len - len / 3, len / 3, len / 1000, 0] {
                    bytes.truncate(kept);
                    assert_eq!(bytes.len(), kept.min(len));
                    assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8), "{len} {kept}");
                }
            }
        }
        let words = Zeroed::<u64>::new(LARGE_PAGE, Pages::Large);
        assert!(words.len() == LARGE_PAGE && words.iter().all(|word| *word == 0));
    }

    /// What /proc/self/smaps says of the mapping that begins with `bytes`, in KiB.
    #[cfg(target_os = "linux")]
    fn told(bytes: &[u8], key: &str) -> Option<usize> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let begins = format!("{:x}-", bytes.as_ptr().addr());
        let line = smaps.lines().skip_while(|line| !line.starts_with(&begins)).find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_taken_when_it_is_said_to_be() {
        let len = 8 * LARGE_PAGE;
        let mut later = Zeroed::<u8>::new(len, Pages::Large);
        later[0] = 1;
        let small = Zeroed::<u8>::new(len, Pages::Small);
        // A mapping that shares its pages' kind with its neighbour is told together with it.
        if let Some(taken) = told(&later, "Rss:").filter(|_| told(&later, "Size:") == Some(len / 1024)) {
            assert!(taken <= LARGE_PAGE / 1024, "{taken} KiB");
        }
        if let Some(taken) = told(&small, "Rss:").filter(|_| told(&small, "Size:") == Some(len / 1024)) {
            assert_eq!(taken, 0);
        }
    }
}
