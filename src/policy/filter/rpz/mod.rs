//! Response policy zones (draft-vixie-dnsop-dns-rpz): a block list as a DNS zone, which many servers and publishers speak.
//!
//! ```text
//! $ORIGIN rpz.example.
//! @                          SOA  localhost. root.localhost. 1 3600 600 86400 60
//! a.example                  CNAME .                a name: NXDOMAIN
//! *.a.example                CNAME *.               what is below a name: NODATA
//! b.example                  CNAME rpz-passthru.    as if no later zone were there
//! c.example                  CNAME *.garden.test.   c.example is sent to c.example.garden.test
//! d.example                  A     192.0.2.1        records of our own
//! 24.0.2.0.192.rpz-ip        CNAME .                an address in an answer
//! 32.1.0.0.10.rpz-client-ip  CNAME rpz-drop.        a client
//! ns.e.example.rpz-nsdname   CNAME rpz-tcp-only.    a name server
//! 48.zz.db8.2001.rpz-nsip    CNAME .                the address of one
//! ```
//!
//! A zone is read from master-file text or made of the records of a transfer, and written as text again. Bad records are
//! counted and grouped like the bad lines of lists; a record never costs another. What is left out: `$INCLUDE`,
//! `$GENERATE`, and the records of a signed zone (RRSIG, NSEC and the like), which say nothing about policy.

mod compile;
mod flaw;
mod master;
mod rdata;
mod reader;
mod rules;
mod spelling;
mod store;
mod transfer;
mod trigger;
mod write;

pub(super) use compile::{OWNERS_MAX, Override, Part};
pub use flaw::Flaw;
pub(super) use spelling::write_labels as write_name;
pub use store::{Policy, Record};
pub use transfer::RpzBuilder;
pub use trigger::{Kind, Trigger};
pub(super) use write::write_trigger_name;

use super::lists::{self, Format, Problem, Problems, Unreadable};
use super::registry;
use super::written::is_wide;
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::language::{Text, Told, text};
use crate::policy::document::Faults;
use crate::policy::document::contents::Source;
use crate::policy::networks::canonical;
use std::borrow::Cow;
use std::sync::Arc;
use store::Store;

/// A response policy zone in memory: every record that is good, in the order of the file, and what was wrong with the
/// others.
#[derive(Clone, Debug)]
pub struct RpzZone {
    apex: Name,
    store: Store,
    problems: Problems,
    wide: Wide,
    lines: usize,
}

/// Records about a public suffix, a good part of all addresses, or everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wide {
    /// Those that block it.
    blocking: Problems,
    /// All, which an override can make block it.
    all: Problems,
}

impl Wide {
    /// Notes a record, which begins at `start` in that line, if it is too wide.
    fn note<'t>(&mut self, record: &Record<'_>, (line, start): (usize, usize), text: impl FnOnce() -> Cow<'t, [u8]>) {
        let Some(problem) = too_wide(record.trigger) else { return };
        let text = text();
        if record.blocks() {
            self.blocking.add_meant(problem, line, start, &text, None);
        }
        self.all.add_meant(problem, line, start, &text, None);
    }
}

/// A zone that the policy runs, for whoever wants to see what became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file of it in `filters/`.
    pub file: String,
    /// The name of the zone in its master file.
    pub zone: String,
    /// Records that set off something.
    pub records: usize,
    /// What is done in place of what they say.
    pub instead: Option<String>,
}

impl Told for Summary {
    fn text(&self) -> Text {
        let Self { file, zone, records, instead } = self;
        match instead {
            None => text!("{file}: {records} records of the response policy zone {zone}", file, records, zone),
            Some(instead) => text!(
                "{file}: {records} records of the response policy zone {zone}, with {instead} in place of what they say",
                file,
                records,
                zone,
                instead
            ),
        }
    }
}

