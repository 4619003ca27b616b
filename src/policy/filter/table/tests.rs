//! The table against a map, and at its limits.

use super::*;
use crate::dns::name::Name;
use crate::policy::filter::lists::NameList;
use crate::policy::filter::tests::seed;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::HashMap;
use std::sync::Arc;

fn wire(text: &str) -> Vec<u8> {
    Name::from_text(text).unwrap().as_wire().to_vec()
}

/// What `suffixes_of` should say.
fn naive(names: &HashMap<Vec<u8>, u32>, name: &[u8]) -> Vec<Hit> {
    let name = Name::from_wire(name).unwrap();
    let hits = name.suffixes().filter_map(|suffix| {
        let at = (name.as_wire().len() - suffix.len()) as u8;
        names.get(suffix).map(|&value| Hit { at, value })
    });
    let mut hits: Vec<_> = hits.collect();
    hits.reverse();
    hits
}

/// What `suffixes_of` says, and a look-up that was foreseen.
fn hits(table: &Table, name: &[u8]) -> Vec<Hit> {
    let look_up = |foreseen: &Foreseen| {
        let mut hits = Vec::new();
        table.suffixes_of_foreseen(name, foreseen, |hit| {
            hits.push(hit);
            true
        });
        hits
    };
    let hits = look_up(&Foreseen::NOTHING);
    for foreseen in [table.foresee(name), table.foresee_alone(name)] {
        table.fetch_foreseen(&foreseen);
        assert_eq!(look_up(&foreseen), hits);
    }
    hits
}

fn random_wire(rng: &mut StdRng) -> Vec<u8> {
    let labels = rng.random_range(0..6);
    let label = |rng: &mut StdRng| {
        let len = [1, 2, 3, 4, 7, 8, 9, 16, 33][rng.random_range(0..9_usize)];
        (0..len).map(|at| if at < len - 1 { 'x' } else { rng.random_range('a'..='f') }).collect::<String>()
    };
    wire(&((0..labels).map(|_| label(rng)).collect::<Vec<_>>().join(".") + "."))
}

/// A table of lists; the value of a name is made by `value` of the marks it was entered with last.
fn table_of(lists: &[NameList], seed: u64, value: fn(u8) -> u32, keep: impl FnMut(u32, Option<u32>) -> bool) -> Table {
    let lists: Vec<_> = lists.iter().cloned().map(Arc::new).collect();
    Table::build(lists, seed, |_, _, marks| value(marks), keep).unwrap()
}

fn list_of(names: &[&str]) -> NameList {
    let mut list = NameList::default();
    names.iter().enumerate().for_each(|(number, name)| list.push(number as u8, &wire(name)));
    list
}

#[test]
fn it_says_what_a_map_of_names_says_of_names() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..12 {
        let value = [
            (|marks| u32::from(marks) >> 1) as fn(u8) -> u32,
            |m| u32::from(m) << 7,
            |m| u32::from(m) << 15,
            |m| u32::from(m) << 24 | 1,
        ][round % 4];
        let mut names = HashMap::new();
        let mut lists = vec![NameList::default(); 3];
        for list in &mut lists {
            for _ in 0..[1_000, 3, 0][round % 3] {
                let (name, marks) = (random_wire(&mut rng), rng.random());
                list.push(marks, &name);
                names.insert(name, value(marks));
            }
        }
        let mut merges = 0;
        let merge = |known: Option<u32>, _, marks| {
            merges += usize::from(known.is_none());
            value(marks)
        };
        let table = Table::build(lists.into_iter().map(Arc::new).collect(), rng.random(), merge, |_, _| true).unwrap();
        assert_eq!((merges, table.len()), (names.len(), names.len()), "seed {seed}");
        let asked: Vec<_> = names.keys().cloned().chain((0..3_000).map(|_| random_wire(&mut rng))).collect();
        for name in &asked {
            assert_eq!(hits(&table, name), naive(&names, name), "{name:?} seed {seed}");
            assert_eq!(table.value_of(name), names.get(name).copied(), "{name:?} seed {seed}");
        }
    }
}

