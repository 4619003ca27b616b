//! limits.toml: the sections that bound how much and how often, read together because an incident mode lies over all of
//! them. The sections themselves are read where their policies live.

use super::cookies::CookieMode;
use super::document::{Code, Context, Table};
use super::overload::OverloadPolicy;
use super::rrl::RrlPolicy;
use super::server::TcpLimits;
use super::source::SourcePolicy;

/// limits.toml, compiled.
#[derive(Debug)]
pub struct Limits {
    /// `[source]`
    pub source: SourcePolicy,
    /// `[rrl]`
    pub rrl: RrlPolicy,
    /// `[cookies]`
    pub cookies: CookieMode,
    /// `[tcp]`
    pub tcp: TcpLimits,
    /// `[overload]`
    pub overload: OverloadPolicy,
}

impl Limits {
    /// Reads all sections.
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        refuse_storm(&t.table("storm"));
        Self {
            source: SourcePolicy::read(&t.table("source"), context),
            rrl: RrlPolicy::read(&t.table("rrl"), context),
            cookies: CookieMode::read(&t.table("cookies")),
            tcp: TcpLimits::read(&t.table("tcp")),
            overload: OverloadPolicy::read(&t.table("overload")),
        }
    }
}

/// `[storm]` comes with a later version: one that is written and not off is refused, so that nobody believes it acts.
fn refuse_storm(t: &Table<'_>) {
    // Its other keys may stay beside mode = "off".
    for key in ["zone_inflight", "fail_ratio", "answer"] {
        t.has(key);
    }
    let is_off = t.choice("mode", &[("off", true), ("enforce", false), ("monitor", false)], false);
    if t.is_present() && !is_off {
        t.fault("mode", Code::NotYet, "[storm] is not in this version of weir", "remove it, or say mode = \"off\"");
    }
}
