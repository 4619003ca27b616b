//! Sending in batches: one system call for many datagrams, and one pass through the kernel for those that look alike.
//!
//! Most of what a datagram costs is spent in the kernel between the call and the network: buffers, routing, filters, queues.
//! Datagrams to one address that are equally long go that way as one, and are cut where they leave or arrive (UDP_SEGMENT,
//! udp(7), Linux 4.18); the last may be shorter than the others.

use super::{BATCH, CONTROL_LEN, Control};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

/// The longest datagram of a group. IPv6 takes it whole on any path (RFC 8200 section 5: 1280 bytes, headers included); on a
/// path of IPv4 that is known to take less, the kernel refuses the group. Over IPv4 a group that is longer than a packet may
/// be has no DF bit, so that a path of which nothing is known yet may cut what it would have refused of a single datagram.
const GROUPED_LEN_MAX: usize = 1000;

// Before Linux 6.9 a group is of at most 64 datagrams, and it is never longer than what IP can carry.
const _: () = assert!(BATCH <= 64 && BATCH * GROUPED_LEN_MAX + 48 <= 65_535);

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'b> {
    /// Its bytes.
    pub bytes: &'b [u8],
    /// To whom; `None` on a connected socket.
    pub to: Option<SocketAddr>,
    /// From which of the socket's addresses, on a socket that is bound to a wildcard. A link-local source leaves by the
    /// interface that is the scope of `to`.
    pub from: Option<IpAddr>,
}

/// Arrays for sending batches.
pub struct Sender {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
}

impl Sender {
    /// Arrays for [`BATCH`] datagrams.
    pub fn new() -> Self {
        // SAFETY: all-zero is a valid value of these C structures: null pointers, zero lengths, no family.
        let (header, vector, name) = unsafe { (zeroed::<libc::mmsghdr>(), zeroed::<libc::iovec>(), zeroed()) };
        Self {
            headers: vec![header; BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            names: vec![name; BATCH].into(),
            controls: vec![Control([0; CONTROL_LEN]); BATCH].into(),
        }
    }

    /// Sends `count` datagrams, `item(0)` to `item(count - 1)`, at most [`BATCH`], without waiting; returns how many the
    /// kernel took.
    ///
    /// # Errors
    /// What befell the first datagram when not even that one was taken. An error on a later one ends the call early; it is
    /// seen by sending the rest.
    pub fn send<'b>(
        &mut self,
        socket: BorrowedFd<'_>,
        count: usize,
        item: &mut dyn FnMut(usize) -> Outgoing<'b>,
    ) -> io::Result<usize> {
        let count = count.min(BATCH);
        for i in 0..count {
            self.fill(i, i, &item(i));
        }
        self.send_filled(socket, count)
    }

    /// As [`Sender::send`], with one pass through the kernel for datagrams that follow each other, go from and to the same
    /// addresses and are equally long; one that is shorter may be the last. So the caller lines them up by length.
    ///
    /// # Errors
    /// As there; and what [`is_no_way_for_groups`] tells, where datagrams go one by one only.
    pub fn send_grouped<'b>(
        &mut self,
        socket: BorrowedFd<'_>,
        count: usize,
        item: &mut dyn FnMut(usize) -> Outgoing<'b>,
    ) -> io::Result<usize> {
        let (mut headers, mut group) = (0, None::<Group>);
        for i in 0..count.min(BATCH) {
            let item = item(i);
            if group.as_mut().is_some_and(|group| group.takes(&item)) {
                self.append(headers - 1, i, &item);
            } else {
                self.fill(headers, i, &item);
                headers += 1;
                group = Some(Group::of(&item));
            }
        }
        let sent = self.send_filled(socket, headers)?;
        // The type of the field differs from system to system.
        Ok(self.headers[..sent].iter().map(|header| -> usize { header.msg_hdr.msg_iovlen as _ }).sum())
    }

    /// How many datagrams the last call had made one at its beginning: an error of it is about those.
    pub fn first_group(&self) -> usize {
        self.headers[0].msg_hdr.msg_iovlen as _
    }

    /// Sends the first `count` headers, which have just been filled.
    fn send_filled(&mut self, socket: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        // SAFETY: the callers have just filled each of the first `count` headers with pointers into `self`, which is
        // exclusively ours during the call, and into the bytes of its items, which live for 'b and so beyond the call; the
        // kernel only reads them, and writes the lengths into the headers.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Makes header `at` that of one datagram, whose bytes are those of vector `i`.
    fn fill(&mut self, at: usize, i: usize, item: &Outgoing<'_>) {
        self.vectors[i] = vector_of(item);
        let header = &mut self.headers[at].msg_hdr;
        header.msg_iov = self.vectors[i..].as_mut_ptr();
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        (header.msg_name, header.msg_namelen) = match &item.to {
            None => (null_mut(), 0),
            Some(to) => {
                let len = put_socket_address(&mut self.names[at], to);
                ((&raw mut self.names[at]).cast(), len)
            }
        };
        let control = &mut self.controls[at];
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN as _;
        let used = match item.from {
            None => 0,
            Some(from) => put_source(header, from, item.to.as_ref()),
        };
        header.msg_controllen = used as _;
        if used == 0 {
            header.msg_control = null_mut();
        }
    }

    /// Adds the next datagram, whose bytes are those of vector `i`, to the group of header `at`.
    fn append(&mut self, at: usize, i: usize, item: &Outgoing<'_>) {
        self.vectors[i] = vector_of(item);
        let header = &mut self.headers[at].msg_hdr;
        if header.msg_iovlen == 1 {
            // The one before is the first, whose length is that of the group.
            put_group_len(header, &mut self.controls[at], self.vectors[i - 1].iov_len as u16);
        }
        header.msg_iovlen += 1;
    }
}

