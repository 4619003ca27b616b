//! What a batch of queries will need of the filter's table, asked for before the first is answered: a large table lies in
//! memory, a look-up waits for it twice, and eight queries that wait together wait no longer than one. Hints alone: what is
//! decided about a query does not depend on whether it was foreseen.

use crate::dns::HEADER_LEN;
use crate::dns::name::Name;
use crate::policy::filter::{Filter, Foreseen};

/// The most queries of a group.
const GROUP_MAX: usize = 16;

/// The group that is being foreseen.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    group: [Foreseen; GROUP_MAX],
    len: usize,
}

impl Foresight {
    /// Takes in a query, if its name can be read and the filter is large enough for it to matter.
    #[inline]
    pub(super) fn see(&mut self, filter: &Filter, packet: &[u8]) {
        if self.len == GROUP_MAX || !filter.is_large() {
            return;
        }
        if let Ok((name, _)) = Name::read_uncompressed(packet, HEADER_LEN) {
            self.group[self.len] = filter.foresee(name.as_wire());
            self.len += 1;
        }
    }

    /// Asks for what the index points at.
    #[inline]
    pub(super) fn fetch(&mut self, filter: &Filter) {
        let len = std::mem::take(&mut self.len);
        self.group[..len].iter().for_each(|foreseen| filter.fetch_foreseen(foreseen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Options, load_files};

    #[test]
    fn packets_of_any_kind_may_be_foreseen() {
        let list: String = (0..30_000).map(|n| format!("n{n}.example\n")).collect();
        let rule = "[zone]\ntitle = \"z\"\n[[rule]]\nid = \"r\"\nlist = \"lists/l\"\naction = \"nxdomain\"\n";
        let gateway = "schema = 1\n[[upstream]]\nname = \"a\"\naddress = \"192.0.2.1\"\n";
        let files = [("gateway.toml", gateway), ("filters/10-z.toml", rule), ("lists/l", &list)].into_iter().collect();
        let filter = load_files(files, &Options::default()).unwrap().0.filter;
        assert!(filter.is_large());
        let mut foresight = Foresight::default();
        let query = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x02n1\x07example\0\0\x01\0\x01";
        for (packet, is_seen) in [(&b""[..], false), (&[0; 12], false), (&[0xff; 300], false), (query, true)] {
            (0..20).for_each(|_| foresight.see(&filter, packet));
            assert_eq!(foresight.len, if is_seen { GROUP_MAX } else { 0 });
            foresight.fetch(&filter);
            assert_eq!(foresight.len, 0);
        }
        foresight.see(&Filter::none(), query);
        assert_eq!(foresight.len, 0, "a small table needs no foresight");
    }
}
