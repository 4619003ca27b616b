//! A TOML file: its text, parsed as far as it goes, with all its syntax errors at once.

use super::{Code, Faults, Files, Place, Table};
use crate::language::{Text, text};
use std::sync::Arc;
use toml::de::DeTable;

/// The text of one file, to be parsed. Apart from [`TomlFile`], which borrows from it.
#[derive(Debug)]
pub struct TomlText {
    file: Arc<str>,
    text: String,
}

impl TomlText {
    /// The text of `path`; empty, with a fault, when the bytes are not UTF-8; `None` when there is no such file.
    pub fn of(files: &Files, path: &str, faults: &Faults) -> Option<Self> {
        let file = Arc::clone(files.path(path)?);
        let text = match str::from_utf8(files.bytes(path)?) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let at = error.valid_up_to();
                let place = Place::new(&file, at..at + error.error_len().unwrap_or(1));
                faults.add(Code::Utf8, &place, text!("{path} is not UTF-8 text", path), text!("save it as UTF-8"));
                String::new()
            }
        };
        Some(Self { file, text })
    }
}

/// A parsed file.
#[derive(Debug)]
pub struct TomlFile<'t> {
    file: Arc<str>,
    table: DeTable<'t>,
}

/// The library's words: what is wrong, and after `, expected ` what may stand there.
fn said(message: &str) -> Text {
    match message.split_once(", expected ") {
        Some((what, words)) => {
            text!("{what}, expected {words}", what = Text::foreign(what), words = Text::foreign(words))
        }
        None => Text::foreign(message),
    }
}

impl<'t> TomlFile<'t> {
    /// Parses a text. What can be understood despite syntax errors is kept, so that other faults show up too.
    pub fn parse(text: &'t TomlText, faults: &Faults) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&text.text);
        for error in errors {
            let span = error.span().unwrap_or(text.text.len()..text.text.len());
            let is_twice = error.message().starts_with("duplicate");
            let hint = match is_twice {
                true => text!("remove one of the two"),
                false => {
                    text!("TOML: key = value, texts in quotes, lists in [ ], headings [section] and [[one-of-many]]")
                }
            };
            faults.add(Code::Syntax, &Place::new(&text.file, span), said(error.message()), hint);
        }
        Self { file: Arc::clone(&text.file), table: table.into_inner() }
    }

    /// The top-level table.
    pub fn root<'d>(&'d self, faults: &'d Faults) -> Table<'d> {
        Table::root(&self.file, &self.table, faults)
    }
}
