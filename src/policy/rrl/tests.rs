//! Response-rate limiting in virtual time: BIND's own cases, every category, a full table.

use super::*;
use crate::dns::response::Response;
use crate::dns::{rcode, rtype};
use crate::policy::document::toml_file::{TomlFile, TomlText};
use crate::policy::document::{Faults, Files};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::time::Duration;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn table() -> RrlTable {
    RrlTable::new(1 << 20, 7)
}

/// Every category at `rate` but ALL and GUARD, which are off.
fn policy(rate: u32, slip: u8) -> RrlPolicy {
    let rates = Category::ALL.map(|category| match category {
        Category::All | Category::Guard => Rate::per_second(0),
        _ => Rate::per_second(rate),
    });
    let exempt = NetworkSet::default();
    RrlPolicy {
        mode: Mode::Enforce,
        rates,
        slip,
        window: 15,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        exempt,
        memory: 1 << 20,
    }
}

fn with(mut policy: RrlPolicy, category: Category, rate: u32) -> RrlPolicy {
    policy.rates[category as usize] = Rate::per_second(rate);
    policy
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).plus(Duration::from_millis(millis))
}

fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

/// Answers, slips and drops among some verdicts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    answers: usize,
    slips: usize,
    drops: usize,
}

impl FromIterator<RrlVerdict> for Tally {
    fn from_iter<I: IntoIterator<Item = RrlVerdict>>(verdicts: I) -> Self {
        verdicts.into_iter().fold(Self::default(), |mut tally, verdict| {
            match verdict {
                RrlVerdict::Answer => tally.answers += 1,
                RrlVerdict::Slip => tally.slips += 1,
                RrlVerdict::Drop => tally.drops += 1,
            }
            tally
        })
    }
}

fn tally(answers: usize, slips: usize, drops: usize) -> Tally {
    Tally { answers, slips, drops }
}

/// `count` responses of one class to one client at one moment.
fn burst(
    policy: &RrlPolicy,
    table: &RrlTable,
    now: Moment,
    client: IpAddr,
    class: &ResponseClass,
    count: usize,
) -> Tally {
    (0..count).map(|_| policy.check(table, now, client, class)).collect()
}

fn positive(table: &RrlTable, text: &str) -> ResponseClass {
    table.class_of_own(rcode::NOERROR, true, &name(text), rtype::A)
}

#[test]
fn ten_identical_responses_at_two_a_second_give_two_answers_three_tc_five_silences() {
    let table = table();
    let class = positive(&table, "a1.tld2");
    assert_eq!(burst(&policy(2, 3), &table, at(0), CLIENT, &class, 10), tally(2, 3, 5));
    let verdicts: Vec<_> = (0..4).map(|_| policy(2, 3).check(&table, at(20_000), CLIENT, &class)).collect();
    assert_eq!(verdicts[2], RrlVerdict::Slip, "the first limited response slips");
    assert_eq!(verdicts[3], RrlVerdict::Drop);
}

#[test]
fn every_category_is_limited_alike_and_errors_never_slip() {
    let other = |text: &str, rcode| table().class_of_own(rcode, false, &name(text), rtype::A);
    for (class, expected) in [
        (other("x.example", rcode::REFUSED), tally(2, 0, 8)),
        (other("x.example", rcode::SERVFAIL), tally(2, 0, 8)),
        (other("x.example", rcode::NXDOMAIN), tally(2, 3, 5)),
        (other("x.example", rcode::NOERROR), tally(2, 3, 5)),
    ] {
        assert_eq!(burst(&policy(2, 3), &table(), at(0), CLIENT, &class, 10), expected, "{class:?}");
    }
}

#[test]
fn errors_count_together_whatever_was_asked() {
    let (table, policy) = (table(), policy(2, 3));
    let tally: Tally = (0..10)
        .map(|i| {
            let rcode = if i % 2 == 0 { rcode::REFUSED } else { rcode::FORMERR };
            policy.check(&table, at(0), CLIENT, &table.class_of_own(rcode, false, &name(&format!("n{i}.example")), i))
        })
        .collect();
    assert_eq!((tally.answers, tally.drops), (2, 8));
}

