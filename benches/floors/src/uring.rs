//! Datagrams by io_uring: one request that stays and fills the buffers that it is given, and answers that are sent by the
//! call that waits for the next queries (io_uring_prep_recvmsg_multishot(3), io_uring_register_buf_ring(3)). Linux 6.1.

use crate::batch::{Peer, SIZE};
use crate::outbox::Outbox;
use crate::ways::Way;
use io_uring::types::{BufRingEntry, Fixed, RecvMsgOut};
use io_uring::{IoUring, cqueue, opcode, squeue};
use libc::{msghdr, sockaddr_in};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers for each datagram of a batch. Those that wait for their turn cost lines of the cache; those that are missing end
/// the request.
const BUFFERS_EACH: usize = 4;

/// What the system writes before a datagram: four numbers and the address.
const HEAD: usize = 16 + size_of::<sockaddr_in>();
const STRIDE: usize = (HEAD + SIZE).next_multiple_of(64);

/// The only group of buffers, and what a completion belongs to.
const GROUP: u16 = 0;
const RECEIVED: u64 = 0;
const NOT_SENT: u64 = 1;

/// A ring, its socket as file 0 of it, and its buffers.
pub(crate) struct Uring {
    ring: IoUring,
    /// What the system is to write before each datagram.
    shape: Box<msghdr>,
    buffers: Buffers,
    outbox: Outbox,
    batch: usize,
}

/// Buffers that the system takes in turn, and gives back with a datagram in them.
struct Buffers {
    /// A mapping of its own, as it has to begin at a page; it stays as long as the process.
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: u16,
    bytes: Box<[u8]>,
}

impl Uring {
    pub(crate) fn open(socket: &UdpSocket, way: &Way) -> io::Result<Self> {
        let count = (way.batch * BUFFERS_EACH).next_power_of_two();
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize((count + way.batch) as u32 * 2);
        let ring = builder.build(way.batch as u32 + 1)?;
        let submitter = ring.submitter();
        submitter.register_files(&[socket.as_raw_fd()])?;
        let mut buffers = Buffers::new(count as u16)?;
        // SAFETY: the entries are a mapping that stays, of as many as are told.
        unsafe { submitter.register_buf_ring_with_flags(buffers.entries.as_ptr() as u64, buffers.count, GROUP, 0)? };
        // SAFETY: zeros are a value of this structure.
        let mut shape: Box<msghdr> = Box::new(unsafe { zeroed() });
        shape.msg_namelen = size_of::<sockaddr_in>() as u32;
        let outbox = Outbox::of(way.batch, way.is_grouped);
        (0..count as u16).for_each(|id| buffers.give(id));
        buffers.publish();
        Ok(Self { ring, shape, buffers, outbox, batch: way.batch })
    }

    /// Answers, until the system takes no more requests.
    pub(crate) fn serve(self, answer: impl Fn(&mut [u8], usize) -> usize) -> io::Error {
        let Self { mut ring, shape, mut buffers, mut outbox, batch } = self;
        let (mut submitter, mut requests, mut completions) = ring.split();
        if let Err(error) = submitter.register_ring_fd() {
            return error;
        }
        let listen = opcode::RecvMsgMulti::new(Fixed(0), &raw const *shape, GROUP).build().user_data(RECEIVED);
        // Whether the request that receives has to be made again, and buffers whose answers are under way.
        let (mut has_ended, mut used) = (true, Vec::with_capacity(batch));
        loop {
            if has_ended {
                // SAFETY: the shape stays where it is as long as the ring.
                unsafe { requests.push(&listen) }.expect("there is room for a batch and one more");
            }
            requests.sync();
            // Sends what was queued and waits. A send that would have to wait is none: all are over when they were taken.
            while let Err(error) = submitter.submit_and_wait(1) {
                if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) {
                    return error;
                }
            }
            requests.sync();
            if !requests.is_empty() {
                has_ended = false;
                continue;
            }
            used.drain(..).for_each(|id| buffers.give(id));
            buffers.publish();
            has_ended = false;
            completions.sync();
            for done in completions.by_ref().take(batch) {
                if done.user_data() != RECEIVED {
                    // A datagram that could not be sent is left out.
                    continue;
                }
                has_ended |= !cqueue::more(done.flags());
                let Some(id) = cqueue::buffer_select(done.flags()) else {
                    // No buffer was left, and the request ended with that.
                    if done.result() == -libc::ENOBUFS {
                        continue;
                    }
                    return io::Error::from_raw_os_error(-done.result());
                };
                used.push(id);
                if let Some((peer, message, len)) = buffers.datagram(id, done.result(), &shape) {
                    let len = answer(message, len);
                    if len > 0 {
                        // SAFETY: the buffer goes back to the system when the answer is sent, and not before.
                        unsafe { outbox.queue(&mut message[..len], Some(peer)) };
                    }
                }
            }
            // So that the system knows that they were read, and waits for more.
            completions.sync();
            for header in outbox.take() {
                let send = opcode::SendMsg::new(Fixed(0), &raw const header.msg_hdr).flags(libc::MSG_DONTWAIT as u32);
                let send = send.build().user_data(NOT_SENT).flags(squeue::Flags::SKIP_SUCCESS);
                // SAFETY: the header and what it points at stay until the next batch, which comes after the sends.
                unsafe { requests.push(&send) }.expect("there is room for a batch and one more");
            }
        }
    }
}

