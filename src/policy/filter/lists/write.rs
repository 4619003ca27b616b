//! A list that was read, written as plain domains or as rules of a filter zone. What cannot be said there is never passed
//! over: the whole is refused.

use super::super::pattern::Pattern;
use super::super::sets::{BELOW, FREED, SELF};
use super::{NameList, Types};
use crate::dns::name::Name;
use crate::language::{Text, text};
use crate::policy::document::words::TypeName;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Names of one rule: more belong into a list.
const NAMES_MAX: usize = 100_000;

/// Why a list cannot be written as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// Plain domains have no exceptions.
    Exceptions,
    /// Plain domains are for all types.
    Types,
    /// Rules name types, and cannot name all others.
    OtherTypes,
    /// More names than one rule may have.
    TooManyNames,
}

impl Unwritable {
    /// What to do about it.
    pub fn hint(self) -> Text {
        match self {
            Self::Exceptions | Self::Types => text!("--to toml keeps them"),
            Self::OtherTypes => text!("name the list itself in a rule: list = \"lists/...\""),
            Self::TooManyNames => text!("take --to domains, and name the file in a rule: list = \"lists/...\""),
        }
    }
}

impl Unwritable {
    /// Why it is not written.
    pub fn text(self) -> Text {
        match self {
            Self::Exceptions => text!("the list has exceptions, which plain domains cannot say"),
            Self::Types => text!("the list has names for some record types only, which plain domains cannot say"),
            Self::OtherTypes => text!("the list has names for all record types but some, which no rule can say"),
            Self::TooManyNames => text!("the list has more than {most} names, too many for a rule", most = NAMES_MAX),
        }
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for Unwritable {}

/// The name of an entry, spelled as in a policy.
fn spelled(reach: u8, wire: &[u8]) -> String {
    let name = Name::from_wire(wire).unwrap_or_else(|_| Name::root());
    let text = Pattern { reach, name }.to_string();
    if text.len() > 1 { text.trim_end_matches('.').to_owned() } else { text }
}

/// A text that is made while it is written: what may be large is never in memory as a whole.
pub(in crate::policy::filter) struct Written<F>(pub(in crate::policy::filter) F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Written<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0(f)
    }
}

/// One name on each line: `x`, `=x` or `*.x`; made while it is written.
///
/// # Errors
/// [`Unwritable`]: known before anything is written.
pub fn to_domains(names: &NameList) -> Result<impl fmt::Display, Unwritable> {
    for entry in names.entries() {
        if entry.reach & FREED != 0 {
            return Err(Unwritable::Exceptions);
        }
        if entry.types.is_some() {
            return Err(Unwritable::Types);
        }
    }
    Ok(Written(|to: &mut fmt::Formatter<'_>| {
        names.entries().try_for_each(|entry| writeln!(to, "{}", spelled(entry.reach, entry.wire)))
    }))
}

/// A filter zone with a rule for the names, and a rule that allows what the list excepts: among rules of one zone the
/// longer name decides, as within the list. It says so that an allowed name passes later zones too, which an exception does
/// not.
///
/// # Errors
/// [`Unwritable`]
pub fn to_toml(names: &NameList, title: &str) -> Result<String, Unwritable> {
    // Blocked names first, then exceptions; each by the types they are for.
    let mut rules: BTreeMap<(bool, Option<Vec<u16>>), Vec<String>> = BTreeMap::new();
    for entry in names.entries() {
        let types = match entry.types.map(Types::only) {
            None => None,
            Some(Some(types)) => Some(types.to_vec()),
            Some(None) => return Err(Unwritable::OtherTypes),
        };
        let frees = entry.reach & FREED != 0;
        let reach = if frees { entry.reach >> 2 } else { entry.reach & (SELF | BELOW) };
        let of_rule = rules.entry((frees, types)).or_default();
        if of_rule.len() == NAMES_MAX {
            return Err(Unwritable::TooManyNames);
        }
        of_rule.push(spelled(reach, entry.wire));
    }
    let mut text = format!("[zone]\ntitle = {}\n", quoted(title));
    for (number, ((frees, types), names)) in rules.iter().enumerate() {
        let (id, action) = if *frees { ("exceptions", "allow") } else { ("names", "nxdomain") };
        if *frees {
            text.push_str(
                "\n# Exceptions of the list freed names from it alone; allow lets them pass all later zones too.",
            );
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[rule]]\nid = {}\naction = \"{action}\"\n", quoted(&format!("{id}-{}", number + 1)));
        if let Some(types) = types {
            let types: Vec<_> = types.iter().map(|qtype| quoted(&TypeName(*qtype).to_string())).collect();
            let _ = writeln!(text, "qtypes = [{}]", types.join(", "));
        }
        text.push_str("names = [\n");
        names.iter().for_each(|name| text.extend(["  ", &quoted(name), ",\n"]));
        text.push_str("]\n");
    }
    Ok(text)
}

/// A basic string of TOML.
pub(in crate::policy::filter) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('?'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
