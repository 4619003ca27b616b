//! A panic in a thread of whose end nobody would hear ends the process: who keeps it running starts it anew within a second,
//! while a gateway that has lost one of its workers is silent for some of its clients, and nobody knows why.

use std::panic::{set_hook, take_hook};
use std::process::abort;
use std::thread;

/// Threads that run what others wait for, and hear of when it breaks off.
pub(super) const BLOCKING: &str = "weir-blocking";
const HEARD_OF: [&str; 2] = [BLOCKING, "weir-beside"];

/// From now on. Tasks of a runtime are meant first of all: there a panic ends nothing but the task.
pub(super) fn end_with_any_thread() {
    let tell = take_hook();
    set_hook(Box::new(move |panic| {
        tell(panic);
        if !thread::current().name().is_some_and(|name| HEARD_OF.contains(&name)) {
            abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    /// In the process that is to end: what its thread is called.
    const THREAD: &str = "WEIR_TEST_THREAD_THAT_PANICS";

    #[test]
    fn a_panic_that_nobody_hears_of_ends_the_process() {
        if let Ok(name) = std::env::var(THREAD) {
            end_with_any_thread();
            let in_task = || {
                let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
                runtime.block_on(async { tokio::task::spawn_local(async { panic!("as the test wants it") }).await })
            };
            assert!(thread::Builder::new().name(name).spawn(in_task).unwrap().join().unwrap().is_err());
            return;
        }
        let own = "daemon::fatal::tests::a_panic_that_nobody_hears_of_ends_the_process";
        for (name, ends) in
            [("weir-worker-0", true), ("weir-query-log", true), (BLOCKING, false), ("weir-beside", false)]
        {
            let this = std::env::current_exe().unwrap();
            let ran = Command::new(this).args([own, "--exact"]).env(THREAD, name).output().unwrap();
            assert_eq!(ran.status.signal(), ends.then_some(libc::SIGABRT), "{name}: {ran:?}");
            assert_eq!(ran.status.success(), !ends, "{name}: {ran:?}");
        }
    }
}
