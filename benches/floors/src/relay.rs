//! The floor of forwarding: sends each query on under an id of its own, and the answer back under the client's. No policy,
//! no cache, no check.

use crate::batch::{BATCH, Peer, Ring, Wait, socket, wait};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Relays for ever.
pub(crate) fn serve(at: SocketAddrV4, to: SocketAddrV4) {
    let (clients, upstream) = (socket(Some(at)), socket(None));
    upstream.connect(to).expect("a loopback address can be connected to");
    let nobody = Peer::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let mut waiting = vec![(nobody, [0; 2]); 1 << 16];
    let (mut next, mut ring) = (0u16, Ring::new());
    loop {
        let [is_asked, is_answered] = wait([&clients, &upstream], -1);
        if is_asked {
            for at in 0..ring.receive(&clients, Wait::Never).min(BATCH) {
                let peer = ring.peer(at);
                let (bytes, len) = ring.datagram(at);
                waiting[usize::from(next)] = (peer, [bytes[0], bytes[1]]);
                bytes[..2].copy_from_slice(&next.to_be_bytes());
                next = next.wrapping_add(1);
                ring.queue(at, len, None);
            }
            ring.send(&upstream);
        }
        if is_answered {
            for at in 0..ring.receive(&upstream, Wait::Never).min(BATCH) {
                let (bytes, len) = ring.datagram(at);
                let (peer, id) = waiting[usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))];
                bytes[..2].copy_from_slice(&id);
                ring.queue(at, len, Some(peer));
            }
            ring.send(&clients);
        }
    }
}
