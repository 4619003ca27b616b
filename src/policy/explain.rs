//! Why: every rule that is looked at for a question, in the order of the gateway, and what becomes of it. The same
//! functions decide here and on the path, so an explanation cannot differ from what happens.

mod step;

use super::access::{AccessVerdict, Asked, Idle};
use super::clients::{GroupSet, Groups};
use super::document::instant;
use super::document::words::TypeName;
use super::emergency::Emergency;
use super::filter::data::LocalRecord;
use super::filter::{self, Action, Otherwise, Rule};
use super::foresee::{Foreseen, foresee_answer};
use super::schedules::{ActiveSet, ScheduleSet, Schedules};
use super::{Mode, Policy};
use crate::dns::name::Name;
use crate::dns::response::Response;
use crate::dns::{class, opcode, put_u16, rtype};
use crate::language::{Text, Told, text};
use crate::verdict::Reason;
use serde::{Serialize, Serializer};
use std::net::IpAddr;
use std::sync::LazyLock;
pub use step::{Step, StepHits};

/// What is asked, by whom and how.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Who asks.
    pub client: IpAddr,
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// Over TCP.
    pub tcp: bool,
    /// What is in force when it is asked.
    pub active: ActiveSet,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What an upstream or the cache says.
    Forward,
    /// As above, because a rule says so.
    Allow,
    /// NXDOMAIN.
    Nxdomain,
    /// NOERROR without records.
    Nodata,
    /// REFUSED.
    Refused,
    /// Nothing.
    Drop,
    /// TC=1.
    Truncate,
    /// Addresses of the operator's choice.
    Sinkhole,
    /// Records of the operator's choice.
    Data,
    /// SERVFAIL, in place of an answer that is not the expected one.
    Servfail,
    /// NOTIMP.
    NotImplemented,
}

impl Answer {
    /// All answers.
    pub const ALL: [Self; 11] = [
        Self::Forward,
        Self::Allow,
        Self::Nxdomain,
        Self::Nodata,
        Self::Refused,
        Self::Drop,
        Self::Truncate,
        Self::Sinkhole,
        Self::Data,
        Self::Servfail,
        Self::NotImplemented,
    ];

    /// The word for it, in tests/ and explanations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Allow => "allow",
            Self::Nxdomain => "nxdomain",
            Self::Nodata => "nodata",
            Self::Refused => "refused",
            Self::Drop => "drop",
            Self::Truncate => "truncate",
            Self::Sinkhole => "sinkhole",
            Self::Data => "data",
            Self::Servfail => "servfail",
            Self::NotImplemented => "notimp",
        }
    }

    pub(super) fn of_access(verdict: AccessVerdict) -> (Self, Reason) {
        match verdict {
            AccessVerdict::Admit => (Self::Forward, Reason::None),
            AccessVerdict::Refuse(reason) => (Self::Refused, reason),
            AccessVerdict::Drop(reason) => (Self::Drop, reason),
            AccessVerdict::Truncate(reason) => (Self::Truncate, reason),
            AccessVerdict::NotImplemented(reason) => (Self::NotImplemented, reason),
        }
    }

    pub(super) fn of_rule(rule: &Rule, tcp: bool) -> Self {
        match &rule.action {
            Action::Allow => Self::Allow,
            Action::Nxdomain => Self::Nxdomain,
            Action::Nodata => Self::Nodata,
            Action::Refused => Self::Refused,
            Action::Drop => Self::Drop,
            // Over TCP there is nothing to shorten: the query goes on.
            Action::Truncate if tcp => Self::Forward,
            Action::Truncate => Self::Truncate,
            Action::Sinkhole(_) => Self::Sinkhole,
            Action::Data(_) => Self::Data,
            // Only where an answer is another one than the rule expects.
            Action::Expect(expectation) => match expectation.otherwise {
                Otherwise::Servfail => Self::Servfail,
                Otherwise::Nxdomain => Self::Nxdomain,
                Otherwise::Nodata => Self::Nodata,
                Otherwise::Refused => Self::Refused,
                Otherwise::Drop => Self::Drop,
            },
            // Over their budgets, of which explanations know nothing.
            Action::Monitor | Action::Ttl(_) | Action::Shed(_) | Action::Limit(_) => Self::Forward,
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Every rule in order, and what becomes of the question.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Who asks.
    pub client: IpAddr,
    /// The groups of the client.
    pub groups: Vec<String>,
    /// What is asked.
    pub name: String,
    /// As a name: `AAAA`.
    pub qtype: String,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// When, where that was said: in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The incident mode that is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What was looked at.
    pub steps: Vec<Step>,
    /// What the client gets.
    pub answer: Answer,
    /// The name of the [`Reason`]: which policy decides.
    pub reason: &'static str,
    /// The filter rule that decides.
    pub rule: Option<String>,
    /// The title of its zone.
    pub zone: Option<String>,
    /// The first rule in monitor mode that would have decided otherwise, or the policy that it belongs to.
    pub monitored: Option<String>,
    /// The pool that is asked, when the question goes on.
    pub pool: Option<String>,
    /// A rule of an earlier zone may decide otherwise once the answer is there, so the question is asked first.
    pub waits: bool,
}

/// What runs besides the policy's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Besides<'r> {
    /// The incident mode that is on; the policy asked is its variant.
    pub mode: Option<&'r str>,
    /// Names that are blocked by command.
    pub emergency: Option<&'r Emergency>,
}

