//! The limits in virtual time: each level, all together, and under forged floods.

use super::*;
use crate::policy::document::toml_file::{TomlFile, TomlText};
use crate::policy::document::{Faults, Files};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// One worker with a limiter of its own.
struct Worker {
    policy: SourcePolicy,
    limit: SourceLimit,
}

impl Worker {
    fn new(tables: &Arc<SourceTables>, policy: SourcePolicy) -> Self {
        Self { limit: SourceLimit::new(tables, &policy), policy }
    }

    fn check(&mut self, now: Moment, client: impl Into<IpAddr>) -> SourceVerdict {
        self.limit.check(&self.policy, now, client.into(), false)
    }

    /// How many of the clients' queries are within the limits, all at one moment.
    fn passed<C: Into<IpAddr>>(&mut self, now: Moment, clients: impl IntoIterator<Item = C>) -> usize {
        clients
            .into_iter()
            .map(|client| self.check(now, client))
            .filter(|verdict| *verdict == SourceVerdict::Within)
            .count()
    }
}

fn policy(rate: u32, burst: u32) -> SourcePolicy {
    SourcePolicy { mode: Mode::Enforce, rate, burst, slip: 2, exempt: NetworkSet::default(), memory: 16 << 20 }
}

fn worker(rate: u32, burst: u32) -> Worker {
    Worker::new(&Arc::new(SourceTables::new(4 << 20, 7)), policy(rate, burst))
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).plus(Duration::from_millis(millis))
}

/// Random numbers whose seed is printed, and taken back from the environment (`WEIR_SEED`).
fn random() -> impl FnMut() -> u64 {
    let mut state: u64 = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_090_519);
    println!("WEIR_SEED={state}");
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// `each` queries from each of the addresses `base + i * step`.
fn ipv4(base: [u8; 4], step: u32, count: u32, each: usize) -> impl Iterator<Item = Ipv4Addr> {
    let base = Ipv4Addr::from(base).to_bits();
    (0..count).flat_map(move |i| std::iter::repeat_n(Ipv4Addr::from_bits(base + i * step), each))
}

/// One query from each of the addresses that differ in the bits above `shift`.
fn ipv6(shift: u32, count: u128) -> impl Iterator<Item = Ipv6Addr> {
    (0..count).map(move |i| Ipv6Addr::from_bits((0x2001_0db8 << 96) | (i << shift)))
}

#[test]
fn each_level_of_ipv4_has_its_limit() {
    assert_eq!(worker(10, 10).passed(at(0), ipv4([10, 1, 1, 1], 0, 1, 100)), 10, "/32");
    assert_eq!(worker(10, 10).passed(at(0), ipv4([10, 1, 1, 0], 1, 256, 10)), 10 * 32, "/24");
    assert_eq!(worker(10, 10).passed(at(0), ipv4([10, 1, 16, 0], 1, 4096, 1)), 10 * 256, "/20");
    assert_eq!(worker(10, 10).passed(at(0), ipv4([10, 1, 64, 0], 1, 16_384, 1)), 10 * 768, "/18");
    assert_eq!(worker(10, 10).passed(at(0), ipv4([10, 1, 64, 0], 1 << 14, 1000, 10)), 10_000, "no level above /18");
}

#[test]
fn each_level_of_ipv6_has_its_limit() {
    assert_eq!(worker(10, 10).passed(at(0), [Ipv6Addr::LOCALHOST; 100]), 10, "/128");
    assert_eq!(worker(10, 10).passed(at(0), ipv6(0, 100)), 10 * 2, "/64");
    assert_eq!(worker(10, 10).passed(at(0), ipv6(64, 100)), 10 * 3, "/56");
    assert_eq!(worker(10, 10).passed(at(0), ipv6(72, 100)), 10 * 4, "/48");
    assert_eq!(worker(10, 10).passed(at(0), ipv6(80, 2000)), 10 * 64, "/32");
}

#[test]
fn a_steady_source_gets_its_rate_and_no_more() {
    let mut worker = worker(50, 100);
    let client = Ipv4Addr::new(192, 0, 2, 1);
    let passed: usize = (0..10_000).map(|ms| worker.passed(at(ms), [client])).sum();
    assert!((599..=601).contains(&passed), "1000 a second for 10 s: the burst and ten seconds' worth, not {passed}");
    let legal: usize = (0..500).map(|n| worker.passed(at(20_000 + n * 20), [client])).sum();
    assert_eq!(legal, 500, "50 a second are never limited");
}

#[test]
fn a_blocked_network_does_not_use_up_the_budgets_of_its_addresses() {
    let mut worker = worker(10, 10);
    assert_eq!(worker.passed(at(0), ipv4([10, 1, 1, 0], 1, 32, 10)), 320, "the /24 is at its limit");
    let quiet = Ipv4Addr::new(10, 1, 1, 200);
    for _ in 0..100 {
        assert_ne!(worker.check(at(0), quiet), SourceVerdict::Within);
    }
    // 320 a second flow back into the /24: 12 in 40 ms. The address itself has all of its burst still.
    assert_eq!(worker.passed(at(40), [quiet; 12]), 10);
}

