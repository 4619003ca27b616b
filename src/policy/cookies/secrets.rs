//! The secrets that server cookies are made with: a file of the policy directory, or one drawn at the start.
//!
//! Servers that answer under one address share the file, or a client's cookie would be good at one of them only (RFC
//! 9018 section 1). The first secret makes cookies, both are accepted, so that a secret is replaced without a client
//! noticing, as RFC 9018 section 5 has it: write the new one as the second line on all servers, then swap the lines, and an hour
//! later, when no cookie of the old one is valid any more, take it out.

use crate::language::{Text, text};
use crate::policy::document::Files;
use std::fmt;

/// The file that is read when limits.toml names none and it exists.
pub(super) const FILE: &str = "cookie.secrets";

/// The ending of files that hold secrets; they may be at the top of the policy directory.
pub const ENDING: &str = ".secrets";

/// The longest secrets file, in bytes.
const FILE_MAX: usize = 4096;

/// A server secret: 128 bits (RFC 9018 section 4.4). It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub(super) [u8; 16]);

impl Secret {
    /// These bytes, which must come from the system's random numbers.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// 32 hexadecimal digits.
    fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect::<Option<_>>()?;
        let mut bytes = [0; 16];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        // Nobody draws sixteen times the same byte: it is a place holder that was left in.
        let is_drawn = bytes.iter().any(|byte| *byte != bytes[0]);
        is_drawn.then_some(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secret that makes cookies, and another whose cookies are accepted as well: the one before, or the one to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Makes cookies.
    pub current: Secret,
    /// Only accepted.
    pub other: Option<Secret>,
}

impl Secrets {
    /// Reads a file of the policy directory: one or two lines of 32 hexadecimal digits; empty lines and lines that begin
    /// with `#` do not count.
    ///
    /// # Errors
    /// What is wrong and what to do about it. Neither repeats anything of the file.
    pub(super) fn of_file(path: &str, files: &Files) -> Result<Self, (Text, Text)> {
        let hint = text!("one or two lines of 32 hexadecimal digits each, as `weir cookie-secret` prints them");
        let bytes = files.bytes(path).unwrap_or_default();
        if files.is_open_to_others(path) {
            let message = text!("{path} can be read or written by every user of this machine", path);
            return Err((message, text!("chmod 600 it, owned by the user that weir runs as, and draw new secrets")));
        }
        if bytes.len() > FILE_MAX {
            return Err((text!("{path} is longer than {most} bytes", path, most = FILE_MAX), hint));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| (text!("{path} is not text", path), hint.clone()))?;
        let mut secrets = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || (text!("line {number} of {path} is not a secret", number = number + 1, path), hint.clone());
            secrets.push(Secret::from_hex(line).ok_or_else(wrong)?);
        }
        match secrets[..] {
            [current] => Ok(Self { current, other: None }),
            [current, other] if current != other => Ok(Self { current, other: Some(other) }),
            [_, _] => Err((text!("{path} holds the same secret twice", path), hint)),
            [] => Err((text!("{path} holds no secret", path), hint)),
            _ => Err((text!("{path} holds more than two secrets", path), hint)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const B: &str = "445536bcd2513298075a5d379663c962";

    fn read(text: &str) -> Result<Secrets, String> {
        let files: Files = [("s.secrets", text)].into_iter().collect();
        Secrets::of_file("s.secrets", &files).map_err(|(message, _)| message.english())
    }

    #[test]
    fn one_or_two_secrets_with_comments_between() {
        let a = Secret::from_hex(A).unwrap();
        assert_eq!(a.0[..3], [0xe5, 0xe9, 0x73]);
        assert_eq!(read(&format!("# ours\n\n  {A} \r\n")), Ok(Secrets { current: a, other: None }));
        let two = read(&format!("{}\n# the one before\n{A}\n", B.to_uppercase())).unwrap();
        assert_eq!(two, Secrets { current: Secret::from_hex(B).unwrap(), other: Some(a) });
    }

    #[test]
    fn what_is_wrong_is_said_without_saying_the_secret() {
        let cases = [
            (String::new(), "holds no secret"),
            (format!("{A}0"), "line 1 of s.secrets"),
            (format!("{A}\n{}", &B[1..]), "line 2 of s.secrets"),
            (format!("{A}\n{A}"), "twice"),
            (format!("{A}\n{B}\n{B}"), "more than two"),
            ("0".repeat(32), "line 1"),
            ("x".repeat(32), "line 1"),
            ("\u{e9}".repeat(32), "line 1"),
            ("#".repeat(5000), "longer"),
        ];
        for (text, part) in cases {
            let message = read(&text).unwrap_err();
            assert!(message.contains(part) && !message.contains(&A[..8]), "{text}: {message}");
        }
        assert_eq!(format!("{:?}", read(A)), "Ok(Secrets { current: Secret, other: None })");
    }
}
