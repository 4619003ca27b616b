//! Entries of a master file to records of a policy zone: owner, TTL, class and type in every order that RFC 1035 allows,
//! and what the zones of the world do beyond it.

use super::flaw::Flaw;
use super::master::{Between, Entries, Word};
use super::spelling::{WIRE_MAX, label_starts, read_labels, write_labels};
use super::store::{Collector, Policy, Record};
use super::trigger::{self, NoTrigger, Trigger};
use super::{RpzZone, Wide, rdata};
use crate::dns::name::Name;
use crate::dns::rtype;
use crate::policy::document::contents::Source;
use crate::policy::document::words;
use crate::policy::filter::lists::{self, Format, Problem, Problems, Unreadable, Weight, classify};
use crate::policy::filter::sets::SELF;

/// TTL of records before anything says another, in seconds.
const TTL_DEFAULT: u32 = 300;

/// The longest TTL (RFC 2181 section 8).
const TTL_MAX: u32 = i32::MAX as u32;

/// The longest piece of a line that is kept as an example, in bytes.
const LINE_SHOWN: usize = 200;

/// The owner of the line before.
enum Owner {
    /// There was none yet, or it could not be read.
    Unknown,
    /// Its name in the zone is in [`Reader::owner`].
    Known,
}

/// A policy zone being read.
pub(super) struct Reader {
    /// In wire form; the root until the first record says.
    apex: Vec<u8>,
    apex_is_known: bool,
    origin: Vec<u8>,
    ttl: Option<u32>,
    last_ttl: Option<u32>,
    last_owner: Owner,
    /// The owner's labels in the zone, lower case, with the root's byte.
    owner: Vec<u8>,
    owner_doubt: Option<Problem>,
    /// The owner once more, in which its trigger is read: lines that inherit the owner need it whole.
    trigger: Vec<u8>,
    data: Vec<u8>,
    collector: Collector,
    problems: Problems,
    wide: Wide,
    lines: usize,
}

/// A record without its owner.
struct Rest<'w> {
    ttl: Option<u32>,
    rtype: u16,
    words: &'w [Word<'w>],
}

impl Reader {
    /// Of a text of so many bytes.
    pub(super) fn new(len: u64) -> Self {
        Self {
            apex: vec![0],
            apex_is_known: false,
            origin: vec![0],
            ttl: None,
            last_ttl: None,
            last_owner: Owner::Unknown,
            owner: Vec::new(),
            owner_doubt: None,
            trigger: Vec::new(),
            data: Vec::new(),
            collector: Collector::new(usize::try_from(len).unwrap_or(usize::MAX)),
            problems: Problems::default(),
            wide: Wide::default(),
            lines: 0,
        }
    }

    /// Reads all of a zone, each piece of it gone before the next is read.
    ///
    /// # Errors
    /// [`Unreadable`] when it is no text, or cannot be read from the disk.
    pub(super) fn read(mut self, text: Source<'_>) -> Result<RpzZone, Unreadable> {
        let (mut pieces, mut begin, mut is_last) = (text.pieces(), Between::default(), false);
        while let Some(piece) = pieces.next()? {
            if begin == Between::default() {
                lists::refuse_what_is_no_list(piece.strip_prefix(lists::BYTE_ORDER_MARK).unwrap_or(piece))?;
            }
            lists::refuse_what_turned_binary(piece, begin.lines)?;
            let mut entries = Entries::new(piece, begin, is_last);
            self.read_piece(&mut entries);
            begin = entries.end();
            let left = entries.left();
            // An entry that is still open at the end of the file comes once more, as the last piece.
            pieces.give_back(left);
            is_last = pieces.is_at_the_end();
        }
        Ok(self.finish())
    }

    fn read_piece(&mut self, entries: &mut Entries<'_>) {
        while let Some(step) = entries.step() {
            self.lines += 1;
            let read = match step {
                Ok(()) => self.entry(entries),
                Err(flaw) => {
                    self.last_owner = Owner::Unknown;
                    Err(flaw.into())
                }
            };
            if let Err(no) = read {
                if no.problem.weight() != Weight::Taken {
                    entries.recover();
                }
                self.bad(entries, no);
            }
        }
    }

    fn finish(self) -> RpzZone {
        let store = self.collector.finish();
        // A zone of nothing has no name either.
        let apex = Some(&self.apex).filter(|_| store.len() > 0).and_then(|apex| Name::from_wire(apex).ok());
        let apex = apex.unwrap_or_else(Name::root);
        RpzZone { apex, store, problems: self.problems, wide: self.wide, lines: self.lines }
    }

    #[cold]
    fn bad(&mut self, entries: &Entries<'_>, no: NoTrigger) {
        let line = shown(entries.first_line().trim_ascii_end());
        self.problems.add_meant(no.problem, entries.line, entries.start(), line, no.meant);
    }

