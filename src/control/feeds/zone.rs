//! A zone as it was transferred: what an AXFR or IXFR says is put together here, and written as master-file text that the
//! policy is compiled from and the next start reads back.
//!
//! Records are told apart by owner, class, type and data (RFC 1995 section 4 deletes by them), the owner in lower case;
//! a TTL is not part of it. The SOA stands apart, as it changes with every step.

use crate::language::{Text, text};
use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::name::{Name, ToName};
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, ParsedName, Rtype, Serial};
use domain::net::xfr::protocol::{ParsedRecord, XfrResponseInterpreter};
use domain::rdata::ZoneRecordData;
use domain::zonetree::types::ZoneUpdate;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What of a SOA is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSoa {
    /// Its version.
    pub serial: u32,
    /// In seconds, as are the others.
    pub refresh: u32,
    /// After a failure.
    pub retry: u32,
    /// How long it is good without the primary.
    pub expire: u32,
    /// The whole record as text, without a line end.
    line: String,
}

/// See above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Of the version that this is.
    pub soa: ZoneSoa,
    /// `owner class type data` to its TTL.
    records: BTreeMap<Box<str>, u32>,
    /// Bytes of the text, about.
    bytes: u64,
}

impl Zone {
    /// Records, the SOA included.
    pub fn entries(&self) -> u64 {
        self.records.len() as u64 + 1
    }

    /// Master-file text: the SOA first, the rest sorted.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.soa.line.len() + self.bytes as usize + 8 * self.records.len());
        text.push_str(&self.soa.line);
        text.push('\n');
        for (key, ttl) in &self.records {
            let (owner, rest) = key.split_once(' ').unwrap_or((key, ""));
            let _ = writeln!(text, "{owner} {ttl} {rest}");
        }
        text
    }

    /// Reads text that [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// The message for the user: it is not such text.
    pub fn from_text(text: &str) -> Result<Self, Text> {
        let wrong = |line: &str| text!("{line:?} is not a record as it was written", line);
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let first = lines.next().unwrap_or_default();
        let soa = ZoneSoa::from_line(first).ok_or_else(|| wrong(first))?;
        let (mut records, mut bytes) = (BTreeMap::new(), 0);
        for line in lines {
            let (owner, rest) = line.split_once(' ').ok_or_else(|| wrong(line))?;
            let (ttl, rest) = rest.split_once(' ').ok_or_else(|| wrong(line))?;
            let ttl: u32 = ttl.parse().map_err(|_| wrong(line))?;
            bytes += line.len() as u64;
            records.insert(format!("{owner} {rest}").into_boxed_str(), ttl);
        }
        Ok(Self { soa, records, bytes })
    }
}

impl ZoneSoa {
    fn of(record: &ParsedRecord) -> Option<Self> {
        let ZoneRecordData::Soa(soa) = record.data() else { return None };
        let (key, ttl) = row(record)?;
        let (owner, rest) = key.split_once(' ')?;
        Some(Self {
            serial: soa.serial().into_int(),
            refresh: soa.refresh().as_secs(),
            retry: soa.retry().as_secs(),
            expire: soa.expire().as_secs(),
            line: format!("{owner} {ttl} {rest}"),
        })
    }

    /// `owner ttl IN SOA mname rname serial refresh retry expire minimum`
    fn from_line(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, ttl, "IN", "SOA", _, _, serial, refresh, retry, expire, _] = words[..] else { return None };
        ttl.parse::<u32>().ok()?;
        Some(Self {
            serial: serial.parse().ok()?,
            refresh: refresh.parse().ok()?,
            retry: retry.parse().ok()?,
            expire: expire.parse().ok()?,
            line: line.to_owned(),
        })
    }
}

/// Puts a transfer together, message by message.
pub struct Assembly {
    interpreter: XfrResponseInterpreter,
    /// No message came yet.
    is_first: bool,
    apex: Name<Vec<u8>>,
    /// The largest zone, in bytes of its text.
    size_max: u64,
    /// What the steps are made on; none before the first full transfer.
    zone: Option<Zone>,
    /// Records of a full transfer.
    fresh: Option<(BTreeMap<Box<str>, u32>, u64)>,
    /// Deletions are being heard, not additions.
    deletes: bool,
    /// Steps that were made: sequences of an IXFR, or one for a full transfer.
    steps: u32,
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly").field("apex", &self.apex).field("steps", &self.steps).finish_non_exhaustive()
    }
}

