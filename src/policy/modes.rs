//! Incident modes, modes/NAME.toml: small overlays over limits.toml, compiled with the policy, so that none is found broken
//! in the incident that needs it, and switching is publishing a value that is there already.
//!
//! ```toml
//! title = "Under attack"
//! max_duration = "4h"        # it ends by itself
//! auto = { when = "overload > 100", after = "30s", calm = "5m" }     # off unless written
//! [source]                   # sections of limits.toml; what is not here stays as it is there
//! rate = 50
//! ```

use super::Policy;
use super::document::table::nearest;
use super::document::toml_file::{TomlFile, TomlText};
use super::document::{Code, Context, Place, Table};
use super::limits::Limits;
use crate::language::{Text, text};
use std::fmt;
use std::time::Duration;

/// The most modes of one policy.
pub const MODES_MAX: usize = 64;

/// The name for no mode at all.
pub const NORMAL: &str = "normal";

/// The longest that a mode may last.
const DURATION_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Bounds of `after` and `calm`.
const AFTER: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// A mode, compiled.
#[derive(Clone, Debug)]
pub struct IncidentMode {
    /// The file's name without its ending.
    pub name: String,
    /// For people; the name when there is none.
    pub title: String,
    /// It ends by itself after this, one minute to 30 days; default 4 hours.
    pub max_duration: Duration,
    /// When it begins and ends without a person; never unless written.
    pub auto: Option<Auto>,
    /// limits.toml with the mode over it.
    pub limits: Limits,
}

/// `auto`: a mode that enters and leaves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auto {
    /// What has to be so.
    pub when: Condition,
    /// For how long, until the mode begins: 1 second to 1 day, default 30 seconds.
    pub after: Duration,
    /// How long it must not be so any more, until the mode ends: 1 second to 1 day, default 5 minutes.
    pub calm: Duration,
}

/// What the gateway measures, each over the last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `queries > N`: queries per second.
    Queries(u64),
    /// `dropped > N%`: the share of queries that got silence or TC=1 by a policy.
    Dropped(u64),
    /// `overload > N`: queries per second that failed because a bounded table was full.
    Overload(u64),
    /// `upstream-down`: a pool has no healthy server.
    UpstreamDown,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queries(n) => write!(f, "queries > {n}"),
            Self::Dropped(n) => write!(f, "dropped > {n}%"),
            Self::Overload(n) => write!(f, "overload > {n}"),
            Self::UpstreamDown => f.write_str("upstream-down"),
        }
    }
}

impl Condition {
    fn hint() -> Text {
        text!(
            "one of: \"queries > 50000\" and \"overload > 100\" (per second), \"dropped > 50%\" (of the queries of a second), \
             \"upstream-down\" (a pool without a healthy server)"
        )
    }

    /// Reads what a person wrote; `None` when it is none of the known.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let (what, number) = match words[..] {
            ["upstream-down"] => return Some(Self::UpstreamDown),
            [what, ">", number] => (what, number),
            _ => return None,
        };
        match (what, number.strip_suffix('%')) {
            ("dropped", Some(number)) => number.parse().ok().filter(|number| *number < 100).map(Self::Dropped),
            ("queries", None) => number.parse().ok().map(Self::Queries),
            ("overload", None) => number.parse().ok().map(Self::Overload),
            _ => None,
        }
    }
}

impl Auto {
    fn read(t: &Table<'_>) -> Option<Self> {
        let after = t.duration("after", AFTER, Duration::from_secs(30));
        let calm = t.duration("calm", AFTER, Duration::from_secs(300));
        if !t.is_present() {
            return None;
        }
        let when = t.required_text("when")?;
        let condition = Condition::parse(when.value);
        if condition.is_none() {
            let message = text!("auto.when cannot be {when:?}", when = when.value);
            t.faults().add(Code::Value, &when.place, message, Condition::hint());
        }
        condition.map(|when| Self { when, after, calm })
    }
}

impl Policy {
    /// The mode of this name.
    pub fn mode(&self, name: &str) -> Option<&IncidentMode> {
        self.modes.iter().find(|mode| mode.name == name)
    }

    /// The name of a mode that somebody may have meant.
    pub fn mode_like(&self, name: &str) -> Option<&str> {
        nearest(name, self.modes.iter().map(|mode| mode.name.as_str()).chain([NORMAL]))
    }

