//! Datagrams of one peer that the system hands over as one (UDP_GRO, udp(7)), where a card or a sender has joined them: one
//! pass through the kernel for all, and a copy of each, since an answer is longer than its query.

use crate::batch::{Peer, SIZE, Wait, receive, set, zeros};
use crate::outbox::{GroupLen, Outbox};
use crate::ways::{Waiting, Way};
use libc::{iovec, mmsghdr, sockaddr_in};
use std::io;
use std::mem::size_of;
use std::net::UdpSocket;

/// The most that may come as one, and a few lines more, so that the beginnings do not all fall on the same lines of the cache.
const STRIDE: usize = (1 << 16) + 5 * 64;

/// Buffers of a batch of groups. The headers point into the other boxes, which never move.
pub(crate) struct Coalesced {
    buffers: Box<[u8]>,
    peers: Box<[sockaddr_in]>,
    lens: Box<[GroupLen]>,
    headers: Box<[mmsghdr]>,
    _vectors: Box<[iovec]>,
    messages: Box<[[u8; SIZE]]>,
    outbox: Outbox,
    waiting: Waiting,
}

impl Coalesced {
    /// Asks the system for groups.
    pub(crate) fn open(socket: &UdpSocket, way: &Way) -> io::Result<Self> {
        if !set(socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
            return Err(io::Error::last_os_error());
        }
        let count = way.batch;
        let (mut buffers, mut lens) =
            (vec![0; STRIDE * count].into_boxed_slice(), vec![GroupLen::default(); count].into_boxed_slice());
        let (mut peers, mut headers) = (zeros::<sockaddr_in>(count), zeros::<mmsghdr>(count));
        let mut vectors = zeros::<iovec>(count);
        for (at, buffer) in buffers.chunks_exact_mut(STRIDE).enumerate() {
            vectors[at] = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: STRIDE };
            let header = &mut headers[at].msg_hdr;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut peers[at]).cast();
            header.msg_control = (&raw mut lens[at]).cast();
        }
        Ok(Self {
            buffers,
            peers,
            lens,
            headers,
            _vectors: vectors,
            messages: vec![[0; SIZE]; count].into(),
            outbox: Outbox::of(count, way.is_grouped),
            waiting: Waiting::of(socket, way)?,
        })
    }

    /// Answers for ever.
    pub(crate) fn serve(mut self, socket: &UdpSocket, answer: impl Fn(&mut [u8], usize) -> usize) -> ! {
        loop {
            let wait = self.waiting.before();
            let came = self.receive(socket, wait);
            self.waiting.note(came);
            let mut filled = 0;
            for at in 0..came {
                let header = &self.headers[at];
                let whole = (header.msg_len as usize).min(STRIDE);
                let len = self.lens[at].told(header.msg_hdr.msg_controllen as _).unwrap_or(whole).max(1);
                for query in self.buffers[at * STRIDE..][..whole].chunks(len) {
                    if self.outbox.is_full() {
                        self.outbox.send(socket);
                        filled = 0;
                    }
                    let (message, len) = (&mut self.messages[filled], query.len().min(SIZE));
                    message[..len].copy_from_slice(&query[..len]);
                    let len = answer(message, len);
                    if len > 0 {
                        // SAFETY: the messages are of this box, and are filled again once what was queued is sent.
                        unsafe { self.outbox.queue(&mut message[..len], Some(Peer(self.peers[at]))) };
                        filled += 1;
                    }
                }
            }
            self.outbox.send(socket);
        }
    }

    fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> usize {
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_in>() as u32;
            header.msg_hdr.msg_controllen = GroupLen::SIZE as _;
        }
        // SAFETY: the headers point at boxes of this value, with their lengths.
        unsafe { receive(socket, &mut self.headers, wait) }
    }
}
