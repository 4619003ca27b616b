//! Whether content is what its feed is pinned to: a hash, or a signature of minisign (Ed25519 over BLAKE2b of the content,
//! or over the content itself as older versions of it sign).
//!
//! A signature says who made the content, not when: an old list with its old signature passes. The bound on changes, and
//! https, stand against that.

use crate::policy::feeds::{Pin, digest_of, hex};
use minisign_verify::{PublicKey, Signature};

/// The longest signature file, in bytes: four lines.
pub const SIGNATURE_MAX: u64 = 8 * 1024;

/// Holds content against its pin; `signature` is the signature file where the pin is a key.
///
/// # Errors
/// The message for the user.
pub fn verify(pin: &Pin, content: &[u8], signature: Option<&[u8]>) -> Result<(), String> {
    match pin {
        Pin::None => Ok(()),
        Pin::Sha256(pinned) => {
            let found = digest_of(content);
            if found == *pinned {
                return Ok(());
            }
            Err(format!("its SHA-256 is {} and not the one that is pinned", hex(&found)))
        }
        Pin::Minisign(key) => {
            let told = |error: minisign_verify::Error| format!("its signature does not hold: {error}");
            let text = str::from_utf8(signature.unwrap_or_default())
                .map_err(|_| "its signature is not the text that minisign writes".to_owned())?;
            let signature = Signature::decode(text).map_err(told)?;
            let key = PublicKey::from_base64(key).map_err(told)?;
            key.verify(content, &signature, true).map_err(told)
        }
    }
}