impl Buffers {
    /// So many, a power of two, none of which the system has yet.
    fn new(count: u16) -> io::Result<Self> {
        let (len, access) = (usize::from(count) * size_of::<BufRingEntry>(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: new memory, which nobody else has.
        let entries = unsafe { libc::mmap(null_mut(), len, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if entries == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let entries = NonNull::new(entries.cast()).expect("not at 0");
        Ok(Self { entries, count, tail: 0, bytes: vec![0; usize::from(count) * STRIDE].into() })
    }

    /// Lets the system have a buffer with the next [`Self::publish`].
    fn give(&mut self, id: u16) {
        let buffer = &mut self.bytes[usize::from(id) * STRIDE..][..HEAD + SIZE];
        // SAFETY: within the entries, of which there are a power of two; the system reads none beyond the tail that it knows.
        let entry = unsafe { self.entries.add(usize::from(self.tail & (self.count - 1))).as_mut() };
        entry.set_addr(buffer.as_mut_ptr() as u64);
        entry.set_len(buffer.len() as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the tail lies within the first entry, is aligned, and nobody but this value writes it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Who sent what is in a buffer, the buffer behind its head, and how much of it is filled.
    fn datagram(&mut self, id: u16, filled: i32, shape: &msghdr) -> Option<(Peer, &mut [u8], usize)> {
        let buffer = &mut self.bytes[usize::from(id) * STRIDE..][..HEAD + SIZE];
        let parts = RecvMsgOut::parse(&buffer[..usize::try_from(filled).ok()?], shape).ok()?;
        let ([_, _, p0, p1, a, b, c, d, ..], len) = (parts.name_data(), parts.payload_data().len()) else {
            return None;
        };
        let peer = SocketAddrV4::new([*a, *b, *c, *d].into(), u16::from_be_bytes([*p0, *p1]));
        Some((peer.into(), &mut buffer[HEAD..], len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system would have written, is read; what is too short is not.
    #[test]
    fn a_buffer_is_read_as_the_system_writes_it() {
        let mut buffers = Buffers::new(8).expect("memory");
        // SAFETY: zeros are a value of this structure.
        let mut shape: msghdr = unsafe { zeroed() };
        shape.msg_namelen = size_of::<sockaddr_in>() as u32;
        let mut written = [[16, 0, 0, 0], [0; 4], [5, 0, 0, 0], [0; 4]].concat();
        written.extend([2, 0, 0x12, 0x34, 127, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        written.extend(b"query");
        buffers.bytes[3 * STRIDE..][..written.len()].copy_from_slice(&written);
        let (peer, message, len) = buffers.datagram(3, written.len() as i32, &shape).expect("a datagram");
        assert_eq!((&message[..len], message.len()), (&b"query"[..], SIZE));
        let from = peer.0;
        assert_eq!((u16::from_be(from.sin_port), u32::from_be(from.sin_addr.s_addr)), (0x1234, 0x7f00_0109));
        assert!(buffers.datagram(3, HEAD as i32 - 1, &shape).is_none());
        assert!(buffers.datagram(3, -libc::EFAULT, &shape).is_none());
    }
}
