//! What may become of a query. Closed vocabularies: the ledger counts exactly one [`Outcome`] for each query, and a
//! [`Reason`] has the same name here, in the policy's file, in the metric label and in the scenario folder.

/// What became of a query: each query gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Answered with what an upstream said just now.
    Forwarded,
    /// Answered from the cache, fresh.
    CacheHit,
    /// Answered from the cache past its TTL, because nothing fresh could be had (RFC 8767).
    CacheStale,
    /// SERVFAIL from the memory of a failure (RFC 9520).
    CacheFailure,
    /// Answered by a policy: NXDOMAIN, NODATA, REFUSED, an address or data of the operator's choice.
    Denied,
    /// TC=1 by a policy or because the answer exceeds what the client takes.
    Truncated,
    /// Silence by a policy.
    Dropped,
    /// SERVFAIL of our own: no upstream answered in time, or we are full.
    Failed,
    /// FORMERR, NOTIMP, BADVERS or BADCOOKIE.
    Rejected,
    /// Not a query at all: counted and dropped.
    Malformed,
    /// A zone transfer handed to its upstream.
    Transferred,
    /// A NOTIFY for the zone of a feed, heard here.
    Notified,
}

impl Outcome {
    /// All outcomes, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Forwarded,
        Self::CacheHit,
        Self::CacheStale,
        Self::CacheFailure,
        Self::Denied,
        Self::Truncated,
        Self::Dropped,
        Self::Failed,
        Self::Rejected,
        Self::Malformed,
        Self::Transferred,
        Self::Notified,
    ];

    /// The name in metrics, logs and scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::CacheHit => "cache-hit",
            Self::CacheStale => "cache-stale",
            Self::CacheFailure => "cache-failure",
            Self::Denied => "denied",
            Self::Truncated => "truncated",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Malformed => "malformed",
            Self::Transferred => "transferred",
            Self::Notified => "notified",
        }
    }
}

/// Which part decided, when it was not the plain path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Nothing special: forwarded or cached.
    None,
    /// `access.toml`: the client may not ask at all.
    Access,
    /// `access.toml` `[[question]]`: this may not be asked.
    Question,
    /// `access.toml` `[transfer]`.
    Transfer,
    /// `access.toml` `[notify]`.
    Notify,
    /// `access.toml` `[update]`.
    Update,
    /// `limits.toml` `[source]`.
    Source,
    /// `limits.toml` `[rrl]`.
    Rrl,
    /// `limits.toml` `[cookies]`.
    Cookies,
    /// A rule of `filters/`.
    Filter,
    /// `limits.toml` `[rebinding]`: an answer leads a name of the outside into a private network.
    Rebinding,
    /// `limits.toml` `[storm]`: the zone fails, or holds its share of the upstream.
    Storm,
    /// `limits.toml` `[storm]`: a name that is not known to exist, in a zone under random names.
    Subdomains,
    /// The packet was not a query that can be answered as asked.
    Malformed,
    /// The answer exceeds what the client takes over UDP.
    Oversized,
    /// No upstream answered before the deadline.
    Timeout,
    /// No upstream could be reached or none is configured for the name.
    Unreachable,
    /// A table that is bounded by configuration is full.
    Overload,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::None,
        Self::Access,
        Self::Question,
        Self::Transfer,
        Self::Notify,
        Self::Update,
        Self::Source,
        Self::Rrl,
        Self::Cookies,
        Self::Filter,
        Self::Rebinding,
        Self::Storm,
        Self::Subdomains,
        Self::Malformed,
        Self::Oversized,
        Self::Timeout,
        Self::Unreachable,
        Self::Overload,
    ];

    /// The name in metrics, logs and scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Access => "access",
            Self::Question => "question",
            Self::Transfer => "transfer",
            Self::Notify => "notify",
            Self::Update => "update",
            Self::Source => "source",
            Self::Rrl => "rrl",
            Self::Cookies => "cookies",
            Self::Filter => "filter",
            Self::Rebinding => "rebinding",
            Self::Storm => "storm",
            Self::Subdomains => "subdomains",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Overload => "overload",
        }
    }
}
