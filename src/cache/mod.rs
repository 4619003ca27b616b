//! Answers that were vetted, in fixed memory.

/// The cache, shared by all workers.
#[derive(Debug)]
pub struct Cache {}
