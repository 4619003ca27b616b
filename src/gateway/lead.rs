//! Where local data leads a query: a CNAME of ours is followed to its end, because a stub asks once and chases nothing. The
//! name that it leads to is asked for as if the client had asked for it (cache, storm guard, others who wait for the same),
//! and the answer goes out behind the CNAME.
//!
//! Which rules still speak there is told in [`crate::policy::filter`]'s `local`. The CNAME alone is given to who asked for
//! it (CNAME, ANY) and to who does not want anything looked up (RD=0), as BIND does it. When the target cannot be resolved
//! the client gets what the resolution came to: NXDOMAIN behind the CNAME, SERVFAIL without it.

use super::admit::Admitted;
use super::obey::Order;
use super::outbox::Outbox;
use super::{Case, Desk, View};
use crate::dns::edns::ExtendedError;
use crate::dns::name::{NAME_MAX, Name};
use crate::dns::query::Query;
use crate::dns::reply::{Body, End, Lead, OwnRecord};
use crate::dns::response::Response;
use crate::dns::{HEADER_LEN, class, put_u16, rcode, rtype, u32_at};
use crate::policy::filter::data::{Alias, LocalData, RECORDS_MAX};
use crate::policy::filter::{Local, Rule, Subject};
use std::cell::OnceCell;

/// The most CNAMEs of ours in one answer. BIND starts a query anew 11 times; whoever writes local data needs fewer.
const LEADS_MAX: usize = 8;

/// The longest query that is led on, in bytes; a longer one, full of options, gets the CNAME alone.
const PACKET_MAX: usize = 1024;

/// The longest query for a target: another name, and all else as it was.
const TARGET_MAX: usize = PACKET_MAX + NAME_MAX;

/// What a note begins with: the number of the rule, and how many CNAMEs there are.
const NOTE_HEAD: usize = 5;

/// The longest note: each CNAME is a TTL and a name.
const NOTE_MAX: usize = NOTE_HEAD + LEADS_MAX * (4 + NAME_MAX) + PACKET_MAX;

/// What led a query to the name that is asked for in its place.
#[derive(Debug)]
pub(super) struct Led<'q> {
    /// The query as it came.
    pub(super) asked: Query<'q>,
    /// The rule that led it first, by its place in the filter.
    rule: usize,
    leads: [Lead<'q>; LEADS_MAX],
    len: usize,
    /// All of it as bytes, to be kept while an upstream is asked.
    pub(super) note: &'q [u8],
}

impl<'q> Led<'q> {
    /// Reads a note; `None` for an empty one, that of a query which nothing has led.
    pub(super) fn read(note: &'q [u8]) -> Option<Self> {
        let rule = u32_at(note, 0)? as usize;
        let len = usize::from(*note.get(4)?);
        let mut leads = [Lead::default(); LEADS_MAX];
        let mut rest = note.get(NOTE_HEAD..)?;
        for lead in leads.get_mut(..len)? {
            let (head, behind) = rest.split_at_checked(5)?;
            let (target, behind) = behind.split_at_checked(usize::from(head[4]))?;
            *lead = Lead { target, ttl: u32_at(head, 0)? };
            rest = behind;
        }
        Some(Self { asked: Query::scan(rest).ok()?, rule, leads, len, note })
    }

    fn leads(&self) -> &[Lead<'q>] {
        &self.leads[..self.len]
    }
}

/// A note that is being written.
struct Note {
    bytes: [u8; NOTE_MAX],
    end: usize,
}

impl Note {
    fn new(rule: usize) -> Self {
        let mut bytes = [0; NOTE_MAX];
        bytes[..4].copy_from_slice(&(rule as u32).to_be_bytes());
        Self { bytes, end: NOTE_HEAD }
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.get_mut(self.end..self.end + bytes.len())?.copy_from_slice(bytes);
        self.end += bytes.len();
        Some(())
    }

    /// Adds a CNAME; `None` when there are as many as there may be.
    fn add(&mut self, target: &Name, ttl: u32) -> Option<()> {
        if usize::from(self.bytes[4]) == LEADS_MAX {
            return None;
        }
        self.bytes[4] += 1;
        self.put(&ttl.to_be_bytes())?;
        self.put(&[target.as_wire().len() as u8])?;
        self.put(target.as_wire())
    }

    /// Whether a name is the target of one of its CNAMEs.
    fn has(&self, name: &Name) -> bool {
        let mut rest = &self.bytes[NOTE_HEAD..self.end];
        while let Some((head, behind)) = rest.split_at_checked(5) {
            let Some((target, behind)) = behind.split_at_checked(usize::from(head[4])) else { return false };
            if target == name.as_wire() {
                return true;
            }
            rest = behind;
        }
        false
    }

