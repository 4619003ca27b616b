//! The table against a map, and at its limits.

use super::*;
use crate::dns::name::Name;
use crate::policy::filter::tests::seed;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::HashMap;

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

fn hits(table: &Table, name: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    table.suffixes_of(name, |hit| {
        hits.push(hit);
        true
    });
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

#[test]
fn it_says_what_a_map_of_names_says_of_names() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..12 {
        let mut names = HashMap::new();
        let mut table = TableBuilder::new([0, 50, 5_000][round % 3], rng.random());
        let values = [1 << 7, 1 << 15, 1 << 23, u32::MAX][round % 4];
        for _ in 0..3_000 {
            let (name, value) = (random_wire(&mut rng), rng.random_range(0..values));
            let before = names.insert(name.clone(), value);
            let seen = |known| {
                assert_eq!(known, before, "seed {seed}");
                value
            };
            table.enter(&name, seen).unwrap();
        }
        // All stay, a few go (they leave holes), many go (the rest is moved together).
        let share = [0, 3, 50][round / 4];
        let mut aboves: Vec<_> = names
            .iter()
            .map(|(name, value)| (*value, naive(&names, name).iter().rev().nth(1).map(|hit| hit.value)))
            .collect();
        let mut seen = Vec::new();
        let table = table.finish(|value, above| {
            seen.push((value, above));
            value % 100 >= share
        });
        aboves.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, aboves, "seed {seed}");
        let asked: Vec<_> = names.keys().cloned().chain((0..3_000).map(|_| random_wire(&mut rng))).collect();
        names.retain(|_, value| *value % 100 >= share);
        assert_eq!(table.len(), names.len(), "seed {seed}");
        for name in &asked {
            assert_eq!(hits(&table, name), naive(&names, name), "{name:?} seed {seed}");
            assert_eq!(table.value_of(name), names.get(name).copied(), "{name:?} seed {seed}");
        }
    }
}

#[test]
fn finishing_leaves_out_what_is_refused_and_tells_the_nearest_name_above() {
    let mut table = TableBuilder::new(0, 1);
    for (value, name) in ["example", "a.example", "x.b.a.example", "org", "."].into_iter().enumerate() {
        table.enter(&wire(name), |_| value as u32).unwrap();
    }
    let mut seen = Vec::new();
    let packed = table.finish(|value, above| {
        seen.push((value, above));
        value != 1
    });
    assert_eq!(seen, [(0, Some(4)), (1, Some(0)), (2, Some(1)), (3, Some(4)), (4, None)]);
    assert_eq!(packed.len(), 4);
    assert_eq!(packed.value_of(&wire("a.example")), None);
    let at_each = hits(&packed, &wire("x.b.a.example"));
    assert_eq!(at_each.iter().map(|hit| hit.value).collect::<Vec<_>>(), [4, 0, 2]);
}

#[test]
fn names_of_most_labels_and_most_bytes_are_found() {
    let deepest = wire(&format!("{}a", "a.".repeat(126)));
    let label = "b".repeat(63);
    let longest = wire(&format!("{label}.{label}.{label}.{}", "c".repeat(61)));
    assert_eq!((deepest.len(), longest.len()), (255, 255));
    let mut table = TableBuilder::new(2, 9);
    table.enter(&deepest, |_| 1).unwrap();
    table.enter(&longest, |_| 2).unwrap();
    table.enter(&wire("a.a"), |_| 3).unwrap();
    let table = table.finish(|_, _| true);
    assert_eq!(hits(&table, &deepest), [Hit { at: 250, value: 3 }, Hit { at: 0, value: 1 }]);
    assert_eq!(table.value_of(&longest), Some(2));
}

#[test]
fn a_name_takes_few_bytes() {
    let mut table = TableBuilder::new(20_000, 5);
    let names: Vec<_> = (0..20_000).map(|n| wire(&format!("name-{n}.example"))).collect();
    names.iter().for_each(|name| table.enter(name, |_| 1).unwrap());
    let table = table.finish(|_, _| true);
    let arena: usize = names.iter().map(|name| name.len() + 1).sum();
    assert_eq!(table.bytes(), arena + (20_000 / FILL + 1) * 64);
}

#[test]
fn a_visitor_that_has_enough_is_not_called_again() {
    let mut table = TableBuilder::new(0, 3);
    [".", "com", "example.com"].iter().for_each(|name| table.enter(&wire(name), |_| 0).unwrap());
    let table = table.finish(|_, _| true);
    for enough in 1..=3 {
        let mut calls = 0;
        table.suffixes_of(&wire("example.com"), |_| {
            calls += 1;
            calls < enough
        });
        assert_eq!(calls, enough);
    }
}
