//! What would become of a question under a policy, and of an answer to it, in short: for many at once, where
//! [`super::explain`] tells of one at length. The same functions decide in both and on the path of a query. No allocation.

use super::Policy;
use super::access::{AccessVerdict, Asked, Judgement};
use super::explain::{Answer, Besides, Subject};
use super::filter::{self, Decision, Rule, TtlBounds};
use super::word::{Filters, Heard, Pass, Word};
use crate::dns::response::Response;
use crate::dns::{opcode, rtype};
use crate::verdict::Reason;

/// See above.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen<'p> {
    /// What the client gets.
    pub answer: Answer,
    /// Which policy decides.
    pub reason: Reason,
    /// The filter rule that decides.
    pub rule: Option<&'p Rule>,
    /// The first rule in monitor mode that would have decided.
    pub monitored: Option<&'p Rule>,
    /// The rule that bounds the TTLs of the answer.
    pub ttl: Option<&'p Rule>,
    /// A rule of an earlier zone may decide otherwise once the answer is there.
    pub waits: bool,
}

impl<'p> Foreseen<'p> {
    /// The rule that decides, else the name of the policy.
    pub fn by(&self) -> &'p str {
        self.rule.map_or(self.reason.name(), |rule| &rule.id)
    }

    /// The bounds of the TTLs that the client gets.
    pub fn bounds(&self) -> TtlBounds {
        Pass { untouched: false, ttl: self.ttl, cut: false, rule: None }.bounds()
    }
}

impl Answer {
    /// Whether the client gets what an upstream or the cache says.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Forward | Self::Allow)
    }
}

/// What becomes of a question. Limits are not asked: they depend on what came before.
pub fn foresee<'p>(policy: &'p Policy, besides: Besides<'p>, subject: &Subject) -> Foreseen<'p> {
    let Subject { client, ref name, qtype, qclass, tcp, ref active } = *subject;
    let asked = Asked { opcode: opcode::QUERY, qtype, qclass };
    let judged = policy.access.judge(client, tcp, asked, active).unwrap_or(Judgement::ADMITTED);
    let (answer, reason) = Answer::of_access(judged.verdict);
    let passed = Foreseen { answer, reason, rule: None, monitored: None, ttl: None, waits: false };
    // Transfers pass the filter by: they are for those whom [transfer] names.
    if judged.verdict != AccessVerdict::Admit || matches!(qtype, rtype::AXFR | rtype::IXFR) {
        return passed;
    }
    let groups = policy.groups.of(client);
    let subject = filter::Subject { groups: &groups, client, name, qtype, tcp, active };
    let emergency = besides.emergency.map(|emergency| emergency.decide(&subject)).unwrap_or_default();
    let decided = |Decision { rule, monitored, waits, .. }: Decision<'p>| match rule {
        Some(_) => {
            let answer = rule.map_or(passed.answer, |rule| Answer::of_rule(rule, tcp));
            Foreseen { answer, reason: Reason::Filter, rule, monitored, waits, ..passed }
        }
        None => Foreseen { monitored, ..passed },
    };
    let first = decided(emergency);
    if first.answer.passes() { decided(policy.filter.decide(&subject)) } else { first }
}

/// As [`foresee`], for a question to which an upstream would answer so.
pub fn foresee_answer<'p>(
    policy: &'p Policy,
    besides: Besides<'p>,
    subject: &Subject,
    response: &Response<'_>,
) -> Foreseen<'p> {
    let asked = foresee(policy, besides, subject);
    // Transfers pass the filter by.
    if !(asked.answer.passes() || asked.waits) || matches!(subject.qtype, rtype::AXFR | rtype::IXFR) {
        return asked;
    }
    let Subject { client, ref name, qtype, tcp, ref active, .. } = *subject;
    let groups = policy.groups.of(client);
    let subject = filter::Subject { groups: &groups, client, name, qtype, tcp, active };
    let filters = Filters { policy, emergency: besides.emergency() };
    let Heard { word, monitored, .. } = filters.judge(&subject, response);
    let monitored = asked.monitored.or(monitored);
    let foreseen = |answer, reason, rule| Foreseen { answer, reason, rule, monitored, ttl: None, waits: false };
    match word {
        Word::Pass(Pass { rule, ttl, .. }) => {
            let answer = rule.map_or(Answer::Forward, |rule| Answer::of_rule(rule, tcp));
            let reason = if rule.is_some() { Reason::Filter } else { Reason::None };
            Foreseen { ttl, ..foreseen(answer, reason, rule) }
        }
        Word::Rule(Decision { rule, .. }, _) => {
            foreseen(rule.map_or(Answer::Forward, |rule| Answer::of_rule(rule, tcp)), Reason::Filter, rule)
        }
        Word::Rebinding => foreseen(Answer::Nodata, Reason::Rebinding, None),
        Word::Unread => foreseen(Answer::Servfail, Reason::Filter, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;
    use crate::policy::document::Files;
    use crate::policy::explain::explain;
    use crate::policy::{Options, load_files};

    const ACCESS: &str = "allow = [\"10.0.0.0/8\"]\n[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n";
    const FILTER: &str = "[zone]\ntitle = \"t\"\n\
        [[rule]]\nid = \"w\"\nnames = [\"watched.example\"]\naction = \"nxdomain\"\nmode = \"monitor\"\n\
        [[rule]]\nid = \"a\"\nnames = [\"good.bad.example\"]\naction = \"allow\"\n\
        [[rule]]\nid = \"b\"\nnames = [\"bad.example\", \"watched.example\"]\naction = \"nodata\"\nqtypes = [\"A\", \"TXT\"]\n\
        [[rule]]\nid = \"t\"\nnames = [\"cut.example\"]\naction = \"truncate\"\n";

    #[test]
    fn it_says_in_short_what_an_explanation_says_at_length() {
        let files: Files = [
            ("gateway.toml", "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n"),
            ("access.toml", ACCESS),
            ("filters/10-t.toml", FILTER),
        ]
        .into_iter()
        .collect();
        let (policy, _) = load_files(files, &Options::default()).expect("no faults");
        let names = ["bad.example", "x.good.bad.example", "watched.example", "cut.example", "other.example"];
        let mut seen = std::collections::BTreeSet::new();
        for name in names.map(|name| Name::from_text(name).expect("a name")) {
            for (qtype, tcp) in [(1, false), (1, true), (28, false), (rtype::ANY, false), (rtype::AXFR, true)] {
                for client in [[10, 1, 2, 3], [192, 0, 2, 7]] {
                    let subject = Subject { tcp, ..Subject::new(client.into(), name, qtype) };
                    let (long, short) = (explain(&policy, &subject), foresee(&policy, Besides::default(), &subject));
                    assert_eq!((short.answer, short.reason.name()), (long.answer, long.reason), "{long:?}");
                    assert_eq!(short.rule.map(|rule| &rule.id), long.rule.as_ref(), "{long:?}");
                    assert_eq!(short.monitored.map(|rule| &rule.id), long.monitored.as_ref(), "{long:?}");
                    seen.insert(short.answer.name());
                }
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["allow", "forward", "nodata", "refused", "truncate"]);
    }
}
