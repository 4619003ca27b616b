//! What both parsers read from a packet that both accept, compared field by field.

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::HTTPS;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;
use weir::dns::edns::{self, Edns};
use weir::dns::query::Query;
use weir::dns::response::{CHAIN_MAX, Response, TTLS_MAX};
use weir::dns::{rtype, u32_at};

/// The lower-case wire form of hickory's name.
fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name {
        wire.push(label.len() as u8);
        wire.extend(label.to_ascii_lowercase());
    }
    wire.push(0);
    wire
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: we read {ours:?}, hickory {theirs:?}")) }
}

pub(crate) fn of_query(ours: &Query<'_>, theirs: &Message) -> Result<(), String> {
    same("id", &ours.id, &theirs.id)?;
    same("opcode", &ours.opcode, &u8::from(theirs.op_code))?;
    let flags = (theirs.recursion_desired, theirs.authentic_data, theirs.checking_disabled);
    same("rd, ad, cd", &(ours.rd, ours.ad, ours.cd), &flags)?;
    same("is a query", &MessageType::Query, &theirs.message_type)?;
    let question = theirs.queries.first().ok_or("hickory sees no question")?;
    same("name", &ours.name.as_wire(), &&wire(question.name())[..])?;
    same("type", &ours.qtype, &u16::from(question.query_type()))?;
    same("class", &ours.qclass, &u16::from(question.query_class()))?;
    same("signed", &ours.signed, &is_signed(theirs))?;
    of_edns(ours.packet, ours.edns.as_ref(), theirs)
}

fn is_signed(theirs: &Message) -> bool {
    let sig0 = |record: &Record| match &record.data {
        RData::DNSSEC(data) if record.record_type() == RecordType::SIG => {
            use hickory_proto::dnssec::rdata::DNSSECRData;
            matches!(data, DNSSECRData::SIG(sig) if u16::from(sig.input().type_covered) == 0)
        }
        _ => false,
    };
    theirs.signature.is_some() || theirs.additionals.iter().any(sig0)
}

fn of_edns(packet: &[u8], ours: Option<&Edns>, theirs: &Message) -> Result<(), String> {
    same("has OPT", &ours.is_some(), &theirs.edns.is_some())?;
    let (Some(ours), Some(theirs)) = (ours, &theirs.edns) else { return Ok(()) };
    same("payload", &ours.payload.max(512), &theirs.max_payload())?;
    same("version", &ours.version, &theirs.version())?;
    same("extended rcode", &ours.extended_rcode, &theirs.rcode_high())?;
    same("DO", &ours.dnssec_ok, &theirs.flags().dnssec_ok)?;
    let codes: Vec<u16> = edns::options(packet, ours).map(|(code, _)| code).collect();
    let their_codes: Vec<u16> = theirs.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect();
    same("options", &codes, &their_codes)
}

pub(crate) fn of_response(ours: &Response<'_>, theirs: &Message) -> Result<(), String> {
    same("id", &ours.id, &theirs.id)?;
    same("opcode", &ours.opcode, &u8::from(theirs.op_code))?;
    same("is a response", &MessageType::Response, &theirs.message_type)?;
    same("rcode", &ours.rcode, &u16::from(theirs.response_code))?;
    same("aa, tc", &(ours.aa, ours.tc), &(theirs.authoritative, theirs.truncation))?;
    same("answers", &usize::from(ours.answers), &theirs.answers.len())?;
    same("authorities", &usize::from(ours.authorities), &theirs.authorities.len())?;
    same("signed", &ours.signed, &is_signed(theirs))?;
    of_edns(ours.message, ours.edns.as_ref(), theirs)?;
    of_ttls(ours, theirs)?;
    of_authority(ours, theirs)?;
    if !ours.too_many {
        of_chain(ours, theirs)?;
    }
    let mut addresses = Vec::new();
    ours.addresses(&mut |ip| addresses.push(ip));
    let in_class = theirs.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    let their_addresses: Vec<IpAddr> = in_class.flat_map(addresses_of).collect();
    same("addresses", &addresses, &their_addresses)
}

/// The addresses that a record shows, those of hints (RFC 9460 section 7.3) among them.
fn addresses_of(record: &Record) -> Vec<IpAddr> {
    let (RData::SVCB(svcb) | RData::HTTPS(HTTPS(svcb))) = &record.data else {
        return record.data.ip_addr().into_iter().collect();
    };
    let of_parameter = |(_, value): &(SvcParamKey, SvcParamValue)| -> Vec<IpAddr> {
        match value {
            SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|a| a.0.into()).collect(),
            SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|aaaa| aaaa.0.into()).collect(),
            _ => Vec::new(),
        }
    };
    svcb.svc_params.iter().flat_map(of_parameter).collect()
}

fn of_ttls(ours: &Response<'_>, theirs: &Message) -> Result<(), String> {
    let seconds = |record: &Record| if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
    same("least TTL", &ours.answer_ttl_min, &theirs.answers.iter().map(seconds).min())?;
    let is_data = |record: &&Record| {
        !matches!(&record.data, RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::SIG(sig))
            if u16::from(sig.input().type_covered) == 0)
    };
    let ttls: Vec<u32> = ours.ttls().iter().filter_map(|&at| u32_at(ours.message, usize::from(at))).collect();
    let their_ttls: Vec<u32> = theirs.all_sections().filter(is_data).take(TTLS_MAX).map(|record| record.ttl).collect();
    same("TTLs", &ttls, &their_ttls)
}

fn of_authority(ours: &Response<'_>, theirs: &Message) -> Result<(), String> {
    let zero = |ttl: u32| if ttl > i32::MAX as u32 { 0 } else { ttl };
    let soa = theirs.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some((wire(&record.name), zero(record.ttl).min(zero(soa.minimum)))),
        _ => None,
    });
    same("SOA", &ours.soa().map(|(owner, ttl)| (owner.as_wire().to_vec(), ttl)), &soa)?;
    let ns = theirs.authorities.iter().find(|record| u16::from(record.record_type()) == rtype::NS);
    same("NS", &ours.ns_owner().map(|owner| owner.as_wire().to_vec()), &ns.map(|record| wire(&record.name)))
}

/// The CNAMEs that lead on in order, then those that were passed by.
fn of_chain(ours: &Response<'_>, theirs: &Message) -> Result<(), String> {
    let mut end = theirs.queries.first().map_or(vec![0], |question| wire(question.name()));
    let (mut chain, mut passed) = (Vec::new(), Vec::new());
    for record in &theirs.answers {
        let RData::CNAME(target) = &record.data else { continue };
        let link = (wire(&record.name), wire(&target.0));
        if link.0 == end {
            end = link.1.clone();
            chain.push(link.1);
        } else {
            passed.push(link);
        }
    }
    while let Some(index) = passed.iter().position(|(owner, _)| *owner == end) {
        end = passed.remove(index).1;
        chain.push(end.clone());
    }
    let mut our_chain = Vec::new();
    ours.chain(&mut |name| our_chain.push(name.as_wire().to_vec()));
    same("chain", &our_chain, &chain)?;
    same("chain's end", &ours.chain_end().as_wire(), &&end[..])?;
    same("chain's length", &(ours.chain_len, ours.chain_len <= CHAIN_MAX), &(chain.len(), true))
}