/// What is wrong with a trigger about more than any record should block: all names of a registry, of a top-level domain, or
/// all there are, and what all their servers serve; or a good part of all addresses.
fn too_wide(trigger: Trigger<'_>) -> Option<Problem> {
    match trigger {
        Trigger::Apex => None,
        Trigger::Name(_, reach, wire) => {
            let labels = spelling::label_starts(wire).take(registry::LABELS_MAX + 1).count();
            registry::is_meant(wire, labels, reach).then_some(Problem::PublicSuffix)
        }
        // As the rule has it: `96.zz.ffff.0.0.0.0.0.rpz-ip` is all of IPv4.
        Trigger::Network(_, network) => is_wide(canonical(network)).then_some(Problem::Rpz(Flaw::WideNetwork)),
    }
}

impl RpzZone {
    /// Reads master-file text. A million records take a few tenths of a second, and about the memory of their text.
    ///
    /// # Errors
    /// [`Unreadable`] when it is no text at all (a web page, a compressed file).
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        Self::read(Source::Memory(bytes))
    }

    /// As [`Self::parse`], from wherever the text is; that of one on the disk is never in memory as a whole.
    ///
    /// # Errors
    /// As there, and when it cannot be read from the disk.
    pub fn read(text: Source<'_>) -> Result<Self, Unreadable> {
        reader::Reader::new(text.len()).read(text)
    }

    /// Makes a zone of the records of a transfer: see [`RpzBuilder`].
    pub fn from_records<'r>(apex: &Name, records: impl IntoIterator<Item = &'r hickory_proto::rr::Record>) -> Self {
        let mut builder = RpzBuilder::new(apex);
        records.into_iter().for_each(|record| builder.hickory_record(record));
        builder.finish()
    }

    /// Its name; the root when nothing in the text says another.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// How many records were kept.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.store.len() == 0
    }

    /// All records that were kept, in the order of the file.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.store.iter()
    }

    /// What was wrong with the others, and what is doubtful about some.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Records and directives that were read, good and bad.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Memory of the records, in bytes.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Whether there are more bad records than a zone may have: 1 % or 100, whichever is larger.
    pub fn is_over_budget(&self) -> bool {
        lists::is_over_budget(&self.problems, self.lines)
    }

    /// Data and TTL of the zone's SOA.
    fn soa(&self) -> Option<(u32, &[u8])> {
        self.records().find_map(|record| match record {
            Record { trigger: Trigger::Apex, data: Some((rtype::SOA, data)), ttl, .. } => Some((ttl, data)),
            _ => None,
        })
    }

    /// Says what of the zone, read from `file`, was left out or is doubtful, and whether that is too much.
    pub fn report(&self, file: &Arc<str>, faults: &Faults) {
        let records = text!("{records} records did load", records = self.len());
        lists::report_problems(file, &self.problems, &records, faults);
        if self.is_over_budget() {
            lists::report_budget(file, &self.problems, self.lines, Format::Rpz, faults);
        }
    }

    /// Says which records that block far too much, as given or by what is done `instead`, were left out for it.
    pub(super) fn report_wide(&self, instead: &Override, file: &Arc<str>, faults: &Faults) {
        let records = text!("{records} records did load", records = self.len());
        let wide = match instead {
            Override::Given => &self.wide.blocking,
            Override::All(_) => &self.wide.all,
        };
        lists::report_problems(file, wide, &records, faults);
    }

    /// The serial number of its SOA.
    pub fn serial(&self) -> Option<u32> {
        let (_, data) = self.soa()?;
        Some(u32::from_be_bytes(*data.get(data.len().checked_sub(20)?..)?.first_chunk()?))
    }

    /// How long its negative answers may be kept, in seconds (RFC 2308 section 5: the smaller of the TTL of its SOA and of
    /// the field MINIMUM).
    pub fn negative_ttl(&self) -> Option<u32> {
        let (ttl, data) = self.soa()?;
        Some(ttl.min(u32::from_be_bytes(*data.last_chunk()?)))
    }
}

#[cfg(test)]
mod tests;