    /// The whole note, with the query that it is about.
    fn finish(&mut self, packet: &[u8]) -> Option<Led<'_>> {
        self.put(packet)?;
        Led::read(&self.bytes[..self.end])
    }
}

/// Why a chain of local data has no end.
#[derive(Clone, Copy)]
enum Lost {
    /// It comes back to a name that it has been at.
    Circle,
    /// It has more CNAMEs than are followed.
    Long,
    /// A name would be longer than a name may be.
    Name,
}

/// Where a chain of local data ends.
enum Way<'v> {
    /// At a name that upstreams are asked about.
    Away(Name),
    /// At records of ours, or at none of the type.
    Here(&'v Rule, &'v LocalData),
    /// At a name that is blocked in an emergency.
    Blocked(&'v Rule, Name),
    Lost(Lost),
}

impl Desk {
    /// Answers with where an alias leads and what stands there; true when it leads nowhere else, and the query goes on.
    pub(super) fn lead(
        &mut self,
        view: &View<'_>,
        case: &Case<'_>,
        order: &Order<'_>,
        alias: &Alias,
        out: &mut Outbox,
    ) -> bool {
        let rule = order.rule;
        let Some(target) = target_of(alias, order.name) else {
            self.lose(view, case, rule, Lost::Name, out);
            return false;
        };
        // The draft's older spelling of "pass": a CNAME to the name itself. So "*" may lead to a name that it names too.
        if target == case.query.name {
            return true;
        }
        let ttl = alias.ttl.unwrap_or(rule.ttl);
        let error = Some((ExtendedError::ForgedAnswer, rule.id.as_str()));
        let number = view.running.policy.filter.number_of(rule).filter(|_| is_led_on(case));
        let Some(number) = number else {
            let records = &[OwnRecord { rtype: rtype::CNAME, ttl, rdata: target.as_wire() }];
            self.answer_for_rule(view, case, rule, (Body::Records { records, ttl }, error), out);
            return false;
        };
        let mut note = Note::new(number);
        match self.follow_leads(view, case, (rule, target, ttl), &mut note) {
            Way::Away(target) => self.ask_for(view, case, &target, &mut note, out),
            Way::Here(last, data) => {
                let mut records = [OwnRecord::default(); RECORDS_MAX];
                let len = data.write_of_type(case.query.qtype, last.ttl, &mut records);
                let Some(led) = note.finish(case.query.packet) else { return false };
                let end = End::Records { records: &records[..len], ttl: last.ttl };
                self.answer_for_rule(view, case, rule, (Body::Led { leads: led.leads(), end }, error), out);
            }
            Way::Blocked(blocking, name) => {
                let order = Order { rule: blocking, name: &name, matched: Default::default() };
                self.obey(view, case, &order, out);
            }
            Way::Lost(lost) => self.lose(view, case, rule, lost, out),
        }
        false
    }

