//! Queries of a batch that are foreseen, in a list and a cache that are large enough for it.

use super::*;

/// Names of the list, and answers in the cache: over half a megabyte each.
const MANY: u64 = 30_000;
const KNOWN: u64 = 6_000;

const GROUP: u64 = 8;

#[test]
fn a_batch_that_is_foreseen() {
    let names: Vec<String> = (0..MANY).map(|number| format!("\"{number:010}.listed.test\"")).collect();
    let rules = format!("[[rule]]\nid = \"n\"\nnames = [{}]\naction = \"nxdomain\"\n", names.join(", "));
    let mut bench = Bench::with_rules(&rules, OFF, Message::query(1, "0000000000.known.test", A).opt(1232, false, b""));
    let answer = positive();
    for number in 0..KNOWN {
        bench.ask(number, inside(number as u32));
        bench.answer(&answer);
    }
    let shared = &bench.stage.shared;
    assert!(shared.cache.is_large() && shared.live.load().policy.filter.is_large());
    let listed = Message::query(1, "0000000000.listed.test", A).opt(1232, false, b"").bytes();
    let mut batch = [listed, bench.query.clone()];
    let client = udp(SocketAddr::new(inside(1), 5353));
    allocates_nothing("a batch that is foreseen", &mut bench, &mut |bench, n| {
        let at = now(after(bench.millis));
        let worker = &mut bench.stage.workers[0];
        worker.begin_batch();
        let numbers = n * GROUP..(n + 1) * GROUP;
        for number in numbers.clone() {
            let query = &mut batch[number as usize % 2];
            enter_number(query, number % KNOWN);
            worker.foresee(query);
        }
        worker.fetch_foreseen();
        for number in numbers {
            let query = &mut batch[number as usize % 2];
            enter_number(query, number % KNOWN);
            worker.on_query(at, client, query, &mut bench.stage.out);
        }
        bench.stage.out.clear();
    });
    let each = (OPERATIONS + 200) * GROUP / 2;
    assert_eq!(bench.counted(Outcome::Denied, Reason::Filter), each);
    assert_eq!(bench.counted(Outcome::CacheHit, Reason::None), each);
}
