//! A policy zone as rules of a filter zone: one for each kind of trigger and each thing that is done. Within a zone the
//! order of kinds and of names is the same in both, so the rules decide as the records did.

use super::spelling::write_labels;
use super::store::{Policy, Record};
use super::trigger::{Kind, Trigger};
use super::{RpzZone, rdata};
use crate::dns::rtype;
use crate::policy::document::words::TypeName;
use crate::policy::filter::lists::{Unwritable, quoted};
use crate::policy::filter::sets::{BELOW, SELF};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// Names or networks of one rule: more belong into a zone of its own.
const TRIGGERS_MAX: usize = 100_000;

/// The longest TTL of a rule, in seconds.
const TTL_MAX: u32 = 86_400;

/// What a rule does, with all that it needs to say for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    Word(&'static str),
    /// TTL, and the lines of it.
    Data(u32, String),
}

/// The triggers of one rule: each with its reach, 0 for a network.
type Triggers<'z> = Vec<(u8, Trigger<'z>)>;

impl RpzZone {
    /// The zone as text of a filter zone. TTLs of local data are kept up to a day, those of the other actions are the
    /// rule's own.
    ///
    /// # Errors
    /// [`Unwritable::TooManyNames`] for more names of one kind and action than a rule may have.
    pub fn to_toml(&self, title: &str) -> Result<String, Unwritable> {
        let mut rules: BTreeMap<(Kind, Does), Triggers<'_>> = BTreeMap::new();
        for (does, trigger) in self.deeds() {
            let (kind, reach) = match trigger {
                Trigger::Apex => continue,
                Trigger::Name(kind, reach, _) => (kind, reach),
                Trigger::Network(kind, _) => (kind, 0),
            };
            let of_rule = rules.entry((kind, does)).or_default();
            // `x` and `*.x` with the same action are x and all below.
            let is_full = of_rule.len() == TRIGGERS_MAX;
            match (of_rule.last_mut(), trigger) {
                (Some((known, Trigger::Name(_, _, before))), Trigger::Name(_, _, wire)) if *before == wire => {
                    *known |= reach;
                }
                _ if is_full => return Err(Unwritable::TooManyNames),
                _ => of_rule.push((reach, trigger)),
            }
        }
        let mut text = format!("[zone]\ntitle = {}\n", quoted(title));
        for (number, ((kind, does), triggers)) in rules.iter().enumerate() {
            write_rule(number + 1, *kind, does, triggers, &mut text);
        }
        Ok(text)
    }

    /// What is done, for each trigger once, in the order of the file.
    fn deeds(&self) -> Vec<(Does, Trigger<'_>)> {
        let mut deeds: Vec<(Does, Trigger<'_>)> = Vec::new();
        // The records of one trigger need not stand together.
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for record in self.records() {
            let word = match record.policy {
                Policy::Nxdomain => "nxdomain",
                Policy::Nodata => "nodata",
                Policy::Passthru | Policy::PassthruSelf => "allow",
                Policy::Drop => "drop",
                Policy::TcpOnly => "truncate",
                Policy::Data => {
                    let place = *places.entry(record.trigger.key()).or_insert(deeds.len());
                    if place == deeds.len() {
                        deeds.push((Does::Data(record.ttl.min(TTL_MAX), String::new()), record.trigger));
                    }
                    if let Does::Data(ttl, lines) = &mut deeds[place].0 {
                        *ttl = record.ttl.min(*ttl);
                        write_record(&record, lines);
                    }
                    continue;
                }
            };
            deeds.push((Does::Word(word), record.trigger));
        }
        deeds
    }
}

/// Appends the line that a record is in a rule.
fn write_record(record: &Record<'_>, lines: &mut String) {
    let (rtype, data) = record.data.unwrap_or_default();
    let mut spelled = String::new();
    rdata::write(rtype, data, &mut spelled);
    if rtype == rtype::CNAME {
        let _ = writeln!(lines, "cname = {}", quoted(spelled.trim_end_matches('.')));
    } else {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "  {},", quoted(&format!("{} {spelled}", TypeName(rtype))));
    }
}

fn write_rule(number: usize, kind: Kind, does: &Does, triggers: &Triggers<'_>, text: &mut String) {
    let (key, word) = match kind {
        Kind::Apex | Kind::Qname => ("names", "name"),
        Kind::ClientIp => ("clients", "client"),
        Kind::Ip => ("response_ip", "response"),
        Kind::NsDname => ("ns_name", "ns-name"),
        Kind::NsIp => ("ns_ip", "ns-ip"),
    };
    match does {
        Does::Word(action) => {
            let _ = write!(text, "\n[[rule]]\nid = \"{word}-{action}-{number}\"\naction = \"{action}\"\n");
        }
        Does::Data(ttl, lines) => {
            let _ = write!(text, "\n[[rule]]\nid = \"{word}-data-{number}\"\naction = \"data\"\nttl = {ttl}\n");
            match lines.starts_with("cname") {
                true => text.push_str(lines),
                false => text.extend(["records = [\n", lines, "]\n"]),
            }
        }
    }
    let _ = writeln!(text, "{key} = [");
    for (reach, trigger) in triggers {
        let mut spelled = String::new();
        match *trigger {
            Trigger::Apex => {}
            Trigger::Network(_, network) => _ = write!(spelled, "{network}"),
            Trigger::Name(_, _, [0]) => spelled.push('*'),
            Trigger::Name(_, _, wire) => {
                spelled.push_str(match *reach {
                    SELF => "=",
                    BELOW => "*.",
                    _ => "",
                });
                write_labels(wire, &mut spelled);
            }
        }
        text.extend(["  ", &quoted(&spelled), ",\n"]);
    }
    text.push_str("]\n");
}