    /// Follows local data from a target on, as far as it leads.
    fn follow_leads<'v>(
        &mut self,
        view: &View<'v>,
        case: &Case<'_>,
        (first, mut target, mut ttl): (&Rule, Name, u32),
        note: &mut Note,
    ) -> Way<'v> {
        let groups = view.running.policy.groups.of(case.client.peer.ip());
        let mut led = [first; LEADS_MAX];
        for step in 1.. {
            if target == case.query.name || note.has(&target) {
                return Way::Lost(Lost::Circle);
            }
            if note.add(&target, ttl).is_none() {
                break;
            }
            let subject = Subject { name: &target, ..view.subject(case, &groups) };
            if let Some(rule) = view.running.emergency_rule(&subject) {
                return Way::Blocked(rule, target);
            }
            let local = view.running.policy.filter.local_data(&subject, &led[..step]);
            let Some(Local { rule, data, matched }) = local else { return Way::Away(target) };
            rule.hits.decided(self.worker, view.now.unix_ms);
            let data = data.of(Order { rule, name: &target, matched }.owner());
            let Some(alias) = &data.alias else { return Way::Here(rule, data) };
            ttl = alias.ttl.unwrap_or(rule.ttl);
            target = match target_of(alias, &target) {
                Some(further) if further == target => return Way::Away(target),
                Some(further) => further,
                None => return Way::Lost(Lost::Name),
            };
            if let Some(slot) = led.get_mut(step) {
                *slot = rule;
            }
        }
        Way::Lost(Lost::Long)
    }

    /// Asks for a target in the place of what the client asked for.
    fn ask_for(&mut self, view: &View<'_>, case: &Case<'_>, target: &Name, note: &mut Note, out: &mut Outbox) {
        let mut room = [0; TARGET_MAX];
        let packet = write_query(case.query, target, &mut room);
        // Both were scanned when they came; should they not scan now, there is nothing to lead anywhere.
        let (Some(Ok(query)), Some(led)) = (packet.map(Query::scan), note.finish(case.query.packet)) else {
            return self.overloaded(view, case, out);
        };
        let case = &Case { query: &query, led: Some(&led), key_hash: OnceCell::new(), ..case.clone() };
        self.look_up(view, &Admitted::again(view, case), out);
    }

    /// Begins anew with a query that was led on by what may not be in force any more. From now on, so that each change is
    /// the cause of this once.
    pub(super) fn ask_afresh(&mut self, view: &View<'_>, case: &Case<'_>, led: &Led<'_>, out: &mut Outbox) {
        let case = &Case::new(case.client, &led.asked, view.now.at);
        if self.passes_again(view, case, out) {
            self.look_up(view, &Admitted::again(view, case), out);
        }
    }

    /// Answers a query that was led on with the message about its target, `len` bytes at the start of the outbox's room.
    pub(super) fn answer_led(&mut self, view: &View<'_>, case: &Case<'_>, led: &Led<'_>, len: usize, out: &mut Outbox) {
        let mut about = std::mem::take(&mut self.about_target);
        let copied = out.room(len).zip(about.get_mut(..len)).map(|(room, place)| place.copy_from_slice(room));
        let scanned = copied.and_then(|()| Response::scan(&about[..len]).ok());
        match (scanned, view.running.policy.filter.rules().get(led.rule)) {
            (Some(response), Some(rule)) => {
                let body = match response.rcode {
                    rcode::NOERROR | rcode::NXDOMAIN => Body::Led { leads: led.leads(), end: End::Answer(&response) },
                    code => Body::Rcode(code),
                };
                let error = Some((ExtendedError::ForgedAnswer, rule.id.as_str()));
                self.answer_for_rule(view, case, rule, (body, error), out);
            }
            _ => self.lose_answer(view, case, out),
        }
        self.about_target = about;
    }

    fn lose(&mut self, view: &View<'_>, case: &Case<'_>, rule: &Rule, lost: Lost, out: &mut Outbox) {
        let (code, text) = match lost {
            // RFC 6672 section 2.2 has this for a name that a rewriting makes too long.
            Lost::Name => (rcode::YXDOMAIN, rule.id.as_str()),
            Lost::Circle => (rcode::SERVFAIL, "local data leads in a circle"),
            Lost::Long => (rcode::SERVFAIL, "local data leads on too often"),
        };
        let error = if code == rcode::YXDOMAIN { ExtendedError::ForgedAnswer } else { ExtendedError::Other };
        self.answer_for_rule(view, case, rule, (Body::Rcode(code), Some((error, text))), out);
    }
}

/// Whether a client that is led elsewhere is told more than the CNAME.
fn is_led_on(case: &Case<'_>) -> bool {
    let query = case.query;
    query.rd
        && query.qclass == class::IN
        && !matches!(query.qtype, rtype::CNAME | rtype::ANY)
        && !query.signed
        && query.packet.len() <= PACKET_MAX
}

/// Where an alias leads a name; `None` when that is no name.
fn target_of(alias: &Alias, name: &Name) -> Option<Name> {
    let mut room = [0; NAME_MAX];
    Name::from_wire(alias.write(name, &mut room)?).ok()
}

/// Writes the query for another name: its header, type, class and OPT are those of `query`.
fn write_query<'r>(query: &Query<'_>, name: &Name, room: &'r mut [u8; TARGET_MAX]) -> Option<&'r [u8]> {
    let opt = query.edns.as_ref().map_or(Some(&[][..]), |edns| query.packet.get(edns.start..edns.end))?;
    let fixed = query.packet.get(query.question_end - 4..query.question_end)?;
    let mut end = 0;
    for bytes in [query.packet.get(..HEADER_LEN)?, name.as_wire(), fixed, opt] {
        room.get_mut(end..end + bytes.len())?.copy_from_slice(bytes);
        end += bytes.len();
    }
    [6, 8].into_iter().for_each(|at| put_u16(room, at, 0));
    put_u16(room, 10, u16::from(query.edns.is_some()));
    Some(&room[..end])
}