    /// This policy with a mode over it: its limits are those of the mode, the rest is shared.
    #[must_use]
    pub fn in_mode(&self, mode: &IncidentMode) -> Self {
        let Limits { source, rrl, cookies, storm, tcp, overload, rebinding } = mode.limits.clone();
        Self { source, rrl, cookies, storm, tcp, overload, rebinding, ..self.clone() }
    }
}

/// The sizes of the tables of `[source]`, `[rrl]` and `[storm]`, which are made at the start.
type Tables = (usize, usize, usize);

/// Compiles all modes, each over `limits`, the file limits.toml where there is one.
pub fn read(context: &Context<'_>, limits: Option<&TomlFile<'_>>, tables: Tables) -> Vec<IncidentMode> {
    let paths: Vec<_> = context.files.within("modes", "toml").collect();
    if paths.len() > MODES_MAX {
        let message = text!("more than {most} modes", most = MODES_MAX);
        context.faults.add(Code::TooMany, &Place::whole(paths[MODES_MAX]), message, text!("remove some"));
    }
    paths.into_iter().take(MODES_MAX).filter_map(|path| read_one(context, limits, tables, path)).collect()
}

fn read_one(context: &Context<'_>, limits: Option<&TomlFile<'_>>, tables: Tables, path: &str) -> Option<IncidentMode> {
    let faults = context.faults;
    let name = path.strip_prefix("modes/")?.strip_suffix(".toml")?;
    if name == NORMAL || name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        let hint = text!("letters, digits, '-' and '_'; \"normal\" is the name for no mode at all");
        faults.add(Code::Value, &Place::whole(path), text!("{name:?} cannot be the name of a mode", name), hint);
    }
    let text = TomlText::of(context.files, path, faults)?;
    let file = TomlFile::parse(&text, faults);
    let own = file.root(faults);
    let t = match limits {
        Some(limits) => own.over(&limits.root(faults)),
        None => own,
    };
    let hint = text!("a mode is laid over limits.toml: set what is there, or apply another policy");
    t.refuse(&["access", "clients", "filter", "zone", "rule", "cache", "pool", "upstream", "route"], &hint);
    let minute = Duration::from_secs(60);
    let mode = IncidentMode {
        name: name.to_owned(),
        title: t.text("title").map_or(name, |title| title.value).to_owned(),
        max_duration: t.duration("max_duration", minute..=DURATION_MAX, Duration::from_secs(4 * 3_600)),
        auto: Auto::read(&t.table("auto")),
        limits: Limits::read(&t, context),
    };
    if (mode.limits.source.memory, mode.limits.rrl.memory, mode.limits.storm.zones) != tables {
        let hint = text!(
            "remove memory from [source] and [rrl], and zones from [storm]: the tables are made once, at the start"
        );
        faults.add(Code::Conflict, &Place::whole(path), text!("a mode cannot change the size of tables"), hint);
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    #[test]
    fn the_conditions_are_a_closed_set() {
        for (text, condition) in [
            ("queries > 50000", Condition::Queries(50_000)),
            ("dropped > 50%", Condition::Dropped(50)),
            ("overload  >  0", Condition::Overload(0)),
            ("upstream-down", Condition::UpstreamDown),
        ] {
            assert_eq!(Condition::parse(text), Some(condition));
            assert_eq!(Condition::parse(&condition.to_string()), Some(condition), "what is shown reads back");
        }
        for bad in
            ["", "queries", "queries > 5%", "dropped > 50", "dropped > 100%", "queries < 5", "load > 5", "queries > -1"]
        {
            assert_eq!(Condition::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn auto_is_off_unless_written_and_its_faults_are_named() {
        let read = |text: &str| probe::read(text, |t| Auto::read(&t.table("auto")));
        assert_eq!(read(""), (None, vec![]));
        let (auto, faults) = read("auto = { when = \"overload > 100\", after = \"10s\" }");
        let seconds = Duration::from_secs;
        assert_eq!(auto, Some(Auto { when: Condition::Overload(100), after: seconds(10), calm: seconds(300) }));
        assert_eq!(faults, [""; 0]);
        let (auto, faults) = read("auto = { when = \"weather > 3\", after = \"0s\", befor = \"1s\" }");
        assert_eq!(auto, None);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(read("auto = {}").1.len(), 1, "when is needed");
    }
}
