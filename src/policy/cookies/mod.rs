//! cookies: DNS cookies, ended here for the servers behind (RFC 7873, 9018). limits.toml `[cookies]`.
//!
//! A cookie shows that a client gets what is sent to its address. So it protects the client from forged answers, and tells
//! clients that are there from forged addresses: whoever shows a valid one has limits of its own, ten times as wide, and no
//! response-rate limiting. It does not tell good clients from bad ones, and is no secret from anybody on the path.
//!
//! Passed on instead, cookies would be bound to the gateway's address in the eyes of the server behind, the same for all
//! clients.

mod jar;
mod secrets;
mod server_cookie;

pub use jar::CookieJar;
pub use secrets::{ENDING, Secret, Secrets};
pub use server_cookie::{COOKIE_LEN, Standing};

use super::document::{Code, Files, Table};
use crate::clock::Now;
use crate::language::text;
use std::net::IpAddr;

/// `[cookies] mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieMode {
    /// Made and judged here; none reaches an upstream.
    #[default]
    Terminate,
    /// The option goes through in both directions.
    Pass,
    /// The option is taken out in both directions.
    Off,
}

impl CookieMode {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Pass => "pass",
            Self::Off => "off",
        }
    }
}

/// limits.toml `[cookies]`, compiled. As written:
///
/// ```toml
/// [cookies]
/// mode       = "terminate"
/// require    = false
/// secrets    = "cookie.secrets"   # when the file exists; else a secret of the process
/// badcookies = 1000
/// ```
#[derive(Clone, Debug)]
pub struct CookiePolicy {
    /// terminate (default), pass or off.
    pub mode: CookieMode,
    /// Who asks over UDP and shows no valid cookie gets BADCOOKIE, or TC=1 when it does not speak cookies; default false.
    pub require: bool,
    /// BADCOOKIE a second, all clients together, 0 to 1000000; default 1000. Whose would be one more is treated as if it
    /// had shown no cookie, so that a secret that was lost costs most clients nothing.
    pub badcookies: u32,
    /// Of the file `secrets`, a name at the top of the policy directory that ends in `.secrets`; `None`: those of the
    /// process.
    pub secrets: Option<Secrets>,
}

impl CookiePolicy {
    /// Reads `[cookies]`; what is wrong becomes a fault and reads as its default.
    pub fn read(t: &Table<'_>, files: &Files) -> Self {
        let modes = [("terminate", CookieMode::Terminate), ("pass", CookieMode::Pass), ("off", CookieMode::Off)];
        let policy = Self {
            mode: t.choice("mode", &modes, CookieMode::Terminate),
            require: t.flag("require", false),
            badcookies: t.number("badcookies", 0..=1_000_000, 1000),
            secrets: read_secrets(t, files),
        };
        if policy.require && policy.mode != CookieMode::Terminate {
            let message =
                text!("cookies.require needs cookies.mode = \"terminate\", not {mode:?}", mode = policy.mode.name());
            t.fault("require", Code::Conflict, message, text!("who does not look at cookies cannot require them"));
        }
        policy
    }

    /// Judges the data of a client's COOKIE option; `None` where cookies are not ended here.
    pub fn judge(&self, jar: &CookieJar, now: Now, client: IpAddr, data: &[u8]) -> Option<Standing> {
        let is_ours = self.mode == CookieMode::Terminate;
        is_ours.then(|| server_cookie::judge(self.secrets(jar), unix_s(now), client, data))
    }

    /// The data of the COOKIE option that answers this one.
    pub fn answer(
        &self,
        jar: &CookieJar,
        now: Now,
        client: IpAddr,
        data: &[u8],
        standing: Standing,
    ) -> [u8; COOKIE_LEN] {
        server_cookie::answer(self.secrets(jar), unix_s(now), client, data, standing)
    }

    /// Takes one of this second's BADCOOKIE; false when there is none left.
    pub fn take_badcookie(&self, jar: &CookieJar, now: Now) -> bool {
        jar.take(now.at, self.badcookies)
    }

    fn secrets<'s>(&'s self, jar: &'s CookieJar) -> &'s Secrets {
        self.secrets.as_ref().unwrap_or_else(|| jar.own())
    }
}

/// Seconds since 1970, modulo 2^32 as cookies have them (RFC 9018 section 4.3).
fn unix_s(now: Now) -> u32 {
    (now.unix_ms / 1000) as u32
}

/// Faults are placed where the file is named and not in it: a report shows the line that it speaks of.
fn read_secrets(t: &Table<'_>, files: &Files) -> Option<Secrets> {
    let named = t.text("secrets");
    let path = named.as_ref().map_or(secrets::FILE, |name| name.value);
    if named.is_some() && (path.contains('/') || !path.ends_with(ENDING)) {
        let hint = text!("a file at the top of the policy directory whose name ends in .secrets");
        t.fault("secrets", Code::Path, text!("cookies.secrets cannot be {path:?}", path), hint);
        return None;
    }
    if files.bytes(path).is_none() {
        if named.is_some() {
            let hint = text!("`weir cookie-secret` prints one; without the line a secret is drawn at every start");
            t.fault("secrets", Code::MissingFile, text!("there is no {path} in the policy directory", path), hint);
        }
        return None;
    }
    match Secrets::of_file(path, files) {
        Ok(secrets) => Some(secrets),
        Err((message, hint)) => {
            t.fault("secrets", Code::Value, message, hint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::document::probe;

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf\n";

    fn read(text: &str, files: &[(&str, &str)]) -> (CookiePolicy, Vec<String>) {
        let files: Files = files.iter().map(|(path, text)| (*path, *text)).collect();
        probe::read(text, |t| CookiePolicy::read(t, &files))
    }

    #[test]
    fn cookies_are_ended_here_unless_somebody_says_otherwise() {
        let (policy, faults) = read("", &[]);
        assert!(faults.is_empty() && !policy.require && policy.secrets.is_none());
        assert_eq!((policy.mode, policy.badcookies), (CookieMode::Terminate, 1000));
        for mode in ["terminate", "pass", "off"] {
            assert_eq!(read(&format!("mode = {mode:?}"), &[]).0.mode.name(), mode);
        }
        let (_, faults) = read("mode = \"pass\"\nrequire = true\nbadcookies = -1\nsecret = \"x\"", &[]);
        assert_eq!(faults, ["2:11 E-CONFLICT", "3:14 E-RANGE", "4:1 E-UNKNOWN-KEY"]);
    }

    #[test]
    fn a_secrets_file_is_read_when_it_is_there_and_must_be_there_when_it_is_named() {
        assert!(read("", &[("cookie.secrets", SECRET)]).0.secrets.is_some());
        let (policy, faults) = read("secrets = \"our.secrets\"", &[("our.secrets", SECRET)]);
        assert!(policy.secrets.is_some() && faults.is_empty());
        for (text, fault) in [
            ("secrets = \"other.secrets\"", "1:11 E-MISSING-FILE"),
            ("secrets = \"../our.secrets\"", "1:11 E-PATH"),
            ("secrets = \"limits.toml\"", "1:11 E-PATH"),
        ] {
            assert_eq!(read(text, &[("our.secrets", SECRET), ("limits.toml", "")]).1, [fault], "{text}");
        }
        assert_eq!(read("\n", &[("cookie.secrets", "x")]).1, ["1:1 E-VALUE"], "it is there, so it is meant");
        assert_eq!(read("secrets = \"a.secrets\"", &[("a.secrets", "")]).1, ["1:11 E-VALUE"]);
    }
}
