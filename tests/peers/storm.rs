//! The storm of 2009-05-19 with a real resolver: Unbound directly and behind the gateway, a zone behind it that its server,
//! which is the drill, does not answer for, and NSD for everything else.
//!
//! `a_storm_through_the_gateway_harms_nobody` always runs, with what any machine can do. The full measure, which wants two
//! idle cores: `cargo test --release --test peers storm_at_length -- --ignored --nocapture`.

use super::harness::{Scratch, free_address};
use super::servers::{nsd, unbound_for};
use serde_json::Value;
use std::process::Command;

/// The zone that the storm asks for.
const ZONE: &str = "player.test";

/// What the drill found, by row and half.
struct Found(Value);

impl Found {
    fn number(&self, row: &str, half: &str) -> f64 {
        self.0["rows"][row][half].as_f64().unwrap_or_else(|| panic!("{row} {half}: {:#}", self.0))
    }
}

fn storm(arguments: &[&str]) -> Found {
    let scratch = Scratch::new("storm");
    let (nsd, authority) = (nsd(&scratch), free_address());
    let unbound = unbound_for(&scratch, &[("plain.test", nsd.address), (ZONE, authority)]);
    // Some that are asked for again and again, and as many that nobody remembers.
    let pair = |number| format!("host{:04}.plain.test A\nu{number}.wild.plain.test A\n", number % 200);
    let names: String = (0..10_000).map(pair).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["drill", "storm", "--json", "--zone", ZONE])
        .args(["--upstream", &unbound.address.to_string(), "--authority", &authority.to_string()])
        .arg("--honest")
        .arg(scratch.write("names", &names))
        .args(arguments)
        .output()
        .expect("the gateway is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = Found(serde_json::from_slice(&output.stdout).expect("JSON"));
    println!("{arguments:?} {:#}", found.0);
    assert_eq!(found.0["rows"]["alert"]["through"], format!("retry-storm {ZONE}"), "{:#}", found.0);
    found
}

#[test]
fn a_storm_through_the_gateway_harms_nobody() {
    let found = storm(&["--rate", "2000", "--seconds", "4"]);
    assert!(found.number("answered", "through") >= 99.0, "{:#}", found.0);
    assert!(found.number("own_answered", "through") >= 99.0, "an answer, not silence: {:#}", found.0);
    assert!(found.number("zone_most", "through") <= found.number("zone_share", "through"), "{:#}", found.0);
    assert!(found.number("normal_after", "through") <= 5000.0, "{:#}", found.0);
}

#[test]
#[ignore = "a minute and a half, and wants two idle cores: run it by name"]
fn storm_at_length() {
    for arguments in [&["--names", "many"][..], &["--names", "fixed"], &["--fault", "slow"]] {
        let found = storm(arguments);
        let through = |row| found.number(row, "through");
        assert!(through("answered") >= 99.9 && through("own_answered") >= 99.9, "{:#}", found.0);
        assert!(through("p99") <= 2.0 * through("p99_quiet"), "{:#}", found.0);
        assert!(through("alert_after") <= 1000.0, "{:#}", found.0);
        assert!(through("zone_most") <= through("zone_share"), "{:#}", found.0);
        assert!(through("normal_after") <= 5000.0, "{:#}", found.0);
    }
}
