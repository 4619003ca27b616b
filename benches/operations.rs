//! The operations of a query's path, each as often as the next: benches/instructions.py counts their instructions under
//! callgrind. Run without it, `cargo bench --bench operations [part of a name]`, this prints the time that they take here.

mod scene;

use scene::answers::{keep, key};
use scene::names::{listed, named, scattered};
use scene::packets::{QUERY, RESPONSE};
use scene::{GATEWAY, Scene};
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use weir::cache::{BODY_MAX, Cache, Found};
use weir::clock::{Moment, Now};
use weir::dns::edns::ExtendedError;
use weir::dns::name::Name;
use weir::dns::query::Query;
use weir::dns::reply::{self, Body, ReplyTo};
use weir::dns::response::Response;
use weir::dns::{patch, rcode, rtype};
use weir::policy::access::{Access, AccessVerdict, QUESTIONS_MAX};
use weir::policy::clients::GroupSet;
use weir::policy::cookies::{CookieJar, CookieMode, CookiePolicy, Secret, Standing};
use weir::policy::document::Files;
use weir::policy::filter::lists::{Reading, parse};
use weir::policy::filter::{Action, Filter, Rule, Subject};
use weir::policy::rrl::RrlTable;
use weir::policy::schedules::ActiveSet;
use weir::policy::source::{SourceLimit, SourceTables, SourceVerdict};
use weir::policy::{Options, Policy, load_files};
use weir::storm::Storms;
use weir::storm::table::Says;

/// How often each operation is counted.
const ROUNDS: u64 = 4_096;

/// How often it is done before, so that tables and caches are as in service.
const ROUNDS_BEFORE: u64 = 512;

/// Names of the block list.
const LISTED: u64 = 100_000;

/// Answers in the cache.
const CACHED: u64 = 20_000;

/// Done once a round; says whether what came of it is what its name promises.
type Operation = Box<dyn FnMut(u64) -> bool>;

/// Makes what an operation needs.
type Prepare = fn() -> Operation;

/// Each by its name, in the order of a query's path.
const OPERATIONS: [(&str, Prepare); 25] = [
    ("scan: a query", scan_query),
    ("scan: a response", scan_response),
    ("reply: a block answer written", reply_blocked),
    ("reply: a cached answer made the client's", reply_cached),
    ("access: admitted", || access("10.2.", &access_file(), AccessVerdict::Admit)),
    ("access: admitted past 64 question rules", || access("10.2.", &many_rules(), AccessVerdict::Admit)),
    ("access: denied", || access("198.51.", &access_file(), AccessVerdict::Refuse(weir::verdict::Reason::Access))),
    ("source: within the limit", || source(200, SourceVerdict::Within)),
    ("source: over the limit", || source(1, SourceVerdict::Drop)),
    ("cookies: judged", cookies_judge),
    ("cookies: made", cookies_answer),
    ("filter: a listed name", || filter(true, listed)),
    ("filter: below a listed name", || filter(true, |n| format!("www.{}", listed(n)))),
    ("filter: another name", || filter(false, |n| format!("www.{}", listed(n + LISTED)))),
    ("cache: hit", || cache_look_up(true)),
    ("cache: miss", || cache_look_up(false)),
    ("cache: insert", cache_insert),
    ("rrl: a response charged", rrl),
    ("storm: a question asked and answered", storm),
    ("core: answered from the cache", core_cached),
    ("core: forwarded, query and response", core_forwarded),
    ("core: blocked", core_blocked),
    ("core: refused", || core_denied("refuse", Some(rcode::REFUSED))),
    ("core: denied with silence", || core_denied("drop", None)),
    ("core: over the source limit", core_over_limit),
];

