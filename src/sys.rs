//! The only unsafe room: batched datagram calls and the socket options that no crate offers without one.
//!
//! One system call for up to [`BATCH`] datagrams is what makes a gateway cheap: at a few microseconds a query the call
//! itself is the largest cost. All arrays are allocated once and used again for every call. The addresses that a datagram
//! came to and leaves from follow RFC 3542 section 6 (IPv6) and ip(7) (IPv4).

#![allow(unsafe_code)]

pub mod keys;
pub mod pages;
pub mod readable;
mod sender;
pub mod terminal;
pub mod thread;

pub use sender::{Outgoing, Sender, can_send_groups, is_no_way_for_groups};

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

/// Datagrams that one call takes or gives at most.
pub const BATCH: usize = 64;

/// Bytes of a datagram that are kept; what is longer is cut and marked.
pub const BUFFER_LEN: usize = 4096;

/// Room for one packet-info (40 bytes with its header for IPv6), one drop counter (24 bytes) and one time (32 bytes).
const CONTROL_LEN: usize = 96;

/// Control messages are read through `cmsghdr`, whose alignment is that of `size_t`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

/// What `recvmmsg` fills. It lives on the heap behind a raw pointer, because its headers point into itself.
struct Ring {
    headers: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    names: [libc::sockaddr_storage; BATCH],
    controls: [Control; BATCH],
    buffers: [[u8; BUFFER_LEN]; BATCH],
}

/// A datagram of the last batch.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'b> {
    /// Its bytes, at most [`BUFFER_LEN`].
    pub bytes: &'b [u8],
    /// Who sent it; `None` when the batch is without names or the address is of no family that we know.
    pub peer: Option<SocketAddr>,
    /// The address it came to, where [`receive_packet_info`] is on.
    pub local: Option<IpAddr>,
    /// It was longer than [`BUFFER_LEN`].
    pub truncated: bool,
    /// Datagrams that the socket has lost for want of room since it was opened, where [`receive_drops`] is on and the
    /// number is not 0.
    pub dropped: Option<u32>,
    /// When the kernel took it in, since 1970-01-01 UTC, where [`receive_times`] is on.
    pub arrived_unix: Option<Duration>,
}

/// Buffers for receiving batches.
#[derive(Debug)]
pub struct Receiver {
    ring: NonNull<Ring>,
    named: bool,
    used: usize,
}

impl Receiver {
    /// Buffers for unconnected sockets: peers and control messages are asked for.
    pub fn named() -> Self {
        Self::new(true)
    }

    /// Buffers for connected sockets, whose peer is known: the kernel is spared the copying of names.
    pub fn unnamed() -> Self {
        Self::new(false)
    }

    fn new(named: bool) -> Self {
        let layout = Layout::new::<Ring>();
        // SAFETY: the layout has a size above zero.
        let raw = unsafe { alloc_zeroed(layout) }.cast::<Ring>();
        let Some(ring) = NonNull::new(raw) else { handle_alloc_error(layout) };
        let mut receiver = Self { ring, named, used: 0 };
        for i in 0..BATCH {
            receiver.prepare(i);
        }
        receiver
    }

    /// Points header `i` at its buffers.
    fn prepare(&mut self, i: usize) {
        let ring = self.ring.as_ptr();
        // SAFETY: `ring` is a live allocation of a `Ring`, zeroed at birth, which is a valid value of all its fields; `i`
        // is checked against the arrays' lengths by the indexing; only raw pointers into it are kept, no references.
        unsafe {
            let vector = &raw mut (*ring).vectors[i];
            (*vector).iov_base = (&raw mut (*ring).buffers[i]).cast();
            (*vector).iov_len = BUFFER_LEN;
            let header = &raw mut (*ring).headers[i].msg_hdr;
            (*header).msg_iov = vector;
            (*header).msg_iovlen = 1;
            (*header).msg_flags = 0;
            if self.named {
                (*header).msg_name = (&raw mut (*ring).names[i]).cast();
                (*header).msg_control = (&raw mut (*ring).controls[i]).cast();
                self.renew(i);
            }
        }
    }

    /// Gives header `i` the full lengths that the kernel overwrites with what it used: all that differs from call to call.
    fn renew(&mut self, i: usize) {
        let ring = self.ring.as_ptr();
        // SAFETY: as in `prepare`.
        unsafe {
            let header = &raw mut (*ring).headers[i].msg_hdr;
            (*header).msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            (*header).msg_controllen = CONTROL_LEN as _;
        }
    }