#[test]
fn what_a_name_has_is_merged_in_the_order_of_lists() {
    let mut one = list_of(&["a.example", "b.example", "a.example"]);
    one.push(7, &wire("b.example"));
    let two = list_of(&["b.example"]);
    let mut seen = Vec::new();
    let merge = |known: Option<u32>, list: usize, marks: u8| {
        seen.push((known, list, marks));
        known.unwrap_or(0) * 10 + u32::from(marks) + 1
    };
    let table = Table::build(vec![Arc::new(one), Arc::new(two)], 5, merge, |_, _| true).unwrap();
    assert_eq!(table.value_of(&wire("a.example")), Some(13));
    assert_eq!(table.value_of(&wire("b.example")), Some((2 * 10 + 8) * 10 + 1));
    assert_eq!(seen.len(), 5);
}

#[test]
fn refused_names_are_gone_and_the_others_stay() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    for share in [0, 1, 50, 255] {
        let mut names = HashMap::new();
        let mut list = NameList::default();
        for _ in 0..3_000 {
            let (name, marks) = (random_wire(&mut rng), rng.random::<u8>());
            list.push(marks, &name);
            names.insert(name, u32::from(marks));
        }
        let mut aboves: Vec<_> = names
            .iter()
            .map(|(name, value)| {
                let mut above = naive(&names, name);
                above.retain(|hit| hit.at > 0);
                (*value, above.last().map(|hit| hit.value))
            })
            .collect();
        let mut seen = Vec::new();
        let table = table_of(&[list], rng.random(), u32::from, |value, above| {
            seen.push((value, above));
            value >= share
        });
        aboves.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, aboves, "seed {seed}");
        let asked: Vec<_> = names.keys().cloned().chain((0..3_000).map(|_| random_wire(&mut rng))).collect();
        names.retain(|_, value| *value >= share);
        assert_eq!(table.len(), names.len(), "seed {seed}");
        for name in &asked {
            assert_eq!(hits(&table, name), naive(&names, name), "{name:?} seed {seed}");
        }
    }
}

#[test]
fn folding_is_told_the_nearest_name_above() {
    let list = list_of(&["example", "a.example", "x.b.a.example", "org", "."]);
    let mut seen = Vec::new();
    let table = table_of(&[list], 1, u32::from, |value, above| {
        seen.push((value, above));
        value != 1
    });
    seen.sort_unstable();
    assert_eq!(seen, [(0, Some(4)), (1, Some(0)), (2, Some(1)), (3, Some(4)), (4, None)]);
    assert_eq!(table.len(), 4);
    assert_eq!(table.value_of(&wire("a.example")), None);
    let at_each = hits(&table, &wire("x.b.a.example"));
    assert_eq!(at_each.iter().map(|hit| hit.value).collect::<Vec<_>>(), [4, 0, 2]);
}

#[test]
fn names_of_most_labels_and_most_bytes_are_found() {
    let deepest = format!("{}a", "a.".repeat(126));
    let label = "b".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "c".repeat(61));
    assert_eq!((wire(&deepest).len(), wire(&longest).len()), (255, 255));
    let table = table_of(&[list_of(&[&deepest, &longest, "a.a"])], 9, u32::from, |_, _| true);
    assert_eq!(hits(&table, &wire(&deepest)), [Hit { at: 250, value: 2 }, Hit { at: 0, value: 0 }]);
    assert_eq!(table.value_of(&wire(&longest)), Some(1));
    let all: Vec<String> = (1..=127).map(|labels| vec!["a"; labels].join(".")).collect();
    let all = list_of(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(hits(&table_of(&[all], 9, u32::from, |_, _| true), &wire(&deepest)).len(), 127);
}

