//! limits.toml: the sections that bound how much and how often, read together because an incident mode lies over all of
//! them. The sections themselves are read where their policies live.

use super::cookies::CookiePolicy;
use super::document::{Context, Table};
use super::overload::OverloadPolicy;
use super::rebinding::RebindingPolicy;
use super::rrl::RrlPolicy;
use super::server::TcpLimits;
use super::source::SourcePolicy;
use super::storm::StormPolicy;

/// limits.toml, compiled.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `[source]`
    pub source: SourcePolicy,
    /// `[rrl]`
    pub rrl: RrlPolicy,
    /// `[cookies]`
    pub cookies: CookiePolicy,
    /// `[storm]`
    pub storm: StormPolicy,
    /// `[tcp]`
    pub tcp: TcpLimits,
    /// `[overload]`
    pub overload: OverloadPolicy,
    /// `[rebinding]`
    pub rebinding: RebindingPolicy,
}

impl Limits {
    /// Reads all sections.
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        Self {
            source: SourcePolicy::read(&t.table("source"), context),
            rrl: RrlPolicy::read(&t.table("rrl"), context),
            cookies: CookiePolicy::read(&t.table("cookies"), context.files),
            storm: StormPolicy::read(&t.table("storm")),
            tcp: TcpLimits::read(&t.table("tcp")),
            overload: OverloadPolicy::read(&t.table("overload"), context),
            rebinding: RebindingPolicy::read(&t.table("rebinding"), context),
        }
    }
}
