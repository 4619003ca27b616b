//! Very many clients at one socket, each with an address of its own and all with the same port: what they send goes out in
//! batches, or the clients would cost more than the gateway that they are to judge.
//!
//! The socket is bound to the loopback interface, so that nothing from outside can reach it.

use crate::sys::{self, BATCH, Outgoing, Receiver, Sender};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

/// Clients there are at most: ten in each of 200 networks.
pub(super) const CLIENTS_MAX: usize = 2000;

/// Clients of an ordinary drill.
pub(super) const CLIENTS: usize = 200;

/// Room for answers while the drill's own threads wait for a core.
pub(super) const ROOM: usize = 4 << 20;

/// The address of a client: ten of them share a /24.
pub(super) fn client(number: usize) -> Ipv4Addr {
    let number = (number % CLIENTS_MAX) as u32;
    Ipv4Addr::from_bits(0x7f00_1001 + number / 10 * 256 + number % 10)
}

/// A socket from which each datagram can have another address of 127/8.
pub(super) fn socket() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    let socket = UdpSocket::from(socket);
    sys::set_receive_buffer(socket.as_fd(), ROOM)?;
    Ok(socket)
}

/// The clients.
pub(super) struct Crowd {
    socket: UdpSocket,
    server: SocketAddr,
    sender: Sender,
    receiver: Receiver,
}

impl Crowd {
    pub(super) fn open(server: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: socket()?, server, sender: Sender::new(), receiver: Receiver::unnamed() })
    }

    /// Sends queries, each from its client, in batches; returns how many the kernel took. The others are lost, as on a
    /// network.
    pub(super) fn send(&mut self, queries: &[(Ipv4Addr, Vec<u8>)]) -> usize {
        let mut sent = 0;
        for batch in queries.chunks(BATCH) {
            let (to, item) = (Some(self.server), |at: usize| &batch[at]);
            let outgoing = &mut |at| {
                let (from, bytes) = item(at);
                Outgoing { bytes, to, from: Some((*from).into()) }
            };
            sent += self.sender.send(self.socket.as_fd(), batch.len(), outgoing).unwrap_or(0);
        }
        sent
    }

    /// Takes all answers that are there.
    pub(super) fn take(&mut self, of_each: &mut dyn FnMut(&[u8])) {
        while let Ok(count) = self.receiver.receive(self.socket.as_fd()) {
            (0..count).for_each(|at| of_each(self.receiver.datagram(at).bytes));
            if count < BATCH {
                break;
            }
        }
    }
}