#[test]
fn a_name_takes_few_bytes() {
    let mut list = NameList::default();
    let names: Vec<_> = (0..20_000).map(|n| wire(&format!("name-{n}.example"))).collect();
    names.iter().for_each(|name| list.push(1, name));
    let table = table_of(&[list], 5, u32::from, |_, _| true);
    let arena: usize = names.iter().map(|name| name.len() + HEAD + 1).sum();
    let blocks = 20_000 / BLOCK + 2;
    let arena = arena + (0..blocks - 1).filter(|block| table.block(*block).marks != 0).count() * COUNT;
    let bytes = table.bytes() - blocks * size_of::<Block>() - table.ahead - TAIL;
    assert!(table.ahead < 4096, "{}", table.ahead);
    assert!((arena..arena * 9 / 8 + 2 * blocks).contains(&bytes), "{bytes} of {arena}");
}

#[test]
fn blocks_lie_near_the_places_that_their_numbers_give() {
    let mut list = NameList::default();
    (0..100_000).for_each(|n| list.push(1, &wire(&format!("name-{n}.example"))));
    for (what, keeps) in [("all", 1), ("a third", 3)] {
        let table = table_of(&[list.clone()], seed(), u32::from, {
            let mut number = 0;
            move |_, _| {
                number += 1;
                number % keeps == 0
            }
        });
        assert_eq!(table.iter().count(), table.len(), "{what}");
        let is_near = |name: &&[u8]| {
            let home = home_of(table.keys.hash(name).0, table.blocks.len() - 1);
            let (start, end) = (table.block(home).start as usize, table.block(home + 1).start as usize);
            let at = start + table.arena[start..end].windows(name.len()).position(|bytes| bytes == *name).unwrap();
            let expected = (home + 1) * table.stride + table.ahead;
            at + name.len() <= expected && expected - at <= EXPECTED * LINE
        };
        let near = table.iter().map(|(name, _)| name).filter(is_near).count();
        // How far the sum of random sizes runs from its mean decides: 64 to 100 % over many seeds.
        assert!(near * 2 > table.len(), "{near} of {}, {what}", table.len());
    }
}

#[test]
fn one_name_many_times_over_among_many_others_stays_in_the_order_of_lists() {
    let mut many = NameList::default();
    let names: Vec<_> = (0..40_000).map(|n| wire(&format!("name-{n}.example"))).collect();
    names.iter().for_each(|name| many.push(1, name));
    let mut same = NameList::default();
    (0..60_000).for_each(|n| same.push((n % 250) as u8, &wire("same.example")));
    let last = list_of(&["same.example"]);
    let lists = [same.clone(), many, same, last].map(Arc::new).to_vec();
    let mut seen = Vec::new();
    let merge = |known: Option<u32>, list: usize, marks: u8| {
        if list != 1 {
            seen.push((list, marks));
        }
        known.unwrap_or(0) + 1
    };
    let table = Table::build(lists, 11, merge, |_, _| true).unwrap();
    assert_eq!((table.len(), table.value_of(&wire("same.example"))), (40_001, Some(120_001)));
    assert!(names.iter().all(|name| table.value_of(name) == Some(1)));
    let once = (0..60_000).map(|n| (n % 250) as u8);
    let expected: Vec<_> = once.clone().map(|n| (0, n)).chain(once.map(|n| (2, n))).chain([(3, 0)]).collect();
    assert_eq!(seen, expected);
}