    /// Takes what is queued on `socket`, at most [`BATCH`] datagrams, without waiting. The datagrams of the batch before
    /// are gone.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued; a connected socket also reports what ICMP said, `ConnectionRefused` above all.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        if self.named {
            for i in 0..self.used {
                self.renew(i);
            }
        }
        self.used = 0;
        // SAFETY: the headers and all they point to live as long as `self`, are exclusively ours during the call (`&mut
        // self`), and BATCH is their number; the descriptor is open while it is borrowed.
        let count = unsafe {
            let headers = (&raw mut (*self.ring.as_ptr()).headers).cast::<libc::mmsghdr>();
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as libc::c_uint, libc::MSG_DONTWAIT as _, null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.used = count.min(BATCH);
        Ok(self.used)
    }

    /// Datagram `i` of the last batch.
    ///
    /// # Panics
    /// When the last [`Receiver::receive`] returned `i` or less.
    pub fn datagram(&self, i: usize) -> Datagram<'_> {
        assert!(i < self.used, "datagram {i} of a batch of {}", self.used);
        // SAFETY: the ring is live and nobody writes to it while `self` is borrowed: the kernel only does so inside
        // `receive`, which takes `&mut self`. Zeroed and kernel-written bytes are valid values of all fields.
        let (header, name, buffer) = unsafe {
            let ring = self.ring.as_ptr();
            (&(*ring).headers[i], &(*ring).names[i], &(*ring).buffers[i])
        };
        let mut datagram = Datagram {
            bytes: &buffer[..(header.msg_len as usize).min(BUFFER_LEN)],
            peer: None,
            local: None,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            dropped: None,
            arrived_unix: None,
        };
        if self.named {
            datagram.peer = socket_address(name, header.msg_hdr.msg_namelen);
            if header.msg_hdr.msg_controllen > 0 {
                read_control(&header.msg_hdr, &mut datagram);
            }
        }
        datagram
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once; `Ring` has nothing to drop.
        unsafe { dealloc(self.ring.as_ptr().cast(), Layout::new::<Ring>()) };
    }
}

fn read_control(header: &libc::msghdr, datagram: &mut Datagram<'_>) {
    // SAFETY: the kernel wrote `msg_controllen` bytes of well-formed control messages to `msg_control`, which points into
    // the live ring; the CMSG functions stay inside that length. The payloads are read unaligned, after their level, type
    // and length said what they are.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let payload = libc::CMSG_DATA(control);
            let len = ((*control).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if len >= size_of::<libc::in_pktinfo>() => {
                    let info = payload.cast::<libc::in_pktinfo>().read_unaligned();
                    // `spec_dst` is the address of ours to answer from, also when the datagram came to a broadcast address.
                    datagram.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if len >= size_of::<libc::in6_pktinfo>() => {
                    let info = payload.cast::<libc::in6_pktinfo>().read_unaligned();
                    let local = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    datagram.local = (!local.is_multicast()).then_some(local.into());
                    // A link-local address means nothing without its interface, also when the peer asked it from a global
                    // one, whose own scope the kernel leaves at 0 and ignores.
                    if let (true, Some(SocketAddr::V6(peer))) = (local.is_unicast_link_local(), &mut datagram.peer) {
                        peer.set_scope_id(info.ipi6_ifindex as u32);
                    }
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if len >= size_of::<u32>() => {
                    datagram.dropped = Some(payload.cast::<u32>().read_unaligned());
                }
                (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) if len >= size_of::<libc::timespec>() => {
                    let time = payload.cast::<libc::timespec>().read_unaligned();
                    let (secs, nanos) = (time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32);
                    datagram.arrived_unix = Some(Duration::new(secs, nanos));
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
}

fn socket_address(name: &libc::sockaddr_storage, len: libc::socklen_t) -> Option<SocketAddr> {
    let len = len as usize;
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: a `sockaddr_storage` is at least as large and as aligned as a `sockaddr_in`, and the family says that
            // it is one; every bit pattern is valid.
            let v4 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn set_option(socket: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value outlives the call and its length is given; a wrong descriptor is an error, not undefined.
    let result = unsafe {
        libc::setsockopt(socket, level, name, (&raw const value).cast(), size_of::<libc::c_int>() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the kernel tell the address that each datagram came to ([`Datagram::local`]).
///
/// # Errors
/// What setsockopt said.
pub fn receive_packet_info(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Makes the kernel tell how many datagrams it had to drop on a socket ([`Datagram::dropped`]); it costs nothing until the
/// first drop.
///
/// # Errors
/// What setsockopt said.
pub fn receive_drops(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Makes the kernel tell when each datagram came in ([`Datagram::arrived_unix`]): 40 to 80 ns a datagram for the reader
/// and 25 to 60 ns in the kernel's half (measured, loopback, batches of 64), which is one query in a hundred.
///
/// # Errors
/// What setsockopt said.
pub fn receive_times(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Sets the receive buffer to `bytes`, over the system's limit where we may (`CAP_NET_ADMIN`), up to it otherwise.
///
/// # Errors
/// What setsockopt said.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
}

/// Makes the system refuse groups, as it does on the way to a device that computes no checksums.
#[cfg(test)]
pub(crate) fn leave_checksums_out(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)
}

/// Raises the limit on open files to the hard limit when it is under `need`; returns the limit that holds then.
///
/// # Errors
/// What the system says to reading or setting it.
pub fn raise_open_files(need: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours and lives through the call, which only writes to it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < need && limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the structure is ours and lives through the call, which only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Takes the lock on a file, if nobody holds it, until the file is closed: with the end of the process at the latest.
///
/// # Errors
/// What flock said, other than that it is held.
pub fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: the descriptor is open for as long as it is borrowed.
    let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
    let error = io::Error::last_os_error();
    if taken || error.kind() == io::ErrorKind::WouldBlock { Ok(taken) } else { Err(error) }
}

/// Asks the processor to fetch the cache line of `value`, which will be looked at soon; a hint that costs an instruction and
/// says nothing where the processor has none.
#[inline]
pub fn prefetch<T>(value: &T) {
    prefetch_address(std::ptr::from_ref(value).addr());
}

/// As [`prefetch`], of what lies at an address, or lay there.
#[inline]
pub fn prefetch_address(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see and faults on no address.
    unsafe {
        let byte = std::ptr::without_provenance::<i8>(address);
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(byte);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests;