impl<'r> Besides<'r> {
    /// The names that are blocked by command, if only none.
    pub(super) fn emergency(&self) -> &'r Emergency {
        static NONE: LazyLock<Emergency> = LazyLock::new(Emergency::none);
        self.emergency.unwrap_or(&NONE)
    }
}

/// Explains what becomes of a question. Limits are named and not applied: they depend on what came before.
pub fn explain(policy: &Policy, subject: &Subject) -> Explanation {
    explain_with(policy, Besides::default(), subject)
}

/// As [`explain`], with what runs besides.
pub fn explain_with(policy: &Policy, besides: Besides<'_>, subject: &Subject) -> Explanation {
    let groups = policy.groups.of(subject.client);
    let mut explanation = Explanation {
        client: subject.client,
        groups: group_names(&policy.groups, &groups),
        name: subject.name.to_string(),
        qtype: TypeName(subject.qtype).to_string(),
        transport: if subject.tcp { "tcp" } else { "udp" },
        at: None,
        mode: besides.mode.map(str::to_owned),
        steps: Vec::new(),
        answer: Answer::Forward,
        reason: Reason::None.name(),
        rule: None,
        zone: None,
        monitored: None,
        pool: None,
        waits: false,
    };
    if explanation.ask_access(policy, subject) {
        return explanation;
    }
    explanation.name_source_limit(policy, subject.client);
    // Transfers pass the filter by: they are for those whom [transfer] names.
    let is_transfer = matches!(subject.qtype, rtype::AXFR | rtype::IXFR);
    if let Some(emergency) = besides.emergency.filter(|_| !is_transfer)
        && explanation.ask_emergency(emergency, subject, &groups)
    {
        return explanation;
    }
    if !is_transfer && explanation.ask_filter(policy, subject, &groups) {
        return explanation;
    }
    explanation.name_pool(policy, &subject.name);
    explanation
}

/// As [`explain`], for a question to which an upstream would answer with these records: a CNAME leads on, and what stands
/// behind it is owned by its target.
pub fn explain_answer(policy: &Policy, subject: &Subject, records: &[LocalRecord]) -> Explanation {
    let mut explanation = explain(policy, subject);
    let goes_on = explanation.waits || matches!(explanation.answer, Answer::Forward | Answer::Allow);
    if goes_on && explanation.pool.is_some() {
        explanation.ask_about(policy, subject, records);
    }
    explanation
}

/// The message that answers a question with these records.
fn answer_of(name: &Name, (qtype, qclass): (u16, u16), records: &[LocalRecord]) -> Vec<u8> {
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    put_u16(&mut message, 6, records.len() as u16);
    message.extend_from_slice(name.as_wire());
    message.extend([qtype, qclass].into_iter().flat_map(u16::to_be_bytes));
    let mut owner = name.as_wire();
    for record in records {
        message.extend_from_slice(owner);
        message.extend([record.rtype, class::IN].into_iter().flat_map(u16::to_be_bytes));
        message.extend_from_slice(&60_u32.to_be_bytes());
        message.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(&record.rdata);
        if record.rtype == rtype::CNAME {
            owner = &record.rdata;
        }
    }
    message
}

fn group_names(groups: &Groups, set: &super::clients::GroupSet) -> Vec<String> {
    let one = |index| {
        let mut one = super::clients::GroupSet::default();
        one.insert(index);
        one
    };
    let member = groups.names().enumerate().filter(|(index, _)| set.intersects(&one(*index)));
    member.map(|(_, name)| name.to_owned()).collect()
}

/// The schedules that are not active, or the time that is over, where that is why a rule does not speak.
fn time_of(rule: &Rule, why: filter::Why, schedules: &Schedules) -> Option<Text> {
    let scope = &rule.scope;
    match why {
        filter::Why::OtherTime => spelled([&scope.zone_schedules, &scope.schedules], schedules),
        filter::Why::Expired => over(scope.expires_ms),
        _ => None,
    }
}

fn spelled<const N: usize>(sets: [&Option<ScheduleSet>; N], schedules: &Schedules) -> Option<Text> {
    let spelled = sets.into_iter().flatten().map(|set| schedules.spelled(set));
    spelled.reduce(|zone, own| text!("{zone}, with {own}", zone, own))
}

