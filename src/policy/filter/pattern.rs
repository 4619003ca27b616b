//! A name in the syntax of rules, outside a policy file: what a person types to a command. `x` is x and all below, `=x` is
//! x alone, `*.x` is only what is below.

use super::sets::{BELOW, SELF};
use crate::dns::name::Name;
use crate::dns::registrable::public_suffix;
use crate::language::{Text, text};
use std::fmt;

/// Names that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub(in crate::policy) reach: u8,
    /// The name in it.
    pub name: Name,
}

impl Pattern {
    /// Reads `x`, `=x` or `*.x`; `*` is everything below the root.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let (reach, bare) = split(text);
        if !bare.is_ascii() {
            return Err(text!("{text:?} has letters beyond ascii: write its ASCII form, which begins with xn--", text));
        }
        if bare.contains('*') {
            return Err(text!(
                "{text:?} has a wildcard that is not the whole first label: \"*.x\" is all below x",
                text
            ));
        }
        let name = Name::from_text(bare)
            .map_err(|error| text!("{text:?} is not a domain name: {error}", text, error = error.text()))?;
        Ok(Self { reach, name })
    }

    /// Whether it is about any name of the zone `zone` that is not below another name of it: the zone itself, or all
    /// that is in it.
    pub fn covers(&self, zone: &Name) -> bool {
        *zone == self.name || self.reach & BELOW != 0 && zone.is_within(&self.name)
    }

    /// Whether `name` is one of those it is about.
    pub fn names(&self, name: &Name) -> bool {
        let reach = if *name == self.name { SELF } else { BELOW };
        self.reach & reach != 0 && name.is_within(&self.name)
    }

    /// What it is about, in words, when that is more than one owner's names: one label too few makes a whole country of a
    /// name. A top-level domain by itself is too much as well: its name servers are asked for by that name.
    pub fn too_wide(&self) -> Option<Text> {
        let name = &self.name;
        match (name.labels(), self.is_exact()) {
            (0, exact) => (!exact).then(|| text!("every name there is")),
            (1, _) => Some(text!("the top-level domain {name}", name)),
            (_, true) => None,
            _ => public_suffix(name.as_wire())
                .map(|_| text!("the public suffix {name}, below which others have their domains", name)),
        }
    }

    /// Whether it is about one name only.
    pub fn is_exact(&self) -> bool {
        self.reach == SELF
    }
}

/// The reach of `x`, `=x` or `*.x`, and what is left to be read as a name.
pub(super) fn split(text: &str) -> (u8, &str) {
    match text {
        "*" => (BELOW, "."),
        other => match (other.strip_prefix('='), other.strip_prefix("*.")) {
            (Some(bare), _) => (SELF, bare),
            (_, Some(bare)) => (BELOW, bare),
            _ => (SELF | BELOW, other),
        },
    }
}

impl fmt::Display for Pattern {
    /// As a policy spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.reach {
            SELF => write!(f, "={name}"),
            BELOW if *name == Name::root() => f.write_str("*"),
            BELOW => write!(f, "*.{name}"),
            _ => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_alike() {
        for (text, shown) in [("A.Example", "a.example"), ("=a.example.", "=a.example"), ("*.b.example", "*.b.example")]
        {
            assert_eq!(Pattern::parse(text).unwrap().to_string().trim_end_matches('.'), shown, "{text}");
        }
        for bad in ["", "a..b", "a.*.b", "*a.b", "=*.a", "ä.example", "**"] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_zone_is_covered_by_itself_and_from_above() {
        let zone = Name::from_text("corp.example").unwrap();
        for (text, covers) in [
            ("corp.example", true),
            ("=corp.example", true),
            ("*.corp.example", true),
            ("example", true),
            ("*", true),
            ("=example", false),
            ("www.corp.example", false),
            ("other.example", false),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().covers(&zone), covers, "{text}");
        }
    }
}
