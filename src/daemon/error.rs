//! Why the gateway did not start, or did not end as it should.

use crate::control::origin::Origin;
use crate::control::socket::SocketError;
use crate::language::{Text, Told, text};
use crate::policy::document::Report;
use crate::telemetry::TracingFault;
use crate::upstream::RegistryFull;
use std::fmt;
use std::io;

/// See above.
#[derive(Debug)]
pub enum RunError {
    /// The policy has faults.
    Policy {
        /// Where it comes from.
        origin: Origin,
        /// All of them.
        report: Report,
    },
    /// The policy has faults, and the one that ran last cannot be had either.
    NoLastGood {
        /// Where it comes from.
        origin: Origin,
        /// All of them.
        report: Report,
        /// Why not.
        cause: Text,
    },
    /// The policy directory is not whole, or the way back is barred; it says why.
    Directory(Text),
    /// The lab could not be started.
    Lab(io::Error),
    /// The control socket could not be opened.
    Socket(SocketError),
    /// A listener could not be opened, or a worker did not start; it says which.
    Workers(Text),
    /// The address of `[metrics] listen` could not be opened; it says which.
    Metrics(Text),
    /// The file of `[log]` could not be opened; it says which.
    Log(Text),
    /// `WEIR_LOG` is no filter.
    Tracing(TracingFault),
    /// More upstreams than there may be.
    Upstreams(RegistryFull),
    /// The system has no random bytes.
    Random(String),
    /// The system has no runtime, thread or signal for us.
    System(io::Error),
    /// A second signal came while what was in flight was being answered.
    EndedAtOnce {
        /// Its name.
        signal: &'static str,
        /// Queries that were given up.
        unanswered: u64,
    },
}

impl Told for RunError {
    fn text(&self) -> Text {
        match self {
            Self::Policy { origin, .. } => {
                text!("the policy of {origin} has faults: nothing was started", origin = origin.text())
            }
            Self::NoLastGood { origin, cause, .. } => text!(
                "the policy of {origin} has faults, and there is no last good one: {cause}\n  nothing was started",
                origin = origin.text(),
                cause
            ),
            Self::Lab(error) => text!("the lab could not be started: {error}", error = Text::of_io(error)),
            Self::Socket(error) => error.text(),
            Self::Directory(cause) | Self::Workers(cause) | Self::Metrics(cause) | Self::Log(cause) => cause.clone(),
            Self::Tracing(fault) => fault.text(),
            Self::Upstreams(error) => error.text(),
            Self::Random(error) => text!("the system gives no random bytes: {error}", error),
            Self::System(error) => {
                text!("the system refused what every gateway needs: {error}", error = Text::of_io(error))
            }
            Self::EndedAtOnce { signal, unanswered } => text!(
                "{signal} came a second time: ended at once, {unanswered} queries were not answered",
                signal,
                unanswered
            ),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for RunError {}
