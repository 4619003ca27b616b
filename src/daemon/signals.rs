//! The signals that mean something: SIGHUP reloads, SIGTERM and SIGINT end.

use std::io;
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

impl End {
    /// Waits for one and names it.
    pub(super) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
