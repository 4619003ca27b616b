//! What an answer shows beside its own records: the address hints and targets of HTTPS and SVCB records (RFC 9460), and
//! name servers with their addresses. Everything that reads them takes bounded work, whatever a message claims.

use super::name::Name;
use super::record::{Record, Walker};
use super::response::{Response, Section};
use super::{HEADER_LEN, class, rtype, u16_at, walk};
use std::net::IpAddr;
use std::ops::Range;

/// NS records of one message that are looked at; the largest sets of the world have 13.
const NAME_SERVERS_MAX: usize = 32;

/// Records of the additional section that are looked at for addresses of name servers.
const GLUE_MAX: usize = 128;

/// Service parameters with addresses (RFC 9460 section 7.3).
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;

/// What a record holds, whosever it is.
struct Held {
    rtype: u16,
    class: u16,
    data: Range<usize>,
}

impl Held {
    fn of(record: &Record) -> Self {
        Self { rtype: record.rtype, class: record.class, data: record.data.clone() }
    }

    /// That of the record whose TTL stands at `ttl_at`, in a message that has been scanned.
    fn around(message: &[u8], ttl_at: usize) -> Option<Self> {
        let head = message.get(ttl_at - 4..)?.first_chunk::<10>()?;
        let [rtype, class, _, _, data_len] =
            std::array::from_fn(|n| u16::from_be_bytes([head[2 * n], head[2 * n + 1]]));
        let data_at = ttl_at + 6;
        Some(Self { rtype, class, data: data_at..data_at + usize::from(data_len) })
    }

    /// Whether it is a service binding.
    fn is_service(&self) -> bool {
        self.class == class::IN && matches!(self.rtype, rtype::SVCB | rtype::HTTPS)
    }

    /// The address of an A or AAAA record, whose length the scan has checked.
    fn address(&self, message: &[u8]) -> Option<IpAddr> {
        let data = message.get(self.data.clone())?;
        match (self.class, self.rtype) {
            (class::IN, rtype::A) => data.first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
            (class::IN, rtype::AAAA) => data.first_chunk::<16>().map(|ip| IpAddr::from(*ip)),
            _ => None,
        }
    }
}

/// Calls `visit` with each address in the hints of a service binding. Parameters that do not fit the bytes end the walk:
/// RFC 9460 section 2.2 has clients reject the whole record then.
fn hints(names: &mut Walker<'_>, record: &Held, visit: &mut dyn FnMut(IpAddr)) {
    let message = names.message;
    // The scan has found a target there, and paid for it: the allowance cannot be used up here.
    let Ok(mut at) = names.skip_name(record.data.start + 2) else { return };
    while at + 4 <= record.data.end {
        let (Some(key), Some(len)) = (u16_at(message, at), u16_at(message, at + 2)) else { return };
        let value = at + 4..at + 4 + usize::from(len);
        if value.end > record.data.end {
            return;
        }
        at = value.end;
        let Some(value) = message.get(value) else { return };
        match key {
            IPV4HINT => value.as_chunks::<4>().0.iter().for_each(|ip| visit(IpAddr::from(*ip))),
            IPV6HINT => value.as_chunks::<16>().0.iter().for_each(|ip| visit(IpAddr::from(*ip))),
            _ => {}
        }
    }
}

