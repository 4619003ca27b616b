//! Incident modes, modes/NAME.toml: small overlays over limits.toml, read and checked with the policy, so that none is found
//! broken in the incident that needs it.
//!
//! ```toml
//! title = "Under attack"
//! max_duration = "4h"        # it ends by itself
//! [source]                   # sections of limits.toml; what is not here stays as it is there
//! rate = 50
//! ```

use super::document::toml_file::{TomlFile, TomlText};
use super::document::{Code, Context, Place};
use super::limits::Limits;
use std::time::Duration;

/// The most modes of one policy.
pub const MODES_MAX: usize = 64;

/// The longest that a mode may last.
const DURATION_MAX: Duration = Duration::from_secs(30 * 86_400);

/// A mode that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentMode {
    /// The file's name without its ending.
    pub name: String,
    /// For people; the name when there is none.
    pub title: String,
    /// It ends by itself after this, one minute to 30 days.
    pub max_duration: Duration,
}

/// Reads all modes, each over `limits`, the file limits.toml where there is one.
pub fn read(context: &Context<'_>, limits: Option<&TomlFile<'_>>) -> Vec<IncidentMode> {
    let paths: Vec<_> = context.files.within("modes", "toml").map(|(path, _)| path).collect();
    if paths.len() > MODES_MAX {
        let message = format!("more than {MODES_MAX} modes");
        context.faults.add(Code::TooMany, &Place::whole(paths[MODES_MAX]), message, "remove some");
    }
    paths.into_iter().take(MODES_MAX).filter_map(|path| read_one(context, limits, path)).collect()
}

fn read_one(context: &Context<'_>, limits: Option<&TomlFile<'_>>, path: &str) -> Option<IncidentMode> {
    let faults = context.faults;
    let name = path.strip_prefix("modes/")?.strip_suffix(".toml")?;
    if name == "normal" || name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        let hint = "letters, digits, '-' and '_'; \"normal\" is the name for no mode at all";
        faults.add(Code::Value, &Place::whole(path), format!("{name:?} cannot be the name of a mode"), hint);
    }
    let text = TomlText::of(context.files, path, faults)?;
    let file = TomlFile::parse(&text, faults);
    let own = file.root(faults);
    let t = match limits {
        Some(limits) => own.over(&limits.root(faults)),
        None => own,
    };
    t.not_yet(&["access", "clients", "filter", "zone", "rule", "cache", "pool", "upstream", "route"]);
    let minute = Duration::from_secs(60);
    let mode = IncidentMode {
        name: name.to_owned(),
        title: t.text("title").map_or(name, |title| title.value).to_owned(),
        max_duration: t.duration("max_duration", minute..=DURATION_MAX, Duration::from_secs(4 * 3_600)),
    };
    // Compiled only to be checked: switching makes it anew from the same text.
    let _checked = Limits::read(&t, context);
    Some(mode)
}