fn over(expires_ms: Option<u64>) -> Option<Text> {
    expires_ms.map(|expires_ms| Text::verbatim(instant::show(expires_ms)))
}

/// Why a rule does not speak, with what it has to do with the time.
fn in_time(why: filter::Why, time: Option<Text>) -> Text {
    match time {
        None => why.text(),
        Some(time) => text!("{why} ({time})", why = why.text(), time),
    }
}

/// How a mode changes what a rule says.
fn in_mode(mode: Mode, says: Text) -> Text {
    match mode {
        Mode::Enforce => says,
        Mode::Monitor => text!("would say {says} (monitor)", says),
        Mode::Off => text!("off"),
    }
}

impl Explanation {
    /// Goes through access; true when it decides.
    fn ask_access(&mut self, policy: &Policy, subject: &Subject) -> bool {
        let asked = Asked { opcode: opcode::QUERY, qtype: subject.qtype, qclass: subject.qclass };
        let mut steps = Vec::new();
        let judged = policy.access.consider(subject.client, subject.tcp, asked, &subject.active, |considered| {
            let speaks = considered.verdict != AccessVerdict::Admit;
            let question = policy.access.question(considered.number);
            let idle = |why: filter::Why, time: Option<Text>| text!("fits, but {why}", why = in_time(why, time));
            let says = match (question, considered.idle) {
                (Some(question), Some(Idle::OtherTime)) => {
                    idle(filter::Why::OtherTime, spelled([&question.schedules], &policy.schedules))
                }
                (Some(question), Some(Idle::Expired)) => idle(filter::Why::Expired, over(question.expires_ms)),
                _ if speaks => in_mode(considered.mode, Text::verbatim(Answer::of_access(considered.verdict).0.name())),
                (Some(_), None) => text!("does not fit"),
                _ => text!("admit"),
            };
            let (policy, decides) = (considered.reason.name(), speaks && considered.mode == Mode::Enforce);
            steps.push(match question {
                Some(question) => Step {
                    rule: considered.number.to_string(),
                    ..Step::of_rule(policy, question.counted(), says, decides)
                },
                None => Step::new(policy, String::new(), says, decides),
            });
        });
        self.steps = steps;
        let (answer, reason) = Answer::of_access(judged.verdict);
        (self.answer, self.reason) = (answer, reason.name());
        self.monitored = judged.monitored.map(|(reason, _)| reason.name().to_owned());
        judged.verdict != AccessVerdict::Admit
    }

    fn name_source_limit(&mut self, policy: &Policy, client: IpAddr) {
        let source = &policy.source;
        let says = if source.exempt.contains(client) {
            text!("exempt")
        } else {
            let (rate, burst) = (source.rate, source.burst);
            in_mode(source.mode, text!("at most {rate} queries a second, {burst} at once", rate, burst))
        };
        self.steps.push(Step::new(Reason::Source.name(), String::new(), says, false));
    }

    /// Goes through the emergency rules; true when one decides that the question does not go on.
    fn ask_emergency(&mut self, emergency: &Emergency, subject: &Subject, groups: &GroupSet) -> bool {
        let Subject { client, name, qtype, tcp, ref active, .. } = *subject;
        let subject = filter::Subject { groups, client, name: &name, qtype, tcp, active };
        self.add_steps("emergency", emergency.considered(&subject), &Schedules::default(), tcp);
        self.decided(emergency.decide(&subject).rule, tcp)
    }

    fn add_steps(
        &mut self,
        policy: &'static str,
        considered: Vec<filter::Considered<'_>>,
        schedules: &Schedules,
        tcp: bool,
    ) {
        for considered in considered {
            let decides = considered.why == filter::Why::Decides;
            let action = match &considered.rule.action {
                action @ (Action::Shed(_) | Action::Limit(_) | Action::Ttl(_) | Action::Expect(_)) => action.name(),
                _ => Answer::of_rule(considered.rule, tcp).name(),
            };
            let says = match decides {
                true => text!("{action}, by {matched}", action, matched = considered.matched),
                false => {
                    let why = in_time(considered.why, time_of(considered.rule, considered.why, schedules));
                    text!("{action}, by {matched}, but {why}", action, matched = considered.matched, why)
                }
            };
            self.steps.push(Step::of_rule(policy, considered.rule.counted(), says, decides));
        }
    }

    /// Takes note of the rule that decides; true when the question does not go on.
    fn decided(&mut self, rule: Option<&Rule>, tcp: bool) -> bool {
        let Some(rule) = rule else { return false };
        self.answer = Answer::of_rule(rule, tcp);
        self.reason = Reason::Filter.name();
        self.rule = Some(rule.id.clone());
        self.zone = Some(rule.zone.clone());
        !matches!(self.answer, Answer::Forward | Answer::Allow)
    }

