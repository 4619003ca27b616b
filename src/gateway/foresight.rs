//! What queries will need of the filter's table, asked for before they are decided upon: a large table lies in memory, and
//! whoever looks a name up waits for it twice. The queries of a batch wait together, and eight that wait together wait no
//! longer than one; a query that comes alone waits while its client is looked at. A name is hashed once for both, and what is
//! decided about a query does not depend on whether it was foreseen.

use crate::dns::HEADER_LEN;
use crate::dns::name::Name;
use crate::policy::filter::{Filter, Foreseen};

/// The most queries of a group.
const GROUP_MAX: usize = 16;

/// A name, and what was foreseen of it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    name: Name,
    foreseen: Foreseen,
}

/// The group that has been foreseen.
#[derive(Debug)]
pub(super) struct Foresight {
    group: [Seen; GROUP_MAX],
    len: usize,
    /// The first that has not been looked at.
    next: usize,
    /// No other belongs to it.
    is_complete: bool,
}

impl Foresight {
    pub(super) fn new() -> Self {
        let seen = Seen { name: Name::root(), foreseen: Foreseen::NOTHING };
        Self { group: [seen; GROUP_MAX], len: 0, next: 0, is_complete: false }
    }

    /// There is another filter.
    pub(super) fn forget(&mut self) {
        self.len = 0;
    }

    /// Takes in a query, if its name can be read and the filter is large enough for it to matter.
    #[inline]
    pub(super) fn see(&mut self, filter: &Filter, packet: &[u8]) {
        if !filter.is_large() {
            return;
        }
        if self.is_complete {
            (self.len, self.next, self.is_complete) = (0, 0, false);
        }
        if let Some(seen) = self.group.get_mut(self.len)
            && seen.name.become_uncompressed(packet, HEADER_LEN).is_ok()
        {
            seen.foreseen = filter.foresee(seen.name.as_wire());
            self.len += 1;
        }
    }

    /// The group is complete: asks for what the index points at.
    #[inline]
    pub(super) fn fetch(&mut self, filter: &Filter) {
        self.group[..self.len].iter().for_each(|seen| filter.fetch_foreseen(&seen.foreseen));
        self.is_complete = true;
    }

    /// What is foreseen of the name of a query that is looked at now, in the order in which a group was taken in; of one that
    /// was not, while there is time to wait for it.
    #[inline]
    pub(super) fn of(&mut self, filter: &Filter, name: &Name, has_time: bool) -> Foreseen {
        while let Some(seen) = self.group[..self.len].get(self.next) {
            self.next += 1;
            if seen.name == *name {
                return seen.foreseen;
            }
        }
        if has_time && filter.is_large() { filter.foresee_alone(name.as_wire()) } else { Foreseen::NOTHING }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::clients::GroupSet;
    use crate::policy::filter::Subject;
    use crate::policy::schedules::ActiveSet;
    use crate::policy::{Options, load_files};

    /// With 30 000 names below one, and `also`.
    fn filter_with(below: &str, also: &str) -> Filter {
        let list: String = (0..30_000).map(|n| format!("n{n}.{below}\n")).chain([also.to_owned()]).collect();
        let rule = "[zone]\ntitle = \"z\"\n[[rule]]\nid = \"r\"\nlist = \"lists/l\"\naction = \"nxdomain\"\n";
        let gateway = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
        let files = [("gateway.toml", gateway), ("filters/10-z.toml", rule), ("lists/l", &list)].into_iter().collect();
        let filter = load_files(files, &Options::default()).unwrap().0.filter;
        assert!(filter.is_large());
        filter
    }

    fn query(name: &str) -> (Name, Vec<u8>) {
        let name = Name::from_text(name).unwrap();
        (name, [b"\0\0\x01\0\0\x01\0\0\0\0\0\0", name.as_wire(), b"\0\x01\0\x01"].concat())
    }

    fn is_blocked(filter: &Filter, name: &Name, foreseen: &Foreseen) -> bool {
        let (groups, client) = (&GroupSet::default(), [192, 0, 2, 1].into());
        let subject = Subject { groups, client, name, qtype: 1, tcp: false, active: &ActiveSet::EVERYTHING };
        let rule = filter.decide_foreseen(&subject, foreseen, &mut |_, _| false).rule.is_some();
        assert_eq!(rule, filter.decide(&subject).rule.is_some(), "{name}");
        rule
    }

    #[test]
    fn packets_of_any_kind_may_be_foreseen() {
        let filter = filter_with("example", "");
        let mut foresight = Foresight::new();
        let (name, sound) = query("n1.example");
        for (packet, is_seen) in [(&b""[..], false), (&[0; 12], false), (&[0xff; 300], false), (&sound, true)] {
            (0..20).for_each(|_| foresight.see(&filter, packet));
            assert_eq!(foresight.len, if is_seen { GROUP_MAX } else { 0 });
            foresight.fetch(&filter);
            assert!(is_blocked(&filter, &name, &foresight.of(&filter, &name, true)));
        }
        let mut foresight = Foresight::new();
        foresight.see(&Filter::none(), &sound);
        assert_eq!(foresight.len, 0, "a small table needs no foresight");
    }

    #[test]
    fn what_is_foreseen_is_found_and_nothing_else() {
        let filter = filter_with("example", "n1.test\n*.deep.test\n");
        let mut foresight = Foresight::new();
        let deep = format!("{}deep.test", "a.".repeat(60));
        let names = ["n1.example", "N1.Example", "x.n2.example", "example", ".", "n30000.example", "n1.test", &deep];
        let blocked = [true, true, true, false, false, false, true, true];
        let queries = names.map(query);
        // Of the second group the last of the first have not been asked for.
        for asked in [0..6, 0..8] {
            queries.iter().for_each(|(_, packet)| foresight.see(&filter, packet));
            foresight.fetch(&filter);
            for number in asked {
                let (name, _) = &queries[number];
                assert_eq!(is_blocked(&filter, name, &foresight.of(&filter, name, false)), blocked[number], "{name}");
            }
        }
        // Some of a group are not looked at, and some that are were not in it.
        queries.iter().for_each(|(_, packet)| foresight.see(&filter, packet));
        foresight.fetch(&filter);
        for number in [1, 4, 0, 6] {
            let (name, _) = &queries[number];
            assert_eq!(is_blocked(&filter, name, &foresight.of(&filter, name, number != 0)), blocked[number], "{name}");
        }
    }

    #[test]
    fn another_filter_makes_nothing_of_it() {
        let (one, other) = (filter_with("example", ""), filter_with("test", ""));
        let (name, packet) = query("n1.test");
        let mut foresight = Foresight::new();
        foresight.see(&one, &packet);
        foresight.fetch(&one);
        let foreseen = foresight.of(&one, &name, true);
        assert!(!is_blocked(&one, &name, &foreseen) && is_blocked(&other, &name, &foreseen));
        foresight.see(&one, &packet);
        foresight.fetch(&one);
        foresight.forget();
        assert!(is_blocked(&other, &name, &foresight.of(&other, &name, true)));
    }
}