#[test]
fn a_blocked_address_does_not_use_up_the_budget_of_its_network() {
    let mut worker = worker(10, 10);
    assert_eq!(worker.passed(at(0), ipv4([10, 1, 1, 1], 0, 1, 1000)), 10);
    assert_eq!(worker.passed(at(0), ipv4([10, 1, 1, 2], 1, 31, 10)), 310);
}

#[test]
fn verified_sources_have_tables_of_their_own_and_ten_times_the_rate() {
    let mut worker = worker(10, 10);
    let client = IpAddr::from([10, 1, 1, 1]);
    assert_eq!(worker.passed(at(0), [client; 100]), 10);
    let verified =
        |worker: &mut Worker| worker.limit.check(&worker.policy, at(0), client, true) == SourceVerdict::Within;
    assert_eq!((0..1000).filter(|_| verified(&mut worker)).count(), 100);
}

#[test]
fn the_first_query_over_the_limit_slips_and_then_every_nth() {
    for (slip, expected) in [(0, "......"), (1, "tttttt"), (2, "t.t.t."), (3, "t..t..")] {
        let mut worker = worker(1, 1);
        worker.policy.slip = slip;
        let client = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(worker.check(at(0), client), SourceVerdict::Within);
        let seen: String = (0..6)
            .map(|_| match worker.check(at(0), client) {
                SourceVerdict::Within => 'w',
                SourceVerdict::Slip => 't',
                SourceVerdict::Drop => '.',
            })
            .collect();
        assert_eq!(seen, expected, "slip {slip}");
    }
}

#[test]
fn exempt_sources_and_mode_off_are_never_limited_and_monitor_says_what_it_would_do() {
    let mut worker = worker(1, 1);
    worker.policy.exempt =
        NetworkSet::new([("10.0.0.0/8".parse().unwrap(), true), ("10.9.0.0/16".parse().unwrap(), false)]);
    assert_eq!(worker.passed(at(0), ipv4([10, 1, 1, 1], 0, 1, 50)), 50);
    assert_eq!(worker.passed(at(0), ipv4([10, 9, 1, 1], 0, 1, 50)), 1);
    worker.policy.mode = Mode::Monitor;
    assert_eq!(worker.passed(at(0), ipv4([10, 9, 1, 2], 0, 1, 50)), 1);
    worker.policy.mode = Mode::Off;
    assert_eq!(worker.passed(at(0), ipv4([10, 9, 1, 1], 0, 1, 50)), 50);
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    let mut worker = worker(10, 10);
    let client = Ipv4Addr::new(192, 0, 2, 7);
    assert_eq!(worker.passed(at(0), [client; 6]), 6);
    assert_eq!(worker.passed(at(0), [client.to_ipv6_mapped(); 6]), 4);
}

#[test]
fn what_was_used_stays_used_when_the_policy_changes_and_for_other_workers() {
    let tables = Arc::new(SourceTables::new(1 << 20, 7));
    let client = Ipv4Addr::new(192, 0, 2, 7);
    assert_eq!(Worker::new(&tables, policy(10, 10)).passed(at(0), [client; 20]), 10);
    assert_eq!(Worker::new(&tables, policy(10, 10)).passed(at(1), [client; 20]), 0);
    assert_eq!(Worker::new(&tables, policy(20, 10)).passed(at(1), [client; 20]), 0);
}

#[test]
fn two_million_forged_sources_harm_nobody_free_nobody_and_take_no_memory() {
    let mut random = random();
    let tables = Arc::new(SourceTables::new(16 << 20, random()));
    assert_eq!(tables.bytes(), 16 << 20);
    let mut worker = Worker::new(&tables, policy(200, 500));
    let honest: Vec<Ipv4Addr> = (0..50).map(|_| Ipv4Addr::from_bits(random() as u32)).collect();
    let greedy = Ipv4Addr::new(203, 0, 113, 9);
    worker.passed(at(0), [greedy; 1000]);
    let (mut limited, mut greedy_passed) = (0, 0);
    for ms in 0..500 {
        for _ in 0..4000 {
            worker.check(at(ms), Ipv4Addr::from_bits(random() as u32));
        }
        greedy_passed += worker.passed(at(ms), [greedy; 2]);
        if ms % 10 == 0 {
            limited += honest.len() - worker.passed(at(ms), honest.iter().copied());
        }
    }
    assert_eq!(limited, 0, "100 a second of 200 allowed");
    assert!((95..=105).contains(&greedy_passed), "half a second at 200 a second, not {greedy_passed} of 1000");
    assert_eq!(tables.bytes(), 16 << 20);
}

