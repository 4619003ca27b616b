//! Names that are all of a registry's: lists and policy zones have them by mistake, since one label too few makes a whole
//! country of a name.

use super::sets::BELOW;
use crate::dns::registrable::{PublicSuffix, public_suffix};

/// The most labels of a suffix below which a registry registers: `pvt.k12.ma.us`.
pub(super) const LABELS_MAX: usize = 4;

/// Whether a name of so many labels is the root or a top-level domain, or means with all below it what a registry
/// registers. It is asked for every name of a list: nearly all have no suffix's reach, or one label more.
#[inline]
pub(super) fn is_meant(wire: &[u8], labels: usize, reach: u8) -> bool {
    match labels {
        0 | 1 => true,
        2..=LABELS_MAX if reach & BELOW != 0 => public_suffix(wire) == Some(PublicSuffix::Registry),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;
    use crate::policy::filter::sets::SELF;

    #[test]
    fn a_registry_is_meant_by_its_suffix_and_all_below() {
        for (text, reach, is_one) in [
            (".", SELF, true),
            ("com", SELF, true),
            ("nowhere", BELOW, true),
            ("co.uk", SELF | BELOW, true),
            ("co.uk", SELF, false),
            ("pvt.k12.ma.us", BELOW, true),
            ("x.co.uk", SELF | BELOW, false),
            ("github.io", SELF | BELOW, false),
        ] {
            let name = Name::from_text(text).unwrap();
            assert_eq!(is_meant(name.as_wire(), name.labels(), reach), is_one, "{text} {reach}");
        }
    }
}
