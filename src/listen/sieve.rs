//! A filter in the kernel for the sources that a worker is being flooded by: what it cannot read it should not be handed.
//!
//! A worker that reads everything and drops most of it still loses what the kernel drops, blindly, once the socket is
//! full: nine of ten queries of everybody in a flood of ten times its capacity. A classic BPF program on the socket needs
//! no privilege, costs the worker nothing and lets every Nth datagram of a caught source pass at random, so that it keeps
//! about its fair share and the end of its flood is seen. TCP stays open to it.

use super::strangers::Strangers;
use socket2::SockFilter;
use std::net::{IpAddr, Ipv6Addr};

/// Sources that one program holds: two or five comparisons each, for every datagram that comes.
pub(super) const CAUGHT_MAX: usize = 32;

/// The least and the most that a sieve thins: one in so many passes. Powers of two.
pub(super) const ONE_IN: [u32; 2] = [2, 4096];

/// A source that is thinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caught {
    /// An address of IPv4, or a /64 of IPv6 with zeros below.
    pub(super) source: IpAddr,
    /// One in so many passes, a power of two.
    pub(super) one_in: u32,
}

/// What counts as one source: an address of IPv4, a /64 of IPv6.
pub(super) fn source_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Instructions of classic BPF that are used here. A is the accumulator, X the other register.
pub(super) mod op {
    pub(crate) const LOAD_NUMBER: u16 = 0x00;
    pub(crate) const LOAD_WORD: u16 = 0x20;
    pub(crate) const LOAD: u16 = 0x60;
    pub(crate) const STORE: u16 = 0x02;
    pub(crate) const A_TO_X: u16 = 0x07;
    pub(crate) const ADD_X: u16 = 0x0c;
    pub(crate) const MULTIPLY: u16 = 0x24;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const SHIFT_LEFT_BY_X: u16 = 0x6c;
    pub(crate) const SHIFT_RIGHT: u16 = 0x74;
    pub(crate) const JUMP: u16 = 0x05;
    pub(crate) const JUMP_IF_EQUAL: u16 = 0x15;
    pub(crate) const JUMP_IF_GREATER: u16 = 0x25;
    pub(crate) const JUMP_IF_NOT_LESS: u16 = 0x35;
    pub(crate) const JUMP_IF_ANY_BIT: u16 = 0x45;
    pub(crate) const JUMP_IF_ANY_BIT_OF_X: u16 = 0x4d;
    pub(crate) const RETURN: u16 = 0x06;
}

/// What a program returns that keeps all of a packet.
pub(super) const EVERYTHING: u32 = u32::MAX;

/// Where the IP header begins (`SKF_NET_OFF`), and a random number (`SKF_AD_OFF + SKF_AD_RANDOM`).
pub(super) const NETWORK: u32 = 0xfff0_0000;
pub(super) const RANDOM: u32 = 0xffff_f000 + 56;

/// Offset of the source in the IP headers of both versions.
const IPV4_SOURCE: u32 = 12;
pub(super) const IPV6_SOURCE: u32 = 8;