/// What is counted: the profiler knows it by its name.
#[inline(never)]
fn measured(operation: &mut dyn FnMut(u64) -> bool) -> u64 {
    (0..ROUNDS).filter(|round| operation(black_box(*round))).count() as u64
}

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    for (name, prepare) in OPERATIONS.iter().filter(|(name, _)| name.contains(&wanted)) {
        let mut operation = prepare();
        let before = (0..ROUNDS_BEFORE).filter(|round| operation(*round)).count() as u64;
        let begun = Instant::now();
        let as_promised = measured(&mut *operation);
        let took = begun.elapsed();
        assert_eq!((before, as_promised), (ROUNDS_BEFORE, ROUNDS), "{name}: not what was to be measured");
        println!("{name}\t{ROUNDS}\t{:.1} ns", took.as_secs_f64() * 1e9 / ROUNDS as f64);
    }
}

/// A policy of these files beside a gateway.toml.
fn policy(files: &[(&'static str, &str)]) -> Policy {
    let files: Files = [("gateway.toml", GATEWAY)].iter().chain(files).copied().collect();
    load_files(files, &Options { seed: 7, ..Options::default() }).expect("a policy without faults").0
}

/// A query every microsecond.
fn at(round: u64) -> Moment {
    Moment::from_nanos(1_000_000_000 + round * 1_000)
}

fn scan_query() -> Operation {
    Box::new(|_| Query::scan(black_box(QUERY)).is_ok_and(|query| !black_box(&query).signed))
}

fn scan_response() -> Operation {
    Box::new(|_| Response::scan(black_box(RESPONSE)).is_ok_and(|response| !black_box(&response).signed))
}

fn reply_blocked() -> Operation {
    let query = Query::scan(QUERY).expect("a sound query");
    let mut out = [0; 512];
    Box::new(move |_| {
        let to = ReplyTo { query: &query, ra: true };
        let error = Some((ExtendedError::Blocked, "video-clients"));
        reply::write(black_box(to), Body::Nxdomain { ttl: 30 }, error, black_box(&mut out));
        u16::from(out[3] & 15) == rcode::NXDOMAIN
    })
}

fn reply_cached() -> Operation {
    let query = Query::scan(QUERY).expect("a sound query");
    let response = Response::scan(RESPONSE).expect("a sound response");
    let mut out = [0; RESPONSE.len()];
    Box::new(move |_| {
        out.copy_from_slice(black_box(RESPONSE));
        patch::address_to(&mut out, &query);
        patch::patch_ttls(&mut out, response.ttls(), 7, 0, 86_400);
        black_box(&out)[0] == QUERY[0]
    })
}

/// A thousand networks that may ask, a hundred within them that may not, and two rules about questions.
fn access_file() -> String {
    let list = |nets: Vec<String>| nets.join(", ");
    format!(
        "allow = [{}]\ndeny = [{}]\n[[question]]\nqtypes = [\"ANY\"]\naction = \"truncate\"\n\
         [[question]]\nopcodes = [\"UPDATE\"]\naction = \"refused\"\n",
        list((0..1_000).map(|n| format!("\"10.{}.{}.0/24\"", n / 250, n % 250)).collect()),
        list((0..100).map(|n| format!("\"10.0.{n}.128/26\"")).collect()),
    )
}

/// As many rules about questions as there may be, none of which fits the query.
fn many_rules() -> String {
    let rule = |n: usize| format!("[[question]]\nqtypes = [\"TYPE{}\"]\naction = \"drop\"\n", 65_300 + n);
    (0..QUESTIONS_MAX).map(rule).collect()
}

fn access(clients: &str, file: &str, verdict: AccessVerdict) -> Operation {
    let access: Arc<Access> = policy(&[("access.toml", file)]).access;
    let clients: Vec<IpAddr> =
        (0..256).map(|n| format!("{clients}{}.{}", n % 250, 255 - n).parse().expect("an address")).collect();
    let query = Query::scan(QUERY).expect("a sound query");
    Box::new(move |round| {
        access.check(clients[(round % 256) as usize], false, black_box(&query), &ActiveSet::EVERYTHING) == verdict
    })
}

fn source(rate: u32, verdict: SourceVerdict) -> Operation {
    let limits = format!("[source]\nrate = {rate}\nburst = {rate}\nslip = 0\n");
    let policy = policy(&[("limits.toml", &limits)]).source;
    let mut limit = SourceLimit::new(&Arc::new(SourceTables::new(policy.memory, 7)), &policy);
    let is_over = verdict != SourceVerdict::Within;
    // Over the limit is a single client that used its burst up; within it each of many networks has one.
    let client = move |round: u64| if is_over { 0x0a00_0001 } else { 0x0a00_0000 + (round as u32 % 4_096) * 4_096 };
    if is_over {
        limit.check(&policy, at(0), IpAddr::V4(client(0).into()), false);
    }
    Box::new(move |round| limit.check(&policy, at(round), IpAddr::V4(client(round).into()), false) == verdict)
}

fn cookie_policy() -> (CookiePolicy, CookieJar, Now) {
    let policy = CookiePolicy { mode: CookieMode::Terminate, require: false, badcookies: 1000, secrets: None };
    let now = Now { at: Moment::from_nanos(1), unix_ms: 1_767_225_600_000 };
    (policy, CookieJar::new(Secret::new(*b"sixteen of these")), now)
}

fn cookies_judge() -> Operation {
    let (policy, jar, now) = cookie_policy();
    let client: IpAddr = [192, 0, 2, 1].into();
    let cookie = policy.answer(&jar, now, client, b"clientck", Standing::ClientOnly);
    Box::new(move |_| matches!(policy.judge(&jar, now, client, black_box(&cookie)), Some(Standing::Valid { .. })))
}

fn cookies_answer() -> Operation {
    let (policy, jar, now) = cookie_policy();
    let client: IpAddr = [192, 0, 2, 1].into();
    Box::new(move |_| !policy.answer(&jar, now, client, black_box(b"clientck"), Standing::ClientOnly).is_empty())
}

fn filter(is_listed: bool, asked: fn(u64) -> String) -> Operation {
    let text: String = (0..LISTED).map(|number| listed(number) + "\n").collect();
    let list = Arc::new(parse(text.as_bytes(), Reading::default()).expect("it is a list").names);
    let rules = vec![Rule::new("list", "zone", 0, Action::Nxdomain)];
    let filter = Filter::of_lists(rules, vec![list], 42).expect("they fit").0;
    let asked = named(ROUNDS, |number| asked(scattered(number, LISTED)));
    let groups = GroupSet::default();
    Box::new(move |round| {
        let name = &asked[(round % ROUNDS) as usize];
        let active = &ActiveSet::EVERYTHING;
        let subject = Subject { groups: &groups, client: [192, 0, 2, 1].into(), name, qtype: 1, tcp: false, active };
        filter.decide(&subject).rule.is_some() == is_listed
    })
}

/// A cache with an answer of 148 bytes for each of these names.
fn filled(names: &[Name]) -> Cache {
    let cache = Cache::new(64 << 20, 1, 8);
    names.iter().for_each(|name| keep(&cache, at(0), name));
    cache
}

fn cached_name(number: u64) -> String {
    format!("host{number}.zone{}.example", number % 997)
}

fn cache_look_up(is_hit: bool) -> Operation {
    let cache = filled(&named(CACHED, cached_name));
    let asked = named(ROUNDS, |number| cached_name(scattered(number, CACHED) + if is_hit { 0 } else { CACHED }));
    let mut out = vec![0; BODY_MAX];
    Box::new(move |round| {
        let found = cache.get(at(0), &key(&asked[(round % ROUNDS) as usize]), &mut out);
        matches!(found, Found::Hit(_)) == is_hit
    })
}

fn cache_insert() -> Operation {
    let names = named(CACHED, cached_name);
    let cache = filled(&names);
    Box::new(move |round| {
        keep(&cache, at(0), &names[scattered(round, CACHED) as usize]);
        true
    })
}

fn rrl() -> Operation {
    let policy = policy(&[("limits.toml", "[rrl]\nmode = \"enforce\"\nresponses = 1000000\n")]).rrl;
    let table = RrlTable::new(16 << 20, 7);
    let name = Name::from_text("www.video-clients.example").expect("a name");
    Box::new(move |round| {
        let class = table.class_of_own(rcode::NOERROR, true, black_box(&name), rtype::A);
        let client: IpAddr = std::net::Ipv4Addr::from(0x0a00_0000 + (round as u32 % 4_096) * 256).into();
        black_box(policy.check(&table, at(round), client, &class));
        true
    })
}

fn storm() -> Operation {
    let policy = policy(&[]).storm;
    let common = weir::storm::Common::new(7, weir::storm::KNOWN_NAMES);
    let mut storms = Storms::new(&common, policy.zones);
    let names = named(ROUNDS, |number| format!("host{number}.zone{}.example", number % 97));
    Box::new(move |round| {
        let (name, at) = (&names[(round % ROUNDS) as usize], at(round));
        let hash = common.hash(name);
        let client: IpAddr = std::net::Ipv4Addr::from(0x0a00_0000 + round as u32).into();
        let key = storms.zone_of(name, None);
        let zone = storms.question(at, key, hash, client);
        let (says, places) = (zone.breaker(at), zone.places(at, &policy, 1_024));
        zone.asked(at, false);
        let has_place = common.inflight.enter(key.hash, places);
        common.inflight.leave(key.hash, 1);
        let zone = storms.account(at, key.hash);
        zone.into_iter().for_each(|zone| zone.answered(at, at.since(at), false, false, policy.fail_ratio));
        common.known.learn(hash);
        has_place && says == Says::Ask
    })
}

fn core_cached() -> Operation {
    let mut scene = Scene::new(&[("gateway.toml", GATEWAY)], 8_192);
    scene.ask(1);
    scene.answer();
    Box::new(move |_| {
        scene.ask(1);
        scene.rcode() == Some(rcode::NOERROR)
    })
}

fn core_forwarded() -> Operation {
    let mut scene = Scene::new(&[("gateway.toml", GATEWAY)], 8_192);
    Box::new(move |_| {
        scene.forward();
        scene.rcode() == Some(rcode::NOERROR)
    })
}

fn core_blocked() -> Operation {
    let zone = "[zone]\ntitle = \"list\"\n[[rule]]\nid = \"list\"\nlist = \"lists/names.txt\"\naction = \"nxdomain\"\n";
    let mut names: String = (0..LISTED).map(|number| listed(number) + "\n").collect();
    (0..1_000).for_each(|number| names.extend([&*Scene::name(number), "\n"]));
    let files = [("gateway.toml", GATEWAY), ("filters/10-list.toml", zone), ("lists/names.txt", &names)];
    let mut scene = Scene::new(&files, 8_192);
    Box::new(move |round| {
        scene.ask(round % 1_000);
        scene.rcode() == Some(rcode::NXDOMAIN)
    })
}

/// A client that access does not admit.
fn core_denied(denied: &str, code: Option<u16>) -> Operation {
    let access = format!("denied = \"{denied}\"\n{}", access_file());
    let mut scene = Scene::new(&[("gateway.toml", GATEWAY), ("access.toml", &access)], 8_192);
    Box::new(move |round| {
        scene.ask_from([198, 51, 100, round as u8], 1);
        scene.rcode() == code
    })
}

fn core_over_limit() -> Operation {
    let limits = "[source]\nrate = 1\nburst = 1\nslip = 0\n";
    let mut scene = Scene::new(&[("gateway.toml", GATEWAY), ("limits.toml", limits)], 8_192);
    scene.ask_from([127, 0, 0, 1], 1);
    scene.answer();
    Box::new(move |_| {
        scene.ask_from([127, 0, 0, 1], 1);
        scene.rcode().is_none()
    })
}