/// What came of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// The primary has what we have.
    Unchanged(Zone),
    /// A new version.
    Changed(Zone),
    /// The primary has a newer version and did not say what it holds: the whole zone is to be asked for.
    AskForAll,
}

impl Assembly {
    /// On what is there already, if anything. The apex is in wire form.
    ///
    /// # Errors
    /// The message for the user: that is no name.
    pub fn new(apex: &[u8], zone: Option<Zone>, size_max: u64) -> Result<Self, Text> {
        let apex = Name::from_octets(apex.to_vec()).map_err(|error| Text::of_library(&error))?;
        let interpreter = XfrResponseInterpreter::new();
        Ok(Self { interpreter, is_first: true, apex, size_max, zone, fresh: None, deletes: false, steps: 0 })
    }

    /// One message of the answer; what came of it, once it is the last.
    ///
    /// # Errors
    /// The message for the user: it does not fit what is there. Nothing of it is to be used then.
    pub fn take(&mut self, message: Vec<u8>) -> Result<Option<Assembled>, Text> {
        let message = Message::from_octets(Bytes::from(message)).map_err(|error| Text::of_library(&error))?;
        if std::mem::take(&mut self.is_first)
            && self.zone.is_some()
            && message.header_counts().ancount() == 1
            && let Some(soa) = only_record(&message)
        {
            return self.finish(&soa).map(Some);
        }
        let mut interpreter = std::mem::take(&mut self.interpreter);
        let steps = interpreter.interpret_response(message).map_err(|error| Text::of_library(&error))?;
        for step in steps {
            let step =
                step.map_err(|error| text!("a record cannot be read: {error}", error = format_args!("{error:?}")))?;
            if let Some(assembled) = self.hear(step)? {
                return Ok(Some(assembled));
            }
        }
        self.interpreter = interpreter;
        Ok(None)
    }

    fn hear(&mut self, update: ZoneUpdate<ParsedRecord>) -> Result<Option<Assembled>, Text> {
        match update {
            ZoneUpdate::DeleteAllRecords => {
                self.fresh = Some((BTreeMap::new(), 0));
                self.steps = 1;
            }
            ZoneUpdate::BeginBatchDelete(soa) => {
                let soa = ZoneSoa::of(&soa).ok_or_else(|| text!("a step begins without a SOA"))?;
                let zone = self.zone.as_mut().ok_or_else(|| text!("it sends changes to a zone that was not there"))?;
                if zone.soa.serial != soa.serial {
                    return Err(text!(
                        "it sends changes to serial {theirs}, and {ours} is here",
                        theirs = soa.serial,
                        ours = zone.soa.serial
                    ));
                }
                self.deletes = true;
            }
            ZoneUpdate::BeginBatchAdd(soa) => {
                let soa = ZoneSoa::of(&soa).ok_or_else(|| text!("a step ends without a SOA"))?;
                let zone = self.zone.as_mut().ok_or_else(|| text!("it sends changes to a zone that was not there"))?;
                if !is_newer(soa.serial, zone.soa.serial) {
                    return Err(text!(
                        "its changes lead from serial {from} to {to}",
                        from = zone.soa.serial,
                        to = soa.serial
                    ));
                }
                (zone.soa, self.deletes, self.steps) = (soa, false, self.steps.saturating_add(1));
            }
            ZoneUpdate::DeleteRecord(record) => {
                let (key, _) = self.row(&record)?;
                let zone = self
                    .zone
                    .as_mut()
                    .filter(|_| self.deletes)
                    .ok_or_else(|| text!("it deletes where nothing is deleted"))?;
                if zone.records.remove(&*key).is_none() {
                    return Err(text!("it deletes a record that is not here: {key}", key));
                }
                zone.bytes = zone.bytes.saturating_sub(key.len() as u64);
            }
            ZoneUpdate::AddRecord(record) => self.add(&record)?,
            ZoneUpdate::Finished(soa) => return self.finish(&soa).map(Some),
            // What a later version of the reader may say.
            _ => return Err(text!("it says something that is not understood")),
        }
        Ok(None)
    }

