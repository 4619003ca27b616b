//! What could not be learned lately, so that a dead zone is not asked again by every client (RFC 9520).
use std::time::Duration;

/// Why nothing could be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No upstream answered before the deadline.
    Timeout,
    /// No upstream could be reached.
    Unreachable,
    /// The upstream said SERVFAIL, or another code that is no answer.
    ServerFailure,
}

/// A failure that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub kind: FailureKind,
    /// How long the question is not to be asked again.
    pub remaining: Duration,
}
