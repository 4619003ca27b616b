//! Datagrams in batches, one system call for up to 64 of them: the only file with unsafe code.

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
pub(crate) struct Peer(sockaddr_in);

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
    buffers: Box<[[u8; SIZE]; BATCH]>,
    peers: Box<[sockaddr_in; BATCH]>,
    receiving: Box<[mmsghdr; BATCH]>,
    sending: Box<[mmsghdr; BATCH]>,
    targets: Box<[sockaddr_in; BATCH]>,
    pieces: Box<[iovec; BATCH]>,
    _vectors: Box<[iovec; BATCH]>,
    used: usize,
    queued: usize,
}

impl Ring {
    pub(crate) fn new() -> Self {
        let (mut peers, mut targets) = (zeros::<sockaddr_in>(), zeros::<sockaddr_in>());
        let (mut receiving, mut sending) = (zeros::<mmsghdr>(), zeros::<mmsghdr>());
        let mut buffers = Box::new([[0; SIZE]; BATCH]);
        let (mut vectors, mut pieces) = (zeros::<iovec>(), zeros::<iovec>());
        for at in 0..BATCH {
            vectors[at] = iovec { iov_base: buffers[at].as_mut_ptr().cast(), iov_len: SIZE };
            let header = &mut receiving[at].msg_hdr;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut peers[at]).cast();
            header.msg_namelen = size_of::<sockaddr_in>() as u32;
            let header = &mut sending[at].msg_hdr;
            header.msg_iov = &raw mut pieces[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut targets[at]).cast();
        }
        Self { buffers, peers, receiving, sending, targets, pieces, _vectors: vectors, used: 0, queued: 0 }
    }

    /// Takes up to [`BATCH`] datagrams in, and says how many came.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> usize {
        for header in &mut self.receiving[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_in>() as u32;
        }
        let flags = if wait == Wait::ForOne { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let (headers, count) = (self.receiving.as_mut_ptr(), BATCH as u32);
        // SAFETY: there are `BATCH` headers, which point at boxes that this ring owns, with their lengths.
        let came = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, count, flags as _, null_mut()) };
        self.used = usize::try_from(came).unwrap_or(0);
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
        let buffer = &mut self.buffers[at][..len];
        self.pieces[self.queued] = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: len };
        let header = &mut self.sending[self.queued].msg_hdr;
        header.msg_namelen = if to.is_some() { size_of::<sockaddr_in>() as u32 } else { 0 };
        if let Some(Peer(to)) = to {
            self.targets[self.queued] = to;
            header.msg_name = (&raw mut self.targets[self.queued]).cast();
        } else {
            header.msg_name = null_mut();
        }
        self.queued += 1;
    }

    /// Sends what is queued; says how many of the first ones went before one did not, which is left out, as all that a
    /// full socket does not take.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> usize {
        let (mut at, mut unbroken) = (0, None);
        while at < self.queued {
            let left = &mut self.sending[at..self.queued];
            // SAFETY: the headers are this ring's, and point at its boxes, with lengths within them.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
            if sent <= 0 {
                unbroken.get_or_insert(at);
            }
            at += usize::try_from(sent).unwrap_or(0).max(1);
        }
        std::mem::take(&mut self.queued).min(unbroken.unwrap_or(BATCH))
    }
}

/// Plain data of C.
fn zeros<T>() -> Box<[T; BATCH]> {
    // SAFETY: called for `sockaddr_in`, `iovec` and `mmsghdr` only, of which zeros are a value.
    unsafe { Box::new(zeroed()) }
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
        set(&socket, libc::SO_REUSEPORT, 1);
    }
    // Needs leave of the system; without it the usual room has to do.
    set(&socket, libc::SO_RCVBUFFORCE, ROOM);
    set(&socket, libc::SO_SNDBUFFORCE, ROOM);
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

fn set(socket: &UdpSocket, option: c_int, value: c_int) {
    let len = size_of::<c_int>() as u32;
    // SAFETY: the value is an integer of the length that is told, and outlives the call.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len) };
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
