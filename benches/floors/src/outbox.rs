//! What is to be sent, with headers as the system wants them: for one call or for a ring, each datagram by itself or those
//! that look alike as one (UDP_SEGMENT, udp(7)), as weir sends them.

use crate::batch::{Peer, zeros};
use libc::{c_int, cmsghdr, iovec, mmsghdr, sockaddr_in};
use std::cmp::Reverse;
use std::mem::{size_of, take};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

/// Datagrams of a group: what each system takes that knows groups.
const GROUP: usize = 64;

/// The length that the datagrams of a group have, which the last one may fall short of: told to the system as a u16 and by
/// it as an int, which are the same bytes where lengths are small and the processor is little-endian.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct GroupLen {
    header: cmsghdr,
    len: [u16; 4],
}

impl GroupLen {
    pub(crate) const SIZE: usize = size_of::<Self>();

    fn of_segments() -> Self {
        let mut header = Self::default().header;
        header.cmsg_len = (size_of::<cmsghdr>() + size_of::<u16>()) as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        Self { header, len: [0; 4] }
    }

    /// What the system told with a datagram; nothing where it is one by itself.
    pub(crate) fn told(&self, control_len: usize) -> Option<usize> {
        let is_told = control_len >= size_of::<cmsghdr>() + size_of::<c_int>()
            && (self.header.cmsg_level, self.header.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
        is_told.then(|| usize::from(self.len[if cfg!(target_endian = "big") { 1 } else { 0 }]))
    }
}

impl Default for GroupLen {
    fn default() -> Self {
        // SAFETY: zeros are a value of these integers.
        unsafe { std::mem::zeroed() }
    }
}

/// Datagrams that wait to be sent. The headers point into the other boxes, which never move.
pub(crate) struct Outbox {
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    targets: Box<[sockaddr_in]>,
    queued: usize,
    groups: Option<Groups>,
}

/// The same datagrams in groups.
struct Groups {
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    lens: Box<[GroupLen]>,
    order: Vec<usize>,
}

impl Outbox {
    pub(crate) fn of(batch: usize, is_grouped: bool) -> Self {
        let (mut headers, mut vectors) = (zeros::<mmsghdr>(batch), zeros::<iovec>(batch));
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        let groups = is_grouped.then(|| Groups::of(batch));
        Self { headers, vectors, targets: zeros(batch), queued: 0, groups }
    }

    /// Whether no more can be queued.
    pub(crate) fn is_full(&self) -> bool {
        self.queued == self.headers.len()
    }

    /// Queues a datagram; without a peer over a connected socket.
    ///
    /// # Safety
    /// The bytes stay where they are, and nobody writes them, until what is queued is sent.
    pub(crate) unsafe fn queue(&mut self, bytes: &mut [u8], to: Option<Peer>) {
        self.vectors[self.queued] = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let header = &mut self.headers[self.queued].msg_hdr;
        header.msg_namelen = if to.is_some() { size_of::<sockaddr_in>() as u32 } else { 0 };
        if let Some(Peer(to)) = to {
            self.targets[self.queued] = to;
            header.msg_name = (&raw mut self.targets[self.queued]).cast();
        } else {
            header.msg_name = null_mut();
        }
        self.queued += 1;
    }

    /// The headers of all that was queued, each of one datagram or of a group. Nothing is queued any more.
    pub(crate) fn take(&mut self) -> &mut [mmsghdr] {
        let alone = &mut self.headers[..take(&mut self.queued)];
        match &mut self.groups {
            Some(groups) => groups.form(alone, &self.vectors, &self.targets),
            None => alone,
        }
    }

    /// Sends what is queued; says how many of the first ones went before one did not, which is left out, as all that a
    /// full socket does not take.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> usize {
        let headers = self.take();
        let (mut at, mut unbroken) = (0, None);
        while at < headers.len() {
            let left = &mut headers[at..];
            // SAFETY: the headers are this outbox's, and point at its boxes and at bytes that stay until now.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
            if sent <= 0 {
                unbroken.get_or_insert(at);
            }
            at += usize::try_from(sent).unwrap_or(0).max(1);
        }
        headers[..unbroken.unwrap_or(at)].iter().map(|header| header.msg_hdr.msg_iovlen).sum()
    }
}

impl Groups {
    fn of(batch: usize) -> Self {
        let lens = vec![GroupLen::of_segments(); batch].into();
        Self { headers: zeros(batch), vectors: zeros(batch), lens, order: Vec::with_capacity(batch) }
    }

