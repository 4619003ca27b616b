//! Whether content is what its feed is pinned to: a hash, or a signature of minisign (Ed25519 over BLAKE2b of the content,
//! or over the content itself as older versions of it sign).
//!
//! A signature says who made the content, not when: an old list with its old signature passes. The bound on changes, and
//! https, stand against that.

use crate::language::{Text, text};
use crate::policy::feeds::{Pin, digest_of, hex};
use minisign_verify::{PublicKey, Signature};

/// The longest signature file, in bytes: four lines.
pub const SIGNATURE_MAX: u64 = 8 * 1024;

/// Holds content against its pin; `signature` is the signature file where the pin is a key.
///
/// # Errors
/// The message for the user.
pub fn verify(pin: &Pin, content: &[u8], signature: Option<&[u8]>) -> Result<(), Text> {
    match pin {
        Pin::None => Ok(()),
        Pin::Sha256(pinned) => {
            let found = digest_of(content);
            if found == *pinned {
                return Ok(());
            }
            Err(text!("its SHA-256 is {found} and not the one that is pinned", found = hex(&found)))
        }
        Pin::Minisign(key) => {
            let told = |error: minisign_verify::Error| {
                text!("its signature does not hold: {error}", error = Text::of_library(&error))
            };
            let text = str::from_utf8(signature.unwrap_or_default())
                .map_err(|_| text!("its signature is not the text that minisign writes"))?;
            let signature = Signature::decode(text).map_err(told)?;
            let key = PublicKey::from_base64(key).map_err(told)?;
            key.verify(content, &signature, true).map_err(told)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "RWR3ZWlyZmVlZPQYOs7T3jjEC2DKIKoMyukTv1CeLdJHsluZimkM1CCC";
    const CONTENT: &[u8] = b"mail.lab.example\n";
    const COMMENT: &str = "timestamp:1798200000\tfile:list.txt";

    /// Over the hash of the content, as minisign signs, and over the content, as it signed before version 0.10; both
    /// made with another implementation of Ed25519 and BLAKE2b.
    const SIGNATURES: [(&str, &str); 2] = [
        (
            "RUR3ZWlyZmVlZLLcc1unGXDoT8TlyGXOpgbNdWupRrUKwNIJN4SumIBNSbLs+zXlfkhtzizZibOVr1R4gBDlzgmYU1scOyfCoAc=",
            "oUXJGkXH+S1MN7GoNR164vSKSxZpaCmTbVEDN7jrPNd7oRblzKyfm6gLrM5N0JMa7u++/kRrldu49tmUCDexBQ==",
        ),
        (
            "RWR3ZWlyZmVlZPiiReLD/rgMwHymYUY4TAdUwWSVZQQw2/tG1zD4Y7FWs1EmvlvKwUTeHl7c6/FG5WZzsF/XtmKUCw0uSnaGQQ8=",
            "dIzhI6wBQA0ni4zC1man258SzEUWAc0UmIDZgT9EJKupygQ2S+AcwQvyP3q8+8F7MnHPszeWIc7xoSxK/J13Ag==",
        ),
    ];

    fn file((signature, global): (&str, &str), comment: &str) -> String {
        format!("untrusted comment: x\n{signature}\ntrusted comment: {comment}\n{global}\n")
    }

    fn verified(content: &[u8], file: &str) -> Result<(), Text> {
        verify(&Pin::Minisign(KEY.to_owned()), content, Some(file.as_bytes()))
    }

    #[test]
    fn both_kinds_of_signature_hold_for_their_content_alone() {
        for signature in SIGNATURES {
            assert_eq!(verified(CONTENT, &file(signature, COMMENT)), Ok(()));
            assert!(verified(b"mail.lab.example", &file(signature, COMMENT)).is_err(), "another content");
            assert!(verified(CONTENT, &file(signature, "timestamp:1\tfile:list.txt")).is_err(), "another comment");
            let other = Pin::Minisign("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned());
            assert!(verify(&other, CONTENT, Some(file(signature, COMMENT).as_bytes())).is_err(), "another key");
        }
        assert!(verified(CONTENT, &file((SIGNATURES[0].0, SIGNATURES[1].1), COMMENT)).is_err());
        assert!(verify(&Pin::Minisign(KEY.to_owned()), CONTENT, None).is_err(), "no signature at all");
    }

    proptest! {
        #[test]
        fn files_of_any_kind_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0..300_usize) {
            let pin = Pin::Minisign(KEY.to_owned());
            prop_assert!(verify(&pin, CONTENT, Some(&bytes)).is_err());
            let whole = file(SIGNATURES[0], COMMENT);
            let cut = cut.min(whole.len() - 8);
            prop_assert!(verify(&pin, CONTENT, Some(&whole.as_bytes()[..cut])).is_err());
        }
    }
}
