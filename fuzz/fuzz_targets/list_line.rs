//! Any bytes as a bulk list, in every format that is read: no panic, every line either loads, is one of the machine's own
//! names, or is counted as bad; what loads is a name, is found in the compiled filter, and reads back from its own text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use weir::dns::name::Name;
use weir::policy::Mode;
use weir::policy::filter::lists::{Format, Match, Reading, parse};
use weir::policy::filter::{Action, Filter, Rule, Scope};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let format = [None, Some(Format::Domains), Some(Format::Hosts), Some(Format::Wildcards)][usize::from(choice & 3)];
    let reading = Reading { format, matches: Match::Subtree, suffixes: choice & 4 != 0 };
    let Ok(parsed) = parse(bytes, reading) else { return };
    let accounted = parsed.names.len() + parsed.local_names + parsed.problems.count();
    assert!(accounted >= parsed.lines || parsed.format == Format::Hosts, "a line was lost");
    assert!(parsed.problems.count() <= parsed.lines, "a line is bad once");
    for group in parsed.problems.groups() {
        assert!(bytes.get(group.span.clone()).is_some(), "a problem outside of the list");
    }
    let names = Arc::new(parsed.names);
    let (filter, _) = Filter::new(vec![rule()], std::slice::from_ref(&names), 1).expect("a small list fits");
    for (reach, wire) in names.iter() {
        let name = Name::from_wire(wire).expect("what loads is a name");
        assert_eq!(name.as_wire(), wire, "in lower case");
        // Only a rule for the names below says nothing about the name itself.
        assert!(reach == 2 || !filter.is_untouched(&name), "{name} is in the list and not in the filter");
        let again = Reading { format: Some(Format::Domains), suffixes: true, ..reading };
        let again = parse(name.to_string().as_bytes(), again).expect("a name is a list");
        assert_eq!(again.names.iter().next().map(|(_, wire)| wire), Some(wire), "{name}");
    }
});

fn rule() -> Rule {
    Rule {
        id: "list".to_owned(),
        zone: "zone".to_owned(),
        zone_number: 0,
        action: Action::Nxdomain,
        ttl: 60,
        mode: Mode::Enforce,
        scope: Scope::default(),
        owner: None,
        ticket: None,
        note: None,
    }
}
