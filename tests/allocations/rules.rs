//! Rules about names, about answers and with data of their own, on the path of a query.

use super::*;

#[test]
fn a_blocked_name() {
    let mut bench = Bench::new(OFF, Message::query(1, "0000000000.blocked.test", A).opt(1232, false, b""));
    allocates_nothing("a blocked name", &mut bench, &mut |bench, n| bench.ask(n, inside(n as u32)));
    assert_eq!(bench.counted(Outcome::Denied, Reason::Filter), OPERATIONS + 200);
}

/// Rules of the answer, and those with a budget or with data.
const RULES: &str = r#"
[[rule]]
id = "who"
clients = ["198.18.0.0/15"]
action = "refused"
[[rule]]
id = "net"
response_ip = ["198.51.100.0/24", "2001:db8:bad::/48"]
action = "nxdomain"
[[rule]]
id = "server"
ns_name = ["ns.bad.test"]
action = "nodata"
[[rule]]
id = "servers"
ns_name = ["good.test"]
action = "monitor"
[[rule]]
id = "server-address"
ns_ip = ["203.0.113.0/24"]
action = "nodata"
[[rule]]
id = "data"
names = ["data.test"]
action = "data"
records = ["A 192.0.2.7", "TXT \"x\""]
[[rule]]
id = "led"
names = ["led.test"]
action = "data"
cname = "*.garden.test"
[[rule]]
id = "shed"
names = ["shed.test"]
action = "shed"
budget = { qps = 1 }
[[rule]]
id = "limit"
names = ["limit.test"]
action = "limit"
qps = 1
[[rule]]
id = "ttl"
names = ["ttl.test"]
action = "ttl"
rto = "10s"
[[rule]]
id = "guard"
names = ["guard.test"]
action = "expect"
answers = ["192.0.2.0/24", "cdn.test"]
"#;

fn address(octets: [u8; 4]) -> Vec<u8> {
    Message::query(0, "x", A).flags(0x8180).record(ANSWER, &[0xC0, 12], A, 300, &octets).opt(1232, false, b"").bytes()
}

#[test]
fn an_answer_that_rules_look_into() {
    // Its address, its name servers, of which the smallest is first, with theirs, and a hint beside it; each name is new,
    // so nothing is cached.
    let (good, bad) = (address([192, 0, 2, 1]), address([198, 51, 100, 7]));
    let hint = [&[0, 1, 0, 0, 4, 0, 4][..], &[192, 0, 2, 1]].concat();
    let shown = Message::query(0, "x", A)
        .flags(0x8180)
        .record(ANSWER, &[0xC0, 12], A, 300, &[192, 0, 2, 1])
        .record(ANSWER, &[0xC0, 12], HTTPS, 300, &hint)
        .record(AUTHORITY, b"\x04test\0", NS, 300, b"\x02ns\x04good\x04test\0")
        .record(AUTHORITY, b"\x04test\0", NS, 300, b"\x01n\x04good\x04test\0")
        .record(ADDITIONAL, b"\x02ns\x04good\x04test\0", A, 300, &[198, 51, 100, 53])
        .opt(1232, false, b"")
        .bytes();
    let query = Message::query(1, "0000000000.www.test", A).opt(1232, false, b"");
    let mut bench = Bench::with_rules(RULES, OFF, query);
    allocates_nothing("an answer that is looked into", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(n as u32));
        bench.answer([&good, &bad, &shown][n as usize % 3]);
    });
    assert!(bench.counted(Outcome::Denied, Reason::Filter) > OPERATIONS / 3);
    assert!(bench.counted(Outcome::Forwarded, Reason::None) > OPERATIONS / 2);
}

#[test]
fn a_cached_answer_that_is_judged_each_time() {
    // The rule is for others, so it passes for us, and is judged whenever it is served.
    let rules = "[[rule]]\nid = \"n\"\nresponse_ip = [\"192.0.2.1\"]\naction = \"nxdomain\"\ntransport = \"tcp\"\n";
    let mut bench = Bench::with_rules(rules, OFF, Message::query(1, "www.test", A).opt(1232, true, b""));
    bench.ask(0, inside(1));
    bench.answer(&positive());
    allocates_nothing("a cached answer that is judged", &mut bench, &mut |bench, n| bench.ask(n, inside(n as u32)));
    assert_eq!(bench.counted(Outcome::CacheHit, Reason::None), OPERATIONS + 200);
}

