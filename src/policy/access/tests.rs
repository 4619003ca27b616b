//! The judgement of access: who may ask, what may be asked, and what is said of a file that is wrong.

use super::*;
use crate::dns::class;
use crate::policy::document::probe;
use crate::policy::schedules::ScheduleSet;

const PLAIN: Asked = Asked { opcode: opcode::QUERY, qtype: rtype::A, qclass: class::IN };

fn read(text: &str) -> (Access, Vec<String>) {
    probe::read_within(&probe::server(""), 1_000, text, Access::read)
}

fn access(text: &str) -> Access {
    let (access, faults) = read(text);
    assert_eq!(faults, [""; 0], "{text}");
    access
}

fn faults(text: &str) -> Vec<String> {
    read(text).1
}

fn judged(access: &Access, client: &str, tcp: bool, asked: Asked) -> Judgement {
    let judged = access.judge(client.parse().unwrap(), tcp, asked, &ActiveSet::EVERYTHING);
    judged.unwrap_or(Judgement::ADMITTED)
}

fn verdict(access: &Access, client: &str, asked: Asked) -> AccessVerdict {
    judged(access, client, false, asked).verdict
}

#[test]
fn without_a_list_only_loopback_and_private_networks_may_ask() {
    let access = access("");
    for client in [
        "127.0.0.1",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
    ] {
        assert_eq!(verdict(&access, client, PLAIN), AccessVerdict::Admit, "{client}");
    }
    for client in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::", "::ffff:8.8.8.8"] {
        assert_eq!(verdict(&access, client, PLAIN), AccessVerdict::Refuse(Reason::Access), "{client}");
    }
}

#[test]
fn the_longest_prefix_of_allow_and_deny_together_decides() {
    let access = access(
        "allow = [\"10.0.0.0/8\", \"10.6.6.7\", \"@dc\"]\ndeny = [\"10.6.6.0/24\", \"!10.6.6.9\", \"192.0.2.0/25\"]\ndenied = \"drop\"\n\
         [[clients.group]]\nname = \"dc\"\nnetworks = [\"192.0.2.0/24\", \"!192.0.2.192/26\", \"10.9.0.0/16\", \"!10.9.9.0/24\"]\n",
    );
    let dropped = AccessVerdict::Drop(Reason::Access);
    for (client, expected) in [
        ("10.1.1.1", AccessVerdict::Admit),
        ("10.6.6.6", dropped),
        ("10.6.6.7", AccessVerdict::Admit),
        ("10.6.6.9", AccessVerdict::Admit),
        ("192.0.2.1", dropped),
        ("192.0.2.129", AccessVerdict::Admit),
        ("192.0.2.200", dropped),
        // Not in the group, but in 10.0.0.0/8 all the same.
        ("10.9.9.1", AccessVerdict::Admit),
        ("127.0.0.1", dropped),
    ] {
        assert_eq!(verdict(&access, client, PLAIN), expected, "{client}");
    }
}

#[test]
fn transfers_notifies_and_updates_are_for_nobody_unless_named() {
    let axfr = Asked { qtype: rtype::AXFR, ..PLAIN };
    let notify = Asked { opcode: opcode::NOTIFY, qtype: rtype::SOA, ..PLAIN };
    let update = Asked { opcode: opcode::UPDATE, qtype: rtype::SOA, ..PLAIN };
    let closed = access("");
    assert_eq!(verdict(&closed, "10.1.0.53", axfr), AccessVerdict::Refuse(Reason::Transfer));
    assert_eq!(verdict(&closed, "10.1.0.53", notify), AccessVerdict::Refuse(Reason::Notify));
    assert_eq!(verdict(&closed, "10.1.0.53", update), AccessVerdict::Refuse(Reason::Update));
    let open = access("[transfer]\nallow = [\"10.1.0.53\"]\n[notify]\nmode = \"monitor\"\n[update]\nmode = \"off\"\n");
    assert_eq!(verdict(&open, "10.1.0.53", axfr), AccessVerdict::Admit);
    assert_eq!(verdict(&open, "10.1.0.54", axfr), AccessVerdict::Refuse(Reason::Transfer));
    assert_eq!(verdict(&open, "10.1.0.53", update), AccessVerdict::Admit);
    let expected = Judgement { verdict: AccessVerdict::Admit, number: 0, monitored: Some((Reason::Notify, 0)) };
    assert_eq!(judged(&open, "10.1.0.53", false, notify), expected);
}

