//! JSON Schemas (draft 2020-12) of the files of a policy directory, for the completion and the checks of editors.
//!
//! They are plain files beside this one, because a person reads their descriptions while writing a policy; a test holds
//! each key, type, bound, choice and default of them against what the readers ask for, in both directions. What a schema
//! cannot say (the bounds of durations, one setting against another) only `weir check` does.

use serde_json::{Map, Value, json};

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// gateway.toml
    Gateway,
    /// clients.toml
    Clients,
    /// access.toml
    Access,
    /// limits.toml
    Limits,
    /// filters/NN-name.toml
    Filters,
    /// modes/NAME.toml
    Modes,
    /// tests/NAME.toml
    Tests,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Gateway, Self::Clients, Self::Access, Self::Limits, Self::Filters, Self::Modes, Self::Tests];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Clients => "clients",
            Self::Access => "access",
            Self::Limits => "limits",
            Self::Filters => "filters",
            Self::Modes => "modes",
            Self::Tests => "tests",
        }
    }

    /// Which files of a policy directory it is for, as a pattern of paths.
    pub const fn files(self) -> &'static str {
        match self {
            Self::Gateway => "gateway.toml",
            Self::Clients => "clients.toml",
            Self::Access => "access.toml",
            Self::Limits => "limits.toml",
            Self::Filters => "filters/*.toml",
            Self::Modes => "modes/*.toml",
            Self::Tests => "tests/*.toml",
        }
    }

    /// The kind of a file by its path within the policy directory.
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| match kind.files().split_once('*') {
            Some((start, end)) => path.starts_with(start) && path.ends_with(end),
            None => path == kind.files(),
        })
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Gateway => include_str!("gateway.json"),
            Self::Clients => include_str!("clients.json"),
            Self::Access => include_str!("access.json"),
            Self::Limits => include_str!("limits.json"),
            Self::Filters => include_str!("filters.json"),
            Self::Modes => include_str!("modes.json"),
            Self::Tests => include_str!("tests.json"),
        }
    }

    fn parsed(self) -> Map<String, Value> {
        match serde_json::from_str(self.text()) {
            Ok(Value::Object(schema)) => schema,
            other => unreachable!("the schema of {} is built in, and an object: {other:?}", self.name()),
        }
    }

    /// The schema. That of modes has the sections of limits.toml, which a mode may have too.
    pub fn schema(self) -> Value {
        let mut schema = self.parsed();
        if self == Self::Modes {
            let mut limits = Self::Limits.parsed();
            if let (Some(Value::Object(own)), Some(Value::Object(sections))) =
                (schema.get_mut("properties"), limits.remove("properties"))
            {
                own.extend(sections);
            }
            schema.insert("$defs".to_owned(), limits.remove("$defs").unwrap_or_else(|| json!({})));
        }
        Value::Object(schema)
    }
}

#[cfg(test)]
mod tests;