#[test]
fn a_steady_flood_gets_its_burst_and_then_nothing_until_it_pauses() {
    let (table, policy) = (table(), policy(10, 0));
    let class = positive(&table, "www.example");
    let flood: Tally = (0..60_000).map(|ms| policy.check(&table, at(ms), CLIENT, &class)).collect();
    assert!((10..=12).contains(&flood.answers), "about 10 in 60 s of 1000 a second, not {}", flood.answers);
    let verdict = |ms| policy.check(&table, at(ms), CLIENT, &class);
    assert_eq!(verdict(60_000 + 14_000), RrlVerdict::Drop, "the debt reaches back 15 s");
    assert_eq!(verdict(74_000 + 16_100), RrlVerdict::Answer, "a window of silence and a second are always enough");
}

#[test]
fn responses_within_the_rate_are_never_limited() {
    let (table, policy) = (table(), policy(10, 2));
    let class = positive(&table, "www.example");
    let steady: Tally = (0..600).map(|n| policy.check(&table, at(n * 100), CLIENT, &class)).collect();
    assert_eq!(steady, tally(600, 0, 0));
}

#[test]
fn slip_says_how_many_of_the_limited_get_tc() {
    for (slip, slips) in [(0, 0), (1, 98), (2, 49), (5, 20), (10, 10)] {
        let table = table();
        let class = positive(&table, "www.example");
        assert_eq!(
            burst(&policy(2, slip), &table, at(0), CLIENT, &class, 100),
            tally(2, slips, 98 - slips),
            "slip {slip}"
        );
    }
}

#[test]
fn exempt_clients_and_mode_off_are_untouched_and_monitor_says_what_it_would_do() {
    let table = table();
    let class = positive(&table, "www.example");
    let exempt = NetworkSet::new([("192.0.2.0/28".parse().unwrap(), true)]);
    let mut policy = RrlPolicy { exempt, ..policy(2, 3) };
    assert_eq!(burst(&policy, &table, at(0), CLIENT, &class, 10), tally(10, 0, 0));
    assert_eq!(burst(&policy, &table, at(0), [192, 0, 2, 77].into(), &class, 10), tally(2, 3, 5));
    policy.mode = Mode::Monitor;
    assert_eq!(burst(&policy, &table, at(0), [198, 51, 100, 7].into(), &class, 10), tally(2, 3, 5));
    policy.mode = Mode::Off;
    assert_eq!(burst(&policy, &table, at(0), [203, 0, 113, 7].into(), &class, 10), tally(10, 0, 0));
}

#[test]
fn a_rate_of_zero_is_no_limit() {
    let table = table();
    let class = positive(&table, "www.example");
    assert_eq!(burst(&policy(0, 2), &table, at(0), CLIENT, &class, 1000), tally(1000, 0, 0));
}

#[test]
fn a_network_shares_one_account_and_its_neighbours_have_their_own() {
    let (table, policy) = (table(), policy(10, 0));
    let class = positive(&table, "www.example");
    let answers = |client: &str| burst(&policy, &table, at(0), client.parse().unwrap(), &class, 6).answers;
    assert_eq!((answers("192.0.2.1"), answers("192.0.2.254"), answers("192.0.3.1")), (6, 4, 6));
    assert_eq!(answers("::ffff:192.0.3.9"), 4, "a mapped address is the IPv4 address");
    assert_eq!(
        (answers("2001:db8:0:12ff::1"), answers("2001:db8:0:1200::9"), answers("2001:db8:0:1300::1")),
        (6, 4, 6)
    );
    let wide = RrlPolicy { ipv4_prefix: 8, ipv6_prefix: 32, ..super::tests::policy(10, 0) };
    let answers = |client: &str| burst(&wide, &table, at(0), client.parse().unwrap(), &class, 6).answers;
    assert_eq!((answers("10.1.1.1"), answers("10.200.1.1")), (6, 4));
    assert_eq!((answers("2001:db9:1::"), answers("2001:db9:ffff::")), (6, 4));
}

