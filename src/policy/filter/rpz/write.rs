//! A policy zone as master-file text: one record on each line, in the order in which they came, spelled in one way. Read
//! again it is the same zone.

use super::spelling::{write_absolute, write_labels};
use super::store::{Policy, Record};
use super::trigger::{Trigger, encode};
use super::{RpzZone, rdata};
use crate::policy::document::words::TypeName;
use crate::policy::filter::lists::Written;
use crate::policy::filter::sets::BELOW;
use std::collections::HashMap;
use std::fmt::{self, Write as _};

impl RpzZone {
    /// The zone as text.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.store.bytes() + self.store.len() * 8);
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    /// The zone as text that is made while it is written.
    pub fn text(&self) -> impl fmt::Display {
        Written(|to: &mut fmt::Formatter<'_>| self.write_text(to))
    }

    fn write_text(&self, to: &mut impl fmt::Write) -> fmt::Result {
        let ttl = self.most_frequent_ttl();
        let mut line = String::from("$ORIGIN ");
        write_absolute(self.apex.as_wire(), &mut line);
        writeln!(to, "{line}\n$TTL {ttl}")?;
        for record in self.records() {
            line.clear();
            write_owner(&record.trigger, &mut line);
            if record.ttl != ttl {
                write!(line, " {}", record.ttl)?;
            }
            self.write_data(&record, &mut line);
            line.push('\n');
            to.write_str(&line)?;
        }
        Ok(())
    }

    fn write_data(&self, record: &Record<'_>, text: &mut String) {
        let target = match record.policy {
            Policy::Nxdomain => ".",
            Policy::Nodata => "*.",
            Policy::Passthru => "rpz-passthru.",
            Policy::Drop => "rpz-drop.",
            Policy::TcpOnly => "rpz-tcp-only.",
            Policy::PassthruSelf => {
                text.push_str(" CNAME ");
                match record.trigger {
                    Trigger::Apex => {}
                    Trigger::Name(_, _, wire) => write_absolute(wire, text),
                    Trigger::Network(_, network) => text.push_str(&encode(network, "")),
                }
                return;
            }
            Policy::Data => {
                let (rtype, data) = record.data.unwrap_or_default();
                let _ = write!(text, " {} ", TypeName(rtype));
                rdata::write(rtype, data, text);
                return;
            }
        };
        text.extend([" CNAME ", target]);
    }

    /// The TTL of most records, so that their lines need none.
    fn most_frequent_ttl(&self) -> u32 {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        self.records().for_each(|record| *counts.entry(record.ttl).or_default() += 1);
        counts.into_iter().max_by_key(|&(ttl, count)| (count, ttl)).map_or(300, |(ttl, _)| ttl)
    }
}

/// Appends the owner of a trigger, relative to the zone.
pub(super) fn write_owner(trigger: &Trigger<'_>, text: &mut String) {
    match *trigger {
        Trigger::Apex => text.push('@'),
        Trigger::Name(kind, reach, wire) => {
            write_trigger_name(reach, wire, text);
            if let Some(label) = kind.label() {
                text.extend([".", label]);
            }
        }
        Trigger::Network(kind, network) => text.push_str(&encode(network, kind.label().unwrap_or_default())),
    }
}

/// Appends the owner of the trigger on one name: itself, or what is below it.
pub(in crate::policy::filter) fn write_trigger_name(reach: u8, wire: &[u8], text: &mut String) {
    if reach == BELOW {
        text.push('*');
    }
    if wire.len() > 1 {
        if reach == BELOW {
            text.push('.');
        }
        let begin = text.len();
        write_labels(wire, text);
        // A line that begins with one of these would be a comment.
        if reach != BELOW && text[begin..].starts_with(['#', '!', '/']) {
            text.insert(begin, '\\');
        }
    }
}
