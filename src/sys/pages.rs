//! Memory by the page: large pages for large tables, since one of many megabytes that is read at random spends more on
//! finding its pages than on its bytes; memory that goes back to the system as soon as it is not needed, since a reload
//! needs as much again as it leaves behind (madvise(2), mmap(2), mallopt(3)).

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null_mut};

/// What one large page holds, and where it has to begin.
const LARGE_PAGE: usize = 2 << 20;

/// The least that [`Scratch::give_back`] gives back: each time costs a system call, and every thread of the process a
/// look at its page tables.
const GIVEN_BACK_LEAST: usize = 1 << 20;

/// From this size on the allocator takes memory of its own from the system, and gives it back when it is freed: for a list
/// or a table, and for nothing that a query needs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_MEMORY: libc::c_int = 128 << 10;

/// Asks for large pages under the memory that `vector` has reserved; before it is filled, because pages are chosen when
/// they are first written. A system that has none changes nothing.
pub fn prefer_large_pages<T>(vector: &mut Vec<T>) {
    let start = vector.as_mut_ptr() as usize;
    let end = start + vector.capacity() * size_of::<T>();
    // Only whole pages: what shares one with other memory is left alone.
    let start = start.next_multiple_of(LARGE_PAGE);
    let len = (end - end % LARGE_PAGE).saturating_sub(start);
    #[cfg(target_os = "linux")]
    if len > 0 {
        // SAFETY: the range lies within one live allocation, which nobody else can touch while it is borrowed, and the
        // advice changes neither what it holds nor what may be done with it. A refusal is no error: it is advice.
        unsafe {
            libc::madvise(start as *mut libc::c_void, len, libc::MADV_HUGEPAGE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = len;
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
        let page = 4096;
        let end = end.min(self.len) / page * page;
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
