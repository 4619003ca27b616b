//! cookies: what becomes of DNS cookies (RFC 7873) on their way through. limits.toml `[cookies]`.
//!
//! A cookie binds a client's address to the server that gave it. Passed on, it protects the client's resolver as if the
//! gateway were not there, but every client then shares the gateway's address in the server's eyes; stripped, nobody is
//! confused, and nobody is protected by it.

use super::document::{Code, Table};

/// `[cookies] mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieMode {
    /// The option is taken out of what goes to the upstream.
    #[default]
    Off,
    /// The option goes through in both directions.
    Pass,
}

impl CookieMode {
    /// Reads `[cookies]` of limits.toml.
    pub fn read(t: &Table<'_>) -> Self {
        t.not_yet(&["require", "secrets"]);
        let modes = [("off", Some(Self::Off)), ("pass", Some(Self::Pass)), ("terminate", None)];
        t.choice("mode", &modes, Some(Self::Off)).unwrap_or_else(|| {
            let hint = "\"pass\" lets cookies through, \"off\" strips them";
            t.fault("mode", Code::NotYet, "cookies.mode = \"terminate\" is not in this version of weir", hint);
            Self::Off
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    #[test]
    fn cookies_are_stripped_or_passed_and_nothing_else_is_promised() {
        assert_eq!(probe::read("", CookieMode::read), (CookieMode::Off, vec![]));
        assert_eq!(probe::read("mode = \"pass\"", CookieMode::read), (CookieMode::Pass, vec![]));
        let (mode, faults) = probe::read("mode = \"terminate\"\nrequire = true\nsecrets = \"s\"", CookieMode::read);
        assert_eq!(mode, CookieMode::Off);
        assert_eq!(faults, ["1:8 E-NOT-YET", "2:11 E-NOT-YET", "3:11 E-NOT-YET"]);
    }
}
