//! Each drill as it is typed: it prints its table and ends by itself. What the tables promise of a quiet machine is measured
//! elsewhere; here is what any machine can do.

use super::place::{Ended, Place};
use serde_json::Value;

/// Runs a drill for a second, slowly.
fn drill(arguments: &[&str]) -> Ended {
    let place = Place::new();
    let ended = place.weir(&[&["drill"], arguments, &["--seconds", "1"]].concat());
    assert_eq!(ended.code, Some(0), "{arguments:?} {ended:#?}");
    ended
}

/// A figure of a row of its JSON.
fn figure(arguments: &[&str], rows: &[&str]) -> Vec<f64> {
    let ended = drill(&[arguments, &["--json"]].concat());
    let found: Value = serde_json::from_str(&ended.out).expect("JSON");
    let figure = |row: &&str| {
        found["rows"][*row]["through"].as_f64().unwrap_or_else(|| panic!("{arguments:?}: no {row} in {found:#}"))
    };
    rows.iter().map(figure).collect()
}

#[test]
fn every_drill_prints_its_table_and_ends() {
    for (name, rate) in [("forged-flood", "5000"), ("tcp-exhaustion", "1000"), ("slow-upstream", "500")] {
        let ended = drill(&[name, "--rate", rate]);
        ended.works(&[
            name,
            "direct",
            "through weir",
            "honest queries answered, attacked",
            "p99, quiet",
            "memory grown",
        ]);
    }
}

#[test]
fn a_storm_is_answered_and_held_to_its_share() {
    for more in [&["--names", "fixed"][..], &["--fault", "slow"]] {
        let arguments = [&["storm", "--rate", "1000"], more].concat();
        let found = figure(&arguments, &["answered", "own_answered", "zone_most", "zone_share", "normal_after"]);
        let [answered, own, most, share, normal] = found[..] else { panic!("{found:?}") };
        assert!(answered >= 99.0 && own >= 99.0, "{arguments:?} {found:?}");
        assert!(most <= share, "{arguments:?} {found:?}");
        assert!(normal <= 5000.0, "{arguments:?} {found:?}");
    }
}

#[test]
fn water_torture_leaves_the_names_that_exist() {
    let found = figure(&["water-torture", "--rate", "1000"], &["zone_answered", "others_answered"]);
    assert!(found.iter().all(|share| *share >= 99.0), "{found:?}");
}

#[test]
fn reflection_is_no_amplification_and_serves_who_is_there() {
    let place = Place::new();
    let arguments = ["drill", "reflection", "--rate", "1000", "--seconds", "3", "--json"];
    let ended = place.weir(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let found: Value = serde_json::from_str(&ended.out).expect("JSON");
    let number =
        |row: &str, half: &str| found["rows"][row][half].as_f64().unwrap_or_else(|| panic!("{row}: {found:#}"));
    assert!(number("worst_ratio", "direct") > 5.0, "there is something to amplify: {found:#}");
    assert!(number("worst_ratio", "through") <= 1.0, "{found:#}");
    assert!(number("cookie", "through") >= 99.0 && number("tcp", "through") >= 99.0, "{found:#}");
    assert!(found["head"].as_str().is_some_and(|head| head.contains("profile authoritative")), "{found:#}");
}

#[test]
fn lies_deceive_nobody_through_the_gateway() {
    let ended = drill(&["lying-upstream", "--json"]);
    let found: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert!(found["rows"]["deceived"]["direct"].as_u64() > Some(0), "{found:#}");
    assert_eq!(found["rows"]["deceived"]["through"], 0, "{found:#}");
    assert!(found["rows"]["acted"]["through"].is_number(), "{found:#}");
}

#[test]
fn a_drill_stays_on_loopback_and_says_what_it_lacks() {
    let place = Place::new();
    place.write("names", "www.example A\nbad..name A\n");
    for address in ["192.0.2.1:53", "[::1]:53"] {
        place.weir(&["drill", "forged-flood", "--upstream", address]).fails(1, &["loopback", address]);
    }
    let lab = ["drill", "storm", "--upstream", "127.0.0.1:53"];
    place.weir(&[&lab[..], &["--zone", "a.example", "--authority", "192.0.2.1:53"]].concat()).fails(1, &["loopback"]);
    place.weir(&lab).fails(1, &["--zone NAME"]);
    place.weir(&[&lab[..], &["--zone", "a.example"]].concat()).fails(1, &["--honest FILE"]);
    place.weir(&["drill", "storm", "--zone", "a.example"]).fails(1, &["--upstream"]);
    place.weir(&[&lab[..], &["--honest", "names"]].concat()).fails(2, &["names:2", "bad..name"]);
    place.weir(&[&lab[..], &["--honest", "nowhere"]].concat()).fails(2, &["nowhere"]);
    place.weir(&["drill", "storm", "--seconds", "61"]).fails(2, &["61"]);
}
