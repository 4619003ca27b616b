//! access: who may ask, and what may be asked.
//!
//! Protects the servers behind from strangers (an open resolver is a weapon: RFC 5358), and keeps transfers, NOTIFY and
//! UPDATE to those who are named. It believes source addresses, which over UDP can be forged: where that matters, let the
//! servers behind ask for TSIG as well.
//!
//! ```toml
//! mode   = "enforce"                 # of allow and deny: enforce | monitor | off
//! allow  = ["@branches", "127.0.0.0/8"]
//! deny   = ["10.6.6.0/24"]           # the longest prefix of both together decides; deny wins a tie
//! denied = "refuse"                  # refuse | drop
//! log    = true                      # denied queries to the query log
//! [transfer]                         # AXFR and IXFR; also [notify] and [update]
//! mode  = "enforce"
//! allow = ["10.1.0.53"]              # nobody unless named; they must pass allow above, too
//! [[question]]                       # the first that fits decides
//! mode    = "enforce"
//! qtypes  = ["ANY", "TYPE65"]        # a question fits when each of the lists that are given holds it
//! classes = ["CH"]
//! opcodes = ["UPDATE"]
//! action  = "truncate"               # refused | drop | truncate (UDP only) | notimp
//! schedule = "office-hours"          # a name, or a list of names: one of them has to be active
//! expires = 2027-01-31T00:00:00+08:00
//! owner   = "noc"                    # shown with its hits and in the log
//! ticket  = "SEC-1234"
//! ```
//!
//! Without `allow` loopback and private networks may ask. A NOTIFY for the zone of a feed, from whom the feed names, is
//! heard by the gateway itself and needs no place here.

mod fitting;
mod question;

use super::Mode;
use super::clients::Groups;
use super::document::network::{self, Entry, Member};
use super::document::{At, Code, Context, Table};
use super::hits::Speaker;
use super::networks::{NetworkMap, NetworkSet};
use super::schedules::ActiveSet;
use crate::dns::query::Query;
use crate::dns::{opcode, rtype};
use crate::language::text;
use crate::verdict::Reason;
use fitting::{Fitting, Places};
pub use question::{Idle, Question};
use std::net::IpAddr;

/// Who may ask when nobody is named: loopback (RFC 1122, 4291), private (RFC 1918), shared (RFC 6598), link-local (RFC
/// 3927, 4291) and unique local addresses (RFC 4193).
pub const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// The most question rules: a bit of a word for each.
pub const QUESTIONS_MAX: usize = 64;

/// What access says about a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessVerdict {
    /// May go on.
    Admit,
    /// REFUSED with EDE 18 (prohibited).
    Refuse(Reason),
    /// Silence.
    Drop(Reason),
    /// TC=1 over UDP, nothing over TCP.
    Truncate(Reason),
    /// NOTIMP for opcodes that are not served.
    NotImplemented(Reason),
}

/// A verdict, and what a rule in monitor mode would have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What becomes of the query.
    pub verdict: AccessVerdict,
    /// The number of the `[[question]]` that decides, from 1; 0 for the other sections.
    pub number: usize,
    /// The first rule in monitor mode that would have denied it, and its number: to be counted.
    pub monitored: Option<(Reason, usize)>,
}

impl Judgement {
    /// May go on, and no rule has anything to say.
    pub const ADMITTED: Self = Self::of(AccessVerdict::Admit);

    /// That of no rule.
    const fn of(verdict: AccessVerdict) -> Self {
        Self { verdict, number: 0, monitored: None }
    }
}

/// What of a query access looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// 0 to 15.
    pub opcode: u8,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
}

/// A rule that was looked at, for explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Which list or section.
    pub reason: Reason,
    /// Number of the `[[question]]`, from 1; 0 for the other sections.
    pub number: usize,
    /// Whether it acts.
    pub mode: Mode,
    /// What it says about the query, were it to act; `Admit` when it does not fit.
    pub verdict: AccessVerdict,
    /// Why it says nothing although it fits.
    pub idle: Option<Idle>,
}

/// What is done with a client that may not ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denied {
    /// REFUSED.
    #[default]
    Refuse,
    /// Silence.
    Drop,
}

/// A list of those who may do something that is not for everyone.
#[derive(Clone, Debug)]
struct Named {
    mode: Mode,
    allow: NetworkSet,
}

