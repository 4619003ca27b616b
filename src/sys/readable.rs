//! A datagram socket that the runtime watches for reading alone. Its own type watches for room to write too, which nobody
//! here waits for: then the kernel would report after each datagram that left that there is room again, and wake us for it.

use std::io;
use std::net::UdpSocket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hands the socket to the runtime of the calling thread. What ICMP says about a connected one is reported all the same.
///
/// # Errors
/// What epoll said.
///
/// # Panics
/// Outside a runtime.
pub fn watch_for_reading(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: the socket owns its descriptor, tells the same one each time, and keeps it open until it is dropped, which
    // only the `AsyncFd` that owns it from here on can do.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}
