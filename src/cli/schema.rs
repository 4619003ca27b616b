//! `weir schema`: the JSON Schemas of the files of a policy directory, for editors.

use super::{Exit, output};
use crate::language::{Text, text};
use crate::policy::schema::Kind;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct SchemaArguments {
    /// The kind of file; without it the kinds are listed
    #[arg(value_enum)]
    kind: Option<FileKind>,
    /// Write all schemas into this directory, with a configuration for taplo and the editors that use it
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileKind {
    Gateway,
    Clients,
    Access,
    Limits,
    Filters,
    Modes,
    Tests,
}

impl FileKind {
    fn kind(self) -> Kind {
        match self {
            Self::Gateway => Kind::Gateway,
            Self::Clients => Kind::Clients,
            Self::Access => Kind::Access,
            Self::Limits => Kind::Limits,
            Self::Filters => Kind::Filters,
            Self::Modes => Kind::Modes,
            Self::Tests => Kind::Tests,
        }
    }
}

/// `weir schema`
pub(super) fn schema(arguments: &SchemaArguments) -> Exit {
    if let Some(directory) = &arguments.out {
        return write_all(directory);
    }
    match arguments.kind {
        Some(kind) => output::raw(format_args!("{:#}", kind.kind().schema())),
        None => {
            for kind in Kind::ALL {
                output::raw(format_args!("{:<8} {}", kind.name(), kind.files()));
            }
            output::note(&text!("`weir schema KIND` prints one, `weir schema --out DIR` writes all of them"));
        }
    }
    Exit::Ok
}

/// Writes all schemas, and a configuration that tells taplo (and editors that use it) which one is for which file.
fn write_all(directory: &Path) -> Exit {
    let mut taplo = String::new();
    let mut files = vec![];
    for kind in Kind::ALL {
        let name = format!("weir-{}.schema.json", kind.name());
        let (glob, path) = (kind.files(), directory.join(&name));
        // Writing to a text cannot fail.
        let _ = write!(taplo, "[[rule]]\ninclude = [\"**/{glob}\"]\n[rule.schema]\npath = \"{name}\"\n\n");
        files.push((path, format!("{:#}\n", kind.schema())));
    }
    files.push((directory.join("taplo.toml"), taplo));
    for (path, text) in files {
        let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
        if let Err(error) = written {
            let (path, error) = (path.display(), Text::of_io(&error));
            output::error(&text!("cannot write {path}: {error}", path, error));
            return Exit::Failed;
        }
        output::raw(path.display());
    }
    Exit::Ok
}