#[test]
fn everything_together_has_a_limit_that_never_slips() {
    let (table, policy) = (table(), with(policy(100, 1), Category::All, 20));
    let random: Tally =
        (0..50).map(|i| policy.check(&table, at(0), CLIENT, &positive(&table, &format!("n{i}.example")))).collect();
    assert_eq!(random, tally(20, 0, 30));
    let elsewhere = [198, 51, 100, 1].into();
    assert_eq!(burst(&policy, &table, at(0), elsewhere, &positive(&table, "n1.example"), 10), tally(10, 0, 0));
}

#[test]
fn the_guard_limits_new_names_below_one_parent_and_leaves_known_ones_alone() {
    let (table, policy) = (table(), with(policy(100, 0), Category::Guard, 20));
    let known = positive(&table, "www.wild.example");
    assert_eq!(policy.check(&table, at(0), CLIENT, &known), RrlVerdict::Answer);
    let random: Tally = (0..50)
        .map(|i| policy.check(&table, at(10), CLIENT, &positive(&table, &format!("n{i}.wild.example"))))
        .collect();
    assert_eq!(random, tally(19, 0, 31), "one of the 20 was the known name's");
    assert_eq!(burst(&policy, &table, at(10), CLIENT, &known, 50), tally(50, 0, 0), "its account is there already");
    assert_eq!(policy.check(&table, at(10), CLIENT, &positive(&table, "n1.other.example")), RrlVerdict::Answer);
    let repeated = positive(&table, "again.example");
    assert_eq!(burst(&policy, &table, at(10), CLIENT, &repeated, 90), tally(90, 0, 0), "one name is charged once");
}

#[test]
fn the_guard_covers_names_without_an_answer_and_not_errors_or_nxdomain() {
    let (table, policy) = (table(), with(policy(1000, 0), Category::Guard, 5));
    let run = |rcode| -> Tally {
        let class = |i| table.class_of_own(rcode, false, &name(&format!("n{i}.z{rcode}.example")), rtype::A);
        (0..20).map(|i| policy.check(&table, at(0), CLIENT, &class(i))).collect()
    };
    assert_eq!(run(rcode::NOERROR), tally(5, 0, 15));
    assert_eq!(run(rcode::NXDOMAIN), tally(20, 0, 0));
    assert_eq!(run(rcode::REFUSED), tally(20, 0, 0));
}

#[test]
fn a_full_table_lets_newcomers_inherit_debt_and_frees_nobody() {
    let table = RrlTable::new(4096, 7);
    let policy = policy(10, 0);
    let victim = positive(&table, "victim.example");
    assert_eq!(burst(&policy, &table, at(0), CLIENT, &victim, 1000).answers, 10);
    let mut flood = Tally::default();
    for i in 0..20_000u32 {
        let class = positive(&table, &format!("n{}.example", i % 5000));
        let client = Ipv4Addr::from_bits(0x0a00_0000 + (i << 8)).into();
        let verdict = policy.check(&table, at(u64::from(i / 20)), client, &class);
        *(if verdict == RrlVerdict::Answer { &mut flood.answers } else { &mut flood.drops }) += 1;
        if i % 20 == 0 {
            assert_eq!(
                policy.check(&table, at(u64::from(i / 20)), CLIENT, &victim),
                RrlVerdict::Drop,
                "after {i} others"
            );
        }
    }
    assert!(flood.drops > 10_000, "256 accounts cannot hold 20 000 responses a second: {flood:?}");
    assert_eq!(table.bytes(), 4096);
}

#[test]
fn debts_survive_a_change_of_policy() {
    let table = table();
    let class = positive(&table, "www.example");
    burst(&policy(2, 0), &table, at(0), CLIENT, &class, 100);
    assert_eq!(policy(20, 0).check(&table, at(100), CLIENT, &class), RrlVerdict::Drop);
}

