//! From a captured packet to what was sent to or from the DNS port in it: link layers as tcpdump meets them, VLAN tags,
//! IPv4, IPv6 and its extension headers, UDP and TCP. Checksums are not looked at: of what the machine itself has sent they
//! are not filled in yet.

use super::Asker;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use std::net::IpAddr;

/// Link layers, by their numbers in captures (draft-ietf-opsawg-pcaplinktype).
mod link_type {
    pub(super) const NULL: u32 = 0;
    pub(super) const ETHERNET: u32 = 1;
    pub(super) const RAW: u32 = 101;
    pub(super) const LOOP: u32 = 108;
    pub(super) const LINUX_SLL: u32 = 113;
    pub(super) const IPV4: u32 = 228;
    pub(super) const IPV6: u32 = 229;
    pub(super) const LINUX_SLL2: u32 = 276;
}

/// What a packet is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'p> {
    /// A datagram or, as the asker says, a TCP segment with data: who asks, whether it is from the server, and what it holds.
    Data(Asker, Way, &'p [u8]),
    /// A fragment, or cut off when it was captured.
    Piece,
    /// Something else.
    Other,
    /// Nothing that can be read.
    Bad,
}

/// Where something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    FromServer,
}

/// Looks into a packet of this link layer for something that was sent to or from `port`.
pub(super) fn find(link: u32, packet: &[u8], port: u16) -> Found<'_> {
    let sliced = match link {
        link_type::ETHERNET => LaxSlicedPacket::from_ethernet(packet).ok(),
        // 12 and 14 are what some systems write for it.
        link_type::RAW | link_type::IPV4 | link_type::IPV6 | 12 | 14 => LaxSlicedPacket::from_ip(packet).ok(),
        // Four bytes of an address family in either byte order; the version of IP says it too.
        link_type::NULL | link_type::LOOP => packet.get(4..).and_then(|ip| LaxSlicedPacket::from_ip(ip).ok()),
        // 16 bytes, the protocol last; 20 bytes, the protocol first.
        link_type::LINUX_SLL => of_ether_type(packet, 14, 16),
        link_type::LINUX_SLL2 => of_ether_type(packet, 0, 20),
        _ => return Found::Other,
    };
    sliced.map_or(Found::Bad, |sliced| of_ip(&sliced, port))
}

fn of_ether_type(packet: &[u8], type_at: usize, header: usize) -> Option<LaxSlicedPacket<'_>> {
    let ether_type = crate::dns::u16_at(packet, type_at)?;
    Some(LaxSlicedPacket::from_ether_type(EtherType(ether_type), packet.get(header..)?))
}

fn of_ip<'p>(sliced: &LaxSlicedPacket<'p>, port: u16) -> Found<'p> {
    let (source, destination, payload) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (IpAddr::from(header.source_addr()), IpAddr::from(header.destination_addr()), ip.payload())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (IpAddr::from(header.source_addr()), IpAddr::from(header.destination_addr()), ip.payload())
        }
        _ => return Found::Other,
    };
    let between = |from: u16, to: u16, tcp| match (from, to) {
        (_, to) if to == port => Some((Asker { client: source.to_canonical(), port: from, tcp }, Way::ToServer)),
        (from, _) if from == port => {
            Some((Asker { client: destination.to_canonical(), port: to, tcp }, Way::FromServer))
        }
        _ => None,
    };
    let (found, data, is_cut) = match &sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            let is_cut = usize::from(udp.length()) > udp.slice().len();
            (between(udp.source_port(), udp.destination_port(), false), udp.payload(), is_cut)
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let found = between(tcp.source_port(), tcp.destination_port(), true);
            (found.filter(|_| !tcp.payload().is_empty()), tcp.payload(), payload.incomplete)
        }
        Some(_) => return Found::Other,
        None if payload.fragmented || payload.incomplete => return Found::Piece,
        None => return Found::Other,
    };
    match found {
        Some(_) if is_cut => Found::Piece,
        Some((asker, way)) => Found::Data(asker, way, data),
        None => Found::Other,
    }
}