/// The program for the sockets of one family; `None` when it would let everything pass. Of those whom `strangers` does not
/// know, so many in 2^32 pass.
pub(super) fn program(caught: &[Caught], strangers: Option<(&Strangers, u32)>, ipv6: bool) -> Option<Vec<SockFilter>> {
    let of_family = || caught.iter().filter(|caught| caught.source.is_ipv6() == ipv6).take(CAUGHT_MAX);
    if of_family().next().is_none() && strangers.is_none() {
        return None;
    }
    let mut program = Vec::new();
    if !ipv6 {
        program.push(SockFilter::new(op::LOAD_WORD, 0, 0, NETWORK + IPV4_SOURCE));
    }
    for caught in of_family() {
        // A jump names the instructions to leave out: those up to the next source.
        match caught.source {
            IpAddr::V4(v4) => program.push(SockFilter::new(op::JUMP_IF_EQUAL, 0, 4, v4.to_bits())),
            IpAddr::V6(v6) => {
                let [high, low] = [96, 64].map(|shift| (v6.to_bits() >> shift) as u32);
                program.push(SockFilter::new(op::LOAD_WORD, 0, 0, NETWORK + IPV6_SOURCE));
                program.push(SockFilter::new(op::JUMP_IF_EQUAL, 0, 6, high));
                program.push(SockFilter::new(op::LOAD_WORD, 0, 0, NETWORK + IPV6_SOURCE + 4));
                program.push(SockFilter::new(op::JUMP_IF_EQUAL, 0, 4, low));
            }
        }
        program.push(SockFilter::new(op::LOAD_WORD, 0, 0, RANDOM));
        program.push(SockFilter::new(op::JUMP_IF_ANY_BIT, 0, 1, caught.one_in.next_power_of_two() - 1));
        program.push(SockFilter::new(op::RETURN, 0, 0, 0));
        program.push(SockFilter::new(op::RETURN, 0, 0, EVERYTHING));
    }
    match strangers {
        Some((strangers, pass)) => strangers.write(&mut program, ipv6, pass),
        None => program.push(SockFilter::new(op::RETURN, 0, 0, EVERYTHING)),
    }
    Some(program)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::UdpSocket;

    /// How many of `count` datagrams from each client pass.
    pub(crate) fn passed(server_ip: &str, clients: &[&str], program: &[SockFilter], count: usize) -> Vec<usize> {
        let server = UdpSocket::bind((server_ip, 0)).unwrap();
        SockRef::from(&server).attach_filter(program).unwrap();
        server.set_nonblocking(true).unwrap();
        let mut each = Vec::new();
        for client in clients {
            let client = UdpSocket::bind((*client, 0)).unwrap();
            let mut passed = 0;
            for _ in 0..count {
                client.send_to(b"query", server.local_addr().unwrap()).unwrap();
                passed += usize::from(server.recv_from(&mut [0; 16]).is_ok());
            }
            each.push(passed);
        }
        each
    }

    #[test]
    fn a_caught_source_is_thinned_and_its_neighbours_are_not() {
        let caught = [("127.0.0.9", 4096), ("127.0.0.8", 4)]
            .map(|(source, one_in)| Caught { source: source.parse().unwrap(), one_in });
        let got = passed(
            "127.0.0.1",
            &["127.0.0.9", "127.0.0.8", "127.0.0.7"],
            &program(&caught, None, false).unwrap(),
            2000,
        );
        assert!(got[0] < 20, "{got:?}: about one in 4096");
        assert!((300..700).contains(&got[1]), "{got:?}: about one in four");
        assert_eq!(got[2], 2000);
    }

    #[test]
    fn a_link_of_ipv6_is_one_source() {
        let source = source_of("::1".parse().unwrap());
        assert_eq!(source, "::".parse::<IpAddr>().unwrap());
        let other = Caught { source: source_of("2001:db8::7".parse().unwrap()), one_in: 4096 };
        assert_eq!(passed("::1", &["::1"], &program(&[other], None, true).unwrap(), 100), [100]);
        let got = passed("::1", &["::1"], &program(&[other, Caught { source, one_in: 4 }], None, true).unwrap(), 2000);
        assert!((300..700).contains(&got[0]), "{got:?}: about one in four");
    }

    #[test]
    fn nothing_to_catch_is_no_program() {
        let caught = [Caught { source: "127.0.0.9".parse().unwrap(), one_in: 4 }];
        assert!(program(&caught, None, true).is_none() && program(&[], None, false).is_none());
        let many: Vec<_> =
            (0..100).map(|i| Caught { source: source_of(Ipv6Addr::from_bits(i << 64).into()), one_in: 2 }).collect();
        assert_eq!(program(&many, None, true).unwrap().len(), 8 * CAUGHT_MAX + 1, "bounded");
    }
}