#[test]
fn what_is_foreseen_is_where_names_are_and_never_out_of_bounds() {
    let names: Vec<_> = (0..5_000).map(|n| wire(&format!("name-{n}.example"))).collect();
    let mut list = NameList::default();
    names.iter().for_each(|name| list.push(1, name));
    let table = table_of(&[list], 5, u32::from, |_, _| true);
    for name in &names {
        let foreseen = table.foresee(name);
        // Only names of two labels are in the table.
        assert_eq!(foreseen.len, 1);
        let home = foreseen.homes[0];
        let block = table.block_of(&home).unwrap();
        let next = table.block(home.block as usize + 1);
        let block_bytes = &table.arena[block.start as usize..next.start as usize];
        assert!(block.marks >> home.mark & 1 == 1 && block_bytes.windows(name.len()).any(|bytes| bytes == name));
    }
    let small = table_of(&[list_of(&["a.example"])], 5, u32::from, |_, _| true);
    let longest = wire(&format!("{}a", "a.".repeat(126)));
    for foreseen in [table.foresee(&names[9]), table.foresee(&longest), small.foresee(&longest)] {
        table.fetch_foreseen(&foreseen);
        small.fetch_foreseen(&foreseen);
    }
    // A table may be where an earlier one was.
    let stale = Foreseen { table: small.address(), ..table.foresee(&names[9]) };
    small.fetch_foreseen(&stale);
    small.suffixes_of_foreseen(&names[9], &stale, |hit| panic!("{hit:?}"));
}

#[test]
fn a_name_below_another_has_the_hashes_of_the_names_above_it() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let keys = Keys::new(rng.random());
    for _ in 0..2_000 {
        let labels: Vec<String> =
            (0..rng.random_range(0..12)).map(|_| "x".repeat(rng.random_range(1..20)) + ".").collect();
        let text = labels.concat();
        let Ok(name) = Name::from_text(if text.is_empty() { "." } else { &text }) else { continue };
        let hashes = Hashes::of(keys, name.as_wire());
        let mut labels = Labels::of(name.as_wire());
        let mut starts = vec![hashes.end()];
        starts.extend(std::iter::from_fn(|| labels.pop()));
        assert_eq!(starts.len(), name.suffixes().count(), "seed {seed}");
        for suffix in name.suffixes() {
            let start = name.as_wire().len() - suffix.len();
            assert!(starts.contains(&start), "seed {seed}");
            assert_eq!(hashes.from(start), keys.hash(suffix).0, "{name:?} at {start} seed {seed}");
        }
    }
    // Of as many bytes, of the same words in another order, of a word less.
    let differ = ["aaaaaaabbbbbbbb.c", "bbbbbbbaaaaaaaa.c", "aaaaaaa.bbbbbbb.c", "bbbbbbb.c", "aaaaaaa.c", "c", "."];
    let hashes: std::collections::HashSet<_> = differ.iter().map(|name| keys.hash(&wire(name)).0).collect();
    assert_eq!(hashes.len(), differ.len());
}

#[test]
fn wire_forms_are_the_same_when_every_byte_is() {
    for len in 0..80 {
        let one: Vec<u8> = (0..len).collect();
        assert!(is_same(&one, &one.clone()));
        for at in 0..usize::from(len) {
            let mut other = one.clone();
            other[at] ^= 0x80;
            assert!(!is_same(&one, &other), "{at} of {len}");
        }
        assert!(!is_same(&one, &[&one[..], &[0]].concat()));
    }
}

#[test]
fn names_of_crowded_blocks_are_found() {
    let mut list = NameList::default();
    let names: Vec<_> = (0..50_000).map(|n| wire(&format!("{n}.{}", "x".repeat(1 + n % 60)))).collect();
    names.iter().enumerate().for_each(|(n, name)| list.push((n % 250) as u8, name));
    let table = table_of(&[list], seed(), u32::from, |_, _| true);
    let most = (0..table.blocks.len() - 1).map(|block| table.places_of(block).count()).max().unwrap();
    assert!(most > LANES, "{most}");
    for (n, name) in names.iter().enumerate() {
        assert_eq!(table.value_of(name), Some((n % 250) as u32), "{n}");
    }
}

#[test]
fn a_visitor_that_has_enough_is_not_called_again() {
    let table = table_of(&[list_of(&[".", "com", "example.com"])], 3, u32::from, |_, _| true);
    for enough in 1..=3 {
        let mut calls = 0;
        table.suffixes_of(&wire("example.com"), |_| {
            calls += 1;
            calls < enough
        });
        assert_eq!(calls, enough);
    }
}