    fn entry(&mut self, entries: &Entries<'_>) -> Result<(), NoTrigger> {
        let (owner, rest) = match entries.words() {
            [owner, rest @ ..] if !entries.inherits => (Some(owner), rest),
            rest => (None, rest),
        };
        if let Some(owner) = owner
            && owner.text.starts_with(b"$")
            && !owner.quoted
        {
            return self.directive(owner.text, rest);
        }
        let rest = match read_rest(rest) {
            Ok(rest) => rest,
            Err(problem) => {
                self.last_owner = Owner::Unknown;
                return Err(better(problem, entries));
            }
        };
        if let Some(owner) = owner {
            self.last_owner = Owner::Unknown;
            self.read_owner(owner.text, rest.rtype)?;
            self.last_owner = Owner::Known;
        } else if matches!(self.last_owner, Owner::Unknown) {
            return Err(Flaw::NoOwner.into());
        }
        self.record(&rest, entries)
    }

    fn directive(&mut self, word: &[u8], rest: &[Word<'_>]) -> Result<(), NoTrigger> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        match rest {
            _ if is("$INCLUDE") => Err(Flaw::Include.into()),
            _ if is("$GENERATE") => Err(Flaw::Generate.into()),
            [value] if is("$ORIGIN") => {
                let mut wire = Vec::new();
                let absolute = value.text != b"@" && read_labels(value.text, &mut wire)?;
                wire.extend_from_slice(if absolute { &[0] } else { &self.origin });
                if wire.len() > WIRE_MAX {
                    return Err(Problem::NameTooLong.into());
                }
                wire.make_ascii_lowercase();
                self.origin = wire;
                Ok(())
            }
            [value] if is("$TTL") => {
                self.ttl = Some(read_ttl(value.text).ok_or(Flaw::Directive)?);
                Ok(())
            }
            _ => Err(Flaw::Directive.into()),
        }
    }

    /// Reads the owner of a record of this type into `self.owner`, as it is in the zone.
    fn read_owner(&mut self, text: &[u8], rtype: u16) -> Result<(), NoTrigger> {
        self.owner.clear();
        self.owner_doubt = None;
        let absolute = text != b"@" && read_labels(text, &mut self.owner)?;
        self.owner.make_ascii_lowercase();
        if !self.apex_is_known {
            self.find_apex(absolute, rtype);
        }
        if !absolute && self.origin == self.apex {
            // As nearly every owner.
        } else {
            self.owner.extend_from_slice(if absolute { &[0] } else { &self.origin });
            match prefix_of(&self.owner, &self.apex) {
                Some(len) => self.owner.truncate(len),
                None => {
                    // What was meant by a last dot is plain where the record is a policy; a host elsewhere is none.
                    self.owner.pop();
                    let flaw = if rtype == rtype::CNAME { Flaw::OutOfZone } else { Flaw::OutOfZoneData };
                    self.owner_doubt = Some(flaw.into());
                    if flaw == Flaw::OutOfZoneData {
                        return Err(flaw.into());
                    }
                }
            }
        }
        self.owner.push(0);
        if self.owner.len() > WIRE_MAX { Err(Problem::NameTooLong.into()) } else { Ok(()) }
    }

    /// The first record tells the name of the zone: it is the owner of the SOA, or else the origin.
    fn find_apex(&mut self, absolute: bool, rtype: u16) {
        self.apex_is_known = true;
        let mut apex = Vec::new();
        if rtype == rtype::SOA {
            apex.extend_from_slice(&self.owner);
            apex.extend_from_slice(if absolute { &[0] } else { &self.origin });
        } else {
            apex.extend_from_slice(&self.origin);
        }
        if apex.len() <= WIRE_MAX {
            if self.origin == [0] {
                self.origin.clone_from(&apex);
            }
            self.apex = apex;
        }
    }

    /// Keeps the record of the owner last read.
    fn record(&mut self, rest: &Rest<'_>, entries: &Entries<'_>) -> Result<(), NoTrigger> {
        let soa_ttl = || (rest.rtype == rtype::SOA).then(|| rest.words.last()).flatten().and_then(|w| read_ttl(w.text));
        let ttl = rest.ttl.or(self.ttl).or(self.last_ttl).or_else(soa_ttl).unwrap_or(TTL_DEFAULT);
        self.last_ttl = Some(ttl);
        if rdata::is_of_the_zone(rest.rtype) {
            return Ok(());
        }
        self.data.clear();
        self.trigger.clone_from(&self.owner);
        let (trigger, doubt) = trigger::read(&mut self.trigger)?;
        if trigger != Trigger::Apex && !rdata::can_be_data(rest.rtype) {
            return Err(Flaw::Type.into());
        }
        rdata::read(rest.rtype, rest.words, &self.origin, &mut self.data)?;
        let (policy, action_doubt) = match (rest.rtype, trigger) {
            (_, Trigger::Apex) => (Policy::Data, None),
            (rtype::CNAME, trigger) => policy_of(&self.data, trigger, &self.apex)?,
            _ => (Policy::Data, None),
        };
        let data = (policy == Policy::Data).then_some((rest.rtype, self.data.as_slice()));
        let record = Record { trigger, policy, ttl, data };
        self.collector.add(&record)?;
        self.wide.note(&record, (entries.line, entries.start()), || shown(entries.text()).into());
        match self.owner_doubt.or(doubt).or(action_doubt) {
            Some(doubt) => Err(doubt.into()),
            None => Ok(()),
        }
    }
}

