//! Who goes first: a thread that loads a policy of a million names must not keep a query waiting (sched_setattr(2)).

/// How much nicer than others a thread is that lets them go first: on a core that is wanted all the time it still gets a
/// tenth, so that what it does comes to an end.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// How long it may keep the core from one that wakes up, the least that the system takes (Linux 6.12 and later; by
/// default 3 ms, which is what a query would wait).
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

/// Lets all other threads go before this one, for the rest of its life. What the system does not know changes nothing.
pub fn let_others_go_first() {
    #[cfg(target_os = "linux")]
    // SAFETY: the structure is ours, lives through the call and says its size, which is that of its first version; the call
    // only reads it and concerns the calling thread, which 0 stands for.
    unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        attributes.size = size_of::<libc::sched_attr>() as u32;
        attributes.sched_policy = libc::SCHED_OTHER as u32;
        attributes.sched_nice = NICER;
        attributes.sched_runtime = SLICE_NS;
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
    }
}