#[test]
fn local_data_and_budgets() {
    let positive = positive();
    for (name, least) in [("data.test", OPERATIONS), ("led.test", OPERATIONS), ("shed.test", OPERATIONS - 300)] {
        let query = Message::query(1, &format!("0000000000.{name}"), A).opt(1232, false, b"");
        let mut bench = Bench::with_rules(RULES, OFF, query);
        allocates_nothing(name, &mut bench, &mut |bench, n| {
            bench.ask(n, inside(n as u32));
            if bench.from.is_some() {
                bench.answer(&positive);
            }
        });
        let denied = bench.counted(Outcome::Denied, Reason::Filter);
        assert!(denied >= least, "{name}: {denied}");
    }
    let query = Message::query(1, "0000000000.limit.test", A).opt(1232, false, b"");
    let mut bench = Bench::with_rules(RULES, OFF, query);
    allocates_nothing("a limit", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(1));
        if bench.from.is_some() {
            bench.answer(&positive);
        }
    });
    assert!(bench.counted(Outcome::Denied, Reason::Filter) > OPERATIONS - 300);
}

#[test]
fn local_data_that_leads_elsewhere() {
    let rules = r#"
[[rule]]
id = "apart"
names = ["apart.test"]
action = "data"
cname = "*.garden.test"
[[rule]]
id = "same"
names = ["same.test"]
action = "data"
cname = "hop.test"
[[rule]]
id = "hop"
names = ["hop.test"]
action = "data"
cname = "www.garden.test"
[[rule]]
id = "here"
names = ["here.test"]
action = "data"
cname = "records.test"
[[rule]]
id = "records"
names = ["records.test"]
action = "data"
records = ["A 192.0.2.7"]
"#;
    let answers = [positive(), Message::query(0, "x", A).flags(0x8183).soa("test", 60).bytes()];
    // A target of its own for each query, one that is kept, and one that is ours.
    for (name, asked) in [("apart.test", OPERATIONS + 200), ("same.test", 1), ("here.test", 0)] {
        let query = Message::query(1, &format!("0000000000.{name}"), A).opt(1232, false, b"");
        let mut bench = Bench::with_rules(rules, OFF, query);
        let mut led = 0;
        allocates_nothing(name, &mut bench, &mut |bench, n| {
            bench.ask(n, inside(n as u32));
            if bench.from.is_some() {
                led += 1;
                bench.answer(&answers[usize::from(n % 3 == 0)]);
            }
        });
        assert_eq!((led, bench.counted(Outcome::Denied, Reason::Filter)), (asked, OPERATIONS + 200), "{name}");
    }
}

#[test]
fn bounded_ttls_and_expected_answers() {
    let (good, bad) = (address([192, 0, 2, 1]), address([198, 51, 99, 7]));
    for (name, denied) in [("ttl.test", 0), ("guard.test", OPERATIONS / 2)] {
        let query = Message::query(1, &format!("0000000000.{name}"), A).opt(1232, false, b"");
        let mut bench = Bench::with_rules(RULES, OFF, query);
        allocates_nothing(name, &mut bench, &mut |bench, n| {
            bench.ask(n, inside(n as u32));
            bench.answer(if n % 2 == 0 { &good } else { &bad });
            while bench.stage.shared.alerts.take().is_some() {}
        });
        assert!(bench.counted(Outcome::Denied, Reason::Filter) >= denied, "{name}");
        assert!(bench.counted(Outcome::Forwarded, Reason::None) > OPERATIONS / 2 - 1, "{name}");
    }
    let mut bench = Bench::with_rules(RULES, OFF, Message::query(1, "www.ttl.test", A).opt(1232, false, b""));
    bench.ask(0, inside(1));
    bench.answer(&good);
    allocates_nothing("a cached answer with bounded TTLs", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(n as u32));
        if bench.from.is_some() {
            bench.answer(&good);
        }
    });
    assert!(bench.counted(Outcome::CacheHit, Reason::None) > OPERATIONS - 10);
}

#[test]
fn an_answer_that_leads_inside() {
    let limits = format!("{OFF}[rebinding]\nmode = \"enforce\"\n");
    let query = Message::query(1, "0000000000.www.test", A).opt(1232, false, b"");
    let mut bench = Bench::new(&limits, query);
    let inner = address([10, 0, 0, 1]);
    allocates_nothing("an answer that leads inside", &mut bench, &mut |bench, n| {
        bench.ask(n, inside(n as u32));
        bench.answer(&inner);
    });
    assert_eq!(bench.counted(Outcome::Denied, Reason::Rebinding), OPERATIONS + 200);
}