impl Response<'_> {
    /// Calls `visit` with each IPv4 and IPv6 address of the answer section, those in hints of HTTPS and SVCB records
    /// among them, in order.
    pub fn addresses(&self, visit: &mut dyn FnMut(IpAddr)) {
        self.addresses_in(Section::Answer, visit);
    }

    /// As [`Self::addresses`], of the additional section: what a client may use without asking for it.
    pub fn additional_addresses(&self, visit: &mut dyn FnMut(IpAddr)) {
        if self.additionals != u16::from(self.edns.is_some()) {
            self.addresses_in(Section::Additional, visit);
        }
    }

    /// The addresses of a section. A record is found by where its TTL stands, which spares reading owners anew; where not
    /// all TTLs were noted, the message is walked.
    fn addresses_in(&self, section: Section, visit: &mut dyn FnMut(IpAddr)) {
        let mut names = Walker::new(self.message, HEADER_LEN);
        let mut look = |record: &Held| match record.address(self.message) {
            Some(address) => visit(address),
            None if record.is_service() => hints(&mut names, record, visit),
            None => {}
        };
        if self.too_many {
            self.records().filter(|(of, _)| *of == section).for_each(|(_, record)| look(&Held::of(&record)));
            return;
        }
        let (first, rest) = self.ttls().split_at_checked(usize::from(self.answers)).unwrap_or_default();
        let ttls = match section {
            Section::Answer => first,
            Section::Authority => &[],
            Section::Additional => &rest[rest.len().min(usize::from(self.authorities))..],
        };
        ttls.iter().filter_map(|at| Held::around(self.message, usize::from(*at))).for_each(|record| look(&record));
    }

    /// Calls `visit` with the target of each HTTPS and SVCB record of the answer section that names one: `.` is the owner
    /// itself (RFC 9460 section 2.5).
    pub fn service_targets(&self, visit: &mut dyn FnMut(&Name)) {
        for (_, record) in self.records().take(usize::from(self.answers)) {
            if Held::of(&record).is_service()
                && let Ok((target, _)) = Name::read(self.message, record.data.start + 2)
                && target != Name::root()
                && !record.data.is_empty()
            {
                visit(&target);
            }
        }
    }

    /// Whether it has an NS record outside the additional section.
    pub fn shows_name_servers(&self) -> bool {
        let mut records = self.records().take_while(|(section, _)| *section != Section::Additional);
        self.has_ns() || records.any(|(_, record)| record.rtype == rtype::NS)
    }

    /// Calls `visit` with the name of each name server of a zone that `name` is in, at most 32 of them, and where it stands
    /// in the message: [`Self::name_at`] reads it there again.
    pub fn name_servers(&self, name: &Name, visit: &mut dyn FnMut(&Name, usize)) {
        let records = self.records().take_while(|(section, _)| *section != Section::Additional);
        let servers = records.filter(|(_, record)| record.rtype == rtype::NS && record.class == class::IN);
        for (_, record) in servers.take(NAME_SERVERS_MAX) {
            if let Ok((owner, _)) = Name::read(self.message, record.owner)
                && name.is_within(&owner)
                && let Ok((server, _)) = Name::read(self.message, record.data.start)
            {
                visit(&server, record.data.start);
            }
        }
    }

    /// The name at `at` of the message; `None` where none stands.
    pub fn name_at(&self, at: usize) -> Option<Name> {
        Name::read(self.message, at).ok().map(|(name, _)| name)
    }

    /// Calls `visit` with each address that the additional section has for such a name server; of 128 records at most.
    pub fn name_server_addresses(&self, name: &Name, visit: &mut dyn FnMut(IpAddr)) {
        self.name_servers(name, &mut |server, _| {
            let glue = self.records().filter(|(section, _)| *section == Section::Additional);
            for (_, record) in glue.take(GLUE_MAX) {
                if let Some(address) = Held::of(&record).address(self.message)
                    && walk::is_at(server, self.message, record.owner)
                {
                    visit(address);
                }
            }
        });
    }

    /// The target of the CNAME number `n` that was followed from the name asked for.
    pub fn target(&self, n: usize) -> Option<Name> {
        self.target_at(n).and_then(|at| self.name_at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::TTLS_MAX;
    use super::super::sample::{Sample, wire};
    use super::*;

    /// An HTTPS record's RDATA: priority 1, this target, these parameters.
    fn service(target: &[u8], params: &[(u16, &[u8])]) -> Vec<u8> {
        let params = params
            .iter()
            .flat_map(|(key, value)| [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat());
        [&[0, 1][..], target].concat().into_iter().chain(params).collect()
    }

    fn addresses(message: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        Response::scan(message).unwrap().addresses(&mut |ip| found.push(ip.to_string()));
        found
    }

    #[test]
    fn hints_are_addresses_and_what_does_not_fit_ends_them() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat();
        let params = [(1, &b"\x02h2"[..]), (IPV4HINT, &[192, 0, 2, 1, 192, 0, 2, 2]), (IPV6HINT, &v6)];
        let of = |data: &[u8]| {
            addresses(
                &Sample::response("a.example", rtype::HTTPS).record(1, b"\xc0\x0c", rtype::HTTPS, 60, data).bytes(),
            )
        };
        assert_eq!(of(&service(b"\0", &params)), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        assert_eq!(of(&service(b"\xc0\x0c", &params)).len(), 3, "a compressed target, as some readers take it");
        let whole = service(b"\0", &params);
        assert_eq!(of(&whole[..whole.len() - 1]).len(), 2, "the last parameter does not fit");
        assert_eq!(of(&service(b"\0", &[(IPV4HINT, &[192, 0, 2])])).len(), 0);
        assert_eq!(of(&service(b"\0", &[])).len(), 0);
        let svcb = Sample::response("a.example", rtype::SVCB).record(1, b"\xc0\x0c", rtype::SVCB, 60, &whole).bytes();
        assert_eq!(addresses(&svcb).len(), 3);
    }

    #[test]
    fn each_section_and_each_target_is_told_apart() {
        let data = service(&wire("x.example"), &[(IPV4HINT, &[192, 0, 2, 1])]);
        let message = Sample::response("a.example", rtype::HTTPS)
            .record(1, b"\xc0\x0c", rtype::HTTPS, 60, &data)
            .record(1, b"\xc0\x0c", rtype::HTTPS, 60, &service(b"\0", &[]))
            .record(2, &wire("example"), rtype::NS, 60, &wire("ns.example"))
            .record(2, &wire("other"), rtype::NS, 60, &wire("ns.other"))
            .record(3, &wire("ns.example"), rtype::A, 60, &[192, 0, 2, 53])
            .record(3, &wire("x.example"), rtype::A, 60, &[192, 0, 2, 2])
            .bytes();
        let response = Response::scan(&message).unwrap();
        let (mut more, mut targets, mut servers, mut glue) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        response.additional_addresses(&mut |ip| more.push(ip.to_string()));
        response.service_targets(&mut |name| targets.push(name.to_string()));
        let name = Name::from_text("a.example").unwrap();
        response.name_servers(&name, &mut |name, at| {
            assert_eq!(response.name_at(at).as_ref(), Some(name));
            servers.push(name.to_string());
        });
        response.name_server_addresses(&name, &mut |ip| glue.push(ip.to_string()));
        assert_eq!(addresses(&message), ["192.0.2.1"]);
        assert_eq!(more, ["192.0.2.53", "192.0.2.2"]);
        assert_eq!((targets.len(), servers.len(), glue), (1, 1, vec!["192.0.2.53".to_owned()]));
        assert!(targets[0].starts_with("x.example") && servers[0].starts_with("ns.example"));
        assert!(response.shows_name_servers());
        assert_eq!(&message[response.additionals_at..][..4], b"\x02ns\x07");
    }

    #[test]
    fn more_records_than_are_noted_show_their_addresses_too() {
        let of = |answers: usize| {
            let mut sample = Sample::response("a.example", rtype::A);
            for n in 0..answers {
                sample = sample.record(1, b"\xc0\x0c", rtype::A, 60, &[192, 0, 2, n as u8]);
            }
            let more = |sample: Sample, data: &[u8]| sample.record(3, b"\xc0\x0c", rtype::A, 60, data);
            sample =
                sample.record(2, b"\xc0\x0c", rtype::NS, 60, b"\xc0\x0c").record(2, b"\xc0\x0c", rtype::A, 60, &[1; 4]);
            more(more(sample.opt(b""), &[198, 51, 100, 1]), &[198, 51, 100, 2]).bytes()
        };
        for answers in [0, 1, 124, 125, 126, 127, 128, 129, 200] {
            let message = of(answers);
            let response = Response::scan(&message).unwrap();
            let (mut found, mut more) = (0, Vec::new());
            response.addresses(&mut |address| {
                assert_eq!(address, IpAddr::from([192, 0, 2, found as u8]));
                found += 1;
            });
            response.additional_addresses(&mut |address| more.push(address));
            assert_eq!((found, response.too_many), (answers, answers > TTLS_MAX - 4));
            assert_eq!(more, [[198, 51, 100, 1], [198, 51, 100, 2]].map(IpAddr::from));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_rdata_is_walked_within_its_bounds(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let message = Sample::response("a.example", rtype::HTTPS).record(1, b"\xc0\x0c", rtype::HTTPS, 60, &data).bytes();
            if let Ok(response) = Response::scan(&message) {
                let mut count = 0;
                response.addresses(&mut |_| count += 1);
                response.service_targets(&mut |_| count += 1);
                assert!(count <= 1 + data.len() / 4);
            }
        }
    }
}