#[test]
fn a_table_too_small_for_its_flood_limits_strangers_and_still_frees_nobody() {
    let mut random = random();
    let mut worker = Worker::new(&Arc::new(SourceTables::new(4096, random())), policy(10, 20));
    let greedy = Ipv4Addr::new(203, 0, 113, 9);
    worker.passed(at(0), [greedy; 100]);
    let (mut forged_passed, mut greedy_passed) = (0, 0);
    for ms in 0..1000 {
        forged_passed += worker.passed(at(ms), (0..200).map(|_| Ipv4Addr::from_bits(random() as u32)));
        greedy_passed += worker.passed(at(ms), [greedy; 2]);
    }
    assert!(greedy_passed <= 11, "one second at 10 a second, not {greedy_passed}");
    assert!(forged_passed < 100_000, "224 accounts cannot hold 200 000 sources, yet {forged_passed} passed");
}

proptest! {
    /// However the queries of one address are spread, over whichever workers: never more than burst + rate * time.
    #[test]
    fn no_schedule_beats_the_limit(rate in 1u32..1000, burst in 1u32..1000, gaps in prop::collection::vec((0u64..50_000_000, any::<bool>()), 1..400)) {
        let tables = Arc::new(SourceTables::new(1 << 20, 7));
        let mut workers = [Worker::new(&tables, policy(rate, burst)), Worker::new(&tables, policy(rate, burst))];
        let (mut nanos, mut passed) = (1_000_000_000u64, 0u64);
        for (gap, second) in gaps {
            nanos += gap;
            passed += workers[usize::from(second)].passed(Moment::from_nanos(nanos), [Ipv4Addr::LOCALHOST]) as u64;
        }
        let interval = 1_000_000_000 / u64::from(rate);
        prop_assert!(passed <= u64::from(burst) + (nanos - 1_000_000_000) / interval);
    }

    /// Any address, moment and settings within their bounds: no panic, and the first query passes.
    #[test]
    fn nothing_panics(bits: u128, v4: bool, nanos: u64, rate in 1u32..=1_000_000, burst in 1u32..=1_000_000, verified: bool) {
        let client = if v4 { Ipv4Addr::from_bits(bits as u32).into() } else { IpAddr::from(Ipv6Addr::from_bits(bits)) };
        let mut worker = Worker::new(&Arc::new(SourceTables::new(1 << 10, 7)), policy(rate, burst));
        let now = Moment::from_nanos(nanos.min(u64::MAX / 2));
        prop_assert_eq!(worker.limit.check(&worker.policy, now, client, verified), SourceVerdict::Within);
    }
}

/// Reads `[source]` from the text of limits.toml; the faults as `code message`.
fn read(text: &str, profile: Profile) -> (SourcePolicy, Vec<String>) {
    let (mut files, faults) = (Files::default(), Faults::default());
    files.insert("limits.toml", text);
    let text = TomlText::of(&files, "limits.toml", &faults).unwrap();
    let file = TomlFile::parse(&text, &faults);
    let policy = SourcePolicy::of(&file.root(&faults).table("source"), profile, &Groups::default());
    drop(file);
    let faults =
        faults.into_parts().0.iter().map(|fault| format!("{} {}", fault.code, fault.message.english())).collect();
    (policy, faults)
}

#[test]
fn the_section_reads_with_the_defaults_of_its_profile() {
    let (policy, faults) = read("", Profile::Recursive);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!((policy.mode, policy.rate, policy.burst, policy.slip), (Mode::Enforce, 200, 500, 2));
    assert_eq!((policy.memory, policy.exempt.is_empty()), (16 << 20, true));
    assert_eq!(read("", Profile::Authoritative).0.rate, 50);
    let text = "[source]\nmode = 'monitor'\nrate = 7\nburst = 9\nslip = 0\nexempt = ['10.0.0.0/8']\nmemory = '1MiB'";
    let (policy, faults) = read(text, Profile::Recursive);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!((policy.mode, policy.rate, policy.burst, policy.slip), (Mode::Monitor, 7, 9, 0));
    assert_eq!((policy.memory, policy.exempt.contains([10, 1, 2, 3].into())), (1 << 20, true));
}

#[test]
fn every_fault_of_the_section_is_found() {
    let text = "[source]\nrate = 0\nburst = 1000001\nslip = 101\nmemory = '1KiB'\nspeed = 3\nexempt = ['10.0.0.0/33']";
    let (policy, faults) = read(text, Profile::Recursive);
    assert_eq!((policy.rate, policy.burst, policy.slip), (200, 500, 2), "what is wrong reads as its default");
    for expected in [
        "E-RANGE source.rate must be between 1 and 1000000",
        "E-RANGE source.burst must be between 1 and 1000000",
        "E-RANGE source.slip must be between 0 and 100",
        "E-RANGE source.memory must be between 1MiB and 4GiB",
        "E-UNKNOWN-KEY unknown key \"speed\" in [source]",
        "E-NETWORK \"10.0.0.0/33\" is not a network",
    ] {
        assert!(faults.iter().any(|fault| fault == expected), "{expected} is not among {faults:#?}");
    }
    let (_, faults) = read("[source]\nrate = 1\nburst = 5000", Profile::Recursive);
    assert_eq!(faults, ["E-RANGE source.burst must be less than 3600 times source.rate"]);
}
