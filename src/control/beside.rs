//! What takes a while beside the queries: on a thread of its own, to which they come first. A policy with a million names
//! would otherwise take a core from a worker for some hundred milliseconds.
//!
//! Such a thread waits for an idle core: nobody who wakes up waits for it, not even for the microseconds that a nicer
//! thread may go on. But a policy has to come into force in a flood as well, when no core is ever idle: a thread that gets
//! next to nothing for a while is made one that goes after others and gets its tenth. Where the system would not allow
//! that second step, the first is not taken.

use crate::language::{Text, text};
use crate::sys::thread::{comes_back, go_after_others, own_id, wait_for_an_idle_core};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinError;

/// How often is looked how a thread gets on.
const LOOK: Duration = Duration::from_millis(100);

/// The part of the time since the last look for which it must have had a core, or else it is no longer left to wait for an
/// idle one.
const RUN_LEAST: f64 = 0.2;

/// Does `work` on a thread that lets all others go first. It goes on when nobody waits for it any more.
///
/// # Errors
/// For the user, what became of it: the system has no thread for it, or it panicked.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Text> {
    let (done, result) = oneshot::channel();
    let waiting = may_come_back().then(|| Arc::new(Mutex::new(None)));
    let thread = waiting.clone();
    // Not a thread of a pool: what that one did next might be urgent, and a thread may not take back its place by itself.
    let spawned = thread::Builder::new().name("weir-beside".to_owned()).spawn(move || match thread {
        Some(thread) => {
            let _ended = Waiting::begin(thread);
            let _ = done.send(work());
        }
        None => {
            let _ = go_after_others(0);
            let _ = done.send(work());
        }
    });
    spawned.map_err(|error| Text::of_io(&error))?;
    if let Some(waiting) = waiting {
        tokio::spawn(see_to(waiting));
    }
    result.await.map_err(|_| panicked())
}

/// Does `work`, which waits for the disk or for other threads and is soon done, on a thread of the runtime's own.
///
/// # Errors
/// For the user, what became of it: it panicked, or the gateway ended first.
pub async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Text> {
    tokio::task::spawn_blocking(work).await.map_err(|error| why(&error))
}

/// Where, the panic has written to the standard error output.
fn panicked() -> Text {
    text!("it panicked")
}

fn why(error: &JoinError) -> Text {
    if error.is_panic() { panicked() } else { text!("the gateway ended before it began") }
}

/// Whether a thread that waits for an idle core can be made one that does not: tried once.
fn may_come_back() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| comes_back(|| go_after_others(0)))
}

/// The id of the thread while it waits for an idle core. Behind a lock, so that an id is never used after its thread has
/// ended and another may have it.
type WaitingId = Arc<Mutex<Option<i32>>>;

/// Held by the thread while it works.
struct Waiting(WaitingId);

impl Waiting {
    fn begin(id: WaitingId) -> Self {
        if wait_for_an_idle_core().is_ok() {
            *id.lock().unwrap_or_else(PoisonError::into_inner) = Some(own_id());
        }
        Self(id)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Looks how the thread gets on until it has ended or been made one that does not wait for an idle core.
async fn see_to(waiting: WaitingId) {
    let mut run_before = Duration::ZERO;
    // The thread holds the other one.
    while Arc::strong_count(&waiting) > 1 {
        let begun = tokio::time::Instant::now();
        tokio::time::sleep(LOOK).await;
        let id = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Progress { run, wants_a_core }) = id.and_then(Progress::of) else { continue };
        let least = begun.elapsed().mul_f64(RUN_LEAST);
        if wants_a_core && run.saturating_sub(run_before) < least && id.is_some_and(|id| go_after_others(id).is_ok()) {
            return;
        }
        run_before = run;
    }
}

/// How a thread gets on (proc(5)).
struct Progress {
    /// How long it has had a core in its life.
    run: Duration,
    /// Whether it has one or waits for one, and not for the disk.
    wants_a_core: bool,
}

impl Progress {
    /// Nothing where the system does not say.
    fn of(thread: i32) -> Option<Self> {
        let read = |file| std::fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).ok();
        let run_ns = read("schedstat")?.split_ascii_whitespace().next()?.parse().ok()?;
        // The name before it may hold anything.
        let wants_a_core = read("stat")?.rsplit_once(") ")?.1.starts_with('R');
        Some(Self { run: Duration::from_nanos(run_ns), wants_a_core })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Lang;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_in_it_is_an_error() {
        let here = thread::current().id();
        assert_ne!(beside(|| thread::current().id()).await.unwrap(), here);
        let broken: Result<(), _> = beside(|| panic!("as the test wants it")).await;
        assert_eq!(broken.unwrap_err().to(Lang::Zh), "任务已崩溃");
    }

    #[tokio::test]
    async fn what_became_of_a_task_is_said_in_both_languages() {
        let broken: Result<(), _> = waiting(|| panic!("as the test wants it")).await;
        let why_not = broken.unwrap_err();
        assert_eq!(why_not.english(), "it panicked");
        assert_eq!(why_not.to(Lang::Zh), "任务已崩溃");
        let never = tokio::spawn(std::future::pending::<()>());
        never.abort();
        assert_eq!(why(&never.await.unwrap_err()).to(Lang::Zh), "尚未开始，网关就已退出");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_gets_on_where_no_core_is_ever_idle() {
        use crate::sys::thread::waits_for_an_idle_core;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::time::Instant;

        if !may_come_back() {
            return;
        }
        let over = Arc::new(AtomicBool::new(false));
        // More than there are cores: the others' tests leave some idle at times.
        let busy: Vec<_> = (0..2 * thread::available_parallelism().unwrap().get())
            .map(|_| {
                let over = Arc::clone(&over);
                thread::spawn(move || {
                    let begun = Instant::now();
                    while !over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let waited = beside(|| {
            let begun = Instant::now();
            while waits_for_an_idle_core() && begun.elapsed() < Duration::from_secs(50) {
                std::hint::spin_loop();
            }
            waits_for_an_idle_core()
        })
        .await;
        over.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!waited.unwrap(), "after 50 s it still waits for an idle core");
    }
}