/// Datagrams that pass the kernel as one.
struct Group {
    to: Option<SocketAddr>,
    from: Option<IpAddr>,
    len: usize,
    /// No more follow a shorter one.
    ended: bool,
}

impl Group {
    fn of(first: &Outgoing<'_>) -> Self {
        let len = first.bytes.len();
        Self { to: first.to, from: first.from, len, ended: len > GROUPED_LEN_MAX }
    }

    /// Whether the next one is of it.
    fn takes(&mut self, next: &Outgoing<'_>) -> bool {
        let len = next.bytes.len();
        let takes = !self.ended && (1..=self.len).contains(&len) && next.to == self.to && next.from == self.from;
        self.ended |= len < self.len;
        takes
    }
}

/// Whether the system can cut groups into datagrams at all; an old one would send them as one.
pub fn can_send_groups(socket: BorrowedFd<'_>) -> bool {
    let mut len: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both outlive the call and the size is that of the value; a system that does not know the option says so.
    let known = unsafe {
        let value = (&raw mut len).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, &raw mut size)
    };
    known == 0
}

/// Whether an error may say that there is no way for a group where one by one would go: a device that computes no checksums,
/// a tunnel that encrypts, a path that takes shorter ones only; a filter that looks at the length, no memory for so much at
/// once. Not what a connected socket tells of its other side: it tells that once.
pub fn is_no_way_for_groups(error: &io::Error) -> bool {
    use libc::{EINVAL, EIO, EMSGSIZE, ENOBUFS, ENOMEM, EOPNOTSUPP, EPERM};
    matches!(error.raw_os_error(), Some(EIO | EINVAL | EMSGSIZE | EOPNOTSUPP | EPERM | ENOMEM | ENOBUFS))
}

fn vector_of(item: &Outgoing<'_>) -> libc::iovec {
    libc::iovec { iov_base: item.bytes.as_ptr().cast_mut().cast(), iov_len: item.bytes.len() }
}

/// Tells the kernel behind what `control` holds already that the bytes of `header` are datagrams of `len` bytes.
fn put_group_len(header: &mut libc::msghdr, control: &mut Control, len: u16) {
    let used: usize = header.msg_controllen as _;
    // SAFETY: what is used is at most the packet-info of IPv6 with its header, 40 bytes, and ends aligned; so there is room
    // for this one, 24 bytes. The payload is written unaligned.
    unsafe {
        let next = control.0.as_mut_ptr().add(used).cast::<libc::cmsghdr>();
        (*next).cmsg_level = libc::SOL_UDP;
        (*next).cmsg_type = libc::UDP_SEGMENT;
        (*next).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(next).cast::<u16>().write_unaligned(len);
    }
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: it computes a length from a length.
    header.msg_controllen = (used + unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as usize) as _;
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("batch", &self.headers.len()).finish()
    }
}

fn put_socket_address(name: &mut libc::sockaddr_storage, address: &SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: `sockaddr_storage` is large and aligned enough for a `sockaddr_in`, and all-zero is a valid one.
            let v4 = unsafe { &mut *std::ptr::from_mut(name).cast::<libc::sockaddr_in>() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { &mut *std::ptr::from_mut(name).cast::<libc::sockaddr_in6>() };
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = address.port().to_be();
            v6.sin6_addr.s6_addr = address.ip().octets();
            v6.sin6_flowinfo = 0;
            v6.sin6_scope_id = address.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Writes the packet-info that makes a datagram leave from `from`; returns the length of the control data. The header's
/// control points at a [`Control`] with its full length.
fn put_source(header: &mut libc::msghdr, from: IpAddr, to: Option<&SocketAddr>) -> usize {
    // SAFETY: `msg_control` points at CONTROL_LEN writable, aligned bytes, which hold one control header and the larger of
    // the two payloads, so that CMSG_FIRSTHDR is not null and CMSG_DATA stays inside; payloads are written unaligned.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        match from {
            IpAddr::V4(from) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from(from).to_be();
                (*control).cmsg_level = libc::IPPROTO_IP;
                (*control).cmsg_type = libc::IP_PKTINFO;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as _;
                libc::CMSG_DATA(control).cast::<libc::in_pktinfo>().write_unaligned(info);
                libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize
            }
            IpAddr::V6(from) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = from.octets();
                if let (true, Some(SocketAddr::V6(to))) = (from.is_unicast_link_local(), to) {
                    info.ipi6_ifindex = to.scope_id() as _;
                }
                (*control).cmsg_level = libc::IPPROTO_IPV6;
                (*control).cmsg_type = libc::IPV6_PKTINFO;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) as _;
                libc::CMSG_DATA(control).cast::<libc::in6_pktinfo>().write_unaligned(info);
                libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) as usize
            }
        }
    }
}