    /// Goes through the filter; true when a rule decides that the question does not go on.
    fn ask_filter(&mut self, policy: &Policy, subject: &Subject, groups: &super::clients::GroupSet) -> bool {
        let Subject { client, name, qtype, tcp, ref active, .. } = *subject;
        let subject = filter::Subject { groups, client, name: &name, qtype, tcp, active };
        self.add_steps(Reason::Filter.name(), policy.filter.considered(&subject), &policy.schedules, tcp);
        let decision = policy.filter.decide(&subject);
        if self.monitored.is_none() {
            self.monitored = decision.monitored.map(|rule| rule.id.clone());
        }
        self.waits = decision.waits;
        self.decided(decision.rule, tcp) && !decision.waits
    }

    /// Puts what is decided about the answer in the place of what the question alone had.
    fn ask_about(&mut self, policy: &Policy, subject: &Subject, records: &[LocalRecord]) {
        let message = answer_of(&subject.name, (subject.qtype, subject.qclass), records);
        let Ok(response) = Response::scan(&message) else { return };
        let Foreseen { answer, reason, rule, .. } = foresee_answer(policy, Besides::default(), subject, &response);
        (self.answer, self.reason, self.waits) = (answer, reason.name(), false);
        (self.rule, self.zone) = (rule.map(|rule| rule.id.clone()), rule.map(|rule| rule.zone.clone()));
    }

    fn name_pool(&mut self, policy: &Policy, name: &Name) {
        let server = &policy.server;
        let routes = server.routes.iter().filter(|route| name.is_within(&route.zone));
        let route = routes.max_by_key(|route| route.zone.labels());
        let pool = route.map_or(0, |route| route.pool);
        let pool = server.pools.get(pool).map_or("default", |pool| pool.name.as_str());
        let rule = route.map_or_else(String::new, |route| route.zone.to_string());
        self.steps.push(Step::new("route", rule, text!("pool {pool}", pool), false));
        self.pool = Some(pool.to_owned());
    }

    /// What becomes of it, in a few words: `nxdomain, by rule "storm-player"`.
    pub fn sentence(&self) -> String {
        self.verdict().english()
    }

    /// As above, in any language.
    pub fn verdict(&self) -> Text {
        let answer = self.answer.name();
        match (&self.rule, self.reason) {
            (Some(rule), _) if self.waits => {
                text!("{answer}, by rule {rule:?}, unless the answer sets off an earlier one", answer, rule)
            }
            (Some(rule), _) => text!("{answer}, by rule {rule:?}", answer, rule),
            (None, "none") => Text::verbatim(answer),
            (None, reason) => text!("{answer}, by {reason}", answer, reason),
        }
    }
}

impl Told for Explanation {
    fn text(&self) -> Text {
        let Self { name, qtype, client, transport, .. } = self;
        let asked = text!("{name} {qtype} for {client} over {transport}", name, qtype, client, transport);
        let at = self.at.iter().map(|at| text!("at {at}", at));
        let asked = Text::joined(" ", std::iter::once(asked).chain(at));
        let mode = self.mode.iter().map(|mode| text!("in mode {mode}", mode));
        let groups: Vec<_> = self.groups.iter().map(|name| format!("@{name}")).collect();
        let groups = match groups.is_empty() {
            true => text!("in no group"),
            false => text!("in {groups}", groups = groups.join(" ")),
        };
        let head = Text::joined(", ", std::iter::once(asked).chain(mode).chain([groups]));
        let named = |step: &Step| match step.rule.as_str() {
            "" => step.policy.to_owned(),
            rule => format!("{} {rule}", step.policy),
        };
        let width = self.steps.iter().map(|step| named(step).chars().count()).max().unwrap_or(0);
        let step = |step: &Step| {
            let mark = if step.decides { '>' } else { ' ' };
            Text::joined("", [Text::verbatim(format!("{mark} {:width$}  ", named(step))), step.told()])
        };
        let pool = self.pool.iter().map(|pool| text!("to pool {pool}", pool));
        let becomes = Text::joined(", ", std::iter::once(self.verdict()).chain(pool));
        let becomes = match &self.monitored {
            None => Text::joined("", [Text::verbatim("= "), becomes]),
            Some(rule) => {
                text!("= {verdict} ({rule} in monitor mode would have decided)", verdict = becomes, rule)
            }
        };
        Text::joined("\n", std::iter::once(head).chain(self.steps.iter().map(step)).chain([becomes]))
    }
}

impl Subject {
    /// A question of class IN over UDP, with every schedule active and nothing expired.
    pub fn new(client: IpAddr, name: Name, qtype: u16) -> Self {
        Self { client, name, qtype, qclass: class::IN, tcp: false, active: ActiveSet::EVERYTHING }
    }
}
