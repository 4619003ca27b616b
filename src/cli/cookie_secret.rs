//! `weir cookie-secret`: a line for the secrets file of `[cookies]`, from the system's random numbers.

use super::{Exit, output};
use crate::language::text;
use std::fmt::Write;

/// `weir cookie-secret`
pub(super) fn cookie_secret() -> Exit {
    let mut secret = [0_u8; 16];
    if let Err(error) = getrandom::fill(&mut secret) {
        output::error(&text!("the system gives no random bytes: {error}", error));
        return Exit::Failed;
    }
    output::raw(hex(&secret));
    Exit::Ok
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a string cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}
