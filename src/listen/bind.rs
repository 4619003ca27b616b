//! The sockets of a listener, and why they could not be had. They are made on the control side, all of them or none, before
//! anything is reported as running.

use crate::language::{Text, Told, text};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use crate::sys;

/// Receive buffer of a UDP listener: half a second of a flood of small queries, or a pause of ours.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Connections that may wait to be accepted, on each worker's socket.
const BACKLOG: i32 = 1024;

/// Attempts to find a port that is free for UDP and for TCP, when the kernel may choose.
const PORT_ATTEMPTS: usize = 16;

/// UDP or TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// An address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// What the kernel said.
    pub cause: io::Error,
}

impl Told for ListenError {
    fn text(&self) -> Text {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        let cause = match self.cause.kind() {
            io::ErrorKind::PermissionDenied if self.address.port() < 1024 => {
                text!("permission denied; ports below 1024 need CAP_NET_BIND_SERVICE")
            }
            io::ErrorKind::AddrInUse => text!("address in use; another process or gateway serves there"),
            io::ErrorKind::AddrNotAvailable => text!("no interface of this machine has that address"),
            _ => Text::of_io(&self.cause),
        };
        text!("cannot listen on {address} ({protocol}): {cause}", address = self.address, protocol, cause)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().english())
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// One worker's sockets on an address.
#[derive(Debug)]
pub(super) struct Bound {
    /// The listener's number, the same in all workers.
    pub(super) index: u16,
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// How an address is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Alone, to see whether it is free: with SO_REUSEPORT a second gateway of the same user would take half of the queries
    /// and nobody would be told.
    Probe,
    /// With the other workers.
    Shared,
}

fn socket(address: SocketAddr, protocol: Protocol, sharing: Sharing) -> io::Result<Socket> {
    let (kind, socket_protocol) = match protocol {
        Protocol::Udp => (Type::DGRAM, SocketProtocol::UDP),
        Protocol::Tcp => (Type::STREAM, SocketProtocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(socket_protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of a gateway that has ended may still be in TIME_WAIT; one that listens is found all the same.
        socket.set_reuse_address(true)?;
    }
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Protocol::Udp, Sharing::Shared)?;
    sys::set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
    sys::receive_drops(socket.as_fd())?;
    sys::receive_times(socket.as_fd())?;
    if address.ip().is_unspecified() {
        sys::receive_packet_info(socket.as_fd(), address.is_ipv6())?;
    }
    Ok(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Protocol::Tcp, Sharing::Shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The address with a port: where it has none, one that the kernel says is free for both protocols.
///
/// # Errors
/// When someone else is there already. `ours` says that sockets of our own overlap with the address (a wildcard beside one of
/// its addresses), so that the probe would find only them.
pub(super) fn settle(address: SocketAddr, ours: bool) -> Result<SocketAddr, ListenError> {
    let mut attempts = if address.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match probe(address, ours) {
            Err(error) if attempts == 0 || error.cause.kind() != io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => {}
            Ok(settled) => return Ok(settled),
        }
    }
}

fn probe(address: SocketAddr, ours: bool) -> Result<SocketAddr, ListenError> {
    if ours {
        return Ok(address);
    }
    let failed = |protocol| move |cause| ListenError { address, protocol, cause };
    let udp = socket(address, Protocol::Udp, Sharing::Probe).map_err(failed(Protocol::Udp))?;
    let port = udp.local_addr().ok().and_then(|local| local.as_socket()).map_or(address.port(), |local| local.port());
    let settled = SocketAddr::new(address.ip(), port);
    let settled = match (settled, address) {
        // The scope of a link-local address.
        (SocketAddr::V6(mut settled), SocketAddr::V6(asked)) => {
            settled.set_scope_id(asked.scope_id());
            SocketAddr::V6(settled)
        }
        (settled, _) => settled,
    };
    let tcp = socket(settled, Protocol::Tcp, Sharing::Probe).map_err(failed(Protocol::Tcp))?;
    tcp.listen(1).map_err(failed(Protocol::Tcp))?;
    Ok(settled)
}

/// The sockets of one worker on an address.
///
/// # Errors
/// What the kernel said.
pub(super) fn bind(index: u16, address: SocketAddr) -> Result<Bound, ListenError> {
    let udp = udp(address).map_err(|cause| ListenError { address, protocol: Protocol::Udp, cause })?;
    let tcp = tcp(address).map_err(|cause| ListenError { address, protocol: Protocol::Tcp, cause })?;
    Ok(Bound { index, address, udp, tcp })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: io::ErrorKind, address: &str) -> String {
        ListenError { address: address.parse().unwrap(), protocol: Protocol::Udp, cause: kind.into() }.to_string()
    }

    #[test]
    fn errors_name_the_address_and_say_what_to_do() {
        assert_eq!(
            error(io::ErrorKind::PermissionDenied, "127.0.0.1:53"),
            "cannot listen on 127.0.0.1:53 (udp): permission denied; ports below 1024 need CAP_NET_BIND_SERVICE"
        );
        assert!(error(io::ErrorKind::PermissionDenied, "[::1]:5300").ends_with("[::1]:5300 (udp): permission denied"));
        assert!(error(io::ErrorKind::AddrInUse, "[::1]:53").contains("[::1]:53 (udp): address in use"));
    }

    #[test]
    fn a_port_is_found_for_both_protocols_and_shared_by_workers() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let address = settle(ip.parse().unwrap(), false).unwrap();
            let workers = [bind(0, address).unwrap(), bind(0, address).unwrap()];
            for worker in &workers {
                assert_eq!(worker.udp.local_addr().unwrap(), address);
                assert_eq!(worker.tcp.local_addr().unwrap(), address);
            }
            let taken = settle(address, false).unwrap_err();
            assert_eq!((taken.protocol, taken.cause.kind()), (Protocol::Udp, io::ErrorKind::AddrInUse));
        }
    }

    #[test]
    fn a_listener_of_tcp_alone_is_noticed_too() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = settle(other.local_addr().unwrap(), false).unwrap_err();
        assert_eq!((taken.protocol, taken.cause.kind()), (Protocol::Tcp, io::ErrorKind::AddrInUse));
    }
}
