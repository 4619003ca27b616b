//! Who goes first: a thread that loads a policy of a million names must not keep a query waiting (sched_setattr(2)).

use std::io;
use std::thread;

/// How much nicer than others a thread is that goes after them: on a core that is wanted all the time it still gets a
/// tenth, so that what it does comes to an end.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// How long it may keep the core from one that wakes up, the least that the system takes (Linux 6.12 and later; by
/// default 3 ms, which is what a query would wait).
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

/// How late a sleep may end.
#[cfg(target_os = "linux")]
const SLACK_NS: libc::c_ulong = 1_000;

/// The number by which the system knows the calling thread.
pub fn own_id() -> i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes nothing and cannot fail.
    let id = unsafe { libc::gettid() };
    #[cfg(not(target_os = "linux"))]
    let id = 0;
    id
}

/// Lets the thread have a core when others want it too, but as the nicer one. `0` is the calling thread.
///
/// # Errors
/// The system does not allow it: a thread that waits for an idle core may come back only with CAP_SYS_NICE or an
/// RLIMIT_NICE of 10 or more.
pub fn go_after_others(id: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return set(id, libc::SCHED_OTHER, NICER);
    #[cfg(not(target_os = "linux"))]
    Ok(())
}

/// Lets the calling thread have its share as all others have, in short pieces.
///
/// # Errors
/// The system does not allow it: a thread that waits for an idle core may come back this far only with CAP_SYS_NICE or an
/// RLIMIT_NICE of 20 or more.
pub fn go_with_others() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    set(0, libc::SCHED_OTHER, 0)?;
    Ok(())
}

/// Whether a thread that waits for an idle core can come back so: tried on a thread that ends with it.
pub fn comes_back(back: fn() -> io::Result<()>) -> bool {
    let tried = move || wait_for_an_idle_core().and_then(|()| back()).is_ok();
    thread::Builder::new().spawn(tried).is_ok_and(|thread| thread.join().unwrap_or(false))
}

/// Lets the calling thread have a core that nobody else wants: whoever wakes up takes it at once. Where none is ever idle
/// it does not get on, see [`go_after_others`].
///
/// # Errors
/// The system does not know it.
pub fn wait_for_an_idle_core() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // First this: it is what counts for coming back.
        set(0, libc::SCHED_OTHER, NICER)?;
        set(0, libc::SCHED_IDLE, NICER)?;
    }
    Ok(())
}

/// Makes a short sleep of the calling thread as short as it is meant to be: by default the system rounds up by 50 us.
pub fn wake_on_time() {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes numbers only; what fails leaves the sleeps longer.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS);
    }
}

/// Whether the calling thread waits for a core that nobody else wants.
pub fn waits_for_an_idle_core() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: it only reads, for the calling thread.
    return unsafe { libc::sched_getscheduler(0) } == libc::SCHED_IDLE;
    #[cfg(not(target_os = "linux"))]
    false
}

#[cfg(target_os = "linux")]
fn set(id: i32, class: libc::c_int, nice: i32) -> io::Result<()> {
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<libc::sched_attr>() as u32;
    attributes.sched_policy = class as u32;
    attributes.sched_nice = nice;
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the structure is ours, lives through the call and says its size, which is that of its first version; the call
    // only reads it. Of which thread it speaks matters to no memory.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, id, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_waits_for_an_idle_core_and_comes_back_where_that_is_allowed() {
        thread::spawn(|| {
            wait_for_an_idle_core().unwrap();
            assert!(waits_for_an_idle_core());
            let back = go_after_others(own_id());
            assert_eq!(waits_for_an_idle_core(), back.is_err());
            wait_for_an_idle_core().unwrap();
            let back = go_with_others();
            assert_eq!(waits_for_an_idle_core(), back.is_err());
            assert_eq!(comes_back(go_with_others), back.is_ok());
        })
        .join()
        .unwrap();
    }
}