#[test]
fn the_first_question_rule_that_fits_decides() {
    let access = access(
        "[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n[[question]]\nclasses = [\"CH\"]\nqtypes = [\"TXT\"]\naction = \"drop\"\n\
         [[question]]\nclasses = [\"CH\"]\naction = \"refused\"\n[[question]]\nmode = \"monitor\"\nqtypes = [\"TYPE65\"]\naction = \"notimp\"\n",
    );
    let any = Asked { qtype: rtype::ANY, ..PLAIN };
    let chaos = Asked { qtype: rtype::TXT, qclass: class::CH, ..PLAIN };
    assert_eq!(verdict(&access, "::1", any), AccessVerdict::Truncate(Reason::Question));
    assert_eq!(judged(&access, "::1", true, any).verdict, AccessVerdict::Admit);
    assert_eq!(verdict(&access, "::1", chaos), AccessVerdict::Drop(Reason::Question));
    assert_eq!(verdict(&access, "::1", Asked { qtype: rtype::A, ..chaos }), AccessVerdict::Refuse(Reason::Question));
    let https = judged(&access, "::1", false, Asked { qtype: 65, ..PLAIN });
    let expected = Judgement { verdict: AccessVerdict::Admit, number: 0, monitored: Some((Reason::Question, 4)) };
    assert_eq!(https, expected);
    let mut shown = Vec::new();
    let everything = &ActiveSet::EVERYTHING;
    access.consider("::1".parse().unwrap(), false, chaos, everything, |c| {
        shown.push((c.reason, c.number, c.verdict));
    });
    let expected = [
        (Reason::Access, 0, AccessVerdict::Admit),
        (Reason::Question, 1, AccessVerdict::Admit),
        (Reason::Question, 2, AccessVerdict::Drop(Reason::Question)),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_query_is_judged_as_if_each_rule_was_looked_at() {
    let (qtypes, classes) =
        (["[\"A\"]", "[\"ANY\", \"TXT\", \"A\"]", "[\"TYPE65\"]"], ["[\"CH\"]", "[\"IN\", \"HS\"]"]);
    let (opcodes, modes) = (["[\"UPDATE\", \"QUERY\"]", "[\"NOTIFY\"]"], ["enforce", "monitor", "off", "monitor"]);
    let text: String = (0..QUESTIONS_MAX)
        .map(|n| {
            // Each with another choice of lists, at least one; the last first, or the general ones hide the others.
            let n = QUESTIONS_MAX - n;
            let list = |key: &str, lists: &[&str], choice: usize| {
                lists.get(choice % (lists.len() + 1)).map_or(String::new(), |list| format!("{key} = {list}\n"))
            };
            let (qtypes, classes) = (list("qtypes", &qtypes, n), list("classes", &classes, n / 4));
            let opcodes =
                if n % 12 == 11 { list("opcodes", &opcodes, n % 2) } else { list("opcodes", &opcodes, n / 12) };
            let mode = modes[n % 4 / (1 + n % 3)];
            format!("[[question]]\nmode = \"{mode}\"\naction = \"refused\"\n{qtypes}{classes}{opcodes}")
        })
        .collect();
    let access = access(&text);
    let mut decided = std::collections::BTreeSet::new();
    for opcode in [opcode::QUERY, opcode::NOTIFY, opcode::UPDATE] {
        for qtype in [rtype::A, rtype::TXT, rtype::ANY, 65, 66, 0, u16::MAX] {
            for qclass in [class::IN, class::CH, 4, 5] {
                let (asked, client) = (Asked { opcode, qtype, qclass }, "::1");
                let everything = &ActiveSet::EVERYTHING;
                let looked_at = access.consider(client.parse().unwrap(), false, asked, everything, |_| {});
                assert_eq!(judged(&access, client, false, asked), looked_at, "{asked:?}");
                decided.insert(looked_at.number);
            }
        }
    }
    assert!(decided.len() > 3, "{decided:?}");
}

#[test]
fn a_question_acts_while_its_schedule_is_active_and_until_it_expires() {
    let access = access(
        "[[question]]\nqtypes = [\"ANY\"]\naction = \"drop\"\nexpires = 1970-01-01T00:00:05Z\n\
         [[question]]\nqtypes = [\"ANY\"]\naction = \"refused\"\nschedule = \"s\"\nowner = \"noc\"\nticket = \"T-1\"\n\
         [[clients.schedule]]\nname = \"s\"\ntz = \"UTC\"\nwindows = [{ from = \"01:00\", to = \"02:00\" }]\n",
    );
    let any = Asked { qtype: rtype::ANY, ..PLAIN };
    let mut s = ScheduleSet::default();
    s.insert(0);
    for (unix_ms, schedules, expected, idle) in [
        (4_999, ScheduleSet::default(), (AccessVerdict::Drop(Reason::Question), 1), None),
        (5_000, s, (AccessVerdict::Refuse(Reason::Question), 2), Some(Idle::Expired)),
        (5_000, ScheduleSet::default(), (AccessVerdict::Admit, 0), Some(Idle::OtherTime)),
    ] {
        let (active, mut last) = (ActiveSet::of(unix_ms, schedules), None);
        let judged = access.consider("::1".parse().unwrap(), false, any, &active, |c| last = c.idle.or(last));
        assert_eq!(((judged.verdict, judged.number), last), (expected, idle), "at {unix_ms}");
    }
    let counted = access.questions()[1].counted();
    assert_eq!((counted.id, counted.zone, counted.action), ("question-2", "access", "refused"));
    assert_eq!((counted.owner, counted.ticket), (Some("noc"), Some("T-1")));
    let over = "[[question]]\nqtypes = [\"ANY\"]\naction = \"drop\"\nexpires = 1970-01-01T00:00:01Z\n";
    assert_eq!(faults(over), ["4:11 W-EXPIRED"]);
}

#[test]
fn faults_are_found_at_their_places() {
    let text = "allow = []\ndeny = [\"10.0.0.1/8\", \"@x\"]\ndenied = \"reject\"\n[transfer]\nalow = []\n[[question]]\nqtypes = [\"ANNY\"]\nclasses = [\"XX\"]\nopcodes = []\naction = \"nxdomain\"\n[[question]]\nschedule = \"x\"\n";
    let expected = [
        "1:9 E-EMPTY",
        "2:9 E-NETWORK",
        "2:23 E-UNKNOWN-GROUP",
        "3:10 E-CHOICE",
        "5:1 E-UNKNOWN-KEY",
        "7:11 E-QTYPE",
        "8:12 E-QTYPE",
        "9:11 E-EMPTY",
        "10:10 E-CHOICE",
        "11:1 E-MISSING-KEY",
        "11:1 E-MISSING-KEY",
        "12:12 E-UNKNOWN-SCHEDULE",
    ];
    assert_eq!(faults(text), expected);
    assert_eq!(faults("allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]\n"), ["2:9 E-CONFLICT"]);
}
