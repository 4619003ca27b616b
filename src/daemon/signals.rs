//! The signals that mean something: SIGHUP reloads, SIGTERM and SIGINT end.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// See above; taken from the default handling for as long as the process lives.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) hangup: Signal,
    pub(super) end: End,
}

/// Those that end.
#[derive(Debug)]
pub(super) struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(super) fn take() -> io::Result<Self> {
        let end = End { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { hangup: signal(SignalKind::hangup())?, end })
    }
}

/// Signals that come this soon after the first are the same one: supervisors tell a process and then its whole group.
const SAME: Duration = Duration::from_millis(500);

impl End {
    /// Waits for one that comes after the first and means "now", and names it.
    pub(super) async fn again(&mut self) -> &'static str {
        let same = async {
            loop {
                self.recv().await;
            }
        };
        // It never ends by itself.
        let _: Result<(), _> = tokio::time::timeout(SAME, same).await;
        self.recv().await
    }

    /// Waits for one and names it.
    pub(super) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
