//! What takes a while beside the queries: on a thread of its own, to which they come first. A policy with a million names
//! would otherwise take a core from a worker for some hundred milliseconds.

use crate::sys;
use std::io;
use std::thread;
use tokio::sync::oneshot;

/// Does `work` on a thread that lets all others go first. It goes on when nobody waits for it any more.
///
/// # Errors
/// The system has no thread for it, or it panicked.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    // Not a thread of a pool: what that one did next might be urgent, and a thread may not take back its place by itself.
    thread::Builder::new().name("weir-beside".to_owned()).spawn(move || {
        sys::thread::let_others_go_first();
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| io::Error::other("it panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_in_it_is_an_error() {
        let here = thread::current().id();
        assert_ne!(beside(|| thread::current().id()).await.unwrap(), here);
        let broken: io::Result<()> = beside(|| panic!("as the test wants it")).await;
        assert_eq!(broken.unwrap_err().to_string(), "it panicked");
    }
}
