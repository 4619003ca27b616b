//! Counters (interim).
use crate::verdict::{Outcome, Reason};
use std::time::Duration;
/// What happened on the way to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UpstreamEvent {
    /// A message was sent.
    Sent,
    /// A response was accepted.
    Answered,
    /// A response with no query waiting for it: late or forged.
    Unmatched,
    /// The question is not the one asked, or in another letter case.
    Mismatched,
    /// Not a well-formed response.
    Malformed,
    /// An attempt ended without an answer.
    Timeout,
    /// Refused or unreachable.
    Unreachable,
}
/// One worker's counters.
#[derive(Debug, Default)]
pub struct Ledger {}
impl Ledger {
    /// Counts one query.
    pub fn count(&self, _outcome: Outcome, _reason: Reason, _tcp: bool, _took: Option<Duration>) {}
    /// Counts a decision that monitor mode did not take.
    pub fn would(&self, _reason: Reason) {}
    /// Counts an event toward the upstream in a slot.
    pub fn upstream(&self, _slot: u16, _event: UpstreamEvent) {}
}
