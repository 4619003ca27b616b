//! Any bytes as a bulk list, in every format that is read: no panic, every line either loads, is one of the machine's own
//! names, or is counted as bad; what loads is a name, is found in the compiled filter, and reads back from its own text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use weir::dns::name::Name;
use weir::policy::filter::lists::{Format, Match, Problem, Reading, Weight, addresses, parse, parse_with};
use weir::policy::filter::{Action, Filter, Rule};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    // 0: detected; above the last format, too.
    let format = usize::from(choice & 15).checked_sub(1).and_then(|n| Format::ALL.get(n).copied());
    let reading = Reading { format, matches: Match::Subtree, suffixes: choice & 16 != 0 };
    // A list that takes in others takes in itself.
    let Ok(parsed) = parse_with(bytes, reading, &mut |name| (name == "x").then_some(bytes)) else { return };
    let addresses = addresses::parse(bytes);
    assert!(addresses.too_many || addresses.networks.len() + addresses.bad == addresses.lines);
    let accounted = parsed.read + parsed.local_names + parsed.problems.groups().iter().map(|g| g.count).sum::<usize>();
    // Records of a zone may be of its own, or be two of one name.
    let names_many = matches!(parsed.format, Format::Hosts | Format::Adblock | Format::V2fly | Format::Rpz);
    assert!(accounted >= parsed.lines || names_many, "a line was lost");
    // Names that are kept for some types only, or not at all, are counted beside their lines.
    let of_lines = parsed.problems.groups().iter().filter(|group| group.problem != Problem::TooManyTypes);
    let bad: usize = of_lines.filter(|group| group.problem.weight() != Weight::Taken).map(|group| group.count).sum();
    assert!(bad <= parsed.lines || parsed.format == Format::V2fly, "a line is bad once");
    for group in parsed.problems.groups() {
        assert!(bytes.get(group.span.clone()).is_some(), "a problem outside of the list");
    }
    let names = Arc::new(parsed.names);
    let (filter, _) = Filter::new(vec![rule()], std::slice::from_ref(&names), 1).expect("a small list fits");
    for (reach, wire) in names.iter() {
        let name = Name::from_wire(wire).expect("what loads is a name");
        assert_eq!(name.as_wire(), wire, "in lower case");
        // Only a rule for the names below, or an exception, says nothing about the name itself.
        assert!(reach & 1 == 0 || !filter.is_untouched(&name), "{name} is in the list and not in the filter");
        if wire == [0] {
            // Written as a pattern of another kind: `.` is no line of plain domains.
            continue;
        }
        let again = Reading { format: Some(Format::Domains), suffixes: true, ..reading };
        let again = parse(name.to_string().as_bytes(), again).expect("a name is a list");
        assert_eq!(again.names.iter().next().map(|(_, wire)| wire), Some(wire), "{name}");
    }
});

fn rule() -> Rule {
    Rule::new("list", "zone", 0, Action::Nxdomain)
}
