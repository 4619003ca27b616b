//! Why the gateway did not start, or did not end as it should.

use crate::control::origin::Origin;
use crate::control::socket::SocketError;
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
        cause: String,
    },
    /// The policy directory is not whole, or the way back is barred; it says why.
    Directory(String),
    /// The lab could not be started.
    Lab(io::Error),
    /// The control socket could not be opened.
    Socket(SocketError),
    /// A listener could not be opened, or a worker did not start; it says which.
    Workers(String),
    /// The address of `[metrics] listen` could not be opened; it says which.
    Metrics(String),
    /// The file of `[log]` could not be opened; it says which.
    Log(String),
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

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { origin, report } => write!(f, "the policy of {origin} has faults: {report}"),
            Self::NoLastGood { origin, report, cause } => {
                write!(f, "the policy of {origin} has faults: {report}; nor can the last good one be had: {cause}")
            }
            Self::Lab(error) => write!(f, "the lab could not be started: {error}"),
            Self::Socket(error) => error.fmt(f),
            Self::Directory(cause) | Self::Workers(cause) | Self::Metrics(cause) | Self::Log(cause) => {
                f.write_str(cause)
            }
            Self::Tracing(fault) => fault.fmt(f),
            Self::Upstreams(error) => error.fmt(f),
            Self::Random(error) => write!(f, "the system gives no random bytes: {error}"),
            Self::System(error) => write!(f, "the system refused what every gateway needs: {error}"),
            Self::EndedAtOnce { signal, unanswered } => {
                write!(f, "{signal} came a second time: ended at once, {unanswered} queries were not answered")
            }
        }
    }
}

impl std::error::Error for RunError {}
