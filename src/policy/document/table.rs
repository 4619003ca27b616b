//! Reading a table key by key: each reader takes a key, its bounds and its default, and always gives a value. What is
//! wrong becomes a fault; a key that nobody asked for becomes one when the table goes out of scope.
//!
//! A table has layers: an incident mode's `[source]` lies over that of limits.toml, and the upper one that has a key
//! wins. So a mode is read, and checked, by the same code as what it changes.

mod numbers;
mod typed;

pub use super::nearest::nearest;
use super::{At, Code, Faults, Place};
use crate::language::{Text, list, text};
use crate::policy::Mode;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// The most elements of one array.
const ELEMENTS_MAX: usize = 100_000;

/// A value as parsed, with its place.
type Raw<'d> = At<&'d DeValue<'d>>;

/// One file's part of a table.
#[derive(Clone, Debug)]
struct Layer<'d> {
    file: &'d Arc<str>,
    table: &'d DeTable<'d>,
    span: Range<usize>,
}

/// A table that is being read.
#[derive(Debug)]
pub struct Table<'d> {
    /// Dotted path, empty for the top level.
    path: String,
    /// Uppermost first; none for a section that nobody wrote.
    layers: Vec<Layer<'d>>,
    faults: &'d Faults,
    known: RefCell<Vec<&'static str>>,
    /// Any key may stand here.
    open: Cell<bool>,
}

impl<'d> Table<'d> {
    /// The top level of a file.
    pub(super) fn root(file: &'d Arc<str>, table: &'d DeTable<'d>, faults: &'d Faults) -> Self {
        Self::new(String::new(), vec![Layer { file, table, span: 0..0 }], faults)
    }

    /// A table that nobody wrote: all keys read as their defaults.
    pub fn absent(path: &str, faults: &'d Faults) -> Self {
        Self::new(path.to_owned(), Vec::new(), faults)
    }

    /// This table with `under` below it: a key that is missing here is looked for there. Both are read as one.
    #[must_use]
    pub fn over(&self, under: &Self) -> Self {
        let layers = self.layers.iter().chain(&under.layers).cloned().collect();
        self.open.set(true);
        under.open.set(true);
        Self::new(self.path.clone(), layers, self.faults)
    }

    fn new(path: String, layers: Vec<Layer<'d>>, faults: &'d Faults) -> Self {
        Self { path, layers, faults, known: RefCell::default(), open: Cell::new(false) }
    }

