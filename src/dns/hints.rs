//! What an answer shows beside its own records: the address hints and targets of HTTPS and SVCB records (RFC 9460), and
//! name servers with their addresses. Everything that reads them takes bounded work, whatever a message claims.

use super::name::Name;
use super::record::Record;
use super::response::{Response, Section};
use super::{class, rtype, u16_at, walk};
use std::net::IpAddr;

/// NS records of one message that are looked at; the largest sets of the world have 13.
const NAME_SERVERS_MAX: usize = 32;

/// Records of the additional section that are looked at for addresses of name servers.
const GLUE_MAX: usize = 128;

/// Service parameters with addresses (RFC 9460 section 7.3).
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;

/// Whether a record is a service binding.
fn is_service(record: &Record) -> bool {
    record.class == class::IN && matches!(record.rtype, rtype::SVCB | rtype::HTTPS)
}

/// Calls `visit` with each address in the hints of a service binding. Parameters that do not fit the bytes end the walk.
pub(super) fn hints(message: &[u8], record: &Record, visit: &mut dyn FnMut(IpAddr)) {
    if !is_service(record) {
        return;
    }
    // SvcPriority, then TargetName, which RFC 9460 section 2.2 has uncompressed.
    let Ok((_, mut at)) = Name::read(message, record.data.start + 2) else { return };
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

/// The address of an A or AAAA record, whose length the scan has checked.
pub(super) fn address_of(message: &[u8], record: &Record) -> Option<IpAddr> {
    let data = message.get(record.data.clone())?;
    match (record.class, record.rtype) {
        (class::IN, rtype::A) => data.first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
        (class::IN, rtype::AAAA) => data.first_chunk::<16>().map(|ip| IpAddr::from(*ip)),
        _ => None,
    }
}

impl Response<'_> {
    /// Calls `visit` with each IPv4 and IPv6 address of the answer section, those in hints of HTTPS and SVCB records
    /// among them, in order. Walks the message anew.
    pub fn addresses(&self, visit: &mut dyn FnMut(IpAddr)) {
        for (_, record) in self.records().take(usize::from(self.answers)) {
            match address_of(self.message, &record) {
                Some(address) => visit(address),
                None => hints(self.message, &record, visit),
            }
        }
    }

    /// As [`Self::addresses`], of the additional section: what a client may use without asking for it.
    pub fn additional_addresses(&self, visit: &mut dyn FnMut(IpAddr)) {
        if self.additionals == u16::from(self.edns.is_some()) {
            return;
        }
        for (section, record) in self.records() {
            if section != Section::Additional {
                continue;
            }
            match address_of(self.message, &record) {
                Some(address) => visit(address),
                None => hints(self.message, &record, visit),
            }
        }
    }

    /// Calls `visit` with the target of each HTTPS and SVCB record of the answer section that names one: `.` is the owner
    /// itself (RFC 9460 section 2.5).
    pub fn service_targets(&self, visit: &mut dyn FnMut(&Name)) {
        for (_, record) in self.records().take(usize::from(self.answers)) {
            if is_service(&record)
                && let Ok((target, _)) = Name::read(self.message, record.data.start + 2)
                && target != Name::root()
            {
                visit(&target);
            }
        }
    }

    /// Whether it has an NS record outside the additional section.
    pub fn shows_name_servers(&self) -> bool {
        let mut records = self.records().take_while(|(section, _)| *section != Section::Additional);
        self.ns_owner.is_some() || records.any(|(_, record)| record.rtype == rtype::NS)
    }

    /// Calls `visit` with the name of each name server of a zone that `name` is in, at most 32 of them.
    pub fn name_servers(&self, name: &Name, visit: &mut dyn FnMut(&Name)) {
        let records = self.records().take_while(|(section, _)| *section != Section::Additional);
        let servers = records.filter(|(_, record)| record.rtype == rtype::NS && record.class == class::IN);
        for (_, record) in servers.take(NAME_SERVERS_MAX) {
            if let Ok((owner, _)) = Name::read(self.message, record.owner)
                && name.is_within(&owner)
                && let Ok((server, _)) = Name::read(self.message, record.data.start)
            {
                visit(&server);
            }
        }
    }

    /// Calls `visit` with each address that the additional section has for such a name server; of 128 records at most.
    pub fn name_server_addresses(&self, name: &Name, visit: &mut dyn FnMut(IpAddr)) {
        self.name_servers(name, &mut |server| {
            let glue = self.records().filter(|(section, _)| *section == Section::Additional);
            for (_, record) in glue.take(GLUE_MAX) {
                if let Some(address) = address_of(self.message, &record)
                    && walk::is_at(server, self.message, record.owner)
                {
                    visit(address);
                }
            }
        });
    }

    /// The target of the CNAME number `n` that was followed from the name asked for.
    pub fn target(&self, n: usize) -> Option<Name> {
        self.target_at(n).and_then(|at| Name::read(self.message, at).ok()).map(|(name, _)| name)
    }
}