    /// Lines up by address, the longest first (over a connected socket as they come), and makes one of those that follow each
    /// other to the same address with the same length; a shorter one ends a group.
    fn form(&mut self, alone: &[mmsghdr], vectors: &[iovec], targets: &[sockaddr_in]) -> &mut [mmsghdr] {
        let peer = |at: usize| (targets[at].sin_addr.s_addr, targets[at].sin_port);
        let is_connected = alone.first().is_some_and(|first| first.msg_hdr.msg_name.is_null());
        self.order.clear();
        self.order.extend(0..alone.len());
        if !is_connected {
            self.order.sort_unstable_by_key(|at| (peer(*at), Reverse(vectors[*at].iov_len)));
        }
        let (mut made, mut of, mut len, mut is_ended) = (0, (0, 0), 0, true);
        for (position, at) in self.order.iter().copied().enumerate() {
            let (to, this) = (if is_connected { (0, 0) } else { peer(at) }, vectors[at].iov_len);
            self.vectors[position] = vectors[at];
            if !is_ended && to == of && this <= len {
                let header = &mut self.headers[made - 1].msg_hdr;
                header.msg_iovlen += 1;
                self.lens[made - 1].len[0] = len as u16;
                header.msg_control = (&raw mut self.lens[made - 1]).cast();
                header.msg_controllen = GroupLen::SIZE as _;
                is_ended = this < len || header.msg_iovlen == GROUP;
            } else {
                let header = &mut self.headers[made].msg_hdr;
                *header = alone[at].msg_hdr;
                header.msg_iov = &raw mut self.vectors[position];
                made += 1;
                (of, len, is_ended) = (to, this, this == 0);
            }
        }
        &mut self.headers[..made]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Ring, Wait, socket};
    use std::net::SocketAddr;

    fn address(socket: &UdpSocket) -> Peer {
        let Ok(SocketAddr::V4(address)) = socket.local_addr() else { panic!("bound to IPv4") };
        Peer::from(address)
    }

    #[test]
    fn what_goes_as_one_comes_as_it_was_queued() {
        let (near, far, other) = (socket(None), socket(None), socket(None));
        let mut outbox = Outbox::of(64, true);
        let mut messages: Vec<Vec<u8>> = (0..40).map(|n| vec![n; if n % 3 == 0 { 30 } else { 20 }]).collect();
        for (n, message) in messages.iter_mut().enumerate() {
            // SAFETY: the messages outlive what is sent.
            unsafe { outbox.queue(message, Some(address(if n % 2 == 0 { &far } else { &other }))) };
        }
        assert_eq!(outbox.take().len(), 4, "two for each peer: the first shorter one ends a group");
        drop(outbox);
        let mut outbox = Outbox::of(64, true);
        for (n, message) in messages.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe { outbox.queue(message, Some(address(if n % 2 == 0 { &far } else { &other }))) };
        }
        assert_eq!(outbox.send(&near), 40);
        let mut ring = Ring::new();
        for (socket, parity) in [(&far, 0), (&other, 1)] {
            assert_eq!(ring.receive(socket, Wait::ForOne), 20);
            let mut came: Vec<Vec<u8>> = (0..20)
                .map(|at| {
                    let (bytes, len) = ring.datagram(at);
                    bytes[..len].to_vec()
                })
                .collect();
            came.sort();
            let due: Vec<_> = messages.iter().filter(|message| message[0] % 2 == parity).cloned().collect();
            assert_eq!(came, due);
        }
    }

    #[test]
    fn over_a_connected_socket_order_stays() {
        let (near, far) = (socket(None), socket(None));
        let Ok(to) = far.local_addr() else { panic!("bound") };
        near.connect(to).expect("on loopback");
        let (mut outbox, mut ring) = (Outbox::of(64, true), Ring::new());
        let mut messages: Vec<Vec<u8>> = [5, 5, 3, 5, 7, 7].iter().map(|len| vec![0; *len]).collect();
        for message in &mut messages {
            // SAFETY: the messages outlive what is sent.
            unsafe { outbox.queue(message, None) };
        }
        assert_eq!(outbox.send(&near), 6);
        assert_eq!(ring.receive(&far, Wait::ForOne), 6);
        let lens: Vec<_> = (0..6).map(|at| ring.datagram(at).1).collect();
        assert_eq!(lens, [5, 5, 3, 5, 7, 7]);
    }
}
