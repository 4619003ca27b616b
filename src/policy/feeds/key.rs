//! The key that transfers and NOTIFY of a feed are signed with (RFC 8945): its name and algorithm in gateway.toml, its
//! secret in a file of secrets, which is of the machine and never kept in the history.

use crate::dns::name::Name;
use crate::language::{Text, text};
use crate::policy::cookies::ENDING;
use crate::policy::document::{At, Code, Files, Table};
use domain::tsig::{Algorithm, Key, KeyName};
use domain::utils::base64;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest file of secrets, in bytes.
const FILE_MAX: usize = 64 * 1024;

/// The shortest secret, in bytes: RFC 8945 section 8 asks for as much as the hash gives, and what is shorter than this can
/// be tried out.
const SECRET_MIN: usize = 8;

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("hmac-sha256", Algorithm::Sha256),
    ("hmac-sha384", Algorithm::Sha384),
    ("hmac-sha512", Algorithm::Sha512),
    ("hmac-sha1", Algorithm::Sha1),
];

/// A key. Its secret is never shown.
#[derive(Clone)]
pub struct TsigKey {
    /// As written.
    pub name: Name,
    algorithm: Algorithm,
    secret: Vec<u8>,
    key: Arc<Key>,
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({})", self.name)
    }
}

impl PartialEq for TsigKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.algorithm, &self.secret) == (&other.name, other.algorithm, &other.secret)
    }
}

impl Eq for TsigKey {}

impl TsigKey {
    /// The key as it signs.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// A key of these parts; `None` when the name is none.
    pub fn new(name: Name, algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let key_name = KeyName::from_str(&name.to_string()).ok()?;
        let key = Arc::new(Key::new(algorithm, secret, key_name, None, None).ok()?);
        Some(Self { name, algorithm, secret: secret.to_vec(), key })
    }

    /// Reads `tsig = { name, algorithm, secret_file }`.
    pub(super) fn read(t: &Table<'_>, files: &Files) -> Option<Self> {
        for key in ["name", "secret_file"] {
            if !t.has(key) {
                t.missing(key);
            }
        }
        let algorithm = t.choice("algorithm", &ALGORITHMS, Algorithm::Sha256);
        let (name, file) = (t.name("name"), t.text("secret_file"));
        let (name, file) = (name?, file?);
        let secret = read_secret(t, &name, &file, files)?;
        let key = Self::new(name.value, algorithm, &secret);
        if key.is_none() {
            t.fault(
                "name",
                Code::Name,
                text!("{name} cannot be the name of a key", name = name.value),
                text!("write a domain name"),
            );
        }
        key
    }
}

/// The secret of a name: `NAME BASE64` on a line of its own.
fn read_secret(t: &Table<'_>, name: &At<Name>, file: &At<&str>, files: &Files) -> Option<Vec<u8>> {
    let wrong = |code: Code, message: Text, hint: Text| {
        t.fault("secret_file", code, message, hint);
        None
    };
    let path = file.value;
    if path.contains('/') || !path.ends_with(ENDING) {
        let hint = text!("a file at the top of the policy directory whose name ends in .secrets");
        return wrong(Code::Path, text!("secret_file cannot be {path:?}", path), hint);
    }
    let Some(bytes) = files.bytes(path) else {
        let hint =
            text!("a line of it is the name of the key and its secret in base64, as tsig-keygen and keymgr print them");
        return wrong(Code::MissingFile, text!("there is no {path} in the policy directory", path), hint);
    };
    if files.is_open_to_others(path) {
        let message = text!("{path} can be read or written by every user of this machine", path);
        return wrong(
            Code::Value,
            message,
            text!("chmod 600 it, and make a new secret if anybody else may have read it"),
        );
    }
    let Some(text) = str::from_utf8(bytes).ok().filter(|text| text.len() <= FILE_MAX) else {
        return wrong(
            Code::Value,
            text!("{path} is no text of at most {most} bytes", path, most = FILE_MAX),
            text!("a line for each key"),
        );
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut found = None;
    for line in lines {
        let mut words = line.split_whitespace();
        let (Some(of), Some(secret), None) = (words.next(), words.next(), words.next()) else {
            // The line itself is not shown: it may be the secret.
            return wrong(
                Code::Value,
                text!("a line of {path} is not a name and a secret", path),
                text!("a line `NAME BASE64`, with the name as in gateway.toml"),
            );
        };
        if Name::from_text(of).is_ok_and(|of| of == name.value) {
            if found.is_some() {
                return wrong(
                    Code::Duplicate,
                    text!("key {name} is twice in {path}", name = name.value, path),
                    text!("remove one of the two"),
                );
            }
            found = Some(secret);
        }
    }
    let Some(secret) = found else {
        let hint = text!("a line `NAME BASE64`, with the name as in gateway.toml");
        return wrong(Code::Value, text!("{path} has no secret for key {name}", path, name = name.value), hint);
    };
    match base64::decode::<Vec<u8>>(secret) {
        Ok(secret) if secret.len() >= SECRET_MIN => Some(secret),
        Ok(_) => wrong(
            Code::Value,
            text!("the secret of key {name} is too short", name = name.value),
            text!("at least 8 bytes, better 32"),
        ),
        Err(_) => wrong(
            Code::Value,
            text!("the secret of key {name} is not base64", name = name.value),
            text!("a line `NAME BASE64`, with the name as in gateway.toml"),
        ),
    }
}
