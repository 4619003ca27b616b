//! Large pages for large tables: a table of many megabytes that is read at random spends more on finding its pages than
//! on its bytes (madvise(2), MADV_HUGEPAGE).

/// What one large page holds, and where it has to begin.
const LARGE_PAGE: usize = 2 << 20;

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