    fn add(&mut self, record: &ParsedRecord) -> Result<(), Text> {
        let (key, ttl) = self.row(record)?;
        if record.rtype() == Rtype::SOA {
            return Err(text!("it holds a SOA in its midst"));
        }
        let (records, bytes) = match (&mut self.fresh, &mut self.zone) {
            (Some((records, bytes)), _) => (records, bytes),
            (None, Some(zone)) if !self.deletes => (&mut zone.records, &mut zone.bytes),
            _ => return Err(text!("it adds where nothing is added")),
        };
        let len = key.len() as u64;
        // RFC 5936 section 2.2: "AXFR clients MUST ignore any duplicate RRs received."
        if records.insert(key.into_boxed_str(), ttl).is_none() {
            *bytes += len;
        }
        if *bytes > self.size_max {
            return Err(text!("it is larger than {most} bytes (size_max)", most = self.size_max));
        }
        Ok(())
    }

    fn finish(&mut self, soa: &ParsedRecord) -> Result<Assembled, Text> {
        let soa = ZoneSoa::of(soa).ok_or_else(|| text!("it ends without a SOA"))?;
        if let Some((records, bytes)) = self.fresh.take() {
            return Ok(Assembled::Changed(Zone { soa, records, bytes }));
        }
        let Some(zone) = self.zone.take() else { return Ok(Assembled::AskForAll) };
        match (self.steps, zone.soa.serial == soa.serial) {
            (0, true) => Ok(Assembled::Unchanged(zone)),
            // RFC 1995 section 2: a single newer SOA asks for another transport. An older one is a primary that was set
            // back (RFC 1982 leaves no way to it but the whole zone).
            (0, false) => Ok(Assembled::AskForAll),
            (_, true) => Ok(Assembled::Changed(zone)),
            (_, false) => Err(text!(
                "its changes end at serial {found} and not at {wanted}",
                found = zone.soa.serial,
                wanted = soa.serial
            )),
        }
    }

    fn row(&self, record: &ParsedRecord) -> Result<(String, u32), Text> {
        if !record.owner().ends_with(&self.apex) {
            return Err(text!("it holds a record of another zone: {owner}", owner = record.owner()));
        }
        row(record).ok_or_else(|| text!("it holds a record that cannot be written"))
    }
}

/// The first record of an answer.
fn only_record(message: &Message<Bytes>) -> Option<ParsedRecord> {
    let mut records = message.answer().ok()?.limit_to::<ZoneRecordData<Bytes, ParsedName<Bytes>>>();
    records.next()?.ok()
}

/// `owner class type data` of a record, and its TTL; `None` for one that is not of class IN, as all of a zone are, or that
/// does not fit a line.
fn row(record: &ParsedRecord) -> Option<(String, u32)> {
    if record.class() != Class::IN {
        return None;
    }
    let mut owner: Name<Vec<u8>> = record.owner().to_name();
    owner.make_canonical();
    let mut key = String::with_capacity(96);
    write!(key, "{} IN {} ", owner.fmt_with_dot(), record.rtype()).ok()?;
    write!(key, "{}", record.data().display_zonefile(DisplayKind::Simple)).ok()?;
    let key = spaces_as_numbers(key);
    // A line of its own, whatever is in it.
    (!key.contains(['\n', '\r'])).then_some((key, record.ttl().as_secs()))
}

/// A space in a name is written as its number: lines are taken apart at their spaces.
fn spaces_as_numbers(text: String) -> String {
    if !text.contains("\\ ") {
        return text;
    }
    let mut written = String::with_capacity(text.len() + 8);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            (_, Some(' ')) => written.push_str("\\032"),
            (c, behind) => {
                written.push(c);
                written.extend(behind);
            }
        }
    }
    written
}

/// Whether serial `a` comes after `b` (RFC 1982 section 3.2).
pub fn is_newer(a: u32, b: u32) -> bool {
    Serial(a).partial_cmp(&Serial(b)) == Some(std::cmp::Ordering::Greater)
}

#[cfg(test)]
mod tests;
