//! Single values as texts: names, addresses and record types, each with its fault and the way out.

use super::nearest::nearest;
use super::{At, Code, Faults, words};
use crate::dns::name::Name;
use crate::language::{Text, text};
use std::net::{IpAddr, SocketAddr};

/// Reads a domain name; a bad one is a fault, and so is what could be a name but was meant to be something else.
pub fn name(text: &At<&str>, faults: &Faults) -> Option<At<Name>> {
    if let Some(meant) = other_than_name(text.value) {
        let hint =
            text!("the name alone is meant; where a name does have '/', ':' or '?' in it, write that byte as \\DDD");
        faults.add(
            Code::Name,
            &text.place,
            text!("{text:?} is {meant}, not a domain name", text = text.value, meant),
            hint,
        );
        return None;
    }
    match Name::from_text(text.value) {
        Ok(name) => Some(At { value: name, place: text.place.clone() }),
        Err(error) => {
            let message = text!("{text:?} is not a domain name: {error}", text = text.value, error = error.text());
            let hint =
                text!("labels of 1 to 63 letters, digits and hyphens with dots between them; other bytes as \\DDD");
            faults.add(Code::Name, &text.place, message, hint);
            None
        }
    }
}

/// What a text is when it is a valid name that nobody asks for: a rule with it would never act, and nobody be told.
fn other_than_name(text: &str) -> Option<Text> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(text!("an address"));
    }
    text.contains(['/', ':', '?']).then(|| text!("a URL or has a port"))
}

/// Reads `IP` or `IP:port` (IPv6 with a port in brackets); a bad one is a fault.
pub fn address(text: &At<&str>, port: u16, faults: &Faults) -> Option<SocketAddr> {
    let bare = text.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text.value);
    let read = text.value.parse().or_else(|_| bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, port)));
    match read {
        Ok(address) if address.port() != 0 => Some(address),
        Ok(_) => {
            let hint = text!("write the port that is meant: 53 is that of DNS");
            faults.add(Code::Range, &text.place, text!("a port must be between 1 and 65535"), hint);
            None
        }
        Err(_) => {
            let message = text!("{text:?} is not an address", text = text.value);
            let hint = text!(
                "write an IP address, with a port if it is not the usual one: \"10.1.0.53\", \"[2001:db8::1]:53\""
            );
            faults.add(Code::Address, &text.place, message, hint);
            None
        }
    }
}

/// Reads a record type; a bad one is a fault.
pub fn qtype(text: &At<&str>, faults: &Faults) -> Option<u16> {
    let number = words::qtype(text.value);
    if number.is_none() {
        let hint = match nearest(text.value, words::type_names()) {
            Some(word) => text!("did you mean {word:?}?", word),
            None => text!("write a type such as \"AAAA\", or \"TYPE65\""),
        };
        faults.add(Code::Qtype, &text.place, text!("{text:?} is not a record type", text = text.value), hint);
    }
    number
}