/// access.toml, compiled.
#[derive(Debug)]
pub struct Access {
    mode: Mode,
    clients: NetworkSet,
    denied: Denied,
    /// Denied queries go to the query log.
    pub log: bool,
    transfer: Named,
    notify: Named,
    update: Named,
    questions: Vec<Question>,
    fitting: Fitting,
}

impl Access {
    /// Judges one query of one client; the same for every transport. `tcp`: it came over a stream.
    pub fn check(&self, client: IpAddr, tcp: bool, query: &Query<'_>, active: &ActiveSet) -> AccessVerdict {
        let Query { opcode, qtype, qclass, .. } = *query;
        let judged = self.judge(client, tcp, Asked { opcode, qtype, qclass }, active);
        judged.map_or(AccessVerdict::Admit, |judgement| judgement.verdict)
    }

    /// Whether `client` may ask at all: for packets that are no query, and may only be answered to such a client.
    pub fn admits(&self, client: IpAddr) -> bool {
        self.mode != Mode::Enforce || self.clients.contains(client)
    }

    /// As [`Self::check`], and says what monitored rules would have done; `None` for [`Judgement::ADMITTED`]. No allocation;
    /// two lookups, and one look at each question rule that fits. Inlined, for what nearly all queries need of it.
    #[inline(always)]
    pub fn judge(&self, client: IpAddr, tcp: bool, asked: Asked, active: &ActiveSet) -> Option<Judgement> {
        let may = self.clients.contains(client);
        if !may && self.mode == Mode::Enforce {
            return Some(Judgement::of(self.denial()));
        }
        let (kind, fitting) = (self.kind(asked), self.fitting.of(asked));
        if may && kind.is_none() && fitting.is_empty() {
            return None;
        }
        Some(self.judge_rules((client, may), kind, fitting, (tcp, asked, active)))
    }

    #[inline(never)]
    fn judge_rules(
        &self,
        (client, may): (IpAddr, bool),
        kind: Option<(&Named, Reason)>,
        fitting: Places,
        (tcp, asked, active): (bool, Asked, &ActiveSet),
    ) -> Judgement {
        let sections = [Some(self.about_client(may)), kind.map(|(named, reason)| named.about(client, reason))];
        let questions = fitting.map(|at| self.questions[at].about(at + 1, tcp, asked, active));
        decide(sections.into_iter().flatten().chain(questions), |_| {})
    }

    /// All `[[question]]`, in order.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The `[[question]]` of a number that is not 0.
    pub fn question(&self, number: usize) -> Option<&Question> {
        self.questions.get(number.wrapping_sub(1))
    }

    /// The `[[question]]` of a number, as the log and its counters need it.
    #[inline]
    pub fn speaker(&self, number: usize) -> Option<Speaker<'_>> {
        self.question(number).map(Question::speaker)
    }

    /// As [`Self::judge`], and shows each rule up to the one that decides, in order, whether it fits or not.
    pub fn consider(
        &self,
        client: IpAddr,
        tcp: bool,
        asked: Asked,
        active: &ActiveSet,
        show: impl FnMut(Considered),
    ) -> Judgement {
        let may = self.clients.contains(client);
        let kind = self.kind(asked).map(|(named, reason)| named.about(client, reason));
        let questions = (1..).zip(&self.questions).map(|(number, question)| question.about(number, tcp, asked, active));
        decide([Some(self.about_client(may)), kind].into_iter().flatten().chain(questions), show)
    }

    /// `allow` and `deny`; `may`: the client is in what both together allow.
    fn about_client(&self, may: bool) -> Considered {
        let verdict = if may { AccessVerdict::Admit } else { self.denial() };
        Considered { reason: Reason::Access, number: 0, mode: self.mode, verdict, idle: None }
    }

    /// What a client is told that may not ask.
    #[inline]
    fn denial(&self) -> AccessVerdict {
        match self.denied {
            Denied::Refuse => AccessVerdict::Refuse(Reason::Access),
            Denied::Drop => AccessVerdict::Drop(Reason::Access),
        }
    }

    /// `[transfer]`, `[notify]` or `[update]`, for a message of its kind.
    #[inline]
    fn kind(&self, asked: Asked) -> Option<(&Named, Reason)> {
        match (asked.opcode, asked.qtype) {
            (opcode::QUERY, rtype::AXFR | rtype::IXFR) => Some((&self.transfer, Reason::Transfer)),
            (opcode::NOTIFY, _) => Some((&self.notify, Reason::Notify)),
            (opcode::UPDATE, _) => Some((&self.update, Reason::Update)),
            _ => None,
        }
    }
}