/// As much of a line as is kept.
fn shown(line: &[u8]) -> &[u8] {
    &line[..line.len().min(LINE_SHOWN)]
}

/// What an entry looks like that is no record.
#[cold]
fn better(problem: Problem, entries: &Entries<'_>) -> NoTrigger {
    let line = entries.first_line().trim_ascii();
    if problem != Problem::Rpz(Flaw::NoType) {
        return problem.into();
    }
    match classify(line, entries.words().first().map_or(line, |word| word.text), Format::Rpz) {
        seen @ (Problem::AdblockLine | Problem::DnsmasqLine | Problem::UnboundLine | Problem::HostsLine) => seen,
        _ => problem,
    }
    .into()
}

/// How long the part of `wire` is that stands before `apex`; `None` when it is not within.
fn prefix_of(wire: &[u8], apex: &[u8]) -> Option<usize> {
    let len = wire.len().checked_sub(apex.len())?;
    let begins_label = len == wire.len() - 1 || label_starts(wire).any(|start| start == len);
    (begins_label && &wire[len..] == apex).then_some(len)
}

/// TTL and class in either order, then the type.
fn read_rest<'w>(mut words: &'w [Word<'w>]) -> Result<Rest<'w>, Problem> {
    let (mut ttl, mut class) = (None, false);
    loop {
        let (word, rest) = words.split_first().ok_or(Flaw::NoType)?;
        words = rest;
        if word.quoted {
            return Err(Flaw::NoType.into());
        }
        let text = word.text;
        if text.eq_ignore_ascii_case(b"CNAME") {
            return Ok(Rest { ttl, rtype: rtype::CNAME, words });
        }
        if !class && text.eq_ignore_ascii_case(b"IN") {
            class = true;
        } else if ttl.is_none() && text.first().is_some_and(u8::is_ascii_digit) {
            ttl = Some(read_ttl(text).ok_or(Flaw::NoType)?);
        } else if let Some(rtype) = str::from_utf8(text).ok().and_then(words::qtype) {
            return Ok(Rest { ttl, rtype, words });
        } else if ["CH", "HS", "CS"].iter().any(|other| text.eq_ignore_ascii_case(other.as_bytes())) {
            return Err(Flaw::Class.into());
        } else {
            return Err(Flaw::NoType.into());
        }
    }
}

/// Seconds, or `2h30m` as BIND writes it.
fn read_ttl(text: &[u8]) -> Option<u32> {
    let (mut total, mut number) = (0_u32, None::<u32>);
    for byte in text {
        if byte.is_ascii_digit() {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u32::from(byte - b'0'))?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let total = total.checked_add(number.unwrap_or(0))?;
    (!text.is_empty() && total <= TTL_MAX).then_some(total)
}

/// What a CNAME to `target`, in wire form, says is to be done (draft section 3).
pub(super) fn policy_of(
    target: &[u8],
    trigger: Trigger<'_>,
    apex: &[u8],
) -> Result<(Policy, Option<Problem>), Problem> {
    match target {
        [0] => return Ok((Policy::Nxdomain, None)),
        [1, b'*', 0] => return Ok((Policy::Nodata, None)),
        [1, b'*', ..] => return Ok((Policy::Data, None)),
        _ => {}
    }
    let action = |name: &[u8]| match name.to_ascii_lowercase().as_slice() {
        b"\x0crpz-passthru\0" => Some(Policy::Passthru),
        b"\x08rpz-drop\0" => Some(Policy::Drop),
        b"\x0crpz-tcp-only\0" => Some(Policy::TcpOnly),
        _ => None,
    };
    if let Some(policy) = action(target) {
        return Ok((policy, None));
    }
    // "a top level domain starting with "rpz-", a child of a top level domain starting with "rpz-"" are no local data.
    let last = label_starts(target).last().unwrap_or_default();
    if target.get(last + 1..last + 5).is_some_and(|start| start.eq_ignore_ascii_case(b"rpz-")) {
        return Err(Flaw::UnknownAction.into());
    }
    // `rpz-passthru` without its dot leads into the zone itself, where no policy can have meant it to lead.
    let label = usize::from(target[0]) + 1;
    if apex.len() > 1 && target[label..].eq_ignore_ascii_case(apex) {
        let mut own = target[..label].to_vec();
        own.push(0);
        if let Some(policy) = action(&own) {
            return Ok((policy, Some(Flaw::RelativeAction.into())));
        }
    }
    Ok((if is_itself(target, trigger) { Policy::PassthruSelf } else { Policy::Data }, None))
}

/// Whether a CNAME leads to its own trigger: the old spelling of `rpz-passthru.`
fn is_itself(target: &[u8], trigger: Trigger<'_>) -> bool {
    match trigger {
        Trigger::Apex => false,
        Trigger::Name(_, reach, wire) => reach == SELF && target.eq_ignore_ascii_case(wire),
        Trigger::Network(_, network) => {
            let mut text = String::new();
            write_labels(target, &mut text);
            text.eq_ignore_ascii_case(trigger::encode(network, "").trim_end_matches('.'))
        }
    }
}