#[test]
fn a_question_whose_answer_is_over_its_rate_is_decided_before_it_is_asked() {
    let (table, policy) = (table(), policy(2, 3));
    let (www, class) = (name("www.example"), positive(&table, "www.example"));
    let ahead = |qtype| policy.check_ahead(&table, at(0), CLIENT, &www, qtype);
    for _ in 0..5 {
        assert_eq!(ahead(rtype::A), None, "asking ahead charges nothing while there is room");
    }
    burst(&policy, &table, at(0), CLIENT, &class, 2);
    let decided: Tally = (0..8).filter_map(|_| ahead(rtype::A)).collect();
    assert_eq!(decided, tally(0, 3, 5), "as if the answers had been fetched");
    assert_eq!(ahead(rtype::AAAA), None, "another type has another account");
    assert_eq!(policy.check_ahead(&table, at(0), [198, 51, 100, 1].into(), &www, rtype::A), None);
    burst(&policy, &table, at(0), CLIENT, &table.class_of_own(rcode::NOERROR, false, &www, rtype::AAAA), 9);
    assert!(ahead(rtype::AAAA).is_some(), "a name known to have no such record is decided too");
}

/// A record: owner, type, data.
type Written<'a> = (&'a str, u16, &'a [u8]);

/// A response message.
fn message(
    rcode: u16,
    aa: bool,
    question: (&str, u16),
    answers: &[Written<'_>],
    authorities: &[Written<'_>],
) -> Vec<u8> {
    let flags = 0x8000 | if aa { 0x0400 } else { 0 } | rcode;
    let mut out = Vec::new();
    for word in [1, flags, 1, answers.len() as u16, authorities.len() as u16, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(name(question.0).as_wire());
    out.extend([question.1.to_be_bytes(), [0, 1]].concat());
    for (owner, rtype, data) in answers.iter().chain(authorities) {
        out.extend(name(owner).as_wire());
        out.extend([rtype.to_be_bytes(), [0, 1]].concat());
        out.extend(300u32.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(*data);
    }
    out
}

/// The class of a response to `question` in `table`.
fn class(
    table: &RrlTable,
    rcode: u16,
    aa: bool,
    question: (&str, u16),
    answers: &[Written<'_>],
    authorities: &[Written<'_>],
    zone: Option<&str>,
) -> ResponseClass {
    let bytes = message(rcode, aa, question, answers, authorities);
    let response = Response::scan(&bytes).expect("a message of our own");
    table.class_of(&response, &name(question.0), question.1, zone.map(name).as_ref())
}

/// Data of an SOA record: two root names and five numbers.
const SOA: &[u8] = &[0; 22];
const A: &[u8] = &[192, 0, 2, 80];

#[test]
fn nxdomain_counts_under_the_zone_that_said_so() {
    let table = table();
    let nx = |qname, answers: &[Written<'_>], soa: Option<&str>, zone| {
        let authorities: Vec<_> = soa.into_iter().map(|owner| (owner, rtype::SOA, SOA)).collect();
        class(&table, rcode::NXDOMAIN, true, (qname, rtype::A), answers, &authorities, zone)
    };
    let zone = nx("a.b.example", &[], Some("example"), None);
    assert_eq!((zone.category, zone.guard), (Category::Nxdomain, 0));
    assert_eq!(nx("x.y.z.example", &[], Some("EXAMPLE"), None), zone, "any name, any letter case");
    let target = name("gone.example");
    let chain = [("www.other", rtype::CNAME, target.as_wire())];
    assert_eq!(
        nx("www.other", &chain, Some("example"), None),
        zone,
        "the end of the CNAME chain is what does not exist"
    );
    assert_ne!(nx("a.b.test", &[], Some("example"), None), zone, "an SOA from elsewhere says nothing");
    assert_eq!(nx("a.b.test", &[], None, Some("example")), zone, "the longest route");
    assert_eq!(nx("a.example", &[], None, None), zone, "else the name without its first label");
    assert_eq!(table.class_of_own(rcode::NXDOMAIN, false, &name("z.example"), rtype::TXT), zone);
    assert_eq!(nx(".", &[], None, None).category, Category::Nxdomain);
}

#[test]
fn errors_referrals_and_nodata_count_under_what_repeats() {
    let table = table();
    let of = |rcode, aa, qname, authorities: &[Written<'_>]| {
        class(&table, rcode, aa, (qname, rtype::A), &[], authorities, None)
    };
    let error = of(rcode::SERVFAIL, false, "a.example", &[]);
    assert_eq!(error, ResponseClass::default());
    assert_eq!(of(rcode::REFUSED, true, "b.test", &[("test", rtype::SOA, SOA)]), error);
    let ns = name("ns.example");
    let referral = of(rcode::NOERROR, false, "a.sub.example", &[("sub.example", rtype::NS, ns.as_wire())]);
    assert_eq!(referral.category, Category::Referral);
    assert_eq!(of(rcode::NOERROR, false, "zzz.sub.example", &[("sub.example", rtype::NS, ns.as_wire())]), referral);
    let nodata = table.class_of_own(rcode::NOERROR, false, &name("a.sub.example"), rtype::TXT);
    assert_eq!(nodata.category, Category::Nodata);
    assert_eq!(of(rcode::NOERROR, true, "a.sub.example", &[("sub.example", rtype::NS, ns.as_wire())]), nodata, "AA=1");
    let both = [("sub.example", rtype::NS, ns.as_wire()), ("sub.example", rtype::SOA, SOA)];
    assert_eq!(of(rcode::NOERROR, false, "a.sub.example", &both), nodata, "an SOA makes it NODATA");
    assert_ne!(of(rcode::NOERROR, true, "b.sub.example", &[]), nodata);
}

#[test]
fn answers_count_under_name_and_type_and_signed_wildcards_under_the_wildcard() {
    let table = table();
    let of = |qname, qtype, labels: Option<u8>| {
        let signature: Vec<u8> = [&[0, 1, 13, labels.unwrap_or(0)], &[0; 14][..], &[0], &[7; 64]].concat();
        let answers = [(qname, rtype::A, A), (qname, rtype::RRSIG, &signature[..])];
        let answers = &answers[..if labels.is_some() { 2 } else { 1 }];
        class(&table, rcode::NOERROR, true, (qname, qtype), answers, &[], None)
    };
    let plain = of("a.wild.example", rtype::A, None);
    assert_eq!(plain.category, Category::Positive);
    assert_eq!(plain, positive(&table, "A.wild.example"));
    assert_ne!(of("b.wild.example", rtype::A, None).account, plain.account);
    assert_eq!(of("b.wild.example", rtype::A, None).guard, plain.guard, "the guard is their parent");
    assert_ne!(of("a.wild.example", rtype::ANY, None).account, plain.account);
    assert_eq!(of("a.wild.example", rtype::A, Some(3)), plain, "signed, and no wildcard");
    let wildcard = of("a.wild.example", rtype::A, Some(2));
    assert_eq!(of("b.wild.example", rtype::A, Some(2)).account, wildcard.account);
    assert_eq!(of("c.d.wild.example", rtype::A, Some(2)).account, wildcard.account);
    assert_ne!(wildcard.account, of("wild.example", rtype::A, None).account);
    assert_ne!(wildcard.account, plain.account);
    let root = of("a.b", rtype::A, Some(0));
    assert_eq!(of("x", rtype::A, Some(0)).account, root.account, "a wildcard below the root");
}

proptest! {
    /// However responses are spread: never more answers in any stretch than burst + rate * time, and after a window and
    /// a second of silence always an answer.
    #[test]
    fn no_schedule_beats_the_limit(rate in 1u32..100, window in 1u32..20, gaps in prop::collection::vec(0u64..200, 1..400)) {
        let (table, policy) = (table(), RrlPolicy { window, ..policy(rate, 2) });
        let class = positive(&table, "www.example");
        let (mut now, mut answered) = (0, Vec::new());
        for gap in gaps {
            now += gap;
            if policy.check(&table, at(now), CLIENT, &class) == RrlVerdict::Answer {
                answered.push(now);
            }
        }
        for (first, since) in answered.iter().enumerate() {
            for (last, until) in answered.iter().enumerate().skip(first) {
                let allowed = f64::from(rate) * (1.0 + (until - since) as f64 / 1000.0) + 0.01;
                prop_assert!((last - first + 1) as f64 <= allowed, "{} answers in {} ms", last - first + 1, until - since);
            }
        }
        let after = now + u64::from(window) * 1000 + 1001;
        prop_assert_eq!(policy.check(&table, at(after), CLIENT, &class), RrlVerdict::Answer);
    }

    /// Any client, moment and class: no panic.
    #[test]
    fn nothing_panics(bits: u128, nanos: u64, account: u64, guard: u64, category in 0usize..7, v4 in 1u8..=32, v6 in 1u8..=128) {
        let table = RrlTable::new(64, 7);
        let class = ResponseClass { account, guard, category: Category::ALL[category] };
        let policy = with(RrlPolicy { ipv4_prefix: v4, ipv6_prefix: v6, ..policy(1, 10) }, Category::Guard, 1);
        let clients = [IpAddr::from(bits.to_be_bytes()), IpAddr::from((bits as u32).to_be_bytes())];
        for client in clients.into_iter().cycle().take(20) {
            policy.check(&table, Moment::from_nanos(nanos), client, &class);
        }
    }
}

/// Reads `[rrl]` from the text of limits.toml; the faults as `code message`.
fn read(text: &str, profile: Profile) -> (RrlPolicy, Vec<String>) {
    let (mut files, faults) = (Files::default(), Faults::default());
    files.insert("limits.toml", text);
    let text = TomlText::of(&files, "limits.toml", &faults).unwrap();
    let file = TomlFile::parse(&text, &faults);
    let policy = RrlPolicy::of(&file.root(&faults).table("rrl"), profile, &Groups::default());
    drop(file);
    let faults =
        faults.into_parts().0.iter().map(|fault| format!("{} {}", fault.code, fault.message.english())).collect();
    (policy, faults)
}

#[test]
fn the_section_reads_with_the_defaults_of_its_profile() {
    let rates = |policy: &RrlPolicy| policy.rates.map(|rate| rate.per_second);
    let (policy, faults) = read("", Profile::Recursive);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(rates(&policy), [5, 20, 20, 20, 20, 0, 200], "errors nxdomains nodata referrals responses all guard");
    assert_eq!((policy.mode, policy.slip, policy.window), (Mode::Monitor, 2, 15));
    assert_eq!((policy.ipv4_prefix, policy.ipv6_prefix, policy.memory), (24, 56, 16 << 20));
    assert_eq!(read("", Profile::Authoritative).0.mode, Mode::Enforce);
    let text = "[rrl]\nmode = 'enforce'\nerrors = 1\nnxdomains = 2\nnodata = 3\nreferrals = 4\nresponses = 5\nall = 6\n\
        guard = 7\nslip = 3\nwindow = 60\nipv4_prefix = 32\nipv6_prefix = 64\nexempt = ['10.0.0.0/8']\nmemory = '1MiB'";
    let (policy, faults) = read(text, Profile::Recursive);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(rates(&policy), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((policy.mode, policy.slip, policy.window), (Mode::Enforce, 3, 60));
    assert_eq!((policy.ipv4_prefix, policy.ipv6_prefix, policy.memory), (32, 64, 1 << 20));
    assert!(policy.exempt.contains([10, 1, 2, 3].into()));
}

#[test]
fn every_fault_of_the_section_is_found() {
    let text =
        "[rrl]\nmode = 'on'\nresponses = -1\nslip = 11\nwindow = 0\nipv4_prefix = 33\nipv6_prefix = 0\nerors = 5";
    let (_, faults) = read(text, Profile::Recursive);
    for expected in [
        "E-CHOICE rrl.mode cannot be \"on\"",
        "E-RANGE rrl.responses must be between 0 and 1000000",
        "E-RANGE rrl.slip must be between 0 and 10",
        "E-RANGE rrl.window must be between 1 and 3600",
        "E-RANGE rrl.ipv4_prefix must be between 1 and 32",
        "E-RANGE rrl.ipv6_prefix must be between 1 and 128",
        "E-UNKNOWN-KEY unknown key \"erors\" in [rrl]",
    ] {
        assert!(faults.iter().any(|fault| fault == expected), "{expected} is not among {faults:#?}");
    }
}