    /// Where faults go.
    pub fn faults(&self) -> &'d Faults {
        self.faults
    }

    /// Whether somebody wrote it.
    pub fn is_present(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Where its heading stands.
    pub fn place(&self) -> Place {
        self.layers.first().map_or_else(|| Place::whole(""), |layer| Place::new(layer.file, layer.span.clone()))
    }

    /// The name of a key in messages: `pool.default.retries`.
    pub fn label(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether a key is there.
    pub fn has(&self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    /// Where the value of a key stands; the heading of the table when it is not there.
    pub fn place_of(&self, key: &'static str) -> Place {
        self.raw(key).map_or_else(|| self.place(), |raw| raw.place)
    }

    /// Adds a fault at a key's value.
    pub fn fault(&self, key: &'static str, code: Code, message: Text, hint: Text) {
        self.faults.add(code, &self.place_of(key), message, hint);
    }

    /// Keys that somebody may believe to act here, and that do not: `hint` says what does.
    pub fn refuse(&self, keys: &[&'static str], hint: &Text) {
        for key in keys {
            #[cfg(test)]
            self.fact(key, serde_json::json!({ "refused": true }));
            if self.has(key) {
                self.fault(
                    key,
                    Code::UnknownKey,
                    text!("{key} cannot be set here", key = self.label(key)),
                    hint.clone(),
                );
            }
        }
    }

    /// What is read of a key, for the test that holds the published schemas against the readers.
    #[cfg(test)]
    fn fact(&self, key: &'static str, fact: serde_json::Value) {
        super::probe::record(self.layers.first().map(|layer| &**layer.file), &self.path, key, fact);
    }

    /// One word of several.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)], default: T) -> T {
        self.choice_given(key, choices).unwrap_or(default)
    }

    /// One word of several, if it is there and right.
    pub fn choice_given<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "enum": choices.iter().map(|(word, _)| *word).collect::<Vec<_>>() }));
        let text = self.text(key)?;
        let found = choices.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let message = text!("{key} cannot be {text:?}", key = self.label(key), text = text.value);
            let hint = match nearest(text.value, words.iter().copied()) {
                Some(word) => {
                    text!("did you mean {word:?}? It is one of: {words}", word, words = list(words.iter().copied()))
                }
                None => text!("it is one of: {words}", words = list(words.iter().copied())),
            };
            self.faults.add(Code::Choice, &text.place, message, hint);
        }
        found.map(|(_, value)| *value)
    }

    /// `mode = "enforce" | "monitor" | "off"`.
    pub fn mode(&self, default: Mode) -> Mode {
        self.choice("mode", &[("enforce", Mode::Enforce), ("monitor", Mode::Monitor), ("off", Mode::Off)], default)
    }

    /// true or false.
    pub fn flag(&self, key: &'static str, default: bool) -> bool {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "boolean", "default": default }));
        let Some(raw) = self.raw(key) else { return default };
        let DeValue::Boolean(flag) = raw.value else {
            self.wrong_type(key, &raw, text!("true or false"), text!("write it without quotes"));
            return default;
        };
        *flag
    }

    /// A text, if it is there and right.
    pub fn text(&self, key: &'static str) -> Option<At<&'d str>> {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "string" }));
        let raw = self.raw(key)?;
        self.as_text(key, false, &raw)
    }

    /// A text that has to be there and hold something.
    pub fn required_text(&self, key: &'static str) -> Option<At<&'d str>> {
        if !self.has(key) {
            self.missing(key);
            return None;
        }
        let text = self.text(key)?;
        if text.value.trim().is_empty() {
            let message = text!("{key} is empty", key = self.label(key));
            self.faults.add(Code::Empty, &text.place, message, text!("write something between the quotes"));
            return None;
        }
        Some(text)
    }

    /// Reports that a key has to be there.
    pub fn missing(&self, key: &'static str) {
        let message = match self.path.as_str() {
            "" => text!("the file needs {key}", key),
            path => text!("[{path}] needs {key}", path, key),
        };
        self.faults.add(Code::MissingKey, &self.place(), message, text!("add {key} = ...", key));
    }

    /// Reports that one of these keys has to be there.
    pub fn missing_all(&self, keys: &[&'static str]) {
        let (path, keys) = (&self.path, list(keys.iter().copied()));
        let message = text!("[{path}] needs one of: {keys}", path, keys);
        self.faults.add(Code::MissingKey, &self.place(), message, text!("add one of: {keys}", keys));
    }

    /// A list of texts; empty when it is not there.
    pub fn list(&self, key: &'static str) -> Vec<At<&'d str>> {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "array" }));
        let Some(raw) = self.raw(key) else { return Vec::new() };
        let DeValue::Array(array) = raw.value else {
            self.wrong_type(key, &raw, text!("a list of texts"), text!("write [\"...\", \"...\"]"));
            return Vec::new();
        };
        if array.len() > ELEMENTS_MAX {
            let message = text!("{key} has more than {most} elements", key = self.label(key), most = ELEMENTS_MAX);
            self.faults.add(Code::TooMany, &raw.place, message, text!("long lists belong into files of lists/"));
            return Vec::new();
        }
        let file = raw.place.file;
        let elements = array.iter().map(|item| At { value: item.get_ref(), place: Place::new(&file, item.span()) });
        elements.filter_map(|item| self.as_text(key, true, &item)).collect()
    }

    /// One text, or a list of texts; empty when it is not there.
    pub fn text_or_list(&self, key: &'static str) -> Vec<At<&'d str>> {
        match self.raw(key) {
            Some(At { value: DeValue::String(_), .. }) => self.text(key).into_iter().collect(),
            _ => self.list(key),
        }
    }

    /// A table of its own name; absent when nobody wrote it.
    pub fn table(&self, key: &'static str) -> Self {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "object" }));
        self.know(key);
        let layers = self.layers.iter().filter_map(|layer| {
            let (_, value) = layer.table.get_key_value(key)?;
            match value.get_ref() {
                DeValue::Table(table) => Some(Layer { file: layer.file, table, span: value.span() }),
                other => {
                    let raw = At { value: other, place: Place::new(layer.file, value.span()) };
                    self.wrong_type(
                        key,
                        &raw,
                        text!("a table"),
                        text!("write it under a heading [{key}]", key = self.label(key)),
                    );
                    None
                }
            }
        });
        Self::new(self.label(key), layers.collect(), self.faults)
    }

    /// All tables of an array of tables, in order.
    pub fn tables(&self, key: &'static str) -> Vec<Self> {
        #[cfg(test)]
        self.fact(key, serde_json::json!({ "type": "array" }));
        let Some(raw) = self.raw(key) else { return Vec::new() };
        let DeValue::Array(array) = raw.value else {
            self.wrong_type(
                key,
                &raw,
                text!("a list of tables"),
                text!("write each under a heading [[{key}]]", key = self.label(key)),
            );
            return Vec::new();
        };
        let Some(file) = self.layers.iter().map(|layer| layer.file).find(|file| **file == raw.place.file) else {
            return Vec::new();
        };
        let tables = array.iter().take(ELEMENTS_MAX).filter_map(|item| match item.get_ref() {
            DeValue::Table(table) => {
                Some(Self::new(self.label(key), vec![Layer { file, table, span: item.span() }], self.faults))
            }
            other => {
                let raw = At { value: other, place: Place::new(file, item.span()) };
                self.wrong_type(
                    key,
                    &raw,
                    text!("a table"),
                    text!("write each under a heading [[{key}]]", key = self.label(key)),
                );
                None
            }
        });
        tables.collect()
    }

    /// Tables whose names the operator chooses (`[pool.NAME]`), by name. Every key of this table must be one.
    pub fn named_tables(&self) -> Vec<(At<&'d str>, Self)> {
        self.open.set(true);
        let Some(layer) = self.layers.first() else { return Vec::new() };
        let tables = layer.table.iter().filter_map(|(key, value)| {
            let name = At { value: &**key.get_ref(), place: Place::new(layer.file, key.span()) };
            let path = self.label(name.value);
            let DeValue::Table(table) = value.get_ref() else {
                let message = text!("{path} must be a table, not {found}", path, found = kind(value.get_ref()));
                let hint = text!("write it under a heading [{path}]", path);
                self.faults.add(Code::Type, &Place::new(layer.file, value.span()), message, hint);
                return None;
            };
            let layers = vec![Layer { file: layer.file, table, span: value.span() }];
            Some((name, Self::new(path, layers, self.faults)))
        });
        tables.collect()
    }

    /// Its keys need not be known: whoever reads it has said that it cannot be here at all.
    pub fn leave_unread(&self) {
        self.open.set(true);
    }

    fn know(&self, key: &'static str) {
        #[cfg(test)]
        self.fact(key, serde_json::json!({}));
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
    }

    /// The value of a key in the uppermost layer that has it.
    fn raw(&self, key: &'static str) -> Option<Raw<'d>> {
        self.know(key);
        self.layers.iter().find_map(|layer| {
            let value = layer.table.get(key)?;
            Some(At { value: value.get_ref(), place: Place::new(layer.file, value.span()) })
        })
    }

    fn as_text(&self, key: &str, is_element: bool, raw: &Raw<'d>) -> Option<At<&'d str>> {
        let DeValue::String(text) = raw.value else {
            let (key, found) = (self.label(key), kind(raw.value));
            let message = match is_element {
                true => text!("an element of {key} must be text, not {found}", key, found),
                false => text!("{key} must be text, not {found}", key, found),
            };
            self.faults.add(Code::Type, &raw.place, message, text!("put it into quotes"));
            return None;
        };
        Some(At { value: &**text, place: raw.place.clone() })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a text is made for this one message")]
    fn wrong_type(&self, key: &str, raw: &Raw<'_>, wanted: Text, hint: Text) {
        let message =
            text!("{key} must be {wanted}, not {found}", key = self.label(key), wanted, found = kind(raw.value));
        self.faults.add(Code::Type, &raw.place, message, hint);
    }
}

impl Drop for Table<'_> {
    /// Reports every key that nobody asked for.
    fn drop(&mut self) {
        if self.open.get() {
            return;
        }
        let known = self.known.borrow();
        for layer in &self.layers {
            for key in layer.table.keys() {
                let text = &**key.get_ref();
                if known.contains(&text) {
                    continue;
                }
                let place = Place::new(layer.file, key.span());
                let message = match self.path.as_str() {
                    "" => text!("unknown key {key:?}", key = text),
                    path => text!("unknown key {key:?} in [{path}]", key = text, path),
                };
                let hint = match nearest(text, known.iter().copied()) {
                    Some(word) => text!("did you mean {word:?}?", word),
                    None => text!("what may stand here: {words}", words = list(known.iter().copied())),
                };
                self.faults.add(Code::UnknownKey, &place, message, hint);
            }
        }
    }
}

/// What a value is, in words.
fn kind(value: &DeValue<'_>) -> Text {
    match value {
        DeValue::String(_) => text!("text"),
        DeValue::Integer(_) => text!("a whole number"),
        DeValue::Float(_) => text!("a number with a fraction"),
        DeValue::Boolean(_) => text!("true or false"),
        DeValue::Datetime(_) => text!("a date or time"),
        DeValue::Array(_) => text!("a list"),
        DeValue::Table(_) => text!("a table"),
    }
}