/// The first of those that were looked at that speaks and acts; the first that speaks and only watches is remembered.
fn decide(considered: impl IntoIterator<Item = Considered>, mut show: impl FnMut(Considered)) -> Judgement {
    let mut monitored = None;
    for considered in considered {
        show(considered);
        let Considered { reason, number, mode, verdict, .. } = considered;
        match mode {
            _ if verdict == AccessVerdict::Admit => {}
            Mode::Enforce => return Judgement { verdict, number, monitored },
            Mode::Monitor => monitored = monitored.or(Some((reason, number))),
            Mode::Off => {}
        }
    }
    Judgement { monitored, ..Judgement::ADMITTED }
}

impl Access {
    /// Reads access.toml.
    pub fn read(t: &Table<'_>, context: &Context<'_>) -> Self {
        let groups = context.groups;
        let questions = t.tables("question");
        if questions.len() > QUESTIONS_MAX {
            t.fault(
                "question",
                Code::TooMany,
                text!("more than {most} question rules", most = QUESTIONS_MAX),
                text!("merge some"),
            );
        }
        let mut read = Vec::new();
        for table in questions.iter().take(QUESTIONS_MAX) {
            read.push(Question::read(&read, table, context));
        }
        let denied = [("refuse", Denied::Refuse), ("drop", Denied::Drop)];
        Self {
            mode: t.mode(Mode::Enforce),
            clients: read_clients(t, groups),
            denied: t.choice("denied", &denied, Denied::Refuse),
            log: t.flag("log", true),
            transfer: Named::read(&t.table("transfer"), groups),
            notify: Named::read(&t.table("notify"), groups),
            update: Named::read(&t.table("update"), groups),
            fitting: Fitting::new(&read),
            questions: read,
        }
    }
}

impl Named {
    fn read(t: &Table<'_>, groups: &Groups) -> Self {
        Self { mode: t.mode(Mode::Enforce), allow: t.networks("allow", groups) }
    }

    fn about(&self, client: IpAddr, reason: Reason) -> Considered {
        let verdict = if self.allow.contains(client) { AccessVerdict::Admit } else { AccessVerdict::Refuse(reason) };
        Considered { reason, number: 0, mode: self.mode, verdict, idle: None }
    }
}

/// `allow` and `deny` as one set: of both together the longest prefix decides.
fn read_clients(t: &Table<'_>, groups: &Groups) -> NetworkSet {
    let mut allow = t.network_entries("allow", groups);
    let deny = t.network_entries("deny", groups);
    if !t.has("allow") {
        let private = PRIVATE.iter().filter_map(|text| text.parse().ok());
        let entry = |net| At { value: Entry { except: false, member: Member::Network(net) }, place: t.place() };
        allow.extend(private.map(entry));
    } else if allow.is_empty() && t.list("allow").is_empty() {
        t.fault(
            "allow",
            Code::Empty,
            text!("nobody may ask"),
            text!("name a network, or remove allow: then private networks may"),
        );
    }
    for entry in deny.iter().filter(|entry| t.has("allow") && allow.iter().any(|other| other.value == entry.value)) {
        let message = text!("the same entry is in allow and in deny");
        t.faults().add(Code::Conflict, &entry.place, message, text!("remove one of the two"));
    }
    network::report_overlaps(("allow", &allow), ("deny", &deny), groups, t.faults());
    let values = |list: Vec<At<Entry>>| network::depths(list.into_iter().map(|entry| entry.value), groups);
    let (allow, deny) = (values(allow), values(deny));
    NetworkMap::merge(&[&allow, &deny], |lists| match (lists[0], lists[1]) {
        (Some((allowed, true)), Some((denied, true))) => Some(allowed > denied),
        (Some((_, allowed)), _) => Some(*allowed),
        (None, _) => None,
    })
}

#[cfg(test)]
mod tests;
