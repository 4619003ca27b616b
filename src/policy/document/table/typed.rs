//! Keys of a table whose values are more than text and numbers: names, addresses, networks, record types, points in time.

use super::super::values::{address, name, qtype};
use super::super::{At, Code, instant, network};
use super::Table;
use crate::dns::name::Name;
use crate::language::text;
use crate::policy::clients::Groups;
use crate::policy::networks::NetworkSet;
use std::net::SocketAddr;
use toml::de::DeValue;

/// The longest note of any kind, in bytes.
const NOTE_MAX: usize = 256;

impl Table<'_> {
    /// A note of some words: who answers for something, where it was asked for.
    pub fn note(&self, key: &'static str) -> Option<String> {
        let text = self.text(key)?;
        if text.value.len() > NOTE_MAX {
            let message = text!("{key} is longer than {most} bytes", key = self.label(key), most = NOTE_MAX);
            self.faults.add(Code::Range, &text.place, message, text!("say it in fewer words"));
            return None;
        }
        Some(text.value.to_owned())
    }

    /// A date with time and offset, if it is there and right: milliseconds since 1970-01-01 UTC.
    pub fn instant(&self, key: &'static str) -> Option<u64> {
        let raw = self.raw(key)?;
        let DeValue::Datetime(written) = raw.value else {
            self.wrong_type(
                key,
                &raw,
                text!("a date with time and offset"),
                text!("without quotes: {hint}", hint = instant::hint()),
            );
            return None;
        };
        match instant::of_toml(written) {
            Ok(unix_ms) => Some(unix_ms),
            Err(lacks) => {
                self.faults.add(
                    Code::Value,
                    &raw.place,
                    text!("{key} {lacks}", key = self.label(key), lacks),
                    instant::hint(),
                );
                None
            }
        }
    }
    /// A domain name, if it is there and right.
    pub fn name(&self, key: &'static str) -> Option<At<Name>> {
        let text = self.text(key)?;
        name(&text, self.faults)
    }

    /// An address with a port, if it is there and right; `port` when none is written.
    pub fn address(&self, key: &'static str, port: u16) -> Option<At<SocketAddr>> {
        let text = self.text(key)?;
        let address = address(&text, port, self.faults)?;
        Some(text.map(|_| address))
    }

    /// A list of record types: names, or `TYPE` and a number; empty when it is not there.
    pub fn qtypes(&self, key: &'static str) -> Vec<u16> {
        self.list(key).iter().filter_map(|text| qtype(text, self.faults)).collect()
    }

    /// The entries of a list of networks, with their places; duplicates are reported.
    pub fn network_entries(&self, key: &'static str, groups: &Groups) -> Vec<At<network::Entry>> {
        let texts = self.list(key);
        let entries: Vec<_> = texts.iter().filter_map(|text| network::entry(text, groups, self.faults)).collect();
        network::report_duplicates(&entries, self.faults);
        network::report_excepted(&self.label(key), &entries, groups, self.faults);
        entries
    }

    /// A list of networks, compiled: CIDR, addresses, `!net`, `@group`.
    pub fn networks(&self, key: &'static str, groups: &Groups) -> NetworkSet {
        network::set(self.network_entries(key, groups).into_iter().map(|entry| entry.value), groups)
    }
}
