//! Datagrams in batches, one system call for up to 64 of them, and the sockets that they come from.

use crate::outbox::Outbox;
use libc::{c_int, iovec, mmsghdr, sockaddr_in};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::null_mut;

/// Datagrams of a call.
pub(crate) const BATCH: usize = 64;

/// Bytes of a datagram.
pub(crate) const SIZE: usize = 1500;

/// Bytes that a socket may hold in each direction.
const ROOM: c_int = 8 << 20;

/// An address as the system has it.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) sockaddr_in);

/// Whether a call waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until something is there, and takes what else is there.
    ForOne,
    /// Not at all.
    Never,
}

/// Buffers of a batch. The headers point into the other boxes, which never move.
pub(crate) struct Ring {
    buffers: Box<[[u8; SIZE]]>,
    peers: Box<[sockaddr_in]>,
    receiving: Box<[mmsghdr]>,
    _vectors: Box<[iovec]>,
    used: usize,
    outbox: Outbox,
}

impl Ring {
    /// For [`BATCH`] datagrams, each of which is sent by itself.
    pub(crate) fn new() -> Self {
        Self::of(BATCH, false)
    }

    /// For so many datagrams; those that look alike are sent as one where that is wanted.
    pub(crate) fn of(batch: usize, is_grouped: bool) -> Self {
        let (mut peers, mut receiving) = (zeros::<sockaddr_in>(batch), zeros::<mmsghdr>(batch));
        let (mut buffers, mut vectors) = (vec![[0; SIZE]; batch].into_boxed_slice(), zeros::<iovec>(batch));
        for at in 0..batch {
            vectors[at] = iovec { iov_base: buffers[at].as_mut_ptr().cast(), iov_len: SIZE };
            let header = &mut receiving[at].msg_hdr;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut peers[at]).cast();
            header.msg_namelen = size_of::<sockaddr_in>() as u32;
        }
        Self { buffers, peers, receiving, _vectors: vectors, used: 0, outbox: Outbox::of(batch, is_grouped) }
    }

    /// Takes datagrams in, as many as there is room for, and says how many came.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> usize {
        for header in &mut self.receiving[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_in>() as u32;
        }
        // SAFETY: the headers point at boxes of this ring, with their lengths.
        self.used = unsafe { receive(socket, &mut self.receiving, wait) };
        self.used
    }

    /// A datagram that came: its buffer, and how much of it is filled.
    pub(crate) fn datagram(&mut self, at: usize) -> (&mut [u8; SIZE], usize) {
        (&mut self.buffers[at], self.receiving[at].msg_len as usize)
    }

    /// Who sent it.
    pub(crate) fn peer(&self, at: usize) -> Peer {
        Peer(self.peers[at])
    }

    /// Sends `len` bytes of buffer `at` with the next [`Self::send`]; without a peer over a connected socket.
    pub(crate) fn queue(&mut self, at: usize, len: usize, to: Option<Peer>) {
        // SAFETY: the buffers are this ring's, and who fills them again has sent what was queued.
        unsafe { self.outbox.queue(&mut self.buffers[at][..len], to) };
    }

    /// As [`Outbox::send`].
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> usize {
        self.outbox.send(socket)
    }
}

/// Fills as many headers as there are datagrams, and says how many.
///
/// # Safety
/// Each header points at a vector, a name and a control that may be written, or at none, with their lengths.
pub(crate) unsafe fn receive(socket: &UdpSocket, headers: &mut [mmsghdr], wait: Wait) -> usize {
    let flags = if wait == Wait::ForOne { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
    let (count, headers) = (headers.len() as u32, headers.as_mut_ptr());
    // SAFETY: there are `count` headers, and the caller knows what they point at.
    let came = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, count, flags as _, null_mut()) };
    usize::try_from(came).unwrap_or(0)
}

/// Plain data of C.
pub(crate) fn zeros<T>(count: usize) -> Box<[T]> {
    // SAFETY: called for `sockaddr_in`, `iovec` and `mmsghdr` only, of which zeros are a value.
    (0..count).map(|_| unsafe { zeroed() }).collect()
}

/// A UDP socket at an address, which threads may share, or at any.
pub(crate) fn socket(at: Option<SocketAddrV4>) -> UdpSocket {
    // SAFETY: a new descriptor, which is owned from here on.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "no socket: {}", std::io::Error::last_os_error());
        UdpSocket::from_raw_fd(fd)
    };
    if at.is_some_and(|at| at.port() != 0) {
        set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1);
    }
    // Needs leave of the system; without it the usual room has to do.
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, ROOM);
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, ROOM);
    let Peer(at) = Peer::from(at.unwrap_or(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)));
    // SAFETY: the address is a whole one and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const at).cast(), size_of::<sockaddr_in>() as u32) };
    assert!(bound == 0, "bind: {}", std::io::Error::last_os_error());
    socket
}

impl From<SocketAddrV4> for Peer {
    fn from(address: SocketAddrV4) -> Self {
        Self(sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
            sin_zero: [0; 8],
        })
    }
}

/// Sets an option of a socket; whether the system took it.
pub(crate) fn set<T: Copy>(socket: &UdpSocket, level: c_int, option: c_int, value: T) -> bool {
    let len = size_of::<T>() as u32;
    // SAFETY: the value is of the length that is told, and outlives the call.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) == 0 }
}

/// Waits until one of the sockets has something to read, `timeout_ms` at most, -1 for ever; says which have.
pub(crate) fn wait<const N: usize>(sockets: [&UdpSocket; N], timeout_ms: c_int) -> [bool; N] {
    let mut polled = sockets.map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: an array of the length that is told.
    unsafe { libc::poll(polled.as_mut_ptr(), N as u64, timeout_ms) };
    polled.map(|one| one.revents != 0)
}

/// As [`wait`], for as many sockets as there are.
pub(crate) fn wait_any(sockets: &[UdpSocket], timeout_ms: c_int) {
    let poll = |socket: &UdpSocket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut polled: Vec<_> = sockets.iter().map(poll).collect();
    // SAFETY: an array of the length that is told.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as u64, timeout_ms) };
}
